"""`sweep`: training with every learning rate under every schedule from every seed."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from .. import _check as check
from .. import charts
from ..problems._problem import Problem
from ._arguments import By, check_kinds
from ._done import Progress
from ._end_losses import end_losses
from ._engine import Engine, as_key, part_of
from ._extended import extend, record_of
from ._full_runs import open_checkpoint, train
from ._grid import MakeSchedule, grid
from ._layout import Method, lay_out


@dataclasses.dataclass(frozen=True)
class Best:
    """The best member of a sweep."""

    learning_rate: float
    schedule: str
    hyperparams: dict[str, float]
    loss: float
    """Mean over seeds of the loss that was asked for."""
    spread: float
    """Standard deviation over seeds."""
    index: tuple[int, ...]
    """Position in the arrays of the sweep, seeds and steps left out."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Sweep:
    """What a sweep measured. Axes in the order of `dims`; members that diverged hold inf or nan."""

    problem: str
    dims: tuple[str, ...]
    """("learning_rate", "schedule", further hyperparameters, "seed", "step")."""
    coords: dict[str, tuple[Any, ...]]
    """The values along each axis of `final`."""
    losses: np.ndarray
    """Training loss before each update, float32 [rate, schedule, …, seed, step]."""
    scores: dict[str, np.ndarray]
    """What the problem's `evaluate` says of the final parameters, name -> float32 [rate, schedule, …, seed]."""

    @property
    def learning_rates(self) -> np.ndarray:
        """The peak rates, float32 [rate]."""
        return np.asarray(self.coords["learning_rate"], np.float32)

    @property
    def schedules(self) -> tuple[str, ...]:
        """The names of the schedules."""
        return self.coords["schedule"]

    @property
    def final(self) -> np.ndarray:
        """Final training loss: the mean over the last twentieth of the steps, [rate, schedule, …, seed].

        It is nan for a member that diverged: most of its last losses are not finite. A batch that was skipped since its
        loss was not finite is left out.
        """
        return end_losses(self.losses, max(1, self.losses.shape[-1] // 20))

    def loss(self, by: By = "training") -> np.ndarray:
        """The final loss by which members are ranked: "training", or "validation" (`evaluate`'s), [rate, …, seed]."""
        if by not in ("training", "validation"):
            raise ValueError(f"loss(by=...) must be 'training' or 'validation', got {by!r}.")
        if by == "validation" and "loss" not in self.scores:
            raise ValueError("loss(by='validation') needs a problem whose evaluate(params) gives a 'loss'.")
        return self.final if by == "training" else self.scores["loss"].astype(np.float64)

    def best(self, by: By = "training", schedule: str | None = None) -> Best:
        """The member with the lowest mean final loss over seeds; one that failed on any seed ranks last.

        Args:
          by: "training" or "validation".
          schedule: look at this schedule alone.

        Raises:
          ValueError: if every member failed, or there is no such schedule or loss.
        """
        loss = self.loss(by)
        mean = np.where(np.isfinite(loss).all(axis=-1), loss.mean(axis=-1), np.inf)
        if schedule is not None:
            check_schedule = [s == schedule for s in self.schedules]
            if not any(check_schedule):
                raise ValueError(f"best(schedule=...) must be one of {', '.join(self.schedules)}, got {schedule!r}.")
            keep = np.asarray(check_schedule).reshape(1, -1, *[1] * (mean.ndim - 2))
            mean = np.where(keep, mean, np.inf)
        if not np.isfinite(mean).any():
            among = [schedule in (None, s) for s in self.schedules]
            raise nothing_finite("best()", self.final[:, among], by)
        index = tuple(int(i) for i in np.unravel_index(np.argmin(mean), mean.shape))
        values = {d: self.coords[d][i] for d, i in zip(self.dims, index, strict=False)}
        return Best(
            learning_rate=float(values.pop("learning_rate")),
            schedule=values.pop("schedule"),
            hyperparams={k: float(v) for k, v in values.items()},
            loss=float(mean[index]),
            spread=float(loss[index].std()),
            index=index,
        )

    def lines(self, by: By = "training") -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Rates [rate] and final losses [rate, seed] of each schedule (and value of other hyperparameters), by name."""
        loss, inner = self.loss(by), self.dims[1:-2]
        lines = {}
        for index in np.ndindex(loss.shape[1:-1]):
            schedule, *others = (self.coords[d][i] for d, i in zip(inner, index, strict=True))
            name = ", ".join([schedule, *(f"{d}={x:.3g}" for d, x in zip(inner[1:], others, strict=True))])
            lines[name] = self.learning_rates, loss[(slice(None), *index)]
        return lines

    def plot(self, by: By = "training") -> Any:
        """Final loss against learning rate, a line for each schedule. Needs matplotlib; returns the figure."""
        return charts.plot_final_losses(self.lines(by), by)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{d}: {n}" for d, n in zip(self.dims, self.losses.shape, strict=True))
        return f"Sweep({self.problem!r}, {sizes})"


def nothing_finite(call: str, trained: Any, by: By) -> ValueError:
    """The error where no member stayed finite, which says whether the training or `evaluate` is to blame.

    Args:
      call: the public call.
      trained: training losses, […, seed]; NaN where no run was whole.
      by: the loss that decides.
    """
    if by == "validation" and np.isfinite(np.asarray(trained)).all(axis=-1).any():
        way_out = "though the losses of the training are: look at Problem(evaluate=...)"
        return ValueError(f"{call} found no member whose validation loss is finite on every seed, {way_out}.")
    way_out = "sweep lower learning rates" if call == "best()" else "give lower learning_rates"
    return ValueError(f"{call} found no member that stayed finite on every seed: {way_out}.")


@check.public
def sweep(
    problem: Problem,
    make_optimizer: Callable[..., Any],
    *,
    learning_rate: Any,
    schedule: Mapping[str, MakeSchedule] | None = None,
    seeds: int = 1,
    steps: int = 1000,
    key: jax.Array | None = None,
    progress: Progress | None = None,
    chunk_size: int | None = None,
    method: Method = "auto",
    mesh: Any = None,
    checkpoint: Any = None,
    **hyperparams: Any,
) -> Sweep:
    """Train with every learning rate under every schedule from every seed, in one program.

    Members of one seed start from the same parameters and see the same batches. A member that diverges stays in the
    record as inf or nan and ranks last; it does not disturb the others.

    Args:
      problem: what to train.
      make_optimizer: function of the learning rate (a number or a schedule), such as `lrx.adamw`; lrx's or optax's.
      learning_rate: the rates, or the peaks of the schedules, [rates].
      schedule: name -> function of (peak, steps) that gives a schedule; None is the constant rate alone.
      seeds: how many starts and streams of batches.
      steps: updates.
      key: a JAX random key; `jax.random.key(0)` if None.
      progress: called now and then with the number of member-updates completed, an int that also knows `.loss` (the
        lowest of the members now), `.best` (the lowest so far) and `.seconds_left`.
      chunk_size: how many members may be in memory at a time, for a population that is larger than it: they are
        trained group after group, by the same program. `batches` are read again for each group. All at once if None.
      method: "vmap" trains all members of a group together, "map" a few at a time in one program, which needs less
        memory for gradients and activations. "auto" is "map" on CPUs and "vmap" elsewhere.
      mesh: a `jax.sharding.Mesh` over whose devices the members are divided; if it has several axes, a pair of the
        mesh and the name of one. It may span processes (`jax.distributed`), each of which makes the same call, reads
        the same `batches` and gets the whole result; there is no `checkpoint` then.
      checkpoint: path of a file into which the state is written while training, so that the same call goes on from
        there after a stop, and gives the same numbers. A stop loses 30 seconds or 2 % of the run, whichever is longer;
        writing takes a twentieth of the time, more only if that would lose more. `batches` are read again up to where
        the run had stopped. The file stays; a call that finds it complete does not train. One that finds a complete
        sweep of fewer rates or fewer seeds trains what is new, and one of fewer steps goes on from its end: the
        schedules must give the rates of those steps again, and the shorter sweep have been made in one call and one
        group. What was trained for longer has the bits of a sweep done at once; other rates and seeds beside them
        make another program, which may round differently.
      **hyperparams: further arguments of `make_optimizer`, each a number or an array of numbers to sweep over.

    Returns:
      A `Sweep`: `.losses[rate, schedule, seed, step]`, `.final[rate, schedule, seed]`, `.best()`, `.plot()`; further
      hyperparameters that were swept have axes of their own before the seeds'.

    Raises:
      ValueError: if a grid is empty or holds a rate that is not positive and finite, or a count is not positive.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> bowl = lrx.Problem(
      ...     init=lambda key: jnp.ones(2),
      ...     loss=lambda params, batch, key=None: jnp.sum(params**2),
      ...     sample=lambda key: jnp.zeros(()),
      ... )
      >>> result = lrx.sweep(bowl, lrx.sgd, learning_rate=[0.01, 0.5, 2.0], steps=20)
      >>> result.final.shape, result.best().learning_rate
      ((3, 1, 1), 0.5)
    """
    check.positive_count(seeds=seeds, steps=steps)
    seeds, steps, key = int(seeds), int(steps), as_key(key)
    members = grid(make_optimizer, learning_rate, schedule, hyperparams, steps)
    layout = lay_out(len(members.rows), chunk_size, method, mesh)
    if checkpoint is not None and layout.spans_processes:
        rule = "must be None beside a mesh that spans processes, none of which has the whole state"
        raise check.fail("checkpoint", rule, str(checkpoint), "Give each process a share of the rates, and a file.")
    check_kinds(problem, make_optimizer)

    def engine_of(seeds_from: int = 0) -> Engine:
        engine = Engine(problem, make_optimizer, key=key, seeds=seeds, updates=part_of(steps))
        engine.init_keys, engine.batch_keys = engine.init_keys[seeds_from:], engine.batch_keys[seeds_from:]
        return engine

    engine, file, record = engine_of(), None, None
    if checkpoint is not None:
        given = members.arguments() | {"seeds": seeds, "steps": steps, "key": np.asarray(jax.random.key_data(key))}
        file = open_checkpoint(checkpoint, engine, layout, given, list(hyperparams))
        record = record_of(members, engine)
        extend(file, members, record, engine_of, lambda n: lay_out(n, chunk_size, method, mesh), progress)
    losses, scores = train(
        engine, members.rows, members.hyperparams, layout=layout, progress=progress, file=file, record=record
    )
    return Sweep(
        problem=problem.name,
        dims=(*members.dims, "seed", "step"),
        coords=members.coords | {"seed": tuple(range(seeds))},
        losses=members.arranged(losses),
        scores={k: members.arranged(v) for k, v in scores.items()},
    )
