"""A power law of the data seen."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import F32, Count, Scalar
from .._pytree import pytree_dataclass
from ._phase import as_count, is_before, line, scalar, split, weight_power
from ._questions import Marks
from ._schedule import Schedule, schedule_factory
from ._steps import Steps


@pytree_dataclass
class PowerSchedule(Schedule):
    """See `power_schedule`."""

    max_value: Scalar
    warmup_steps: Count
    a: Scalar
    b: Scalar
    batch_size: Count

    def __call__(self, count: Any) -> jax.Array:
        """A line, then the power law under its cap."""
        t, w = as_count(count), as_count(self.warmup_steps)
        up = line(0.0, self._law(w), *split(t, 0, w))
        return jnp.where(is_before(t, w), up, self._law(jnp.maximum(t, w.astype(t.dtype))))

    def _law(self, t: jax.Array) -> jax.Array:
        size = jnp.maximum(as_count(self.batch_size), 1).astype(F32)
        power = weight_power(jnp.maximum(t, jnp.ones_like(t)).astype(F32), self.b) * weight_power(size, self.b)
        return jnp.minimum(scalar(self.max_value), size * scalar(self.a) * power)

    def marks(self) -> Marks:
        """The end of the warmup: the decay has no end."""
        return {"warmup_end": self.warmup_steps}


@schedule_factory
def power_schedule(max_value: Scalar, warmup_steps: Steps, *, a: Scalar, b: Scalar, batch_size: Count) -> PowerSchedule:
    """Follow a power law of the data seen, under a cap: a schedule that needs no horizon.

    With w = `warmup_steps`, β = `batch_size` and n = β · max(t, 1), the data seen::

      p(t) = min(max_value, β · a · n^b)
      η(t) = p(w) · t / w      for t < w
      η(t) = p(t)              for t ≥ w

    a and b are fitted to runs, in one unit of data with `batch_size` (tokens, sequences or examples). The paper has
    a = 4 and b = −0.51 for data in tokens and batches in sequences of 4,096; with both in sequences that is
    a = 4 · 4096^−0.51 = 0.0575. Its cap is 0.02. To end a run, add `with_cooldown`.

    Args:
      max_value: the cap.
      warmup_steps: w ≥ 0, in updates.
      a: > 0, the amplitude for a batch of 1.
      b: the exponent.
      batch_size: β > 0, the data in one update.

    Returns:
      A schedule, within 8 ulp.

    Raises:
      ValueError: if `a` or `batch_size` is not positive, w is negative, or a value is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.power_schedule(0.5, 2, a=0.25, b=-0.5, batch_size=4)
      >>> print(*(schedule(t) for t in (0, 4, 16)))
      0.0 0.25 0.125

    References:
      Shen et al., Power scheduler (2024), arXiv 2408.13359.
    """
    check.finite(max_value=max_value, a=a, b=b)
    check.positive(a=a)
    check.non_negative_count(warmup_steps=warmup_steps)
    check.positive_count(batch_size=batch_size)
    return PowerSchedule(max_value, warmup_steps, a, b, batch_size)
