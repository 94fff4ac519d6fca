"""The shapes of a phase from one value to another, and where in a run a phase begins.

A shape is a pair of weights (w, v) of the start and of the end, w + v = 1, each computed from the steps that elapsed or
remain without a subtraction that cancels: near an end the small weight keeps its digits.
"""

from typing import Any

import jax
import jax.numpy as jnp

from .._numbers import INT32_MAX, Count, Scalar
from ._phase import as_count, cosine_weights, fraction, line, power, scalar

COOLDOWNS = ("linear", "1-sqrt", "1-square", "cosine", "exponential", "mirror-cosine")


def falling(shape: str, a: Any, b: Any, elapsed: jax.Array, remaining: jax.Array) -> jax.Array:
    """From `a` to `b` along one of COOLDOWNS; exact at both ends; `b` if there are no steps.

    With u = elapsed/steps, the weight of `a` is::

      1 − u (linear),  1 − √u (1-sqrt),  1 − u² (1-square),  ½(1 + cos πu) (cosine),
      2(1 − u) − ½(1 + cos πu) (mirror-cosine),      and exponential is a^(1−u)·b^u
    """
    a, b = scalar(a), scalar(b)
    if shape == "linear":
        return line(a, b, elapsed, remaining)
    if shape == "exponential":
        value = a * power(b / jnp.where(a == 0, 1.0, a), elapsed, elapsed + remaining)
    else:
        w, v = _weights(shape, elapsed, remaining)
        value = a * w + b * v
    return jnp.where(remaining == 0, b, value)


def _weights(shape: str, elapsed: jax.Array, remaining: jax.Array) -> tuple[jax.Array, jax.Array]:
    if shape == "cosine":
        return cosine_weights(elapsed, remaining)
    u, r = fraction(elapsed, elapsed + remaining), fraction(remaining, elapsed + remaining)
    if shape == "1-square":
        return r * (1 + u), u * u
    if shape == "1-sqrt":
        root = safe_sqrt(u)
        return r / (1 + root), root
    cosine, sine = cosine_weights(elapsed, remaining)
    return 2 * r - cosine, 2 * u - sine


def safe_sqrt(x: jax.Array) -> jax.Array:
    """√x, whose derivative at 0 is 0 instead of infinite."""
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0)


def after(begin: Count | jax.Array, steps: Count | jax.Array) -> jax.Array:
    """begin + steps, which saturates where int32 ends."""
    begin, steps = as_count(begin), as_count(steps)
    return begin + jnp.minimum(steps, INT32_MAX - begin)


def place(share: Scalar | jax.Array, steps: Count | jax.Array) -> jax.Array:
    """Where `share` of `steps` is over, as a float: share·steps, and the whole number if it is one but for rounding."""
    x = scalar(share) * as_count(steps).astype(jnp.float32)
    whole = jnp.round(jax.lax.stop_gradient(x))
    off = whole - jax.lax.stop_gradient(x)
    return x + jnp.where(jnp.abs(off) <= 2.0**-22 * whole, off, 0.0)


def whole_place(share: Scalar | jax.Array, steps: Count | jax.Array) -> jax.Array:
    """⌊share·steps⌋ in whole steps, at most `steps`."""
    x = jnp.floor(jax.lax.stop_gradient(place(share, steps)))
    return jnp.minimum(jnp.clip(x, 0.0, float(2**31 - 128)).astype(jnp.int32), as_count(steps))
