"""Clipping of each leaf by itself."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import map_leaves, real
from .._numbers import Hyperparameter, Scalar
from .._pytree import pytree_dataclass
from .._rule import Rule
from .._transformation import Transformation, transformation
from ._blocks import block_rms


@pytree_dataclass
class ClipByBlockRms(Rule):
    """See `clip_by_block_rms`."""

    threshold: Scalar

    stacks = "mapped"

    def init(self, params: Any) -> tuple[()]:
        """Nothing to remember."""
        del params
        return ()

    def update(self, updates: Any, state: tuple[()], params: Any = None, **extra: Any) -> tuple[Any, tuple[()]]:
        """One step, on each leaf."""
        del params, extra

        def leaf(g: jax.Array) -> tuple[jax.Array]:
            return (g / jnp.maximum(1, block_rms(g) / jnp.asarray(self.threshold, real(g.dtype))),)

        return map_leaves(leaf, 1, updates)[0], state


@check.public
def clip_by_block_rms(threshold: Hyperparameter) -> Transformation:
    """Shrink each leaf so that the root of its mean square is at most `threshold`.

    With RMS(g) = √(mean of g² over the leaf), in at least float32::

      u = g / max(1, RMS(g) / threshold)

    Args:
      threshold: the largest root mean square that passes unchanged, > 0.

    Returns:
      A transformation without memory.

    Raises:
      ValueError: if `threshold` is not positive.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.clip_by_block_rms(1.0)
      >>> grads = {"w": jnp.array([4.0, -4.0]), "b": jnp.array([0.5])}
      >>> updates, _ = tx.update(grads, tx.init(grads))
      >>> print(updates["w"], updates["b"])
      [ 1. -1.] [0.5]

    References:
      Shazeer, Stern, Adafactor: adaptive learning rates with sublinear memory cost (ICML 2018), arXiv 1804.04235,
      section 6.
    """
    check.positive(threshold=threshold)
    return transformation(ClipByBlockRms(threshold))
