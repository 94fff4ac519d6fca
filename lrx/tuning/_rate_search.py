"""Where a loss is lowest over learning rates, from few short runs: bookkeeping alone, which nothing here trains."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ._end_losses import end_losses

Measure = Callable[[np.ndarray, int, int], np.ndarray]
"""(rates [n], steps, number of the round) -> training losses [n, seeds, steps], each of a run whose rate decays to its
end. The runs of one round start alike."""

LANES = 3
"""Runs side by side. The rates of each round are a multiple of them in number, so that one program serves all."""
FIRST = 10.0 ** np.arange(-3, 0, 0.5)
"""The rates of the first round."""
UNITS = 125
"""The budget in units; a run of the first round has four of them."""
ROUNDS = 3
SCORED = (0.5, 0.5, 0.25)
"""The end of a run, as a share of it, whose mean training loss is its score; by round."""


class Told(NamedTuple):
    """What is known of one run when it is over."""

    losses: int
    """How many were measured: the gradients that it cost."""
    score: float | None
    """The mean loss at its end, inf if it did not stay finite; None if it was too short to be compared."""
    initial: float
    """The loss before the first update, NaN if that is not known."""


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


@dataclasses.dataclass(frozen=True, eq=False)
class Round:
    """Short runs of one length, side by side."""

    steps: int
    """Updates of each."""
    learning_rates: np.ndarray
    """Increasing, float64 [rates]."""
    losses: np.ndarray
    """The mean over the end of the run and over seeds, inf if a run did not stay finite, float64 [rates]."""
    initial: float
    """The mean loss before the first update."""

    @property
    def best(self) -> int:
        """The place of the lowest loss."""
        return lowest_of(self.losses)

    @property
    def at_edge(self) -> int:
        """-1 or 1 if the first or the last rate is the best, else 0."""
        return -1 if self.best == 0 else int(self.best == len(self.losses) - 1)

    @property
    def vertex(self) -> float:
        """The rate at which a parabola through the lowest losses, in logarithms, is lowest."""
        return float(np.exp(lowest(np.log(self.learning_rates), self.losses, self.initial)[0]))

    @property
    def curvature(self) -> float:
        """The second derivative of that parabola, per e-fold of the rate squared; 0 if there is none."""
        return lowest(np.log(self.learning_rates), self.losses, self.initial)[1]

    @property
    def finite(self) -> bool:
        """Whether any of the runs stayed so."""
        return bool(np.isfinite(self.losses).any())


def lowest(x: np.ndarray, losses: np.ndarray, initial: float = np.inf) -> tuple[float, float]:
    """Where a parabola through the logarithms of the lowest losses is lowest, and its second derivative.

    It is at most one point away from the lowest of them. The second derivative is 0 if no parabola fits.

    Args:
      x: increasing, [points].
      losses: inf if a run diverged, [points].
      initial: the loss before any training.
    """
    k = lowest_of(losses)
    y = relative(losses, initial)
    near = np.flatnonzero((abs(np.arange(len(x)) - k) <= 2) & (y < 1.5))
    if len(near) < 3:
        return float(x[k]), 0.0
    a, b, _ = np.polyfit(x[near] - x[k], y[near], 2, w=np.exp(-y[near] / 2))
    if a <= 0:
        return float(x[k]), 0.0
    return float(np.clip(x[k] - b / (2 * a), x[max(0, k - 1)], x[min(len(x) - 1, k + 1)])), float(2 * a)


def relative(losses: np.ndarray, initial: float = np.inf) -> np.ndarray:
    """log(loss / lowest loss); of losses that are not all positive, twice the share of what there is to gain."""
    finite = losses[np.isfinite(losses)]
    if not finite.size:
        return losses
    least = finite.min()
    if least > 0:
        return np.log(losses / least)
    gain = initial - least
    if not 0 < gain < np.inf:
        gain = max(finite.max() - least, np.finfo(float).tiny)
    return 2 * (losses - least) / gain


def lowest_of(losses: np.ndarray) -> int:
    """The place of the lowest loss: the middle one of equals, but the first if all are infinite."""
    equals = np.flatnonzero(losses == losses.min())
    return int(equals[len(equals) // 2]) if np.isfinite(losses).any() else 0


class RateSearch:
    """Three rounds of short runs, ever longer and ever closer to the best rate. It does not train: it is told losses.

    1. Six rates a factor √10 apart from 0.001 on; three more beyond the best one while that is the outermost, closer
       to each other if the range ends there.
    2. Runs twice as long at three rates a factor √10 apart around the vertex of the first round.
    3. With what is left of the budget, three rates a factor 10^¼ apart around the vertex of the second round.

    The runs of a batch may be told in any order; the next batch follows from what the ones before it were told.
    """

    def __init__(self, start: float, stop: float, gradients: int, seeds: int = 1, whole: int | None = None):
        """Prepare.

        Args:
          start: the lowest rate to try.
          stop: the highest.
          gradients: the budget; at least `least(seeds)`.
          seeds: how many runs are made of each rate.
          whole: how long the runs may be; there is nothing to learn from longer ones than the training to come.
        """
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
        if not last.complete or (last.number == 0 and len(self._beyond())):
            return last.number
        return last.number + 1

    @property
    def done(self) -> bool:
        """Whether all three rounds are complete."""
        return self.stage == ROUNDS

    @property
    def longest(self) -> int:
        """How long the runs of the third round can be."""
        return min(self.left // (LANES * self.unit) * self.unit, self.whole)

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
        stage, first = self.stage, min(4 * self.unit, self.whole)
        if self.batches and not self.batches[-1].complete:
            return self.batches[-1]
        if not self.batches:
            inside = self.start <= FIRST[0] and FIRST[-1] <= self.stop
            rates, steps = FIRST if inside else np.geomspace(self.start, self.stop, len(FIRST)), first
        elif stage == 0:
            rates, steps = self._beyond(), first
        elif stage == 1:
            rates, steps = self._around(10**0.5), min(8 * self.unit, self.whole)
        else:
            rates, steps = self._around(10**0.25), self.last_steps or self.longest
        self.batches.append(Batch(stage, steps, rates, [None] * len(rates)))
        return self.batches[-1]

    def _beyond(self) -> np.ndarray:
        """Further rates of the first round, beyond the best one; none if that is not the outermost."""
        first, steps = self._round(0), min(4 * self.unit, self.whole)
        if first is None or not first.at_edge or self.left - LANES * steps < 0.6 * self.budget:
            return np.empty(0)
        side, end = (0, self.start) if first.at_edge < 0 else (-1, self.stop)
        edge = first.learning_rates[side]
        room = abs(np.log10(end / edge))
        if room < 0.1:
            return np.empty(0)
        spacing = min(0.5, room / LANES)
        return np.sort(edge * 10.0 ** (spacing * first.at_edge * np.arange(1, 1 + LANES)))

    def _round(self, number: int) -> Round | None:
        """What the runs of a round were told, or None where none has a score."""
        some = [b for b in self.batches if b.number == number]
        runs = sorted(
            (rate, told.score, told.initial)
            for b in some
            for rate, told in zip(b.rates.tolist(), b.told, strict=True)
            if told is not None and told.score is not None
        )
        if not runs:
            return None
        rates, losses, initial = map(np.asarray, zip(*runs, strict=True))
        known = initial[~np.isnan(initial)]
        return Round(some[0].steps, rates, losses, float(known.mean()) if known.size else np.nan)

    def _around(self, spacing: float) -> np.ndarray:
        """Three rates around the best so far, moved into the range together if they reach over its end."""
        tried = np.concatenate([b.rates for b in self.batches])
        rate = self.rounds[-1].vertex if self.rounds else np.exp(np.log(tried).mean())
        low, high = np.log(self.start), np.log(self.stop)
        reach = min(np.log(spacing), (high - low) / 2)
        return np.exp(np.clip(np.log(rate), low + reach, high - reach) + reach * np.arange(-1, 2))


def drive(search: RateSearch, measure: Measure, rounds: int = ROUNDS) -> None:
    """Make the runs of a search, batch by batch, up to a number of rounds."""
    while search.stage < rounds:
        batch = search.open()
        for i, losses in enumerate(measure(batch.rates, batch.steps, batch.number)):
            batch.told[i] = summary(losses, batch.number)


def summary(losses: np.ndarray, number: int) -> Told:
    """What whole runs [seeds, steps] at one rate say, in the round of that number."""
    return Told(losses.size, float(scores(losses[None], SCORED[number])[0]), initial_of(losses))


def initial_of(losses: np.ndarray) -> float:
    """The mean over seeds of the first loss that is finite, [seeds, steps] -> []; not finite if a seed has none."""
    first = np.isfinite(losses).argmax(axis=-1)
    return float(np.take_along_axis(losses, first[:, None], axis=-1).mean())


def unit_of(gradients: int, seeds: int) -> int:
    """The updates of which the length of every run is a multiple."""
    return max(1, gradients // (UNITS * seeds))


def least(seeds: int) -> int:
    """The smallest budget that leaves the third round as long as the second."""
    return seeds * (4 * len(FIRST) + 2 * LANES * 8)


def scores(losses: np.ndarray, share: float) -> np.ndarray:
    """Losses [rates, seeds, steps] -> the mean over the end of the runs, inf if one diverged, [rates]."""
    last = end_losses(losses, max(1, round(share * losses.shape[-1])))
    return np.where(np.isfinite(last), last, np.inf).mean(axis=-1)
