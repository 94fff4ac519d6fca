"""The knee schedule: explore at the peak, then decay along a line to 0."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import Count, Scalar, is_tracer
from .._pytree import pytree_dataclass
from ._phase import as_count, is_before, line, scalar, split
from ._questions import Marks
from ._schedule import Schedule, schedule_factory
from ._shapes import after, whole_place
from ._steps import Steps
from .onecycle import check_shares


@pytree_dataclass
class KneeSchedule(Schedule):
    """See `knee_schedule`."""

    peak_value: Scalar
    total_steps: Count
    knee_fraction: Scalar
    warmup_steps: Count = 0

    def __call__(self, count: Any) -> jax.Array:
        """Warmup, constant, decay."""
        t, w, n = as_count(count), as_count(self.warmup_steps), as_count(self.total_steps)
        knee = jnp.minimum(after(w, whole_place(self.knee_fraction, n)), n)
        up = line(0.0, self.peak_value, *split(t, 0, w))
        down = jnp.where(
            is_before(t, knee), scalar(self.peak_value), line(self.peak_value, 0.0, *split(t, knee, n - knee))
        )
        return jnp.where(is_before(t, w), up, down)

    def marks(self) -> Marks:
        """The corners."""
        knee = after(self.warmup_steps, whole_place(self.knee_fraction, self.total_steps))
        return {"warmup_end": self.warmup_steps, "knee": knee, "end": self.total_steps}


@schedule_factory
def knee_schedule(
    peak_value: Scalar, total_steps: Steps, *, knee_fraction: Scalar, warmup_steps: Steps = 0
) -> KneeSchedule:
    """Explore at `peak_value` for a share of the budget, then exploit along a line to zero.

    With T = `total_steps`, w = `warmup_steps` and m = w + ⌊knee_fraction · T⌋::

      η(t) = peak_value · t / w                      for t < w
      η(t) = peak_value                              for w ≤ t < m
      η(t) = peak_value · (T − t) / (T − m)          for m ≤ t < T,  0 from T on

    Args:
      peak_value: the value up to the knee.
      total_steps: T > 0, in updates, the warmup included.
      knee_fraction: in [0, 1], the share of T spent at the peak; the paper finds ½ to work throughout.
      warmup_steps: w ≥ 0, in updates; m ≤ T.

    Returns:
      A schedule, exact at its corners, within 2 ulp.

    Raises:
      ValueError: if T is not positive, the share is not in [0, 1], the warmup is negative or leaves no room for it, or
        a value is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.knee_schedule(1.0, 8, knee_fraction=0.25, warmup_steps=2)
      >>> print(*(schedule(t) for t in (0, 1, 2, 4, 5, 8, 9)))
      0.0 0.5 1.0 1.0 0.75 0.0 0.0

    References:
      Iyer et al., Wide-minima density hypothesis and the explore-exploit learning rate schedule (2020), arXiv
      2003.03977.
    """
    check.finite(peak_value=peak_value)
    check.positive_count(total_steps=total_steps)
    check_shares(knee_fraction=knee_fraction)
    check.non_negative_count(warmup_steps=warmup_steps)
    numbers = total_steps, knee_fraction, warmup_steps
    if not any(map(is_tracer, numbers)) and warmup_steps + int(knee_fraction * total_steps) > total_steps:
        rule = f"must leave knee_fraction={knee_fraction} of total_steps={total_steps}"
        raise check.fail("warmup_steps", rule, warmup_steps)
    return KneeSchedule(peak_value, total_steps, knee_fraction, warmup_steps)
