"""Updates divided by their norm."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import global_norm, map_leaves, real
from .._pytree import pytree_dataclass
from .._rule import Rule
from .._transformation import Transformation, transformation


@pytree_dataclass
class Normalize(Rule):
    """See `normalize`."""

    elementwise = True

    def init(self, params: Any) -> tuple[()]:
        """Nothing to remember."""
        del params
        return ()

    def update(self, updates: Any, state: tuple[()], params: Any = None, **extra: Any) -> tuple[Any, tuple[()]]:
        """`updates / ‖updates‖`."""
        del params, extra
        norm = global_norm(updates)
        size = jnp.where(norm > 0, norm, jnp.ones_like(norm))

        def leaf(u: jax.Array) -> tuple[jax.Array]:
            return (u / size.astype(real(u.dtype)),)

        return map_leaves(leaf, 1, updates)[0], state


@check.public
def normalize() -> Transformation:
    """Divide the updates by their Euclidean norm, that of all leaves together.

    ::

      u_t = g_t / ‖g_t‖

    Where all are zero they stay so (in optax they become NaN). In front of SGD the rate is the length of a step.

    Returns:
      A transformation without memory.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> updates, _ = lrx.normalize().update({"w": jnp.array([3.0]), "b": jnp.array([-4.0])}, ())
      >>> print(updates["w"], updates["b"])
      [0.6] [-0.8]
    """
    return transformation(Normalize())
