"""`resume`: the memory of a checkpoint under the hyperparameters of the code."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import GetAttrKey

from ._boxes import boxed_like, is_boxed, map_with_names, value_of
from ._numbers import is_tracer
from ._pytree import key_name
from ._rule import COUNTS, INNER, State
from ._state_paths import RATE_KEYS, dotted

_MISSING = object()


def resume(tx: Any, params: Any, restored: Any) -> Any:
    """The state of `tx` with the memory of `restored` and the hyperparameters of `tx`.

    What the optimizer remembers (counts, moments) comes from the checkpoint, matched by path; its hyperparameters
    (rates, decays, schedules) come from the code. So a run that was started with a constant rate continues with a
    schedule at the right count, and vice versa.

    Args:
      tx: the optimizer as the code builds it now.
      params: the parameters, arrays (their values matter only to rules whose memory starts from them).
      restored: a state, or the nested dicts and lists that a checkpoint without a target restores to.

    Returns:
      A state of `tx`; each leaf has the dtype and the sharding that `tx.init(params)` gives it.

    Raises:
      ValueError: if a part of the memory has no counterpart, or another shape: the message lists the paths.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> params = jnp.zeros(3)
      >>> _, old = lrx.adam(1e-3).update(params, lrx.adam(1e-3).init(params))
      >>> tx = lrx.adam(lrx.linear_schedule(1.0, 0.0, transition_steps=10))
      >>> state = lrx.resume(tx, params, old)
      >>> _, state = tx.update(params, state)
      >>> print(lrx.count(state), lrx.learning_rate(state))
      2 0.9
    """
    if restored is None or jax.tree.leaves(restored) == [restored]:
        raise TypeError(f"resume(restored=...) must be a state, or the dicts and lists of one, got {restored!r}.")
    fresh, restored = tx.init(params), _unboxed(restored)
    used: set[tuple[str, ...]] = set()
    faults: list[str] = []

    def leaf(path: Any, x: Any) -> Any:
        return boxed_like(x, _leaf(path, value_of(x), restored, used, faults))

    new = map_with_names(leaf, fresh)
    held = {tuple(map(key_name, path)) for path, _ in jax.tree_util.tree_flatten_with_path(restored)[0]}
    for path in sorted(held - used):
        if _is_of_a_controller(path, new):
            continue
        if "hyperparams" not in path and path[-1] not in _REBUILT and not _is_of_a_rule(path, restored):
            faults.append(f"{_dotted(path)} is in the checkpoint, but tx has no place for it")
    if faults:
        raise ValueError(
            f"resume(tx, params, restored) found that they do not fit: {'; '.join(faults)}. "
            "The chain of tx must have the links whose memory the checkpoint holds."
        )
    return new


def _unboxed(restored: Any) -> Any:
    """Plain arrays in place of boxes, also of those in a file: Flax nnx writes a box as {"value": array}."""
    restored = jax.tree.map(value_of, restored, is_leaf=is_boxed)
    leaves = jax.tree_util.tree_flatten_with_path(restored)[0]
    if not leaves or any(key_name(path[-1]) != "value" for path, _ in leaves if path):  # a parameter may have that name
        return restored
    return jax.tree.map(lambda x: x["value"], restored, is_leaf=lambda x: hasattr(x, "keys") and set(x) == {"value"})


def _is_of_a_rule(names: tuple[str, ...], restored: Any) -> bool:
    """Whether a path ends in the stamp of a rule, or in the count at which its schedules are evaluated."""
    return names[-1] in ("count", "stamp") and _at(restored, (*names[:-1], "hyperparams")) is not _MISSING


def _counted(names: tuple[str, ...], restored: Any) -> Any:
    """The count for a rule whose count the checkpoint lacks: that of the nearest rules, if they agree.

    Learning rates are preferred: they count all updates, where a moment may have been reset.
    """
    counts = {}
    for path, x in jax.tree_util.tree_flatten_with_path(restored)[0]:
        place = tuple(map(key_name, path))
        if place and place[-1] in COUNTS and "hyperparams" not in place and not np.ndim(x) and not _is_real(x):
            start = COUNTS[place[-1]]
            counts[place] = x - start if start else x
    for end in range(max(len(names) - 2, 0), -1, -1):  # from the chain of the rule outwards
        near = {place: x for place, x in counts.items() if place[:end] == names[:end]}
        near = {place: x for place, x in near.items() if _counts_rates(place, restored)} or near
        if near:
            first, *others = near.values()
            agree = all(is_tracer(first) or is_tracer(x) or np.array_equal(first, x) for x in others)
            return first if agree else _MISSING
    return _MISSING


def _is_real(x: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(x), jnp.inexact)  # the moment of a parameter that is called `count`


def _counts_rates(place: tuple[str, ...], restored: Any) -> bool:
    numbers = _at(restored, (*place[:-2], "hyperparams"))
    return hasattr(numbers, "keys") and any(key in numbers for key in ("learning_rate", *RATE_KEYS))


def _is_of_a_controller(names: tuple[str, ...], other: Any) -> bool:
    """Whether a path is in the memory of a controller that the other state does not have."""
    if "memory" not in names:
        return False
    end = len(names) - names[::-1].index("memory")
    part = names[end : end + 1]
    return part in (("controller",), ("skipped",)) and _at(other, (*names[:end], "controller")) is _MISSING


_RATE_COUNTS = ("count", "num_updates")
"""The two names of the count of a learning rate: a constant one has the second."""

_REBUILT = ("learning_rate",)
"""Memory that can be computed again: the rate applied last."""


def _leaf(path: Any, fresh: Any, restored: Any, used: set[Any], faults: list[str]) -> Any:
    names = tuple(map(key_name, path))
    if any(isinstance(k, GetAttrKey) and k.name in ("hyperparams", "stamp") for k in path):  # not names
        return fresh
    found = _at(restored, names)
    if found is _MISSING and names[-1] in _RATE_COUNTS and names[-2:-1] == ("memory",):
        other = next(name for name in _RATE_COUNTS if name != names[-1])
        found = _at(restored, (*names[:-1], other))
        if found is not _MISSING:
            names = (*names[:-1], other)
    if found is _MISSING and names[-1] in _REBUILT:  # it was constant: a hyperparameter there
        found = _at(restored, (*names[:-2], "hyperparams", names[-1]))
        return fresh if found is _MISSING or hasattr(found, "keys") else _like(fresh, found)
    if found is _MISSING and names[-1] == "count" and isinstance(path[-1], GetAttrKey) and names[-2:-1] != ("memory",):
        found = _counted(names, restored)  # a number that was constant in the checkpoint is a schedule now
        if found is not _MISSING:
            return _like(fresh, jnp.array(found))  # a copy: two leaves of one buffer cannot be donated
    if found is _MISSING and _is_of_a_controller(names, restored):
        return fresh
    if found is _MISSING or hasattr(found, "keys"):
        faults.append(f"{_dotted(names)} is not in the checkpoint")
        return fresh
    used.add(names)
    if np.shape(found) != np.shape(fresh):
        faults.append(f"{_dotted(names)} has shape {np.shape(found)} in the checkpoint, {np.shape(fresh)} in tx")
        return fresh
    return _like(fresh, found)


def _at(tree: Any, names: tuple[str, ...]) -> Any:
    """The entry of `tree` at a path. Containers may have become dicts or lists on the way through a file."""
    for name in names:
        if hasattr(tree, "keys"):
            keys = {str(k): k for k in tree}
            if name not in keys:
                return _MISSING
            tree = tree[keys[name]]
        elif isinstance(tree, list | tuple) and name.isdecimal():
            if int(name) >= len(tree):
                return _MISSING
            tree = tree[int(name)]
        elif hasattr(tree, name) and name in getattr(tree, "_fields", (name,)):  # every tuple has a method `count`
            tree = getattr(tree, name)
        else:
            return _MISSING
    return tree


def _like(fresh: Any, found: Any) -> Any:
    """`found` with the dtype and the placement of `fresh`."""
    if not hasattr(fresh, "dtype") or jnp.issubdtype(fresh.dtype, jax.dtypes.extended):
        return found
    found = jnp.asarray(found).astype(fresh.dtype)
    if is_tracer(found) or is_tracer(fresh) or not getattr(fresh, "committed", False):
        return found
    return jax.device_put(found, fresh.sharding)


def _dotted(names: tuple[str, ...]) -> str:
    return dotted(tuple(n for n in names if n not in (*State._fields, *INNER)))
