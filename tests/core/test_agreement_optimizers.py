"""Every optimizer against three others: optax's, a float64 loop in NumPy, and trajectories recorded from torch.

Differences are per coordinate and relative to the distance that the coordinate travelled. Coordinates start at 0
(their own rounding would be all that is left of a comparison otherwise) and their gradients have scales from 1e-2 to
1e2, with exact zeros among them.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from tests.reference import optimizers as reference
from tests.reference import record_torch, schedules

from .common import PARAMS, scan

STEPS = 1000


def decaying(count):
    return 0.01 * 100 / (100 + count)


CASES = [
    ("sgd", {}),
    ("sgd", {"learning_rate": decaying}),
    ("sgd", {"momentum": 0.9}),
    ("sgd", {"momentum": 0.9, "nesterov": True}),
    ("adagrad", {}),
    ("adagrad", {"initial_accumulator_value": 0.0}),
    ("rmsprop", {}),
    ("rmsprop", {"decay": 0.99, "eps": 1e-3, "eps_in_sqrt": False, "initial_scale": 1.0}),
    ("rmsprop", {"bias_correction": True}),
    ("rmsprop", {"centered": True}),
    ("rmsprop", {"centered": True, "eps_in_sqrt": False}),
    # optax subtracts the squares of step 1, whose difference is all rounding: ε must not be below that
    ("rmsprop", {"centered": True, "bias_correction": True, "eps": 1.0}),
    ("rmsprop", {"learning_rate": decaying, "momentum": 0.9}),
    ("rmsprop", {"learning_rate": decaying, "momentum": 0.9, "nesterov": True, "centered": True}),
    ("adam", {}),
    ("adam", {"b1": 0.0, "eps": 1e-3}),
    ("adam", {"b1": 0.95, "b2": 0.9999}),
    ("adam", {"learning_rate": decaying, "b2": 0.95, "eps_root": 1e-6}),
    ("adam", {"nesterov": True}),
    ("adamw", {"weight_decay": 0.1}),
    ("adamw", {"learning_rate": decaying, "weight_decay": 0.3, "nesterov": True}),
]
IDS = [
    "-".join([name, *(f"{k}={getattr(v, '__name__', v)}" for k, v in arguments.items())]) for name, arguments in CASES
]
every = pytest.mark.parametrize(("name", "arguments"), CASES, ids=IDS)


def random_gradients(size=8):
    rng = np.random.default_rng(7)
    gradients = rng.standard_normal((STEPS, size)) * np.logspace(-2, 2, size)
    gradients[rng.random(gradients.shape) < 0.05] = 0
    gradients[:3, 0] = 0  # a coordinate that starts without a gradient
    return gradients.astype(np.float32)


def disagreement(path, other, whole_path=None):
    travelled = np.abs(np.diff(path if whole_path is None else whole_path, axis=0)).sum(axis=0)
    return np.max(np.abs(path - other).max(axis=0) / travelled)


def run(tx, gradients, start=None):
    start = jnp.asarray(np.zeros(gradients.shape[1]) if start is None else start, jnp.float32)
    return np.asarray(jax.jit(lambda p, g: scan(tx, p, g))(start, gradients), np.float64)


def with_rate(arguments):
    return {"learning_rate": 0.01, **arguments}


@every
def test_a_thousand_steps_are_those_of_the_float64_loop(name, arguments):
    gradients = random_gradients()
    expected = reference.trajectory(
        getattr(reference, name)(**with_rate(arguments)), np.zeros(gradients.shape[1]), gradients
    )
    assert disagreement(expected, run(getattr(lrx, name)(**with_rate(arguments)), gradients)) < 2e-6


@every
def test_a_thousand_steps_are_those_of_optax(name, arguments):
    gradients = random_gradients()
    theirs = run(getattr(optax, name)(**with_rate(arguments)), gradients)
    ours = run(getattr(lrx, name)(**with_rate(arguments)), gradients)
    # optax forms 1 - b**t in float32, which costs digits when b is near 1, and subtracts squares (see above)
    near_one = max(arguments.get("b1", 0), arguments.get("b2", 0)) > 0.999
    squares = arguments.get("centered") and arguments.get("bias_correction")
    assert disagreement(ours, theirs) < (5e-4 if near_one or squares else 5e-5)


def test_masked_weight_decay_is_that_of_optax():
    gradients = jax.tree.map(lambda p: random_gradients(p.size).reshape(STEPS, *p.shape), PARAMS)
    mask = {"w": True, "b": False}
    path = scan(lrx.adamw(0.01, weight_decay=0.3, mask=mask), PARAMS, gradients)
    theirs = scan(optax.adamw(0.01, weight_decay=0.3, mask=mask), PARAMS, gradients)
    for k in PARAMS:
        ours = np.asarray(path[k], np.float64).reshape(STEPS + 1, -1)
        assert disagreement(ours, np.asarray(theirs[k], np.float64).reshape(STEPS + 1, -1)) < 5e-5


@pytest.mark.parametrize("name", ["sgd", "adagrad", "rmsprop", "adam"])
def test_complex_gradients_are_treated_as_by_optax(name):
    rng = np.random.default_rng(0)
    gradients = (rng.standard_normal((50, 4)) + 1j * rng.standard_normal((50, 4))).astype(np.complex64)
    start = jnp.zeros(4, jnp.complex64)
    ours, theirs = (scan(getattr(library, name)(0.01), start, gradients) for library in (lrx, optax))
    assert ours.dtype == jnp.complex64
    travelled = np.abs(np.diff(ours, axis=0)).sum(axis=0)
    assert np.max(np.abs(ours - theirs).max(axis=0) / travelled) < 5e-5


# ---------------------------------------------------------------- torch

RECORD = json.loads(record_torch.FILE.read_text())

# torch's arguments in terms of lrx's, where the definitions coincide
TORCH = {
    "SGD": lambda lr, **others: lrx.sgd(lr, **others),
    "Adagrad": lambda lr, eps, initial_accumulator_value: lrx.adagrad(lr, initial_accumulator_value, eps),
    "RMSprop": lambda lr, alpha, eps, **others: lrx.rmsprop(lr, alpha, eps, eps_in_sqrt=False, **others),
    "Adam": lambda lr, betas, eps: lrx.adam(lr, *betas, eps),
    "AdamW": lambda lr, betas, eps, weight_decay: lrx.adamw(lr, *betas, eps, weight_decay=weight_decay),
}
SCHEDULERS = {
    "StepLR": lambda lr, step_size, gamma: lrx.step_decay_schedule(lr, step_size, decay_rate=gamma),
    "CosineAnnealingLR": lambda lr, T_max: lrx.cosine_decay_schedule(lr, T_max),
}


@pytest.mark.parametrize(
    "name",
    [
        "sgd",
        "sgd_momentum",
        "sgd_nesterov",
        "adagrad",
        "adagrad_initial",
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
def test_a_thousand_steps_are_those_of_torch(name):
    """Adagrad's ε of 1e-10 is small enough that its place, where the two differ, does not show."""
    case = RECORD["cases"][name]
    arguments, theirs = dict(case["hyperparameters"]), np.array(case["parameters"])
    if "scheduler" in case:
        arguments["lr"] = SCHEDULERS[case["scheduler"]](arguments["lr"], **case["scheduler_arguments"])
    start = theirs[0] if "weight_decay" in arguments else 0 * theirs[0]
    path = run(TORCH[case["optimizer"]](**arguments), record_torch.gradients().astype(np.float32), start)
    ours = path[RECORD["meta"]["steps"]] - start
    assert disagreement(ours, theirs - theirs[0], whole_path=path) < 1e-5


# ---------------------------------------------------------------- peers' faults


def test_optax_1532_one_code_path_for_constant_and_scheduled_rates():
    gradients = random_gradients()[:50]
    constant, scheduled = (run(lrx.adam(rate), gradients) for rate in (0.01, lrx.constant_schedule(0.01)))
    np.testing.assert_array_equal(constant, scheduled)


def test_rate_of_a_schedule_is_used_at_its_own_count():
    """The reference is given the float64 schedule, the optimizer the float32 one."""
    arguments = {"init_value": 0.02, "decay_steps": STEPS}
    gradients = random_gradients()
    rate = lambda count: schedules.cosine_decay_schedule(count, **arguments)  # noqa: E731
    expected = reference.trajectory(reference.adam(rate), np.zeros(8), gradients)
    ours = run(lrx.adam(lrx.cosine_decay_schedule(**arguments)), gradients)
    assert disagreement(expected, ours) < 2e-6
