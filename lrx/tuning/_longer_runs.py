"""Longer runs of an optimizer at three rates side by side: where the best rate of whole runs is, as `tune` asks it."""

import dataclasses
import math
from typing import Any

import jax
import numpy as np

from ._evidence import START_ERROR, Drift, Trend
from ._find import ShortRuns
from ._found import Found, judged
from ._grid import grid
from ._rate_search import Batch, RateSearch, expected, round_of, summary
from ._request import Request
from ._round import Round
from ._shortened import midpoints
from ._whole_runs import trained

RATES = 3
"""How many of them."""
APART = 1.8
"""Factor between two of them. What short runs suggest is off by 1.4 on real tasks: three rates a factor 1.35 apart
often lie on one side of the best one, and a parabola through rates 2.4 apart is read less well."""
LAST = 2
"""The round of a search in which runs are scored like these."""


def found_by_longer_runs(
    request: Request, name: str, curve: Any, key: jax.Array, search: RateSearch, runs: ShortRuns, updates: int
) -> Found:
    """Make the longer runs of an optimizer, and judge the rate by them.

    Args:
      request: of `tune`.
      name: of the optimizer.
      curve: the schedule, gone through in so many updates.
      key: of the start and the batches, the same for all three.
      search: the rounds of short runs.
      runs: what made them.
      updates: of each of the longer runs.
    """
    make, whole = request.makers[name], request.steps
    rates = around(search, updates)
    # all of the schedule of the whole run, in fewer updates
    rows = grid(make, rates, {"schedule": curve}, {}, whole).rows[:, midpoints(updates, whole)]
    unscored = dataclasses.replace(request, problem=dataclasses.replace(request.problem, evaluate=None))
    losses, _ = trained(unscored, make, rows, key, 1, f"{name}: longer runs")
    longer = round_of([Batch(LAST, updates, rates, [summary(x, LAST) for x in losses])])
    assert longer is not None  # each was told
    rounds, gradients = (*search.rounds, longer), runs.gradients + losses.size
    line = followed(rounds, whole, runs.drift)
    return judged(rounds, search.start, search.stop, gradients, whole=whole, drift=runs.drift, line=line)


def around(search: RateSearch, updates: int) -> np.ndarray:
    """Rates around the best that short runs expect for runs of so many updates, within the range of the search."""
    low, high = math.log(search.start), math.log(search.stop)
    reach = min(math.log(APART) * (RATES - 1) / 2, (high - low) / 2)
    centre = min(max(expected(search.rounds, updates, search.drift).log_rate, low + reach), high - reach)
    return np.exp(centre + np.linspace(-reach, reach, RATES))


def followed(rounds: tuple[Round, ...], whole: int, drift: Drift) -> Trend:
    """The best rate of whole runs from that of the last round alone, where its runs have learned something.

    The rounds before are of runs so much shorter that their mean with it would be farther off, and how the best rate
    moves from one of them to the next says nothing of how it moves beyond a quarter of a run: that is as expected of
    the kind of the optimizer, or not at all where this is not known.
    """
    last = rounds[-1]
    if not (last.fell and last.finite):
        return expected(rounds, whole, drift)
    slope, further = drift.mean if drift.certain else 0.0, math.log(whole / last.steps)
    error = math.sqrt(START_ERROR**2 + last.error**2 + drift.far**2 * further + (drift.error * further) ** 2)
    return Trend(math.log(last.vertex) + slope * further, error, slope)
