"""The record of a run, from whatever holds one: an array of losses, a `Recorder`, a log."""

import dataclasses
from typing import Any

import numpy as np

from .. import _check as check
from .._series import series


@dataclasses.dataclass(frozen=True)
class Record:
    """What is known of one run, float64 on the host."""

    losses: np.ndarray
    """[entries]."""
    rates: np.ndarray | None = None
    """The learning rate of each entry, [entries]."""
    steps: np.ndarray | None = None
    """The step of each entry, [entries]; None: one after the other."""
    validation: "Record | None" = None


def record_of(argument: str, x: Any, rates: Any = None, validation: Any = None) -> Record:
    """`x` as a record: an array, or an object with `.losses` and, if it has them, `.learning_rates` and so on."""
    given = x if hasattr(x, "losses") else None
    losses = series(argument, x if given is None else given.losses)
    rates = _rates(given) if rates is None else rates
    if rates is not None:
        rates = series("learning_rates", np.full(losses.size, rates) if np.ndim(rates) == 0 else rates)
        if rates.size != losses.size:
            raise check.fail("learning_rates", f"must have an entry for each of the {losses.size} losses", rates.size)
        if not np.isfinite(rates).all() or (rates < 0).any():
            worst = float(rates[~np.isfinite(rates) | (rates < 0)][0])
            raise check.fail("learning_rates", "must be finite and not negative", worst)
    steps = getattr(given, "steps", None)
    steps = None if steps is None or np.size(steps) != losses.size else series("steps", steps)
    validation = getattr(given, "validation", None) if validation is None else validation
    held_out = None if validation is None else record_of("validation", validation)
    return Record(losses, rates, steps, held_out)


def _rates(given: Any) -> Any:
    """The rates that an object holds, or None: a `Recorder` without states raises ValueError."""
    try:
        return getattr(given, "learning_rates", None)
    except ValueError:
        return None
