"""The laws: predicted losses from parameters and drops, in float64."""

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._decaying_sums import decaying_sums, power_sums
from ._drops import Drops


@dataclasses.dataclass(frozen=True)
class Law:
    """A formula, and where its fit may start."""

    names: tuple[str, ...]
    """Of the parameters, which are positive."""
    losses: Callable[[jax.Array, Drops], jax.Array]
    """(parameters, drops) -> the loss at each place, [losses]."""
    gain: Callable[[jax.Array, Any, Any, Any, Any], jax.Array]
    """(parameters, drop, rate after it, sum of the rates since, updates since) -> what it takes off the loss."""
    params: Callable[[jax.Array, float], jax.Array]
    """(coordinates of the fit, greatest rate) -> parameters; the coordinates hardly depend on each other."""
    starts: Callable[[float, float, float], list[np.ndarray]]
    """(least loss, spread of the losses, greatest rate) -> exponentials of coordinates to start from."""
    least: tuple[float, ...]
    """Lower bounds of the exponentials of the coordinates."""
    greatest: tuple[float, ...]
    """Upper bounds."""
    usual: tuple[float, ...]
    """The centres of the prior."""
    within: tuple[float, ...]
    """Its standard deviations, as factors; infinite where nothing is known beforehand."""


def multi_power(p: jax.Array, z: Drops) -> jax.Array:
    """L0 + A S1^(−alpha) − B Σ_k (η_{k−1} − η_k) (1 − (1 + C η_k^(−gamma) S_k)^(−beta))."""
    l0, a, alpha, b, c, beta, gamma = p
    scale = c * z.rate**-gamma  # (1 + scale S)^(−beta) is scale^(−beta) (1 / scale + S)^(−beta)
    left = power_sums(beta, z.total, z.first, z.at, z.drop * scale**-beta, z.start, 1 / scale)
    return l0 + a * z.total**-alpha - b * (z.fallen - left)


def _multi_power_gain(p: jax.Array, drop: Any, rate: Any, total: Any, count: Any) -> jax.Array:
    del count
    _, _, _, b, c, beta, gamma = p
    return -b * drop * jnp.expm1(-beta * jnp.log1p(c * rate**-gamma * total))


def momentum(p: jax.Array, z: Drops) -> jax.Array:
    """L0 + A S1^(−alpha) − C S2, S2 = Σ_i Σ_{k ≤ i} (η_{k−1} − η_k) (1 − 1 / horizon)^(i−k)."""
    l0, a, alpha, c, horizon = p
    slow = jnp.reshape(-jnp.log1p(-1 / horizon), 1)
    here = z.count[z.at] - z.time
    gap = jnp.where(z.first, 0.0, jnp.diff(z.count, prepend=z.count[:1]))
    left = decaying_sums(slow, gap, z.first, z.at, lambda d: z.drop * jnp.exp(-d * here))[:, 0]
    return l0 + a * z.total**-alpha - c * horizon * (z.fallen - left)


def _momentum_gain(p: jax.Array, drop: Any, rate: Any, total: Any, count: Any) -> jax.Array:
    del rate, total
    _, _, _, c, horizon = p
    return -c * horizon * drop * jnp.expm1(count * jnp.log1p(-1 / horizon))


def _multi_power_params(x: jax.Array, rate: float) -> jax.Array:
    """All are logarithms, and in the place of C is C η^(−gamma) at the greatest rate."""
    p = jnp.exp(x)
    return p.at[4].multiply(rate ** p[6])


def _momentum_params(x: jax.Array, rate: float) -> jax.Array:
    """All are logarithms."""
    del rate
    return jnp.exp(x)


def _multi_power_starts(least: float, spread: float, rate: float) -> list[np.ndarray]:
    shapes = itertools.product((0.5,), (0.4, 1.0), (0.3, 0.7))
    return [
        # a drop of the whole rate is worth a tenth of the losses' spread; its half comes about S = 30 updates
        np.array([least - 0.1 * spread, spread / 2, alpha, 0.1 * spread / rate, 1 / (30 * rate), beta, gamma])
        for alpha, beta, gamma in shapes
    ]


def _momentum_starts(least: float, spread: float, rate: float) -> list[np.ndarray]:
    return [
        np.array([least - 0.1 * spread, spread / 2, 0.5, 0.1 * spread / rate / horizon, horizon])
        for horizon in (100.0, 1000.0)
    ]


LAWS = {
    "multi-power": Law(
        ("L0", "A", "alpha", "B", "C", "beta", "gamma"),
        multi_power,
        _multi_power_gain,
        _multi_power_params,
        _multi_power_starts,
        (1e-8, 1e-8, 1e-2, 1e-8, 1e-12, 1e-2, 1e-3),
        (1e8, 1e8, 1e1, 1e12, 1e12, 2e1, 5e0),
        (1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5),
        (math.inf, math.inf, math.inf, math.inf, math.inf, 4.0, 4.0),
    ),
    "momentum": Law(
        ("L0", "A", "alpha", "C", "horizon"),
        momentum,
        _momentum_gain,
        _momentum_params,
        _momentum_starts,
        (1e-8, 1e-8, 1e-2, 1e-12, 1.5),
        (1e8, 1e8, 1e1, 1e12, 1e7),
        (1.0,) * 5,
        (math.inf,) * 5,
    ),
}
