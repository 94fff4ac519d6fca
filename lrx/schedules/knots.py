"""A curve through knots: values at given steps, and a curve between them."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from .. import _check as check
from .._numbers import Count, Scalar
from .._pytree import pytree_dataclass, static
from ._lookup import increasing, looked_up, pieces, python_numbers, step_array, value_array
from ._phase import as_count, cosine_power, fraction, half_cosine, line, power, scalar, weight_power
from ._questions import Marks, numbered
from ._schedule import Schedule, schedule_factory
from ._steps import nearest
from .piecewise import Table, scale_items, scaled_value, scales_of, shown

Interpolation = Literal["linear", "cosine"]
Kind = Literal["linear", "cosine", "cubic"]
_SMALLEST = 1e-18  # value whose logarithm is taken: its square is a normal float32, and so the gradient finite


def _inside(t: jax.Array, begin: jax.Array, end: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The steps of the piece from `begin` to `end` that elapsed at t, and those that remain."""
    begin, end = begin.astype(t.dtype), end.astype(t.dtype)
    elapsed = jnp.clip(t - begin, jnp.zeros_like(t), end - begin)
    return elapsed, (end - begin) - elapsed


@pytree_dataclass
class PiecewiseInterpolateSchedule(Schedule):
    """See `piecewise_interpolate_schedule`."""

    interpolate_type: str = static()
    init_value: Scalar
    boundaries: Table
    scales: Table

    def __call__(self, count: Any) -> jax.Array:
        """A line or half a cosine from each accumulated value to the next."""
        t, n = as_count(count), self.boundaries.shape[-1]
        if not n:
            return jnp.broadcast_to(scalar(self.init_value), t.shape)
        knots, products = as_count(self.boundaries), jnp.cumprod(scalar(self.scales))
        k = pieces(knots[:-1], t)  # the piece that ends with boundary k, the last one for all counts after it
        before = looked_up(knots, jnp.maximum(k, 1) - 1)
        elapsed, remaining = _inside(t, jnp.where(k == 0, 0, before), looked_up(knots, k))
        a, b = scaled_value(self.init_value, products, k), scaled_value(self.init_value, products, k + 1)
        return (line if self.interpolate_type == "linear" else half_cosine)(a, b, elapsed, remaining)

    def marks(self) -> Marks:
        """The boundaries."""
        return numbered(self.boundaries)

    def call(self) -> dict[str, Any]:
        """The arguments of the factory."""
        return {
            "interpolate_type": self.interpolate_type,
            "init_value": self.init_value,
            "boundaries_and_scales": scales_of(self),
        }

    __repr__ = shown


@schedule_factory
def piecewise_interpolate_schedule(
    interpolate_type: Interpolation, init_value: Scalar, boundaries_and_scales: Mapping[Count, Scalar] | None = None
) -> PiecewiseInterpolateSchedule:
    """Go from value to value, each the one before times a factor.

    With bₖ the boundaries in order, b₀ = 0, vₖ = init_value · scale₁ ⋯ scaleₖ and x = (t − bₖ) / (bₖ₊₁ − bₖ)::

      η(t) = vₖ + (vₖ₊₁ − vₖ) · x                    (linear)    for bₖ ≤ t < bₖ₊₁
      η(t) = vₖ₊₁ + (vₖ − vₖ₊₁) · ½(1 + cos πx)      (cosine)

    and the last value from the last boundary on. `interpolated_schedule` takes the values themselves.

    Args:
      interpolate_type: "linear" or "cosine".
      init_value: the value at t = 0.
      boundaries_and_scales: step (in updates, ≥ 0) -> the factor, ≥ 0, that is applied in full there. A step that is a
        float is rounded to the nearest whole one.

    Returns:
      A schedule, exact at its boundaries but for the product, within 8 ulp between. Each factor may add half an ulp.

    Raises:
      ValueError: if the type is unknown, a boundary or a factor is negative, or a value is not finite.
      TypeError: if `boundaries_and_scales` is not a dict of numbers, or a boundary is a share between 0 and 1.

    Examples:
      >>> import lrx
      >>> schedule = lrx.piecewise_interpolate_schedule("linear", 1.0, {2: 0.5, 4: 0.0})
      >>> print(*(schedule(t) for t in range(6)))
      1.0 0.75 0.5 0.25 0.0 0.0
    """
    check.one_of(Interpolation, interpolate_type=interpolate_type)
    check.finite(init_value=init_value)
    boundaries, scales = scale_items("boundaries_and_scales", boundaries_and_scales)
    steps = step_array("boundaries_and_scales", boundaries, nearest)
    factors = value_array("boundaries_and_scales", scales, non_negative=True)
    return PiecewiseInterpolateSchedule(interpolate_type, init_value, steps, factors)


@pytree_dataclass
class InterpolatedSchedule(Schedule):
    """See `interpolated_schedule`."""

    counts: Table
    values: Table
    kind: str = static(default="linear")
    log: bool = static(default=False)

    def __call__(self, count: Any) -> jax.Array:
        """The piece between the two knots around `count`."""
        t, knots, values = as_count(count), as_count(self.counts), scalar(self.values)
        k = pieces(knots[1:-1], t)
        a, b = self._knot(values, k), self._knot(values, k + 1)
        elapsed, remaining = _inside(t, looked_up(knots, k), looked_up(knots, k + 1))
        if self.kind == "cubic":
            value = self._cubic(k, knots, values, elapsed, remaining)
        elif self.log:
            linear = self.kind == "linear"
            value = a * (
                power(b / a, elapsed, elapsed + remaining) if linear else cosine_power(b / a, elapsed, remaining)
            )
        else:
            return (line if self.kind == "linear" else half_cosine)(a, b, elapsed, remaining)
        return jnp.where(remaining == 0, b, jnp.where(elapsed == 0, a, value))

    def _knot(self, values: jax.Array, k: jax.Array) -> jax.Array:
        value = looked_up(values, k)
        return jnp.maximum(value, _SMALLEST) if self.log else value

    def _cubic(self, k: jax.Array, knots: Any, values: Any, elapsed: jax.Array, remaining: jax.Array) -> jax.Array:
        """Hermite's cubic with Fritsch and Carlson's slopes, from the four knots around the piece."""
        n = knots.shape[0]
        near = [jnp.clip(k + i, 0, n - 1) for i in (-1, 0, 1, 2)]
        c, y = [looked_up(knots, i) for i in near], [self._knot(values, i) for i in near]
        h = [jnp.maximum(c[i + 1] - c[i], 1).astype(jnp.float32) for i in range(3)]
        rise = [jnp.log(y[i + 1] / y[i]) if self.log else y[i + 1] - y[i] for i in range(3)]
        # in Bernstein's form, whose four terms do not cancel: each slope as a share of the steepest that is monotone
        d = [rise[i] / h[i] for i in range(3)]
        flat = d[1] == 0
        steepest = jnp.where(flat, 1.0, 3 * d[1])
        s0, s1 = (jnp.where(flat, 0.0, m / steepest) for m in monotone_slopes(h, d, k == 0, k == n - 2))
        u, r = fraction(elapsed, elapsed + remaining), fraction(remaining, elapsed + remaining)
        early, late = 3 * (r * r * u), 3 * (r * u * u)
        down = r * r * r + (early * (1 - s0) + late * s1)
        up = u * u * u + (early * s0 + late * (1 - s1))
        if not self.log:
            return y[1] * down + y[2] * up
        rising = up <= down  # from the nearer end, since the rounding of an exponent is multiplied by the logarithm
        near_end, far_end = jnp.where(rising, y[1], y[2]), jnp.where(rising, y[2], y[1])
        return near_end * weight_power(far_end / near_end, jnp.where(rising, up, down))

    def marks(self) -> Marks:
        """The knots after the first."""
        return numbered(self.counts)

    def call(self) -> dict[str, Any]:
        """The arguments of the factory."""
        options = {"kind": self.kind} if self.kind != "linear" else {}
        options |= {"log": True} if self.log else {}
        return {"counts": python_numbers(self.counts), "values": python_numbers(self.values), **options}

    __repr__ = shown


def monotone_slopes(h: list[Any], d: list[Any], first: jax.Array, last: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The slopes at both ends of the middle one of three pieces with lengths h and slopes d (Fritsch, Butland 1984).

    Within the curve: 0 at a local extremum, else the harmonic mean of the slopes on both sides, the weights of which
    are h_left + 2·h_right and 2·h_left + h_right. At its first and last knot: the slope of the parabola through three
    knots, limited so that it does not overshoot. A curve of a single piece is a line.
    """
    left = jnp.where(first, _end_slope(h[1], h[2], d[1], d[2]), _slope_within(h[0], h[1], d[0], d[1]))
    right = jnp.where(last, _end_slope(h[1], h[0], d[1], d[0]), _slope_within(h[1], h[2], d[1], d[2]))
    single = first & last
    return jnp.where(single, d[1], left), jnp.where(single, d[1], right)


def _slope_within(a: jax.Array, b: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
    same = jnp.sign(left) * jnp.sign(right) > 0
    left, right = jnp.where(same, left, 1.0), jnp.where(same, right, 1.0)
    return jnp.where(same, 3 * (a + b) / ((a + 2 * b) / left + (2 * a + b) / right), 0.0)


def _end_slope(h0: jax.Array, h1: jax.Array, d0: jax.Array, d1: jax.Array) -> jax.Array:
    slope = ((2 * h0 + h1) * d0 - h0 * d1) / (h0 + h1)
    overshoots = (jnp.sign(d0) != jnp.sign(d1)) & (jnp.abs(slope) > 3 * jnp.abs(d0))
    return jnp.where(jnp.sign(slope) != jnp.sign(d0), 0.0, jnp.where(overshoots, 3 * d0, slope))


@schedule_factory
def interpolated_schedule(
    counts: Sequence[Count], values: Sequence[Scalar], *, kind: Kind = "linear", log: bool = False
) -> InterpolatedSchedule:
    """Pass through given values at given steps.

    Between the knots (c, a) and (d, b), with h = d − c and x = (t − c) / h::

      η(t) = a + (b − a) · x                                                              (linear)
      η(t) = a + (b − a) · ½(1 − cos πx)                                                  (cosine)
      η(t) = a·(1−x)²(1+2x) + b·x²(3−2x) + h·x(1−x)·(m_c·(1−x) − m_d·x)                   (cubic)

    The cubic's slopes m are those of Fritsch, Carlson and Butland (PCHIP): it is monotone wherever the values are, and
    never overshoots. With `log` the same curve goes through the logarithms of the values. Before the first knot its
    value holds, after the last knot that one's.

    Args:
      counts: the knots' steps, in updates, ≥ 0, increasing; at least two. A float is rounded to the nearest whole one.
      values: the value at each; at least 1e-18 with `log`.
      kind: "linear", "cosine" or "cubic".
      log: whether to interpolate the logarithm.

    Returns:
      A schedule, exact at its knots; between values of one sign within 2 ulp (linear) or 8 (cosine, cubic, logarithm).

    Raises:
      ValueError: if the numbers of counts and values differ, there are fewer than two, counts do not increase, a value
        is not finite (with `log`: less than 1e-18), or the kind is unknown.
      TypeError: if a count is a share between 0 and 1.

    Examples:
      >>> import lrx
      >>> schedule = lrx.interpolated_schedule([0, 2, 6], [0.0, 1.0, 0.5])
      >>> print(*(schedule(t) for t in (0, 1, 2, 4, 6, 9)))
      0.0 0.5 1.0 0.75 0.5 0.5
      >>> print(lrx.interpolated_schedule([0, 2], [1.0, 0.0625], log=True)(1))
      0.25

    References:
      Fritsch, Carlson, Monotone piecewise cubic interpolation (1980); Fritsch, Butland (1984).
    """
    check.one_of(Kind, kind=kind)
    check.flag(log=log)
    knots, rates = step_array("counts", counts, nearest), value_array("values", values)
    if len(knots) < 2:
        raise check.fail("counts", "must hold at least two knots", python_numbers(knots))
    if len(rates) != len(knots):
        raise check.fail("values", f"must be as many as counts ({len(knots)})", python_numbers(rates))
    if log and isinstance(rates, np.ndarray) and (rates < np.float32(_SMALLEST)).any():
        raise check.fail("values", f"must be at least {_SMALLEST} with log=True", float(str(rates.min())))
    increasing("counts", knots)
    return InterpolatedSchedule(knots, rates, kind, bool(log))
