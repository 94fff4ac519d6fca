"""Training runs that are scored: the oracle's sweep, and runs with a rate and a seed each."""

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import lrx

from .tasks import Task

RATES = np.geomspace(1e-5, 10.0, 25)
LOSSES = ("training", "validation")


def linear(peak: Any, steps: int) -> Any:
    """The schedule of every run: a warmup of a twentieth, then linear to zero."""
    return lrx.warmup_linear_schedule(peak, steps // 20, total_steps=steps)


def start(seeds: int) -> tuple[jax.Array, jax.Array]:
    """The keys of each seed's parameters and of its batches, as a sweep with `key=jax.random.key(0)` makes them."""
    keys = jax.random.split(jax.random.key(0), (seeds, 2))
    return keys[:, 0], keys[:, 1]


@dataclasses.dataclass(frozen=True)
class Oracle:
    """The sweep of one task; losses by "training" and "validation"."""

    rates: np.ndarray
    """[rates]."""
    initial: dict[str, np.ndarray]
    """Before training, [seeds]."""
    swept: dict[str, np.ndarray]
    """After training with each rate, [rates, seeds]."""
    seconds: float

    def best(self, by: str) -> int:
        """The index of the rate with the lowest mean over seeds."""
        return int(np.argmin(self.swept[by].mean(axis=-1)))


def finite(losses: Any) -> np.ndarray:
    """A loss that is not a number is an infinite one."""
    return np.nan_to_num(np.asarray(losses, np.float64), nan=np.inf, posinf=np.inf)


def by_name(scores: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What a task's `scored.evaluate` gives, under the names used here."""
    return {"training": finite(scores["training"]), "validation": finite(scores["loss"])}


def consult(
    task: Task, seeds: int, steps: int, rates: np.ndarray = RATES, make: Callable[[Any], Any] = lrx.adam
) -> Oracle:
    """Sweep the rates, in one program."""
    begin = time.perf_counter()
    init, evaluate = task.scored.init, task.scored.evaluate
    assert evaluate is not None
    stateful = task.scored.loss_with_state is not None
    initial = jax.jit(jax.vmap(lambda key: evaluate(*init(key)) if stateful else evaluate(init(key))))(start(seeds)[0])
    sweep = lrx.sweep(
        task.scored,
        make,
        learning_rate=rates,
        schedule={"linear": linear},
        seeds=seeds,
        steps=steps,
        key=jax.random.key(0),
    )
    swept = by_name({name: scores[:, 0] for name, scores in sweep.scores.items()})
    return Oracle(rates, by_name(initial), swept, time.perf_counter() - begin)


def remembered(
    folder: str | None, name: str, settings: dict[str, Any], kind: Any, ask: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Sweeps by task: from the file if it was written with these settings, else computed and written there."""
    file = None if folder is None else Path(folder) / name
    if file is not None and file.exists():
        held = json.loads(file.read_text())
        if held["settings"] == settings:
            return {task: kind(**{k: _arrays(v) for k, v in fields.items()}) for task, fields in held["sweeps"].items()}
    sweeps = ask()
    if file is not None:
        kept = {"settings": settings, "sweeps": {task: dataclasses.asdict(s) for task, s in sweeps.items()}}
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(kept, default=np.ndarray.tolist) + "\n")
    return sweeps


def _arrays(x: Any) -> Any:
    """Lists from JSON as arrays."""
    if isinstance(x, dict):
        return {k: _arrays(v) for k, v in x.items()}
    return np.asarray(x) if isinstance(x, list) else x


@dataclasses.dataclass(frozen=True)
class Trained:
    """Losses of runs, by "training" and "validation", [runs]; and the seconds of one run, compilation included."""

    losses: dict[str, np.ndarray]
    seconds: float


def train(
    task: Task,
    make_optimizer: Callable[[Any], Any],
    rates: np.ndarray,
    seeds: np.ndarray,
    of: int,
    final: Callable[[Any, Any], Any] = lambda state, params: params,
) -> Trained:
    """Train once for each row of rates, in one program.

    Args:
      task: the task.
      make_optimizer: function of a schedule.
      rates: the rate of each step, [runs, steps].
      seeds: the seed of each run, [runs].
      of: the number of seeds.
      final: (state, parameters) at the end -> the parameters to score.
    """
    problem = task.scored
    sample, evaluate = problem.sample, problem.evaluate
    assert sample is not None and evaluate is not None

    def run(rates: jax.Array, init_key: jax.Array, data_key: jax.Array) -> Any:
        tx = optax.with_extra_args_support(make_optimizer(lambda count: rates[count]))

        def step(carry: Any, t: jax.Array) -> Any:
            params, state = carry
            batch = sample(jax.random.fold_in(data_key, t))
            loss, grads = jax.value_and_grad(problem.loss)(params, batch, None)
            extra = {"value": loss, "value_fn": lambda params: problem.loss(params, batch, None)}
            updates, state = tx.update(grads, state, params, **extra)
            return (optax.apply_updates(params, updates), state), None

        params = problem.init(init_key)
        (params, state), _ = jax.lax.scan(step, (params, tx.init(params)), jnp.arange(len(rates)))
        return evaluate(final(state, params))

    keys = (k[seeds] for k in start(of))
    arguments = (jnp.asarray(rates, jnp.float32), *keys)
    begin = time.perf_counter()
    program = jax.jit(jax.vmap(run)).lower(*arguments).compile()
    compiled = time.perf_counter()
    scores = jax.block_until_ready(program(*arguments))
    seconds = compiled - begin + (time.perf_counter() - compiled) / len(seeds)
    return Trained(by_name(scores), seconds)
