"""Methods on tasks: what they chose, what that cost, and the final losses."""

import dataclasses
import math
import time
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

import lrx

from .methods import OPTIMIZERS, Choice, Choose
from .score import ratios, regrets, summary
from .tasks import Task
from .train import LOSSES, Oracle, train


@dataclasses.dataclass(frozen=True)
class Measured:
    """One method on one task."""

    losses: dict[str, np.ndarray]
    """After training, by "training" and "validation", [seeds]."""
    train_seconds: float
    """One training, compilation included."""
    choices: tuple[Choice, ...] = ()
    """By seed; empty for an optimizer without a rate to choose."""
    choose_seconds: float = 0.0
    """The first choice, compilation included."""


def measure(
    task: Task, choosers: dict[str, Choose], optimizers: Iterable[str], seeds: int, steps: int
) -> dict[str, Measured]:
    """Each method on one task; all chosen rates are trained in one program."""
    chosen = {name: timed(choose, task, seeds, steps) for name, choose in choosers.items()}
    measured: dict[str, Measured] = {}
    if chosen:
        choices = [c for some, _ in chosen.values() for c in some]
        rates = np.stack([values(c.schedule(c.learning_rate, steps), steps) for c in choices])
        trained = train(task, lrx.adam, rates, np.tile(np.arange(seeds), len(chosen)), seeds)
        for i, (name, (some, seconds)) in enumerate(chosen.items()):
            losses = {by: values[i * seeds : (i + 1) * seeds] for by, values in trained.losses.items()}
            measured[name] = Measured(losses, trained.seconds, some, seconds)
    for name in optimizers:
        o = OPTIMIZERS[name]
        rates = np.tile(values(o.schedule(o.peak, steps), steps), (seeds, 1))
        trained = train(task, o.make, rates, np.arange(seeds), seeds, o.final)
        measured[name] = Measured(trained.losses, trained.seconds)
    return measured


def values(schedule: Any, steps: int) -> np.ndarray:
    """The rate of each step."""
    return np.broadcast_to(schedule(np.arange(steps)), steps)


def timed(choose: Choose, task: Task, seeds: int, steps: int) -> tuple[tuple[Choice, ...], float]:
    """A choice for each seed, and the seconds of the first."""
    jax.clear_caches()  # each method pays for its own compilation
    choices, seconds = [], 0.0
    for key in [jax.random.key(1000 + seed) for seed in range(seeds)]:  # not those of the trainings
        begin = time.perf_counter()
        choices.append(choose(task, key, steps))
        seconds = seconds or time.perf_counter() - begin
    return tuple(choices), seconds


def best_fixed(oracles: dict[str, Oracle]) -> float:
    """The swept rate with the lowest mean normalised training regret over the tasks, known only afterwards."""

    def missed(o: Oracle) -> np.ndarray:
        swept = o.swept["training"]
        return regrets(swept, swept[o.best("training")], o.initial["training"])

    rates = next(iter(oracles.values())).rates
    return float(rates[np.argmin(np.mean([missed(o) for o in oracles.values()], axis=0))])


def row(oracles: dict[str, Oracle], by_task: dict[str, Measured], steps: int) -> dict[str, Any]:
    """The results of one method: summaries as (value, low, high), and each task's own numbers."""
    methods = list(by_task.values())
    result: dict[str, Any] = {
        "choose_runs": float(np.mean([c.runs(steps) for m in methods for c in m.choices] or [0.0])),
        "choose_seconds": float(np.median([m.choose_seconds for m in methods])),
        "train_seconds": float(np.median([m.train_seconds for m in methods])),
    }
    rates = np.array([[c.learning_rate for c in m.choices] for m in methods])
    for by in LOSSES:
        best = np.stack([o.swept[by][o.best(by)] for o in oracles.values()])
        initial = np.stack([o.initial[by] for o in oracles.values()])
        best_rates = np.array([o.rates[o.best(by)] for o in oracles.values()])
        loss = np.stack([m.losses[by] for m in methods])
        log_rates = np.log10(rates / best_rates[:, None]) if rates.size else None
        result[by] = summary(loss, best, initial, log_rates)
        columns = {"loss": loss.mean(-1), "ratio": ratios(loss, best), "regret": regrets(loss, best, initial)}
        result[by]["tasks"] = {k: dict(zip(by_task, map(float, v), strict=True)) for k, v in columns.items()}
    if rates.size:
        result["learning_rates"] = dict(zip(by_task, rates.tolist(), strict=True))
    return result


def plain(x: Any) -> Any:
    """For JSON, which has no infinity: null."""
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    if isinstance(x, list | tuple):
        return [plain(v) for v in x]
    return None if isinstance(x, float) and not math.isfinite(x) else x
