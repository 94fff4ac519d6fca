"""What a schedule can be asked, against counting everything."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrx
from lrx.schedules import _questions as questions
from tests.operations import by_operations
from tests.schedules.asked import BILLION, SCHEDULES, warm


@functools.cache
def traced(schedule):
    return by_operations(jax.vmap(schedule))


@pytest.fixture(autouse=True)
def numpy_gives_the_rates(monkeypatch):
    """What is asked is where they are looked for, and how they are added up."""
    monkeypatch.setattr(questions, "_rates", lambda schedule, counts: np.asarray(traced(schedule)(counts)))


@pytest.mark.parametrize("name", SCHEDULES)
def test_landmarks_and_end(name):
    schedule, marks = SCHEDULES[name]
    found = schedule.landmarks()
    assert found == marks
    assert list(found.values()) == sorted(found.values())
    assert schedule.end == marks.get("end")
    if "peak" in marks:
        values = questions.values(schedule, np.arange(16384))
        assert values[marks["peak"]] == values.max()


@pytest.mark.parametrize("name", SCHEDULES)
def test_sums_and_crossings_are_those_of_counting(name):
    schedule, _ = SCHEDULES[name]
    values = questions.values(schedule, np.arange(4096))
    assert schedule.integral(3, 2000) == pytest.approx(values[3:2000].sum(), rel=1e-12)
    assert schedule.mean(3, 2000) == pytest.approx(values[3:2000].mean(), rel=1e-12)
    top = schedule.landmarks().get("peak", 0)
    if name not in ("bump", "growth"):
        for level in np.array([0.3, 0.2999, 0.2, 0.10001, 0.01], np.float32):
            below = np.flatnonzero(values[top:] < level)
            if below.size:
                assert schedule.first_below(level) == top + below[0]


def test_values_are_found_in_pieces_of_a_few_sizes(monkeypatch):
    whole = questions.values(warm, np.arange(700))
    monkeypatch.setattr(questions, "SIZES", (16, 300))
    np.testing.assert_array_equal(questions.values(warm, np.arange(700)), whole)
    np.testing.assert_array_equal(questions.values(warm, np.arange(93, 98)), whole[93:98])


def test_integral_of_nothing_is_zero_and_of_one_count_its_value():
    assert warm.integral(7, 7) == 0.0
    assert warm.integral(100, 101) == float(warm(100))


LONG = 1_260_000
LONG_SCHEDULES = {
    "cosine": lrx.warmup_cosine_decay_schedule(0.0, 0.3, 10_000, LONG),
    "root": lrx.polynomial_schedule(0.3, 0.0, 0.5, LONG),
    "fast": lrx.exponential_decay(0.3, 500, 0.5),
    "stairs": lrx.step_decay_schedule(0.3, 80_000),
    "cooled": lrx.with_cooldown(0.3, start=400_000, steps=400_000, shape="1-sqrt"),
    "function": lrx.as_schedule(lambda t: 0.3 / (1 + t)),
    "every": lrx.every(lrx.warmup_cosine_decay_schedule(0.0, 0.3, 10, 2345), 1279),
}


@pytest.mark.parametrize("name", LONG_SCHEDULES)
def test_quadrature_agrees_with_adding_all(name, monkeypatch):
    monkeypatch.setattr(questions, "SIZES", (2**12, 2**14))  # NumPy is faster on short arrays
    schedule = LONG_SCHEDULES[name]
    exact = sum(schedule.integral(i, min(i + questions.MOST_EXACT, LONG)) for i in range(0, LONG, questions.MOST_EXACT))
    assert schedule.integral(0, LONG) == pytest.approx(exact, rel=1e-5)
    assert questions._quadrature(schedule, [0, LONG]) == pytest.approx(exact, rel=1e-5)


def test_the_sum_of_a_slow_clock_is_that_of_its_ticks():
    long = lrx.every(lrx.linear_schedule(1.0, 0.0, 2**20), 2**10)
    assert long.mean(0, 2**30) == pytest.approx((2**20 + 1) / 2**21, rel=1e-12)
    assert long.integral(5, 2**30 + 7) == pytest.approx(long.integral(0, 2**30) - 5, rel=1e-12)
    assert long.first_below(0.5) == (2**19 + 1) * 2**10
    assert lrx.every(lrx.linear_schedule(1.0, 0.0, 2**20), 2**12).end == 2**31 - 1


def test_what_no_sample_settles_is_added_up(monkeypatch):
    monkeypatch.setattr(questions, "_MOST_SAMPLES", 2**13)
    cycles = lrx.triangular_schedule(0.0, 1.0, half_cycle_steps=7)
    assert questions._quadrature(cycles, [0, LONG]) is None
    assert cycles.integral(0, LONG) == pytest.approx(LONG / 2, rel=1e-6)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, BILLION // 2), st.floats(1e-6, 0.299))
def test_crossing_at_a_horizon_of_a_billion_is_exact(warmup, level):
    schedule = lrx.warmup_linear_schedule(0.3, warmup, total_steps=BILLION)
    found = schedule.first_below(level)
    before, at = np.asarray(schedule([found - 1, found]))
    assert at < np.float32(level) <= before
    assert schedule.landmarks() == {"warmup_end": warmup, "peak": warmup, "end": BILLION}
    assert schedule.mean(0, BILLION) == pytest.approx(0.15, rel=1e-5)


def test_first_below_is_about_the_decay():
    assert warm.first_below(0.2) > 100
    assert warm.first_below(0.5) == 100  # never that high: below it from the peak on
    assert warm.first_below(0.0) is None
    assert lrx.constant_schedule(0.7).first_below(0.7) is None  # 0.7 is a little less in float32
    assert lrx.linear_schedule(0.0, 1.0, 10).first_below(0.5) is None


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(["linear", "cosine", "warmup_cosine", "cooled", "product"]), st.integers(0, 60), st.integers(0, 4)
)
def test_questions_carry_through_scaling_and_shifting(name, steps, power):
    schedule = SCHEDULES[name][0]
    assert lrx.shift(schedule, steps).first_below(0.1) == schedule.first_below(0.1) + steps
    assert (2**power * schedule).first_below(0.125 * 2**power) == schedule.first_below(0.125)
    assert (2**power * schedule).landmarks() == schedule.landmarks()
    assert (2**power * schedule).integral(5, 700) == pytest.approx(2**power * schedule.integral(5, 700), rel=1e-12)
    assert schedule.integral(0, 300) + schedule.integral(300, 700) == pytest.approx(
        schedule.integral(0, 700), rel=1e-12
    )


def test_a_question_inside_of_jit_about_a_known_schedule_is_answered():
    @jax.jit
    def f(x):
        assert (warm.end, warm.landmarks()["peak"], warm.first_below(0.5)) == (1000, 100, 100)
        return x * warm.mean(0, 10)

    assert f(1.0) == pytest.approx(warm.mean(0, 10), rel=1e-6)


ASKED = [
    ("end", lambda s: s.end),
    ("landmarks", lambda s: s.landmarks()),
    ("integral", lambda s: s.integral(0, 3)),
    ("integral", lambda s: s.mean(0, 3)),
    ("first_below", lambda s: s.first_below(0.1)),
]


@pytest.mark.parametrize(("name", "ask"), ASKED)
def test_traced_schedules_cannot_be_asked(name, ask):
    for traced in (jax.jit(ask), jax.vmap(ask)):
        with pytest.raises(TypeError, match=f"{name}: a traced schedule has no numbers to look at; ask outside of jit"):
            traced(jax.tree.map(lambda x: jnp.asarray(x)[None], warm))


def test_a_batch_of_schedules_cannot_be_asked():
    batch = jax.tree.map(lambda x: np.stack([x, x]), warm)
    with pytest.raises(ValueError, match=r"end: this schedule is a batch"):
        _ = batch.end


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: warm.integral(-1, 3), "integral(a=...) must not be negative, got -1."),
        (lambda: warm.integral(5, 3), "integral(b=...) must not be less than a=5, got 3."),
        (lambda: warm.mean(5, 5), "mean(b=...) must be greater than a=5, got 5."),
        (lambda: warm.first_below(float("nan")), "first_below(value=...) must be finite, got nan."),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError) as e:
        call()
    assert str(e.value) == message
