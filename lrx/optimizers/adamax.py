"""AdaMax and AdaMaxW: the mean gradient divided by a decaying maximum of its size."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import add_one, full_like_second, map_leaves, one_minus_power, real, zero_count, zeros_like
from .._chain import chain
from .._numbers import F32, Hyperparameter, Scalar
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, transformation
from ..controllers._controller import LearningRate
from ._dtype import dtype_name
from .adam import ScaleByAdamState
from .learning_rate import scale_by_learning_rate
from .weight_decay import add_decayed_weights


class ScaleByAdamaxState(ScaleByAdamState):
    """The state of AdaMax, with the fields of Adam's. n, the decaying maximum, is `nu`."""

    __slots__ = ()


@pytree_dataclass
class ScaleByAdamax(Rule):
    """See `scale_by_adamax`."""

    b1: Scalar = 0.9
    b2: Scalar = 0.999
    eps: Scalar = 1e-8
    mu_dtype: str | None = static(default=None)
    nu_dtype: str | None = static(default=None)

    elementwise = True

    def init(self, params: Any) -> ScaleByAdamaxState:
        """The state before the first update."""
        return ScaleByAdamaxState(
            zero_count(), zeros_like(params, self.mu_dtype), full_like_second(params, 0.0, self.nu_dtype)
        )

    def update(
        self, updates: Any, state: ScaleByAdamaxState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByAdamaxState]:
        """Algorithm 2, on each leaf."""
        del params, extra
        t = add_one(state.count)
        c1 = one_minus_power(self.b1, t.astype(F32))

        def leaf(g: jax.Array, m: jax.Array, n: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            r = real(g.dtype)
            b1, b2, eps = (jnp.asarray(x, r) for x in (self.b1, self.b2, self.eps))
            m = b1 * m.astype(g.dtype) + (1 - b1) * g
            n = jnp.maximum(b2 * n.astype(r), jnp.abs(g) + eps)
            return m * (1 / c1).astype(r) / n, m, n

        updates, m, n = map_leaves(leaf, 3, updates, state.mu, state.nu)
        return updates, ScaleByAdamaxState(t, m, n)


@check.public
def scale_by_adamax(
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    *,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> Transformation:
    """Divide the mean of the updates by a decaying maximum of their size: see `adamax`.

    ::

      m_t = b1·m_{t−1} + (1 − b1)·g_t
      n_t = max(b2·n_{t−1}, |g_t| + eps)
      u_t = m_t / ((1 − b1^t)·n_t)

    Args:
      b1: decay of the first moment, in [0, 1).
      b2: decay of the maximum, in [0, 1).
      eps: ε ≥ 0.
      mu_dtype: dtype of m; the parameters' if None.
      nu_dtype: dtype of n; at least float32 if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if a decay is not in [0, 1), or `eps` is negative or vanishes in float32.
      TypeError: if a dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_adamax(b1=0.0, b2=0.5, eps=0.0)
      >>> state = tx.init(jnp.zeros(1))
      >>> for g in (8.0, -1.0):
      ...   updates, state = tx.update(jnp.array([g]), state)
      ...   print(updates)
      [1.]
      [-0.25]

    References:
      Kingma, Ba, Adam: a method for stochastic optimization (ICLR 2015), arXiv 1412.6980, algorithm 2.
    """
    check.below_one(b1=b1, b2=b2)
    check.epsilon(eps=eps)
    mu_dtype, nu_dtype = dtype_name("mu_dtype", mu_dtype), dtype_name("nu_dtype", nu_dtype)
    return transformation(ScaleByAdamax(b1, b2, eps, mu_dtype, nu_dtype))


@check.public
def adamax(
    learning_rate: LearningRate,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    *,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> Transformation:
    """AdaMax: Adam with a decaying maximum in place of the root mean square.

    With g_t the gradient and η_t the learning rate::

      m_t = b1·m_{t−1} + (1 − b1)·g_t
      n_t = max(b2·n_{t−1}, |g_t| + eps)
      θ_t = θ_{t−1} − η_t · m_t / ((1 − b1^t)·n_t)

    The paper has no ε.

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number or a schedule.
      b1: decay of the first moment, in [0, 1).
      b2: decay of the maximum, in [0, 1).
      eps: ε ≥ 0.
      mu_dtype: dtype of m; the parameters' if None.
      nu_dtype: dtype of n; at least float32 if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if a decay is not in [0, 1), or `eps` is negative or vanishes in float32.
      TypeError: if a dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.adamax(0.5, eps=0.0)
      >>> updates, _ = tx.update(jnp.array([4.0, -0.5]), tx.init(jnp.zeros(2)))
      >>> print(updates.round(4))
      [-0.5  0.5]

    References:
      Kingma, Ba, Adam: a method for stochastic optimization (ICLR 2015), arXiv 1412.6980, algorithm 2.
    """
    rule = scale_by_adamax(b1, b2, eps, mu_dtype=mu_dtype, nu_dtype=nu_dtype)
    return chain(rule, scale_by_learning_rate(learning_rate))


@check.public
def adamaxw(
    learning_rate: LearningRate,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 1e-4,
    mask: Any = None,
    *,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> Transformation:
    """AdaMax with decoupled weight decay.

    With m_t and n_t as in `adamax`::

      θ_t = θ_{t−1} − η_t · (m_t / ((1 − b1^t)·n_t) + weight_decay · θ_{t−1})

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number or a schedule.
      b1: decay of the first moment, in [0, 1).
      b2: decay of the maximum, in [0, 1).
      eps: ε ≥ 0.
      weight_decay: λ ≥ 0; it is multiplied by the learning rate.
      mask: a tree of bools like the parameters, or a function from parameters to one: decay where True.
      mu_dtype: dtype of m; the parameters' if None.
      nu_dtype: dtype of n; at least float32 if None.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a decay is not in [0, 1), `eps` is negative or vanishes in float32, or λ is negative.
      TypeError: if a dtype is not floating, or the mask is not one.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.adamaxw(0.5, weight_decay=0.25)
      >>> params = jnp.array([8.0])
      >>> updates, _ = tx.update(jnp.zeros(1), tx.init(params), params)  # the gradient is zero: only decay
      >>> print(updates)
      [-1.]

    References:
      Loshchilov, Hutter, Decoupled weight decay regularization (ICLR 2019), arXiv 1711.05101;
      Kingma, Ba, Adam: a method for stochastic optimization (ICLR 2015), arXiv 1412.6980, algorithm 2.
    """
    rule = scale_by_adamax(b1, b2, eps, mu_dtype=mu_dtype, nu_dtype=nu_dtype)
    return chain(rule, add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))
