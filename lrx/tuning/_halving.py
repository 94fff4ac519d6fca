"""`halving`: a sweep that stops the worse members on the way."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from .. import _check as check
from ..problems._problem import Problem
from ._arguments import By, check_by, check_kinds
from ._checkpoint import Checkpoint, leaves, restored
from ._done import Meter, Progress
from ._end_losses import end_losses
from ._engine import Engine, Group, as_key, part_of
from ._full_runs import open_checkpoint
from ._grid import Grid, MakeSchedule, grid
from ._halving_plan import FORWARD, Rung, halving_plan
from ._layout import Layout, Method, lay_out
from ._sweep import Best, Sweep, nothing_finite

COPY = "copy_"
"""Before the names of the arrays of a copy that is being scored, in a file."""


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """The scores of the members of a rung."""

    rung: Rung
    """How many there were, from which update to which."""
    scores: np.ndarray
    """Mean over seeds of the loss that decides, float64 [rate, schedule, …]; nan for members stopped before."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Halving:
    """What a halving measured."""

    sweep: Sweep
    """The record, as that of `lrx.sweep`; nan where a member was stopped."""
    rungs: tuple[Scored, ...]
    """Which members trained, and how they were ranked. The last rung holds the final losses of those that were left."""
    by: By
    """The loss that decided: "training" or "validation"."""
    runs: float
    """What it cost, in full training runs of one member."""

    @property
    def losses(self) -> np.ndarray:
        """Training loss before each update, float32 [rate, schedule, …, seed, step]."""
        return self.sweep.losses

    def best(self) -> Best:
        """The best of the members that trained to the end, by the loss that decided.

        Raises:
          ValueError: if none of them stayed finite.
        """
        return self.sweep.best(self.by)

    def __repr__(self) -> str:
        counts = " → ".join(str(s.rung.members) for s in self.rungs)
        return f"Halving({self.sweep.problem!r}, members: {counts}, runs: {self.runs:.2f})"


@check.public
def halving(
    problem: Problem,
    make_optimizer: Callable[..., Any],
    *,
    learning_rate: Any,
    schedule: Mapping[str, MakeSchedule] | None = None,
    seeds: int = 1,
    steps: int = 1000,
    budget: float = 3.0,
    key: jax.Array | None = None,
    by: By = "training",
    keep: float = 0.25,
    cooldown: float = 0.1,
    method: Method = "auto",
    progress: Progress | None = None,
    checkpoint: Any = None,
    **hyperparams: Any,
) -> Halving:
    """Find the best member of a sweep for less than the sweep: stop the worse ones on the way.

    All members train under their own schedules. At the end of a rung a copy of each is cooled down, its rate going
    linearly to zero, and scored: a high rate looks worse than it is until it decays. The best go on from where they
    were before the cooldown, the last ones to the end. `halving_plan` says how a budget is divided among rungs.

    Members of one seed start from the same parameters, see the same batches and are scored on the same batches.

    Args:
      problem: what to train.
      make_optimizer: function of the learning rate, such as `lrx.adamw`.
      learning_rate: the rates, or the peaks of the schedules, [rates].
      schedule: name -> function of (peak, steps) that gives a schedule; None is the constant rate alone.
      seeds: how many starts and streams of batches. A member has a run from each of them.
      steps: updates of a full run.
      budget: what all of it may cost, in full runs of one member.
      key: a JAX random key; `jax.random.key(0)` if None.
      by: the loss that decides: "training" (the mean over fresh batches, as many as the cooldown has updates; after
        the last rung, over the last twentieth of the steps) or "validation" (that of the problem's `evaluate`, whose
        cost is not counted).
      keep: share of the members that a rung keeps.
      cooldown: length of the cooldown, as a share of the updates done so far.
      method: "vmap", "map" or "auto", as in `lrx.sweep`.
      progress: called now and then with the number of member-updates completed, cooldowns included, as in `lrx.sweep`.
      checkpoint: path of a file from which the same call goes on after a stop, with the same numbers, as in `sweep`.
        A stop within a cooldown loses that cooldown.
      **hyperparams: further arguments of `make_optimizer`, each a number or an array of numbers to sweep over.

    Returns:
      A `Halving`: `.best()`, `.rungs`, `.runs`, `.losses`.

    Raises:
      ValueError: if the budget does not suffice, if no member stays finite, or for what `lrx.sweep` refuses.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> bowl = lrx.Problem(
      ...     init=lambda key: jnp.ones(2),
      ...     loss=lambda params, batch, key=None: jnp.sum(params**2),
      ...     sample=lambda key: jnp.zeros(()),
      ... )
      >>> result = lrx.halving(bowl, lrx.sgd, learning_rate=lrx.logspace(1e-3, 10.0, 16), steps=100, budget=3.0)
      >>> result
      Halving('problem', members: 16 → 4 → 1, runs: 2.81)
      >>> round(result.best().learning_rate, 2)
      0.46

    References:
      Jamieson and Talwalkar, Non-stochastic best arm identification and hyperparameter optimization (AISTATS 2016),
      arXiv 1502.07943, algorithm 1. The cooldown before scoring is lrx's.
    """
    check.positive_count(seeds=seeds, steps=steps)
    seeds, steps, key = int(seeds), int(steps), as_key(key)
    check_kinds(problem, make_optimizer)
    check_by(problem, by)
    members = grid(make_optimizer, learning_rate, schedule, hyperparams, steps)
    plan = halving_plan(len(members.rows), budget, steps, keep=keep, cooldown=cooldown)
    engine = Engine(problem, make_optimizer, key=key, seeds=seeds, updates=part_of(steps))
    file = None
    if checkpoint is not None:
        bits = np.asarray(jax.random.key_data(key))
        given = members.arguments() | {"seeds": seeds, "steps": steps, "key": bits, "by": by, "plan of the rungs": plan}
        file = open_checkpoint(checkpoint, engine, lay_out(len(members.rows), method=method), given, list(hyperparams))
        engine.batches.marked = True
    updates = seeds * sum(r.members * (r.end - r.begin + r.cooldown) for r in plan)
    survivors = _Survivors(engine, members, method, progress, file, updates)
    for rung, following in itertools.pairwise(plan):
        if len(survivors.scored) > plan.index(rung):
            continue  # it was in the file
        survivors.train(rung.end)
        scores = survivors.scores(rung.end, rung.cooldown, by)
        if not np.isfinite(scores).any():
            raise nothing_finite("halving()", survivors.losses[..., rung.end - 1], by)
        survivors.keep(scores, np.argsort(scores, kind="stable")[: following.members])
    survivors.train(steps)
    scored = [Scored(rung, members.arranged(x)) for rung, x in zip(plan, survivors.scored, strict=False)]
    record = survivors.record()
    scored.append(Scored(plan[-1], record.loss(by).mean(axis=-1)))
    return Halving(record, tuple(scored), by, sum(r.gradients for r in plan) / steps)


class _Survivors:
    """The members that still train, and the losses of all."""

    def __init__(
        self,
        engine: Engine,
        members: Grid,
        method: Method,
        progress: Progress | None,
        file: Checkpoint | None,
        total: int,
    ):
        self.engine, self.members, self.progress, self.file = engine, members, progress, file
        self.method: Method = method
        self.meter = Meter(total)
        saved = None if file is None else file.load()
        self.seeds = len(engine.batch_keys)
        self.alive = np.arange(len(members.rows))
        self.done, self.updates = 0, 0
        """Updates of those alive, and of all, cooldowns included."""
        self.scored: list[np.ndarray] = []
        """Of each rung that is over, [members]; nan for those that were stopped before."""
        self.losses = np.full((len(members.rows), self.seeds, members.rows.shape[1]), np.nan, np.float32)
        layout = lay_out(len(self.alive), method=method)
        if saved is not None:
            self.scored, self.losses, self.alive = list(saved["scored"]), saved["losses"], saved["alive"]
            self.done, self.updates = int(saved["done"]), int(saved["updates"])
            engine.batches.marks = list(map(int, saved["marks"]))
            for n in saved["kept"]:
                layout = self._smaller(layout, int(n))
        hyperparams = {k: v[self.alive] for k, v in members.hyperparams.items()}
        self.group = engine.start(layout, members.rows[self.alive, 0], hyperparams)
        if saved is not None:
            self.group.carry = restored(self.group.carry, saved)
        self.cooling = {} if saved is None or "cooled" not in saved else saved
        """Where a copy was being scored when the file was written."""
        self.kept = [] if saved is None else saved["kept"].tolist()
        """How many each rung that is over has left."""

    def train(self, end: int) -> None:
        """Train each member under its own schedule, up to an update."""
        rates = self.members.rows[self.alive, self.done : end]
        for losses in self._trained(self.group, rates, self.done, again_from=end):
            n = losses.shape[2]
            self.losses[self.alive, :, self.done : self.done + n] = losses
            self.done += n
            share = self.updates / self.losses.size
            if self.file is not None and (self.file.due(share) or self.done == self.losses.shape[2]):
                self.file.save(self._arrays)

    def scores(self, done: int, cooldown: int, by: By) -> np.ndarray:
        """The mean loss over seeds of a copy of each member, cooled down, [alive]; inf if it diverged on any seed.

        The loss is that of `evaluate`, or the mean over as many fresh batches as the cooldown has updates.
        """
        last = self.members.rows[self.alive, done - 1 : done]
        rates = last * np.linspace(1, 0, cooldown, endpoint=False, dtype=np.float32)
        copy, cooled, fresh = self.engine.copy(self.group), 0, []
        if self.cooling:  # the file is of a moment inside this branch
            copy.carry = restored(
                copy.carry, {k.removeprefix(COPY): v for k, v in self.cooling.items() if k.startswith(COPY)}
            )
            cooled, fresh = int(self.cooling["cooled"]), [self.cooling["fresh"]]
            self.cooling = {}

        def save(extra: float = 0.0) -> None:
            if self.file is not None and self.file.due((self.updates + extra) / self.losses.size):
                state = {"cooled": np.asarray(cooled), "fresh": np.concatenate([nothing, *fresh], axis=2)}
                branch = {COPY + k: v for k, v in leaves(copy.carry).items()}
                self.file.save(lambda: self._arrays() | branch | state)

        nothing = np.zeros((len(self.alive), self.seeds, 0), np.float32)
        for losses in self._trained(copy, rates[:, cooled:], done + cooled, again_from=done):
            cooled += losses.shape[2]
            save()
        if by == "validation":
            losses = self.engine.score(copy)["loss"]
        else:
            measured = sum(x.shape[2] for x in fresh)
            batches = done + cooldown + measured
            rest = np.zeros_like(rates[:, measured:])
            for losses in self.engine.advance(copy, rest, batches, again_from=done, learn=False):
                fresh.append(losses)
                save(FORWARD * sum(x.size for x in fresh))
            losses = end_losses(np.concatenate(fresh, axis=2), cooldown)
        return np.where(np.isfinite(losses).all(axis=-1), losses.mean(axis=-1), np.inf)

    def keep(self, scores: np.ndarray, places: np.ndarray) -> None:
        """Go on with some of the members, by their places among those alive, which had these scores."""
        everyone = np.full(len(self.members.rows), np.nan)
        everyone[self.alive] = scores
        self.scored.append(everyone)
        self.kept.append(len(places))
        layout = self._smaller(self.group.layout, len(places))
        self.alive = self.alive[places]
        self.group = self.engine.keep(self.group, places, layout)
        if self.file is not None:
            self.file.save(self._arrays)

    def _smaller(self, layout: Layout, n: int) -> Layout:
        """The layout of the members that are left."""
        if 4 * layout.lanes * -(-n // layout.lanes) > 5 * n:  # another program, rather than more than a fifth idle
            return lay_out(n, method=self.method)
        return layout

    def _arrays(self) -> dict[str, np.ndarray]:
        """For a file."""
        return leaves(self.group.carry) | {
            "marks": np.asarray(self.engine.batches.marks, np.uint32),
            "scored": np.asarray(self.scored).reshape(-1, len(self.members.rows)),
            "kept": np.asarray(self.kept, np.int32),
            "losses": self.losses,
            "alive": self.alive,
            "done": np.asarray(self.done),
            "updates": np.asarray(self.updates),
        }

    def record(self) -> Sweep:
        """All losses, and the problem's scores of the members that are left."""
        scores = {}
        for name, x in self.engine.score(self.group).items():
            scores[name] = np.full(self.losses.shape[:2], np.nan, np.float32)
            scores[name][self.alive] = x
        return Sweep(
            problem=self.engine.problem.name,
            dims=(*self.members.dims, "seed", "step"),
            coords=self.members.coords | {"seed": tuple(range(self.seeds))},
            losses=self.members.arranged(self.losses),
            scores={k: self.members.arranged(v) for k, v in scores.items()},
        )

    def _trained(self, group: Group, rates: np.ndarray, begin: int, again_from: int) -> Iterator[np.ndarray]:
        """The losses of some updates, chunk by chunk, which the progress counts."""
        for losses in self.engine.advance(group, rates, begin, again_from=again_from):
            self.updates += losses.size
            yield losses
            if self.progress is not None:
                self.progress(self.meter(self.updates, losses))
