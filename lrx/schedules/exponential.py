"""Multiplication by a constant factor: exponential decay, alone and after a warmup, and step decay."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import INT32_MAX, Count, Scalar, is_tracer
from .._pytree import pytree_dataclass, static
from ._phase import as_count, is_before, line, power, scalar, split
from ._questions import Marks, first_held
from ._schedule import Schedule, schedule_factory
from ._steps import Steps


def whole_periods(t: jax.Array, steps: Count | jax.Array) -> jax.Array:
    """⌊t / steps⌋ in whole numbers where t is one: a float quotient would jump a step early or late."""
    steps = jnp.maximum(as_count(steps), 1)  # a traced 0 passes the checks
    return t // steps if t.dtype == steps.dtype else jnp.floor(t / steps.astype(t.dtype))


def bound_met(schedule: Any, init_value: Scalar, begin: Any) -> Marks:
    """The end of a decay that begins with `init_value` at `begin`: where its bound is met, if it has one.

    Searched for where all numbers are known; while tracing by the formula, a little later than it is met.
    """
    if schedule.end_value is None:
        return {}
    if not any(map(is_tracer, jax.tree.leaves(schedule))):
        return first_held(schedule, schedule.end_value)
    x = jnp.log(scalar(schedule.end_value) / scalar(init_value)) / jnp.log(scalar(schedule.decay_rate))
    x = (jnp.ceil(x) if schedule.staircase else x) * scalar(schedule.transition_steps)
    steps = jnp.clip(jnp.nan_to_num(x * (1 + 1e-6) + 1), 0.0, 2.0**30)
    return {"end": as_count(begin) + steps.astype(jnp.int32)}


@pytree_dataclass
class ExponentialDecay(Schedule):
    """See `exponential_decay`."""

    init_value: Scalar
    transition_steps: Count
    decay_rate: Scalar
    transition_begin: Count = 0
    staircase: bool = static(default=False)
    end_value: Scalar | None = None

    def __call__(self, count: Any) -> jax.Array:
        """The curve, within its bound."""
        t, _ = split(count, self.transition_begin, INT32_MAX)
        rate = scalar(self.decay_rate)
        if self.staircase:
            factor = power(rate, whole_periods(t, self.transition_steps), 1)
        else:
            factor = power(rate, t, self.transition_steps)
        value = scalar(self.init_value) * factor
        if self.end_value is None:
            return value
        bound = scalar(self.end_value)
        return jnp.where(rate < 1, jnp.maximum(value, bound), jnp.minimum(value, bound))

    def marks(self) -> Marks:
        """Where it begins, and where it meets its bound."""
        return {"begin": self.transition_begin, **bound_met(self, self.init_value, self.transition_begin)}


@schedule_factory
def exponential_decay(
    init_value: Scalar,
    transition_steps: Steps,
    decay_rate: Scalar,
    transition_begin: Steps = 0,
    staircase: bool = False,
    end_value: Scalar | None = None,
) -> ExponentialDecay:
    """Multiply by `decay_rate` every `transition_steps`, smoothly or in stairs.

    With x = max(t − transition_begin, 0) / transition_steps::

      η(t) = init_value · decay_rate^x            or, with `staircase`,   init_value · decay_rate^⌊x⌋

    but not past `end_value`: not below it if decay_rate < 1, else not above it.

    Args:
      init_value: the value up to `transition_begin`.
      transition_steps: in updates, > 0.
      decay_rate: the factor, > 0; above 1 the value grows.
      transition_begin: in updates, ≥ 0.
      staircase: whether to change only at whole multiples of `transition_steps`.
      end_value: the bound, or None for none.

    Returns:
      A schedule, within 5 ulp.

    Raises:
      ValueError: if `transition_steps` or `decay_rate` is not positive, or a value is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.exponential_decay(8.0, transition_steps=2, decay_rate=0.25, end_value=1.0)
      >>> print(*(schedule(t) for t in (0, 1, 2, 3, 4)))
      8.0 4.0 2.0 1.0 1.0
    """
    check.finite(init_value=init_value, decay_rate=decay_rate)
    check.positive_count(transition_steps=transition_steps)
    check.non_negative_count(transition_begin=transition_begin)
    check.positive(decay_rate=decay_rate)
    if end_value is not None:
        check.finite(end_value=end_value)
    return ExponentialDecay(init_value, transition_steps, decay_rate, transition_begin, bool(staircase), end_value)


@pytree_dataclass
class WarmupExponentialDecaySchedule(Schedule):
    """See `warmup_exponential_decay_schedule`."""

    init_value: Scalar
    peak_value: Scalar
    warmup_steps: Count
    transition_steps: Count
    decay_rate: Scalar
    transition_begin: Count = 0
    staircase: bool = static(default=False)
    end_value: Scalar | None = None

    def __call__(self, count: Any) -> jax.Array:
        """A line, then the decay."""
        t, w = as_count(count), as_count(self.warmup_steps)
        decay = ExponentialDecay(
            self.peak_value,
            self.transition_steps,
            self.decay_rate,
            self.transition_begin,
            self.staircase,
            self.end_value,
        )
        up = line(self.init_value, self.peak_value, *split(t, 0, w))
        return jnp.where(is_before(t, w), up, decay(jnp.maximum(t - w.astype(t.dtype), jnp.zeros_like(t))))

    def marks(self) -> Marks:
        """The end of the warmup: the decay has none."""
        return {"warmup_end": self.warmup_steps}


@schedule_factory
def warmup_exponential_decay_schedule(
    init_value: Scalar,
    peak_value: Scalar,
    warmup_steps: Steps,
    transition_steps: Steps,
    decay_rate: Scalar,
    transition_begin: Steps = 0,
    staircase: bool = False,
    end_value: Scalar | None = None,
) -> WarmupExponentialDecaySchedule:
    """Rise along a line to `peak_value`, then multiply by `decay_rate` every `transition_steps`.

    With w = `warmup_steps` and x = max(t − w − transition_begin, 0) / transition_steps::

      η(t) = init_value + (peak_value − init_value) · t / w     for t < w
      η(t) = peak_value · decay_rate^x                          for t ≥ w (with `staircase`, ⌊x⌋)

    and from w on not past `end_value`: not below it if decay_rate < 1, else not above it.

    Args:
      init_value: the value at t = 0.
      peak_value: the value at t = w.
      warmup_steps: w ≥ 0, in updates; with 0 the schedule starts at the peak.
      transition_steps: in updates, > 0.
      decay_rate: the factor, > 0; above 1 the value grows.
      transition_begin: in updates after the warmup, ≥ 0: how long the peak holds.
      staircase: whether to change only at whole multiples of `transition_steps`.
      end_value: the bound, or None for none.

    Returns:
      A schedule, exact at its corners, within 5 ulp between values of one sign.

    Raises:
      ValueError: if `transition_steps` or `decay_rate` is not positive, another length is negative, or a value is not
        finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.warmup_exponential_decay_schedule(0.0, 8.0, 2, transition_steps=2, decay_rate=0.25)
      >>> print(*(schedule(t) for t in range(7)))
      0.0 4.0 8.0 4.0 2.0 1.0 0.5
    """
    check.finite(init_value=init_value, peak_value=peak_value, decay_rate=decay_rate)
    check.positive_count(transition_steps=transition_steps)
    check.non_negative_count(warmup_steps=warmup_steps, transition_begin=transition_begin)
    check.positive(decay_rate=decay_rate)
    if end_value is not None:
        check.finite(end_value=end_value)
    return WarmupExponentialDecaySchedule(
        init_value,
        peak_value,
        warmup_steps,
        transition_steps,
        decay_rate,
        transition_begin,
        bool(staircase),
        end_value,
    )


@pytree_dataclass
class StepDecaySchedule(Schedule):
    """See `step_decay_schedule`."""

    init_value: Scalar
    transition_steps: Count
    decay_rate: Scalar = 0.5

    def __call__(self, count: Any) -> jax.Array:
        """The stairs."""
        return scalar(self.init_value) * power(
            self.decay_rate, whole_periods(as_count(count), self.transition_steps), 1
        )

    def marks(self) -> Marks:
        """The first drop; there is no last one."""
        return {"first_drop": self.transition_steps}


@schedule_factory
def step_decay_schedule(init_value: Scalar, transition_steps: Steps, *, decay_rate: Scalar = 0.5) -> StepDecaySchedule:
    """Multiply by `decay_rate` after every `transition_steps` updates.

    ::

      η(t) = init_value · decay_rate^⌊t / transition_steps⌋

    To halve every ten epochs: `step_decay_schedule(0.1, lrx.steps(epochs=10, batch_size=…, dataset_size=…))`.

    Args:
      init_value: the value at t = 0.
      transition_steps: in updates, > 0.
      decay_rate: the factor, > 0.

    Returns:
      A schedule, within 5 ulp; exact for powers of ½.

    Raises:
      ValueError: if `transition_steps` or `decay_rate` is not positive, or a value is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.step_decay_schedule(1.0, 3)
      >>> print(*(schedule(t) for t in range(7)))
      1.0 1.0 1.0 0.5 0.5 0.5 0.25
    """
    check.finite(init_value=init_value, decay_rate=decay_rate)
    check.positive_count(transition_steps=transition_steps)
    check.positive(decay_rate=decay_rate)
    return StepDecaySchedule(init_value, transition_steps, decay_rate)
