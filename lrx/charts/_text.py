"""A schedule drawn in text, for terminals."""

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
    rows = np.round((high - y) / ((high - low) or 1.0) * (4 * height - 1)).astype(int)
    canvas = np.zeros((4 * height, 2 * width), bool)
    for x, above, row in zip(columns, np.concatenate([rows[:1], rows[:-1]]), rows, strict=True):
        # a jump is drawn as a vertical line, from the dot after the one before
        canvas[min(row, above + (row > above)) : max(row, above - (row < above)) + 1, x] = True
    bits = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
    cells = (canvas.reshape(height, 4, width, 2) * bits[None, :, None, :]).sum(axis=(1, 3))
    labels = {0: rate(high), height // 2: rate((high + low) / 2), height - 1: rate(low)}
    size = max(map(len, labels.values())) + 1
    lines = [
        f"{labels.get(i, ''):>{size}} {'┤' if i in labels else '│'}" + "".join(chr(0x2800 + c) for c in row)
        for i, row in enumerate(cells)
    ]
    lines.append(" " * (size + 1) + "└" + "─" * width)
    lines.append(" " * (size + 2) + f"0{steps:>{width - 1}} steps")
    return "\n".join(lines)
