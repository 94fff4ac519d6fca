"""RMSprop: each coordinate divided by the root of its recent mean square."""

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
    wide_zeros_like,
    zero_count,
)
from .._chain import chain
from .._numbers import F32, Hyperparameter, Scalar
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, transformation
from ..controllers._controller import LearningRate
from ._dtype import dtype_name
from .learning_rate import scale_by_learning_rate
from .momentum import trace


class ScaleByRmsState(NamedTuple):
    """The state of RMSprop. optax's has no count, so it is not called so."""

    num_updates: jax.Array
    """t, the number of updates completed; int32 []."""
    nu: Any
    """v, the mean square, shaped like the parameters, float32 or `nu_dtype`."""


class ScaleByRmsWithCountState(NamedTuple):
    """The state of RMSprop with bias correction."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    nu: Any
    """v, the mean square, shaped like the parameters, float32 or `nu_dtype`."""


class ScaleByStddevState(NamedTuple):
    """The state of centred RMSprop. optax's has no count, so it is not called so."""

    num_updates: jax.Array
    """t, the number of updates completed; int32 []."""
    mu: Any
    """m, the mean, shaped like the parameters, in at least float32."""
    variance: Any
    """s = v − m², shaped like the parameters, float32 or `nu_dtype`. optax keeps v as `nu`."""


class ScaleByStddevWithCountState(NamedTuple):
    """The state of centred RMSprop with bias correction."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    mu: Any
    """m̂, the corrected mean, shaped like the parameters, in at least float32."""
    variance: Any
    """c·(v̂ − m̂²), shaped like the parameters, float32 or `nu_dtype`."""


def _divided(g: jax.Array, v: jax.Array, eps: jax.Array, eps_in_sqrt: bool) -> jax.Array:
    return g * jax.lax.rsqrt(v + eps) if eps_in_sqrt else g / (sqrt(v) + eps)


@pytree_dataclass
class ScaleByRms(Rule):
    """See `scale_by_rms`."""

    decay: Scalar = 0.9
    eps: Scalar = 1e-8
    initial_scale: Scalar = 0.0
    eps_in_sqrt: bool = static(default=True)
    bias_correction: bool = static(default=False)
    nu_dtype: str | None = static(default=None)

    elementwise = True

    def init(self, params: Any) -> ScaleByRmsState | ScaleByRmsWithCountState:
        """The state before the first update."""
        kind = ScaleByRmsWithCountState if self.bias_correction else ScaleByRmsState
        return kind(zero_count(), full_like_second(params, self.initial_scale, self.nu_dtype))

    def update(
        self, updates: Any, state: ScaleByRmsState | ScaleByRmsWithCountState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByRmsState | ScaleByRmsWithCountState]:
        """One step, on each leaf."""
        del params, extra
        t = add_one(state[0])
        c = one_minus_power(self.decay, t.astype(F32)) if self.bias_correction else jnp.ones((), F32)

        def leaf(g: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
            r = real(g.dtype)
            decay, eps = jnp.asarray(self.decay, r), jnp.asarray(self.eps, r)
            v = decay * v.astype(r) + (1 - decay) * squared(g)
            v_hat = v * (1 / c).astype(r) if self.bias_correction else v
            return _divided(g, v_hat, eps, self.eps_in_sqrt), v

        updates, v = map_leaves(leaf, 2, updates, state.nu)
        return updates, type(state)(t, v)


@pytree_dataclass
class ScaleByStddev(Rule):
    """See `scale_by_stddev`."""

    decay: Scalar = 0.9
    eps: Scalar = 1e-8
    initial_scale: Scalar = 0.0
    eps_in_sqrt: bool = static(default=True)
    bias_correction: bool = static(default=False)
    nu_dtype: str | None = static(default=None)

    elementwise = True

    def init(self, params: Any) -> ScaleByStddevState | ScaleByStddevWithCountState:
        """The state before the first update."""
        variance = full_like_second(params, self.initial_scale, self.nu_dtype)
        kind = ScaleByStddevWithCountState if self.bias_correction else ScaleByStddevState
        return kind(zero_count(), wide_zeros_like(params), variance)

    def update(
        self, updates: Any, state: ScaleByStddevState | ScaleByStddevWithCountState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByStddevState | ScaleByStddevWithCountState]:
        """One step, on each leaf.

        v − m² would cancel. With v_t = d·v + (1−d)·g² and m_t = d·m + (1−d)·g it obeys
        s_t = d·s_{t−1} + (1−d)·d·(g − m_{t−1})², which adds only positive numbers.
        Corrected, with c_t = 1 − dᵗ and m̂ = m/c in the state, c_t·(v̂_t − m̂_t²) obeys
        s_t = d·s_{t−1} + (1−d)·d·(c_{t−1}/c_t)·(g − m̂_{t−1})², which is 0 at t = 1.
        """
        del params, extra
        t = add_one(state[0])
        c_old = c = jnp.ones((), F32)
        if self.bias_correction:
            c_old, c = (one_minus_power(self.decay, n.astype(F32)) for n in (state[0], t))

        def leaf(g: jax.Array, m: jax.Array, s: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            r = real(g.dtype)
            d, eps = jnp.asarray(self.decay, r), jnp.asarray(self.eps, r)
            change = g - m.astype(g.dtype)
            s = d * (s.astype(r) + (1 - d) * (c_old / c).astype(r) * squared(change))
            m = m.astype(g.dtype) + (1 - d) * (1 / c).astype(r) * change
            return _divided(g, s * (1 / c).astype(r), eps, self.eps_in_sqrt), m, s

        updates, m, s = map_leaves(leaf, 3, updates, state.mu, state.variance)
        return updates, type(state)(t, m, s)


@check.public
def scale_by_rms(
    decay: Hyperparameter = 0.9,
    eps: Hyperparameter = 1e-8,
    initial_scale: Hyperparameter = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
    *,
    nu_dtype: Any = None,
) -> Transformation:
    """Divide each coordinate by the root of its recent mean square: see `rmsprop`.

    ::

      v_t = decay·v_{t−1} + (1 − decay)·g_t²
      u_t = g_t / √(v_t + eps)         or, with `eps_in_sqrt=False`,   u_t = g_t / (√v_t + eps)

    Args:
      decay: in [0, 1).
      eps: ε ≥ 0.
      initial_scale: v_0 ≥ 0.
      eps_in_sqrt: whether ε is inside the root.
      bias_correction: whether to divide v_t by 1 − decay^t first.
      nu_dtype: dtype of v; at least float32 if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if `decay` is not in [0, 1), or a number is negative, or `eps` vanishes in float32.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_rms(decay=0.75, eps=0.0)
      >>> updates, _ = tx.update(jnp.array([3.0, -5.0]), tx.init(jnp.zeros(2)))
      >>> print(updates)
      [ 2. -2.]

    References:
      Hinton, Neural networks for machine learning (2012), lecture 6e.
    """
    check.below_one(decay=decay)
    check.epsilon(eps=eps)
    check.non_negative(initial_scale=initial_scale)
    nu_dtype = dtype_name("nu_dtype", nu_dtype)
    return transformation(ScaleByRms(decay, eps, initial_scale, eps_in_sqrt, bias_correction, nu_dtype))


@check.public
def scale_by_stddev(
    decay: Hyperparameter = 0.9,
    eps: Hyperparameter = 1e-8,
    initial_scale: Hyperparameter = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
    *,
    nu_dtype: Any = None,
) -> Transformation:
    """Divide each coordinate by the recent standard deviation of its gradient: see `rmsprop(centered=True)`.

    ::

      m_t = decay·m_{t−1} + (1 − decay)·g_t
      v_t = decay·v_{t−1} + (1 − decay)·g_t²
      u_t = g_t / √(v_t − m_t² + eps)         or, with `eps_in_sqrt=False`,   u_t = g_t / (√(v_t − m_t²) + eps)

    The state holds v_t − m_t² as `variance`, computed without a subtraction, in place of optax's `nu`, which is v_t.

    Args:
      decay: in [0, 1).
      eps: ε ≥ 0.
      initial_scale: v_0 ≥ 0.
      eps_in_sqrt: whether ε is inside the root.
      bias_correction: whether to divide m_t and v_t by 1 − decay^t first.
      nu_dtype: dtype of v − m²; at least float32 if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if `decay` is not in [0, 1), or a number is negative, or `eps` vanishes in float32.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_stddev(decay=0.5, eps=0.0)
      >>> updates, _ = tx.update(jnp.array([3.0, -5.0]), tx.init(jnp.zeros(2)))
      >>> print(updates)
      [ 2. -2.]

    References:
      Graves, Generating sequences with recurrent neural networks (2013), arXiv 1308.0850, equations 38–41.
    """
    check.below_one(decay=decay)
    check.epsilon(eps=eps)
    check.non_negative(initial_scale=initial_scale)
    nu_dtype = dtype_name("nu_dtype", nu_dtype)
    return transformation(ScaleByStddev(decay, eps, initial_scale, eps_in_sqrt, bias_correction, nu_dtype))


@check.public
def rmsprop(
    learning_rate: LearningRate,
    decay: Hyperparameter = 0.9,
    eps: Hyperparameter = 1e-8,
    initial_scale: Hyperparameter = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: Hyperparameter | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
) -> Transformation:
    """RMSprop: the rate of each coordinate falls with the root of its recent mean square.

    With g_t the gradient, η_t the learning rate and μ the momentum::

      v_t = decay·v_{t−1} + (1 − decay)·g_t²
      d_t = η_t · g_t / √(v_t + eps)           (`eps_in_sqrt=False`: η_t · g_t / (√v_t + eps))
      θ_t = θ_{t−1} − d_t                      (momentum: b_t = μ·b_{t−1} + d_t,  θ_t = θ_{t−1} − b_t)

    If `centered`, v_t − m_t² replaces v_t, with m_t the mean gradient. As in optax, the momentum accumulates updates
    with their rates, and ε is inside the root; torch has it outside: `eps_in_sqrt=False`.

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number or a schedule.
      decay: in [0, 1).
      eps: ε ≥ 0.
      initial_scale: v_0 ≥ 0.
      eps_in_sqrt: whether ε is inside the root.
      centered: whether to divide by the standard deviation instead of the root mean square.
      momentum: μ in [0, 1), or None for no momentum.
      nesterov: whether to use Nesterov momentum.
      bias_correction: whether to divide the means by 1 − decay^t first.

    Returns:
      A transformation.

    Raises:
      ValueError: if a decay is not in [0, 1), or a number is negative, or `eps` vanishes in float32.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.rmsprop(0.25, decay=0.75, eps=0.0)
      >>> updates, _ = tx.update(jnp.array([3.0, -5.0]), tx.init(jnp.zeros(2)))
      >>> print(updates)
      [-0.5  0.5]

    References:
      Hinton, Neural networks for machine learning (2012), lecture 6e; Graves, arXiv 1308.0850 (centred).
    """
    check.flag(centered=centered, nesterov=nesterov)
    scale = scale_by_stddev if centered else scale_by_rms
    rule = scale(decay, eps, initial_scale, eps_in_sqrt, bias_correction)
    if momentum is None:
        return chain(rule, scale_by_learning_rate(learning_rate))
    check.below_one(momentum=momentum)
    return chain(rule, scale_by_learning_rate(learning_rate), trace(momentum, nesterov))
