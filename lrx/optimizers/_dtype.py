"""Names of dtypes: static fields hold a name, which compares, prints and pickles."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check


def dtype_name(argument: str, dtype: Any) -> str | None:
    """The canonical name of a floating dtype, or None."""
    if dtype is None:
        return None
    try:
        # `optax.inject_hyperparams` takes a dtype for a schedule, and hands over the array that it gives
        name = jnp.dtype(dtype.dtype if isinstance(dtype, jax.Array) else dtype).name
    except TypeError:
        name = ""
    if not name or not jnp.issubdtype(jnp.dtype(name), jnp.inexact):
        raise TypeError(f"{check.where(argument)} must be a floating dtype, got {dtype!r}.")
    return name
