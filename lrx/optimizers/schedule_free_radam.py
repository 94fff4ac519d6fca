"""Schedule-free RAdam: a built-in warmup."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import (
    add_one,
    full_like_second,
    map_leaves,
    one_minus_power,
    real,
    sqrt,
    squared,
    vary_like,
    zero_count,
)
from .._numbers import F32, Hyperparameter, Scalar
from .._pytree import pytree_dataclass
from .._skipping import SkipsUnusable
from .._transformation import Transformation, transformation
from ..controllers._controller import (
    Controller,
    LearningRate,
    as_early_rate,
    evaluate,
    first_of,
    start_of,
)
from .radam import rectified
from .schedule_free import schedule_free


class RectifiedStepState(NamedTuple):
    """The state of the rectified Adam without a first moment."""

    count: jax.Array
    """The number of updates completed; int32 []."""
    skipped: jax.Array
    """Those of them that were skipped, since the gradient, the loss or the rate was not finite; int32 []."""
    seen: jax.Array
    """The updates that were not skipped; int32 []."""
    learning_rate: jax.Array
    """γ, the rate last applied; float32 []."""
    nu: Any
    """ν, shaped like the parameters, float32 or wider."""
    base: Any


@pytree_dataclass
class RectifiedStep(SkipsUnusable):
    """See `schedule_free_radam`."""

    learning_rate: Any
    b2: Scalar
    eps: Scalar
    weight_decay: Scalar

    factory = "schedule_free_radam"
    elementwise = True

    def init(self, params: Any) -> RectifiedStepState:
        """The state before the first update."""
        first = first_of(self.learning_rate, params) * self._rectification(jnp.ones((), jnp.int32))
        base = start_of(self.learning_rate, params)
        skipped = zero_count()
        if isinstance(self.learning_rate, Controller):
            first, skipped, base = vary_like((first, skipped, base), params)
        return RectifiedStepState(zero_count(), skipped, zero_count(), first, full_like_second(params, 0.0), base)

    def step(
        self, updates: Any, state: RectifiedStepState, params: Any = None, **extra: Any
    ) -> tuple[Any, RectifiedStepState, jax.Array]:
        """−γ · (g / (√ν̂ + ε) + λ·θ)."""
        t = add_one(state.seen)
        base = evaluate(self, self.learning_rate, state.base, updates, state.count, params, {"grad": updates, **extra})
        rate = base.rate * self._rectification(t).astype(base.rate.dtype)

        def leaf(g: jax.Array, nu: Any, p: Any) -> tuple[jax.Array, jax.Array]:
            kind = real(g.dtype)
            b2 = jnp.asarray(self.b2, kind)
            nu = b2 * nu.astype(kind) + (1 - b2) * squared(g)
            root = sqrt(nu / one_minus_power(self.b2, t).astype(kind)) + jnp.asarray(self.eps, kind)
            step = jnp.where(root > 0, g / jnp.where(root > 0, root, 1), jnp.zeros_like(g))
            step = step + jnp.asarray(self.weight_decay, kind) * jnp.asarray(p).astype(g.dtype)
            return -rate.astype(kind) * step, nu

        updates, nu = map_leaves(leaf, 2, updates, state.nu, params)
        new = RectifiedStepState(add_one(state.count), state.skipped, t, rate.astype(F32), nu, base.memory)
        return updates, new, base.failed | base.unmeasured

    def _rectification(self, t: jax.Array) -> jax.Array:
        c2 = one_minus_power(self.b2, t.astype(F32))
        trusted, factor = rectified(jnp.asarray(self.b2, F32), t.astype(F32), c2, 4.0)
        return jnp.where(trusted, factor, 0)


@check.public
def schedule_free_radam(
    learning_rate: LearningRate = 0.0025,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
    weight_lr_power: Hyperparameter = 2.0,
    state_dtype: Any = None,
    *,
    r: Hyperparameter = 0.0,
    decoupling: Hyperparameter | None = None,
) -> Transformation:
    """Schedule-free RAdam: no warmup to choose.

    **Evaluate with `lrx.eval_params(state, params)`, not with the parameters.**

    As `schedule_free_adamw`, with the rate of the rectified Adam, where t = 1, 2, … is the update::

      ρ_∞ = 2/(1 − b2) − 1,   ρ = ρ_∞ − 2·t·b2^t / (1 − b2^t)
      γ_t = learning_rate · √( (ρ − 4)(ρ − 2)·ρ_∞ / ((ρ_∞ − 4)(ρ_∞ − 2)·ρ) )      where ρ > 4, and 0 before

    so that the first updates, four with b2 = 0.999, only fill ν.

    Args:
      learning_rate: a number, a schedule, or a controller that does not need the direction.
      b1: β in (0, 1), or a schedule.
      b2: in (0.6, 1), for ρ_∞ > 4.
      eps: ≥ 0.
      weight_decay: ≥ 0, decoupled, at y.
      weight_lr_power: p ≥ 0.
      state_dtype: dtype of z; at least float32 if None.
      r: ≥ 0.
      decoupling: C of `schedule_free`.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a number is out of its range; in update, if there are no parameters.
      TypeError: if `learning_rate` is not a rate.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.schedule_free_radam(0.5)
      >>> params = jnp.array([1.0])
      >>> state = tx.init(params)
      >>> for _ in range(5):
      ...   updates, state = tx.update(2 * params, state, params)
      ...   print(lrx.learning_rate(state) > 0)
      False
      False
      False
      False
      True

    References:
      Version 1.4 of the authors' package `schedulefree`; Liu et al., On the variance of the adaptive learning rate and
      beyond (ICLR 2020), arXiv 1908.03265, algorithm 2.
    """
    check.below_one(b2=b2)
    if isinstance(b2, int | float) and not b2 > 0.6:
        raise check.fail("b2", "must be more than 0.6, where the rectification begins", b2)
    check.epsilon(eps=eps)
    check.non_negative(weight_decay=weight_decay)
    rate = as_early_rate("learning_rate", learning_rate)
    base = transformation(RectifiedStep(rate, b2, eps, weight_decay))
    return schedule_free(base, None, b1, weight_lr_power, state_dtype, r=r, decoupling=decoupling)
