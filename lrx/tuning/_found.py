"""A suggested learning rate, and how far to trust it."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import charts
from ._evidence import UNKNOWN, Drift, Trend
from ._range_test import RangeTest
from ._rate_search import expected
from ._round import Round

WIDE = 2.4
"""Standard errors on each side of the suggestion that the interval covers, beside half the width of the valley. On real
tasks it covers all swept rates within 5 % of the best one in about nine cases of ten."""
UNSURE = 10.0
"""Factor on each side of the suggestion from which on the interval is a doubt."""


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """A suggested learning rate, and how far to trust it.

    Examples:
      >>> import numpy as np, lrx
      >>> test = lrx.RangeTest(np.logspace(-3, 0, 4), np.array([4.0, 3.0, 1.0, 9.0]))
      >>> lrx.Found(0.1234, (0.0501, 0.251), True, test)
      Found(learning_rate=0.123, interval=(0.0501, 0.251), confident=True)
      >>> lrx.Found(0.1, (0.05, 0.2), False, test, doubt="the runs were shorter than 20 steps")
      Found(learning_rate=0.1, interval=(0.05, 0.2), confident=False, doubt='the runs were shorter than 20 steps')
    """

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

    def __repr__(self) -> str:
        low, high = self.interval
        said = f"learning_rate={self.learning_rate:.3g}, interval=({low:.3g}, {high:.3g}), confident={self.confident}"
        return f"Found({said}, doubt={self.doubt!r})" if self.doubt else f"Found({said})"

    def plot(self) -> Any:
        """Loss against learning rate, with the suggestion marked. Needs matplotlib; returns the figure."""
        if not self.rounds:
            return self.range_test.plot(self.learning_rate)
        lines = {f"{r.steps} steps": (r.learning_rates, r.losses) for r in self.rounds}
        # the fit is on another scale than the picture, and the suggestion goes beyond the last round
        return charts.plot_short_runs(lines, self.learning_rate, self.interval, parabola=False)


def judged(
    rounds: tuple[Round, ...],
    start: float,
    stop: float,
    gradients: int,
    doubts: Iterable[str] = (),
    *,
    whole: int | None = None,
    drift: Drift = UNKNOWN,
    line: Trend | None = None,
) -> Found:
    """The suggestion for the training to come, and how far to trust it.

    Args:
      rounds: what was measured: three rounds, fewer where a search is not at its end, more where longer runs followed.
        At least one.
      start: the lowest rate that could be tried.
      stop: the highest.
      gradients: what it cost.
      doubts: what else is wrong with the evidence.
      whole: updates of the training to come; those of the last round if None.
      drift: how the best rate of the optimizer is expected to move with the length of the run.
      line: where the best rate is; as the rounds together show it if None.
    """
    first, last = rounds[0], rounds[-1]
    line = line or expected(rounds, last.steps if whole is None else whole, drift)
    rates = last.learning_rates
    # where even its lowest rate diverged, the next lower one
    rate = math.exp(line.log_rate) if last.finite else float(rates[0] ** 2 / rates[min(1, len(rates) - 1)])
    rate = float(min(max(rate, start), stop))
    at_end = last.finite and not 1.05 * start < last.vertex < stop / 1.05
    if at_end:  # where else it may move for longer runs was not seen
        rate = min(max(last.vertex, start), stop)
    stable = np.isfinite(last.losses)
    if last.finite and not stable[-1]:  # a whole run gives a rate more time to diverge
        rate = min(rate, float(rates[stable][-1]))
    flat = math.sqrt(2 * math.log(1.05) / last.curvature) if last.curvature > 0 else 0.0
    flat = min(flat, math.log(10))
    reach = WIDE * line.error + flat  # the whole valley, wherever it may lie
    found = {
        "the loss did not fall by more than its noise": not all(r.fell for r in rounds if r.finite),
        "the loss is the same at every rate": first.alike or last.alike,
        "the best rate is at an end of the range": at_end or not 1.05 * start < rate < stop / 1.05,
        "the longer runs ask for a rate beyond those that were tried": last.finite and last.beyond != 0,
        f"the rounds do not show the best rate to a factor of {UNSURE:g}": max(WIDE * line.error, flat)
        > math.log(UNSURE),
        "the longer runs all diverged": not last.finite,
        "the losses over the rates are no single valley": any(r.rugged for r in rounds),
        "the runs were shorter than 20 steps": last.steps < 20,
    }
    doubt = "; ".join([*(text for text, true in found.items() if true), *doubts])
    with np.errstate(over="ignore"):
        test = RangeTest(np.asarray(first.learning_rates, np.float32), np.asarray(first.losses, np.float32))
    interval = (rate * math.exp(-reach), rate * math.exp(reach))
    return Found(rate, interval, not doubt, test, rounds, gradients, doubt)
