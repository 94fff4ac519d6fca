"""Newton-Schulz iteration: the orthogonal factor of a matrix, by matrix products alone."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from .. import _check as check
from .._arithmetic import real, sqrt, squared
from .._numbers import F32, Count, Scalar, is_tracer

Preconditioning = Literal["frobenius", "spectral", "aol", "schatten"]
Preset = Literal["standard", "muon", "dion"]

STANDARD = (3.4445, -4.7750, 2.0315)
"""Keller Jordan's, which make the slope at 0 as large as they can; singular values end between about 0.7 and 1.2."""
PRESETS: dict[str, Any] = {
    "standard": STANDARD,
    "muon": STANDARD,  # as optax's documentation calls them
    "dion": (
        (4.0848, -6.8946, 2.9270),
        (3.9505, -6.3029, 2.6377),
        (3.7418, -5.5913, 2.3037),
        (2.8769, -3.1427, 1.2046),
        (2.8366, -3.0525, 1.2012),
    ),
}


def as_coefficients(ns_coeffs: Any) -> Any:
    """The coefficients as an array [3], the same in each step, or [steps, 3]; a preset by its name."""
    if isinstance(ns_coeffs, str):
        check.one_of(tuple(PRESETS), ns_coeffs=ns_coeffs)
        ns_coeffs = PRESETS[ns_coeffs]
    flat = jax.tree.leaves(ns_coeffs)
    try:
        if any(map(is_tracer, flat)):
            x: Any = jnp.asarray(ns_coeffs, F32)
        else:
            x = np.array(jax.tree.map(np.asarray, ns_coeffs), F32)
    except (TypeError, ValueError):
        raise TypeError(f"{check.where('ns_coeffs')} must be numbers or a preset's name, got {ns_coeffs!r}.") from None
    if x.ndim not in (1, 2) or x.shape[-1] != 3 or x.shape[0] == 0:
        raise check.fail("ns_coeffs", "must be three numbers, or three for each step", ns_coeffs)
    if not is_tracer(x) and not np.isfinite(x).all():
        raise check.fail("ns_coeffs", "must be finite", ns_coeffs)
    return x


def orthogonalized(
    x: jax.Array, coefficients: jax.Array, steps: Count, preconditioning: str, eps: Scalar, dtype: str | None
) -> jax.Array:
    """About U·Vᵀ for each matrix U·S·Vᵀ in the last two axes of `x`.

    Each step is X ← a·X + (b·A + c·A²)·X with A = X·Xᴴ, which applies s ↦ a·s + b·s³ + c·s⁵ to the singular values.
    It needs singular values of at most about 1: `preconditioning` says how they are made so.
    """
    kind, r = x.dtype, real(x.dtype)
    least = jnp.asarray(eps, r)
    tall = x.shape[-2] > x.shape[-1]
    x = jnp.swapaxes(x, -1, -2) if tall else x  # the smaller A of the two
    if preconditioning == "frobenius":
        x = _divided(x, sqrt(jnp.sum(squared(x), axis=(-2, -1), keepdims=True)) + least)
    elif preconditioning == "spectral" and 0 not in x.shape:
        x = _divided(x, jnp.max(jnp.linalg.svd(x, compute_uv=False), axis=-1)[..., None, None] + least)
    x = x if dtype is None else x.astype(jnp.promote_types(dtype, jnp.complex64) if jnp.iscomplexobj(x) else dtype)
    coefficients = coefficients.astype(jnp.finfo(x.dtype).dtype)
    first = preconditioning in ("aol", "schatten")  # a scaling that the first step's A tells
    if coefficients.ndim == 2:
        for i, row in enumerate(coefficients):
            x = _step(x, row, preconditioning if first and i == 0 else None, least)
    elif not isinstance(steps, jax.Array):
        for i in range(int(steps)):
            x = _step(x, coefficients, preconditioning if first and i == 0 else None, least)
    else:
        one = _step(x, coefficients, preconditioning if first else None, least)
        more = jax.lax.fori_loop(1, steps, lambda _, y: _step(y, coefficients, None, least), one)
        x = jnp.where(steps > 0, more, x)
    return (jnp.swapaxes(x, -1, -2) if tall else x).astype(kind)


def _step(x: jax.Array, row: jax.Array, preconditioning: str | None, least: jax.Array) -> jax.Array:
    square = x @ jnp.conj(jnp.swapaxes(x, -1, -2))
    if preconditioning is not None:
        x, square = _rescaled(x, square, preconditioning, least)
    return row[0] * x + (row[1] * square + row[2] * (square @ square)) @ x


def _rescaled(x: jax.Array, square: jax.Array, preconditioning: str, eps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """X and A = X·Xᴴ after a scaling that A tells: of each row (almost orthogonal layer), or of all by ‖A‖^½."""
    r = jnp.finfo(x.dtype).dtype
    if preconditioning == "aol":
        s = _inverse_root(jnp.sum(jnp.abs(square), axis=-1, keepdims=True), eps.astype(r))
        return x * s, square * s * jnp.swapaxes(s, -1, -2)
    s = _inverse_root(sqrt(jnp.sum(squared(square), axis=(-2, -1), keepdims=True)), eps.astype(r))
    return x * s, square * (s * s)


def _divided(x: jax.Array, size: jax.Array) -> jax.Array:
    """`x / size`, and 0 for a matrix of zeros also if ε is 0."""
    return x / jnp.where(size > 0, size, jnp.ones_like(size))


def _inverse_root(size: jax.Array, eps: jax.Array) -> jax.Array:
    least = jnp.maximum(size, eps)
    return jax.lax.rsqrt(jnp.where(least > 0, least, jnp.ones_like(least)))
