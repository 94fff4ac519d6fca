"""Cases of choosing a rate: the tasks with four optimizers, and fine-tunings from a trained start."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import lrx

from .tasks import TASKS, Task
from .train import linear
from .users import USERS


def sgd(rate: Any) -> Any:
    """With momentum."""
    return lrx.sgd(rate, momentum=0.9)


def kind(params: Any) -> Any:
    """Which parameters are matrices."""
    return jax.tree.map(lambda p: "matrix" if p.ndim == 2 else "other", params)


def muon(rate: Any) -> Any:
    """For the matrices; Adam at a constant 1e-3 for the rest."""
    return lrx.partition({"matrix": lrx.muon(rate), "other": lrx.adam(1e-3)}, kind)


MAKERS: dict[str, Callable[[Any], Any]] = {"adam": lrx.adam, "sgd": sgd, "lion": lrx.lion, "muon": muon}
"""Functions of the rate that is to be chosen."""

BEFORE = 400
"""Updates of Adam before a fine-tuning."""
NOISE = 0.5
"""Of the inputs in a fine-tuning, beside their standard deviation of 1."""


def warm(name: str) -> Task:
    """A task from where Adam left it, on inputs that are noisier than before."""
    task = TASKS[name]()
    plain, scored = task.problem, task.scored
    tx = lrx.adam(linear(1e-2, BEFORE))

    def step(carry: Any, key: jax.Array) -> Any:
        params, state = carry
        assert plain.sample is not None
        updates, state = tx.update(jax.grad(plain.loss)(params, plain.sample(key)), state, params)
        return (lrx.apply_updates(params, updates), state), None

    @jax.jit
    def trained(key: jax.Array) -> Any:
        params = plain.init(key)
        keys = jax.random.split(jax.random.fold_in(key, 1), BEFORE)
        return jax.lax.scan(step, (params, tx.init(params)), keys)[0][0]

    params = jax.tree.map(np.asarray, trained(jax.random.key(7)))

    def sample(key: jax.Array) -> Any:
        assert plain.sample is not None
        x, y = plain.sample(key)
        return x + NOISE * jax.random.normal(jax.random.fold_in(key, 2), x.shape), y

    def on_many(params: Any) -> dict[str, jax.Array]:
        batches = jax.vmap(sample)(jax.random.split(jax.random.key(8), 64))
        loss = jax.vmap(plain.loss, (None, 0))(params, batches).mean()
        return {"loss": loss, "training": loss}

    same = {"init": lambda key: jax.tree.map(jax.numpy.asarray, params), "sample": sample, "evaluate": on_many}
    return Task(dataclasses.replace(plain, **same), dataclasses.replace(scored, **same))


FEW = ("adam", "sgd", "muon")
"""The optimizers of the larger tasks."""
WARM = ("digits", "satimage", "mnist1d")
CASES: dict[str, tuple[Callable[[], Task], Callable[[Any], Any]]] = {
    **{f"{task}, {name}": (make, tx) for task, make in TASKS.items() for name, tx in MAKERS.items()},
    **{f"{task}, {name}": (make, MAKERS[name]) for task, make in USERS.items() for name in FEW},
    **{f"{task} trained, {name}": (functools.partial(warm, task), MAKERS[name]) for task in WARM for name in FEW},
}
"""Name -> the task and the optimizer whose rate is chosen."""
