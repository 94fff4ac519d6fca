"""Adan: Adam with Nesterov's momentum, estimated from the differences of gradients."""

from typing import Any, Literal, NamedTuple

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
from .weight_decay import add_decayed_weights

Convention = Literal["optax", "paper"]


class ScaleByAdanState(NamedTuple):
    """The state of Adan."""

    m: Any
    """The mean gradient, shaped like the parameters, in their dtype or in `mu_dtype`."""
    v: Any
    """The mean difference of successive gradients, like m."""
    n: Any
    """The second moment, shaped like the parameters, float32 or `nu_dtype`."""
    g: Any
    """The last gradient, shaped like the parameters, in their dtype."""
    t: jax.Array
    """The number of updates completed; int32 []."""


@pytree_dataclass
class ScaleByAdan(Rule):
    """See `scale_by_adan`."""

    b1: Scalar = 0.98
    b2: Scalar = 0.92
    b3: Scalar = 0.99
    eps: Scalar = 1e-8
    eps_root: Scalar = 0.0
    convention: str = static(default="optax")
    mu_dtype: str | None = static(default=None)
    nu_dtype: str | None = static(default=None)

    elementwise = True

    def init(self, params: Any) -> ScaleByAdanState:
        """The state before the first update."""
        m, v = (zeros_like(params, self.mu_dtype) for _ in range(2))
        n = full_like_second(params, 0.0, self.nu_dtype)
        return ScaleByAdanState(m, v, n, zeros_like(params), zero_count())

    def update(
        self, updates: Any, state: ScaleByAdanState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByAdanState]:
        """Algorithm 1, lines 3 to 6, with Adam's bias corrections, on each leaf."""
        del params, extra
        t = add_one(state.t)
        c1, c2, c3 = (one_minus_power(b, t.astype(F32)) for b in (self.b1, self.b2, self.b3))
        first = state.t == 0

        def leaf(g: jax.Array, m: jax.Array, v: jax.Array, n: jax.Array, g_old: jax.Array) -> tuple[jax.Array, ...]:
            r = real(g.dtype)
            b1, b2, b3, eps, eps_root = (
                jnp.asarray(x, r) for x in (self.b1, self.b2, self.b3, self.eps, self.eps_root)
            )
            factor = b2 if self.convention == "paper" else 1 - b2
            difference = jnp.where(first, 0, g - g_old.astype(g.dtype))
            m = b1 * m.astype(g.dtype) + (1 - b1) * g
            v = b2 * v.astype(g.dtype) + (1 - b2) * difference
            n = b3 * n.astype(r) + (1 - b3) * squared(g + factor * difference)
            m_hat, v_hat, n_hat = m * (1 / c1).astype(r), v * (1 / c2).astype(r), n * (1 / c3).astype(r)
            return (m_hat + factor * v_hat) / (sqrt(n_hat + eps_root) + eps), m, v, n, g

        updates, m, v, n, g = map_leaves(leaf, 5, updates, *state[:4])
        return updates, ScaleByAdanState(m, v, n, g, t)


@check.public
def scale_by_adan(
    b1: Hyperparameter = 0.98,
    b2: Hyperparameter = 0.92,
    b3: Hyperparameter = 0.99,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    *,
    convention: Convention = "optax",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> Transformation:
    """Scale by the mean of the updates and of their differences: see `adan`.

    With the factor c = 1 − b2 (`convention="paper"`: c = b2) and d_1 = 0::

      d_t = g_t − g_{t−1}
      m_t = b1·m_{t−1} + (1 − b1)·g_t,              m̂_t = m_t / (1 − b1^t)
      v_t = b2·v_{t−1} + (1 − b2)·d_t,              v̂_t = v_t / (1 − b2^t)
      n_t = b3·n_{t−1} + (1 − b3)·(g_t + c·d_t)²,   n̂_t = n_t / (1 − b3^t)
      u_t = (m̂_t + c·v̂_t) / (√(n̂_t + eps_root) + eps)

    Args:
      b1: decay of the mean gradient, in [0, 1).
      b2: decay of the mean difference, in [0, 1).
      b3: decay of the second moment, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ≥ 0, inside the root.
      convention: "optax" or "paper", as above.
      mu_dtype: dtype of m and v; the parameters' if None.
      nu_dtype: dtype of n; at least float32 if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if a decay is not in [0, 1), an ε is negative or vanishes in float32, or the convention is unknown.
      TypeError: if a dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_adan(b1=0.0, b2=0.0, b3=0.0, eps=0.0)  # u = (g + d) / |g + d|
      >>> state = tx.init(jnp.zeros(1))
      >>> for g in (4.0, 1.0):
      ...   updates, state = tx.update(jnp.array([g]), state)
      ...   print(updates)
      [1.]
      [-1.]

    References:
      Xie et al., Adan: adaptive Nesterov momentum algorithm for faster optimizing deep models, arXiv 2208.06677,
      algorithm 1.
    """
    check.below_one(b1=b1, b2=b2, b3=b3)
    check.epsilon(eps=eps, eps_root=eps_root)
    check.one_of(Convention, convention=convention)
    mu_dtype, nu_dtype = dtype_name("mu_dtype", mu_dtype), dtype_name("nu_dtype", nu_dtype)
    return transformation(ScaleByAdan(b1, b2, b3, eps, eps_root, convention, mu_dtype, nu_dtype))


@check.public
def adan(
    learning_rate: LearningRate,
    b1: Hyperparameter = 0.98,
    b2: Hyperparameter = 0.92,
    b3: Hyperparameter = 0.99,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
    mask: Any = None,
    *,
    convention: Convention = "optax",
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> Transformation:
    """Adan: Adam with Nesterov momentum, computed from the mean difference of successive gradients.

    With g_t the gradient, η_t the learning rate, the factor c = 1 − b2 (`convention="paper"`: c = b2) and d_1 = 0::

      d_t = g_t − g_{t−1}
      m_t = b1·m_{t−1} + (1 − b1)·g_t,              m̂_t = m_t / (1 − b1^t)
      v_t = b2·v_{t−1} + (1 − b2)·d_t,              v̂_t = v_t / (1 − b2^t)
      n_t = b3·n_{t−1} + (1 − b3)·(g_t + c·d_t)²,   n̂_t = n_t / (1 − b3^t)
      θ_t = θ_{t−1} − η_t · ((m̂_t + c·v̂_t) / (√(n̂_t + eps_root) + eps) + weight_decay · θ_{t−1})

    The paper writes β for 1 − b, and its factor 1 − β_2 is b2 = 0.92; optax's is 0.08, which gives the differences
    little weight. The default is optax's. In both conventions the weight decay is AdamW's; the paper divides by
    1 + η_t·weight_decay instead, θ_t = (θ_{t−1} − η_t·u_t) / (1 + η_t·weight_decay), the same to first order.

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number or a schedule.
      b1: decay of the mean gradient, in [0, 1).
      b2: decay of the mean difference, in [0, 1).
      b3: decay of the second moment, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ≥ 0, inside the root.
      weight_decay: λ ≥ 0; it is multiplied by the learning rate.
      mask: a tree of bools like the parameters, or a function from parameters to one: decay where True.
      convention: "optax" or "paper", as above.
      mu_dtype: dtype of m and v; the parameters' if None.
      nu_dtype: dtype of n; at least float32 if None.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a decay is not in [0, 1), an ε is negative or vanishes in float32, λ is negative, or the
        convention is unknown.
      TypeError: if a dtype is not floating, or `mask` is not a mask.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.adan(0.5, convention="paper")
      >>> params = jnp.zeros(2)
      >>> updates, _ = tx.update(jnp.array([5.0, -0.5]), tx.init(params), params)
      >>> print(updates.round(4))
      [-0.5  0.5]

    References:
      Xie et al., Adan: adaptive Nesterov momentum algorithm for faster optimizing deep models, arXiv 2208.06677,
      algorithm 1.
    """
    rule = scale_by_adan(b1, b2, b3, eps, eps_root, convention=convention, mu_dtype=mu_dtype, nu_dtype=nu_dtype)
    return chain(rule, add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))
