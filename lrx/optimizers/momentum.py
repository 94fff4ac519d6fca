"""Momentum: a decaying sum of past updates."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import map_leaves, real, zeros_like
from .._numbers import Hyperparameter, Scalar
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, transformation
from ._dtype import dtype_name


class TraceState(NamedTuple):
    """The state of momentum."""

    trace: Any
    """m, shaped like the parameters, in their dtype or in `accumulator_dtype`."""


@pytree_dataclass
class Trace(Rule):
    """See `trace`."""

    decay: Scalar
    nesterov: bool = static(default=False)
    accumulator_dtype: str | None = static(default=None)

    key = "momentum"
    elementwise = True

    def init(self, params: Any) -> TraceState:
        """The state before the first update."""
        return TraceState(zeros_like(params, self.accumulator_dtype))

    def update(self, updates: Any, state: TraceState, params: Any = None, **extra: Any) -> tuple[Any, TraceState]:
        """One step, on each leaf."""
        del params, extra

        def leaf(g: jax.Array, m: jax.Array) -> tuple[jax.Array, jax.Array]:
            decay = jnp.asarray(self.decay, real(g.dtype))
            m = g + decay * m.astype(g.dtype)
            return (g + decay * m if self.nesterov else m), m

        updates, m = map_leaves(leaf, 2, updates, state.trace)
        return updates, TraceState(m)


@check.public
def trace(decay: Hyperparameter, nesterov: bool = False, accumulator_dtype: Any = None) -> Transformation:
    """Replace the updates by a decaying sum of past ones (momentum).

    With g_t the update coming in and m_0 = 0::

      m_t = g_t + decay · m_{t−1}
      u_t = m_t                     or, with Nesterov,   u_t = g_t + decay · m_t

    This is the "sum" convention of optax and torch: a steady gradient ends up 1 / (1 − decay) times as large.

    Args:
      decay: in [0, 1).
      nesterov: whether to look one step ahead.
      accumulator_dtype: dtype of m; the parameters' if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if `decay` is not in [0, 1).

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.trace(0.5)
      >>> state = tx.init(jnp.zeros(1))
      >>> for _ in range(3):
      ...   updates, state = tx.update(jnp.ones(1), state)
      ...   print(updates)
      [1.]
      [1.5]
      [1.75]

    References:
      Sutskever et al., On the importance of initialization and momentum in deep learning (ICML 2013), equations 1–4.
    """
    check.below_one(decay=decay)
    return transformation(Trace(decay, nesterov, dtype_name("accumulator_dtype", accumulator_dtype)))
