"""Levenberg and Marquardt's method on logarithms of losses, with Huber's weights.

A few runs hardly tell the last exponents of a law apart, and the least cost may lie at ones that no other run follows.
So they have a prior: a normal distribution of their logarithms. Against it stand the losses, of which those that follow
each other err together: of n losses only n / `together` count.
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._jax_versions import float64
from ._drops import Drops
from ._laws import LAWS

DELTA = 1e-3
"""Residuals of the logarithm above which the loss of a fit grows linearly, as in the paper."""
ROUNDS = 8
"""How often, at most, the prior is weighed again, as the losses turn out to be followed more closely."""


class Fitted(NamedTuple):
    """Parameters, and what is left."""

    params: np.ndarray
    """Float64."""
    cost: float
    """The sum of Huber's losses."""


class Descent(NamedTuple):
    """Where a descent came to."""

    x: np.ndarray
    """Coordinates, float64."""
    residuals: np.ndarray
    """Log predicted - log logged, float64 [losses]."""
    cost: float
    """The sum of Huber's losses."""
    whole: float
    """That and the prior's cost."""


@contextlib.contextmanager
def on_the_host() -> Iterator[None]:
    """The context in which laws are computed: in float64, on a CPU."""
    with float64(), jax.default_device(jax.local_devices(backend="cpu")[0]):
        yield


@functools.partial(jax.jit, static_argnums=0)
def _values(law: str, x: jax.Array, rate: float, z: Drops) -> tuple[jax.Array, jax.Array]:
    """Predicted losses, [losses], and their derivatives by the coordinates of the fit, [losses, parameters]."""
    rule = LAWS[law]

    def along(direction: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.jvp(lambda x: rule.losses(rule.params(x, rate), z), (x,), (direction,))

    return jax.vmap(along, out_axes=(None, 1))(jnp.eye(x.size))


def huber(residuals: np.ndarray) -> float:
    """½ r² up to `DELTA`, and its tangent beyond."""
    size = np.abs(residuals)
    return float(np.sum(np.where(size <= DELTA, 0.5 * size**2, DELTA * (size - 0.5 * DELTA))))


def together(residuals: np.ndarray, first: np.ndarray) -> float:
    """How many losses that follow each other count as one: 1 + 2 Σ of the residuals' correlations, as long as positive.

    Args:
      residuals: of all runs, one after the other, float64 [losses]; counted up to `DELTA`.
      first: whether one is the first of its run, bool [losses].
    """
    lags = np.zeros(2 * residuals.size)
    for run in np.split(np.clip(residuals, -DELTA, DELTA), np.flatnonzero(first)[1:]):
        lags += np.fft.irfft(np.abs(np.fft.rfft(run, lags.size)) ** 2, lags.size)
    if not lags[0] > 0:
        return 1.0
    known = lags[1 : residuals.size] / lags[0]
    below = np.flatnonzero(known <= 0)
    return float(1 + 2 * known[: below[0] if below.size else None].sum())


def fitted(law: str, z: Drops, losses: np.ndarray) -> Fitted:
    """The parameters of least cost: some steps from every start, then on from the best two."""
    rule, n = LAWS[law], losses.size
    low, high, usual = np.log(rule.least), np.log(rule.greatest), np.log(rule.usual)
    target = np.log(losses)
    tightness = np.log(rule.within) ** -2

    spread = max(float(np.ptp(losses)), 1e-3 * float(losses.min()))
    rate = float(np.max(z.rate * (z.drop != 0), initial=0.0))

    def at(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        value, slope = (np.asarray(v)[:n] for v in _values(law, jnp.asarray(x), rate, z))
        if not (np.isfinite(slope).all() and (value > 0).all()):
            return value, slope, np.inf
        residuals = np.log(value) - target
        return residuals, slope / value[:, None], huber(residuals)

    def descend(x: np.ndarray, most: int, one: float) -> Descent:
        """Where it comes to; `one` is twice what one standard deviation of the prior costs."""
        pull = one * tightness

        def total(x: np.ndarray, cost: float) -> float:
            return cost + 0.5 * float(pull @ (x - usual) ** 2)

        damping, (residuals, slope, cost) = 1e-2, at(x)
        whole = total(x, cost)
        for _ in range(most):
            if not np.isfinite(cost):
                break
            weight = np.minimum(1.0, DELTA / np.maximum(np.abs(residuals), 1e-300))
            matrix = slope.T @ (weight[:, None] * slope) + np.diag(pull)
            vector = slope.T @ (weight * residuals) + pull * (x - usual)
            scale = np.diag(np.diag(matrix) + 1e-16 * np.trace(matrix))
            step = np.linalg.solve(matrix + damping * scale, -vector)
            new = np.clip(x + step / max(1.0, np.abs(step).max()), low, high)
            tried = at(new)
            if (less := total(new, tried[2])) < whole:
                gain, damping = whole - less, max(damping / 5, 1e-12)
                x, whole, (residuals, slope, cost) = new, less, tried
                if gain < 1e-7 * whole + 1e-18:
                    break
            elif (damping := 4 * damping) > 1e8:
                break
        return Descent(x, residuals, cost, whole)

    def variance(found: Descent) -> float:
        """Of one of the losses that count."""
        if not np.isfinite(found.cost) or not tightness.any():
            return 0.0
        return 2 * found.cost / n * together(found.residuals, z.first[:n])

    with on_the_host():
        starts = [np.clip(np.log(np.maximum(p, 1e-300)), low, high) for p in rule.starts(losses.min(), spread, rate)]
        tries = sorted((descend(start, 15, 0.0) for start in starts), key=lambda t: t.cost)
        one = variance(tries[0])
        found = min((descend(t.x, 300, one) for t in tries[:2]), key=lambda t: t.whole)
        for _ in range(ROUNDS):
            one, before = variance(found), one
            if one > 0.9 * before:
                break
            found = descend(found.x, 300, one)
        return Fitted(np.asarray(rule.params(jnp.asarray(found.x), rate)), found.cost)
