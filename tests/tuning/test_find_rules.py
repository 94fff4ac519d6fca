"""Rules with names, on ramps: what `find` makes of one long range test."""

import jax.numpy as jnp
import numpy as np
import pytest

import lrx
from tests.tuning.bowl import bowl, flat

BOWL = bowl(0.1)


@pytest.mark.parametrize("rule", ["minimum", "steep", "valley", "slide"])
def test_a_rule_is_asked_on_the_trimmed_smoothed_median(rule):
    found = lrx.find(BOWL, lrx.sgd, rule=rule, seeds=1)
    test = found.range_test
    asked = lrx.suggest(test.learning_rates, test.losses, rule, smoothing=0.98, skip_start=10, skip_end=5)
    assert found.learning_rate == asked
    assert found.interval == (asked, asked)
    assert found.rounds == ()
    assert found.gradients == 100


def test_three_ramps_agree_on_the_bowl():
    found = lrx.find(bowl(), lrx.sgd, rule="minimum")
    assert 0.01 < found.learning_rate < 2.0
    assert found.confident, found.doubt
    assert found.gradients == 300


def test_a_rule_has_doubts_too():
    assert not lrx.find(flat(), lrx.sgd, rule="valley").confident


def ramp_of(losses):
    """A problem without parameters to speak of, whose losses in a ramp are these, whatever the rates."""
    return lrx.Problem(
        init=lambda key: jnp.zeros(()), loss=lambda p, batch, key=None: batch + 0.0 * p, batches=lambda: iter(losses)
    )


def curve(lowest, again, last, seed=0):
    """Losses of a ramp of 100 steps: level, a fall, a rise, and a fall again."""
    x = np.interp(np.arange(100), [0, 40, 60, 75, 100], [2.5, 2.5, lowest, again, last])
    return np.float32(x + 0.02 * np.random.default_rng(seed).standard_normal(100))


@pytest.mark.parametrize("offset", [0.0, 100.0, -100.0])
def test_a_rule_says_the_same_of_losses_with_an_offset(offset):
    fell = lrx.find(ramp_of(curve(0.5, 0.6, 0.7) + np.float32(offset)), lrx.sgd, rule="valley", seeds=1)
    assert fell.confident, fell.doubt
    rose = lrx.find(ramp_of(curve(2.0, 60.0, 0.0) + np.float32(offset)), lrx.sgd, rule="steep", seeds=1)
    assert rose.learning_rate > 1.0  # where the loss comes back from a rise, which is no place to train at
    assert "the loss had risen again below that rate" in rose.doubt


@pytest.mark.parametrize("rule", ["minimum", "steep", "valley", "slide"])
def test_the_interval_of_a_rule_holds_its_suggestion(rule):
    """The suggestion is that of the median ramp, which may lie outside of those of the ramps."""
    stream = np.concatenate([curve(0.5, 4.0, 2.3, seed) for seed in range(3)])
    found = lrx.find(ramp_of(stream), lrx.sgd, rule=rule)
    low, high = found.interval
    assert low <= found.learning_rate <= high


@pytest.mark.parametrize("num_steps", [7, 20])
def test_a_short_ramp_is_not_confident(num_steps):
    assert not lrx.find(bowl(), lrx.sgd, rule="valley", num_steps=num_steps).confident
