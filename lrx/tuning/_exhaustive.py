"""`tune` without a budget: every combination is trained, and the choice once more from fresh seeds."""

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ..optimizers.adam import adam
from ..problems._problem import Problem
from ..schedules._schedule import as_schedule
from ._candidates import MAIN_SCHEDULES, constant
from ._find import find
from ._suggest import logspace
from ._sweep import Sweep, sweep
from ._tuned import Row, Tuned, at, end, mean_record, ranked, row, stayed_finite

Progress = Callable[[str, int, int], None]
"""(stage, updates done, updates in the stage), an update of each member counted."""

BASELINE_RATE = 1e-3


def tune_all(
    problem: Problem,
    makers: dict[str, Any],
    curves: dict[str, Any],
    own: bool,
    learning_rates: Any,
    steps: int,
    seeds: int,
    key: jax.Array,
    by: str,
    progress: Progress | None,
) -> Tuned:
    """The choice; `own` tells whether the schedules are the user's, which all get the whole grid."""
    began = time.perf_counter()
    ramp_key, sweep_key, fresh_key = jax.random.split(key, 3)
    run = _Runs(problem, steps, seeds, sweep_key, by, progress)

    main, *others = makers
    found = find(problem, makers[main], key=ramp_key, steps=steps)
    given = learning_rates is not None
    grid = np.unique(learning_rates) if given else _around(found.learning_rate, 100, 10**1.5, 16)
    full = {k: f for k, f in curves.items() if own or k in MAIN_SCHEDULES} or curves
    extra = {k: f for k, f in curves.items() if k not in full}
    first = run.sweep(main, makers[main], grid, full)
    if not stayed_finite(first, by).any():
        raise ValueError("tune() found nothing that stayed finite on every seed: give lower learning_rates.")
    best = first.best(by)
    if extra:
        near = np.unique(np.clip(np.arange(best.index[0] - 2, best.index[0] + 3), 0, len(first.learning_rates) - 1))
        run.sweep(main, makers[main], first.learning_rates[near], extra)
    spent = found.gradients
    for i, name in enumerate(others):
        other = find(problem, makers[name], key=jax.random.fold_in(ramp_key, i), steps=steps)
        spent += other.gradients
        grid = _around(other.learning_rate, 10, 10, 7)
        run.sweep(name, makers[name], grid, {best.schedule: full[best.schedule]})

    rows = ranked(run.sweeps, by)
    winner = rows[0]
    peak, curve = winner.learning_rate, curves[winner.schedule]
    confirm = _Runs(problem, steps, seeds, fresh_key, by, progress)
    again = confirm.sweep(winner.optimizer, makers[winner.optimizer], [peak], {winner.schedule: curve}, "retraining")
    plain = confirm.sweep("adam", adam, [BASELINE_RATE], {"constant": constant}, "baseline")
    records = [mean_record(s, (0, 0)) for s in (again, plain)]
    level = min(records, key=lambda r: end(r) if np.isfinite(r).all() else np.inf)
    return Tuned(
        problem=problem.name,
        optimizer=winner.optimizer,
        schedule=as_schedule(curve(peak, steps)),
        schedule_name=winner.schedule,
        learning_rate=peak,
        interval=run.interval(winner),
        by=by,
        table=rows,
        retrained=row(winner.optimizer, again, winner.schedule, by, level),
        baseline=row("adam", plain, "constant", by, level),
        found=found,
        sweeps={name: tuple(s) for name, s in run.sweeps.items()},
        confirmation={"chosen": again, "baseline": plain},
        steps=steps,
        seeds=seeds,
        runs=run.count + confirm.count + spent / steps,
        seconds=time.perf_counter() - began,
        make_optimizer=makers[winner.optimizer],
    )


def _around(centre: float, below: float, above: float, num: int) -> np.ndarray:
    """A grid of rates, in three digits each, for people."""
    return np.asarray([float(f"{rate:.3g}") for rate in logspace(centre / below, centre * above, num)], np.float32)


class _Runs:
    """The sweeps made so far, by optimizer."""

    def __init__(self, problem: Problem, steps: int, seeds: int, key: jax.Array, by: str, progress: Progress | None):
        self.problem, self.steps, self.seeds, self.key = problem, steps, seeds, key
        self.by, self.progress = by, progress
        self.sweeps: dict[str, list[Sweep]] = {}
        self.count = 0

    def sweep(self, name: str, make: Any, rates: Any, schedules: dict[str, Any], stage: str | None = None) -> Sweep:
        """Sweep, and keep the result."""
        runs = len(np.atleast_1d(rates)) * len(schedules) * self.seeds
        stage = stage or f"{name}: {', '.join(schedules)}"
        progress = self.progress

        def told(done: int) -> None:
            if progress is not None:
                progress(stage, done, runs * self.steps)

        told(0)
        result = sweep(
            self.problem,
            make,
            learning_rate=rates,
            schedule=schedules,
            seeds=self.seeds,
            steps=self.steps,
            key=self.key,
            progress=told,
        )
        self.sweeps.setdefault(name, []).append(result)
        self.count += runs
        return result

    def interval(self, row: Row) -> tuple[float, float]:
        """The rates as good as the row's, under the same optimizer and schedule."""
        s = next(s for s in self.sweeps[row.optimizer] if row.schedule in s.schedules)
        loss = s.loss(self.by)[:, at(s, row.schedule)]
        best = s.best(self.by, row.schedule)
        enough = best.loss + max(best.spread, 0.05 * abs(best.loss))
        good = s.learning_rates[np.asarray(loss.mean(axis=-1) <= enough)]
        return float(str(good.min())), float(str(good.max()))
