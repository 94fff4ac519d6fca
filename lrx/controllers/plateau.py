"""Reduce the rate when a metric has stopped improving."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import select
from .._boxes import boxed_like, is_boxed, value_of
from .._numbers import F32, Count, Scalar
from .._pytree import pytree_dataclass, static
from ._controller import Controller, LearningRate, as_rate, rate_of_update, start_of
from ._metric import Watch, check_numbers, unwatched, watched

Mode = Literal["min", "max"]
Metric = Literal["value", "reported"]
Counting = Literal["optax", "torch", "keras"]
Nan = Literal["bad", "skip"]


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
    window: Count | None = None
    mode: str = static(default="min")
    metric: str = static(default="value")
    counting: str = static(default="optax")
    nan: str = static(default="bad")

    elementwise = True

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]  # depends on where the metric comes from
        """The loss, unless it is reported."""
        return ("value",) if self.metric == "value" else ()

    def start(self, params: Any) -> PlateauMemory:
        """Nothing seen."""
        reported = self.metric == "reported"
        mailbox = Mailbox(jnp.zeros((), F32), jnp.zeros((), jnp.int32)) if reported else None
        return PlateauMemory(unwatched(self), mailbox, start_of(self.learning_rate, params))

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


def report(opt_state: Any, metric: Any) -> Any:
    """Hand a metric to the plateau in a state, which judges it at the next update.

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
    found = 0

    def added(x: Any) -> Any:
        nonlocal found
        if not isinstance(x, Mailbox):
            return x
        found += 1
        return Mailbox(*(_added(old, more) for old, more in zip(x, (metric, 1), strict=True)))

    new = jax.tree.map(added, opt_state, is_leaf=lambda x: isinstance(x, Mailbox) or is_boxed(x))
    if not found:
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
    return boxed_like(old, new)


@check.public
def plateau(
    learning_rate: LearningRate,
    *,
    factor: Scalar = 0.1,
    patience: Count = 10,
    mode: Mode = "min",
    rtol: Scalar = 1e-4,
    atol: Scalar = 0.0,
    cooldown: Count = 0,
    min_value: Scalar = 0.0,
    window: Count | None = None,
    metric: Metric = "value",
    counting: Counting = "optax",
    nan: Nan = "bad",
) -> Plateau:
    """A learning rate that is reduced when a metric stops improving.

    With m the mean of `window` metrics and b the best such mean before it, m is an improvement if::

      m < b − (rtol · |b| + atol)      mode "min"
      m > b + (rtol · |b| + atol)      mode "max"

    After `patience` means in a row that are no improvement, the rate is multiplied by `factor` and the next `cooldown`
    means are ignored::

      η_t = max(learning_rate(t) · factor^k, min_value)      after k reductions

    The margin is relative to |b|, so that it is right for a negative metric too. A metric counts at once: the update
    to which it is given has the reduced rate. The state is float32 whatever the parameters' dtype.

    **Noise.** Among losses of single batches the best is the luckiest, and everything after it looks like a plateau.
    With `window=None` each metric is judged by itself, as in torch, Keras and optax, until they prove noisy: from the
    8th on, if more than about a third of them are turning points, where a fall becomes a rise or a rise a fall (2/3
    in white noise, none if the metric only falls). Then

    * 16 metrics make a mean, so that a reduction takes 16 · `patience` updates;
    * an improvement must exceed the standard error of that mean, √(Σ(m_i − m_{i−1})² / 2) / 16;
    * after a reduction b is the best mean since the last improvement, and each reduction needs a new plateau.

    A single value that is better than all before and after it by 4 times the mean change is ignored when patience ends,
    and factor^k stays above 1e-8. A validation metric has less noise: give it with `window=1`, or report it.

    Args:
      learning_rate: a number, a schedule or another controller.
      factor: in (0, 1).
      patience: means without improvement that reduce the rate, ≥ 0 (0 reduces at the first, as 1 does).
      mode: "min" for a loss, "max" for an accuracy.
      rtol: least improvement relative to |b|, in [0, 1].
      atol: least improvement in units of the metric, ≥ 0.
      cooldown: means that are ignored after a reduction, ≥ 0.
      min_value: the rate stays at or above it, as far as `learning_rate` does; ≥ 0.
      window: metrics to a mean, > 0; None for 1, or 16 if they are noisy; 1 for reported metrics.
      metric: "value" if it is given as `tx.update(grads, state, params, value=metric)`; "reported" if it is given
        between updates, by `lrx.report(state, metric)`.
      counting: "optax" as above. "torch" reduces at the mean after `patience` bad ones, and "keras" ignores one mean
        less after a reduction, as these libraries do.
      nan: what a metric that is NaN means. "bad": no improvement, and an update that moves nothing and is counted in
        the state as `skipped`, since it is taken for the loss. "skip": no metric was given with this update.

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
    check_numbers(factor, patience, rtol, atol, cooldown, window)
    check.non_negative(min_value=min_value)
    check.one_of(Mode, mode=mode)
    check.one_of(Metric, metric=metric)
    check.one_of(Counting, counting=counting)
    check.one_of(Nan, nan=nan)
    base = as_rate("learning_rate", learning_rate)
    window = 1 if window is None and metric == "reported" else window
    return Plateau(base, factor, patience, rtol, atol, cooldown, min_value, window, mode, metric, counting, nan)
