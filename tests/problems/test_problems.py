"""The Problem record, the ready problems, and loading one by name."""

import builtins
import dataclasses
import functools
import importlib
import random

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrx.problems import Problem, diabetes, digits, load, mnist1d, text
from tests.common import same


def module(name):
    """The module behind a function of the same name."""
    return importlib.import_module(f"lrx.problems.{name}")


def init(key):
    return jnp.zeros(3)


def loss(params, batch, key=None):
    return jnp.sum((params - batch) ** 2)


def loss_with_state(params, mean, batch, key=None):
    return loss(params, batch - mean), 0.9 * mean + 0.1 * batch


def sample(key):
    return jax.random.normal(key, (3,))


# ---------------------------------------------------------------- the record


def test_problem_is_a_frozen_value():
    problem = Problem(init, loss, sample)
    assert problem == Problem(init, loss, sample) and hash(problem) == hash(Problem(init, loss, sample))
    assert problem != Problem(init, loss, sample, name="other")
    assert problem != Problem(init, loss, lambda key: sample(key))
    assert repr(problem) == "Problem(name='problem')"
    stateful = [Problem(init, loss_with_state=f, sample=sample) for f in (loss_with_state, loss_with_state, max)]
    assert stateful[0] == stateful[1] != stateful[2]
    with pytest.raises(dataclasses.FrozenInstanceError):
        problem.name = "other"


def test_problem_with_batches_is_hashable():
    batches = [jnp.zeros(3)]
    assert hash(Problem(init, loss, batches=batches)) == hash(Problem(init, loss, batches=batches))
    assert Problem(init, loss, batches=lambda: iter(batches)) != Problem(init, loss, batches=batches)


def test_equal_problems_share_one_program():
    traces = []

    @functools.partial(jax.jit, static_argnums=0)
    def value(problem, params, batch):
        traces.append(problem)
        return problem.loss(params, batch, None)

    for _ in range(2):
        value(Problem(init, loss, sample), jnp.zeros(3), jnp.zeros(3))
    assert len(traces) == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"init": 3}, "Problem(init=...) must be callable, got 3."),
        ({"loss": 3}, "Problem(loss=...) must be callable, got 3."),
        (
            {"loss": None},
            "Problem(loss=..., loss_with_state=...) must be given one of the two, got neither. "
            "loss gives a scalar, loss_with_state a scalar and the model's new state.",
        ),
        (
            {"loss_with_state": loss_with_state},
            "Problem(loss=..., loss_with_state=...) must be given one of the two, got both. "
            "loss gives a scalar, loss_with_state a scalar and the model's new state.",
        ),
        (
            {"loss": None, "loss_with_state": loss},
            "Problem(loss_with_state=...) must be callable as loss_with_state(params, model_state, batch, key), "
            "got loss(params, batch, key=None).",
        ),
        (
            {"loss": None, "loss_with_state": loss_with_state, "evaluate": lambda params: {}},
            "Problem(evaluate=...) must be callable as evaluate(params, model_state), got <lambda>(params).",
        ),
        (
            {"evaluate": lambda params, model_state: {}},
            "Problem(evaluate=...) must be callable as evaluate(params), got <lambda>(params, model_state).",
        ),
        ({"sample": "data"}, "Problem(sample=...) must be callable, got 'data'."),
        ({"evaluate": 1.0}, "Problem(evaluate=...) must be callable, got 1.0."),
        ({"name": 3}, "Problem(name=...) must be a string, got 3."),
        (
            {"loss": lambda params, batch: 0.0},
            "Problem(loss=...) must be callable as loss(params, batch, key), got <lambda>(params, batch).",
        ),
        ({"init": lambda: 0.0}, "Problem(init=...) must be callable as init(key), got <lambda>()."),
        (
            {"sample": None},
            "Problem(sample=..., batches=...) must be given one of the two, got neither. "
            "sample(key) draws a batch on the device, batches are read from the host.",
        ),
        (
            {"batches": [1]},
            "Problem(sample=..., batches=...) must be given one of the two, got both. "
            "sample(key) draws a batch on the device, batches are read from the host.",
        ),
        (
            {"sample": None, "batches": 3},
            "Problem(batches=...) must be an iterable of batches or a function returning one, got 3.",
        ),
        (
            {"sample": None, "batches": lambda key: []},
            "Problem(batches=...) must be callable as batches(), got <lambda>(key).",
        ),
    ],
)
def test_problem_errors_say_what_is_wrong(arguments, message):
    with pytest.raises(TypeError) as error:
        Problem(**{"init": init, "loss": loss, "sample": sample, **arguments})
    assert str(error.value) == message


# ---------------------------------------------------------------- the ready problems


@dataclasses.dataclass(frozen=True)
class Ready:
    """What a ready problem is known to do."""

    make: object
    batch: tuple  # shapes at the default batch size
    size: int  # number of parameters
    chance: float  # the loss of a constant guess
    learned: float  # a validation loss that 300 steps of Adam get below
    accuracy: float | None = None


READY = [
    Ready(digits, ((64, 64), (64,)), 8_970, np.log(10), 0.3, 0.9),
    Ready(diabetes, ((64, 10), (64,)), 385, 1.0, 0.8),
    Ready(mnist1d, ((64, 40), (64,)), 7_434, np.log(10), 1.6, 0.35),
    Ready(text, ((32, 32), (32,)), 113_120, np.log(96), 3.2, 0.2),
]
every_problem = pytest.mark.parametrize("ready", READY, ids=lambda ready: ready.make.__name__)


def test_mnist1d_leaves_the_global_random_state_alone():
    module("mnist1d")._data.cache_clear()
    random.seed(1), np.random.seed(1)
    expected = random.random(), np.random.rand()
    random.seed(1), np.random.seed(1)
    module("mnist1d")._data()
    assert (random.random(), np.random.rand()) == expected


@every_problem
def test_shapes_and_dtypes_under_x64_and_strict_promotion(ready):
    problem = ready.make()
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        params, batch = (jax.eval_shape(make, jax.random.key(0)) for make in (problem.init, problem.sample))
        value, grads = jax.eval_shape(jax.value_and_grad(problem.loss), params, batch)
        metrics = jax.eval_shape(problem.evaluate, params)
    assert sum(x.size for x in jax.tree.leaves(params)) == ready.size
    assert tuple(x.shape for x in batch) == ready.batch
    assert {x.dtype for x in batch} <= {jnp.dtype("float32"), jnp.dtype("int32")}
    for x in jax.tree.leaves((params, value, grads, metrics)):
        assert x.dtype == jnp.float32
    assert set(metrics) == ({"loss"} if ready.accuracy is None else {"loss", "accuracy"})
    assert value.shape == metrics["loss"].shape == ()


@every_problem
def test_pure_and_cached(ready):
    problem = ready.make()
    assert ready.make() is problem and problem.name == ready.make.__name__
    assert jax.eval_shape(ready.make(batch_size=8).sample, jax.random.key(0))[0].shape[0] == 8
    key = jax.random.key(3)
    sample = jax.jit(problem.sample)
    first, again, second = problem.sample(key), sample(key), sample(jax.random.key(4))
    assert same(first, again)
    assert not same(first[0], second[0])


@every_problem
def test_learns(ready):
    problem, tx = ready.make(), optax.adam(3e-3)

    @jax.jit
    def train(key):
        params = problem.init(key)
        before = problem.evaluate(params)

        def step(carry, key):
            params, state = carry
            loss, grads = jax.value_and_grad(problem.loss)(params, problem.sample(key))
            updates, state = tx.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), loss

        (params, _), losses = jax.lax.scan(step, (params, tx.init(params)), jax.random.split(key, 300))
        return before, problem.evaluate(params), losses

    before, metrics, losses = jax.device_get(train(jax.random.key(0)))
    assert ready.chance / 2 < before["loss"] < 10 * ready.chance
    assert losses[-50:].mean() < 0.75 * losses[0]
    assert metrics["loss"] < ready.learned
    assert ready.accuracy is None or metrics["accuracy"] > ready.accuracy


def test_built_inside_a_trace_leaves_no_tracer():
    for name in ("_digits", "_data"):
        getattr(module("digits"), name).cache_clear()
    jax.eval_shape(lambda key: digits().sample(key), jax.random.key(0))
    assert not isinstance(digits().sample(jax.random.key(0))[0], jax.core.Tracer)


def test_validation_is_held_out():
    for name in ("digits", "diabetes", "mnist1d"):
        (train, _), (validation, _) = module(name)._data()
        assert not {row.tobytes() for row in train} & {row.tobytes() for row in validation}
    train, _ = module("diabetes")._data()
    for x in train:
        np.testing.assert_allclose((x.mean(0), x.std(0)), (np.zeros(x.shape[1:]), np.ones(x.shape[1:])), atol=1e-12)


def test_text_windows_are_the_text():
    source = module("text")
    characters = "".join(source.ALPHABET[i] for i in source._data()[0])
    windows, following = map(np.asarray, jax.jit(text(batch_size=4, context=12).sample)(jax.random.key(0)))
    for window, character in zip(windows, following, strict=True):
        assert "".join(source.ALPHABET[i] for i in [*window, character]) in characters
    assert "The " in characters and len(source.ALPHABET) == 96


@pytest.mark.parametrize(
    "name, package, message",
    [
        ("digits", "sklearn", 'digits() needs scikit-learn for its data: pip install "lrx[cli]"'),
        ("diabetes", "sklearn", 'diabetes() needs scikit-learn for its data: pip install "lrx[cli]"'),
        ("mnist1d", "mnist1d", "mnist1d() needs the package that generates its data: pip install mnist1d"),
    ],
)
def test_missing_packages(monkeypatch, name, package, message):
    real = builtins.__import__

    def absent(wanted, globals=None, locals=None, fromlist=(), level=0):
        if level == 0 and wanted.split(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}")
        return real(wanted, globals, locals, fromlist, level)

    data = module(name)._data
    data.cache_clear()
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ImportError) as error:
        data()
    assert str(error.value) == message


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: digits(0), "digits(batch_size=...) must be positive, got 0."),
        (lambda: text(context=0), "text(context=...) must be positive, got 0."),
        (lambda: text(context=10**7), "text(context=...) must be less than the "),
    ],
)
def test_bad_sizes(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value).startswith(message)


# ---------------------------------------------------------------- load

FILE = """
import helper
import jax, jax.numpy as jnp
from lrx.problems import Problem

loss = lambda params, batch, key=None: jnp.sum(params**2)
bowl = Problem(lambda key: jnp.ones(2), loss, lambda key: 0.0, name="bowl")
number = helper.NUMBER

def make():
    return bowl

def broken():
    return 1 / 0

def wants(size):
    return bowl
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "helper.py").write_text("NUMBER = 3")
    (tmp_path / "mine.py").write_text(FILE)
    return tmp_path / "mine.py"


def test_load_by_name_and_from_a_file(file):
    assert load("digits") is digits()
    assert load(f"{file}:bowl").name == load(f"{file}:make").name == "bowl"
    assert float(load(f"{file}:bowl").loss(jnp.ones(2), None)) == 2.0


@pytest.mark.parametrize(
    "name, message",
    [
        ("other", "must name something in mine.py, got '{spec}'. There is no 'other'; its problems are bowl."),
        ("number", "must name a Problem or a function returning one, got '{spec}'. This one gives int: 3."),
        ("broken", ": line 14 of mine.py failed with ZeroDivisionError: division by zero"),
        ("wants", ": mine.py failed with TypeError: wants() missing 1 required positional argument: 'size'"),
    ],
)
def test_load_says_what_is_wrong_with_the_name(file, name, message):
    spec = f"{file}:{name}"
    with pytest.raises(ValueError) as error:
        load(spec)
    expected = message.format(spec=spec)
    assert str(error.value) == "load(spec=...)" + (expected if expected.startswith(":") else " " + expected)


def test_load_says_what_is_wrong_with_the_spec(file):
    for spec in ("digit", str(file), f"{file.with_suffix('.txt')}:bowl"):
        with pytest.raises(ValueError) as error:
            load(spec)
        rule = "must be one of digits, diabetes, mnist1d, text, or 'path/to/file.py:name'"
        assert str(error.value) == f"load(spec=...) {rule}, got {spec!r}."
    missing = file.with_name("none.py")
    with pytest.raises(ValueError) as error:
        load(f"{missing}:bowl")
    assert (
        str(error.value)
        == f"load(spec=...) must name a file that exists, got '{missing}:bowl'. There is none at {missing}."
    )
    with pytest.raises(TypeError, match="must be a string, got 3"):
        load(3)


@pytest.mark.parametrize(
    "source, message",
    [
        ("x = 1\ny = x.z\n", "line 2 of mine.py failed with AttributeError: 'int' object has no attribute 'z'"),
        ("import nowhere_to_be_found\n", "line 1 of mine.py failed with ModuleNotFoundError"),
        ("x = 1\n\ndef f(:\n", "line 3 of mine.py failed with SyntaxError"),
        (
            "from lrx.problems import digits\n\ndigits(batch_size=-1)\n",
            "line 3 of mine.py failed with ValueError: digits(batch_size=...) must be positive, got -1.",
        ),
    ],
)
def test_load_blames_the_line_of_the_file(file, source, message):
    file.write_text(source)
    with pytest.raises(ValueError) as error:
        load(f"{file}:bowl")
    assert str(error.value).startswith(f"load(spec=...): {message}")
    assert error.value.__cause__ is not None


def test_load_of_an_empty_file(file):
    file.write_text("")
    with pytest.raises(ValueError, match=r"There is no 'bowl'; it holds no Problem\."):
        load(f"{file}:bowl")
