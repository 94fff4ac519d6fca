"""Yogi: Adam whose second moment changes additively, by a bounded amount in each step."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import (
    add_one,
    filled,
    full_like_second,
    map_leaves,
    one_minus_power,
    real,
    sqrt,
    squared,
    trainable,
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
from .adam import ScaleByAdamState
from .learning_rate import scale_by_learning_rate


class ScaleByYogiState(ScaleByAdamState):
    """The state of Yogi, with the fields of Adam's."""

    __slots__ = ()


@pytree_dataclass
class ScaleByYogi(Rule):
    """See `scale_by_yogi`."""

    b1: Scalar = 0.9
    b2: Scalar = 0.999
    eps: Scalar = 1e-3
    eps_root: Scalar = 0.0
    initial_accumulator_value: Scalar = 1e-6
    mu_dtype: str | None = static(default=None)
    nu_dtype: str | None = static(default=None)

    elementwise = True

    def init(self, params: Any) -> ScaleByYogiState:
        """The state before the first update."""
        start = jnp.asarray(self.initial_accumulator_value, F32)

        def first(m: jax.Array) -> jax.Array:
            return filled(m, start, m.dtype) if trainable(m) else m

        mu = jax.tree.map(first, zeros_like(params, self.mu_dtype))
        return ScaleByYogiState(zero_count(), mu, full_like_second(params, start, self.nu_dtype))

    def update(
        self, updates: Any, state: ScaleByYogiState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByYogiState]:
        """Algorithm 2 with Adam's bias corrections, on each leaf."""
        del params, extra
        t = add_one(state.count)
        c1 = one_minus_power(self.b1, t.astype(F32))
        c2 = one_minus_power(self.b2, t.astype(F32))

        def leaf(g: jax.Array, m: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            r = real(g.dtype)
            b1, b2, eps, eps_root = (jnp.asarray(x, r) for x in (self.b1, self.b2, self.eps, self.eps_root))
            m = b1 * m.astype(g.dtype) + (1 - b1) * g
            v = v.astype(r)
            v = v - (1 - b2) * jnp.sign(v - squared(g)) * squared(g)
            m_hat = m * (1 / c1).astype(r)
            v_hat = v * (1 / c2).astype(r)
            return m_hat / (sqrt(v_hat + eps_root) + eps), m, v

        updates, m, v = map_leaves(leaf, 3, updates, state.mu, state.nu)
        return updates, ScaleByYogiState(t, m, v)


@check.public
def scale_by_yogi(
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-3,
    eps_root: Hyperparameter = 0.0,
    initial_accumulator_value: Hyperparameter = 1e-6,
    *,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> Transformation:
    """Divide the mean of the updates by the root of a second moment that changes additively: see `yogi`.

    With m_0 = v_0 = `initial_accumulator_value`::

      m_t = b1·m_{t−1} + (1 − b1)·g_t,                      m̂_t = m_t / (1 − b1^t)
      v_t = v_{t−1} − (1 − b2)·sign(v_{t−1} − g_t²)·g_t²,   v̂_t = v_t / (1 − b2^t)
      u_t = m̂_t / (√(v̂_t + eps_root) + eps)

    Args:
      b1: decay of the first moment, in [0, 1).
      b2: 1 − b2 is the rate at which v follows g², in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ≥ 0, inside the root.
      initial_accumulator_value: of both moments, ≥ 0.
      mu_dtype: dtype of m; the parameters' if None.
      nu_dtype: dtype of v; at least float32 if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if a decay is not in [0, 1), an ε is negative or vanishes in float32, or the initial value is
        negative.
      TypeError: if a dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_yogi(b1=0.0, eps=0.0, initial_accumulator_value=0.0)
      >>> updates, _ = tx.update(jnp.array([5.0, -0.5]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(4))
      [ 1. -1.]

    References:
      Zaheer, Reddi, Sachan, Kale, Kumar, Adaptive methods for nonconvex optimization (NeurIPS 2018), algorithm 2.
    """
    check.below_one(b1=b1, b2=b2)
    check.epsilon(eps=eps, eps_root=eps_root)
    check.non_negative(initial_accumulator_value=initial_accumulator_value)
    mu_dtype, nu_dtype = dtype_name("mu_dtype", mu_dtype), dtype_name("nu_dtype", nu_dtype)
    return transformation(ScaleByYogi(b1, b2, eps, eps_root, initial_accumulator_value, mu_dtype, nu_dtype))


@check.public
def yogi(
    learning_rate: LearningRate,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-3,
    *,
    initial_accumulator_value: Hyperparameter = 1e-6,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> Transformation:
    """Yogi: Adam whose second moment changes by (1 − b2)·g² at most, so that small gradients do not shrink it fast.

    With g_t the gradient, η_t the learning rate and m_0 = v_0 = `initial_accumulator_value`::

      m_t = b1·m_{t−1} + (1 − b1)·g_t,                      m̂_t = m_t / (1 − b1^t)
      v_t = v_{t−1} − (1 − b2)·sign(v_{t−1} − g_t²)·g_t²,   v̂_t = v_t / (1 − b2^t)
      θ_t = θ_{t−1} − η_t · m̂_t / (√v̂_t + eps)

    As in optax, both moments start at the initial value, so that a parameter whose gradient is 0 from the start moves
    by 0.0016 of the learning rate (with the defaults) before it rests; 0 avoids that.

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number or a schedule.
      b1: decay of the first moment, in [0, 1).
      b2: 1 − b2 is the rate at which v follows g², in [0, 1).
      eps: ε ≥ 0, outside the root.
      initial_accumulator_value: of both moments, ≥ 0.
      mu_dtype: dtype of m; the parameters' if None.
      nu_dtype: dtype of v; at least float32 if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if a decay is not in [0, 1), `eps` is negative or vanishes in float32, or the initial value is
        negative.
      TypeError: if a dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.yogi(0.5, b1=0.0, eps=0.0)
      >>> updates, _ = tx.update(jnp.array([50.0, -50.0]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(4))
      [-0.5  0.5]

    References:
      Zaheer, Reddi, Sachan, Kale, Kumar, Adaptive methods for nonconvex optimization (NeurIPS 2018), algorithm 2.
    """
    rule = scale_by_yogi(
        b1, b2, eps, initial_accumulator_value=initial_accumulator_value, mu_dtype=mu_dtype, nu_dtype=nu_dtype
    )
    return chain(rule, scale_by_learning_rate(learning_rate))
