"""How a budget is divided among the rungs of a halving."""

import dataclasses
import math

from .. import _check as check


@dataclasses.dataclass(frozen=True)
class Rung:
    """A stretch of training at whose end the members are scored and the best are kept."""

    members: int
    begin: int
    """Updates done before it."""
    end: int
    """Updates done after it."""
    cooldown: int
    """Updates of the branch in which a copy of each member is cooled down to be scored; 0 on the last rung."""

    @property
    def gradients(self) -> float:
        """Its cost; the copies are scored on `cooldown` fresh batches, a forward pass counts as a third."""
        return self.members * (self.end - self.begin + self.cooldown * (1 + FORWARD))


FORWARD = 1 / 3
"""Cost of a forward pass in gradients."""


def unit_of(steps: int) -> int:
    """The lengths of rungs are multiples of so many updates: a thousandth of the run."""
    return max(1, steps // 1000)


@check.public
def halving_plan(
    members: int, budget: float = 3.0, steps: int = 1000, *, keep: float = 0.25, cooldown: float = 0.1
) -> tuple[Rung, ...]:
    """Divide a budget among rungs on which ever fewer members train ever longer.

    ::

      n₀ = members,  n_{k+1} = max(n_last, ⌈keep · n_k⌉),  n_last = max(1, ⌊budget / 2⌋)
      rung k ends at t_k = t₀ / keepᵏ, the last at `steps`
      cost = Σ_k n_k · (t_k − t_{k−1} + 4/3 · cooldown · t_k) ≤ budget · steps

    with the largest t₀ for which that holds. So each rung costs about the same, and the members that remain train to
    the end for about half of the budget. With as many runs as members there is one rung, an ordinary sweep.

    Args:
      members: how many there are at the start.
      budget: what all of it may cost, in full training runs of one member (`steps` gradients).
      steps: updates of a full run.
      keep: share of the members that a rung keeps, in (0, 1).
      cooldown: updates of the branch that scores a member, as a share of those done so far, in (0, 1]. It costs a
        third more, for as many fresh batches on which the copy is scored.

    Returns:
      The rungs in order.

    Raises:
      ValueError: if the budget does not suffice for so many members, or a number is out of its range.

    Examples:
      >>> for rung in halving_plan(32, budget=4.0, steps=1000):
      ...     print(rung)
      Rung(members=32, begin=0, end=35, cooldown=4)
      Rung(members=8, begin=35, end=140, cooldown=14)
      Rung(members=2, begin=140, end=1000, cooldown=0)

    References:
      Jamieson and Talwalkar, Non-stochastic best arm identification and hyperparameter optimization (AISTATS 2016),
      arXiv 1502.07943, algorithm 1.
    """
    check.positive_count(members=members, steps=steps)
    check.positive(budget=budget)
    for name, share in (("keep", keep), ("cooldown", cooldown)):
        check.positive(**{name: share})
        if share > 1 or (name == "keep" and share == 1):
            raise check.fail(name, f"must be {'below' if name == 'keep' else 'at most'} 1", share)
    members, steps = int(members), int(steps)
    if budget >= members:
        return (Rung(members, 0, steps, 0),)
    last = max(1, int(budget / 2))
    counts = [members]
    while counts[-1] > last:
        counts.append(max(last, math.ceil(counts[-1] * keep)))
    cheapest = None
    for first in range(steps // unit_of(steps), 0, -1):
        rungs = _rungs(counts, first, steps, keep, cooldown)
        if rungs is not None:
            cheapest = sum(r.gradients for r in rungs) / steps
            if cheapest <= budget:
                return rungs
    if cheapest is None:
        raise check.fail("steps", f"must be more for {len(counts)} rungs", steps)
    way_out = f"Give a larger budget, fewer members or a smaller keep (now {keep})."
    raise check.fail("budget", f"must be at least {cheapest:.2f} for {members} members", budget, way_out)


def _rungs(counts: list[int], first: int, steps: int, keep: float, cooldown: float) -> tuple[Rung, ...] | None:
    """The rungs if the first has `first` units, or None if they do not fit into the steps."""
    unit = unit_of(steps)
    rungs, begin = [], 0
    for k, members in enumerate(counts[:-1]):
        end = unit * round(first / keep**k)
        branch = unit * math.ceil(round(cooldown * end / unit, 6))
        if end + branch > steps:
            return None
        rungs.append(Rung(members, begin, end, branch))
        begin = end
    return (*rungs, Rung(counts[-1], begin, steps, 0))
