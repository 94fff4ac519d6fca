import numpy as np
import pytest

from lrx.tuning._evidence import heights, lowest
from lrx.tuning._rate_search import FIRST, LANES, RateSearch, drive, least, scores, unit_of
from lrx.tuning._round import Round


class Runs:
    """Short runs that are made up: losses that go from 10 straight to `loss(rate)`, the last half of them there."""

    def __init__(self, loss, noise=0.0, seeds=1, seed=0, initial=10.0):
        self.loss, self.seeds, self.initial, self.noise = loss, seeds, initial, noise
        self.random = np.random.default_rng(seed)
        self.calls = []

    def __call__(self, rates, steps, number):
        self.calls.append((np.asarray(rates), steps, number))
        with np.errstate(over="ignore"):
            end = np.asarray([self.loss(rate) for rate in rates], np.float64)
        end = end * np.exp(self.noise * self.random.standard_normal(len(rates)))
        losses = np.repeat(end[:, None, None], self.seeds, axis=1).repeat(steps, axis=2)
        losses[..., 0] = self.initial
        return losses

    @property
    def gradients(self):
        return sum(len(rates) * steps * self.seeds for rates, steps, _ in self.calls)


def parabola(best, curvature=0.5, scale=1.0):
    return lambda rate: scale * np.exp(curvature / 2 * np.log(rate / best) ** 2)


def search(runs, start=1e-7, stop=10.0, gradients=2500, **kwargs):
    found = RateSearch(start, stop, gradients, runs.seeds, **kwargs)
    drive(found, runs)
    assert found.done
    return found


def suggestion(*args, **kwargs):
    return search(*args, **kwargs).rounds[-1].vertex


@pytest.mark.parametrize("best", np.geomspace(1e-6, 5.0, 23))
@pytest.mark.parametrize("curvature", [0.01, 0.5, 1.0])
def test_the_lowest_point_of_a_valley_is_found_to_a_hundredth(best, curvature):
    found = search(Runs(parabola(best, curvature)))
    assert found.rounds[-1].vertex == pytest.approx(best, rel=1e-2)
    assert found.rounds[-1].curvature > 0


@pytest.mark.parametrize("best", np.geomspace(1e-6, 5.0, 23))
@pytest.mark.parametrize("curvature", [3.0, 30.0])
def test_a_steep_valley_is_found_to_half_a_step_of_the_last_round(best, curvature):
    # only the lowest losses take part, as above the edge of stability the parabola ends
    assert abs(np.log10(suggestion(Runs(parabola(best, curvature))) / best)) <= 0.251


@pytest.mark.parametrize("seed", range(10))
def test_within_the_noise(seed):
    best = 10 ** np.random.default_rng(seed).uniform(-5, 0)
    found = suggestion(Runs(parabola(best), noise=0.02, seed=seed))
    assert abs(np.log10(found / best)) < 0.2  # two points a factor √10 apart differ by a third


@pytest.mark.parametrize("wild", FIRST)
def test_lightning_1767_one_wild_loss_does_not_move_the_suggestion_far(wild):
    loss = parabola(0.02)
    found = suggestion(Runs(lambda rate: 1e6 if rate == wild else loss(rate)))
    assert abs(np.log10(found / 0.02)) < 0.26  # half of one step of the second round, and a little


@pytest.mark.parametrize("cliff", [1e-5, 0.004, 0.2, 3.0])
def test_all_above_a_cliff_are_infinite(cliff):
    found = search(Runs(lambda rate: np.inf if rate > cliff else rate**-0.3))
    assert cliff / 10 < found.rounds[-1].vertex <= cliff
    assert all(r.finite for r in found.rounds[:2])


def test_all_rates_but_one_are_infinite():
    found = search(Runs(lambda rate: 1.0 if 0.004 < rate < 0.025 else np.inf))
    assert np.isfinite(found.rounds[0].losses).sum() == 1
    assert 0.004 < found.rounds[-1].vertex < 0.025
    assert found.rounds[-1].curvature == 0


def test_nothing_is_finite():
    found = search(Runs(lambda rate: np.nan))
    assert not any(r.finite for r in found.rounds)
    assert found.rounds[0].learning_rates[0] < 1e-5  # lower rates were tried
    assert found.rounds[-1].learning_rates[0] >= 1e-7


@pytest.mark.parametrize("power", [-0.3, 0.3])
@pytest.mark.parametrize(("start", "stop"), [(1e-7, 10.0), (1e-3, 1.0), (1e-4, 0.3163), (5e-4, 0.35)])
def test_a_loss_that_falls_to_an_end_of_the_range_is_followed_and_not_beyond(start, stop, power):
    found = search(Runs(lambda rate: rate**power), start, stop, 10000)
    rates = np.concatenate([r.learning_rates for r in found.rounds])
    assert start * (1 - 1e-12) <= rates.min() and rates.max() <= stop * (1 + 1e-12)
    if (start, power) != (1e-7, 0.3):  # four decades below the first rates: the budget ends before
        assert found.rounds[-1].vertex == pytest.approx(start if power > 0 else stop)
    else:
        assert found.rounds[-1].vertex < 1e-6


@pytest.mark.parametrize("level", [1.0, 0.0, -2.0])
def test_of_equals_the_middle_one_is_the_best(level):
    found = search(Runs(lambda rate: level))
    assert len(found.rounds[0].learning_rates) == len(FIRST)  # no reason to go beyond
    assert FIRST[0] < found.rounds[-1].vertex < FIRST[-1]
    assert found.rounds[-1].curvature == 0


def test_a_loss_of_zero_at_many_rates():
    found = suggestion(Runs(lambda rate: 0.0 if 2e-3 < rate < 0.2 else 1.0))
    assert 2e-3 < found < 0.2


@pytest.mark.parametrize("best", [2e-5, 0.013, 1.7])
def test_negative_losses_have_a_lowest_point_too(best):
    found = search(Runs(lambda rate: 0.2 * np.log(rate / best) ** 2 - 20.0))
    assert found.rounds[-1].vertex == pytest.approx(best, rel=1e-2)
    assert found.rounds[-1].curvature > 0


def test_one_huge_loss_does_not_hide_what_there_is_to_gain_below_zero():
    losses = np.array([-1.0, -1.5, -1.4, 1e30])
    np.testing.assert_allclose(heights(losses, initial=1.0), np.log1p([2.0, 0.0, 0.4, 4e30]))
    x, curvature = lowest(np.arange(4.0), losses, initial=1.0)
    assert 1 < x < 2
    assert curvature > 0


@pytest.mark.parametrize("factor", [1e-20, 0.3, 1e20])
@pytest.mark.parametrize("best", [1e-4, 0.07])
def test_multiplying_the_losses_changes_nothing(best, factor):
    one = suggestion(Runs(parabola(best), noise=0.1, seed=3))
    other = suggestion(Runs(parabola(best, scale=factor), noise=0.1, seed=3, initial=10.0 * factor))
    assert other == pytest.approx(one, rel=1e-9)


@pytest.mark.parametrize("factor", [1e-10, 1e3, 1e10])
def test_multiplying_all_rates_moves_the_suggestion(factor):
    # a range of its own that does not hold the six usual rates
    start, stop, best = 2.0, 90.0, 11.0
    one = suggestion(Runs(parabola(best), noise=0.1, seed=3), start, stop)
    other = suggestion(Runs(parabola(factor * best), noise=0.1, seed=3), factor * start, factor * stop)
    assert other == pytest.approx(factor * one, rel=1e-9)


@pytest.mark.parametrize("seeds", [1, 2, 3])
@pytest.mark.parametrize("gradients", [72, 73, 100, 125, 249, 250, 251, 1000, 3333, 10**6])
@pytest.mark.parametrize("best", [1e-9, 1e-6, 0.01, 4.0, 1e9])
def test_the_budget_is_kept_and_used(best, gradients, seeds):
    runs = Runs(parabola(best), seeds=seeds)
    found = search(runs, gradients=gradients * seeds)
    assert runs.gradients <= gradients * seeds
    assert runs.gradients > gradients * seeds - (LANES + 1) * seeds * max(found.unit, 2)
    assert found.left * seeds == found.budget * seeds - runs.gradients


def test_a_budget_below_the_least_would_leave_a_shorter_last_round():
    for seeds in (1, 2, 3):
        steps = [r.steps for r in search(Runs(parabola(0.01), seeds=seeds), gradients=least(seeds)).rounds]
        assert steps == [4, 8, 8]
        steps = [r.steps for r in search(Runs(parabola(0.01), seeds=seeds), gradients=least(seeds) - 1).rounds]
        assert steps[2] < steps[1]


@pytest.mark.parametrize("whole", [1, 2, 3, 5, 10, 30, 77, 10**6])
@pytest.mark.parametrize("gradients", [72, 250, 2500])
def test_lengths_are_multiples_of_a_unit_and_no_longer_than_the_training_to_come(gradients, whole):
    runs = Runs(parabola(0.02))
    found = search(runs, gradients=gradients, whole=whole)
    lengths = [steps for _, steps, _ in runs.calls]
    assert all(0 < steps <= whole and steps % found.unit == 0 for steps in lengths)
    assert lengths == sorted(lengths)  # ever longer
    if whole > gradients:
        assert found.unit == unit_of(gradients, 1)


def test_rates_beyond_the_first_ones_belong_to_the_first_round():
    runs = Runs(parabola(3e-6))
    found = search(runs)
    assert [(len(rates), steps, number) for rates, steps, number in runs.calls] == [
        (6, 80, 0),
        (3, 80, 0),
        (3, 80, 0),
        (3, 160, 1),
        (2, 340, 2),
        (1, 340, 2),
    ]
    first = found.rounds[0]
    assert (np.diff(first.learning_rates) > 0).all()
    np.testing.assert_allclose(first.losses, [runs.loss(r) for r in first.learning_rates])


def test_the_lowest_point_is_at_most_one_point_away():
    x = np.arange(5.0)
    assert lowest(x, np.array([9.0, 4.0, 3.9, 3.85, 3.8]))[0] <= 4
    assert lowest(x, np.exp([2.0, 1.0, 0.1, 0.0, np.inf]))[0] <= 4
    assert lowest(x, np.array([1.0, 2.0, np.inf, np.inf, np.inf])) == (0.0, 0.0)
    assert lowest(x, np.full(5, np.inf)) == (0.0, 0.0)


def test_a_score_is_the_mean_over_the_end_and_over_seeds():
    losses = np.arange(16.0).reshape(1, 2, 8)
    assert scores(losses, 0.25) == pytest.approx(np.mean([6.5, 14.5]))
    assert scores(losses, 0.01) == pytest.approx(np.mean([7.0, 15.0]))  # one at least
    losses[0, 1, 7] = np.nan  # a batch that was skipped
    assert scores(losses, 0.25) == pytest.approx(np.mean([6.5, 14.0]))
    assert scores(losses, 0.01) == pytest.approx(np.mean([7.0, 11.0]))  # the mean of what else there is
    losses[0, 1, 3:] = np.inf  # not finite any more
    assert scores(losses, 0.25) == np.inf


def test_a_round_tells_where_its_best_rate_is():
    rates = np.array([0.1, 0.2, 0.4])
    for losses, at_edge in (([1.0, 2.0, 3.0], -1), ([2.0, 1.0, 3.0], 0), ([3.0, 2.0, 1.0], 1), ([np.inf] * 3, -1)):
        assert Round(4, rates, np.array(losses), 5.0).at_edge == at_edge
