"""Sums over all earlier drops at all losses, in time and memory proportional to their number.

An exponential of the distance can be carried from one loss to the next, and a power of it is, to eight digits, a sum
of some tens of exponentials.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

WIDTH, TERMS = 0.6, 48
"""Step of the trapezoidal rule in the logarithm of the decay rate, and its points: relative error 1e-7."""
FLAT = 0.01
"""The lowest decay rate times the longest distance; slower ones are a parabola."""


def decaying_sums(
    decay: jax.Array, gap: jax.Array, first: jax.Array, at: jax.Array, part: Callable[[jax.Array], jax.Array]
) -> jax.Array:
    """Σ_k part_k exp(−decay · distance_k) at each loss, over the drops k before it.

    Args:
      decay: rates of decay, [terms].
      gap: the distance of each loss from the one before, [losses].
      first: whether nothing comes before it, bool [losses].
      at: the first loss after each drop, [drops].
      part: decay -> what each drop is at that loss, [drops].

    Returns:
      [losses, terms].
    """
    n = gap.shape[0]
    new = jax.lax.map(lambda d: jax.ops.segment_sum(part(d), at, n, indices_are_sorted=True), decay)
    kept = jnp.where(first[:, None], 0.0, jnp.exp(-decay * gap[:, None]))

    def step(carried: jax.Array, x: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        carried = x[0] * carried + x[1]
        return carried, carried

    return jax.lax.scan(step, jnp.zeros_like(decay), (kept, new.T))[1]


def power_sums(
    exponent: jax.Array,
    place: jax.Array,
    first: jax.Array,
    at: jax.Array,
    weight: jax.Array,
    source: jax.Array,
    offset: jax.Array,
) -> jax.Array:
    """Σ_k weight_k (place − source_k + offset_k)^(−exponent) at each loss, over the drops k before it.

    From the integral ::

      y^(−β) = 1/Γ(β) ∫ exp(βu − y eᵘ) du

    by the trapezoidal rule, whose error relative to y^(−β) is about exp(−π² / WIDTH) for any y. The terms of all u
    below a first one, where y eᵘ is small, are summed as geometric series of 1, y eᵘ and (y eᵘ)² / 2.

    Args:
      exponent: β > 0.
      place: of each loss, increasing within a run, [losses].
      first: whether it is the first of its run, bool [losses].
      at: the first loss after each drop, [drops].
      weight: of each drop, [drops].
      source: its place, [drops].
      offset: > 0, [drops].
    """
    gap = jnp.where(first, 0.0, jnp.diff(place, prepend=place[:1]))
    here = place[at]
    length = jnp.max(place) + jnp.max(offset)
    lowest = jnp.log(FLAT / length)
    decay = jnp.exp(lowest + WIDTH * np.arange(TERMS))
    fast = decaying_sums(decay, gap, first, at, lambda d: weight * jnp.exp(-d * (here - source + offset)))
    scale = WIDTH / _gamma(exponent)
    found = scale * fast @ decay**exponent

    # moments of the distance, about the loss so that they do not cancel: carried on by the gap, as a parabola
    y = here - source + offset
    n = place.shape[0]
    moments = [jax.ops.segment_sum(weight * p, at, n, indices_are_sorted=True) for p in (jnp.ones_like(y), y, y * y)]

    def step(carried: jax.Array, x: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        new, g, start = x
        m0, m1, m2 = jnp.where(start, 0.0, carried)
        moved = new + jnp.stack([m0, m1 + g * m0, m2 + 2 * g * m1 + g * g * m0])
        return moved, moved

    moved = jax.lax.scan(step, jnp.zeros(3, place.dtype), (jnp.stack(moments, 1), gap, first))[1]
    for power, sign in enumerate((1.0, -1.0, 0.5)):
        q = exponent + power
        tail = jnp.exp(q * (lowest - WIDTH)) / -jnp.expm1(-q * WIDTH)
        found += scale * sign * tail * moved[:, power]
    return found


def _gamma(x: jax.Array) -> jax.Array:
    """Γ(x) for x > 0 by Stirling's series, to ten digits: JAX's own compiles for seconds, its derivative longer."""
    y = x + 7
    series = (y - 0.5) * jnp.log(y) - y + 0.5 * math.log(2 * math.pi) + 1 / (12 * y) - 1 / (360 * y**3)
    rising = x
    for i in range(1, 7):
        rising = rising * (x + i)
    return jnp.exp(series + 1 / (1260 * y**5)) / rising


assert math.exp(-(math.pi**2) / WIDTH) < 1e-7
