"""Reduce the rate when a metric has stopped improving."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import map_leaves, real, select
from .._numbers import F32, Count, Scalar
from .._pytree import pytree_dataclass, static
from .._state_paths import is_boxed, value_of
from .._transformation import Transformation, transformation
from ._controller import Controller, as_rate, rate_of_update, require, scalar_value, start_of

MODES = ("min", "max")
COUNTINGS = ("optax", "torch", "keras")


class Watch(NamedTuple):
    """What is known of the metric."""

    scale: jax.Array
    """factor^k after k reductions; float32 []."""
    best: jax.Array
    """The best mean so far, ±inf before the first; float32 []."""
    bad: jax.Array
    """Means in a row that were no improvement; int32 []."""
    wait: jax.Array
    """Means that are still to be let pass after a reduction; int32 []."""
    total: jax.Array
    """Sum of the metrics of this window; float32 []."""
    seen: jax.Array
    """How many they are; int32 []."""


class Mailbox(NamedTuple):
    """Metrics reported since the last update."""

    total: jax.Array
    """Their sum; float32 []."""
    reports: jax.Array
    """How many they are; int32 []."""


class PlateauMemory(NamedTuple):
    """What a plateau remembers."""

    watch: Watch
    mailbox: Mailbox | None
    """None if the metric comes with the update."""
    base: Any


@pytree_dataclass
class Plateau(Controller):
    """See `plateau`."""

    learning_rate: Any
    factor: Scalar = 0.1
    patience: Count = 10
    rtol: Scalar = 1e-4
    atol: Scalar = 0.0
    cooldown: Count = 0
    min_value: Scalar = 0.0
    window: Count = 1
    mode: str = static(default="min")
    metric: str = static(default="value")
    counting: str = static(default="optax")
    nan: str = static(default="bad")

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]  # depends on where the metric comes from
        """The loss, unless it is reported."""
        return ("value",) if self.metric == "value" else ()

    def start(self, params: Any) -> PlateauMemory:
        """Nothing seen."""
        reported = self.metric == "reported"
        mailbox = Mailbox(jnp.zeros((), F32), jnp.zeros((), jnp.int32)) if reported else None
        return PlateauMemory(unwatched(self.mode), mailbox, start_of(self.learning_rate, params))

    def rate(self, memory: PlateauMemory, direction: Any, signals: dict[str, Any]) -> tuple[Any, PlateauMemory]:
        """The rate of the base, times factor^k."""
        watch, box = memory.watch, memory.mailbox
        if box is None:
            watch = watched(self, watch, signals["value"])
        else:
            mean = box.total / jnp.maximum(box.reports, 1).astype(F32)
            new = watched(self, watch, mean)
            watch = select(box.reports > 0, new, watch)
            box = jax.tree.map(jnp.zeros_like, box)
        base, base_memory = rate_of_update(self.learning_rate, memory.base, direction, signals)
        least = jnp.asarray(self.min_value, F32)

        def reduced(r: jax.Array) -> jax.Array:
            # never above the base, which a schedule may take below the minimum
            return jnp.maximum(r * watch.scale.astype(r.dtype), jnp.minimum(r, least.astype(r.dtype)))

        return jax.tree.map(reduced, base), PlateauMemory(watch, box, base_memory)


# ---------------------------------------------------------------- the metric


def unwatched(mode: str) -> Watch:
    """Before the first metric."""
    # each an array of its own: two leaves of one buffer cannot be donated
    bad, wait, seen = (jnp.zeros((), jnp.int32) for _ in range(3))
    best = jnp.full((), jnp.inf if mode == "min" else -jnp.inf, F32)
    return Watch(jnp.ones((), F32), best, bad, wait, jnp.zeros((), F32), seen)


def watched(rule: Any, watch: Watch, metric: jax.Array) -> Watch:
    """After one more metric. The mean of a window is judged when it is full."""
    metric = metric.astype(F32)
    total, seen = watch.total + metric, watch.seen + 1
    judged = _judged(rule, watch, total / seen.astype(F32))
    full = seen >= rule.window
    new = select(full, judged, watch._replace(total=total, seen=seen))
    return new if rule.nan == "bad" else select(jnp.isnan(metric), watch, new)


def _judged(rule: Any, watch: Watch, mean: jax.Array) -> Watch:
    sign = 1.0 if rule.mode == "min" else -1.0
    first = jnp.isinf(watch.best)
    best = jnp.where(first, jnp.zeros_like(mean), watch.best)
    margin = jnp.asarray(rule.rtol, F32) * jnp.abs(best) + jnp.asarray(rule.atol, F32)
    better = jnp.where(first, sign * mean < jnp.inf, sign * (best - mean) > margin)  # a NaN is neither
    cooling = watch.wait > 0
    bad = jnp.where(better | cooling, 0, watch.bad + 1)
    patience = rule.patience + 1 if rule.counting == "torch" else rule.patience
    cooldown = jnp.maximum(rule.cooldown - 1, 0) if rule.counting == "keras" else rule.cooldown
    cut = bad >= jnp.maximum(patience, 1)
    return Watch(
        scale=jnp.where(cut, watch.scale * jnp.asarray(rule.factor, F32), watch.scale),
        best=jnp.where(better, mean, watch.best),
        bad=jnp.where(cut, 0, bad),
        wait=jnp.where(cut, cooldown, jnp.maximum(watch.wait - 1, 0)),
        total=jnp.zeros((), F32),
        seen=jnp.zeros((), jnp.int32),
    )


def report(opt_state: Any, metric: Any) -> Any:
    """A state that has been told a metric. The plateau in it judges the metric at the next update.

    For loops whose update takes no extra arguments, such as Flax's `TrainState`, and for metrics that are measured
    between updates, such as a validation loss. Several reports between two updates count as one, their mean.

    Args:
      opt_state: the state of an optimizer with `plateau(..., metric="reported")` in it, or anything that contains one.
      metric: a number (with the leading axes of a batched state, if it is one). It may be traced.

    Returns:
      The new state.

    Raises:
      ValueError: if no plateau in the state takes reports.
      TypeError: if the metric is not a real number.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.sgd(lrx.plateau(1.0, factor=0.5, patience=1, metric="reported"))
      >>> state = tx.init(jnp.zeros(2))
      >>> for metric in (3.0, 2.0, 2.0):
      ...   state = lrx.report(state, metric)
      ...   _, state = tx.update(jnp.ones(2), state)
      ...   print(lrx.learning_rate(state))
      1.0
      1.0
      0.5
    """
    metric = jnp.asarray(metric)
    if not (jnp.issubdtype(metric.dtype, jnp.floating) or jnp.issubdtype(metric.dtype, jnp.integer)):
        raise TypeError(f"report(metric=...) must be a real number, got dtype {metric.dtype}.")
    told = 0

    def tell(x: Any) -> Any:
        nonlocal told
        if not isinstance(x, Mailbox):
            return x
        told += 1
        return Mailbox(*(_added(old, more) for old, more in zip(x, (metric, 1), strict=True)))

    new = jax.tree.map(tell, opt_state, is_leaf=lambda x: isinstance(x, Mailbox) or is_boxed(x))
    if not told:
        raise ValueError(
            "report(opt_state, metric) found no plateau that takes reports. Build it with "
            "lrx.plateau(..., metric='reported'); one without takes its metric as tx.update(..., value=loss)."
        )
    return new


def _added(old: Any, more: Any) -> Any:
    held = value_of(old)
    new = held + jnp.asarray(more).astype(held.dtype)
    if new.shape != held.shape:
        raise ValueError(f"report(metric=...) must have shape {held.shape}, got shape {jnp.shape(more)}.")
    return old.replace(new) if is_boxed(old) else new


# ---------------------------------------------------------------- the factories


@check.public
def plateau(
    learning_rate: Any,
    *,
    factor: Scalar = 0.1,
    patience: Count = 10,
    mode: str = "min",
    rtol: Scalar = 1e-4,
    atol: Scalar = 0.0,
    cooldown: Count = 0,
    min_value: Scalar = 0.0,
    window: Count = 1,
    metric: str = "value",
    counting: str = "optax",
    nan: str = "bad",
) -> Plateau:
    """A learning rate that is reduced when a metric stops improving.

    With m the mean of the last `window` metrics and b the best such mean before it, m is an improvement if::

      m < b − (rtol · |b| + atol)      mode "min"
      m > b + (rtol · |b| + atol)      mode "max"

    After `patience` means in a row that are none, the rate is multiplied by `factor` and the next `cooldown` means are
    let pass::

      η_t = max(learning_rate(t) · factor^k, min_value)      after k reductions

    The margin is relative to |b|, so that it is right for a negative metric too. A metric counts at once: the update
    to which it is given has the reduced rate. The state is float32 whatever the parameters' dtype.

    Args:
      learning_rate: a number, a schedule or another controller.
      factor: in (0, 1).
      patience: means without improvement that reduce the rate, ≥ 0 (0 reduces at the first, as 1 does).
      mode: "min" for a loss, "max" for an accuracy.
      rtol: least improvement relative to |b|, in [0, 1].
      atol: least improvement in units of the metric, ≥ 0.
      cooldown: means that pass after a reduction without being counted, ≥ 0.
      min_value: the rate stays at or above it, as far as `learning_rate` does; ≥ 0.
      window: metrics to a mean, > 0. Use more than 1 for losses of single batches.
      metric: "value" if it is given as `tx.update(grads, state, params, value=metric)`; "reported" if it is told
        between updates by `lrx.report(state, metric)`.
      counting: "optax" as above. "torch" reduces at the mean after `patience` bad ones, and "keras" lets one mean less
        pass after a reduction, as these libraries do.
      nan: what a metric that is NaN is: "bad", no improvement, or "skip", not there. `skipped` in the state counts the
        updates whose `value=` was not finite.

    Returns:
      A controller, for the `learning_rate` of any optimizer.

    Raises:
      ValueError: if a number is out of its range or an option unknown; in update, if `value=` is missing.
      TypeError: if `learning_rate` is no rate.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.sgd(lrx.plateau(1.0, factor=0.5, patience=2))
      >>> state = tx.init(jnp.zeros(2))
      >>> for loss in (3.0, 2.0, 2.0, 2.0):
      ...   _, state = tx.update(jnp.ones(2), state, value=loss)
      ...   print(lrx.learning_rate(state))
      1.0
      1.0
      1.0
      0.5

    References:
      `ReduceLROnPlateau` of Keras and torch, `reduce_on_plateau` of optax.contrib.
    """
    _check_numbers(factor, patience, rtol, atol, cooldown, window)
    check.non_negative(min_value=min_value)
    check.one_of(MODES, mode=mode)
    check.one_of(("value", "reported"), metric=metric)
    check.one_of(COUNTINGS, counting=counting)
    check.one_of(("bad", "skip"), nan=nan)
    base = as_rate("learning_rate", learning_rate)
    return Plateau(base, factor, patience, rtol, atol, cooldown, min_value, window, mode, metric, counting, nan)


def _check_numbers(factor: Any, patience: Any, rtol: Any, atol: Any, cooldown: Any, window: Any) -> None:
    check.positive(factor=factor)
    check.below_one(factor=factor)
    check.non_negative_count(patience=patience, cooldown=cooldown)
    check.non_negative(rtol=rtol, atol=atol)
    check.at_most_one(rtol=rtol)
    check.positive_count(window=window)


@pytree_dataclass
class ReduceOnPlateau:
    """See `reduce_on_plateau`."""

    factor: Scalar = 0.1
    patience: Count = 10
    rtol: Scalar = 1e-4
    atol: Scalar = 0.0
    cooldown: Count = 0
    window: Count = 1
    min_scale: Scalar = 0.0

    mode, counting, nan = "min", "optax", "bad"  # what optax's does
    renamed = (("window", "accumulation_size"),)

    def init(self, params: Any) -> Watch:
        """Nothing seen."""
        del params
        return unwatched(self.mode)

    def update(self, updates: Any, state: Watch, params: Any = None, **extra: Any) -> tuple[Any, Watch]:
        """`scale * updates`."""
        del params
        require("reduce_on_plateau()", ("value",), value=extra.get("value"))
        state = watched(self, state, scalar_value(extra["value"]))
        state = state._replace(scale=jnp.maximum(state.scale, jnp.asarray(self.min_scale, F32)))
        return map_leaves(lambda u: (state.scale.astype(real(u.dtype)) * u,), 1, updates)[0], state


@check.public
def reduce_on_plateau(
    factor: Scalar = 0.1,
    patience: Count = 10,
    rtol: Scalar = 1e-4,
    atol: Scalar = 0.0,
    cooldown: Count = 0,
    accumulation_size: Count = 1,
    min_scale: Scalar = 0.0,
) -> Transformation:
    """Scale the updates down when the loss stops improving: optax.contrib's transformation.

    As `plateau` in mode "min", but apart from the learning rate, which `lrx.learning_rate` then does not show reduced::

      u_t = max(factor^k, min_scale) · g_t      after k reductions

    Args:
      factor: in (0, 1).
      patience: values without improvement that reduce the scale, ≥ 0.
      rtol: least improvement relative to the best value, in [0, 1].
      atol: least improvement in units of the value, ≥ 0.
      cooldown: values that pass after a reduction without being counted, ≥ 0.
      accumulation_size: values to a mean, which is what is judged, > 0.
      min_scale: where the scale stops to fall, ≥ 0.

    Returns:
      A transformation, whose update needs `value=`, the loss.

    Raises:
      ValueError: if a number is out of its range, or both tolerances are 0; in update, if `value=` is missing.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.chain(lrx.sgd(1.0), lrx.reduce_on_plateau(factor=0.5, patience=1))
      >>> state = tx.init(jnp.zeros(1))
      >>> for loss in (2.0, 2.0):
      ...   updates, state = tx.update(jnp.ones(1), state, value=loss)
      ...   print(updates)
      [-1.]
      [-0.5]
    """
    _check_numbers(factor, patience, rtol, atol, cooldown, accumulation_size)
    check.non_negative(min_scale=min_scale)
    if all(isinstance(x, int | float) and x == 0 for x in (rtol, atol)):
        raise check.fail("rtol", "or atol must be positive", rtol)
    return transformation(ReduceOnPlateau(factor, patience, rtol, atol, cooldown, accumulation_size, min_scale))
