"""Polynomial decay in cycles, each towards the next multiple of the length."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import INT32_MAX, Count, Scalar
from .._pytree import pytree_dataclass
from ._phase import as_count, power_weights, scalar
from ._questions import Marks
from ._schedule import Schedule, schedule_factory
from ._steps import Steps
from .exponential import whole_periods


@pytree_dataclass
class PolynomialCyclesSchedule(Schedule):
    """See `polynomial_cycles_schedule`."""

    init_value: Scalar
    end_value: Scalar
    power: Scalar
    cycle_steps: Count

    def __call__(self, count: Any) -> jax.Array:
        """Down to the next multiple of the length."""
        t = as_count(count)
        n = jnp.maximum(as_count(self.cycle_steps), 1).astype(t.dtype)
        # the steps since the last multiple before t, in (0, n]; t = 0 has a whole cycle before it
        last = t - whole_periods(jnp.maximum(t - 1, 0), n) * n
        remaining = jnp.minimum(n - last, jnp.asarray(INT32_MAX, t.dtype) - t)  # the sum of both stays an int32
        w, v = power_weights(t, remaining, self.power)
        return scalar(self.init_value) * w + scalar(self.end_value) * v

    def marks(self) -> Marks:
        """The end of the first cycle."""
        return {"cycle": self.cycle_steps}


@schedule_factory
def polynomial_cycles_schedule(
    init_value: Scalar, end_value: Scalar, *, power: Scalar, cycle_steps: Steps
) -> PolynomialCyclesSchedule:
    """Fall along a polynomial in cycles, each of which is stretched to the next multiple of the length.

    With n = `cycle_steps` and k = max(⌈t / n⌉, 1)::

      η(t) = end_value + (init_value − end_value) · (1 − t / (k · n))^power

    `end_value` is reached at every multiple of n; after it the value rises to end_value + (init_value − end_value) ·
    (1 / k)^power at most, less in each cycle. This is Keras's `PolynomialDecay` with `cycle=True`.

    Args:
      init_value: the value at t = 0.
      end_value: the value at every multiple of n but 0.
      power: ≥ 0; 1 is a line.
      cycle_steps: n > 0, in updates.

    Returns:
      A schedule, exact at 0 and at multiples of n, within 4 ulp between values of one sign. In the last n steps that
      int32 can count the cycle ends at 2³¹ − 1.

    Raises:
      ValueError: if n is not positive, `power` is negative, or a value is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.polynomial_cycles_schedule(1.0, 0.0, power=1.0, cycle_steps=2)
      >>> print(*(schedule(t) for t in range(5)))
      1.0 0.5 0.0 0.25 0.0

    References:
      Keras, keras/src/optimizers/schedules/learning_rate_schedule.py, `PolynomialDecay`.
    """
    check.finite(init_value=init_value, end_value=end_value, power=power)
    check.non_negative(power=power)
    check.positive_count(cycle_steps=cycle_steps)
    return PolynomialCyclesSchedule(init_value, end_value, power, cycle_steps)
