"""`tune`: which optimizer, which schedule, which peak, with the evidence."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .. import _check as check
from ..diagnosis import diagnose
from ..optimizers.adam import adam
from ..problems._problem import Problem
from ..schedules._schedule import as_schedule
from ._candidates import DEFAULT_OPTIMIZERS, MAIN_SCHEDULES, OPTIMIZERS, SCHEDULES, chosen, constant
from ._population import as_key, what_evaluate_gives
from ._range_test import Found, find
from ._suggest import logspace
from ._sweep import Sweep, sweep

Progress = Callable[[str, int, int], None]
"""(stage, updates done, updates in the stage), an update of each member counted."""

BASELINE_RATE = 1e-3


@dataclasses.dataclass(frozen=True)
class Score:
    """A mean over seeds and its spread (standard deviation)."""

    mean: float
    spread: float


@dataclasses.dataclass(frozen=True)
class Row:
    """One combination at its best rate."""

    optimizer: str
    schedule: str
    learning_rate: float
    """The peak."""
    training: Score
    """Final training loss: the mean over the last twentieth of the steps."""
    validation: Score | None
    """Loss that the problem's `evaluate` gives, or None."""
    accuracy: Score | None
    verdict: str
    """What `lrx.diagnose` says of the mean training loss."""
    at_edge: bool = False
    """Whether the best rate is the first or the last that was tried, so that a better one may lie outside."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Tuned:
    """The choice and the evidence."""

    problem: str
    optimizer: str
    schedule: Any
    """The chosen schedule, at the chosen peak."""
    schedule_name: str
    learning_rate: float
    """The chosen peak."""
    interval: tuple[float, float]
    """The rates tried whose mean loss is within 5 % or one spread of the best one's, under the same schedule."""
    by: str
    """"validation" or "training": the loss that decided."""
    table: tuple[Row, ...]
    """Every combination at its best rate, best first."""
    retrained: Row
    """The choice, trained again from seeds that had no part in choosing it."""
    baseline: Row
    """Adam at a constant 1e-3 from those same seeds."""
    found: Found
    """The range test from which the grid was laid."""
    sweeps: dict[str, tuple[Sweep, ...]]
    """All that was measured, by optimizer."""
    confirmation: dict[str, Sweep]
    """"chosen" and "baseline": the runs behind `retrained` and `baseline`."""
    steps: int
    seeds: int
    runs: int
    """Full training runs made, the range tests left out."""
    seconds: float
    make_optimizer: Callable[..., Any]

    def transformation(self) -> Any:
        """The chosen optimizer with the chosen schedule, ready for training."""
        return self.make_optimizer(self.schedule)

    def report(self, path: str | Path) -> Path:
        """Write the report into a folder: report.html, its plots as PNG, schedule.json. Needs matplotlib.

        Args:
          path: the folder; made if need be.

        Returns:
          The path of report.html.
        """
        from ..report import write_report

        return write_report(self, Path(path))

    def __repr__(self) -> str:
        return f"Tuned({self.problem!r}: {self.optimizer}, {self.schedule!r})"


@check.public
def tune(
    problem: Problem,
    *,
    optimizers: Any = None,
    schedules: Any = None,
    learning_rates: Any = None,
    steps: int = 500,
    seeds: int = 3,
    key: jax.Array | None = None,
    progress: Progress | None = None,
) -> Tuned:
    """Choose an optimizer, a schedule and a learning rate by training, and say how sure it is.

    1. A range test with the first optimizer lays a grid of 16 rates, from 1/100 to 32 times its suggestion.
    2. The first optimizer runs over the grid × (constant, step, cosine, linear to zero) × seeds.
    3. The other schedules run at five rates around the best one, the other optimizers at seven rates around the
       suggestion of their own range test, under the schedule that was best.
    4. The best combination and Adam at a constant 1e-3 are trained again from fresh seeds.

    What decides is the validation loss if the problem has an `evaluate`, else the training loss.

    Args:
      problem: what to train.
      optimizers: names ("adam", "sgd", "adagrad", "rmsprop", "adamw"; the first four by default, sgd with momentum
        0.9) or a dict name -> function of the learning rate. The first one gets the full grid.
      schedules: names ("constant", "step", "cosine", "linear", "exponential", "triangular", "cyclic"; all by default)
        or a dict name -> function of (peak, steps). Those of a dict all get the full grid.
      learning_rates: the grid of the first optimizer; from the range test if None.
      steps: updates in one run.
      seeds: runs of each combination.
      key: a JAX random key; `jax.random.key(0)` if None.
      progress: called now and then with (stage, updates done, updates in the stage).

    Returns:
      A `Tuned`: `.learning_rate`, `.schedule`, `.optimizer`, `.table`, `.interval`, `.report(path)`.

    Raises:
      ValueError: if a name is unknown, a number is out of its range, or nothing that was tried stayed finite.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> bowl = lrx.Problem(
      ...     init=lambda key: jnp.ones(2),
      ...     loss=lambda params, batch, key=None: jnp.sum((params - 0.1 * batch) ** 2),
      ...     sample=lambda key: jax.random.normal(key, (2,)),
      ... )
      >>> best = lrx.tune(bowl, optimizers=["sgd"], schedules=["constant", "linear"], steps=40, seeds=2)
      >>> best.optimizer, best.by, len(best.table)
      ('sgd', 'training', 2)
    """
    check.positive_count(steps=steps, seeds=seeds)
    makers = chosen("optimizers", optimizers, OPTIMIZERS, DEFAULT_OPTIMIZERS)
    curves = chosen("schedules", schedules, SCHEDULES, SCHEDULES)
    began = time.perf_counter()
    key = as_key(key)
    ramp_key, sweep_key, fresh_key = jax.random.split(key, 3)
    run = _Runs(problem, steps, seeds, sweep_key, _decider(problem), progress)

    main, *others = makers
    found = find(problem, makers[main], key=ramp_key)
    given = learning_rates is not None
    grid = np.unique(learning_rates) if given else _around(found.learning_rate, 100, 10**1.5, 16)
    own = isinstance(schedules, dict)
    full = {k: f for k, f in curves.items() if own or k in MAIN_SCHEDULES} or curves
    extra = {k: f for k, f in curves.items() if k not in full}
    first = run.sweep(main, makers[main], grid, full)
    if not _stayed_finite(first, run.by).any():
        raise ValueError("tune() found nothing that stayed finite on every seed: give lower learning_rates.")
    best = first.best(run.by)
    if extra:
        near = np.unique(np.clip(np.arange(best.index[0] - 2, best.index[0] + 3), 0, len(first.learning_rates) - 1))
        run.sweep(main, makers[main], first.learning_rates[near], extra)
    for i, name in enumerate(others):
        centre = find(problem, makers[name], key=jax.random.fold_in(ramp_key, i)).learning_rate
        run.sweep(name, makers[name], _around(centre, 10, 10, 7), {best.schedule: full[best.schedule]})

    rows = run.rows()
    winner = rows[0]
    peak, curve = winner.learning_rate, curves[winner.schedule]
    confirm = _Runs(problem, steps, seeds, fresh_key, run.by, progress)
    again = confirm.sweep(winner.optimizer, makers[winner.optimizer], [peak], {winner.schedule: curve}, "retraining")
    plain = confirm.sweep("adam", adam, [BASELINE_RATE], {"constant": constant}, "baseline")
    records = [_record(s, (0, 0)) for s in (again, plain)]
    level = min(records, key=lambda r: _end(r) if np.isfinite(r).all() else np.inf)
    return Tuned(
        problem=problem.name,
        optimizer=winner.optimizer,
        schedule=as_schedule(curve(peak, steps)),
        schedule_name=winner.schedule,
        learning_rate=peak,
        interval=run.interval(winner),
        by=run.by,
        table=rows,
        retrained=_row(winner.optimizer, again, winner.schedule, run.by, level),
        baseline=_row("adam", plain, "constant", run.by, level),
        found=found,
        sweeps={name: tuple(s) for name, s in run.sweeps.items()},
        confirmation={"chosen": again, "baseline": plain},
        steps=steps,
        seeds=seeds,
        runs=run.count + confirm.count,
        seconds=time.perf_counter() - began,
        make_optimizer=makers[winner.optimizer],
    )


def _decider(problem: Problem) -> str:
    """The loss that decides: that of `evaluate`, if it gives one."""
    if not isinstance(problem, Problem):
        raise TypeError(f"tune(problem=...) must be a Problem, got {problem!r}.")
    told = what_evaluate_gives(problem)
    return "validation" if isinstance(told, dict) and "loss" in told else "training"


def _around(centre: float, below: float, above: float, num: int) -> np.ndarray:
    """A grid of rates, in three digits each, for people."""
    return np.asarray([float(f"{rate:.3g}") for rate in logspace(centre / below, centre * above, num)], np.float32)


class _Runs:
    """The sweeps made so far, by optimizer."""

    def __init__(self, problem: Problem, steps: int, seeds: int, key: jax.Array, by: str, progress: Progress | None):
        self.problem, self.steps, self.seeds, self.key, self.by, self.progress = (
            problem,
            steps,
            seeds,
            key,
            by,
            progress,
        )
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

    def rows(self) -> tuple[Row, ...]:
        """Each combination at its best rate, best first; one without a finite rate is left out."""
        pairs = [(name, s, k) for name, sweeps in self.sweeps.items() for s in sweeps for k in s.schedules]
        pairs = [(name, s, k) for name, s, k in pairs if _stayed_finite(s, self.by)[:, _at(s, k)].any()]
        level = min((_record(s, s.best("training", k).index) for _, s, k in pairs), key=_end)
        rows = [_row(name, s, k, self.by, level) for name, s, k in pairs]
        return tuple(sorted(rows, key=lambda r: r.validation.mean if r.validation else r.training.mean))

    def interval(self, row: Row) -> tuple[float, float]:
        """The rates as good as the row's, under the same optimizer and schedule."""
        s = next(s for s in self.sweeps[row.optimizer] if row.schedule in s.schedules)
        loss = s.loss(self.by)[:, _at(s, row.schedule)]
        best = s.best(self.by, row.schedule)
        enough = best.loss + max(best.spread, 0.05 * abs(best.loss))
        good = s.learning_rates[np.asarray(loss.mean(axis=-1) <= enough)]
        return float(str(good.min())), float(str(good.max()))


def _at(s: Sweep, schedule: str) -> int:
    return s.schedules.index(schedule)


def _stayed_finite(s: Sweep, by: str) -> np.ndarray:
    """Which members did on every seed, [rate, schedule]."""
    return np.asarray(np.isfinite(s.loss(by)).all(axis=-1))


def _record(s: Sweep, index: tuple[int, ...]) -> np.ndarray:
    """The training losses of a member, the mean over seeds, [steps]."""
    return s.losses[index].mean(axis=0, dtype=np.float64)


def _end(losses: np.ndarray) -> float:
    return float(losses[-max(1, len(losses) // 20) :].mean())


def _row(name: str, s: Sweep, schedule: str, by: str, level: np.ndarray) -> Row:
    """The best rate of one schedule in a sweep; `level` is the best record of all, for the verdict.

    The only rate of a sweep is its best one, also if it diverged.
    """
    index = (0, _at(s, schedule)) if len(s.learning_rates) == 1 else s.best(by, schedule).index

    def score(x: np.ndarray) -> Score:
        return Score(float(x[index].mean()), float(x[index].std()))

    return Row(
        optimizer=name,
        schedule=schedule,
        learning_rate=s.coords["learning_rate"][index[0]],
        training=score(s.final),
        validation=score(s.scores["loss"]) if "loss" in s.scores else None,
        accuracy=score(s.scores["accuracy"]) if "accuracy" in s.scores else None,
        verdict=diagnose(_record(s, index), level).label,
        at_edge=len(s.learning_rates) > 1 and index[0] in (0, len(s.learning_rates) - 1),
    )
