"""NAdam and NAdamW: Adam with Nesterov's momentum, as in optax or with torch's schedule of the momentum."""

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
from .adam import scale_by_adam
from .learning_rate import scale_by_learning_rate
from .weight_decay import add_decayed_weights


class ScaleByNadamState(NamedTuple):
    """The state of NAdam with a momentum schedule."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    product: jax.Array
    """π = μ_1 ⋯ μ_t, the product of the momenta so far; float32 []."""
    mu: Any
    """m, the first moment, shaped like the parameters, in their dtype or in `mu_dtype`."""
    nu: Any
    """v, the second moment, shaped like the parameters, float32 or `nu_dtype`."""


@pytree_dataclass
class ScaleByNadam(Rule):
    """See `scale_by_nadam`."""

    b1: Scalar = 0.9
    b2: Scalar = 0.999
    eps: Scalar = 1e-8
    eps_root: Scalar = 0.0
    mu_dtype: str | None = static(default=None)
    momentum_decay: Scalar = 0.004
    nu_dtype: str | None = static(default=None)

    elementwise = True

    def init(self, params: Any) -> ScaleByNadamState:
        """The state before the first update."""
        mu, nu = zeros_like(params, self.mu_dtype), full_like_second(params, 0.0, self.nu_dtype)
        return ScaleByNadamState(zero_count(), jnp.ones((), F32), mu, nu)

    def update(
        self, updates: Any, state: ScaleByNadamState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByNadamState]:
        """One step, on each leaf."""
        del params, extra
        t = add_one(state.count)
        c2 = one_minus_power(self.b2, t.astype(F32))
        momentum, momentum_next = self._momentum(t), self._momentum(add_one(t))
        product = state.product * momentum
        of_gradient = (1 - momentum) / (1 - product)
        of_mean = momentum_next / (1 - product * momentum_next)

        def leaf(g: jax.Array, m: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            r = real(g.dtype)
            b1, b2, eps, eps_root = (jnp.asarray(x, r) for x in (self.b1, self.b2, self.eps, self.eps_root))
            m = b1 * m.astype(g.dtype) + (1 - b1) * g
            v = b2 * v.astype(r) + (1 - b2) * squared(g)
            m_hat = of_mean.astype(r) * m + of_gradient.astype(r) * g
            v_hat = v * (1 / c2).astype(r)
            return m_hat / (sqrt(v_hat + eps_root) + eps), m, v

        updates, m, v = map_leaves(leaf, 3, updates, state.mu, state.nu)
        return updates, ScaleByNadamState(t, product, m, v)

    def _momentum(self, t: jax.Array) -> jax.Array:
        """The momentum of step t, which rises from a little above b1 / 2 to b1."""
        b1, decay = jnp.asarray(self.b1, F32), jnp.asarray(self.momentum_decay, F32)
        return b1 * (1 - 0.5 * jnp.asarray(0.96, F32) ** (t.astype(F32) * decay))


@check.public
def scale_by_nadam(
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    mu_dtype: Any = None,
    *,
    momentum_decay: Hyperparameter = 0.004,
    nu_dtype: Any = None,
) -> Transformation:
    """Scale by Adam with Nesterov's momentum, which rises from step to step: see `nadam`.

    With ψ = `momentum_decay`::

      μ_t = b1·(1 − ½·0.96^(t·ψ)),   π_t = μ_1 ⋯ μ_t
      m_t = b1·m_{t−1} + (1 − b1)·g_t
      v_t = b2·v_{t−1} + (1 − b2)·g_t²,   v̂_t = v_t / (1 − b2^t)
      m̂_t = μ_{t+1}·m_t / (1 − π_t·μ_{t+1}) + (1 − μ_t)·g_t / (1 − π_t)
      u_t = m̂_t / (√(v̂_t + eps_root) + eps)

    Args:
      b1: decay of the first moment and limit of μ_t, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ≥ 0, inside the root.
      mu_dtype: dtype of m; the parameters' if None.
      momentum_decay: ψ ≥ 0; the larger, the sooner μ_t reaches b1.
      nu_dtype: dtype of v; at least float32 if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if a decay is not in [0, 1), an ε is negative or vanishes in float32, or ψ is negative.
      TypeError: if a dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_nadam(b1=0.5, eps=0.0, momentum_decay=0.0)  # μ_t = ¼: m̂ = ¼·½·g / (15/16) + ¾·g / ¾
      >>> updates, _ = tx.update(jnp.array([5.0, -0.5]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(4))
      [ 1.1333 -1.1333]

    References:
      Dozat, Incorporating Nesterov momentum into Adam (ICLR workshop 2016); torch.optim.NAdam.
    """
    check.below_one(b1=b1, b2=b2)
    check.epsilon(eps=eps, eps_root=eps_root)
    check.non_negative(momentum_decay=momentum_decay)
    mu_dtype, nu_dtype = dtype_name("mu_dtype", mu_dtype), dtype_name("nu_dtype", nu_dtype)
    return transformation(ScaleByNadam(b1, b2, eps, eps_root, mu_dtype, momentum_decay, nu_dtype))


def _rule(
    b1: Hyperparameter,
    b2: Hyperparameter,
    eps: Hyperparameter,
    eps_root: Hyperparameter,
    mu_dtype: Any,
    nesterov: bool,
    momentum_decay: Hyperparameter | None,
    nu_dtype: Any,
) -> Transformation:
    if momentum_decay is None:
        return scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov, nu_dtype=nu_dtype)
    if not nesterov:
        raise check.fail("momentum_decay", "must be None without Nesterov's momentum", momentum_decay)
    return scale_by_nadam(b1, b2, eps, eps_root, mu_dtype, momentum_decay=momentum_decay, nu_dtype=nu_dtype)


@check.public
def nadam(
    learning_rate: LearningRate,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
    momentum_decay: Hyperparameter | None = None,
    nu_dtype: Any = None,
) -> Transformation:
    """NAdam: Adam that looks one step of momentum ahead.

    With g_t the gradient, η_t the learning rate, and m_t and v̂_t as in `adam`::

      m̂_t = b1·m_t / (1 − b1^{t+1}) + (1 − b1)·g_t / (1 − b1^t)
      θ_t = θ_{t−1} − η_t · m̂_t / (√(v̂_t + eps_root) + eps)

    torch's NAdam is `momentum_decay=0.004`: its momentum rises from step to step, as `scale_by_nadam` says.

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number or a schedule.
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ≥ 0, inside the root.
      mu_dtype: dtype of m; the parameters' if None.
      nesterov: False makes it `adam`.
      momentum_decay: ψ ≥ 0 of the momentum's schedule, or None for a constant momentum.
      nu_dtype: dtype of v; at least float32 if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if a decay is not in [0, 1), an ε is negative or vanishes in float32, or ψ is negative or stands
        beside `nesterov=False`.
      TypeError: if a dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.nadam(0.5, b1=0.5, eps=0.0)  # m̂ = ½·½·g / (1 − ¼) + ½·g / ½ = 4/3·g
      >>> updates, _ = tx.update(jnp.array([5.0, -0.5]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(4))
      [-0.6667  0.6667]

    References:
      Dozat, Incorporating Nesterov momentum into Adam (ICLR workshop 2016).
    """
    rule = _rule(b1, b2, eps, eps_root, mu_dtype, nesterov, momentum_decay, nu_dtype)
    return chain(rule, scale_by_learning_rate(learning_rate))


@check.public
def nadamw(
    learning_rate: LearningRate,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    mu_dtype: Any = None,
    weight_decay: Hyperparameter = 1e-4,
    mask: Any = None,
    *,
    nesterov: bool = True,
    momentum_decay: Hyperparameter | None = None,
    nu_dtype: Any = None,
) -> Transformation:
    """NAdam with decoupled weight decay.

    With m̂_t and v̂_t as in `nadam`::

      θ_t = θ_{t−1} − η_t · (m̂_t / (√(v̂_t + eps_root) + eps) + weight_decay · θ_{t−1})

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number or a schedule.
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ≥ 0, inside the root.
      mu_dtype: dtype of m; the parameters' if None.
      weight_decay: λ ≥ 0; it is multiplied by the learning rate, as in optax and torch.
      mask: a tree of bools like the parameters, or a function from parameters to one: decay where True.
      nesterov: False makes it `adamw`.
      momentum_decay: ψ ≥ 0 of the momentum's schedule, or None for a constant momentum.
      nu_dtype: dtype of v; at least float32 if None.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a decay is not in [0, 1), an ε is negative or vanishes in float32, λ is negative, or ψ is
        negative or stands beside `nesterov=False`.
      TypeError: if a dtype is not floating, or the mask is not one.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.nadamw(0.5, weight_decay=0.25)
      >>> params = jnp.array([8.0])
      >>> updates, _ = tx.update(jnp.zeros(1), tx.init(params), params)  # the gradient is zero: only decay
      >>> print(updates)
      [-1.]

    References:
      Dozat, Incorporating Nesterov momentum into Adam (ICLR workshop 2016);
      Loshchilov, Hutter, Decoupled weight decay regularization (ICLR 2019), arXiv 1711.05101.
    """
    rule = _rule(b1, b2, eps, eps_root, mu_dtype, nesterov, momentum_decay, nu_dtype)
    return chain(rule, add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))
