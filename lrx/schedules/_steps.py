"""Numbers of steps as users write them: whole numbers, or floats such as `0.05 * total_steps`.

optax computes with such a float as it is: a phase of 61.7 steps is over at the first count ≥ 61.7. Here a state keeps
steps in int32, so a float is rounded once, when the schedule is made:

* a length, or a count at which a curve bends, to the nearest whole number: the curve is less than half a step away
  from optax's;
* a boundary at which the value may jump, to the first count that is not before it: the values are optax's.

A share of the run where steps are meant, such as `warmup_steps=0.05`, is an error.
"""

import math
from typing import Annotated, Any, get_args

import jax.numpy as jnp
import numpy as np

from .. import _check as check
from .._numbers import Count, is_array, is_tracer

Steps = Annotated[Count, "steps"]
"""The annotation of an argument that is a number of updates: `schedule_factory` rounds it."""


def is_steps(annotation: Any) -> bool:
    """Whether an argument is annotated as `Steps`, or as optional `Steps`."""
    return annotation is Steps or Steps in get_args(annotation)


def nearest(argument: str, x: Any) -> Any:
    """A float as the nearest whole number of steps; anything else as it is."""
    if is_tracer(x) and jnp.issubdtype(x.dtype, jnp.floating):
        return jnp.clip(jnp.round(x), -(2.0**31), float(2**31 - 128)).astype(jnp.int32)
    return round(float(x)) if _is_between_steps(argument, x) else x


def first_count(argument: str, x: Any) -> Any:
    """A float as the first count that is not before it, compared in float32 as JAX does; anything else as it is."""
    if is_tracer(x) and jnp.issubdtype(x.dtype, jnp.floating):
        return jnp.clip(jnp.ceil(x), -(2.0**31), float(2**31 - 128)).astype(jnp.int32)
    if not _is_between_steps(argument, x):
        return x
    whole = round(float(x))
    return whole if abs(float(x) - whole) <= 2.0**-24 * whole else math.ceil(float(x))


def _is_between_steps(argument: str, x: Any) -> bool:
    """Whether `x` is a float to be rounded. Negative ones, NaN and infinities are left to the checks."""
    if is_tracer(x) or not (isinstance(x, float) or (is_array(x) and jnp.issubdtype(x.dtype, jnp.floating))):
        return False
    if np.ndim(x) or not 0 < float(x) < math.inf or float(x).is_integer():
        return False
    if float(x) < 1:
        way_out = f"For a share of the run, give round({float(x):g} * total_steps)."
        raise TypeError(f"{check.where(argument)} must be a whole number, got {x!r}. {way_out}")
    return True
