"""A batch that is skipped is no divergence: runs are judged by what their parameters do."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

import lrx
from lrx.tuning._end_losses import end_losses
from tests.tuning.bowl import bowl

GRID = np.geomspace(0.01, 3.0, 6)


def loss(params, batch, key=None):
    """One batch in ten has no finite loss, and no finite gradient."""
    bad = jax.random.key_data(jax.random.fold_in(key, 3))[0] < 2**32 // 10
    return bowl(0.1).loss(params, batch) * jnp.where(bad, jnp.nan, 1.0)


HOLED = dataclasses.replace(bowl(0.1), loss=loss)


def skipping(rate):
    return lrx.apply_if_finite(lrx.sgd(rate), 5)


def test_optuna_2727_a_sweep_a_halving_and_a_search_of_runs_that_skip_batches():
    result = lrx.sweep(HOLED, skipping, learning_rate=GRID, steps=100, seeds=2)
    plain = lrx.sweep(bowl(0.1), lrx.sgd, learning_rate=GRID, steps=100, seeds=2)
    assert np.isnan(result.losses).any(axis=-1).all()
    np.testing.assert_array_equal(np.isfinite(result.final), np.isfinite(plain.final))
    assert result.best().learning_rate == plain.best().learning_rate
    halved = lrx.halving(HOLED, skipping, learning_rate=GRID, steps=100, seeds=2, budget=4.0)
    assert 0.03 < halved.best().learning_rate < 2.0
    found, whole = (lrx.find(p, make, steps=1000) for p, make in ((HOLED, skipping), (bowl(0.1), lrx.sgd)))
    assert found.confident, found.doubt
    assert 1 / 3 < found.learning_rate / whole.learning_rate < 3


def test_runs_that_end_without_a_finite_loss_have_diverged():
    losses = np.ones((4, 40), np.float32)
    losses[0, 5::9] = np.nan
    losses[1, 30:] = np.inf
    losses[2, -2:] = np.nan
    losses[3, -4:] = np.nan
    np.testing.assert_array_equal(end_losses(losses, 2), [1.0, np.nan, 1.0, np.nan])
    np.testing.assert_array_equal(end_losses(losses[:, :1], 1), np.ones(4))
