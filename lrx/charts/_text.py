"""Schedules and losses drawn in text, for terminals."""

from typing import Any

import numpy as np

from ._schedules import counts_up_to, values
from ._style import rate


def drawing(schedule: Any, steps: int, width: int = 64, height: int = 12) -> str:
    """A schedule as lines of braille, 2 × 4 dots to a character, with its axes.

    Args:
      schedule: a schedule, a function of the count or a number.
      steps: the last count drawn.
      width: of the drawing in characters, without the labels.
      height: in characters.

    Returns:
      Text of `height` + 2 lines, none longer than `width` + 11 characters.

    Examples:
      >>> import lrx
      >>> print(drawing(lrx.linear_schedule(0.0, 1.0, 100), steps=100, width=8, height=2))
       1 ┤⠀⠀⠀⢀⣠⠴⠚⠉
       0 ┤⣠⠴⠚⠉⠀⠀⠀⠀
         └────────
          0    100 steps
    """
    # each column holds its first count, and whatever lies between it and the next one
    first, every = np.arange(2 * width) * steps // (2 * width - 1), counts_up_to(steps)
    counts = np.concatenate([first, every])
    columns = np.concatenate([np.arange(2 * width), every * (2 * width - 1) // steps])
    order = np.lexsort((counts, columns))
    counts, columns = counts[order], columns[order]
    y = values(schedule, counts)
    y = np.where(np.isfinite(y), y, 0.0)
    low, high = min(y.min(), 0.0), max(y.max(), 0.0)
    labels = {0: rate(high), height // 2: rate((high + low) / 2), height - 1: rate(low)}
    ends = "0", f"{steps} steps"
    return _joined(_dots(columns, (high - y) / ((high - low) or 1.0), width, height), labels, ends)


def loss_drawing(steps: Any, losses: Any, width: int = 64, height: int = 12, *, log: bool | None = None) -> str:
    """Losses over steps, or any other series, as lines of braille with their axes.

    What is not finite is left out, and marked by `×` above the steps. Spikes above what can be seen end at the top.

    Args:
      steps: increasing, [entries].
      losses: [entries].
      width: of the drawing in characters, without the labels.
      height: in characters.
      log: a logarithmic axis; if None, for positive losses of which the highest drawn is 20 times the lowest.

    Returns:
      Text of `height` + 2 lines, of `height` + 3 if some losses are not finite.

    Examples:
      >>> print(loss_drawing(np.arange(8), [4.0, 2.0, 1.5, 1.25, 1.0, 1.0, 1.0, np.nan], width=8, height=2))
                 ×
       4 ┤⠱⡀⠀⠀⠀⠀⠀⠀
       1 ┤⠀⠓⠤⢄⣀⣀⣀⠀
         └────────
          0      7 steps
    """
    steps, losses = np.asarray(steps, np.float64), np.asarray(losses, np.float64)
    columns = np.round((steps - steps[0]) / ((steps[-1] - steps[0]) or 1.0) * (2 * width - 1)).astype(int)
    fine = np.isfinite(losses)
    scale = max(1.0, np.abs(losses[fine]).max(initial=0.0) / 1e300)  # their differences must not overflow
    y = losses[fine] / scale
    low, high = (y.min(), _highest(y)) if y.size else (0.0, 1.0)
    if log is None:
        log = low > 0 and high > 20 * np.quantile(y, 0.02)
    if log:
        low = max(low, np.quantile(y, 0.02) / 3)  # one small loss does not make the axis
    bottom, top = (np.log(low), np.log(high)) if log else (low, high)
    middle = np.exp((top + bottom) / 2) if log else (top + bottom) / 2
    labels = {0: rate(high * scale), height // 2: rate(middle * scale), height - 1: rate(low * scale)}
    if top > bottom:
        heights = np.clip((top - (np.log(y) if log else y)) / (top - bottom), 0.0, 1.0)
    else:
        heights, labels = np.full(y.size, 0.5), {height // 2: rate(high * scale)}
    entries = np.flatnonzero(fine)
    x, shown = _between(columns[fine], heights, np.diff(entries) == 1)
    ends = f"{steps[0]:,.0f}", f"{steps[-1]:,.0f} steps"
    text = _joined(_dots(x, shown, width, height), labels, ends)
    if fine.all():
        return text
    marks = np.isin(np.arange(width), columns[~fine] // 2)
    indent = text.index("┤") + 1
    return " " * indent + "".join("×" if m else " " for m in marks).rstrip() + "\n" + text


def _between(columns: np.ndarray, heights: np.ndarray, next_to: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """With the columns between entries that follow each other, where a record has fewer entries than columns."""
    gaps = np.flatnonzero((np.diff(columns) > 1) & next_to)
    between = [np.arange(columns[i] + 1, columns[i + 1]) for i in gaps]
    filled = [np.interp(x, columns[i : i + 2], heights[i : i + 2]) for i, x in zip(gaps, between, strict=True)]
    x, y = np.concatenate([columns, *between]), np.concatenate([heights, *filled])
    order = np.argsort(x, kind="stable")
    return x[order], y[order]


def _highest(losses: np.ndarray) -> float:
    """The top of the axis: the highest loss, unless it is a spike far above where the run began and where it ended."""
    usual = max(np.quantile(losses, 0.98), np.median(losses[:5]), np.median(losses[-5:]))
    low = losses.min()
    return float(min(losses.max(), low + 3 * (usual - low))) if usual > low else float(losses.max())


def _dots(columns: np.ndarray, y: np.ndarray, width: int, height: int) -> np.ndarray:
    """A canvas [4 height, 2 width] with a line through points: columns that never fall, and y from 0, the top, to 1."""
    rows = np.round(y * (4 * height - 1)).astype(int)
    canvas = np.zeros((4 * height, 2 * width), bool)
    for x, above, row in zip(columns, np.concatenate([rows[:1], rows[:-1]]), rows, strict=True):
        # a jump is drawn as a vertical line, from the dot after the one before
        canvas[min(row, above + (row > above)) : max(row, above - (row < above)) + 1, x] = True
    return canvas


def _joined(canvas: np.ndarray, labels: dict[int, str], ends: tuple[str, str]) -> str:
    """A canvas as text, with labels beside some of its lines, and below what stands at its ends."""
    height, width = canvas.shape[0] // 4, canvas.shape[1] // 2
    bits = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
    cells = (canvas.reshape(height, 4, width, 2) * bits[None, :, None, :]).sum(axis=(1, 3))
    size = max(map(len, labels.values())) + 1
    lines = [
        f"{labels.get(i, ''):>{size}} {'┤' if i in labels else '│'}" + "".join(chr(0x2800 + c) for c in row)
        for i, row in enumerate(cells)
    ]
    lines.append(" " * (size + 1) + "└" + "─" * width)
    start, end = ends
    lines.append(" " * (size + 2) + f"{start}{end:>{width + len(' steps') - len(start)}}")
    return "\n".join(lines)
