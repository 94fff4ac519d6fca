"""Adadelta: the gradient times the ratio of the RMS of recent steps to the RMS of recent gradients."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import full_like_second, map_leaves, real, sqrt, squared
from .._chain import chain
from .._numbers import Hyperparameter, Scalar
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, transformation
from ..controllers._controller import LearningRate
from ._dtype import dtype_name
from ._labels import as_mask
from .learning_rate import scale_by_learning_rate
from .weight_decay import add_decayed_weights


class ScaleByAdadeltaState(NamedTuple):
    """The state of Adadelta."""

    e_g: Any
    """E[g²], shaped like the parameters, float32 or `nu_dtype`."""
    e_x: Any
    """E[Δ²], shaped like the parameters, float32 or `nu_dtype`."""


@pytree_dataclass
class ScaleByAdadelta(Rule):
    """See `scale_by_adadelta`."""

    rho: Scalar = 0.9
    eps: Scalar = 1e-6
    nu_dtype: str | None = static(default=None)

    elementwise = True

    def init(self, params: Any) -> ScaleByAdadeltaState:
        """The state before the first update."""
        e_g, e_x = (full_like_second(params, 0.0, self.nu_dtype) for _ in range(2))  # two buffers, or none is donated
        return ScaleByAdadeltaState(e_g, e_x)

    def update(
        self, updates: Any, state: ScaleByAdadeltaState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByAdadeltaState]:
        """Algorithm 1, lines 4 to 6, on each leaf."""
        del params, extra

        def leaf(g: jax.Array, e_g: jax.Array, e_x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            r = real(g.dtype)
            rho, eps = jnp.asarray(self.rho, r), jnp.asarray(self.eps, r)
            e_g = rho * e_g.astype(r) + (1 - rho) * squared(g)
            e_x = e_x.astype(r)
            seen = e_g + eps > 0
            # the root of the ratio and not the ratio of the roots: one array fewer to write
            u = sqrt(jnp.where(seen, (e_x + eps) / jnp.where(seen, e_g + eps, 1), 0)) * g
            return u, e_g, rho * e_x + (1 - rho) * squared(u)

        updates, e_g, e_x = map_leaves(leaf, 3, updates, state.e_g, state.e_x)
        return updates, ScaleByAdadeltaState(e_g, e_x)


@check.public
def scale_by_adadelta(rho: Hyperparameter = 0.9, eps: Hyperparameter = 1e-6, *, nu_dtype: Any = None) -> Transformation:
    """Multiply each coordinate by the ratio of two roots of recent mean squares: see `adadelta`.

    ::

      E[g²]_t = rho·E[g²]_{t−1} + (1 − rho)·g_t²
      u_t = √(E[u²]_{t−1} + eps) / √(E[g²]_t + eps) · g_t
      E[u²]_t = rho·E[u²]_{t−1} + (1 − rho)·u_t²

    Args:
      rho: in [0, 1).
      eps: ε ≥ 0, inside both roots. It sets the size of the first steps; with 0 there are none.
      nu_dtype: dtype of both means; at least float32 if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if `rho` is not in [0, 1), or `eps` is negative or vanishes in float32.
      TypeError: if the dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_adadelta(rho=0.75, eps=0.25)
      >>> updates, _ = tx.update(jnp.array([0.75, -0.75]), tx.init(jnp.zeros(2)))
      >>> print(updates)
      [ 0.6 -0.6]

    References:
      Zeiler, Adadelta: an adaptive learning rate method (2012), arXiv 1212.5701, algorithm 1.
    """
    check.below_one(rho=rho)
    check.epsilon(eps=eps)
    return transformation(ScaleByAdadelta(rho, eps, dtype_name("nu_dtype", nu_dtype)))


@check.public
def adadelta(
    learning_rate: LearningRate | None = None,
    rho: Hyperparameter = 0.9,
    eps: Hyperparameter = 1e-6,
    weight_decay: Hyperparameter = 0.0,
    weight_decay_mask: Any = None,
    *,
    nu_dtype: Any = None,
) -> Transformation:
    """Adadelta: the size of each coordinate's step comes from its past steps.

    With ∇_t the gradient and η_t the learning rate::

      g_t = ∇_t + weight_decay · θ_{t−1}
      E[g²]_t = rho·E[g²]_{t−1} + (1 − rho)·g_t²
      u_t = √(E[u²]_{t−1} + eps) / √(E[g²]_t + eps) · g_t
      E[u²]_t = rho·E[u²]_{t−1} + (1 − rho)·u_t²
      θ_t = θ_{t−1} − η_t · u_t

    A rate of 1 is the paper's. As in optax and torch the weight decay is part of the gradient, not decoupled.

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number or a schedule. None leaves out the rate and its sign: the updates
        are u_t, in the direction of ascent.
      rho: in [0, 1).
      eps: ε ≥ 0, inside both roots.
      weight_decay: λ ≥ 0, added before everything else.
      weight_decay_mask: a tree of bools like the parameters, or a function from parameters to one: decay where True.
      nu_dtype: dtype of both means; at least float32 if None.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if `rho` is not in [0, 1), or a number is negative, or `eps` vanishes in float32.
      TypeError: if the mask or the dtype is not one.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.adadelta(0.5, rho=0.75, eps=0.25)
      >>> params = jnp.zeros(2)
      >>> updates, _ = tx.update(jnp.array([0.75, -0.75]), tx.init(params), params)
      >>> print(updates)
      [-0.3  0.3]

    References:
      Zeiler, Adadelta: an adaptive learning rate method (2012), arXiv 1212.5701, algorithm 1.
    """
    as_mask("weight_decay_mask", weight_decay_mask)
    links = [add_decayed_weights(weight_decay, weight_decay_mask), scale_by_adadelta(rho, eps, nu_dtype=nu_dtype)]
    return chain(*links, *([] if learning_rate is None else [scale_by_learning_rate(learning_rate)]))
