"""Tasks as users have them: a transformer, normalization by batches, adapters, a generative model, reinforcement.

Small enough for two cores. The training loss of `evaluate` is over batches that are always the same.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lrx
from lrx.problems._supervised import draw_rows, on_device, split

from .tasks import TASKS, Rows, Task, cross_entropy, digits, mnist5k, relu

SCORED = 16
"""Batches in the training loss of `evaluate`."""


def on_batches(sample: Callable[[jax.Array], Any], loss: Callable[[Any, jax.Array], jax.Array]) -> jax.Array:
    """The mean of loss(batch, key) over batches that are always the same."""
    keys = jax.random.split(jax.random.key(8), SCORED)
    return jax.lax.map(lambda key: loss(sample(key), jax.random.fold_in(key, 1)), keys).mean()


def scored(problem: lrx.Problem) -> Task:
    """A task that is scored on batches that are always the same, by training and validation loss alike."""
    assert problem.sample is not None
    sample = problem.sample

    def evaluate(*params: Any) -> dict[str, jax.Array]:
        def loss(batch: Any, key: jax.Array) -> jax.Array:
            if problem.loss_with_state is not None:
                return problem.loss_with_state(*params, batch, key)[0]
            assert problem.loss is not None
            return problem.loss(*params, batch, key)

        value = on_batches(sample, loss)
        return {"loss": value, "training": value}

    return Task(dataclasses.replace(problem, evaluate=evaluate), dataclasses.replace(problem, evaluate=evaluate))


def normal(key: jax.Array, *shape: int) -> jax.Array:
    """Weights of variance 1 / inputs."""
    return jax.random.normal(key, shape) / np.sqrt(shape[0])


# ---------------------------------------------------------------- a transformer on characters


def transformer(width: int = 32, heads: int = 2, layers: int = 2, context: int = 32) -> Task:
    """The next character of English prose, at every place of the context."""
    prose = lrx.problems.text(batch_size=16, context=context)
    assert prose.sample is not None
    characters = len(lrx.problems.text.ALPHABET)  # type: ignore[attr-defined]  # an attribute of the function
    mask = jnp.where(np.tril(np.ones((context, context), bool)), 0.0, -1e9)

    def init(key: jax.Array) -> Any:
        keys = iter(jax.random.split(key, 3 + 4 * layers))
        block = lambda: {  # noqa: E731
            "qkv": normal(next(keys), width, 3 * width),
            "out": normal(next(keys), width, width),
            "up": normal(next(keys), width, 4 * width),
            "down": normal(next(keys), 4 * width, width),
            "scale": jnp.ones((2, width)),
        }
        return {
            "embedding": jax.random.normal(next(keys), (characters, width)) * 0.5,
            "position": jax.random.normal(next(keys), (context, width)) * 0.1,
            "blocks": [block() for _ in range(layers)],
            "logits": normal(next(keys), width, characters),
        }

    def norm(x: jax.Array, scale: jax.Array) -> jax.Array:
        return scale * x * jax.lax.rsqrt(jnp.mean(x**2, axis=-1, keepdims=True) + 1e-6)

    def attended(block: Any, x: jax.Array) -> jax.Array:
        q, k, v = jnp.moveaxis((x @ block["qkv"]).reshape(*x.shape[:2], 3, heads, -1), 2, 0)
        weights = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(width / heads) + mask)
        return jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(x.shape) @ block["out"]

    def loss(params: Any, batch: Any, key: Any = None) -> jax.Array:
        del key
        windows, following = batch
        x = params["embedding"][windows] + params["position"]
        for block in params["blocks"]:
            x = x + attended(block, norm(x, block["scale"][0]))
            x = x + jax.nn.gelu(norm(x, block["scale"][1]) @ block["up"]) @ block["down"]
        targets = jnp.concatenate([windows[:, 1:], following[:, None]], axis=1)
        return cross_entropy((x @ params["logits"]).reshape(-1, characters), targets.reshape(-1))

    return scored(lrx.Problem(init, loss, prose.sample, name="text transformer"))


# ---------------------------------------------------------------- images


def scaled(rows: Rows) -> tuple[jax.Array, ...]:
    """Four fifths of images and labels, of mean 0 and variance 1 as a whole."""
    x, y = rows
    (x, y), _ = split(np.asarray(x, np.float64), y.astype(np.int64), round(0.8 * len(x)))
    return on_device((x - x.mean()) / x.std(), y)


def batch_norm(channels: tuple[int, int] = (8, 16)) -> Task:
    """A convolutional network with batch normalization on the digits of MNIST."""
    sizes = (1, *channels)

    def init(key: jax.Array) -> Any:
        keys = jax.random.split(key, 3)
        convolutions = [
            {"kernel": normal(k, 9 * n, m).reshape(3, 3, n, m) * 2**0.5, "scale": jnp.ones(m), "bias": jnp.zeros(m)}
            for k, n, m in zip(keys, sizes, sizes[1:], strict=False)
        ]
        params = {"convolutions": convolutions, "kernel": normal(keys[2], 49 * channels[1], 10), "bias": jnp.zeros(10)}
        return params, [{"mean": jnp.zeros(m), "variance": jnp.ones(m)} for m in channels]

    def loss(params: Any, state: Any, batch: Any, key: Any = None) -> tuple[jax.Array, Any]:
        del key
        images, labels = batch
        x, new = images.reshape(-1, 28, 28, 1), []
        for layer, old in zip(params["convolutions"], state, strict=True):
            dimensions = ("NHWC", "HWIO", "NHWC")
            x = jax.lax.conv_general_dilated(x, layer["kernel"], (2, 2), "SAME", dimension_numbers=dimensions)
            mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
            x = relu((x - mean) * jax.lax.rsqrt(variance + 1e-5) * layer["scale"] + layer["bias"])
            seen = {"mean": mean, "variance": variance}
            new.append({k: 0.9 * old[k] + 0.1 * seen[k] for k in seen})
        return cross_entropy(x.reshape(len(x), -1) @ params["kernel"] + params["bias"], labels), new

    sample = draw_rows(scaled(mnist5k()), 32)
    return scored(lrx.Problem(init, sample=sample, loss_with_state=loss, name="mnist5k, batch normalization"))


def autoencoder(latent: int = 8, hidden: int = 64) -> Task:
    """A variational auto-encoder of the 8 × 8 digits: squared error and divergence from the normal distribution."""

    def init(key: jax.Array) -> Any:
        shapes = ((64, hidden), (hidden, 2 * latent), (latent, hidden), (hidden, 64))
        keys = jax.random.split(key, len(shapes))
        return [{"kernel": normal(k, *s), "bias": jnp.zeros(s[1])} for k, s in zip(keys, shapes, strict=True)]

    def loss(params: Any, batch: Any, key: Any = None) -> jax.Array:
        x = batch[0]
        inner, code, outer, out = ((lambda y, p=p: y @ p["kernel"] + p["bias"]) for p in params)
        mean, log_variance = jnp.split(code(jnp.tanh(inner(x))), 2, axis=-1)
        key = jax.random.key(0) if key is None else key
        z = mean + jnp.exp(log_variance / 2) * jax.random.normal(key, mean.shape)
        divergence = 0.5 * (jnp.exp(log_variance) + mean**2 - 1 - log_variance).sum(axis=-1)
        return jnp.mean(jnp.sum((out(jnp.tanh(outer(z))) - x) ** 2, axis=-1) + 0.1 * divergence)

    return scored(lrx.Problem(init, loss, draw_rows(scaled(digits()), 64), name="digits, variational"))


# ---------------------------------------------------------------- adapters


def adapters(rank: int = 4) -> Task:
    """Low-rank additions to the matrices of a network for digits, for digits that are mirrored."""
    plain = TASKS["digits"]().problem
    tx = lrx.adam(1e-2)

    def step(carry: Any, key: jax.Array) -> Any:
        params, state = carry
        assert plain.sample is not None and plain.loss is not None
        updates, state = tx.update(jax.grad(plain.loss)(params, plain.sample(key)), state, params)
        return (lrx.apply_updates(params, updates), state), None

    @jax.jit
    def trained(key: jax.Array) -> Any:
        params = plain.init(key)
        return jax.lax.scan(step, (params, tx.init(params)), jax.random.split(key, 400))[0][0]

    base = jax.tree.map(np.asarray, trained(jax.random.key(7)))

    def init(key: jax.Array) -> Any:
        keys = jax.random.split(key, len(base))
        shapes = [layer["kernel"].shape for layer in base]
        return [{"a": normal(k, s[0], rank), "b": jnp.zeros((rank, s[1]))} for k, s in zip(keys, shapes, strict=True)]

    def loss(params: Any, batch: Any, key: Any = None) -> jax.Array:
        whole = [layer | {"kernel": layer["kernel"] + p["a"] @ p["b"]} for layer, p in zip(base, params, strict=True)]
        images, labels = batch
        assert plain.loss is not None
        return plain.loss(whole, (images.reshape(-1, 8, 8)[:, :, ::-1].reshape(-1, 64), labels), key)

    return scored(dataclasses.replace(plain, init=init, loss=loss, name="digits, adapters"))


# ---------------------------------------------------------------- reinforcement


def reinforce(episodes: int = 32, horizon: int = 24, hidden: int = 32) -> Task:
    """Push a mass to the origin and stop it there, by policy gradients.

    A batch is the states to begin with. The value of the loss is minus the mean return, which the optimizer cannot see
    through; its gradient is that of the log-probabilities, weighted by the return to come less its mean.
    """

    def init(key: jax.Array) -> Any:
        inner, outer = jax.random.split(key)
        return {"inner": normal(inner, 2, hidden), "bias": jnp.zeros(hidden), "outer": 0.1 * normal(outer, hidden, 3)}

    def sample(key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, (episodes, 2), minval=-1.0)

    def loss(params: Any, batch: Any, key: Any = None) -> jax.Array:
        def step(state: jax.Array, key: jax.Array) -> Any:
            logits = jnp.tanh(state @ params["inner"] + params["bias"]) @ params["outer"]
            action = jax.random.categorical(key, logits)
            chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), action[:, None], axis=-1)[:, 0]
            speed = state[:, 1] + 0.2 * (action - 1.0)
            state = jnp.stack([state[:, 0] + 0.2 * speed, speed], axis=-1)
            return state, (chosen, -(state[:, 0] ** 2) - 0.1 * speed**2)

        keys = jax.random.split(jax.random.key(0) if key is None else key, horizon)
        _, (chosen, rewards) = jax.lax.scan(step, batch, keys)
        to_come = jnp.cumsum(rewards[::-1], axis=0)[::-1]
        surrogate = -(chosen * jax.lax.stop_gradient(to_come - to_come.mean(axis=1, keepdims=True))).sum(axis=0).mean()
        return surrogate + jax.lax.stop_gradient(-rewards.sum(axis=0).mean() - surrogate)

    return scored(lrx.Problem(init, loss, sample, name="push, policy gradients"))


USERS: dict[str, Callable[[], Task]] = {
    "transformer": functools.cache(transformer),
    "batch normalization": functools.cache(batch_norm),
    "variational": functools.cache(autoencoder),
    "adapters": functools.cache(adapters),
    "policy gradients": functools.cache(reinforce),
}
"""Name -> task."""
