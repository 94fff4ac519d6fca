"""MARS: Adam on variance-reduced gradients, corrected by their change since the last step."""

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
from .weight_decay import add_decayed_weights


class ScaleByMarsState(NamedTuple):
    """The state of MARS."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    mu: Any
    """m, the first moment, shaped like the parameters, in their dtype or in `mu_dtype`."""
    nu: Any
    """v, the second moment, shaped like the parameters, float32 or `nu_dtype`."""
    grad: Any
    """g_t, the last gradient, shaped like the parameters, in their dtype."""


@pytree_dataclass
class ScaleByMars(Rule):
    """See `scale_by_mars`."""

    b1: Scalar = 0.95
    b2: Scalar = 0.99
    eps: Scalar = 1e-8
    mu_dtype: str | None = static(default=None)
    gamma: Scalar = 0.025
    nu_dtype: str | None = static(default=None)

    stacks = "mapped"

    def init(self, params: Any) -> ScaleByMarsState:
        """The state before the first update."""
        mu, nu = zeros_like(params, self.mu_dtype), full_like_second(params, 0.0, self.nu_dtype)
        return ScaleByMarsState(zero_count(), mu, nu, zeros_like(params))

    def update(
        self, updates: Any, state: ScaleByMarsState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByMarsState]:
        """One step, on each leaf."""
        del params, extra
        t = add_one(state.count)
        c1 = one_minus_power(self.b1, t.astype(F32))
        c2 = one_minus_power(self.b2, t.astype(F32))
        first = state.count == 0

        def leaf(g: jax.Array, m: jax.Array, v: jax.Array, g_old: jax.Array) -> tuple[jax.Array, ...]:
            r = real(g.dtype)
            b1, b2, eps, gamma = (jnp.asarray(x, r) for x in (self.b1, self.b2, self.eps, self.gamma))
            change = jnp.where(first, 0, g - g_old.astype(g.dtype))
            c = g + gamma * b1 / (1 - b1) * change
            norm = sqrt(jnp.sum(squared(c)))
            c = c / jnp.maximum(norm, 1)
            m = b1 * m.astype(g.dtype) + (1 - b1) * c
            v = b2 * v.astype(r) + (1 - b2) * squared(c)
            m_hat, v_hat = m * (1 / c1).astype(r), v * (1 / c2).astype(r)
            return m_hat / (sqrt(v_hat) + eps), m, v, g

        updates, m, v, g = map_leaves(leaf, 4, updates, state.mu, state.nu, state.grad)
        return updates, ScaleByMarsState(t, m, v, g)


@check.public
def scale_by_mars(
    b1: Hyperparameter = 0.95,
    b2: Hyperparameter = 0.99,
    eps: Hyperparameter = 1e-8,
    mu_dtype: Any = None,
    *,
    gamma: Hyperparameter = 0.025,
    nu_dtype: Any = None,
) -> Transformation:
    """Scale by Adam after the noise of the updates is reduced: see `mars`.

    With d_1 = 0, and the norm taken over each array of the parameters::

      d_t = g_t − g_{t−1}
      c_t = g_t + gamma·b1 / (1 − b1)·d_t,   c̃_t = c_t / max(1, ‖c_t‖)
      m_t = b1·m_{t−1} + (1 − b1)·c̃_t,       m̂_t = m_t / (1 − b1^t)
      v_t = b2·v_{t−1} + (1 − b2)·c̃_t²,      v̂_t = v_t / (1 − b2^t)
      u_t = m̂_t / (√v̂_t + eps)

    Args:
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: ε ≥ 0.
      mu_dtype: dtype of m; the parameters' if None.
      gamma: γ ≥ 0, the strength of the correction.
      nu_dtype: dtype of v; at least float32 if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if a decay is not in [0, 1), `eps` is negative or vanishes in float32, or γ is negative.
      TypeError: if a dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_mars(eps=0.0)
      >>> updates, _ = tx.update(jnp.array([5.0, -0.5]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(4))
      [ 1. -1.]

    References:
      Yuan, Liu, Wu, Zhou, Gu, MARS: unleashing the power of variance reduction for training large models (2024),
      arXiv 2411.10438, MARS-AdamW in its approximate form.
    """
    check.below_one(b1=b1, b2=b2)
    check.epsilon(eps=eps)
    check.non_negative(gamma=gamma)
    mu_dtype, nu_dtype = dtype_name("mu_dtype", mu_dtype), dtype_name("nu_dtype", nu_dtype)
    return transformation(ScaleByMars(b1, b2, eps, mu_dtype, gamma, nu_dtype))


@check.public
def mars(
    learning_rate: LearningRate,
    b1: Hyperparameter = 0.95,
    b2: Hyperparameter = 0.99,
    eps: Hyperparameter = 1e-8,
    mu_dtype: Any = None,
    *,
    gamma: Hyperparameter = 0.025,
    weight_decay: Hyperparameter = 0.0,
    mask: Any = None,
    nu_dtype: Any = None,
) -> Transformation:
    """MARS-AdamW: AdamW on gradients corrected by their change since the last step.

    With g_t the gradient, η_t the learning rate, d_1 = 0, and the norm taken over each array of the parameters::

      d_t = g_t − g_{t−1}
      c_t = g_t + gamma·b1 / (1 − b1)·d_t,   c̃_t = c_t / max(1, ‖c_t‖)
      m_t = b1·m_{t−1} + (1 − b1)·c̃_t,       m̂_t = m_t / (1 − b1^t)
      v_t = b2·v_{t−1} + (1 − b2)·c̃_t²,      v̂_t = v_t / (1 − b2^t)
      θ_t = θ_{t−1} − η_t · (m̂_t / (√v̂_t + eps) + weight_decay · θ_{t−1})

    This is the paper's approximate form, where g_{t−1} is the gradient that was used, on the batch before; the exact
    form evaluates it on the batch of step t, at twice the cost. There is no gradient before the first, so the first
    correction is none, as in the exact form with θ_0 on both sides; the authors' code takes g_0 = 0.

    The authors train only matrices so, and what has one dimension (biases, scales of norms) with plain AdamW:
    `lrx.partition` does that.

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number or a schedule.
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: ε ≥ 0.
      mu_dtype: dtype of m; the parameters' if None.
      gamma: γ ≥ 0, the strength of the correction; 0 leaves AdamW on clipped gradients.
      weight_decay: λ ≥ 0; it is multiplied by the learning rate.
      mask: a tree of bools like the parameters, or a function from parameters to one: decay where True.
      nu_dtype: dtype of v; at least float32 if None.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a decay is not in [0, 1), `eps` is negative or vanishes in float32, or γ or λ is negative.
      TypeError: if a dtype is not floating, or the mask is not one.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.mars(0.5, weight_decay=0.25)
      >>> params = jnp.array([8.0, 0.0])
      >>> updates, _ = tx.update(jnp.array([0.0, 5.0]), tx.init(params), params)
      >>> print(updates.round(4))  # the one only decays
      [-1.  -0.5]

    References:
      Yuan, Liu, Wu, Zhou, Gu, MARS: unleashing the power of variance reduction for training large models (2024),
      arXiv 2411.10438, MARS-AdamW in its approximate form.
    """
    rule = scale_by_mars(b1, b2, eps, mu_dtype, gamma=gamma, nu_dtype=nu_dtype)
    return chain(rule, add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))
