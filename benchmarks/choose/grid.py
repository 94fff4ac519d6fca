"""The second question: a rate and a schedule together, against a sweep of 32 rates under four schedules.

A method names members of that sweep, so that nothing else has to be trained: what it chose is scored by the mean over
the sweep's own seeds, and it chooses with other keys.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np

import lrx
from lrx.tuning._presets import SCHEDULES as KNOWN

from .score import summary
from .show import number, with_interval
from .tasks import Task
from .train import LOSSES, by_name, start

RATES = np.asarray(lrx.logspace(1e-4, 1.0, 32), np.float64)
SCHEDULES = {name: KNOWN[name] for name in ("constant", "step", "cosine", "linear")}


@dataclasses.dataclass(frozen=True)
class Full:
    """The whole sweep of one task; losses by "training" and "validation"."""

    initial: dict[str, np.ndarray]
    """Before training, [seeds]."""
    swept: dict[str, np.ndarray]
    """After it, [rates, schedules, seeds]."""
    seconds: float

    def best(self, by: str) -> np.ndarray:
        """Of the member with the lowest mean, [seeds]."""
        x = self.swept[by].reshape(-1, self.swept[by].shape[-1])
        return x[np.argmin(x.mean(-1))]

    def of(self, by: str, member: tuple[float, str]) -> np.ndarray:
        """Of a member, [seeds]."""
        rate, schedule = member
        return self.swept[by][int(np.argmin(abs(np.log(RATES / rate)))), list(SCHEDULES).index(schedule)]


def sweep(task: Task, seeds: int, steps: int) -> Full:
    """All 128 members, in one program."""
    begin = time.perf_counter()
    init, evaluate = task.scored.init, task.scored.evaluate
    assert evaluate is not None
    initial = jax.jit(jax.vmap(lambda key: evaluate(init(key))))(start(seeds)[0])
    result = lrx.sweep(
        task.scored,
        lrx.adam,
        learning_rate=RATES,
        schedule=SCHEDULES,
        seeds=seeds,
        steps=steps,
        key=jax.random.key(0),
    )
    return Full(by_name(initial), by_name(result.scores), time.perf_counter() - begin)


Pick = Callable[[Task, jax.Array, int], tuple[tuple[float, str], float]]
"""(task, key, steps) -> the member that was chosen, and what it cost in runs."""


def by_tune(
    budget: float, by: Literal["training", "validation"], task: Task, key: jax.Array, steps: int
) -> tuple[tuple[float, str], float]:
    """`lrx.tune` on that grid."""
    tuned = lrx.tune(
        task.problem,
        optimizers={"adam": lrx.adam},
        schedules=SCHEDULES,
        learning_rates=RATES,
        budget=budget,
        steps=steps,
        by=by,
        key=key,
    )
    return (tuned.learning_rate, tuned.schedule_name), tuned.runs


def by_halving(budget: float, task: Task, key: jax.Array, steps: int) -> tuple[tuple[float, str], float]:
    """`lrx.halving` over the whole grid."""
    result = lrx.halving(
        task.problem, lrx.adam, learning_rate=RATES, schedule=SCHEDULES, budget=budget, steps=steps, key=key
    )
    best = result.best()
    return (best.learning_rate, best.schedule), result.runs


def by_sweep(task: Task, key: jax.Array, steps: int) -> tuple[tuple[float, str], float]:
    """`lrx.sweep` over the whole grid from one seed: what no choice from single runs can be expected to surpass."""
    best = lrx.sweep(task.problem, lrx.adam, learning_rate=RATES, schedule=SCHEDULES, steps=steps, key=key).best()
    return (best.learning_rate, best.schedule), float(RATES.size * len(SCHEDULES))


PICKS: dict[str, Pick] = {
    "lrx.tune, 3 runs": lambda *a: by_tune(3.0, "training", *a),
    "lrx.tune, 5 runs": lambda *a: by_tune(5.0, "training", *a),
    "lrx.tune, 3 runs, by validation": lambda *a: by_tune(3.0, "validation", *a),
    "lrx.tune, 5 runs, by validation": lambda *a: by_tune(5.0, "validation", *a),
    "lrx.halving, 8 runs": lambda *a: by_halving(8.0, *a),
    "lrx.sweep, one seed": by_sweep,
}
"""A new method is one more line."""


def compare(
    tasks: dict[str, Task], fulls: dict[str, Full], picks: dict[str, Pick], keys: int, steps: int, note: Any
) -> dict[str, Any]:
    """The rows of the table, by method."""
    chosen: dict[str, dict[str, Any]] = {name: {} for name in picks}
    cost: dict[str, list[float]] = {name: [] for name in picks}
    seconds: dict[str, list[float]] = {name: [] for name in picks}
    for task_name, task in tasks.items():
        begin = time.perf_counter()
        for name, pick in picks.items():
            jax.clear_caches()  # each method pays for its own compilation
            for k in range(keys):
                first = time.perf_counter()
                member, runs = pick(task, jax.random.key(1000 + k), steps)
                if k == 0:
                    seconds[name].append(time.perf_counter() - first)
                chosen[name].setdefault(task_name, []).append(member)
                cost[name].append(runs)
        note(f"together, {task_name}: {time.perf_counter() - begin:.0f} s")
    rows = {}
    for name, members in chosen.items():
        rows[name] = {"runs": float(np.max(cost[name])), "seconds": float(np.median(seconds[name])), "chosen": members}
        for by in LOSSES:
            loss = np.stack([[fulls[t].of(by, m).mean() for m in ms] for t, ms in members.items()])
            level = [np.full(keys, fulls[t].best(by).mean()) for t in members]
            initial = [np.full(keys, fulls[t].initial[by].mean()) for t in members]
            row = summary(loss, np.stack(level), np.stack(initial), None)
            ratio = (loss.mean(-1) / np.stack(level).mean(-1)).tolist()
            rows[name][by] = row | {"tasks": {"ratio": dict(zip(members, ratio, strict=True))}}
    return rows


def table(rows: dict[str, Any]) -> str:
    """A line for each method, both losses."""
    lines = [
        "| method | runs | seconds | training: ratio, median | within 5 % | worst | regret, worst "
        "| validation: ratio, median | within 5 % | worst | regret, worst |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, r in rows.items():
        cells = [name, f"{r['runs']:.2f}", f"{r['seconds']:.1f}"]
        for by in LOSSES:
            s = r[by]
            cells += [
                with_interval(s["ratio_median"], number),
                with_interval(s["ratio_within_5_percent"], lambda x: f"{100 * x:.0f} %"),
                number(s["ratio_worst"][0]),
                f"{s['regret_worst'][0]:.3f}",
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
