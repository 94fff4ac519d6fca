"""Charts of one run: its losses over the steps, and its learning rates."""

from typing import Any

import numpy as np

from .. import _check as check
from ._losses import running_mean
from ._style import COLOURS, INK, legend, line_style, log_axis, new_axes, rate

Points = tuple[Any, Any]
"""Steps, increasing [entries], and values [entries]."""
MOST_POINTS = 20_000
"""Of a raw record, so that a long one is drawn in a second: the lowest and the highest loss of each stretch."""


@check.public
def plot_run(steps: Any, losses: Any, *, validation: Points | None = None, best: Points | None = None) -> Any:
    """Draw the losses of a run, each of them and smoothed, against the step.

    Steps whose loss is not finite are marked by crosses at the top.

    Args:
      steps: increasing, [entries].
      losses: the training loss at each, [entries].
      validation: steps and validation losses of the same run.
      best: steps and losses of another run, to compare with.

    Returns:
      A `matplotlib.figure.Figure`.

    Raises:
      ValueError: if there is no loss.
      ImportError: if matplotlib is missing.

    Examples:
      >>> figure = plot_run(np.arange(100), np.exp(-np.arange(100) / 20))
      >>> print(figure.axes[0].get_ylabel())
      training loss
    """
    steps, losses = np.asarray(steps, np.float64), np.asarray(losses, np.float64)
    if not losses.size:
        raise check.fail("losses", "must be at least one", losses)
    figure, axes = new_axes("step", "training loss" if validation is None else "loss")
    smooth = max(1, losses.size // 50)
    at, raw = _thinned(steps, losses)
    if smooth > 1:
        axes.plot(at, raw, color=COLOURS[0], alpha=0.3, linewidth=0.8)
    mean = _mean(losses, smooth)
    over = f", mean over {smooth} entries" if smooth > 1 else ""
    axes.plot(*_thinned(steps, mean), label=f"training{over}", **line_style(0))
    drawn = [raw, mean]
    for i, (name, points) in enumerate({"validation": validation, "the run to compare with": best}.items(), 1):
        if points is not None:
            x, y = np.asarray(points[0], np.float64), np.asarray(points[1], np.float64)
            y = _mean(y, max(1, y.size // 50)) if name != "validation" else y
            few = {"marker": "o", "markersize": 4} if y.size < 30 else {}
            axes.plot(*_thinned(x, y), label=name, **line_style(i), **few)
            drawn.append(y)
    finite = np.concatenate([x[np.isfinite(x)] for x in drawn])
    if finite.size:
        _limits(axes, finite, losses)
    if not (fine := np.isfinite(losses)).all():
        at_top = {"transform": axes.get_xaxis_transform(), "clip_on": False, "label": "not finite"}
        lost = steps[~fine][:: max(1, int((~fine).sum() // 60))]
        axes.plot(lost, np.full(lost.size, 0.98), linestyle="", marker="x", markersize=5, color=INK, **at_top)
    axes.set_xlim(steps[0], max(steps[-1], steps[0] + 1))
    if len(axes.get_legend_handles_labels()[1]) > 1 or smooth > 1:
        legend(axes)
    return figure


@check.public
def plot_learning_rates(
    steps: Any, learning_rates: Any, *, factor: float | None = None, interval: tuple[float, float] | None = None
) -> Any:
    """Draw the learning rates of a run against the step, and what they are after a correction.

    Args:
      steps: increasing, [entries].
      learning_rates: the rate at each, [entries].
      factor: what to multiply the rates by.
      interval: the lowest and the highest factor of a range to shade.

    Returns:
      A `matplotlib.figure.Figure`.

    Raises:
      ImportError: if matplotlib is missing.

    Examples:
      >>> figure = plot_learning_rates(np.arange(3), [0.1, 0.1, 0.05], factor=0.3, interval=(0.1, 1.0))
      >>> print(figure.axes[0].get_ylabel())
      learning rate
    """
    steps, rates = np.asarray(steps, np.float64), np.asarray(learning_rates, np.float64)
    figure, axes = new_axes("step", "learning rate")
    axes.plot(*_thinned(steps, rates), label="as it was", **line_style(0))
    if factor is not None and factor != 1:
        axes.plot(*_thinned(steps, rates * factor), label=f"times {rate(factor)}", **line_style(1))
    if interval is not None and interval[0] > 0 and interval[1] < np.inf:
        low, high = (_thinned(steps, rates * x)[1] for x in interval)
        x = _thinned(steps, rates)[0]
        label = f"times {rate(interval[0])} to {rate(interval[1])}"
        axes.fill_between(x, low, high, color=COLOURS[1], alpha=0.12, lw=0, label=label)
    positive = rates[np.isfinite(rates) & (rates > 0)]
    if positive.size and factor is not None and not 0.3 <= factor <= 3:
        factors = [1.0, factor, *(x for x in interval or () if 0 < x < np.inf)]
        axes.set_ylim(positive.max() * min(factors) / 2, positive.max() * max(factors) * 3)
        log_axis(axes, "y")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlim(steps[0], max(steps[-1], steps[0] + 1))
    if factor is not None:
        legend(axes)
    return figure


def _limits(axes: Any, finite: np.ndarray, losses: np.ndarray) -> None:
    """All that is drawn, but for spikes far above where the run began; logarithmic where that shows more."""
    low, high = finite.min(), finite.max()
    start = losses[np.isfinite(losses)][:5]
    usual = max(np.quantile(finite, 0.99), float(np.median(start)) if start.size else low)
    top = min(high, low + 3 * (usual - low)) if usual > low else high
    if low > 0 and top > 10 * np.quantile(finite, 0.02):
        low = max(low, np.quantile(finite, 0.02) / 3)
        axes.set_ylim(low / 1.15, top * 1.3)
        log_axis(axes, "y")
    elif top > low:
        axes.set_ylim(low - 0.05 * (top - low), top + 0.07 * (top - low))


def _mean(losses: np.ndarray, width: int) -> np.ndarray:
    """The mean of the last entries, of finite ones alone."""
    fine = np.isfinite(losses)
    total = running_mean(np.where(fine, losses, 0.0), width)
    with np.errstate(all="ignore"):
        return np.where(fine, total / running_mean(fine.astype(np.float64), width), np.nan)


def _thinned(steps: np.ndarray, values: np.ndarray) -> Points:
    """The lowest and the highest value of each stretch, in their order, if there are many."""
    if values.size <= MOST_POINTS:
        return steps, values
    size = -(-values.size // (MOST_POINTS // 2))
    padded = np.pad(values, (0, -values.size % size), constant_values=np.nan).reshape(-1, size)
    low = np.where(np.isfinite(padded), padded, np.inf).argmin(axis=1)
    high = np.where(np.isfinite(padded), padded, -np.inf).argmax(axis=1)
    picked = np.sort(np.stack([low, high], axis=1), axis=1) + size * np.arange(len(padded))[:, None]
    index = np.unique(np.minimum(picked, values.size - 1))
    return steps[index], values[index]
