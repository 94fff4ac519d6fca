"""The shapes of a phase from one value to another, and where in a run a phase begins.

A shape is a pair of weights (w, v) of the start and of the end, w + v = 1, each computed from the steps that elapsed or
remain without a subtraction that cancels: near an end the small weight keeps its digits.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from .._numbers import INT32_MAX, Count, Scalar
from ._phase import as_count, cosine_weights, fraction, line, power, ratio, scalar

Cooldown = Literal["linear", "1-sqrt", "1-square", "cosine", "exponential", "mirror-cosine"]


def falling(shape: str, a: Any, b: Any, elapsed: jax.Array, remaining: jax.Array) -> jax.Array:
    """From `a` to `b` along a `Cooldown`; exact at both ends; `b` if there are no steps.

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


class Place(NamedTuple):
    """A point of time, whole + (part/scale) in steps, that need not be whole; all int32 but `rest`, further steps.

    `rest` holds what is less than 1/scale, and the derivative by the share.
    """

    whole: jax.Array
    part: jax.Array
    scale: jax.Array
    rest: jax.Array

    def since(self, t: jax.Array) -> jax.Array:
        """The steps from here to count t in float32, negative before: exact where they are few."""
        if t.dtype != jnp.int32:
            return (t - self.whole.astype(t.dtype)) - (self.part / self.scale + self.rest)
        steps, scale = t - self.whole, self.scale.astype(jnp.float32)
        near = jnp.abs(steps) <= 2
        few = (jnp.where(near, steps, 0) * self.scale - self.part).astype(jnp.float32) / scale
        return jnp.where(near, few, steps.astype(jnp.float32) - self.part.astype(jnp.float32) / scale) - self.rest

    def moved(self, steps: int) -> "Place":
        """A whole number of steps later."""
        return self._replace(whole=self.whole + steps)

    def doubled(self) -> "Place":
        """Twice as late."""
        carry = 2 * self.part // self.scale
        whole = jnp.minimum(self.whole, 2**30 - 2) * 2 + carry
        return Place(whole, 2 * self.part - carry * self.scale, self.scale, 2 * self.rest)


_DECIMALS, _BITS = 10**6, 2**28


def place(share: Scalar | jax.Array, steps: Count | jax.Array) -> Place:
    """Where `share` of `steps` is over.

    A share of at most six decimals, such as 0.3, means that decimal, as in the libraries that compute in float64, and
    not the nearest float32; any other one is taken in full.
    """
    share, steps = scalar(share), as_count(steps)
    fixed = jax.lax.stop_gradient(jnp.clip(share, 0.0, 1.0))
    decimals = jnp.round(fixed * _DECIMALS)
    decimal = decimals / _DECIMALS == fixed
    bits = jnp.floor(fixed * _BITS)
    numerator, scale = jnp.where(decimal, decimals, bits), jnp.where(decimal, jnp.int32(_DECIMALS), jnp.int32(_BITS))
    whole, left = ratio(numerator.astype(jnp.int32), scale, steps)
    lost = jnp.where(decimal, 0.0, fixed * _BITS - bits) * (steps.astype(jnp.float32) / _BITS)
    return Place(whole, left, scale, lost + (share - jax.lax.stop_gradient(share)) * steps.astype(jnp.float32))


def whole_place(share: Scalar | jax.Array, steps: Count | jax.Array) -> jax.Array:
    """⌊share·steps⌋ in whole steps, at most `steps`; of a product that is whole but for rounding, that number."""
    whole, part, scale, rest = jax.tree.map(jax.lax.stop_gradient, place(share, steps))
    over = part.astype(jnp.float32) / scale.astype(jnp.float32) + rest
    nearly = (part < 0) & (scale == _BITS) & (-over <= 2.0**-24 * whole.astype(jnp.float32))
    return jnp.clip(jnp.where((over < 0) & ~nearly, whole - 1, whole), 0, as_count(steps))
