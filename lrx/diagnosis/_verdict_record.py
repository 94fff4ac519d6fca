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

    @property
    def counted(self) -> np.ndarray:
        """The step of each entry."""
        return np.arange(self.losses.size) if self.steps is None else self.steps

    @property
    def skipped(self) -> float:
        """The steps that passed before the first finite loss, beyond the distance at which losses were logged."""
        finite = np.isfinite(self.losses)
        if self.losses.size < 2 or not finite.any():
            return 0.0
        return max(float(self.counted[finite.argmax()] - np.median(np.diff(self.counted))), 0.0)

    @property
    def missing(self) -> float:
        """The same as a share of the last step."""
        return self.skipped / float(self.counted[-1]) if self.skipped else 0.0

    def lacks(self, other: "Record", share: float) -> bool:
        """Whether it begins later than another one of the same run, by more than this share of that one's steps."""
        comparable = (self.steps is None) == (other.steps is None)
        return comparable and self.skipped - other.skipped > share * float(other.counted[-1])

    def beside(self, other: "Record") -> "Record":
        """The part from the first to the last step of another one; of a record without steps, as many losses."""
        first, last = 0, other.losses.size
        if self.steps is not None and other.steps is not None:
            first, last = np.searchsorted(self.steps, [other.steps[0], other.steps[-1] + 1]).tolist()
        last = max(last, 1)
        part = slice(min(first, last - 1), last)
        return Record(self.losses[part], None if self.rates is None else self.rates[part])


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
    if steps is not None and not (np.isfinite(steps).all() and (np.diff(steps) >= 0).all()):
        raise check.fail(argument, "must have .steps that are finite and do not decrease", given, "Sort the entries.")
    validation = getattr(given, "validation", None) if validation is None else validation
    held_out = None if validation is None else record_of("validation", validation)
    return Record(losses, rates, steps, held_out)


def _rates(given: Any) -> Any:
    """The rates that an object holds, or None: a `Recorder` without states raises ValueError."""
    try:
        return getattr(given, "learning_rates", None)
    except ValueError:
        return None
