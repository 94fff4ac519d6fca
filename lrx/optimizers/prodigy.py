"""Prodigy: Adam that estimates its rate from the distance to the solution."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import (
    absolute_sum,
    add_one,
    full_like_second,
    inner_product,
    map_leaves,
    map_present,
    one_minus_power,
    real,
    real_dtype,
    sqrt,
    squared,
    trainable,
    vary_like,
    wide_zeros_like,
    widened,
    zero_count,
)
from .._numbers import F32, Count, Hyperparameter, Scalar
from .._pytree import pytree_dataclass, static
from .._skipping import SkipsUnusable
from .._transformation import Transformation, transformation
from .._travel import beginnings, gone_on, to_dtypes, way
from ..controllers._controller import LearningRate, evaluate, first_of, start_of
from ._dadapt import as_factor


class ProdigyState(NamedTuple):
    """What Prodigy remembers. The fields that optax has too are called as there."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    skipped: jax.Array
    """Those of them that were skipped, since the gradient or the rate was not finite; int32 []."""
    seen: jax.Array
    """The others, since the memory began; int32 []."""
    learning_rate: jax.Array
    """γ_t · d_t, the rate last applied; float32 []."""
    exp_avg: Any
    """m, the mean of d·g, shaped like the parameters, float32 or wider."""
    exp_avg_sq: Any
    """v, the mean of (d·g)², float32 or wider."""
    grad_sum: Any
    """s, the weighted sum of gradients, of every `slice_p`-th coordinate, float32 or wider."""
    params0: Any
    """θ_0, of the same coordinates; None for leaves narrower than float32."""
    moved: Any
    """θ − θ_0 of these, the sum of their updates before rounding, float32; None for the others."""
    numerator_weighted: jax.Array
    """r, the weighted sum of ⟨g, θ_0 − θ⟩; float32 or wider []."""
    estim_lr: jax.Array
    """d, the estimate of the distance; float32 or wider []."""
    largest: jax.Array
    """The largest estimate so far, to which d grows by `growth_rate` an update; float32 or wider []."""
    base: Any


@pytree_dataclass
class Prodigy(SkipsUnusable):
    """See `prodigy`."""

    learning_rate: Any
    b1: Scalar = 0.9
    b2: Scalar = 0.999
    beta3: Scalar | None = None
    eps: Scalar = 1e-8
    estim_lr0: Scalar = 1e-6
    estim_lr_coef: Scalar = 1.0
    weight_decay: Scalar = 0.0
    growth_rate: Scalar = float("inf")
    estim_lr_max: Scalar | None = None
    growth_steps: Count | None = None
    safeguard_warmup: bool = static(default=False)
    use_bias_correction: bool = static(default=True)
    slice_p: int = static(default=1)

    @property
    def elementwise(self) -> bool:
        """Whether each coordinate is treated by itself: a slice takes some of each leaf."""
        return self.slice_p == 1

    def init(self, params: Any) -> ProdigyState:
        """The state before the first update."""
        dtype = real_dtype(params)
        sliced = jax.tree.map(self._sliced, params)
        d = jnp.asarray(self.estim_lr0, F32).astype(dtype)
        memory = dict(
            skipped=zero_count(),
            seen=zero_count(),
            learning_rate=first_of(self.learning_rate, params) * d.astype(F32),
            exp_avg=wide_zeros_like(params),
            exp_avg_sq=full_like_second(params, 0.0),
            grad_sum=wide_zeros_like(sliced),
            **dict(zip(("params0", "moved"), beginnings(sliced), strict=True)),
            numerator_weighted=jnp.zeros((), dtype),
            estim_lr=jnp.array(d),
            largest=jnp.array(d),
            base=start_of(self.learning_rate, params),
        )
        return ProdigyState(count=zero_count(), **vary_like(memory, params))

    def step(self, updates: Any, state: ProdigyState, params: Any = None, **extra: Any) -> tuple[Any, Any, jax.Array]:
        """A step of Adam's with the rate γ·d, and a new estimate of d."""
        check.needs_params("prodigy", updates, params)
        base = evaluate(self, self.learning_rate, state.base, updates, state.count, params, {"grad": updates, **extra})
        dtype, t = state.estim_lr.dtype, add_one(state.seen)
        d, d0 = state.estim_lr, jnp.asarray(self.estim_lr0, dtype)
        rate = d * base.rate.astype(dtype)
        if self.use_bias_correction:
            rate = rate * (sqrt(one_minus_power(self.b2, t)) / one_minus_power(self.b1, t)).astype(dtype)

        b3 = sqrt(jnp.asarray(self.b2, dtype)) if self.beta3 is None else jnp.asarray(self.beta3, dtype)
        g = jax.tree.map(self._sliced, updates)
        away = way(map_present(lambda _, p: self._sliced(p), updates, params), state.params0, state.moved)
        r = b3 * state.numerator_weighted - d / d0 * rate * inner_product(g, away).astype(dtype)
        weight = d / d0 * (d if self.safeguard_warmup else rate)
        s = map_leaves(
            lambda g, s: (g, b3.astype(real(g.dtype)) * s + weight.astype(real(g.dtype)) * g), 2, g, state.grad_sum
        )[1]
        new_d, largest = self._grown(d, state.largest, r, absolute_sum(s).astype(dtype), t)

        def leaf(g: jax.Array, m: Any, v: Any, p: Any) -> tuple[jax.Array, ...]:
            kind = real(g.dtype)
            b1, b2, scale = jnp.asarray(self.b1, kind), jnp.asarray(self.b2, kind), d.astype(kind)
            m = b1 * m.astype(g.dtype) + (1 - b1) * scale * g
            v = b2 * v.astype(kind) + (1 - b2) * scale**2 * squared(g)
            root = sqrt(v) + new_d.astype(kind) * jnp.asarray(self.eps, kind)
            step = jnp.where(root > 0, m / jnp.where(root > 0, root, 1), jnp.zeros_like(g))
            decayed = jnp.asarray(self.weight_decay, kind) * jnp.asarray(p).astype(g.dtype)
            return -rate.astype(kind) * (step + decayed), m, v

        steps, m, v = map_leaves(leaf, 3, widened(updates), state.exp_avg, state.exp_avg_sq, params)
        new = state._replace(
            count=add_one(state.count),
            seen=t,
            learning_rate=(base.rate.astype(dtype) * d).astype(F32),
            exp_avg=m,
            exp_avg_sq=v,
            grad_sum=s,
            moved=gone_on(state.moved, jax.tree.map(self._sliced, steps)),
            numerator_weighted=r,
            estim_lr=new_d,
            largest=largest,
            base=base.memory,
        )
        return to_dtypes(updates, steps), new, base.failed | base.unmeasured

    def _grown(self, d: jax.Array, largest: jax.Array, r: jax.Array, size: jax.Array, t: jax.Array) -> Any:
        """d⁺, which never falls, and the largest estimate so far, which it grows to."""
        known = size > 0
        estimate = jnp.asarray(self.estim_lr_coef, d.dtype) * r / jnp.where(known, size, 1)
        estimate = jnp.where(known, estimate, d)
        largest = jnp.maximum(largest, estimate)
        growth = jnp.asarray(self.growth_rate, d.dtype)
        bounded = jnp.isfinite(growth)  # infinity times a cotangent of 0 is nan
        first = d == jnp.asarray(self.estim_lr0, d.dtype)
        bound = jnp.where(first, jnp.maximum(d, estimate), d) * jnp.where(bounded, growth, 1)
        grown = jnp.where(bounded, jnp.minimum(largest, bound), largest)
        if self.estim_lr_max is not None:
            grown = jnp.maximum(d, jnp.minimum(grown, jnp.asarray(self.estim_lr_max, d.dtype)))
        return grown if self.growth_steps is None else jnp.where(t <= self.growth_steps, grown, d), largest

    def _sliced(self, x: Any) -> jax.Array:
        """A copy of the coordinates by which the distance is estimated."""
        if not trainable(x):
            return jnp.zeros((0,), F32)
        x = jnp.asarray(x)
        return (
            jnp.array(x, x.dtype)
            if self.slice_p == 1
            else jax.lax.slice(x.reshape(-1), (0,), (x.size,), (self.slice_p,))
        )


@check.public
def prodigy(
    learning_rate: LearningRate = 1.0,
    betas: tuple[Hyperparameter, Hyperparameter] = (0.9, 0.999),
    beta3: Hyperparameter | None = None,
    eps: Hyperparameter = 1e-8,
    estim_lr0: Hyperparameter = 1e-6,
    estim_lr_coef: Hyperparameter = 1.0,
    weight_decay: Hyperparameter = 0.0,
    safeguard_warmup: bool = False,
    *,
    use_bias_correction: bool = True,
    slice_p: int | None = None,
    growth_rate: Hyperparameter = float("inf"),
    estim_lr_max: Hyperparameter | None = None,
    growth_steps: Count | None = None,
) -> Transformation:
    """Prodigy, Adam that finds its rate itself: `learning_rate` is a factor of that, normally 1.

    With g_t the gradient, γ_t = `learning_rate` (1, or a schedule that starts there), d the estimate of the distance to
    the solution, from which the rate comes, d_0 = `estim_lr0`, and c_t = √(1 − β2^t) / (1 − β1^t), or 1 without
    `use_bias_correction`::

      m = β1·m + (1 − β1)·d·g_t,   v = β2·v + (1 − β2)·d²·g_t²
      r = β3·r + (d/d_0) · d·γ_t·c_t · ⟨g_t, θ_0 − θ⟩
      s = β3·s + (d/d_0) · d·γ_t·c_t · g_t                     (without γ_t·c_t under `safeguard_warmup`)
      d̂ = the largest estim_lr_coef · r / ‖s‖₁ so far
      d⁺ = max(d, min(d̂, growth_rate · d, estim_lr_max)), and d itself after `growth_steps` updates
      θ ← θ − d·γ_t·c_t · (m / (√v + d⁺·eps) + weight_decay · θ),   d ← d⁺

    `lrx.learning_rate(state)` is γ_t·d. A gradient that is not finite moves nothing, and is counted in the state as
    `skipped`; a rate of 0, as at the start of a warmup, does no harm. The distance θ_0 − θ is kept in float32 for
    parameters in bfloat16 or float16, which round small updates away.

    Args:
      learning_rate: γ, a factor and no rate (1e-3 is an error): a number, a schedule, or a controller that does without
        the direction, such as `plateau`. A linear decay from 1 to 0 works best.
      betas: β1 and β2, in [0, 1).
      beta3: β3; the root of β2 if None.
      eps: ≥ 0.
      estim_lr0: d_0 > 0, well below the distance.
      estim_lr_coef: > 0.
      weight_decay: λ ≥ 0, decoupled.
      safeguard_warmup: whether to leave the rate out of s, against an estimate that a long warmup makes too large.
      use_bias_correction: whether to correct the moments as Adam does; the authors' package has it off by default,
        optax always on.
      slice_p: p > 0, 1 if None. The distance is estimated by every p-th coordinate of each leaf, which needs 2 + 2/p
        words per parameter instead of 4. The authors recommend 11.
      growth_rate: by what factor d may grow in an update, ≥ 1, once it has left `estim_lr0`. The authors suggest 1.02
        where d becomes too large.
      estim_lr_max: the greatest d, > 0; None for no bound.
      growth_steps: updates after which d stays as it is, ≥ 0; None for never. Updates that were skipped do not count.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a number is out of its range, or the controller needs the direction; in update, if there are no
        parameters.
      TypeError: if `learning_rate` is no rate.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.prodigy(estim_lr0=0.5)
      >>> params = jnp.array([2.0])
      >>> state = tx.init(params)
      >>> updates, state = tx.update(2 * params, state, params)
      >>> print(lrx.learning_rate(state), updates.round(3))
      0.5 [-0.5]

    References:
      Mishchenko, Defazio, Prodigy: an expeditiously adaptive parameter-free learner (ICML 2024), arXiv 2306.06101,
      in the form of the authors' code.
    """
    b1, b2 = betas
    check.below_one(betas=b1)
    check.below_one(betas=b2)
    if beta3 is not None:
        check.below_one(beta3=beta3)
    check.epsilon(eps=eps)
    check.positive(estim_lr0=estim_lr0, estim_lr_coef=estim_lr_coef)
    check.non_negative(weight_decay=weight_decay)
    check.flag(safeguard_warmup=safeguard_warmup, use_bias_correction=use_bias_correction)
    slice_p = 1 if slice_p is None else slice_p  # no number by default: `inject_hyperparams` would trace it
    check.positive_count(slice_p=slice_p)
    check.at_least_one(growth_rate=growth_rate)
    if estim_lr_max is not None:
        check.positive(estim_lr_max=estim_lr_max)
    if growth_steps is not None:
        check.non_negative_count(growth_steps=growth_steps)
    base = as_factor("learning_rate", learning_rate)
    numbers = b1, b2, beta3, eps, estim_lr0, estim_lr_coef, weight_decay, growth_rate, estim_lr_max, growth_steps
    return transformation(Prodigy(base, *numbers, safeguard_warmup, use_bias_correction, int(slice_p)))
