"""Longer runs at three rates side by side, between the short runs of `tune` and its whole ones."""

import math
from typing import Any

import numpy as np
import pytest

import lrx
from lrx.tuning._evidence import FALLS, STAYS, UNKNOWN
from lrx.tuning._longer_runs import APART, around, followed
from lrx.tuning._rate_search import RateSearch, drive, expected, least
from lrx.tuning._round import Round
from tests.tuning.bowl import bowl, validated

ONE: dict[str, Any] = dict(optimizers="sgd", schedules="linear", budget=2.75, steps=400)


@pytest.fixture(scope="module")
def tuned():
    return lrx.tune(bowl(0.1), **ONE)


def test_they_are_around_the_suggestion_and_the_whole_run_is_where_they_point(tuned):
    *_, before, longer = tuned.found.rounds
    assert len(tuned.found.rounds) == 4
    assert longer.steps == 200 > 10 * before.steps
    np.testing.assert_allclose(np.diff(np.log(longer.learning_rates)), math.log(APART))
    assert len(longer.losses) == 3 and longer.fell
    (sweep,) = tuned.sweeps["sgd"]
    assert sweep.learning_rates == pytest.approx([tuned.found.learning_rate], rel=5e-3)
    assert tuned.found.learning_rate == pytest.approx(longer.vertex)


def test_the_next_whole_run_is_at_the_lower_neighbour_of_the_first(tuned):
    more = lrx.tune(bowl(0.1), **ONE | {"budget": 3.75})
    (one,), two = tuned.sweeps["sgd"][0].learning_rates, more.sweeps["sgd"][0].learning_rates
    assert two == pytest.approx([one / 10**0.13, one], rel=5e-3)
    assert tuned.larger_budget == f"A budget of 3.75 runs would also train sgd under linear at {two[0]:.3g}."


def test_they_have_their_own_progress(tuned):
    told = []
    again = lrx.tune(bowl(0.1), progress=lambda stage, done, total: told.append((stage, int(done), total)), **ONE)
    assert list(dict.fromkeys(stage for stage, *_ in told))[:2] == ["sgd: short runs", "sgd: longer runs"]
    assert [x[1:] for x in told if x[0] == "sgd: longer runs"][-1] == (600, 600)
    assert again.table == tuned.table and again.interval == tuned.interval


def test_there_are_none_where_they_are_of_no_use():
    by_validation = lrx.tune(validated(), **ONE)
    assert by_validation.by == "validation" and len(by_validation.found.rounds) == 3
    plain = bowl(0.1)
    batches = iter(np.random.default_rng(0).standard_normal((2000, 2)).astype(np.float32))
    once = lrx.Problem(plain.init, plain.loss, batches=batches)
    assert len(lrx.tune(once, **ONE | {"budget": 2.1}).found.rounds) == 3


@pytest.mark.parametrize(
    ("optimizers", "budget", "told"),
    [
        (["sgd"], 1.5, "A budget of 2 runs would also make three longer runs, at rates side by side."),
        (["sgd", "adam"], 3.0, "A budget of 4 runs would also make three longer runs of each optimizer, at rates "),
    ],
)
def test_a_small_budget_says_which_one_pays_for_them(optimizers, budget, told):
    assert lrx.tune(bowl(0.1), **ONE | {"optimizers": optimizers, "budget": budget}).larger_budget.startswith(told)


def test_the_optimizers_are_compared_by_them():
    result = lrx.tune(bowl(0.1), **ONE | {"optimizers": ["sgd", "adam", "adagrad"], "budget": 6.5})
    assert (
        {row.steps for row in result.table if row.verdict == "short runs"} == {result.found.rounds[-1].steps} == {122}
    )
    assert sum(row.steps == 400 for row in result.table) == 2


# ---------------------------------------------------------------- from losses alone


def searched(drift, start=1e-5, stop=10.0):
    """A search whose runs are best at a rate that moves with their length as it is expected of that kind."""

    def measure(rates, steps, number):
        last = 0.5 + 0.1 * np.log(rates / (0.1 * (steps / 50) ** drift.mean)) ** 2
        return np.linspace(np.full(len(rates), 2.0), last, steps, axis=1)[:, None]

    search = RateSearch(start, stop, least(1), 1, 1000, drift)
    drive(search, measure)
    return search


def valley(steps, best, apart=APART, lowest=0.5):
    rates = best * apart ** np.array([-1.0, 0.2, 1.0])
    losses = lowest + 0.1 * np.log(rates / best) ** 2
    return Round(steps, rates, losses, 2.0, np.zeros((3, 4)) + 1e-4 * np.arange(4), steps // 4)


def test_rates_are_where_runs_of_that_length_are_expected_to_be_best():
    short, longer = (around(searched(FALLS), n) for n in (50, 500))
    assert longer[1] < 0.5 * short[1]


@pytest.mark.parametrize("span", [(1e-5, 0.12), (0.09, 10.0), (0.09, 0.12)])
def test_rates_stay_within_the_range(span):
    rates = around(searched(STAYS, *span), 500)
    assert span[0] * 0.999 < rates[0] < rates[1] < rates[2] < span[1] * 1.001


@pytest.mark.parametrize(("drift", "factor"), [(STAYS, 1.0), (FALLS, 2**-0.5), (UNKNOWN, 1.0)])
def test_the_rate_is_that_of_the_longer_runs_followed_to_the_whole_ones(drift, factor):
    rounds = (*searched(drift).rounds, valley(500, 0.04))
    line = followed(rounds, 1000, drift)
    assert math.exp(line.log_rate) == pytest.approx(rounds[-1].vertex * factor)
    assert rounds[-1].vertex == pytest.approx(0.04, rel=0.1)
    assert 0.3 < line.error < followed((*rounds[:3], valley(250, 0.04)), 1000, drift).error


def test_longer_runs_that_learn_nothing_or_diverge_leave_the_rate_to_the_short_ones():
    search = searched(STAYS)
    for losses in (np.full(3, 2.0), np.full(3, np.inf)):
        last = Round(500, np.array([0.02, 0.04, 0.07]), losses, 2.0, np.zeros((3, 4)), 125)
        rounds = (*search.rounds, last)
        assert followed(rounds, 1000, STAYS) == expected(rounds, 1000, STAYS)
