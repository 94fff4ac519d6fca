"""Warm restarts: cycles of warmup and cosine decay, each with its own numbers."""

from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any

import jax
import numpy as np

from .. import _check as check
from .._numbers import I32, INT32_MAX, is_tracer
from .._pytree import arguments, pytree_dataclass
from ._lookup import stacked
from ._phase import as_count
from ._questions import Marks, summed
from ._schedule import Schedule, schedule_factory
from ._steps import first_count
from .cosine import WarmupCosineDecaySchedule, warmup_cosine_decay_schedule
from .join import joined, marks_of_joined


@pytree_dataclass
class SgdrSchedule(Schedule):
    """See `sgdr_schedule`."""

    cycles: tuple[WarmupCosineDecaySchedule, ...]

    def __call__(self, count: Any) -> jax.Array:
        """The cycle that `count` is in."""
        begins = self._begins()
        traced = any(map(is_tracer, begins))
        return joined(count, self.cycles, stacked(begins, as_count) if traced else np.array(begins, I32))

    def _begins(self) -> list[Any]:
        """Where each cycle but the first begins."""
        return list(accumulate((cycle.decay_steps for cycle in self.cycles[:-1]), summed))

    def marks(self) -> Marks:
        """The restarts, and the peaks of the cycles."""
        return marks_of_joined(self.cycles, self._begins(), "restart")

    def call(self) -> dict[str, Any]:
        """The arguments of the factory."""
        return {"cosine_kwargs": tuple(arguments(cycle) for cycle in self.cycles)}

    def __repr__(self) -> str:
        return f"sgdr_schedule(cosine_kwargs={self.call()['cosine_kwargs']!r})"


def _whole_lengths(cosine_kwargs: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    """The arguments of the cycles, with lengths that are floats replaced so that every restart is where optax's is."""
    total = begin = 0
    for kwargs in cosine_kwargs:
        if not isinstance(kwargs, Mapping):
            raise TypeError(f"{check.where('cosine_kwargs')} must be dicts of arguments, got {kwargs!r}.")
        steps = kwargs.get("decay_steps")
        if isinstance(steps, float) and 1 <= steps < INT32_MAX and isinstance(total, int | float):
            total += steps
            end = first_count("cosine_kwargs", total)
            kwargs, begin = {**kwargs, "decay_steps": int(end - begin)}, end
        elif isinstance(steps, int) and isinstance(total, float):
            total, begin = total + steps, begin + steps
        yield kwargs


@schedule_factory
def sgdr_schedule(cosine_kwargs: Iterable[Mapping[str, Any]]) -> SgdrSchedule:
    """Warm up and decay along half a cosine in cycles, each with its own numbers.

    With Tₖ the `decay_steps` of cycle k and bₖ = T₀ + … + Tₖ₋₁::

      η(t) = warmup_cosine_decay_schedule(**cosine_kwargs[k])(t − bₖ),  k the last with bₖ ≤ t

    For cycles that all follow one rule, `cyclic_annealing_schedule(..., shape="cosine")` needs fewer numbers.

    Args:
      cosine_kwargs: for each cycle the arguments of `warmup_cosine_decay_schedule`; `decay_steps` is its length. If
        lengths are floats, a cycle begins at the first count that is not before the sum of the lengths before it.

    Returns:
      A schedule, as exact as its cycles.

    Raises:
      ValueError: if there is no cycle, or the numbers of one are out of range.
      TypeError: if an argument of a cycle is missing or unknown.

    Examples:
      >>> import lrx
      >>> cycle = {"init_value": 0.0, "warmup_steps": 1, "decay_steps": 3}
      >>> schedule = lrx.sgdr_schedule([{**cycle, "peak_value": 1.0}, {**cycle, "peak_value": 0.5}])
      >>> print(*(schedule(t) for t in range(7)))
      0.0 1.0 0.5 0.0 0.5 0.25 0.0

    References:
      Loshchilov, Hutter, SGDR: stochastic gradient descent with warm restarts (ICLR 2017), arXiv 1608.03983.
    """
    cycles = tuple(warmup_cosine_decay_schedule(**kwargs) for kwargs in _whole_lengths(cosine_kwargs))
    if not cycles:
        raise check.fail("cosine_kwargs", "must hold at least one cycle", cycles)
    return SgdrSchedule(cycles)
