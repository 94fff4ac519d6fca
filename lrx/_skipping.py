"""Skip the updates that are not usable: one policy for chains with a controller and for rules that find their rate.

What comes in is sound if its squared norm is finite in float32 (or the dtype of the leaves, if wider). Where it is not,
the update is skipped: it is zero and leaves every memory as it was. The outermost chain looks, before any link runs,
and only one of the two ways is executed; a look at the results would cost several times an Adam step.

An update may also fail on the way, because a loss, a rate or a number that is remembered is not finite. Then it is zero
too, and those numbers stay as they were; moments keep the gradient, which is sound.

Both are counted as `skipped`. `count` includes them, so the schedules of learning rates go on.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp

from ._arithmetic import add_one, squared, trainable, wide
from ._rule import COUNTS, Rule, ScheduledState, is_rule_state, wrapped_by
from ._transformation import update_where

FEW = 64
"""The most entries of an array that counts as numbers. To choose between two larger ones costs more than Adam does."""

_looked: ContextVar[bool] = ContextVar("lrx_looked", default=False)
"""Whether a chain around has looked at what came in."""


class SkipsUnusable(Rule):
    """A rule whose unusable updates are skipped. Its class has `step` in place of `update`.

    `step(updates, memory, params, **extra) -> (updates, memory, failed)`, where `failed` (bool []) reports what the
    results do not show, such as a loss that is NaN. The memory has the fields `count` and `skipped`.
    """

    skips = True

    def update(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        """The result of `step`, or zeros and the old state where it is not usable."""

        def take(state: Any) -> tuple[Any, Any]:
            moved, new, failed = self.step(updates, state, params, **extra)  # type: ignore[attr-defined]  # see above
            return settled(moved, new, state, failed)

        return guarded(take, updates, state)


def guarded(update: Callable[[Any], tuple[Any, Any]], incoming: Any, state: Any) -> tuple[Any, Any]:
    """`update(state) -> (updates, state)` if what comes in is sound, else zeros and `state`, one update later."""
    return update(state) if _looked.get() else taken_where(_is_sound(incoming), update, incoming, state)


def taken_where(
    wanted: jax.Array, update: Callable[[Any], tuple[Any, Any]], incoming: Any, state: Any
) -> tuple[Any, Any]:
    """`update(state) -> (updates, state)` where `wanted`, else zeros and `state`, one update later."""

    def take(state: Any) -> tuple[Any, Any]:
        token = _looked.set(True)
        try:
            return update(state)
        finally:
            _looked.reset(token)

    return update_where(wanted, take, state, incoming, _skipped)


def settled(updates: Any, new: Any, old: Any, failed: Any = False) -> tuple[Any, Any]:
    """`updates` and the state `new`, or zeros and the numbers of `old` where the update failed on the way."""
    usable = ~jnp.asarray(failed)
    for n, o in _numbers(new, old):
        usable = usable & jnp.all(jnp.isfinite(n) | ~jnp.isfinite(o))  # a number that was infinite before may stay so
    for n, o in _memories(new, old):
        usable = usable & (n.skipped == o.skipped)
    return not_moved_where(~usable, updates), _kept(usable, new, old)


def skips_unusable(update: Any) -> bool:
    """Whether a controller or a rule that finds its rate is in an `update`, at any depth.

    A rule that handles gradients that are not finite, such as `accumulate`, does so for all that it wraps.
    """
    if hasattr(update, "links"):
        return any(skips_unusable(link) for _, link in update.links)
    rule = getattr(update, "rule", None)
    if not isinstance(rule, Rule):
        return False
    return rule.skips or (not rule.handles_nonfinite and any(skips_unusable(tx.update) for tx in wrapped_by(rule)))


def not_moved_where(wanted: jax.Array, updates: Any) -> Any:
    """`updates`, but zeros where `wanted`: selected, not multiplied, since 0 times nan is nan."""
    return jax.tree.map(lambda u: jnp.where(wanted, jnp.zeros_like(u), u) if trainable(u) else u, updates)


def _is_sound(incoming: Any) -> jax.Array:
    """Whether the squared norm of what comes in is finite."""
    arrays = [x if hasattr(x, "dtype") else jnp.asarray(x) for x in jax.tree.leaves(incoming)]
    totals = [jnp.sum(squared(x.astype(wide(x.dtype)))) for x in arrays if trainable(x)]
    dtype = wide(*(t.dtype for t in totals))
    return jnp.isfinite(sum((t.astype(dtype) for t in totals), jnp.zeros((), dtype)))


# ---------------------------------------------------------------- states


def _fields(x: Any) -> tuple[str, ...]:
    return getattr(x, "_fields", ()) if isinstance(x, tuple) else ()


def _is_clock(x: Any) -> bool:
    """Whether `x` is the memory of a rule with a learning rate or a scheduled factor, or that skips updates itself."""
    fields = _fields(x)
    if "skipped" in fields or "num_updates" in fields:
        return True
    return "count" in fields and ("learning_rate" in fields or "step_size" in fields)


def _is_node(x: Any) -> bool:
    return is_rule_state(x) or _is_clock(x)


def _pairs(new: Any, old: Any, is_leaf: Any) -> list[tuple[Any, Any]]:
    """The leaves of both, none if another library's state has changed its structure."""
    leaves, treedef = jax.tree.flatten(new, is_leaf=is_leaf)
    others, old_treedef = jax.tree.flatten(old, is_leaf=is_leaf)
    return list(zip(leaves, others, strict=True)) if treedef == old_treedef else []


def _memories(new: Any, old: Any) -> list[tuple[Any, Any]]:
    """The memories inside that count what they skip, new and old, without that of the outermost rule."""
    found = []
    for n, o in _parts(new, old):
        for m, p in _pairs(n, o, _is_node):
            if is_rule_state(m):
                found += _memories(m.memory, p.memory)
                found += [(m.memory, p.memory)] if "skipped" in _fields(m.memory) else []
            elif _is_clock(m):
                found += _memories(m, p) + ([(m, p)] if "skipped" in _fields(m) else [])
    return found


def skip_counts(new: Any, old: Any) -> list[tuple[jax.Array, jax.Array]]:
    """How many updates each rule inside has skipped, after and before an update."""
    return [(n.skipped, o.skipped) for n, o in _memories(new, old)]


def _numbers(new: Any, old: Any) -> list[tuple[Any, Any]]:
    """The remembered numbers, except those of inner rules that check their own."""
    found = []
    for n, o in _parts(new, old):
        for m, p in _pairs(n, o, _is_node):
            if is_rule_state(m):
                found += [] if "skipped" in _fields(m.memory) else _numbers(m.memory, p.memory)
            elif not _is_node(m) and _is_float(m) and jnp.shape(m) == jnp.shape(p) and jnp.size(m) <= FEW:
                found.append((m, p))
    return found


def _parts(new: Any, old: Any) -> list[tuple[Any, Any]]:
    """The fields of a memory, or the whole of anything else."""
    return list(zip(new, old, strict=True)) if _is_clock(new) and _fields(new) == _fields(old) else [(new, old)]


def _is_float(x: Any) -> bool:
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.inexact)


def _skipped(state: Any) -> Any:
    """A state after an update that was skipped: as it was, but for the counts and the rate applied, which is 0."""
    return jax.tree.map(_skipped_part, state, is_leaf=_is_node)


def _skipped_part(x: Any) -> Any:
    if is_rule_state(x):
        x = x._replace(memory=_skipped(x.memory))
        return type(x)(x.hyperparams, x.memory, add_one(x[2]), x.stamp) if isinstance(x, ScheduledState) else x
    if not _is_clock(x):
        return x
    fields = {}
    for name, held in zip(x._fields, x, strict=True):
        if name == "skipped" or name in COUNTS:
            fields[name] = add_one(held)
        else:
            fields[name] = jax.tree.map(jnp.zeros_like, held) if name == "learning_rate" else _skipped(held)
    return type(x)(**fields)


def _kept(usable: jax.Array, new: Any, old: Any) -> Any:
    """The state after an update: `new` where it is usable, else `old` with the counts of `new`."""
    leaves, treedef = jax.tree.flatten(new, is_leaf=_is_node)
    pairs = _pairs(new, old, _is_node)
    return treedef.unflatten([_kept_leaf(usable, n, o) for n, o in pairs]) if len(pairs) == len(leaves) else new


def _kept_leaf(usable: jax.Array, new: Any, old: Any) -> Any:
    if is_rule_state(new):
        return new._replace(memory=_kept(usable, new.memory, old.memory))
    if not _is_clock(new):
        return _chosen(usable, new, old)
    # a rule that skipped this update itself has already chosen its memory
    taken = usable | (new.skipped != old.skipped) if "skipped" in _fields(new) else usable
    fields = {}
    for name, n, o in zip(new._fields, new, old, strict=True):
        if name == "skipped":
            fields[name] = _chosen(usable, n, add_one(o))
        elif name == "learning_rate":
            fields[name] = jax.tree.map(lambda rate: _chosen(taken, rate, jnp.zeros_like(rate)), n)
        else:
            fields[name] = n if name in COUNTS else _kept(taken, n, o)
    return type(new)(**fields)


def _chosen(wanted: jax.Array, new: Any, old: Any) -> Any:
    """`new` where `wanted`, else `old`; always `new` if it is large, or the two cannot be chosen from."""
    if new is old or not hasattr(new, "dtype") or not hasattr(old, "dtype") or jnp.size(new) > FEW:
        return new
    if new.dtype != old.dtype or new.shape != old.shape:
        return new
    return jnp.where(wanted, new, old)
