"""The optimizers' references against recorded torch trajectories."""

import json

import numpy as np
import pytest

from tests.reference import optimizers, record_torch, schedules
from tests.reference.compare import disagreement
from tests.reference.optimizers import trajectory

RECORD = json.loads(record_torch.FILE.read_text())
STEPS = RECORD["meta"]["steps"]


# torch's arguments in terms of the references', for the classes whose definitions coincide
TORCH = {
    "SGD": lambda lr, momentum=None, nesterov=False: optimizers.sgd(lr, momentum, nesterov),
    "Adagrad": lambda lr, eps, initial_accumulator_value: optimizers.adagrad(lr, initial_accumulator_value, eps),
    "RMSprop": lambda lr, alpha, eps, **others: optimizers.rmsprop(lr, alpha, eps, eps_in_sqrt=False, **others),
    "Adam": lambda lr, betas, eps, amsgrad=False: (
        optimizers.amsgrad(lr, *betas, eps, convention="torch") if amsgrad else optimizers.adam(lr, *betas, eps)
    ),
    "AdamW": lambda lr, betas, eps, weight_decay: optimizers.adamw(lr, *betas, eps, weight_decay=weight_decay),
    "Adadelta": lambda lr, rho, eps: optimizers.adadelta(lr, rho, eps),
    "NAdam": lambda lr, betas, eps, momentum_decay: optimizers.nadam(lr, *betas, eps, momentum_decay=momentum_decay),
    "RAdam": lambda lr, betas, eps: optimizers.radam(lr, *betas, eps),
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
        "adam_amsgrad",
        "adamw",
        "adadelta",
        "nadam",
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


def test_radam_differs_from_torch_by_the_place_of_eps():
    """PyTorch adds ε to √v before the correction, which makes it ε/√(1 − β2^t): the paths part by just that."""
    ours, theirs = replay("radam")
    h = RECORD["cases"]["radam"]["hyperparameters"]
    (b1, b2), g = h["betas"], record_torch.gradients()
    t = np.arange(1, len(g) + 1)[:, None]
    m, v = np.zeros_like(g), np.zeros_like(g)
    for i in range(len(g)):
        m[i] = b1 * m[i - 1] + (1 - b1) * g[i]
        v[i] = b2 * v[i - 1] + (1 - b2) * g[i] ** 2
    limit = 2 / (1 - b2) - 1
    rho = limit - 2 * t * b2**t / (1 - b2**t)
    r = np.sqrt(np.maximum((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho), 0)) * (rho > 5)
    root = np.sqrt(v / (1 - b2**t))
    steps = h["lr"] * r * m / (1 - b1**t) * (1 / (root + h["eps"]) - 1 / (root + h["eps"] / np.sqrt(1 - b2**t)))
    expected = np.cumsum(np.vstack([np.zeros(g.shape[1]), steps]), axis=0)[STEPS]
    assert disagreement(theirs - ours[STEPS], expected, whole_path=ours) < 1e-11
    assert 1e-11 < disagreement(ours[STEPS], theirs, whole_path=ours) < 1e-5
