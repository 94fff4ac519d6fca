"""REX: a reflected exponential decay over a fixed number of steps."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import Count, Scalar
from .._pytree import pytree_dataclass
from ._phase import fraction, scalar, split
from ._questions import Marks
from ._schedule import Schedule, schedule_factory
from ._steps import Steps


@pytree_dataclass
class RexSchedule(Schedule):
    """See `rex_schedule`."""

    init_value: Scalar
    total_steps: Count

    def __call__(self, count: Any) -> jax.Array:
        """The hyperbola."""
        elapsed, remaining = split(count, 0, self.total_steps)
        r = jnp.where(remaining == 0, 0.0, fraction(remaining, elapsed + remaining))
        return scalar(self.init_value) * (2 * r / (1 + r))

    def marks(self) -> Marks:
        """The end."""
        return {"end": self.total_steps}


@schedule_factory
def rex_schedule(init_value: Scalar, total_steps: Steps) -> RexSchedule:
    """Fall to zero slowly at first and fast at the end (reflected exponential).

    With x = min(t / total_steps, 1)::

      η(t) = init_value · (1 − x) / (1 − x/2)

    Args:
      init_value: the value at t = 0.
      total_steps: in updates, > 0; the value is 0 from there on.

    Returns:
      A schedule, exact at both ends, within 4 ulp.

    Raises:
      ValueError: if `total_steps` is not positive or a value is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.rex_schedule(3.0, 4)
      >>> print(*(schedule(t) for t in (0, 2, 4, 5)))
      3.0 2.0 0.0 0.0

    References:
      Chen, Wolfe, Kyrillidis, REX: revisiting budgeted training (MLSys 2022), arXiv 2107.04197.
    """
    check.finite(init_value=init_value)
    check.positive_count(total_steps=total_steps)
    return RexSchedule(init_value, total_steps)
