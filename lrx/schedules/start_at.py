"""A schedule that begins in its middle, for a run that goes on where another one stopped."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import F32, INT32_MAX, Count, is_tracer
from .._pytree import pytree_dataclass
from ._phase import as_count
from ._questions import Marks, marks_of
from ._schedule import Schedule, part, schedule_factory
from ._steps import Steps
from .algebra import value


@pytree_dataclass
class StartAt(Schedule):
    """See `start_at`."""

    base: Any
    step: Count

    def __call__(self, count: Any) -> jax.Array:
        """`base` on a clock that is ahead."""
        t, step = as_count(count), as_count(self.step)
        if t.dtype == F32:
            return value(self.base, t + step.astype(F32))
        return value(self.base, step + jnp.minimum(t, INT32_MAX - step))  # the sum stays within int32

    def marks(self) -> Marks:
        """The marks of the base that are still ahead, earlier; an end that has passed is 0."""
        moved = {name: _earlier(mark, self.step) for name, mark in marks_of(self.base).items()}
        return {name: mark for name, mark in moved.items() if name == "end" or is_tracer(mark) or mark > 0}


def _earlier(mark: Any, step: Any) -> Any:
    if is_tracer(mark) or is_tracer(step):
        return jnp.maximum(mark - step, 0)
    return max(int(mark) - int(step), 0)


@schedule_factory
def start_at(base: Any, step: Steps) -> StartAt:
    """Start a schedule in its middle: its first update is that of a later step.

    ::

      η(t) = base(t + step)

    It serves a run that goes on without the old optimizer's state, whose counts begin at 0 again. Where the state is
    there, or the counts shall be those of the whole run, see `lrx.resume`.

    Args:
      base: a schedule, or a function of the count.
      step: ≥ 0, in updates: how many of them are done.

    Returns:
      A schedule. Its landmarks are `step` earlier; those that have passed are gone.

    Raises:
      ValueError: if `step` is negative.

    Examples:
      >>> import lrx
      >>> schedule = lrx.start_at(lrx.linear_schedule(1.0, 0.0, 4), 2)
      >>> print(*(schedule(t) for t in range(4)), schedule.end)
      0.5 0.25 0.0 0.0 2
    """
    check.non_negative_count(step=step)
    return StartAt(part("base", base), step)
