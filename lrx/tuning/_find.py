"""`find`: a learning rate for a quarter of the price of one training run, from short runs or from a range test."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from .. import _check as check
from ..problems._problem import Problem
from ._arguments import check_kinds
from ._done import Meter, Progress
from ._engine import Engine, as_key, return_memory
from ._evidence import CLEAR, Drift
from ._fixed_size import drift_of
from ._found import Found, judged
from ._grid import MakeSchedule, grid
from ._host_batches import Batches
from ._journal import Journal, key_bits, open_journal
from ._layout import Layout
from ._presets import linear
from ._range_test import RangeTest, ramps
from ._rate_search import LANES, RateSearch, drive, least
from ._round import Round
from ._shortened import midpoints
from ._suggest import RULES, Rule, suggest

ENOUGH = 50
"""Steps in a ramp that are enough: in fewer, the losses are still those of the first steps."""
QUARTER = 0.25
"""Of a run: the price of `find`."""
CHEAPEST = 250
"""The least number of gradients, also for runs of fewer than 1,000 steps."""


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
    lanes: int | None = None,
    progress: Progress | None = None,
    checkpoint: Any = None,
) -> Found:
    """Suggest a learning rate for a fraction of the price of one training run.

    Short runs under the schedule of the long one, each decayed to its end, are compared on the same batches, in three
    rounds: over the range of rates, then closer to the best and longer. In each of them the losses ℓ at the rates η are
    put on a scale that no constant and no factor on all losses changes, with ℓ_1 the lowest of them, ℓ_2 the next and
    ℓ_0 the loss before training, and a parabola through the lowest of them has its vertex at the best rate η*

    ::

      log(1 + (ℓ(η) − ℓ_1) / u) ≈ c + d/2 · (log η − log η*)²,   u = max(ℓ_2 − ℓ_1, (ℓ_0 − ℓ_1) / 10, noise)

    η* may move with the length n of the runs, log η* = a + b log n, and is followed to the length of the training to
    come. As three rounds do not show b well, most of what is known of it comes from the kind of the optimizer: on real
    tasks b = 0 ± 0.1 where updates shrink with the gradients or their agreement (SGD, Adam), and −0.5 ± 0.1 where they
    have a fixed size (Lion, Muon). Which kind it is shows on a dozen random gradients of different sizes.

    The noise is measured: runs at two rates see the same batches, so that their difference over parts of their ends
    shows how much a difference is worth. What is within it is no evidence: a round goes further out only where its
    outermost rate is the best by more than noise, and where the loss did not fall by more than that, `doubt` says so.

    In a training loop of your own `lrx.Search` is the same search, asked and told.

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
      lanes: how many models are in memory at a time. With 1 the short runs are made one after another, in the memory of
        training. If None, three (of each start), or one if the device's memory turns out not to hold them. Batches from
        the host are kept for the length of a short run.
      progress: called now and then with the number of updates completed, those of each run and start counted, at most
        the budget in all; it also knows `.loss`, `.best` and `.seconds_left`, as in `lrx.sweep`.
      checkpoint: path of a folder, made if it is not there, from which the same call goes on after a stop and comes to
        the same suggestion. A stop loses a batch of short runs.

    Returns:
      A `Found`: `.learning_rate`, `.interval`, `.confident`, `.doubt`, `.range_test`, `.rounds`, `.plot()`.
      On the tasks of `benchmarks.choose` the interval of nine confident answers of ten covers all swept rates within
      5 % of the best.

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
        for name, given in (("schedule", schedule), ("budget", budget), ("lanes", lanes), ("checkpoint", checkpoint)):
            if given is not None:
                raise check.fail(name, f"must be None beside rule={rule!r}, whose ramps have none", given)
        ramp = (100 if num_steps is None else num_steps), key, (3 if seeds is None else seeds)
        return _by_rule(problem, make_optimizer, start, stop, *ramp, rule, progress)
    if num_steps is not None:
        raise check.fail("num_steps", "must be None without a rule", num_steps, "Ramps have it; give rule='minimum'.")
    seeds = 1 if seeds is None else seeds
    check.positive_count(steps=steps, seeds=seeds)
    steps, seeds = int(steps), int(seeds)
    if lanes is not None:
        check.positive_count(lanes=lanes)
        lanes = int(lanes)
    gradients = None
    if budget is not None:
        check.finite(budget=budget)
        check.positive(budget=budget)
        gradients = int(budget * steps + 1e-6)
        if gradients < least(seeds):
            raise check.fail("budget", f"must be at least {rounded_up(least(seeds) / steps)} for {steps} steps", budget)
    schedule, key = linear if schedule is None else schedule, as_key(key)
    gradients = usual(seeds, steps) if gradients is None else gradients
    given = {"steps": steps, "seeds": seeds, "budget in gradients": gradients, "key": key_bits(key)}
    given |= {"start": float(start), "stop": float(stop)}
    makers, curves = {"find": make_optimizer}, {"find": schedule}
    journal = open_journal(checkpoint, problem, makers, curves, steps, given)
    runs = ShortRuns(problem, make_optimizer, schedule, key, seeds, steps, lanes, journal)
    if progress is not None:
        runs.report_to(progress, gradients)
    return found_by(runs, start, stop, gradients)


def usual(seeds: int, steps: int) -> int:
    """The budget of a search where none is given, in gradients."""
    return max(CHEAPEST * seeds, int(QUARTER * steps))


def found_by(runs: "ShortRuns", start: float, stop: float, gradients: int) -> Found:
    """What short runs suggest within a budget of gradients."""
    seeds, steps = runs.seeds, runs.whole
    search = RateSearch(start, stop, gradients, seeds, steps, runs.drift)
    drive(search, runs, rounds=1)
    check_initial(search.rounds[0])
    drive(search, runs)
    if not any(r.finite for r in search.rounds):
        raise check.fail("start", "must be lower: not one of the short runs stayed finite", start)
    return judged(search.rounds, start, stop, runs.gradients, whole=steps, drift=runs.drift)


def check_initial(first: Round) -> None:
    """Raise an error if the loss is not finite before any training."""
    if not math.isfinite(first.initial):
        raise check.fail("problem", "must have a finite loss before the first update", first.initial)


def rounded_up(x: float) -> str:
    """A lower limit in four digits, rounded up so that it may be given as it is printed."""
    place = 10.0 ** (3 - math.floor(math.log10(x)))
    return f"{math.ceil(x * place - 1e-6) / place:.4g}"


class ShortRuns:
    """Short runs from fresh starts, a few at a time, all through one compiled program."""

    def __init__(
        self,
        problem: Problem,
        make_optimizer: Callable[..., Any],
        schedule: MakeSchedule,
        key: Any,
        seeds: int,
        whole: int,
        lanes: int | None = None,
        journal: Journal | None = None,
    ):
        self.journal = journal or Journal()
        self.problem, self.make_optimizer, self.schedule, self.whole = problem, make_optimizer, schedule, whole
        self.key, self.seeds, self.lanes = as_key(key), seeds, lanes
        self.batches = Batches(problem)
        self.places = [0]
        """Where each round begins in the stream of batches."""
        self.updates = 0
        """In a chunk: those of the shortest run, which is the first."""
        self.gradients = 0
        self.progress: Progress | None = None
        self.meter = Meter(0)
        self.told = 0
        """Updates of which the progress was told."""

    def report_to(self, progress: Progress, total: int) -> None:
        """Call `progress` after each chunk, as far as the updates are of so many in all."""
        self.progress, self.meter = progress, Meter(total)

    @functools.cached_property
    def drift(self) -> Drift:
        """How the best rate of the optimizer is expected to move with the length of the runs."""
        return drift_of(self.problem, self.make_optimizer)

    def __call__(self, rates: np.ndarray, steps: int, number: int) -> np.ndarray:
        """Training losses [rates, seeds, steps] of runs of `steps` updates, from the start of that round."""
        begin = self.places[number]
        if len(self.places) == number + 1:
            self.places.append(begin + steps)
        rows = grid(self.make_optimizer, rates, {"schedule": self.schedule}, {}, self.whole).rows
        # the schedule of the whole run, whose phases may be given in updates, gone through faster
        rows = rows[:, midpoints(steps, self.whole)]
        self.updates = self.updates or steps
        self.gradients += len(rates) * self.seeds * steps
        losses = self.journal.once(lambda: {"losses": self._losses(rows, begin, number)})["losses"]
        if self.told < self.gradients:  # read, not made
            self._tell(losses)
        return losses

    def _losses(self, rows: np.ndarray, begin: int, number: int) -> np.ndarray:
        """The losses of all runs of a batch."""
        losses = self._trained(rows, begin, number)
        if losses is None:
            self.lanes = 1
            losses = self._trained(rows, begin, number)
        assert losses is not None  # memory that does not suffice for one run is an error
        return losses

    def _trained(self, rows: np.ndarray, begin: int, number: int) -> np.ndarray | None:
        """The losses of all runs of a batch, or None if so many at once turn out not to fit."""
        try:
            return self._in_groups(rows, begin, number)
        except jax.errors.JaxRuntimeError as error:
            # a device fills in the first round if at all, whose batches of data are still held
            if self.lanes is not None or number or "RESOURCE_EXHAUSTED" not in str(error):
                raise
        return None  # outside of the handler, which keeps what filled the memory

    def _in_groups(self, rows: np.ndarray, begin: int, number: int) -> np.ndarray:
        """All runs of a batch, as many together as may be in memory."""
        starts = self.seeds if self.lanes is None else min(self.seeds, self.lanes)
        lanes = LANES if self.lanes is None else max(1, self.lanes // starts)
        groups = [(i, j) for i in range(0, len(rows), lanes) for j in range(0, self.seeds, starts)]
        losses = np.zeros((len(rows), self.seeds, rows.shape[1]), np.float32)
        self.told = self.gradients - losses.size  # also where it is the second attempt
        for i, j in groups:
            rates, seeds = slice(i, i + lanes), slice(j, j + starts)
            losses[rates, seeds] = self._together(lanes, rows[rates], seeds, begin, number)
        return losses

    def _together(self, lanes: int, rows: np.ndarray, seeds: slice, begin: int, number: int) -> np.ndarray:
        """Some runs side by side. Their models are gone when it returns."""
        engine = Engine(
            self.problem,
            self.make_optimizer,
            key=jax.random.fold_in(self.key, number),
            seeds=self.seeds,
            updates=self.updates,
            batches=self.batches,
        )
        engine.init_keys, engine.batch_keys = engine.init_keys[seeds], engine.batch_keys[seeds]
        if self.lanes is not None:
            return_memory()
        # one after another in one program: as many gradients as there are runs, whatever their number
        group = engine.start(Layout(lanes, 1), rows[:, 0], {})
        # a round may come back for more rates on the same batches
        chunks = []
        for losses in engine.advance(group, rows, begin, again_from=begin):
            chunks.append(losses)
            self._tell(losses)
        return np.concatenate(chunks, axis=2)

    def _tell(self, losses: np.ndarray) -> None:
        """Tell that these are made."""
        self.told += losses.size
        if self.progress is not None:
            self.progress(self.meter(self.told, losses))


# ---------------------------------------------------------------- range tests


def _by_rule(
    problem: Problem,
    make_optimizer: Any,
    start: float,
    stop: float,
    num_steps: int,
    key: Any,
    seeds: int,
    rule: Rule,
    progress: Progress | None,
) -> Found:
    """The suggestion of a named rule from the median of several ramps."""
    check.positive_count(seeds=seeds)
    seeds = int(seeds)
    rates, losses = ramps(problem, make_optimizer, start, stop, num_steps, key, seeds, progress)
    if not np.isfinite(losses[:, 0]).all():
        raise ValueError(f"find(problem=...) must have a finite loss before the first update, got {losses[:, 0]}.")
    num_steps = len(rates)
    skip_end = min(5, num_steps // 20)

    def suggested(losses: np.ndarray) -> float:
        return suggest(rates, losses, rule, smoothing=0.98, skip_start=num_steps // 10, skip_end=skip_end)

    middle = np.median(losses, axis=0)
    rate, each = suggested(middle), [suggested(row) for row in losses]
    first, last = min(rate, *each), max(rate, *each)
    read = [row[: num_steps - skip_end] for row in losses]
    doubts = {
        "the loss did not fall by more than its noise": not all(_fell(row) for row in read),
        "the seeds disagree by more than a factor 10": last > 10 * first,
        "the loss had risen again below that rate": any(_rose(row, (rates[: len(row)] < last).sum()) for row in read),
        f"the ramp was shorter than {ENOUGH} steps": num_steps < ENOUGH,
    }
    doubt = "; ".join(text for text, true in doubts.items() if true)
    return Found(rate, (first, last), not doubt, RangeTest(rates, middle), (), losses.size, doubt)


def _fell(losses: np.ndarray) -> bool:
    """Whether the loss fell by more than the noise of single batches."""
    smooth, noise = _smoothed(losses)
    return bool(smooth.size) and bool(smooth[0] - smooth.min() > CLEAR * noise)


def _rose(losses: np.ndarray, before: int) -> bool:
    """Whether the loss rose in the first so many steps by half of all that it fell in the ramp, and more than noise."""
    smooth, noise = _smoothed(losses)
    if not smooth.size:
        return False
    enough = max(CLEAR * noise, (smooth[0] - smooth.min()) / 2)
    seen = smooth[:before]
    return bool((seen - np.minimum.accumulate(seen) > enough).any())


def _smoothed(losses: np.ndarray) -> tuple[np.ndarray, float]:
    """Means over a twentieth of a ramp, and the noise of the differences of two of them.

    The noise is that of the first third of the ramp, whose rates are too low to do anything.
    """
    losses = losses[np.isfinite(losses)].astype(np.float64)
    n = max(1, len(losses) // 20)
    early = np.diff(losses[: max(3, len(losses) // 3)])
    noise = float(np.sqrt(np.mean(early**2) / n)) if early.size else 0.0
    return np.convolve(losses, np.ones(n) / n, mode="valid") if losses.size else losses, noise
