"""Warmup, stable, decay: the trapezoid, whose stable phase can be prolonged, and its cooldowns."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import Count, Scalar, is_tracer
from .._pytree import pytree_dataclass, static
from ._phase import as_count, is_before, line, scalar, split
from ._questions import Marks
from ._schedule import Schedule, schedule_factory
from ._shapes import Cooldown, after, falling
from ._steps import Steps


@pytree_dataclass
class WsdSchedule(Schedule):
    """See `wsd_schedule`."""

    peak_value: Scalar
    warmup_steps: Count
    decay_steps: Count
    total_steps: Count | None = None
    stable_steps: Count | None = None
    shape: str = static(default="1-sqrt")
    init_value: Scalar = 0.0
    end_value: Scalar = 0.0

    def __call__(self, count: Any) -> jax.Array:
        """Warmup, constant, decay."""
        t, w, start = as_count(count), as_count(self.warmup_steps), self._start()
        up = line(self.init_value, self.peak_value, *split(t, 0, w))
        down = falling(self.shape, self.peak_value, self.end_value, *split(t, start, self.decay_steps))
        return jnp.where(is_before(t, w), up, jnp.where(is_before(t, start), scalar(self.peak_value), down))

    def _start(self) -> jax.Array:
        """Where the cooldown begins."""
        if self.stable_steps is not None:
            return after(self.warmup_steps, self.stable_steps)
        total = 0 if self.total_steps is None else self.total_steps
        return jnp.maximum(as_count(total) - as_count(self.decay_steps), as_count(self.warmup_steps))

    def marks(self) -> Marks:
        """The ends of the phases."""
        start = self._start()
        return {"warmup_end": self.warmup_steps, "decay_start": start, "end": after(start, self.decay_steps)}


@schedule_factory
def wsd_schedule(
    peak_value: Scalar,
    warmup_steps: Steps,
    *,
    decay_steps: Steps,
    total_steps: Steps | None = None,
    stable_steps: Steps | None = None,
    shape: Cooldown = "1-sqrt",
    init_value: Scalar = 0.0,
    end_value: Scalar = 0.0,
) -> WsdSchedule:
    """Rise along a line to `peak_value`, stay there, then cool down to `end_value` (warmup-stable-decay, trapezoid).

    With w = `warmup_steps`, s = `stable_steps` (or T − w − d, with T = `total_steps`), d = `decay_steps` and
    u = min((t − w − s) / d, 1)::

      η(t) = init_value + (peak_value − init_value) · t / w          for t < w
      η(t) = peak_value                                              for w ≤ t < w + s
      η(t) = end_value + (peak_value − end_value) · D(u)             for t ≥ w + s

      D(u) = 1 − u (linear),  1 − √u (1-sqrt),  1 − u² (1-square),  ½(1 + cos πu) (cosine),
             2(1 − u) − ½(1 + cos πu) (mirror-cosine);  "exponential" is η = peak_value^(1 − u) · end_value^u

    Args:
      peak_value: the value at t = w.
      warmup_steps: w ≥ 0, in updates; with 0 the schedule starts at the peak.
      decay_steps: d ≥ 0, in updates, the length of the cooldown; with 0 the value jumps to `end_value`.
      total_steps: T ≥ w + d, in updates, or None.
      stable_steps: s ≥ 0, in updates, or None: give the one or the other.
      shape: "linear", "1-sqrt", "1-square", "cosine", "exponential" or "mirror-cosine"; "exponential" needs a peak and
        an end > 0.
      init_value: the value at t = 0.
      end_value: the value from t = w + s + d on.

    Returns:
      A schedule, exact at its corners; the cooldown is within 8 ulp between values of one sign.

    Raises:
      ValueError: if a length is negative, both or none of T and s are given, T < w + d, the shape is unknown, or a
        value is not finite (for "exponential": not positive).

    Examples:
      >>> import lrx
      >>> schedule = lrx.wsd_schedule(1.0, 2, decay_steps=4, total_steps=8)
      >>> print(*(schedule(t) for t in (0, 1, 2, 4, 5, 8, 9)))
      0.0 0.5 1.0 1.0 0.5 0.0 0.0
      >>> schedule == lrx.wsd_schedule(1.0, 2, decay_steps=4, stable_steps=2)  # the same curve, by other numbers
      False

    References:
      Hu et al., MiniCPM (2024), arXiv 2404.06395; Hägele et al., Scaling laws and compute-optimal training beyond fixed
      training durations (NeurIPS 2024), arXiv 2405.18392, for 1 − √u.
    """
    check.finite(peak_value=peak_value, init_value=init_value, end_value=end_value)
    check.non_negative_count(warmup_steps=warmup_steps, decay_steps=decay_steps)
    if (total_steps is None) == (stable_steps is None):
        given = f"total_steps={total_steps}, stable_steps={stable_steps}"
        raise ValueError(f"{check.where('total_steps')} or stable_steps must be given, one of the two, got {given}.")
    if stable_steps is not None:
        check.non_negative_count(stable_steps=stable_steps)
    if total_steps is not None:
        check.positive_count(total_steps=total_steps)
        parts = warmup_steps, decay_steps, total_steps
        if not any(map(is_tracer, parts)) and warmup_steps + decay_steps > total_steps:
            rule = f"must be at least warmup_steps + decay_steps ({warmup_steps} + {decay_steps})"
            raise check.fail("total_steps", rule, total_steps)
    check.one_of(Cooldown, shape=shape)
    if shape == "exponential":
        check.positive(peak_value=peak_value, end_value=end_value)
    return WsdSchedule(peak_value, warmup_steps, decay_steps, total_steps, stable_steps, shape, init_value, end_value)
