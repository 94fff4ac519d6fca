"""Schedule-free SGD and AdamW."""

from typing import Any

from .. import _check as check
from .._chain import chain
from .._numbers import Count, Hyperparameter
from .._transformation import Transformation
from ..controllers._controller import (
    Controller,
    LearningRate,
    as_one_rate,
    as_rate,
)
from ..controllers.polyak import L1Polyak
from ..schedules.algebra import product
from ..schedules.constant import warmup_constant_schedule
from .adam import scale_by_adam
from .learning_rate import scale_by_learning_rate
from .rmsprop import scale_by_rms
from .schedule_free import schedule_free
from .weight_decay import add_decayed_weights
from .with_weight_decay import with_weight_decay


@check.public
def schedule_free_sgd(
    learning_rate: LearningRate = 1.0,
    warmup_steps: Count | None = None,
    b1: Hyperparameter = 0.9,
    weight_decay: Hyperparameter | None = None,
    weight_lr_power: Hyperparameter = 2.0,
    state_dtype: Any = None,
    *,
    r: Hyperparameter = 0.0,
    decoupling: Hyperparameter | None = None,
) -> Transformation:
    """Schedule-free SGD.

    **Evaluate with `lrx.eval_params(state, params)`, not with the parameters.**

    ::

      u_t = −γ_t · (g_t + weight_decay · y_t)                  in `schedule_free`
      γ_t = learning_rate · min(1, (t + 1)/warmup_steps)

    Args:
      learning_rate: a number, a schedule or a controller; 10 to 50 times what SGD has with a schedule.
      warmup_steps: length of the linear warmup, whose first rate is `learning_rate / warmup_steps`; None for none.
      b1: β in (0, 1), or a schedule.
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
      >>> import jax, jax.numpy as jnp, lrx
      >>> tx = lrx.schedule_free_sgd(0.5)
      >>> params = jnp.array([1.0])
      >>> state = tx.init(params)
      >>> for _ in range(20):
      ...   updates, state = tx.update(2 * params, state, params)
      ...   params = lrx.apply_updates(params, updates)
      >>> print(jnp.abs(lrx.eval_params(state, params)) < 0.1)
      [ True]

    References:
      Defazio et al., The road less scheduled (NeurIPS 2024), arXiv 2405.15682.
    """
    rate = _warmed(learning_rate, warmup_steps)
    base = chain(add_decayed_weights(0.0 if weight_decay is None else weight_decay), scale_by_learning_rate(rate))
    return schedule_free(base, None, b1, weight_lr_power, state_dtype, r=r, decoupling=decoupling)


@check.public
def schedule_free_adamw(
    learning_rate: LearningRate = 0.0025,
    warmup_steps: Count | None = None,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
    weight_lr_power: Hyperparameter = 2.0,
    state_dtype: Any = None,
    *,
    r: Hyperparameter = 0.0,
    decoupling: Hyperparameter | None = None,
    inner_momentum: Hyperparameter = 0.0,
    polyak: bool = False,
    averaging_start: Count = 0,
) -> Transformation:
    """Schedule-free AdamW.

    **Evaluate with `lrx.eval_params(state, params)`, not with the parameters.**

    With ν the second moment of the gradients, corrected as in Adam, and m their mean with decay `inner_momentum`
    (without it, m = g_t)::

      u_t = −γ_t · (m̂_t / (√ν̂_t + eps) + weight_decay · y_t)     in `schedule_free`
      γ_t = learning_rate · min(1, (t + 1)/warmup_steps)

    and with `polyak`, as in ScheduleFree+, a rate from the loss f_t, and weight decay with the rate's square::

      γ_t = learning_rate · [f_t + b1·⟨g_t, z_t − x_t⟩]₊ / (‖g_t‖₁ · √(π/2)),   u_t with γ_t² · weight_decay · y_t

    Args:
      learning_rate: a number, a schedule or a controller; 1 to 10 times what AdamW has with a schedule, 1 with
        `polyak`.
      warmup_steps: length of the linear warmup, whose first rate is `learning_rate / warmup_steps`; None for none.
      b1: β in (0, 1), or a schedule.
      b2: in [0, 1).
      eps: ≥ 0.
      weight_decay: ≥ 0, decoupled, at y. The authors use 20 to 50 with `polyak`.
      weight_lr_power: p ≥ 0.
      state_dtype: dtype of z; at least float32 if None.
      r: ≥ 0.
      decoupling: C of `schedule_free`.
      inner_momentum: in [0, 1); 0.9 in ScheduleFree+.
      polyak: whether the rate comes from the loss. The update then needs `value=`.
      averaging_start: updates before the average begins, ≥ 0.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a number is out of its range; in update, if the parameters or `value=` are missing.
      TypeError: if `learning_rate` is not a rate.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.schedule_free_adamw(0.5)
      >>> params = jnp.array([1.0])
      >>> updates, state = tx.update(2 * params, tx.init(params), params)
      >>> print(updates)
      [-0.5]

    References:
      Defazio et al., The road less scheduled (NeurIPS 2024), arXiv 2405.15682; ScheduleFree+: Defazio (2026),
      arXiv 2605.19095.
    """
    check.below_one(inner_momentum=inner_momentum)
    check.flag(polyak=polyak)
    scheduled = callable(inner_momentum)
    if scheduled or not isinstance(inner_momentum, int | float) or inner_momentum > 0:
        direction = scale_by_adam(inner_momentum, b2, eps)
    else:  # no first moment: it would be a copy of the gradient
        direction = scale_by_rms(b2, eps, eps_in_sqrt=False, bias_correction=True)
    rate = _warmed(learning_rate, warmup_steps)
    if polyak:
        check.non_negative(weight_decay=weight_decay)
        base = chain(direction, scale_by_learning_rate(L1Polyak(as_one_rate("learning_rate", rate))))
        base = with_weight_decay(base, weight_decay, law="squared", max_learning_rate=1.0)
    else:
        base = chain(direction, add_decayed_weights(weight_decay), scale_by_learning_rate(rate))
    return schedule_free(
        base, None, b1, weight_lr_power, state_dtype, r=r, decoupling=decoupling, averaging_start=averaging_start
    )


def _warmed(learning_rate: Any, warmup_steps: Count | None) -> Any:
    """A warmup whose first rate is not 0: the first update would do nothing."""
    if warmup_steps is None:
        return learning_rate
    check.positive_count(warmup_steps=warmup_steps)
    rate = as_rate("learning_rate", learning_rate)
    if isinstance(rate, Controller):
        way_out = "Warm up the base of the controller."
        raise check.fail("learning_rate", "must be a number or a schedule beside warmup_steps", learning_rate, way_out)
    if callable(rate):
        return product(rate, warmup_constant_schedule(1 / warmup_steps, 1.0, warmup_steps - 1))
    return warmup_constant_schedule(learning_rate / warmup_steps, learning_rate, warmup_steps - 1)
