"""Suggestion rules: golden cases, curves with a known answer, the peers' bug reports, and properties."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrx.tuning._suggest import RULES, logspace, suggest

RATES = np.geomspace(1e-7, 10.0, 100)


def basin(rates, best=1e-2, width=1.0):
    """A range test's usual picture: flat, then down to its lowest loss at `best`, then up."""
    x = np.log10(rates / best) / width
    return 2.0 + np.where(x < 0, -2 * np.exp(-(x**2)), -2 + 3 * x**2)


def valley_reference(losses):
    """The index by the definition, in quadratic time and with the pairs in fastai's order."""
    length = [1] * len(losses)
    end, start = 0, 0
    for i in range(1, len(losses)):
        for j in range(i):
            if losses[i] < losses[j] and length[i] < length[j] + 1:
                length[i] = length[j] + 1
            if length[end] < length[i]:
                end, start = i, i - length[i]
    third = (end - start) / 3
    return max(0, start + int(third) + int(third / 2))


def slide_reference(losses, width=15, threshold=0.005):
    slope, right = np.gradient(losses), len(losses) - 1
    left = chosen = right - width
    while left >= 0 and abs(slope[right] - slope[left]) > threshold:
        chosen = left
        right, left = right - 1, left - 1
    return chosen


# ---------------------------------------------------------------- what the rules say


@pytest.mark.parametrize("losses, index", [([10, 8, 4, 1, 4, 16], 2), ([1, 0, 1, 2, 3, 4], 0), ([0, 1, 2, 3, 4, 3], 5)])
def test_steep_golden(losses, index):
    rates = 10.0 ** np.arange(len(losses))
    assert suggest(rates, losses, "steep") == rates[index]


@pytest.mark.parametrize(
    "losses, index",
    [
        ([10, 8, 4, 1, 4, 16], 0),  # L = 4, e = 3: −1 + 1 + 0
        ([9, 8, 7, 6, 5, 4, 3, 2, 1, 9], 3),  # L = 9, e = 8: −1 + 3 + 1
        ([5, 9, 8, 7, 6, 5, 4, 9], 3),  # L = 6, e = 6: 0 + 2 + 1
        ([9, 1, 8, 2, 7, 3, 6, 4], 3),  # 9 8 7 6 4 need not be neighbours: L = 5, e = 7: 2 + 1 + 0
        ([1, 2, 3, 4], 0),  # nothing decreases
        ([2, 1], 0),  # L = 2, e = 1: −1, clamped
        ([3, 3, 3], 0),  # equal is not decreasing
    ],
)
def test_valley_by_hand(losses, index):
    rates = np.geomspace(1e-5, 1.0, len(losses))
    assert suggest(rates, losses) == rates[index]
    assert valley_reference(losses) == index


def test_minimum_is_a_tenth_of_the_lowest():
    assert suggest([1e-3, 1e-2, 1e-1], [3.0, 1.0, 2.0], "minimum") == pytest.approx(1e-3)


def test_clean_basin():
    losses = basin(RATES)
    lowest = RATES[np.argmin(losses)]
    assert lowest == pytest.approx(1e-2, rel=0.2)
    assert suggest(RATES, losses, "minimum") == lowest / 10
    # −2 exp(−x²) is steepest at x = −1/√2
    assert suggest(RATES, losses, "steep") == pytest.approx(1e-2 * 10 ** -math.sqrt(0.5), rel=0.2)
    assert 1e-6 < suggest(RATES, losses, "valley") < 1e-2


@pytest.mark.parametrize("seed", range(5))
def test_noisy_basin_with_smoothing(seed):
    losses = basin(RATES) + 0.05 * np.random.RandomState(seed).randn(100)
    for rule in ("minimum", "steep", "valley"):
        assert 1e-6 < suggest(RATES, losses, rule, smoothing=0.9, skip_start=10, skip_end=5) <= 0.1


def test_monotone_curves():
    falling, rising = np.linspace(2.0, 1.0, 100), np.linspace(1.0, 2.0, 100)
    assert suggest(RATES, falling, "minimum") == RATES[-1] / 10
    assert suggest(RATES, falling, "valley") == RATES[-1 + 33 + 16]
    assert suggest(RATES, rising, "minimum") == RATES[0] / 10
    assert suggest(RATES, rising, "valley") == RATES[0]
    assert suggest(RATES, falling, "slide") == RATES[100 - 16]  # no difference in slope: the window never moves


def test_smoothing_is_the_debiased_average():
    losses = np.array([4.0, 1.0, 7.0, 2.0, 9.0, 3.0])
    beta, rates = 0.7, np.geomspace(1e-3, 1.0, 6)
    weights = beta ** np.arange(6)
    smooth = [np.average(losses[: i + 1], weights=weights[: i + 1][::-1]) for i in range(6)]
    assert suggest(rates, losses, "minimum", smoothing=beta) == rates[np.argmin(smooth)] / 10
    assert suggest(rates, losses, "steep", smoothing=beta) == suggest(rates, smooth, "steep")
    assert suggest(rates, losses, "steep", smoothing=0.0) == suggest(rates, losses, "steep")


def test_smoothing_comes_before_skipping():
    losses = np.array([100.0, 3.0, 2.0, 5.0, 4.0])
    rates = np.geomspace(1e-4, 1.0, 5)
    # the first loss still weighs on the average of the others, which therefore falls to the end
    assert suggest(rates, losses, "minimum", smoothing=0.9, skip_start=1) == rates[-1] / 10
    assert suggest(rates, losses, "minimum", skip_start=1) == rates[2] / 10


def test_accepts_what_people_have():
    rates, losses = jnp.geomspace(1e-5, 1.0, 20), jnp.asarray(basin(np.geomspace(1e-5, 1.0, 20)), jnp.bfloat16)
    result = suggest(rates, losses, "minimum")
    assert isinstance(result, float)
    assert suggest(list(rates), [float(x) for x in losses], "minimum") == result


# ---------------------------------------------------------------- the peers' threads


def test_lightning_21141_gradient_in_log_lr():
    """In linear rate, the tiny gaps at small rates turn noise into the steepest slope."""
    losses = basin(RATES)
    losses[:20] += 1e-4 * (-1.0) ** np.arange(20)
    assert RATES[np.argmin(np.gradient(losses, RATES))] < 1e-5
    assert suggest(RATES, losses, "steep") == pytest.approx(2e-3, rel=0.3)


def test_lightning_21931_uneven_ladder():
    """A first gap twice as wide is not a slope twice as steep."""
    rates = np.concatenate([[1e-8], np.geomspace(1e-6, 1.0, 50)])
    losses = 2.0 - np.log10(rates) / 10  # the same slope everywhere, but for
    losses[30:] -= 0.1 * np.arange(21)  # this half
    assert suggest(rates, losses, "steep") > rates[28]


def test_lightning_1767_one_spike():
    """Raw steepest descent is the far side of a spike; smoothing, or another rule, is not fooled."""
    losses = basin(RATES)
    losses[15] = 8.0
    assert suggest(RATES, losses, "steep") == RATES[16]
    assert suggest(RATES, losses, "minimum") == pytest.approx(1e-3, rel=0.2)
    assert suggest(RATES, losses, "valley") == pytest.approx(suggest(RATES, basin(RATES)), rel=2.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_fastai_4046_nan_tail(bad):
    losses = basin(RATES)
    broken = losses.copy()
    broken[80:] = bad
    for rule in RULES:
        assert suggest(RATES, broken, rule) == suggest(RATES[:80], losses[:80], rule)
        assert suggest(RATES, broken, rule, smoothing=0.9) == suggest(RATES[:80], losses[:80], rule, smoothing=0.9)


def test_non_finite_in_the_middle_is_missing():
    losses = basin(RATES)
    losses[40] = np.nan
    rest = np.arange(100) != 40
    for rule in RULES:
        assert suggest(RATES, losses, rule, smoothing=0.5) == suggest(RATES[rest], losses[rest], rule, smoothing=0.5)


def test_torch_lr_finder_89_suggestion_without_plotting():
    """The suggestion is a number from numbers: no figure, no trainer, nothing to reset, inputs unchanged."""
    losses = basin(RATES)
    before = losses.copy(), RATES.copy()
    first = suggest(RATES, losses, "steep", smoothing=0.9)
    assert suggest(RATES, losses, "steep", smoothing=0.9) == first
    np.testing.assert_array_equal((losses, RATES), before)


def test_lightning_skip_counts_entries_of_the_record():
    losses = basin(RATES)
    broken = losses.copy()
    broken[-1] = np.nan
    for rule in RULES:
        assert suggest(RATES, broken, rule, skip_end=1) == suggest(RATES, losses, rule, skip_end=1)


# ---------------------------------------------------------------- properties

integer_losses = st.lists(st.integers(-50, 50), min_size=17, max_size=40).map(lambda x: np.array(x, float))


@settings(max_examples=100, deadline=None)
@given(integer_losses)
def test_rules_agree_with_their_references(losses):
    rates = np.geomspace(1e-5, 1.0, losses.size)
    assert suggest(rates, losses, "valley") == rates[valley_reference(losses)]
    assert suggest(rates, losses, "slide") == rates[slide_reference(losses)]
    assert suggest(rates, losses / 1024, "slide") == rates[slide_reference(losses / 1024)]


@settings(max_examples=100, deadline=None)
@given(integer_losses, st.integers(-8, 8), st.integers(-1000, 1000))
def test_scale_and_shift_of_losses_change_nothing(losses, power, shift):
    rates = np.geomspace(1e-5, 1.0, losses.size)
    for rule in ("minimum", "valley"):
        expected = suggest(rates, losses, rule)
        assert suggest(rates, losses * 2.0**power, rule) == expected
        assert suggest(rates, losses + shift, rule) == expected
    assert suggest(rates, losses * 2.0**power, "steep") == suggest(rates, losses, "steep")
    slope = np.gradient(losses, np.log(rates))
    chosen = slope[np.searchsorted(rates, suggest(rates, losses + shift, "steep"))]
    assert chosen == pytest.approx(slope.min(), abs=1e-9)  # ties may fall to either side


@settings(max_examples=100, deadline=None)
@given(integer_losses, st.integers(-20, 20))
def test_scale_of_rates_scales_the_suggestion(losses, power):
    rates = np.geomspace(1e-5, 1.0, losses.size)
    for rule in ("minimum", "valley", "slide"):
        assert suggest(rates * 2.0**power, losses, rule) == suggest(rates, losses, rule) * 2.0**power


@settings(max_examples=100, deadline=None)
@given(integer_losses)
def test_the_suggestion_is_one_of_the_rates(losses):
    rates = np.geomspace(1e-5, 1.0, losses.size)
    for rule in ("steep", "valley", "slide"):
        assert suggest(rates, losses, rule) in rates
    assert suggest(rates, losses, "minimum") in rates / 10


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: suggest([1e-3, 1e-2], [1.0]),
            "suggest(losses=...) must have one loss for each of the 2 learning rates, got 1.",
        ),
        (
            lambda: suggest([1e-3, 1e-3], [1.0, 2.0]),
            "suggest(learning_rates=...) must be positive, finite and strictly increasing, got 0.001. That is entry 1.",
        ),
        (
            lambda: suggest([0.0, 1e-3], [1.0, 2.0]),
            "suggest(learning_rates=...) must be positive, finite and strictly increasing, got 0.0. That is entry 0.",
        ),
        (
            lambda: suggest([1e-3, np.nan], [1.0, 2.0]),
            "suggest(learning_rates=...) must be positive, finite and strictly increasing, got nan. That is entry 1.",
        ),
        (
            lambda: suggest([1e-3, 1e-2], [1.0, np.nan]),
            "suggest(losses=...) must have more finite values, got 1. 'valley' needs at least 2.",
        ),
        (
            lambda: suggest(RATES, basin(RATES), "slide", skip_start=50, skip_end=34),
            "suggest(losses=...) must have more finite values, got 16. "
            "'slide' needs at least 17, after skip_start=50 and skip_end=34.",
        ),
        (
            lambda: suggest(RATES, basin(RATES), skip_start=200),
            "suggest(losses=...) must have more finite values, got 0. "
            "'valley' needs at least 2, after skip_start=200 and skip_end=0.",
        ),
        (
            lambda: suggest(RATES, basin(RATES), "steepest"),
            "suggest(rule=...) must be one of 'minimum', 'steep', 'valley', 'slide', got 'steepest'.",
        ),
        (
            lambda: suggest([], []),
            "suggest(learning_rates=...) must be one-dimensional and not empty, got shape (0,).",
        ),
        (
            lambda: suggest([[1e-3]], [1.0]),
            "suggest(learning_rates=...) must be one-dimensional and not empty, got shape (1, 1).",
        ),
        (
            lambda: suggest(RATES, basin(RATES), smoothing=1.0),
            "suggest(smoothing=...) must be in [0, 1) in float32, got 1.0.",
        ),
        (lambda: suggest(RATES, basin(RATES), skip_end=-1), "suggest(skip_end=...) must not be negative, got -1."),
        (lambda: logspace(0.0, 1.0, 3), "logspace(start=...) must be positive, got 0.0."),
        (lambda: logspace(1e-3, np.inf, 3), "logspace(stop=...) must be finite, got inf."),
        (lambda: logspace(1e-3, 1.0, 1), "logspace(num=...) must be at least 2, for both ends, got 1."),
    ],
)
def test_errors_say_what_is_wrong(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == message


def test_kinds_are_type_errors():
    with pytest.raises(TypeError, match=r"losses=\.\.\.\) must hold real numbers"):
        suggest([1e-3, 1e-2], ["a", "b"])
    with pytest.raises(TypeError, match=r"losses=\.\.\.\) must hold real numbers"):
        suggest([1e-3, 1e-2], [1j, 2j])
    with pytest.raises(TypeError, match=r"num=\.\.\.\) must be a whole number"):
        logspace(1e-3, 1.0, 2.5)


# ---------------------------------------------------------------- logspace


@settings(max_examples=100, deadline=None)
@given(st.floats(1e-10, 1e3), st.floats(1e-10, 1e3), st.integers(2, 50))
def test_logspace_is_the_rounded_float64_ladder(start, stop, num):
    rates = np.asarray(logspace(start, stop, num))
    exact = start * (stop / start) ** (np.arange(num) / (num - 1))
    assert rates.dtype == np.float32 and rates.shape == (num,)
    assert rates[0] == np.float32(start) and rates[-1] == np.float32(stop)
    np.testing.assert_allclose(rates, exact, rtol=1.2e-7)


def test_logspace_under_x64_and_strict_promotion():
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        rates = logspace(1e-5, 1e0, 16)
    assert rates.dtype == jnp.float32 and isinstance(rates, jax.Array)
