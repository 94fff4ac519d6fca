"""A noisy least-squares problem, in NumPy for the references and in JAX for lrx."""

import jax
import jax.numpy as jnp
import numpy as np

import lrx

STEPS = 200
CURVATURE = np.logspace(-1, 0.5, 6)
START = np.array([2.0, -1.0, 0.5, 1.5, -2.0, 1.0])
NOISE = 0.1 * np.random.default_rng(3).standard_normal((STEPS, 6))


def value_at(t, x):
    """The loss of batch t."""
    return 0.5 * float(np.sum(CURVATURE * (x - NOISE[t]) ** 2)) + 0.01


def problem(t, x):
    """The loss of batch t and its gradient."""
    return value_at(t, x), CURVATURE * (x - NOISE[t])


def split_problem(t, x):
    """The same for parameters in two leaves."""
    value, gradient = problem(t, np.concatenate(x))
    return value, [gradient[:2], gradient[2:]]


def loss(params, noise):
    """The loss of the batch with this noise."""
    x = jnp.concatenate(jax.tree.leaves(params))
    return 0.5 * jnp.sum(jnp.asarray(CURVATURE) * (x - noise) ** 2) + 0.01


def follow(tx, start=START, steps=STEPS):
    """The parameters before and after each update, the rates applied and the last state, in float64."""

    def step(carry, noise):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params, noise)
        updates, state = tx.update(grads, state, params, value=value, value_fn=loss, noise=noise)
        params = lrx.apply_updates(params, updates)
        return (params, state), (params, lrx.learning_rates(state))

    params = jax.tree.map(jnp.asarray, start)
    (_, state), (path, rates) = jax.lax.scan(step, (params, tx.init(params)), jnp.asarray(NOISE[:steps]))
    path = jax.tree.map(lambda p, rest: np.concatenate([np.asarray(p)[None], rest]), start, path)
    return path, rates, state
