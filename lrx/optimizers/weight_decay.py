"""Decoupled weight decay: a fraction of the parameters, added to the updates."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import map_leaves, real
from .._numbers import Hyperparameter, Scalar
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, transformation
from ._labels import as_mask, map_chosen


@pytree_dataclass
class AddDecayedWeights(Rule):
    """See `add_decayed_weights`."""

    weight_decay: Scalar = 0.0
    mask: Any = static(default=None)
    cautious: bool = static(default=False)

    stacks = "whole"

    @property
    def elementwise(self) -> bool:
        """Whether each coordinate is treated by itself: a mask tells one leaf from another."""
        return self.mask is None

    def init(self, params: Any) -> tuple[()]:
        """Nothing to remember."""
        del params
        return ()

    def update(self, updates: Any, state: tuple[()], params: Any = None, **extra: Any) -> tuple[Any, tuple[()]]:
        """`updates + weight_decay * params`."""
        del extra
        check.needs_params("add_decayed_weights", updates, params)

        def leaf(u: jax.Array, p: Any) -> tuple[jax.Array]:
            p = jnp.asarray(p).astype(u.dtype)
            p = agreeing(p, u) if self.cautious else p
            return (u + jnp.asarray(self.weight_decay, real(u.dtype)) * p,)

        def decayed(updates: Any, params: Any) -> Any:
            return map_leaves(leaf, 1, updates, params)[0]

        return map_chosen("add_decayed_weights(mask=...)", self.mask, decayed, updates, params), state


def agreeing(p: jax.Array, u: jax.Array) -> jax.Array:
    """The parameters where a step against `u` brings them nearer to 0, or leaves them; 0 elsewhere."""
    return jnp.where(jnp.real(u * jnp.conj(p)) >= 0, p, jnp.zeros_like(p))


@check.public
def add_decayed_weights(
    weight_decay: Hyperparameter = 0.0, mask: Any = None, *, cautious: bool = False
) -> Transformation:
    """Add a fraction of the parameters to the updates.

    ::

      u_t = g_t + weight_decay · θ_{t−1}

    Before `scale_by_learning_rate` this is the decoupled decay of AdamW, θ ← θ − η·(… + weight_decay·θ).

    Args:
      weight_decay: λ ≥ 0.
      mask: a tree of bools like the parameters (or a prefix of it), or a function from parameters to one: decay where
        True. None decays all.
      cautious: whether to decay only the coordinates where g_t · θ_{t−1} ≥ 0: those whose update and decay have the
        same direction (cautious weight decay).

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if `weight_decay` is negative; in update, if there are no parameters.
      TypeError: if the mask is not one.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> params = {"w": jnp.array([8.0]), "b": jnp.array([8.0])}
      >>> tx = lrx.add_decayed_weights(0.25, mask={"w": True, "b": False})
      >>> updates, _ = tx.update({"w": jnp.ones(1), "b": jnp.ones(1)}, tx.init(params), params)
      >>> print(updates["w"], updates["b"])
      [3.] [1.]

    References:
      Loshchilov, Hutter, Decoupled weight decay regularization (ICLR 2019), arXiv 1711.05101; Chen et al., Cautious
      weight decay (2025), arXiv 2510.12402, algorithm 1.
    """
    check.non_negative(weight_decay=weight_decay)
    return transformation(AddDecayedWeights(weight_decay, as_mask("mask", mask), cautious))
