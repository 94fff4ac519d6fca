"""Converted schedules equal what the other libraries were recorded to give, at every step, and go to JSON."""

import json
from collections import Counter
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import lrx
from lrx.convert import from_keras, from_timm, from_torch, from_transformers
from tests.operations import by_operations
from tests.reference.public_configs import PUBLIC

RECORD = json.loads((Path(__file__).parent.parent / "data" / "convert.json").read_text())
COUNTS = {far: np.array(RECORD["far" if far else "short"], np.int32) for far in (False, True)}


def same(schedule, values, far=False):
    """Equal to 1e-6 relative, but for what float64 leaves of a 0."""
    floor = 1e-14 * max(map(abs, values))
    rates = by_operations(schedule)(COUNTS[far][: len(values)])
    np.testing.assert_allclose(rates, values, rtol=1e-6, atol=floor)
    assert lrx.from_json(schedule.to_json()) == schedule


def label(case):
    config = case["config"]
    return config.get("name") or config.get("sched") or config.get("class_name")


@pytest.mark.parametrize("case", RECORD["torch"], ids=label)
def test_torch(case):
    same(from_torch(case["config"], learning_rate=0.1), case["values"])


@pytest.mark.parametrize("case", RECORD["momenta"], ids=label)
def test_momenta_of_torch(case):
    same(from_torch(case["config"], of="momentum"), case["values"])


@pytest.mark.parametrize("case", RECORD["keras"], ids=label)
def test_keras(case):
    same(from_keras(case["config"]), case["values"])


@pytest.mark.parametrize("case", RECORD["transformers"], ids=label)
def test_transformers(case):
    same(from_transformers(learning_rate=0.1, **case["config"]), case["values"], case["far"])


@pytest.mark.parametrize("case", RECORD["timm"], ids=label)
def test_timm(case):
    same(from_timm(case["config"]), case["values"])


@pytest.mark.parametrize("source", PUBLIC)
def test_public_configs(source):
    library, config, more = PUBLIC[source]
    convert = {"torch": from_torch, "keras": from_keras, "transformers": from_transformers, "timm": from_timm}[library]
    same(convert(config, **more), RECORD["public"][source])


# ---------------------------------------------------------------- live objects


def alive(attributes):
    """An object with the recorded class and attributes."""
    attributes = dict(attributes)
    groups = attributes.pop("param_groups", None)
    x = type(attributes.pop("class"), (), {})()
    for key, value in attributes.items():
        setattr(x, key, value)
    if isinstance(attributes.get("milestones"), list):
        x.milestones = Counter(attributes["milestones"])
    if "_schedulers" in attributes:
        x._schedulers = [alive(s) for s in attributes["_schedulers"]]
    if groups is not None:
        x.optimizer = type("SGD", (), {"param_groups": groups})()
    return x


@pytest.mark.parametrize("case", RECORD["live"], ids=lambda case: case["attributes"]["class"])
def test_live_schedulers_of_torch_give_a_schedule_for_each_group(case):
    schedules = from_torch(alive(case["attributes"]))
    assert len(schedules) == 2
    for schedule, values in zip(schedules, zip(*case["values"], strict=True), strict=True):
        counts = COUNTS[False][COUNTS[False] < len(values)]
        np.testing.assert_allclose(by_operations(schedule)(counts), np.array(values)[counts], rtol=1e-6, atol=1e-10)


def test_one_group_gives_a_schedule():
    optimizer = type("SGD", (), {"param_groups": [{"lr": 0.1}]})()
    live = type("StepLR", (), {"base_lrs": [0.1], "step_size": 2, "gamma": 0.5, "optimizer": optimizer})()
    assert from_torch(live) == from_torch("StepLR", learning_rate=0.1, step_size=2, gamma=0.5)


def test_live_schedules_of_keras_are_read_by_get_config():
    config = {"initial_learning_rate": 0.1, "decay_steps": 9, "alpha": 0.0}
    live = type("CosineDecay", (), {"get_config": lambda self: config})()
    form = {"class_name": "CosineDecay", "config": config, "module": "keras.optimizers.schedules"}
    adam = {"class_name": "Adam", "config": {"learning_rate": form, "beta_1": 0.9}}
    assert from_keras(live) == from_keras(form) == from_keras(adam) == from_keras({"optimizer": adam})
    assert from_keras({"class_name": "Adam", "config": {"learning_rate": 0.25}}) == lrx.constant_schedule(0.25)


# ---------------------------------------------------------------- controllers and functions


@pytest.mark.parametrize("case", RECORD["plateau"], ids=lambda case: json.dumps(case["arguments"]))
def test_plateau_cuts_when_torch_cuts(case):
    tx = lrx.sgd(from_torch("ReduceLROnPlateau", learning_rate=0.1, **case["arguments"]))
    state, rates, update = tx.init(jnp.zeros(2)), [], by_operations(tx.update)
    for metric in case["metrics"]:
        _, state = update(np.ones(2, np.float32), lrx.report(state, metric))
        rates.append(float(lrx.learning_rate(state)))
    np.testing.assert_allclose(rates, case["rates"], rtol=1e-6)


def test_functions_of_the_user_are_kept():
    schedule = from_torch("LambdaLR", learning_rate=0.5, lr_lambda=lambda t: 1 / (1 + t))
    np.testing.assert_allclose(schedule(np.arange(4)), 0.5 / np.arange(1, 5))
    with pytest.raises(TypeError, match="holds code, which JSON cannot"):
        schedule.to_json()
    product = from_torch("MultiplicativeLR", learning_rate=1.0, lr_lambda=lambda t: 1 / t, total_steps=5)
    np.testing.assert_allclose(product(np.arange(5)), [1, 1, 1 / 2, 1 / 6, 1 / 24], rtol=1e-6)
    cycle = {"base_lr": 0.0, "max_lr": 1.0, "step_size_up": 2}
    halved = from_torch("CyclicLR", **cycle, scale_fn=lambda x: 1 / 2.0 ** (x - 1))
    named = from_torch("CyclicLR", **cycle, mode="triangular2")
    assert list(by_operations(halved)(np.arange(8))) == list(by_operations(named)(np.arange(8)))


def test_arguments_may_be_nested_or_beside_the_name():
    plain = from_torch("StepLR", learning_rate=0.1, step_size=3)
    for config in (
        {"_target_": "torch.optim.lr_scheduler.StepLR", "_partial_": True, "step_size": 3, "lr": 0.1},
        {"class_path": "torch.optim.lr_scheduler.StepLR", "init_args": {"step_size": 3}, "learning_rate": "1e-1"},
        {"type": "StepLR", "params": {"step_size": 3.0, "last_epoch": -1}, "lr": 0.1},
    ):
        assert from_torch(config) == plain


# ---------------------------------------------------------------- errors

LINEAR = {"learning_rate": 0.1, "num_warmup_steps": 1}
ERRORS = {
    "torch_name": (
        lambda: from_torch("Step", learning_rate=0.1),
        "from_torch(scheduler=...) must be a scheduler of torch",
    ),
    "torch_lists": (lambda: from_torch({"name": "cosine"}), "There are: StepLR, MultiStepLR"),
    "torch_missing": (lambda: from_torch("StepLR", learning_rate=0.1), "from_torch(step_size=...) must be given"),
    "torch_unknown": (lambda: from_torch("StepLR", learning_rate=0.1, step=1), "from_torch(step=...) is no argument"),
    "torch_rate": (lambda: from_torch("ExponentialLR", gamma=0.9), "from_torch(learning_rate=...) must be given"),
    "torch_factor": (
        lambda: from_torch("ConstantLR", learning_rate=0.1, factor=2.0),
        "from_torch(factor=...) must not exceed 1, got 2.0",
    ),
    "torch_start": (lambda: from_torch("LinearLR", learning_rate=0.1, start_factor=0.0), "must be positive"),
    "torch_length": (
        lambda: from_torch("CosineAnnealingLR", learning_rate=0.1, T_max=0),
        "T_max=...) must be at least 1",
    ),
    "torch_momentum": (lambda: from_torch("StepLR", of="momentum", step_size=1), "moves no momentum"),
    "torch_one_cycle": (
        lambda: from_torch("OneCycleLR", max_lr=0.1, epochs=3),
        "total_steps=...) must be given, or epochs",
    ),
    "torch_chain": (
        lambda: from_torch(
            "ChainedScheduler", learning_rate=0.1, schedulers=[{"name": "OneCycleLR", "max_lr": 0.1, "total_steps": 9}]
        ),
        "CosineAnnealingWarmRestarts, got 'OneCycleLR'",
    ),
    "torch_object": (lambda: from_torch(3), "must be a scheduler of torch, its name, or its config"),
    "keras_name": (lambda: from_keras({"class_name": "Cosine"}), "There are: ExponentialDecay, PiecewiseConstantDecay"),
    "keras_missing": (
        lambda: from_keras({"class_name": "CosineDecay"}),
        "from_keras(initial_learning_rate=...) must be",
    ),
    "keras_cycles": (
        lambda: from_keras(
            {
                "class_name": "CosineDecayRestarts",
                "config": {"initial_learning_rate": 1, "first_decay_steps": 3, "t_mul": 1.5},
            }
        ),
        "from_keras(t_mul=...) must give cycles of whole steps",
    ),
    "keras_kind": (lambda: from_keras(3), "from_keras(schedule=...) must be a schedule of Keras"),
    "transformers_name": (lambda: from_transformers("cos", learning_rate=1), "There are: linear, cosine"),
    "transformers_greedy": (
        lambda: from_transformers("greedy", learning_rate=1),
        "from_transformers(name=...) must be a curve or a plateau",
    ),
    "transformers_length": (lambda: from_transformers("linear", **LINEAR), "num_training_steps=...) must be given"),
    "transformers_least": (
        lambda: from_transformers("cosine_with_min_lr", **LINEAR, num_training_steps=9),
        "from_transformers(min_lr=...) must be given, or min_lr_rate",
    ),
    "transformers_unknown": (
        lambda: from_transformers("linear", **LINEAR, num_training_steps=9, power=1),
        "from_transformers(power=...) is no argument of linear",
    ),
    "transformers_end": (
        lambda: from_transformers("polynomial", **LINEAR, num_training_steps=9, lr_end=0.2),
        "lr_end=...) must be less than learning_rate=0.1",
    ),
    "timm_name": (lambda: from_timm({"sched": "cos", "lr": 0.1}), "from_timm(sched=...) must be a schedule of timm"),
    "timm_missing": (lambda: from_timm({"sched": "cosine"}), "from_timm(lr=...) must be given"),
    "timm_noise": (lambda: from_timm({"sched": "cosine", "lr": 0.1, "lr_noise": 0.5}), "lr_noise=...) must be None"),
    "timm_updates": (
        lambda: from_timm({"sched": "cosine", "lr": 0.1, "sched_on_updates": True}),
        "from_timm(updates_per_epoch=...) must be at least 1",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_the_arguments_of_the_original(case):
    call, message = ERRORS[case]
    with pytest.raises((ValueError, TypeError)) as error:
        call()
    assert message in str(error.value)
