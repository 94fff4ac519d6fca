"""Adafactor: Adam's second moment of a matrix, stored as its row and column means."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import add_one, full_like_second, map_leaves, sqrt, squared, vary_like, zero_count
from .._chain import chain
from .._numbers import F32, Count, Hyperparameter, Scalar
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, transformation
from ..controllers._controller import LearningRate
from ._blocks import map_blocks
from ._dtype import dtype_name
from ._labels import as_mask
from ._negate import negate
from .clip_by_block import clip_by_block_rms
from .ema import ema
from .learning_rate import scale_by_learning_rate
from .masking import is_placeholder
from .trust_ratio import scale_by_param_block_rms
from .weight_decay import add_decayed_weights


class FactoredState(NamedTuple):
    """The state of Adafactor.

    Three trees like the parameters. A leaf has zeros [1] where it has no such mean.
    """

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    v_row: Any
    """R, the mean over the largest axis of each leaf that is factored, float32 or `nu_dtype`."""
    v_col: Any
    """C, the mean over the second largest axis, as R."""
    v: Any
    """v in the shape of each leaf that is not factored, float32 or `nu_dtype`."""


@pytree_dataclass
class ScaleByFactoredRms(Rule):
    """See `scale_by_factored_rms`."""

    factored: bool = static(default=True)
    decay_rate: Scalar = 0.8
    step_offset: Count = 0
    min_dim_size_to_factor: int = static(default=128)
    epsilon: Scalar = 1e-30
    decay_rate_fn: Any = static(default=None)
    nu_dtype: str | None = static(default=None)

    stacks = "mapped"

    def init(self, params: Any) -> FactoredState:
        """The state before the first update."""
        if self.factored and is_placeholder(params):
            return FactoredState(*(zero_count() for _ in range(4)))  # the factors are not shaped like the parameters

        def second(p: Any) -> tuple[Any, Any, Any]:
            v = full_like_second(p, 0.0, self.nu_dtype)
            axes = self._axes(jnp.shape(p))
            if axes is None:
                return _nothing(v), _nothing(v), v
            # as sums, they are laid out on a mesh as the means of an update will be
            return jnp.sum(v, axes[0]), jnp.sum(v, axes[1]), _nothing(v)

        return FactoredState(zero_count(), *map_blocks(second, 3, params))

    def update(self, updates: Any, state: FactoredState, params: Any = None, **extra: Any) -> tuple[Any, FactoredState]:
        """Algorithms 4 and 5, on each leaf, without clipping and the step size."""
        del params, extra
        new = self._weight(state.count)

        def mean(old: jax.Array, square: jax.Array) -> jax.Array:
            w = new.astype(square.dtype)
            return (1 - w) * old.astype(square.dtype) + w * (square + jnp.asarray(self.epsilon, square.dtype))

        def whole(g: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
            v = mean(v, squared(g))
            return g * _inverse(sqrt(v)), v

        def factored(
            axes: tuple[int, int], g: jax.Array, row: jax.Array, column: jax.Array
        ) -> tuple[jax.Array, jax.Array, jax.Array]:
            largest, second = axes
            square = squared(g)
            row, column = mean(row, jnp.mean(square, largest)), mean(column, jnp.mean(square, second))
            # v = row·column / mean(row); with roots, since 1e-30² is 0 in float32
            size = sqrt(jnp.mean(row, second - (second > largest), keepdims=True))
            by_row, by_column = _inverse(sqrt(row)) * size, _inverse(sqrt(column))
            return g * jnp.expand_dims(by_row, largest) * jnp.expand_dims(by_column, second), row, column

        def block(g: Any, row: Any, column: Any, v: Any) -> tuple[Any, Any, Any, Any]:
            axes = self._axes(jnp.shape(g))
            if axes is None:
                g, v = map_leaves(whole, 2, g, v)
                return g, _nothing(row), _nothing(column), v
            g, row, column = map_leaves(functools.partial(factored, axes), 3, g, row, column)
            return g, row, column, _nothing(v)

        updates, *means = map_blocks(block, 4, updates, state.v_row, state.v_col, state.v)
        return updates, FactoredState(add_one(state.count), *means)

    def _axes(self, shape: tuple[int, ...]) -> tuple[int, int] | None:
        """The largest and the second largest axis of a leaf to be factored, the last ones of equal ones first."""
        if not self.factored or len(shape) < 2 or 0 in shape:
            return None
        *_, second, largest = sorted(range(len(shape)), key=shape.__getitem__)
        return (largest, second) if shape[second] >= self.min_dim_size_to_factor else None

    def _weight(self, count: jax.Array) -> jax.Array:
        """1 − β̂, the weight of the newest square."""
        since = count - self.step_offset
        if self.decay_rate_fn is not None:
            return 1 - jnp.asarray(self.decay_rate_fn(since, self.decay_rate)).astype(F32)
        t = add_one(jnp.maximum(since, 0)).astype(F32)
        return jnp.exp(-jnp.asarray(self.decay_rate, F32) * jnp.log(t))  # t^−c


def _nothing(like: Any) -> jax.Array:
    """What stands for a mean that a leaf does not have, as in optax's state.

    Made anew in each update: an array that is passed through a jitted step on a mesh changes its sharding.
    """
    return vary_like(jnp.zeros((1,), like.dtype), like)


def _inverse(x: jax.Array) -> jax.Array:
    """1 / x, and 0 at 0."""
    seen = x > 0
    return jnp.where(seen, 1 / jnp.where(seen, x, 1), 0)


@check.public
def scale_by_factored_rms(
    factored: bool = True,
    decay_rate: Hyperparameter = 0.8,
    step_offset: Count = 0,
    min_dim_size_to_factor: int = 128,
    epsilon: Hyperparameter = 1e-30,
    decay_rate_fn: Any = None,
    *,
    nu_dtype: Any = None,
) -> Transformation:
    """Divide each coordinate by the root of its mean square; for a matrix only row and column means are stored.

    With t = max(count − step_offset, 0) + 1 at `count` updates completed, and β_t = 1 − t^(−decay_rate)::

      R_t = β_t·R_{t−1} + (1 − β_t)·(mean of g_t² over the largest axis + epsilon)
      C_t = β_t·C_{t−1} + (1 − β_t)·(mean of g_t² over the second largest axis + epsilon)
      u_t = g_t / √(R_t·C_t / mean(R_t))          (the mean along each row of R that C shares)

    A leaf that is not factored keeps v_t = β_t·v_{t−1} + (1 − β_t)·(g_t² + epsilon), and u_t = g_t / √v_t.
    β_1 is 0: the mean needs no bias correction.

    Args:
      factored: whether to factor at all.
      decay_rate: c ≥ 0; the larger, the longer the memory.
      step_offset: number of updates ≥ 0 that an earlier training run completed; the count starts after them.
      min_dim_size_to_factor: a leaf is factored if its two largest axes have at least this size.
      epsilon: ≥ 0.
      decay_rate_fn: (count − step_offset, decay_rate) -> β, in place of the formula above.
      nu_dtype: dtype of R, C and v; at least float32 if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if a number is negative or `epsilon` vanishes in float32.
      TypeError: if a count is not whole, `decay_rate_fn` is no function, or the dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_factored_rms(min_dim_size_to_factor=2)
      >>> grads = jnp.array([[1.0, -2.0, 3.0], [2.0, -4.0, 6.0]])
      >>> updates, state = tx.update(grads, tx.init(grads))
      >>> print(updates.round(4))  # the squares have rank 1: nothing is lost
      [[ 1. -1.  1.]
       [ 1. -1.  1.]]
      >>> print(state.memory.v_row.shape, state.memory.v_col.shape)
      (2,) (3,)

    References:
      Shazeer, Stern, Adafactor: adaptive learning rates with sublinear memory cost (ICML 2018), arXiv 1804.04235,
      algorithms 4 and 5.
    """
    check.non_negative_count(step_offset=step_offset, min_dim_size_to_factor=min_dim_size_to_factor)
    check.epsilon(epsilon=epsilon)
    if decay_rate_fn is None:
        check.non_negative(decay_rate=decay_rate)
    elif not callable(decay_rate_fn):
        raise TypeError(f"{check.where('decay_rate_fn')} must be a function, got {decay_rate_fn!r}.")
    size, dtype = int(min_dim_size_to_factor), dtype_name("nu_dtype", nu_dtype)
    return transformation(ScaleByFactoredRms(factored, decay_rate, step_offset, size, epsilon, decay_rate_fn, dtype))


@check.public
def adafactor(
    learning_rate: LearningRate | None = None,
    min_dim_size_to_factor: int = 128,
    decay_rate: Hyperparameter = 0.8,
    decay_offset: Count = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: Hyperparameter | None = 1.0,
    momentum: Hyperparameter | None = None,
    dtype_momentum: Any = jnp.float32,
    weight_decay_rate: Hyperparameter | None = None,
    eps: Hyperparameter = 1e-30,
    factored: bool = True,
    weight_decay_mask: Any = None,
    *,
    nu_dtype: Any = None,
) -> Transformation:
    """Adafactor: a matrix of n × m parameters needs a memory of n + m numbers.

    With η_t the learning rate, and RMS the root mean square over a leaf::

      d_t = g_t / √v̂_t                                       v̂_t from row and column means: `scale_by_factored_rms`
      u_t = d_t / max(1, RMS(d_t) / clipping_threshold)
      s_t = η_t · max(RMS(θ_{t−1}), 1e-3) · u_t
      m_t = momentum · m_{t−1} + (1 − momentum) · s_t        (without momentum: m_t = s_t)
      θ_t = θ_{t−1} − m_t − weight_decay_rate · θ_{t−1}

    The rate is a fraction of the parameters' size: the paper's is min(10⁻², 1/√t). The weight decay, as in optax, is
    not multiplied by it.

    Every real number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number or a schedule. None is 1, and the state then has no rate to read or edit.
      min_dim_size_to_factor: a leaf is factored if its two largest axes have at least this size.
      decay_rate: c ≥ 0; the mean of squares decays by 1 − t^(−c).
      decay_offset: number of updates ≥ 0 of an earlier training run, which t leaves out.
      multiply_by_parameter_scale: whether to multiply by max(RMS(θ_{t−1}), 1e-3); if not, η is absolute.
      clipping_threshold: > 0, the largest RMS of u_t, or None for no clipping.
      momentum: in [0, 1), or None for no momentum and no memory of it.
      dtype_momentum: dtype of m.
      weight_decay_rate: ≥ 0, or None for none.
      eps: ≥ 0, added to the squares.
      factored: whether to factor at all.
      weight_decay_mask: a tree of bools like the parameters, or a function from parameters to one: decay where True.
      nu_dtype: dtype of the means of squares; at least float32 if None.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a number is negative, `clipping_threshold` is not positive, `momentum` is not in [0, 1), or `eps`
        vanishes in float32.
      TypeError: if a count is not whole, `weight_decay_mask` is not a mask, or a dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.adafactor(0.25)
      >>> params = jnp.array([2.0, -2.0])
      >>> updates, _ = tx.update(jnp.array([5.0, -0.1]), tx.init(params), params)
      >>> print(updates.round(4))  # a quarter of the root mean square of the parameters
      [-0.5  0.5]

    References:
      Shazeer, Stern, Adafactor: adaptive learning rates with sublinear memory cost (ICML 2018), arXiv 1804.04235,
      algorithms 4 to 6.
    """
    check.non_negative_count(decay_offset=decay_offset)
    check.epsilon(eps=eps)
    check.flag(multiply_by_parameter_scale=multiply_by_parameter_scale)
    as_mask("weight_decay_mask", weight_decay_mask)
    accumulator_dtype = dtype_name("dtype_momentum", dtype_momentum)
    links = [scale_by_factored_rms(factored, decay_rate, decay_offset, min_dim_size_to_factor, eps, nu_dtype=nu_dtype)]
    if clipping_threshold is not None:
        check.positive(clipping_threshold=clipping_threshold)
        links.append(clip_by_block_rms(clipping_threshold))
    if learning_rate is not None:
        links.append(scale_by_learning_rate(learning_rate, flip_sign=False))
    if multiply_by_parameter_scale:
        links.append(scale_by_param_block_rms())
    if momentum is not None:
        check.below_one(momentum=momentum)
        links.append(ema(momentum, debias=False, accumulator_dtype=accumulator_dtype))
    if weight_decay_rate is not None:
        check.non_negative(weight_decay_rate=weight_decay_rate)
        links.append(add_decayed_weights(weight_decay_rate, weight_decay_mask))
    return chain(*links, negate())
