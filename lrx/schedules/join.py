"""Schedules one after another."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import F32, Count, is_tracer
from .._pytree import pytree_dataclass
from ._phase import as_count
from ._questions import Marks, marks_of, moved
from ._schedule import Schedule, part, schedule_factory


def joined(count: Any, schedules: Sequence[Any], begins: Sequence[Any]) -> jax.Array:
    """The value of the last schedule whose begin is reached, at the steps since then; the first begins at 0.

    The others are evaluated at their own count 0, so that none of them sees a count which it was not made for: a value
    that is not finite there would reach the gradient even though it is not selected.
    """
    t = as_count(count)
    stages = [as_count(0), *map(as_count, begins)]
    value = jnp.zeros(t.shape, F32)
    for k, (schedule, begin) in enumerate(zip(schedules, stages, strict=True)):
        begun = t >= begin
        later = stages[k + 1] if k + 1 < len(stages) else None
        active = begun if later is None else begun & (t < later)
        own = jnp.where(active, t - begin.astype(t.dtype), jnp.zeros_like(t))
        value = jnp.where(begun, jnp.asarray(schedule(own)).astype(F32), value)
    return value


def marks_of_joined(schedules: Sequence[Any], begins: Sequence[Any], name: str) -> Marks:
    """Where each schedule but the first begins, the marks of each as far as it is followed, and the end of the last."""
    found: Marks = {}
    begins = [0, *begins]
    for k, (schedule, begin) in enumerate(zip(schedules, begins, strict=True)):
        inner = moved(marks_of(schedule), begin)
        if k:
            found[f"{name}_{k}"] = begin
        if k + 1 == len(begins):
            found |= {"end": inner.pop("end")} if "end" in inner else {}
        else:
            after = begins[k + 1]
            inner = {
                m: c for m, c in inner.items() if m != "end" and not is_tracer(c) and not is_tracer(after) and c < after
            }
        found |= {f"{m}_{k + 1}": c for m, c in inner.items()}
    return found


@pytree_dataclass
class JoinSchedules(Schedule):
    """See `join_schedules`."""

    schedules: tuple[Any, ...]
    boundaries: tuple[Count, ...]

    def __call__(self, count: Any) -> jax.Array:
        """The schedule whose turn it is."""
        return joined(count, self.schedules, self.boundaries)

    def marks(self) -> Marks:
        """The boundaries, and what the parts tell."""
        return marks_of_joined(self.schedules, self.boundaries, "boundary")


@schedule_factory
def join_schedules(schedules: Sequence[Any], boundaries: Sequence[Count]) -> JoinSchedules:
    """Follow one schedule after another, each from its own count 0.

    With b₀ = 0 and bₖ the boundaries::

      η(t) = schedules[k](t − bₖ),  k the last with bₖ ≤ t

    Args:
      schedules: schedules, numbers or functions of the count, in their order.
      boundaries: the steps (in updates, ≥ 0, not decreasing) at which the next one takes over; one fewer than
        schedules. A schedule between equal boundaries is skipped.

    Returns:
      A schedule, as exact as its parts.

    Raises:
      ValueError: if there is no schedule, the number of boundaries does not fit, or they decrease.
      TypeError: if one is neither a schedule, nor a number, nor a function.

    Examples:
      >>> import lrx
      >>> schedule = lrx.join_schedules([1.0, lrx.linear_schedule(1.0, 0.0, 2)], [3])
      >>> print(*(schedule(t) for t in range(6)))
      1.0 1.0 1.0 1.0 0.5 0.0
    """
    schedules, boundaries = tuple(part("schedules", s) for s in schedules), tuple(boundaries)
    if not schedules:
        raise check.fail("schedules", "must hold at least one schedule", schedules)
    if len(boundaries) != len(schedules) - 1:
        raise check.fail("boundaries", f"must be one fewer than schedules ({len(schedules)})", boundaries)
    for boundary in boundaries:
        check.non_negative_count(boundaries=boundary)
    if any(not (is_tracer(a) or is_tracer(b)) and a > b for a, b in pairwise(boundaries)):
        raise check.fail("boundaries", "must not decrease", boundaries)
    return JoinSchedules(schedules, boundaries)
