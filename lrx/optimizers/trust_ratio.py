"""Trust ratios: scale each leaf's update by the norm of its parameters."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import map_leaves, real
from .._numbers import Hyperparameter, Scalar
from .._pytree import factory_name, pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, transformation
from ._blocks import block_norm, block_rms
from ._labels import as_mask, map_chosen


@pytree_dataclass
class ScaleByTrustRatio(Rule):
    """See `scale_by_trust_ratio`."""

    min_norm: Scalar = 0.0
    trust_coefficient: Scalar = 1.0
    eps: Scalar = 0.0
    mask: Any = static(default=None)

    stacks = "mapped"

    def init(self, params: Any) -> tuple[()]:
        """Nothing to remember."""
        del params
        return ()

    def update(self, updates: Any, state: tuple[()], params: Any = None, **extra: Any) -> tuple[Any, tuple[()]]:
        """One step, on each leaf that the mask does not spare."""
        del extra
        check.needs_params("scale_by_trust_ratio", updates, params)

        def leaf(u: jax.Array, p: Any) -> tuple[jax.Array]:
            r = real(u.dtype)
            least, coefficient, eps = (jnp.asarray(x, r) for x in (self.min_norm, self.trust_coefficient, self.eps))
            size, length = (jnp.maximum(block_norm(x), least) for x in (jnp.asarray(p).astype(u.dtype), u))
            zero = (size == 0) | (length == 0)
            return (u * jnp.where(zero, 1, coefficient * size / (jnp.where(zero, 1, length) + eps)),)

        def trusted(updates: Any, params: Any) -> Any:
            return map_leaves(leaf, 1, updates, params)[0]

        return map_chosen("scale_by_trust_ratio(mask=...)", self.mask, trusted, updates, params), state


@pytree_dataclass
class ScaleByParamBlockRms(Rule):
    """See `scale_by_param_block_rms`."""

    min_scale: Scalar = 1e-3

    stacks = "mapped"
    size_of = staticmethod(block_rms)

    def init(self, params: Any) -> tuple[()]:
        """Nothing to remember."""
        del params
        return ()

    def update(self, updates: Any, state: tuple[()], params: Any = None, **extra: Any) -> tuple[Any, tuple[()]]:
        """One step, on each leaf."""
        del extra
        check.needs_params(factory_name(self), updates, params)

        def leaf(u: jax.Array, p: Any) -> tuple[jax.Array]:
            size = self.size_of(jnp.asarray(p).astype(u.dtype))
            return (u * jnp.maximum(size, jnp.asarray(self.min_scale, size.dtype)),)

        return map_leaves(leaf, 1, updates, params)[0], state


@pytree_dataclass
class ScaleByParamBlockNorm(ScaleByParamBlockRms):
    """See `scale_by_param_block_norm`."""

    size_of = staticmethod(block_norm)


@check.public
def scale_by_trust_ratio(
    min_norm: Hyperparameter = 0.0,
    trust_coefficient: Hyperparameter = 1.0,
    eps: Hyperparameter = 0.0,
    *,
    mask: Any = None,
) -> Transformation:
    """Scale the update of each leaf to the norm of its parameters.

    With ‖·‖ the Euclidean norm of a leaf, or `min_norm` if that is larger::

      u = g · trust_coefficient · ‖θ‖ / (‖g‖ + eps)          (u = g where ‖θ‖ or ‖g‖ is 0)

    Args:
      min_norm: ≥ 0, the smallest norm that either is taken to have.
      trust_coefficient: ≥ 0.
      eps: ε ≥ 0.
      mask: a tree of bools like the parameters (or a prefix of it), or a function from parameters to one: the leaves to
        scale; the others pass unchanged. None scales all.

    Returns:
      A transformation without memory, whose update needs the parameters.

    Raises:
      ValueError: if a number is negative or `eps` vanishes in float32; in update, if there are no parameters.
      TypeError: if the mask is not one.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_trust_ratio()
      >>> params = jnp.array([3.0, 4.0])
      >>> updates, _ = tx.update(jnp.array([0.0, 2.0]), tx.init(params), params)
      >>> print(updates)
      [0. 5.]

    References:
      You, Gitman, Ginsburg, Large batch training of convolutional networks (2017), arXiv 1708.03888, algorithm 1.
    """
    check.non_negative(min_norm=min_norm, trust_coefficient=trust_coefficient)
    check.epsilon(eps=eps)
    return transformation(ScaleByTrustRatio(min_norm, trust_coefficient, eps, as_mask("mask", mask)))


@check.public
def scale_by_param_block_rms(min_scale: Hyperparameter = 1e-3) -> Transformation:
    """Multiply the update of each leaf by the root mean square of its parameters.

    With RMS(θ) = √(mean of θ² over the leaf)::

      u = g · max(RMS(θ), min_scale)

    Args:
      min_scale: ≥ 0, the smallest factor, by which parameters that are zero begin to move.

    Returns:
      A transformation without memory, whose update needs the parameters.

    Raises:
      ValueError: if `min_scale` is negative; in update, if there are no parameters.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_param_block_rms()
      >>> params = jnp.array([3.0, -3.0])
      >>> updates, _ = tx.update(jnp.array([1.0, 0.5]), tx.init(params), params)
      >>> print(updates)
      [3.  1.5]

    References:
      Shazeer, Stern, Adafactor: adaptive learning rates with sublinear memory cost (ICML 2018), arXiv 1804.04235,
      section 8.
    """
    check.non_negative(min_scale=min_scale)
    return transformation(ScaleByParamBlockRms(min_scale))


@check.public
def scale_by_param_block_norm(min_scale: Hyperparameter = 1e-3) -> Transformation:
    """Multiply the update of each leaf by the norm of its parameters.

    With ‖·‖ the Euclidean norm of a leaf::

      u = g · max(‖θ‖, min_scale)

    Args:
      min_scale: ≥ 0, the smallest factor, by which parameters that are zero begin to move.

    Returns:
      A transformation without memory, whose update needs the parameters.

    Raises:
      ValueError: if `min_scale` is negative; in update, if there are no parameters.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_param_block_norm()
      >>> params = jnp.array([3.0, -4.0])
      >>> updates, _ = tx.update(jnp.array([1.0, 0.5]), tx.init(params), params)
      >>> print(updates)
      [5.  2.5]
    """
    check.non_negative(min_scale=min_scale)
    return transformation(ScaleByParamBlockNorm(min_scale))
