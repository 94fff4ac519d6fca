"""A chart of losses as they were logged and as a law predicts them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import _check as check
from ._style import INK, colour, legend, new_axes

Curve = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Steps, losses as logged and losses as predicted, each [losses]."""


@check.public
def plot_predictions(curves: Sequence[Curve] | Mapping[str, Curve]) -> Any:
    """Draw losses as logged and as predicted, of one run or many.

    Args:
      curves: of each run its steps, its losses and the predicted ones; or name -> these.

    Returns:
      A `matplotlib.figure.Figure`.

    Raises:
      ValueError: if there is no run.
      ImportError: if matplotlib is missing.

    Examples:
      >>> import numpy as np
      >>> steps = np.arange(1, 5)
      >>> figure = plot_predictions({"cosine": (steps, 3 / steps, 2.9 / steps)})
      >>> print(figure.axes[0].get_ylabel())
      loss
    """
    if not len(curves):
        raise check.fail("curves", "must be at least one run", curves, "A law out of JSON has lost its runs.")
    named = curves if isinstance(curves, Mapping) else {f"run {i}": c for i, c in enumerate(curves, 1)}
    figure, axes = new_axes("step", "loss")
    low, high = np.inf, -np.inf
    for i, (name, (steps, losses, predicted)) in enumerate(named.items()):
        axes.plot(steps, losses, color=colour(i), linewidth=2.5, alpha=0.4, label=name)
        axes.plot(steps, predicted, color=colour(i), linewidth=1.0)
        tail = losses[len(losses) // 10 :]  # the fall at the start would hide all that comes later
        low, high = min(low, tail.min()), max(high, tail.max())
    axes.plot([], [], color=INK, linewidth=1.0, label="predicted")
    axes.set_ylim(low - 0.05 * (high - low), high + 0.1 * (high - low))
    legend(axes)
    return figure
