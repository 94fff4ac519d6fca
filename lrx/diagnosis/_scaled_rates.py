"""Multiply the learning rate in the state of a training, whatever is around it and whatever schedule it follows."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import _check as check
from .._boxes import is_boxed, value_of
from .._pytree import key_name
from .._state_paths import RATE_KEYS, rules
from ..state import learning_rates, replaced

NAMES = {"learning_rate", "max_learning_rate", "lower", "upper", "init_rate"}
"""Numbers that are in the unit of the rate, beside those whose names end in "value" or "values"."""
COUNTED = {"divisor"}
"""Parts of a schedule in which no number is."""

Edit = Callable[[Any, float], Any]
"""(state, factor) -> the state with `factor` times the numbers that the first one had."""


def rates_in(state: Any) -> dict[str, Any]:
    """Path -> the learning rate applied last, of lrx's rules and of what optax injects."""
    found = dict(learning_rates(state))
    for place, held in _injected(state):
        found[".".join((*place, "learning_rate"))] = held["learning_rate"]
    return found


def edits(state: Any) -> list[Edit]:
    """The ways in which the rates of a state may be multiplied; which one is right, a step shows.

    A state has the numbers of its schedules and their names, but does not tell a product from a sum: of the one the
    first factor is to be multiplied, of the other all terms.
    """
    found = []
    for first_alone in (False, True):
        places = set(_places(state, first_alone))
        if places and places not in [other for other, _ in found]:
            found.append((places, _edit(state, places)))
    if not found:
        raise check.fail("state", "must hold a learning rate of lrx's or of optax.inject_hyperparams", "none")
    return [edit for _, edit in found]


def _edit(state: Any, places: set[tuple[str, ...]]) -> Edit:
    paths, _ = jax.tree_util.tree_flatten_with_path(state, is_leaf=is_boxed)
    indices = [i for i, (path, _) in enumerate(paths) if tuple(map(key_name, path)) in places]
    held = {i: np.asarray(value_of(paths[i][1])) for i in indices}

    def edit(state: Any, factor: float) -> Any:
        leaves, treedef = jax.tree.flatten(state, is_leaf=is_boxed)
        for i, number in held.items():
            new = (number.astype(np.float64) * factor).astype(number.dtype)
            leaves[i] = replaced("probe(factors=...)", leaves[i], new)
        return treedef.unflatten(leaves)

    return edit


def _places(state: Any, first_alone: bool) -> Iterator[tuple[str, ...]]:
    """The paths of the numbers that are in the unit of the rate."""
    for found in rules(state):
        for name, x in found.state.hyperparams.items():
            if name == "learning_rate" or name in RATE_KEYS:
                yield from _within((*found.place, "hyperparams", name), x, first_alone)
    for place, held in _injected(state):
        del held
        yield (*place, "hyperparams", "learning_rate")


def _within(place: tuple[str, ...], x: Any, first_alone: bool) -> Iterator[tuple[str, ...]]:
    if not hasattr(x, "keys"):
        name = next(k for k in reversed(place) if not k.isdigit())
        if name in NAMES or name.endswith(("value", "values")):
            yield place
        return
    if "model_size" in x and "scale" in x:  # Noam's, whose rate is `scale` times powers of the other
        yield (*place, "scale")
        return
    for key in x:
        if key == "schedules" and first_alone and "boundaries" not in x:
            parts = sorted(x[key], key=int)
            yield from _within((*place, key, parts[0]), x[key][parts[0]], first_alone)
        elif key not in COUNTED:
            yield from _within((*place, key), x[key], first_alone)


def _injected(state: Any) -> list[tuple[tuple[str, ...], Any]]:
    """The path and the numbers of each state that `optax.inject_hyperparams` made with a learning rate."""

    def is_found(x: Any) -> bool:
        held = getattr(x, "hyperparams", None) if hasattr(x, "_fields") and "inner_state" in x._fields else None
        return isinstance(held, Mapping) and "learning_rate" in held

    paths, _ = jax.tree_util.tree_flatten_with_path(state, is_leaf=is_found)
    return [(tuple(map(key_name, path)), x.hyperparams) for path, x in paths if is_found(x)]


def copied(tree: Any) -> Any:
    """A copy, array by array, that may be donated or changed in place."""

    def copy(x: Any) -> Any:
        return jnp.copy(x) if isinstance(x, jax.Array) else np.array(x) if isinstance(x, np.ndarray) else x

    return jax.tree.map(copy, tree)
