"""Adam-mini: Adam with one second moment for a whole block of parameters."""

import math
import operator
from collections.abc import Callable, Iterable
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
    trainable,
    zero_count,
    zeros_like,
)
from .._chain import chain
from .._numbers import F32, Hyperparameter, Scalar
from .._pytree import key_name, pytree_dataclass, static
from .._rule import Rule
from .._stacks import of_stack
from .._transformation import Transformation, transformation
from ..controllers._controller import LearningRate
from ._dtype import dtype_name
from .learning_rate import scale_by_learning_rate
from .weight_decay import add_decayed_weights


class ScaleByAdamMiniState(NamedTuple):
    """The state of Adam-mini."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    mu: Any
    """m, the first moment, shaped like the parameters, in their dtype or in `mu_dtype`."""
    nu: Any
    """v, the second moment of each block: like the parameters, but of length 1 along the axes that a block spans;
    float32 or `nu_dtype`."""


@pytree_dataclass
class ScaleByAdamMini(Rule):
    """See `scale_by_adam_mini`."""

    b1: Scalar = 0.9
    b2: Scalar = 0.999
    eps: Scalar = 1e-8
    mu_dtype: str | None = static(default=None)
    block_axes: Callable[[str, tuple[int, ...]], Iterable[int]] | None = static(default=None)
    nu_dtype: str | None = static(default=None)

    stacks = "mapped"

    def init(self, params: Any) -> ScaleByAdamMiniState:
        """The state before the first update."""

        def block(path: Any, v: jax.Array) -> jax.Array:
            if not trainable(v):
                return v
            # a sum, so that v is sharded as the mean square of a gradient will be
            return jnp.sum(
                v, self._axes(".".join(map(key_name, of_stack(path))), v.shape), dtype=v.dtype, keepdims=True
            )

        nu = jax.tree_util.tree_map_with_path(block, full_like_second(params, 0.0, self.nu_dtype))
        return ScaleByAdamMiniState(zero_count(), zeros_like(params, self.mu_dtype), nu)

    def update(
        self, updates: Any, state: ScaleByAdamMiniState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByAdamMiniState]:
        """One step, on each leaf."""
        del params, extra
        t = add_one(state.count)
        c1 = one_minus_power(self.b1, t.astype(F32))
        c2 = one_minus_power(self.b2, t.astype(F32))

        def leaf(g: jax.Array, m: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            r = real(g.dtype)
            b1, b2, eps = (jnp.asarray(x, r) for x in (self.b1, self.b2, self.eps))
            m = b1 * m.astype(g.dtype) + (1 - b1) * g
            v = b2 * v.astype(r) + (1 - b2) * _block_mean(squared(g), v.shape)
            m_hat, v_hat = m * (1 / c1).astype(r), v * (1 / c2).astype(r)
            return m_hat / (sqrt(v_hat) + eps), m, v

        updates, m, v = map_leaves(leaf, 3, updates, state.mu, state.nu)
        return updates, ScaleByAdamMiniState(t, m, v)

    def _axes(self, path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        n = len(shape)
        if self.block_axes is None:
            return tuple(range(n - 1 if n >= 2 else n))
        axes = self.block_axes(path, shape)
        try:
            chosen = tuple(map(operator.index, axes))
        except TypeError:
            chosen = (n,)
        if not all(-n <= a < n for a in chosen):
            where = check.where("block_axes", "adam_mini")
            raise ValueError(f"{where} must give axes of {path!r}, whose shape is {shape}, got {axes!r}.")
        return tuple({a % n for a in chosen})


def _block_mean(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The mean over the axes along which `shape` has length 1; 0 where there is nothing to average."""
    axes = tuple(i for i, n in enumerate(shape) if n == 1)
    return jnp.sum(x, axes, keepdims=True) / max(1, math.prod(x.shape[i] for i in axes))


@check.public
def scale_by_adam_mini(
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    mu_dtype: Any = None,
    *,
    block_axes: Callable[[str, tuple[int, ...]], Iterable[int]] | None = None,
    nu_dtype: Any = None,
) -> Transformation:
    """Divide the mean of the updates by the root of the mean square of a whole block: see `adam_mini`.

    ::

      m_t = b1·m_{t−1} + (1 − b1)·g_t,                     m̂_t = m_t / (1 − b1^t)
      v_t = b2·v_{t−1} + (1 − b2)·mean over block(g_t²),   v̂_t = v_t / (1 − b2^t)
      u_t = m̂_t / (√v̂_t + eps)

    Args:
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: ε ≥ 0.
      mu_dtype: dtype of m; the parameters' if None.
      block_axes: function (path, shape) → axes that are averaged over, as in `adam_mini`.
      nu_dtype: dtype of v; at least float32 if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if a decay is not in [0, 1), or `eps` is negative or vanishes in float32; in init, if `block_axes`
        gives what are not axes.
      TypeError: if a dtype is not floating, or `block_axes` not a function.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_adam_mini(b1=0.0, b2=0.0, eps=0.0)
      >>> updates, _ = tx.update(jnp.array([1.0, 7.0]), tx.init(jnp.zeros(2)))  # one block, mean square 25
      >>> print(updates)
      [0.2 1.4]

    References:
      Zhang et al., Adam-mini: use fewer learning rates to gain more (ICLR 2025), arXiv 2406.16793.
    """
    check.below_one(b1=b1, b2=b2)
    check.epsilon(eps=eps)
    if block_axes is not None and not callable(block_axes):
        raise TypeError(f"{check.where('block_axes')} must be a function (path, shape) -> axes, got {block_axes!r}.")
    mu_dtype, nu_dtype = dtype_name("mu_dtype", mu_dtype), dtype_name("nu_dtype", nu_dtype)
    return transformation(ScaleByAdamMini(b1, b2, eps, mu_dtype, block_axes, nu_dtype))


@check.public
def adam_mini(
    learning_rate: LearningRate,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    mu_dtype: Any = None,
    *,
    weight_decay: Hyperparameter = 0.0,
    mask: Any = None,
    block_axes: Callable[[str, tuple[int, ...]], Iterable[int]] | None = None,
    nu_dtype: Any = None,
) -> Transformation:
    """Adam-mini: AdamW with one second moment for each block of parameters, in half of Adam's memory.

    With g_t the gradient and η_t the learning rate::

      m_t = b1·m_{t−1} + (1 − b1)·g_t,                     m̂_t = m_t / (1 − b1^t)
      v_t = b2·v_{t−1} + (1 − b2)·mean over block(g_t²),   v̂_t = v_t / (1 − b2^t)
      θ_t = θ_{t−1} − η_t · (m̂_t / (√v̂_t + eps) + weight_decay · θ_{t−1})

    A block is what feeds one output: a kernel laid out (in, out), as in Flax and Haiku, has one v for each of its
    columns, a convolution (height, width, in, out) one for each channel that comes out, a bias or scale one in all.
    What is laid out otherwise wants `block_axes`: an embedding (tokens, features) one v for each token, `(1,)`, or
    for each coordinate, `()`, as in the authors' code; queries and keys (in, heads, size of a head) one for each head,
    `(0, 2)`; layers stacked along the first axis all axes but the first and the last.

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number or a schedule.
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: ε ≥ 0.
      mu_dtype: dtype of m; the parameters' if None.
      weight_decay: λ ≥ 0; it is multiplied by the learning rate.
      mask: a tree of bools like the parameters, or a function from parameters to one: decay where True.
      block_axes: function (path, shape) → axes that are averaged over, where the path is the place of an array in the
        parameters, such as "encoder.Dense_0.kernel". None: all but the last of two axes or more, else all.
      nu_dtype: dtype of v; at least float32 if None.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a decay is not in [0, 1), `eps` is negative or vanishes in float32, or λ is negative; in init, if
        `block_axes` gives what are not axes.
      TypeError: if a dtype is not floating, the mask is not one, or `block_axes` not a function.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> params = {"embedding": jnp.zeros((100, 8)), "kernel": jnp.zeros((8, 4)), "bias": jnp.zeros(4)}
      >>> def block_axes(path, shape):
      ...   return (1,) if "embedding" in path else range(max(1, len(shape) - 1))
      >>> state = lrx.adam_mini(1e-3, block_axes=block_axes).init(params)
      >>> print(jax.tree.map(jnp.shape, state["scale_by_adam_mini"].memory.nu))
      {'bias': (1,), 'embedding': (100, 1), 'kernel': (1, 4)}

    References:
      Zhang et al., Adam-mini: use fewer learning rates to gain more (ICLR 2025), arXiv 2406.16793.
    """
    rule = scale_by_adam_mini(b1, b2, eps, mu_dtype, block_axes=block_axes, nu_dtype=nu_dtype)
    return chain(rule, add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))
