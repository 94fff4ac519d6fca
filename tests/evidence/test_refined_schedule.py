"""Refined schedules: properties; the values are compared with the definition in `tests/schedules`."""

import numpy as np
import pytest

import lrx
from lrx.evidence.refined_schedule import running_median


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("steps", [2, 3, 10, 1000])
def test_constant_norms_give_a_line_to_zero(norm, steps):
    schedule = lrx.refined_schedule(np.full(steps, 7.3), peak_value=0.3, norm=norm)
    line = lrx.linear_schedule(0.3, 0.0, steps - 1)
    np.testing.assert_allclose(schedule(np.arange(1002)), line(np.arange(1002)), rtol=2e-7, atol=1e-9)


def test_norms_in_another_unit_give_the_same_schedule():
    norms = np.random.default_rng(0).uniform(1, 3, 60)
    values = [lrx.refined_schedule(norms * unit, peak_value=0.3).values for unit in (1, 1e-12, 1e12)]
    np.testing.assert_allclose(values[1], values[0], rtol=1e-6)
    np.testing.assert_allclose(values[2], values[0], rtol=1e-6)


def test_norms_that_fall_at_first_give_a_warmup_and_norms_that_grow_a_steeper_end():
    t = np.arange(400)
    warm = lrx.refined_schedule(1 + 5 * np.exp(-t / 30), peak_value=0.3)
    assert 20 < warm.landmarks()["peak"] < 200
    assert warm.values[0] < 0.3 / 10
    steep = lrx.refined_schedule(1 + (t / 400) ** 4, peak_value=0.3)
    assert np.all(steep.values[100:399] < 0.3 * (1 - t[100:399] / 399))


def test_single_spikes_do_not_show():
    norms = np.ones(200)
    norms[[20, 90, 91, 150]] = 1e6
    values = np.asarray(lrx.refined_schedule(norms, peak_value=0.3).values)
    np.testing.assert_allclose(values, 0.3 * (1 - np.arange(200) / 199), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("reach", [1, 4, 9])
def test_the_median_repeats_the_first_and_mirrors_the_end(reach):
    x = np.random.default_rng(1).normal(size=10)
    mirrored = np.pad(np.pad(x, (reach, 0), mode="edge"), (0, reach), mode="reflect")[: 10 + 2 * reach]
    want = [np.median(mirrored[i : i + 2 * reach + 1]) for i in range(10)]
    np.testing.assert_array_equal(running_median(x, reach), want)


@pytest.mark.parametrize(
    ("match", "arguments"),
    [
        ("at least two, got 1", {"gradient_norms": [1.0]}),
        ("finite and positive, got 0.0. That is the norm of update 1", {"gradient_norms": [1.0, 0.0, 1.0]}),
        ("finite and positive, got nan", {"gradient_norms": [1.0, np.nan, 1.0]}),
        ("one of 'l2', 'l1'", {"norm": "linf"}),
        ("smoothing=...) must not exceed 1", {"smoothing": 1.5}),
        ("peak_value=...) must be positive", {"peak_value": 0.0}),
    ],
)
def test_bad_input_is_an_error_that_says_what_is_wrong(match, arguments):
    with pytest.raises(ValueError, match=match.replace("(", r"\(").replace("=...)", r"=\.\.\.\)")):
        lrx.refined_schedule(**{"gradient_norms": [1.0, 2.0], "peak_value": 0.1, **arguments})
