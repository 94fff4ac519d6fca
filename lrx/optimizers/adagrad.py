"""Adagrad: each coordinate divided by the root of its sum of squares."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import full_like_second, map_leaves, real, squared
from .._chain import chain
from .._numbers import Hyperparameter, Scalar
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, transformation
from ..controllers._controller import LearningRate
from ._dtype import dtype_name
from .learning_rate import scale_by_learning_rate


class ScaleByRssState(NamedTuple):
    """The state of Adagrad."""

    sum_of_squares: Any
    """G, shaped like the parameters, float32 or `sum_dtype`."""


@pytree_dataclass
class ScaleByRss(Rule):
    """See `scale_by_rss`."""

    initial_accumulator_value: Scalar = 0.1
    eps: Scalar = 1e-7
    sum_dtype: str | None = static(default=None)

    elementwise = True

    def init(self, params: Any) -> ScaleByRssState:
        """The state before the first update."""
        return ScaleByRssState(full_like_second(params, self.initial_accumulator_value, self.sum_dtype))

    def update(
        self, updates: Any, state: ScaleByRssState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByRssState]:
        """One step, on each leaf."""
        del params, extra

        def leaf(g: jax.Array, total: jax.Array) -> tuple[jax.Array, jax.Array]:
            eps = jnp.asarray(self.eps, real(g.dtype))
            total = total.astype(real(g.dtype)) + squared(g)
            seen = total > 0
            scale = jnp.where(seen, jax.lax.rsqrt(jnp.where(seen, total, jnp.ones_like(total)) + eps), 0)
            return g * scale, total

        updates, total = map_leaves(leaf, 2, updates, state.sum_of_squares)
        return updates, ScaleByRssState(total)


@check.public
def scale_by_rss(
    initial_accumulator_value: Hyperparameter = 0.1, eps: Hyperparameter = 1e-7, *, sum_dtype: Any = None
) -> Transformation:
    """Divide each coordinate by the root of its sum of squares so far: see `adagrad`.

    ::

      G_t = G_{t−1} + g_t²,   u_t = g_t / √(G_t + eps)   (0 where G_t = 0)

    Args:
      initial_accumulator_value: G_0 ≥ 0.
      eps: ε ≥ 0, inside the root.
      sum_dtype: dtype of G; at least float32 if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if a number is negative or `eps` vanishes in float32.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_rss(initial_accumulator_value=0.0, eps=0.0)
      >>> updates, _ = tx.update(jnp.array([4.0, 0.0, -2.0]), tx.init(jnp.zeros(3)))
      >>> print(updates)
      [ 1.  0. -1.]

    References:
      Duchi, Hazan, Singer, Adaptive subgradient methods (JMLR 12, 2011), the diagonal form.
    """
    check.non_negative(initial_accumulator_value=initial_accumulator_value)
    check.epsilon(eps=eps)
    return transformation(ScaleByRss(initial_accumulator_value, eps, dtype_name("sum_dtype", sum_dtype)))


@check.public
def adagrad(
    learning_rate: LearningRate, initial_accumulator_value: Hyperparameter = 0.1, eps: Hyperparameter = 1e-7
) -> Transformation:
    """Adagrad: the rate of each coordinate falls with the root of its sum of squared gradients.

    With g_t the gradient and η_t the learning rate::

      G_t = G_{t−1} + g_t²
      θ_t = θ_{t−1} − η_t · g_t / √(G_t + eps)

    As in optax, ε stands inside the root; torch divides by √G_t + ε.

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number or a schedule.
      initial_accumulator_value: G_0 ≥ 0.
      eps: ε ≥ 0.

    Returns:
      A transformation.

    Raises:
      ValueError: if a number is negative or `eps` vanishes in float32.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.adagrad(0.5, initial_accumulator_value=0.0, eps=0.0)
      >>> updates, _ = tx.update(jnp.array([4.0, -2.0]), tx.init(jnp.zeros(2)))
      >>> print(updates)
      [-0.5  0.5]

    References:
      Duchi, Hazan, Singer, Adaptive subgradient methods (JMLR 12, 2011).
    """
    return chain(scale_by_rss(initial_accumulator_value, eps), scale_by_learning_rate(learning_rate))
