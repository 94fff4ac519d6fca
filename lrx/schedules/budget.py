"""Decays over a fixed budget of steps: REX, knee, flat and then cosine."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import Count, Scalar, is_tracer
from .._pytree import pytree_dataclass
from ._phase import as_count, fraction, half_cosine, line, scalar, split
from ._questions import Marks
from ._schedule import Schedule, schedule_factory
from ._shapes import after, whole_place
from .onecycle import check_shares


@pytree_dataclass
class RexSchedule(Schedule):
    """See `rex_schedule`."""

    init_value: Scalar
    total_steps: Count

    def __call__(self, count: Any) -> jax.Array:
        """The hyperbola."""
        elapsed, remaining = split(count, 0, self.total_steps)
        r = jnp.where(remaining == 0, 0.0, fraction(remaining, elapsed + remaining))
        return scalar(self.init_value) * (2 * r / (1 + r))

    def marks(self) -> Marks:
        """The end."""
        return {"end": self.total_steps}


@schedule_factory
def rex_schedule(init_value: Scalar, total_steps: Count) -> RexSchedule:
    """Fall to zero slowly at first and fast at the end (reflected exponential).

    With x = min(t / total_steps, 1)::

      η(t) = init_value · (1 − x) / (1 − x/2)

    Args:
      init_value: the value at t = 0.
      total_steps: in updates, > 0; the value is 0 from there on.

    Returns:
      A schedule, exact at both ends, within 4 ulp.

    Raises:
      ValueError: if `total_steps` is not positive or a value is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.rex_schedule(3.0, 4)
      >>> print(*(schedule(t) for t in (0, 2, 4, 5)))
      3.0 2.0 0.0 0.0

    References:
      Chen, Wolfe, Kyrillidis, REX: revisiting budgeted training (MLSys 2022), arXiv 2107.04197.
    """
    check.finite(init_value=init_value)
    check.positive_count(total_steps=total_steps)
    return RexSchedule(init_value, total_steps)


@pytree_dataclass
class KneeSchedule(Schedule):
    """See `knee_schedule`."""

    peak_value: Scalar
    total_steps: Count
    knee_fraction: Scalar
    warmup_steps: Count = 0

    def __call__(self, count: Any) -> jax.Array:
        """Up, level, down."""
        t, w, n = as_count(count), as_count(self.warmup_steps), as_count(self.total_steps)
        knee = jnp.minimum(after(w, whole_place(self.knee_fraction, n)), n)
        up = line(0.0, self.peak_value, *split(t, 0, w))
        down = jnp.where(t < knee, scalar(self.peak_value), line(self.peak_value, 0.0, *split(t, knee, n - knee)))
        return jnp.where(t < w, up, down)

    def marks(self) -> Marks:
        """The corners."""
        knee = after(self.warmup_steps, whole_place(self.knee_fraction, self.total_steps))
        return {"warmup_end": self.warmup_steps, "knee": knee, "end": self.total_steps}


@schedule_factory
def knee_schedule(
    peak_value: Scalar, total_steps: Count, *, knee_fraction: Scalar, warmup_steps: Count = 0
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
        return jnp.where(as_count(count) < m, scalar(self.init_value), down)

    def marks(self) -> Marks:
        """The corners."""
        return {"decay_start": whole_place(self.flat_fraction, self.total_steps), "end": self.total_steps}


@schedule_factory
def flat_cosine_schedule(
    init_value: Scalar, total_steps: Count, *, flat_fraction: Scalar = 0.75, end_value: Scalar = 0.0
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
