"""From one value to another along a line or another power: linear, polynomial, and linear to zero after a warmup."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import _check as check
from .._numbers import Count, Scalar, is_tracer
from .._pytree import pytree_dataclass
from ._phase import as_count, is_before, line, power_weights, scalar, split
from ._questions import Marks, summed
from ._schedule import Schedule, schedule_factory
from ._steps import Steps


def _begun(count: Any, schedule: Any) -> jax.Array:
    """Whether the transition has begun. One of no steps never does, as in optax."""
    return ~is_before(as_count(count), schedule.transition_begin) & (as_count(schedule.transition_steps) > 0)


def _ends(schedule: Any) -> Marks:
    begin, steps = schedule.transition_begin, schedule.transition_steps
    if not is_tracer(steps) and not np.ndim(steps) and steps == 0:
        return {"end": 0}
    return {"begin": begin, "end": summed(begin, steps)}


@pytree_dataclass
class LinearSchedule(Schedule):
    """See `linear_schedule`."""

    init_value: Scalar
    end_value: Scalar
    transition_steps: Count
    transition_begin: Count = 0

    def __call__(self, count: Any) -> jax.Array:
        """The line."""
        elapsed, remaining = split(count, self.transition_begin, self.transition_steps)
        value = line(self.init_value, self.end_value, elapsed, remaining)
        return jnp.where(_begun(count, self), value, scalar(self.init_value))

    def marks(self) -> Marks:
        """Both ends of the curve."""
        return _ends(self)


@schedule_factory
def linear_schedule(
    init_value: Scalar, end_value: Scalar, transition_steps: Steps, transition_begin: Steps = 0
) -> LinearSchedule:
    """Go from `init_value` to `end_value` along a straight line.

    With T = `transition_steps` and x = clip((t − transition_begin) / T, 0, 1)::

      η(t) = init_value · (1 − x) + end_value · x

    Args:
      init_value: the value up to `transition_begin`.
      end_value: the value from `transition_begin + T` on.
      transition_steps: T ≥ 0, in updates; with 0 the schedule is `init_value` throughout, as in optax.
      transition_begin: ≥ 0, in updates.

    Returns:
      A schedule, exact at both ends, within 2 ulp between values of one sign.

    Raises:
      ValueError: if a length is negative or a value is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.linear_schedule(1.0, 0.0, transition_steps=4)
      >>> print(*(schedule(t) for t in (0, 1, 2, 3, 4, 5)))
      1.0 0.75 0.5 0.25 0.0 0.0
    """
    check.finite(init_value=init_value, end_value=end_value)
    check.non_negative_count(transition_steps=transition_steps, transition_begin=transition_begin)
    return LinearSchedule(init_value, end_value, transition_steps, transition_begin)


@pytree_dataclass
class PolynomialSchedule(Schedule):
    """See `polynomial_schedule`."""

    init_value: Scalar
    end_value: Scalar
    power: Scalar
    transition_steps: Count
    transition_begin: Count = 0

    def __call__(self, count: Any) -> jax.Array:
        """The curve."""
        elapsed, remaining = split(count, self.transition_begin, self.transition_steps)
        w, v = power_weights(elapsed, remaining, self.power)
        a = scalar(self.init_value)
        return jnp.where(_begun(count, self), a * w + scalar(self.end_value) * v, a)

    def marks(self) -> Marks:
        """Both ends of the curve."""
        return _ends(self)


@schedule_factory
def polynomial_schedule(
    init_value: Scalar, end_value: Scalar, power: Scalar, transition_steps: Steps, transition_begin: Steps = 0
) -> PolynomialSchedule:
    """Go from `init_value` to `end_value` along a power of the steps that remain.

    With T = `transition_steps` and x = clip((t − transition_begin) / T, 0, 1)::

      η(t) = end_value + (init_value − end_value) · (1 − x)^power

    Args:
      init_value: the value up to `transition_begin`.
      end_value: the value from `transition_begin + T` on.
      power: the exponent, ≥ 0; 1 is linear, and with 0 the schedule is `init_value` throughout.
      transition_steps: T ≥ 0, in updates; with 0 the schedule is `init_value` throughout, as in optax.
      transition_begin: ≥ 0, in updates.

    Returns:
      A schedule, exact at both ends, within 4 ulp between values of one sign.

    Raises:
      ValueError: if a length or the power is negative, or a value is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.polynomial_schedule(1.0, 0.0, power=2, transition_steps=4)
      >>> print(*(schedule(t) for t in (0, 2, 3, 4)))
      1.0 0.25 0.0625 0.0
    """
    check.finite(init_value=init_value, end_value=end_value, power=power)
    check.non_negative(power=power)
    check.non_negative_count(transition_steps=transition_steps, transition_begin=transition_begin)
    return PolynomialSchedule(init_value, end_value, power, transition_steps, transition_begin)


@pytree_dataclass
class WarmupLinearSchedule(Schedule):
    """See `warmup_linear_schedule`."""

    peak_value: Scalar
    warmup_steps: Count
    total_steps: Count
    init_value: Scalar = 0.0
    end_value: Scalar = 0.0

    def __call__(self, count: Any) -> jax.Array:
        """Two lines."""
        w, n = self.warmup_steps, self.total_steps
        up = line(self.init_value, self.peak_value, *split(count, 0, w))
        down = line(self.peak_value, self.end_value, *split(count, w, n - w))
        return jnp.where(is_before(as_count(count), w), up, down)

    def marks(self) -> Marks:
        """The ends of the two lines."""
        return {"warmup_end": self.warmup_steps, "end": self.total_steps}


@schedule_factory
def warmup_linear_schedule(
    peak_value: Scalar,
    warmup_steps: Steps,
    *,
    total_steps: Steps,
    init_value: Scalar = 0.0,
    end_value: Scalar = 0.0,
) -> WarmupLinearSchedule:
    """Rise along a line to `peak_value`, then fall along a line to `end_value` (linear to zero).

    With w = `warmup_steps` and T = `total_steps`::

      η(t) = init_value + (peak_value − init_value) · t / w             for t < w
      η(t) = peak_value + (end_value − peak_value) · (t − w) / (T − w)  for w ≤ t < T
      η(t) = end_value                                                  for t ≥ T

    Args:
      peak_value: the value at t = w.
      warmup_steps: w ≥ 0, in updates; with 0 the schedule starts at the peak.
      total_steps: T > w, in updates, the warmup included.
      init_value: the value at t = 0.
      end_value: the value from t = T on.

    Returns:
      A schedule, exact at its three corners, within 2 ulp between values of one sign.

    Raises:
      ValueError: if a length is negative, T ≤ w, or a value is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.warmup_linear_schedule(1.0, 2, total_steps=6)
      >>> print(*(schedule(t) for t in range(7)))
      0.0 0.5 1.0 0.75 0.5 0.25 0.0

    References:
      Bergsma et al., Straight to zero (2025), arXiv 2502.15938; Defazio et al., arXiv 2310.07831.
    """
    check.finite(peak_value=peak_value, init_value=init_value, end_value=end_value)
    check.non_negative_count(warmup_steps=warmup_steps)
    check.positive_count(total_steps=total_steps)
    check.less("warmup_steps", warmup_steps, "total_steps", total_steps, "total_steps counts the warmup.")
    return WarmupLinearSchedule(peak_value, warmup_steps, total_steps, init_value, end_value)
