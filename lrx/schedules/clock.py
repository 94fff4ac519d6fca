"""Schedules with another clock: shifted, slower, stretched, repeated, reversed.

A part is a schedule, a function of the count, or a number (a constant).
"""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import F32, INT32_MAX, Count, is_tracer
from .._pytree import pytree_dataclass
from ._phase import as_count, rescaled, split
from ._questions import Marks, before, last_change, marks_of, moved, multiplied
from ._questions import integral as integral_of
from ._schedule import Schedule, part, schedule_factory, silent
from ._steps import Steps
from .algebra import value
from .exponential import whole_periods


@pytree_dataclass
class Shift(Schedule):
    """See `shift`."""

    base: Any
    steps: Count

    def __call__(self, count: Any) -> jax.Array:
        """`base` on a clock that starts late."""
        return value(self.base, split(count, self.steps, INT32_MAX)[0])

    def marks(self) -> Marks:
        """The marks of the base, later."""
        return {"begin": self.steps, **moved(marks_of(self.base), self.steps)}


@schedule_factory
def shift(base: Any, steps: Steps) -> Shift:
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
class Every(Schedule):
    """See `every`."""

    base: Any
    k: Count

    def __call__(self, count: Any) -> jax.Array:
        """`base` on a clock that ticks each `k` updates."""
        return value(self.base, whole_periods(as_count(count), self.k))

    def marks(self) -> Marks:
        """The marks of the base, `k` times as late."""
        return multiplied(marks_of(self.base), self.k)

    def summed(self, a: int, b: int) -> float:
        """Σ base(⌊t / k⌋) over t from `a` to before `b`: each value of the base k times, less at both ends."""
        k = int(self.k)
        i, j = a // k, b // k
        first, last = (float(value(self.base, t)) for t in (i, j))
        return k * integral_of(self.base, i, j) + (b - k * j) * last - (a - k * i) * first


@schedule_factory
def every(base: Any, k: Count) -> Every:
    """Let a schedule tick once in `k` updates, and hold its value in between.

    ::

      η(t) = base(⌊t / k⌋)

    For loops that make several updates in a round, such as the epochs of minibatches in PPO, with a schedule that is
    given in rounds. `1 - (count // (num_minibatches * update_epochs)) / num_updates` times a rate is
    `every(linear_schedule(rate, 0.0, num_updates), num_minibatches * update_epochs)`; past the last round it stays 0.

    Args:
      base: a schedule, or a function of the count; it counts rounds.
      k: updates in a round, > 0.

    Returns:
      A schedule. The division is one of whole numbers, exact at every count; a count between two updates is rounded
      down as well. Its landmarks are `k` times those of `base`.

    Raises:
      ValueError: if `k` is not positive.
      TypeError: if `k` is no whole number.

    Examples:
      >>> import lrx
      >>> schedule = lrx.every(lrx.linear_schedule(1.0, 0.0, 2), 3)
      >>> print(*(schedule(t) for t in range(7)))
      1.0 1.0 1.0 0.5 0.5 0.5 0.0
      >>> schedule.end
      6
    """
    check.positive_count(k=k)
    return Every(part("base", base), k)


@pytree_dataclass
class Stretch(Schedule):
    """See `stretch`."""

    base: Any
    total_steps: Count
    base_end: Count | None = None

    def __call__(self, count: Any) -> jax.Array:
        """`base` on a clock that runs at another speed."""
        t = as_count(count)
        whole, rest = rescaled(t, self.total_steps, self._end())
        between = value(self.base, whole.astype(F32) + rest)
        return between if t.dtype == F32 else jnp.where(rest == 0, value(self.base, whole), between)

    def _end(self) -> Any:
        """Where the base ends."""
        return marks_of(self.base)["end"] if self.base_end is None else self.base_end

    def marks(self) -> Marks:
        """The marks of the base up to its end, each at the first count that is not before it."""
        inner = {**marks_of(self.base), "end": self._end()}
        if any(map(is_tracer, (self.total_steps, *inner.values()))):
            return {"end": self.total_steps}
        end, n = int(inner["end"]) or 1, int(self.total_steps)
        return {k: -(-int(m) * n // end) for k, m in inner.items() if int(m) <= end}


@schedule_factory
def stretch(base: Any, total_steps: Steps, *, base_end: Steps | None = None) -> Stretch:
    """Give a schedule another length: the same shape, faster or slower.

    With E = `base_end`, the last step at which the base changes::

      η(t) = base(E · min(t / total_steps, 1))

    A step of the base that is a fraction is a point between two of its updates. It is float32, so that between
    landmarks a value may be off by as much as the base changes within 2⁻²⁴ · E of its steps.

    Args:
      base: a schedule that ends.
      total_steps: where it ends now, in updates, > 0.
      base_end: E > 0, in updates. By default the base's own `end`; for a function, or for a class that says no marks,
        the last change that samples of it show. If its numbers are traced there is nothing to sample: give it then.

    Returns:
      A schedule, exact wherever E · t / total_steps is a whole number.

    Raises:
      ValueError: if `total_steps` is not positive, or `base` never ends, never changes, or does not say where it ends.

    Examples:
      >>> import lrx
      >>> short = lrx.warmup_linear_schedule(1.0, 1, total_steps=5)
      >>> print(*(lrx.stretch(short, 10)(t) for t in range(0, 11, 2)))
      0.0 1.0 0.75 0.5 0.25 0.0
    """
    check.positive_count(total_steps=total_steps)
    base = part("base", base)
    if base_end is not None:
        check.positive_count(base_end=base_end)
        return Stretch(base, total_steps, base_end)
    traced = any(map(is_tracer, jax.tree.leaves(base)))
    if "end" in marks_of(base) and (traced or base.end is not None):
        return Stretch(base, total_steps)
    if silent(base):
        base_end = None if traced else last_change(base)
        if base_end is not None:
            return Stretch(base, total_steps, base_end)
        raise check.fail("base", "must say where it ends", base, "Give base_end=..., or its class a method marks().")
    raise check.fail("base", "must be a schedule that ends", base, "Cut it with lrx.with_cooldown.")


@pytree_dataclass
class Repeat(Schedule):
    """See `repeat`."""

    base: Any
    period_steps: Count

    def __call__(self, count: Any) -> jax.Array:
        """`base` on a clock that restarts every period."""
        t = as_count(count)
        return value(self.base, t - whole_periods(t, self.period_steps) * _at_least_one(self.period_steps, t))

    def marks(self) -> Marks:
        """The marks of the base within the first period."""
        inner = marks_of(self.base).items()
        known = {"end_1" if k == "end" else k: m for k, m in inner if before(m, self.period_steps)}
        return {**known, "period": self.period_steps}


def _at_least_one(steps: Count, t: jax.Array) -> jax.Array:
    return jnp.maximum(as_count(steps), 1).astype(t.dtype)  # a traced 0 passes the checks


@schedule_factory
def repeat(base: Any, period_steps: Steps) -> Repeat:
    """Repeat the first steps of a schedule.

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
        """The marks of the base up to `total_steps`, mirrored."""
        n, inner = self.total_steps, dict(marks_of(self.base))
        begin = inner.pop("end", None)
        mirrored = {k: n - m for k, m in inner.items() if before(m, n)}
        if begin is not None and before(begin, n):
            mirrored["begin"] = n - begin
        return {**mirrored, "end": n}


@schedule_factory
def reverse(base: Any, total_steps: Steps) -> Reverse:
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
