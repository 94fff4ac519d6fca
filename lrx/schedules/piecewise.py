"""Scheduled drops: a value that changes at given steps."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import _check as check
from .._numbers import Count, Scalar, is_tracer
from .._pytree import factory_name, pytree_dataclass
from ._lookup import increasing, looked_up, pieces, python_numbers, step_array, value_array
from ._phase import as_count, scalar
from ._questions import Marks, numbered
from ._schedule import Schedule, call_of, schedule_factory
from ._steps import first_count

Table = jax.Array | np.ndarray
"""A field that holds several numbers: one leaf."""


def scale_items(argument: str, scales: Mapping[Any, Any] | None) -> tuple[list[Any], list[Any]]:
    """The boundaries of a dict step -> factor in order, and their factors."""
    if scales is not None and not isinstance(scales, Mapping):
        raise TypeError(f"{check.where(argument)} must be a dict step -> factor, got {scales!r}.")
    items = list((scales or {}).items())
    for boundary, _ in items:
        check.number(**{argument: boundary})
    items = items if any(is_tracer(b) for b, _ in items) else sorted(items, key=lambda item: item[0])
    return [b for b, _ in items], [s for _, s in items]


def scaled_value(init_value: Any, products: jax.Array, k: jax.Array) -> jax.Array:
    """The initial value times the first k factors, from the products of the first 1, 2, … of them."""
    value = scalar(init_value)
    return jnp.where(k == 0, value, value * looked_up(products, jnp.maximum(k, 1) - 1))


def scales_of(schedule: Any) -> Any:
    """The dict step -> factor of a schedule that was made from one."""
    boundaries, scales = python_numbers(schedule.boundaries), python_numbers(schedule.scales)
    pairs = isinstance(boundaries, tuple) and isinstance(scales, tuple)
    return dict(zip(boundaries, scales, strict=True)) if pairs else (boundaries, scales)


def shown(self: Any) -> str:
    """The call that makes a schedule, for its `__repr__`."""
    return f"{factory_name(self)}({', '.join(f'{k}={v!r}' for k, v in call_of(self).items())})"


@pytree_dataclass
class PiecewiseConstantSchedule(Schedule):
    """See `piecewise_constant_schedule`."""

    init_value: Scalar
    boundaries: Table
    scales: Table

    def __call__(self, count: Any) -> jax.Array:
        """The product of the scales whose boundary is reached."""
        t = as_count(count)
        if not self.boundaries.shape[-1]:
            return jnp.broadcast_to(scalar(self.init_value), t.shape)
        return scaled_value(self.init_value, jnp.cumprod(scalar(self.scales)), pieces(self.boundaries, t))

    def marks(self) -> Marks:
        """The boundaries."""
        return numbered(self.boundaries)

    def call(self) -> dict[str, Any]:
        """The arguments of the factory."""
        return {"init_value": self.init_value, "boundaries_and_scales": scales_of(self)}

    __repr__ = shown


@schedule_factory
def piecewise_constant_schedule(
    init_value: Scalar, boundaries_and_scales: Mapping[Count, Scalar] | None = None
) -> PiecewiseConstantSchedule:
    """Multiply by a factor at each of some given steps; the factors accumulate.

    ::

      η(t) = init_value · ∏ {scale : boundary ≤ t}

    Args:
      init_value: the first value.
      boundaries_and_scales: step (in updates, ≥ 0) at which to multiply -> factor, ≥ 0. A step that is a float counts
        from the first count that is not before it.

    Returns:
      A schedule. Each factor may add half an ulp.

    Raises:
      ValueError: if a boundary or a factor is negative, or a value is not finite.
      TypeError: if `boundaries_and_scales` is not a dict of numbers, or a boundary is a share between 0 and 1.

    Examples:
      >>> import lrx
      >>> schedule = lrx.piecewise_constant_schedule(1.0, {2: 0.5, 4: 0.5})
      >>> print(*(schedule(t) for t in range(6)))
      1.0 1.0 0.5 0.5 0.25 0.25
    """
    check.finite(init_value=init_value)
    boundaries, scales = scale_items("boundaries_and_scales", boundaries_and_scales)
    steps = step_array("boundaries_and_scales", boundaries, first_count)
    return PiecewiseConstantSchedule(init_value, steps, value_array("boundaries_and_scales", scales, True))


@pytree_dataclass
class PiecewiseValueSchedule(Schedule):
    """See `piecewise_value_schedule`."""

    boundaries: Table
    values: Table

    def __call__(self, count: Any) -> jax.Array:
        """The value of the piece that `count` is in."""
        return looked_up(scalar(self.values), pieces(self.boundaries, as_count(count)))

    def marks(self) -> Marks:
        """The boundaries."""
        return numbered(self.boundaries)

    def call(self) -> dict[str, Any]:
        """The arguments of the factory."""
        return {"boundaries": python_numbers(self.boundaries), "values": python_numbers(self.values)}

    __repr__ = shown


@schedule_factory
def piecewise_value_schedule(boundaries: Sequence[Count], values: Sequence[Scalar]) -> PiecewiseValueSchedule:
    """Take given values between given steps.

    ::

      η(t) = values[k],  k = the number of boundaries ≤ t

    Args:
      boundaries: steps (in updates, ≥ 0, increasing) at which the value changes. Surplus ones at the end, after which
        no value follows, are left out. A float counts from the first count that is not before it.
      values: the values, one more than the boundaries that are used.

    Returns:
      A schedule.

    Raises:
      ValueError: if there are fewer boundaries than values less one, boundaries do not increase or are negative, or a
        value is not finite.
      TypeError: if a boundary is a share between 0 and 1.

    Examples:
      >>> import lrx
      >>> schedule = lrx.piecewise_value_schedule([2, 4], [0.5, 0.25, 0.0])
      >>> print(*(schedule(t) for t in range(6)))
      0.5 0.5 0.25 0.25 0.0 0.0
    """
    steps, rates = step_array("boundaries", boundaries, first_count), value_array("values", values)
    if not len(rates):
        raise check.fail("values", "must hold at least one value", values)
    if len(rates) > len(steps) + 1:
        rule = f"must be at most one more than boundaries ({len(steps)})"
        raise check.fail("values", rule, python_numbers(rates))
    increasing("boundaries", steps)
    return PiecewiseValueSchedule(steps[: len(rates) - 1], rates)
