"""A rate that does not change."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import F32, Scalar
from .._pytree import pytree_dataclass
from ._phase import as_count, scalar
from ._schedule import Schedule, schedule_factory


@pytree_dataclass
class ConstantSchedule(Schedule):
    """See `constant_schedule`."""

    value: Scalar

    def __call__(self, count: Any) -> jax.Array:
        """`value`, in the shape of `count`."""
        return jnp.broadcast_to(scalar(self.value), as_count(count).shape).astype(F32)


@schedule_factory
def constant_schedule(value: Scalar) -> ConstantSchedule:
    """Hold one value for ever.

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
