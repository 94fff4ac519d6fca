"""The parts that the ready problems share: rows of arrays as batches, a relu network, and two losses."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._problem import Problem

Arrays = tuple[jax.Array, ...]


def on_device(*arrays: np.ndarray) -> Arrays:
    """Floats as float32 and whole numbers as int32, also under x64; never tracers, which would outlive their trace."""
    with jax.ensure_compile_time_eval():
        return tuple(jnp.asarray(a, jnp.float32 if a.dtype.kind == "f" else jnp.int32) for a in arrays)


def split(x: np.ndarray, y: np.ndarray, train_size: int) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Training and validation rows, shuffled once; RandomState's stream is frozen across NumPy versions."""
    order = np.random.RandomState(0).permutation(len(x))
    train, validation = order[:train_size], order[train_size:]
    return (x[train], y[train]), (x[validation], y[validation])


def draw_rows(data: Arrays, batch_size: int) -> Callable[[jax.Array], Arrays]:
    """Sampling with replacement: `sample(key)` gives `batch_size` rows of each array."""

    def sample(key: jax.Array) -> Arrays:
        # one draw of 32 bits where `randint` makes two: half the time to compile, and biased by under 1e-6
        rows = jax.random.bits(key, (batch_size,), jnp.uint32) % np.uint32(len(data[0]))
        return tuple(a[rows] for a in data)

    return sample


def dense_init(key: jax.Array, inputs: int, outputs: int) -> dict[str, jax.Array]:
    """He et al. (2015): weights from a normal distribution with variance 2 / inputs."""
    kernel = jax.random.normal(key, (inputs, outputs), jnp.float32) * (2 / inputs) ** 0.5
    return {"kernel": kernel, "bias": jnp.zeros(outputs, jnp.float32)}


def dense(params: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    return x @ params["kernel"] + params["bias"]


def mlp_init(sizes: Sequence[int]) -> Callable[[jax.Array], dict[str, Any]]:
    """The weights of `dense_init` for each layer, from one draw: each draw of its own takes long to compile."""
    shapes = list(itertools.pairwise(sizes))
    ends = np.cumsum([n * m for n, m in shapes])

    def init(key: jax.Array) -> dict[str, Any]:
        parts = jnp.split(jax.random.normal(key, (int(ends[-1]),), jnp.float32), ends[:-1])
        return {
            f"dense_{i}": {"kernel": z.reshape(n, m) * (2 / n) ** 0.5, "bias": jnp.zeros(m, jnp.float32)}
            for i, (z, (n, m)) in enumerate(zip(parts, shapes, strict=True))
        }

    return init


def mlp(params: dict[str, Any], x: jax.Array) -> jax.Array:
    """Dense layers with a relu between them."""
    for i in range(len(params)):
        x = dense(params[f"dense_{i}"], jax.nn.relu(x) if i else x)
    return x


def classification(
    name: str,
    init: Callable[[jax.Array], Any],
    predict: Callable[[Any, jax.Array], jax.Array],
    sample: Callable[[jax.Array], Arrays],
    validation: Arrays,
) -> Problem:
    """Cross entropy of the logits `predict(params, x)`, in nats, against integer labels."""

    def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1))

    def loss(params: Any, batch: Arrays, key: jax.Array | None = None) -> jax.Array:
        del key
        x, labels = batch
        return cross_entropy(predict(params, x), labels)

    def evaluate(params: Any) -> dict[str, jax.Array]:
        x, labels = validation
        logits = predict(params, x)
        right = jnp.argmax(logits, axis=1).astype(jnp.int32) == labels
        return {"loss": cross_entropy(logits, labels), "accuracy": jnp.mean(right, dtype=jnp.float32)}

    return Problem(init, loss, sample, evaluate=evaluate, name=name)


def regression(
    name: str,
    init: Callable[[jax.Array], Any],
    predict: Callable[[Any, jax.Array], jax.Array],
    sample: Callable[[jax.Array], Arrays],
    validation: Arrays,
) -> Problem:
    """Mean squared error of `predict(params, x)`, one output per row."""

    def loss(params: Any, batch: Arrays, key: jax.Array | None = None) -> jax.Array:
        del key
        x, target = batch
        return jnp.mean(jnp.square(predict(params, x)[:, 0] - target))

    return Problem(init, loss, sample, evaluate=lambda params: {"loss": loss(params, validation)}, name=name)
