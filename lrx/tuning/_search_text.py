"""A search as JSON. What is read may come from anywhere, and whatever is wrong with it is a ValueError."""

import itertools
import json
import math
from typing import Any, NoReturn

import numpy as np

from .. import _check as check
from .._json_text import parsed, short
from ..schedules import _text
from ..schedules._schedule import Schedule
from ._evidence import PARTS
from ._rate_search import MOST, ROUNDS, Batch, RateSearch, Told

VERSION = 2
"""The version of the JSON form."""
FUNCTION = "a function"
"""What is written for a schedule that is a function."""
DIVERGED = "diverged"
"""What is written for a score that is infinite."""
ARGUMENTS = {"steps": int, "optimizer": str, "budget": float, "start": float, "stop": float, "seed": int}
MOST_RUNS = 1000
"""Batches of runs: more than any search has."""


def written(arguments: dict[str, Any], schedule: Any, search: RateSearch, asked: list[int]) -> str:
    """The text of a search: its arguments, its schedule, what was told, and how often that was asked for."""
    if isinstance(schedule, Schedule):
        form = json.loads(schedule.to_json())
    else:
        form = schedule if schedule is None or isinstance(schedule, str) else {FUNCTION: _name(schedule)}
    batches, place = [], 0
    for batch in search.batches:
        n = len(batch.rates)
        runs = [
            [rate, 0, None] if told is None else [rate, times, told_as_json(told)]
            for rate, times, told in zip(batch.rates.tolist(), asked[place : place + n], batch.told, strict=True)
        ]
        batches.append({"round": batch.number, "steps": batch.steps, "runs": runs})
        place += n
    return json.dumps({"lrx": VERSION, "search": {**arguments, "schedule": form}, "batches": batches}, allow_nan=False)


def told_as_json(told: Told) -> list[Any]:
    """What was told of a run, as JSON has it."""
    score = DIVERGED if told.score == math.inf else told.score
    parts = [part if math.isfinite(part) else None for part in told.parts]
    return [told.losses, score, told.initial if math.isfinite(told.initial) else None, parts]


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def read(text: Any, schedule: Any) -> tuple[dict[str, Any], list[Batch], list[int]]:
    """The arguments of a search, its batches, and how often each trial was asked for.

    Args:
      text: what `written` wrote.
      schedule: the function that could not be written, or None.
    """
    data = parsed(text)
    if not isinstance(data, dict) or set(data) != {"lrx", "search", "batches"}:
        _wrong("it must have the keys 'lrx', 'search' and 'batches'")
    if type(data["lrx"]) is not int or data["lrx"] != VERSION:
        _wrong(f"it must be of version {VERSION}, got {short(data['lrx'])}")
    given, batches = data["search"], data["batches"]
    if not isinstance(given, dict) or set(given) != {*ARGUMENTS, "schedule"} or not isinstance(batches, list):
        _wrong("its arguments are not those of a search")
    for name, kind in ARGUMENTS.items():
        if type(given[name]) is not kind:
            _wrong(f"its {name} must be of type {kind.__name__}, got {short(given[name])}")
    arguments = {**given, "schedule": _schedule(given["schedule"], schedule)}
    if len(batches) > MOST_RUNS:
        _wrong("there are too many trials")
    runs = [_batch(x) for x in batches]
    return arguments, [batch for batch, _ in runs], [n for _, times in runs for n in times]


def check_batches(search: RateSearch) -> None:
    """Raise an error where the batches cannot be those of this search."""
    numbers = [b.number for b in search.batches]
    if numbers[0] or any(b - a not in (0, 1) for a, b in itertools.pairwise(numbers)):
        _wrong("its rounds are not in order")
    for batch in search.batches:
        low, high = batch.rates.min(), batch.rates.max()
        if not search.start * (1 - 1e-9) <= low <= high <= search.stop * (1 + 1e-9):
            _wrong("a learning rate is out of its range")
        if batch.steps > max(search.whole, 1):
            _wrong("a trial has too many steps")
    if not all(b.complete for b in search.batches[:-1]):
        _wrong("a round follows one that is not complete")


def _schedule(form: Any, function: Any) -> Any:
    if isinstance(form, dict) and set(form) == {FUNCTION}:
        if function is None:
            rule = f"must be given again, as the search was made with a function, {short(form[FUNCTION])}"
            raise check.fail("schedule", rule, None, "JSON cannot hold code.")
        return function
    if function is not None:
        raise check.fail("schedule", "must be None, as the text says which it is", function)
    if isinstance(form, dict):
        made = _text.from_json(json.dumps(form))
        return made if isinstance(made, Schedule) else _wrong("its schedule is none")
    return form if form is None or isinstance(form, str) else _wrong("its schedule is none")


def _batch(x: Any) -> tuple[Batch, list[int]]:
    if not isinstance(x, dict) or set(x) != {"round", "steps", "runs"}:
        _wrong("a batch of trials must have a round, steps and runs")
    number, steps, runs = x["round"], x["steps"], x["runs"]
    if type(number) is not int or not 0 <= number < ROUNDS or type(steps) is not int or not 0 < steps < 2**31:
        _wrong("a batch of trials must have a round and steps")
    if not isinstance(runs, list) or not 0 < len(runs) <= MOST_RUNS:
        _wrong("a batch of trials must have runs")
    rates, asked, told = [], [], []
    for run in runs:
        if not isinstance(run, list) or len(run) != 3:
            _wrong("a run must be [learning rate, times asked for, what was told]")
        rate, times, said = run
        if type(rate) is not float or not 0 < rate < math.inf or type(times) is not int or not 0 <= times < 2**31:
            _wrong("a run must have a learning rate and a number of times")
        rates.append(rate)
        asked.append(times)
        told.append(None if said is None else as_told(said, steps))
    return Batch(number, steps, np.asarray(rates), told), asked


def as_told(x: Any, steps: int) -> Told:
    """What `told_as_json` wrote."""
    if not isinstance(x, list) or len(x) != 4 or type(x[0]) is not int or not 0 <= x[0] <= steps:
        _wrong("what was told must be [losses, score, initial loss, parts]")
    if not isinstance(x[3], list) or len(x[3]) > PARTS or any(y is not None and not _is_finite(y) for y in x[3]):
        _wrong("the parts of a run must be numbers")
    if any(y is not None and not _is_finite(y) for y in (x[1] if x[1] != DIVERGED else 0.0, x[2])):
        _wrong("a score must be a number")
    score = math.inf if x[1] == DIVERGED else x[1]
    parts = tuple(math.nan if y is None else y for y in x[3])
    return Told(x[0], score, math.nan if x[2] is None else x[2], parts)


def _is_finite(x: Any) -> bool:
    return type(x) is float and abs(x) <= 2 * MOST


def _wrong(why: str) -> NoReturn:
    raise ValueError(f"{check.where('text')} must be a search of lrx's: {why}.")
