"""`Log`: what a training run has logged."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import _check as check
from .._series import series
from ..charts import rate


class Log:
    """The losses of a training run, the steps at which they were logged, and the learning rates there.

    `lrx.read_log` makes one from a file. Made by hand, the arguments are the attributes; anything that NumPy can make
    an array of will do.

    Attributes:
      steps: the steps, int64 [entries], increasing; every tenth one if every tenth was logged. 0, 1, 2 … if None.
      losses: the training loss at each of them, float64 [entries]. NaN and infinity stay as they were logged.
      learning_rates: the learning rate at each of them, float64 [entries]; None if the log has none.
      validation: a log of the validation loss, with steps of its own; None if there is none.
      steps_per_epoch: the number of steps in an epoch, if the log shows it; None otherwise.
      source: where it comes from, such as the path of a file.
      notes: what was decided in reading it, a sentence each: columns that were chosen, entries that were dropped.

    Raises:
      ValueError: if the arrays have different lengths, are empty, or the steps do not increase.
      TypeError: if they are not real numbers, or the steps not whole ones.

    Examples:
      >>> log = Log(steps=[0, 10, 20], losses=[2.0, 1.5, 1.25], learning_rates=[0.1, 0.1, 0.05])
      >>> log
      Log(3 losses at steps 0 to 20, learning rates 0.05 to 0.1)
      >>> log.losses[-1]
      np.float64(1.25)
    """

    losses: np.ndarray
    learning_rates: np.ndarray | None
    steps: np.ndarray
    validation: "Log | None"
    steps_per_epoch: float | None
    source: str
    notes: tuple[str, ...]

    @check.calling("Log")
    def __init__(
        self,
        losses: Any,
        learning_rates: Any = None,
        steps: Any = None,
        *,
        validation: "Log | None" = None,
        steps_per_epoch: float | None = None,
        source: str = "",
        notes: Iterable[str] = (),
    ) -> None:
        self.losses = series("losses", losses)
        self.learning_rates = None if learning_rates is None else series("learning_rates", learning_rates)
        whole = np.arange(len(self)) if steps is None else series("steps", steps)
        for name, x in (("steps", whole), ("learning_rates", self.learning_rates)):
            if x is not None and x.size != len(self):
                raise check.fail(name, f"must have an entry for each of the {len(self)} losses", x.size)
        if not (np.isfinite(whole) & (whole == np.round(whole))).all():
            raise TypeError(f"{check.where('steps')} must be whole numbers, got {whole}.")
        self.steps = whole.astype(np.int64)
        if not (rises := np.diff(self.steps) > 0).all():
            i = int(rises.argmin())
            raise check.fail("steps", "must increase", self.steps[i : i + 2].tolist())
        if not isinstance(validation, Log | None):
            raise TypeError(f"{check.where('validation')} must be a Log, got {validation!r}.")
        self.validation, self.steps_per_epoch = validation, steps_per_epoch
        self.source, self.notes = source, tuple(notes)

    def __len__(self) -> int:
        return self.losses.size

    def __repr__(self) -> str:
        parts = [f"{len(self):,} loss{'es' * (len(self) > 1)} at steps {self.steps[0]:,} to {self.steps[-1]:,}"]
        if self.learning_rates is not None and np.isfinite(self.learning_rates).any():
            low, high = np.nanmin(self.learning_rates), np.nanmax(self.learning_rates)
            parts.append(f"learning rates {rate(low)} to {rate(high)}" if low < high else f"learning rate {rate(low)}")
        if self.validation is not None:
            parts.append(f"validation at {len(self.validation):,} step{'s' * (len(self.validation) > 1)}")
        if self.source:
            parts.append(f"from {self.source}")
        return f"Log({', '.join(parts)})"
