"""A series of numbers from training, such as losses or learning rates, as a float64 vector on the host."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from . import _check as check


def series(argument: str, x: Any) -> np.ndarray:
    """`x` as a one-dimensional float64 array with at least one entry, or the error that names `argument`."""
    values = np.asarray(x)
    if not (jnp.issubdtype(values.dtype, jnp.floating) or jnp.issubdtype(values.dtype, jnp.integer)):
        raise TypeError(f"{check.where(argument)} must hold real numbers, got dtype {values.dtype}.")
    if values.ndim != 1 or not values.size:
        raise ValueError(f"{check.where(argument)} must be one-dimensional and not empty, got shape {values.shape}.")
    return values.astype(np.float64)


def smoothed(values: np.ndarray, beta: float) -> np.ndarray:
    """The bias-corrected moving average; a value that is not finite leaves it as it was, and stays."""
    smooth, total, weight = values.copy(), 0.0, 0.0
    for i in np.flatnonzero(np.isfinite(values)):
        total = beta * total + (1 - beta) * values[i]
        weight = beta * weight + (1 - beta)
        smooth[i] = total / weight
    return smooth
