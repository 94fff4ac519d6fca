"""Record what the authors' packages do with given gradients, in `tests/data/authors_trajectories.json`.

    pip install torch schedulefree prodigyopt dadaptation dog-optimizer
    python -m tests.reference.record_authors

The tests need none of these: they regenerate the gradients with `gradients()` and read the recorded parameters.
Everything runs in float64 on the CPU. Gradients, initial parameters and hyperparameters are exact float32 numbers. The
parameters are two leaves, so that the record tells what is shared by the leaves; they are recorded one after the other.
"""

import importlib
import inspect
import math
import platform
from importlib import metadata
from pathlib import Path

import numpy as np

from tests.reference.record_torch import rounded, text

FILE = Path(__file__).parent.parent / "data" / "authors_trajectories.json"
SEED = 2024
STEPS = 200
SHAPES = ((2,), (2, 3))
SIZE = sum(math.prod(shape) for shape in SHAPES)
RECORDED = tuple(range(0, STEPS + 1, 20))
DIGITS = 13
PACKAGES = ("torch", "schedulefree", "prodigyopt", "dadaptation", "dog-optimizer")

# name: (module, class, arguments). What is not given is the package's default, rounded to float32 as all numbers are. A
# "rate" of "linear" multiplies lr by 1 - t/STEPS before steps t = 0, 1, …
CASES = {
    "sgd_schedule_free": ("schedulefree", "SGDScheduleFree", {"lr": 0.1}),
    "sgd_schedule_free_options": (
        "schedulefree",
        "SGDScheduleFree",
        {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.1, "warmup_steps": 30, "r": 1.0, "weight_lr_power": 1.0},
    ),
    "adamw_schedule_free": ("schedulefree", "AdamWScheduleFree", {"lr": 0.05}),
    "adamw_schedule_free_options": (
        "schedulefree",
        "AdamWScheduleFree",
        {"lr": 0.05, "betas": [0.8, 0.95], "eps": 1e-2, "weight_decay": 0.1, "warmup_steps": 30, "r": 2.0},
    ),
    "adamw_schedule_free_linear": ("schedulefree", "AdamWScheduleFree", {"lr": 0.05, "rate": "linear"}),
    "adamw_schedule_free_paper": ("schedulefree", "AdamWScheduleFreePaper", {"lr": 0.05, "weight_decay": 0.1}),
    "radam_schedule_free": ("schedulefree", "RAdamScheduleFree", {"lr": 0.05, "weight_decay": 0.1}),
    "radam_schedule_free_sgd_phase": (
        "schedulefree",
        "RAdamScheduleFree",
        {"lr": 0.05, "betas": [0.8, 0.95], "r": 1.0, "silent_sgd_phase": False},
    ),
    "prodigy": ("prodigyopt", "Prodigy", {"d0": 1e-14}),
    "prodigy_corrected": ("prodigyopt", "Prodigy", {"use_bias_correction": True, "weight_decay": 0.1}),
    "prodigy_slice": ("prodigyopt", "Prodigy", {"slice_p": 2, "use_bias_correction": True}),
    "prodigy_safeguard": (
        "prodigyopt",
        "Prodigy",
        {"safeguard_warmup": True, "use_bias_correction": True, "d0": 1e-3, "rate": "linear"},
    ),
    "prodigy_options": (
        "prodigyopt",
        "Prodigy",
        {"lr": 0.5, "betas": [0.8, 0.95], "beta3": 0.9, "eps": 1e-2, "d0": 1e-4, "d_coef": 2.0, "growth_rate": 1.25},
    ),
    "dadapt_sgd": ("dadaptation", "DAdaptSGD", {}),
    "dadapt_sgd_options": (
        "dadaptation",
        "DAdaptSGD",
        {"momentum": 0.9, "weight_decay": 0.5, "d0": 1e-4, "growth_rate": 1.25, "rate": "linear"},
    ),
    "dadapt_adam": ("dadaptation", "DAdaptAdam", {"d0": 1e-15}),
    "dadapt_adam_corrected": (
        "dadaptation",
        "DAdaptAdam",
        {"use_bias_correction": True, "decouple": True, "weight_decay": 0.1, "growth_rate": 1.25, "rate": "linear"},
    ),
    "dadapt_adagrad": ("dadaptation", "DAdaptAdaGrad", {"eps": 1e-6, "d0": 1e-3}),
    "dadapt_adagrad_options": (
        "dadaptation",
        "DAdaptAdaGrad",
        {"eps": 1e-2, "momentum": 0.9, "weight_decay": 0.5, "d0": 1e-4, "growth_rate": 1.25, "rate": "linear"},
    ),
    "dog": ("dog", "DoG", {"reps_rel": 1e-4}),
    "dog_options": ("dog", "DoG", {"reps_rel": 1e-3, "lr": 0.5, "weight_decay": 0.5, "eps": 1.0}),
    "l_dog": ("dog", "LDoG", {"reps_rel": 1e-4}),
}


def gradients(seed=SEED):
    """Return the gradients of all steps, [STEPS, SIZE], of several scales.

    For 30 steps, in which estimates of a distance grow, they are noise around one mean; then its sign alternates.
    """
    scale = np.logspace(-1, 1, SIZE)
    steps = np.arange(STEPS)[:, None]
    mean = np.where((steps < 30) | (steps % 2 == 0), 1.0, -1.0)
    noise = np.random.default_rng(seed).standard_normal((STEPS, SIZE))
    return (scale * (mean + 0.5 * noise)).astype(np.float32).astype(np.float64)


def initial_parameters():
    """Return the parameters of step 0, [SIZE]: evenly spaced from -2 to 2."""
    return np.linspace(-2, 2, SIZE).astype(np.float32).astype(np.float64)


def leaves(array):
    """Return an array [SIZE] as the list of leaves."""
    ends = np.cumsum([math.prod(shape) for shape in SHAPES])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(array, ends), SHAPES, strict=True)]


def hyperparameters(name):
    """Return the arguments of a case, with the defaults that are finite floats, all rounded to float32."""
    module, kind, given = CASES[name]
    signature = inspect.signature(getattr(importlib.import_module(module), kind))
    defaults = {key: parameter.default for key, parameter in signature.parameters.items()}
    defaults = {key: list(value) if isinstance(value, tuple) else value for key, value in defaults.items()}
    floats = {
        key: value
        for key, value in defaults.items()
        if key == "betas" or (isinstance(value, float) and math.isfinite(value))
    }
    return {key: rounded(value) for key, value in (floats | given).items()}


def run(name):
    """Run one case and return its parameters, and its averages where it has them, at the recorded steps."""
    import torch  # not needed by the tests, which import this module

    torch.set_default_dtype(torch.float64)  # the optimizers' scalars too
    module, kind, _ = CASES[name]
    package = importlib.import_module(module)
    arguments = hyperparameters(name)
    linear = arguments.pop("rate", None) == "linear"
    model = torch.nn.ParameterList(torch.nn.Parameter(torch.tensor(leaf)) for leaf in leaves(initial_parameters()))
    optimizer = getattr(package, kind)(list(model), **arguments)
    averager = package.PolynomialDecayAverager(model) if module == "dog" else None
    rate = optimizer.param_groups[0]["lr"]

    def flat(parameters):
        return torch.cat([p.detach().reshape(-1) for p in parameters]).tolist()

    def averages():
        if averager is not None:
            return flat(averager.averaged_model)
        in_training = [p.detach().clone() for p in model]
        optimizer.eval()
        values = flat(model)
        optimizer.train()
        for p, y in zip(model, in_training, strict=True):
            p.data.copy_(y)  # the way there and back rounds
        return values

    averaged = averager is not None or module == "schedulefree"
    if module == "schedulefree":
        optimizer.train()
    path, average_path = [flat(model)], [averages()] if averaged else None
    for t, g in enumerate(gradients()):
        for p, leaf in zip(model, leaves(g), strict=True):
            p.grad = torch.tensor(leaf)
        if linear:
            optimizer.param_groups[0]["lr"] = rate * (1 - t / STEPS)
        optimizer.step()
        if averager is not None:
            averager.step()
        path.append(flat(model))
        if averaged:
            average_path.append(averages())
    return {
        key: [[float(f"{value:.{DIGITS}g}") for value in whole[step]] for step in RECORDED]
        for key, whole in (("parameters", path), ("averages", average_path))
        if whole is not None
    }


def record():
    """Return the whole document."""
    cases = {}
    for name, (module, kind, _) in CASES.items():
        cases[name] = {"optimizer": f"{module}.{kind}", "hyperparameters": hyperparameters(name)} | run(name)
    return {
        "meta": {
            "made_by": "python -m tests.reference.record_authors",
            "how": "the packages in float64 on the CPU, on given gradients; parameters[i] and averages[i] hold after "
            "steps[i] steps",
            "packages": {name: metadata.version(name) for name in PACKAGES},
            "numpy": np.__version__,
            "python": platform.python_version(),
            "seed": SEED,
            "shapes": [list(shape) for shape in SHAPES],
            "steps": list(RECORDED),
            "numbers": f"hyperparameters are exact float32 numbers, parameters have {DIGITS} significant digits",
            "first_gradient": gradients()[0].tolist(),
            "last_gradient": gradients()[-1].tolist(),
        },
        "cases": cases,
    }


if __name__ == "__main__":
    FILE.write_text(text(record()))
