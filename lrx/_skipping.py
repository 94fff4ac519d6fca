"""Skip the updates that are not usable: one policy for chains with a controller and for rules that find their rate.

An update is usable if the squared norm of what comes in is finite in float32 (or the dtype of the leaves, if wider),
and if the rate, the updates and all of the new memory are finite too. An update that is not usable is zero, leaves
every memory as it was, and is counted as `skipped`. `count` includes the updates that were skipped, so the schedules of
learning rates go on.
"""

from typing import Any

import jax
import jax.numpy as jnp

from ._arithmetic import add_one, squared, trainable, wide
from ._rule import COUNTS, Rule, is_rule_state, wrapped_by


class SkipsUnusable(Rule):
    """A rule whose unusable updates are skipped. Its class has `step` in place of `update`.

    `step(updates, memory, params, **extra) -> (updates, memory, failed)`, where `failed` (bool []) reports what the
    results do not show, such as a loss that is NaN. The memory has the fields `count` and `skipped`.
    """

    skips = True

    def update(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        """The result of `step`, or zeros and the old state where it is not usable."""
        new_updates, new, failed = self.step(updates, state, params, **extra)  # type: ignore[attr-defined]  # see above
        return settled(updates, new_updates, new, state, failed)


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


def settled(incoming: Any, updates: Any, new: Any, old: Any, failed: Any = False) -> tuple[Any, Any]:
    """`updates` and the state `new` after them, or zeros and the state `old` where they are not usable."""
    usable = _all_sound(incoming, updates, _numbers(new, old)) & ~jnp.asarray(failed)
    for n, o in _memories(new, old):
        usable = usable & (n.skipped == o.skipped)
    return not_moved_where(~usable, updates), _kept(usable, new, old)


def not_moved_where(wanted: jax.Array, updates: Any) -> Any:
    """`updates`, but zeros where `wanted`: selected, not multiplied, since 0 times nan is nan."""
    return jax.tree.map(lambda u: jnp.where(wanted, jnp.zeros_like(u), u) if trainable(u) else u, updates)


def _all_sound(incoming: Any, updates: Any, numbers: list[tuple[Any, Any]]) -> jax.Array:
    """Whether squares of what comes in are finite, and the updates and the numbers remembered too."""
    arrays = [x if hasattr(x, "dtype") else jnp.asarray(x) for x in jax.tree.leaves(incoming)]
    parts = [squared(x.astype(wide(x.dtype))) for x in arrays if trainable(x)]
    parts += [_zero(u) for u in jax.tree.leaves(updates) if trainable(u)]
    parts += [_zero(n, o) for n, o in numbers]
    totals = [_total(x) for x in parts]
    dtype = wide(*(t.dtype for t in totals))
    return jnp.isfinite(sum((t.astype(dtype) for t in totals), jnp.zeros((), dtype)))


def _total(x: jax.Array) -> jax.Array:
    """The sum, first over the leading axes: on CPU XLA adds rows many at a time, and numbers one after the other."""
    return jnp.sum(jnp.sum(x, axis=tuple(range(x.ndim - 1)))) if x.ndim > 1 else jnp.sum(x)


def _zero(x: Any, before: Any = None) -> jax.Array:
    """0 where `x` is finite, or was not before; else NaN."""
    zero = jnp.real(x) * 0 + jnp.imag(x) * 0 if jnp.iscomplexobj(x) else jnp.asarray(x) * 0
    zero = zero.astype(wide(zero.dtype))
    return zero if before is None else jnp.where(jnp.isfinite(before), zero, jnp.zeros_like(zero))


# ---------------------------------------------------------------- states


def _fields(x: Any) -> tuple[str, ...]:
    return getattr(x, "_fields", ()) if isinstance(x, tuple) else ()


def _is_clock(x: Any) -> bool:
    """Whether `x` is the memory of a rule that has a learning rate, or that skips updates itself."""
    fields = _fields(x)
    return "skipped" in fields or "num_updates" in fields or ("count" in fields and "learning_rate" in fields)


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


def _numbers(new: Any, old: Any) -> list[tuple[Any, Any]]:
    """The remembered numbers, except those of inner rules that check their own."""
    found = []
    for n, o in _parts(new, old):
        for m, p in _pairs(n, o, _is_node):
            if is_rule_state(m):
                found += [] if "skipped" in _fields(m.memory) else _numbers(m.memory, p.memory)
            elif not _is_node(m) and _is_float(m) and jnp.shape(m) == jnp.shape(p):
                found.append((m, p))
    return found


def _parts(new: Any, old: Any) -> list[tuple[Any, Any]]:
    """The fields of a memory, or the whole of anything else."""
    return list(zip(new, old, strict=True)) if _is_clock(new) and _fields(new) == _fields(old) else [(new, old)]


def _is_float(x: Any) -> bool:
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.inexact)


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
    """`new` where `wanted`, else `old`; always `new` if the two cannot be chosen from."""
    if new is old or not hasattr(new, "dtype") or not hasattr(old, "dtype"):
        return new
    if new.dtype != old.dtype or new.shape != old.shape:
        return new
    return jnp.where(wanted, new, old)
