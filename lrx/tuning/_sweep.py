"""`sweep`: every learning rate under every schedule from every seed, and what came of it."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import _check as check
from .._numbers import F32, state_dtype
from .._pytree import pytree_dataclass, static
from ..problems._problem import Problem
from ..schedules._schedule import FunctionSchedule, Schedule, as_schedule
from ._population import Progress, train_population

MakeSchedule = Callable[[Any, int], Any]
"""(peak, steps) -> a schedule, a function of the count, or a number."""


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

        A member whose record holds a non-finite loss anywhere has the final loss nan.
        """
        last = self.losses[..., -max(1, self.losses.shape[-1] // 20) :].mean(axis=-1, dtype=np.float64)
        return np.where(np.isfinite(self.losses).all(axis=-1), last, np.nan)

    def loss(self, by: str = "training") -> np.ndarray:
        """The final loss by which members are ranked: "training", or "validation" (`evaluate`'s), [rate, …, seed]."""
        if by not in ("training", "validation"):
            raise ValueError(f"loss(by=...) must be 'training' or 'validation', got {by!r}.")
        if by == "validation" and "loss" not in self.scores:
            raise ValueError("loss(by='validation') needs a problem whose evaluate(params) gives a 'loss'.")
        return self.final if by == "training" else self.scores["loss"].astype(np.float64)

    def best(self, by: str = "training", schedule: str | None = None) -> Best:
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
            raise ValueError("best() found no member that stayed finite on every seed: sweep lower learning rates.")
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

    def plot(self, by: str = "training") -> Any:
        """Final loss against learning rate, a line for each schedule. Needs matplotlib; returns the figure."""
        from ..plot import plot_sweep

        return plot_sweep(self, by)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{d}: {n}" for d, n in zip(self.dims, self.losses.shape, strict=True))
        return f"Sweep({self.problem!r}, {sizes})"


@pytree_dataclass
class _FromPeak(Schedule):
    """A user's function of (peak, steps) that gives a plain function of the count: traced with its peak as data."""

    peak: Any
    make: Any = static()
    steps: int = static(default=0)

    def __call__(self, count: Any) -> jax.Array:
        return as_schedule(self.make(self.peak, self.steps))(count)


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
      progress: called now and then with the number of member-updates completed.
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
    seeds, steps = int(seeds), int(steps)
    rates = _grid("learning_rate", learning_rate)
    if (rates <= 0).any():
        raise check.fail("learning_rate", "must be positive", learning_rate)
    if schedule is not None and not isinstance(schedule, Mapping):
        rule = "must be a dict name -> function of (peak, steps)"
        raise TypeError(f"{check.where('schedule')} {rule}, got {schedule!r}.")
    makers = {"constant": lambda peak, steps: peak} if schedule is None else dict(schedule)
    if not makers:
        raise check.fail("schedule", "must name at least one schedule", schedule)
    axes = {k: _grid(k, v) for k, v in hyperparams.items()}

    # members: rates × further hyperparameters, the last fastest
    points = list(itertools.product(rates, *axes.values()))
    if callable(make_optimizer):
        for values in itertools.product(*axes.values()):  # the factories check numbers, and see only tracers later
            make_optimizer(float(rates[0]), **{k: float(v) for k, v in zip(axes, values, strict=True)})
    hyper = {k: np.asarray([p[i + 1] for p in points], F32) for i, k in enumerate(axes)}
    shape = (len(rates), *map(len, axes.values()), seeds)
    rows = np.concatenate([_values([_learning_rate(m, p[0], steps) for p in points], steps) for m in makers.values()])
    tiled = {k: np.tile(v, len(makers)) for k, v in hyper.items()}
    size = len(rows) * seeds
    told = None if progress is None else lambda step: progress(step * size)
    losses, scores, _ = train_population(problem, make_optimizer, rows, tiled, key, seeds, told)

    swept = {k: v for k, v in axes.items() if np.ndim(hyperparams[k])}
    fixed = tuple(i + 2 for i, k in enumerate(axes) if k not in swept)  # given as one number: no axis

    def arranged(x: np.ndarray) -> np.ndarray:
        x = x.reshape(len(makers), *shape, *x.shape[2:])
        return np.moveaxis(x, 0, 1).squeeze(axis=fixed)

    coords = {"learning_rate": tuple(map(_short, rates)), "schedule": tuple(makers)}
    coords |= {k: tuple(map(_short, v)) for k, v in swept.items()} | {"seed": tuple(range(seeds))}
    return Sweep(
        problem=problem.name,
        dims=("learning_rate", "schedule", *swept, "seed", "step"),
        coords=coords,
        losses=arranged(losses),
        scores={k: arranged(v) for k, v in scores.items()},
    )


def _grid(name: str, values: Any) -> np.ndarray:
    """One axis of the grid: finite float32 numbers."""
    given = np.atleast_1d(np.asarray(values))
    if given.dtype.kind not in "fiu" and not jnp.issubdtype(given.dtype, jnp.floating):
        raise TypeError(
            f"{check.where(name)} must be a number or a list of numbers, got {values!r}. Give what is not a number "
            "with functools.partial(make_optimizer, ...)."
        )
    grid = given.astype(np.float32)
    if grid.ndim != 1 or not grid.size:
        raise check.fail(name, "must be a number or a list of numbers", values)
    if not np.isfinite(grid).all():
        raise check.fail(name, "must be finite", values)
    return grid


def _short(x: np.float32) -> float:
    """The shortest number that is `x` in float32, for people: 0.003 and not 0.003000000026077032."""
    return float(str(x))


def _learning_rate(make: MakeSchedule, peak: float, steps: int) -> Any:
    """What goes into the learning-rate slot: a number or a schedule, with the peak among its data."""
    if not callable(make) or isinstance(make, Schedule):
        rule = "must give functions of (peak, steps), such as lambda peak, steps: ..."
        raise TypeError(f"{check.where('schedule')} {rule}, got {make!r}.")
    made = make(float(peak), steps)
    if isinstance(made, int | float):
        return float(made)
    made = as_schedule(made)
    return _FromPeak(float(peak), make, steps) if isinstance(made, FunctionSchedule) else made


def _values(learning_rates: list[Any], steps: int) -> np.ndarray:
    """The values over a run of several learning rates of one structure, float32 [len(learning_rates), steps]."""
    if isinstance(learning_rates[0], float):
        return np.repeat(np.asarray(learning_rates, np.float32)[:, None], steps, axis=1)
    rows = jax.tree.map(lambda *xs: np.stack([np.asarray(x, state_dtype(x)) for x in xs]), *learning_rates)
    return np.asarray(_evaluated(rows, np.arange(steps, dtype=np.int32)))


@jax.jit
def _evaluated(schedules: Any, counts: jax.Array) -> jax.Array:
    def over_run(schedule: Any) -> jax.Array:
        return jax.vmap(lambda count: jnp.asarray(schedule(count), F32))(counts)

    return jax.vmap(over_run)(schedules)
