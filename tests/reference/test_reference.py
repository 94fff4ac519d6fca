"""The references against two other implementations: optax run in float64, and recorded torch trajectories."""

import inspect
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.reference import optimizers, record_torch, schedules
from tests.reference.optimizers import trajectory
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
    """The end value of an empty phase holds from the count at which it would have begun."""
    assert schedules.linear_schedule(0, 1.0, 2.0, 0) == 2
    assert schedules.linear_schedule(2, 1.0, 2.0, 0, transition_begin=3) == 1
    assert schedules.polynomial_schedule(3, 1.0, 2.0, 2.0, 0, transition_begin=3) == 2
    assert schedules.warmup_linear_schedule(0, 2.0, 0, total_steps=4) == 2
    assert schedules.warmup_cosine_decay_schedule(0, 0.0, 2.0, 0, 4) == 2


def test_numbers_are_rounded_to_float32():
    """A rate of 0.1 means the float32 nearest to 0.1."""
    assert schedules.constant_schedule(0, 0.1) == float(np.float32(0.1)) != 0.1


# ---------------------------------------------------------------- optimizers against optax


def decaying(count):
    """Return a rate that changes at every count."""
    return 0.5 / (1 + count)


OPTIMIZERS = [
    ("sgd", {"learning_rate": 0.1}),
    ("sgd", {"learning_rate": decaying}),
    ("sgd", {"learning_rate": 0.1, "momentum": 0.9}),
    ("sgd", {"learning_rate": decaying, "momentum": 0.9, "nesterov": True}),
    ("adagrad", {"learning_rate": 0.1}),
    ("adagrad", {"learning_rate": decaying, "initial_accumulator_value": 0.0, "eps": 1e-3}),
    ("adagrad", {"learning_rate": 0.1, "initial_accumulator_value": 0.0, "eps": 0.0}),
    ("rmsprop", {"learning_rate": 0.1}),
    ("rmsprop", {"learning_rate": 0.1, "decay": 0.95, "eps": 1e-2, "initial_scale": 1.0}),
    ("rmsprop", {"learning_rate": 0.1, "eps": 1e-2, "eps_in_sqrt": False}),
    ("rmsprop", {"learning_rate": 0.1, "centered": True}),
    ("rmsprop", {"learning_rate": 0.1, "eps": 1e-2, "eps_in_sqrt": False, "centered": True}),
    ("rmsprop", {"learning_rate": decaying, "momentum": 0.9}),
    ("rmsprop", {"learning_rate": decaying, "momentum": 0.9, "nesterov": True}),
    ("rmsprop", {"learning_rate": decaying, "momentum": 0.9, "centered": True}),
    ("rmsprop", {"learning_rate": 0.1, "bias_correction": True}),
    # Step 1 divides by √(ε + g² − g²), whose difference is all rounding: compare only with an ε above that.
    ("rmsprop", {"learning_rate": 0.1, "eps": 1.0, "centered": True, "bias_correction": True}),
    ("adam", {"learning_rate": 0.1}),
    ("adam", {"learning_rate": decaying, "b1": 0.8, "b2": 0.95, "eps": 1e-2, "eps_root": 1e-3}),
    ("adam", {"learning_rate": 0.1, "nesterov": True}),
    ("adamw", {"learning_rate": 0.1}),
    ("adamw", {"learning_rate": decaying, "weight_decay": 0.3, "nesterov": True}),
]


def disagreement(path, other, whole_path=None):
    """Return the largest difference of two paths, per coordinate relative to the distance that it travelled."""
    travelled = np.abs(np.diff(path if whole_path is None else whole_path, axis=0)).sum(axis=0)
    return np.max(np.abs(path - other).max(axis=0) / travelled)


def random_problem(steps=200, size=8):
    """Return initial parameters and gradients of scales 1e-2 to 1e2, with exact zeros among them."""
    rng = np.random.default_rng(7)
    gradients = rng.standard_normal((steps, size)) * np.logspace(-2, 2, size)
    gradients[rng.random(gradients.shape) < 0.05] = 0.0
    gradients[:3, 0] = 0.0  # a coordinate that starts without a gradient
    return rng.standard_normal(size), gradients


def optax_trajectory(optimizer, x0, gradients):
    """Return the path that an optax optimizer takes, in the precision that JAX has enabled."""

    def step(carry, g):
        x, state = carry
        updates, state = optimizer.update(g, state, x)
        x = optax.apply_updates(x, updates)
        return (x, state), x

    x0 = jnp.asarray(x0)
    _, path = jax.lax.scan(step, (x0, optimizer.init(x0)), jnp.asarray(gradients))
    return np.concatenate([x0[None], path])


def with_defaults(function, arguments):
    """Return a call's arguments, defaults included: optax must be given its defaults rounded to float32."""
    bound = inspect.signature(function).bind(**arguments)
    bound.apply_defaults()
    return bound.arguments


@pytest.mark.parametrize(("name", "arguments"), OPTIMIZERS)
def test_optimizer_is_optax_in_float64(name, arguments, float64):
    """Every optimizer is optax's, on gradients of many scales and exact zeros."""
    x0, gradients = random_problem()
    reference = getattr(optimizers, name)
    ours = trajectory(reference(**arguments), x0, gradients)
    theirs = optax_trajectory(getattr(optax, name)(**rounded(with_defaults(reference, arguments))), x0, gradients)
    assert ours.dtype == theirs.dtype == np.float64
    assert disagreement(ours, theirs) < 1e-12


# ---------------------------------------------------------------- optimizers against torch

RECORD = json.loads(record_torch.FILE.read_text())
STEPS = RECORD["meta"]["steps"]


# torch's arguments in terms of the references', for the classes whose definitions coincide
TORCH = {
    "SGD": lambda lr, momentum=None, nesterov=False: optimizers.sgd(lr, momentum, nesterov),
    "Adagrad": lambda lr, eps, initial_accumulator_value: optimizers.adagrad(lr, initial_accumulator_value, eps),
    "RMSprop": lambda lr, alpha, eps, **others: optimizers.rmsprop(lr, alpha, eps, eps_in_sqrt=False, **others),
    "Adam": lambda lr, betas, eps: optimizers.adam(lr, *betas, eps),
    "AdamW": lambda lr, betas, eps, weight_decay: optimizers.adamw(lr, *betas, eps, weight_decay=weight_decay),
}


def torch_rate(lr, scheduler, arguments):
    """Return the rate of a recorded case as a function of the count."""
    if scheduler == "StepLR":
        step_size, gamma = arguments["step_size"], arguments["gamma"]
        return lambda count: schedules.step_decay_schedule(count, lr, step_size, decay_rate=gamma)
    assert scheduler == "CosineAnnealingLR"
    return lambda count: schedules.cosine_decay_schedule(count, lr, arguments["T_max"])


def replay(name):
    """Return the reference's path for a recorded case, at every step, and torch's at the recorded steps."""
    case = RECORD["cases"][name]
    hyperparameters = dict(case["hyperparameters"])
    if "scheduler" in case:
        hyperparameters["lr"] = torch_rate(hyperparameters["lr"], case["scheduler"], case["scheduler_arguments"])
    optimizer = TORCH[case["optimizer"]](**hyperparameters)
    ours = trajectory(optimizer, case["parameters"][0], record_torch.gradients(RECORD["meta"]["seed"]))
    return ours, np.array(case["parameters"])


def test_gradients_are_those_of_the_record():
    """NumPy still draws the numbers that torch was given."""
    gradients = record_torch.gradients(RECORD["meta"]["seed"])
    assert list(gradients.shape) == RECORD["meta"]["shape"]
    np.testing.assert_array_equal(gradients[0], RECORD["meta"]["first_gradient"])
    np.testing.assert_array_equal(gradients[-1], RECORD["meta"]["last_gradient"])


@pytest.mark.parametrize(
    "name",
    [
        "sgd",
        "sgd_momentum",
        "sgd_nesterov",
        "adagrad_initial_no_eps",
        "rmsprop",
        "rmsprop_centered",
        "rmsprop_momentum",
        "rmsprop_centered_momentum",
        "adam",
        "adam_betas",
        "adam_step",
        "adam_cosine",
        "adamw",
    ],
)
def test_optimizer_is_torch(name):
    """Where the definitions coincide, 1,000 steps end where torch's do."""
    ours, theirs = replay(name)
    assert disagreement(ours[STEPS], theirs, whole_path=ours) < 1e-11


@pytest.mark.parametrize("name", ["adagrad", "adagrad_initial"])
def test_adagrad_differs_from_torch_by_the_place_of_eps(name):
    """PyTorch divides by √s + ε and optax by √(s + ε): the paths part by what that changes in each step."""
    ours, theirs = replay(name)
    h = RECORD["cases"][name]["hyperparameters"]
    g = record_torch.gradients()
    s = h["initial_accumulator_value"] + np.cumsum(g**2, axis=0)
    steps = h["lr"] * g * (1 / (np.sqrt(s) + h["eps"]) - 1 / np.sqrt(s + h["eps"]))
    expected = -np.cumsum(np.vstack([np.zeros(s.shape[1]), steps]), axis=0)[STEPS]
    assert disagreement(theirs - ours[STEPS], expected, whole_path=ours) < 1e-13
    assert disagreement(ours[STEPS], theirs, whole_path=ours) < 1e-6
