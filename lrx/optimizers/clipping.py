"""Clipping of gradients."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import global_norm, scaled
from .._numbers import Scalar
from .._pytree import pytree_dataclass
from .._transformation import Transformation, transformation


@pytree_dataclass
class ClipByGlobalNorm:
    """See `clip_by_global_norm`."""

    max_norm: Scalar

    def init(self, params: Any) -> tuple[()]:
        """Nothing to remember."""
        del params
        return ()

    def update(self, updates: Any, state: tuple[()], params: Any = None, **extra: Any) -> tuple[Any, tuple[()]]:
        """One step, on all leaves together."""
        del params, extra
        norm = global_norm(updates)
        inside = norm < self.max_norm
        factor = jnp.where(inside, 1, self.max_norm / jnp.where(inside, jnp.ones_like(norm), norm))
        return jax.tree.map(lambda u, s: jnp.where(inside, u, s), updates, scaled(factor, updates)), state


@check.public
def clip_by_global_norm(max_norm: Scalar) -> Transformation:
    """Shrink the updates, all leaves together, so that their norm is at most `max_norm`.

    With ‖g‖ the Euclidean norm of all leaves together, summed in float32::

      u = g · min(1, max_norm / ‖g‖)

    Args:
      max_norm: the largest norm that passes unchanged, > 0.

    Returns:
      A transformation without memory. A non-finite norm gives non-finite updates.

    Raises:
      ValueError: if `max_norm` is not positive.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.clip_by_global_norm(1.0)
      >>> updates, _ = tx.update(jnp.array([6.0, 8.0]), tx.init(jnp.zeros(2)))
      >>> print(updates)
      [0.6 0.8]

    References:
      Pascanu, Mikolov, Bengio, On the difficulty of training recurrent neural networks (ICML 2013), algorithm 1.
    """
    check.positive(max_norm=max_norm)
    return transformation(ClipByGlobalNorm(max_norm))
