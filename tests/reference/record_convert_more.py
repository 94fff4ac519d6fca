"""Record further values of schedulers: `python tests/reference/record_convert_more.py`.

They are in `tests/data/convert_more.json`.
It prints the JSON of chains with a cosine, cycles inside sequences, SWALR, timm's poly with k-decay and a WSD that is
longer than its run, and of rates of torch that follow from the one before. It needs what `record_convert.py` needs;
recorded with torch 2.14.1 on CPU, the last with 2.13.0.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import record_convert as record

COUNTS = range(31)
WARM = {"name": "LinearLR", "start_factor": 0.1, "total_iters": 4}
ONE = {"name": "OneCycleLR", "max_lr": 0.3, "total_steps": 40}
CYCLIC = {"name": "CyclicLR", "base_lr": 0.01, "max_lr": 0.2, "step_size_up": 3}
COSINE = {"name": "CosineAnnealingLR", "T_max": 9}
FALL = {"name": "ExponentialLR", "gamma": 0.9}
DROPS = [COSINE, {"name": "MultiStepLR", "milestones": [3, 7], "gamma": 0.5}, {"name": "ConstantLR"}]
FIFTH = {"name": "ConstantLR", "factor": 0.2}


def chained(*schedulers):
    return {"name": "ChainedScheduler", "schedulers": [*schedulers]}


def sequence(*schedulers, at):
    return {"name": "SequentialLR", "schedulers": [*schedulers], "milestones": at}


TORCH = [
    chained(WARM, COSINE),
    chained(*DROPS),
    sequence(WARM, ONE, at=[4]),
    sequence(WARM, ONE, COSINE, at=[4, 12]),
    sequence(FIFTH, COSINE, ONE, at=[4, 12]),
    sequence(CYCLIC, FALL, at=[8]),
    sequence(WARM, CYCLIC, FALL, ONE, COSINE, at=[4, 8, 12, 15]),
    sequence(ONE, CYCLIC, at=[8]),
]
LAMBDA = {"name": "LambdaLR", "lr_lambda": "branch"}
MULTIPLY = {"name": "MultiplicativeLR", "lr_lambda": "third"}
RISE = {"name": "LinearLR", "start_factor": 0.1, "total_iters": 5}
FLOOR = {"name": "CosineAnnealingLR", "T_max": 9, "eta_min": 0.01}
STEP = {"name": "StepLR", "step_size": 4, "gamma": 0.5}
HALF = {"name": "ConstantLR", "factor": 0.5, "total_iters": 6}
SQUARE = {"name": "PolynomialLR", "total_iters": 12, "power": 2.0}
AGAIN = {"name": "CosineAnnealingWarmRestarts", "T_0": 5, "T_mult": 2, "eta_min": 0.001}
WITH_LENGTH = [
    LAMBDA,
    MULTIPLY,
    chained(FLOOR),
    chained(RISE, FLOOR),
    chained(FLOOR, STEP, HALF),
    chained(FLOOR, {**FLOOR, "T_max": 4, "eta_min": 0.0}, SQUARE),
    chained({**FLOOR, "eta_min": 0.0}, {"name": "MultiStepLR", "milestones": [3, 7, 7], "gamma": 0.5}, FALL),
    chained(FALL, LAMBDA),
    chained(LAMBDA, STEP),
    chained(FALL, AGAIN, MULTIPLY),
    chained(MULTIPLY, chained(SQUARE, RISE)),
    sequence(RISE, MULTIPLY, at=[5]),
    sequence(MULTIPLY, LAMBDA, MULTIPLY, at=[4, 9]),
    sequence(chained(FALL, SQUARE, FLOOR, MULTIPLY), STEP, at=[8]),
]
SWA = [
    {"swa_lr": 0.02},
    {"swa_lr": 0.5, "anneal_epochs": 5, "anneal_strategy": "linear"},
    {"swa_lr": 0.02, "anneal_epochs": 0},
    {"swa_lr": 0.02, "anneal_epochs": 1},
]
POLY = {"lr": 0.1, "epochs": 20, "warmup_epochs": 4, "warmup_lr": 1e-3, "sched": "poly"}
TIMM = [
    {**POLY, "lr_k_decay": 2.0, "decay_rate": 0.9, "min_lr": 1e-3},
    {**POLY, "epochs": 9, "lr_k_decay": 0.5, "decay_rate": 2.0, "lr_cycle_limit": 2},
]
WSD = [
    (10, 20, {"num_decay_steps": 15}),
    (10, 20, {"num_decay_steps": 15, "decay_type": "linear", "min_lr_ratio": 0.1}),
    (10, 20, {"num_decay_steps": 15, "decay_type": "1-sqrt"}),
    (25, 20, {"num_decay_steps": 15, "min_lr_ratio": 0.1}),
    (10, 10, {"num_decay_steps": 15}),
]


def swa_after_a_rise():
    """SWALR starts from the rate that it finds."""
    import torch

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    parts = [record.torch_scheduler(optimizer, RISE), torch.optim.swa_utils.SWALR(optimizer, swa_lr=0.02)]
    scheduler, values = torch.optim.lr_scheduler.SequentialLR(optimizer, parts, [5]), []
    for _ in COUNTS:
        values.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return sequence(RISE, {"name": "SWALR", "swa_lr": 0.02}, at=[5]), values


def swa_values(arguments):
    import torch

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = torch.optim.swa_utils.SWALR(optimizer, **arguments)
    values = []
    for _ in COUNTS:
        values.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return values


def wsd_case(warmup, steps, arguments):
    config = {"name": "warmup_stable_decay", **arguments}
    values = record.transformers_values(config, warmup, steps, COUNTS)
    return {**config, "num_warmup_steps": warmup, "num_training_steps": steps}, values


def shown(pairs):
    return [{"config": config, "values": [float(f"{v:.10g}") for v in values]} for config, values in pairs]


if __name__ == "__main__":
    torch_cases = [(config, record.torch_values(config, COUNTS)) for config in TORCH]
    torch_cases += [({"name": "SWALR", **arguments}, swa_values(arguments)) for arguments in SWA]
    timm_cases = [(config, record.timm_values(config, COUNTS)) for config in TIMM]
    wsd_cases = [wsd_case(*case) for case in WSD]
    long_cases = [(config, record.torch_values(record.with_functions(config), COUNTS)) for config in WITH_LENGTH]
    long_cases += [swa_after_a_rise()]
    found = {"torch": torch_cases, "timm": timm_cases, "wsd": wsd_cases, "torch_with_length": long_cases}
    print(json.dumps({key: shown(cases) for key, cases in found.items()}))
