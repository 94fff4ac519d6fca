"""Properties of schedules over all arguments, and the arguments that they refuse."""

import re

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import lrx
from tests.schedules.cases import INT32_MAX

values = st.floats(2.0**-20, 2.0**10, width=32)
lengths = st.one_of(st.integers(1, 50), st.integers(1, 10**6), st.integers(INT32_MAX // 2 - 1000, INT32_MAX // 2))
fractions = st.lists(st.floats(0, 1.25), min_size=8, max_size=8)
ULP = 2.0**-22
"""Two units in the last place, relative: the slack of an inequality between values each off by one."""


def over(*strategies):
    """Run a test over 60 draws, the same in every run."""
    return lambda test: settings(max_examples=60, deadline=None, derandomize=True)(given(*strategies)(test))


def falling(init, end, steps, kind):
    """The schedules that go from one value to another over some steps."""
    return {
        "linear": lambda: lrx.linear_schedule(init, end, steps),
        "polynomial": lambda: lrx.polynomial_schedule(init, end, 2.5, steps),
        "warmup_linear": lambda: lrx.warmup_linear_schedule(init, 0, total_steps=steps, end_value=end),
        "cosine": lambda: lrx.warmup_cosine_decay_schedule(end, init, 0, steps, end),
        "annealing": lambda: lrx.cyclic_annealing_schedule(max(init, end), min(init, end), cycle_steps=steps),
        "triangular": lambda: lrx.triangular_schedule(init, end, half_cycle_steps=steps),
    }[kind]()


KINDS = ("linear", "polynomial", "warmup_linear", "cosine", "annealing", "triangular")
ENDING = KINDS[:4]


def counts_at(steps, fractions):
    return np.array([0, 1, steps - 1, steps, *(min(int(x * steps), INT32_MAX) for x in sorted(fractions))], np.int64)


@over(values, values, lengths, fractions, st.sampled_from(KINDS))
def test_values_stay_between_the_two_ends(init, end, steps, at, kind):
    rates = np.asarray(falling(init, end, steps, kind)(counts_at(steps, at)))
    slack = 4 * ULP * max(init, end)
    assert np.all(rates >= min(init, end) - slack)
    assert np.all(rates <= max(init, end) + slack)


@over(values, values, lengths, fractions, st.sampled_from(ENDING))
def test_phases_are_monotone_exact_at_both_ends_and_constant_beyond(init, end, steps, at, kind):
    schedule = falling(init, end, steps, kind)
    rates = np.asarray(schedule(np.sort(counts_at(steps, at))), np.float64)
    assert np.all((end - init) * np.diff(rates) >= -4 * ULP * max(init, end) * abs(end - init))
    assert schedule(0) == np.float32(init)
    assert schedule(steps) == schedule(INT32_MAX) == np.float32(end)


@over(values, values, lengths, fractions, st.integers(-8, 8), st.sampled_from(KINDS))
def test_scaling_the_values_by_a_power_of_two_scales_the_schedule_exactly(init, end, steps, at, power, kind):
    counts, factor = counts_at(steps, at), 2.0**power
    scaled = falling(init * factor, end * factor, steps, kind)(counts)
    np.testing.assert_array_equal(scaled, factor * np.asarray(falling(init, end, steps, kind)(counts)))


@over(values, values, st.integers(1, 10**5), st.integers(1, 10**5), fractions)
def test_transition_begin_shifts(init, end, steps, begin, at):
    counts = counts_at(steps, at)
    for make in (
        lambda begin: lrx.linear_schedule(init, end, steps, begin),
        lambda begin: lrx.polynomial_schedule(init, end, 2.0, steps, begin),
        lambda begin: lrx.exponential_decay(init, steps, 0.5, begin),
    ):
        np.testing.assert_array_equal(make(begin)(counts + begin), make(0)(counts))


@over(values, st.integers(1, 10**6), st.integers(1, 10**6))
def test_seam_between_warmup_and_decay_is_continuous(peak, warmup, decay):
    for schedule in (
        lrx.warmup_cosine_decay_schedule(0.0, peak, warmup, warmup + decay),
        lrx.warmup_linear_schedule(peak, warmup, total_steps=warmup + decay),
    ):
        before, at, after = np.asarray(schedule(np.array([warmup - 1, warmup, warmup + 1])), np.float64)
        assert at == np.float32(peak)
        assert at - before <= peak * (1 / warmup + ULP)
        assert 0 <= at - after <= peak * (2 / decay + ULP)


@over(values, st.floats(2.0**-10, 1 - 2.0**-10, width=32), st.integers(1, 1000), st.integers(0, 50))
def test_exponential_multiplies_by_its_rate_every_period(init, rate, steps, periods):
    counts = np.array([periods * steps, (periods + 1) * steps])
    for staircase in (False, True):
        here, there = np.asarray(lrx.exponential_decay(init, steps, rate, staircase=staircase)(counts), np.float64)
        if there > 1e-30:
            assert there == pytest.approx(here * float(np.float32(rate)), rel=2e-6)


@over(values, values, st.integers(1, 1000), st.integers(0, 10**6), st.integers(0, 1000))
def test_cycles_repeat_exactly(low, high, half, cycle, place):
    triangular = lrx.triangular_schedule(low, high, half_cycle_steps=half)
    assert triangular(2 * half * cycle + place) == triangular(place % (2 * half))
    annealing = lrx.cyclic_annealing_schedule(max(low, high), min(low, high), cycle_steps=half, shape="cosine")
    assert annealing(half * cycle + place) == annealing(place % half)


@over(st.lists(values, min_size=3, max_size=3), st.lists(st.integers(0, 100), min_size=2, max_size=2, unique=True))
def test_piecewise_values_change_at_their_boundaries(rates, boundaries):
    boundaries = sorted(boundaries)
    got = lrx.piecewise_value_schedule(boundaries, rates)(np.arange(120))
    expected = np.float32(rates)[np.searchsorted(boundaries, np.arange(120), side="right")]
    np.testing.assert_array_equal(got, expected)


# ---------------------------------------------------------------- growing cycles


@pytest.mark.parametrize("multiplier", [2.0, 1.5, 3.0])
def test_growing_cycles_start_at_their_peaks(multiplier):
    schedule = lrx.cyclic_annealing_schedule(1.0, 0.0, cycle_steps=8, length_multiplier=multiplier)
    rates = np.asarray(schedule(np.arange(2000)))
    starts = np.flatnonzero(rates == 1)
    expected = [round(8 * (multiplier**k - 1) / (multiplier - 1)) for k in range(len(starts))]
    assert starts.tolist() == expected
    assert np.all(np.diff(rates) * (rates[1:] != 1) <= 0)


# ---------------------------------------------------------------- refused

warm, triangular, annealing = lrx.warmup_cosine_decay_schedule, lrx.triangular_schedule, lrx.cyclic_annealing_schedule
INF, NAN = float("inf"), float("nan")
REFUSED = [
    (
        lambda: warm(0.0, 1.0, 500, 100),
        "warmup_cosine_decay_schedule(warmup_steps=...) must be less than decay_steps, got warmup_steps=500, "
        "decay_steps=100. decay_steps counts the warmup.",
    ),
    (
        lambda: warm(0.0, 1.0, 0.5, 100),
        "warmup_cosine_decay_schedule(warmup_steps=...) must be a whole number, got 0.5. For a share of the run, give "
        "round(0.5 * total_steps).",
    ),
    (lambda: warm(0.0, 1.0, 5, 2**31), "(decay_steps=...) must fit in int32, got 2147483648."),
    (lambda: warm(0.0, 1.0, -5, 100), "(warmup_steps=...) must not be negative, got -5."),
    (lambda: warm(0.0, INF, 5, 100), "(peak_value=...) must be finite, got inf."),
    (lambda: warm(0.0, 1.0, "a", 3), "(warmup_steps=...) must be a number, got 'a'."),
    (lambda: warm(0.0, 1.0, 5, 100, exponent=-1.0), "(exponent=...) must not be negative, got -1.0."),
    (
        lambda: lrx.warmup_linear_schedule(1.0, 5, total_steps=5),
        "got warmup_steps=5, total_steps=5. total_steps counts",
    ),
    (lambda: lrx.constant_schedule(NAN), "constant_schedule(value=...) must be finite, got nan."),
    (lambda: lrx.linear_schedule(0.0, 1.0, True), "linear_schedule(transition_steps=...) must be a number, got True."),
    (lambda: lrx.linear_schedule(0.0, 1.0, -1), "linear_schedule(transition_steps=...) must not be negative, got -1."),
    (lambda: lrx.polynomial_schedule(1.0, 0.0, -1, 5), "polynomial_schedule(power=...) must not be negative, got -1."),
    (lambda: lrx.cosine_decay_schedule(1.0, 0), "cosine_decay_schedule(decay_steps=...) must be positive, got 0."),
    (lambda: lrx.exponential_decay(1.0, 0, 0.5), "exponential_decay(transition_steps=...) must be positive, got 0."),
    (lambda: lrx.exponential_decay(1.0, 5, 0.0), "exponential_decay(decay_rate=...) must be positive, got 0.0."),
    (
        lambda: lrx.step_decay_schedule(1.0, 5, decay_rate=0),
        "step_decay_schedule(decay_rate=...) must be positive, got 0.",
    ),
    (
        lambda: lrx.piecewise_constant_schedule(1.0, {-1: 0.5}),
        "(boundaries_and_scales=...) must not be negative, got -1.",
    ),
    (
        lambda: lrx.piecewise_constant_schedule(1.0, {0.5: 0.5}),
        "(boundaries_and_scales=...) must be a whole number, got 0.5. For a share of the run,",
    ),
    (
        lambda: lrx.piecewise_value_schedule([1], [0.1, 0.2, 0.3]),
        "(values=...) must be at most one more than boundaries (1), got (0.1, 0.2, 0.3).",
    ),
    (lambda: lrx.piecewise_value_schedule([2, 1], [1.0, 2.0, 3.0]), "(boundaries=...) must increase, got (2, 1)."),
    (lambda: triangular(0.0, 1.0, half_cycle_steps=0), "(half_cycle_steps=...) must be positive, got 0."),
    (lambda: triangular(0.0, 1.0, half_cycle_steps=4, gamma=2.0), "(gamma=...) must be at most 1, got 2.0."),
    (
        lambda: triangular(0.0, 1.0, half_cycle_steps=4, mode="x"),
        "must be one of 'triangular', 'triangular2', 'exp_range', got 'x'.",
    ),
    (
        lambda: triangular(0.0, 1.0, half_cycle_steps=2**31 - 1),
        "must leave room for the way down in int32, got 2147483647.",
    ),
    (lambda: annealing(1.0, 0.0, cycle_steps=4, shape="exponential"), "(min_value=...) must be positive, got 0.0."),
    (
        lambda: annealing(1.0, 0.0, cycle_steps=4, length_multiplier=0.5),
        "(length_multiplier=...) must be at least 1, got 0.5.",
    ),
    (lambda: annealing(1.0, 0.0, cycle_steps=4, peak_multiplier=2), "(peak_multiplier=...) must be at most 1, got 2."),
    (lambda: lrx.as_schedule("x"), "as_schedule(schedule=...) must be a number or a function of the count, got 'x'."),
    (lambda: lrx.steps(epochs=-1, batch_size=1, dataset_size=2), "steps(epochs=...) must not be negative, got -1."),
    (
        lambda: lrx.steps(epochs=1, batch_size=3, dataset_size=2),
        "steps(batch_size=...) must be at most dataset_size=2, got 3.",
    ),
    (lambda: lrx.from_json("x"), "from_json(text=...) must be JSON"),
    (lambda: lrx.from_json("[1]"), "from_json(text=...) must be an object with the keys 'lrx' and 'schedule'."),
    (lambda: lrx.from_json('{"lrx": 9, "schedule": "x"}'), "from_json(text=...) must be of version 1, got 9."),
    (
        lambda: lrx.from_json('{"lrx": 1, "schedule": "nope"}'),
        "there is no schedule 'nope'. There are: chebyshev_schedule,",
    ),
    (lambda: lrx.as_schedule(lambda count: 1.0).to_json(), "holds code, which JSON cannot."),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_bad_input_is_refused_with_call_argument_rule_and_value(call, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        call()


def test_from_json_of_an_unknown_argument_is_a_value_error():
    with pytest.raises(ValueError, match=r"constant_schedule.*surplus"):
        lrx.from_json('{"lrx": 1, "schedule": "constant_schedule", "value": 1.0, "surplus": 2}')


def test_tf_2859_no_product_of_counts_overflows():
    schedule = lrx.cosine_decay_schedule(1.0, 2**31 - 1)
    assert 0.4999 < schedule(2**30) < 0.5001
    assert lrx.triangular_schedule(0.0, 1.0, half_cycle_steps=2**30 - 1)(2**31 - 3) < 1e-8


def test_torch_38170_a_schedule_holds_its_last_value_after_its_end():
    assert lrx.warmup_linear_schedule(1.0, 2, total_steps=10, end_value=0.25)(10**9) == 0.25


def test_optax_1403_short_schedules_have_no_nan():
    for total in (1, 2, 3):
        rates = lrx.warmup_cosine_decay_schedule(0.0, 1.0, total - 1, total)(np.arange(5))
        assert np.all(np.isfinite(rates))
        assert rates[total - 1] == 1
        assert rates[total] == 0
