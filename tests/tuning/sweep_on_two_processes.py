"""A sweep whose members are divided over the devices of two processes."""

import jax
import numpy as np

import lrx

from .bowl import bowl, validated

GRID = dict(learning_rate=[0.01, 0.1, 0.3, 0.5, 1.0], seeds=2, steps=8)


def ask(folder):
    del folder
    mesh = jax.make_mesh((4,), ("members",))
    one = lrx.sweep(validated(), lrx.adam, **GRID)
    both = lrx.sweep(validated(), lrx.adam, mesh=mesh, chunk_size=4, **GRID)
    np.testing.assert_allclose(both.losses, one.losses, rtol=1e-6)
    for name in one.scores:
        np.testing.assert_allclose(both.scores[name], one.scores[name], rtol=1e-6)
    data = list(np.random.default_rng(0).standard_normal((8, 2)).astype(np.float32))
    problem = lrx.Problem(init=bowl().init, loss=bowl().loss, batches=data)
    read = lrx.sweep(problem, lrx.adam, mesh=mesh, **GRID)
    np.testing.assert_allclose(read.losses, lrx.sweep(problem, lrx.adam, **GRID).losses, rtol=1e-6)
    refuses(
        validated(), "checkpoint=...) must be None beside a mesh that spans processes", mesh=mesh, checkpoint="file"
    )
    of_process_0 = jax.sharding.Mesh(np.array([d for d in jax.devices() if d.process_index == 0]), ("members",))
    if jax.process_index():
        refuses(
            validated(),
            "mesh=...) must have devices of each process that calls it, none of them is of",
            mesh=of_process_0,
        )


def refuses(problem, message, **arguments):
    try:
        lrx.sweep(problem, lrx.adam, **GRID, **arguments)
    except ValueError as error:
        assert message in str(error), error
    else:
        raise AssertionError(message)
