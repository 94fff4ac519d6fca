"""Decay without an end: inverse time, inverse square root, and Noam's schedule."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import F32, INT32_MAX, Count, Scalar
from .._pytree import pytree_dataclass, static
from ._phase import as_count, is_before, line, scalar, split
from ._questions import Marks
from ._schedule import Schedule, schedule_factory
from ._steps import Steps
from .exponential import whole_periods


@pytree_dataclass
class InverseTimeSchedule(Schedule):
    """See `inverse_time_schedule`."""

    init_value: Scalar
    transition_steps: Count
    decay_rate: Scalar
    staircase: bool = static(default=False)

    def __call__(self, count: Any) -> jax.Array:
        """The hyperbola."""
        t, n = as_count(count), self.transition_steps
        if self.staircase:
            x = whole_periods(t, n).astype(F32)
        else:
            x = t.astype(F32) / jnp.maximum(as_count(n), 1).astype(F32)  # a traced 0 passes the checks
        return scalar(self.init_value) / (1 + jnp.maximum(scalar(self.decay_rate), 0.0) * x)

    def marks(self) -> Marks:
        """None: it never stops falling."""
        return {}


@schedule_factory
def inverse_time_schedule(
    init_value: Scalar, transition_steps: Steps, *, decay_rate: Scalar, staircase: bool = False
) -> InverseTimeSchedule:
    """Divide by a number that grows along a line.

    ::

      η(t) = init_value / (1 + decay_rate · t / transition_steps)

    with ⌊t / transition_steps⌋ instead of the quotient for a `staircase`. This is Keras's `InverseTimeDecay`.

    Args:
      init_value: the value at t = 0.
      transition_steps: in updates, > 0.
      decay_rate: > 0, by how much the divisor grows every `transition_steps`.
      staircase: whether to change only at whole multiples of `transition_steps`.

    Returns:
      A schedule, within 4 ulp.

    Raises:
      ValueError: if `transition_steps` or `decay_rate` is not positive, or a value is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.inverse_time_schedule(1.0, 2, decay_rate=1.0)
      >>> print(*(schedule(t) for t in (0, 2, 6)))
      1.0 0.5 0.25
    """
    check.finite(init_value=init_value, decay_rate=decay_rate)
    check.positive_count(transition_steps=transition_steps)
    check.positive(decay_rate=decay_rate)
    return InverseTimeSchedule(init_value, transition_steps, decay_rate, bool(staircase))


@pytree_dataclass
class InverseSqrtSchedule(Schedule):
    """See `inverse_sqrt_schedule`."""

    peak_value: Scalar
    warmup_steps: Count
    timescale: Count | None = None

    def __call__(self, count: Any) -> jax.Array:
        """A line, then the power −½ of the steps."""
        t, w, peak = as_count(count), as_count(self.warmup_steps), scalar(self.peak_value)
        scale = jnp.where(w == 0, 10_000, w) if self.timescale is None else jnp.maximum(as_count(self.timescale), 1)
        since, scale = split(t, w, INT32_MAX)[0].astype(F32), scale.astype(F32)
        return jnp.where(is_before(t, w), line(0.0, peak, *split(t, 0, w)), peak * jnp.sqrt(scale / (since + scale)))

    def marks(self) -> Marks:
        """The end of the warmup: the decay has no end."""
        return {"warmup_end": self.warmup_steps}


@schedule_factory
def inverse_sqrt_schedule(
    peak_value: Scalar, warmup_steps: Steps, *, timescale: Steps | None = None
) -> InverseSqrtSchedule:
    """Rise along a line to `peak_value`, then fall with one over the square root of the steps.

    With w = `warmup_steps` and s = `timescale`::

      η(t) = peak_value · t / w                       for t < w
      η(t) = peak_value · √(s / (t − w + s))          for t ≥ w

    With the default s = w this is √(w / t): the schedule of Hugging Face's `get_inverse_sqrt_schedule`.

    Args:
      peak_value: the value at t = w.
      warmup_steps: w ≥ 0, in updates; with 0 the schedule starts at the peak.
      timescale: s > 0, in updates: 3s steps after the peak the value is half of it. By default w, or 10,000 if w is 0.

    Returns:
      A schedule, exact at both ends of the warmup, within 4 ulp.

    Raises:
      ValueError: if a length is negative, the timescale is not positive, or a value is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.inverse_sqrt_schedule(1.0, 2)
      >>> print(*(schedule(t) for t in (0, 1, 2, 8, 32)))
      0.0 0.5 1.0 0.5 0.25

    References:
      Zhai et al., Scaling vision transformers (CVPR 2022), arXiv 2106.04560.
    """
    check.finite(peak_value=peak_value)
    check.non_negative_count(warmup_steps=warmup_steps)
    if timescale is not None:
        check.positive_count(timescale=timescale)
    return InverseSqrtSchedule(peak_value, warmup_steps, timescale)


@pytree_dataclass
class NoamSchedule(Schedule):
    """See `noam_schedule`."""

    model_size: Count
    warmup_steps: Count
    scale: Scalar = 1.0

    def __call__(self, count: Any) -> jax.Array:
        """A line, then the power −½ of the steps."""
        t = as_count(count)
        w, d = jnp.maximum(as_count(self.warmup_steps), 1), jnp.maximum(as_count(self.model_size), 1)
        peak = scalar(self.scale) / jnp.sqrt(d.astype(F32) * w.astype(F32))
        since = jnp.maximum(t, w.astype(t.dtype)).astype(F32)
        up = line(0.0, peak, *split(t, 0, self.warmup_steps))
        return jnp.where(is_before(t, self.warmup_steps), up, peak * jnp.sqrt(w.astype(F32) / since))

    def marks(self) -> Marks:
        """The end of the warmup: the decay has no end."""
        return {"warmup_end": self.warmup_steps}


@schedule_factory
def noam_schedule(model_size: Count, warmup_steps: Steps, *, scale: Scalar = 1.0) -> NoamSchedule:
    """Rise along a line, then fall with one over the square root of the steps, scaled by the size of the model.

    With d = `model_size` and w = `warmup_steps`::

      η(t) = scale · d^(−½) · min(t^(−½), t · w^(−3/2))

    The peak is scale / √(d·w), at t = w. The paper counts steps from 1; here the first update uses η(0) = 0, unless w
    is 0: then η(0) = η(1) = scale / √d. For the paper's steps use `lambda count: schedule(count + 1)`.

    Args:
      model_size: d > 0, the width of the model's hidden states.
      warmup_steps: w ≥ 0, in updates.
      scale: a factor.

    Returns:
      A schedule, within 6 ulp.

    Raises:
      ValueError: if d is not positive, w is negative, or `scale` is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.noam_schedule(64, 4)
      >>> print(*(schedule(t) for t in (0, 2, 4, 16)))
      0.0 0.03125 0.0625 0.03125

    References:
      Vaswani et al., Attention is all you need (NeurIPS 2017), arXiv 1706.03762, equation 3.
    """
    check.finite(scale=scale)
    check.positive_count(model_size=model_size)
    check.non_negative_count(warmup_steps=warmup_steps)
    return NoamSchedule(model_size, warmup_steps, scale)
