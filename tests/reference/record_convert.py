"""Record what schedulers of torch, Keras, transformers and timm give, in `tests/data/convert.json`.

    python tests/reference/record_convert.py

needs torch, keras (with `KERAS_BACKEND=torch`), transformers and timm; the tests do not. Each case is recorded from the
library's own object: torch by calls of `step()`, transformers by its lambda, Keras in float64, timm by the values
of its schedulers. The versions stand in the file. Recorded with torch 2.13.0, keras 3.15.1, transformers 5.24.0 and
timm 1.0.31 on CPU.
"""

import contextlib
import json
import math
import os
import warnings
from collections import Counter
from pathlib import Path

FILE = Path(__file__).parent.parent / "data" / "convert.json"
SHORT = [*range(34), 47, 48, 49, 59, 60, 61, 62, 63, 99, 100, 101, 250, 1000, 1999]
"""The counts of every case: one shape for all."""
FAR = [*range(16), 99, 100, 101, 999, 1000, 1001, 4999, 5000, 9999, 10_000, 10_001, 12_345, 16_383, 16_384, 50_000]
FAR = [*FAR, 99_999, 100_000, 100_001, 142_999, 143_000, 150_000, 250_000, 300_000, 499_999, 500_000, 600_000, 777_777]
FAR = [*FAR, 10**6, 10**6 + 1, 2 * 10**6, 3 * 10**6, 10**7]

FUNCTIONS = {"third": lambda t: 0.8 + 0.1 * (t % 3), "branch": lambda t: 1.0 if t < 7 else 0.3}
"""What a recorded `lr_lambda` is, by name."""


def with_functions(config):
    """A recorded config, in which functions have names."""
    config = dict(config)
    if "lr_lambda" in config:
        config["lr_lambda"] = FUNCTIONS[config["lr_lambda"]]
    if "schedulers" in config:
        config["schedulers"] = [with_functions(s) for s in config["schedulers"]]
    return config


STEP = {"name": "StepLR", "step_size": 7, "gamma": 0.3}
WARM = {"name": "LinearLR", "start_factor": 0.1, "total_iters": 10}
TORCH = [
    STEP,
    {"name": "StepLR", "step_size": 1},
    {"name": "StepLR", "step_size": 5, "gamma": 0.0},
    {"name": "StepLR", "step_size": 5, "gamma": 1.0},
    {"name": "MultiStepLR", "milestones": [5, 9, 9, 60], "gamma": 0.5},
    {"name": "MultiStepLR", "milestones": [0, 3], "gamma": 0.5},
    {"name": "ConstantLR"},
    {"name": "ConstantLR", "factor": 0.2, "total_iters": 0},
    {"name": "ConstantLR", "factor": 0.2, "total_iters": 60},
    {"name": "LinearLR"},
    {"name": "LinearLR", "start_factor": 0.5, "end_factor": 0.1, "total_iters": 20},
    {"name": "LinearLR", "start_factor": 1.0, "end_factor": 0.5, "total_iters": 5},
    {"name": "LinearLR", "start_factor": 0.25, "total_iters": 0},
    {"name": "LinearLR", "start_factor": 0.25, "total_iters": 1},
    {"name": "ExponentialLR", "gamma": 0.97},
    {"name": "ExponentialLR", "gamma": 1.0},
    {"name": "ExponentialLR", "gamma": 1.01},
    {"name": "PolynomialLR"},
    {"name": "PolynomialLR", "total_iters": 60, "power": 2.0},
    {"name": "PolynomialLR", "total_iters": 0},
    {"name": "PolynomialLR", "total_iters": 1, "power": 0.9},
    {"name": "CosineAnnealingLR", "T_max": 10},
    {"name": "CosineAnnealingLR", "T_max": 1, "eta_min": 0.01},
    {"name": "CosineAnnealingLR", "T_max": 50, "eta_min": 1e-3},
    {"name": "CosineAnnealingLR", "T_max": 10, "eta_min": 0.3},
    {"name": "CosineAnnealingWarmRestarts", "T_0": 10},
    {"name": "CosineAnnealingWarmRestarts", "T_0": 3, "T_mult": 2, "eta_min": 0.001},
    {"name": "CosineAnnealingWarmRestarts", "T_0": 1, "T_mult": 3},
    {"name": "CosineAnnealingWarmRestarts", "T_0": 1, "eta_min": 0.01},
    {"name": "CyclicLR", "base_lr": 0.01, "max_lr": 0.1, "step_size_up": 5},
    {"name": "CyclicLR", "base_lr": 0.01, "max_lr": 0.1, "step_size_up": 4, "step_size_down": 9, "mode": "triangular2"},
    {"name": "CyclicLR", "base_lr": 0.01, "max_lr": 0.1, "step_size_up": 1, "mode": "exp_range", "gamma": 0.99},
    {"name": "OneCycleLR", "max_lr": 0.1, "total_steps": 2000},
    {"name": "OneCycleLR", "max_lr": 0.1, "epochs": 4, "steps_per_epoch": 500, "anneal_strategy": "linear"},
    {"name": "OneCycleLR", "max_lr": 0.1, "total_steps": 2000, "three_phase": True, "div_factor": 10.0},
    {"name": "OneCycleLR", "max_lr": 0.1, "total_steps": 2000, "pct_start": 0.01, "final_div_factor": 100.0},
    {"name": "SequentialLR", "schedulers": [WARM, {"name": "CosineAnnealingLR", "T_max": 50}], "milestones": [10]},
    {
        "name": "SequentialLR",
        "schedulers": [WARM, {"name": "ExponentialLR", "gamma": 0.9}, STEP],
        "milestones": [10, 30],
    },
    {"name": "ChainedScheduler", "schedulers": [WARM, {"name": "ExponentialLR", "gamma": 0.9}]},
    {
        "name": "ChainedScheduler",
        "schedulers": [{"name": "ConstantLR"}, STEP, {"name": "PolynomialLR", "total_iters": 60}],
    },
]
MOMENTA = [case for case in TORCH if case["name"] in ("CyclicLR", "OneCycleLR")]

KERAS = [
    ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 9, "decay_rate": 0.5}),
    ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 9, "decay_rate": 0.5, "staircase": True}),
    ("PiecewiseConstantDecay", {"boundaries": [5, 20], "values": [0.1, 0.05, 0.01]}),
    ("PiecewiseConstantDecay", {"boundaries": [0], "values": [0.1, 0.05]}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 20}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 20, "power": 2.0, "end_learning_rate": 0.01}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 10, "power": 0.5, "cycle": True}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 1, "cycle": True}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.5}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.5, "staircase": True}),
    ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 60, "alpha": 0.1}),
    ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 1}),
    ("CosineDecay", {"initial_learning_rate": 0.0, "decay_steps": 50, "warmup_target": 0.1, "warmup_steps": 10}),
    (
        "CosineDecay",
        {"initial_learning_rate": 0.01, "decay_steps": 50, "warmup_target": 0.1, "warmup_steps": 10, "alpha": 0.2},
    ),
    ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 50, "warmup_steps": 10}),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 10}),
    (
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 7, "t_mul": 3.0, "m_mul": 0.8, "alpha": 0.1},
    ),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 10, "t_mul": 1.0, "m_mul": 0.9}),
]

LENGTHS = [(10, 60), (0, 60), (1, 2), (60, 60), (100, 60)]
MIN = {"min_lr_rate": 0.1}
TRANSFORMERS = [
    *(({"name": "linear"}, *n) for n in LENGTHS),
    *(({"name": "cosine"}, *n) for n in LENGTHS),
    ({"name": "cosine", "num_cycles": 2.0}, 10, 60),
    ({"name": "cosine", "num_cycles": 0.45}, 10, 60),
    *(({"name": "cosine_with_restarts"}, *n) for n in LENGTHS),
    ({"name": "cosine_with_restarts", "num_cycles": 3}, 10, 60),
    *(({"name": "polynomial", "power": 2.0}, *n) for n in LENGTHS if n[0] < n[1]),
    ({"name": "polynomial", "lr_end": 0.01}, 10, 60),
    ({"name": "constant"}, 0, 0),
    ({"name": "constant_with_warmup"}, 10, 0),
    ({"name": "constant_with_warmup"}, 0, 0),
    ({"name": "inverse_sqrt"}, 10, 0),
    ({"name": "inverse_sqrt"}, 0, 0),
    ({"name": "inverse_sqrt", "timescale": 100}, 10, 0),
    *(({"name": "cosine_with_min_lr", **MIN}, *n) for n in LENGTHS),
    ({"name": "cosine_with_min_lr", "min_lr": 0.02}, 10, 60),
    *(({"name": "cosine_warmup_with_min_lr", **MIN}, *n) for n in LENGTHS),
    ({"name": "cosine_warmup_with_min_lr", **MIN, "warmup_lr_rate": 0.3}, 10, 60),
    ({"name": "cosine_warmup_with_min_lr", **MIN, "warmup_lr_rate": 0.3}, 1, 60),
    *(
        (
            {
                "name": "warmup_stable_decay",
                "num_decay_steps": 20,
                "decay_type": d,
                "warmup_type": w,
                "min_lr_ratio": m,
            },
            10,
            60,
        )
        for d, w, m in [("cosine", "linear", 0.0), ("linear", "cosine", 0.1), ("1-sqrt", "1-sqrt", 0.1)]
    ),
    ({"name": "warmup_stable_decay", "num_decay_steps": 30, "num_stable_steps": 30}, 0, None),
    ({"name": "warmup_stable_decay", "num_decay_steps": 0, "num_stable_steps": 30}, 10, None),
    ({"name": "cosine"}, 1000, 500_000),
    ({"name": "cosine_with_min_lr", **MIN}, 1430, 143_000),
]

BASE = {"lr": 0.1, "epochs": 60, "warmup_epochs": 5, "warmup_lr": 1e-3}
TIMM = [
    *(
        {"sched": s, **BASE, "min_lr": 1e-3, "warmup_prefix": p}
        for s in ("cosine", "tanh", "poly", "step")
        for p in (0, 1)
    ),
    {"sched": "cosine", "lr": 0.1},
    {"sched": "cosine", "lr": 0.1, "epochs": 10, "warmup_epochs": 0, "lr_cycle_limit": 3, "lr_cycle_decay": 0.5},
    {"sched": "cosine", **BASE, "epochs": 9, "lr_cycle_limit": 3, "lr_cycle_mul": 2.0, "lr_cycle_decay": 0.5},
    {"sched": "cosine", **BASE, "lr_k_decay": 1.5},
    {"sched": "tanh", **BASE, "epochs": 9, "lr_cycle_limit": 3, "lr_cycle_mul": 2.0, "warmup_prefix": True},
    {"sched": "poly", **BASE, "decay_rate": 0.9},
    {"sched": "poly", **BASE, "decay_rate": 2.0, "epochs": 20, "lr_cycle_limit": 3},
    {"sched": "step", **BASE, "decay_epochs": 7, "decay_rate": 0.97},
    {"sched": "multistep", **BASE, "decay_milestones": [10, 30, 30], "decay_rate": 0.2},
    {"sched": "multistep", **BASE, "decay_milestones": [10, 30], "warmup_prefix": True},
    {"sched": "multistep", "lr": 0.1, "warmup_epochs": 0, "decay_milestones": [0, 1]},
    {"sched": "constant", **BASE},
    {"sched": "cosine", **BASE, "sched_on_updates": True, "updates_per_epoch": 17},
    {"sched": "step", **BASE, "decay_epochs": 2, "sched_on_updates": True, "updates_per_epoch": 17},
    {"sched": "cosine", **BASE, "epochs": 1, "warmup_epochs": 0},
]


def torch_values(config, counts, lr=0.1, momentum=False):
    """The rates (or momenta) after `count` steps each."""
    import torch

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)
    scheduler = torch_scheduler(optimizer, config)
    key, values = ("momentum" if momentum else "lr"), []
    for t in range(max(counts) + 1):
        values.append(optimizer.param_groups[0][key])
        if config["name"] != "OneCycleLR" or t < 1999:
            optimizer.step()
            scheduler.step()
    return [float(values[t]) for t in counts]


def torch_scheduler(optimizer, config):
    """The scheduler that a config names, with those in it."""
    from torch.optim import lr_scheduler

    arguments = {k: v for k, v in config.items() if k != "name"}
    if "schedulers" in arguments:
        inner = [torch_scheduler(optimizer, c) for c in arguments.pop("schedulers")]
        if config["name"] == "ChainedScheduler":
            return lr_scheduler.ChainedScheduler(inner)
        return lr_scheduler.SequentialLR(optimizer, inner, **arguments)
    return getattr(lr_scheduler, config["name"])(optimizer, **arguments)


def torch_attributes():
    """The attributes of live schedulers with two parameter groups, as far as they are data, and their values."""
    import torch

    found = []
    for config in [TORCH[k] for k in (0, 4, 8, 10, 14, 18, 23, 26, 30, 34, 36, 38)]:
        groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.1, 0.02)]
        optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
        scheduler = torch_scheduler(optimizer, config)
        attributes, values = plain(scheduler), []
        for _ in range(64):
            values.append([float(g["lr"]) for g in optimizer.param_groups])
            optimizer.step()
            scheduler.step()
        found.append({"attributes": attributes, "values": values})
    return found


def plain(scheduler):
    """What is data among the attributes of a scheduler, with its class and its parameter groups."""
    found = {"class": type(scheduler).__name__}
    for key, x in vars(scheduler).items():
        if key == "_schedulers":
            found[key] = [plain(s) for s in x]
        elif isinstance(x, Counter):
            found[key] = list(x.elements())
        elif isinstance(x, str | int | float | None | list | tuple | dict) and not key.startswith("_scale"):
            with contextlib.suppress(TypeError):
                found[key] = json.loads(json.dumps(x))
    if hasattr(scheduler, "optimizer"):
        groups = scheduler.optimizer.param_groups
        found["param_groups"] = [{k: v for k, v in g.items() if isinstance(v, float | int)} for g in groups]
    return found


def plateau_values():
    """Metrics, and the rate that torch has after each."""
    import torch

    metrics = [
        3.0,
        2.0,
        2.0,
        2.0,
        2.0,
        2.0,
        1.0,
        1.0,
        1.5,
        1.25,
        1.0,
        1.0,
        1.0,
        1.0,
        1.0,
        1.0,
        1.0,
        1.0,
        0.5,
        0.75,
        0.75,
    ]
    found = []
    for arguments in (
        {"patience": 2, "factor": 0.5},
        {"patience": 0, "factor": 0.5, "min_lr": 0.01},
        {"patience": 1, "factor": 0.5, "cooldown": 2, "threshold": 0.25, "threshold_mode": "abs"},
        {"patience": 2, "factor": 0.5, "mode": "max"},
    ):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        scheduler, rates = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **arguments), []
        for metric in metrics:
            scheduler.step(metric)
            rates.append(optimizer.param_groups[0]["lr"])
        found.append({"arguments": arguments, "metrics": metrics, "rates": rates})
    return found


def keras_values(name, config, counts):
    """The rates in float64."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    keras.backend.set_floatx("float64")
    schedule = getattr(keras.optimizers.schedules, name)(**config)
    form = keras.optimizers.schedules.serialize(schedule)
    return form, [float(schedule(t)) for t in counts]


def transformers_values(kwargs, warmup, steps, counts, lr=0.1):
    """The rates by the lambda of the scheduler."""
    import torch
    from transformers import get_scheduler

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    own = {k: v for k, v in kwargs.items() if k != "name"}
    scheduler = get_scheduler(
        kwargs["name"], optimizer, num_warmup_steps=warmup, num_training_steps=steps, scheduler_specific_kwargs=own
    )
    return [lr * scheduler.lr_lambdas[0](t) for t in counts]


def timm_values(config, counts):
    """The rates of the scheduler that timm's factory makes of a config."""
    from types import SimpleNamespace

    import torch
    from timm.scheduler import create_scheduler

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=config["lr"])
    scheduler, _ = create_scheduler(SimpleNamespace(**config), optimizer, config.get("updates_per_epoch", 0))
    return [float(scheduler._get_lr(t)[0]) for t in counts]


def main():
    import keras
    import timm
    import torch
    import transformers

    from tests.reference.public_configs import PUBLIC

    warnings.simplefilter("ignore")
    record = {"versions": {m.__name__: m.__version__ for m in (torch, keras, transformers, timm)}}
    record |= {"short": SHORT, "far": FAR}
    record["torch"] = [{"config": c, "values": torch_values(c, SHORT)} for c in TORCH]
    record["momenta"] = [{"config": c, "values": torch_values(c, SHORT, momentum=True)} for c in MOMENTA]
    record["live"], record["plateau"] = torch_attributes(), plateau_values()
    record["keras"] = [dict(zip(("config", "values"), keras_values(*c, SHORT), strict=True)) for c in KERAS]
    record["transformers"] = []
    for kwargs, warmup, steps in TRANSFORMERS:
        counts = FAR if (steps or 0) > 1000 else SHORT
        config = {**kwargs, "num_warmup_steps": warmup, "num_training_steps": steps}
        values = transformers_values(kwargs, warmup, steps, counts)
        record["transformers"].append({"config": config, "values": values, "far": counts is FAR})
    record["timm"] = [{"config": c, "values": timm_values(c, SHORT)} for c in TIMM]
    record["public"] = {}
    for source, (library, config, more) in PUBLIC.items():
        if library == "torch":
            name = config["_target_"].rpartition(".")[2]
            own = {k: v for k, v in config.items() if not k.startswith("_")}
            values = torch_values({"name": name, **own}, SHORT, more["learning_rate"])
        elif library == "keras":
            values = keras_values(config["class_name"], config["config"], SHORT)[1]
        elif library == "transformers":
            own = {"name": config["lr_scheduler_type"], **config.get("lr_scheduler_kwargs", {})}
            steps = more.get("num_training_steps", config.get("max_steps"))
            warmup = config.get("warmup_steps") or math.ceil(steps * config.get("warmup_ratio", 0))
            values = transformers_values(own, warmup, steps, SHORT, config["learning_rate"])
        else:
            values = timm_values({**config, **more}, SHORT)
        record["public"][source] = values
    FILE.write_text(json.dumps(record, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
