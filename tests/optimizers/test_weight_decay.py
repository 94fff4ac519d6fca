"""`with_weight_decay`: the laws of how it shrinks the parameters, and its own schedule."""

import jax
import numpy as np
import pytest

import lrx
from tests.common import GRADS, PARAMS, distance, random_gradients, scan
from tests.optimizers.wrappers import MASK


@pytest.mark.parametrize(
    ("law", "factor"), [("rate", lambda n: n), ("independent", lambda n: 1.0), ("squared", lambda n: n * n / 0.5)]
)
def test_laws_of_weight_decay(law, factor):
    schedule = lrx.linear_schedule(0.5, 0.1, 4)
    largest = {"max_learning_rate": 0.5} if law == "squared" else {}
    tx = lrx.with_weight_decay(lrx.sgd(schedule), 0.25, MASK, law=law, **largest)
    state = tx.init(PARAMS)
    zero = jax.tree.map(np.zeros_like, GRADS)
    for t in range(4):
        updates, state = tx.update(zero, state, PARAMS)
        np.testing.assert_allclose(updates["w"], -0.25 * factor(float(schedule(t))) * PARAMS["w"], rtol=1e-6)
        np.testing.assert_array_equal(updates["b"], zero["b"])


def test_law_of_the_rate_is_adamw():
    grads = random_gradients(5)
    ours = scan(lrx.with_weight_decay(lrx.adam(lrx.linear_schedule(0.1, 0.01, 10)), 0.3), PARAMS, grads)
    assert distance(ours, scan(lrx.adamw(lrx.linear_schedule(0.1, 0.01, 10), weight_decay=0.3), PARAMS, grads)) < 1e-6


def test_weight_decay_follows_its_own_schedule():
    tx = lrx.with_weight_decay(lrx.sgd(0.0), lrx.linear_schedule(1.0, 0.0, 4), law="independent")
    state = tx.init(PARAMS)
    for t in range(3):
        updates, state = tx.update(GRADS, state, PARAMS)
        np.testing.assert_allclose(updates["w"], -(1 - t / 4) * PARAMS["w"], rtol=1e-6)
