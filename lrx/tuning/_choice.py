"""The choice of `tune` and the evidence for it, as data."""

import dataclasses
from collections.abc import Callable
from typing import Any

from ._arguments import By
from ._found import Found
from ._sweep import Sweep
from ._table import Row


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Choice:
    """The choice and the evidence."""

    problem: str
    optimizer: str
    schedule: Any
    """The chosen schedule, at the chosen peak."""
    schedule_name: str
    learning_rate: float
    """The chosen peak."""
    interval: tuple[float, float]
    """With a budget, where the best rate is expected; without one, the rates tried whose mean loss is within 5 % or one
    spread of the best one's, under the same schedule."""
    by: By
    """"validation" or "training": the loss that decided."""
    table: tuple[Row, ...]
    """Every combination at its best rate, best first; after those with whole runs, those with short runs alone."""
    found: Found
    """The short runs of the chosen optimizer that suggested a rate, and its longer ones, the last round (those of the
    first optimizer, without a budget)."""
    sweeps: dict[str, tuple[Sweep, ...]]
    """All whole runs that were made, by optimizer."""
    steps: int
    seeds: int
    runs: float
    """What it cost in runs of `steps` gradients, short and longer runs included."""
    seconds: float
    make_optimizer: Callable[..., Any]
    budget: float | None = None
    """What it was allowed to cost, in runs; None if all combinations were tried."""
    larger_budget: str = ""
    """What a larger budget would have been spent on."""
    retrained: Row | None = None
    """Without a budget: the choice, trained again from seeds that had no part in choosing it."""
    baseline: Row | None = None
    """Without a budget: Adam at a constant 1e-3 from those same seeds."""
    confirmation: dict[str, Sweep] = dataclasses.field(default_factory=dict)
    """Without a budget, "chosen" and "baseline": the runs behind `retrained` and `baseline`."""

    @property
    def runner_up(self) -> Row | None:
        """The best of the other combinations that had whole runs, or None."""
        return next((row for row in self.table[1:] if row.steps == self.steps), None)

    def transformation(self) -> Any:
        """The chosen optimizer with the chosen schedule, ready for training."""
        return self.make_optimizer(self.schedule)
