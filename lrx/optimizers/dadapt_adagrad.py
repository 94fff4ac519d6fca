"""AdaGrad that estimates its rate by D-Adaptation."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import (
    absolute_sum,
    full_like_second,
    inner_product,
    map_leaves,
    real,
    sqrt,
    squared,
    widened,
)
from .._numbers import Hyperparameter, Scalar
from .._pytree import pytree_dataclass
from .._transformation import Transformation, transformation
from ..controllers._controller import LearningRate
from ._dadapt import Dadapt, DadaptState, checked, larger


@pytree_dataclass
class DadaptAdagrad(Dadapt):
    """See `dadapt_adagrad`."""

    learning_rate: Any
    momentum: Scalar = 0.0
    eps: Scalar = 1e-6
    estim_lr0: Scalar = 1e-6
    weight_decay: Scalar = 0.0
    growth_rate: Scalar = float("inf")
    initial_accumulator_value: Scalar = 1e-6

    def _step(self, g: Any, state: DadaptState, rate: jax.Array) -> tuple[jax.Array, Any, DadaptState]:
        dtype = state.estim_lr.dtype

        def root(v: jax.Array) -> jax.Array:
            return sqrt(v) + jnp.asarray(self.eps, v.dtype)

        def leaf(g: jax.Array, s: Any, m: Any, v: Any) -> tuple[jax.Array, ...]:
            kind = real(g.dtype)
            s, v = s.astype(g.dtype), v.astype(kind)
            new_s, new_v = s + rate.astype(kind) * g, v + squared(g)
            ahead = m.astype(g.dtype) + s / root(v) - new_s / root(new_v)
            momentum = jnp.asarray(self.momentum, kind)
            return (1 - momentum) * ahead, new_s, momentum * ahead, new_v

        moved, s, m, v = map_leaves(leaf, 4, g, state.grad_sum, state.exp_avg, state.exp_avg_sq)
        weighted = map_leaves(lambda s, v: (s / root(v.astype(real(s.dtype))),), 1, s, v)[0]
        norms = map_leaves(lambda g, v: (g / root(v.astype(real(g.dtype))),), 1, widened(g), v)[0]
        r = state.numerator_weighted + rate**2 * inner_product(g, norms).astype(dtype)
        gap = inner_product(s, weighted).astype(dtype) - r
        d = larger(state.estim_lr, gap, absolute_sum(s).astype(dtype), self.growth_rate)
        return rate, moved, state._replace(estim_lr=d, numerator_weighted=r, grad_sum=s, exp_avg=m, exp_avg_sq=v)

    def _squares(self, params: Any) -> Any:
        return full_like_second(params, self.initial_accumulator_value)


@check.public
def dadapt_adagrad(
    learning_rate: LearningRate = 1.0,
    momentum: Hyperparameter = 0.0,
    eps: Hyperparameter = 1e-6,
    estim_lr0: Hyperparameter = 1e-6,
    weight_decay: Hyperparameter = 0.0,
    *,
    growth_rate: Hyperparameter = float("inf"),
    initial_accumulator_value: Hyperparameter = 1e-6,
) -> Transformation:
    """AdaGrad that finds its rate by D-Adaptation: `learning_rate` is a factor of that, normally 1.

    With g_t the gradient, γ_t = `learning_rate` (1, or a schedule that starts there), β = `momentum`,
    d = `estim_lr0` and v = `initial_accumulator_value` at the start::

      λ = γ_t · d,   v ← v + g_t²,   D = √v + eps
      s ← s + λ · g_t,   r ← r + λ² · ⟨g_t, g_t/D⟩
      d ← max(d, min((⟨s, s/D⟩ − r) / ‖s‖₁, growth_rate · d))
      z ← z − the change of s/D,   θ ← β·θ + (1 − β)·z,   and both θ and z less λ · weight_decay · θ

    `lrx.learning_rate(state)` is λ. A gradient that is not finite moves nothing, and is counted in the state as
    `skipped`.

    Args:
      learning_rate: γ, a factor and no rate (1e-3 is an error): a number, a schedule, or a controller that does without
        the direction.
      momentum: β in [0, 1).
      eps: ≥ 0.
      estim_lr0: d_0 > 0, well below the distance.
      weight_decay: λ ≥ 0, decoupled (in the authors' package it is added to the gradient).
      growth_rate: by what factor d may grow in an update, > 1.
      initial_accumulator_value: > 0.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a number is out of its range, or the controller needs the direction; in update, if there are no
        parameters.
      TypeError: if `learning_rate` is no rate.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.dadapt_adagrad(estim_lr0=0.5)
      >>> params = jnp.array([3.0, 4.0])
      >>> updates, state = tx.update(params, tx.init(params), params)
      >>> print(updates.round(3))
      [-0.5 -0.5]

    References:
      Defazio, Mishchenko, Learning-rate-free learning by D-Adaptation (ICML 2023), arXiv 2301.07733, in the
      form of version 3 of the authors' package.
    """
    check.below_one(momentum=momentum)
    check.epsilon(eps=eps)
    check.positive(initial_accumulator_value=initial_accumulator_value)
    base = checked(learning_rate, estim_lr0, weight_decay, growth_rate)
    numbers = momentum, eps, estim_lr0, weight_decay, growth_rate, initial_accumulator_value
    return transformation(DadaptAdagrad(base, *numbers))
