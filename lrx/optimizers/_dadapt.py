"""What the optimizers of D-Adaptation share: the state, the base's rate, and what is not finite."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import (
    add_one,
    full_like_second,
    global_norm,
    map_leaves,
    real,
    real_dtype,
    select,
    wide_zeros_like,
    zero_count,
)
from .._numbers import F32, Scalar
from .._pytree import factory_name
from ..controllers._controller import as_early_rate, first_of, evaluate, start_of


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


class Dadapt:
    """The rule, but for the step in which the three differ."""

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
        result = evaluate(self, self.learning_rate, state.base, updates, state.count, params, {"grad": updates, **extra})
        rate, moved, new = self._step(updates, state, state.d * result.rate.astype(state.d.dtype))
        usable = jnp.isfinite(new.r) & jnp.isfinite(new.d) & jnp.isfinite(global_norm(updates))

        def leaf(u: jax.Array, p: Any) -> tuple[jax.Array]:
            decay = (rate * jnp.asarray(self.weight_decay, rate.dtype)).astype(real(u.dtype))
            return (jnp.where(usable, u - decay * jnp.asarray(p).astype(u.dtype), jnp.zeros_like(u)),)

        kept = select(usable, new._replace(base=result.memory), state)
        return map_leaves(leaf, 1, moved, params)[0], kept._replace(
            count=add_one(state.count),
            skipped=jnp.where(usable & ~result.failed, state.skipped, add_one(state.skipped)),
            seen=jnp.where(usable, add_one(state.seen), state.seen),
            learning_rate=jnp.where(usable, self._shown(rate, result.rate, state.d), 0).astype(F32),
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


def larger(d: jax.Array, gap: jax.Array, size: jax.Array, growth_rate: Scalar) -> jax.Array:
    """The next d: max(d, min(gap / size, growth_rate · d))."""
    estimate = jnp.where(size > 0, gap / jnp.where(size > 0, size, 1), 0)
    growth = jnp.asarray(growth_rate, d.dtype)
    bounded = jnp.isfinite(growth)  # infinity times a cotangent of 0 is nan
    return jnp.maximum(d, jnp.where(bounded, jnp.minimum(estimate, jnp.where(bounded, growth, 1) * d), estimate))


def checked(learning_rate: Any, estim_lr0: Any, weight_decay: Any, growth_rate: Any) -> Any:
    """The base of the rate, and the numbers that all three have, checked."""
    check.positive(estim_lr0=estim_lr0)
    check.non_negative(weight_decay=weight_decay)
    check.at_least_one(growth_rate=growth_rate)
    return as_early_rate("learning_rate", learning_rate)
