"""AMSGrad: Adam whose second moment never decreases."""

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

Convention = Literal["optax", "torch"]


class ScaleByAmsgradState(NamedTuple):
    """The state of AMSGrad."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    mu: Any
    """m, the first moment, shaped like the parameters, in their dtype or in `mu_dtype`."""
    nu: Any
    """v, the second moment, shaped like the parameters, float32 or `nu_dtype`."""
    nu_max: Any
    """The largest v̂ (`convention="torch"`: the largest v) so far, like v."""


@pytree_dataclass
class ScaleByAmsgrad(Rule):
    """See `scale_by_amsgrad`."""

    b1: Scalar = 0.9
    b2: Scalar = 0.999
    eps: Scalar = 1e-8
    eps_root: Scalar = 0.0
    mu_dtype: str | None = static(default=None)
    bias_correction_mu: bool = static(default=True)
    bias_correction_nu: bool = static(default=True)
    nu_dtype: str | None = static(default=None)
    convention: str = static(default="optax")

    elementwise = True

    def init(self, params: Any) -> ScaleByAmsgradState:
        """The state before the first update."""
        nu, nu_max = (full_like_second(params, 0.0, self.nu_dtype) for _ in range(2))
        return ScaleByAmsgradState(zero_count(), zeros_like(params, self.mu_dtype), nu, nu_max)

    def update(
        self, updates: Any, state: ScaleByAmsgradState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByAmsgradState]:
        """Algorithm 2, on each leaf, with Adam's bias corrections where asked for."""
        del params, extra
        t = add_one(state.count)
        one = jnp.ones((), F32)
        c1 = one_minus_power(self.b1, t.astype(F32)) if self.bias_correction_mu else one
        c2 = one_minus_power(self.b2, t.astype(F32)) if self.bias_correction_nu else one
        before, after = (one, c2) if self.convention == "torch" else (c2, one)

        def leaf(g: jax.Array, m: jax.Array, v: jax.Array, largest: jax.Array) -> tuple[jax.Array, ...]:
            r = real(g.dtype)
            b1, b2, eps, eps_root = (jnp.asarray(x, r) for x in (self.b1, self.b2, self.eps, self.eps_root))
            m = b1 * m.astype(g.dtype) + (1 - b1) * g
            v = b2 * v.astype(r) + (1 - b2) * squared(g)
            largest = jnp.maximum(largest.astype(r), v * (1 / before).astype(r))
            m_hat = m * (1 / c1).astype(r)
            return m_hat / (sqrt(largest * (1 / after).astype(r) + eps_root) + eps), m, v, largest

        updates, m, v, largest = map_leaves(leaf, 4, updates, state.mu, state.nu, state.nu_max)
        return updates, ScaleByAmsgradState(t, m, v, largest)


@check.public
def scale_by_amsgrad(
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    mu_dtype: Any = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    *,
    nu_dtype: Any = None,
    convention: Convention = "optax",
) -> Transformation:
    """Divide the mean of the updates by the root of the largest mean square so far: see `amsgrad`.

    ::

      m_t = b1·m_{t−1} + (1 − b1)·g_t,    m̂_t = m_t / (1 − b1^t)
      v_t = b2·v_{t−1} + (1 − b2)·g_t²,   v̂_t = v_t / (1 − b2^t)
      w_t = max(w_{t−1}, v̂_t)
      u_t = m̂_t / (√(w_t + eps_root) + eps)

    Args:
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ≥ 0, inside the root.
      mu_dtype: dtype of m; the parameters' if None.
      bias_correction_mu: whether m̂_t is corrected; m̂_t = m_t if not.
      bias_correction_nu: whether v̂_t is corrected; v̂_t = v_t if not.
      nu_dtype: dtype of v and of the maximum; at least float32 if None.
      convention: "optax": the maximum is of the corrected v̂_t; "torch": of v_t, corrected afterwards.

    Returns:
      A transformation.

    Raises:
      ValueError: if a decay is not in [0, 1), an ε is negative or vanishes in float32, or the convention is unknown.
      TypeError: if a dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_amsgrad(b1=0.0, b2=0.75, eps=0.0, bias_correction_nu=False)
      >>> state = tx.init(jnp.zeros(1))
      >>> for g in (8.0, 2.0):  # Adam's second update would be 2 / √(0.75·16 + 0.25·4), about 0.55
      ...   updates, state = tx.update(jnp.array([g]), state)
      ...   print(updates)
      [2.]
      [0.5]

    References:
      Reddi, Kale, Kumar, On the convergence of Adam and beyond (ICLR 2018), arXiv 1904.09237, algorithm 2.
    """
    check.below_one(b1=b1, b2=b2)
    check.epsilon(eps=eps, eps_root=eps_root)
    check.one_of(Convention, convention=convention)
    mu_dtype, nu_dtype = dtype_name("mu_dtype", mu_dtype), dtype_name("nu_dtype", nu_dtype)
    corrections = bias_correction_mu, bias_correction_nu
    return transformation(ScaleByAmsgrad(b1, b2, eps, eps_root, mu_dtype, *corrections, nu_dtype, convention))


@check.public
def amsgrad(
    learning_rate: LearningRate,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    mu_dtype: Any = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    *,
    nu_dtype: Any = None,
    convention: Convention = "optax",
) -> Transformation:
    """AMSGrad: Adam that divides by the largest second moment so far, so that the rate of no coordinate rises again.

    With g_t the gradient and η_t the learning rate::

      m_t = b1·m_{t−1} + (1 − b1)·g_t,    m̂_t = m_t / (1 − b1^t)
      v_t = b2·v_{t−1} + (1 − b2)·g_t²,   v̂_t = v_t / (1 − b2^t)
      w_t = max(w_{t−1}, v̂_t)
      θ_t = θ_{t−1} − η_t · m̂_t / (√(w_t + eps_root) + eps)

    The paper corrects no bias: both `bias_correction_` arguments False. torch (`Adam(amsgrad=True)`) takes the
    maximum of v_t and corrects it afterwards: `convention="torch"`.

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number or a schedule.
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ≥ 0, inside the root.
      mu_dtype: dtype of m; the parameters' if None.
      bias_correction_mu: whether m̂_t is corrected; m̂_t = m_t if not.
      bias_correction_nu: whether v̂_t is corrected; v̂_t = v_t if not.
      nu_dtype: dtype of v and of the maximum; at least float32 if None.
      convention: "optax": the maximum is of the corrected v̂_t; "torch": of v_t, corrected afterwards.

    Returns:
      A transformation.

    Raises:
      ValueError: if a decay is not in [0, 1), an ε is negative or vanishes in float32, or the convention is unknown.
      TypeError: if a dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.amsgrad(0.5, eps=0.0)
      >>> updates, _ = tx.update(jnp.array([5.0, -0.5]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(4))
      [-0.5  0.5]

    References:
      Reddi, Kale, Kumar, On the convergence of Adam and beyond (ICLR 2018), arXiv 1904.09237, algorithm 2.
    """
    corrections = bias_correction_mu, bias_correction_nu
    rule = scale_by_amsgrad(b1, b2, eps, eps_root, mu_dtype, *corrections, nu_dtype=nu_dtype, convention=convention)
    return chain(rule, scale_by_learning_rate(learning_rate))
