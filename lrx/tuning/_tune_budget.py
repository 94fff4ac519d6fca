"""`tune` within a budget: short and longer runs of every optimizer find its rate, a few whole runs decide."""

import math
import time

import jax
import numpy as np

from .. import _check as check
from ..schedules._schedule import as_schedule
from ._arguments import By
from ._done import Done
from ._find import ShortRuns, check_initial
from ._found import Found, judged
from ._host_batches import Batches
from ._longer_runs import found_by_longer_runs
from ._luck import of_starts
from ._next_run import LOWER, Candidates, Member, bound_of, lattice_around
from ._rate_search import ROUNDS, RateSearch, drive
from ._request import Request
from ._sweep import nothing_finite
from ._table import Row, Score, ranked
from ._tune_plan import Plan, divided
from ._tuned import Tuned
from ._whole_runs import WholeRuns

LUCKY = 2 * math.sqrt(2)
"""Spreads of one seed up to which the difference between two runs may be luck."""


def tune_within(request: Request, budget: float) -> Tuned:
    """The choice of `tune` within a budget, in runs."""
    began = time.perf_counter()
    problem, makers, curves, by = request.problem, request.makers, request.curves, request.by
    steps, seeds = request.steps, request.seeds
    once_only = Batches(problem).once_only
    # the validation loss asks for rates far below those that short runs of any length look at
    plan = divided(budget, len(makers), steps, seeds, longer=by == "training" and not once_only)
    short_key, key = jax.random.split(request.key)
    if len(makers) * plan.whole > 1 and once_only:
        rule = "must give batches that can be read again for each run, such as batches=lambda: iter(loader)"
        raise check.fail("problem", rule, problem)
    given = None if request.learning_rates is None else np.asarray(request.learning_rates, np.float64)
    start, stop = (1e-7, 10.0) if given is None else (given[0] / 1.2, given[-1] * 1.2)
    make = next(iter(makers.values()))
    bounds = {name: bound_of(name, make, curve, steps) for name, curve in curves.items()}
    order = sorted(curves, key=lambda name: bounds[name].bound)
    found = _suggestions(request, order[0], short_key, (start, stop), plan)
    if not any(r.finite for f in found.values() for r in f.rounds):
        raise nothing_finite("tune()", [[np.nan]], by)
    runs = WholeRuns(request, key)
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
    for _ in range(plan.whole):
        member = next(candidates.in_order(done), None)
        if member is None:
            break
        done[member] = runs.train(member)
    sweeps = runs.sweeps()
    lucks = [x for x in (of_starts(f, plan.starts) for f in found.values()) if math.isfinite(x)]
    rows = ranked(sweeps, by, float(np.median(lucks)) if lucks else math.nan)
    if not rows:
        trained = [s.final.reshape(-1, seeds) for of_one in sweeps.values() for s in of_one]
        raise nothing_finite("tune()", np.concatenate(trained), by)
    winner = rows[0]
    peak, curve = winner.learning_rate, curves[winner.schedule]
    spent = sum(f.gradients for f in found.values()) / steps + len(done) * seeds
    with_whole_runs = {r.optimizer for r in rows}
    short = [_short_row(name, order[0], found[name]) for name in ranking if name not in with_whole_runs]
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
        larger_budget=_more(candidates, done, plan, len(makers)),
    )


# ---------------------------------------------------------------- short and longer runs


def _suggestions(
    request: Request, schedule: str, key: jax.Array, span: tuple[float, float], plan: Plan
) -> dict[str, Found]:
    """Of each optimizer, at rates within `span`; the last runs are of the same length for all."""
    curve, steps, gradients = request.curves[schedule], request.steps, plan.gradients
    searches = {}
    for name, make in request.makers.items():
        progress = request.progress_of(f"{name}: short runs", gradients)
        runs = ShortRuns(request.problem, make, curve, key, plan.starts, steps, journal=request.journal)
        runs.report_to(progress, gradients)
        search = RateSearch(*span, gradients, plan.starts, steps, runs.drift)
        drive(search, runs, rounds=2)
        check_initial(search.rounds[0])
        searches[name] = search, runs, progress
    longest = min(search.longest for search, *_ in searches.values())
    found = {}
    for name, (search, runs, progress) in searches.items():
        search.last_steps = longest
        drive(search, runs)
        progress(Done(gradients))
        if plan.longer and any(r.finite for r in search.rounds):
            fresh = jax.random.fold_in(key, ROUNDS)
            found[name] = found_by_longer_runs(request, name, curve, fresh, search, runs, plan.longer)
        else:
            found[name] = judged(search.rounds, *span, runs.gradients, whole=steps, drift=runs.drift)
    return found


def _short_row(name: str, schedule: str, found: Found) -> Row:
    """An optimizer that had short runs only."""
    last = found.rounds[-1]
    score = Score(float(last.losses.min()), 0.0)
    return Row(name, schedule, found.learning_rate, score, None, None, "short runs", steps=last.steps)


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


def _more(candidates: Candidates, done: dict[Member, float], plan: Plan, optimizers: int) -> str:
    """What a larger budget would be spent on, and the least one that would."""
    if plan.next:
        each = "" if optimizers == 1 else " of each optimizer"
        return f"A budget of {plan.next} runs would also make three longer runs{each}, at rates side by side."
    member = next(candidates.in_order(done), None)
    if member is None:
        return "All that could be tried was tried."
    what = f"{member.optimizer} under {member.schedule} at {member.learning_rate:.3g}"
    return f"A budget of {plan.one_more} runs would also train {what}."
