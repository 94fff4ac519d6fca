"""Charts of losses: against the learning rate, and over the steps of training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import _check as check
from .._series import smoothed
from ._style import COLOURS, INK, colour, legend, line_style, log_axis, new_axes, rate

MOST_BANDS = 4

Line = tuple[np.ndarray, np.ndarray]
"""Learning rates, increasing [rate], and losses, [rate] or [rate, seed]; inf or nan where a run diverged."""


@check.public
def plot_range_test(learning_rates: Any, losses: Any, suggestion: float | None = None) -> Any:
    """Draw the loss of a range test against the learning rate, raw and smoothed.

    Args:
      learning_rates: the rate of each step, increasing, [steps].
      losses: the training loss of each step, [steps].
      suggestion: a rate to mark.

    Returns:
      A `matplotlib.figure.Figure`.

    Raises:
      ValueError: if no loss is finite.
      ImportError: if matplotlib is missing.
    """
    rates, losses = np.asarray(learning_rates), np.asarray(losses, np.float64)
    finite = np.isfinite(losses)
    if not finite.any():
        raise check.fail("losses", "must hold a finite loss", losses)
    figure, axes = new_axes("learning rate", "training loss")
    axes.plot(rates[finite], losses[finite], color=COLOURS[0], alpha=0.45, linewidth=1, label="loss of each step")
    smooth = np.where(finite, smoothed(losses, 0.98), np.nan)
    axes.plot(rates, smooth, label="smoothed (β = 0.98)", **line_style(0))
    if suggestion is not None:
        _suggestion(axes, suggestion, COLOURS[1])
    axes.set_xlim(rates[0], rates[-1])
    log_axis(axes, "x")
    # once it explodes only the way up is of interest: as much above the start as the best is below
    start, low = np.median(losses[finite][:5]), losses[finite].min()
    rise = max(start - low, 0.1 * abs(start)) or 1.0
    axes.set_ylim(low - 0.1 * rise, min(losses[finite].max(), start + rise) + 0.05 * rise)
    legend(axes)
    return figure


@check.public
def plot_short_runs(
    lines: Mapping[str, Line], suggestion: float, interval: tuple[float, float], *, parabola: bool = True
) -> Any:
    """Draw the short runs of `lrx.find`: the loss at their end against the learning rate, a line for each round.

    A cross at the top marks a rate at which a run diverged.

    Args:
      lines: name of a round -> its rates [rate] and the losses at the end [rate]; the last round comes last.
      suggestion: a rate to mark.
      interval: the lowest and the highest rate of the range in which the best one is expected, to be shaded.
      parabola: whether to draw the parabola through the logarithms of the losses of the last round; there is none if
        one of them is not positive.

    Returns:
      A `matplotlib.figure.Figure`.

    Raises:
      ValueError: if there is no round.
      ImportError: if matplotlib is missing.

    Examples:
      >>> import numpy as np
      >>> rounds = {"50 steps": (np.array([0.1, 0.3, 1.0]), np.array([0.5, 0.2, 0.4]))}
      >>> figure = plot_short_runs(rounds, 0.4, (0.25, 0.64))
      >>> print(figure.axes[0].get_xlabel())
      learning rate (peak)
    """
    if not lines:
        raise check.fail("lines", "must be at least one", lines)
    figure, axes = new_axes("learning rate (peak)", "training loss at the end")
    for i, (name, (rates, losses)) in enumerate(lines.items()):
        fine = np.isfinite(losses)
        axes.plot(rates, np.where(fine, losses, np.nan), marker="o", markersize=4.5, label=name, **line_style(i))
        _crosses(axes, rates[~fine], i)
    if parabola:
        _parabola(axes, *list(lines.values())[-1], colour(len(lines) - 1))
    axes.axvspan(*interval, color=INK, alpha=0.08, linewidth=0)
    _suggestion(axes, suggestion, INK)
    every = [losses for _, losses in lines.values()]
    _legend_of_crosses(axes, failed := not np.isfinite(np.concatenate(every)).all())
    log_axis(axes, "x")
    _log_losses(axes, every, len(lines) * failed)
    legend(axes)
    return figure


@check.public
def plot_final_losses(lines: Mapping[str, Line], by: str = "training") -> Any:
    """Draw the final losses of training runs against the learning rate, a line for each name.

    Lines are means over seeds, bands reach from the lowest seed to the highest. A cross at the top marks a rate at
    which a seed diverged, and a circle the lowest mean.

    Args:
      lines: name -> rates [rate] and final losses [rate, seed], as `lrx.sweep(...).lines()` gives them.
      by: what the losses are called, such as "training" or "validation".

    Returns:
      A `matplotlib.figure.Figure`.

    Raises:
      ImportError: if matplotlib is missing.

    Examples:
      >>> import numpy as np
      >>> figure = plot_final_losses({"cosine": (np.array([0.1, 1.0]), np.array([[0.3, 0.4], [0.2, np.nan]]))})
      >>> print(figure.axes[0].get_ylabel())
      training loss at the end
    """
    figure, axes = new_axes("learning rate (peak)", f"{by} loss at the end")
    best, failed = (np.inf, 1.0, ""), False
    for i, (name, (rates, loss)) in enumerate(lines.items()):
        fine = np.asarray(np.isfinite(loss).all(axis=-1))
        mean = np.where(fine, np.where(fine[:, None], loss, 0.0).mean(axis=-1), np.nan)
        axes.plot(rates, mean, marker="o", markersize=4.5, label=name, **line_style(i))
        axes.fill_between(rates, loss.min(axis=-1), loss.max(axis=-1), where=fine, color=colour(i), alpha=0.12, lw=0)
        _crosses(axes, rates[~fine], i)
        failed |= not fine.all()
        if fine.any():
            best = min(best, (float(np.nanmin(mean)), float(rates[np.nanargmin(mean)]), name))
    if best[2]:
        label = f"best: {rate(best[1])}" + f", {best[2]}" * (len(lines) > 1)
        circle = {"linestyle": "", "marker": "o", "markersize": 11, "mfc": "none", "mec": INK, "mew": 1.5}
        axes.plot(best[1], best[0], label=label, **circle)
    _legend_of_crosses(axes, failed)
    log_axis(axes, "x")
    _log_losses(axes, [loss for _, loss in lines.values()], len(lines) * failed)
    legend(axes)
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
    figure, axes = new_axes("step", f"training loss{over}")
    arrays = {name: running_mean(x, smooth) for name, x in arrays.items()}
    drawn = np.concatenate([x[np.isfinite(x)] for x in arrays.values()])
    for i, (name, x) in enumerate(arrays.items()):
        steps, mean = np.arange(x.shape[1]), x.mean(axis=0)
        axes.plot(steps, mean, label=name, **line_style(i))
        if len(arrays) <= MOST_BANDS:
            axes.fill_between(steps, x.min(axis=0), x.max(axis=0), color=colour(i), alpha=0.15, lw=0)
    starts = np.concatenate([x[:, 0] for x in arrays.values()])
    positive = drawn.size and (drawn > 0).all()
    if positive:
        axes.set_yscale("log")  # before the limit: setting one of the two fixes the other one, as of that scale
    if drawn.size and np.isfinite(starts).any() and drawn.max() > 10 * (start := np.nanmax(starts)) > 0:
        axes.set_ylim(top=3 * start)
    if positive:
        log_axis(axes, "y")
    axes.set_xlim(0, max(longest - 1, 1))
    legend(axes)
    return figure


def running_mean(x: np.ndarray, width: int) -> np.ndarray:
    """The mean of the last `width` entries along the last axis, of fewer at the start; nan once one is not finite."""
    total = np.cumsum(np.where(np.isfinite(x), x, np.nan), axis=-1)
    before = np.concatenate([np.zeros_like(total[..., :1]), total], axis=-1)
    end = np.arange(1, x.shape[-1] + 1)
    start = np.maximum(end - width, 0)
    return (before[..., end] - before[..., start]) / (end - start)


# ---------------------------------------------------------------- parts


def _suggestion(axes: Any, learning_rate: float, color: str) -> None:
    axes.axvline(learning_rate, label=f"suggested {rate(learning_rate)}", linewidth=1.5, color=color)


def _parabola(axes: Any, rates: np.ndarray, losses: np.ndarray, color: str) -> None:
    """The parabola through the logarithms of the losses of a line, if they are all positive."""
    if (np.isfinite(losses) & (losses > 0)).all():
        fit = np.polyfit(np.log(rates), np.log(losses), 2)
        low, high = np.log(rates[[0, -1]])
        x = np.linspace(low - 0.3 * (high - low), high + 0.3 * (high - low), 100)
        axes.plot(np.exp(x), np.exp(np.polyval(fit, x)), color=color, linewidth=0.9, linestyle="--")


def _crosses(axes: Any, rates: np.ndarray, i: int) -> None:
    """At the top, in a row of their own for each line `i`: rates at which a run diverged."""
    at_top = {"transform": axes.get_xaxis_transform(), "clip_on": False}
    height = np.full(rates.shape, 0.975 - 0.035 * i)
    axes.plot(rates, height, linestyle="", marker="x", markersize=5, color=colour(i), **at_top)


def _legend_of_crosses(axes: Any, failed: bool) -> None:
    if failed:
        axes.plot([], [], linestyle="", marker="x", color=INK, markersize=5, label="diverged")


def _log_losses(axes: Any, losses: Sequence[np.ndarray], rows: int) -> None:
    """A logarithmic axis if all losses, [rate, …] of each line, are positive; with room for rows of crosses."""
    everything = np.concatenate([x.ravel() for x in losses])
    everything = everything[np.isfinite(everything)]
    if everything.size and (everything > 0).all():
        low, usual, high = everything.min(), np.quantile(everything, 0.75), everything.max()
        top = min(high, max(usual, low * 10) * 3)  # what nearly diverged must not flatten the rest
        means = [x.reshape(len(x), -1).mean(axis=1) for x in losses]
        top = max(top, *(m[np.isfinite(m)].min() for m in means if np.isfinite(m).any()))  # but every line is seen
        axes.set_ylim(low / 1.3, max(1.2 * low, top * (top / low) ** (0.06 + 0.04 * rows)))
        log_axis(axes, "y")
