"""Training runs from logs of any form: losses at some steps, and the rate of every update."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import _check as check
from .._numbers import INT32_MAX, is_array, is_number
from .._series import series
from ..schedules import _questions
from ..schedules._schedule import Schedule, part

EXPECTED = "must be pairs (learning rates, losses), triples (steps, learning rates, losses) or logs with those names"


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """Rates of a run from its start on, and the steps at which its loss is known or asked for."""

    steps: np.ndarray
    """Updates made before each loss, int64 [losses], increasing."""
    rates: np.ndarray
    """The rate of each update, float64 [last step], the warmup's too."""
    losses: np.ndarray
    """Float64 [losses]; empty where they are asked for."""
    warmup_steps: int
    """Updates of the warmup."""
    warmup_sum: float
    """The sum of their rates."""

    @property
    def sums(self) -> np.ndarray:
        """The sum of the rates of all updates before each count, the warmup's included, float64 [last step + 1]."""
        w = self.warmup_steps
        after = np.concatenate([[0.0], np.cumsum(self.rates[w:])]) + self.warmup_sum
        return np.concatenate([np.cumsum(np.concatenate([[0.0], self.rates[:w]]))[:w], after])


def runs_of(argument: str, logs: Any, warmup_steps: int, warmup_sum: float | None) -> tuple[Run, ...]:
    """One run or many, checked; losses at steps before the end of the warmup are left out."""
    several = [logs] if _is_one(logs) else logs
    if not isinstance(several, Iterable) or isinstance(several, str | bytes | dict) or is_array(several):
        raise TypeError(f"{check.where(argument)} {EXPECTED}, got {type(logs).__name__}.")
    found = tuple(_run(argument, log, warmup_steps, warmup_sum) for log in several)
    if not found:
        raise check.fail(argument, "must hold at least one run", logs)
    return found


def _is_one(log: Any) -> bool:
    if hasattr(log, "losses"):
        return True
    return isinstance(log, tuple | list) and len(log) in (2, 3) and all(map(_is_series, log))


def _is_series(x: Any) -> bool:
    if is_array(x):
        return np.ndim(x) == 1
    if isinstance(x, tuple | list):
        return bool(x) and is_number(x[0]) and not np.ndim(x[0])
    return is_schedule(x)


def _run(argument: str, log: Any, warmup_steps: int, warmup_sum: float | None) -> Run:
    if hasattr(log, "losses"):
        steps, rates, losses = getattr(log, "steps", None), getattr(log, "learning_rates", None), log.losses
        if rates is None:
            raise check.fail(argument, "must have the learning rates of each run", log, "Give them beside the losses.")
    elif isinstance(log, tuple | list) and len(log) in (2, 3):
        steps, rates, losses = (None, *log) if len(log) == 2 else log
    else:
        raise TypeError(f"{check.where(argument)} {EXPECTED}, got {type(log).__name__} among them.")
    losses = series(argument, losses)
    wrong = ~(np.isfinite(losses) & (losses > 0))
    if wrong.any():
        i = int(np.argmax(wrong))
        raise check.fail(argument, "must have losses that are finite and positive", losses[i], f"That is loss {i}.")
    given = np.arange(losses.size) if steps is None else _whole(argument, steps)
    if given.size != losses.size:
        raise check.fail(argument, f"must have a step for each of the {losses.size} losses", given.size)
    if steps is None and not is_schedule(rates) and (n := np.size(rates)) != losses.size:
        way = "Losses of some steps only come as (steps, learning rates, losses)."
        raise check.fail(argument, f"must have a learning rate for each of the {losses.size} losses", n, way)
    run = run_at(argument, given, rates, warmup_steps, warmup_sum)
    after = given >= run.warmup_steps
    after &= run.sums[given] > 0  # the loss before any update says nothing of the rates
    return dataclasses.replace(run, steps=given[after], losses=losses[after])


def run_at(argument: str, steps: np.ndarray, rates: Any, warmup_steps: int, warmup_sum: float | None) -> Run:
    """A run without losses: rates given as a schedule, one for each update, or one for each of the steps."""
    last, first = int(steps[-1]), 0
    if is_schedule(rates):
        every = _questions.values(part(argument, rates), np.arange(max(last, 1)))
    else:
        known = series(argument, rates)
        if known.size == steps.size and not np.array_equal(steps, np.arange(1, steps.size + 1)):
            first = int(steps[0])
            every = np.interp(np.arange(max(last, 1)), steps, known)
        elif known.size >= last:
            every = known[: max(last, 1)]
        else:
            way = f"Give one for each of the {steps.size} steps, or one for each of the {last} updates."
            raise check.fail(argument, "must have learning rates in one of two numbers", known.size, way)
    wrong = ~(np.isfinite(every) & (every >= 0))
    if wrong.any():
        i = int(np.argmax(wrong))
        rule = "must have learning rates that are finite and not negative"
        raise check.fail(argument, rule, float(every[i]), f"That is the rate of update {i}.")
    if not every.any():
        raise check.fail(argument, "must have a learning rate that is positive", 0.0, "All of them are 0.")
    warmup = min(int(warmup_steps), every.size)
    if 0 < warmup <= first:  # not logged: a line from 0 to the first rate that is
        every[:warmup] = every[first] * np.arange(warmup) / warmup
    if warmup_sum is None:
        return Run(steps, every, np.zeros(0), warmup, float(every[:warmup].sum()))
    return Run(steps, every, np.zeros(0), warmup or min(first, every.size), float(warmup_sum))


def _whole(argument: str, steps: Any) -> np.ndarray:
    """Steps as int64, not negative and increasing."""
    found = series(argument, steps)
    wrong = ~((found >= 0) & (found <= INT32_MAX) & (found == np.round(found)))
    if wrong.any():
        raise check.fail(argument, "must have whole steps that are not negative", float(found[wrong][0]))
    if (np.diff(found) <= 0).any():
        i = int(np.argmax(np.diff(found) <= 0))
        raise check.fail(argument, "must have steps that increase", found[i : i + 2].astype(int).tolist())
    return found.astype(np.int64)


def asked(steps: Any) -> np.ndarray:
    """The argument `steps` of a prediction: a number of updates means after each of them."""
    if is_number(steps) and not np.ndim(steps):
        check.positive_count(steps=steps)
        return np.arange(1, int(steps) + 1)
    return _whole("steps", steps)


def is_schedule(x: Any) -> bool:
    """Whether it stands for a rate at any count."""
    return isinstance(x, Schedule) or callable(x) or (is_number(x) and not np.ndim(x))
