"""ADOPT: the gradient divided by the root of the mean square before it, then averaged."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import add_one, full_like_second, map_leaves, real, sqrt, squared, zero_count, zeros_like
from .._chain import chain
from .._numbers import F32, Hyperparameter, Scalar
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, transformation
from ..controllers._controller import LearningRate
from ._dtype import dtype_name
from .adam import ScaleByAdamState
from .learning_rate import scale_by_learning_rate


class ScaleByAdoptState(ScaleByAdamState):
    """The state of ADOPT, with the fields of Adam's. Its count is t + 1."""

    __slots__ = ()


@pytree_dataclass
class ScaleByAdopt(Rule):
    """See `scale_by_adopt`."""

    b1: Scalar = 0.9
    b2: Scalar = 0.9999
    eps: Scalar = 1e-6
    mu_dtype: str | None = static(default=None)
    nesterov: bool = static(default=False)
    use_clipping: bool = static(default=True)
    clip_value_fn: Callable[[jax.Array], Any] | None = static(default=None)
    nu_dtype: str | None = static(default=None)

    elementwise = True

    def init(self, params: Any) -> ScaleByAdoptState:
        """The state before the first update."""
        return ScaleByAdoptState(
            zero_count(), zeros_like(params, self.mu_dtype), full_like_second(params, 0.0, self.nu_dtype)
        )

    def update(
        self, updates: Any, state: ScaleByAdoptState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByAdoptState]:
        """One step, on each leaf. The first only starts v."""
        del params, extra
        first = state.count == 0

        def leaf(g: jax.Array, m: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            r = real(g.dtype)
            b1, b2, eps = (jnp.asarray(x, r) for x in (self.b1, self.b2, self.eps))
            v = v.astype(r)
            scale = jnp.where(first, 1, jnp.maximum(sqrt(v), eps))
            n = jnp.where(first, 0, g / scale)
            if self.use_clipping:
                n = _clipped(n, jnp.asarray(self._clip_value(state.count)).astype(r))
            m = b1 * m.astype(g.dtype) + (1 - b1) * n
            v = jnp.where(first, squared(g), b2 * v + (1 - b2) * squared(g))
            return (b1 * m + (1 - b1) * n if self.nesterov else m), m, v

        updates, m, v = map_leaves(leaf, 3, updates, state.mu, state.nu)
        return updates, ScaleByAdoptState(add_one(state.count), m, v)

    def _clip_value(self, count: jax.Array) -> Any:
        return count.astype(F32) ** 0.25 if self.clip_value_fn is None else self.clip_value_fn(count)


def _clipped(x: jax.Array, bound: jax.Array) -> jax.Array:
    """`x`, no larger than `bound` in size; a complex number keeps its direction."""
    if not jnp.iscomplexobj(x):
        return jnp.clip(x, -bound, bound)
    size = sqrt(squared(x))
    large = size > bound
    return jnp.where(large, x * (bound / jnp.where(large, size, 1)), x)


@check.public
def scale_by_adopt(
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.9999,
    eps: Hyperparameter = 1e-6,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Callable[[jax.Array], Any] | None = None,
    nu_dtype: Any = None,
) -> Transformation:
    """Divide the updates by the root of the mean square before them, then average: see `adopt`.

    With v_0 = g_0², m_0 = u_0 = 0 in the first step, and in those that follow, t = 1, 2, …::

      n_t = clip(g_t / max(√v_{t−1}, eps), ±t^¼)
      m_t = b1·m_{t−1} + (1 − b1)·n_t
      v_t = b2·v_{t−1} + (1 − b2)·g_t²
      u_t = m_t                         or, with Nesterov,   u_t = b1·m_t + (1 − b1)·n_t

    Args:
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: ε ≥ 0, below which √v does not count.
      mu_dtype: dtype of m; the parameters' if None.
      nesterov: whether to look one step ahead.
      use_clipping: whether n_t is clipped.
      clip_value_fn: function of t (int32 []) that gives the bound of n_t; t^¼ if None. It is part of the program:
        numbers in it are not hyperparameters.
      nu_dtype: dtype of v; at least float32 if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if a decay is not in [0, 1), or `eps` is negative or vanishes in float32.
      TypeError: if a dtype is not floating, or `clip_value_fn` not a function.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_adopt(b1=0.0)
      >>> state = tx.init(jnp.zeros(1))
      >>> for g in (4.0, 2.0, -80.0):
      ...   updates, state = tx.update(jnp.array([g]), state)
      ...   print(updates.round(1))
      [0.]
      [0.5]
      [-1.2]

    References:
      Taniguchi et al., ADOPT: modified Adam can converge with any β2 with the optimal rate (NeurIPS 2024),
      arXiv 2411.02853.
    """
    check.below_one(b1=b1, b2=b2)
    check.epsilon(eps=eps)
    if clip_value_fn is not None and not callable(clip_value_fn):
        raise TypeError(f"{check.where('clip_value_fn')} must be a function of the step, got {clip_value_fn!r}.")
    mu_dtype, nu_dtype = dtype_name("mu_dtype", mu_dtype), dtype_name("nu_dtype", nu_dtype)
    return transformation(ScaleByAdopt(b1, b2, eps, mu_dtype, nesterov, use_clipping, clip_value_fn, nu_dtype))


@check.public
def adopt(
    learning_rate: LearningRate,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.9999,
    eps: Hyperparameter = 1e-6,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Callable[[jax.Array], Any] | None = None,
    nu_dtype: Any = None,
) -> Transformation:
    """ADOPT: Adam whose second moment excludes the current gradient, so that it converges for every b2.

    With g_t the gradient, η_t the learning rate, v_0 = g_0² and m_0 = 0 in the first step, which moves nothing, and
    in those that follow, t = 1, 2, …::

      n_t = clip(g_t / max(√v_{t−1}, eps), ±t^¼)
      m_t = b1·m_{t−1} + (1 − b1)·n_t
      v_t = b2·v_{t−1} + (1 − b2)·g_t²
      θ_t = θ_{t−1} − η_t · m_t

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number or a schedule.
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: ε ≥ 0, below which √v does not count.
      mu_dtype: dtype of m; the parameters' if None.
      nesterov: whether the step is b1·m_t + (1 − b1)·n_t.
      use_clipping: whether n_t is clipped.
      clip_value_fn: function of t (int32 []) that gives the bound of n_t; t^¼ if None.
      nu_dtype: dtype of v; at least float32 if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if a decay is not in [0, 1), or `eps` is negative or vanishes in float32.
      TypeError: if a dtype is not floating, or `clip_value_fn` not a function.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.adopt(0.5, b1=0.0)
      >>> state = tx.init(jnp.zeros(2))
      >>> for _ in range(2):
      ...   updates, state = tx.update(jnp.array([5.0, -0.25]), state)
      >>> print(updates)
      [-0.5  0.5]

    References:
      Taniguchi et al., ADOPT: modified Adam can converge with any β2 with the optimal rate (NeurIPS 2024),
      arXiv 2411.02853.
    """
    clipping = {"use_clipping": use_clipping, "clip_value_fn": clip_value_fn}
    rule = scale_by_adopt(b1, b2, eps, mu_dtype, nesterov=nesterov, nu_dtype=nu_dtype, **clipping)
    return chain(rule, scale_by_learning_rate(learning_rate))
