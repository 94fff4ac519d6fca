"""Values and derivatives of a phase are numbers, whatever the compiler: which digits, `test_phase.py` asks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.schedules.test_phase import GRADIENTS, LAST, narrow

ALL_COUNTS = np.array([0, 1, 2, 500, 999, 1000, 1001, 10**6, LAST])


@pytest.mark.parametrize("name", GRADIENTS)
def test_values_and_gradients_are_finite(name):
    """By the hyperparameters and by a float count, whatever the length. Eager, so that NaNs are trapped inside too."""
    function = GRADIENTS[name]
    x, y = np.array([(0, 0), (0, 1), (1, 0), (0.5, 0.5), (0.999, 2), (-1, 1), (2, 1)], np.float32).T
    steps, counts = np.array([0, 1, 2, 1000, LAST]), ALL_COUNTS
    grid = [g.ravel() for g in np.meshgrid(np.arange(len(x)), steps, counts, indexing="ij")]
    arguments = (jnp.asarray(x[grid[0]]), jnp.asarray(y[grid[0]]), narrow(grid[1]))
    with jax.debug_nans(True):
        for count, by in ((narrow(grid[2]), (0, 1)), (jnp.asarray(np.float32(grid[2])), (0, 1, 3))):
            values, gradients = jax.vmap(jax.value_and_grad(function, by))(*arguments, count)
            assert all(np.isfinite(g).all() for g in (values, *gradients))
