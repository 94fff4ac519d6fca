"""The arguments of `tune`, checked, for both ways to choose: within a budget and without one."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from ..problems._problem import Problem
from ._arguments import By
from ._journal import Journal

Progress = Callable[[str, int, int], None]
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
    progress: Progress | None
    journal: Journal
    """Of what was measured, for a call that goes on."""

    def report_progress(self, stage: str, done: int, total: int) -> None:
        """Call `progress`, if there is one."""
        if self.progress is not None:
            self.progress(stage, done, total)
