"""A schedule from the gradient norms of an earlier run."""

from typing import Any, Literal

import numpy as np

from .. import _check as check
from .._numbers import is_tracer
from .._series import series
from ..schedules.knots import InterpolatedSchedule, interpolated_schedule

Norm = Literal["l2", "l1"]

EXPONENTS: dict[Norm, int] = {"l2": 2, "l1": 1}
"""What power of the norm a weight is the inverse of."""


@check.public
def refined_schedule(
    gradient_norms: Any, *, peak_value: float, norm: Norm = "l2", smoothing: float = 0.1
) -> InterpolatedSchedule:
    """The schedule that the gradient norms of an earlier run ask for.

    Of the norms G₁ … G_T of the T updates of a run, smoothed by a running median over `smoothing` of them, ::

      w_t = G_t⁻²   (l2, for SGD)      w_t = G_t⁻¹   (l1, for Adam)
      η_t = w_t Σ_{s>t} w_s

    scaled so that the greatest is `peak_value`. The last iterate of a run with these steps is as good as the average
    of a run with steps w_t, for which theory has a bound that is least for these weights. With SGD it is
    D² / (2 Σ w) + Σ w² G² / (2 Σ w), least for w ∝ G⁻²; with a rule that divides by the size of each coordinate, the
    norm is l1, and the weights that balance the coordinates' bounds are ∝ G⁻¹. Equal norms give a line to zero, norms
    that fall at the start a warmup, and norms that grow at the end a steeper end.

    The second run has norms of its own, and so this is a heuristic; the peak is to be tuned as that of any schedule. On
    characters of text it lowered the loss of SGD by 1.3 %. Where a model learns its data by heart, the norms go to zero
    and the schedule rises until late: on digits it ended at more than twice the training loss of a line to zero
    (`benchmarks/README.md`).

    Args:
      gradient_norms: the norm of the gradient at each update of the run, [steps], in order; of the gradient as the
        optimizer received it. A run of another number of steps needs `lrx.stretch`.
      peak_value: the greatest rate.
      norm: which norm they are: `"l2"` (the root of the sum of squares) or `"l1"` (the sum of absolute values).
      smoothing: τ, the share of the run that the median covers: 2 ⌊τT/2⌋ + 1 updates. Before the start the first norm
        repeats, at the end the norms are mirrored. 0 is no smoothing.

    Returns:
      A schedule with one knot for each update, 0 at the last of them.

    Raises:
      ValueError: if there are fewer than two norms, a norm is not finite or not positive, `peak_value` is not positive,
        `norm` is unknown, or `smoothing` is not between 0 and 1.
      TypeError: if the norms are not real numbers.

    Examples:
      >>> import lrx
      >>> schedule = lrx.refined_schedule([2.0, 2.0, 2.0, 2.0, 2.0], peak_value=0.4)
      >>> print(*(schedule(t) for t in range(5)))
      0.4 0.3 0.2 0.1 0.0
      >>> print(lrx.refined_schedule([4.0, 2.0, 2.0, 2.0], peak_value=0.1, smoothing=0.0).landmarks()["peak"])
      1

    References:
      Defazio, Cutkosky, Mehta and Mishchenko, Optimal linear decay learning rate schedules and further refinements
      (2023), arXiv 2310.07831, theorem 1 for the weights, algorithms 1 (SGD) and 2 (Adam).
    """
    check.one_of(Norm, norm=norm)
    check.finite(peak_value=peak_value)
    check.positive(peak_value=peak_value)
    check.finite(smoothing=smoothing)
    check.non_negative(smoothing=smoothing)
    check.at_most_one(smoothing=smoothing)
    norms = series("gradient_norms", gradient_norms)
    if norms.size < 2:
        raise check.fail("gradient_norms", "must be at least two", norms.size)
    wrong = ~(np.isfinite(norms) & (norms > 0))
    if wrong.any():
        i = int(np.argmax(wrong))
        way = f"That is the norm of update {i}."
        raise check.fail("gradient_norms", "must be finite and positive", float(norms[i]), way)
    smooth = running_median(norms, int(smoothing * norms.size / 2))
    weights = (smooth / smooth.min()) ** -EXPONENTS[norm]  # between 0 and 1
    later = np.append(np.cumsum(weights[::-1])[-2::-1], 0.0)
    shape = weights * later
    shape = shape / shape.max()
    if is_tracer(peak_value):
        return interpolated_schedule(range(norms.size), [peak_value * x for x in shape.tolist()])
    return interpolated_schedule(range(norms.size), (float(peak_value) * shape).tolist())


def running_median(x: np.ndarray, reach: int) -> np.ndarray:
    """The median of each entry and `reach` on either side of it: the first one repeated before, mirrored at the end."""
    if not reach:
        return x
    from scipy.ndimage import median_filter

    reach = min(reach, x.size - 1)
    wide = np.concatenate([np.full(reach, x[0]), x, x[-2 : -reach - 2 : -1]])
    return median_filter(wide, size=2 * reach + 1, mode="nearest")[reach:-reach]
