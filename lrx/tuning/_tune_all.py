"""`tune` without a budget: every combination is trained, and the choice once more from fresh seeds."""

import time
from typing import Any

import jax
import numpy as np

from ..optimizers.adam import adam
from ..schedules._schedule import as_schedule
from ._done import Done
from ._find import ShortRuns, found_by, usual
from ._found import Found
from ._presets import BASELINE_RATE, MAIN_SCHEDULES, constant, linear
from ._request import Request
from ._suggest import logspace
from ._sweep import Sweep, nothing_finite, sweep
from ._table import Row, at, end, mean_record, ranked, row, stayed_finite
from ._tuned import Tuned


def tune_all(request: Request, whole_grid: bool) -> Tuned:
    """The choice of `tune` without a budget; with `whole_grid`, all schedules run over all rates."""
    began = time.perf_counter()
    problem, makers, curves, by = request.problem, request.makers, request.curves, request.by
    steps, seeds = request.steps, request.seeds
    ramp_key, sweep_key, fresh_key = jax.random.split(request.key, 3)
    run = _Runs(request, sweep_key)

    main, *others = makers
    found = _found(request, main, ramp_key)
    given = request.learning_rates
    grid = _around(found.learning_rate, 100, 10**1.5, 16) if given is None else np.unique(np.asarray(given))
    full = {k: f for k, f in curves.items() if whole_grid or k in MAIN_SCHEDULES} or curves
    extra = {k: f for k, f in curves.items() if k not in full}
    first = run.sweep(main, makers[main], grid, full)
    if not stayed_finite(first, by).any():
        raise nothing_finite("tune()", first.final, by)
    best = first.best(by)
    if extra:
        near = np.unique(np.clip(np.arange(best.index[0] - 2, best.index[0] + 3), 0, len(first.learning_rates) - 1))
        run.sweep(main, makers[main], first.learning_rates[near], extra)
    spent = found.gradients
    for i, name in enumerate(others):
        other = _found(request, name, jax.random.fold_in(ramp_key, i))
        spent += other.gradients
        grid = _around(other.learning_rate, 10, 10, 7)
        run.sweep(name, makers[name], grid, {best.schedule: full[best.schedule]})

    rows = ranked(run.sweeps, by)
    winner = rows[0]
    peak, curve = winner.learning_rate, curves[winner.schedule]
    confirm = _Runs(request, fresh_key)
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


def _found(request: Request, name: str, key: jax.Array) -> Found:
    """What `lrx.find` suggests."""
    make, gradients = request.makers[name], usual(1, request.steps)
    progress = request.progress_of(f"{name}: short runs", gradients)
    runs = ShortRuns(request.problem, make, linear, key, 1, request.steps, journal=request.journal)
    runs.report_to(progress, gradients)
    found = found_by(runs, 1e-7, 10.0, gradients)
    progress(Done(gradients))
    return found


class _Runs:
    """The sweeps made so far, by optimizer."""

    def __init__(self, request: Request, key: jax.Array):
        self.request, self.key = request, key
        self.sweeps: dict[str, list[Sweep]] = {}
        self.count = 0

    def sweep(self, name: str, make: Any, rates: Any, schedules: dict[str, Any], stage: str | None = None) -> Sweep:
        """Sweep, and keep the result."""
        request = self.request
        runs = len(np.atleast_1d(rates)) * len(schedules) * request.seeds
        stage = stage or f"{name}: {', '.join(schedules)}"
        result = sweep(
            request.problem,
            make,
            learning_rate=rates,
            schedule=schedules,
            seeds=request.seeds,
            steps=request.steps,
            key=self.key,
            progress=request.progress_of(stage, runs * request.steps),
            checkpoint=request.journal.path(),
        )
        self.sweeps.setdefault(name, []).append(result)
        self.count += runs
        return result

    def interval(self, row: Row) -> tuple[float, float]:
        """The rates as good as the row's, under the same optimizer and schedule."""
        s = next(s for s in self.sweeps[row.optimizer] if row.schedule in s.schedules)
        loss = s.loss(self.request.by)[:, at(s, row.schedule)]
        best = s.best(self.request.by, row.schedule)
        enough = best.loss + max(best.spread, 0.05 * abs(best.loss))
        good = s.learning_rates[np.asarray(loss.mean(axis=-1) <= enough)]
        return float(str(good.min())), float(str(good.max()))
