"""Simplified AdEMAMix: Adam with one sum of gradients, to which the newest is added once more."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import (
    add_one,
    full_like_second,
    map_leaves,
    one_minus_power,
    real,
    sqrt,
    squared,
    wide_zeros_like,
    zero_count,
)
from .._chain import chain
from .._numbers import F32, Hyperparameter, Scalar
from .._pytree import pytree_dataclass
from .._rule import Rule
from .._transformation import Transformation, transformation
from ..controllers._controller import LearningRate
from .learning_rate import scale_by_learning_rate
from .weight_decay import add_decayed_weights


class ScaleBySimplifiedAdEMAMixState(NamedTuple):
    """The state of Simplified AdEMAMix."""

    t: jax.Array
    """The number of updates completed; int32 []."""
    m: Any
    """The decaying sum of gradients, shaped like the parameters, float32 or wider."""
    n: Any
    """The mean square, shaped like the parameters, float32 or wider."""


@pytree_dataclass
class ScaleBySimplifiedAdemamix(Rule):
    """See `scale_by_simplified_ademamix`."""

    b1: Scalar = 0.99
    b2: Scalar = 0.95
    alpha: Scalar = 0.0
    eps: Scalar = 1e-8
    eps_root: Scalar = 0.0

    elementwise = True

    def init(self, params: Any) -> ScaleBySimplifiedAdEMAMixState:
        """The state before the first update."""
        return ScaleBySimplifiedAdEMAMixState(zero_count(), wide_zeros_like(params), full_like_second(params, 0.0))

    def update(
        self, updates: Any, state: ScaleBySimplifiedAdEMAMixState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleBySimplifiedAdEMAMixState]:
        """Algorithm 2, on each leaf."""
        del params, extra
        t = add_one(state.t)
        c2 = one_minus_power(self.b2, t.astype(F32))

        def leaf(g: jax.Array, m: jax.Array, n: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            r = real(g.dtype)
            b1, b2, alpha = (jnp.asarray(x, r) for x in (self.b1, self.b2, self.alpha))
            eps, eps_root = jnp.asarray(self.eps, r), jnp.asarray(self.eps_root, r)
            m = b1 * m.astype(g.dtype) + g
            n = b2 * n.astype(r) + (1 - b2) * squared(g)
            return (m + alpha * g) / (sqrt(n * (1 / c2).astype(r) + eps_root) + eps), m, n

        updates, m, n = map_leaves(leaf, 3, updates, state.m, state.n)
        return updates, ScaleBySimplifiedAdEMAMixState(t, m, n)


@check.public
def scale_by_simplified_ademamix(
    b1: Hyperparameter = 0.99,
    b2: Hyperparameter = 0.95,
    alpha: Hyperparameter = 0.0,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
) -> Transformation:
    """Divide the decaying sum of the updates and the newest one by their root mean square: see `simplified_ademamix`.

    ::

      m_t = b1·m_{t−1} + g_t
      n_t = b2·n_{t−1} + (1 − b2)·g_t²
      u_t = (m_t + alpha·g_t) / (√(n_t / (1 − b2^t) + eps_root) + eps)

    Args:
      b1: decay of the sum, in [0, 1).
      b2: decay of the mean square, in [0, 1).
      alpha: weight ≥ 0 of the newest update, a number or a schedule.
      eps: ε ≥ 0, outside the root.
      eps_root: ≥ 0, inside the root.

    Returns:
      A transformation.

    Raises:
      ValueError: if a decay is not in [0, 1), `alpha` is negative, or an ε is negative or vanishes in float32.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_simplified_ademamix(alpha=2.0, eps=0.0)
      >>> updates, _ = tx.update(jnp.array([5.0, -0.5]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(4))
      [ 3. -3.]

    References:
      Morwani et al., Connections between schedule-free optimizers, AdEMAMix, and accelerated SGD variants (2025),
      arXiv 2502.02431.
    """
    check.below_one(b1=b1, b2=b2)
    check.non_negative(alpha=alpha)
    check.epsilon(eps=eps, eps_root=eps_root)
    return transformation(ScaleBySimplifiedAdemamix(b1, b2, alpha, eps, eps_root))


@check.public
def simplified_ademamix(
    learning_rate: LearningRate,
    b1: Hyperparameter = 0.99,
    b2: Hyperparameter = 0.95,
    alpha: Hyperparameter = 0.0,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    weight_decay: Hyperparameter = 0.0,
    mask: Any = None,
) -> Transformation:
    """Simplified AdEMAMix: AdEMAMix with one momentum in place of two.

    With g_t the gradient and η_t the learning rate::

      m_t = b1·m_{t−1} + g_t
      n_t = b2·n_{t−1} + (1 − b2)·g_t²
      θ_t = θ_{t−1} − η_t · ((m_t + alpha·g_t) / (√(n_t / (1 − b2^t) + eps_root) + eps) + weight_decay · θ_{t−1})

    m is a sum, not a mean: rates are about 1 − b1 times those of Adam. The larger `b1`, the larger should be `alpha`.

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number, a schedule or a controller.
      b1: decay of the sum of gradients, in [0, 1).
      b2: decay of the mean square, in [0, 1).
      alpha: weight ≥ 0 of the newest gradient, a number or a schedule.
      eps: ε ≥ 0, outside the root.
      eps_root: ≥ 0, inside the root.
      weight_decay: λ ≥ 0; it is multiplied by the learning rate.
      mask: a tree of bools like the parameters, or a function from parameters to one: decay where True.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a decay is not in [0, 1), `alpha` or λ is negative, or an ε is negative or vanishes in float32.
      TypeError: if `mask` is not a mask.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.simplified_ademamix(0.5, alpha=1.0)
      >>> params = jnp.zeros(2)
      >>> updates, _ = tx.update(jnp.array([5.0, -0.25]), tx.init(params), params)
      >>> print(updates.round(4))
      [-1.  1.]

    References:
      Morwani et al., Connections between schedule-free optimizers, AdEMAMix, and accelerated SGD variants (2025),
      arXiv 2502.02431.
    """
    rule = scale_by_simplified_ademamix(b1, b2, alpha, eps, eps_root)
    return chain(rule, add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))
