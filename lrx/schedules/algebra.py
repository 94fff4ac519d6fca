"""Schedules made of schedules by their values: sums, products, bounds.

A part is a schedule, a function of the count, or a number (a constant).
"""

import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import F32, Scalar, is_tracer
from .._pytree import factory_name, pytree_dataclass
from ._phase import scalar
from ._questions import Marks, marks_of, united
from ._schedule import Schedule, part, schedule_factory


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

    `s + t` is `total(s, t)`; in `s + 0.1` the number is a constant schedule.

    Args:
      *schedules: at least one; schedules, functions of the count or numbers.

    Returns:
      A schedule. It ends where the last of them ends.

    Raises:
      ValueError: if there is none.
      TypeError: if one is neither a schedule, a function nor a number.

    Examples:
      >>> import lrx
      >>> schedule = lrx.total(lrx.linear_schedule(1.0, 0.0, 4), 0.5)
      >>> print(*(schedule(t) for t in (0, 2, 4)))
      1.5 1.0 0.5
      >>> schedule == lrx.linear_schedule(1.0, 0.0, 4) + 0.5
      True
    """
    return Total(_parts(schedules))


@pytree_dataclass
class Quotient(Schedule):
    """See `quotient`."""

    dividend: Any
    divisor: Any

    def __call__(self, count: Any) -> jax.Array:
        """One value over the other."""
        a, b = value(self.dividend, count), value(self.divisor, count)
        return jnp.where(b == 0, 0.0, a / jnp.where(b == 0, 1.0, b))

    def marks(self) -> Marks:
        """The marks of both."""
        return united(map(marks_of, (self.dividend, self.divisor)))


@schedule_factory
def quotient(dividend: Any, divisor: Any) -> Quotient:
    """Divide one schedule by another.

    ::

      η(t) = dividend(t) / divisor(t)      and 0 where the divisor is 0

    `s / t` is `quotient(s, t)`, `2 / s` is `quotient(2, s)`, and `s / 2` is `scale_schedule(s, 0.5)`.

    Args:
      dividend: a schedule, a function of the count or a number.
      divisor: the same. Where it is 0, the rate is 0: a rate is never infinite.

    Returns:
      A schedule. It ends where the later of the two ends.

    Raises:
      TypeError: if one is neither a schedule, a function nor a number.

    Examples:
      >>> import lrx
      >>> schedule = lrx.quotient(1, lrx.linear_schedule(1.0, 4.0, 3))
      >>> print(schedule(0), schedule(1), schedule(3))
      1.0 0.5 0.25
      >>> schedule == 1 / lrx.linear_schedule(1.0, 4.0, 3)
      True
    """
    return Quotient(part("dividend", dividend), part("divisor", divisor))


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
        """The marks of the base."""
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
      >>> schedule = lrx.scale_schedule(lrx.linear_schedule(1.0, 0.0, 4), 0.5)
      >>> schedule == 0.5 * lrx.linear_schedule(1.0, 0.0, 4)
      True
      >>> print(schedule)
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
        """The marks of the base."""
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
