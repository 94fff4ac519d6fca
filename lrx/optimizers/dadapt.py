"""D-Adaptation: SGD, AdaGrad and AdamW that estimate their rate from the distance to the solution."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import (
    absolute_sum,
    add_one,
    full_like_second,
    global_norm,
    inner_product,
    map_leaves,
    one_minus_power,
    real,
    real_dtype,
    select,
    sqrt,
    squared,
    wide_zeros_like,
    widened,
    zero_count,
)
from .._numbers import F32, Scalar
from .._pytree import factory_name, pytree_dataclass
from .._transformation import Transformation, transformation
from ..controllers._controller import as_early_rate, first_of, listen, start_of


class DadaptState(NamedTuple):
    """What D-Adaptation remembers."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    skipped: jax.Array
    """Those of them whose gradient was not finite; int32 []."""
    seen: jax.Array
    """The others, since the memory began; int32 []."""
    learning_rate: jax.Array
    """The rate last applied, γ_t · d_t (over ‖g_0‖ for SGD); float32 []."""
    d: jax.Array
    """The estimate of the distance; float32 or wider []."""
    r: jax.Array
    """The sum that it is estimated from; float32 or wider []."""
    first_norm: jax.Array | None
    """‖g_0‖, of the first gradient that is not 0, for SGD; float32 or wider []."""
    s: Any
    """The weighted sum of gradients, shaped like the parameters, float32 or wider."""
    m: Any
    """SGD and AdaGrad: z − θ, how far the parameters lag behind the dual average; Adam: the first moment.
    Float32 or wider."""
    v: Any
    """AdaGrad and Adam: the squares of the gradients, summed or averaged, float32 or wider; None for SGD."""
    base: Any


class _Dadapt:
    """What the three share: the state, the base's rate, and what happens to a gradient that is not finite."""

    learning_rate: Any
    estim_lr0: Scalar
    weight_decay: Scalar

    def init(self, params: Any) -> DadaptState:
        """The state before the first update."""
        dtype = real_dtype(params)
        d = jnp.array(jnp.asarray(self.estim_lr0, dtype))
        first = first_of(self.learning_rate, params) * d.astype(F32)
        moments = wide_zeros_like(params), self._squares(params)
        norm, base = self._first_norm(dtype), start_of(self.learning_rate, params)
        zero = jnp.zeros((), dtype)
        return DadaptState(
            zero_count(), zero_count(), zero_count(), first, d, zero, norm, wide_zeros_like(params), *moments, base
        )

    def update(self, updates: Any, state: DadaptState, params: Any = None, **extra: Any) -> tuple[Any, DadaptState]:
        """A step with the rate γ·d, and a new estimate of d."""
        check.needs_params(factory_name(self), updates, params)
        heard = listen(self, self.learning_rate, state.base, updates, state.count, params, {"grad": updates, **extra})
        rate, moved, new = self._step(updates, state, state.d * heard.rate.astype(state.d.dtype))
        usable = jnp.isfinite(new.r) & jnp.isfinite(new.d) & jnp.isfinite(global_norm(updates))

        def leaf(u: jax.Array, p: Any) -> tuple[jax.Array]:
            decay = (rate * jnp.asarray(self.weight_decay, rate.dtype)).astype(real(u.dtype))
            return (jnp.where(usable, u - decay * jnp.asarray(p).astype(u.dtype), jnp.zeros_like(u)),)

        kept = select(usable, new._replace(base=heard.memory), state)
        return map_leaves(leaf, 1, moved, params)[0], kept._replace(
            count=add_one(state.count),
            skipped=jnp.where(usable & ~heard.missed, state.skipped, add_one(state.skipped)),
            seen=jnp.where(usable, add_one(state.seen), state.seen),
            learning_rate=jnp.where(usable, self._shown(rate, heard.rate, state.d), 0).astype(F32),
        )

    def _step(self, g: Any, state: DadaptState, rate: jax.Array) -> tuple[jax.Array, Any, DadaptState]:
        """The rate that multiplies the gradient, the update without decay, and the state after it."""
        raise NotImplementedError  # the three differ here

    def _squares(self, params: Any) -> Any:
        return full_like_second(params, 0.0)

    def _first_norm(self, dtype: Any) -> jax.Array | None:
        return None

    def _shown(self, rate: jax.Array, base: jax.Array, d: jax.Array) -> jax.Array:
        return rate


@pytree_dataclass
class DadaptSgd(_Dadapt):
    """See `dadapt_sgd`."""

    learning_rate: Any
    momentum: Scalar = 0.0
    estim_lr0: Scalar = 1e-6
    weight_decay: Scalar = 0.0
    growth_rate: Scalar = float("inf")

    def _step(self, g: Any, state: DadaptState, rate: jax.Array) -> tuple[jax.Array, Any, DadaptState]:
        dtype = state.d.dtype
        norm = jnp.where(state.first_norm > 0, state.first_norm, global_norm(g).astype(dtype))  # type: ignore[operator]  # SGD has one
        rate = jnp.where(norm > 0, rate / jnp.where(norm > 0, norm, 1), 0)
        r = state.r + rate * inner_product(g, state.s).astype(dtype)

        def leaf(g: jax.Array, s: Any, m: Any) -> tuple[jax.Array, ...]:
            step = rate.astype(real(g.dtype)) * g
            ahead = m.astype(g.dtype) - step
            momentum = jnp.asarray(self.momentum, real(g.dtype))
            return (1 - momentum) * ahead, s.astype(g.dtype) + step, momentum * ahead

        moved, s, m = map_leaves(leaf, 3, g, state.s, state.m)
        d = _larger(state.d, 2 * r, global_norm(s).astype(dtype), self.growth_rate)
        return rate, moved, state._replace(d=d, r=r, first_norm=norm, s=s, m=m)

    def _squares(self, params: Any) -> Any:
        return None

    def _first_norm(self, dtype: Any) -> jax.Array:
        return jnp.zeros((), dtype)


@pytree_dataclass
class DadaptAdagrad(_Dadapt):
    """See `dadapt_adagrad`."""

    learning_rate: Any
    momentum: Scalar = 0.0
    eps: Scalar = 1e-6
    estim_lr0: Scalar = 1e-6
    weight_decay: Scalar = 0.0
    growth_rate: Scalar = float("inf")
    initial_accumulator_value: Scalar = 1e-6

    def _step(self, g: Any, state: DadaptState, rate: jax.Array) -> tuple[jax.Array, Any, DadaptState]:
        dtype = state.d.dtype

        def root(v: jax.Array) -> jax.Array:
            return sqrt(v) + jnp.asarray(self.eps, v.dtype)

        def leaf(g: jax.Array, s: Any, m: Any, v: Any) -> tuple[jax.Array, ...]:
            kind = real(g.dtype)
            s, v = s.astype(g.dtype), v.astype(kind)
            new_s, new_v = s + rate.astype(kind) * g, v + squared(g)
            ahead = m.astype(g.dtype) + s / root(v) - new_s / root(new_v)
            momentum = jnp.asarray(self.momentum, kind)
            return (1 - momentum) * ahead, new_s, momentum * ahead, new_v

        moved, s, m, v = map_leaves(leaf, 4, g, state.s, state.m, state.v)
        weighted = map_leaves(lambda s, v: (s / root(v.astype(real(s.dtype))),), 1, s, v)[0]
        norms = map_leaves(lambda g, v: (g / root(v.astype(real(g.dtype))),), 1, widened(g), v)[0]
        r = state.r + rate**2 * inner_product(g, norms).astype(dtype)
        gap = inner_product(s, weighted).astype(dtype) - r
        d = _larger(state.d, gap, absolute_sum(s).astype(dtype), self.growth_rate)
        return rate, moved, state._replace(d=d, r=r, s=s, m=m, v=v)

    def _squares(self, params: Any) -> Any:
        return full_like_second(params, self.initial_accumulator_value)


@pytree_dataclass
class DadaptAdamw(_Dadapt):
    """See `dadapt_adamw`."""

    learning_rate: Any
    b1: Scalar = 0.9
    b2: Scalar = 0.999
    eps: Scalar = 1e-8
    estim_lr0: Scalar = 1e-6
    weight_decay: Scalar = 0.0
    growth_rate: Scalar = float("inf")

    def _step(self, g: Any, state: DadaptState, rate: jax.Array) -> tuple[jax.Array, Any, DadaptState]:
        dtype, t = state.d.dtype, add_one(state.seen)
        rate = rate * (sqrt(one_minus_power(self.b2, t)) / one_minus_power(self.b1, t)).astype(dtype)
        b3 = sqrt(jnp.asarray(self.b2, dtype))

        def over_root(s: jax.Array, v: jax.Array) -> jax.Array:
            root = sqrt(v) + jnp.asarray(self.eps, v.dtype)
            return jnp.where(root > 0, s / jnp.where(root > 0, root, 1), jnp.zeros_like(s))

        weighted = map_leaves(lambda s, v: (over_root(s, v.astype(real(s.dtype))),), 1, state.s, state.v)[0]
        r = b3 * state.r + (1 - b3) * rate * inner_product(g, weighted).astype(dtype)

        def leaf(g: jax.Array, s: Any, m: Any, v: Any) -> tuple[jax.Array, ...]:
            kind = real(g.dtype)
            b1, b2, c = jnp.asarray(self.b1, kind), jnp.asarray(self.b2, kind), b3.astype(kind)
            step = rate.astype(kind) * g
            m = b1 * m.astype(g.dtype) + (1 - b1) * step
            v = b2 * v.astype(kind) + (1 - b2) * squared(g)
            return -over_root(m, v), c * s.astype(g.dtype) + (1 - c) * step, m, v

        moved, s, m, v = map_leaves(leaf, 4, g, state.s, state.m, state.v)
        d = _larger(state.d, r, (1 - b3) * absolute_sum(s).astype(dtype), self.growth_rate)
        return rate, moved, state._replace(d=d, r=r, s=s, m=m, v=v)

    def _shown(self, rate: jax.Array, base: jax.Array, d: jax.Array) -> jax.Array:
        return base.astype(d.dtype) * d  # the corrections are Adam's


def _larger(d: jax.Array, gap: jax.Array, size: jax.Array, growth_rate: Scalar) -> jax.Array:
    """max(d, min(gap / size, growth_rate · d))."""
    estimate = jnp.where(size > 0, gap / jnp.where(size > 0, size, 1), 0)
    growth = jnp.asarray(growth_rate, d.dtype)
    bounded = jnp.isfinite(growth)  # infinity times a cotangent of 0 is nan
    return jnp.maximum(d, jnp.where(bounded, jnp.minimum(estimate, jnp.where(bounded, growth, 1) * d), estimate))


@check.public
def dadapt_sgd(
    learning_rate: Any = 1.0,
    momentum: Scalar = 0.0,
    estim_lr0: Scalar = 1e-6,
    weight_decay: Scalar = 0.0,
    *,
    growth_rate: Scalar = float("inf"),
) -> Transformation:
    """SGD that finds its rate by D-Adaptation.

    With g_t the gradient, γ_t = `learning_rate` (a factor around 1, or a schedule that starts there), β = `momentum`
    and d = `estim_lr0` at the start::

      λ = γ_t · d / ‖g_0‖
      r = r + λ · ⟨g_t, s⟩,   s ← s + λ · g_t,   z ← z − λ · g_t
      d ← max(d, min(2·r / ‖s‖, growth_rate · d))
      θ ← β·θ + (1 − β)·z,   and both θ and z less λ · weight_decay · θ

    `lrx.learning_rate(state)` is λ. A gradient that is not finite moves nothing, and is counted in the state as
    `skipped`; ‖g_0‖ is that of the first gradient that is not 0.

    Args:
      learning_rate: γ: a number, a schedule, or a controller that does without the direction.
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
    base = _checked(learning_rate, estim_lr0, weight_decay, growth_rate)
    return transformation(DadaptSgd(base, momentum, estim_lr0, weight_decay, growth_rate))


@check.public
def dadapt_adagrad(
    learning_rate: Any = 1.0,
    momentum: Scalar = 0.0,
    eps: Scalar = 1e-6,
    estim_lr0: Scalar = 1e-6,
    weight_decay: Scalar = 0.0,
    *,
    growth_rate: Scalar = float("inf"),
    initial_accumulator_value: Scalar = 1e-6,
) -> Transformation:
    """AdaGrad that finds its rate by D-Adaptation.

    With g_t the gradient, γ_t = `learning_rate` (a factor around 1, or a schedule that starts there), β = `momentum`,
    d = `estim_lr0` and v = `initial_accumulator_value` at the start::

      λ = γ_t · d,   v ← v + g_t²,   D = √v + eps
      s ← s + λ · g_t,   r ← r + λ² · ⟨g_t, g_t/D⟩
      d ← max(d, min((⟨s, s/D⟩ − r) / ‖s‖₁, growth_rate · d))
      z ← z − the change of s/D,   θ ← β·θ + (1 − β)·z,   and both θ and z less λ · weight_decay · θ

    `lrx.learning_rate(state)` is λ. A gradient that is not finite moves nothing, and is counted in the state as
    `skipped`.

    Args:
      learning_rate: γ: a number, a schedule, or a controller that does without the direction.
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
    base = _checked(learning_rate, estim_lr0, weight_decay, growth_rate)
    numbers = momentum, eps, estim_lr0, weight_decay, growth_rate, initial_accumulator_value
    return transformation(DadaptAdagrad(base, *numbers))


@check.public
def dadapt_adamw(
    learning_rate: Any = 1.0,
    betas: tuple[Scalar, Scalar] = (0.9, 0.999),
    eps: Scalar = 1e-8,
    estim_lr0: Scalar = 1e-6,
    weight_decay: Scalar = 0.0,
    *,
    growth_rate: Scalar = float("inf"),
) -> Transformation:
    """AdamW that finds its rate by D-Adaptation.

    With g_t the gradient, γ_t = `learning_rate` (a factor around 1, or a schedule that starts there), β3 = √β2 and
    d = `estim_lr0` at the start::

      λ = γ_t · d · √(1 − β2^t) / (1 − β1^t)
      r ← β3·r + (1 − β3)·λ·⟨g_t, s / (√v + eps)⟩,   s ← β3·s + (1 − β3)·λ·g_t
      m ← β1·m + (1 − β1)·λ·g_t,   v ← β2·v + (1 − β2)·g_t²
      θ ← θ − m / (√v + eps) − λ · weight_decay · θ
      d ← max(d, min(r / ((1 − β3)·‖s‖₁), growth_rate · d))

    `lrx.learning_rate(state)` is γ_t·d. A gradient that is not finite moves nothing, and is counted in the state as
    `skipped`; one that is 0 from the start is no harm.

    Args:
      learning_rate: γ: a number, a schedule, or a controller that does without the direction.
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
    base = _checked(learning_rate, estim_lr0, weight_decay, growth_rate)
    return transformation(DadaptAdamw(base, b1, b2, eps, estim_lr0, weight_decay, growth_rate))


def _checked(learning_rate: Any, estim_lr0: Any, weight_decay: Any, growth_rate: Any) -> Any:
    check.positive(estim_lr0=estim_lr0)
    check.non_negative(weight_decay=weight_decay)
    check.at_least_one(growth_rate=growth_rate)
    return as_early_rate("learning_rate", learning_rate)
