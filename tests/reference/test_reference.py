"""The schedules' references against optax run in float64, and by hand where optax has no such schedule."""

import math

import jax
import numpy as np
import optax
import pytest

from tests.reference import schedules
from tests.reference.schedules import f32


@pytest.fixture
def float64():
    """Let JAX compute in float64 for one test."""
    with jax.enable_x64(True):
        yield


# ---------------------------------------------------------------- schedules against optax

COUNTS = range(140)

SCHEDULES = [
    ("constant_schedule", {"value": 0.3}),
    ("linear_schedule", {"init_value": 0.1, "end_value": 0.7, "transition_steps": 60}),
    ("linear_schedule", {"init_value": 0.7, "end_value": -0.1, "transition_steps": 60, "transition_begin": 13}),
    ("polynomial_schedule", {"init_value": 0.3, "end_value": 0.01, "power": 2.5, "transition_steps": 100}),
    (
        "polynomial_schedule",
        {"init_value": 0.1, "end_value": 0.9, "power": 0.5, "transition_steps": 70, "transition_begin": 9},
    ),
    ("exponential_decay", {"init_value": 0.3, "transition_steps": 10, "decay_rate": 0.9}),
    (
        "exponential_decay",
        {"init_value": 0.3, "transition_steps": 7, "decay_rate": 0.8, "transition_begin": 5, "staircase": True},
    ),
    ("exponential_decay", {"init_value": 0.3, "transition_steps": 7, "decay_rate": 0.8, "end_value": 0.05}),
    ("exponential_decay", {"init_value": 0.3, "transition_steps": 7, "decay_rate": 1.3, "end_value": 2.0}),
    (
        "exponential_decay",
        {"init_value": 0.3, "transition_steps": 7, "decay_rate": 0.8, "transition_begin": 4, "end_value": 0.5},
    ),
    ("piecewise_constant_schedule", {"init_value": 0.1}),
    ("piecewise_constant_schedule", {"init_value": 0.1, "boundaries_and_scales": {50: 0.1, 3: 2.0, 6: 0.3}}),
    ("cosine_decay_schedule", {"init_value": 0.1, "decay_steps": 100}),
    ("cosine_decay_schedule", {"init_value": 0.1, "decay_steps": 90, "alpha": 0.1, "exponent": 2.3}),
    ("warmup_cosine_decay_schedule", {"init_value": 0.0, "peak_value": 0.3, "warmup_steps": 10, "decay_steps": 100}),
    (
        "warmup_cosine_decay_schedule",
        {
            "init_value": 0.2,
            "peak_value": 1.2,
            "warmup_steps": 50,
            "decay_steps": 100,
            "end_value": -3.0,
            "exponent": 2.0,
        },
    ),
    ("warmup_cosine_decay_schedule", {"init_value": 0.2, "peak_value": 1.2, "warmup_steps": 0, "decay_steps": 100}),
]


def rounded(arguments):
    """Round every float among the arguments to float32, as the references do themselves."""
    if isinstance(arguments, dict):
        return {key: rounded(value) for key, value in arguments.items()}
    return f32(arguments) if isinstance(arguments, float) else arguments


@pytest.mark.parametrize(("name", "arguments"), SCHEDULES)
def test_schedule_is_optax_in_float64(name, arguments, float64):
    """Every schedule that optax has is optax's, at every count."""
    theirs = getattr(optax, name)(**rounded(arguments))
    ours = [getattr(schedules, name)(count, **arguments) for count in COUNTS]
    # The absolute part is for the end of a cosine: optax's cos(π) + 1 in float64 need not be exactly 0.
    np.testing.assert_allclose(ours, [float(theirs(count)) for count in COUNTS], rtol=1e-13, atol=1e-15)


# ---------------------------------------------------------------- schedules that optax lacks

CYCLE = {"min_value": 1.0, "max_value": 5.0, "half_cycle_steps": 4}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        # torch's own tests of CyclicLR
        (CYCLE, [1, 2, 3, 4, 5, 4, 3, 2, 1, 2, 3]),
        (CYCLE | {"down_steps": 6}, [1, 2, 3, 4, 5, 13 / 3, 11 / 3, 9 / 3, 7 / 3, 5 / 3, 1]),
        (
            CYCLE | {"mode": "triangular2"},
            [1, 2, 3, 4, 5, 4, 3, 2, 1, 1.5, 2, 2.5, 3, 2.5, 2, 1.5, 1, 1.25, 1.5, 1.75, 2, 1.75],
        ),
        (
            CYCLE | {"mode": "exp_range", "gamma": 0.5},
            [1 + 4 * x * 0.5**t for t, x in enumerate([0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25, 0, 0.25])],
        ),
        # a phase of no length
        (CYCLE | {"down_steps": 0}, [1, 2, 3, 4, 1, 2, 3, 4, 1]),
        (CYCLE | {"half_cycle_steps": 0, "down_steps": 4}, [5, 4, 3, 2, 5]),
    ],
)
def test_triangular(arguments, expected):
    """A cycle rises, falls and repeats; the modes change its amplitude only."""
    values = [schedules.triangular_schedule(count, **arguments) for count in range(len(expected))]
    np.testing.assert_allclose(values, expected, rtol=1e-15)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, [5, 4, 3, 2, 5, 4, 3, 2, 5]),
        ({"length_multiplier": 2}, [5, 4, 3, 2, 5, 4.5, 4, 3.5, 3, 2.5, 2, 1.5, 5, 4.75]),
        ({"peak_multiplier": 0.5}, [5, 4, 3, 2, 3, 2.5, 2, 1.5, 2]),
        ({"shape": "cosine"}, [5, 3 + math.sqrt(2), 3, 3 - math.sqrt(2), 5]),
        ({"shape": "exponential"}, [5, 5**0.75, 5**0.5, 5**0.25, 5]),
    ],
)
def test_cyclic_annealing(arguments, expected):
    """Every cycle starts at its peak and ends one step short of the minimum."""
    values = [
        schedules.cyclic_annealing_schedule(count, 5.0, 1.0, cycle_steps=4, **arguments)
        for count in range(len(expected))
    ]
    np.testing.assert_allclose(values, expected, rtol=1e-15)


def test_warmup_linear():
    """The values of Hugging Face's linear schedule with warmup, and the end value after it."""
    values = [schedules.warmup_linear_schedule(count, 10.0, 2, total_steps=10) for count in range(12)]
    assert values == [0, 5, 10, 8.75, 7.5, 6.25, 5, 3.75, 2.5, 1.25, 0, 0]


def test_step_decay():
    """The rate halves every third step."""
    values = [schedules.step_decay_schedule(count, 8.0, 3) for count in range(8)]
    assert values == [8, 8, 8, 4, 4, 4, 2, 2]


def test_piecewise_value():
    """A value holds from its boundary on."""
    values = [schedules.piecewise_value_schedule(count, [2, 5], [3.0, 1.0, 2.0]) for count in range(7)]
    assert values == [3, 3, 1, 1, 1, 2, 2]


def test_phase_of_no_length_is_skipped():
    """A transition of no steps never begins, as in optax; a warmup of none is over at the start."""
    assert schedules.linear_schedule(0, 1.0, 2.0, 0) == 1
    assert schedules.linear_schedule(2, 1.0, 2.0, 0, transition_begin=3) == 1
    assert schedules.polynomial_schedule(3, 1.0, 2.0, 2.0, 0, transition_begin=3) == 1
    assert schedules.warmup_linear_schedule(0, 2.0, 0, total_steps=4) == 2
    assert schedules.warmup_cosine_decay_schedule(0, 0.0, 2.0, 0, 4) == 2


def test_numbers_are_rounded_to_float32():
    """A rate of 0.1 means the float32 nearest to 0.1."""
    assert schedules.constant_schedule(0, 0.1) == float(np.float32(0.1)) != 0.1
