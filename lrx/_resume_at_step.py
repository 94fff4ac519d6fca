"""A state whose counts say that a number of updates are completed, for those who have no state to resume from."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import GetAttrKey

from . import _check as check
from ._boxes import boxed_like, map_with_names, value_of
from ._first_count import showing
from ._numbers import INT32_MAX, is_array, is_tracer
from ._pytree import key_name
from ._rules_in import applied_last, rules_in
from ._state_parts import UPDATE_COUNTS, Parts, Place
from ._state_paths import rules

_COUNTS = {**UPDATE_COUNTS, "count_m2": 0}


def is_step(x: Any) -> bool:
    """Whether `x` is a whole number."""
    if isinstance(x, int):
        return not isinstance(x, bool)
    return is_array(x) and np.ndim(x) == 0 and jnp.issubdtype(jnp.result_type(x), jnp.integer)


def at_step(tx: Any, params: Any, step: Any) -> Any:
    """A state with fresh moments whose counts say that `step` updates are completed."""
    check.non_negative_count(restored=step)
    with showing(jnp.maximum(jnp.asarray(step) - 1, 0)):
        fresh = tx.init(params)
    of_place, windows = dict(rules_in(tx.init, fresh)), _accumulations(fresh)
    other = {part.places["count"] for part in Parts(fresh).parts if "plateau_count" in part.fields}  # of a window

    def counted(names: Place) -> Any:
        """The number of updates completed by what is at a path; outside an accumulation, of its micro-steps."""
        if any(names[: len(place)] == place for place in windows):
            return step
        around = [every for place, every in windows.items() if names[: len(place) - 1] == place[:-1]]
        return _times(step, around[0]) if around else step

    def leaf(path: Any, x: Any) -> Any:
        names, fresh = tuple(map(key_name, path)), value_of(x)
        attributes = [k.name for k in path if isinstance(k, GetAttrKey)]
        if "hyperparams" in attributes or "controller" in attributes or names in other:
            return x
        last = path[-1].name if path and isinstance(path[-1], GetAttrKey) else ""
        if last in _COUNTS and np.ndim(fresh) == 0 and jnp.issubdtype(jnp.result_type(fresh), jnp.integer):
            return boxed_like(x, placed_like(fresh, _plus(counted(names), _COUNTS[last])))
        if last == "learning_rate":
            place = names[:-2]
            applied = applied_last(of_place[place], counted(names)) if place in of_place else None
            return x if applied is None else boxed_like(x, placed_like(fresh, applied))
        return x

    return map_with_names(leaf, fresh)


def _accumulations(fresh: Any) -> dict[Place, Any]:
    """The path of each accumulation -> its number of micro-steps to an update."""
    found = [(place, state) for place, _, state in rules(fresh) if "mini_step" in getattr(state.memory, "_fields", ())]
    return {place: value_of(state.hyperparams.get("every", 1)) for place, state in found}


def _times(step: Any, every: Any) -> Any:
    if hasattr(every, "keys") or is_tracer(step) or is_tracer(every):
        return step
    return min(int(step) * int(every), INT32_MAX)


def _plus(count: Any, start: int) -> Any:
    return count + start if is_tracer(count) else min(int(count) + start, INT32_MAX)


def placed_like(fresh: Any, found: Any) -> Any:
    """`found` with the dtype and the placement of `fresh`."""
    if not hasattr(fresh, "dtype") or jnp.issubdtype(fresh.dtype, jax.dtypes.extended):
        return found
    found = jnp.asarray(found).astype(fresh.dtype)
    if is_tracer(found) or is_tracer(fresh) or not getattr(fresh, "committed", False):
        return found
    return jax.device_put(found, fresh.sharding)
