"""Fromage: steps relative to the size of each leaf, on weights that do not grow by them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import map_leaves, real, widened
from .._chain import chain
from .._numbers import F32, Hyperparameter
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, transformation
from ..controllers._controller import LearningRate, as_one_rate
from ..state import learning_rate as rate_of
from .learning_rate import scale_by_learning_rate
from .trust_ratio import scale_by_trust_ratio


class ShrinkByRateState(NamedTuple):
    """The state of a step that shrinks what it moves."""

    inner: Any
    """The state of the learning rate."""


@pytree_dataclass
class ShrinkByRate(Rule):
    """A step of the learning rate, after which the parameters are divided by √(1 + η²): see `fromage`."""

    inner: Any = static()

    renamed = (("inner", "learning_rate"),)
    elementwise = True

    def init(self, params: Any) -> ShrinkByRateState:
        """The state before the first update."""
        return ShrinkByRateState(self.inner.init(params))

    def update(
        self, updates: Any, state: ShrinkByRateState, params: Any = None, **extra: Any
    ) -> tuple[Any, ShrinkByRateState]:
        """`(θ − η·u) / √(1 + η²) − θ`, on each leaf."""
        check.needs_params("fromage", updates, params)
        moved, inner = self.inner.update(widened(updates), state.inner, params, **extra)
        rate = jnp.asarray(rate_of(inner), F32)
        root = jnp.sqrt(1 + rate**2)
        keep, lose = 1 / root, rate**2 / (root * (1 + root))  # 1 − 1/√(1 + η²), without cancellation

        def leaf(u: jax.Array, step: jax.Array, p: Any) -> tuple[jax.Array]:
            r = real(u.dtype)
            return (keep.astype(r) * step - lose.astype(r) * jnp.asarray(p).astype(u.dtype),)

        return map_leaves(leaf, 1, updates, moved, params)[0], ShrinkByRateState(inner)


@check.public
def fromage(learning_rate: LearningRate, min_norm: Hyperparameter = 1e-6) -> Transformation:
    """Fromage: each leaf moves by a fraction of its own norm, and is kept from growing by that.

    With g the gradient of a leaf, η_t the learning rate and ‖·‖ the Euclidean norm of a leaf, or `min_norm` if that is
    larger::

      θ_t = (θ_{t−1} − η_t · g · ‖θ_{t−1}‖ / ‖g‖) / √(1 + η_t²)

    Args:
      learning_rate: η, the fraction: a number, a schedule or a controller. The authors use 0.01.
      min_norm: ≥ 0, the smallest norm that a leaf or its gradient is taken to have.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a number is out of its range or the rate is one for each leaf; in update, if there are no
        parameters.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.fromage(0.75)
      >>> params = jnp.array([4.0, 0.0])
      >>> updates, _ = tx.update(jnp.array([0.0, 5.0]), tx.init(params), params)
      >>> print(params + updates)  # (4, −3) / 1.25
      [ 3.2 -2.4]

    References:
      Bernstein, Vahdat, Yue, Liu, On the distance between two neural networks and the stability of learning (NeurIPS
      2020), arXiv 2002.03432, algorithm 1.
    """
    as_one_rate("learning_rate", learning_rate)
    check.non_negative(min_norm=min_norm)
    step = transformation(ShrinkByRate(scale_by_learning_rate(learning_rate)))
    return chain(scale_by_trust_ratio(min_norm), step)
