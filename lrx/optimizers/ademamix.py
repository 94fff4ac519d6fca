"""AdEMAMix: Adam with a second, much slower mean of the gradient."""

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
from .weight_decay import add_decayed_weights


class ScaleByAdemamixState(NamedTuple):
    """The state of AdEMAMix."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    count_m2: jax.Array
    """t again, which optax keeps for the slow mean; int32 []."""
    m1: Any
    """m, the fast mean, shaped like the parameters, in their dtype or in `mu_dtype`."""
    m2: Any
    """s, the slow mean, shaped like the parameters, float32 or `mu_dtype`."""
    nu: Any
    """v, the second moment, shaped like the parameters, float32 or `nu_dtype`."""


@pytree_dataclass
class ScaleByAdemamix(Rule):
    """See `scale_by_ademamix`."""

    b1: Scalar = 0.9
    b2: Scalar = 0.999
    b3: Scalar = 0.9999
    alpha: Scalar = 6.0
    eps: Scalar = 1e-8
    eps_root: Scalar = 0.0
    mu_dtype: str | None = static(default=None)
    nu_dtype: str | None = static(default=None)

    elementwise = True

    def init(self, params: Any) -> ScaleByAdemamixState:
        """The state before the first update."""
        m1, nu = zeros_like(params, self.mu_dtype), full_like_second(params, 0.0, self.nu_dtype)
        # in bfloat16 a mean with b3 = 0.9999 would stop growing at a fiftieth of its size
        m2 = wide_zeros_like(params, self.mu_dtype)
        return ScaleByAdemamixState(zero_count(), zero_count(), m1, m2, nu)

    def update(
        self, updates: Any, state: ScaleByAdemamixState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByAdemamixState]:
        """Algorithm 1, on each leaf."""
        del params, extra
        t = add_one(state.count)
        c1 = one_minus_power(self.b1, t.astype(F32))
        c2 = one_minus_power(self.b2, t.astype(F32))

        def leaf(g: jax.Array, m: jax.Array, s: jax.Array, v: jax.Array) -> tuple[jax.Array, ...]:
            r = real(g.dtype)
            b1, b2, b3, alpha = (jnp.asarray(x, r) for x in (self.b1, self.b2, self.b3, self.alpha))
            eps, eps_root = jnp.asarray(self.eps, r), jnp.asarray(self.eps_root, r)
            m = b1 * m.astype(g.dtype) + (1 - b1) * g
            s = b3 * s.astype(g.dtype) + (1 - b3) * g
            v = b2 * v.astype(r) + (1 - b2) * squared(g)
            m_hat, v_hat = m * (1 / c1).astype(r), v * (1 / c2).astype(r)
            return (m_hat + alpha * s) / (sqrt(v_hat + eps_root) + eps), m, s, v

        updates, m, s, v = map_leaves(leaf, 4, updates, state.m1, state.m2, state.nu)
        return updates, ScaleByAdemamixState(t, add_one(state.count_m2), m, s, v)


@check.public
def scale_by_ademamix(
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    b3: Hyperparameter = 0.9999,
    alpha: Hyperparameter = 6.0,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    mu_dtype: Any = None,
    *,
    nu_dtype: Any = None,
) -> Transformation:
    """Scale by Adam with the mean of the updates and a slower one: see `ademamix`.

    ::

      m_t = b1·m_{t−1} + (1 − b1)·g_t,    m̂_t = m_t / (1 − b1^t)
      s_t = b3·s_{t−1} + (1 − b3)·g_t
      v_t = b2·v_{t−1} + (1 − b2)·g_t²,   v̂_t = v_t / (1 − b2^t)
      u_t = (m̂_t + alpha·s_t) / (√(v̂_t + eps_root) + eps)

    Args:
      b1: decay of the fast mean, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      b3: decay of the slow mean, in [0, 1), a number or a schedule.
      alpha: weight of the slow mean, ≥ 0, a number or a schedule.
      eps: ε ≥ 0, outside the root.
      eps_root: ≥ 0, inside the root.
      mu_dtype: dtype of m and s; if None the parameters', for s at least float32.
      nu_dtype: dtype of v; at least float32 if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if a decay is not in [0, 1), an ε is negative or vanishes in float32, or `alpha` is negative.
      TypeError: if a dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_ademamix(b3=0.75, alpha=2.0, eps=0.0)  # (g + 2·g/4) / |g|
      >>> updates, _ = tx.update(jnp.array([5.0, -0.5]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(4))
      [ 1.5 -1.5]

    References:
      Pagliardini, Ablin, Grangier, The AdEMAMix optimizer: better, faster, older (2024), arXiv 2409.03137,
      algorithm 1.
    """
    check.below_one(b1=b1, b2=b2, b3=b3)
    check.non_negative(alpha=alpha)
    check.epsilon(eps=eps, eps_root=eps_root)
    mu_dtype, nu_dtype = dtype_name("mu_dtype", mu_dtype), dtype_name("nu_dtype", nu_dtype)
    return transformation(ScaleByAdemamix(b1, b2, b3, alpha, eps, eps_root, mu_dtype, nu_dtype))


@check.public
def ademamix(
    learning_rate: LearningRate,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    b3: Hyperparameter = 0.9999,
    alpha: Hyperparameter = 5.0,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    mu_dtype: Any = None,
    weight_decay: Hyperparameter = 0.0,
    mask: Any = None,
    *,
    nu_dtype: Any = None,
) -> Transformation:
    """AdEMAMix: AdamW with a second, slow momentum that averages thousands of gradients.

    With g_t the gradient and η_t the learning rate::

      m_t = b1·m_{t−1} + (1 − b1)·g_t,    m̂_t = m_t / (1 − b1^t)
      s_t = b3·s_{t−1} + (1 − b3)·g_t
      v_t = b2·v_{t−1} + (1 − b2)·g_t²,   v̂_t = v_t / (1 − b2^t)
      θ_t = θ_{t−1} − η_t · ((m̂_t + alpha·s_t) / (√(v̂_t + eps_root) + eps) + weight_decay · θ_{t−1})

    The slow mean s_t has no bias correction: it fills in about 1 / (1 − b3) steps. The paper warms up `alpha` linearly
    from 0, and `b3` from `b1` so that the half-life of the slow mean grows linearly, both over the whole training; the
    first is `alpha=lrx.linear_schedule(0.0, 5.0, total_steps)`.

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number or a schedule.
      b1: decay of the fast mean, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      b3: decay of the slow mean, in [0, 1), a number or a schedule.
      alpha: weight of the slow mean, ≥ 0, a number or a schedule.
      eps: ε ≥ 0, outside the root.
      eps_root: ≥ 0, inside the root.
      mu_dtype: dtype of m and s; if None the parameters', for s at least float32.
      weight_decay: λ ≥ 0; it is multiplied by the learning rate.
      mask: a tree of bools like the parameters, or a function from parameters to one: decay where True.
      nu_dtype: dtype of v; at least float32 if None.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a decay is not in [0, 1), an ε is negative or vanishes in float32, or `alpha` or λ is negative.
      TypeError: if a dtype is not floating, or `mask` is not a mask.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.ademamix(0.5, b3=0.75, alpha=lrx.linear_schedule(0.0, 4.0, 2))
      >>> params = jnp.zeros(2)
      >>> state = tx.init(params)
      >>> for _ in range(2):  # alpha is 0, then 2; s is g/4, then 7/16·g
      ...   updates, state = tx.update(jnp.array([5.0, -0.25]), state, params)
      ...   print(updates.round(4))
      [-0.5  0.5]
      [-0.9375  0.9375]

    References:
      Pagliardini, Ablin, Grangier, The AdEMAMix optimizer: better, faster, older (2024), arXiv 2409.03137,
      algorithm 1.
    """
    rule = scale_by_ademamix(b1, b2, b3, alpha, eps, eps_root, mu_dtype, nu_dtype=nu_dtype)
    return chain(rule, add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))
