"""Every schedule against the float64 formula, optax's schedule of the same name, and lists from other libraries."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from tests.common import same
from tests.operations import by_operations
from tests.schedules.asked import SCHEDULES
from tests.schedules.cases import CASES, INT32_MAX, VARIANTS, at, ulps

pytestmark = pytest.mark.real_compiler

ALL = CASES + VARIANTS
PARTS = {case.name: i % 14 for i, case in enumerate(ALL)}
COUNTS = np.concatenate([np.arange(200), [500, 1000, 10_000]])
every = pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)


@functools.cache
def jitted(part):
    """The values of the schedules of a part, at the counts and at the last one of each, by name.

    Of one program, cheaper than many. To the bit they are those of a program for each: they have no input in common.
    """
    cases = [case for case in ALL if PARTS[case.name] == part]
    counts = [np.resize([*COUNTS, case.last], 256) for case in cases]
    values = jax.jit(lambda counts: [case.build()(n) for case, n in zip(cases, counts, strict=True)])(counts)
    return {case.name: np.asarray(x)[: COUNTS.size + 1] for case, x in zip(cases, values, strict=True)}


@every
def test_values_are_those_of_the_float64_formula(case):
    """Eager and jitted; at the start and at the end to the last bit alike."""
    expected = [case.reference(int(count)) for count in COUNTS]
    eager, fused = at(case.build(), [*COUNTS, case.last]), jitted(PARTS[case.name])[case.name]
    assert ulps(eager[:-1], expected, case.floor) <= case.ulps
    assert ulps(fused[:-1], expected, case.floor) <= case.ulps
    if case.exact:
        assert same(fused[[0, -1]], eager[[0, -1]])


@pytest.mark.parametrize(
    "case",
    [c for c in ALL if c.as_optax and hasattr(optax, c.factory.__name__)],
    ids=lambda case: case.name,
)
def test_values_are_those_of_optax(case):
    counts, theirs = np.arange(150, dtype=np.int32), getattr(optax, case.factory.__name__)(**case.arguments)
    wanted = by_operations(lambda n: jnp.broadcast_to(jax.vmap(theirs)(n), n.shape).astype(jnp.float32))(counts)
    np.testing.assert_allclose(at(case.build(), counts), wanted, rtol=1e-5, atol=1e-7)


def test_no_rate_is_greater_than_that_at_the_peak():
    for name, (schedule, marks) in SCHEDULES.items():
        if "peak" in marks:
            near = np.arange(max(0, marks["peak"] - 70), marks["peak"] + 70)
            values = at(schedule, [marks["peak"], *near, *range(0, 4096, 41)])
            assert values[0] == values.max(), name


# ---------------------------------------------------------------- long horizons

T = INT32_MAX
NEAR_THE_END = np.array([0, 1, 2**20, 1_234_567_891, T - 98_765_432, T - 2**20, T - 12_345, T - 7, T - 2, T - 1, T])


def left(t):
    return (T - t.astype(np.float64)) / T


def half_cosine(t):
    return np.sin(np.pi / 2 * left(t)) ** 2


LONG = {
    "linear": (lrx.linear_schedule(1.0, 0.0, T), left, 2),
    "linear_begin": (
        lrx.linear_schedule(1.0, 0.0, T - 1, 1),
        lambda t: np.minimum((T - t.astype(float)) / (T - 1), 1),
        2,
    ),
    "polynomial": (lrx.polynomial_schedule(1.0, 0.0, 2, T), lambda t: left(t) ** 2, 4),
    "cosine": (lrx.cosine_decay_schedule(1.0, T), half_cosine, 8),
    "warmup_cosine": (lrx.warmup_cosine_decay_schedule(0.0, 1.0, 0, T), half_cosine, 8),
    "warmup_linear": (lrx.warmup_linear_schedule(1.0, 0, total_steps=T), left, 2),
    "exponential": (lrx.exponential_decay(1.0, T, 0.5), lambda t: 0.5 ** (1 - left(t)), 5),
    "triangular": (
        lrx.triangular_schedule(0.0, 1.0, half_cycle_steps=1, down_steps=T - 1),
        lambda t: np.where(t < 1, t, (T - t.astype(float)) / (T - 1)) * (t < T),
        4,
    ),
}


@pytest.mark.parametrize(("schedule", "formula", "bound"), LONG.values(), ids=LONG)
def test_optax_10e10_steps_of_a_long_schedule_are_exact_to_the_end(schedule, formula, bound):
    """optax's cosine is 0 well before its end, and its linear and exponential overflow at 1e10 steps."""
    assert ulps(at(schedule, NEAR_THE_END), formula(NEAR_THE_END)) <= bound


def test_one_slow_exponential_is_followed_for_a_million_steps():
    counts = np.array([1, 10, 10**3, 10**5, 10**6])
    rate = float(np.float32(0.9999))
    assert ulps(lrx.exponential_decay(1.0, 1, 0.9999)(counts[:-1]), rate ** counts[:-1]) <= 5


def test_staircase_steps_exactly_at_its_multiples():
    for period in (3, 7, 1000, 16_777_217):
        schedule = lrx.step_decay_schedule(1.0, period)
        for k in (1, 2, 5):
            assert schedule(np.array([k * period - 1, k * period])).tolist() == [0.5 ** (k - 1), 0.5**k]


# ---------------------------------------------------------------- lists that other libraries' own tests assert


def cosine_power(x):
    return (0.5 * (1 + np.cos(np.pi * x))) ** 2


N = np.arange(11)
X = [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25, 0, 0.25, 0.5, 0.75, 1]
GOLDEN = {
    "optax polynomial": (lrx.polynomial_schedule(10.0, 20.0, 1, 10), [*range(10, 20), *[20] * 5]),
    "optax polynomial 2": (lrx.polynomial_schedule(25.0, 10.0, 2, 10), [*(10 + 15 * (1 - N / 10) ** 2), 10, 10]),
    "optax polynomial begin": (
        lrx.polynomial_schedule(30.0, 10.0, 2, 10, 4),
        [*[30] * 4, *(10 + 20 * (1 - N / 10) ** 2), *[10] * 5],
    ),
    "optax piecewise": (lrx.piecewise_constant_schedule(0.1, {3: 2.0, 6: 0.5}), [0.1] * 3 + [0.2] * 3 + [0.1] * 4),
    "optax piecewise negative": (
        lrx.piecewise_constant_schedule(-0.1, {3: 2.0, 6: 0.5}),
        [-0.1] * 3 + [-0.2] * 3 + [-0.1] * 4,
    ),
    "optax exponential": (lrx.exponential_decay(32.0, 1, 0.5), [32, 16, 8, 4, 2]),
    "optax exponential smooth": (lrx.exponential_decay(1.0, 2, 2.0), 2 ** (N / 2)),
    "optax exponential stairs": (lrx.exponential_decay(1.0, 2, 2.0, staircase=True), 2.0 ** (N // 2)),
    "optax exponential begin": (lrx.exponential_decay(1.0, 2, 2.0, 5), 2 ** (np.maximum(N - 5, 0) / 2)),
    "optax exponential stairs begin": (
        lrx.exponential_decay(1.0, 2, 2.0, 5, staircase=True),
        2.0 ** (np.maximum(N - 5, 0) // 2),
    ),
    "optax cosine alpha": (
        lrx.cosine_decay_schedule(0.1, 5, 0.1),
        0.1 * (0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * np.minimum(np.arange(12), 5) / 5))),
    ),
    "torch StepLR": (lrx.step_decay_schedule(0.05, 3, decay_rate=0.1), [0.05] * 3 + [0.005] * 3 + [0.0005] * 3),
    "torch MultiStepLR": (
        lrx.piecewise_constant_schedule(0.05, {2: 0.1, 5: 0.1, 9: 0.1}),
        [0.05] * 2 + [0.005] * 3 + [0.0005] * 4 + [0.00005] * 3,
    ),
    "torch ExponentialLR": (lrx.exponential_decay(0.05, 1, 0.9), 0.05 * 0.9**N),
    "torch LinearLR": (lrx.linear_schedule(0.025, 0.05, 4), [0.025, 0.03125, 0.0375, 0.04375, *[0.05] * 6]),
    "torch ConstantLR": (lrx.piecewise_value_schedule([5], [0.025, 0.05]), [0.025] * 5 + [0.05] * 5),
    "torch PolynomialLR": (
        lrx.polynomial_schedule(0.05, 0.0, 0.9, 5),
        [*(0.05 * (1 - np.arange(5) / 5) ** 0.9), 0, 0],
    ),
    "torch CyclicLR": (lrx.triangular_schedule(1.0, 5.0, half_cycle_steps=4), [1, 2, 3, 4, 5, 4, 3, 2, 1, 2, 3]),
    "torch CyclicLR up and down": (
        lrx.triangular_schedule(1.0, 5.0, half_cycle_steps=4, down_steps=6),
        [1, 2, 3, 4, 5, 13 / 3, 11 / 3, 9 / 3, 7 / 3, 5 / 3, 1],
    ),
    "torch CyclicLR triangular2": (
        lrx.triangular_schedule(1.0, 5.0, half_cycle_steps=4, mode="triangular2"),
        [1, 2, 3, 4, 5, 4, 3, 2, 1, 1.5, 2, 2.5, 3, 2.5, 2, 1.5, 1, 1.25, 1.5, 1.75, 2, 1.75],
    ),
    "torch CyclicLR exp_range": (
        lrx.triangular_schedule(1.0, 5.0, half_cycle_steps=4, mode="exp_range", gamma=0.9),
        [1 + x * 4 * 0.9**i for i, x in enumerate(X)],
    ),
    "Hugging Face linear": (
        lrx.warmup_linear_schedule(10.0, 2, total_steps=10),
        [0, 5, 10, 8.75, 7.5, 6.25, 5, 3.75, 2.5, 1.25],
    ),
    "Hugging Face cosine": (
        lrx.warmup_cosine_decay_schedule(0.0, 10.0, 2, 10),
        [0, 5, 10, 9.61940, 8.53553, 6.91342, 5, 3.08658, 1.46447, 0.38060],
    ),
}


@pytest.mark.parametrize(("schedule", "expected"), GOLDEN.values(), ids=GOLDEN)
def test_values_that_other_libraries_assert(schedule, expected):
    np.testing.assert_allclose(at(schedule, np.arange(len(expected))), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (lrx.cosine_decay_schedule(0.1, 100, exponent=2), [0.1, 0.09516553580760956, 0.025, 0.0021446612663567066, 0]),
        (lrx.warmup_cosine_decay_schedule(0.2, 1.21, 50, 100, -3.0, 2), [0.2, 0.402, 1.21, -1.9475, -3]),
    ],
    ids=["cosine", "warmup_cosine"],
)
def test_values_that_optax_asserts_at_some_counts(schedule, expected):
    np.testing.assert_allclose(at(schedule, [0, 10, 50, 75, 100]), expected, rtol=1e-6)
