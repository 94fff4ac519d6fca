"""A constant rate, and a constant rate after a warmup."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import F32, Count, Scalar
from .._pytree import pytree_dataclass
from ._phase import as_count, line, scalar, split
from ._questions import Marks
from ._schedule import Schedule, schedule_factory
from ._steps import Steps


@pytree_dataclass
class ConstantSchedule(Schedule):
    """See `constant_schedule`."""

    value: Scalar

    def __call__(self, count: Any) -> jax.Array:
        """`value`, in the shape of `count`."""
        return jnp.broadcast_to(scalar(self.value), as_count(count).shape).astype(F32)

    def marks(self) -> Marks:
        """Never changes: `end` is 0."""
        return {"end": 0}


@schedule_factory
def constant_schedule(value: Scalar) -> ConstantSchedule:
    """Hold one value throughout.

    ::

      η(t) = value

    Args:
      value: the rate.

    Returns:
      A schedule.

    Raises:
      ValueError: if `value` is not finite.

    Examples:
      >>> import lrx
      >>> print(lrx.constant_schedule(0.5)(7))
      0.5
    """
    check.finite(value=value)
    return ConstantSchedule(value)


@pytree_dataclass
class WarmupConstantSchedule(Schedule):
    """See `warmup_constant_schedule`."""

    init_value: Scalar
    peak_value: Scalar
    warmup_steps: Count

    def __call__(self, count: Any) -> jax.Array:
        """A line, then its last value."""
        value = line(self.init_value, self.peak_value, *split(count, 0, self.warmup_steps))
        return jnp.where(as_count(self.warmup_steps) == 0, scalar(self.init_value), value)

    def marks(self) -> Marks:
        """The end of the line."""
        return {"warmup_end": self.warmup_steps, "end": self.warmup_steps}


@schedule_factory
def warmup_constant_schedule(init_value: Scalar, peak_value: Scalar, warmup_steps: Steps) -> WarmupConstantSchedule:
    """Rise along a line to `peak_value` and stay there.

    With w = `warmup_steps`::

      η(t) = init_value + (peak_value − init_value) · min(t / w, 1)      if w > 0,  else init_value

    Args:
      init_value: the value at t = 0.
      peak_value: the value from t = w on.
      warmup_steps: w ≥ 0, in updates; with 0 the schedule is `init_value` throughout, as in optax.

    Returns:
      A schedule, exact at both ends of the warmup, within 2 ulp between values of one sign.

    Raises:
      ValueError: if the length is negative or a value is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.warmup_constant_schedule(0.0, 1.0, warmup_steps=2)
      >>> print(*(schedule(t) for t in range(4)))
      0.0 0.5 1.0 1.0
    """
    check.finite(init_value=init_value, peak_value=peak_value)
    check.non_negative_count(warmup_steps=warmup_steps)
    return WarmupConstantSchedule(init_value, peak_value, warmup_steps)
