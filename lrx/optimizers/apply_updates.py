"""The last step of a training loop: add the updates to the parameters."""

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import trainable, wide
from .._numbers import F32

Rounding = Literal["nearest", "stochastic", "kahan"]


@check.public
def apply_updates(
    params: Any,
    updates: Any,
    *,
    rounding: Rounding = "nearest",
    key: jax.Array | None = None,
    compensation: Any = None,
) -> Any:
    """Add the updates to the parameters.

    ::

      θ_t = round(θ_{t−1} + u_t)

    The sum is formed in at least float32 and rounded once, to the parameter's dtype. An update below half a unit in the
    last place of a bfloat16 or float16 parameter is lost if that is done to the nearest; two ways keep it:

      stochastic   up or down at random, so that the expected value is the sum:  E[θ_t] = θ_{t−1} + u_t
      kahan        c keeps what rounding took:  y = u_t − c_{t−1},  θ_t = round(θ_{t−1} + y),
                   c_t = (θ_t − θ_{t−1}) − y

    Args:
      params: θ, a tree of arrays.
      updates: u, a tree like it, as `tx.update` returns it. None, and leaves that cannot be trained, move nothing.
      rounding: "nearest", "stochastic" or "kahan". Parameters in float32 or wider are rounded to the nearest always.
      key: a random key, a new one for each step, for stochastic rounding.
      compensation: c, a tree like the parameters in their dtypes, zeros at the start:
        `jax.tree.map(jnp.zeros_like, params)`.

    Returns:
      New parameters, each in its own dtype; with `rounding="kahan"` the pair (new parameters, new compensation).

    Raises:
      ValueError: if `rounding` is unknown, or its `key` or `compensation` is missing.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> print(lrx.apply_updates(jnp.array([1.0, 2.0]), jnp.array([-0.5, 0.5])))
      [0.5 2.5]
      >>> params = jnp.ones(1, jnp.bfloat16)
      >>> compensation, u = jnp.zeros_like(params), jnp.full(1, 2.0**-10, jnp.bfloat16)
      >>> for _ in range(16):
      ...   params, compensation = lrx.apply_updates(params, u, rounding="kahan", compensation=compensation)
      >>> print(params)  # 1 + 16 / 1024; to the nearest it would have stayed 1
      [1.01562]

    References:
      Zamirai et al., Revisiting bfloat16 training (2020), arXiv 2010.06192, which proposes both.
    """
    check.one_of(Rounding, rounding=rounding)
    if rounding == "stochastic":
        if key is None:
            raise check.fail("key", "must be a random key for stochastic rounding", key)
        return _apply(params, updates, _stochastic(key))
    if rounding == "kahan":
        if compensation is None and jax.tree.leaves(params):
            way_out = "Start with jax.tree.map(jnp.zeros_like, params)."
            raise check.fail("compensation", "must be a tree like the parameters for kahan", compensation, way_out)
        return _kahan(params, updates, compensation)
    return _apply(params, updates, lambda x, dtype: x.astype(dtype))


def _apply(params: Any, updates: Any, rounded: Callable[[jax.Array, Any], jax.Array]) -> Any:
    def add(p: Any, u: Any) -> Any:
        if p is None or u is None:
            return p
        p, u = jnp.asarray(p), jnp.asarray(u)
        if not trainable(p) or not trainable(u):
            return p
        dtype = wide(p.dtype, u.dtype)
        return rounded(_sum(p.astype(dtype), u.astype(dtype)), p.dtype)

    return jax.tree.map(add, params, updates, is_leaf=lambda x: x is None)


def _sum(p: jax.Array, u: jax.Array) -> jax.Array:
    if u.shape not in (p.shape, ()):
        raise check.fail("updates", f"must have the shape of its parameter, {p.shape}", u.shape)
    return p + u


def _stochastic(key: jax.Array) -> Callable[[jax.Array, Any], jax.Array]:
    """Round each leaf with random bits of its own."""
    leaf = 0

    def rounded(x: jax.Array, dtype: Any) -> jax.Array:
        nonlocal leaf
        leaf += 1
        if jnp.dtype(dtype).itemsize >= 4:
            return x.astype(dtype)
        x = x.astype(F32)
        noise = jax.random.bits(jax.random.fold_in(key, leaf), x.shape, jnp.uint32)
        return rounded_up_or_down(x, noise, dtype)

    return rounded


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def rounded_up_or_down(x: jax.Array, noise: jax.Array, dtype: Any) -> jax.Array:
    """Float32 `x` in a narrower dtype, up with probability (x − below) / (above − below)."""
    info = jnp.finfo(dtype)
    dropped = 23 - info.nmant  # bits of the mantissa
    mask = jnp.uint32((1 << dropped) - 1)
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    normal = jax.lax.bitcast_convert_type((bits + (noise & mask)) & ~mask, F32)
    # below the smallest normal number the grid is even; bfloat16 has float32's range and does not come here
    grid = jnp.float32(info.smallest_subnormal)
    share = (noise >> 8).astype(F32) * jnp.float32(2.0**-24)
    subnormal = jnp.floor(x / grid + share) * grid
    tiny = (jnp.abs(x) < jnp.float32(info.tiny)) & (info.tiny > jnp.finfo(F32).tiny)
    return jnp.where(jnp.isfinite(x), jnp.where(tiny, subnormal, normal), x).astype(dtype)


@rounded_up_or_down.defjvp
def _rounded_up_or_down_jvp(dtype: Any, primals: Any, tangents: Any) -> Any:
    # the derivative of the expected value, as that of a cast; bits have none
    return rounded_up_or_down(*primals, dtype), tangents[0].astype(dtype)


def _kahan(params: Any, updates: Any, compensation: Any) -> tuple[Any, Any]:
    ps, treedef = jax.tree.flatten(params, is_leaf=lambda x: x is None)
    us = treedef.flatten_up_to(updates)
    cs = treedef.flatten_up_to(compensation)
    pairs = [_kahan_leaf(p, u, c) for p, u, c in zip(ps, us, cs, strict=True)]
    return treedef.unflatten([p for p, _ in pairs]), treedef.unflatten([c for _, c in pairs])


def _kahan_leaf(p: Any, u: Any, c: Any) -> tuple[Any, Any]:
    if p is None or u is None:
        return p, c
    p, u, c = jnp.asarray(p), jnp.asarray(u), jnp.asarray(c)
    if not trainable(p) or not trainable(u):
        return p, c
    dtype = wide(p.dtype, u.dtype)
    old, y = p.astype(dtype), u.astype(dtype) - c.astype(dtype)
    new = _sum(old, y)
    if jnp.dtype(p.dtype).itemsize < 4:
        # a pair of casts may be elided inside a fusion, and with it what rounding takes; this may not
        info = jnp.finfo(p.dtype)
        new = jax.lax.reduce_precision(new, info.nexp, info.nmant)
    return new.astype(p.dtype), ((new - old) - y).astype(c.dtype)
