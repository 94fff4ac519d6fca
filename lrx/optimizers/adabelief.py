"""AdaBelief: the mean gradient divided by the root of the mean squared distance from it."""

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
    zero_count,
    zeros_like,
)
from .._chain import chain
from .._numbers import F32, Hyperparameter, Scalar
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, transformation
from ..controllers._controller import LearningRate
from ._dtype import dtype_name
from .learning_rate import scale_by_learning_rate


class ScaleByBeliefState(NamedTuple):
    """The state of AdaBelief."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    mu: Any
    """m, the first moment, shaped like the parameters, in their dtype or in `mu_dtype`."""
    nu: Any
    """s, the second moment about m, shaped like the parameters, float32 or `nu_dtype`."""


@pytree_dataclass
class ScaleByBelief(Rule):
    """See `scale_by_belief`."""

    b1: Scalar = 0.9
    b2: Scalar = 0.999
    eps: Scalar = 1e-16
    eps_root: Scalar = 1e-16
    nesterov: bool = static(default=False)
    mu_dtype: str | None = static(default=None)
    nu_dtype: str | None = static(default=None)

    elementwise = True

    def init(self, params: Any) -> ScaleByBeliefState:
        """The state before the first update."""
        return ScaleByBeliefState(
            zero_count(), zeros_like(params, self.mu_dtype), full_like_second(params, 0.0, self.nu_dtype)
        )

    def update(
        self, updates: Any, state: ScaleByBeliefState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByBeliefState]:
        """Algorithm 2, on each leaf."""
        del params, extra
        t = add_one(state.count)
        c1 = one_minus_power(self.b1, t.astype(F32))
        c2 = one_minus_power(self.b2, t.astype(F32))
        c1_next = one_minus_power(self.b1, add_one(t).astype(F32)) if self.nesterov else c1

        def leaf(g: jax.Array, m: jax.Array, s: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            r = real(g.dtype)
            b1, b2, eps, eps_root = (jnp.asarray(x, r) for x in (self.b1, self.b2, self.eps, self.eps_root))
            surprise = b1 * (g - m.astype(g.dtype))  # = g − m_t, with one rounding less
            m = b1 * m.astype(g.dtype) + (1 - b1) * g
            s = b2 * s.astype(r) + (1 - b2) * squared(surprise) + eps_root
            if self.nesterov:
                m_hat = b1 * m * (1 / c1_next).astype(r) + (1 - b1) * g * (1 / c1).astype(r)
            else:
                m_hat = m * (1 / c1).astype(r)
            s_hat = s * (1 / c2).astype(r)
            return m_hat / (sqrt(s_hat) + eps), m, s

        updates, m, s = map_leaves(leaf, 3, updates, state.mu, state.nu)
        return updates, ScaleByBeliefState(t, m, s)


@check.public
def scale_by_belief(
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-16,
    eps_root: Hyperparameter = 1e-16,
    *,
    nesterov: bool = False,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> Transformation:
    """Divide the mean of the updates by the root of their mean squared distance from it: see `adabelief`.

    ::

      m_t = b1·m_{t−1} + (1 − b1)·g_t,                       m̂_t = m_t / (1 − b1^t)
      s_t = b2·s_{t−1} + (1 − b2)·(g_t − m_t)² + eps_root,   ŝ_t = s_t / (1 − b2^t)
      u_t = m̂_t / (√ŝ_t + eps)

    Args:
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ≥ 0, added to s in every step, so that s ends up larger by eps_root / (1 − b2).
      nesterov: whether m̂_t is b1·m_t / (1 − b1^{t+1}) + (1 − b1)·g_t / (1 − b1^t).
      mu_dtype: dtype of m; the parameters' if None.
      nu_dtype: dtype of s; at least float32 if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if a decay is not in [0, 1), or an ε is negative or vanishes in float32.
      TypeError: if a dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_belief(b1=0.5, eps=0.0, eps_root=0.0)  # m_1 = g / 2: the surprise is g / 2 too
      >>> updates, _ = tx.update(jnp.array([5.0, -0.5]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(4))
      [ 2. -2.]

    References:
      Zhuang et al., AdaBelief optimizer: adapting stepsizes by the belief in observed gradients (NeurIPS 2020),
      arXiv 2010.07468, algorithm 2.
    """
    check.below_one(b1=b1, b2=b2)
    check.epsilon(eps=eps, eps_root=eps_root)
    mu_dtype, nu_dtype = dtype_name("mu_dtype", mu_dtype), dtype_name("nu_dtype", nu_dtype)
    return transformation(ScaleByBelief(b1, b2, eps, eps_root, nesterov, mu_dtype, nu_dtype))


@check.public
def adabelief(
    learning_rate: LearningRate,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-16,
    eps_root: Hyperparameter = 1e-16,
    *,
    nesterov: bool = False,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> Transformation:
    """AdaBelief: long steps where the gradient is close to its mean, short ones where it is far from it.

    With g_t the gradient and η_t the learning rate::

      m_t = b1·m_{t−1} + (1 − b1)·g_t,                       m̂_t = m_t / (1 − b1^t)
      s_t = b2·s_{t−1} + (1 − b2)·(g_t − m_t)² + eps_root,   ŝ_t = s_t / (1 − b2^t)
      θ_t = θ_{t−1} − η_t · m̂_t / (√ŝ_t + eps)

    The paper has one ε in both places. A gradient that never changes makes the steps long: s_t then falls towards
    eps_root / (1 − b2).

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number or a schedule.
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ≥ 0, added to s in every step.
      nesterov: whether to use Nesterov's momentum.
      mu_dtype: dtype of m; the parameters' if None.
      nu_dtype: dtype of s; at least float32 if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if a decay is not in [0, 1), or an ε is negative or vanishes in float32.
      TypeError: if a dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.adabelief(0.5, b1=0.5)
      >>> updates, _ = tx.update(jnp.array([5.0, -0.5]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(4))
      [-1.  1.]

    References:
      Zhuang et al., AdaBelief optimizer: adapting stepsizes by the belief in observed gradients (NeurIPS 2020),
      arXiv 2010.07468, algorithm 2.
    """
    rule = scale_by_belief(b1, b2, eps, eps_root, nesterov=nesterov, mu_dtype=mu_dtype, nu_dtype=nu_dtype)
    return chain(rule, scale_by_learning_rate(learning_rate))
