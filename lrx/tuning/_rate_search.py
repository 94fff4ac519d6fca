"""Where a loss is lowest over learning rates, from few short runs. Pure functions: what trains is an argument."""

import dataclasses
from collections.abc import Callable

import numpy as np

Measure = Callable[[np.ndarray, int, int], np.ndarray]
"""(rates [n], steps, number of the round) -> training losses [n, seeds, steps], each of a run whose rate decays to its
end. The runs of one round start alike."""

LANES = 3
"""Runs side by side. The rates of each round are a multiple of them in number, so that one program serves all."""
FIRST = 10.0 ** np.arange(-3, 0, 0.5)
"""The rates of the first round."""
UNITS = 125
"""The budget in units; a run of the first round has four of them."""
SCORED = (0.5, 0.5, 0.25)
"""The end of a run, as a share of it, whose mean training loss is its score; by round."""


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
    """Three rounds of short runs, ever longer and ever closer to the best rate.

    1. Six rates a factor √10 apart from 0.001 on; three more beyond the best one while that is the outermost, closer
       to each other if the range ends there.
    2. Runs twice as long at three rates a factor √10 apart around the vertex of the first round.
    3. With what is left of the budget, three rates a factor 10^¼ apart around the vertex of the second round.
    """

    def __init__(
        self, measure: Measure, start: float, stop: float, gradients: int, seeds: int = 1, whole: int | None = None
    ):
        """Prepare.

        Args:
          measure: trains.
          start: the lowest rate to try.
          stop: the highest.
          gradients: the budget; at least `least(seeds)`.
          seeds: how many runs `measure` makes of each rate.
          whole: how long the runs may be; there is nothing to learn from longer ones than the training to come.
        """
        self.measure, self.seeds = measure, seeds
        self.start, self.stop = start, stop
        self.budget = self.left = gradients // seeds
        whole = self.budget if whole is None else whole
        self.unit = max(1, min(unit_of(gradients, seeds), whole // 4))
        self.whole = whole // self.unit * self.unit
        self.rounds: tuple[Round, ...] = ()

    def narrow(self) -> None:
        """The first two rounds."""
        steps = min(4 * self.unit, self.whole)
        inside = self.start <= FIRST[0] and FIRST[-1] <= self.stop
        first = self._round(0, FIRST if inside else np.geomspace(self.start, self.stop, len(FIRST)), steps)
        while first.at_edge and self.left - LANES * steps >= 0.6 * self.budget:
            side, end = (0, self.start) if first.at_edge < 0 else (-1, self.stop)
            edge = first.learning_rates[side]
            room = abs(np.log10(end / edge))
            if room < 0.1:
                break
            spacing = min(0.5, room / LANES)
            beyond = np.sort(edge * 10.0 ** (spacing * first.at_edge * np.arange(1, 1 + LANES)))
            first = _joined(first, self._round(0, beyond, steps))
        second = self._round(1, self._around(first.vertex, 10**0.5), min(8 * self.unit, self.whole))
        self.rounds = first, second

    @property
    def longest(self) -> int:
        """How long the runs of the third round can be."""
        return min(self.left // (LANES * self.unit) * self.unit, self.whole)

    def finish(self, steps: int | None = None) -> tuple[Round, ...]:
        """The third round, of as long runs as the budget has left, or of `steps`; all rounds."""
        third = self._round(2, self._around(self.rounds[-1].vertex, 10**0.25), steps or self.longest)
        self.rounds = (*self.rounds, third)
        return self.rounds

    def _round(self, number: int, rates: np.ndarray, steps: int) -> Round:
        self.left -= len(rates) * steps
        losses = self.measure(rates, steps, number)
        return Round(steps, rates, scores(losses, SCORED[number]), float(losses[..., 0].mean()))

    def _around(self, rate: float, spacing: float) -> np.ndarray:
        """Three rates, moved into the range together if they reach over its end."""
        low, high = np.log(self.start), np.log(self.stop)
        reach = min(np.log(spacing), (high - low) / 2)
        return np.exp(np.clip(np.log(rate), low + reach, high - reach) + reach * np.arange(-1, 2))


def unit_of(gradients: int, seeds: int) -> int:
    """The updates of which the length of every run is a multiple."""
    return max(1, gradients // (UNITS * seeds))


def least(seeds: int) -> int:
    """The smallest budget that leaves the third round as long as the second."""
    return seeds * (4 * len(FIRST) + 2 * LANES * 8)


def scores(losses: np.ndarray, share: float) -> np.ndarray:
    """Losses [rates, seeds, steps] -> the mean over the end of the runs, inf if one was not finite, [rates]."""
    last = losses[..., -max(1, round(share * losses.shape[-1])) :].mean(axis=-1, dtype=np.float64)
    return np.where(np.isfinite(losses).all(axis=-1), last, np.inf).mean(axis=-1)


def _joined(a: Round, b: Round) -> Round:
    rates = np.concatenate([a.learning_rates, b.learning_rates])
    order = np.argsort(rates)
    return Round(a.steps, rates[order], np.concatenate([a.losses, b.losses])[order], (a.initial + b.initial) / 2)
