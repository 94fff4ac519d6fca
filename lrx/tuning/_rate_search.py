"""Where a loss is lowest over learning rates, from few short runs: bookkeeping alone, which nothing here trains."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ._end_losses import end_losses
from ._evidence import UNKNOWN, Drift, Trend, parts_of, trend
from ._round import Round

Measure = Callable[[np.ndarray, int, int], np.ndarray]
"""(rates [n], steps, number of the round) -> training losses [n, seeds, steps], each of a run whose rate decays to its
end. The runs of one round start alike."""

LANES = 3
"""Runs side by side, at most."""
SPACING = 10**0.5
"""Factor between two rates of a round."""
FIRST = 10.0 ** np.arange(-3, 0, 0.5)
"""The rates of the first round."""
UNITS = 125
"""The budget in units; a run of the first round has four of them."""
ROUNDS = 3
PLANNED = (6, 3, 3)
"""Runs in each round, at least."""
TOGETHER = (6, 3, 2)
"""How many of them are made side by side at first."""
KEPT = (0.6, 0.4, 0.0)
"""The share of the budget that must be left after rates beyond those that were planned, by round."""
MOST = 1e300
"""A loss farther from zero counts as this, so that differences and sums of losses are finite."""
SCORED = (0.5, 0.25, 0.25)
"""The end of a run, as a share of it, whose mean training loss is its score; by round."""


class Told(NamedTuple):
    """What is known of one run when it is over."""

    losses: int
    """How many were measured: the gradients that it cost."""
    score: float | None
    """The mean loss at its end, inf if it did not stay finite; None if it was too short to be compared."""
    initial: float
    """The loss before the first update, NaN if that is not known."""
    parts: tuple[float, ...] = ()
    """How far the parts of its end are from their mean, none where that is not known: see `parts_of`."""


@dataclasses.dataclass(eq=False)
class Batch:
    """Short runs of one length, which start alike and see the same batches of data."""

    number: int
    """Of the round that it belongs to."""
    steps: int
    """Updates of each."""
    rates: np.ndarray
    """Increasing, float64 [rates]."""
    told: list[Told | None]
    """Of each rate; None where the run is not over."""

    @property
    def complete(self) -> bool:
        """Whether all runs are over."""
        return all(told is not None for told in self.told)


class RateSearch:
    """Three rounds of short runs, ever longer, around the best rate. It does not train: it is told losses.

    1. Six rates a factor √10 apart from 0.001 on; three more beyond the best one while that is the outermost, closer
       to each other if the range ends there.
    2. Runs twice as long at three such rates, around where the first round expects the best.
    3. With what is left of the budget, two such rates around where the rounds before expect it for runs of that length,
       and a third one on the side of the better.

    In each of them one more beyond the outermost if that is the best by more than noise, while the budget lasts. The
    runs of a batch may be told in any order; the next batch follows from what the ones before it were told.
    """

    def __init__(
        self,
        start: float,
        stop: float,
        gradients: int,
        seeds: int = 1,
        whole: int | None = None,
        drift: Drift = UNKNOWN,
    ):
        """Prepare.

        Args:
          start: the lowest rate to try.
          stop: the highest.
          gradients: the budget; at least `least(seeds)`.
          seeds: how many runs are made of each rate.
          whole: how long the runs may be; there is nothing to learn from longer ones than the training to come.
          drift: how the best rate of the optimizer is expected to move with the length of the runs.
        """
        self.drift = drift
        self.start, self.stop = start, stop
        self.budget = gradients // seeds
        whole = self.budget if whole is None else whole
        self.unit = max(1, min(unit_of(gradients, seeds), whole // 4))
        self.whole = whole // self.unit * self.unit
        self.batches: list[Batch] = []
        self.last_steps: int | None = None
        """How long the runs of the third round are to be; as long as the budget allows if None."""

    @property
    def left(self) -> int:
        """What the batches so far leave of the budget, in gradients of each seed."""
        return self.budget - sum(len(b.rates) * b.steps for b in self.batches)

    @property
    def stage(self) -> int:
        """The round that the open batch belongs to, or the next one if none is open; 3 at the end."""
        if not self.batches:
            return 0
        last = self.batches[-1]
        return last.number if not last.complete or len(self._more()) else last.number + 1

    @property
    def done(self) -> bool:
        """Whether all three rounds are complete."""
        return self.stage == ROUNDS

    @property
    def longest(self) -> int:
        """How long the runs of the third round can be."""
        return min(self.left // (PLANNED[-1] * self.unit) * self.unit, self.whole)

    @property
    def rounds(self) -> tuple[Round, ...]:
        """The rounds of which some run has a score, also if others have not been told yet."""
        rounds = (self._round(number) for number in range(ROUNDS))
        return tuple(r for r in rounds if r is not None)

    @property
    def cut_short(self) -> int:
        """How many runs were too short to be compared."""
        return sum(told is not None and told.score is None for b in self.batches for told in b.told)

    def open(self) -> Batch:
        """The batch whose runs are to be made now; not to be asked for when all is done."""
        if self.batches and not self.batches[-1].complete:
            return self.batches[-1]
        stage = self.stage
        steps = self._length(stage)
        if stage == (self.batches[-1].number if self.batches else -1):
            rates = self._more()
        elif stage == 0:
            inside = self.start <= FIRST[0] and FIRST[-1] <= self.stop
            rates = FIRST if inside else np.geomspace(self.start, self.stop, len(FIRST))
        else:
            rates = self._around(TOGETHER[stage], steps)
        self.batches.append(Batch(stage, steps, rates, [None] * len(rates)))
        return self.batches[-1]

    def _length(self, number: int) -> int:
        """How long the runs of a round are."""
        if number < ROUNDS - 1:
            return min((4, 8)[number] * self.unit, self.whole)
        return next((b.steps for b in self.batches if b.number == number), self.last_steps or self.longest)

    def _more(self) -> np.ndarray:
        """Further rates of the round whose runs so far are over, none if it is complete."""
        number = self.batches[-1].number
        this, steps = self._round(number), self._length(number)
        tried = sum(len(b.rates) for b in self.batches if b.number == number)
        planned = tried < PLANNED[number]
        side = 0 if this is None else this.at_edge if planned else this.beyond
        many = LANES if number == 0 else 1
        if this is None or not side or self.left - many * steps < (0.0 if planned else KEPT[number] * self.budget):
            return np.empty(0)
        edge, end = this.learning_rates[0 if side < 0 else -1], self.start if side < 0 else self.stop
        room = abs(np.log10(end / edge))
        if room < 0.1:  # at the end of the range: in between, if one more was planned
            inside = np.sqrt(this.learning_rates[[0]] * this.learning_rates[-1])
            return inside if planned and len(this.learning_rates) == 2 else np.empty(0)
        return np.sort(edge * 10.0 ** (min(np.log10(SPACING), room / many) * side * np.arange(1, 1 + many)))

    def _round(self, number: int) -> Round | None:
        """What the runs of a round were told, or None where none has a score."""
        return round_of([b for b in self.batches if b.number == number])

    def _around(self, number: int, steps: int) -> np.ndarray:
        """Rates around the best for runs of so many steps, moved into the range if they reach over its end."""
        tried = np.concatenate([b.rates for b in self.batches])
        rate = np.exp(expected(self.rounds, steps, self.drift).log_rate if self.rounds else np.log(tried).mean())
        low, high = np.log(self.start), np.log(self.stop)
        reach = min(np.log(SPACING) * (number - 1) / 2, (high - low) / 2)
        return np.exp(np.clip(np.log(rate), low + reach, high - reach) + reach * np.linspace(-1, 1, number))


def expected(rounds: tuple[Round, ...], steps: int, drift: Drift = UNKNOWN) -> Trend:
    """Where the best rate is for runs of so many steps."""
    some = [r for r in rounds if r.fell and r.finite] or list(rounds[-1:])
    vertices, errors = [np.log(r.vertex) for r in some], [r.error for r in some]
    return trend([r.steps for r in some], vertices, errors, steps, drift)


def round_of(batches: Sequence[Batch]) -> Round | None:
    """What the runs of some batches of one round were told, or None where none has a score."""
    runs = sorted(
        (rate, told.score, told.initial, told.parts)
        for b in batches
        for rate, told in zip(b.rates.tolist(), b.told, strict=True)
        if told is not None and told.score is not None
    )
    if not runs:
        return None
    rates, losses, initial, parts = zip(*runs, strict=True)
    initial = np.asarray(initial)
    known = initial[np.isfinite(initial)]
    first = float(np.median(known)) if known.size else float(initial[0])
    number, steps, n = batches[0].number, batches[0].steps, max(map(len, parts))
    parts = np.asarray([x if len(x) == n else (np.nan,) * n for x in parts]).reshape(len(runs), n)
    return Round(steps, np.asarray(rates), np.asarray(losses), first, parts, max(1, round(SCORED[number] * steps)))


def drive(search: RateSearch, measure: Measure, rounds: int = ROUNDS) -> None:
    """Make the runs of a search, batch by batch, up to a number of rounds."""
    while search.stage < rounds:
        batch = search.open()
        for i, losses in enumerate(measure(batch.rates, batch.steps, batch.number)):
            batch.told[i] = summary(losses, batch.number)


def summary(losses: np.ndarray, number: int) -> Told:
    """What whole runs [seeds, steps] at one rate say, in the round of that number."""
    losses = bounded(losses)
    score = float(scores(losses[None], SCORED[number])[0])
    return Told(losses.size, score, initial_of(losses), parts_told(losses, score, number))


def bounded(losses: np.ndarray) -> np.ndarray:
    """Losses as float64, those that are finite at most `MOST` from zero."""
    x = np.asarray(losses, np.float64)
    return np.where(np.isfinite(x), np.clip(x, -MOST, MOST), x)


def parts_told(losses: np.ndarray, score: float, number: int) -> tuple[float, ...]:
    """The parts of the end of a run [seeds, steps] with that score, in the round of that number."""
    if not np.isfinite(score):
        return ()
    return tuple(parts_of(losses, max(1, round(SCORED[number] * losses.shape[-1]))).tolist())


def initial_of(losses: np.ndarray) -> float:
    """The mean over seeds of the first loss that is finite, [seeds, steps] -> []; not finite if a seed has none."""
    first = np.isfinite(losses).argmax(axis=-1)
    with np.errstate(invalid="ignore"):
        return float(np.take_along_axis(losses, first[:, None], axis=-1).mean())


def unit_of(gradients: int, seeds: int) -> int:
    """The updates of which the length of every run is a multiple."""
    return max(1, gradients // (UNITS * seeds))


def least(seeds: int) -> int:
    """The smallest budget that leaves the third round as long as the second."""
    return seeds * (4 * PLANNED[0] + 8 * PLANNED[1] + 8 * PLANNED[2])


def scores(losses: np.ndarray, share: float) -> np.ndarray:
    """Losses [rates, seeds, steps] -> the mean over the end of the runs, inf if one diverged, [rates]."""
    last = end_losses(losses, max(1, round(share * losses.shape[-1])))
    return np.where(np.isfinite(last), last, np.inf).mean(axis=-1)
