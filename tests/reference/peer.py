"""What the references are compared with: an optax optimizer along given gradients, and a rate for both."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def decaying(count):
    """Return a rate that changes at every count."""
    return 0.5 / (1 + count)


def optax_trajectory(optimizer, x0, gradients):
    """Return the path that an optax optimizer takes, in the precision that JAX has enabled."""
    return optax_trajectories({"": (optimizer, x0, gradients)})[""]


def optax_trajectories(given):
    """Return the path of each of many, `{name: (optimizer, x0, gradients)}`, all from one program."""
    optimizers, starts, gradients = zip(*given.values(), strict=True)
    starts, gradients = jax.tree.map(jnp.asarray, (starts, gradients))
    paths = jax.jit(lambda starts, gradients: list(map(_after, optimizers, starts, gradients)))(starts, gradients)
    whole = [
        jax.tree.map(lambda x, rest: np.concatenate([x[None], rest]), *pair) for pair in zip(starts, paths, strict=True)
    ]
    return dict(zip(given, whole, strict=True))


def _after(optimizer, x0, gradients):
    """x_1, x_2, …"""

    def step(carry, g):
        x, state = carry
        updates, state = optimizer.update(g, state, x)
        x = optax.apply_updates(x, updates)
        return (x, state), x

    return jax.lax.scan(step, (x0, optimizer.init(x0)), gradients)[1]
