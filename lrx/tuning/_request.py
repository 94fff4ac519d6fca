"""The arguments of `tune`, checked, for both ways to choose: within a budget and without one."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from ..problems._problem import Problem
from ._arguments import By
from ._done import Done, Progress
from ._journal import Journal

StageProgress = Callable[[str, Done, int], None]
"""(stage, updates done, updates in the stage), an update of each member counted."""


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
    """The arguments of `lrx.tune`, except for its budget."""

    problem: Problem
    makers: dict[str, Callable[..., Any]]
    """Optimizers to choose from, name -> function of the learning rate."""
    curves: dict[str, Callable[[Any, int], Any]]
    """Schedules to choose from, name -> function of (peak, steps)."""
    learning_rates: tuple[float, ...] | None
    """Those that may be used, increasing, or None for any."""
    steps: int
    seeds: int
    key: jax.Array
    by: By
    progress: StageProgress | None
    journal: Journal
    """Of what was measured, for a call that goes on."""

    def progress_of(self, stage: str, total: int) -> Progress:
        """What to call with the updates done in a stage, of which none is yet: it is called with 0 first."""

        def report(done: Done) -> None:
            if self.progress is not None:
                self.progress(stage, done, total)

        report(Done(0))
        return report
