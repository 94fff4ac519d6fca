"""Levenberg and Marquardt's method on logarithms of losses, with Huber's weights."""

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


class Fitted(NamedTuple):
    """Parameters, and what is left."""

    params: np.ndarray
    """Float64."""
    cost: float
    """The sum of Huber's losses."""


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


def fitted(law: str, z: Drops, losses: np.ndarray) -> Fitted:
    """The parameters of least cost: some steps from every start, then on from the best one."""
    rule, n = LAWS[law], losses.size
    low, high = np.log(rule.least), np.log(rule.greatest)
    target = np.log(losses)

    spread = max(float(np.ptp(losses)), 1e-3 * float(losses.min()))
    rate = float(np.max(z.rate * (z.drop != 0), initial=0.0))

    def at(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        value, slope = (np.asarray(v)[:n] for v in _values(law, jnp.asarray(x), rate, z))
        if not (np.isfinite(slope).all() and (value > 0).all()):
            return value, slope, np.inf
        residuals = np.log(value) - target
        return residuals, slope / value[:, None], huber(residuals)

    def descend(x: np.ndarray, most: int) -> tuple[np.ndarray, float]:
        damping, (residuals, slope, cost) = 1e-2, at(x)
        for _ in range(most):
            if not np.isfinite(cost):
                break
            weight = np.minimum(1.0, DELTA / np.maximum(np.abs(residuals), 1e-300))
            matrix, vector = slope.T @ (weight[:, None] * slope), slope.T @ (weight * residuals)
            scale = np.diag(np.diag(matrix) + 1e-16 * np.trace(matrix))
            step = np.linalg.solve(matrix + damping * scale, -vector)
            new = np.clip(x + step / max(1.0, np.abs(step).max()), low, high)
            tried = at(new)
            if tried[2] < cost:
                gain, damping = cost - tried[2], max(damping / 5, 1e-12)
                x, (residuals, slope, cost) = new, tried
                if gain < 1e-7 * cost + 1e-18:
                    break
            elif (damping := 4 * damping) > 1e8:
                break
        return x, cost

    with on_the_host():
        starts = [np.clip(np.log(np.maximum(p, 1e-300)), low, high) for p in rule.starts(losses.min(), spread, rate)]
        tries = [descend(start, 15) for start in starts]
        x, cost = descend(min(tries, key=lambda t: t[1])[0], 300)
        return Fitted(np.asarray(rule.params(jnp.asarray(x), rate)), cost)
