"""Decay along a hyperbolic tangent."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import Count, Scalar
from .._pytree import pytree_dataclass
from ._phase import line, scalar, split
from ._questions import Marks
from ._schedule import Schedule, schedule_factory
from ._steps import Steps


@pytree_dataclass
class TanhSchedule(Schedule):
    """See `tanh_schedule`."""

    init_value: Scalar
    total_steps: Count
    lower: Scalar = -7.0
    upper: Scalar = 3.0
    end_value: Scalar = 0.0

    def __call__(self, count: Any) -> jax.Array:
        """½(1 − tanh z) = 1/(1 + e^{2z})."""
        elapsed, remaining = split(count, 0, self.total_steps)
        z = jnp.clip(line(self.lower, self.upper, elapsed, remaining), -40.0, 40.0)
        e = jnp.exp(2 * z)
        a, b = scalar(self.init_value), scalar(self.end_value)
        return jnp.where(remaining == 0, b, (a + b * e) / (1 + e))

    def marks(self) -> Marks:
        """The end."""
        return {"end": self.total_steps}


@schedule_factory
def tanh_schedule(
    init_value: Scalar, total_steps: Steps, *, lower: Scalar = -7.0, upper: Scalar = 3.0, end_value: Scalar = 0.0
) -> TanhSchedule:
    """Fall along a hyperbolic tangent.

    With T = `total_steps`, x = t / T and z = lower · (1 − x) + upper · x::

      η(t) = end_value + (init_value − end_value) · ½(1 − tanh z)      for t < T,  end_value from T on

    This is timm's `TanhLRScheduler`. The first value is ½(1 − tanh lower) of the way, with the default 1 − 8·10⁻⁷; at T
    the last ½(1 − tanh upper), with the default 0.25 %, drop to nothing.

    Args:
      init_value: the value that the curve comes from.
      total_steps: T > 0, in updates.
      lower: z at t = 0.
      upper: z at t = T.
      end_value: the value that the curve goes to, and the value from T on.

    Returns:
      A schedule, exact from T on; before, within 8 ulp between values of one sign while |z| ≤ 8.

    Raises:
      ValueError: if T is not positive or a value is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.tanh_schedule(1.0, 4, lower=-1.0, upper=1.0)
      >>> print(*(schedule(t) for t in (2, 4)))
      0.5 0.0

    References:
      Hsueh et al., Stochastic gradient descent with hyperbolic-tangent decay (2018), arXiv 1806.01593.
    """
    check.finite(init_value=init_value, lower=lower, upper=upper, end_value=end_value)
    check.positive_count(total_steps=total_steps)
    return TanhSchedule(init_value, total_steps, lower, upper, end_value)
