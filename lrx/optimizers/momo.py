"""MoMo: momentum whose rate comes from a model of the loss, and its version of Adam."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import (
    add_one,
    full_like_second,
    inner_product,
    map_leaves,
    one_minus_power,
    real,
    real_dtype,
    sqrt,
    squared,
    vary_like,
    wide_zeros_like,
    zero_count,
)
from .._numbers import F32, Hyperparameter, Scalar
from .._pytree import factory_name, pytree_dataclass, static
from .._skipping import SkipsUnusable
from .._transformation import Transformation, transformation
from ..controllers._controller import (
    LearningRate,
    as_one_rate,
    evaluate,
    first_of,
    is_by_leaf,
    require,
    scalar_value,
    start_of,
)


class _Memory(NamedTuple):
    """What MoMo remembers. The fields that optax has too are called as there."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    skipped: jax.Array
    """Those of them that were skipped, since the loss or the gradient was not finite; int32 []."""
    seen: jax.Array
    """The others, since the memory began; int32 []."""
    learning_rate: jax.Array
    """τ, the rate last applied; float32 []."""
    exp_avg: Any
    """d, the mean of the gradients, shaped like the parameters, float32 or wider."""
    exp_avg_sq: Any
    """v, the mean of their squares, float32 or wider; None for `momo`."""
    barf: jax.Array
    """f̄, the mean of the losses; float32 or wider []."""
    gamma: jax.Array
    """The mean of ⟨g, θ⟩; float32 or wider []."""
    lb: jax.Array
    """f*, the least loss; float32 or wider []."""
    base: Any


class MomoState(_Memory):
    """The state of MoMo."""

    __slots__ = ()


class MomoAdamState(_Memory):
    """The state of MoMo-Adam, with the fields of MoMo's."""

    __slots__ = ()


class _Model(SkipsUnusable):
    """What both share: the model of the loss, with or without Adam's metric."""

    learning_rate: Any
    lower_bound: Scalar
    weight_decay: Scalar
    adapt_lower_bound: bool
    b2: Any = None  # MoMo has none
    eps: Any = None

    @property
    def _b1(self) -> Scalar:
        raise NotImplementedError  # the decay of the means, by each rule's own name

    @property
    def elementwise(self) -> bool:
        """Whether each coordinate is treated by itself: a rate may be one for each leaf."""
        return not is_by_leaf(self.learning_rate)

    def init(self, params: Any) -> _Memory:
        """The state before the first update."""
        dtype = real_dtype(params)
        loss, gamma, bound = jnp.zeros((), dtype), jnp.zeros((), dtype), jnp.array(self.lower_bound, dtype)
        nu = None if self.b2 is None else full_like_second(params, 0.0)
        first, base = first_of(self.learning_rate, params), start_of(self.learning_rate, params)
        memory = zero_count(), zero_count(), first, wide_zeros_like(params), nu, loss, gamma, bound, base
        kind = MomoState if nu is None else MomoAdamState
        return kind(zero_count(), *vary_like(memory, params))

    def step(self, updates: Any, state: _Memory, params: Any = None, **extra: Any) -> tuple[Any, Any, jax.Array]:
        """A step of at most the base's rate."""
        require(f"{factory_name(self)}()", ("value", "params"), params=params, value=extra.get("value"))
        dtype = state.barf.dtype
        value = scalar_value(extra["value"]).astype(dtype)
        t = add_one(state.seen)
        extra = {"grad": updates, **extra}
        decay, start = self._decay(t, dtype)

        def means(g: jax.Array, d: Any, nu: Any = None) -> tuple[jax.Array, ...]:
            d = decay.astype(real(g.dtype)) * d.astype(g.dtype) + (1 - decay).astype(real(g.dtype)) * g
            if nu is None:
                return d, d
            b2, kind = jnp.asarray(self.b2, real(g.dtype)), real(g.dtype)
            nu = b2 * nu.astype(kind) + (1 - b2) * squared(g)
            root = sqrt(nu / one_minus_power(self.b2, t).astype(kind)) + jnp.asarray(self.eps, kind)
            return jnp.where(root > 0, d / jnp.where(root > 0, root, 1), jnp.zeros_like(d)), d, nu

        moments = (state.exp_avg,) if state.exp_avg_sq is None else (state.exp_avg, state.exp_avg_sq)
        direction, *moments = map_leaves(means, 1 + len(moments), updates, *moments)
        loss = decay * state.barf + (1 - decay) * value
        gamma = decay * state.gamma + (1 - decay) * inner_product(updates, params).astype(dtype)
        base = evaluate(self, self.learning_rate, state.base, direction, state.count, params, extra)
        alpha, size = base.rate.astype(dtype), inner_product(moments[0], direction).astype(dtype)
        weight_decay = jnp.asarray(self.weight_decay, dtype)
        decayed = jnp.where(weight_decay > 0, alpha * weight_decay, 0)  # α may be infinite
        shrink = 1 + decayed
        ahead = inner_product(moments[0], params).astype(dtype)

        bound = state.lb
        if self.adapt_lower_bound:
            cap = shrink * (loss - gamma) + ahead
            reset = jnp.maximum(cap / (2 * start * shrink), jnp.asarray(self.lower_bound, dtype))
            bound = jnp.where(cap < shrink * start * bound, reset, bound)
        gap = jnp.maximum(shrink * (loss - start * bound - gamma) + ahead, 0)
        tau = jnp.minimum(alpha / start, jnp.where(size > 0, gap / jnp.where(size > 0, size, 1), 0))
        if self.adapt_lower_bound:
            reached = (loss + ahead - gamma - tau * size / 2) / start
            bound = jnp.maximum(reached, jnp.asarray(self.lower_bound, dtype))

        d, nu = (*moments, None)[:2]
        moved = _moved(tau, decayed, direction, params)
        rate = (tau * start).astype(F32)
        new = type(state)(add_one(state.count), state.skipped, t, rate, d, nu, loss, gamma, bound, base.memory)
        failed = ~(jnp.isfinite(value) & jnp.isfinite(tau) & jnp.isfinite(size))
        return moved, new, failed | base.failed | base.unmeasured

    def _decay(self, t: jax.Array, dtype: Any) -> tuple[jax.Array, jax.Array]:
        """The weight of the past in a mean, and the sum of all weights so far."""
        beta, one = jnp.asarray(self._b1, dtype), jnp.ones((), dtype)
        if self.b2 is None:  # the means begin at the first gradient
            return jnp.where(t == 1, 0, beta), one
        return beta, one_minus_power(self._b1, t).astype(dtype)


def _moved(tau: jax.Array, decayed: jax.Array, direction: Any, params: Any) -> Any:
    """(θ − τ·d) / (1 + α·λ) − θ."""

    def leaf(d: jax.Array, p: Any) -> tuple[jax.Array]:
        kind = real(d.dtype)
        step = tau.astype(kind) * d + decayed.astype(kind) * jnp.asarray(p).astype(d.dtype)
        return (-step / (1 + decayed.astype(kind)),)

    return map_leaves(leaf, 1, direction, params)[0]


@pytree_dataclass
class Momo(_Model):
    """See `momo`."""

    learning_rate: Any
    beta: Scalar = 0.9
    lower_bound: Scalar = 0.0
    weight_decay: Scalar = 0.0
    adapt_lower_bound: bool = static(default=False)

    @property
    def _b1(self) -> Scalar:
        return self.beta


@pytree_dataclass
class MomoAdam(_Model):
    """See `momo_adam`."""

    learning_rate: Any
    b1: Scalar = 0.9
    b2: Scalar = 0.999
    eps: Scalar = 1e-8
    lower_bound: Scalar = 0.0
    weight_decay: Scalar = 0.0
    adapt_lower_bound: bool = static(default=False)

    @property
    def _b1(self) -> Scalar:
        return self.b1


@check.public
def momo(
    learning_rate: LearningRate = 1.0,
    beta: Hyperparameter = 0.9,
    lower_bound: Hyperparameter = 0.0,
    weight_decay: Hyperparameter = 0.0,
    adapt_lower_bound: bool = False,
) -> Transformation:
    """MoMo: SGD with momentum and an adaptive rate from the losses, the largest that they justify.

    With f_t the loss, g_t the gradient, η_t = `learning_rate`, λ = `weight_decay` and f* = `lower_bound`, the means
    beginning at the first loss and gradient::

      f̄ = β·f̄ + (1 − β)·f_t,   d = β·d + (1 − β)·g_t,   γ = β·γ + (1 − β)·⟨g_t, θ⟩
      τ = min(η_t, [(1 + η_t·λ)·(f̄ − f* − γ) + ⟨d, θ⟩]₊ / ‖d‖²)
      θ ← (θ − τ·d) / (1 + η_t·λ)

    `lrx.learning_rate(state)` is τ. A loss or gradient that is not finite moves nothing, and is counted in the state as
    `skipped`. (With a weight decay optax does not divide τ·d by 1 + η·λ; the paper does.)

    Args:
      learning_rate: η, the greatest rate: a number, a schedule or a controller.
      beta: in [0, 1).
      lower_bound: f*, the least loss.
      weight_decay: λ ≥ 0.
      adapt_lower_bound: whether to estimate f* as training goes on, from `lower_bound` upwards.

    Returns:
      A transformation, whose update needs the parameters and `value=`, the loss.

    Raises:
      ValueError: if a number is out of its range; in update, if the parameters or `value=` are missing.
      TypeError: if `learning_rate` is no rate.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> tx = lrx.momo(1.0)
      >>> params = jnp.array([2.0])
      >>> value, grad = jax.value_and_grad(lambda p: jnp.sum(p**2))(params)
      >>> updates, state = tx.update(grad, tx.init(params), params, value=value)
      >>> print(lrx.learning_rate(state), updates)
      0.25 [-1.]

    References:
      Schaipp, Ohana, Eickenberg, Defazio, Gower, MoMo: momentum models for adaptive learning rates (ICML 2024),
      arXiv 2305.07583, algorithm 1.
    """
    check.below_one(beta=beta)
    check.non_negative(weight_decay=weight_decay)
    base = as_one_rate("learning_rate", learning_rate, is_cap=True)
    return transformation(Momo(base, beta, lower_bound, weight_decay, adapt_lower_bound))


@check.public
def momo_adam(
    learning_rate: LearningRate = 1e-2,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    lower_bound: Hyperparameter = 0.0,
    weight_decay: Hyperparameter = 0.0,
    adapt_lower_bound: bool = False,
) -> Transformation:
    """MoMo-Adam: Adam with an adaptive rate from the losses, the largest that they justify.

    As `momo`, with all means beginning at 0, ρ = 1 − b1^t the sum of their weights, and the metric of Adam::

      v = b2·v + (1 − b2)·g_t²,   D = √(v / (1 − b2^t)) + eps
      τ = min(η_t / ρ, [(1 + η_t·λ)·(f̄ − ρ·f* − γ) + ⟨d, θ⟩]₊ / ⟨d, d/D⟩)
      θ ← (θ − τ·d/D) / (1 + η_t·λ)

    `lrx.learning_rate(state)` is ρ·τ ≤ η_t, the rate of an equal step of Adam's.

    Args:
      learning_rate: η, the greatest rate: a number, a schedule or a controller.
      b1: in [0, 1).
      b2: in [0, 1).
      eps: ≥ 0.
      lower_bound: f*, the least loss.
      weight_decay: λ ≥ 0.
      adapt_lower_bound: whether to estimate f* as training goes on, from `lower_bound` upwards.

    Returns:
      A transformation, whose update needs the parameters and `value=`, the loss.

    Raises:
      ValueError: if a number is out of its range; in update, if the parameters or `value=` are missing.
      TypeError: if `learning_rate` is no rate.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> tx = lrx.momo_adam(1.0)
      >>> params = jnp.array([2.0])
      >>> value, grad = jax.value_and_grad(lambda p: jnp.sum(p**2))(params)
      >>> updates, state = tx.update(grad, tx.init(params), params, value=value)
      >>> print(lrx.learning_rate(state))  # f / |g| = 4 / 4
      1.0

    References:
      Schaipp, Ohana, Eickenberg, Defazio, Gower, MoMo: momentum models for adaptive learning rates (ICML 2024),
      arXiv 2305.07583, algorithm 2.
    """
    check.below_one(b1=b1, b2=b2)
    check.epsilon(eps=eps)
    check.non_negative(weight_decay=weight_decay)
    base = as_one_rate("learning_rate", learning_rate, is_cap=True)
    return transformation(MomoAdam(base, b1, b2, eps, lower_bound, weight_decay, adapt_lower_bound))
