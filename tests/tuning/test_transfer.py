"""Transfers of a rate: the bound by loops and in closed form, properties, and bad input."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrx
from lrx.tuning._convex_bound import convex_bound
from lrx.tuning._transfer import RULES, Transferred


def linear(peak, steps):
    return lrx.linear_schedule(peak, 0.0, steps)


def constant(peak, steps):
    return peak


def warmup(peak, steps):
    """From zero, so that the first update does not move."""
    return lrx.warmup_cosine_decay_schedule(0.0, peak, steps // 4, steps)


def early_end(peak, steps):
    """Zero for the last updates."""
    return lrx.linear_schedule(peak, 0.0, max(1, 2 * steps // 3))


def half(peak, steps):
    """A plain function that never reaches its peak."""
    return lambda count: 0.5 * peak / (1 + count)


SCHEDULES = [None, constant, linear, lrx.cosine_decay_schedule, warmup, early_end, half]


# ---------------------------------------------------------------- the bound


def bound(values, peak):
    """Ω at one peak or at many, with D = G = 1, by loops over the formula with every sum written out."""
    values = list(values)
    while values[-1] == 0:
        values.pop()
    eta = [peak * v for v in values]
    T = len(eta)
    omega = 1 / (2 * sum(eta)) + sum(x**2 for x in eta) / (2 * sum(eta))
    for k in range(1, T):  # t and k count from 1
        alpha = sum(eta[t - 1] for t in range(k + 1, T + 1))
        beta = sum(eta[t - 1] for t in range(k, T + 1))
        omega += 0.5 * eta[k - 1] / alpha * sum(eta[t - 1] ** 2 for t in range(k, T + 1)) / beta
    return omega


def values_of(schedule, steps):
    made = 1.0 if schedule is None else schedule(1.0, steps)
    return [float(lrx.as_schedule(made)(t)) for t in range(steps)]


def searched(values):
    """The smallest bound on a grid of peaks, and its peak."""
    grid = np.geomspace(1e-2, 1e2, 4001)
    bounds = bound(values, grid)
    return min(bounds), grid[np.argmin(bounds)]


SPACING = 10 ** (4 / 4000)


@pytest.mark.parametrize("steps", [1, 2, 3, 12])
@pytest.mark.parametrize("schedule", [s for s in SCHEDULES if s is not warmup])
def test_the_convex_bound_is_the_smallest_bound(schedule, steps):
    values = values_of(schedule, steps)
    smallest, peak = searched(values)
    found = convex_bound(np.array(values))
    assert found.bound == pytest.approx(smallest, rel=1e-5)
    assert math.log(found.peak / (peak * max(values))) == pytest.approx(0, abs=math.log(SPACING))
    assert found.bound == pytest.approx(bound(values, found.peak / max(values)), rel=1e-12)


@pytest.mark.parametrize("new", [linear, lrx.cosine_decay_schedule, warmup, early_end, half])
def test_transfer_schedule_is_the_ratio_of_peaks_found_by_search(new):
    steps = 12
    ratio = searched(values_of(new, steps))[1] / searched([1.0] * steps)[1]
    assert lrx.transfer_schedule(0.1, None, new, steps).factor == pytest.approx(ratio, rel=2 * (SPACING - 1))


@pytest.mark.parametrize("steps", [1, 2, 7, 1000])
def test_constant_and_linear_in_closed_form(steps):
    harmonic = sum(1 / i for i in range(1, steps))
    found = convex_bound(np.ones(steps))
    assert found.peak == pytest.approx(1 / math.sqrt(steps * (1 + harmonic)), rel=1e-12)
    assert found.bound == pytest.approx(math.sqrt((1 + harmonic) / steps), rel=1e-12)
    # η_t = 1 − t / T for t = 0 … T − 1: Σ η = (T + 1) / 2, and the rest is b = 1 + (H_{T−1} − ½) / T
    b = 1 + (harmonic - 0.5) / steps
    found = convex_bound(1 - np.arange(steps) / steps)
    assert found.peak == pytest.approx(1 / math.sqrt((steps + 1) * b), rel=1e-12)
    assert found.bound == pytest.approx(2 * math.sqrt(b / (steps + 1)), rel=1e-12)


def test_linear_decay_wants_the_peak_of_its_own_theory():
    """D / (G √T), with which a sharper analysis guarantees D G / √T, the best there is: half of this bound."""
    found = convex_bound(1 - np.arange(100_000) / 100_000)
    assert found.peak * math.sqrt(100_000) == pytest.approx(1, rel=1e-4)
    assert found.bound * math.sqrt(100_000) == pytest.approx(2, rel=1e-4)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=12), st.integers(0, 5), st.integers(-20, 20))
def test_the_convex_bound_over_any_values(values, zeros, power):
    values = np.array(values)
    found = convex_bound(values)
    assert found.bound == pytest.approx(bound(values, found.peak / values.max()), rel=1e-9)
    assert found.bound >= 0.999 / math.sqrt(values.size)  # no method can guarantee less
    assert convex_bound(values * 2.0**power) == found  # only the shape counts
    assert convex_bound(np.append(values, np.zeros(zeros))) == pytest.approx(found, rel=1e-12)
    padded = convex_bound(np.append(np.zeros(zeros), values))
    assert padded == pytest.approx(found, rel=1e-12)


# ---------------------------------------------------------------- schedules and horizons


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_nothing_changes_nothing(schedule):
    assert lrx.transfer_schedule(0.3, schedule, schedule, 50).learning_rate == 0.3
    assert lrx.transfer_horizon(0.3, 50, 50, schedule).learning_rate == 0.3
    assert lrx.transfer_schedule(0.3, None, constant, 50).factor == pytest.approx(1, rel=1e-6)


def test_by_way_of_another_is_the_same():
    a, b, c = None, linear, warmup
    there = lrx.transfer_schedule(0.3, a, b, 40).learning_rate
    assert float(lrx.transfer_schedule(there, b, c, 40)) == pytest.approx(
        float(lrx.transfer_schedule(0.3, a, c, 40)), rel=1e-6
    )
    assert float(lrx.transfer_schedule(there, b, a, 40)) == pytest.approx(0.3, rel=1e-6)
    for further in (dict(schedule=linear), dict(exponent=0.32), {}):
        there = lrx.transfer_horizon(0.3, 10, 70, **further).learning_rate
        direct = lrx.transfer_horizon(0.3, 10, 30, **further).learning_rate
        assert float(lrx.transfer_horizon(there, 70, 30, **further)) == pytest.approx(direct, rel=1e-6)


@pytest.mark.parametrize(
    "transfer",
    [
        lambda rate: lrx.transfer_schedule(rate, half, lrx.cosine_decay_schedule, 30),
        lambda rate: lrx.transfer_horizon(rate, 30, 90, warmup),
        lambda rate: lrx.transfer_horizon(rate, 30, 90, exponent=0.32),
        lambda rate: lrx.transfer_batch_size(rate, 30, 90, rule="surge", noise_scale=50.0),
    ],
)
def test_twice_the_rate_is_twice_the_rate(transfer):
    for rate in (1e-7, 3e-4, 20.0):
        new = transfer(rate)
        assert new.learning_rate == rate * new.factor == float(new)
        assert new.factor == pytest.approx(transfer(1.0).factor, rel=1e-6)


@pytest.mark.parametrize("schedule", [linear, lrx.cosine_decay_schedule, warmup])
def test_four_times_as_long_is_half_the_rate(schedule):
    for steps, tolerance in ((100, 0.06), (10_000, 0.001)):
        assert lrx.transfer_horizon(1.0, steps, 4 * steps, schedule).factor == pytest.approx(0.5, rel=tolerance)


def test_a_constant_rate_falls_a_little_faster():
    for steps in (100, 10_000):
        factor = lrx.transfer_horizon(1.0, steps, 4 * steps).factor
        logs = math.sqrt((math.log(steps) + 1.5772) / (math.log(4 * steps) + 1.5772))
        assert factor == pytest.approx(0.5 * logs, rel=1e-3) and factor < 0.5


def test_exponent():
    assert lrx.transfer_horizon(0.1, 1000, 16_000, exponent=0.25).factor == 0.5
    assert lrx.transfer_horizon(0.1, 1000, 16_000, exponent=0).learning_rate == 0.1
    assert lrx.transfer_horizon(0.1, 1000, 4000, exponent=-0.5).factor == 2.0
    assert lrx.transfer_horizon(0.1, 2, 1, exponent=0.32).factor == pytest.approx(2**0.32)


def test_what_a_schedule_does_not_scale_counts_at_the_users_rate():
    """A floor of 0.01 is high for a peak of 0.02 and nothing for a peak of 100."""
    floor = lambda peak, steps: lrx.warmup_cosine_decay_schedule(0.0, peak, 0, steps, end_value=0.01)  # noqa: E731
    low, high = (lrx.transfer_schedule(r, None, floor, 500).factor for r in (0.02, 100.0))
    assert high == pytest.approx(lrx.transfer_schedule(1.0, None, lrx.cosine_decay_schedule, 500).factor, rel=0.01)
    assert low < 0.7 * high


# ---------------------------------------------------------------- what is returned


def test_transferred_reads_well():
    new = lrx.transfer_horizon(0.1, 1000, 3000, exponent=0.32)
    assert repr(new) == (
        "Transferred(learning_rate=0.0703592, factor=0.703592, assumption='The best peak is proportional to "
        "steps^-0.32, here from 1000 steps to 3000.')"
    )
    assert isinstance(new, Transferred) and isinstance(new.factor, float)
    with pytest.raises(dataclasses.FrozenInstanceError):
        new.factor = 2.0


@pytest.mark.parametrize(
    "new, assumption",
    [
        (
            lambda: lrx.transfer_schedule(0.1, None, linear, 1000),
            "The best peak is where the bound on the last of 1000 iterates of gradient descent on a convex function is "
            "smallest: at 0.01086 D/G under the old schedule and at 0.0315 D/G under the new one.",
        ),
        (
            lambda: lrx.transfer_horizon(0.1, 1000, 4000),
            "The best peak is where the bound on the last iterate of gradient descent on a convex function is "
            "smallest: at 0.01086 D/G in 1000 steps and at 0.005033 D/G in 4000.",
        ),
        (
            lambda: lrx.transfer_batch_size(0.1, 64, 256, rule="linear"),
            "The best rate of SGD is proportional to the batch size, here from a batch size B of 64 to 256.",
        ),
        (
            lambda: lrx.transfer_batch_size(0.1, 64, 256, rule="sqrt"),
            "The best rate of Adam and other adaptive optimizers is proportional to the square root of the batch size, "
            "with 1 - b1 and 1 - b2 multiplied by 4 and eps divided by its root, here from a batch size B of 64 to "
            "256.",
        ),
        (
            lambda: lrx.transfer_batch_size(0.1, 64, 256, rule="noise_scale", noise_scale=1e3),
            "The best rate of SGD is proportional to 1 / (1 + N / B), at a gradient noise scale N of 1000 examples, "
            "here from a batch size B of 64 to 256.",
        ),
    ],
)
def test_assumptions_are_sentences_with_numbers(new, assumption):
    assert new().assumption == assumption


def test_accepts_what_people_have():
    assert lrx.transfer_batch_size(jnp.float32(0.5), np.int64(8), jnp.int32(16), rule="linear").learning_rate == 1.0
    new = lrx.transfer_horizon(np.float32(0.5), np.int64(8), jnp.int32(32), linear)
    assert type(new.learning_rate) is float and 0.2 < new.learning_rate < 0.3


# ---------------------------------------------------------------- bad input


def gives(value):
    """A schedule that is one value at count 3 and 1 elsewhere."""
    return lambda peak, steps: lambda count: jnp.where(count == 3, value, 1.0)


BATCH = "transfer_batch_size"
OPTIONS = (
    "'linear' (for SGD) or 'sqrt' (for Adam and other adaptive optimizers) or 'noise_scale' (for SGD) or 'surge' "
    "(for Adam and other adaptive optimizers)"
)


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: lrx.transfer_schedule(0.0, None, linear, 9),
            "transfer_schedule(learning_rate=...) must be positive, got 0.0.",
        ),
        (lambda: lrx.transfer_schedule(0.1, None, linear, 0), "transfer_schedule(steps=...) must be positive, got 0."),
        (
            lambda: lrx.transfer_schedule(0.1, None, gives(jnp.nan), 9),
            "transfer_schedule(new_schedule=...) must give rates that are finite and not negative, got nan. "
            "That is the rate at count 3.",
        ),
        (
            lambda: lrx.transfer_schedule(0.1, gives(-1.0), None, 9),
            "transfer_schedule(schedule=...) must give rates that are finite and not negative, got -1.0. "
            "That is the rate at count 3.",
        ),
        (
            lambda: lrx.transfer_horizon(0.1, 3, 9, gives(jnp.inf)),
            "transfer_horizon(schedule=...) must give rates that are finite and not negative, got inf. "
            "That is the rate at count 3.",
        ),
        (
            lambda: lrx.transfer_horizon(0.1, 9, 5, lambda peak, steps: 0.0),
            "transfer_horizon(schedule=...) must give a positive rate in some of the 9 steps, got 0.0.",
        ),
        (lambda: lrx.transfer_horizon(-0.1, 9, 5), "transfer_horizon(learning_rate=...) must be positive, got -0.1."),
        (lambda: lrx.transfer_horizon(np.nan, 9, 5), "transfer_horizon(learning_rate=...) must be finite, got nan."),
        (lambda: lrx.transfer_horizon(0.1, 9, 0), "transfer_horizon(new_steps=...) must be positive, got 0."),
        (
            lambda: lrx.transfer_horizon(0.1, 9, 5, exponent=np.inf),
            "transfer_horizon(exponent=...) must be finite, got inf.",
        ),
        (
            lambda: lrx.transfer_horizon(0.1, 1, 5, exponent=1e4),
            "transfer_horizon(exponent=...) must leave a rate that float32 can hold, got 10000.0.",
        ),
        (
            lambda: lrx.transfer_horizon(0.1, 1, 5, exponent=-1e4),
            "transfer_horizon(exponent=...) must leave a rate that float32 can hold, got -10000.0.",
        ),
        (
            lambda: lrx.transfer_batch_size(np.inf, 8, 16, rule="sqrt"),
            f"{BATCH}(learning_rate=...) must be finite, got inf.",
        ),
        (lambda: lrx.transfer_batch_size(0.1, 0, 16, rule="sqrt"), f"{BATCH}(batch_size=...) must be positive, got 0."),
        (
            lambda: lrx.transfer_batch_size(0.1, 8, -1, rule="sqrt"),
            f"{BATCH}(new_batch_size=...) must be positive, got -1.",
        ),
        (lambda: lrx.transfer_batch_size(0.1, 8, 16), f"{BATCH}(rule=...) must be {OPTIONS}, got None."),
        (lambda: lrx.transfer_batch_size(0.1, 8, 16, rule="root"), f"{BATCH}(rule=...) must be {OPTIONS}, got 'root'."),
        (
            lambda: lrx.transfer_batch_size(0.1, 8, 16, rule=["sqrt"]),
            f"{BATCH}(rule=...) must be {OPTIONS}, got ['sqrt'].",
        ),
        (
            lambda: lrx.transfer_batch_size(0.1, 8, 16, rule="sqrt", noise_scale=3.0),
            f"{BATCH}(noise_scale=...) must be None for rule='sqrt', which has none, got 3.0.",
        ),
        (
            lambda: lrx.transfer_batch_size(0.1, 8, 16, rule="noise_scale"),
            f"{BATCH}(noise_scale=...) must be given for rule='noise_scale', got None.",
        ),
        (
            lambda: lrx.transfer_batch_size(0.1, 8, 16, rule="surge", noise_scale=0.0),
            f"{BATCH}(noise_scale=...) must be positive, got 0.0.",
        ),
        (
            lambda: lrx.transfer_batch_size(0.1, 8, 16, rule="noise_scale", noise_scale=np.inf),
            f"{BATCH}(noise_scale=...) must be finite, got inf. Its limit is rule='linear'.",
        ),
        (
            lambda: lrx.gradient_noise_scale(1.0, 1.0, 8, 8),
            "gradient_noise_scale(small_batch_size=...) must be less than big_batch_size, got small_batch_size=8, "
            "big_batch_size=8.",
        ),
        (
            lambda: lrx.gradient_noise_scale([1.0, -2.0], 1.0, 1, 8),
            "gradient_noise_scale(small_squared_norm=...) must hold numbers that are finite and not negative, "
            "got -2.0.",
        ),
        (
            lambda: lrx.gradient_noise_scale(1.0, [1.0, np.nan], 1, 8),
            "gradient_noise_scale(big_squared_norm=...) must hold numbers that are finite and not negative, got nan.",
        ),
        (
            lambda: lrx.gradient_noise_scale([], 1.0, 1, 8),
            "gradient_noise_scale(small_squared_norm=...) must not be empty, got shape (0,).",
        ),
    ],
)
def test_errors_say_what_is_wrong(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == message


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: lrx.transfer_schedule("0.1", None, None, 9), r"learning_rate=\.\.\.\) must be a number"),
        (lambda: lrx.transfer_schedule(0.1, None, None, 2.5), r"steps=\.\.\.\) must be a whole number"),
        (
            lambda: lrx.transfer_schedule(0.1, 0.1, None, 9),
            r"\(schedule=\.\.\.\) must be a function of \(peak, steps\)",
        ),
        (
            lambda: lrx.transfer_schedule(0.1, None, lrx.cosine_decay_schedule(1.0, 9), 9),
            r"\(new_schedule=\.\.\.\) must be a function of \(peak, steps\), such as lrx.cosine_decay_schedule",
        ),
        (
            lambda: lrx.transfer_horizon(0.1, 9, 5, lambda p, s: "p"),
            r"schedule=\.\.\.\) must be a number or a function",
        ),
        (lambda: lrx.transfer_batch_size(0.1, 8.5, 9, rule="sqrt"), r"batch_size=\.\.\.\) must be a whole number"),
        (lambda: lrx.gradient_noise_scale(1.0, ["a"], 1, 2), r"big_squared_norm=\.\.\.\) must hold real numbers"),
        (lambda: lrx.gradient_noise_scale(1j, 1.0, 1, 2), r"small_squared_norm=\.\.\.\) must hold real numbers"),
        (lambda: lrx.gradient_noise_scale(1.0, 1.0, 1.5, 2), r"small_batch_size=\.\.\.\) must be a whole number"),
    ],
)
def test_kinds_are_type_errors(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_an_exponent_holds_for_any_schedule():
    with pytest.raises(ValueError, match=r"transfer_horizon\(schedule=\.\.\.\) must be None beside an exponent"):
        lrx.transfer_horizon(0.1, 9, 5, linear, exponent=0.5)


def test_every_rule_is_in_the_docstring():
    assert lrx.transfer_batch_size.__doc__ is not None
    for rule in RULES:
        assert f"- `{rule}`: " in lrx.transfer_batch_size.__doc__
