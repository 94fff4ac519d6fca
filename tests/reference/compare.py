"""Problems for optimizers, and how far apart two of their paths are."""

import math

import jax
import numpy as np

from tests.common import scan


def disagreement(path, other, whole_path=None):
    """Return the largest difference of two paths, per coordinate relative to the distance that it travelled."""
    travelled = np.abs(np.diff(path if whole_path is None else whole_path, axis=0)).sum(axis=0)
    return np.max(np.abs(path - other).max(axis=0) / travelled)


def random_problem(shape=(8,), steps=200):
    """Return initial parameters and gradients of scales 1e-2 to 1e2, with exact zeros among them."""
    size = math.prod(shape)
    rng = np.random.default_rng(7)
    gradients = rng.standard_normal((steps, size)) * np.logspace(-2, 2, size)
    gradients[rng.random(gradients.shape) < 0.05] = 0.0
    gradients[:3, 0] = 0.0  # a coordinate that starts without a gradient
    return rng.standard_normal(size).reshape(shape), gradients.reshape(steps, *shape)


def paths_together(given):
    """Return the path of each of many optimizers, `{name: (optimizer, start, gradients)}`, all from one program."""
    txs, starts, gradients = zip(*given.values(), strict=True)
    run = jax.jit(lambda starts, gradients: list(map(scan, txs, starts, gradients)))
    return {name: np.asarray(path, np.float64) for name, path in zip(given, run(starts, gradients), strict=True)}
