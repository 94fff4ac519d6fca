"""The runs: every task, optimizer and schedule at 25 rates, their losses kept in a file each."""

import dataclasses
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lrx

from ..choose.tasks import TASKS, Task

STEPS, SEEDS, BATCH = 400, 2, 32
PARTS = (0.25, 0.5, 1.0)
"""Where the verdicts are asked for, as parts of a run."""

OPTIMIZERS: dict[str, tuple[Callable[[Any], Any], float]] = {
    "sgd": (lrx.sgd, 1e2),
    "momentum": (lambda rate: lrx.sgd(rate, momentum=0.9), 1e1),
    "adam": (lrx.adam, 1e1),
    "adagrad": (lrx.adagrad, 1e2),
    "rmsprop": (lrx.rmsprop, 1e1),
    "lion": (lrx.lion, 1e0),
}
"""Each with the highest of its 25 rates, which go six decades down from it."""


def triangular(peak: float, steps: int) -> Any:
    """Four cycles between a tenth of the peak and the peak."""
    return lrx.triangular_schedule(peak / 10, peak, half_cycle_steps=steps // 8)


SCHEDULES: dict[str, Callable[[float, int], Any]] = {
    "constant": lambda peak, steps: peak,
    "step": lambda peak, steps: lrx.piecewise_constant_schedule(peak, {steps // 2: 0.1, 3 * steps // 4: 0.1}),
    "cosine": lrx.cosine_decay_schedule,
    "linear": lambda peak, steps: lrx.warmup_linear_schedule(peak, steps // 20, total_steps=steps),
    "wsd": lambda peak, steps: lrx.wsd_schedule(peak, steps // 20, decay_steps=steps // 5, total_steps=steps),
    "triangular": triangular,
}


def rates_of(optimizer: str) -> np.ndarray:
    """The 25 rates, [rates]."""
    return OPTIMIZERS[optimizer][1] * np.geomspace(1e-6, 1.0, 25)


def factors(schedule: str, steps: int) -> np.ndarray:
    """The rate of each step over the peak, [steps]."""
    made = SCHEDULES[schedule](1.0, steps)
    return np.asarray(jax.vmap(lrx.as_schedule(made))(jnp.arange(steps)), np.float64)


@dataclasses.dataclass(frozen=True)
class Runs:
    """All runs of a task with an optimizer."""

    task: str
    optimizer: str
    losses: np.ndarray
    """[schedules, rates, seeds, steps]."""

    def sweeps(self) -> Iterator[tuple[str, np.ndarray]]:
        """Each schedule's losses, [rates, seeds, steps]."""
        yield from zip(SCHEDULES, self.losses.astype(np.float64), strict=True)


def record(task: Task, name: str, optimizer: str, seeds: int = SEEDS, steps: int = STEPS) -> np.ndarray:
    """Train all schedules and rates, in one program, one run after the other."""
    problem, make = task.problem, OPTIMIZERS[optimizer][0]
    rows = on_rows(problem)

    def run(given: Any) -> jax.Array:
        peak, shape, seed = given
        rates = peak * shapes[shape]
        init_key, data_key = jax.random.split(jax.random.fold_in(jax.random.key(zlib.crc32(name.encode())), seed))
        tx = make(lambda count: rates[count])
        params = problem.init(init_key)

        def step(carry: Any, key: Any) -> Any:
            params, state = carry
            loss, grads = jax.value_and_grad(problem.loss)(params, rows(key), None)
            updates, state = tx.update(grads, state, params)
            return (lrx.apply_updates(params, updates), state), loss

        return jax.lax.scan(step, (params, tx.init(params)), jax.random.split(data_key, steps))[1]

    shapes = jnp.asarray(np.stack([factors(s, steps) for s in SCHEDULES]), jnp.float32)
    rates = rates_of(optimizer)
    members = np.stack(np.meshgrid(np.arange(len(SCHEDULES)), rates, np.arange(seeds), indexing="ij"), -1)
    flat = members.reshape(-1, 3)
    given = (
        jnp.asarray(flat[:, 1], jnp.float32),
        jnp.asarray(flat[:, 0], jnp.int32),
        jnp.asarray(flat[:, 2], jnp.int32),
    )
    losses = jax.jit(lambda given: jax.lax.map(run, given))(given)
    return np.asarray(losses, np.float32).reshape(*members.shape[:3], steps)


def on_rows(problem: lrx.Problem) -> Callable[[Any], Any]:
    """Batches of the size used here: the first rows of the task's own."""
    assert problem.sample is not None
    sample = problem.sample
    return lambda key: jax.tree.map(lambda x: x[:BATCH], sample(key))


def recorded(folder: Path, note: Callable[[str], None], only: tuple[str, ...] = tuple(OPTIMIZERS)) -> Iterator[Runs]:
    """Every task and optimizer, from its file if it is there, else trained and written."""
    folder.mkdir(parents=True, exist_ok=True)
    for optimizer in only:
        for name, make in TASKS.items():
            file = folder / f"{name.replace(' ', '_')}-{optimizer}.npz"
            if not file.exists():
                begin = time.perf_counter()
                losses = record(make(), name, optimizer)
                part = file.with_suffix(".part.npz")
                np.savez_compressed(part, losses=losses)
                part.rename(file)
                jax.clear_caches()
                note(f"{name}, {optimizer}: {time.perf_counter() - begin:.0f} s")
            yield Runs(name, optimizer, np.load(file)["losses"])
