"""Gradient accumulation: one update from several micro-batches."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .. import _check as check
from .._arithmetic import add_one, all_finite, map_leaves, trainable, vary_like, wide_zeros_like, zero_count
from .._numbers import F32, Count
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, as_transformation, transformation, update_where
from ._dtype import dtype_name


class AccumulateState(NamedTuple):
    """The state of an accumulation."""

    mini_step: jax.Array
    """Micro-gradients seen since the last update; int32 []."""
    accepted: jax.Array
    """How many of them were finite; int32 []."""
    skipped: jax.Array
    """Micro-gradients that were not finite, since the beginning; int32 []."""
    gradients: Any
    """ḡ, the mean of the finite ones, shaped like the parameters, float32 or `accumulator_dtype`."""
    value: jax.Array
    """The mean of their `value=`, if it is given; float32 []."""
    inner: Any
    """The state of the inner optimizer."""


@pytree_dataclass
class Accumulate(Rule):
    """See `accumulate`."""

    inner: Any = static()
    every: Count
    accumulator_dtype: str | None = static(default=None)

    renamed = (("inner", "tx"),)
    elementwise = True
    handles_nonfinite = True

    def init(self, params: Any) -> AccumulateState:
        """The state before the first micro-gradient."""
        gradients = wide_zeros_like(params, self.accumulator_dtype)
        accepted, skipped, value = vary_like((zero_count(), zero_count(), jnp.zeros((), F32)), params)
        return AccumulateState(zero_count(), accepted, skipped, gradients, value, self.inner.init(params))

    def update(
        self, updates: Any, state: AccumulateState, params: Any = None, **extra: Any
    ) -> tuple[Any, AccumulateState]:
        """Add to the mean; on the last micro-step of a window, the inner update."""
        finite = all_finite(updates)
        mini_step = add_one(state.mini_step)
        accepted = state.accepted + finite.astype(jnp.int32)
        skipped = jnp.where(finite, state.skipped, add_one(state.skipped))
        share = finite.astype(F32) / jnp.maximum(accepted, 1).astype(F32)

        def mean(g: jax.Array, m: jax.Array) -> tuple[jax.Array, jax.Array]:
            m = m.astype(g.dtype)
            # selected, not multiplied: 0 times nan is nan
            return g, m + jnp.where(finite, (g - m) * share.astype(jnp.finfo(g.dtype).dtype), jnp.zeros_like(m))

        gradients = map_leaves(mean, 2, updates, state.gradients)[1]
        value = state.value
        if _is_scalar(extra.get("value")):
            difference = jnp.asarray(extra["value"]).astype(F32) - value
            value = value + jnp.where(finite, difference * share, 0)
            extra = {**extra, "value": value}
        if "grad" in extra:
            extra = {**extra, "grad": _like(updates, gradients)}

        def step(inner: Any) -> tuple[Any, Any]:
            return self.inner.update(_like(updates, gradients), inner, params, **extra)

        last = mini_step >= self.every
        updates, inner = update_where(last & (accepted > 0), step, state.inner, updates)

        def reset(x: Any) -> Any:
            return jnp.where(last, jnp.zeros_like(x), x)

        gradients = jax.tree.map(reset, gradients)
        return updates, AccumulateState(reset(mini_step), reset(accepted), skipped, gradients, reset(value), inner)


def _is_scalar(x: Any) -> bool:
    return x is not None and jnp.shape(x) == () and trainable(jnp.asarray(x))


def _like(updates: Any, gradients: Any) -> Any:
    """The mean gradients in the dtypes of the micro-gradients; leaves that are not trained are the micro-gradients'."""
    return map_leaves(lambda u, m: (m.astype(u.dtype),), 1, updates, gradients)[0]


@check.public
def accumulate(tx: optax.GradientTransformation, every: Count, *, accumulator_dtype: Any = None) -> Transformation:
    """Average the gradients of `every` micro-batches, then take one step.

    With g_1 … g_n the finite ones among the `every` micro-gradients of a window::

      ḡ = (g_1 + … + g_n) / n,   u = tx.update(ḡ)   on the last micro-step, 0 on the others

    The inner optimizer runs on the last micro-step alone (under `vmap` it is computed always and selected), so its
    counts and schedules count updates, not micro-steps. A micro-gradient that is not finite is left out of the mean
    and counted in the state, as `skipped`; a window without any finite one makes no update.

    Extra arguments of the last micro-step reach the inner optimizer, with two exceptions: a scalar `value=` is the mean
    over the window's finite micro-steps, if it is given on each; and `grad=`, if given, is ḡ.

    Args:
      tx: the inner optimizer, lrx's or optax's.
      every: micro-steps to an update, > 0. It is a number in the state: changing it compiles nothing.
      accumulator_dtype: dtype of ḡ; at least float32 if None.

    Returns:
      A transformation. Apply its updates on every micro-step: they are zero on all but the last.

    Raises:
      TypeError: if `tx` is no transformation or `every` is no whole number.
      ValueError: if `every` is not positive.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.accumulate(lrx.sgd(0.5), every=2)
      >>> params = jnp.zeros(2)
      >>> state = tx.init(params)
      >>> for g in (jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0])):
      ...   updates, state = tx.update(g, state, params)
      ...   print(updates)
      [0. 0.]
      [-1.  -1.5]
      >>> print(lrx.count(state))
      1
    """
    check.positive_count(every=every)
    dtype = dtype_name("accumulator_dtype", accumulator_dtype)
    return transformation(Accumulate(as_transformation("tx", tx), every, dtype))
