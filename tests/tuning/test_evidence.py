"""What a search says of its own certainty, on trainings that are made up: a level, and the noise of batches."""

import itertools
import math

import numpy as np
import pytest

from lrx.tuning._evidence import error_of, heights, jackknife, lowest, parts_of, trend
from lrx.tuning._found import judged
from lrx.tuning._rate_search import RateSearch, drive
from lrx.tuning._round import Round

WHOLE, BUDGET = 1000, 250


class Trainings:
    """Losses that fall to a valley around the best rate, which may lie elsewhere for longer runs."""

    def __init__(self, best=0.02, slope=0.0, *, noise=0.01, seed=0, initial=2.5, level=0.3, shift=0.0, scale=1.0):
        self.best, self.slope, self.noise, self.random = best, slope, noise, np.random.default_rng(seed)
        self.initial, self.level, self.shift, self.scale = initial, level, shift, scale
        self.calls = []
        self.rounds = {}
        """Of each round, how its start differs from others and the noise of its batches, which all its runs share."""

    def __call__(self, rates, steps, number):
        self.calls.append((np.asarray(rates), steps, number))
        best = self.best * (steps / WHOLE) ** self.slope
        away = np.log(np.asarray(rates) / best)
        end = self.level * np.exp(0.25 * np.minimum(away**2, 40.0))
        t = np.arange(steps) / steps
        if number not in self.rounds:
            self.rounds[number] = np.exp(0.05 * self.random.standard_normal()), self.random.standard_normal(steps)
        start, shared = self.rounds[number]
        losses = end[:, None] + (start * self.initial - end[:, None]) * np.exp(-6 * t)
        own = self.random.standard_normal((len(rates), steps))
        losses = losses + self.noise * (shared + 0.5 * own * (t > 0))
        return (self.scale * (losses + self.shift))[:, None, :]

    def found(self, whole=WHOLE):
        search = RateSearch(1e-7, 10.0, BUDGET, 1, whole)
        drive(search, self)
        return judged(search.rounds, 1e-7, 10.0, BUDGET, whole=whole)


def width(found):
    low, high = found.interval
    return math.log(high / low)


def several(n=12, **kwargs):
    return [Trainings(seed=seed, **kwargs).found() for seed in range(n)]


# ---------------------------------------------------------------- where the best rate is


@pytest.mark.parametrize("best", [3e-5, 0.02, 0.8])
def test_a_best_rate_that_stays_is_found_and_covered(best):
    for found in several(best=best):
        assert abs(math.log(found.learning_rate / best)) < math.log(2)
        assert found.interval[0] < best < found.interval[1]
        assert found.confident, found.doubt


@pytest.mark.parametrize("slope", [-0.8, -0.5])
def test_muon_49_a_best_rate_that_moves_with_the_length_is_followed(slope):
    """Muon's best rate falls as steps^-0.8: the short runs alone are off by a factor of ten."""
    covered = []
    for found in several(best=0.01, slope=slope, noise=0.003):
        last = found.rounds[-1].vertex
        assert last > 0.02
        assert abs(math.log(found.learning_rate / 0.01)) < 0.7 * math.log(last / 0.01)
        covered.append(found.interval[0] < 0.01 < found.interval[1])
    assert np.mean(covered) > 0.9


def test_a_best_rate_that_rises_is_followed_less_as_few_do():
    for found in several(best=0.01, slope=0.8, noise=0.003):
        assert found.rounds[-1].vertex < found.learning_rate < 0.01
        assert found.interval[1] > 0.006


def test_where_the_rounds_show_no_movement_hardly_any_is_assumed():
    line = trend([8, 16, 50], np.log([0.02, 0.02, 0.02]), [0.1, 0.1, 0.1], 1000)
    assert abs(line.log_rate - math.log(0.02)) < 0.15
    assert trend([8, 16, 50], np.log([0.2, 0.1, 0.04]), [0.1] * 3, 1000).log_rate < math.log(0.013)


def test_a_trend_is_less_sure_farther_away_and_of_noisier_rounds():
    rates = np.log([0.1, 0.07, 0.04])

    def error(length, noise):
        return trend([8, 16, 50], rates, [noise] * 3, length).error

    assert error(50, 0.1) < error(300, 0.1) < error(1000, 0.1)
    assert error(300, 0.1) < error(300, 0.5) < error(300, 2.0)
    # and the slope is followed less
    assert trend([8, 16, 50], rates, [2.0] * 3, 1000).log_rate > trend([8, 16, 50], rates, [0.1] * 3, 1000).log_rate


@pytest.mark.parametrize("best", [1e-6, 3.0])
def test_rounds_go_outwards_while_the_best_is_at_an_edge(best):
    made = Trainings(best)
    made.found()
    first = np.concatenate([rates for rates, _, number in made.calls if number == 0])
    assert len(first) > 6
    assert first.min() < 2 * best if best < 1e-3 else first.max() > best / 2


@pytest.mark.parametrize("slope", [-1.2, 1.0])
def test_the_last_round_goes_outwards_too(slope):
    made = Trainings(0.02, slope, noise=0.001)
    made.found()
    (pair, steps, _), (third, again, _) = [call for call in made.calls if call[2] == 2]
    assert steps == again
    assert third < pair[0] if slope < 0 else third > pair[-1]


def test_an_edge_within_noise_is_no_reason_to_go_on():
    rates, losses = np.array([0.01, 0.03, 0.1]), np.array([1.0, 1.01, 1.5])
    quiet = np.array([[0.001, -0.001] * 4, [-0.001, 0.001] * 4, [0.001, -0.001] * 4])
    assert Round(40, rates, losses, 3.0, quiet).beyond == -1
    assert Round(40, rates, losses, 3.0, 100 * quiet).beyond == 0
    assert Round(40, rates, losses[::-1], 3.0, quiet).beyond == 1


# ---------------------------------------------------------------- what changes nothing


@pytest.mark.parametrize(("shift", "scale"), [(100.0, 1.0), (-100.0, 1.0), (0.0, 1e-3), (0.0, 1e6), (-7.0, 3.0)])
@pytest.mark.parametrize("seed", range(3))
def test_a_constant_or_a_factor_on_all_losses_changes_nothing(shift, scale, seed):
    plain = Trainings(noise=0.05, seed=seed).found()
    other = Trainings(noise=0.05, seed=seed, shift=shift, scale=scale).found()
    assert other.learning_rate == pytest.approx(plain.learning_rate, rel=1e-6)
    assert other.interval == pytest.approx(plain.interval, rel=1e-6)
    assert other.doubt == plain.doubt


# ---------------------------------------------------------------- noise is no evidence


@pytest.mark.parametrize("seed", range(10))
def test_noise_alone_is_never_confident(seed):
    random = np.random.default_rng(seed)

    def measure(rates, steps, number):
        return 1 + 0.1 * random.standard_normal(steps) + 0.02 * random.standard_normal((len(rates), 1, steps))

    search = RateSearch(1e-7, 10.0, BUDGET, 1, WHOLE)
    drive(search, measure)
    found = judged(search.rounds, 1e-7, 10.0, BUDGET, whole=WHOLE)
    assert "the loss did not fall by more than its noise" in found.doubt


def test_more_noise_never_makes_it_more_certain():
    levels = [0.0, 0.03, 0.1, 0.3, 1.0, 3.0]
    widths = [np.mean([width(found) for found in several(noise=noise)]) for noise in levels]
    sure = [np.mean([found.confident for found in several(noise=noise)]) for noise in levels]
    assert all(b > 0.98 * a for a, b in itertools.pairwise(widths)), widths
    assert widths[-2] > 1.2 * widths[0]
    assert sure == sorted(sure, reverse=True)
    assert sure[0] == 1 and sure[-1] == 0


@pytest.mark.parametrize("seed", range(6))
def test_transformers_16013_a_warm_start_that_short_runs_cannot_improve(seed):
    """High rates do harm at first, low ones do nothing: the lowest is the best, and says nothing."""
    random, noise = np.random.default_rng(seed), {}

    def measure(rates, steps, number):
        shared = noise.setdefault(number, 0.05 * random.standard_normal((2, steps)))
        rates, t = np.asarray(rates)[:, None], np.minimum(1, 4 * np.arange(steps) / steps)
        return (0.14 + t * np.minimum((rates / 0.03) ** 2, 1e3) + shared[0] + 4 * t * rates * shared[1])[:, None, :]

    search = RateSearch(1e-7, 10.0, BUDGET, 1, WHOLE)
    drive(search, measure)
    found = judged(search.rounds, 1e-7, 10.0, BUDGET, whole=WHOLE)
    assert not found.confident
    assert 3e-4 < found.learning_rate < 0.1
    assert [len(b.rates) for b in search.batches if b.number == 0] == [6]


# ---------------------------------------------------------------- the statistics


def test_the_noise_of_a_difference_is_that_of_runs_on_the_same_batches():
    random = np.random.default_rng(0)
    shared, own = random.standard_normal((1, 64)), random.standard_normal((2, 64))
    runs = np.array([1.0, 1.1])[:, None] + shared + 0.01 * own
    parts = np.stack([parts_of(run[None], 64) for run in runs])
    assert parts.shape == (2, 8)
    np.testing.assert_allclose(parts.mean(axis=1), 0, atol=1e-12)
    assert error_of(parts[1]) > 0.05
    assert error_of(parts[1] - parts[0]) < 0.01


def test_parts_without_a_finite_loss_are_left_out():
    losses = np.arange(16.0)[None]
    losses[0, 4:6] = np.nan
    parts = parts_of(losses, 16)
    assert np.isnan(parts).sum() == 1
    assert error_of(parts) > 0
    assert error_of(np.full(8, np.nan)) == error_of(np.empty(0)) == 0


def test_the_jackknife_of_a_mean_is_its_standard_error():
    parts = np.random.default_rng(1).standard_normal((3, 8))
    parts -= parts.mean(axis=1, keepdims=True)
    assert jackknife(lambda x: float(x[1]), np.zeros(3), parts) == pytest.approx(error_of(parts[1]))
    assert jackknife(lambda x: 1.0, np.zeros(3), parts) == 0
    assert jackknife(lambda x: 1.0, np.zeros(3), np.empty((3, 0))) == 0


def test_heights_do_not_change_with_constants_and_factors():
    losses = np.array([3.0, 1.0, 1.5, np.inf])
    one = heights(losses, 5.0, 0.1)
    assert one[1] == 0 and one[3] == np.inf
    np.testing.assert_allclose(heights(7 * losses - 100, 7 * 5.0 - 100, 0.7), one)
    assert (heights(losses, 50.0, 0.1)[:3] <= one[:3]).all()  # in a larger gain the same differences are less
    np.testing.assert_array_equal(heights(np.array([2.0, 2.0]), 2.0), [0.0, 0.0])


def test_a_symmetric_valley_has_its_lowest_point_in_the_middle():
    assert lowest(np.array([-1.0, 0.0, 1.0]), np.array([2.0, 1.0, 2.0]), 9.0)[0] == pytest.approx(0.0, abs=1e-12)
    assert lowest(np.array([-1.0, 0.0, 1.0, 2.0]), np.array([3.0, 1.0, 1.0, 3.0]), 9.0)[0] == pytest.approx(0.5)
