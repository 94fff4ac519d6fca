"""Mechanic: learn the scale of any optimizer's updates."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .. import _check as check
from .._arithmetic import (
    add_one,
    global_norm,
    inner_product,
    map_leaves,
    map_present,
    real,
    real_dtype,
    sqrt,
    vary_like,
    widened,
    zero_count,
)
from .._numbers import F32, Hyperparameter, Scalar
from .._pytree import pytree_dataclass, static
from .._skipping import SkipsUnusable
from .._transformation import Transformation, as_transformation, transformation
from .._travel import beginnings, gone_on, to_dtypes, way
from ..state import learning_rates


class MechanizeState(NamedTuple):
    """What Mechanic remembers. The fields that optax has too are called as there."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    skipped: jax.Array
    """Those of them that were skipped, since the gradient was not finite; int32 []."""
    learning_rate: jax.Array
    """The scale last applied, Σs, times the rate of the inner optimizer if it has one; float32 []."""
    x0: Any
    """θ_0, a copy; None for leaves narrower than float32."""
    moved: Any
    """θ − θ_0 of these, the sum of their updates before rounding, float32; None for the others."""
    r: jax.Array
    """The reward of each of the n bettors; float32 or wider [num_betas], as the next three."""
    m: jax.Array
    """The greatest |h| that each remembers."""
    v: jax.Array
    """The sum of h² that each remembers."""
    s: jax.Array
    """The scale that each bets on."""
    base_optimizer_state: Any
    """The state of the inner optimizer."""


@pytree_dataclass
class Mechanize(SkipsUnusable):
    """See `mechanize`."""

    inner: Any = static()
    weight_decay: Scalar = 1e-2
    eps: Scalar = 1e-8
    s_init: Scalar = 1e-6
    num_betas: int = static(default=6)

    renamed = (("inner", "base_optimizer"),)
    elementwise = True

    def init(self, params: Any) -> MechanizeState:
        """The state before the first update."""
        dtype = real_dtype(params)
        r, m, v = (jnp.zeros((self.num_betas,), dtype) for _ in range(3))
        s = jnp.full((self.num_betas,), jnp.asarray(self.s_init).astype(dtype), dtype)
        inner = self.inner.init(params)
        memory = zero_count(), _rate(s, inner), *beginnings(params), r, m, v, s, inner
        return MechanizeState(zero_count(), *vary_like(memory, params))

    def step(self, updates: Any, state: MechanizeState, params: Any = None, **extra: Any) -> tuple[Any, Any, jax.Array]:
        """θ_0 + Σs · (sum of the inner updates) − θ."""
        check.needs_params("mechanize", updates, params)
        dtype = state.s.dtype
        number = {name: jnp.asarray(getattr(self, name), dtype) for name in ("weight_decay", "eps", "s_init")}
        steps, inner = self.inner.update(updates, state.base_optimizer_state, params, **extra)
        scale = jnp.sum(state.s)

        # Δ, the sum of the inner updates so far, is recovered from where they have led
        def travelled(u: jax.Array, away: Any) -> tuple[jax.Array]:
            return (away.astype(u.dtype) / (scale + number["eps"]).astype(real(u.dtype)),)

        away = way(params, state.x0, state.moved)
        delta = map_leaves(travelled, 1, widened(updates), away)[0]
        pull = number["weight_decay"] * scale * global_norm(updates).astype(dtype)
        trained = map_present(lambda _, p: p, updates, params)
        pull = pull / (global_norm(trained).astype(dtype) + number["eps"])
        h = -inner_product(updates, delta).astype(dtype) - pull * inner_product(params, delta).astype(dtype)

        betas = 1 - jnp.asarray(0.1, dtype) ** jnp.arange(1, self.num_betas + 1).astype(dtype)
        m = jnp.maximum(betas * state.m, jnp.abs(h) + number["eps"])
        v = betas**2 * state.v + h**2
        r = betas * state.r + jnp.clip(h, -state.m, state.m) * state.s
        s = (number["s_init"] / self.num_betas * m + jnp.maximum(r, 0)) / (sqrt(v) + number["eps"])
        new_scale = jnp.sum(s)

        def leaf(u: jax.Array, delta: jax.Array, away: Any) -> tuple[jax.Array]:
            return (new_scale.astype(real(u.dtype)) * (delta.astype(u.dtype) + u) - away.astype(u.dtype),)

        moves = map_leaves(leaf, 1, widened(steps), delta, away)[0]
        new = state._replace(
            count=add_one(state.count),
            learning_rate=_rate(s, inner),
            moved=gone_on(state.moved, moves),
            r=r,
            m=m,
            v=v,
            s=s,
            base_optimizer_state=inner,
        )
        return to_dtypes(steps, moves), new, jnp.zeros((), bool)


def _rate(s: jax.Array, inner: Any) -> jax.Array:
    scale, rates = jnp.sum(s).astype(F32), list(learning_rates(inner).values())
    return scale * rates[0] if len(rates) == 1 else scale


@check.public
def mechanize(
    base_optimizer: optax.GradientTransformation,
    weight_decay: Hyperparameter = 1e-2,
    eps: Hyperparameter = 1e-8,
    s_init: Hyperparameter = 1e-6,
    num_betas: int = 6,
) -> Transformation:
    """Mechanic: find the scale for the updates of any optimizer while they are made.

    With u_t the updates of `base_optimizer`, g_t the gradient, λ = `weight_decay`, n = `num_betas` bettors with decays
    β_i = 1 − 10^−i and s_i = s_init at the start::

      Δ_t = (θ_t − θ_0) / (Σs + eps)                               the sum of the updates so far
      h = −⟨g_t + λ · Σs · ‖g_t‖/(‖θ_t‖ + eps) · θ_t, Δ_t⟩
      r_i ← β_i·r_i + clip(h, −m_i, m_i)·s_i,   m_i ← max(β_i·m_i, |h| + eps),   v_i ← β_i²·v_i + h²
      s_i ← (s_init/n · m_i + [r_i]₊) / (√v_i + eps)
      θ_{t+1} = θ_0 + Σs · (Δ_t + u_t)

    `lrx.learning_rate(state)` is Σs times the rate of `base_optimizer`. Give that a rate of 1, or a schedule that
    starts there. A gradient that is not finite moves nothing, and is counted in the state as `skipped`. For
    parameters in bfloat16 or float16, which round small updates away, θ_t − θ_0 is kept in float32.

    Args:
      base_optimizer: lrx's or optax's.
      weight_decay: λ ≥ 0, a regularization of the scale; the decay of `base_optimizer` goes on beside it.
      eps: > 0.
      s_init: > 0, well below the scale.
      num_betas: n > 0.

    Returns:
      A transformation, whose update needs the parameters. It keeps one word per parameter.

    Raises:
      ValueError: if a number is out of its range; in update, if there are no parameters.
      TypeError: if `base_optimizer` is no transformation.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.mechanize(lrx.adam(1.0), s_init=0.5, num_betas=1)
      >>> params = jnp.array([2.0])
      >>> state = tx.init(params)
      >>> print(lrx.learning_rate(state))
      0.5

    References:
      Cutkosky, Defazio, Mehta, Mechanic: a learning rate tuner (NeurIPS 2023), arXiv 2306.00144, algorithm 1, with the
      clipping of optax.contrib.
    """
    check.non_negative(weight_decay=weight_decay)
    check.positive(s_init=s_init, eps=eps)
    check.positive_count(num_betas=num_betas)
    inner = as_transformation("base_optimizer", base_optimizer)
    return transformation(Mechanize(inner, weight_decay, eps, s_init, int(num_betas)))
