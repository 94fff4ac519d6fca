"""What the tests of muP share."""

import jax
import jax.numpy as jnp

BASE, WIDTH = 32, 128
M = WIDTH / BASE


def shapes(make, *args):
    return jax.eval_shape(lambda: make(*args))


def mlp(width, seed=0):
    """Three layers by hand, by fan-in: the parameters of `x @ w + b`."""
    keys = jax.random.split(jax.random.key(seed), 3)
    sizes = [(8, width), (width, width), (width, 4)]

    def layer(key, size):
        return {"w": jax.random.normal(key, size) / jnp.sqrt(size[0]), "b": jnp.zeros(size[1])}

    return {
        name: layer(*pair)
        for name, pair in zip(("first", "hidden", "last"), zip(keys, sizes, strict=True), strict=True)
    }
