"""Pictures of schedules, range tests, sweeps and losses: a matplotlib `Figure` each, without pyplot's global state."""

import io
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import _check as check
from ._numbers import is_array
from ._pytree import factory_name, is_node
from .schedules._schedule import Schedule, as_schedule
from .tuning._range_test import RangeTest
from .tuning._suggest import smoothed
from .tuning._sweep import Sweep

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#B0589B", "#E69F00", "#56B4E9", "#6B6B6B")
"""Okabe and Ito's palette, told apart by readers with any colour vision."""
DASHES = ("-", "--", ":", "-.")
INK, FAINT = "#333333", "#DDDDDD"
MOST_POINTS, MOST_BANDS = 4096, 4
LONGEST = 2**31 - 1


@check.public
def plot(*schedules: Any, steps: int | None = None, log: bool = False, labels: Iterable[str] | None = None) -> Any:
    """Draw learning rates against the step count, with a dot at each landmark; their names too if it is one schedule.

    Args:
      *schedules: schedules, functions of the count or numbers; or one dict name -> schedule.
      steps: the last count drawn. If None, a little past the last end. Of schedules that go on for ever, a few times
        the longest number of steps among their fields; 1,000 if there is none.
      log: a logarithmic axis for the rate.
      labels: a name for each schedule; what it prints as if None.

    Returns:
      A `matplotlib.figure.Figure`, which Jupyter shows and `.savefig(path)` writes.

    Raises:
      ValueError: if there is nothing to draw, `steps` is not positive, or there is not one label for each schedule.
      ImportError: if matplotlib is missing.

    Examples:
      >>> import lrx
      >>> figure = lrx.plot(lrx.cosine_decay_schedule(0.1, decay_steps=100), lrx.linear_schedule(0.1, 0.0, 100))
      >>> print(figure.axes[0].get_ylabel())
      learning rate
    """
    if len(schedules) == 1 and isinstance(schedules[0], Mapping):
        labels = list(schedules[0]) if labels is None else labels
        schedules = tuple(schedules[0].values())
    if not schedules:
        raise check.fail("schedules", "must be at least one", schedules)
    drawn = [as_schedule(s) for s in schedules]
    names = _names(drawn) if labels is None else [str(x) for x in labels]
    if len(names) != len(drawn):
        raise check.fail("labels", f"must have one name for each of the {len(drawn)} schedules", names)
    if steps is None:
        steps = max(map(horizon, drawn))
    check.positive_count(steps=steps)
    counts = counts_up_to(steps)
    figure, axes = _axes("step", "learning rate")
    for i, (schedule, name) in enumerate(zip(drawn, names, strict=True)):
        axes.plot(counts, values(schedule, counts), label=name, **_line(i))
    axes.set_xlim(0, steps)
    if len(drawn) == 1:
        axes.margins(y=0.1)  # room for a name above the peak
    if log:
        _log(axes, "y")
    elif all((line.get_ydata() >= 0).all() for line in axes.lines):
        axes.set_ylim(bottom=0)
    for i, schedule in enumerate(drawn):
        _mark(axes, schedule, steps, i, named=len(drawn) == 1)
    if len(drawn) > 1:
        _legend(axes)
    else:
        axes.set_title(names[0], fontsize=9 if len(names[0]) > 60 else 11, color=INK, loc="left", wrap=True)
    return figure


@check.public
def plot_range_test(range_test: RangeTest, learning_rate: float | None = None) -> Any:
    """Draw the loss of a range test against the learning rate, raw and smoothed as `lrx.find` smooths it.

    Args:
      range_test: what `lrx.range_test` or `lrx.find(...).range_test` gave.
      learning_rate: a rate to mark, such as the suggestion.

    Returns:
      A `matplotlib.figure.Figure`.

    Raises:
      ValueError: if no loss is finite.
      ImportError: if matplotlib is missing.
    """
    rates, losses = np.asarray(range_test.learning_rates), np.asarray(range_test.losses, np.float64)
    finite = np.isfinite(losses)
    if not finite.any():
        raise check.fail("range_test", "must hold a finite loss", range_test)
    figure, axes = _axes("learning rate", "training loss")
    axes.plot(rates[finite], losses[finite], color=COLOURS[0], alpha=0.45, linewidth=1, label="loss of each step")
    smooth = np.where(finite, smoothed(losses, 0.98), np.nan)
    axes.plot(rates, smooth, label="smoothed (β = 0.98)", **_line(0))
    if learning_rate is not None:
        axes.axvline(learning_rate, label=f"suggested {rate(learning_rate)}", linewidth=1.5, color=COLOURS[1])
    axes.set_xlim(rates[0], rates[-1])
    _log(axes, "x")
    # once it explodes only the way up is of interest: as much above the start as the best is below
    start, low = np.median(losses[finite][:5]), losses[finite].min()
    rise = max(start - low, 0.1 * abs(start)) or 1.0
    axes.set_ylim(low - 0.1 * rise, min(losses[finite].max(), start + rise) + 0.05 * rise)
    _legend(axes)
    return figure


@check.public
def plot_sweep(sweep: Sweep, by: str = "training") -> Any:
    """Draw the final loss of a sweep against the learning rate, a line for each schedule.

    Lines are means over seeds, bands reach from the lowest seed to the highest. A cross at the top marks a rate at
    which a seed diverged.

    Args:
      sweep: what `lrx.sweep` gave.
      by: "training" or "validation".

    Returns:
      A `matplotlib.figure.Figure`.

    Raises:
      ValueError: if the sweep has no such loss.
      ImportError: if matplotlib is missing.
    """
    return plot_curves(curves(sweep, by), by)


def curves(sweep: Sweep, by: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Of each schedule (and each value of further hyperparameters): rates [rate] and final losses [rate, seed]."""
    loss, inner = sweep.loss(by), sweep.dims[1:-2]
    lines = {}
    for index in np.ndindex(loss.shape[1:-1]):
        schedule, *others = (sweep.coords[d][i] for d, i in zip(inner, index, strict=True))
        name = ", ".join([schedule, *(f"{d}={x:.3g}" for d, x in zip(inner[1:], others, strict=True))])
        lines[name] = sweep.learning_rates, loss[(slice(None), *index)]
    return lines


def plot_curves(lines: Mapping[str, tuple[np.ndarray, np.ndarray]], by: str) -> Any:
    """The picture of `plot_sweep`, from rates [rate] and final losses [rate, seed] by name."""
    figure, axes = _axes("learning rate (peak)", f"{by} loss at the end")
    everything = np.concatenate([loss.ravel() for _, loss in lines.values()])
    everything = everything[np.isfinite(everything)]
    best, failed = (np.inf, 1.0, ""), False
    for i, (name, (rates, loss)) in enumerate(lines.items()):
        fine = np.asarray(np.isfinite(loss).all(axis=-1))
        mean = np.where(fine, np.where(fine[:, None], loss, 0.0).mean(axis=-1), np.nan)
        axes.plot(rates, mean, marker="o", markersize=3.5, label=name, **_line(i))
        axes.fill_between(rates, loss.min(axis=-1), loss.max(axis=-1), where=fine, color=_colour(i), alpha=0.12, lw=0)
        bad = rates[~fine]
        height = np.full(bad.shape, 0.975 - 0.035 * i)
        at_top = {"transform": axes.get_xaxis_transform(), "clip_on": False}
        axes.plot(bad, height, linestyle="", marker="x", markersize=5, color=_colour(i), **at_top)
        failed |= bool(bad.size)
        if fine.any():
            best = min(best, (float(np.nanmin(mean)), float(rates[np.nanargmin(mean)]), name))
    if best[2]:
        label = f"best: {rate(best[1])}" + f", {best[2]}" * (len(lines) > 1)
        circle = {"linestyle": "", "marker": "o", "markersize": 11, "mfc": "none", "mec": INK, "mew": 1.5}
        axes.plot(best[1], best[0], label=label, **circle)
    if failed:
        axes.plot([], [], linestyle="", marker="x", color=INK, markersize=5, label="diverged")
    _log(axes, "x")
    if everything.size and (everything > 0).all():
        low, usual, high = everything.min(), np.quantile(everything, 0.75), everything.max()
        top = min(high, max(usual, low * 10) * 3)  # what nearly diverged must not flatten the rest
        axes.set_ylim(low / 1.3, top * (top / low) ** (0.06 + 0.04 * failed * len(lines)))
        _log(axes, "y")
    _legend(axes)
    return figure


@check.public
def plot_losses(records: Mapping[str, Any], smooth: int | None = None) -> Any:
    """Draw loss curves, smoothed: the mean over seeds as a line, the lowest to the highest seed as a band.

    With more than four records the bands are left out.

    Args:
      records: name -> losses [seed, step] or [step].
      smooth: the number of steps that each point is the mean of; a fiftieth of the longest record if None.

    Returns:
      A `matplotlib.figure.Figure`.

    Raises:
      ValueError: if there is no record, or one is empty or has another shape.
      ImportError: if matplotlib is missing.

    Examples:
      >>> import numpy as np
      >>> figure = plot_losses({"fast": np.exp(-np.arange(100) / 10), "slow": np.exp(-np.arange(100) / 50)})
      >>> print(figure.axes[0].get_yscale())
      log
    """
    arrays = {name: np.atleast_2d(np.asarray(x, np.float64)) for name, x in records.items()}
    for name, x in arrays.items():
        if x.ndim != 2 or not x.size:
            raise check.fail("records", "must hold arrays [seed, step]", np.shape(records[name]))
    if not arrays:
        raise check.fail("records", "must hold at least one", records)
    longest = max(x.shape[1] for x in arrays.values())
    smooth = max(1, longest // 50) if smooth is None else smooth
    check.positive_count(smooth=smooth)
    over = f", mean over {smooth} steps" if smooth > 1 else ""
    figure, axes = _axes("step", f"training loss{over}")
    arrays = {name: running_mean(x, smooth) for name, x in arrays.items()}
    drawn = np.concatenate([x[np.isfinite(x)] for x in arrays.values()])
    for i, (name, x) in enumerate(arrays.items()):
        steps, mean = np.arange(x.shape[1]), x.mean(axis=0)
        axes.plot(steps, mean, label=name, **_line(i))
        if len(arrays) <= MOST_BANDS:
            axes.fill_between(steps, x.min(axis=0), x.max(axis=0), color=_colour(i), alpha=0.15, lw=0)
    starts = np.concatenate([x[:, 0] for x in arrays.values()])
    if drawn.size and np.isfinite(starts).any() and drawn.max() > 10 * (start := np.nanmax(starts)) > 0:
        axes.set_ylim(top=3 * start)
    if drawn.size and (drawn > 0).all():
        _log(axes, "y")
    axes.set_xlim(0, max(longest - 1, 1))
    _legend(axes)
    return figure


# ---------------------------------------------------------------- data


def horizon(schedule: Any) -> int:
    """A last count that shows what a schedule does."""
    end = schedule.end if isinstance(schedule, Schedule) else None
    if end is not None:
        return min(end + max(1, end // 10), LONGEST)
    whole = [x for x in jax.tree.leaves(schedule) if isinstance(x, int) or (is_array(x) and x.dtype.kind == "i")]
    longest = max((int(np.max(x)) for x in whole if np.size(x)), default=0)
    if longest < 1:
        return 1000
    if not np.ptp(values(schedule, np.linspace(longest, min(4 * longest, LONGEST), 61).astype(np.int64))):
        return min(longest + max(1, longest // 10), LONGEST)
    steps = 4 * longest
    while steps < 1_000_000 and np.ptp(seen := values(schedule, counts_up_to(steps, 61))) < 0.5 * np.abs(seen).max():
        steps *= 4  # a slow decay, such as 0.999 a step
    return min(steps, LONGEST)


def counts_up_to(steps: int, most: int = MOST_POINTS) -> np.ndarray:
    """Whole counts from 0 to `steps`, all of them unless they are more than `most`."""
    return np.unique(np.linspace(0, steps, min(int(steps) + 1, most)).round().astype(np.int64))


def values(schedule: Any, counts: np.ndarray) -> np.ndarray:
    """A schedule at whole counts, float64."""
    return np.asarray(jax.vmap(as_schedule(schedule))(jnp.asarray(counts, jnp.int32)), np.float64)


def running_mean(x: np.ndarray, width: int) -> np.ndarray:
    """The mean of the last `width` entries along the last axis, of fewer at the start; nan once one is not finite."""
    total = np.cumsum(np.where(np.isfinite(x), x, np.nan), axis=-1)
    before = np.concatenate([np.zeros_like(total[..., :1]), total], axis=-1)
    end = np.arange(1, x.shape[-1] + 1)
    start = np.maximum(end - width, 0)
    return (before[..., end] - before[..., start]) / (end - start)


def rate(x: float) -> str:
    """A learning rate to three digits, such as 0.00316 or 1e-5."""
    mantissa, _, exponent = f"{x:.3g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def png(figure: Any) -> bytes:
    """A figure as PNG."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _names(schedules: list[Any]) -> list[str]:
    """Short names if they tell the schedules apart, else what each prints as."""
    short = [factory_name(s).removesuffix("_schedule") if is_node(s) else repr(s) for s in schedules]
    return short if len(set(short)) == len(short) > 1 else [repr(s) for s in schedules]


# ---------------------------------------------------------------- landmarks


def _mark(axes: Any, schedule: Any, steps: int, i: int, named: bool) -> None:
    """A dot at each landmark of line `i`, and its name where there is room."""
    found: dict[int, list[str]] = {}
    for name, m in (schedule.landmarks() if isinstance(schedule, Schedule) else {}).items():
        if 0 < m <= steps:
            found.setdefault(m, []).append(name.replace("_", " "))
    if not found:
        return
    x, y = np.array(list(found)), values(schedule, np.array(list(found)))
    axes.plot(
        x, y, linestyle="", marker="o", markersize=5, color=_colour(i), markeredgecolor="white", mew=0.8, zorder=3
    )
    if not named:
        return
    shown = axes.transScale + axes.transLimits
    width, height = 403, 240  # of the axes, about, in points
    curve = shown.transform(axes.lines[i].get_xydata()) * (width, height)
    boxes: list[tuple[float, ...]] = []
    for dot, m, names in zip(shown.transform(np.stack([x, y], 1)) * (width, height), x, found.values(), strict=True):
        text = f"{', '.join(names)} {m:,}"
        size = 4.3 * len(text)
        for dx, dy in ((6, 4), (-6 - size, 4), (6, -12), (-6 - size, -12), (-size / 2, 7), (-size / 2, -15)):
            left, low = dot[0] + dx, dot[1] + dy
            box = left, low, left + size, low + 9
            within = left >= 0 and low >= 0 and left + size <= width + 16 and low + 9 <= height
            if within and not _crowded(box, boxes, curve):
                boxes.append(box)
                style = {"fontsize": 8, "color": "#666666", "textcoords": "offset points"}
                axes.annotate(text, (m, y[list(found).index(m)]), (dx, dy), **style)
                break


def _crowded(box: tuple[float, ...], boxes: list[tuple[float, ...]], curve: np.ndarray) -> bool:
    """Whether a label would cover another one or the line."""
    left, low, right, high = box
    inside = (curve[:, 0] > left - 2) & (curve[:, 0] < right + 2) & (curve[:, 1] > low - 2) & (curve[:, 1] < high + 2)
    return bool(inside.any()) or any(left < b[2] and b[0] < right and low < b[3] and b[1] < high for b in boxes)


# ---------------------------------------------------------------- style


def _axes(x: str, y: str) -> tuple[Any, Any]:
    """An empty figure in the one style of all, whatever the user's rcParams are."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError('plots need matplotlib: pip install "lrx[plot]"') from None
    figure = Figure(figsize=(6.4, 4.0), dpi=144, facecolor="white", layout="constrained")
    figure._repr_png_ = lambda: png(figure)  # type: ignore[attr-defined]  # Jupyter asks; pyplot's hook is global
    axes = figure.add_subplot(facecolor="white")
    axes.set_xlabel(x, fontsize=11, color=INK)
    axes.set_ylabel(y, fontsize=11, color=INK)
    axes.tick_params(which="both", labelsize=10, colors=INK, color=FAINT)
    axes.grid(True, color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
    return figure, axes


def _log(axes: Any, name: str) -> None:
    """A logarithmic axis with plain numbers, three in a decade if there are few decades. Comes after the limits."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set(**{f"{name}scale": "log"})
    axis, (low, high) = (axes.xaxis, axes.get_xlim()) if name == "x" else (axes.yaxis, axes.get_ylim())
    if high < 40 * low:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(lambda x, _: rate(x))
    axis.set_minor_formatter(NullFormatter())


def _colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def _line(i: int) -> dict[str, Any]:
    return {"color": _colour(i), "linestyle": DASHES[i // len(COLOURS) % len(DASHES)], "linewidth": 1.8}


def _legend(axes: Any) -> None:
    """Within the axes if it is short, else above them in columns."""
    style = {"fontsize": 9, "labelcolor": INK, "facecolor": "white", "edgecolor": "none", "framealpha": 0.85}
    handles, names = axes.get_legend_handles_labels()
    if len(names) <= 4:
        axes.legend(**style)
    else:
        width = 6 + max(map(len, names))  # of a column, in letters
        axes.figure.legend(handles, names, loc="outside upper left", ncols=max(1, min(4, 84 // width)), **style)
