"""Rules that read a learning rate off the losses of a range test."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from .. import _check as check
from .._series import series, smoothed

Rule = Literal["minimum", "steep", "valley", "slide"]


@check.public
def suggest(
    learning_rates: Any,
    losses: Any,
    rule: Rule = "valley",
    *,
    smoothing: float | None = None,
    skip_start: int = 0,
    skip_end: int = 0,
) -> float:
    """Suggest a learning rate from the losses of a range test.

    With rates ηᵢ = `learning_rates[i]` and losses ℓᵢ = `losses[i]`, numbered from 0 after skipping:

    - `minimum`: η at the lowest loss, divided by 10.
    - `steep`: η at the minimum of dℓ/d(log η), by second-order differences (`numpy.gradient`).
    - `valley`: the longest strictly decreasing subsequence of the losses, the first that ends of equally long ones.
      With length L and end index e, η at index max(0, e − L + ⌊L/3⌋ + ⌊L/6⌋), half-way along it. If nothing
      decreases, L = 1 and the index is 0.
    - `slide`: g = dℓ/di by index. A window of 15 starts at the right end and moves left while its ends differ by
      |g[right] − g[left]| > 0.005; η at its last left end for which they did. The only rule that depends on the
      losses' scale.

    No smoothing or skipping happens unless asked for. Losses that are not finite count as missing, wherever they are.

    Args:
      learning_rates: the rate of each step, shape `(n,)`, positive and increasing.
      losses: the loss before each step's update, shape `(n,)`.
      rule: `"minimum"`, `"steep"`, `"valley"` or `"slide"`.
      smoothing: β of an exponential moving average with bias correction, (1 − β) Σⱼ βⁱ⁻ʲ ℓⱼ / (1 − βⁱ⁺¹), over all
        losses, before any are skipped.
      skip_start: entries left out at the start of the record.
      skip_end: entries left out at its end.

    Returns:
      The rate, a float: one of `learning_rates`, except for `minimum`.

    Raises:
      ValueError: if the lengths differ, the rates are not positive, finite and increasing, the rule is unknown, or
        fewer than 2 finite losses (17 for `slide`) remain.

    Examples:
      >>> rates = [1e-4, 1e-3, 1e-2, 1e-1, 1e0, 1e1]
      >>> losses = [10.0, 8.0, 4.0, 1.0, 4.0, 16.0]
      >>> suggest(rates, losses, "minimum"), suggest(rates, losses, "steep"), suggest(rates, losses, "valley")
      (0.01, 0.01, 0.0001)

    References:
      L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", arXiv:1506.01186, section 3.3.
      `minimum`, `steep`, `valley` and `slide` are fastai's (`callback/schedule.py`): `valley` is by ESRI, `slide` by
      A. Chang.
    """
    check.one_of(tuple(RULES), rule=rule)
    check.non_negative_count(skip_start=skip_start, skip_end=skip_end)
    rates, values = series("learning_rates", learning_rates), series("losses", losses)
    if rates.size != values.size:
        raise check.fail("losses", f"must have one loss for each of the {rates.size} learning rates", values.size)
    increasing = np.isfinite(rates) & (np.diff(rates, prepend=0.0) > 0)
    if not increasing.all():
        i = int(np.argmin(increasing))
        order = "must be positive, finite and strictly increasing"
        raise check.fail("learning_rates", order, float(rates[i]), f"That is entry {i}.")
    if smoothing is not None:
        check.below_one(smoothing=smoothing)
        values = smoothed(values, float(smoothing))
    kept = slice(int(skip_start), max(0, rates.size - int(skip_end)))
    rates, values = rates[kept], values[kept]
    finite = np.isfinite(values)
    rates, values = rates[finite], values[finite]
    choose, needed = RULES[rule]
    if values.size < needed:
        rest = f"{rule!r} needs at least {needed}"
        if skip_start or skip_end:
            rest += f", after skip_start={skip_start} and skip_end={skip_end}"
        raise check.fail("losses", "must have more finite values", values.size, f"{rest}.")
    return float(choose(rates, values))


def _minimum(rates: np.ndarray, losses: np.ndarray) -> float:
    return rates[np.argmin(losses)] / 10


def _steep(rates: np.ndarray, losses: np.ndarray) -> float:
    return rates[np.argmin(np.gradient(losses, np.log(rates)))]


def _valley(rates: np.ndarray, losses: np.ndarray) -> float:
    length = np.ones(losses.size, int)  # of the longest decreasing subsequence that ends here
    for i in range(1, losses.size):
        higher = length[:i][losses[:i] > losses[i]]
        length[i] += higher.max(initial=0)
    end = int(np.argmax(length))
    longest = int(length[end])
    return rates[max(0, end - longest + longest // 3 + longest // 6)]


def _slide(rates: np.ndarray, losses: np.ndarray) -> float:
    width, threshold = 15, 0.005
    slope = np.gradient(losses)
    moved = np.abs(slope[width:] - slope[:-width]) > threshold  # by left end
    stop = np.flatnonzero(~moved)  # the window goes left until the first of these from the right
    left = stop[-1] + 1 if stop.size else 0
    return rates[min(left, moved.size - 1)]


RULES: dict[Rule, tuple[Callable[[np.ndarray, np.ndarray], float], int]] = {
    "minimum": (_minimum, 2),
    "steep": (_steep, 2),
    "valley": (_valley, 2),
    "slide": (_slide, 17),
}
"""Each rule, and how many losses it needs."""


@check.public
def logspace(start: float, stop: float, num: int) -> jax.Array:
    """Learning rates evenly spaced on a logarithmic scale, ends included.

    Rate i is start · (stop / start)^(i / (num − 1)), computed in float64 and rounded once, so that both ends are exact.

    Args:
      start: the first rate.
      stop: the last rate.
      num: how many, at least 2.

    Returns:
      A float32 array of shape `(num,)`.

    Raises:
      ValueError: if an end is not positive and finite, or `num` is less than 2.

    Examples:
      >>> [f"{rate:.3g}" for rate in logspace(1e-4, 1e-1, 4)]
      ['0.0001', '0.001', '0.01', '0.1']
    """
    check.positive(start=start, stop=stop)
    check.finite(start=start, stop=stop)
    check.count(num=num)
    if num < 2:
        raise check.fail("num", "must be at least 2, for both ends", num)
    return jnp.asarray(np.geomspace(start, stop, int(num)), jnp.float32)
