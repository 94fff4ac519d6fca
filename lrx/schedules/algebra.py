"""Schedules made of schedules: sums, products, bounds, and other clocks.

A part is a schedule, a function of the count, or a number (which stands for itself held for ever).
"""

import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import F32, INT32_MAX, Count, Scalar, is_tracer
from .._pytree import factory_name, pytree_dataclass
from ._phase import as_count, rescaled, scalar, split
from ._questions import Marks, before, marks_of, moved, united
from ._schedule import Schedule, part, schedule_factory
from .exponential import whole_periods


def value(schedule: Any, count: Any) -> jax.Array:
    """The part at `count` in float32, whatever a function of the user's returns."""
    return jnp.asarray(schedule(count)).astype(F32)


# ---------------------------------------------------------------- several schedules at one count


class _Pointwise(Schedule):
    """What the combinations of several schedules share; `combine` is the operation on two values."""

    schedules: tuple[Any, ...]
    combine: Any

    def __call__(self, count: Any) -> jax.Array:
        return functools.reduce(type(self).combine, [value(s, count) for s in self.schedules])

    def marks(self) -> Marks:
        return united(map(marks_of, self.schedules))

    def __repr__(self) -> str:
        return f"{factory_name(self)}({', '.join(map(repr, self.schedules))})"


def _parts(schedules: tuple[Any, ...]) -> tuple[Any, ...]:
    if not schedules:
        raise check.fail("schedules", "must be at least one", schedules)
    return tuple(part("schedules", s) for s in schedules)


@pytree_dataclass
class Product(_Pointwise):
    """See `product`."""

    schedules: tuple[Any, ...]

    combine = staticmethod(operator.mul)
    __repr__ = _Pointwise.__repr__


@schedule_factory
def product(*schedules: Any) -> Product:
    """Multiply schedules: a warmup times a decay, for instance.

    ::

      η(t) = ∏ᵢ schedules[i](t)

    `s * t` is `product(s, t)`, and `0.5 * s` is `scale_schedule(s, 0.5)`.

    Args:
      *schedules: at least one; schedules, functions of the count or numbers.

    Returns:
      A schedule. It ends where the last of them ends.

    Raises:
      ValueError: if there is none.
      TypeError: if one is neither a schedule, a function nor a number.

    Examples:
      >>> import lrx
      >>> warmup, decay = lrx.linear_schedule(0.0, 1.0, 2), lrx.linear_schedule(1.0, 0.0, 8)
      >>> print(*(lrx.product(warmup, decay)(t) for t in (0, 1, 2, 4, 8)))
      0.0 0.4375 0.75 0.5 0.0
      >>> warmup * decay == lrx.product(warmup, decay)
      True
    """
    return Product(_parts(schedules))


@pytree_dataclass
class Total(_Pointwise):
    """See `total`."""

    schedules: tuple[Any, ...]

    combine = staticmethod(operator.add)
    __repr__ = _Pointwise.__repr__


@schedule_factory
def total(*schedules: Any) -> Total:
    """Add schedules.

    ::

      η(t) = Σᵢ schedules[i](t)

    `s + t` is `total(s, t)`; in `s + 0.1` the number stands for itself held for ever.

    Args:
      *schedules: at least one; schedules, functions of the count or numbers.

    Returns:
      A schedule. It ends where the last of them ends.

    Raises:
      ValueError: if there is none.
      TypeError: if one is neither a schedule, a function nor a number.

    Examples:
      >>> import lrx
      >>> schedule = lrx.linear_schedule(1.0, 0.0, 4) + 0.5
      >>> print(*(schedule(t) for t in (0, 2, 4)))
      1.5 1.0 0.5
    """
    return Total(_parts(schedules))


@pytree_dataclass
class Minimum(_Pointwise):
    """See `minimum`."""

    schedules: tuple[Any, ...]

    combine = staticmethod(jnp.minimum)
    __repr__ = _Pointwise.__repr__


@schedule_factory
def minimum(*schedules: Any) -> Minimum:
    """Take the least of several schedules at every count.

    ::

      η(t) = minᵢ schedules[i](t)

    Args:
      *schedules: at least one; schedules, functions of the count or numbers.

    Returns:
      A schedule.

    Raises:
      ValueError: if there is none.
      TypeError: if one is neither a schedule, a function nor a number.

    Examples:
      >>> import lrx
      >>> schedule = lrx.minimum(lrx.linear_schedule(0.0, 1.0, 4), 0.5)
      >>> print(*(schedule(t) for t in (0, 1, 2, 4)))
      0.0 0.25 0.5 0.5
    """
    return Minimum(_parts(schedules))


@pytree_dataclass
class Maximum(_Pointwise):
    """See `maximum`."""

    schedules: tuple[Any, ...]

    combine = staticmethod(jnp.maximum)
    __repr__ = _Pointwise.__repr__


@schedule_factory
def maximum(*schedules: Any) -> Maximum:
    """Take the greatest of several schedules at every count, such as a decay and a floor.

    ::

      η(t) = maxᵢ schedules[i](t)

    Args:
      *schedules: at least one; schedules, functions of the count or numbers.

    Returns:
      A schedule.

    Raises:
      ValueError: if there is none.
      TypeError: if one is neither a schedule, a function nor a number.

    Examples:
      >>> import lrx
      >>> schedule = lrx.maximum(lrx.linear_schedule(1.0, 0.0, 4), 0.25)
      >>> print(*(schedule(t) for t in (0, 2, 3, 4)))
      1.0 0.5 0.25 0.25
    """
    return Maximum(_parts(schedules))


# ---------------------------------------------------------------- other values


@pytree_dataclass
class ScaleSchedule(Schedule):
    """See `scale_schedule`."""

    base: Any
    factor: Scalar

    def __call__(self, count: Any) -> jax.Array:
        """`factor · base(count)`."""
        return scalar(self.factor) * value(self.base, count)

    def marks(self) -> Marks:
        """Those of the base."""
        return marks_of(self.base)


@schedule_factory
def scale_schedule(base: Any, factor: Scalar) -> ScaleSchedule:
    """Multiply a schedule by a number. `0.5 * s` and `s * 0.5` are `scale_schedule(s, 0.5)`.

    ::

      η(t) = factor · base(t)

    Args:
      base: a schedule, or a function of the count.
      factor: any number.

    Returns:
      A schedule.

    Raises:
      ValueError: if `factor` is not finite.

    Examples:
      >>> import lrx
      >>> print(0.5 * lrx.linear_schedule(1.0, 0.0, 4))
      scale_schedule(base=linear_schedule(init_value=1.0, end_value=0.0, transition_steps=4, transition_begin=0),
        factor=0.5)
    """
    check.finite(factor=factor)
    return ScaleSchedule(part("base", base), factor)


@pytree_dataclass
class ClipSchedule(Schedule):
    """See `clip_schedule`."""

    base: Any
    lower: Scalar
    upper: Scalar

    def __call__(self, count: Any) -> jax.Array:
        """`base(count)`, held between the bounds."""
        return jnp.minimum(jnp.maximum(value(self.base, count), scalar(self.lower)), scalar(self.upper))

    def marks(self) -> Marks:
        """Those of the base."""
        return marks_of(self.base)


@schedule_factory
def clip_schedule(base: Any, lower: Scalar, upper: Scalar) -> ClipSchedule:
    """Hold a schedule between two values. For one bound alone see `maximum` and `minimum`.

    ::

      η(t) = min(max(base(t), lower), upper)

    Args:
      base: a schedule, or a function of the count.
      lower: the least value.
      upper: the greatest value, ≥ `lower`.

    Returns:
      A schedule.

    Raises:
      ValueError: if `lower` > `upper`, or a bound is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.clip_schedule(lrx.linear_schedule(1.0, 0.0, 4), 0.25, 0.75)
      >>> print(*(schedule(t) for t in range(5)))
      0.75 0.75 0.5 0.25 0.25
    """
    check.finite(lower=lower, upper=upper)
    if not is_tracer(lower) and not is_tracer(upper) and lower > upper:
        raise check.fail("lower", f"must be at most upper={upper}", lower)
    return ClipSchedule(part("base", base), lower, upper)


# ---------------------------------------------------------------- other clocks


@pytree_dataclass
class Shift(Schedule):
    """See `shift`."""

    base: Any
    steps: Count

    def __call__(self, count: Any) -> jax.Array:
        """`base` on a clock that starts late."""
        return value(self.base, split(count, self.steps, INT32_MAX)[0])

    def marks(self) -> Marks:
        """Those of the base, later."""
        return {"begin": self.steps, **moved(marks_of(self.base), self.steps)}


@schedule_factory
def shift(base: Any, steps: Count) -> Shift:
    """Delay a schedule; its first value holds until then.

    ::

      η(t) = base(max(t − steps, 0))

    Args:
      base: a schedule, or a function of the count.
      steps: ≥ 0, in updates.

    Returns:
      A schedule.

    Raises:
      ValueError: if `steps` is negative.

    Examples:
      >>> import lrx
      >>> schedule = lrx.shift(lrx.linear_schedule(1.0, 0.0, 2), 3)
      >>> print(*(schedule(t) for t in range(6)))
      1.0 1.0 1.0 1.0 0.5 0.0
    """
    check.non_negative_count(steps=steps)
    return Shift(part("base", base), steps)


@pytree_dataclass
class Stretch(Schedule):
    """See `stretch`."""

    base: Any
    total_steps: Count

    def __call__(self, count: Any) -> jax.Array:
        """`base` on a clock that runs at another speed."""
        t = as_count(count)
        whole, rest = rescaled(t, self.total_steps, marks_of(self.base).get("end", 0))
        between = value(self.base, whole.astype(F32) + rest)
        return between if t.dtype == F32 else jnp.where(rest == 0, value(self.base, whole), between)

    def marks(self) -> Marks:
        """Those of the base up to its end, each at the first count that is not before it."""
        inner = marks_of(self.base)
        if any(map(is_tracer, (self.total_steps, *inner.values()))):
            return {"end": self.total_steps}
        end, n = int(inner.get("end", 0)) or 1, int(self.total_steps)
        return {k: -(-int(m) * n // end) for k, m in inner.items()}


@schedule_factory
def stretch(base: Any, total_steps: Count) -> Stretch:
    """Give a schedule another length: the same shape, faster or slower.

    With E the schedule's `end`, the last step at which it changes::

      η(t) = base(E · min(t / total_steps, 1))

    A step of the base that is a fraction is a point between two of its updates. It is float32, so that between
    landmarks a value may be off by as much as the base changes within 2⁻²⁴ · E of its steps.

    Args:
      base: a schedule that ends.
      total_steps: where it ends now, in updates, > 0.

    Returns:
      A schedule, exact wherever E · t / total_steps is a whole number.

    Raises:
      ValueError: if `total_steps` is not positive, or `base` never ends or never changes.

    Examples:
      >>> import lrx
      >>> short = lrx.warmup_linear_schedule(1.0, 1, total_steps=5)
      >>> print(*(lrx.stretch(short, 10)(t) for t in range(0, 11, 2)))
      0.0 1.0 0.75 0.5 0.25 0.0
    """
    check.positive_count(total_steps=total_steps)
    base = part("base", base)
    if any(map(is_tracer, jax.tree.leaves(base))):
        endless = "end" not in marks_of(base)
    else:
        endless = base.end is None if isinstance(base, Schedule) else True
    if endless:
        raise check.fail("base", "must be a schedule that ends", base, "Cut it with lrx.with_cooldown.")
    return Stretch(base, total_steps)


@pytree_dataclass
class Repeat(Schedule):
    """See `repeat`."""

    base: Any
    period_steps: Count

    def __call__(self, count: Any) -> jax.Array:
        """`base` on a clock that starts anew."""
        t = as_count(count)
        return value(self.base, t - whole_periods(t, self.period_steps) * _at_least_one(self.period_steps, t))

    def marks(self) -> Marks:
        """Those of the base within the first period."""
        inner = marks_of(self.base).items()
        known = {"end_1" if k == "end" else k: m for k, m in inner if before(m, self.period_steps)}
        return {**known, "period": self.period_steps}


def _at_least_one(steps: Count, t: jax.Array) -> jax.Array:
    return jnp.maximum(as_count(steps), 1).astype(t.dtype)  # a traced 0 passes the checks


@schedule_factory
def repeat(base: Any, period_steps: Count) -> Repeat:
    """Play the first steps of a schedule again and again.

    ::

      η(t) = base(t mod period_steps)

    Args:
      base: a schedule, or a function of the count.
      period_steps: in updates, > 0.

    Returns:
      A schedule.

    Raises:
      ValueError: if `period_steps` is not positive.

    Examples:
      >>> import lrx
      >>> schedule = lrx.repeat(lrx.linear_schedule(1.0, 0.0, 2), 3)
      >>> print(*(schedule(t) for t in range(6)))
      1.0 0.5 0.0 1.0 0.5 0.0
    """
    check.positive_count(period_steps=period_steps)
    return Repeat(part("base", base), period_steps)


@pytree_dataclass
class Reverse(Schedule):
    """See `reverse`."""

    base: Any
    total_steps: Count

    def __call__(self, count: Any) -> jax.Array:
        """`base` on a clock that runs backwards."""
        return value(self.base, split(count, 0, self.total_steps)[1])

    def marks(self) -> Marks:
        """Those of the base up to `total_steps`, mirrored."""
        n, inner = self.total_steps, dict(marks_of(self.base))
        begin = inner.pop("end", None)
        mirrored = {k: n - m for k, m in inner.items() if before(m, n)}
        if begin is not None and before(begin, n):
            mirrored["begin"] = n - begin
        return {**mirrored, "end": n}


@schedule_factory
def reverse(base: Any, total_steps: Count) -> Reverse:
    """Play a schedule backwards, then hold its first value.

    ::

      η(t) = base(max(total_steps − t, 0))

    Args:
      base: a schedule, or a function of the count.
      total_steps: where the first value is reached, in updates, ≥ 0.

    Returns:
      A schedule.

    Raises:
      ValueError: if `total_steps` is negative.

    Examples:
      >>> import lrx
      >>> schedule = lrx.reverse(lrx.linear_schedule(1.0, 0.0, 2), 3)
      >>> print(*(schedule(t) for t in range(6)))
      0.0 0.0 0.5 1.0 1.0 1.0
    """
    check.non_negative_count(total_steps=total_steps)
    return Reverse(part("base", base), total_steps)
