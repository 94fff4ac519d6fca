"""Cycles: the triangular policy, and annealing that restarts in each cycle."""

from typing import Any, Literal

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import F32, INT32_MAX, Count, Scalar, is_tracer
from .._pytree import pytree_dataclass, static
from ._phase import as_count, fraction, half_cosine, is_before, line, power, power_complement, scalar
from ._questions import Marks, summed
from ._schedule import Schedule, part, schedule_factory
from ._steps import Steps
from .exponential import whole_periods

Mode = Literal["triangular", "triangular2", "exp_range"]
Shape = Literal["linear", "cosine", "exponential"]


def _scaled(w: Any, v: Any, factor: jax.Array, complement: jax.Array | None = None) -> tuple[Any, Any]:
    """The weights (w, 1 − w) with w times a factor, whose complement to 1 may be known to more digits than it has."""
    return w * factor, v + w * (1 - factor if complement is None else complement)


@pytree_dataclass
class TriangularSchedule(Schedule):
    """See `triangular_schedule`."""

    min_value: Scalar
    max_value: Scalar
    half_cycle_steps: Count
    mode: str = static(default="triangular")
    gamma: Scalar = 1.0
    down_steps: Count | None = None
    amplitude: Any = None

    def __call__(self, count: Any) -> jax.Array:
        """Up and down."""
        t = as_count(count)
        up = as_count(self.half_cycle_steps)
        down = up if self.down_steps is None else as_count(self.down_steps)
        cycle = whole_periods(t, up + down)
        u = t - cycle * (up + down).astype(t.dtype)
        rising, left = is_before(u, up), (up + down).astype(t.dtype) - u
        w = jnp.where(rising, fraction(u, up), fraction(left, down))
        v = jnp.where(rising, fraction(up.astype(t.dtype) - u, up), fraction(u - up.astype(t.dtype), down))  # 1 − w
        if self.mode == "triangular2":
            w, v = _scaled(w, v, power(0.5, cycle, 1))
        elif self.mode == "exp_range":
            w, v = _scaled(w, v, power(self.gamma, t, 1), power_complement(self.gamma, t, 1))
        if self.amplitude is not None:
            w, v = _scaled(w, v, jnp.asarray(self.amplitude(t)).astype(F32))
        return scalar(self.min_value) * v + scalar(self.max_value) * w

    def marks(self) -> Marks:
        """The top and the end of the first cycle."""
        down = self.half_cycle_steps if self.down_steps is None else self.down_steps
        return {"half_cycle": self.half_cycle_steps, "cycle": summed(self.half_cycle_steps, down)}


@schedule_factory
def triangular_schedule(
    min_value: Scalar,
    max_value: Scalar,
    *,
    half_cycle_steps: Steps,
    mode: Mode = "triangular",
    gamma: Scalar = 1.0,
    down_steps: Steps | None = None,
    amplitude: Any = None,
) -> TriangularSchedule:
    """Rise and fall between two values along straight lines, in cycles.

    With s = `half_cycle_steps`, d = `down_steps`, c = ⌊t / (s + d)⌋ the cycle and u = t − c·(s + d)::

      w = u / s for u < s,  (s + d − u) / d for u ≥ s
      η(t) = min_value + (max_value − min_value) · w · a · amplitude(t)
      a = 1 (triangular),  2^−c (triangular2),  gamma^t (exp_range)

    Args:
      min_value: the value at the start of each cycle.
      max_value: the value at the top of the first cycle.
      half_cycle_steps: s > 0, in updates.
      mode: "triangular", "triangular2" (the height halves after each cycle) or "exp_range".
      gamma: in (0, 1]; used by "exp_range" alone.
      down_steps: d > 0, in updates; s if None.
      amplitude: a schedule, or a function of the count, of a further factor of the height; 1 if None.

    Returns:
      A schedule.

    Raises:
      ValueError: if a length is not positive, the mode is unknown, or a value is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.triangular_schedule(1.0, 5.0, half_cycle_steps=2)
      >>> print(*(schedule(t) for t in range(7)))
      1.0 3.0 5.0 3.0 1.0 3.0 5.0

    References:
      Smith, Cyclical learning rates for training neural networks (WACV 2017), arXiv 1506.01186, section 3.
    """
    check.finite(min_value=min_value, max_value=max_value, gamma=gamma)
    check.positive_count(half_cycle_steps=half_cycle_steps)
    if down_steps is not None:
        check.positive_count(down_steps=down_steps)
        _check_sum(half_cycle_steps, down_steps)
    else:
        _check_sum(half_cycle_steps, half_cycle_steps)
    check.one_of(Mode, mode=mode)
    check.positive(gamma=gamma)
    if not is_tracer(gamma) and gamma > 1:
        raise check.fail("gamma", "must be at most 1", gamma)
    amplitude = None if amplitude is None else part("amplitude", amplitude)
    return TriangularSchedule(min_value, max_value, half_cycle_steps, mode, gamma, down_steps, amplitude)


def _check_sum(up: Any, down: Any) -> None:
    if not is_tracer(up) and not is_tracer(down) and int(up) + int(down) > INT32_MAX:
        raise check.fail("half_cycle_steps", "must leave room for the way down in int32", up)


@pytree_dataclass
class CyclicAnnealingSchedule(Schedule):
    """See `cyclic_annealing_schedule`."""

    max_value: Scalar
    min_value: Scalar
    cycle_steps: Count
    shape: str = static(default="linear")
    length_multiplier: Scalar = 1.0
    peak_multiplier: Scalar = 1.0

    def __call__(self, count: Any) -> jax.Array:
        """Down, from the peak of the cycle that `count` is in."""
        cycle, elapsed, remaining = self._place(as_count(count))
        w, v = power(self.peak_multiplier, cycle, 1), power_complement(self.peak_multiplier, cycle, 1)
        low = scalar(self.min_value)
        peak = scalar(self.max_value) * w + low * v
        if self.shape == "linear":
            return line(peak, low, elapsed, remaining)
        if self.shape == "cosine":
            return half_cosine(peak, low, elapsed, remaining)
        return peak * power(low / jnp.where(peak == 0, 1.0, peak), elapsed, elapsed + remaining)

    def _place(self, t: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The cycle that t is in, the steps elapsed in it and the steps that remain."""
        n, m = jnp.maximum(as_count(self.cycle_steps), 1), scalar(self.length_multiplier)
        equal = m == 1
        grow = jnp.where(equal, 2.0, m)

        def start(cycle: jax.Array) -> jax.Array:
            """n·(mᵏ − 1)/(m − 1), to whole steps."""
            exact = scalar(n) * ((power(grow, cycle, 1) - 1) / (grow - 1))
            return jnp.round(jnp.clip(exact, 0.0, float(2**31 - 128))).astype(t.dtype)

        x = t.astype(F32) * (grow - 1) / scalar(n)
        guess = jnp.clip(jnp.floor(jnp.log1p(x) / jnp.log(grow)), 0, 2.0**24).astype(jnp.int32)
        guess = jnp.where(start(guess) > t, jnp.maximum(guess - 1, 0), guess)  # the logarithm may be off by an ulp
        guess = jnp.where(start(guess + 1) <= t, guess + 1, guess)
        begin, end = start(guess), start(guess + 1)
        cycle = whole_periods(t, n)
        elapsed = jnp.where(equal, t - cycle * n.astype(t.dtype), jnp.minimum(t - begin, end - begin))
        length = jnp.where(equal, n.astype(t.dtype), end - begin)
        return jnp.where(equal, cycle, guess.astype(cycle.dtype)), elapsed, length - elapsed

    def marks(self) -> Marks:
        """The end of the first cycle."""
        return {"cycle": self.cycle_steps}


@schedule_factory
def cyclic_annealing_schedule(
    max_value: Scalar,
    min_value: Scalar,
    *,
    cycle_steps: Steps,
    shape: Shape = "linear",
    length_multiplier: Scalar = 1.0,
    peak_multiplier: Scalar = 1.0,
) -> CyclicAnnealingSchedule:
    """Fall from a peak to `min_value` in each cycle, then jump back up.

    Cycle k = 0, 1, … lasts Tₖ = cycle_steps · length_multiplierᵏ steps (its start is rounded to a whole step; exactly
    so up to 2²⁰ steps) and starts at pₖ = min_value + (max_value − min_value) · peak_multiplierᵏ. With x the fraction
    of the cycle that is over::

      η = pₖ + (min_value − pₖ) · x                          (linear)
      η = min_value + (pₖ − min_value) · ½(1 + cos πx)       (cosine)
      η = pₖ · (min_value / pₖ)^x                            (exponential)

    The last step of a cycle is one short of `min_value`; the next one is at the next peak.

    Args:
      max_value: the peak of the first cycle.
      min_value: what every cycle falls towards.
      cycle_steps: the length of the first cycle, in updates, > 0.
      shape: "linear", "cosine" or "exponential"; the last needs values > 0.
      length_multiplier: ≥ 1, how much longer each cycle is than the one before.
      peak_multiplier: in (0, 1], how much the height of the peak above `min_value` shrinks with each cycle.

    Returns:
      A schedule.

    Raises:
      ValueError: if a number is out of its range, or the shape is unknown.

    Examples:
      >>> import lrx
      >>> schedule = lrx.cyclic_annealing_schedule(1.0, 0.0, cycle_steps=4, peak_multiplier=0.5)
      >>> print(*(schedule(t) for t in range(6)))
      1.0 0.75 0.5 0.25 0.5 0.375

    References:
      Loshchilov, Hutter, SGDR: stochastic gradient descent with warm restarts (ICLR 2017), arXiv 1608.03983, with
      lines as well as cosines.
    """
    check.finite(max_value=max_value, min_value=min_value)
    check.positive_count(cycle_steps=cycle_steps)
    check.one_of(Shape, shape=shape)
    check.finite(length_multiplier=length_multiplier, peak_multiplier=peak_multiplier)
    if not is_tracer(length_multiplier) and length_multiplier < 1:
        raise check.fail("length_multiplier", "must be at least 1", length_multiplier)
    check.positive(peak_multiplier=peak_multiplier)
    if not is_tracer(peak_multiplier) and peak_multiplier > 1:
        raise check.fail("peak_multiplier", "must be at most 1", peak_multiplier)
    if shape == "exponential":
        check.positive(max_value=max_value, min_value=min_value)
    return CyclicAnnealingSchedule(max_value, min_value, cycle_steps, shape, length_multiplier, peak_multiplier)
