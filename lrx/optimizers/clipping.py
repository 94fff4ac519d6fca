"""Clipping of gradients."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import global_norm, map_leaves, real, sqrt, squared
from .._numbers import Hyperparameter, Scalar
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, transformation


@pytree_dataclass
class ClipByGlobalNorm(Rule):
    """See `clip_by_global_norm`."""

    max_norm: Scalar

    elementwise = True

    def init(self, params: Any) -> tuple[()]:
        """Nothing to remember."""
        del params
        return ()

    def update(self, updates: Any, state: tuple[()], params: Any = None, **extra: Any) -> tuple[Any, tuple[()]]:
        """One step, on all leaves together."""
        del params, extra
        norm = global_norm(updates)
        most = jnp.asarray(self.max_norm, norm.dtype)
        inside = norm < most
        factor = most / jnp.where(inside, jnp.ones_like(norm), norm)

        def leaf(u: jax.Array) -> tuple[jax.Array]:
            return (jnp.where(inside, u, factor.astype(real(u.dtype)) * u),)

        return map_leaves(leaf, 1, updates)[0], state


@check.public
def clip_by_global_norm(max_norm: Hyperparameter) -> Transformation:
    """Shrink the updates, all leaves together, so that their norm is at most `max_norm`.

    With ‖g‖ the Euclidean norm of all leaves together, summed in at least float32::

      u = g · min(1, max_norm / ‖g‖)

    Args:
      max_norm: the largest norm that passes unchanged, > 0.

    Returns:
      A transformation without memory. A norm of NaN makes all updates NaN, an infinite one (in float32 from 1.8e19 on)
      makes NaN of infinities and 0 of all others.

    Raises:
      ValueError: if `max_norm` is not positive.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.clip_by_global_norm(1.0)
      >>> updates, _ = tx.update(jnp.array([6.0, 8.0]), tx.init(jnp.zeros(2)))
      >>> print(updates)
      [0.6 0.8]

    References:
      Pascanu, Mikolov, Bengio, On the difficulty of training recurrent neural networks (ICML 2013), algorithm 1.
    """
    check.positive(max_norm=max_norm)
    return transformation(ClipByGlobalNorm(max_norm))


@pytree_dataclass
class Clip(Rule):
    """See `clip`."""

    max_delta: Scalar

    elementwise = True

    def init(self, params: Any) -> tuple[()]:
        """Nothing to remember."""
        del params
        return ()

    def update(self, updates: Any, state: tuple[()], params: Any = None, **extra: Any) -> tuple[Any, tuple[()]]:
        """One step, on each leaf."""
        del params, extra

        def leaf(g: jax.Array) -> tuple[jax.Array]:
            most = jnp.asarray(self.max_delta, real(g.dtype))
            if not jnp.iscomplexobj(g):
                return (jnp.clip(g, -most, most),)
            return (jax.lax.complex(jnp.clip(g.real, -most, most), jnp.clip(g.imag, -most, most)),)

        return map_leaves(leaf, 1, updates)[0], state


@check.public
def clip(max_delta: Hyperparameter) -> Transformation:
    """Clip each coordinate of the updates.

    ::

      u = min(max(g, −max_delta), max_delta)     real and imaginary part each

    Args:
      max_delta: the largest size that passes unchanged, > 0.

    Returns:
      A transformation without memory.

    Raises:
      ValueError: if `max_delta` is not positive.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.clip(1.0)
      >>> updates, _ = tx.update(jnp.array([0.5, -4.0]), tx.init(jnp.zeros(2)))
      >>> print(updates)
      [ 0.5 -1. ]
    """
    check.positive(max_delta=max_delta)
    return transformation(Clip(max_delta))


@pytree_dataclass
class AdaptiveGradClip(Rule):
    """See `adaptive_grad_clip`."""

    clipping: Scalar
    eps: Scalar = 1e-3
    axis: int | tuple[int, ...] | None = static(default=None)

    stacks = "mapped"

    def init(self, params: Any) -> tuple[()]:
        """Nothing to remember."""
        del params
        return ()

    def update(self, updates: Any, state: tuple[()], params: Any = None, **extra: Any) -> tuple[Any, tuple[()]]:
        """Equation 3, on each unit of each leaf."""
        del extra
        check.needs_params("adaptive_grad_clip", updates, params)

        def leaf(g: jax.Array, p: Any) -> tuple[jax.Array]:
            r = real(g.dtype)
            most = jnp.asarray(self.clipping, r) * jnp.maximum(
                _unit_norm(jnp.asarray(p).astype(g.dtype), self.axis), jnp.asarray(self.eps, r)
            )
            norm = _unit_norm(g, self.axis)
            inside = norm < most
            return (jnp.where(inside, g, g * (most / jnp.where(inside, jnp.ones_like(norm), norm))),)

        return map_leaves(leaf, 1, updates, params)[0], state


def _unit_norm(x: jax.Array, axis: int | tuple[int, ...] | None) -> jax.Array:
    """The norm of each unit of a layer: of the weights that feed one output."""
    if axis is None and jnp.squeeze(x).ndim > 1:
        if x.ndim > 5:
            raise ValueError(f"adaptive_grad_clip needs axis=... for leaves of more than 5 axes, got shape {x.shape}.")
        # (in, out), attention's (in, head, out), then kernels of convolutions, whose last axis is the output
        axis = {2: (0,), 3: (0,), 4: (0, 1, 2), 5: (0, 1, 2, 3)}[x.ndim]
    return sqrt(jnp.sum(squared(x), axis=axis, keepdims=True))


@check.public
def adaptive_grad_clip(
    clipping: Hyperparameter, eps: Hyperparameter = 1e-3, axis: int | tuple[int, ...] | None = None
) -> Transformation:
    """Clip the gradient of each unit in proportion to the unit's own norm.

    With G the gradient and W the weights of one unit (those that feed one output)::

      u = G · min(1, clipping · max(‖W‖, eps) / ‖G‖)

    Args:
      clipping: λ, the largest ratio of the two norms that passes unchanged, > 0.
      eps: the least norm that a unit is taken to have, so that zeros can grow, > 0.
      axis: the axes that a unit's norm is taken over. None: all of a scalar or vector, axis 0 of two or three, all but
        the last of four or five.

    Returns:
      A transformation without memory, whose update needs the parameters.

    Raises:
      ValueError: if a number is not positive; in update, if there are no parameters, or a leaf has more than five axes
        and `axis` is None.
      TypeError: if `axis` is neither a whole number nor several.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.adaptive_grad_clip(0.5)
      >>> params = jnp.array([6.0, 8.0])
      >>> updates, _ = tx.update(jnp.array([60.0, 80.0]), tx.init(params), params)
      >>> print(updates)
      [3. 4.]

    References:
      Brock, De, Smith, Simonyan, High-performance large-scale image recognition without normalization (ICML 2021),
      arXiv 2102.06171, equation 3.
    """
    check.positive(clipping=clipping, eps=eps)
    axes = axis if isinstance(axis, tuple | list) else () if axis is None else (axis,)
    if not all(isinstance(a, int) and not isinstance(a, bool) for a in axes):
        raise TypeError(f"{check.where('axis')} must be an axis or several, got {axis!r}.")
    return transformation(AdaptiveGradClip(clipping, eps, tuple(axis) if isinstance(axis, list) else axis))
