"""The table of `tune`: each combination of optimizer and schedule at its best rate."""

import dataclasses
import math

import numpy as np

from ..diagnosis import diagnose
from ._arguments import By
from ._luck import of_neighbours
from ._sweep import Sweep


@dataclasses.dataclass(frozen=True)
class Score:
    """A mean over seeds and its spread (standard deviation).

    Of one seed the spread is an estimate of what another seed would change, from runs at neighbouring rates, or, where
    there are none, from the relative spread of the others or of short runs; 0 if nothing shows it.
    """

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
    advice: str = ""
    """The verdict in two sentences."""


def ranked(sweeps: dict[str, list[Sweep]], by: By, luck: float = math.nan) -> tuple[Row, ...]:
    """Each combination at its best rate, best first; one without a finite rate is left out.

    Args:
      sweeps: by optimizer.
      by: the loss that decides.
      luck: the relative spread of one seed where no neighbouring rates show it, NaN if that is not known.
    """
    pairs = [(name, s, k) for name, some in sweeps.items() for s in some for k in s.schedules]
    pairs = [(name, s, k) for name, s, k in pairs if stayed_finite(s, by)[:, at(s, k)].any()]
    if not pairs:
        return ()
    level = min((mean_record(s, s.best("training", k).index) for _, s, k in pairs), key=end)
    seen = [r for _, s, k in pairs for r in [relative_luck(s, k, by)] if math.isfinite(r)]
    luck = float(np.median(seen)) if seen else luck
    rows = [row(name, s, k, by, level, luck) for name, s, k in pairs]

    def deciding(r: Row) -> float:
        return (r.validation if by == "validation" and r.validation else r.training).mean

    return tuple(sorted(rows, key=deciding))


def relative_luck(s: Sweep, schedule: str, by: By) -> float:
    """The relative spread of the loss of one seed, as neighbouring rates show it; NaN for several seeds."""
    if s.losses.shape[-2] > 1:
        return math.nan
    return of_neighbours(s.learning_rates, s.loss(by)[:, at(s, schedule), 0])


def row(name: str, s: Sweep, schedule: str, by: By, level: np.ndarray, luck: float = math.nan) -> Row:
    """The best rate of one schedule in a sweep; `level` is the best record of all, for the verdict.

    The only rate of a sweep is its best one, also if it diverged.
    """
    index = (0, at(s, schedule)) if len(s.learning_rates) == 1 else s.best(by, schedule).index

    said = diagnose(mean_record(s, index), level)

    def score(x: np.ndarray) -> Score:
        mean, spread = float(x[index].mean()), float(x[index].std())
        if x.shape[-1] == 1:
            shown = of_neighbours(s.learning_rates, x[:, index[1], 0])
            shown = shown if math.isfinite(shown) else luck
            spread = abs(mean) * shown if math.isfinite(shown) and math.isfinite(mean) else 0.0
        return Score(mean, spread)

    return Row(
        optimizer=name,
        schedule=schedule,
        learning_rate=s.coords["learning_rate"][index[0]],
        training=score(s.final),
        validation=score(s.scores["loss"]) if "loss" in s.scores else None,
        accuracy=_plain_score(s.scores["accuracy"][index]) if "accuracy" in s.scores else None,
        verdict=said.label,
        at_edge=len(s.learning_rates) > 1 and index[0] in (0, len(s.learning_rates) - 1),
        steps=s.losses.shape[-1],
        advice=said.text,
    )


def _plain_score(x: np.ndarray) -> Score:
    return Score(float(x.mean()), float(x.std()))


def at(s: Sweep, schedule: str) -> int:
    """The place of a schedule."""
    return s.schedules.index(schedule)


def stayed_finite(s: Sweep, by: By) -> np.ndarray:
    """Which members did on every seed, [rate, schedule]."""
    return np.asarray(np.isfinite(s.loss(by)).all(axis=-1))


def mean_record(s: Sweep, index: tuple[int, ...]) -> np.ndarray:
    """The training losses of a member, the mean over seeds, [steps]."""
    return s.losses[index].mean(axis=0, dtype=np.float64)


def end(losses: np.ndarray) -> float:
    """The final loss of a record, [steps]."""
    return float(losses[-max(1, len(losses) // 20) :].mean())
