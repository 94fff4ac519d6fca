"""ACProp: the gradient divided by the root of the mean squared surprise, as it was before this gradient."""

from typing import Any

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
    zero_count,
    zeros_like,
)
from .._chain import chain
from .._numbers import F32, Hyperparameter, Scalar
from .._pytree import pytree_dataclass
from .._rule import Rule
from .._transformation import Transformation, transformation
from ..controllers._controller import LearningRate
from .adabelief import ScaleByBeliefState
from .learning_rate import scale_by_learning_rate
from .weight_decay import add_decayed_weights


@pytree_dataclass
class ScaleByAcprop(Rule):
    """See `scale_by_acprop`."""

    b1: Scalar = 0.9
    b2: Scalar = 0.999
    eps: Scalar = 1e-16
    eps_root: Scalar = 1e-16

    elementwise = True

    def init(self, params: Any) -> ScaleByBeliefState:
        """The state before the first update."""
        return ScaleByBeliefState(zero_count(), zeros_like(params), full_like_second(params, 0.0))

    def update(
        self, updates: Any, state: ScaleByBeliefState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByBeliefState]:
        """Algorithm 2, on each leaf: divide first, then learn from the gradient."""
        del params, extra
        first = state.count == 0
        c2 = one_minus_power(self.b2, jnp.maximum(state.count, 1).astype(F32))

        def leaf(g: jax.Array, m: jax.Array, s: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            r = real(g.dtype)
            b1, b2, eps, eps_root = (jnp.asarray(x, r) for x in (self.b1, self.b2, self.eps, self.eps_root))
            m, s = m.astype(g.dtype), s.astype(r)
            s_hat = jnp.where(first, jnp.ones_like(s), s * (1 / c2).astype(r))
            s = b2 * s + (1 - b2) * squared(g - m) + eps_root
            return g / (sqrt(s_hat) + eps), b1 * m + (1 - b1) * g, s

        updates, m, s = map_leaves(leaf, 3, updates, state.mu, state.nu)
        return updates, ScaleByBeliefState(add_one(state.count), m, s)


@check.public
def scale_by_acprop(
    b1: Hyperparameter = 0.9, b2: Hyperparameter = 0.999, eps: Hyperparameter = 1e-16, eps_root: Hyperparameter = 1e-16
) -> Transformation:
    """Divide the updates by the root of their mean squared distance from their mean, of the step before: see `acprop`.

    ::

      u_t = g_t / (√(s_{t−1} / (1 − b2^{t−1})) + eps),      u_1 = g_1 / (1 + eps)
      s_t = b2·s_{t−1} + (1 − b2)·(g_t − m_{t−1})² + eps_root
      m_t = b1·m_{t−1} + (1 − b1)·g_t

    Args:
      b1: decay of the mean m, in [0, 1).
      b2: decay of s, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ≥ 0, added to s in each step.

    Returns:
      A transformation.

    Raises:
      ValueError: if a decay is not in [0, 1), or an ε is negative or vanishes in float32.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_acprop(eps=0.0, eps_root=0.0)
      >>> grads = jnp.array([4.0, -0.5])
      >>> state = tx.init(grads)
      >>> for _ in range(2):  # the first is not divided; then s_1 / (1 − b2) = g²
      ...   updates, state = tx.update(grads, state)
      ...   print(updates.round(4))
      [ 4.  -0.5]
      [ 1. -1.]

    References:
      Zhuang et al., Momentum centering and asynchronous update for adaptive gradient methods (NeurIPS 2021),
      arXiv 2110.05454, as optax has it.
    """
    check.below_one(b1=b1, b2=b2)
    check.epsilon(eps=eps, eps_root=eps_root)
    return transformation(ScaleByAcprop(b1, b2, eps, eps_root))


@check.public
def acprop(
    learning_rate: LearningRate,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-16,
    eps_root: Hyperparameter = 1e-16,
    weight_decay: Hyperparameter = 0.0,
    mask: Any = None,
) -> Transformation:
    """ACProp: AdaBelief without momentum in the step, whose divisor does not know the gradient that it divides.

    With g_t the gradient and η_t the learning rate::

      θ_t = θ_{t−1} − η_t · (g_t / (√(s_{t−1} / (1 − b2^{t−1})) + eps) + weight_decay · θ_{t−1})
      s_t = b2·s_{t−1} + (1 − b2)·(g_t − m_{t−1})² + eps_root
      m_t = b1·m_{t−1} + (1 − b1)·g_t

    In the first step, which has no s, the divisor is 1 + eps: the step has the size of the gradient.

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number, a schedule or a controller.
      b1: decay of the mean m, in [0, 1).
      b2: decay of s, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ≥ 0, added to s in each step.
      weight_decay: λ ≥ 0; it is multiplied by the learning rate.
      mask: a tree of bools like the parameters, or a function from parameters to one: decay where True.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a decay is not in [0, 1), an ε is negative or vanishes in float32, or λ is negative.
      TypeError: if `mask` is not a mask.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> params = jnp.array([1.0, -2.0])
      >>> tx = lrx.acprop(0.5)
      >>> updates, _ = tx.update(params, tx.init(params), params)
      >>> print(updates)
      [-0.5  1. ]

    References:
      Zhuang et al., Momentum centering and asynchronous update for adaptive gradient methods (NeurIPS 2021),
      arXiv 2110.05454, as optax has it.
    """
    rule = scale_by_acprop(b1, b2, eps, eps_root)
    return chain(rule, add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))
