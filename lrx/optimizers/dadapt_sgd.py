"""SGD that estimates its rate by D-Adaptation."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import (
    global_norm,
    inner_product,
    map_leaves,
    real,
)
from .._numbers import Hyperparameter, Scalar
from .._pytree import pytree_dataclass
from .._transformation import Transformation, transformation
from ..controllers._controller import LearningRate
from ._dadapt import Dadapt, DadaptState, checked, larger


@pytree_dataclass
class DadaptSgd(Dadapt):
    """See `dadapt_sgd`."""

    learning_rate: Any
    momentum: Scalar = 0.0
    estim_lr0: Scalar = 1e-6
    weight_decay: Scalar = 0.0
    growth_rate: Scalar = float("inf")

    def _step(self, g: Any, state: DadaptState, rate: jax.Array) -> tuple[jax.Array, Any, DadaptState]:
        dtype = state.estim_lr.dtype
        norm = jnp.where(state.first_norm > 0, state.first_norm, global_norm(g).astype(dtype))  # type: ignore[operator]  # SGD has one
        rate = jnp.where(norm > 0, rate / jnp.where(norm > 0, norm, 1), 0)
        r = state.numerator_weighted + rate * inner_product(g, state.grad_sum).astype(dtype)

        def leaf(g: jax.Array, s: Any, m: Any) -> tuple[jax.Array, ...]:
            step = rate.astype(real(g.dtype)) * g
            ahead = m.astype(g.dtype) - step
            momentum = jnp.asarray(self.momentum, real(g.dtype))
            return (1 - momentum) * ahead, s.astype(g.dtype) + step, momentum * ahead

        moved, s, m = map_leaves(leaf, 3, g, state.grad_sum, state.exp_avg)
        d = larger(state.estim_lr, 2 * r, global_norm(s).astype(dtype), self.growth_rate)
        return rate, moved, state._replace(estim_lr=d, numerator_weighted=r, first_norm=norm, grad_sum=s, exp_avg=m)

    def _squares(self, params: Any) -> Any:
        return None

    def _first_norm(self, dtype: Any) -> jax.Array:
        return jnp.zeros((), dtype)


@check.public
def dadapt_sgd(
    learning_rate: LearningRate = 1.0,
    momentum: Hyperparameter = 0.0,
    estim_lr0: Hyperparameter = 1e-6,
    weight_decay: Hyperparameter = 0.0,
    *,
    growth_rate: Hyperparameter = float("inf"),
) -> Transformation:
    """SGD that finds its rate by D-Adaptation: `learning_rate` is a factor of that, normally 1.

    With g_t the gradient, γ_t = `learning_rate` (1, or a schedule that starts there), β = `momentum`
    and d = `estim_lr0` at the start::

      λ = γ_t · d / ‖g_0‖
      r = r + λ · ⟨g_t, s⟩,   s ← s + λ · g_t,   z ← z − λ · g_t
      d ← max(d, min(2·r / ‖s‖, growth_rate · d))
      θ ← β·θ + (1 − β)·z,   and both θ and z less λ · weight_decay · θ

    `lrx.learning_rate(state)` is λ. A gradient that is not finite moves nothing, and is counted in the state as
    `skipped`; ‖g_0‖ is that of the first gradient that is not 0.

    Args:
      learning_rate: γ, a factor and no rate (1e-3 is an error): a number, a schedule, or a controller that does without
        the direction.
      momentum: β in [0, 1).
      estim_lr0: d_0 > 0, well below the distance.
      weight_decay: λ ≥ 0, decoupled (in the authors' package it is added to the gradient).
      growth_rate: by what factor d may grow in an update, > 1.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a number is out of its range, or the controller needs the direction; in update, if there are no
        parameters.
      TypeError: if `learning_rate` is no rate.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.dadapt_sgd(estim_lr0=0.5)
      >>> params = jnp.array([3.0, 4.0])
      >>> updates, state = tx.update(params, tx.init(params), params)
      >>> print(updates)
      [-0.3 -0.4]

    References:
      Defazio, Mishchenko, Learning-rate-free learning by D-Adaptation (ICML 2023), arXiv 2301.07733, in the
      form of version 3 of the authors' package.
    """
    check.below_one(momentum=momentum)
    base = checked(learning_rate, estim_lr0, weight_decay, growth_rate)
    return transformation(DadaptSgd(base, momentum, estim_lr0, weight_decay, growth_rate))
