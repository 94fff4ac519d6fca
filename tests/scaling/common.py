"""What the tests of muP share."""

import jax
import jax.numpy as jnp
import numpy as np

BASE, WIDTH = 32, 128
M = WIDTH / BASE


def shapes(make, *args):
    return jax.eval_shape(lambda: jax.tree.map(jnp.asarray, make(*args)))


def mlp(width, seed=0):
    """Three layers by hand, by fan-in: the parameters of `x @ w + b`."""
    draw = np.random.default_rng([seed, width])
    sizes = [(8, width), (width, width), (width, 4)]

    def layer(size):
        return {"w": np.float32(draw.normal(size=size) / np.sqrt(size[0])), "b": np.zeros(size[1], np.float32)}

    return dict(zip(("first", "hidden", "last"), map(layer, sizes), strict=True))
