"""`tune` within a budget: short runs of every optimizer find its rate, a few whole runs decide."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from .. import _check as check
from ..problems._problem import Problem
from ..schedules._schedule import as_schedule
from ._batches import Batches
from ._find import QUARTER, SURE, Found, ShortRuns, check_initial, judged, rounded_up
from ._grid import grid
from ._population import train_population
from ._prospect import Prospect, prospect
from ._search import Search, least
from ._sweep import Sweep
from ._tuned import Row, Score, Tuned, ranked

Progress = Callable[[str, int, int], None]
"""(stage, updates done, updates in the stage), an update of each member counted."""

SHORT = 1.0
"""What the short runs may cost together, in whole runs."""
STARTS = 4
"""From how many starts each rate is tried in short runs, at most."""
SPACING = 10**0.13
"""Factor between two rates of the whole runs, where the user gives none."""
LOWER = 6.0
"""By which a rate is lowered at first to see whether the validation loss asks for less than the training loss does, and
where a whole run diverged."""

NOTHING_FINITE = "tune() found nothing that stayed finite on every seed: give lower learning_rates."


def tune_within(
    problem: Problem,
    makers: dict[str, Any],
    curves: dict[str, Any],
    learning_rates: Any,
    budget: float,
    steps: int,
    seeds: int,
    key: jax.Array,
    by: str,
    progress: Progress | None,
) -> Tuned:
    """The choice."""
    began = time.perf_counter()
    whole, gradients, starts = divided(budget, len(makers), steps, seeds)
    short_key, key = jax.random.split(key)
    if len(makers) * whole > 1 and Batches(problem).once_only:
        rule = "must give batches that can be read again for each run, such as batches=lambda: iter(loader)"
        raise check.fail("problem", rule, problem)
    given = None if learning_rates is None else np.asarray(learning_rates, np.float64)
    start, stop = (1e-7, 10.0) if given is None else (given[0] / 1.2, given[-1] * 1.2)
    make = next(iter(makers.values()))
    prospects = {name: _prospect(name, make, curve, steps) for name, curve in curves.items()}
    order = sorted(curves, key=lambda name: prospects[name].bound)
    found = _short_runs(problem, makers, curves[order[0]], short_key, start, stop, gradients, starts, steps, progress)
    if not any(r.finite for f in found.values() for r in f.rounds):
        raise ValueError(NOTHING_FINITE)
    runs = _Whole(problem, makers, curves, steps, seeds, key, progress)
    ranking = sorted(found, key=lambda name: found[name].rounds[-1].losses.min())
    field = Field(
        optimizers=tuple(name for name in ranking if any(r.finite for r in found[name].rounds)),
        schedules=tuple(order),
        prospects=prospects,
        suggested={name: f.learning_rate for name, f in found.items()},
        lattice={name: _lattice(f.learning_rate) if given is None else given for name, f in found.items()},
        by=by,
    )
    done: dict[Member, float] = {}
    for _ in range(whole):
        member = next(field.candidates(done), None)
        if member is None:
            break
        done[member] = runs.train(member, by)
    sweeps = runs.sweeps()
    rows = ranked(sweeps, by)
    if not rows:
        raise ValueError(NOTHING_FINITE)
    winner = rows[0]
    peak, curve = winner.learning_rate, curves[winner.schedule]
    spent = sum(f.gradients for f in found.values()) / steps + len(done) * seeds
    told = {r.optimizer for r in rows}
    short = [_short_row(name, order[0], found[name]) for name in ranking if name not in told]
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
        larger_budget=_more(field, done, (whole + 1) * seeds + _share(budget, whole, len(makers), steps, seeds)),
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
    """What they may cost beside the whole runs of so many members."""
    return min(max(SHORT, _shortest(optimizers, steps)), budget - whole * seeds)


# ---------------------------------------------------------------- short runs


def _short_runs(
    problem: Problem,
    makers: dict[str, Any],
    curve: Any,
    key: jax.Array,
    start: float,
    stop: float,
    gradients: int,
    starts: int,
    steps: int,
    progress: Progress | None,
) -> dict[str, Found]:
    """Of each optimizer; the last round is of the same length for all."""
    hunts = {}
    for name, make in makers.items():
        if progress is not None:
            progress(f"{name}: short runs", 0, gradients)
        runs = ShortRuns(problem, make, curve, key, starts, steps)
        hunt = Search(runs, start, stop, gradients, starts, steps)
        runs.unit = hunt.unit
        hunt.narrow()
        check_initial(hunt.rounds[0])
        hunts[name] = hunt, runs
    longest = min(hunt.longest for hunt, _ in hunts.values())
    found = {}
    for name, (hunt, runs) in hunts.items():
        rounds = hunt.finish(longest)
        found[name] = judged(rounds, start, stop, runs.gradients)
        if progress is not None:
            progress(f"{name}: short runs", gradients, gradients)
    return found


def _short_row(name: str, schedule: str, found: Found) -> Row:
    """What short runs alone say of an optimizer."""
    last = found.rounds[-1]
    score = Score(float(last.losses.min()), 0.0)
    return Row(name, schedule, found.learning_rate, score, None, None, "short runs", steps=last.steps)


# ---------------------------------------------------------------- whole runs


@dataclasses.dataclass(frozen=True)
class Member:
    """What gets a whole run."""

    optimizer: str
    schedule: str
    learning_rate: float


@dataclasses.dataclass(frozen=True, eq=False)
class Field:
    """All that may get whole runs, and what is known of it beforehand."""

    optimizers: tuple[str, ...]
    """The best of the short runs first."""
    schedules: tuple[str, ...]
    """The best guarantee first."""
    prospects: dict[str, Prospect]
    suggested: dict[str, float]
    """The rate that the short runs suggest, by optimizer, under the first schedule."""
    lattice: dict[str, np.ndarray]
    """The rates that may be used, by optimizer, increasing."""
    by: str

    def candidates(self, done: dict[Member, float]) -> Iterator[Member]:
        """Whom to train next, given the losses of those that were, in order of promise."""
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
        factor = self.prospects[schedule].peak / self.prospects[member.schedule].peak
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
            beside = [float(lattice[i]) for i in (place + 1, place - 1) if 0 <= i < len(lattice)]
            beside.sort(key=lambda r: abs(math.log(r / self.suggested[best.optimizer])))
            rates = beside
        return [Member(best.optimizer, best.schedule, r) for r in rates]


class _Whole:
    """Whole runs, one member at a time, through one program for each optimizer."""

    def __init__(
        self,
        problem: Problem,
        makers: dict[str, Any],
        curves: dict[str, Any],
        steps: int,
        seeds: int,
        key: jax.Array,
        progress: Progress | None,
    ):
        self.problem, self.makers, self.curves = problem, makers, curves
        self.steps, self.seeds, self.key, self.progress = steps, seeds, key, progress
        self.records: dict[tuple[str, str], list[tuple[float, np.ndarray, dict[str, np.ndarray]]]] = {}

    def train(self, member: Member, by: str) -> float:
        """The loss that decides, the mean over seeds; inf if a run was not finite."""
        make, curve = self.makers[member.optimizer], self.curves[member.schedule]
        rows = grid(make, member.learning_rate, {member.schedule: curve}, {}, self.steps).rows
        stage = f"{member.optimizer}, {member.schedule}, {member.learning_rate:.3g}"
        progress = self.progress

        def told(done: int) -> None:
            if progress is not None:
                progress(stage, done, self.seeds * self.steps)

        told(0)
        losses, scores = train_population(self.problem, make, rows, {}, self.key, self.seeds, told)
        pair = member.optimizer, member.schedule
        self.records.setdefault(pair, []).append(
            (member.learning_rate, losses[0], {k: v[0] for k, v in scores.items()})
        )
        mean = self._sweep(pair, [self.records[pair][-1]]).loss(by).mean()
        return float(mean) if np.isfinite(mean) else math.inf

    def sweeps(self) -> dict[str, list[Sweep]]:
        """All of them, a sweep for each optimizer and schedule."""
        told: dict[str, list[Sweep]] = {}
        for pair, records in self.records.items():
            told.setdefault(pair[0], []).append(self._sweep(pair, sorted(records, key=lambda r: r[0])))
        return told

    def _sweep(self, pair: tuple[str, str], records: list[Any]) -> Sweep:
        rates, losses, scores = zip(*records, strict=True)
        return Sweep(
            problem=self.problem.name,
            dims=("learning_rate", "schedule", "seed", "step"),
            coords={"learning_rate": rates, "schedule": (pair[1],), "seed": tuple(range(self.seeds))},
            losses=np.stack(losses)[:, None],
            scores={k: np.stack([s[k] for s in scores])[:, None] for k in scores[0]},
        )


def _prospect(name: str, make: Any, curve: Any, steps: int) -> Prospect:
    """What theory says of a schedule, its best peak in terms of the peak that `curve` is given."""
    peak = 0.01
    rates = grid(make, peak, {name: curve}, {}, steps).rows[0].astype(np.float64)
    if not (np.isfinite(rates) & (rates >= 0)).all() or not rates.any():
        i = int(np.argmax(~(np.isfinite(rates) & (rates >= 0))))  # the first of all, if all are zero
        rule = "must give rates that are finite and not negative, nor all zero"
        raise check.fail("schedules", rule, float(rates[i]), f"That is the rate of {name!r} at count {i}.")
    bound, best = prospect(rates)
    return Prospect(bound, best * peak / rates.max())


def _lattice(centre: float) -> np.ndarray:
    """Rates around a suggestion, in three digits each, for people; the suggestion is half-way between two."""
    rates = centre * SPACING ** (np.arange(-40, 40) + 0.5)
    return np.asarray([float(f"{r:.3g}") for r in rates])


# ---------------------------------------------------------------- how sure it is


def _interval(winner: Row, found: Found, done: dict[Member, float], by: str) -> tuple[float, float]:
    """Where the best rate of the winner's optimizer and schedule is expected."""
    low, high = found.interval
    reach = math.sqrt(high / low)
    if by == "validation":
        mine = [m.learning_rate for m in done if (m.optimizer, m.schedule) == (winner.optimizer, winner.schedule)]
        below, above = (
            [r for r in mine if r < winner.learning_rate],
            [r for r in mine if r > winner.learning_rate],
        )
        return (
            max(below, default=winner.learning_rate / LOWER),
            min(above, default=winner.learning_rate * max(reach, SURE)),
        )
    return winner.learning_rate / reach, winner.learning_rate * reach


def _more(field: Field, done: dict[Member, float], budget: float) -> str:
    """What one more member would be, and the least budget that would train it."""
    member = next(field.candidates(done), None)
    if member is None:
        return "All that could be tried was tried."
    what = f"{member.optimizer} under {member.schedule} at {member.learning_rate:.3g}"
    return f"A budget of {rounded_up(budget)} runs would also train {what}."
