"""A noisy quadratic whose best rates are known: the smallest problem that can be too slow and can diverge."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

import lrx
from tests.operations import by_operations

CURVATURE = jnp.array([1.0, 0.3])
"""Gradient descent diverges at rates above 2 / max(CURVATURE) = 2."""


def drawn(key, n=2):
    """Up to two numbers of mean 0 and variance 1 from a key that was split off or folded in: its own bits.

    They are random already, and a generator is half of what a small program takes to compile.
    """
    bits = jax.random.key_data(key)[:n]
    return 12**0.5 * (bits.astype(jnp.float32) / 2.0**32 - 0.5)


@functools.cache
def bowl(noise: float = 0.01) -> lrx.Problem:
    """Half the curvature times the squared distance to a noisy target.

    The same problem each time, so that tests share its compiled programs.
    """

    def loss(params, batch, key=None):
        return 0.5 * jnp.sum(CURVATURE * (params["x"] - noise * batch) ** 2)

    return lrx.Problem(
        init=lambda key: {"x": 1 + 0.1 * drawn(key)},
        loss=loss,
        sample=drawn,
        name="bowl",
    )


def scored(evaluate) -> lrx.Problem:
    """The bowl with an `evaluate`."""
    return dataclasses.replace(bowl(), evaluate=evaluate)


@functools.cache
def validated() -> lrx.Problem:
    """The bowl, with a validation loss that is smallest a little before the training loss is."""
    return scored(
        lambda params: {
            "loss": jnp.sum((params["x"] - 0.2) ** 2),
            "accuracy": jnp.mean(jnp.abs(params["x"]) < 0.5, dtype=jnp.float32),
        }
    )


def flat(noise=0.01):
    """Nothing to learn, for any rate."""
    return lrx.Problem(
        init=lambda key: jnp.zeros(2),
        loss=lambda params, batch, key=None: 0.0 * jnp.sum(params) + batch,
        sample=lambda key: 1 + noise * drawn(key, 1)[0],
    )


def lone_run(problem, tx, steps, key, seeds=1, seed=0):
    """The losses of one run in a plain loop, by NumPy, with the keys that a sweep gives to its seed."""

    @by_operations
    def step(params, state, batch):
        loss, grads = jax.value_and_grad(problem.loss)(params, batch)
        updates, state = tx.update(grads, state, params)
        return loss, lrx.apply_updates(params, updates), state

    init_key, data_key = jax.random.split(key, (seeds, 2))[seed]
    params = problem.init(init_key)
    state, losses = tx.init(params), []
    for t in range(steps):
        loss, params, state = step(params, state, problem.sample(jax.random.fold_in(data_key, t)))
        losses.append(loss)
    return np.array(losses)
