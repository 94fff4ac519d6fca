"""Updates without their size, or without their mean."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import global_norm, map_leaves, real, scaled
from .._numbers import Hyperparameter, Scalar
from .._pytree import pytree_dataclass
from .._rule import Rule
from .._transformation import Transformation, transformation


@pytree_dataclass
class NormalizeByUpdateNorm(Rule):
    """See `normalize_by_update_norm`."""

    scale_factor: Scalar = 1.0
    eps: Scalar = 1e-6

    elementwise = True

    def init(self, params: Any) -> tuple[()]:
        """Nothing to remember."""
        del params
        return ()

    def update(self, updates: Any, state: tuple[()], params: Any = None, **extra: Any) -> tuple[Any, tuple[()]]:
        """One step, on all leaves together."""
        del params, extra
        norm = global_norm(updates)
        size = norm + jnp.asarray(self.eps, norm.dtype)
        zero = size == 0
        factor = jnp.asarray(self.scale_factor, norm.dtype) / jnp.where(zero, jnp.ones_like(size), size)
        return scaled(factor, updates), state


@check.public
def normalize_by_update_norm(scale_factor: Hyperparameter = 1.0, eps: Hyperparameter = 1e-6) -> Transformation:
    """Scale the updates, all leaves together, to the norm `scale_factor`.

    With ‖g‖ the Euclidean norm of all leaves together, summed in at least float32::

      u = scale_factor · g / (‖g‖ + eps)          (u = 0 where ‖g‖ = eps = 0)

    Args:
      scale_factor: a finite number; if it is negative, the updates descend.
      eps: ε ≥ 0.

    Returns:
      A transformation without memory.

    Raises:
      ValueError: if `scale_factor` is not finite, or `eps` is negative or vanishes in float32.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.normalize_by_update_norm(scale_factor=-5.0, eps=0.0)
      >>> updates, _ = tx.update(jnp.array([6.0, 8.0]), tx.init(jnp.zeros(2)))
      >>> print(updates)
      [-3. -4.]
    """
    check.finite(scale_factor=scale_factor)
    check.epsilon(eps=eps)
    return transformation(NormalizeByUpdateNorm(scale_factor, eps))


@pytree_dataclass
class Normalize(Rule):
    """See `normalize`."""

    elementwise = True

    def init(self, params: Any) -> tuple[()]:
        """Nothing to remember."""
        del params
        return ()

    def update(self, updates: Any, state: tuple[()], params: Any = None, **extra: Any) -> tuple[Any, tuple[()]]:
        """`updates / ‖updates‖`."""
        del params, extra
        norm = global_norm(updates)
        size = jnp.where(norm > 0, norm, jnp.ones_like(norm))

        def leaf(u: jax.Array) -> tuple[jax.Array]:
            return (u / size.astype(real(u.dtype)),)

        return map_leaves(leaf, 1, updates)[0], state


@check.public
def normalize() -> Transformation:
    """Divide the updates by their Euclidean norm, that of all leaves together.

    ::

      u_t = g_t / ‖g_t‖

    Where all are zero they stay so (in optax they become NaN). In front of SGD the rate is the length of a step.

    Returns:
      A transformation without memory.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> updates, _ = lrx.normalize().update({"w": jnp.array([3.0]), "b": jnp.array([-4.0])}, ())
      >>> print(updates["w"], updates["b"])
      [0.6] [-0.8]
    """
    return transformation(Normalize())


@pytree_dataclass
class Centralize(Rule):
    """See `centralize`."""

    stacks = "mapped"

    def init(self, params: Any) -> tuple[()]:
        """Nothing to remember."""
        del params
        return ()

    def update(self, updates: Any, state: tuple[()], params: Any = None, **extra: Any) -> tuple[Any, tuple[()]]:
        """One step, on each leaf with two axes or more."""
        del params, extra

        def leaf(g: jax.Array) -> tuple[jax.Array]:
            if g.ndim < 2 or not g.size:
                return (g,)
            return (g - jnp.mean(g, axis=tuple(range(1, g.ndim)), keepdims=True),)

        return map_leaves(leaf, 1, updates)[0], state


@check.public
def centralize() -> Transformation:
    """Subtract the mean from each slice of the updates along the first axis.

    For a leaf with two axes or more::

      u_i = g_i − mean(g_i)          for each i of the first axis

    Vectors and scalars pass unchanged. The mean is formed in at least float32.

    Returns:
      A transformation without memory.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.centralize()
      >>> updates, _ = tx.update(jnp.array([[1.0, 3.0], [4.0, 8.0]]), tx.init(jnp.zeros((2, 2))))
      >>> print(updates)
      [[-1.  1.]
       [-2.  2.]]

    References:
      Yong, Huang, Hua, Zhang, Gradient centralization: a new optimization technique for deep neural networks (ECCV
      2020), arXiv 2004.01461, equation 1, for weights whose first axis counts the outputs.
    """
    return transformation(Centralize())
