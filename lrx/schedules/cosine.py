"""Half a cosine: cosine decay, and warmup with cosine decay."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import Count, Scalar
from .._pytree import pytree_dataclass
from ._phase import as_count, cosine_power_weights, is_before, line, scalar, split
from ._questions import Marks
from ._schedule import Schedule, schedule_factory
from ._steps import Steps


def _decay(a: Scalar | jax.Array, b: Scalar | jax.Array, exponent: Scalar, elapsed: Any, remaining: Any) -> jax.Array:
    """B + (a − b)·(½(1 + cos πx))^exponent, with 0⁰ = 1 at the end."""
    w, v = cosine_power_weights(elapsed, remaining, exponent)
    return scalar(a) * w + scalar(b) * v


@pytree_dataclass
class CosineDecaySchedule(Schedule):
    """See `cosine_decay_schedule`."""

    init_value: Scalar
    decay_steps: Count
    alpha: Scalar = 0.0
    exponent: Scalar = 1.0

    def __call__(self, count: Any) -> jax.Array:
        """Half a cosine."""
        a = scalar(self.init_value)
        return _decay(a, a * scalar(self.alpha), self.exponent, *split(count, 0, self.decay_steps))

    def marks(self) -> Marks:
        """The end."""
        return {"end": self.decay_steps}


@schedule_factory
def cosine_decay_schedule(
    init_value: Scalar, decay_steps: Steps, alpha: Scalar = 0.0, exponent: Scalar = 1.0
) -> CosineDecaySchedule:
    """Fall from `init_value` to `alpha * init_value` along half a cosine.

    With x = min(t / decay_steps, 1)::

      η(t) = init_value · ((1 − alpha) · (½(1 + cos πx))^exponent + alpha)

    Args:
      init_value: the value at t = 0.
      decay_steps: in updates, > 0; the last value holds from there on.
      alpha: the last value as a fraction of the first.
      exponent: ≥ 0; with 0 nothing falls, as 0⁰ = 1 in the formula.

    Returns:
      A schedule, exact at both ends, within 8 ulp between.

    Raises:
      ValueError: if `decay_steps` is not positive, `exponent` is negative, or a value is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.cosine_decay_schedule(1.0, decay_steps=4, alpha=0.5)
      >>> print(*(schedule(t) for t in (0, 2, 4, 9)))
      1.0 0.75 0.5 0.5

    References:
      Loshchilov, Hutter, SGDR (ICLR 2017), arXiv 1608.03983, equation 5.
    """
    check.finite(init_value=init_value, alpha=alpha, exponent=exponent)
    check.non_negative(exponent=exponent)
    check.positive_count(decay_steps=decay_steps)
    return CosineDecaySchedule(init_value, decay_steps, alpha, exponent)


@pytree_dataclass
class WarmupCosineDecaySchedule(Schedule):
    """See `warmup_cosine_decay_schedule`."""

    init_value: Scalar
    peak_value: Scalar
    warmup_steps: Count
    decay_steps: Count
    end_value: Scalar = 0.0
    exponent: Scalar = 1.0

    def __call__(self, count: Any) -> jax.Array:
        """A line, then half a cosine."""
        w, n = self.warmup_steps, self.decay_steps
        up = line(self.init_value, self.peak_value, *split(count, 0, w))
        down = _decay(self.peak_value, self.end_value, self.exponent, *split(count, w, n - w))
        return jnp.where(is_before(as_count(count), w), up, down)

    def marks(self) -> Marks:
        """The ends of the line and of the cosine."""
        return {"warmup_end": self.warmup_steps, "end": self.decay_steps}


@schedule_factory
def warmup_cosine_decay_schedule(
    init_value: Scalar,
    peak_value: Scalar,
    warmup_steps: Steps,
    decay_steps: Steps,
    end_value: Scalar = 0.0,
    exponent: Scalar = 1.0,
) -> WarmupCosineDecaySchedule:
    """Rise along a line to `peak_value`, then fall to `end_value` along half a cosine.

    With w = `warmup_steps` and x = min((t − w) / (decay_steps − w), 1)::

      η(t) = init_value + (peak_value − init_value) · t / w                         for t < w
      η(t) = end_value + (peak_value − end_value) · (½(1 + cos πx))^exponent        for t ≥ w

    Args:
      init_value: the value at t = 0.
      peak_value: the value at t = w.
      warmup_steps: w ≥ 0, in updates; with 0 the schedule starts at the peak.
      decay_steps: in updates, > w: where `end_value` is reached. It counts the warmup.
      end_value: the value from `decay_steps` on.
      exponent: ≥ 0; with 0 nothing falls, as 0⁰ = 1 in the formula.

    Returns:
      A schedule, exact at its corners, within 8 ulp between values of one sign.

    Raises:
      ValueError: if a length is negative, `decay_steps` ≤ w, `exponent` is negative, or a value is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.warmup_cosine_decay_schedule(0.0, 1.0, warmup_steps=2, decay_steps=6)
      >>> print(*(schedule(t) for t in (0, 1, 2, 4, 6)))
      0.0 0.5 1.0 0.5 0.0

    References:
      Goyal et al., Accurate, large minibatch SGD (2017), arXiv 1706.02677, section 2.2; SGDR, arXiv 1608.03983.
    """
    check.finite(init_value=init_value, peak_value=peak_value, end_value=end_value, exponent=exponent)
    check.non_negative(exponent=exponent)
    check.non_negative_count(warmup_steps=warmup_steps)
    check.positive_count(decay_steps=decay_steps)
    check.less("warmup_steps", warmup_steps, "decay_steps", decay_steps, "decay_steps counts the warmup.")
    return WarmupCosineDecaySchedule(init_value, peak_value, warmup_steps, decay_steps, end_value, exponent)
