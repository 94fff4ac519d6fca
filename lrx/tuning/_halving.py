"""`halving`: a sweep in which the worse members are stopped on the way."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from .. import _check as check
from ..problems._problem import Problem
from . import _program as program
from ._batches import Batches
from ._grid import Grid, MakeSchedule, grid
from ._plan import Rung, halving_plan, unit_of
from ._population import Progress, as_key, check_kinds, seed_keys, what_evaluate_gives
from ._program import lay_out
from ._sweep import Best, Sweep


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """What a rung was told of its members."""

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
    """Who was alive, and how they were ranked. The last rung holds the final losses of those who were left."""
    by: str
    """The loss that decided: "training" or "validation"."""
    runs: float
    """What it cost, in full training runs of one member."""

    @property
    def losses(self) -> np.ndarray:
        """Training loss before each update, float32 [rate, schedule, …, seed, step]."""
        return self.sweep.losses

    def best(self) -> Best:
        """The best of those who trained to the end, by the loss that decided.

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
    by: str = "training",
    keep: float = 0.25,
    cooldown: float = 0.1,
    method: str = "auto",
    progress: Progress | None = None,
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
      progress: called now and then with the number of member-updates completed, cooldowns included.
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
    seeds, steps = int(seeds), int(steps)
    check_kinds(problem, make_optimizer)
    check.one_of(("training", "validation"), by=by)
    if by == "validation" and "loss" not in what_evaluate_gives(problem):
        raise check.fail("by", "needs a problem whose evaluate(params) gives a 'loss'", by)
    members = grid(make_optimizer, learning_rate, schedule, hyperparams, steps)
    plan = halving_plan(len(members.rows), budget, steps, keep=keep, cooldown=cooldown)
    field = Field(problem, make_optimizer, members, seeds, key, method, progress, unit_of(steps))
    scored = []
    for rung in plan[:-1]:
        field.train(rung.begin, rung.end)
        scores = field.scores(rung.end, rung.cooldown, by)
        scored.append(Scored(rung, field.spread(scores)))
        if not np.isfinite(scores).any():
            raise ValueError("halving() found nothing that stayed finite on every seed: give lower learning rates.")
        field.keep(np.argsort(scores, kind="stable")[: plan[len(scored)].members])
    field.train(plan[-1].begin, steps)
    record = field.record()
    scored.append(Scored(plan[-1], record.loss(by).mean(axis=-1)))
    return Halving(record, tuple(scored), by, sum(r.gradients for r in plan) / steps)


class Field:
    """The members that are still in it, on the devices."""

    def __init__(
        self,
        problem: Problem,
        make_optimizer: Callable[..., Any],
        members: Grid,
        seeds: int,
        key: Any,
        method: str,
        progress: Progress | None,
        unit: int,
    ):
        self.unit = unit
        self.problem, self.make_optimizer, self.members = problem, make_optimizer, members
        self.method, self.progress, self.told = method, progress, 0
        self.batches = Batches(problem)
        init_keys, self.keys = seed_keys(as_key(key), seeds)
        self.alive = np.arange(len(members.rows))
        self.layout = lay_out(len(self.alive), method=method)
        self.carry = program.start(
            problem, make_optimizer, self.layout, self._filled(members.rows[:, 0]), self._hyperparams(), init_keys
        )
        self.losses = np.full((len(members.rows), seeds, members.rows.shape[1]), np.nan, np.float32)

    def train(self, begin: int, end: int) -> None:
        """Each member's next updates under its own schedule."""
        rows = self.members.rows[self.alive, begin:end]
        self.carry, self.losses[self.alive, :, begin:end] = self._advance(self.carry, rows, begin, end)

    def scores(self, done: int, cooldown: int, by: str) -> np.ndarray:
        """The mean loss over seeds of a copy of each member, cooled down, [alive]; inf if it diverged on any seed."""
        last = self.members.rows[self.alive, done - 1 : done]
        rows = last * np.linspace(1, 0, cooldown, endpoint=False, dtype=np.float32)
        copy, _ = self._advance(self._copy(), rows, done, done)
        return self.assess(copy, done + cooldown, cooldown, by, keep=done)

    def assess(self, carry: Any, begin: int, count: int, by: str, keep: int) -> np.ndarray:
        """The mean loss over seeds and `count` batches from `begin` on, or that of `evaluate`, [alive]."""
        if by == "validation":
            losses = np.asarray(program.evaluate(self.problem, self.layout, carry[0])["loss"])[: len(self.alive)]
        else:
            rows = np.zeros((len(self.alive), count), np.float32)
            losses = self._advance(carry, rows, begin, keep, learn=False)[1].mean(axis=-1, dtype=np.float64)
        return np.where(np.isfinite(losses).all(axis=-1), losses.mean(axis=-1), np.inf)

    def keep(self, places: np.ndarray) -> None:
        """Go on with some of the members, by their places among those alive."""
        lanes, n = self.layout.lanes, len(places)
        if 4 * lanes * -(-n // lanes) > 5 * n:  # a program of its own, rather than more than a fifth of idle lanes
            self.layout = lay_out(n, method=self.method)
        self.alive = self.alive[places]
        self.carry = program.take(self.carry, self._filled(places))

    def spread(self, scores: np.ndarray) -> np.ndarray:
        """Scores [alive] as [rate, schedule, …], nan for the members that are not in it any more."""
        everyone = np.full(len(self.members.rows), np.nan)
        everyone[self.alive] = scores
        return self.members.arranged(everyone)

    def record(self) -> Sweep:
        """All losses, and what the problem says of the members that are left."""
        scores = {}
        if self.problem.evaluate is not None:
            for name, x in program.evaluate(self.problem, self.layout, self.carry[0]).items():
                scores[name] = np.full(self.losses.shape[:2], np.nan, np.float32)
                scores[name][self.alive] = np.asarray(x)[: len(self.alive)]
        return Sweep(
            problem=self.problem.name,
            dims=(*self.members.dims, "seed", "step"),
            coords=self.members.coords | {"seed": tuple(range(len(self.keys)))},
            losses=self.members.arranged(self.losses),
            scores={k: self.members.arranged(v) for k, v in scores.items()},
        )

    def _advance(self, carry: Any, rows: np.ndarray, begin: int, keep: int, learn: bool = True) -> Any:
        """Updates with the rates of `rows` [alive, updates]; batches from `keep` on will be asked for again."""
        layout, unit, hyper = self.layout, self.unit, self._hyperparams()
        losses = []
        for i in range(0, rows.shape[1], unit):
            rates = self._filled(rows[:, i : i + unit])
            batches = self.batches.at(begin + i, rates.shape[1], keep)
            xs = rates, self.keys, np.int32(begin + i), layout.turns(len(self.alive)), batches
            carry, loss = program.advance(self.problem, self.make_optimizer, layout, hyper, carry, *xs, learn=learn)
            losses.append(loss)
            if learn:
                self.told += rates.shape[1] * len(self.alive) * len(self.keys)
                if self.progress is not None and (i // unit % 20 == 0 or i + unit >= rows.shape[1]):
                    self.progress(self.told)
        return carry, np.concatenate(losses, axis=2)[: len(self.alive)]

    def _copy(self) -> Any:
        return program.take(self.carry, np.arange(self.layout.size))

    def _filled(self, x: np.ndarray) -> np.ndarray:
        """An array of the members alive, filled up with the first of them to the size of the layout."""
        return np.concatenate([x, np.repeat(x[:1], self.layout.size - len(x), axis=0)])

    def _hyperparams(self) -> dict[str, np.ndarray]:
        return {k: self._filled(v[self.alive]) for k, v in self.members.hyperparams.items()}
