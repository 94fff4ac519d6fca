"""Schedules one after another."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import _check as check
from .._numbers import F32, I32, Count, is_tracer, state_dtype
from .._pytree import factory_name, pytree_dataclass
from ._lookup import increasing, looked_up, pieces, python_numbers, stacked, step_array
from ._phase import as_count
from ._questions import Marks, marks_of, moved
from ._schedule import Schedule, part, schedule_factory
from ._steps import first_count
from .piecewise import Table

MANY = 8
"""From how many schedules of one class on a count looks up the numbers of its own, instead of all being evaluated."""


def joined(count: Any, schedules: Sequence[Any], boundaries: Any) -> jax.Array:
    """The value of the last schedule whose begin is reached, at the steps since then; the first begins at 0.

    The others are evaluated at their own count 0, so that none of them sees a count which it was not made for: a value
    that is not finite there would reach the gradient even though it is not selected.
    """
    t, boundaries = as_count(count), as_count(boundaries)
    value, alike = jnp.zeros(t.shape, F32), _alike(schedules)
    for k, schedule in enumerate(schedules):
        if k not in alike:
            begin = boundaries[k - 1].astype(t.dtype) if k else jnp.zeros((), t.dtype)
            begun = t >= begin
            active = begun & (t < boundaries[k].astype(t.dtype)) if k + 1 < len(schedules) else begun
            own = jnp.where(active, t - begin, jnp.zeros_like(t))
            value = jnp.where(begun, jnp.asarray(schedule(own)).astype(F32), value)
    if not alike:
        return value
    current = pieces(boundaries, t)
    since = t - jnp.where(current == 0, 0, looked_up(boundaries, jnp.maximum(current, 1) - 1)).astype(t.dtype)
    for group in {id(g): g for g in alike.values()}.values():
        value = _looked_up_among(group, schedules, current, since, value)
    return value


def _alike(schedules: Sequence[Any]) -> dict[int, list[int]]:
    """Place -> the places of all schedules that differ from it in their numbers alone, if they are many."""
    if len(schedules) < MANY:
        return {}
    groups: dict[Any, list[int]] = {}
    for k, schedule in enumerate(schedules):
        leaves, treedef = jax.tree.flatten(schedule)
        if leaves and not any(map(np.ndim, leaves)):
            groups.setdefault((treedef, tuple(state_dtype(x) for x in leaves)), []).append(k)
    return {k: group for group in groups.values() if len(group) >= MANY for k in group}


def _looked_up_among(
    group: list[int], schedules: Sequence[Any], current: jax.Array, since: jax.Array, value: jax.Array
) -> jax.Array:
    """`value`, replaced by that of the current schedule where it is one of the group."""
    columns = zip(*(jax.tree.leaves(schedules[k]) for k in group), strict=True)
    tables = [_table(list(column)) for column in columns]
    treedef = jax.tree.structure(schedules[group[0]])
    rows, members = np.zeros(len(schedules), I32), np.zeros(len(schedules), I32)
    rows[group], members[group] = np.arange(len(group)), 1
    member = looked_up(jnp.asarray(members), current) == 1
    row = looked_up(jnp.asarray(rows), current)

    def one(row: jax.Array, t: jax.Array) -> jax.Array:
        return treedef.unflatten([looked_up(table, row) for table in tables])(t)

    flat = jax.vmap(one)(row.ravel(), jnp.where(member, since, jnp.zeros_like(since)).ravel())
    return jnp.where(member, flat.reshape(value.shape).astype(F32), value)


def _table(column: list[Any]) -> jax.Array:
    dtype = state_dtype(column[0])
    if any(map(is_tracer, column)):
        return stacked(column, lambda x: jnp.asarray(x, dtype))
    return jnp.asarray(np.array([np.asarray(x) for x in column]).astype(dtype))


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
    boundaries: Table

    def __call__(self, count: Any) -> jax.Array:
        """The schedule that is current at `count`."""
        return joined(count, self.schedules, self.boundaries)

    def _begins(self) -> list[Any]:
        """Where each schedule but the first begins."""
        boundaries = self.boundaries
        return (
            list(boundaries) if is_tracer(boundaries) or np.ndim(boundaries) != 1 else np.asarray(boundaries).tolist()
        )

    def marks(self) -> Marks:
        """The boundaries, and the marks of the parts."""
        return marks_of_joined(self.schedules, self._begins(), "boundary")

    def call(self) -> dict[str, Any]:
        """The arguments of the factory."""
        return {"schedules": self.schedules, "boundaries": python_numbers(self.boundaries)}

    def __repr__(self) -> str:
        return f"{factory_name(self)}({', '.join(f'{k}={v!r}' for k, v in self.call().items())})"


@schedule_factory
def join_schedules(schedules: Sequence[Any], boundaries: Sequence[Count]) -> JoinSchedules:
    """Follow one schedule after another, each from its own count 0.

    With b₀ = 0 and bₖ the boundaries::

      η(t) = schedules[k](t − bₖ),  k the last with bₖ ≤ t

    Args:
      schedules: schedules, numbers or functions of the count, in their order.
      boundaries: the steps (in updates, ≥ 0, not decreasing) at which the next one takes over. A schedule between equal
        boundaries is skipped. Surplus boundaries at the end, after which no schedule follows, are left out, as in
        optax. A float counts from the first count that is not before it.

    Returns:
      A schedule, as exact as its parts.

    Raises:
      ValueError: if there is no schedule, boundaries are missing, they decrease, or one is negative.
      TypeError: if a part is neither a schedule, nor a number, nor a function, or a boundary is a share between 0 and
        1.

    Examples:
      >>> import lrx
      >>> schedule = lrx.join_schedules([1.0, lrx.linear_schedule(1.0, 0.0, 2)], [3])
      >>> print(*(schedule(t) for t in range(6)))
      1.0 1.0 1.0 1.0 0.5 0.0
    """
    parts, steps = tuple(part("schedules", s) for s in schedules), step_array("boundaries", boundaries, first_count)
    if not parts:
        raise check.fail("schedules", "must hold at least one schedule", parts)
    if len(steps) < len(parts) - 1:
        rule = f"must be at least one fewer than schedules ({len(parts)})"
        raise check.fail("boundaries", rule, python_numbers(steps))
    increasing("boundaries", steps, strictly=False)
    return JoinSchedules(parts, steps[: len(parts) - 1])
