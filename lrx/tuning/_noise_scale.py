"""How large a batch is, measured by the noise of its gradient."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import _check as check
from .._arithmetic import wide
from .._numbers import is_tracer


@check.public
def gradient_noise_scale(
    small_squared_norm: Any, big_squared_norm: Any, small_batch_size: Any, big_batch_size: Any
) -> jax.Array:
    """The batch size at which the noise of a gradient is as large as the gradient, from its norm at two batch sizes.

    With |g_b|² = `small_squared_norm` and |g_B|² = `big_squared_norm`, squared norms of the mean gradient over
    b = `small_batch_size` and B = `big_batch_size` examples, and ⟨·⟩ the mean over all steps::

      |G|² = (B ⟨|g_B|²⟩ − b ⟨|g_b|²⟩) / (B − b)         of the gradient without noise
      S    = (⟨|g_b|²⟩ − ⟨|g_B|²⟩) / (1 / b − 1 / B)     trace of the covariance over examples

    The noise scale is S / |G|². Both are without bias but noisy, and a ratio of noisy numbers has a bias: so give
    many steps in one call, and from one stretch of training, as the noise scale grows in the course of it. Where a mesh
    or `lrx.accumulate` averages gradients, those of single devices or single batches are the small ones.

    Args:
      small_squared_norm: |g_b|² (not |g_b|), [steps], or any shape.
      big_squared_norm: |g_B|² at the same parameters, [steps], or any shape.
      small_batch_size: the number of examples b.
      big_batch_size: the number of examples B, > b.

    Returns:
      The noise scale in examples, float32 [], also under `jax.jit`. It is inf where the estimate of |G|² is not
      positive: all is noise, or the steps are too few. It is negative where that of S is.

    Raises:
      ValueError: if a norm is negative or not finite, there are none, or the batch sizes are not positive and in order.
      TypeError: if the norms are not real numbers or the batch sizes not whole ones.

    Examples:
      >>> import lrx
      >>> print(lrx.gradient_noise_scale([4.0, 6.0], [1.5, 2.5], small_batch_size=1, big_batch_size=4))
      4.0

    References:
      McCandlish, Kaplan, Amodei et al., An empirical model of large-batch training (2018), arXiv 1812.06162, equation
      2.9 and appendix A.1.
    """
    check.positive_count(small_batch_size=small_batch_size, big_batch_size=big_batch_size)
    check.less("small_batch_size", small_batch_size, "big_batch_size", big_batch_size)
    small, big = _mean("small_squared_norm", small_squared_norm), _mean("big_squared_norm", big_squared_norm)
    dtype = wide(small.dtype, big.dtype)
    small, big, b, large = (jnp.asarray(x, dtype) for x in (small, big, small_batch_size, big_batch_size))
    noise = (small - big) * (b / (large - b))  # S / B, that of the big batch: ⟨|g_B|²⟩ is |G|² + S / B
    square = big - noise
    positive = square > 0
    return jnp.where(positive, large * noise / jnp.where(positive, square, 1), jnp.inf)


def _mean(argument: str, x: Any) -> jax.Array:
    """The mean of squared norms, or the error that names `argument`."""
    traced = any(map(is_tracer, jax.tree.leaves(x)))
    x = jnp.asarray(x) if traced else np.asarray(x)
    if not (jnp.issubdtype(x.dtype, jnp.floating) or jnp.issubdtype(x.dtype, jnp.integer)):
        raise TypeError(f"{check.where(argument)} must hold real numbers, got dtype {x.dtype}.")
    if not x.size:
        raise ValueError(f"{check.where(argument)} must not be empty, got shape {x.shape}.")
    x = jnp.asarray(x)
    x = x.astype(wide(x.dtype))
    if not traced:
        values = np.asarray(x)
        wrong = ~(np.isfinite(values) & (values >= 0))
        if wrong.any():
            raise check.fail(argument, "must hold numbers that are finite and not negative", float(values[wrong][0]))
    return jnp.mean(x)
