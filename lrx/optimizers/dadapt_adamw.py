"""AdamW that estimates its rate by D-Adaptation."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import (
    absolute_sum,
    add_one,
    inner_product,
    map_leaves,
    one_minus_power,
    real,
    sqrt,
    squared,
)
from .._numbers import Hyperparameter, Scalar
from .._pytree import pytree_dataclass
from .._transformation import Transformation, transformation
from ..controllers._controller import LearningRate
from ._dadapt import Dadapt, DadaptState, checked, larger


@pytree_dataclass
class DadaptAdamw(Dadapt):
    """See `dadapt_adamw`."""

    learning_rate: Any
    b1: Scalar = 0.9
    b2: Scalar = 0.999
    eps: Scalar = 1e-8
    estim_lr0: Scalar = 1e-6
    weight_decay: Scalar = 0.0
    growth_rate: Scalar = float("inf")

    def _step(self, g: Any, state: DadaptState, rate: jax.Array) -> tuple[jax.Array, Any, DadaptState]:
        dtype, t = state.estim_lr.dtype, add_one(state.seen)
        rate = rate * (sqrt(one_minus_power(self.b2, t)) / one_minus_power(self.b1, t)).astype(dtype)
        b3 = sqrt(jnp.asarray(self.b2, dtype))

        def over_root(s: jax.Array, v: jax.Array) -> jax.Array:
            root = sqrt(v) + jnp.asarray(self.eps, v.dtype)
            return jnp.where(root > 0, s / jnp.where(root > 0, root, 1), jnp.zeros_like(s))

        weighted = map_leaves(
            lambda s, v: (over_root(s, v.astype(real(s.dtype))),), 1, state.grad_sum, state.exp_avg_sq
        )[0]
        r = b3 * state.numerator_weighted + (1 - b3) * rate * inner_product(g, weighted).astype(dtype)

        def leaf(g: jax.Array, s: Any, m: Any, v: Any) -> tuple[jax.Array, ...]:
            kind = real(g.dtype)
            b1, b2, c = jnp.asarray(self.b1, kind), jnp.asarray(self.b2, kind), b3.astype(kind)
            step = rate.astype(kind) * g
            m = b1 * m.astype(g.dtype) + (1 - b1) * step
            v = b2 * v.astype(kind) + (1 - b2) * squared(g)
            return -over_root(m, v), c * s.astype(g.dtype) + (1 - c) * step, m, v

        moved, s, m, v = map_leaves(leaf, 4, g, state.grad_sum, state.exp_avg, state.exp_avg_sq)
        d = larger(state.estim_lr, r, (1 - b3) * absolute_sum(s).astype(dtype), self.growth_rate)
        return rate, moved, state._replace(estim_lr=d, numerator_weighted=r, grad_sum=s, exp_avg=m, exp_avg_sq=v)

    def _shown(self, rate: jax.Array, base: jax.Array, d: jax.Array) -> jax.Array:
        return base.astype(d.dtype) * d  # the corrections are Adam's


@check.public
def dadapt_adamw(
    learning_rate: LearningRate = 1.0,
    betas: tuple[Hyperparameter, Hyperparameter] = (0.9, 0.999),
    eps: Hyperparameter = 1e-8,
    estim_lr0: Hyperparameter = 1e-6,
    weight_decay: Hyperparameter = 0.0,
    *,
    growth_rate: Hyperparameter = float("inf"),
) -> Transformation:
    """AdamW that finds its rate by D-Adaptation: `learning_rate` is a factor of that, normally 1.

    With g_t the gradient, γ_t = `learning_rate` (1, or a schedule that starts there), β3 = √β2 and
    d = `estim_lr0` at the start::

      λ = γ_t · d · √(1 − β2^t) / (1 − β1^t)
      r ← β3·r + (1 − β3)·λ·⟨g_t, s / (√v + eps)⟩,   s ← β3·s + (1 − β3)·λ·g_t
      m ← β1·m + (1 − β1)·λ·g_t,   v ← β2·v + (1 − β2)·g_t²
      θ ← θ − m / (√v + eps) − λ · weight_decay · θ
      d ← max(d, min(r / ((1 − β3)·‖s‖₁), growth_rate · d))

    `lrx.learning_rate(state)` is γ_t·d. A gradient that is not finite moves nothing, and is counted in the state as
    `skipped`; one that is 0 from the start is no harm.

    Args:
      learning_rate: γ, a factor and no rate (1e-3 is an error): a number, a schedule, or a controller that does without
        the direction.
      betas: β1 and β2, in [0, 1).
      eps: ≥ 0.
      estim_lr0: d_0 > 0, well below the distance.
      weight_decay: λ ≥ 0, decoupled.
      growth_rate: by what factor d may grow in an update, > 1.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a number is out of its range, or the controller needs the direction; in update, if there are no
        parameters.
      TypeError: if `learning_rate` is no rate.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.dadapt_adamw(estim_lr0=0.5)
      >>> params = jnp.array([3.0, 4.0])
      >>> updates, state = tx.update(params, tx.init(params), params)
      >>> print(lrx.learning_rate(state))
      0.5

    References:
      Defazio, Mishchenko, Learning-rate-free learning by D-Adaptation (ICML 2023), arXiv 2301.07733, in the
      form of version 3 of the authors' package.
    """
    b1, b2 = betas
    check.below_one(betas=b1)
    check.below_one(betas=b2)
    check.epsilon(eps=eps)
    base = checked(learning_rate, estim_lr0, weight_decay, growth_rate)
    return transformation(DadaptAdamw(base, b1, b2, eps, estim_lr0, weight_decay, growth_rate))
