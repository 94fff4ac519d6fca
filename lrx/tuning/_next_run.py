"""Which optimizer, schedule and rate gets the next whole run within a budget."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import _check as check
from ._arguments import By
from ._convex_bound import ConvexBound, convex_bound
from ._grid import grid

SPACING = 10**0.13
"""Factor between two rates of the whole runs, where the user gives none."""
LOWER = 6.0
"""By which a rate is lowered at first to see whether the validation loss asks for less than the training loss does, and
where a whole run diverged."""

SAME = 0.02
"""Difference of two distances of rates from another, in logarithms, up to which the lower rate comes first."""


@dataclasses.dataclass(frozen=True)
class Member:
    """What gets a whole run."""

    optimizer: str
    schedule: str
    learning_rate: float


@dataclasses.dataclass(frozen=True, eq=False)
class Candidates:
    """All that may get whole runs, and what is known of it beforehand."""

    optimizers: tuple[str, ...]
    """The best of the short runs first."""
    schedules: tuple[str, ...]
    """The best guarantee first."""
    bounds: dict[str, ConvexBound]
    suggested: dict[str, float]
    """The rate that the short runs suggest, by optimizer, under the first schedule."""
    lattice: dict[str, np.ndarray]
    """The rates that may be used, by optimizer, increasing."""
    by: By

    def in_order(self, done: dict[Member, float]) -> Iterator[Member]:
        """Which to train next, the most promising first, given the losses of those that were trained."""
        first, *others = self.optimizers
        schedule, *rest = self.schedules
        tries = [Member(name, schedule, self._near(name, self.suggested[name])) for name in (first, *others[:1])]
        if all(m in done for m in tries):
            best = min(done, key=lambda m: done[m])
            tries += self._around(best, done)
            tries += [self._transferred(best, other) for other in rest]
            tries += [Member(name, schedule, self._near(name, self.suggested[name])) for name in others[1:]]
            pairs = dict.fromkeys((m.optimizer, m.schedule) for m in sorted(done, key=lambda m: done[m]))
            for pair in pairs:
                some = [m for m in done if (m.optimizer, m.schedule) == pair]
                tries += self._around(min(some, key=lambda m: done[m]), done)
        return (m for m in tries if m not in done)

    def _near(self, optimizer: str, rate: float) -> float:
        lattice = self.lattice[optimizer]
        return float(lattice[np.argmin(abs(np.log(lattice / rate)))])

    def _transferred(self, member: Member, schedule: str) -> Member:
        """The same under another schedule, at the rate that the bound asks for there."""
        factor = self.bounds[schedule].peak / self.bounds[member.schedule].peak
        return Member(member.optimizer, schedule, self._near(member.optimizer, member.learning_rate * factor))

    def _around(self, best: Member, done: dict[Member, float]) -> list[Member]:
        """Rates around the best one of a pair: further out while it is the outermost, else in between."""
        rates = sorted(m.learning_rate for m in done if (m.optimizer, m.schedule) == (best.optimizer, best.schedule))
        lattice = self.lattice[best.optimizer]
        place = int(np.argmin(abs(np.log(lattice / best.learning_rate))))
        lower, higher = ([r for r in rates if r < best.learning_rate], [r for r in rates if r > best.learning_rate])
        if not math.isfinite(done[best]):
            rates = [self._near(best.optimizer, rates[0] / LOWER)]  # none of them was
        elif self.by == "validation":
            # the training loss was asked already: what may be better lies below
            down = self._near(best.optimizer, best.learning_rate / LOWER)
            down = down if not lower else self._near(best.optimizer, math.sqrt(best.learning_rate * lower[-1]))
            up = [self._near(best.optimizer, math.sqrt(best.learning_rate * higher[0]))] if higher else []
            rates = [down, *up]
        else:
            beside = [float(lattice[i]) for i in (place - 1, place + 1) if 0 <= i < len(lattice)]
            suggested = math.log(self.suggested[best.optimizer])
            beside.sort(key=lambda r: abs(math.log(r) - suggested) + SAME * (math.log(r) > suggested))
            rates = beside
        return [Member(best.optimizer, best.schedule, r) for r in rates]


def bound_of(name: str, make: Any, curve: Any, steps: int) -> ConvexBound:
    """The convex bound of a schedule, its best peak in terms of the peak that `curve` is given."""
    peak = 0.01
    rates = grid(make, peak, {name: curve}, {}, steps).rows[0].astype(np.float64)
    if not (np.isfinite(rates) & (rates >= 0)).all() or not rates.any():
        i = int(np.argmax(~(np.isfinite(rates) & (rates >= 0))))  # the first of all, if all are zero
        rule = "must give rates that are finite and not negative, nor all zero"
        raise check.fail("schedules", rule, float(rates[i]), f"That is the rate of {name!r} at count {i}.")
    bound, best = convex_bound(rates)
    return ConvexBound(bound, best * peak / rates.max())


def lattice_around(centre: float) -> np.ndarray:
    """Rates around a suggestion, which is one of them, in three digits each, for people."""
    rates = centre * SPACING ** np.arange(-40.0, 41.0)
    return np.asarray([float(f"{r:.3g}") for r in rates])
