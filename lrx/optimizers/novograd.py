"""NovoGrad: momentum of gradients, each leaf divided by its norm."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import add_one, map_leaves, real, sqrt, squared, zero_count, zeros_like
from .._chain import chain
from .._numbers import F32, Hyperparameter, Scalar
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, transformation
from ..controllers._controller import LearningRate
from ._blocks import map_blocks
from ._dtype import dtype_name
from .learning_rate import scale_by_learning_rate
from .masking import is_placeholder


class ScaleByNovogradState(NamedTuple):
    """The state of NovoGrad."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    mu: Any
    """m, shaped like the parameters, in their dtype or in `mu_dtype`."""
    nu: Any
    """v, one number for each leaf, float32 [] (float64 for float64 parameters)."""


@pytree_dataclass
class ScaleByNovograd(Rule):
    """See `scale_by_novograd`."""

    b1: Scalar = 0.9
    b2: Scalar = 0.25
    eps: Scalar = 1e-8
    eps_root: Scalar = 0.0
    weight_decay: Scalar = 0.0
    mu_dtype: str | None = static(default=None)

    stacks = "mapped"

    def init(self, params: Any) -> ScaleByNovogradState:
        """The state before the first update."""
        nu = zero_count() if is_placeholder(params) else jax.tree.map(_zero, params)
        return ScaleByNovogradState(zero_count(), zeros_like(params, self.mu_dtype), nu)

    def update(
        self, updates: Any, state: ScaleByNovogradState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByNovogradState]:
        """Algorithm 1, on each leaf."""
        del extra
        check.needs_params("scale_by_novograd", updates, params)
        first = state.count == 0

        def leaf(g: jax.Array, m: jax.Array, v: jax.Array, p: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
            r = real(g.dtype)
            b1, b2, eps, eps_root, decay = (
                jnp.asarray(x, r) for x in (self.b1, self.b2, self.eps, self.eps_root, self.weight_decay)
            )
            square = jnp.sum(squared(g))
            v = jnp.where(first, square, b2 * v.astype(r) + (1 - b2) * square)
            p = jnp.asarray(p).astype(g.dtype)
            m = b1 * m.astype(g.dtype) + (g / (sqrt(v + eps_root) + eps) + decay * p)
            return m, m, v

        updates, m, v = map_blocks(lambda *xs: map_leaves(leaf, 3, *xs), 3, updates, state.mu, state.nu, params)
        return updates, ScaleByNovogradState(add_one(state.count), m, v)


def _zero(p: Any) -> jax.Array:
    dtype = jnp.result_type(p)
    return jnp.zeros((), real(dtype) if jnp.issubdtype(dtype, jnp.inexact) else F32)


@check.public
def scale_by_novograd(
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.25,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    weight_decay: Hyperparameter = 0.0,
    mu_dtype: Any = None,
) -> Transformation:
    """Replace the updates by the momentum of their directions: see `novograd`.

    For each leaf, with m_0 = 0 and v_1 = ‖g_1‖²::

      v_t = b2·v_{t−1} + (1 − b2)·‖g_t‖²
      m_t = b1·m_{t−1} + (g_t / (√(v_t + eps_root) + eps) + weight_decay·θ_{t−1}),   u_t = m_t

    Args:
      b1: momentum, in [0, 1).
      b2: decay of the mean square, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ≥ 0, inside the root.
      weight_decay: λ ≥ 0.
      mu_dtype: dtype of m; the parameters' if None.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a decay is not in [0, 1), λ or an ε is negative, or an ε vanishes in float32; in update, if there
        are no parameters.
      TypeError: if the dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_novograd(eps=0.0)
      >>> params = jnp.zeros(2)
      >>> updates, _ = tx.update(jnp.array([3.0, 4.0]), tx.init(params), params)
      >>> print(updates)
      [0.6 0.8]

    References:
      Ginsburg et al., Stochastic gradient methods with layer-wise adaptive moments for training of deep networks
      (2019), arXiv 1905.11286, algorithm 1.
    """
    check.below_one(b1=b1, b2=b2)
    check.epsilon(eps=eps, eps_root=eps_root)
    check.non_negative(weight_decay=weight_decay)
    return transformation(ScaleByNovograd(b1, b2, eps, eps_root, weight_decay, dtype_name("mu_dtype", mu_dtype)))


@check.public
def novograd(
    learning_rate: LearningRate,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.25,
    eps: Hyperparameter = 1e-6,
    eps_root: Hyperparameter = 0.0,
    weight_decay: Hyperparameter = 0.0,
    *,
    mu_dtype: Any = None,
) -> Transformation:
    """NovoGrad: one second moment for each leaf, half the memory of Adam.

    For each leaf, with g_t its gradient, η_t the learning rate, m_0 = 0 and v_1 = ‖g_1‖²::

      v_t = b2·v_{t−1} + (1 − b2)·‖g_t‖²
      m_t = b1·m_{t−1} + (g_t / (√(v_t + eps_root) + eps) + weight_decay·θ_{t−1})
      θ_t = θ_{t−1} − η_t · m_t

    The momentum sums: steady gradients give steps 1 / (1 − b1) times as long.

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number or a schedule.
      b1: momentum, in [0, 1).
      b2: decay of the mean square, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ≥ 0, inside the root.
      weight_decay: λ ≥ 0, inside the momentum.
      mu_dtype: dtype of m; the parameters' if None.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a decay is not in [0, 1), λ or an ε is negative, or an ε vanishes in float32.
      TypeError: if the dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.novograd(0.5, eps=0.0)
      >>> params = jnp.zeros(2)
      >>> updates, _ = tx.update(jnp.array([3.0, 4.0]), tx.init(params), params)
      >>> print(updates)
      [-0.3 -0.4]

    References:
      Ginsburg et al., Stochastic gradient methods with layer-wise adaptive moments for training of deep networks
      (2019), arXiv 1905.11286, algorithm 1.
    """
    rule = scale_by_novograd(b1, b2, eps, eps_root, weight_decay, mu_dtype)
    return chain(rule, scale_by_learning_rate(learning_rate))
