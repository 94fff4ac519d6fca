"""COCOB: coin-betting step sizes, one for each coordinate."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import full_like_second, map_leaves, real, select, vary_like, wide_zeros_like, zero_count
from .._chain import chain
from .._numbers import F32, Hyperparameter, Scalar
from .._pytree import pytree_dataclass, static
from .._skipping import SkipsUnusable
from .._transformation import Transformation, transformation
from ..controllers._controller import LearningRate
from .learning_rate import scale_by_learning_rate
from .weight_decay import add_decayed_weights


class ScaleByCocobState(NamedTuple):
    """The state of COCOB. The bet follows from it, without the initial parameters (`init_particles` in optax)."""

    cumulative_gradients: Any
    """C, minus the sum of the gradients, shaped like the parameters, float32 or wider, as the next three."""
    scale: Any
    """L, the greatest |g| so far."""
    subgradients: Any
    """G, the sum of |g|."""
    reward: Any
    """R, the reward so far."""
    last_alpha: jax.Array
    """α of the last bet, to compute that bet again after α has changed; float32 []."""
    skipped: jax.Array
    """Updates that were skipped, since the gradient was not finite; int32 []."""


@pytree_dataclass
class ScaleByCocob(SkipsUnusable):
    """See `scale_by_cocob`."""

    alpha: Scalar = 100.0
    eps: Scalar = 1e-8
    flip_sign: bool = static(default=False)

    elementwise = True

    def init(self, params: Any) -> ScaleByCocobState:
        """The state before the first update."""
        # separate zeros for each: two memories in one buffer could not be donated
        scale, total, reward = (full_like_second(params, fill) for fill in (self.eps, 0.0, 0.0))
        alpha, skipped = vary_like((jnp.array(self.alpha, F32), zero_count()), params)
        return ScaleByCocobState(wide_zeros_like(params), scale, total, reward, alpha, skipped)

    def step(
        self, updates: Any, state: ScaleByCocobState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByCocobState, jax.Array]:
        """The change of the bet, on each leaf."""
        del params, extra

        def leaf(g: jax.Array, c: Any, scale: Any, total: Any, reward: Any) -> tuple[jax.Array, ...]:
            c, kind = c.astype(g.dtype), real(g.dtype)
            scale, total, reward = scale.astype(kind), total.astype(kind), reward.astype(kind)

            def bet(c: jax.Array, scale: jax.Array, total: jax.Array, reward: jax.Array, alpha: Any) -> jax.Array:
                alpha = jnp.asarray(alpha, kind)
                return c / (scale * jnp.maximum(total + scale, alpha * scale)) * (scale + reward)

            old = bet(c, scale, total, reward, state.last_alpha)
            size = jnp.abs(g)
            new_scale, new_total = jnp.maximum(scale, size), total + size
            new_reward = jnp.maximum(reward - jnp.real(jnp.conj(g) * old), 0)
            new = bet(c - g, new_scale, new_total, new_reward, self.alpha)
            # where a reward overflows, the coordinate does not move
            return select(
                jnp.isfinite(new),
                (old - new if self.flip_sign else new - old, c - g, new_scale, new_total, new_reward),
                (jnp.zeros_like(g), c, scale, total, reward),
            )

        updates, *memory = map_leaves(leaf, 5, updates, *state[:4])
        new = ScaleByCocobState(*memory, last_alpha=jnp.array(self.alpha, F32), skipped=state.skipped)
        return updates, new, jnp.zeros((), bool)


@check.public
def scale_by_cocob(
    alpha: Hyperparameter = 100.0, eps: Hyperparameter = 1e-8, *, flip_sign: bool = False
) -> Transformation:
    """Replace the gradient by the change of a coordinate's bet: see `cocob`.

    With b_t the bet, whose formula is there::

      u_t = b_t − b_{t−1}

    Added to the parameters as they are, these updates are those of `cocob`. An update whose gradient is not finite is
    skipped, and counted in the state as `skipped`.

    Args:
      alpha: keeps the first bets small, > 0.
      eps: L_0 > 0.
      flip_sign: whether to give b_{t−1} − b_t, for `scale_by_learning_rate` after it.

    Returns:
      A transformation. It keeps four words per parameter.

    Raises:
      ValueError: if a number is not positive.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_cocob(alpha=4.0)
      >>> updates, _ = tx.update(jnp.array([2.0]), tx.init(jnp.ones(1)))
      >>> print(updates)  # C = −2, L = G = 2, R = 0: −2 / (2 · 8) · 2
      [-0.25]

    References:
      Orabona, Tommasi, Training deep networks without learning rates through coin betting (NeurIPS 2017),
      arXiv 1705.07795, algorithm 2.
    """
    check.positive(alpha=alpha, eps=eps)
    return transformation(ScaleByCocob(alpha, eps, flip_sign))


@check.public
def cocob(
    learning_rate: LearningRate = 1.0,
    alpha: Hyperparameter = 100.0,
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
    mask: Any = None,
) -> Transformation:
    """COCOB-Backprop: stochastic optimization by coin betting, without a rate to choose.

    For each coordinate, with g_t the gradient and everything 0 at the start but L_0 = `eps`::

      L_t = max(L_{t−1}, |g_t|),   G_t = G_{t−1} + |g_t|
      R_t = max(R_{t−1} − g_t · b_{t−1}, 0),   C_t = C_{t−1} − g_t
      b_t = C_t / (L_t · max(G_t + L_t, alpha · L_t)) · (L_t + R_t)
      θ_t = θ_{t−1} + η_t · (b_t − b_{t−1} − weight_decay · θ_{t−1})

    With η = 1 and without decay θ_t = θ_0 + b_t, as in the paper. A schedule scales the changes of the bet. It should
    start at 1; if it falls to 0, the last parameters are as good as an average. (In optax the rate scales the gradient,
    which does not change the bets.) An update whose gradient is not finite is skipped, and counted in the state as
    `skipped`.

    Args:
      learning_rate: η, a factor around 1: a number, a schedule or a controller.
      alpha: keeps the first bets small, > 0.
      eps: L_0 > 0.
      weight_decay: λ ≥ 0, decoupled.
      mask: a tree of bools like the parameters, or a function from parameters to one: decay where True. None decays
        all.

    Returns:
      A transformation. It keeps four words per parameter.

    Raises:
      ValueError: if a number is out of its range.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.cocob(alpha=4.0)
      >>> params = jnp.array([1.0])
      >>> updates, state = tx.update(jnp.array([2.0]), tx.init(params), params)
      >>> print(updates)  # C = −2, L = G = 2, R = 0: −2 / (2 · 8) · 2
      [-0.25]

    References:
      Orabona, Tommasi, Training deep networks without learning rates through coin betting (NeurIPS 2017),
      arXiv 1705.07795, algorithm 2; that changes may be scaled so: Defazio, Cutkosky, Mehta, Mishchenko, Optimal linear
      decay learning rate schedules and further refinements (2023), arXiv 2310.07831.
    """
    check.positive(alpha=alpha, eps=eps)
    return chain(
        transformation(ScaleByCocob(alpha, eps, flip_sign=True)),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
