"""What `tune` gives: the choice, and the evidence for it."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..diagnosis import diagnose
from ._find import Found
from ._sweep import Sweep


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
    """What `lrx.diagnose` says of the mean training loss; nothing of short runs."""
    at_edge: bool = False
    """Whether the best rate is the first or the last that was tried, so that a better one may lie outside."""
    steps: int = 0
    """Updates of the runs behind it: fewer than in the others where only short runs were afforded."""


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
    """With a budget, where the best rate is expected; without one, the rates tried whose mean loss is within 5 % or one
    spread of the best one's, under the same schedule."""
    by: str
    """"validation" or "training": the loss that decided."""
    table: tuple[Row, ...]
    """Every combination at its best rate, best first; after those with whole runs, those with short runs alone."""
    found: Found
    """The short runs of the chosen optimizer that suggested a rate (those of the first one, without a budget)."""
    sweeps: dict[str, tuple[Sweep, ...]]
    """All whole runs that were made, by optimizer."""
    steps: int
    seeds: int
    runs: float
    """What it cost in runs of `steps` gradients, short runs included."""
    seconds: float
    make_optimizer: Callable[..., Any]
    budget: float | None = None
    """What it was allowed to cost, in runs; None if all combinations were tried."""
    larger_budget: str = ""
    """What one more run would have been spent on."""
    retrained: Row | None = None
    """Without a budget: the choice, trained again from seeds that had no part in choosing it."""
    baseline: Row | None = None
    """Without a budget: Adam at a constant 1e-3 from those same seeds."""
    confirmation: dict[str, Sweep] = dataclasses.field(default_factory=dict)
    """Without a budget, "chosen" and "baseline": the runs behind `retrained` and `baseline`."""

    @property
    def runner_up(self) -> Row | None:
        """The best of the other combinations that had whole runs, or None."""
        return next((row for row in self.table[1:] if row.steps == self.steps), None)

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
        from .._report import write_report

        return write_report(self, Path(path))

    def __repr__(self) -> str:
        return f"Tuned({self.problem!r}: {self.optimizer}, {self.schedule!r})"


def ranked(sweeps: dict[str, list[Sweep]], by: str) -> tuple[Row, ...]:
    """Each combination at its best rate, best first; one without a finite rate is left out."""
    pairs = [(name, s, k) for name, some in sweeps.items() for s in some for k in s.schedules]
    pairs = [(name, s, k) for name, s, k in pairs if stayed_finite(s, by)[:, at(s, k)].any()]
    if not pairs:
        return ()
    level = min((mean_record(s, s.best("training", k).index) for _, s, k in pairs), key=end)
    rows = [row(name, s, k, by, level) for name, s, k in pairs]

    def deciding(r: Row) -> float:
        return (r.validation if by == "validation" and r.validation else r.training).mean

    return tuple(sorted(rows, key=deciding))


def row(name: str, s: Sweep, schedule: str, by: str, level: np.ndarray) -> Row:
    """The best rate of one schedule in a sweep; `level` is the best record of all, for the verdict.

    The only rate of a sweep is its best one, also if it diverged.
    """
    index = (0, at(s, schedule)) if len(s.learning_rates) == 1 else s.best(by, schedule).index

    def score(x: np.ndarray) -> Score:
        return Score(float(x[index].mean()), float(x[index].std()))

    return Row(
        optimizer=name,
        schedule=schedule,
        learning_rate=s.coords["learning_rate"][index[0]],
        training=score(s.final),
        validation=score(s.scores["loss"]) if "loss" in s.scores else None,
        accuracy=score(s.scores["accuracy"]) if "accuracy" in s.scores else None,
        verdict=diagnose(mean_record(s, index), level).label,
        at_edge=len(s.learning_rates) > 1 and index[0] in (0, len(s.learning_rates) - 1),
        steps=s.losses.shape[-1],
    )


def at(s: Sweep, schedule: str) -> int:
    """The place of a schedule."""
    return s.schedules.index(schedule)


def stayed_finite(s: Sweep, by: str) -> np.ndarray:
    """Which members did on every seed, [rate, schedule]."""
    return np.asarray(np.isfinite(s.loss(by)).all(axis=-1))


def mean_record(s: Sweep, index: tuple[int, ...]) -> np.ndarray:
    """The training losses of a member, the mean over seeds, [steps]."""
    return s.losses[index].mean(axis=0, dtype=np.float64)


def end(losses: np.ndarray) -> float:
    """The final loss of a record, [steps]."""
    return float(losses[-max(1, len(losses) // 20) :].mean())
