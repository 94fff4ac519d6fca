"""Decoupled weight decay around any optimizer, with one of three couplings to the learning rate."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .. import _check as check
from .._arithmetic import map_leaves, real
from .._numbers import F32, Hyperparameter, Scalar
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, as_transformation, transformation
from ..state import learning_rate
from ._labels import as_mask, map_chosen
from .weight_decay import agreeing

Law = Literal["rate", "independent", "squared"]


class WithWeightDecayState(NamedTuple):
    """The state of weight decay around an optimizer."""

    inner: Any
    """The state of the inner optimizer, which holds the rate that it applied."""


@pytree_dataclass
class WithWeightDecay(Rule):
    """See `with_weight_decay`."""

    inner: Any = static()
    weight_decay: Scalar
    max_learning_rate: Scalar | None = None
    mask: Any = static(default=None)
    law: str = static(default="rate")
    cautious: bool = static(default=False)

    renamed = (("inner", "tx"),)
    stacks = "whole"

    @property
    def elementwise(self) -> bool:
        """Whether each coordinate is treated by itself: a mask tells one leaf from another."""
        return self.mask is None

    def init(self, params: Any) -> WithWeightDecayState:
        """The state before the first update."""
        return WithWeightDecayState(self.inner.init(params))

    def update(
        self, updates: Any, state: WithWeightDecayState, params: Any = None, **extra: Any
    ) -> tuple[Any, WithWeightDecayState]:
        """The inner update, less the decayed part of the parameters."""
        check.needs_params("with_weight_decay", updates, params)
        updates, inner = self.inner.update(updates, state.inner, params, **extra)
        factor = jnp.asarray(self.weight_decay, F32)
        if self.law != "independent":
            factor = factor * learning_rate(inner)
        if self.law == "squared":
            factor = factor * (learning_rate(inner) / jnp.asarray(self.max_learning_rate, F32))

        def leaf(u: jax.Array, p: Any) -> tuple[jax.Array]:
            p = jnp.asarray(p).astype(u.dtype)
            p = agreeing(p, -u) if self.cautious else p
            return (u - factor.astype(real(u.dtype)) * p,)

        def decayed(updates: Any, params: Any) -> Any:
            return map_leaves(leaf, 1, updates, params)[0]

        updates = map_chosen("with_weight_decay(mask=...)", self.mask, decayed, updates, params)
        return updates, WithWeightDecayState(inner)


@check.public
def with_weight_decay(
    tx: optax.GradientTransformation,
    weight_decay: Hyperparameter,
    mask: Any = None,
    *,
    law: Law = "rate",
    max_learning_rate: Hyperparameter | None = None,
    cautious: bool = False,
) -> Transformation:
    """Add decoupled weight decay to any optimizer, with one of three couplings to its learning rate.

    With u_t the updates of `tx`, η_t the rate that it applied and λ = `weight_decay`::

      θ_t = θ_{t−1} + u_t − λ_t · θ_{t−1}

      rate:         λ_t = η_t · λ                          as in AdamW: less decay as the rate falls
      independent:  λ_t = λ                                the same at every rate; λ may be a schedule of its own
      squared:      λ_t = η_t² / max_learning_rate · λ     AdamC: gradients do not grow at the end of a decay

    Args:
      tx: the optimizer without weight decay, with one learning rate of lrx's in it unless the law is independent.
      weight_decay: λ ≥ 0.
      mask: a tree of bools like the parameters (or a prefix of it), or a function from parameters to one: decay where
        True. None decays all.
      law: "rate", "independent" or "squared".
      max_learning_rate: the largest rate that `tx` will apply, > 0, for the squared law alone.
      cautious: whether to decay only the coordinates where u_t · θ_{t−1} ≤ 0, which the update brings nearer to 0 too,
        or leaves (cautious weight decay).

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      TypeError: if `tx` is no transformation or the mask is not one.
      ValueError: if λ is negative, the law is unknown, or `max_learning_rate` is missing or superfluous; in update, if
        there are no parameters or no single rate.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.with_weight_decay(lrx.adam(0.25), 0.5, law="squared", max_learning_rate=0.5)
      >>> params = jnp.array([8.0])
      >>> updates, _ = tx.update(jnp.zeros(1), tx.init(params), params)
      >>> print(updates)  # 0.25² / 0.5 · 0.5 · 8
      [-0.5]

    References:
      Loshchilov, Hutter, Decoupled weight decay regularization (ICLR 2019), arXiv 1711.05101 (rate, independent);
      Defazio, Why gradients rapidly increase near the end of training (2025), arXiv 2506.02285 (squared);
      Chen et al., Cautious weight decay (2025), arXiv 2510.12402, algorithm 1.
    """
    check.non_negative(weight_decay=weight_decay)
    check.one_of(Law, law=law)
    if (law == "squared") != (max_learning_rate is not None):
        raise check.fail("max_learning_rate", 'must be given for the law "squared" and for no other', max_learning_rate)
    if max_learning_rate is not None:
        check.positive(max_learning_rate=max_learning_rate)
    inner = as_transformation("tx", tx)
    return transformation(WithWeightDecay(inner, weight_decay, max_learning_rate, as_mask("mask", mask), law, cautious))
