"""What of a loss is luck, where one seed was trained."""

import math

import numpy as np
import pytest

from lrx.tuning._found import Found
from lrx.tuning._luck import of_neighbours, of_starts
from lrx.tuning._next_run import Member
from lrx.tuning._range_test import RangeTest
from lrx.tuning._report_words import _difference
from lrx.tuning._round import Round
from lrx.tuning._sweep import Sweep
from lrx.tuning._table import Score, ranked
from lrx.tuning._tune_budget import _interval

RATES = np.geomspace(1e-3, 1e-1, 16)


def valley(rates=RATES, spread=0.0, seed=0, best=0.01):
    random = np.random.default_rng(seed)
    return (0.5 + 0.01 * np.log(rates / best) ** 2) * (1 + spread * random.standard_normal(len(rates)))


@pytest.mark.parametrize("spread", [0.02, 0.05])
def test_it_is_the_spread_of_seeds(spread):
    seen = [of_neighbours(RATES, valley(spread=spread, seed=seed)) for seed in range(200)]
    assert np.sqrt(np.mean(np.square(seen))) == pytest.approx(spread, rel=0.25)


def test_a_smooth_valley_shows_little_of_it_and_a_line_none():
    assert of_neighbours(RATES, valley()) < 0.002
    assert of_neighbours(RATES[:3], 1 + np.log(RATES[:3] / RATES[0])) < 1e-12
    uneven = np.array([1e-3, 1.5e-3, 4e-3, 9e-3])
    assert of_neighbours(uneven, 2 + 0.1 * np.log(uneven)) < 1e-12


def test_two_rates_differ_by_root_two_of_it():
    pairs = [of_neighbours(np.array([0.01, 0.013]), valley(np.array([0.01, 0.013]), 0.05, s)) for s in range(400)]
    assert np.sqrt(np.mean(np.square(pairs))) == pytest.approx(0.05, rel=0.2)


def test_rates_far_apart_and_runs_that_diverged_show_nothing():
    assert math.isnan(of_neighbours(np.array([0.01]), np.array([1.0])))
    assert math.isnan(of_neighbours(np.array([0.01, 0.06]), np.array([1.0, 1.1])))
    assert math.isnan(of_neighbours(np.array([0.01, 0.02]), np.array([1.0, np.inf])))
    assert math.isnan(of_neighbours(np.array([0.01, 0.02]), np.array([np.nan, np.inf])))
    assert math.isnan(of_neighbours(np.array([0.01, 0.02]), np.array([1.0, 2.5])))  # outside of the valley


@pytest.mark.parametrize("factor", [1e-6, -1.0, 40.0])
def test_it_is_relative_to_the_loss(factor):
    losses = valley(spread=0.05)
    losses = losses if factor > 0 else 2 - losses  # of negative losses the lowest is the largest
    one = of_neighbours(RATES, losses if factor > 0 else -losses)
    assert of_neighbours(RATES, abs(factor) * (losses if factor > 0 else -losses)) == pytest.approx(one)


def found(*parts):
    last = Round(40, np.array([0.01, 0.02]), np.array([0.5, 0.7]), 2.0, *parts)
    return Found(0.013, (0.008, 0.02), True, RangeTest(np.ones(2), np.ones(2)), (last,))


def test_the_starts_of_short_runs_show_it_too():
    parts = np.array([[0.1, 0.1, -0.1, -0.1], [9.0, -9.0, 0.0, 0.0]])
    assert of_starts(found(parts), 2) == pytest.approx(0.2 / math.sqrt(2) / 0.5)
    assert math.isnan(of_starts(found(parts), 1))
    assert math.isnan(of_starts(found(), 2))


def swept(seeds=1, spread=0.05):
    losses = np.stack([valley(spread=spread, seed=s) for s in range(seeds)], axis=-1)
    return Sweep(
        problem="valley",
        dims=("learning_rate", "schedule", "seed", "step"),
        coords={"learning_rate": tuple(RATES.tolist()), "schedule": ("linear",), "seed": tuple(range(seeds))},
        losses=np.repeat(losses[:, None, :, None], 40, axis=3).astype(np.float32),
        scores={"loss": 2 * losses[:, None].astype(np.float32)},
    )


def test_optuna_the_table_shows_the_spread_of_one_seed():
    (row,) = ranked({"adam": [swept()]}, "training")
    assert 0.02 < row.training.spread / row.training.mean < 0.1
    assert row.validation.spread / row.validation.mean == pytest.approx(row.training.spread / row.training.mean)
    (row,) = ranked({"adam": [swept(seeds=3)]}, "training")
    s = swept(seeds=3)
    assert row.training.spread == pytest.approx(float(s.final[s.best("training").index].std()))


def test_a_row_without_neighbours_takes_what_others_show():
    s = swept()
    lone = Sweep(
        s.problem, s.dims, {**s.coords, "learning_rate": (0.01,)}, s.losses[:1], {"loss": s.scores["loss"][:1]}
    )
    relative = {r.optimizer: r.training.spread / r.training.mean for r in ranked({"a": [s], "b": [lone]}, "training")}
    assert relative["a"] == pytest.approx(relative["b"])
    (row,) = ranked({"b": [lone]}, "training")
    assert row.training.spread == 0
    (row,) = ranked({"b": [lone]}, "training", luck=0.1)
    assert row.training.spread == pytest.approx(0.1 * row.training.mean)


@pytest.mark.parametrize("by", ["training", "validation"])
def test_rates_that_another_seed_might_choose_belong_to_the_interval(by):
    s = swept()
    (row,) = ranked({"adam": [s]}, by)
    rate = row.learning_rate
    score = row.validation if by == "validation" else row.training
    done = {Member("adam", "linear", rate): score.mean}

    def reached(factor, spreads):
        other = {Member("adam", "linear", rate * factor): score.mean + spreads * score.spread}
        return _interval(row, found(), done | other, by)

    for factor in (1 / 6, 6):
        low, high = reached(factor, 1.0)
        assert low <= rate * factor <= high
        assert low < rate < high
        worse = reached(factor, 10.0)
        assert worse[0] >= low and worse[1] <= high
        assert worse != (low, high)


@pytest.mark.parametrize(
    ("theirs", "said"), [(1.1, "9% lower, which may be the luck of one seed"), (2.0, "50% lower, more than the luck")]
)
def test_a_difference_within_the_luck_of_one_seed_is_told(theirs, said):
    assert _difference(Score(1.0, 0.05), Score(theirs, 0.05), 1).startswith(said)
