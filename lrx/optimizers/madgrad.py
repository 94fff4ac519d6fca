"""MADGRAD: dual averaging from the start, divided by the cube root of the sum of squares."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import (
    add_one,
    copied,
    full_like_second,
    map_leaves,
    real,
    squared,
    vary_like,
    wide_zeros_like,
    zero_count,
)
from .._chain import chain
from .._numbers import F32, Hyperparameter, Scalar
from .._pytree import pytree_dataclass
from .._skipping import SkipsUnusable
from .._transformation import Transformation, transformation
from ..controllers._controller import LearningRate, as_early_rate, evaluate, first_of, start_of
from .weight_decay import add_decayed_weights


class MadgradState(NamedTuple):
    """The state of MADGRAD."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    grad_sum_sq: Any
    """G, the weighted sum of squares, shaped like the parameters, float32 or wider."""
    s: Any
    """The weighted sum of gradients, shaped like the parameters, float32 or wider."""
    x0: Any
    """The parameters at the start."""
    learning_rate: jax.Array
    """The rate last applied; float32 []."""
    skipped: jax.Array
    """Updates that were skipped, since the gradient or the rate was not finite; int32 []."""
    base: Any


@pytree_dataclass
class ScaleByMadgrad(SkipsUnusable):
    """See `scale_by_madgrad`."""

    learning_rate: Any
    momentum: Scalar = 0.9
    eps: Scalar = 1e-6

    elementwise = True

    def init(self, params: Any) -> MadgradState:
        """The state before the first update."""
        sums = full_like_second(params, 0.0), wide_zeros_like(params)
        first, base = first_of(self.learning_rate, params), start_of(self.learning_rate, params)
        return vary_like(MadgradState(zero_count(), *sums, copied(params), first, zero_count(), base), params)

    def step(
        self, updates: Any, state: MadgradState, params: Any = None, **extra: Any
    ) -> tuple[Any, MadgradState, jax.Array]:
        """Algorithm 1, on each leaf."""
        check.needs_params("scale_by_madgrad", updates, params)
        signals = {"grad": updates, **extra}
        rate = evaluate(self, self.learning_rate, state.base, updates, state.count, params, signals)
        t = state.count.astype(F32) + 1

        def leaf(g: jax.Array, total: Any, s: Any, x0: Any, x: Any) -> tuple[jax.Array, ...]:
            r = real(g.dtype)
            eps, momentum = jnp.asarray(self.eps, r), jnp.asarray(self.momentum, r)
            weight = (rate.rate.astype(r) + eps) * jnp.sqrt(t.astype(r))
            total, s = total.astype(r) + weight * squared(g), s.astype(g.dtype) + weight * g
            sigma = _cube_root(total) + eps
            x0, x = jnp.asarray(x0).astype(g.dtype), jnp.asarray(x).astype(g.dtype)
            z = (x0 - x) - s / jnp.where(sigma > 0, sigma, jnp.ones_like(sigma))
            return (1 - momentum) * z, total, s

        updates, total, s = map_leaves(leaf, 3, updates, state.grad_sum_sq, state.s, state.x0, params)
        applied = rate.rate.astype(F32)
        new = MadgradState(add_one(state.count), total, s, state.x0, applied, state.skipped, rate.memory)
        return updates, new, rate.failed | rate.unmeasured


def _cube_root(x: jax.Array) -> jax.Array:
    """∛x, with derivative 0 at 0."""
    return jnp.where(x > 0, jnp.cbrt(jnp.where(x > 0, x, jnp.ones_like(x))), jnp.zeros_like(x))


@check.public
def scale_by_madgrad(
    learning_rate: LearningRate, momentum: Hyperparameter = 0.9, eps: Hyperparameter = 1e-6
) -> Transformation:
    """Step towards a point of dual averaging: see `madgrad`, of which this is all but the weight decay.

    Args:
      learning_rate: η, a number, a schedule, or a controller that does without the direction.
      momentum: c in [0, 1).
      eps: ε ≥ 0.

    Returns:
      A transformation, whose update needs the parameters. It is a whole optimizer: its updates are to be applied.

    Raises:
      ValueError: if a number is out of its range, or the controller needs the direction; in update, if there are no
        parameters.
      TypeError: if `learning_rate` is no rate.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> params = jnp.array([8.0, -8.0])
      >>> tx = lrx.scale_by_madgrad(1.0, momentum=0.0, eps=0.0)
      >>> updates, _ = tx.update(params, tx.init(params), params)  # g / ∛g²
      >>> print(updates)
      [-2.  2.]

    References:
      Defazio, Jelassi, Adaptivity without compromise: a momentumized, adaptive, dual averaged gradient method for
      stochastic optimization (JMLR 2022), arXiv 2101.11075, algorithm 1.
    """
    check.below_one(momentum=momentum)
    check.epsilon(eps=eps)
    return transformation(ScaleByMadgrad(as_early_rate("learning_rate", learning_rate), momentum, eps))


@check.public
def madgrad(
    learning_rate: LearningRate,
    momentum: Hyperparameter = 0.9,
    weight_decay: Hyperparameter = 0.0,
    eps: Hyperparameter = 1e-6,
) -> Transformation:
    """MADGRAD: adaptive dual averaging with momentum.

    With g_t the gradient, η_t the learning rate, θ_0 the parameters at the start and everything else 0 there::

      g_t ← g_t + weight_decay · θ_{t−1}
      λ_t = (η_t + eps) · √t
      s_t = s_{t−1} + λ_t · g_t,   G_t = G_{t−1} + λ_t · g_t²
      z_t = θ_0 − s_t / (∛G_t + eps)
      θ_t = momentum · θ_{t−1} + (1 − momentum) · z_t

    `lrx.learning_rate(state)` is η_t. As in the authors' code, `eps` is added to it: a rate of 0 does not stop. A
    gradient that is not finite moves nothing, and is counted in the state as `skipped`.

    Args:
      learning_rate: η, a number, a schedule, or a controller that does without the direction.
      momentum: in [0, 1).
      weight_decay: ≥ 0, added to the gradient. The method adapts to it: a tenth of that of SGD, or 0, is usual.
      eps: ≥ 0.

    Returns:
      A transformation, whose update needs the parameters. It keeps three words per parameter.

    Raises:
      ValueError: if a number is out of its range, or the controller needs the direction; in update, if there are no
        parameters.
      TypeError: if `learning_rate` is no rate.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> loss = lambda x: jnp.sum(x**2)
      >>> params = jnp.array([1.0, 2.0, 3.0])
      >>> tx = lrx.madgrad(0.5)
      >>> state = tx.init(params)
      >>> for _ in range(60):
      ...   updates, state = tx.update(jax.grad(loss)(params), state, params)
      ...   params = lrx.apply_updates(params, updates)
      >>> print(loss(params) < 0.05)
      True

    References:
      Defazio, Jelassi, Adaptivity without compromise: a momentumized, adaptive, dual averaged gradient method for
      stochastic optimization (JMLR 2022), arXiv 2101.11075, algorithm 1.
    """
    return chain(add_decayed_weights(weight_decay), scale_by_madgrad(learning_rate, momentum, eps))
