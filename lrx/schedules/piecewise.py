"""Scheduled drops: a value that changes at named steps."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import Count, Scalar, is_tracer
from .._pytree import pytree_dataclass
from ._phase import as_count, scalar
from ._schedule import Schedule, call_of, schedule_factory


@pytree_dataclass
class PiecewiseConstantSchedule(Schedule):
    """See `piecewise_constant_schedule`."""

    init_value: Scalar
    boundaries: tuple[Count, ...]
    scales: tuple[Scalar, ...]

    def __call__(self, count: Any) -> jax.Array:
        """The product of the scales whose boundary is reached."""
        t = as_count(count)
        value = jnp.broadcast_to(scalar(self.init_value), t.shape)
        for boundary, scale in zip(self.boundaries, self.scales, strict=True):
            value = jnp.where(t >= boundary, value * scalar(scale), value)
        return value

    def call(self) -> dict[str, Any]:
        """The arguments of the factory."""
        scales = dict(zip(self.boundaries, self.scales, strict=True))
        return {"init_value": self.init_value, "boundaries_and_scales": scales}

    def __repr__(self) -> str:
        return f"piecewise_constant_schedule({', '.join(f'{k}={v!r}' for k, v in call_of(self).items())})"


@schedule_factory
def piecewise_constant_schedule(
    init_value: Scalar, boundaries_and_scales: Mapping[int, Scalar] | None = None
) -> PiecewiseConstantSchedule:
    """Multiply by a factor at each of some named steps; the factors accumulate.

    ::

      η(t) = init_value · ∏ {scale : boundary ≤ t}

    Args:
      init_value: the value at first.
      boundaries_and_scales: step (in updates, ≥ 0) at which to multiply -> factor, ≥ 0.

    Returns:
      A schedule.

    Raises:
      ValueError: if a boundary or a factor is negative, or a value is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.piecewise_constant_schedule(1.0, {2: 0.5, 4: 0.5})
      >>> print(*(schedule(t) for t in range(6)))
      1.0 1.0 0.5 0.5 0.25 0.25
    """
    check.finite(init_value=init_value)
    if boundaries_and_scales is not None and not isinstance(boundaries_and_scales, Mapping):
        what = check.where("boundaries_and_scales")
        raise TypeError(f"{what} must be a dict step -> factor, got {boundaries_and_scales!r}.")
    items = sorted((boundaries_and_scales or {}).items(), key=lambda item: item[0])
    for boundary, scale in items:
        check.non_negative_count(boundaries_and_scales=boundary)
        check.finite(boundaries_and_scales=scale)
        check.non_negative(boundaries_and_scales=scale)
    return PiecewiseConstantSchedule(init_value, tuple(b for b, _ in items), tuple(s for _, s in items))


@pytree_dataclass
class PiecewiseValueSchedule(Schedule):
    """See `piecewise_value_schedule`."""

    boundaries: tuple[Count, ...]
    values: tuple[Scalar, ...]

    def __call__(self, count: Any) -> jax.Array:
        """The value of the piece that `count` is in."""
        t = as_count(count)
        value = jnp.broadcast_to(scalar(self.values[0]), t.shape)
        for boundary, piece in zip(self.boundaries, self.values[1:], strict=True):
            value = jnp.where(t >= boundary, scalar(piece), value)
        return value


@schedule_factory
def piecewise_value_schedule(boundaries: Sequence[Count], values: Sequence[Scalar]) -> PiecewiseValueSchedule:
    """Take given values between given steps.

    ::

      η(t) = values[k],  k = the number of boundaries ≤ t

    Args:
      boundaries: steps (in updates, ≥ 0, increasing) at which the value changes.
      values: the values, one more than boundaries.

    Returns:
      A schedule.

    Raises:
      ValueError: if the numbers of boundaries and values do not fit, boundaries do not increase, or a value is not
        finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.piecewise_value_schedule([2, 4], [0.5, 0.25, 0.0])
      >>> print(*(schedule(t) for t in range(6)))
      0.5 0.5 0.25 0.25 0.0 0.0
    """
    boundaries, values = tuple(boundaries), tuple(values)
    if len(values) != len(boundaries) + 1:
        rule = f"must be one more than boundaries ({len(boundaries)})"
        raise check.fail("values", rule, values)
    for boundary in boundaries:
        check.non_negative_count(boundaries=boundary)
    for value in values:
        check.finite(values=value)
    if any(not (is_tracer(a) or is_tracer(b)) and not a < b for a, b in pairwise(boundaries)):
        raise check.fail("boundaries", "must increase", boundaries)
    return PiecewiseValueSchedule(boundaries, values)
