"""`find`: a learning rate for a quarter of the price of one training run, from short runs or from a range test."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from .. import _check as check
from .. import charts
from ..problems._problem import Problem
from ._arguments import check_kinds
from ._engine import Engine, as_key
from ._grid import MakeSchedule, grid
from ._host_batches import Batches
from ._layout import Layout
from ._presets import linear
from ._range_test import RangeTest, ramps
from ._rate_search import FIRST, LANES, RateSearch, Round, least
from ._suggest import RULES, Rule, suggest

ENOUGH = 50
"""Steps in a ramp that are enough: in fewer, the losses are still those of the first steps."""
QUARTER = 0.25
"""Of a run: the price of `find`."""
CHEAPEST = 250
"""The least number of gradients, also for runs of fewer than 1,000 steps."""
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


@check.public
def find(
    problem: Problem,
    make_optimizer: Callable[..., Any],
    *,
    key: jax.Array | None = None,
    steps: int = 1000,
    schedule: MakeSchedule | None = None,
    budget: float | None = None,
    start: float = 1e-7,
    stop: float = 10.0,
    seeds: int | None = None,
    rule: Rule | None = None,
    num_steps: int | None = None,
) -> Found:
    """Suggest a learning rate for a fraction of the price of one training run.

    Short runs under the schedule of the long one, each decayed to its end, are compared on the same batches, in three
    rounds: over the range of rates, then closer to the best and longer. A parabola through the logarithms of the lowest
    losses,

    ::

      log ℓ(η) ≈ log ℓ* + c/2 · (log η − log η*)²

    gives the suggestion η*. A rate that is best for a short decayed run is close to the best one for a long run,
    which a ramp of rates, in which nothing decays, does not show.

    With `rule`, range tests are run instead, and the rule of `suggest` is applied to the median of their losses,
    smoothed with β = 0.98, without the first tenth and the last five points (a twentieth of a ramp of fewer than 100
    steps).

    Args:
      problem: what to train.
      make_optimizer: function of the learning rate, such as `lrx.adamw`.
      key: a JAX random key; `jax.random.key(0)` if None.
      steps: updates of the training to come.
      schedule: its schedule, as a function of (peak, steps); 5 % warmup, then linear to zero, if None. The short runs
        go through it faster.
      budget: what it may cost, in runs of `steps` gradients; if None, a quarter, but 250 gradients of each start at
        least.
      start: the lowest rate to try, > 0.
      stop: the highest.
      seeds: starts; one for short runs and three ramps if None. The budget is divided among them.
      rule: None for short runs, or a rule of `suggest`, applied to ramps. The best of these is "minimum".
      num_steps: with `rule`, updates in one ramp; 100 if None. Three such ramps cost 0.3 of a run of 1,000.

    Returns:
      A `Found`: `.learning_rate`, `.interval`, `.confident`, `.doubt`, `.range_test`, `.rounds`, `.plot()`.

    Raises:
      ValueError: if a number is out of its range, the budget is too small, an argument is of the other kind of runs,
        the loss is not finite at the start, or no run stays finite.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> bowl = lrx.Problem(
      ...     init=lambda key: jnp.ones(2),
      ...     loss=lambda params, batch, key=None: jnp.sum(params**2),
      ...     sample=lambda key: jnp.zeros(()),
      ... )
      >>> found = lrx.find(bowl, lrx.sgd)
      >>> 0.1 < found.learning_rate < 1.0
      True
    """
    check_kinds(problem, make_optimizer)
    check.finite(start=start, stop=stop)
    check.positive(start=start)
    check.less("start", start, "stop", stop)
    if rule is not None:
        check.one_of(tuple(RULES), rule=rule)
        for name, given in (("schedule", schedule), ("budget", budget)):
            if given is not None:
                raise check.fail(name, f"must be None beside rule={rule!r}, whose ramps have none", given)
        ramp = (100 if num_steps is None else num_steps), key, (3 if seeds is None else seeds)
        return _by_rule(problem, make_optimizer, start, stop, *ramp, rule)
    if num_steps is not None:
        raise check.fail("num_steps", "must be None without a rule", num_steps, "Ramps have it; give rule='minimum'.")
    seeds = 1 if seeds is None else seeds
    check.positive_count(steps=steps, seeds=seeds)
    gradients = max(CHEAPEST * seeds, int(QUARTER * steps))
    if budget is not None:
        check.finite(budget=budget)
        check.positive(budget=budget)
        gradients = int(budget * steps + 1e-6)
        if gradients < least(seeds):
            raise check.fail("budget", f"must be at least {rounded_up(least(seeds) / steps)} for {steps} steps", budget)
    runs = ShortRuns(problem, make_optimizer, linear if schedule is None else schedule, key, seeds, steps)
    search = RateSearch(runs, start, stop, gradients, seeds, steps)
    search.narrow()
    check_initial(search.rounds[0])
    rounds = search.finish()
    if not any(r.finite for r in rounds):
        raise check.fail("start", "must be lower: not one of the short runs stayed finite", start)
    return judged(rounds, start, stop, runs.gradients)


def check_initial(first: Round) -> None:
    """Raise an error if the loss is not finite before any training."""
    if not math.isfinite(first.initial):
        raise check.fail("problem", "must have a finite loss before the first update", first.initial)


def rounded_up(x: float) -> str:
    """A lower limit in four digits, rounded up so that it may be given as it is printed."""
    place = 10.0 ** (3 - math.floor(math.log10(x)))
    return f"{math.ceil(x * place - 1e-6) / place:.4g}"


def judged(rounds: tuple[Round, ...], start: float, stop: float, gradients: int) -> Found:
    """The suggestion of the last of three rounds, and how far to trust it."""
    first, second, third = rounds
    # where even its lowest rate diverged, the next lower one
    rate = third.vertex if third.finite else third.learning_rates[0] ** 2 / third.learning_rates[1]
    rate = float(min(max(rate, start), stop))
    apart = abs(math.log(rate / second.vertex))
    flat = math.sqrt(2 * math.log(1.05) / third.curvature) if third.curvature > 0 else 0.0
    reach = max(math.log(SURE), apart, min(flat, math.log(10)))
    fell = any(r.losses.min() < r.initial - 0.1 * abs(r.initial) for r in rounds)
    alike = first.finite and first.losses.max() <= first.losses.min() + 1e-5 * abs(first.initial)
    doubts = {
        "the loss fell by less than a tenth": not fell,
        "the loss is the same at every rate": alike,
        "the best rate is at an end of the range": not 1.05 * start < rate < stop / 1.05,
        "the longer runs ask for a rate more than 5 times off that of the shorter ones": apart > math.log(5),
        "the longer runs all diverged": not third.finite,
        "the runs were shorter than 20 steps": third.steps < 20,
    }
    doubt = "; ".join(text for text, true in doubts.items() if true)
    test = RangeTest(np.asarray(first.learning_rates, np.float32), np.asarray(first.losses, np.float32))
    interval = (rate * math.exp(-reach), rate * math.exp(reach))
    return Found(rate, interval, not doubt, test, rounds, gradients, doubt)


class ShortRuns:
    """Short runs from fresh starts, a few rates at a time, all through one compiled program."""

    def __init__(
        self,
        problem: Problem,
        make_optimizer: Callable[..., Any],
        schedule: MakeSchedule,
        key: Any,
        seeds: int,
        whole: int,
    ):
        self.problem, self.make_optimizer, self.schedule, self.whole = problem, make_optimizer, schedule, whole
        self.key, self.seeds = as_key(key), seeds
        self.layout = Layout(max(2, len(FIRST) // LANES) * LANES, LANES)
        self.batches = Batches(problem)
        self.places = [0]
        """Where each round begins in the stream of batches."""
        self.updates = 0
        """In a chunk: those of the shortest run, which is the first."""
        self.gradients = 0

    def __call__(self, rates: np.ndarray, steps: int, number: int) -> np.ndarray:
        """Training losses [rates, seeds, steps] of runs of `steps` updates, from the start of that round."""
        begin = self.places[number]
        if len(self.places) == number + 1:
            self.places.append(begin + steps)
        rows = grid(self.make_optimizer, rates, {"schedule": self.schedule}, {}, self.whole).rows
        # the schedule of the whole run, whose phases may be given in updates, gone through faster
        rows = rows[:, (2 * np.arange(steps) + 1) * self.whole // (2 * steps)]
        self.updates = self.updates or steps
        engine = Engine(
            self.problem,
            self.make_optimizer,
            key=jax.random.fold_in(self.key, number),
            seeds=self.seeds,
            updates=self.updates,
            batches=self.batches,
        )
        group = engine.start(self.layout, rows[:, 0], {})
        # only the first round may come back for more rates on the same batches
        again_from = None if number else begin
        losses = list(engine.advance(group, rows, begin, again_from=again_from))
        self.gradients += len(rates) * self.seeds * steps
        return np.concatenate(losses, axis=2)


# ---------------------------------------------------------------- range tests


def _by_rule(
    problem: Problem, make_optimizer: Any, start: float, stop: float, num_steps: int, key: Any, seeds: int, rule: Rule
) -> Found:
    """The suggestion of a named rule from the median of several ramps."""
    check.positive_count(seeds=seeds)
    rates, losses = ramps(problem, make_optimizer, start, stop, num_steps, key, seeds)
    if not np.isfinite(losses[:, 0]).all():
        raise ValueError(f"find(problem=...) must have a finite loss before the first update, got {losses[:, 0]}.")
    skip_end = min(5, num_steps // 20)

    def suggested(losses: np.ndarray) -> float:
        return suggest(rates, losses, rule, smoothing=0.98, skip_start=num_steps // 10, skip_end=skip_end)

    middle = np.median(losses, axis=0)
    each = [suggested(row) for row in losses]
    doubts = {
        "the loss fell by less than a tenth": not all(_fell(row[: num_steps - skip_end]) for row in losses),
        "the seeds disagree by more than a factor 10": max(each) > 10 * min(each),
        f"the ramp was shorter than {ENOUGH} steps": num_steps < ENOUGH,
    }
    doubt = "; ".join(text for text, true in doubts.items() if true)
    test = RangeTest(rates, middle)
    return Found(suggested(middle), (min(each), max(each)), not doubt, test, (), losses.size, doubt)


def _fell(losses: np.ndarray) -> bool:
    """Whether the loss fell by a tenth of its size at the start, beyond the noise of single batches."""
    n = max(1, len(losses) // 20)
    smooth = np.convolve(losses[np.isfinite(losses)], np.ones(n) / n, mode="valid")
    return bool(smooth.size) and bool(smooth.min() < smooth[0] - 0.1 * abs(smooth[0]))
