"""The trainable leaves of a tree as a list, for code that knows neither None nor integers."""

from typing import Any

import jax
import jax.numpy as jnp

from .._arithmetic import is_none, leaves_like, trainable, wide


class Trainable:
    """Which leaves of the updates are trained, and the way there and back."""

    def __init__(self, updates: Any, *, least: Any = jnp.float32):
        us, self.treedef = jax.tree.flatten(updates, is_leaf=is_none)
        self.places = [i for i, u in enumerate(us) if u is not None and trainable(u)]
        self.dtypes = [wide(jnp.result_type(us[i]), least) for i in self.places]

    def take(self, tree: Any) -> list[jax.Array]:
        """The part of `tree` that belongs to them, in at least float32."""
        leaves = leaves_like(self.treedef, tree)
        return [jnp.asarray(leaves[i]).astype(d) for i, d in zip(self.places, self.dtypes, strict=True)]

    def back(self, xs: list[Any], like: Any) -> Any:
        """`like` with these in their places, in the dtypes that it has there."""
        leaves = leaves_like(self.treedef, like)
        for i, x in zip(self.places, xs, strict=True):
            leaves[i] = jnp.asarray(x).astype(jnp.result_type(leaves[i]))
        return self.treedef.unflatten(leaves)

    def stored(self, xs: list[Any], like: Any) -> Any:
        """The same for a memory, whose buffers are its own."""
        return self.back([jnp.array(x) for x in xs], like)
