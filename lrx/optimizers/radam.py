"""RAdam: Adam with a warmup derived from the variance of its second moment."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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
from .._numbers import F32, Hyperparameter, Scalar, is_tracer
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, transformation
from ..controllers._controller import LearningRate
from ._dtype import dtype_name
from .adam import ScaleByAdamState
from .learning_rate import scale_by_learning_rate


class ScaleByRadamState(ScaleByAdamState):
    """The state of RAdam, with the fields of Adam's."""

    __slots__ = ()


@pytree_dataclass
class ScaleByRadam(Rule):
    """See `scale_by_radam`."""

    b1: Scalar = 0.9
    b2: Scalar = 0.999
    eps: Scalar = 1e-8
    eps_root: Scalar = 0.0
    threshold: Scalar = 5.0
    nesterov: bool = static(default=False)
    mu_dtype: str | None = static(default=None)
    nu_dtype: str | None = static(default=None)

    elementwise = True

    def init(self, params: Any) -> ScaleByRadamState:
        """The state before the first update."""
        return ScaleByRadamState(
            zero_count(), zeros_like(params, self.mu_dtype), full_like_second(params, 0.0, self.nu_dtype)
        )

    def update(
        self, updates: Any, state: ScaleByRadamState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByRadamState]:
        """Algorithm 2, on each leaf."""
        del params, extra
        t = add_one(state.count)
        c1 = one_minus_power(self.b1, t.astype(F32))
        c2 = one_minus_power(self.b2, t.astype(F32))
        c1_next = one_minus_power(self.b1, add_one(t).astype(F32)) if self.nesterov else c1
        trusted, rectification = rectified(jnp.asarray(self.b2, F32), t.astype(F32), c2, self.threshold)

        def leaf(g: jax.Array, m: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            r = real(g.dtype)
            b1, b2, eps, eps_root = (jnp.asarray(x, r) for x in (self.b1, self.b2, self.eps, self.eps_root))
            m = b1 * m.astype(g.dtype) + (1 - b1) * g
            v = b2 * v.astype(r) + (1 - b2) * squared(g)
            if self.nesterov:
                m_hat = b1 * m * (1 / c1_next).astype(r) + (1 - b1) * g * (1 / c1).astype(r)
            else:
                m_hat = m * (1 / c1).astype(r)
            v_hat = v * (1 / c2).astype(r)
            adapted = rectification.astype(r) * m_hat / (sqrt(v_hat + eps_root) + eps)
            return jnp.where(trusted, adapted, m_hat), m, v

        updates, m, v = map_leaves(leaf, 3, updates, state.mu, state.nu)
        return updates, ScaleByRadamState(t, m, v)


def rectified(b2: jax.Array, t: jax.Array, c2: jax.Array, threshold: Scalar) -> tuple[jax.Array, jax.Array]:
    """Whether the variance is tractable at step t (ρ_t above the threshold), and the rectification factor if so."""
    rho, rho_limit = _degrees_of_freedom(b2, t, c2)
    # a traced threshold may lie below 4, where the rectification has no value
    trusted = (rho >= jnp.asarray(threshold, F32)) & (rho > 4)
    rho, rho_limit = (jnp.where(trusted, x, jnp.full_like(x, 5)) for x in (rho, rho_limit))
    return trusted, sqrt((rho - 4) / (rho_limit - 4) * (rho - 2) / (rho_limit - 2) * rho_limit / rho)


def _degrees_of_freedom(b2: jax.Array, t: jax.Array, c2: jax.Array) -> tuple[jax.Array, jax.Array]:
    """ρ_t and its limit ρ_∞.

    While b2^t is near 1, ρ_∞ − 2·t·b2^t / (1 − b2^t) subtracts two numbers near 2 / (1 − b2) whose difference is
    about t. With b2 = e^{−2x} and h(y) = y·coth(y) − 1 = y²/3 − y⁴/45 + … it equals t − (h(t·x) − h(x)) / x.
    """
    limit = (1 + b2) / (1 - b2)
    positive = b2 > 0
    x = -0.5 * jnp.log(jnp.where(positive, b2, jnp.full_like(b2, 0.5)))
    early = positive & (t * x < 0.5)
    x = jnp.where(early, x, jnp.full_like(x, 0.5))
    y = jnp.where(early, t * x, x)

    def h(y: jax.Array) -> jax.Array:
        s = y * y
        return s * (1 / 3 - s * (1 / 45 - s * (2 / 945 - s * (1 / 4725 - s * (2 / 93555)))))

    return jnp.where(early, t - (h(y) - h(x)) / x, limit - 2 * t * (1 - c2) / c2), limit


@check.public
def scale_by_radam(
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    threshold: Hyperparameter = 5.0,
    *,
    nesterov: bool = False,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> Transformation:
    """Scale by Adam once the variance of its second moment is tractable, until then only average: see `radam`.

    ::

      m_t = b1·m_{t−1} + (1 − b1)·g_t,   m̂_t = m_t / (1 − b1^t)
      v_t = b2·v_{t−1} + (1 − b2)·g_t²,  v̂_t = v_t / (1 − b2^t)
      ρ_∞ = 2 / (1 − b2) − 1,   ρ_t = ρ_∞ − 2·t·b2^t / (1 − b2^t)
      r_t = √((ρ_t − 4)·(ρ_t − 2)·ρ_∞ / ((ρ_∞ − 4)·(ρ_∞ − 2)·ρ_t))
      u_t = r_t · m̂_t / (√(v̂_t + eps_root) + eps)   if ρ_t ≥ threshold,   else m̂_t

    Args:
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ≥ 0, inside the root.
      threshold: of ρ_t, at least 4.
      nesterov: whether m̂_t is b1·m_t / (1 − b1^{t+1}) + (1 − b1)·g_t / (1 − b1^t).
      mu_dtype: dtype of m; the parameters' if None.
      nu_dtype: dtype of v; at least float32 if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if a decay is not in [0, 1), an ε is negative or vanishes in float32, or `threshold` is below 4.
      TypeError: if a dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_radam()
      >>> state = tx.init(jnp.zeros(1))
      >>> for _ in range(6):  # ρ_t is about t
      ...   updates, state = tx.update(jnp.array([5.0]), state)
      ...   print(updates.round(2))
      [5.]
      [5.]
      [5.]
      [5.]
      [5.]
      [0.03]

    References:
      Liu et al., On the variance of the adaptive learning rate and beyond (ICLR 2020), arXiv 1908.03265, algorithm 2.
    """
    check.below_one(b1=b1, b2=b2)
    check.epsilon(eps=eps, eps_root=eps_root)
    check.non_negative(threshold=threshold)
    if not callable(threshold) and not is_tracer(threshold) and np.asarray(threshold) < 4:
        raise check.fail("threshold", "must be at least 4", threshold, "Up to ρ = 4 the variance is infinite.")
    mu_dtype, nu_dtype = dtype_name("mu_dtype", mu_dtype), dtype_name("nu_dtype", nu_dtype)
    return transformation(ScaleByRadam(b1, b2, eps, eps_root, threshold, nesterov, mu_dtype, nu_dtype))


@check.public
def radam(
    learning_rate: LearningRate,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    threshold: Hyperparameter = 5.0,
    *,
    nesterov: bool = False,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> Transformation:
    """RAdam: Adam whose first steps are momentum alone and whose next ones are shorter, a warmup of its own.

    With g_t the gradient, η_t the learning rate, and m̂_t and v̂_t as in `adam`::

      ρ_∞ = 2 / (1 − b2) − 1,   ρ_t = ρ_∞ − 2·t·b2^t / (1 − b2^t)
      r_t = √((ρ_t − 4)·(ρ_t − 2)·ρ_∞ / ((ρ_∞ − 4)·(ρ_∞ − 2)·ρ_t))
      θ_t = θ_{t−1} − η_t · r_t · m̂_t / (√(v̂_t + eps_root) + eps)   if ρ_t ≥ threshold
      θ_t = θ_{t−1} − η_t · m̂_t                                     otherwise

    Note that the first steps grow with the gradient. The paper's threshold is ρ_t > 4. torch adds ε to √v_t before
    the bias correction, which makes it larger in early steps.

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number or a schedule.
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ≥ 0, inside the root.
      threshold: of ρ_t, at least 4.
      nesterov: whether to use Nesterov's momentum.
      mu_dtype: dtype of m; the parameters' if None.
      nu_dtype: dtype of v; at least float32 if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if a decay is not in [0, 1), an ε is negative or vanishes in float32, or `threshold` is below 4.
      TypeError: if a dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.radam(0.5)
      >>> updates, _ = tx.update(jnp.array([5.0, -0.5]), tx.init(jnp.zeros(2)))
      >>> print(updates)  # the first step is that of gradient descent
      [-2.5   0.25]

    References:
      Liu et al., On the variance of the adaptive learning rate and beyond (ICLR 2020), arXiv 1908.03265, algorithm 2.
    """
    rule = scale_by_radam(b1, b2, eps, eps_root, threshold, nesterov=nesterov, mu_dtype=mu_dtype, nu_dtype=nu_dtype)
    return chain(rule, scale_by_learning_rate(learning_rate))
