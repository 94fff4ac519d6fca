"""One cycle as optax has it: up to a peak, down, and further down, with whole steps at the turns."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import Count, Scalar, is_tracer
from .._pytree import pytree_dataclass
from ._phase import as_count, half_cosine, is_before, line, scalar, split
from ._questions import Marks
from ._schedule import Schedule, schedule_factory
from ._shapes import whole_place
from ._steps import Steps


def check_shares(**shares: Any) -> None:
    """Each is a part of the whole, in [0, 1]."""
    check.finite(**shares)
    check.non_negative(**shares)
    for name, share in shares.items():
        if not is_tracer(share) and share > 1:
            raise check.fail(name, "must be at most 1", share)


def _check(transition_steps: Any, peak_value: Any, **factors: Any) -> None:
    check.positive_count(transition_steps=transition_steps)
    check.finite(peak_value=peak_value, **factors)
    check.positive(**factors)


@pytree_dataclass
class LinearOnecycleSchedule(Schedule):
    """See `linear_onecycle_schedule`."""

    transition_steps: Count
    peak_value: Scalar
    pct_start: Scalar = 0.3
    pct_final: Scalar = 0.85
    div_factor: Scalar = 25.0
    final_div_factor: Scalar = 1e4

    def __call__(self, count: Any) -> jax.Array:
        """Three lines."""
        t, n, peak = as_count(count), as_count(self.transition_steps), scalar(self.peak_value)
        p, q = self._turns()
        low = divided(peak, self.div_factor)
        last = divided(peak, self.div_factor, self.final_div_factor)
        up = line(low, peak, *split(t, 0, p))
        down = line(peak, low, *split(t, p, q - p))
        out = line(low, last, *split(t, q, n - q))
        return jnp.where(is_before(t, p), up, jnp.where(is_before(t, q), down, out))

    def _turns(self) -> tuple[jax.Array, jax.Array]:
        """The steps of the top and of the return to the first value."""
        n = as_count(self.transition_steps)
        p = whole_place(self.pct_start, n)
        return p, jnp.maximum(whole_place(self.pct_final, n), jnp.minimum(p, n - 1) + 1)

    def marks(self) -> Marks:
        """The corners."""
        p, q = self._turns()
        return {"warmup_end": p, "descent_end": q, "end": self.transition_steps}


def divided(x: jax.Array, *divisors: Scalar) -> jax.Array:
    """x over the product of the divisors, in one division: a compiler may merge two, and then rounds differently.

    A traced divisor that is not positive, which passes the checks, counts as 1.
    """
    divisor = jnp.float32(1)
    for d in map(scalar, divisors):
        divisor = divisor * jnp.where(d > 0, d, 1.0)
    return x / divisor


@schedule_factory
def linear_onecycle_schedule(
    transition_steps: Steps,
    peak_value: Scalar,
    pct_start: Scalar = 0.3,
    pct_final: Scalar = 0.85,
    div_factor: Scalar = 25.0,
    final_div_factor: Scalar = 1e4,
) -> LinearOnecycleSchedule:
    """Rise along a line to `peak_value`, fall back along a line, then fall further along a third.

    With T = `transition_steps`, p = ⌊pct_start · T⌋, q = ⌊pct_final · T⌋, a = peak_value / div_factor and
    z = a / final_div_factor, the corners of the line are::

      (0, a),  (p, peak_value),  (q, a),  (T, z)

    and z holds from T on. The way back takes a step at least (q > p), so that the peak is taken even in a few steps. Of
    corners at one step the last counts: p = 0 starts at the peak.

    Args:
      transition_steps: T > 0, in updates.
      peak_value: the value at step p.
      pct_start: in [0, 1], the share of T that is spent rising.
      pct_final: in [pct_start, 1], the share of T after which the value is back.
      div_factor: > 0, the peak over the first value.
      final_div_factor: > 0, the first value over the last.

    Returns:
      A schedule, exact at its corners (their values are quotients), within 4 ulp between.

    Raises:
      ValueError: if T or a factor is not positive, the shares are not in order in [0, 1], or a value is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.linear_onecycle_schedule(10, 8.0, 0.2, 0.4, div_factor=4.0, final_div_factor=2.0)
      >>> print(*(schedule(t) for t in (0, 1, 2, 3, 4, 7, 10, 11)))
      2.0 5.0 8.0 5.0 2.0 1.5 1.0 1.0

    References:
      Smith, Topin, Super-convergence (2017), arXiv 1708.07120.
    """
    _check(transition_steps, peak_value, div_factor=div_factor, final_div_factor=final_div_factor)
    check_shares(pct_start=pct_start, pct_final=pct_final)
    if not is_tracer(pct_start) and not is_tracer(pct_final) and pct_final < pct_start:
        raise check.fail("pct_final", f"must be at least pct_start={pct_start}", pct_final)
    return LinearOnecycleSchedule(transition_steps, peak_value, pct_start, pct_final, div_factor, final_div_factor)


@pytree_dataclass
class CosineOnecycleSchedule(Schedule):
    """See `cosine_onecycle_schedule`."""

    transition_steps: Count
    peak_value: Scalar
    pct_start: Scalar = 0.3
    div_factor: Scalar = 25.0
    final_div_factor: Scalar = 1e4

    def __call__(self, count: Any) -> jax.Array:
        """Half a cosine up, half a cosine down."""
        t, n, peak = as_count(count), as_count(self.transition_steps), scalar(self.peak_value)
        p = whole_place(self.pct_start, n)
        low = divided(peak, self.div_factor)
        up = half_cosine(low, peak, *split(t, 0, p))
        down = half_cosine(peak, divided(peak, self.div_factor, self.final_div_factor), *split(t, p, n - p))
        return jnp.where(is_before(t, p), up, down)

    def marks(self) -> Marks:
        """The top and the end."""
        return {"warmup_end": whole_place(self.pct_start, self.transition_steps), "end": self.transition_steps}


@schedule_factory
def cosine_onecycle_schedule(
    transition_steps: Steps,
    peak_value: Scalar,
    pct_start: Scalar = 0.3,
    div_factor: Scalar = 25.0,
    final_div_factor: Scalar = 1e4,
) -> CosineOnecycleSchedule:
    """Rise to `peak_value` along half a cosine, then fall far below the first value along another.

    With T = `transition_steps`, p = ⌊pct_start · T⌋, a = peak_value / div_factor and z = a / final_div_factor::

      η(t) = a + (peak_value − a) · ½(1 − cos(π · t / p))                      for t < p
      η(t) = z + (peak_value − z) · ½(1 + cos(π · (t − p) / (T − p)))          for p ≤ t < T,  z from T on

    Args:
      transition_steps: T > 0, in updates.
      peak_value: the value at step p.
      pct_start: in [0, 1], the share of T that is spent rising.
      div_factor: > 0, the peak over the first value.
      final_div_factor: > 0, the first value over the last.

    Returns:
      A schedule, exact at its corners (their values are quotients), within 8 ulp between.

    Raises:
      ValueError: if T or a factor is not positive, `pct_start` is not in [0, 1], or a value is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.cosine_onecycle_schedule(8, 8.0, 0.5, div_factor=4.0, final_div_factor=2.0)
      >>> print(*(schedule(t) for t in (0, 2, 4, 6, 8, 9)))
      2.0 5.0 8.0 4.5 1.0 1.0

    References:
      Smith, Topin, Super-convergence (2017), arXiv 1708.07120.
    """
    _check(transition_steps, peak_value, div_factor=div_factor, final_div_factor=final_div_factor)
    check_shares(pct_start=pct_start)
    return CosineOnecycleSchedule(transition_steps, peak_value, pct_start, div_factor, final_div_factor)
