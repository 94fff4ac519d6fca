"""A chart of schedules: learning rates against the step count."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from .. import _check as check
from .._numbers import is_array
from .._pytree import factory_name, is_node
from ..schedules import _questions as questions
from ..schedules._schedule import Schedule, as_schedule
from ._style import INK, colour, legend, line_style, log_axis, new_axes

MOST_POINTS = 4096
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
    figure, axes = new_axes("step", "learning rate")
    for i, (schedule, name) in enumerate(zip(drawn, names, strict=True)):
        axes.plot(counts, values(schedule, counts), label=name, **line_style(i))
    axes.set_xlim(0, steps)
    if len(drawn) == 1:
        axes.margins(y=0.1)  # room for a name above the peak
    if log:
        log_axis(axes, "y")
    elif all((line.get_ydata() >= 0).all() for line in axes.lines):
        axes.set_ylim(bottom=0)
    for i, schedule in enumerate(drawn):
        _mark(axes, schedule, steps, i, named=len(drawn) == 1)
    if len(drawn) > 1:
        legend(axes)
    else:
        axes.set_title(
            names[0], fontsize=9 if len(names[0]) > 60 else 11, color=INK, loc="left", wrap=True, parse_math=False
        )
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
    return questions.values(as_schedule(schedule), counts)


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
    axes.plot(x, y, linestyle="", marker="o", markersize=5, color=colour(i), markeredgecolor="white", mew=0.8, zorder=3)
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
