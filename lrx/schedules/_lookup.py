"""Long tables in schedules: numbers given one by one as one array, and the look-up of those that a count needs."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .. import _check as check
from .._numbers import F32, I32, INT32_MAX, is_tracer
from ._phase import as_count, scalar

# ---------------------------------------------------------------- many numbers as one array


def step_array(argument: str, steps: Iterable[Any], rounded: Callable[[str, Any], Any]) -> Any:
    """Numbers of steps, ≥ 0, as one int32 array; `rounded` is `nearest` or `first_count`."""
    steps = _listed(steps)
    if _plain(steps, int) and 0 <= min(steps, default=0) <= max(steps, default=0) <= INT32_MAX:
        return np.array(steps, I32)
    steps = [rounded(argument, x) for x in steps]
    for x in steps:
        check.non_negative_count(**{argument: x})
    return stacked(steps, as_count) if any(map(is_tracer, steps)) else np.array([int(x) for x in steps], I32)


def value_array(argument: str, values: Iterable[Any], non_negative: bool = False) -> Any:
    """Finite numbers as one float32 array."""
    values = _listed(values)
    if _plain(values, int, float):
        with np.errstate(over="ignore"):
            found = np.array(values, np.float64).astype(F32)
        if np.isfinite(found).all() and not (non_negative and (found < 0).any()):
            return found
    for x in values:
        check.finite(**{argument: x})
        if non_negative:
            check.non_negative(**{argument: x})
    return stacked(values, scalar) if any(map(is_tracer, values)) else np.array([float(x) for x in values], F32)


def _listed(numbers: Iterable[Any]) -> list[Any]:
    """The numbers one by one; Python's, if they came in an array."""
    if isinstance(numbers, jax.Array | np.ndarray) and not is_tracer(numbers) and numbers.ndim == 1:
        return np.asarray(numbers).tolist()
    return list(numbers)


def _plain(numbers: list[Any], *types: type) -> bool:
    """Whether all are Python's own numbers, of a size that NumPy takes: then they are checked together."""
    return all(type(x) in types and -(2**63) <= x < 2**63 for x in numbers)


def stacked(numbers: list[Any], convert: Callable[[Any], Array]) -> Array:
    """Scalars as one array, also where some are spread over a mesh and others are not."""
    arrays = [convert(x) for x in numbers]
    traced = [x for x in arrays if is_tracer(x)]
    if traced:  # `jnp.stack` wants one sharding for all, which a selection takes from its operands
        every = functools.reduce(lambda a, b: jnp.where(True, a, b), traced)
        arrays = [jnp.where(True, x, every) for x in arrays]
    return jnp.stack(arrays)


def python_numbers(x: Any) -> Any:
    """An array of numbers as a tuple of Python's, as short as float32 allows; a batch or a tracer as it is."""
    if is_tracer(x) or np.ndim(x) != 1:
        return x
    x = np.asarray(x)
    return tuple(x.tolist()) if x.dtype == I32 else tuple(float(str(v)) for v in x.astype(F32))


def increasing(argument: str, steps: Any, strictly: bool = True) -> None:
    """The steps increase (or do not decrease), where they are known."""
    if is_tracer(steps):
        return
    gaps = np.diff(steps.astype(np.int64))
    if (gaps < strictly).any():
        raise check.fail(argument, "must increase" if strictly else "must not decrease", tuple(steps.tolist()))


# ---------------------------------------------------------------- looking up


def pieces(boundaries: Any, t: Array) -> Array:
    """How many of some increasing boundaries are ≤ t, by bisection; int32 in the shape of t."""
    return _pieces(as_count(boundaries), jax.lax.stop_gradient(t))


@functools.partial(jax.jit, inline=True)
def _pieces(boundaries: Array, t: Array) -> Array:
    n = boundaries.shape[0]
    start = jnp.zeros_like(t, I32)
    if not n:
        return start

    def halve(i: Array, found: Array) -> Array:
        probe = found + jnp.left_shift(1, n.bit_length() - 1 - i)
        reached = looked_up(boundaries, jnp.minimum(probe, n) - 1).astype(t.dtype) <= t
        return jnp.where((probe <= n) & reached, probe, found)

    # what the loop carries is spread over a mesh from the start as both its operands are
    start = jnp.where(looked_up(boundaries, start) < 0, 1, start)
    return jax.lax.fori_loop(0, n.bit_length(), halve, start)


@jax.custom_jvp
def looked_up(table: Array, index: Array) -> Array:
    """table[index] for a table of one dimension and an index of any shape, within it.

    Also under `vmap` over a mesh axis: a gather cannot tell there how its result is to be spread, if the table is one
    for all, so that the rule for `vmap` says it.
    """
    return _gathered(table, index)


@jax.custom_batching.custom_vmap
def _gathered(table: Array, index: Array) -> Array:
    sharding = jax.typeof(index).sharding
    if any(axis is not None for axis in sharding.spec):
        return table.at[index].get(out_sharding=sharding, mode="clip")
    return table.at[index].get(mode="clip")


@_gathered.def_vmap
def _gathered_vmap(size: int, batched: list[bool], table: Array, index: Array) -> tuple[Array, bool]:
    del size
    if not batched[0]:
        return _gathered(table, index), True
    in_axes = 0, 0 if batched[1] else None
    return jax.vmap(lambda table, index: table.at[index].get(mode="clip"), in_axes)(table, index), True


@looked_up.defjvp
def _looked_up_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    (table, index), (change, _) = primals, tangents
    hit = jnp.expand_dims(index, -1) == jnp.arange(table.shape[0], dtype=index.dtype)
    return looked_up(table, index), jnp.sum(jnp.where(hit, change, jnp.zeros_like(change)), -1)
