"""Record what torch's optimizers do with given gradients, in `tests/data/torch_trajectories.json`.

    python tests/reference/record_torch.py

needs torch; the tests do not. They regenerate the gradients with `gradients()` and read the recorded parameters.
Everything runs in float64 on the CPU, so that the record is the algorithm and not the rounding of one device.
Gradients, initial parameters and hyperparameters are exact float32 numbers, so that a float32 run can be given
the very same ones.
"""

import json
import platform
import re
from pathlib import Path

import numpy as np

FILE = Path(__file__).parent.parent / "data" / "torch_trajectories.json"
SEED = 2013
STEPS = 1000
SIZE = 8
RECORDED = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

# name: (class in torch.optim, hyperparameters). What is not given is torch's default.
CASES = {
    "sgd": ("SGD", {"lr": 1e-2}),
    "sgd_momentum": ("SGD", {"lr": 1e-2, "momentum": 0.9}),
    "sgd_nesterov": ("SGD", {"lr": 1e-2, "momentum": 0.9, "nesterov": True}),
    "adagrad": ("Adagrad", {"lr": 1e-2, "eps": 1e-10, "initial_accumulator_value": 0.0}),
    "adagrad_initial": ("Adagrad", {"lr": 1e-2, "eps": 1e-10, "initial_accumulator_value": 0.1}),
    "adagrad_initial_no_eps": ("Adagrad", {"lr": 1e-2, "eps": 0.0, "initial_accumulator_value": 0.1}),
    "rmsprop": ("RMSprop", {"lr": 1e-2, "alpha": 0.99, "eps": 1e-8}),
    "rmsprop_centered": ("RMSprop", {"lr": 1e-2, "alpha": 0.99, "eps": 1e-8, "centered": True}),
    "rmsprop_momentum": ("RMSprop", {"lr": 1e-2, "alpha": 0.99, "eps": 1e-8, "momentum": 0.9}),
    "rmsprop_centered_momentum": (
        "RMSprop",
        {"lr": 1e-2, "alpha": 0.99, "eps": 1e-8, "centered": True, "momentum": 0.9},
    ),
    "adam": ("Adam", {"lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8}),
    "adam_betas": ("Adam", {"lr": 1e-3, "betas": [0.8, 0.95], "eps": 1e-4}),
    "adam_step": ("Adam", {"lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8}),
    "adam_cosine": ("Adam", {"lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8}),
    "adam_amsgrad": ("Adam", {"lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "amsgrad": True}),
    "adamw": ("AdamW", {"lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 1e-2}),
    "adadelta": ("Adadelta", {"lr": 1.0, "rho": 0.9, "eps": 1e-6}),
    "nadam": ("NAdam", {"lr": 2e-3, "betas": [0.9, 0.999], "eps": 1e-8, "momentum_decay": 4e-3}),
    "radam": ("RAdam", {"lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8}),
}

# name of a case: (class in torch.optim.lr_scheduler, its arguments); one scheduler step after every optimizer step.
SCHEDULERS = {
    "adam_step": ("StepLR", {"step_size": 100, "gamma": 0.5}),
    "adam_cosine": ("CosineAnnealingLR", {"T_max": 1000}),
}


def gradients(seed=SEED):
    """Return the gradients of all steps, [STEPS, SIZE]: normal, with scales from 1e-2 to 1e2 by coordinate."""
    scale = np.logspace(-2, 2, SIZE)
    return (np.random.default_rng(seed).standard_normal((STEPS, SIZE)) * scale).astype(np.float32).astype(np.float64)


def initial_parameters():
    """Return the parameters of step 0, [SIZE]: evenly spaced from -2 to 2."""
    return np.linspace(-2, 2, SIZE).astype(np.float32).astype(np.float64)


def rounded(value):
    """Round every float in a hyperparameter to the nearest float32."""
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(np.float32(value)) if isinstance(value, float) else value


def run(name):
    """Run one case in torch and return its parameters at the recorded steps."""
    import torch  # not needed by the tests, which import this module

    torch.set_default_dtype(torch.float64)  # the optimizers' scalar state too: NAdam's product of momenta
    kind, hyperparameters = CASES[name]
    x = torch.tensor(initial_parameters(), requires_grad=True)
    optimizer = getattr(torch.optim, kind)([x], **{key: rounded(value) for key, value in hyperparameters.items()})
    scheduler = None
    if name in SCHEDULERS:
        kind, arguments = SCHEDULERS[name]
        scheduler = getattr(torch.optim.lr_scheduler, kind)(optimizer, **arguments)
    path = [x.tolist()]
    for g in gradients():
        x.grad = torch.tensor(g)
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        path.append(x.tolist())
    return [path[step] for step in RECORDED]


def record():
    """Return the whole document."""
    import torch

    cases = {}
    for name, (kind, hyperparameters) in CASES.items():
        cases[name] = {"optimizer": kind}
        cases[name]["hyperparameters"] = {key: rounded(value) for key, value in hyperparameters.items()}
        if name in SCHEDULERS:
            cases[name]["scheduler"], cases[name]["scheduler_arguments"] = SCHEDULERS[name]
        cases[name]["parameters"] = run(name)
    return {
        "meta": {
            "made_by": "python tests/reference/record_torch.py",
            "how": "torch.optim in float64 on the CPU, on given gradients; parameters[i] holds after steps[i] steps",
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "gradients": "numpy.random.default_rng(seed).standard_normal(shape) * numpy.logspace(-2, 2, shape[1]), "
            "rounded to float32",
            "seed": SEED,
            "shape": [STEPS, SIZE],
            "steps": list(RECORDED),
            "numbers": "hyperparameters are exact float32 numbers; all floats are written with up to 17 significant "
            "digits, which restore the float64 exactly",
            "first_gradient": gradients()[0].tolist(),
            "last_gradient": gradients()[-1].tolist(),
        },
        "cases": cases,
    }


def text(document):
    """Write JSON with one innermost list to a line."""
    return re.sub(r"\[[^\[\]{}]*\]", lambda match: " ".join(match[0].split()), json.dumps(document, indent=1)) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(record()))
