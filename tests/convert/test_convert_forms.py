"""Rarer curves, as the other libraries were recorded to give them, and the forms in which configs come."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import lrx
from lrx.convert import from_keras, from_timm, from_torch, from_transformers, recognised
from tests.operations import by_operations
from tests.reference.record_convert import FUNCTIONS, with_functions

RECORD = json.loads((Path(__file__).parent.parent / "data" / "convert_more.json").read_text())
COUNTS = np.arange(31, dtype=np.int32)


def same(schedule, values, every=1):
    np.testing.assert_allclose(by_operations(schedule)(COUNTS)[::every][: len(values)], values, rtol=1e-6, atol=1e-14)
    assert lrx.from_json(schedule.to_json()) == schedule


@pytest.mark.parametrize("case", RECORD["timm"], ids=lambda case: case["config"]["sched"])
def test_timm(case):
    same(from_timm(case["config"]), case["values"])


def label(case):
    inner = [s["name"] for s in case["config"].get("schedulers", ())]
    return "-".join([case["config"]["name"], *inner])


@pytest.mark.parametrize("case", RECORD["torch"], ids=label)
def test_torch_where_one_scheduler_moves_the_base_of_another(case):
    same(from_torch(case["config"], learning_rate=0.1), case["values"])


@pytest.mark.parametrize("case", RECORD["warmup_stable_decay"], ids=lambda case: json.dumps(case["config"]))
def test_a_decay_that_is_too_long_for_the_run_has_begun_within_the_warmup(case):
    same(from_transformers(learning_rate=0.1, **case["config"]), case["values"])


@pytest.mark.parametrize("case", RECORD["transformers"], ids=lambda case: case["config"]["name"])
def test_waves_whose_period_is_too_long_for_int32(case):
    same(from_transformers(learning_rate=0.1, **case["config"]), case["values"], every=3)


@pytest.mark.parametrize("of", ["learning_rate", "momentum"])
@pytest.mark.parametrize("anneal", ["cos", "linear"])
def test_one_cycle_of_torch_without_a_rise_begins_past_its_top(anneal, of):
    config = {"name": "OneCycleLR", "max_lr": 0.1, "total_steps": 5, "pct_start": 0.0, "anneal_strategy": anneal}
    same(from_torch(config, of=of), RECORD["one_cycle_without_a_rise"][anneal][of])


STEP = {"name": "StepLR", "step_size": 3}
COSINE = {"name": "CosineAnnealingLR", "T_max": 9}
LAMBDA = {"name": "LambdaLR", "lr_lambda": FUNCTIONS["branch"]}


@pytest.mark.parametrize("case", RECORD["torch_with_length"], ids=label)
def test_torch_where_a_rate_follows_from_the_one_before(case):
    same(from_torch(with_functions(case["config"]), learning_rate=0.1, total_steps=31), case["values"])


def test_live_schedulers_of_functions_take_a_length():
    groups = [{"lr": 0.1}, {"lr": 0.2}]
    held = {"base_lrs": [0.1, 0.2], "lr_lambdas": [FUNCTIONS["third"], FUNCTIONS["branch"]]}
    for name in ("LambdaLR", "MultiplicativeLR"):
        live = type(name, (), {**held, "optimizer": SimpleNamespace(param_groups=groups)})()
        for schedule, lr, f in zip(from_torch(live, total_steps=31), held["base_lrs"], held["lr_lambdas"], strict=True):
            factors = np.array([f(t) for t in range(31)])
            same(schedule, lr * (factors if name == "LambdaLR" else np.cumprod([1.0, *factors[1:]])))
    with pytest.raises(ValueError, match=r"total_steps=...\) must be given for MultiplicativeLR"):
        from_torch(live)


def test_many_factors_multiply_in_float64():
    """Those of float32 would be 1e-4 off."""
    n = 10_000
    schedule = from_torch("MultiplicativeLR", learning_rate=0.1, lr_lambda=lambda t: 0.9999, total_steps=n)
    np.testing.assert_allclose(schedule(np.arange(n)), 0.1 * 0.9999 ** np.arange(n), rtol=1e-6)
    assert schedule(3 * n) == schedule(n - 1)


def test_a_constant_of_no_iterations_counts_as_the_first_of_a_sequence_alone():
    none = {"name": "ConstantLR", "factor": 0.5, "total_iters": 0}
    schedule = from_torch("SequentialLR", learning_rate=0.5, schedulers=[none, none], milestones=[2])
    assert list(schedule(np.arange(4))) == [0.25, 0.25, 0.5, 0.5]


def test_the_forms_of_hydra_and_lightning():
    plain = from_torch(STEP, learning_rate=0.1)
    hydra = {"_target_": "torch.optim.lr_scheduler.StepLR", "_convert_": "all", "_recursive_": False, "step_size": "3"}
    lightning = {"scheduler": hydra, "interval": "step", "frequency": 4, "name": "rate"}
    assert from_torch(hydra, learning_rate="1e-1") == plain
    assert from_torch(lightning, learning_rate=0.1) == lrx.every(plain, 4)
    assert recognised({"scheduler": {**STEP, "lr": 0.1}}) == plain


def test_training_arguments_as_an_object_with_strings():
    plain = from_transformers(
        "cosine_with_min_lr", learning_rate=2e-5, num_warmup_steps=7, num_training_steps=100, min_lr=1e-6
    )
    held = {"lr_scheduler_type": "cosine_with_min_lr", "learning_rate": "2e-5", "max_steps": "100", "warmup_steps": 7.5}
    arguments = SimpleNamespace(**held, lr_scheduler_kwargs='{"min_lr": 1e-6}', warmup_ratio=None)
    assert from_transformers(arguments) == from_transformers(vars(arguments)) == plain
    own = {"num_warmup_steps": "7", "num_training_steps": "100", "scheduler_specific_kwargs": {"min_lr": 1e-6}}
    assert from_transformers("cosine_with_min_lr", learning_rate=2e-5, **own) == plain


def test_the_two_sets_of_names_of_timm():
    old = {"sched": "cosine", "lr": 0.1, "epochs": 300, "warmup_epochs": 0, "sched_on_updates": True}
    new = {"lr": 0.1, "step_on_epochs": False}
    assert from_timm(new, updates_per_epoch=2) == from_timm(old, updates_per_epoch=2)
    assert from_timm({"lr": 0.1, "sched": "none", "num_epochs": 5}) == lrx.constant_schedule(0.1)
    assert from_timm({"lr": 0.1, "sched": "plateau", "plateau_mode": "min"}).mode == "min"


TIMM = {"sched": "cosine", "lr": 0.1, "epochs": 10}
ERRORS = {
    "flag": (lambda: from_timm({**TIMM, "warmup_prefix": "false"}), "warmup_prefix=...) must be True or False"),
    "torch_flag": (
        lambda: from_torch("OneCycleLR", max_lr=0.1, total_steps=9, three_phase="False"),
        "three_phase=...) must be True or False",
    ),
    "timm_mixed": (lambda: from_timm({**TIMM, "cycle_mul": 2.0}), "cycle_mul=...) must not be mixed with epochs"),
    "timm_kind": (lambda: from_timm(3), "from_timm(config=...) must be a dict or an object"),
    "timm_decay": (
        lambda: from_timm({**TIMM, "sched": "wsd", "decay_epochs": 9}),
        "decay_epochs=...) must make a decay of 1 to 5",
    ),
    "timm_scale": (
        lambda: from_timm({**TIMM, "sched": "rsqrt", "decay_epochs": 2, "warmup_epochs": 0}),
        "lr_stable_timescale=...) must be given where there is no warmup",
    ),
    "list": (lambda: from_torch("MultiStepLR", learning_rate=0.1, milestones=30), "milestones=...) must be a list"),
    "dict": (lambda: from_torch({**STEP, "args": [3]}, learning_rate=0.1), "args=...) must be a dict of arguments"),
    "keras_dict": (lambda: from_keras({"class_name": "CosineDecay", "config": [1]}), "config=...) must be a dict"),
    "kwargs": (
        lambda: from_transformers({"lr_scheduler_type": "constant", "lr_scheduler_kwargs": "x"}),
        "lr_scheduler_kwargs=...) must be a dict",
    ),
    "share": (
        lambda: from_transformers({"max_steps": 10, "warmup_ratio": 2}),
        "from_transformers(warmup_ratio=...) must not exceed 1",
    ),
    "none": (
        lambda: from_transformers("constant", learning_rate=1, last_epoch=3),
        "last_epoch=...) is no argument of constant. It has none.",
    ),
    "waves": (
        lambda: from_transformers("cosine", learning_rate=1, num_training_steps=10**6, num_cycles=2**0.5),
        "num_cycles=...) must be a fraction of which int32 can count 1000000 steps",
    ),
    "sequence": (
        lambda: from_torch("SequentialLR", learning_rate=0.1, schedulers=[STEP] * 3, milestones=[5, 3]),
        "milestones=...) must not decrease, got [5, 3]",
    ),
    "sequence_plateau": (
        lambda: from_torch(
            "SequentialLR", learning_rate=0.1, schedulers=[STEP, {"name": "ReduceLROnPlateau"}], milestones=[5]
        ),
        "schedulers=...) must be curves",
    ),
    "sequence_cycle": (
        lambda: from_torch(
            "SequentialLR",
            learning_rate=0.1,
            schedulers=[COSINE, {"name": "OneCycleLR", "max_lr": 0.3, "total_steps": 9}],
            milestones=[5],
        ),
        "schedulers=...) must begin with one of StepLR",
    ),
    "chain_cosine": (
        lambda: from_torch("ChainedScheduler", learning_rate=0.1, schedulers=[COSINE, STEP]),
        "from_torch(total_steps=...) must be given for a ChainedScheduler of CosineAnnealingLR, StepLR",
    ),
    "chain_function": (
        lambda: from_torch("ChainedScheduler", learning_rate=0.1, schedulers=[{**LAMBDA, "lr_lambda": 3}, STEP]),
        "from_torch(total_steps=...) must be given for a ChainedScheduler of LambdaLR, StepLR",
    ),
    "multiplicative": (
        lambda: from_torch({**LAMBDA, "name": "MultiplicativeLR"}, learning_rate=0.1),
        "from_torch(total_steps=...) must be given for MultiplicativeLR",
    ),
    "function": (
        lambda: from_torch({**LAMBDA, "lr_lambda": 3}, learning_rate=0.1),
        "from_torch(lr_lambda=...) must be a function of the step, got 3",
    ),
    "branches": (
        lambda: from_torch(LAMBDA, learning_rate=0.1),
        "Give total_steps=, and it is evaluated step by step",
    ),
    "branches_in_cycles": (
        lambda: from_torch("CyclicLR", base_lr=0.1, max_lr=0.2, scale_fn=FUNCTIONS["branch"]),
        "from_torch(scale_fn=...) must be a function that JAX can trace",
    ),
    "nested": (
        lambda: from_torch(
            "SequentialLR", learning_rate=0.1, schedulers=[{"name": "SequentialLR"}, STEP], milestones=[3]
        ),
        "schedulers=...) must not begin with a SequentialLR",
    ),
    "sequence_momentum": (
        lambda: from_torch("SequentialLR", of="momentum", schedulers=[STEP], milestones=[]),
        "of=...) must be 'learning_rate' for SequentialLR",
    ),
    "turns": (
        lambda: from_torch("OneCycleLR", max_lr=0.1, total_steps=10, pct_start=1.0),
        "pct_start=...) must put its turns between 0 and 9",
    ),
    "lightning": (
        lambda: from_torch({"scheduler": STEP, "begin": 3}, learning_rate=0.1),
        "scheduler=...) must have no key but scheduler, interval",
    ),
    "frequency": (
        lambda: from_torch({"scheduler": {"name": "ReduceLROnPlateau"}, "frequency": 2}, learning_rate=0.1),
        "frequency=...) must be 1 for ReduceLROnPlateau",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    call, message = ERRORS[case]
    with pytest.raises((ValueError, TypeError)) as error:
        call()
    assert message in str(error.value)


def test_a_constant_factor_of_zero_that_ends_is_refused():
    """torch divides by it at the end; one that never ends is 0 for ever."""
    rule = r"from_torch\(factor=...\) must be positive where it ends, after total_iters=5"
    with pytest.raises(ValueError, match=rule):
        from_torch("ConstantLR", learning_rate=0.1, factor=0.0)
    assert from_torch("ConstantLR", learning_rate=0.1, factor=0.0, total_iters=0)(3) == 0
