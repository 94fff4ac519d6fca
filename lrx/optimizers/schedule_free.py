"""Schedule-free: an average of the iterates in place of a schedule that falls."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .. import _check as check
from .._arithmetic import (
    absolute_sum,
    add_one,
    full_like_second,
    inner_product,
    map_leaves,
    memory_dtype,
    one_minus_power,
    real,
    real_dtype,
    sqrt,
    squared,
    wide,
    zero_count,
)
from .._chain import ChainInit, chain
from .._numbers import F32, Count, Scalar
from .._pytree import pytree_dataclass, static
from .._transformation import Transformation, as_transformation, transformation
from ..controllers._controller import (
    Controller,
    as_early_rate,
    as_one_rate,
    as_rate,
    first_of,
    listen,
    needs_of,
    rate_of_update,
    scalar_value,
    start_of,
)
from ..controllers.polyak import over
from ..schedules.algebra import product
from ..schedules.constant import warmup_constant_schedule
from ..state import learning_rates
from ._dtype import dtype_name
from .adam import scale_by_adam
from .decay_laws import with_weight_decay
from .learning_rate import scale_by_learning_rate
from .radam import rectified
from .rmsprop import scale_by_rms
from .weight_decay import add_decayed_weights


class ScheduleFreeState(NamedTuple):
    """What schedule-free remembers."""

    count: jax.Array
    """k, the number of updates completed; int32 []."""
    b1: jax.Array
    """β of the interpolation that made the present parameters; float32 []."""
    weight_sum: jax.Array
    """W, the sum of the weights; float32 or wider []."""
    max_rate: jax.Array
    """γ_max, the greatest rate so far; float32 or wider []."""
    z: Any
    """The iterate of the inner optimizer, shaped like the parameters, float32 or `state_dtype`."""
    base: Any
    """What the rate of the weights remembers, if it is given apart."""
    inner: Any
    """The state of the inner optimizer."""


@pytree_dataclass
class ScheduleFree:
    """See `schedule_free`."""

    inner: Any = static()
    weights_of: Any = None
    b1: Scalar = 0.9
    weight_lr_power: Scalar = 2.0
    r: Scalar = 0.0
    decoupling: Scalar | None = None
    averaging_start: Count = 0
    state_dtype: str | None = static(default=None)

    renamed = (("inner", "base_optimizer"), ("weights_of", "learning_rate"))

    def init(self, params: Any) -> ScheduleFreeState:
        """z = x = y, the parameters, copied."""
        zero = jnp.zeros((), real_dtype(params))

        def copy(p: Any) -> jax.Array:
            return jnp.array(p, memory_dtype(p, self.state_dtype, widened=True))

        base = start_of(self.weights_of, params)
        b1 = jnp.array(self.b1, F32)
        return ScheduleFreeState(
            zero_count(), b1, zero, jnp.zeros_like(zero), jax.tree.map(copy, params), base, self.inner.init(params)
        )

    def update(
        self, updates: Any, state: ScheduleFreeState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScheduleFreeState]:
        """A step of z, of the average x, and of y, the parameters, between them."""
        check.needs_params("schedule_free", updates, params)
        if extra.get("value") is not None:  # a linear model of the loss, at the point that the inner optimizer moves
            ahead = inner_product(updates, _ahead(params, state.z))
            value = scalar_value(extra["value"])
            extra = {
                **extra,
                "value": value.astype(wide(value.dtype, ahead.dtype)) + ahead.astype(wide(value.dtype, ahead.dtype)),
            }
        steps, inner = self.inner.update(updates, state.inner, params, **extra)
        rate, base = self._rate(inner, state, params)
        dtype = state.weight_sum.dtype
        max_rate = jnp.maximum(state.max_rate, rate.astype(dtype))
        averaging = state.count >= self.averaging_start
        weight = jnp.where(max_rate > 0, jnp.where(max_rate > 0, max_rate, 1) ** self._as("weight_lr_power", dtype), 0)
        weight = weight * add_one(state.count).astype(dtype) ** self._as("r", dtype)
        weight_sum = jnp.where(averaging, state.weight_sum + weight, state.weight_sum)
        c = jnp.where(weight_sum > 0, weight / jnp.where(weight_sum > 0, weight_sum, 1), 0)
        if self.decoupling is not None:
            c = jnp.minimum(1, c * (1 - self._as("b1", dtype)) * self._as("decoupling", dtype))
        c = jnp.where(averaging, c, 1)
        b1 = jnp.array(self.b1, F32)  # a copy: the state holds the number as well
        stay = b1.astype(dtype) * (1 - c)  # the share of x in the new y

        def leaf(u: jax.Array, z: Any, y: Any) -> tuple[jax.Array, jax.Array]:
            z, y, kind = z.astype(u.dtype), jnp.asarray(y).astype(u.dtype), real(u.dtype)
            back = 1 - (stay / state.b1.astype(dtype)).astype(kind)
            return back * (z - y) + (1 - stay.astype(kind)) * u, z + u

        updates, z = map_leaves(leaf, 2, steps, state.z, params)
        return updates, ScheduleFreeState(add_one(state.count), b1, weight_sum, max_rate, z, base, inner)

    def _as(self, name: str, dtype: Any) -> jax.Array:
        return jnp.asarray(getattr(self, name), dtype)

    def _rate(self, inner: Any, state: ScheduleFreeState, params: Any) -> tuple[jax.Array, Any]:
        """γ, by which the weights are chosen: what the inner optimizer applied, unless it is given."""
        if self.weights_of is not None:
            return rate_of_update(self.weights_of, state.base, None, {"count": state.count})
        found = learning_rates(inner)
        if len(found) != 1:
            told = f"has {len(found)}: {', '.join(found)}" if found else "keeps none"
            raise ValueError(
                "schedule_free(base_optimizer, ...) reads the learning rate that base_optimizer applied, of which it "
                f"{told}. Give it as well, as optax's: schedule_free(base_optimizer, learning_rate)."
            )
        return next(iter(found.values())), state.base


def _ahead(params: Any, z: Any) -> Any:
    """z − y, in the precision of z."""
    return jax.tree.map(lambda y, z: z - jnp.asarray(y).astype(z.dtype), params, z)


def _needs(tx: Any) -> tuple[str, ...]:
    """What the controllers in an optimizer of lrx's need."""
    init = getattr(tx, "init", tx)
    if isinstance(init, ChainInit):
        return tuple(need for _, link in init.links for need in _needs(link))
    rule = getattr(init, "rule", None)
    own = needs_of(getattr(rule, "controller", getattr(rule, "learning_rate", None)))
    inner = getattr(rule, "inner", ())
    return (*own, *(need for t in (inner if type(inner) is tuple else (inner,)) for need in _needs(t)))


@check.public
def schedule_free(
    base_optimizer: optax.GradientTransformation,
    learning_rate: Any = None,
    b1: Scalar = 0.9,
    weight_lr_power: Scalar = 2.0,
    state_dtype: Any = None,
    *,
    r: Scalar = 0.0,
    decoupling: Scalar | None = None,
    averaging_start: Count = 0,
) -> Transformation:
    """Make any optimizer schedule-free: average its iterates, and train between them and their average.

    With y the parameters, z the iterate that `base_optimizer` moves by u_t, x their average, γ_t the rate that it
    applied, p = `weight_lr_power` and everything equal at the start::

      z_{t+1} = z_t + u_t                                            u_t from the gradient at y_t
      w = (t + 1)^r · (max_{i ≤ t} γ_i)^p,   c = w / Σw
      x_{t+1} = (1 − c)·x_t + c·z_{t+1}
      y_{t+1} = b1·x_{t+1} + (1 − b1)·z_{t+1}

    **Evaluate x, not the parameters**: `lrx.eval_params(state, params)`. Train with a rate that rises in a warmup and
    then stays. The memory is z in place of a momentum, so switch that of `base_optimizer` off, or use
    `schedule_free_adamw`. A controller in `base_optimizer` hears the loss that a linear model has at z, since it is z
    that it moves.

    Args:
      base_optimizer: lrx's or optax's, without momentum.
      learning_rate: γ, by which the average is weighted; None reads what an optimizer of lrx's applied, so that it is
        given once. A number or a schedule; another library's optimizer needs it.
      b1: β in (0, 1), or a schedule: the share of the average in the parameters. 0.95 or 0.98 for long runs.
      weight_lr_power: p ≥ 0.
      state_dtype: dtype of z; at least float32 if None.
      r: ≥ 0; more than 0 weights later iterates more.
      decoupling: C, the length of the average apart from b1: c ← min(1, c · (1 − b1) · C). None is C = 1/(1 − b1).
      averaging_start: updates before the average begins, ≥ 0; x = z until then.

    Returns:
      A transformation, whose update needs the parameters. Its updates must be applied as they are.

    Raises:
      TypeError: if `base_optimizer` is no transformation or `learning_rate` no rate.
      ValueError: if a number is out of its range; in update, if there are no parameters, or no single rate.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.schedule_free(lrx.sgd(1.0), b1=0.5)
      >>> params = jnp.zeros(1)
      >>> state = tx.init(params)
      >>> for _ in range(2):
      ...   updates, state = tx.update(-jnp.ones(1), state, params)
      ...   params = lrx.apply_updates(params, updates)
      >>> print(params, lrx.eval_params(state, params))  # z = 2, x = (1 + 2) / 2, y between them
      [1.75] [1.5]

    References:
      Defazio et al., The road less scheduled (NeurIPS 2024), arXiv 2405.15682, algorithm 1; decoupling: Song, Baek,
      Ahn, Yun (2025), arXiv 2507.09846; averaging_start: Defazio (2026), arXiv 2605.19095.
    """
    check.positive(b1=b1)
    check.below_one(b1=b1)
    check.non_negative(weight_lr_power=weight_lr_power, r=r)
    if decoupling is not None:
        check.positive(decoupling=decoupling)
    check.non_negative_count(averaging_start=averaging_start)
    inner = as_transformation("base_optimizer", base_optimizer)
    if "value_fn" in _needs(inner):
        raise check.fail("base_optimizer", "must not evaluate the loss, which is not given where it moves", inner)
    weights_of = None if learning_rate is None else _own_rate(learning_rate)
    dtype = dtype_name("state_dtype", state_dtype)
    return transformation(ScheduleFree(inner, weights_of, b1, weight_lr_power, r, decoupling, averaging_start, dtype))


def _own_rate(learning_rate: Any) -> Any:
    rate = as_rate("learning_rate", learning_rate)
    if isinstance(rate, Controller):
        raise check.fail("learning_rate", "must be a number or a schedule", learning_rate, "A controller goes inside.")
    return rate


# ---------------------------------------------------------------- ready made


@check.public
def schedule_free_sgd(
    learning_rate: Any = 1.0,
    warmup_steps: Count | None = None,
    b1: Scalar = 0.9,
    weight_decay: Scalar | None = None,
    weight_lr_power: Scalar = 2.0,
    state_dtype: Any = None,
    *,
    r: Scalar = 0.0,
    decoupling: Scalar | None = None,
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
      TypeError: if `learning_rate` is no rate.

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
    learning_rate: Any = 0.0025,
    warmup_steps: Count | None = None,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 0.0,
    weight_lr_power: Scalar = 2.0,
    state_dtype: Any = None,
    *,
    r: Scalar = 0.0,
    decoupling: Scalar | None = None,
    inner_momentum: Scalar = 0.0,
    polyak: bool = False,
    averaging_start: Count = 0,
) -> Transformation:
    """Schedule-free AdamW.

    **Evaluate with `lrx.eval_params(state, params)`, not with the parameters.**

    With ν the second moment of the gradients, corrected as in Adam, and m their mean with decay `inner_momentum`, which
    is g_t itself without one::

      u_t = −γ_t · (m̂_t / (√ν̂_t + eps) + weight_decay · y_t)     in `schedule_free`
      γ_t = learning_rate · min(1, (t + 1)/warmup_steps)

    and with `polyak`, as in ScheduleFree+, a rate from the loss f_t, and decay by its square::

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
      TypeError: if `learning_rate` is no rate.

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
    else:  # without the first moment, which would be a copy of the gradient
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


@check.public
def schedule_free_radam(
    learning_rate: Any = 0.0025,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 0.0,
    weight_lr_power: Scalar = 2.0,
    state_dtype: Any = None,
    *,
    r: Scalar = 0.0,
    decoupling: Scalar | None = None,
) -> Transformation:
    """Schedule-free RAdam: no warmup to choose.

    **Evaluate with `lrx.eval_params(state, params)`, not with the parameters.**

    As `schedule_free_adamw`, with the rate of the rectified Adam, t the updates from 1 on::

      ρ_∞ = 2/(1 − b2) − 1,   ρ = ρ_∞ − 2·t·b2^t / (1 − b2^t)
      γ_t = learning_rate · √( (ρ − 4)(ρ − 2)·ρ_∞ / ((ρ_∞ − 4)(ρ_∞ − 2)·ρ) )      where ρ > 4, and 0 before

    so that the first updates, four with b2 = 0.999, only fill ν.

    Args:
      learning_rate: a number, a schedule, or a controller that does without the direction.
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
      TypeError: if `learning_rate` is no rate.

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


def _warmed(learning_rate: Any, warmup_steps: Count | None) -> Any:
    """A warmup whose first rate is not 0, which would be a step for nothing."""
    if warmup_steps is None:
        return learning_rate
    check.positive_count(warmup_steps=warmup_steps)
    rate = as_rate("learning_rate", learning_rate)
    if isinstance(rate, Controller):
        way_out = "Warm up what the controller starts from."
        raise check.fail("learning_rate", "must be a number or a schedule beside warmup_steps", learning_rate, way_out)
    if callable(rate):
        return product(rate, warmup_constant_schedule(1 / warmup_steps, 1.0, warmup_steps - 1))
    return warmup_constant_schedule(learning_rate / warmup_steps, learning_rate, warmup_steps - 1)


@pytree_dataclass
class L1Polyak(Controller):
    """The rate of ScheduleFree+: see `schedule_free_adamw`."""

    learning_rate: Any

    needs = ("value", "grad")

    def start(self, params: Any) -> Any:
        """What the base remembers."""
        return start_of(self.learning_rate, params)

    def rate(self, memory: Any, direction: Any, signals: dict[str, Any]) -> tuple[Any, Any]:
        """`learning_rate(t) · [f]₊ / (‖g‖₁ · √(π/2))`."""
        base, memory = rate_of_update(self.learning_rate, memory, direction, signals)
        size = absolute_sum(signals["grad"]) * jnp.sqrt(jnp.pi / 2).astype(F32)
        gap = jnp.maximum(signals["value"].astype(size.dtype), 0)
        return base.astype(size.dtype) * over(gap, size), memory


class RectifiedStepState(NamedTuple):
    """What the rectified Adam without a first moment remembers."""

    count: jax.Array
    """The number of updates completed; int32 []."""
    skipped: jax.Array
    """Updates of a controller's at which the loss or the rate was not finite; int32 []."""
    seen: jax.Array
    """Updates since the memory began; int32 []."""
    learning_rate: jax.Array
    """γ, the rate last applied; float32 []."""
    nu: Any
    """ν, shaped like the parameters, float32 or wider."""
    base: Any


@pytree_dataclass
class RectifiedStep:
    """See `schedule_free_radam`."""

    learning_rate: Any
    b2: Scalar
    eps: Scalar
    weight_decay: Scalar

    factory = "schedule_free_radam"

    def init(self, params: Any) -> RectifiedStepState:
        """The state before the first update."""
        first = first_of(self.learning_rate, params) * self._rectification(jnp.ones((), jnp.int32))
        base = start_of(self.learning_rate, params)
        return RectifiedStepState(zero_count(), zero_count(), zero_count(), first, full_like_second(params, 0.0), base)

    def update(
        self, updates: Any, state: RectifiedStepState, params: Any = None, **extra: Any
    ) -> tuple[Any, RectifiedStepState]:
        """−γ · (g / (√ν̂ + ε) + λ·θ)."""
        t = add_one(state.seen)
        heard = listen(self, self.learning_rate, state.base, updates, state.count, params, {"grad": updates, **extra})
        rate = heard.rate * self._rectification(t).astype(heard.rate.dtype)

        def leaf(g: jax.Array, nu: Any, p: Any) -> tuple[jax.Array, jax.Array]:
            kind = real(g.dtype)
            b2 = jnp.asarray(self.b2, kind)
            nu = b2 * nu.astype(kind) + (1 - b2) * squared(g)
            root = sqrt(nu / one_minus_power(self.b2, t).astype(kind)) + jnp.asarray(self.eps, kind)
            step = jnp.where(root > 0, g / jnp.where(root > 0, root, 1), jnp.zeros_like(g))
            step = step + jnp.asarray(self.weight_decay, kind) * jnp.asarray(p).astype(g.dtype)
            return -rate.astype(kind) * step, nu

        updates, nu = map_leaves(leaf, 2, updates, state.nu, params)
        skipped = jnp.where(heard.missed, add_one(state.skipped), state.skipped)
        return updates, RectifiedStepState(add_one(state.count), skipped, t, rate.astype(F32), nu, heard.memory)

    def _rectification(self, t: jax.Array) -> jax.Array:
        c2 = one_minus_power(self.b2, t.astype(F32))
        trusted, factor = rectified(jnp.asarray(self.b2, F32), t.astype(F32), c2, 4.0)
        return jnp.where(trusted, factor, 0)
