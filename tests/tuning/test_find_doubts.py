"""When `find` is not confident, and why it says so."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrx
from lrx.tuning._found import judged
from lrx.tuning._round import Round
from tests.tuning.bowl import bowl, flat

BOWL = bowl(0.1)


def test_nothing_is_learned():
    found = lrx.find(flat(), lrx.sgd)
    assert not found.confident
    assert "the loss did not fall by more than its noise" in found.doubt


def test_another_start_is_no_progress():
    """The runs of a round are compared with their own start."""
    problem = lrx.Problem(
        init=lambda key: 1 + jax.random.uniform(key, (1,)),
        loss=lambda params, batch, key=None: jax.lax.stop_gradient(params[0]) + 0.0 * params[0],
        sample=lambda key: jnp.zeros(()),
    )
    assert "the loss did not fall by more than its noise" in lrx.find(problem, lrx.sgd).doubt


def test_an_optimizer_that_ignores_the_rate():
    found = lrx.find(BOWL, lambda rate: lrx.sgd(0.3))
    assert found.doubt == "the loss is the same at every rate"
    assert 1e-3 < found.learning_rate < 1.0


@pytest.mark.parametrize(("start", "stop", "end"), [(1e-4, 1e-2, 1e-2), (0.02, 0.2, 0.2), (1e-9, 2e-9, None)])
def test_the_end_of_the_range(start, stop, end):
    found = lrx.find(bowl(), lrx.sgd, start=start, stop=stop)
    assert not found.confident
    assert start <= found.learning_rate <= stop
    assert end is None or found.learning_rate == pytest.approx(end, rel=0.05)


def test_nothing_stays_finite():
    steep = lrx.Problem(lambda key: jnp.ones(2), lambda p, b, key=None: 1e20 * jnp.sum(p**2), lambda key: jnp.zeros(()))
    with pytest.raises(ValueError, match=r"find\(start=...\) must be lower: not one of the short runs stayed finite"):
        lrx.find(steep, lrx.sgd)


@pytest.mark.parametrize("rule", [None, "minimum"])
@pytest.mark.parametrize("value", [jnp.nan, jnp.inf])
def test_a_loss_that_is_not_finite_at_the_start(rule, value):
    wrong = lrx.Problem(lambda key: jnp.ones(2), lambda p, b, key=None: value * p.sum(), lambda key: jnp.zeros(()))
    with pytest.raises(ValueError, match=r"find\(problem=...\) must have a finite loss before the first update"):
        lrx.find(wrong, lrx.sgd, rule=rule)


def rounds(*losses, initial=10.0):
    rates = np.array([0.01, 0.02, 0.04])
    return tuple(Round(40, rates, np.array(x), initial) for x in losses)


def test_a_last_round_that_diverged_is_no_evidence():
    found = judged(rounds([2.0, 1.0, 2.0], [2.0, 1.0, 2.0], [np.inf] * 3), 1e-7, 10.0, 0)
    assert found.doubt == "the longer runs all diverged"
    assert found.learning_rate == pytest.approx(0.005)  # below all that diverged


def test_no_rate_between_the_highest_that_held_and_one_that_diverged():
    found = judged(rounds([4.0, 3.0, 2.0], [4.0, 3.0, 2.0], [3.0, 2.0, np.inf]), 1e-7, 10.0, 0)
    assert found.learning_rate == 0.02  # the rounds before would have asked for more
    higher = judged(rounds([4.0, 3.0, 2.0], [4.0, 3.0, 2.0], [3.0, 2.0, 2.0]), 1e-7, 10.0, 0)
    assert higher.learning_rate > 0.025


def test_rounds_that_agree_leave_no_doubt():
    found = judged(rounds(*[[2.0, 1.0, 2.0]] * 3), 1e-7, 10.0, 0)
    assert found.doubt == ""
    assert found.learning_rate == pytest.approx(0.02)
    low, high = found.interval
    assert low < 0.02 < high
    assert low * high == pytest.approx(0.02**2)


def test_the_interval_is_wide_where_the_valley_is_flat():
    narrow = judged(rounds(*[[2.0, 1.0, 2.0]] * 3), 1e-7, 10.0, 0).interval
    wide = judged(rounds(*[[1.01, 1.0, 1.01]] * 3), 1e-7, 10.0, 0).interval
    assert wide[0] < narrow[0] and narrow[1] < wide[1]
