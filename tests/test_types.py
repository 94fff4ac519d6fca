"""What the annotations of the public factories say: to a type checker, at run time, and to a reader of `help`."""

import contextlib
import inspect
import json
import pydoc
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import jax.numpy as jnp
import numpy as np
import pytest

import lrx
from lrx._numbers import Scalar

ROOT = Path(__file__).parent
KINDS = {
    name: kind
    for name, x in inspect.getmembers(lrx, inspect.isfunction)
    if x.__module__.startswith("lrx.") and isinstance(kind := get_type_hints(x).get("return"), type)
    if issubclass(kind, lrx.Transformation | lrx.Schedule | lrx.Controller)
}
"""What each factory makes, by its name."""


def arguments(name, *annotations):
    """The arguments of a factory that are annotated as one of these, or as one of these or None."""
    hints = get_type_hints(getattr(lrx, name))
    del hints["return"]
    return [
        argument for argument, hint in hints.items() if hint in annotations or hint in [a | None for a in annotations]
    ]


VARYING = {name: arguments(name, lrx.Hyperparameter, lrx.LearningRate) for name in KINDS}
NUMBERS = {name: arguments(name, Scalar) for name in KINDS}


def required(name, besides):
    """The other arguments that the factory must have."""
    parameters = inspect.signature(getattr(lrx, name)).parameters.values()
    named = [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
    return [argument for argument in named if argument not in besides]


# ---------------------------------------------------------------- at run time

FALLING = lrx.linear_schedule(0.5, 0.25, 10)
OTHERS = dict.fromkeys(("tx", "inner", "base_optimizer", "fast_optimizer"), lrx.sgd(0.1)) | dict(depths={}, seed=0)
"""Where something else is required than a number."""
OPTIONS = {
    ("scale_by_lion", "smooth_beta"): dict(mode="smooth"),
    ("with_weight_decay", "max_learning_rate"): dict(law="squared"),
}
"""Those under which an argument counts."""


def made(name, argument, value):
    others = {other: OTHERS.get(other, 1) for other in required(name, [argument])}
    return getattr(lrx, name)(**others, **OPTIONS.get((name, argument), {}), **{argument: value})


def in_range(name, argument):
    """A number that the factory takes as a float, a whole one if there is one."""
    for value in (1.0, 0.0, 5.0):
        with contextlib.suppress(ValueError):
            made(name, argument, value)
            return value
    return 0.9


def test_what_is_annotated_as_a_hyperparameter_takes_a_schedule_and_every_kind_of_number():
    assert sum(map(len, VARYING.values())) > 430
    for name, argument in [(name, argument) for name, found in VARYING.items() for argument in found]:
        assert "linear_schedule" in repr(made(name, argument, FALLING)), (name, argument)
        value = in_range(name, argument)
        for kind in (float, np.float32, jnp.float32, np.array) + (int, np.int64) * value.is_integer():
            made(name, argument, kind(value))


def test_every_real_number_of_a_transformation_is_annotated_so():
    assert {
        name: found for name, found in NUMBERS.items() if found and issubclass(KINDS[name], lrx.Transformation)
    } == {}


def test_help_shows_the_names():
    shown = pydoc.plain(pydoc.render_doc(lrx.sgd))
    assert "sgd(learning_rate: lrx.LearningRate, momentum: Optional[lrx.Hyperparameter] = None" in shown


# ---------------------------------------------------------------- to a type checker

NUMBER = "float | int | jax.Array | np.ndarray | np.float32 | np.int64"


def uses():
    """A function that calls every factory with everything that its annotations should let through."""
    yield f"Number = {NUMBER}"
    yield "def uses(number: Number, varying: Number | lrx.Schedule | optax.Schedule, other: Any):"
    for name in KINDS:
        given = dict.fromkeys(required(name, []), "other")
        given |= dict.fromkeys(NUMBERS[name], "number") | dict.fromkeys(VARYING[name], "varying")
        yield f"    lrx.{name}({', '.join(f'{argument}={value}' for argument, value in given.items())})"


VALID = """
from typing import Any

import jax, jax.numpy as jnp, numpy as np, optax
import pytest

import lrx
from lrx import extend

lrx.adam(1)
lrx.adam(1e-3, b1=0.8)
lrx.adam(np.float64(1e-3))
lrx.adam(jnp.float32(1e-3))
lrx.adam(lrx.cosine_decay_schedule(0.1, 100) * 0.5)
lrx.adam(optax.linear_schedule(0.1, 0.0, 10))
lrx.adam(lambda count: 0.1 / (1 + count))
lrx.adam(lrx.plateau(lrx.polyak(0.1), mode="max", metric="reported", nan="skip"))
rate: lrx.LearningRate = lrx.dog()
lrx.chain(lrx.clip(1.0), optax.scale_by_adam(), lrx.scale_by_learning_rate(rate))
lrx.wsd_schedule(0.1, 10, decay_steps=10, total_steps=100, shape="mirror-cosine")
lrx.warmup_cosine_decay_schedule(0.0, 0.1, 0.05 * 1234, 1234.5)
state = lrx.adamw(1e-3).init({"w": jnp.ones(2)})
state["scale_by_adam"].mu
adam: lrx.ScaleByAdamState = state["scale_by_adam"].memory
accumulating = lrx.MultiSteps(lrx.adam(1e-3), 4).gradient_transformation()
tx: lrx.GradientTransformation = lrx.contrib.dog(init_step=("distance", 0.1))
lrx.multi_transform({"a": lrx.adam(1e-3), "b": lrx.set_to_zero()}, {"w": "a"})
lrx.contrib.COCOBState, lrx.transforms.unitwise_clip, lrx.schedules.inject_hyperparams, lrx.monitor
found: lrx.Found
best: lrx.Best
number: lrx.Hyperparameter = lambda count: 0.9
lrx.prodigy(betas=(number, np.float32(0.999)))
lrx.dadapt_adamw(betas=(number, 0.999))

@extend.pytree_dataclass
class Half(extend.Rule):
    decay: extend.Scalar = 0.5

extend.transformation(Half(number))
"""
WRONG = """
import pytest

import lrx

lrx.adam("nonsense")
lrx.plateau(0.1, mode="maxx")
lrx.plateau(0.1, metric="loss")
lrx.plateau(0.1, nan="ignore")
lrx.hypergradient(0.1, hyper_learning_rate=1e-3, mode="add")
lrx.polyak(0.1, variant="sps-")
lrx.wsd_schedule(0.1, 10, decay_steps=10, total_steps=100, shape="sqrt")
lrx.with_warmup(0.1, 10, shape="cos")
lrx.triangular_schedule(0.1, 0.2, half_cycle_steps=3, mode="triangle")
lrx.interpolated_schedule([0], [0.1], kind="spline")
lrx.master_weights(lrx.adam(0.1), "up")
lrx.with_weight_decay(lrx.adam(0.1), 0.1, law="cube")
lrx.scale_by_lion(mode="soft")
lrx.adan(0.1, convention="torch")
lrx.transfer_batch_size(0.1, 8, 16, rule="cube")
lrx.adam(b1=0.9)
lrx.scale_by_adam(b1="0.9")
lrx.rprop(lrx.dog())
lrx.cosine_decay_schedule(lambda count: 0.1, 100)
lrx.hypergradient(0.1, hyper_learning_rate=lambda count: 0.1)
lrx.cosine_decay_schedule("0.1", 100)
lrx.adma(0.1)
lrx.softmax_cross_entropy()
lrx.contrib.adma(0.1)
lrx.schedules.linear_schedul(0.1)
lrx.MultiSteps()
"""


@pytest.fixture(scope="module")
def errors(tmp_path_factory):
    """The lines that pyright finds fault with, in each of the two files."""
    pytest.importorskip("pyright")
    folder = tmp_path_factory.mktemp("types")
    (folder / "valid.py").write_text(VALID + "\n".join(uses()))
    (folder / "wrong.py").write_text(WRONG)
    settings = {"typeCheckingMode": "standard", "reportUnusedExpression": False, "extraPaths": [str(ROOT.parent)]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", "-p", str(folder)]
    out = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    found = json.loads(out.stdout)
    assert found["summary"]["filesAnalyzed"] == 2, out.stderr
    lines = {"valid.py": {}, "wrong.py": {}}
    for error in found["generalDiagnostics"]:
        lines[Path(error["file"]).name][error["range"]["start"]["line"]] = error["message"]
    return lines


def test_valid_arguments_are_no_type_errors(errors):
    assert errors["valid.py"] == {}


def test_wrong_arguments_are_type_errors(errors):
    calls = [i for i, line in enumerate(WRONG.splitlines()) if line.startswith("lrx.")]
    assert [WRONG.splitlines()[i] for i in calls if i not in errors["wrong.py"]] == []
