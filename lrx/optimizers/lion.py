"""Lion: the sign of an interpolation between the momentum and the gradient."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import add_one, map_leaves, real, zero_count, zeros_like
from .._chain import chain
from .._numbers import Hyperparameter, Scalar
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, transformation
from ..controllers._controller import LearningRate
from ._dtype import dtype_name
from .learning_rate import scale_by_learning_rate
from .weight_decay import add_decayed_weights

Mode = Literal["hard", "smooth", "refined"]


class ScaleByLionState(NamedTuple):
    """The state of Lion."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    mu: Any
    """m, shaped like the parameters, in their dtype or in `mu_dtype`."""


@pytree_dataclass
class ScaleByLion(Rule):
    """See `scale_by_lion`."""

    b1: Scalar = 0.9
    b2: Scalar = 0.99
    mu_dtype: str | None = static(default=None)
    mode: str = static(default="hard")
    smooth_beta: Scalar | None = None
    """Used only in the mode "smooth"; None in the others."""

    elementwise = True

    def init(self, params: Any) -> ScaleByLionState:
        """The state before the first update."""
        return ScaleByLionState(zero_count(), zeros_like(params, self.mu_dtype))

    def update(
        self, updates: Any, state: ScaleByLionState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByLionState]:
        """Algorithm 2, on each leaf."""
        del params, extra

        def leaf(g: jax.Array, m: jax.Array) -> tuple[jax.Array, jax.Array]:
            r = real(g.dtype)
            b1, b2 = jnp.asarray(self.b1, r), jnp.asarray(self.b2, r)
            m = m.astype(g.dtype)
            c = b1 * m + (1 - b1) * g
            if self.mode == "hard":
                u = jnp.sign(c)
            elif self.mode == "smooth":
                u = jnp.tanh(jnp.asarray(self.smooth_beta, r) * c)
            else:
                u = jnp.where(jnp.abs(c) < 1, c, jnp.sign(c))
            return u, b2 * m + (1 - b2) * g

        updates, m = map_leaves(leaf, 2, updates, state.mu)
        return updates, ScaleByLionState(add_one(state.count), m)


@check.public
def scale_by_lion(
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.99,
    mu_dtype: Any = None,
    *,
    mode: Mode = "hard",
    smooth_beta: Hyperparameter = 1.0,
) -> Transformation:
    """Replace the updates by the sign of their mean: see `lion`.

    ::

      c_t = b1·m_{t−1} + (1 − b1)·g_t
      u_t = sign(c_t)                      `mode="hard"`
            tanh(smooth_beta · c_t)        `mode="smooth"`
            c_t if |c_t| < 1 else sign(c_t)  `mode="refined"`
      m_t = b2·m_{t−1} + (1 − b2)·g_t

    Args:
      b1: weight of m in the update, in [0, 1).
      b2: decay of m, in [0, 1).
      mu_dtype: dtype of m; the parameters' if None.
      mode: "hard", the paper's; "smooth" and "refined" are continuous where c_t passes 0.
      smooth_beta: > 0, the slope at 0 in the mode "smooth"; not used in the others.

    Returns:
      A transformation.

    Raises:
      ValueError: if a decay is not in [0, 1), the mode is unknown, or `smooth_beta` is not positive.
      TypeError: if the dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_lion(b1=0.5, mode="refined")
      >>> updates, _ = tx.update(jnp.array([8.0, -0.5]), tx.init(jnp.zeros(2)))
      >>> print(updates)
      [ 1.   -0.25]

    References:
      Chen et al., Symbolic discovery of optimization algorithms (NeurIPS 2023), arXiv 2302.06675, algorithm 2.
    """
    check.below_one(b1=b1, b2=b2)
    check.positive(smooth_beta=smooth_beta)
    check.one_of(Mode, mode=mode)
    smooth = smooth_beta if mode == "smooth" else None
    return transformation(ScaleByLion(b1, b2, dtype_name("mu_dtype", mu_dtype), mode, smooth))


@check.public
def lion(
    learning_rate: LearningRate,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.99,
    mu_dtype: Any = None,
    weight_decay: Hyperparameter = 1e-3,
    mask: Any = None,
) -> Transformation:
    """Lion: steps of exactly the learning rate in every coordinate, and one moment instead of Adam's two.

    With g_t the gradient, η_t the learning rate and m_0 = 0::

      c_t = b1·m_{t−1} + (1 − b1)·g_t
      θ_t = θ_{t−1} − η_t · (sign(c_t) + weight_decay · θ_{t−1})
      m_t = b2·m_{t−1} + (1 − b2)·g_t

    The authors advise a rate 3 to 10 times smaller than AdamW's, and a weight decay larger by the same factor.

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number or a schedule.
      b1: weight of m in the update, in [0, 1).
      b2: decay of m, in [0, 1).
      mu_dtype: dtype of m; the parameters' if None.
      weight_decay: λ ≥ 0; it is multiplied by the learning rate.
      mask: a tree of bools like the parameters, or a function from parameters to one: decay where True.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a decay is not in [0, 1), or λ is negative.
      TypeError: if `mask` is not a mask, or the dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.lion(0.25, weight_decay=0.5)
      >>> params = jnp.array([0.0, 4.0])
      >>> updates, _ = tx.update(jnp.array([3.0, -0.1]), tx.init(params), params)
      >>> print(updates)
      [-0.25 -0.25]

    References:
      Chen et al., Symbolic discovery of optimization algorithms (NeurIPS 2023), arXiv 2302.06675, algorithm 2.
    """
    rule = scale_by_lion(b1, b2, mu_dtype)
    return chain(rule, add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))
