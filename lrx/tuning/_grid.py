"""The members of a sweep: every learning rate under every schedule with every other number."""

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
from ..schedules._schedule import FunctionSchedule, Schedule, as_schedule

MakeSchedule = Callable[[Any, int], Any]
"""(peak, steps) -> a schedule, a function of the count, or a number."""

AXES = "seed", "step"
"""Axes of every sweep, beside those of the members."""


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """The members, in the order schedule, learning rate, further numbers; the last is the fastest."""

    rows: np.ndarray
    """The rate of each update of each member, float32 [members, steps]."""
    hyperparams: dict[str, np.ndarray]
    """Further arguments of `make_optimizer`, name -> float32 [members]."""
    dims: tuple[str, ...]
    """The names of the axes into which members are arranged; numbers given as one number have none."""
    coords: dict[str, tuple[Any, ...]]
    """The values along each axis, by its name."""

    def arranged(self, x: np.ndarray) -> np.ndarray:
        """An array [members, …] as [rate, schedule, …]."""
        rates, schedules, *others = (len(self.coords[d]) for d in self.dims)
        return np.moveaxis(x.reshape(schedules, rates, *others, *x.shape[1:]), 0, 1)

    def arguments(self) -> dict[str, Any]:
        """Argument -> value, by which a checkpoint is recognised."""
        rates, schedules = (self.coords[k] for k in ("learning_rate", "schedule"))
        return {"learning_rate": rates, "schedule": schedules, "values of the schedules": self.rows} | {
            k: tuple(map(_short, v))
            for k, v in self.hyperparams.items()  # of each member: order and repeats count
        }


def grid(make_optimizer: Any, learning_rate: Any, schedule: Any, hyperparams: dict[str, Any], steps: int) -> Grid:
    """The grid of the arguments of `lrx.sweep`, checked."""
    rates = _axis("learning_rate", learning_rate)
    if (rates <= 0).any():
        raise check.fail("learning_rate", "must be positive", learning_rate)
    if schedule is not None and not isinstance(schedule, Mapping):
        rule = "must be a dict name -> function of (peak, steps)"
        raise TypeError(f"{check.where('schedule')} {rule}, got {schedule!r}.")
    makers = {"constant": lambda peak, steps: peak} if schedule is None else dict(schedule)
    if not makers:
        raise check.fail("schedule", "must name at least one schedule", schedule)
    axes = {k: _axis(k, v) for k, v in hyperparams.items()}
    points = list(itertools.product(rates, *axes.values()))
    if callable(make_optimizer):
        for values in itertools.product(*axes.values()):  # the factories check numbers, and see only tracers later
            check.in_user_code(
                make_optimizer, float(rates[0]), **{k: float(v) for k, v in zip(axes, values, strict=True)}
            )
    rows = [_values([learning_rate_of(m, p[0], steps) for p in points], steps) for m in makers.values()]
    hyper = {k: np.asarray([p[i + 1] for p in points] * len(makers), F32) for i, k in enumerate(axes)}
    swept = {k: v for k, v in axes.items() if np.ndim(hyperparams[k])}
    for name in AXES:
        if name in swept:
            rule = f"must be one number, since {name!r} is an axis of the result"
            raise check.fail(name, rule, hyperparams[name], "Give the argument another name in make_optimizer.")
    coords = {"learning_rate": tuple(map(_short, rates)), "schedule": tuple(makers)}
    coords |= {k: tuple(map(_short, v)) for k, v in swept.items()}
    return Grid(np.concatenate(rows), hyper, tuple(coords), coords)


@pytree_dataclass
class _FromPeak(Schedule):
    """A user's function of (peak, steps) that gives a plain function of the count: traced with its peak as data."""

    peak: Any
    make: Any = static()
    steps: int = static(default=0)

    def __call__(self, count: Any) -> jax.Array:
        return as_schedule(check.in_user_code(self.make, self.peak, self.steps))(count)


def _axis(name: str, values: Any) -> np.ndarray:
    """One axis of the grid: finite float32 numbers."""
    given = np.atleast_1d(np.asarray(values))
    if given.dtype.kind not in "fiu" and not jnp.issubdtype(given.dtype, jnp.floating):
        raise TypeError(
            f"{check.where(name)} must be a number or a list of numbers, got {values!r}. Give what is not a number "
            "with functools.partial(make_optimizer, ...)."
        )
    axis = given.astype(np.float32)
    if axis.ndim != 1 or not axis.size:
        raise check.fail(name, "must be a number or a list of numbers", values)
    if not np.isfinite(axis).all():
        raise check.fail(name, "must be finite", values)
    return axis


def _short(x: np.float32) -> float:
    """The shortest number that is `x` in float32, for people: 0.003 and not 0.003000000026077032."""
    return float(str(x))


def learning_rate_of(make: MakeSchedule, peak: float, steps: int) -> Any:
    """What goes into the learning-rate slot: a number or a schedule, with the peak among its data."""
    if not callable(make) or isinstance(make, Schedule):
        rule = "must give functions of (peak, steps), such as lambda peak, steps: ..."
        raise TypeError(f"{check.where('schedule')} {rule}, got {make!r}.")
    made = check.in_user_code(make, float(peak), steps)
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
