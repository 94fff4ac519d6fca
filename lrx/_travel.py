"""The distance of the parameters from where training began.

For parameters in float32 or wider it is measured: θ − θ_0. Narrower ones round their updates, and at first may not move
at all: for them it is the sum of their updates, in float32.
"""

from typing import Any

import jax
import jax.numpy as jnp

from ._arithmetic import is_none, leaves_like, trainable, wide


def is_narrow(x: Any) -> bool:
    """Whether a leaf has less precision than float32."""
    dtype = jnp.result_type(x)
    return jnp.issubdtype(dtype, jnp.inexact) and wide(dtype) != dtype


def beginnings(params: Any) -> tuple[Any, Any]:
    """A copy of θ_0, with None for narrow leaves; and their displacement, 0, with None for the others."""
    start = jax.tree.map(lambda p: None if is_narrow(p) else jnp.array(p, jnp.result_type(p)), params)
    return start, jax.tree.map(
        lambda p: jnp.zeros_like(p, dtype=wide(jnp.result_type(p))) if is_narrow(p) else None, params
    )


def way(params: Any, start: Any, moved: Any) -> Any:
    """θ − θ_0, shaped like the parameters, in float32 or wider; None where there was no parameter at the start."""
    leaves, treedef = jax.tree.flatten(params)
    starts, ways = leaves_like(treedef, start), leaves_like(treedef, moved)
    return treedef.unflatten([_difference(*leaf) for leaf in zip(leaves, starts, ways, strict=True)])


def _difference(p: Any, start: Any, moved: Any) -> Any:
    if start is None and moved is None:
        return None
    p = jnp.asarray(p)
    if moved is not None:
        return moved
    return p - start if trainable(p) else jnp.zeros_like(p)


def gone_on(moved: Any, updates: Any) -> Any:
    """The displacement of the narrow leaves after one more update; float32."""

    def further(m: Any, u: Any) -> Any:
        return m if m is None or u is None else m + u.astype(m.dtype)

    return jax.tree.map(further, moved, updates, is_leaf=is_none)


def to_dtypes(updates: Any, wide_updates: Any) -> Any:
    """`wide_updates`, each rounded to the dtype of `updates`."""
    return jax.tree.map(lambda u, w: w.astype(jnp.result_type(u)) if trainable(u) else w, updates, wide_updates)
