"""A suggested learning rate, and how far to trust it."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import charts
from ._range_test import RangeTest
from ._rate_search import Round

SURE = 1.6
"""Factor by which the best rate of a whole run may be off that of the short ones, on real tasks."""


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """A suggested learning rate, and how far to trust it."""

    learning_rate: float
    """The suggestion."""
    interval: tuple[float, float]
    """Where the best rate is expected."""
    confident: bool
    """Whether the evidence is good; `doubt` says what is wrong with it."""
    range_test: RangeTest
    """Loss against learning rate over the whole range: the first round, or the ramp of a named rule."""
    rounds: tuple[Round, ...] = ()
    """The short runs, ever longer and closer to the suggestion; none under a named rule."""
    gradients: int = 0
    """What it cost."""
    doubt: str = ""
    """What is wrong with the evidence, or nothing."""

    def plot(self) -> Any:
        """Loss against learning rate, with the suggestion marked. Needs matplotlib; returns the figure."""
        if not self.rounds:
            return self.range_test.plot(self.learning_rate)
        lines = {f"{r.steps} steps": (r.learning_rates, r.losses) for r in self.rounds}
        fitted = self.rounds[-1].curvature > 0
        return charts.plot_short_runs(lines, self.learning_rate, self.interval, parabola=fitted)


def judged(rounds: tuple[Round, ...], start: float, stop: float, gradients: int, doubts: Iterable[str] = ()) -> Found:
    """The suggestion of the last of the rounds, and how far to trust it.

    Args:
      rounds: what was measured: three rounds, fewer where a search is not at its end. At least one.
      start: the lowest rate that could be tried.
      stop: the highest.
      gradients: what it cost.
      doubts: what else is wrong with the evidence.
    """
    first, second, third = rounds[0], rounds[-2:][0], rounds[-1]
    # where even its lowest rate diverged, the next lower one
    rates = third.learning_rates
    rate = third.vertex if third.finite else rates[0] ** 2 / rates[min(1, len(rates) - 1)]
    rate = float(min(max(rate, start), stop))
    apart = abs(math.log(rate / second.vertex))
    flat = math.sqrt(2 * math.log(1.05) / third.curvature) if third.curvature > 0 else 0.0
    reach = max(math.log(SURE), apart, min(flat, math.log(10)))
    fell = any(r.losses.min() < r.initial - 0.1 * abs(r.initial) for r in rounds)
    alike = first.finite and first.losses.max() <= first.losses.min() + 1e-5 * abs(first.initial)
    found = {
        "the loss fell by less than a tenth": not fell,
        "the loss is the same at every rate": alike,
        "the best rate is at an end of the range": not 1.05 * start < rate < stop / 1.05,
        "the longer runs ask for a rate more than 5 times off that of the shorter ones": apart > math.log(5),
        "the longer runs all diverged": not third.finite,
        "the runs were shorter than 20 steps": third.steps < 20,
    }
    doubt = "; ".join([*(text for text, true in found.items() if true), *doubts])
    test = RangeTest(np.asarray(first.learning_rates, np.float32), np.asarray(first.losses, np.float32))
    interval = (rate * math.exp(-reach), rate * math.exp(reach))
    return Found(rate, interval, not doubt, test, rounds, gradients, doubt)
