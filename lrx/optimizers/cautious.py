"""Cautious optimizers: keep the coordinates in which the update agrees with the gradient, drop the others."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .. import _check as check
from .._arithmetic import map_leaves, real
from .._numbers import Hyperparameter, Scalar
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, as_transformation, transformation


class CautiousState(NamedTuple):
    """The state of `cautious`."""

    inner: Any
    """The state of the inner optimizer."""


@pytree_dataclass
class Cautious(Rule):
    """See `cautious`."""

    inner: Any = static()
    min_share: Scalar = 1e-3
    flip_sign: bool = static(default=True)

    def init(self, params: Any) -> CautiousState:
        """The state before the first update."""
        return CautiousState(self.inner.init(params))

    def update(self, updates: Any, state: CautiousState, params: Any = None, **extra: Any) -> tuple[Any, CautiousState]:
        """Algorithm 1, lines 5 and 6, on each leaf."""
        gradients = updates
        updates, inner = self.inner.update(updates, state.inner, params, **extra)

        def leaf(u: jax.Array, g: Any) -> tuple[jax.Array]:
            g = jnp.asarray(g).astype(u.dtype)
            along = jnp.real(u * jnp.conj(g))
            agrees = (along < 0 if self.flip_sign else along > 0).astype(real(u.dtype))
            share = jnp.sum(agrees) / max(agrees.size, 1)
            return (u * agrees / jnp.maximum(share, jnp.asarray(self.min_share, share.dtype)),)

        return map_leaves(leaf, 1, updates, gradients)[0], CautiousState(inner)


@check.public
def cautious(
    inner: optax.GradientTransformation, *, min_share: Hyperparameter = 1e-3, flip_sign: bool = True
) -> Transformation:
    """Drop the coordinates in which an update and the negative gradient have opposite signs.

    With g the gradient, −u the updates of `inner` and n the number of coordinates of a leaf::

      φ = 1[u · g > 0],   u ← u · φ / max(Σφ / n, min_share)     on each leaf

    Wrap the optimizer without its decoupled weight decay, which is not to be dropped, and decay outside:
    `with_weight_decay(cautious(adam(1e-3)), 0.01, law="rate")` is the paper's C-AdamW.

    Args:
      inner: the optimizer, lrx's or optax's.
      min_share: a lower bound of the share of agreeing coordinates by which the others are scaled up, > 0.
      flip_sign: whether `inner` descends, as every optimizer does; False for a `scale_by_x` without a rate, whose
        updates still point along the gradient.

    Returns:
      A transformation.

    Raises:
      TypeError: if `inner` is no transformation.
      ValueError: if `min_share` is not positive.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.cautious(lrx.sgd(1.0, momentum=0.5))
      >>> state = tx.init(jnp.zeros(2))
      >>> _, state = tx.update(jnp.array([4.0, 4.0]), state)
      >>> updates, state = tx.update(jnp.array([4.0, -1.0]), state)  # the momentum is [6, 1]
      >>> print(updates)
      [-12.  -0.]

    References:
      Liang, Chen, Liu, Liu, Cautious optimizers: improving training with one line of code (2024), arXiv 2411.16085,
      algorithm 1.
    """
    check.positive(min_share=min_share)
    return transformation(Cautious(as_transformation("inner", inner), min_share, flip_sign))
