"""Adam and AdamW: the mean gradient divided by the root of the mean square."""

import functools
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


class ScaleByAdamState(NamedTuple):
    """The state of Adam."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    mu: Any
    """m, the first moment, shaped like the parameters, in their dtype or in `mu_dtype`."""
    nu: Any
    """v, the second moment, shaped like the parameters, float32 or `nu_dtype`."""


@pytree_dataclass
class ScaleByAdam(Rule):
    """See `scale_by_adam`."""

    b1: Scalar = 0.9
    b2: Scalar = 0.999
    eps: Scalar = 1e-8
    eps_root: Scalar = 0.0
    mu_dtype: str | None = static(default=None)
    nesterov: bool = static(default=False)
    nu_dtype: str | None = static(default=None)

    elementwise = True

    def init(self, params: Any) -> ScaleByAdamState:
        """The state before the first update."""
        return ScaleByAdamState(
            zero_count(), zeros_like(params, self.mu_dtype), full_like_second(params, 0.0, self.nu_dtype)
        )

    def update(
        self, updates: Any, state: ScaleByAdamState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByAdamState]:
        """Algorithm 1, lines 7 to 12, on each leaf."""
        del params, extra
        t = add_one(state.count)
        c1 = one_minus_power(self.b1, t.astype(F32))
        c2 = one_minus_power(self.b2, t.astype(F32))
        c1_next = one_minus_power(self.b1, add_one(t).astype(F32)) if self.nesterov else c1

        @functools.cache  # once for a thousand leaves
        def numbers(r: Any) -> list[jax.Array]:
            b1, b2 = jnp.asarray(self.b1, r), jnp.asarray(self.b2, r)
            return [b1, 1 - b1, b2, 1 - b2, *(jnp.asarray(x, r) for x in (1 / c1, 1 / c1_next, 1 / c2))]

        def leaf(g: jax.Array, m: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            r = real(g.dtype)
            b1, d1, b2, d2, per_c1, per_c1_next, per_c2 = numbers(r)
            eps, eps_root = jnp.asarray(self.eps, r), jnp.asarray(self.eps_root, r)
            m = b1 * m.astype(g.dtype) + d1 * g
            v = b2 * v.astype(r) + d2 * squared(g)
            m_hat = b1 * m * per_c1_next + d1 * g * per_c1 if self.nesterov else m * per_c1
            return m_hat / (sqrt(v * per_c2 + eps_root) + eps), m, v

        updates, m, v = map_leaves(leaf, 3, updates, state.mu, state.nu)
        return updates, ScaleByAdamState(t, m, v)


@check.public
def scale_by_adam(
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    nu_dtype: Any = None,
) -> Transformation:
    """Divide the mean of the updates by the root of their mean square: see `adam`.

    ::

      m_t = b1·m_{t−1} + (1 − b1)·g_t,   m̂_t = m_t / (1 − b1^t)
      v_t = b2·v_{t−1} + (1 − b2)·g_t²,  v̂_t = v_t / (1 − b2^t)
      u_t = m̂_t / (√(v̂_t + eps_root) + eps)

    Args:
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ≥ 0, inside the root.
      mu_dtype: dtype of m; the parameters' if None.
      nesterov: whether m̂_t is b1·m_t / (1 − b1^{t+1}) + (1 − b1)·g_t / (1 − b1^t).
      nu_dtype: dtype of v; at least float32 if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if a decay is not in [0, 1), or an ε is negative or vanishes in float32.
      TypeError: if a dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_adam(eps=0.0)
      >>> updates, _ = tx.update(jnp.array([5.0, -0.5]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(4))
      [ 1. -1.]

    References:
      Kingma, Ba, Adam: a method for stochastic optimization (ICLR 2015), arXiv 1412.6980, algorithm 1;
      Dozat, Incorporating Nesterov momentum into Adam (ICLR workshop 2016).
    """
    check.below_one(b1=b1, b2=b2)
    check.epsilon(eps=eps, eps_root=eps_root)
    mu_dtype, nu_dtype = dtype_name("mu_dtype", mu_dtype), dtype_name("nu_dtype", nu_dtype)
    return transformation(ScaleByAdam(b1, b2, eps, eps_root, mu_dtype, nesterov, nu_dtype))


@check.public
def adam(
    learning_rate: LearningRate,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    nu_dtype: Any = None,
) -> Transformation:
    """Adam: steps of about the learning rate in every coordinate, whatever the size of the gradient.

    With g_t the gradient and η_t the learning rate::

      m_t = b1·m_{t−1} + (1 − b1)·g_t,   m̂_t = m_t / (1 − b1^t)
      v_t = b2·v_{t−1} + (1 − b2)·g_t²,  v̂_t = v_t / (1 − b2^t)
      θ_t = θ_{t−1} − η_t · m̂_t / (√(v̂_t + eps_root) + eps)

    The bias corrections are formed in float32 without cancellation; the second moment is at least float32, since
    in bfloat16 it would never decay.

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number or a schedule.
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ≥ 0, inside the root.
      mu_dtype: dtype of m; the parameters' if None.
      nesterov: whether to use Nesterov's momentum (NAdam).
      nu_dtype: dtype of v; at least float32 if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if a decay is not in [0, 1), or an ε is negative or vanishes in float32.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> loss = lambda x: jnp.sum(x**2)
      >>> params = jnp.array([1.0, 2.0, 3.0])
      >>> tx = lrx.adam(0.25)
      >>> state = tx.init(params)
      >>> for _ in range(50):
      ...   updates, state = tx.update(jax.grad(loss)(params), state, params)
      ...   params = lrx.apply_updates(params, updates)
      >>> print(loss(params) < 0.05)
      True

    References:
      Kingma, Ba, Adam: a method for stochastic optimization (ICLR 2015), arXiv 1412.6980, algorithm 1.
    """
    rule = scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov, nu_dtype=nu_dtype)
    return chain(rule, scale_by_learning_rate(learning_rate))


@check.public
def adamw(
    learning_rate: LearningRate,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    mu_dtype: Any = None,
    weight_decay: Hyperparameter = 1e-4,
    mask: Any = None,
    *,
    nesterov: bool = False,
    nu_dtype: Any = None,
    cautious_decay: bool = False,
) -> Transformation:
    """Adam with decoupled weight decay.

    With m̂_t and v̂_t as in `adam`::

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
      nesterov: whether to use Nesterov's momentum (NAdamW).
      nu_dtype: dtype of v; at least float32 if None.
      cautious_decay: whether to decay only where it agrees with the update: see `add_decayed_weights`.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a decay is not in [0, 1), an ε is negative or vanishes in float32, or λ is negative.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.adamw(0.5, weight_decay=0.25)
      >>> params = jnp.array([8.0])
      >>> updates, _ = tx.update(jnp.zeros(1), tx.init(params), params)  # the gradient is zero: only decay
      >>> print(updates)
      [-1.]

    References:
      Loshchilov, Hutter, Decoupled weight decay regularization (ICLR 2019), arXiv 1711.05101, algorithm 2.
    """
    check.flag(cautious_decay=cautious_decay)
    rule = scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov, nu_dtype=nu_dtype)
    return chain(
        rule, add_decayed_weights(weight_decay, mask, cautious=cautious_decay), scale_by_learning_rate(learning_rate)
    )
