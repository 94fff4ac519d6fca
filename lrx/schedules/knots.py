"""A curve through knots: values at named steps, and what lies between them."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import Count, Scalar, is_tracer
from .._pytree import pytree_dataclass, static
from ._phase import as_count, cosine_weights, fraction, half_cosine, line, scalar, weight_power
from ._schedule import Schedule, call_of, schedule_factory

KINDS = ("linear", "cosine", "cubic")
_SMALLEST = 1e-18  # value whose logarithm is taken: its square is a normal float32, and so the gradient finite


def _pieces(t: jax.Array, knots: jax.Array, values: jax.Array) -> tuple[jax.Array, ...]:
    """The piece that t is in: its number, its two values, the steps elapsed in it and the steps that remain."""
    k = jnp.searchsorted(knots[1:-1], jax.lax.stop_gradient(t).astype(knots.dtype), side="right")
    begin, end = knots[k].astype(t.dtype), knots[k + 1].astype(t.dtype)
    elapsed = jnp.clip(t - begin, jnp.zeros_like(t), end - begin)
    return k, values[k], values[k + 1], elapsed, (end - begin) - elapsed


@pytree_dataclass
class PiecewiseInterpolateSchedule(Schedule):
    """See `piecewise_interpolate_schedule`."""

    interpolate_type: str = static()
    init_value: Scalar
    boundaries: tuple[Count, ...]
    scales: tuple[Scalar, ...]

    def __call__(self, count: Any) -> jax.Array:
        """A line or half a cosine from each accumulated value to the next."""
        t, values = as_count(count), [scalar(self.init_value)]
        if not self.boundaries:
            return jnp.broadcast_to(values[0], t.shape)
        for scale in self.scales:
            values.append(values[-1] * scalar(scale))
        knots = jnp.stack([as_count(0), *map(as_count, self.boundaries)])
        _, a, b, elapsed, remaining = _pieces(t, knots, jnp.stack(values))
        return (line if self.interpolate_type == "linear" else half_cosine)(a, b, elapsed, remaining)

    def call(self) -> dict[str, Any]:
        """The arguments of the factory."""
        scales = dict(zip(self.boundaries, self.scales, strict=True))
        return {
            "interpolate_type": self.interpolate_type,
            "init_value": self.init_value,
            "boundaries_and_scales": scales,
        }

    def __repr__(self) -> str:
        return f"piecewise_interpolate_schedule({', '.join(f'{k}={v!r}' for k, v in call_of(self).items())})"


@schedule_factory
def piecewise_interpolate_schedule(
    interpolate_type: str, init_value: Scalar, boundaries_and_scales: Mapping[int, Scalar] | None = None
) -> PiecewiseInterpolateSchedule:
    """Go from value to value, each the one before times a factor.

    With bₖ the boundaries in order, b₀ = 0, vₖ = init_value · scale₁ ⋯ scaleₖ and x = (t − bₖ) / (bₖ₊₁ − bₖ)::

      η(t) = vₖ + (vₖ₊₁ − vₖ) · x                    (linear)    for bₖ ≤ t < bₖ₊₁
      η(t) = vₖ₊₁ + (vₖ − vₖ₊₁) · ½(1 + cos πx)      (cosine)

    and the last value from the last boundary on. `interpolated_schedule` takes the values themselves.

    Args:
      interpolate_type: "linear" or "cosine".
      init_value: the value at t = 0.
      boundaries_and_scales: step (in updates, ≥ 0) -> the factor, ≥ 0, that is applied in full there.

    Returns:
      A schedule, exact at its boundaries but for the product, within 8 ulp.

    Raises:
      ValueError: if the type is unknown, a boundary or a factor is negative, or a value is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.piecewise_interpolate_schedule("linear", 1.0, {2: 0.5, 4: 0.0})
      >>> print(*(schedule(t) for t in range(6)))
      1.0 0.75 0.5 0.25 0.0 0.0
    """
    check.one_of(("linear", "cosine"), interpolate_type=interpolate_type)
    check.finite(init_value=init_value)
    items = sorted((boundaries_and_scales or {}).items(), key=lambda item: item[0])
    for boundary, scale in items:
        check.non_negative_count(boundaries_and_scales=boundary)
        check.finite(boundaries_and_scales=scale)
        check.non_negative(boundaries_and_scales=scale)
    boundaries, scales = tuple(b for b, _ in items), tuple(s for _, s in items)
    return PiecewiseInterpolateSchedule(interpolate_type, init_value, boundaries, scales)


@pytree_dataclass
class InterpolatedSchedule(Schedule):
    """See `interpolated_schedule`."""

    counts: tuple[Count, ...]
    values: tuple[Scalar, ...]
    kind: str = static(default="linear")
    log: bool = static(default=False)

    def __call__(self, count: Any) -> jax.Array:
        """The piece between the two knots around `count`."""
        knots, values = jnp.stack([*map(as_count, self.counts)]), jnp.stack([*map(scalar, self.values)])
        if self.log:
            values = jnp.maximum(values, _SMALLEST)
        k, a, b, elapsed, remaining = _pieces(as_count(count), knots, values)
        if self.kind == "cubic":
            value = self._cubic(k, knots, values, elapsed, remaining)
        elif self.log:
            steps = elapsed + remaining
            v = fraction(elapsed, steps) if self.kind == "linear" else cosine_weights(elapsed, remaining)[1]
            value = a * weight_power(b / a, v)
        else:
            return (line if self.kind == "linear" else half_cosine)(a, b, elapsed, remaining)
        return jnp.where(remaining == 0, b, jnp.where(elapsed == 0, a, value))

    def _cubic(self, k: jax.Array, knots: Any, values: Any, elapsed: jax.Array, remaining: jax.Array) -> jax.Array:
        """Hermite's cubic with Fritsch and Carlson's slopes, as what it adds to the value at its left end."""
        h = jnp.maximum(knots[1:] - knots[:-1], 1).astype(jnp.float32)
        rise = jnp.log(values[1:] / values[:-1]) if self.log else values[1:] - values[:-1]
        m = monotone_slopes(h, rise / h)
        u, r = fraction(elapsed, elapsed + remaining), fraction(remaining, elapsed + remaining)
        slopes = h[k] * u * r * (m[k] * r - m[k + 1] * u)
        up, down = u * u * (3 - 2 * u), r * r * (3 - 2 * r)
        if self.log:
            return values[k] * jnp.exp(rise[k] * up + slopes)
        return (values[k] * down + values[k + 1] * up) + slopes


def monotone_slopes(h: jax.Array, d: jax.Array) -> jax.Array:
    """The slope at each knot, from the lengths h and the slopes d of the pieces between them (Fritsch, Butland 1984).

    Within: 0 at a local extremum, else the harmonic mean of the slopes on both sides, the weights of which are
    h_left + 2·h_right and 2·h_left + h_right. At an end: that of the parabola through three knots, limited so that it
    does not overshoot.
    """
    if d.shape[0] == 1:
        return jnp.concatenate([d, d])
    left, right, a, b = d[:-1], d[1:], h[:-1], h[1:]
    same = jnp.sign(left) * jnp.sign(right) > 0
    left, right = jnp.where(same, left, 1.0), jnp.where(same, right, 1.0)
    within = jnp.where(same, 3 * (a + b) / ((a + 2 * b) / left + (2 * a + b) / right), 0.0)
    first, last = _end_slope(h[0], h[1], d[0], d[1]), _end_slope(h[-1], h[-2], d[-1], d[-2])
    return jnp.concatenate([first[None], within, last[None]])


def _end_slope(h0: jax.Array, h1: jax.Array, d0: jax.Array, d1: jax.Array) -> jax.Array:
    slope = ((2 * h0 + h1) * d0 - h0 * d1) / (h0 + h1)
    overshoots = (jnp.sign(d0) != jnp.sign(d1)) & (jnp.abs(slope) > 3 * jnp.abs(d0))
    return jnp.where(jnp.sign(slope) != jnp.sign(d0), 0.0, jnp.where(overshoots, 3 * d0, slope))


@schedule_factory
def interpolated_schedule(
    counts: Sequence[Count], values: Sequence[Scalar], *, kind: str = "linear", log: bool = False
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
      counts: the knots' steps, in updates, ≥ 0, increasing; at least two.
      values: the value at each; at least 1e-18 with `log`.
      kind: "linear", "cosine" or "cubic".
      log: whether to interpolate the logarithm.

    Returns:
      A schedule, exact at its knots; between values of one sign within 2 ulp (linear) or 8 (cosine, cubic, logarithm).

    Raises:
      ValueError: if the numbers of counts and values differ, there are fewer than two, counts do not increase, a value
        is not finite (with `log`: less than 1e-18), or the kind is unknown.

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
    counts, values = tuple(counts), tuple(values)
    if len(counts) < 2:
        raise check.fail("counts", "must hold at least two knots", counts)
    if len(values) != len(counts):
        raise check.fail("values", f"must be as many as counts ({len(counts)})", values)
    for knot in counts:
        check.non_negative_count(counts=knot)
    for value in values:
        check.finite(values=value)
        if log and not is_tracer(value) and value < _SMALLEST:
            raise check.fail("values", f"must be at least {_SMALLEST} with log=True", value)
    if any(not (is_tracer(a) or is_tracer(b)) and not a < b for a, b in pairwise(counts)):
        raise check.fail("counts", "must increase", counts)
    check.one_of(KINDS, kind=kind)
    return InterpolatedSchedule(counts, values, kind, bool(log))
