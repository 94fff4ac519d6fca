"""One cycle as torch has it, for the rate and for the momentum, which moves the other way.

The turns may lie between two steps: the peak is at step pct_start·T − 1, the last value at T − 1.
"""

from itertools import pairwise
from typing import Any, Literal

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import F32, Count, Scalar
from .._pytree import pytree_dataclass, static
from ._phase import as_count, half_cosine, line, scalar
from ._questions import Marks
from ._schedule import Schedule, schedule_factory
from ._shapes import place
from ._steps import Steps
from .onecycle import check_shares, divided

Anneal = Literal["cos", "linear"]


def turning(count: Any, values: list[Any], turns: list[Any], anneal: str) -> jax.Array:
    """From value to value, each reached at its turn, a `Place`, or int32 if the last. Empty phases are skipped."""
    curve = half_cosine if anneal == "cos" else line
    t = as_count(count)
    last = turns[-1].astype(t.dtype)
    t = jnp.minimum(t, last)
    # each turn within [0, last], as the steps since then, which may be negative
    times = [_within(turn.since(t), t, last) for turn in turns[:-1]]
    since = [t.astype(F32), *times, (t - last).astype(F32)]
    value = jnp.broadcast_to(scalar(values[0]), t.shape)
    for k, (a, b) in enumerate(pairwise(values)):
        elapsed, remaining = jnp.maximum(since[k], 0.0), jnp.maximum(-since[k + 1], 0.0)
        value = jnp.where(since[k] >= 0, curve(a, b, elapsed, remaining), value)
    return value


def _within(since: jax.Array, t: jax.Array, last: jax.Array) -> jax.Array:
    """The steps since a turn that lies before 0 or after `last` are those since the nearer of the two."""
    return jnp.clip(since, (t - last).astype(F32), t.astype(F32))


def _torch_turns(self: Any) -> list[Any]:
    n = as_count(self.total_steps)
    end = jnp.maximum(n - 1, 0)
    up = place(self.pct_start, n).moved(-1)
    return [up, up.doubled(), end] if self.three_phase else [up, end]


@pytree_dataclass
class TorchOnecycleSchedule(Schedule):
    """See `torch_onecycle_schedule`."""

    max_value: Scalar
    total_steps: Count
    pct_start: Scalar = 0.3
    anneal: str = static(default="cos")
    div_factor: Scalar = 25.0
    final_div_factor: Scalar = 1e4
    three_phase: bool = static(default=False)

    def __call__(self, count: Any) -> jax.Array:
        """Up, down (and further down)."""
        high = scalar(self.max_value)
        low, last = divided(high, self.div_factor), divided(high, self.div_factor, self.final_div_factor)
        down = [low, last] if self.three_phase else [last]
        return turning(count, [low, high, *down], _torch_turns(self), self.anneal)

    def marks(self) -> Marks:
        """The last step; the other turns need not be whole."""
        return {"end": self.total_steps - 1}


@schedule_factory
def torch_onecycle_schedule(
    max_value: Scalar,
    total_steps: Steps,
    *,
    pct_start: Scalar = 0.3,
    anneal: Anneal = "cos",
    div_factor: Scalar = 25.0,
    final_div_factor: Scalar = 1e4,
    three_phase: bool = False,
) -> TorchOnecycleSchedule:
    """Rise to `max_value`, then fall far below the first value, as torch's `OneCycleLR` does.

    With T = `total_steps`, p = pct_start · T − 1, a = max_value / div_factor and z = a / final_div_factor, the turns::

      (0, a),  (p, max_value),  (T − 1, z)                     two phases
      (0, a),  (p, max_value),  (2p, a),  (T − 1, z)           three phases

    are joined by half cosines, b + (a − b) · ½(1 + cos πx), or by lines. z holds from T − 1 on; torch raises an error
    after it. A turn before step 0 is at 0, one after T − 1 is at T − 1. `torch_onecycle_momentum_schedule` is the
    other half.

    Args:
      max_value: the value at step p, which need not be a whole number.
      total_steps: T > 0, in updates; the last of them is at count T − 1.
      pct_start: in [0, 1], the share of T that is spent rising.
      anneal: "cos" or "linear".
      div_factor: > 0, `max_value` over the first value.
      final_div_factor: > 0, the first value over the last.
      three_phase: whether to fall to the first value as fast as the schedule rose, and from there to the last.

    Returns:
      A schedule, exact at its turns (their values are quotients), within 8 ulp between.

    Raises:
      ValueError: if T or a factor is not positive, `pct_start` is not in [0, 1], `anneal` is unknown, or a value is not
        finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.torch_onecycle_schedule(25.0, 10, anneal="linear", final_div_factor=2.0)
      >>> print(*(schedule(t) for t in range(10)))
      1.0 13.0 25.0 21.5 18.0 14.5 11.0 7.5 4.0 0.5

    References:
      Smith, Topin, Super-convergence (2017), arXiv 1708.07120.
    """
    check.finite(max_value=max_value, div_factor=div_factor, final_div_factor=final_div_factor)
    check.positive(div_factor=div_factor, final_div_factor=final_div_factor)
    check_turns(total_steps, pct_start, anneal=anneal)
    return TorchOnecycleSchedule(
        max_value, total_steps, pct_start, anneal, div_factor, final_div_factor, bool(three_phase)
    )


def check_turns(total_steps: Any, pct_start: Any, **anneal: str) -> None:
    """The checks that the rate's cycle and its momentum's share."""
    check.positive_count(total_steps=total_steps)
    check_shares(pct_start=pct_start)
    check.one_of(Anneal, **anneal)


@pytree_dataclass
class TorchOnecycleMomentumSchedule(Schedule):
    """See `torch_onecycle_momentum_schedule`."""

    total_steps: Count
    pct_start: Scalar = 0.3
    anneal: str = static(default="cos")
    base_momentum: Scalar = 0.85
    max_momentum: Scalar = 0.95
    three_phase: bool = static(default=False)

    def __call__(self, count: Any) -> jax.Array:
        """Down, up (and level)."""
        high, low = scalar(self.max_momentum), scalar(self.base_momentum)
        values = [high, low, high, high] if self.three_phase else [high, low, high]
        return turning(count, values, _torch_turns(self), self.anneal)

    def marks(self) -> Marks:
        """The last step; the other turns need not be whole."""
        return {"end": self.total_steps - 1}


@schedule_factory
def torch_onecycle_momentum_schedule(
    total_steps: Steps,
    *,
    pct_start: Scalar = 0.3,
    anneal: Anneal = "cos",
    base_momentum: Scalar = 0.85,
    max_momentum: Scalar = 0.95,
    three_phase: bool = False,
) -> TorchOnecycleMomentumSchedule:
    """The momentum that goes with `torch_onecycle_schedule`: low while the rate is high.

    With T and p as there, the turns are::

      (0, max_momentum),  (p, base_momentum),  (T − 1, max_momentum)           two phases
      (0, max_momentum),  (p, base_momentum),  (2p, max_momentum), level       three phases

    Args:
      total_steps: T > 0, in updates.
      pct_start: in [0, 1]: the rate's.
      anneal: "cos" or "linear".
      base_momentum: the lowest momentum.
      max_momentum: the first and the last momentum.
      three_phase: the rate's.

    Returns:
      A schedule, exact at its turns, within 8 ulp between.

    Raises:
      ValueError: if T is not positive, `pct_start` is not in [0, 1], `anneal` is unknown, or a value is not finite.

    Examples:
      >>> import lrx
      >>> momentum = lrx.torch_onecycle_momentum_schedule(
      ...     10, anneal="linear", base_momentum=0.5, max_momentum=1.0, three_phase=True)
      >>> print(*(momentum(t) for t in range(6)))
      1.0 0.75 0.5 0.75 1.0 1.0
    """
    check.finite(base_momentum=base_momentum, max_momentum=max_momentum)
    check_turns(total_steps, pct_start, anneal=anneal)
    return TorchOnecycleMomentumSchedule(total_steps, pct_start, anneal, base_momentum, max_momentum, bool(three_phase))
