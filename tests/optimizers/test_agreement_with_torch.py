"""Optimizers against trajectories that were recorded from torch; differences are measured as in `test_agreement.py`."""

import functools
import json

import numpy as np
import pytest

import lrx
from tests.reference import record_torch
from tests.reference.compare import disagreement, paths_together

pytestmark = pytest.mark.real_compiler

RECORD = json.loads(record_torch.FILE.read_text())

# torch's arguments in terms of lrx's, where the definitions coincide
TORCH = {
    "SGD": lambda lr, **others: lrx.sgd(lr, **others),
    "Adagrad": lambda lr, eps, initial_accumulator_value: lrx.adagrad(lr, initial_accumulator_value, eps),
    "RMSprop": lambda lr, alpha, eps, **others: lrx.rmsprop(lr, alpha, eps, eps_in_sqrt=False, **others),
    "Adam": lambda lr, betas, eps, amsgrad=False: (
        lrx.amsgrad(lr, *betas, eps, convention="torch") if amsgrad else lrx.adam(lr, *betas, eps)
    ),
    "AdamW": lambda lr, betas, eps, weight_decay: lrx.adamw(lr, *betas, eps, weight_decay=weight_decay),
    "Adadelta": lambda lr, rho, eps: lrx.adadelta(lr, rho, eps),
    "NAdam": lambda lr, betas, eps, momentum_decay: lrx.nadam(lr, *betas, eps, momentum_decay=momentum_decay),
    "RAdam": lambda lr, betas, eps: lrx.radam(lr, *betas, eps),
}
SCHEDULERS = {
    "StepLR": lambda lr, step_size, gamma: lrx.step_decay_schedule(lr, step_size, decay_rate=gamma),
    "CosineAnnealingLR": lambda lr, T_max: lrx.cosine_decay_schedule(lr, T_max),
}


@functools.cache
def paths():
    """The path of every case, from one program."""
    gradients, given = record_torch.gradients().astype(np.float32), {}
    for name, case in RECORD["cases"].items():
        arguments, start = dict(case["hyperparameters"]), np.float32(case["parameters"][0])
        if "scheduler" in case:
            arguments["lr"] = SCHEDULERS[case["scheduler"]](arguments["lr"], **case["scheduler_arguments"])
        start = start if "weight_decay" in arguments else 0 * start  # where it does not matter, rounding would
        given[name] = TORCH[case["optimizer"]](**arguments), start, gradients
    return paths_together(given)


@pytest.mark.parametrize("name", RECORD["cases"])
def test_a_thousand_steps_are_those_of_torch(name):
    """The ε of Adagrad and RAdam are small enough that their place, where the two differ, does not show."""
    theirs, path = np.array(RECORD["cases"][name]["parameters"]), paths()[name]
    ours = path[RECORD["meta"]["steps"]] - path[0]
    assert disagreement(ours, theirs - theirs[0], whole_path=path) < 1e-5
