import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrx
from tests.tuning.bowl import bowl
from tests.tuning.test_sweep import lone_run


def test_the_ramp_is_exponential_from_start_to_stop():
    test = lrx.range_test(bowl(), lrx.sgd, start=1e-4, stop=1.0, num_steps=9)
    np.testing.assert_allclose(test.learning_rates, np.geomspace(1e-4, 1.0, 9), rtol=1e-6)
    assert test.learning_rates[0] == np.float32(1e-4)
    assert test.learning_rates[-1] == 1.0


def test_the_losses_are_those_of_training_with_the_ramp_as_schedule():
    key = jax.random.key(5)
    test = lrx.range_test(bowl(), lrx.adam, start=1e-3, stop=1.0, num_steps=12, key=key)
    ramp = lrx.exponential_decay(1e-3, 11, 1e3)
    np.testing.assert_allclose(test.losses, lone_run(bowl(), lrx.adam(ramp), 12, key), rtol=2e-5)


def test_losses_stay_in_the_record_when_the_ramp_diverges():
    test = lrx.range_test(bowl(), lrx.sgd, start=1e-3, stop=1e25, num_steps=40)
    assert len(test.losses) == 40
    assert not np.isfinite(test.losses[-1])
    assert np.isfinite(test.losses[:10]).all()


def test_find_lands_below_the_edge_of_stability_and_is_confident():
    found = lrx.find(bowl(), lrx.sgd)
    assert 0.02 < found.learning_rate < 2.0
    low, high = found.interval
    assert low <= high
    assert found.confident


@pytest.mark.parametrize("rule", ["minimum", "steep", "valley", "slide"])
def test_find_asks_the_rule_on_the_trimmed_smoothed_median(rule):
    found = lrx.find(bowl(0.1), lrx.sgd, rule=rule, seeds=1)
    test = found.range_test
    asked = lrx.suggest(test.learning_rates, test.losses, rule, smoothing=0.98, skip_start=10, skip_end=5)
    assert found.learning_rate == asked
    assert found.interval == (asked, asked)


def test_find_is_not_confident_when_nothing_is_learned():
    flat = lrx.Problem(
        init=lambda key: jnp.zeros(2),
        loss=lambda params, batch, key=None: 0.0 * jnp.sum(params) + batch,
        sample=lambda key: 1 + 0.01 * jax.random.normal(key),
    )
    assert not lrx.find(flat, lrx.sgd).confident


def test_fastai_3658_find_leaves_nothing_behind():
    problem = bowl()
    first, again = lrx.find(problem, lrx.adam), lrx.find(problem, lrx.adam)
    assert first.learning_rate == again.learning_rate
    np.testing.assert_array_equal(first.range_test.losses, again.range_test.losses)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(start=0.0), r"find\(start=...\) must be positive, got 0.0."),
        (dict(start=1.0, stop=0.1), r"find\(start=...\) must be less than stop, got start=1.0, stop=0.1."),
        (dict(num_steps=1), r"find\(num_steps=...\) must be at least 2, got 1."),
        (dict(seeds=0), r"find\(seeds=...\) must be positive, got 0."),
        (dict(rule="best"), r"find\(rule=...\) must be one of"),
    ],
)
def test_wrong_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        lrx.find(bowl(), lrx.sgd, **kwargs)
