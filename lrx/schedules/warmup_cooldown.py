"""A warmup before any schedule, and a cooldown after it, without a jump."""

from typing import Any, Literal

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import INT32_MAX, Count, Scalar, is_tracer
from .._pytree import pytree_dataclass, static
from ._phase import as_count, is_before, split
from ._questions import Marks, before, marks_of, moved, summed, values
from ._schedule import Schedule, part, schedule_factory
from ._shapes import falling
from ._steps import Steps
from .algebra import value

PhaseShape = Literal["linear", "cosine", "1-sqrt", "exponential"]


@pytree_dataclass
class WithWarmup(Schedule):
    """See `with_warmup`."""

    base: Any
    warmup_steps: Count
    init_value: Scalar = 0.0
    shape: str = static(default="linear")

    def __call__(self, count: Any) -> jax.Array:
        """The warmup, then the base."""
        w = self.warmup_steps
        up = falling(self.shape, self.init_value, value(self.base, 0), *split(count, 0, w))
        return jnp.where(is_before(as_count(count), w), up, value(self.base, split(count, w, INT32_MAX)[0]))

    def marks(self) -> Marks:
        """The end of the warmup, and the marks of the base, later."""
        inner = moved(marks_of(self.base), self.warmup_steps)
        if "warmup_end" in inner:
            inner["warmup_end_2"] = inner.pop("warmup_end")
        return {"warmup_end": self.warmup_steps, **inner}


@schedule_factory
def with_warmup(
    base: Any, warmup_steps: Steps, *, init_value: Scalar = 0.0, shape: PhaseShape = "linear"
) -> WithWarmup:
    """Add a warmup before a schedule, which starts when the warmup is over.

    With w = `warmup_steps`, x = t / w and b = base(0), for t < w::

      η(t) = init_value + (b − init_value) · x                   (linear)
      η(t) = init_value + (b − init_value) · ½(1 − cos πx)       (cosine)
      η(t) = init_value + (b − init_value) · √x                  (1-sqrt: 1 − √x of `init_value` is left)
      η(t) = init_value^(1 − x) · b^x                            (exponential)

    and η(t) = base(t − w) for t ≥ w.

    Args:
      base: a schedule, a function of the count or a number.
      warmup_steps: w ≥ 0, in updates; with 0 there is no warmup.
      init_value: the value at t = 0.
      shape: "linear", "cosine", "1-sqrt" or "exponential"; the last needs values > 0 at both ends.

    Returns:
      A schedule w steps longer than `base`, exact at t = 0 and from t = w on.

    Raises:
      ValueError: if w is negative, the shape is unknown, or an end of an exponential is not positive.

    Examples:
      >>> import lrx
      >>> schedule = lrx.with_warmup(lrx.linear_schedule(1.0, 0.0, 4), 2)
      >>> print(*(schedule(t) for t in range(7)))
      0.0 0.5 1.0 0.75 0.5 0.25 0.0

    References:
      Goyal et al., Accurate, large minibatch SGD (2017), arXiv 1706.02677, section 2.2.
    """
    check.finite(init_value=init_value)
    check.non_negative_count(warmup_steps=warmup_steps)
    check.one_of(PhaseShape, shape=shape)
    base = part("base", base)
    if shape == "exponential":
        check.positive(init_value=init_value)
        _check_positive_at(base, 0)
    return WithWarmup(base, warmup_steps, init_value, shape)


@pytree_dataclass
class WithCooldown(Schedule):
    """See `with_cooldown`."""

    base: Any
    start: Count
    steps: Count
    end_value: Scalar = 0.0
    shape: str = static(default="linear")

    def __call__(self, count: Any) -> jax.Array:
        """The base, then the cooldown."""
        down = falling(self.shape, value(self.base, self.start), self.end_value, *split(count, self.start, self.steps))
        return jnp.where(is_before(as_count(count), self.start), value(self.base, count), down)

    def marks(self) -> Marks:
        """The marks of the base before the cooldown, and both ends of the cooldown."""
        known = {k: m for k, m in marks_of(self.base).items() if k != "end" and before(m, self.start)}
        return {**known, "cooldown_start": self.start, "end": summed(self.start, self.steps)}


@schedule_factory
def with_cooldown(
    base: Any, *, start: Steps, steps: Steps, end_value: Scalar = 0.0, shape: PhaseShape = "linear"
) -> WithCooldown:
    """From a given step on, go from the schedule to a final value and hold it.

    With c = `start`, x = min((t − c) / steps, 1) and a = base(c), for t ≥ c::

      η(t) = a + (end_value − a) · x                     (linear)
      η(t) = end_value + (a − end_value) · ½(1 + cos πx) (cosine)
      η(t) = end_value + (a − end_value) · (1 − √x)      (1-sqrt)
      η(t) = a^(1 − x) · end_value^x                     (exponential)

    and η(t) = base(t) for t < c.

    Args:
      base: a schedule, a function of the count or a number.
      start: c ≥ 0, in updates.
      steps: the length of the cooldown, ≥ 0, in updates; with 0 the value jumps to `end_value`.
      end_value: the value from `start + steps` on.
      shape: "linear", "cosine", "1-sqrt" or "exponential"; the last needs values > 0 at both ends.

    Returns:
      A schedule that ends at `start + steps`, exact up to `start` and from there on.

    Raises:
      ValueError: if a length is negative, their sum exceeds int32, the shape is unknown, or an end of an exponential
        is not positive.

    Examples:
      >>> import lrx
      >>> schedule = lrx.with_cooldown(1.0, start=2, steps=4)
      >>> print(*(schedule(t) for t in range(8)))
      1.0 1.0 1.0 0.75 0.5 0.25 0.0 0.0

    References:
      Hägele et al., Scaling laws and compute-optimal training beyond fixed training durations (NeurIPS 2024), arXiv
      2405.18392.
    """
    check.finite(end_value=end_value)
    check.non_negative_count(start=start, steps=steps)
    check.one_of(PhaseShape, shape=shape)
    if not is_tracer(start) and not is_tracer(steps) and int(start) + int(steps) > INT32_MAX:
        raise check.fail("steps", f"must leave start={start} + steps within int32", steps)
    base = part("base", base)
    if shape == "exponential":
        check.positive(end_value=end_value)
        _check_positive_at(base, start)
    return WithCooldown(base, start, steps, end_value, shape)


def _check_positive_at(base: Any, count: Count) -> None:
    """The base is positive where an exponential meets it, if that is known now."""
    if any(map(is_tracer, (*jax.tree.leaves(base), count))):
        return
    met = float(values(base, [count])[0])
    if not met > 0:
        raise check.fail("base", f"must be positive at step {count}, where an exponential meets it", met)
