"""Prodigy: Adam that estimates its rate from the distance to the solution."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import (
    absolute_sum,
    add_one,
    all_finite,
    full_like_second,
    inner_product,
    map_leaves,
    one_minus_power,
    real,
    real_dtype,
    select,
    sqrt,
    squared,
    trainable,
    wide_zeros_like,
    zero_count,
)
from .._numbers import F32, Scalar
from .._pytree import pytree_dataclass, static
from .._transformation import Transformation, transformation
from ..controllers._controller import as_early_rate, first_of, evaluate, start_of


class ProdigyState(NamedTuple):
    """What Prodigy remembers."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    skipped: jax.Array
    """Those of them whose gradient was not finite; int32 []."""
    seen: jax.Array
    """The others, since the memory began; int32 []."""
    learning_rate: jax.Array
    """γ_t · d_t, the rate last applied; float32 []."""
    m: Any
    """The mean of d·g, shaped like the parameters, float32 or wider."""
    v: Any
    """The mean of (d·g)², float32 or wider."""
    s: Any
    """The weighted sum of gradients, of every `slice_p`-th coordinate, float32 or wider."""
    start: Any
    """θ_0, of the same coordinates."""
    r: jax.Array
    """The weighted sum of ⟨g, θ_0 − θ⟩; float32 or wider []."""
    d: jax.Array
    """The estimate of the distance; float32 or wider []."""
    base: Any


@pytree_dataclass
class Prodigy:
    """See `prodigy`."""

    learning_rate: Any
    b1: Scalar = 0.9
    b2: Scalar = 0.999
    beta3: Scalar | None = None
    eps: Scalar = 1e-8
    estim_lr0: Scalar = 1e-6
    estim_lr_coef: Scalar = 1.0
    weight_decay: Scalar = 0.0
    safeguard_warmup: bool = static(default=False)
    use_bias_correction: bool = static(default=True)
    slice_p: int = static(default=1)

    def init(self, params: Any) -> ProdigyState:
        """The state before the first update."""
        dtype = real_dtype(params)
        sliced = jax.tree.map(self._sliced, params)
        s = wide_zeros_like(sliced)
        d = jnp.asarray(self.estim_lr0, dtype)
        first = first_of(self.learning_rate, params) * d.astype(F32)
        base = start_of(self.learning_rate, params)
        moments = wide_zeros_like(params), full_like_second(params, 0.0)
        return ProdigyState(
            zero_count(),
            zero_count(),
            zero_count(),
            first,
            *moments,
            s,
            sliced,
            jnp.zeros((), dtype),
            jnp.array(d),
            base,
        )

    def update(self, updates: Any, state: ProdigyState, params: Any = None, **extra: Any) -> tuple[Any, ProdigyState]:
        """A step of Adam's with the rate γ·d, and a new estimate of d."""
        check.needs_params("prodigy", updates, params)
        result = evaluate(self, self.learning_rate, state.base, updates, state.count, params, {"grad": updates, **extra})
        dtype, t = state.d.dtype, add_one(state.seen)
        d, d0 = state.d, jnp.asarray(self.estim_lr0, dtype)
        rate = d * result.rate.astype(dtype)
        if self.use_bias_correction:
            rate = rate * (sqrt(one_minus_power(self.b2, t)) / one_minus_power(self.b1, t)).astype(dtype)

        b3 = sqrt(jnp.asarray(self.b2, dtype)) if self.beta3 is None else jnp.asarray(self.beta3, dtype)
        g = jax.tree.map(self._sliced, updates)
        gap = jax.tree.map(lambda x, p: x - self._sliced(p).astype(x.dtype), state.start, params)
        r = b3 * state.r + d / d0 * rate * inner_product(g, gap).astype(dtype)
        weight = d / d0 * (d if self.safeguard_warmup else rate)
        s = map_leaves(
            lambda g, s: (g, b3.astype(real(g.dtype)) * s + weight.astype(real(g.dtype)) * g), 2, g, state.s
        )[1]
        size = absolute_sum(s).astype(dtype)
        estimate = jnp.asarray(self.estim_lr_coef, dtype) * r / jnp.where(size > 0, size, 1)
        usable = jnp.isfinite(r) & jnp.isfinite(size)
        usable = usable & all_finite(updates) if self.slice_p > 1 else usable
        new_d = jnp.maximum(d, jnp.where(size > 0, estimate, 0))

        def leaf(g: jax.Array, m: Any, v: Any, p: Any) -> tuple[jax.Array, ...]:
            kind = real(g.dtype)
            b1, b2, scale = jnp.asarray(self.b1, kind), jnp.asarray(self.b2, kind), d.astype(kind)
            new_m = b1 * m.astype(g.dtype) + (1 - b1) * scale * g
            new_v = b2 * v.astype(kind) + (1 - b2) * scale**2 * squared(g)
            root = sqrt(new_v) + new_d.astype(kind) * jnp.asarray(self.eps, kind)
            step = jnp.where(root > 0, new_m / jnp.where(root > 0, root, 1), jnp.zeros_like(g))
            decayed = jnp.asarray(self.weight_decay, kind) * jnp.asarray(p).astype(g.dtype)
            return select(usable, (-rate.astype(kind) * (step + decayed), new_m, new_v), (jnp.zeros_like(g), m, v))

        updates, m, v = map_leaves(leaf, 3, updates, state.m, state.v, params)
        s, r, new_d, base = select(usable, (s, r, new_d, result.memory), (state.s, state.r, d, state.base))
        applied = jnp.where(usable, result.rate.astype(dtype) * d, 0).astype(F32)
        skipped = jnp.where(usable & ~result.failed, state.skipped, add_one(state.skipped))
        seen = jnp.where(usable, t, state.seen)
        return updates, ProdigyState(add_one(state.count), skipped, seen, applied, m, v, s, state.start, r, new_d, base)

    def _sliced(self, x: Any) -> jax.Array:
        """A copy of the coordinates by which the distance is estimated."""
        x = jnp.asarray(x)
        if not trainable(x):
            return jnp.zeros((0,), F32)
        return jnp.array(x, x.dtype) if self.slice_p == 1 else x.reshape(-1)[:: self.slice_p]


@check.public
def prodigy(
    learning_rate: Any = 1.0,
    betas: tuple[Scalar, Scalar] = (0.9, 0.999),
    beta3: Scalar | None = None,
    eps: Scalar = 1e-8,
    estim_lr0: Scalar = 1e-6,
    estim_lr_coef: Scalar = 1.0,
    weight_decay: Scalar = 0.0,
    safeguard_warmup: bool = False,
    *,
    use_bias_correction: bool = True,
    slice_p: int = 1,
) -> Transformation:
    """Prodigy: Adam with a rate that it finds itself, an estimate d of the distance to the solution.

    With g_t the gradient, γ_t = `learning_rate` (a factor around 1, or a schedule that starts there), d_0 = `estim_lr0`
    and c_t = √(1 − β2^t) / (1 − β1^t), or 1 without `use_bias_correction`::

      m = β1·m + (1 − β1)·d·g_t,   v = β2·v + (1 − β2)·d²·g_t²
      r = β3·r + (d/d_0) · d·γ_t·c_t · ⟨g_t, θ_0 − θ⟩
      s = β3·s + (d/d_0) · d·γ_t·c_t · g_t                     (without γ_t·c_t under `safeguard_warmup`)
      d⁺ = max(d, estim_lr_coef · r / ‖s‖₁)
      θ ← θ − d·γ_t·c_t · (m / (√v + d⁺·eps) + weight_decay · θ),   d ← d⁺

    `lrx.learning_rate(state)` is γ_t·d. A gradient that is not finite moves nothing, and is counted in the state as
    `skipped`; a rate of 0, as at the start of a warmup, is no harm.

    Args:
      learning_rate: γ: a number, a schedule, or a controller that does without the direction, such as `plateau`. A
        linear decay to 0 is what works best.
      betas: β1 and β2, in [0, 1).
      beta3: β3; the root of β2 if None.
      eps: ≥ 0.
      estim_lr0: d_0 > 0, well below the distance.
      estim_lr_coef: > 0.
      weight_decay: λ ≥ 0, decoupled.
      safeguard_warmup: whether to leave the rate out of s, against an estimate that a long warmup makes too large.
      use_bias_correction: whether to correct the moments as Adam does; the authors' package has it off by default,
        optax always on.
      slice_p: estimate the distance by every p-th coordinate of each leaf, which needs 2 + 2/p words per parameter
        instead of 4; > 0. The authors recommend 11.

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
    check.positive_count(slice_p=slice_p)
    base = as_early_rate("learning_rate", learning_rate)
    numbers = b1, b2, beta3, eps, estim_lr0, estim_lr_coef, weight_decay
    return transformation(Prodigy(base, *numbers, safeguard_warmup, use_bias_correction, int(slice_p)))
