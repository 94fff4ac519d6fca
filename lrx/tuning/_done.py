"""How far a training is, and how it goes: what callbacks of progress are given."""

import math
import time
from collections.abc import Callable

import numpy as np


class Done(int):
    """A number of updates, those of each member and seed counted, and what is known when they are completed."""

    loss: float = math.inf
    """The lowest loss now: of the members, the mean over seeds and over the last chunk; inf if none is finite."""
    best: float = math.inf
    """The lowest of these so far."""
    seconds_left: float = math.nan
    """At the pace so far; nan before there is one."""


Progress = Callable[[Done], None]
"""Called after each chunk with the number of updates that are completed, those of each member and seed counted."""


class Losses:
    """What has been measured so far: the best loss of the members now, and of all."""

    def __init__(self) -> None:
        self.now = self.best = math.inf

    def add(self, losses: np.ndarray) -> None:
        """Losses [members, seeds, updates]; the mean over a chunk and over seeds is that of a member."""
        means = losses.mean(axis=(1, 2), dtype=np.float64)
        finite = means[np.isfinite(means)]
        self.now = float(finite.min()) if finite.size else math.inf
        self.best = min(self.best, self.now)

    def text(self) -> str:
        """One line; nothing before the first loss."""
        if not math.isfinite(self.best):
            return ""
        return f"loss {self.now:.4g} · best {self.best:.4g}"


class Meter:
    """Makes a `Done` after each chunk of a run of known length."""

    def __init__(self, total: float):
        self.total, self.losses = total, Losses()
        self.begun = time.perf_counter()
        self.before: int | None = None
        """Updates that were completed before this process, or before its first chunk."""

    def __call__(self, completed: int, losses: np.ndarray) -> Done:
        """What to tell after a chunk with these losses [members, seeds, updates]."""
        self.losses.add(losses)
        if self.before is None:
            self.before = completed - losses.size
        done, made = Done(completed), completed - self.before
        spent = time.perf_counter() - self.begun
        done.loss, done.best = self.losses.now, self.losses.best
        done.seconds_left = spent * (self.total - completed) / made if made > 0 else math.nan
        return done
