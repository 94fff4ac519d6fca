"""What the optimizers of D-Adaptation share: the state and the factor of the rate that they find."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import (
    add_one,
    full_like_second,
    map_leaves,
    real,
    real_dtype,
    vary_like,
    wide_zeros_like,
    zero_count,
)
from .._numbers import F32, Scalar
from .._pytree import factory_name
from .._skipping import SkipsUnusable
from ..controllers._controller import as_early_rate, evaluate, first_of, start_of

LEAST_FACTOR = 0.009
"""A smaller number, such as 1e-3, is a learning rate that somebody is used to, not a factor of one."""


class DadaptState(NamedTuple):
    """What D-Adaptation remembers. The fields that optax has too are called as there."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    skipped: jax.Array
    """Those of them that were skipped, since the gradient or the rate was not finite; int32 []."""
    seen: jax.Array
    """The others, since the memory began; int32 []."""
    learning_rate: jax.Array
    """The rate last applied, γ_t · d_t (over ‖g_0‖ for SGD); float32 []."""
    estim_lr: jax.Array
    """d, the estimate of the distance; float32 or wider []."""
    numerator_weighted: jax.Array
    """r, the sum that it is estimated from; float32 or wider []."""
    first_norm: jax.Array | None
    """‖g_0‖, of the first gradient that is not 0, for SGD; float32 or wider []."""
    grad_sum: Any
    """s, the weighted sum of gradients, shaped like the parameters, float32 or wider."""
    exp_avg: Any
    """m. SGD and AdaGrad: z − θ, how far the parameters lag behind the dual average; Adam: the first moment.
    Float32 or wider."""
    exp_avg_sq: Any
    """v. AdaGrad and Adam: the squares of the gradients, summed or averaged, float32 or wider; None for SGD."""
    base: Any


class Dadapt(SkipsUnusable):
    """The rule, but for the step in which the three differ."""

    learning_rate: Any
    estim_lr0: Scalar
    weight_decay: Scalar

    elementwise = True

    def init(self, params: Any) -> DadaptState:
        """The state before the first update."""
        dtype = real_dtype(params)
        d = jnp.array(jnp.asarray(self.estim_lr0, dtype))
        first = first_of(self.learning_rate, params) * d.astype(F32)
        moments = wide_zeros_like(params), self._squares(params)
        norm, base = self._first_norm(dtype), start_of(self.learning_rate, params)
        zero = jnp.zeros((), dtype)
        memory = zero_count(), zero_count(), first, d, zero, norm, wide_zeros_like(params), *moments, base
        return DadaptState(zero_count(), *vary_like(memory, params))

    def step(self, updates: Any, state: DadaptState, params: Any = None, **extra: Any) -> tuple[Any, Any, jax.Array]:
        """A step with the rate γ·d, and a new estimate of d."""
        check.needs_params(factory_name(self), updates, params)
        base = evaluate(self, self.learning_rate, state.base, updates, state.count, params, {"grad": updates, **extra})
        rate, moved, new = self._step(updates, state, state.estim_lr * base.rate.astype(state.estim_lr.dtype))

        def leaf(u: jax.Array, p: Any) -> tuple[jax.Array]:
            decay = (rate * jnp.asarray(self.weight_decay, rate.dtype)).astype(real(u.dtype))
            return (u - decay * jnp.asarray(p).astype(u.dtype),)

        new = new._replace(
            count=add_one(state.count),
            seen=add_one(state.seen),
            learning_rate=self._shown(rate, base.rate, state.estim_lr).astype(F32),
            base=base.memory,
        )
        return map_leaves(leaf, 1, moved, params)[0], new, base.failed | base.unmeasured

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
    return as_factor("learning_rate", learning_rate)


def as_factor(argument: str, x: Any) -> Any:
    """As `as_early_rate`, for a factor of the rate that an optimizer finds: a number is about 1."""
    rate = as_early_rate(argument, x)
    if type(x) in (int, float) and 0 < x < LEAST_FACTOR:
        way_out = "Leave it out, or give 1.0: the rate itself is estimated. estim_lr0 is where the estimate starts."
        raise check.fail(argument, "is a factor of the rate that is found, normally 1", x, way_out)
    return rate
