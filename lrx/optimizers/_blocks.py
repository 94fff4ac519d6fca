"""Leaves as blocks: helpers for rules that use norms or means of a whole leaf."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .._arithmetic import is_none, leaves_like, sqrt, squared


def map_blocks(block: Callable[..., tuple[Any, ...]], outputs: int, updates: Any, *trees: Any) -> tuple[Any, ...]:
    """`block(u, *xs) -> (update, *memories)` on each leaf, `outputs` trees back. A memory may be a tree of its own.

    Where the updates have None, which is not trained, the memories stay.
    """
    us, treedef = jax.tree.flatten(updates, is_leaf=is_none)
    if not us:
        return (updates,) * outputs
    columns = [leaves_like(treedef, t) for t in trees]
    nothing = (None,) * outputs
    results = [
        (None, *xs, *nothing)[:outputs] if u is None else block(u, *xs) for u, *xs in zip(us, *columns, strict=True)
    ]
    return tuple(treedef.unflatten(column) for column in zip(*results, strict=True))


def block_norm(x: jax.Array) -> jax.Array:
    """‖x‖, with derivative 0 at 0."""
    return sqrt(jnp.sum(squared(x)))


def block_rms(x: jax.Array) -> jax.Array:
    """The root of the mean of |x|²; 0 for an array without elements."""
    return sqrt(jnp.sum(squared(x)) / max(x.size, 1))


def refuse_complex(call: str, params: Any) -> None:
    """Raise for a rule that compares the sizes or signs of coordinates, if a parameter is complex."""
    for path, p in jax.tree_util.tree_leaves_with_path(params):
        if jnp.issubdtype(jnp.result_type(p), jnp.complexfloating):
            place = jax.tree_util.keystr(path) or "params"
            raise TypeError(f"{call} takes real parameters, got {jnp.result_type(p).name} at {place}.")
