"""`tune` within a budget: short runs of every optimizer find its rate, a few whole runs decide."""

import math
import time
from typing import Any

import jax
import numpy as np

from .. import _check as check
from ..schedules._schedule import as_schedule
from ._arguments import By
from ._done import Done
from ._engine import Engine, part_of
from ._find import QUARTER, ShortRuns, check_initial, rounded_up
from ._found import Found, judged
from ._full_runs import open_checkpoint, train
from ._grid import grid
from ._host_batches import Batches
from ._journal import key_bits
from ._layout import lay_out
from ._luck import of_starts
from ._next_run import LOWER, Candidates, Member, bound_of, lattice_around
from ._rate_search import RateSearch, drive, least
from ._request import Request
from ._sweep import Sweep, nothing_finite
from ._table import Row, Score, ranked
from ._tuned import Tuned

SHORT = 1.0
"""The cost of all short runs together, at most, in whole runs."""
STARTS = 4
"""From how many starts each rate is tried in short runs, at most."""

LUCKY = 2 * math.sqrt(2)
"""Spreads of one seed up to which the difference between two runs may be luck."""


def tune_within(request: Request, budget: float) -> Tuned:
    """The choice of `tune` within a budget, in runs."""
    began = time.perf_counter()
    problem, makers, curves, by = request.problem, request.makers, request.curves, request.by
    steps, seeds = request.steps, request.seeds
    whole, gradients, starts = divided(budget, len(makers), steps, seeds)
    short_key, key = jax.random.split(request.key)
    if len(makers) * whole > 1 and Batches(problem).once_only:
        rule = "must give batches that can be read again for each run, such as batches=lambda: iter(loader)"
        raise check.fail("problem", rule, problem)
    given = None if request.learning_rates is None else np.asarray(request.learning_rates, np.float64)
    start, stop = (1e-7, 10.0) if given is None else (given[0] / 1.2, given[-1] * 1.2)
    make = next(iter(makers.values()))
    bounds = {name: bound_of(name, make, curve, steps) for name, curve in curves.items()}
    order = sorted(curves, key=lambda name: bounds[name].bound)
    found = _short_runs(request, order[0], short_key, (start, stop), gradients, starts)
    if not any(r.finite for f in found.values() for r in f.rounds):
        raise nothing_finite("tune()", [[np.nan]], by)
    runs = _WholeRuns(request, key)
    ranking = sorted(found, key=lambda name: found[name].rounds[-1].losses.min())
    candidates = Candidates(
        optimizers=tuple(name for name in ranking if any(r.finite for r in found[name].rounds)),
        schedules=tuple(order),
        bounds=bounds,
        suggested={name: f.learning_rate for name, f in found.items()},
        lattice={name: lattice_around(f.learning_rate) if given is None else given for name, f in found.items()},
        by=by,
    )
    done: dict[Member, float] = {}
    for _ in range(whole):
        member = next(candidates.in_order(done), None)
        if member is None:
            break
        done[member] = runs.train(member)
    sweeps = runs.sweeps()
    lucks = [x for x in (of_starts(f, starts) for f in found.values()) if math.isfinite(x)]
    rows = ranked(sweeps, by, float(np.median(lucks)) if lucks else math.nan)
    if not rows:
        trained = [s.final.reshape(-1, seeds) for of_one in sweeps.values() for s in of_one]
        raise nothing_finite("tune()", np.concatenate(trained), by)
    winner = rows[0]
    peak, curve = winner.learning_rate, curves[winner.schedule]
    spent = sum(f.gradients for f in found.values()) / steps + len(done) * seeds
    with_whole_runs = {r.optimizer for r in rows}
    short = [_short_row(name, order[0], found[name]) for name in ranking if name not in with_whole_runs]
    one_more = (whole + 1) * seeds + _share(budget, whole, len(makers), steps, seeds)
    return Tuned(
        problem=problem.name,
        optimizer=winner.optimizer,
        schedule=as_schedule(curve(peak, steps)),
        schedule_name=winner.schedule,
        learning_rate=peak,
        interval=_interval(winner, found[winner.optimizer], done, by),
        by=by,
        table=(*rows, *short),
        found=found[winner.optimizer],
        sweeps={name: tuple(s) for name, s in sweeps.items()},
        steps=steps,
        seeds=seeds,
        runs=spent,
        seconds=time.perf_counter() - began,
        make_optimizer=makers[winner.optimizer],
        budget=budget,
        larger_budget=_more(candidates, done, one_more),
    )


def divided(budget: float, optimizers: int, steps: int, seeds: int) -> tuple[int, int, int]:
    """How many members get whole runs, and the gradients and the starts of each optimizer's short runs."""
    shortest = _shortest(optimizers, steps)
    whole = int((budget - shortest) / seeds + 1e-9)
    if whole < 1:
        many = "an optimizer" if optimizers == 1 else f"{optimizers} optimizers"
        beside = "a whole run" if seeds == 1 else f"whole runs from {seeds} seeds"
        rule = f"must be at least {rounded_up(shortest + seeds)}, for the short runs of {many} and {beside}"
        raise check.fail("budget", rule, budget, f"A run has {steps} steps.")
    gradients = int(_share(budget, whole, optimizers, steps, seeds) * steps / optimizers + 1e-6)
    starts = max(1, min(STARTS, gradients // max(int(QUARTER * steps), least(1))))
    return whole, gradients, starts


def _shortest(optimizers: int, steps: int) -> float:
    """What the short runs of all optimizers cost at least, in whole runs."""
    return max(QUARTER, least(1) / steps) * optimizers


def _share(budget: float, whole: int, optimizers: int, steps: int, seeds: int) -> float:
    """The cost of all short runs beside the whole runs of so many members, in whole runs."""
    return min(max(SHORT, _shortest(optimizers, steps)), budget - whole * seeds)


# ---------------------------------------------------------------- short runs


def _short_runs(
    request: Request, schedule: str, key: jax.Array, span: tuple[float, float], gradients: int, starts: int
) -> dict[str, Found]:
    """Of each optimizer, at rates within `span`; the last round is of the same length for all."""
    curve, steps = request.curves[schedule], request.steps
    searches = {}
    for name, make in request.makers.items():
        progress = request.progress_of(f"{name}: short runs", gradients)
        runs = ShortRuns(request.problem, make, curve, key, starts, steps, journal=request.journal)
        runs.report_to(progress, gradients)
        search = RateSearch(*span, gradients, starts, steps, runs.drift)
        drive(search, runs, rounds=2)
        check_initial(search.rounds[0])
        searches[name] = search, runs, progress
    longest = min(search.longest for search, *_ in searches.values())
    found = {}
    for name, (search, runs, progress) in searches.items():
        search.last_steps = longest
        drive(search, runs)
        found[name] = judged(search.rounds, *span, runs.gradients, whole=steps, drift=runs.drift)
        progress(Done(gradients))
    return found


def _short_row(name: str, schedule: str, found: Found) -> Row:
    """An optimizer that had short runs only."""
    last = found.rounds[-1]
    score = Score(float(last.losses.min()), 0.0)
    return Row(name, schedule, found.learning_rate, score, None, None, "short runs", steps=last.steps)


# ---------------------------------------------------------------- whole runs


class _WholeRuns:
    """Whole runs, one member at a time, through one program for each optimizer."""

    def __init__(self, request: Request, key: jax.Array):
        self.request, self.key = request, key
        self.records: dict[tuple[str, str], list[tuple[float, np.ndarray, dict[str, np.ndarray]]]] = {}

    def train(self, member: Member) -> float:
        """The loss that decides, the mean over seeds; inf if a run was not finite."""
        request = self.request
        make, curve = request.makers[member.optimizer], request.curves[member.schedule]
        rows = grid(make, member.learning_rate, {member.schedule: curve}, {}, request.steps).rows
        stage = f"{member.optimizer}, {member.schedule}, {member.learning_rate:.3g}"
        progress = request.progress_of(stage, request.seeds * request.steps)
        updates = part_of(request.steps)
        engine = Engine(request.problem, make, key=self.key, seeds=request.seeds, updates=updates)
        path, file = request.journal.path(), None
        if path is not None:
            run = {"run": stage, "rates": rows, "seeds": request.seeds, "key": key_bits(self.key)}
            file = open_checkpoint(path, engine, lay_out(1), run, [])
        losses, scores = train(engine, rows, progress=progress, file=file)
        pair = member.optimizer, member.schedule
        self.records.setdefault(pair, []).append(
            (member.learning_rate, losses[0], {k: v[0] for k, v in scores.items()})
        )
        mean = self._sweep(pair, [self.records[pair][-1]]).loss(request.by).mean()
        return float(mean) if np.isfinite(mean) else math.inf

    def sweeps(self) -> dict[str, list[Sweep]]:
        """All of them, a sweep for each optimizer and schedule."""
        sweeps: dict[str, list[Sweep]] = {}
        for pair, records in self.records.items():
            sweeps.setdefault(pair[0], []).append(self._sweep(pair, sorted(records, key=lambda r: r[0])))
        return sweeps

    def _sweep(self, pair: tuple[str, str], records: list[Any]) -> Sweep:
        rates, losses, scores = zip(*records, strict=True)
        return Sweep(
            problem=self.request.problem.name,
            dims=("learning_rate", "schedule", "seed", "step"),
            coords={"learning_rate": rates, "schedule": (pair[1],), "seed": tuple(range(self.request.seeds))},
            losses=np.stack(losses)[:, None],
            scores={k: np.stack([s[k] for s in scores])[:, None] for k in scores[0]},
        )


# ---------------------------------------------------------------- uncertainty


def _interval(winner: Row, found: Found, done: dict[Member, float], by: By) -> tuple[float, float]:
    """Where the best rate of the winner's optimizer and schedule is expected.

    Rates whose loss is higher by luck alone, as far as that is known, belong to it: another seed might choose them.
    """
    low, high = found.interval
    reach = math.sqrt(high / low)
    mine = {
        m.learning_rate: loss
        for m, loss in done.items()
        if (m.optimizer, m.schedule) == (winner.optimizer, winner.schedule)
    }
    score = winner.validation if by == "validation" and winner.validation else winner.training
    level = score.mean + LUCKY * score.spread
    equal = [r for r, loss in mine.items() if loss <= level] or [winner.learning_rate]
    first, last = min(equal), max(equal)
    if by == "validation":
        halfway = math.sqrt(LOWER)  # to the next rate that would be tried
        below = max((r for r in mine if r < first), default=first / halfway)
        return below, min((r for r in mine if r > last), default=last * halfway)
    return min(first, winner.learning_rate / reach), max(last, winner.learning_rate * reach)


def _more(candidates: Candidates, done: dict[Member, float], budget: float) -> str:
    """What one more member would be, and the least budget that would train it."""
    member = next(candidates.in_order(done), None)
    if member is None:
        return "All that could be tried was tried."
    what = f"{member.optimizer} under {member.schedule} at {member.learning_rate:.3g}"
    return f"A budget of {rounded_up(budget)} runs would also train {what}."
