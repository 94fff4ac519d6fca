"""Gradient accumulation: one update from several micro-batches."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .. import _check as check
from .._arithmetic import add_one, all_finite, map_leaves, trainable, vary_like, wide_zeros_like, zero_count
from .._numbers import F32, Count, is_tracer
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, as_transformation, transformation, update_where
from ..schedules._schedule import Schedule, part
from ._dtype import dtype_name


class AccumulateState(NamedTuple):
    """The state of an accumulation."""

    mini_step: jax.Array
    """Micro-gradients seen since the last update; int32 []."""
    gradient_step: jax.Array
    """Updates of the inner optimizer; int32 []."""
    weight: jax.Array
    """Σw, the sum of the weights of those that were not skipped, since the last update; float32 []."""
    skipped: jax.Array
    """Micro-gradients that were not finite, or had a weight that is no number ≥ 0, since the beginning; int32 []."""
    gradients: Any
    """ḡ, the mean of those that were not skipped, shaped like the parameters, float32 or `accumulator_dtype`."""
    value: jax.Array
    """The mean of their `value=`, if it is given; float32 []."""
    inner: Any
    """The state of the inner optimizer."""


@pytree_dataclass
class Accumulate(Rule):
    """See `accumulate`."""

    inner: Any = static()
    every: Any
    accumulator_dtype: str | None = static(default=None)

    renamed = (("inner", "tx"),)
    elementwise = True
    handles_nonfinite = True

    def init(self, params: Any) -> AccumulateState:
        """The state before the first micro-gradient."""
        gradients = wide_zeros_like(params, self.accumulator_dtype)
        mini_step, zero = zero_count(), jnp.zeros((), F32)
        counts = vary_like((zero_count(), zero, zero_count(), jnp.zeros((), F32)), params)
        mini_step = vary_like(mini_step, params) if callable(self.every) else mini_step
        gradient_step, weight, skipped, value = counts
        return AccumulateState(mini_step, gradient_step, weight, skipped, gradients, value, self.inner.init(params))

    def update(
        self, updates: Any, state: AccumulateState, params: Any = None, **extra: Any
    ) -> tuple[Any, AccumulateState]:
        """Add to the mean; on the last micro-step of a window, the inner update."""
        w = _weight(extra)
        usable = all_finite(updates) & jnp.isfinite(w) & (w >= 0)
        taken = usable & (w > 0)
        skipped = jnp.where(usable | (w == 0), state.skipped, add_one(state.skipped))
        weight = state.weight + jnp.where(taken, w, 0)
        share = jnp.where(taken, w / jnp.where(taken, weight, 1), 0)

        def mean(g: jax.Array, m: jax.Array) -> tuple[jax.Array, jax.Array]:
            m = m.astype(g.dtype)
            # selected, not multiplied: 0 times nan is nan
            return g, m + jnp.where(taken, (g - m) * share.astype(jnp.finfo(g.dtype).dtype), jnp.zeros_like(m))

        gradients = map_leaves(mean, 2, updates, state.gradients)[1]
        value = state.value
        if _is_scalar(extra.get("value")):
            difference = jnp.asarray(extra["value"]).astype(F32) - value
            value = value + jnp.where(taken, difference * share, 0)
            extra = {**extra, "value": value}
        if "grad" in extra:
            extra = {**extra, "grad": _like(updates, gradients)}
        if "weight" in extra:
            extra = {**extra, "weight": weight}

        def step(inner: Any) -> tuple[Any, Any]:
            return self.inner.update(_like(updates, gradients), inner, params, **extra)

        mini_step = add_one(state.mini_step)
        last = (mini_step >= self._length(state.gradient_step)) | _flag(extra)
        emit = last & (weight > 0)
        updates, inner = update_where(emit, step, state.inner, updates)

        def reset(x: Any) -> Any:
            return jnp.where(last, jnp.zeros_like(x), x)

        return updates, AccumulateState(
            reset(mini_step),
            jnp.where(emit, add_one(state.gradient_step), state.gradient_step),
            reset(weight),
            skipped,
            jax.tree.map(reset, gradients),
            reset(value),
            inner,
        )

    def _length(self, count: jax.Array) -> Any:
        """The micro-steps of the window after `count` updates."""
        if not callable(self.every):
            return self.every
        length = jnp.asarray(self.every(count))
        if length.shape != ():
            raise ValueError(f"accumulate: {self.every!r} must give a scalar, got shape {length.shape}.")
        return jnp.round(length)


def _weight(extra: dict[str, Any]) -> jax.Array:
    """The weight of this micro-gradient, 1 if none is given; float32 []."""
    given = extra.get("weight")
    if given is None:
        return jnp.ones((), F32)
    if isinstance(given, str):
        raise TypeError(f"update(weight=...) must be one real number, got {given!r}.")
    w = jnp.asarray(given)
    if w.shape != () or jnp.issubdtype(w.dtype, jnp.complexfloating) or w.dtype == bool:
        raise ValueError(f"update(weight=...) must be one real number, got shape {w.shape}, {w.dtype}.")
    if not isinstance(given, jax.Array) and not 0 <= given < float("inf"):
        raise ValueError(f"update(weight=...) must be finite and not negative, got {given!r}.")
    return w.astype(F32)


def _flag(extra: dict[str, Any]) -> jax.Array:
    """Whether the window is to end here; bool []."""
    given = extra.get("flush")
    if isinstance(given, str):
        raise TypeError(f"update(flush=...) must be one bool, got {given!r}.")
    flush = jnp.asarray(False if given is None else given)
    if flush.shape != () or flush.dtype != bool:
        raise ValueError(f"update(flush=...) must be one bool, got shape {flush.shape}, {flush.dtype}.")
    return flush


def _is_scalar(x: Any) -> bool:
    return x is not None and jnp.shape(x) == () and trainable(jnp.asarray(x))


def _like(updates: Any, gradients: Any) -> Any:
    """The mean gradients in the dtypes of the micro-gradients; leaves that are not trained are the micro-gradients'."""
    return map_leaves(lambda u, m: (m.astype(u.dtype),), 1, updates, gradients)[0]


@check.public
def accumulate(
    tx: optax.GradientTransformation,
    every: Count | Schedule | Callable[[Any], Any],
    *,
    accumulator_dtype: Any = None,
) -> Transformation:
    """Average the gradients of `every` micro-batches, then take one step.

    With g_1 … g_n the finite ones among the `every` micro-gradients of a window, and w_i their weights, 1 if none are
    given::

      ḡ = Σ w_i · g_i / Σ w_i,   u = tx.update(ḡ)   on the last micro-step, 0 on the others

    The inner optimizer runs on the last micro-step alone (under `vmap` it is computed always and selected), so its
    counts and schedules count updates, not micro-steps. A micro-gradient that is not finite is left out of the mean
    and counted in the state, as `skipped`. A window without any finite one makes no update, nor does one whose weights
    are all 0.

    Two arguments of `update` are for the accumulation:

    - `weight=` (a number ≥ 0, may be traced): what this micro-batch counts, such as its number of tokens, if its
      gradient is a mean over them. With weight 0 it is left out, whatever its gradient is;
      with one in an array that is negative or not finite it is skipped, and counted in the state as `skipped`.
    - `flush=` (a bool, may be traced): end the window with this micro-step, such as the last of an epoch. With nothing
      left to add, flush what is there by `tx.update(zeros, state, params, weight=0.0, flush=True)`.

    Extra arguments of the last micro-step reach the inner optimizer, with three exceptions: a scalar `value=` is the
    mean over the window, weighted as the gradients are, if it is given on each micro-step; and `grad=` and `weight=`,
    if given, are ḡ and Σ w_i.

    Args:
      tx: the inner optimizer, lrx's or optax's.
      every: micro-steps to an update, > 0: a number, or a schedule of the number of updates completed, whose values are
        rounded (as `every_k_schedule` of `optax.MultiSteps`; less than 1 is 1). It is in the state: changing it
        compiles nothing.
      accumulator_dtype: dtype of ḡ; at least float32 if None.

    Returns:
      A transformation. Apply its updates on every micro-step: they are zero on all but the last.

    Raises:
      TypeError: if `tx` is no transformation or `every` is neither a whole number nor a schedule.
      ValueError: if `every` is not positive; in update, if `weight` is negative, not finite or no number, or `flush`
        no bool.

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
      >>> updates, state = tx.update(jnp.array([1.0, 2.0]), state, params, weight=300)
      >>> updates, state = tx.update(jnp.array([5.0, 6.0]), state, params, weight=100)
      >>> print(updates)
      [-1.  -1.5]
    """
    if callable(every):
        length: Any = part("every", every)
    else:
        check.positive_count(every=every)
        length = every if is_tracer(every) else int(every)
    dtype = dtype_name("accumulator_dtype", accumulator_dtype)
    return transformation(Accumulate(as_transformation("tx", tx), length, dtype))
