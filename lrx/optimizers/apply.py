"""The last step of a training loop: add the updates to the parameters."""

from typing import Any

import jax
import jax.numpy as jnp

from .._arithmetic import trainable, wide


def apply_updates(params: Any, updates: Any) -> Any:
    """Add the updates to the parameters.

    ::

      θ_t = θ_{t−1} + u_t

    Args:
      params: θ, a tree of arrays.
      updates: u, a tree like it, as `tx.update` returns it. None, and leaves that cannot be trained, move nothing.

    Returns:
      New parameters, each in its own dtype; the sum is formed in at least float32 and rounded once.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> print(lrx.apply_updates(jnp.array([1.0, 2.0]), jnp.array([-0.5, 0.5])))
      [0.5 2.5]
    """

    def add(p: Any, u: Any) -> Any:
        if p is None or u is None:
            return p
        p, u = jnp.asarray(p), jnp.asarray(u)
        if not trainable(p) or not trainable(u):
            return p
        dtype = wide(p.dtype, u.dtype)
        return (p.astype(dtype) + u.astype(dtype)).astype(p.dtype)

    return jax.tree.map(add, params, updates, is_leaf=lambda x: x is None)
