"""Layer-wise learning rate decay: the rate falls from the output towards the input."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import scaled
from .._numbers import F32, Hyperparameter, Scalar
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, transformation
from ._labels import StaticTree, as_static_tree, spread


@pytree_dataclass
class LayerWiseDecay(Rule):
    """See `layer_wise_decay`."""

    decay_rate: Scalar
    depths: Any = static()
    min_scale: Scalar = 0.0

    stacks = "whole"

    def init(self, params: Any) -> tuple[()]:
        """Nothing to remember."""
        del params
        return ()

    def update(self, updates: Any, state: tuple[()], params: Any = None, **extra: Any) -> tuple[Any, tuple[()]]:
        """Each leaf times the factor of its layer."""
        del params, extra
        leaves, treedef = jax.tree.flatten(updates)
        depths = spread("layer_wise_decay(depths=...)", self.depths, updates, int)
        # of the whole tree also where a mask or a group shows a part of the parameters
        top = max(self.depths.leaves if isinstance(self.depths, StaticTree) else depths, default=0)

        def factor(depth: int) -> jax.Array:
            return jnp.maximum(jnp.asarray(self.min_scale, F32), jnp.asarray(self.decay_rate, F32) ** (top - depth))

        factors = {depth: factor(depth) for depth in sorted(set(depths))}
        return treedef.unflatten([scaled(factors[d], u) for d, u in zip(depths, leaves, strict=True)]), state


@check.public
def layer_wise_decay(decay_rate: Hyperparameter, depths: Any, *, min_scale: Hyperparameter = 0.0) -> Transformation:
    """Scale the learning rate of each layer: the further from the output, the smaller.

    With d the depth of a leaf and D the largest of all::

      u ← u · max(min_scale, decay_rate^(D − d))

    Last in a chain it multiplies the learning rate of each layer, also for decoupled weight decay.

    Args:
      decay_rate: the factor from each layer to the one before, > 0 (0.65 to 0.75 for vision transformers).
      depths: a tree of whole numbers like the parameters (or a prefix of it), or a function from updates to one, such
        as `by_path({"embed": 0, r"block_(\\d+)": lambda m: int(m[1]) + 1, "head": 13})`. Inside a mask or a group of
        a partition a function sees only the leaves there, and D is the largest of those: give a tree.
      min_scale: the smallest factor, ≥ 0.

    Returns:
      A transformation without memory.

    Raises:
      ValueError: if `decay_rate` is not positive or `min_scale` is negative.
      TypeError: if the depths are not whole numbers.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> params = {"embed": jnp.ones(1), "block": jnp.ones(1), "head": jnp.ones(1)}
      >>> depths = {"embed": 0, "block": 1, "head": 2}
      >>> tx = lrx.chain(lrx.sgd(1.0), lrx.layer_wise_decay(0.5, depths))
      >>> updates, _ = tx.update(params, tx.init(params))
      >>> print(updates["embed"], updates["block"], updates["head"])
      [-0.25] [-0.5] [-1.]

    References:
      Clark, Luong, Le, Manning, ELECTRA (ICLR 2020), arXiv 2003.10555, appendix A; Bao, Dong, Piao, Wei, BEiT
      (ICLR 2022), arXiv 2106.08254.
    """
    check.positive(decay_rate=decay_rate)
    check.non_negative(min_scale=min_scale)
    return transformation(LayerWiseDecay(decay_rate, as_static_tree("depths", depths, int), min_scale))
