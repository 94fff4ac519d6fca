"""How `tune` divides a budget among short runs, longer ones and whole ones."""

import dataclasses

from .. import _check as check
from ._find import QUARTER, rounded_up
from ._longer_runs import RATES
from ._rate_search import least

SHORT = 1.0
"""The cost of all short runs together, at most, in whole runs, where there are no longer ones."""
STARTS = 4
"""From how many starts each rate is tried in short runs, at most, where there are no longer ones."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a budget is spent on."""

    whole: int
    """How many members get whole runs, from every seed."""
    gradients: int
    """Of the short runs of each optimizer."""
    starts: int
    """Of each rate in these."""
    longer: int
    """Updates of each of the longer runs that each optimizer has; 0 if there are none."""
    one_more: str
    """The budget that trains one more member after the same runs."""
    next: str
    """The least budget with longer runs; empty if there are some, or can't be."""


def divided(budget: float, optimizers: int, steps: int, seeds: int, longer: bool = True) -> Plan:
    """The plan for a budget.

    Args:
      budget: in whole runs.
      optimizers: how many there are to choose from.
      steps: updates of a whole run.
      seeds: whole runs of each member.
      longer: whether there may be longer runs.
    """
    shortest = max(QUARTER, least(1) / steps) * optimizers
    compared, of_all = min(optimizers, 2), RATES * optimizers
    before = shortest + QUARTER * of_all
    if longer and budget >= before + compared * seeds - 1e-9:
        whole = int((budget - before) / seeds + 1e-9)
        updates = min(steps, int((budget - shortest - whole * seeds) * steps / of_all + 1e-6))
        return Plan(whole, int(shortest * steps / optimizers + 1e-6), 1, updates, rounded_up(budget + seeds), "")
    whole = int((budget - shortest) / seeds + 1e-9)
    if whole < 1:
        many = "an optimizer" if optimizers == 1 else f"{optimizers} optimizers"
        beside = "a whole run" if seeds == 1 else f"whole runs from {seeds} seeds"
        rule = f"must be at least {rounded_up(shortest + seeds)}, for the short runs of {many} and {beside}"
        raise check.fail("budget", rule, budget, f"A run has {steps} steps.")
    share = _share(budget, whole, shortest, seeds)
    gradients = int(share * steps / optimizers + 1e-6)
    starts = max(1, min(STARTS, gradients // max(int(QUARTER * steps), least(1))))
    after = rounded_up(before + compared * seeds) if longer else ""
    return Plan(whole, gradients, starts, 0, rounded_up((whole + 1) * seeds + share), after)


def _share(budget: float, whole: int, shortest: float, seeds: int) -> float:
    """The cost of all short runs beside the whole runs of so many members, in whole runs."""
    return min(max(SHORT, shortest), budget - whole * seeds)
