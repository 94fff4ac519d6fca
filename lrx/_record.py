"""A record of training, losses or learning rates, as the float64 vector that host-side analysis works on."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from . import _check as check


def record(argument: str, x: Any) -> np.ndarray:
    """`x` as a one-dimensional float64 array with at least one entry, or the error that names `argument`."""
    values = np.asarray(x)
    if not (jnp.issubdtype(values.dtype, jnp.floating) or jnp.issubdtype(values.dtype, jnp.integer)):
        raise TypeError(f"{check.where(argument)} must hold real numbers, got dtype {values.dtype}.")
    if values.ndim != 1 or not values.size:
        raise ValueError(f"{check.where(argument)} must be one-dimensional and not empty, got shape {values.shape}.")
    return values.astype(np.float64)
