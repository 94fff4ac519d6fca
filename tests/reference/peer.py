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

    def step(carry, g):
        x, state = carry
        updates, state = optimizer.update(g, state, x)
        x = optax.apply_updates(x, updates)
        return (x, state), x

    x0 = jax.tree.map(jnp.asarray, x0)
    _, path = jax.lax.scan(step, (x0, optimizer.init(x0)), jnp.asarray(gradients))
    return jax.tree.map(lambda first, rest: np.concatenate([first[None], rest]), x0, path)
