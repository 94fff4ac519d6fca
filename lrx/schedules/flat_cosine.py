"""Flat, then half a cosine: fastai's `fit_flat_cos`."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import Count, Scalar
from .._pytree import pytree_dataclass
from ._phase import as_count, half_cosine, is_before, scalar, split
from ._questions import Marks
from ._schedule import Schedule, schedule_factory
from ._shapes import whole_place
from ._steps import Steps
from .onecycle import check_shares


@pytree_dataclass
class FlatCosineSchedule(Schedule):
    """See `flat_cosine_schedule`."""

    init_value: Scalar
    total_steps: Count
    flat_fraction: Scalar = 0.75
    end_value: Scalar = 0.0

    def __call__(self, count: Any) -> jax.Array:
        """Level, then half a cosine."""
        n = as_count(self.total_steps)
        m = whole_place(self.flat_fraction, n)
        down = half_cosine(self.init_value, self.end_value, *split(count, m, n - m))
        return jnp.where(is_before(as_count(count), m), scalar(self.init_value), down)

    def marks(self) -> Marks:
        """The corners."""
        return {"decay_start": whole_place(self.flat_fraction, self.total_steps), "end": self.total_steps}


@schedule_factory
def flat_cosine_schedule(
    init_value: Scalar, total_steps: Steps, *, flat_fraction: Scalar = 0.75, end_value: Scalar = 0.0
) -> FlatCosineSchedule:
    """Hold `init_value` for a share of the budget, then fall along half a cosine (fastai's `fit_flat_cos`).

    With T = `total_steps`, m = ⌊flat_fraction · T⌋ and x = (t − m) / (T − m)::

      η(t) = init_value                                                        for t < m
      η(t) = end_value + (init_value − end_value) · ½(1 + cos πx)              for m ≤ t < T,  end_value from T on

    Args:
      init_value: the value up to t = m.
      total_steps: T > 0, in updates.
      flat_fraction: in [0, 1], the share of T that is flat; with 1 the value drops at T.
      end_value: the value from T on.

    Returns:
      A schedule, exact at its corners, within 8 ulp between values of one sign.

    Raises:
      ValueError: if T is not positive, the share is not in [0, 1], or a value is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.flat_cosine_schedule(1.0, 16)
      >>> print(*(schedule(t) for t in (0, 12, 14, 16, 17)))
      1.0 1.0 0.5 0.0 0.0
    """
    check.finite(init_value=init_value, end_value=end_value)
    check.positive_count(total_steps=total_steps)
    check_shares(flat_fraction=flat_fraction)
    return FlatCosineSchedule(init_value, total_steps, flat_fraction, end_value)
