"""What a learning rate that listens is, and how a rate of any kind takes part where one is expected.

A controller is a pytree dataclass with two methods::

  start(params) -> memory
  rate(memory, direction, signals) -> (rate, memory)

`direction` is what the rate multiplies; `signals` is a dict of `count`, the number of updates completed, and of what
the update was given: `params`, `grad`, `value`, `value_fn`, and as `extra` all its extra arguments. What a controller
cannot do without stands in its `needs`. It has a base, which is a number, a schedule or another controller: the
functions below take any of the three. A rate is a number, or a tree of numbers like `direction`: one for each leaf.
"""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import all_finite, select, wide
from .._numbers import F32, canonical, is_number
from .._pytree import factory_name
from ..schedules._schedule import as_schedule


class Controller:
    """A learning rate that listens to training."""

    needs: ClassVar[tuple[str, ...]] = ()
    """The arguments of `rate` that must be there: `direction`, `grad`, `params`, `value`, `value_fn`."""
    elementwise: ClassVar[bool] = False
    """Whether it is the same to the rate how the coordinates are divided into leaves. What does not say so is not
    packed."""

    def start(self, params: Any) -> Any:
        """The memory before the first update. It holds no buffer of `params`."""
        raise NotImplementedError  # one of the two methods of the interface

    def rate(self, memory: Any, direction: Any, signals: dict[str, Any]) -> tuple[Any, Any]:
        """The rate of one update, in float32 or wider, and the memory after it."""
        raise NotImplementedError  # the other

    def first(self, params: Any) -> Any:
        """What to show as the rate before the first update: that of the base."""
        return first_of(base_of(self), params)


class Heard(NamedTuple):
    """What one update makes of a rate."""

    rate: Any
    """What to apply: [] or a tree of them, in the dtype in which it was computed; 0 where it was not finite."""
    memory: Any
    usable: jax.Array
    """Whether the rate was finite; bool []."""
    missed: jax.Array
    """Whether the loss, where it is asked for, or the rate was not finite; bool []."""


# ---------------------------------------------------------------- a rate of any kind


def as_rate(argument: str, x: Any) -> Any:
    """A number, a schedule or a controller, as a field of a rule or of a controller holds it."""
    if isinstance(x, Controller):
        return x
    if callable(x):
        return as_schedule(x)
    if not is_number(x):
        raise TypeError(f"{check.where(argument)} must be a number, a schedule or a controller, got {x!r}.")
    return canonical(check.where(argument), x, float)


def as_one_rate(argument: str, x: Any) -> Any:
    """As `as_rate`, where a rate for each leaf would not do."""
    rate = as_rate(argument, x)
    if is_per_leaf(rate):
        raise check.fail(argument, "must have one rate for all leaves", x)
    return rate


def as_early_rate(argument: str, x: Any) -> Any:
    """As `as_one_rate`, where the rule asks the controller before there is a direction."""
    rate = as_one_rate(argument, x)
    if "direction" in needs_of(rate):
        raise check.fail(argument, "must be a number, a schedule, or a controller that does without the direction", x)
    return rate


def is_per_leaf(rate: Any) -> bool:
    """Whether a rate is a tree of numbers."""
    return isinstance(rate, Controller) and (getattr(rate, "per_leaf", False) or is_per_leaf(base_of(rate)))


def is_by_leaf(rate: Any) -> bool:
    """Whether it matters to a rate which leaf is which: it has one for each, evaluates the loss, or is unknown."""
    if not isinstance(rate, Controller):
        return False
    return not rate.elementwise or is_per_leaf(rate) or "value_fn" in needs_of(rate) or is_by_leaf(base_of(rate))


def base_of(controller: Controller) -> Any:
    """What a controller starts from: its first field."""
    return getattr(controller, dataclasses.fields(controller)[0].name)  # type: ignore[arg-type]  # all are dataclasses


def needs_of(rate: Any) -> tuple[str, ...]:
    """What a rate and its bases need."""
    return (*rate.needs, *needs_of(base_of(rate))) if isinstance(rate, Controller) else ()


def start_of(rate: Any, params: Any) -> Any:
    """What a rate of any kind remembers before the first update."""
    return rate.start(params) if isinstance(rate, Controller) else ()


def first_of(rate: Any, params: Any) -> Any:
    """What a rate of any kind is before the first update, float32."""
    if isinstance(rate, Controller):
        return rate.first(params)
    # a copy: under an eager vmap it may be the caller's own array, which a donated step would delete
    return jnp.copy(_scalar(rate, rate(jnp.zeros((), jnp.int32)) if callable(rate) else rate))


def each_leaf(x: jax.Array, params: Any) -> Any:
    """A tree like `params` of copies of `x`, since two leaves of one buffer cannot be donated."""
    return jax.tree.map(lambda p: jnp.copy(x), params)


def rate_of_update(rate: Any, memory: Any, direction: Any, signals: dict[str, Any]) -> tuple[Any, Any]:
    """The rate of one update from a rate of any kind, and what it remembers."""
    if isinstance(rate, Controller):
        return rate.rate(memory, direction, signals)
    return _scalar(rate, rate(signals["count"]) if callable(rate) else rate), memory


def _scalar(rate: Any, value: Any) -> jax.Array:
    value = jnp.asarray(value)
    if value.shape != ():
        raise ValueError(f"a learning rate must be a scalar, got shape {value.shape} from {rate!r}.")
    return value.astype(F32)


def listen(
    rule: Any, rate: Any, memory: Any, direction: Any, count: jax.Array, params: Any, extra: dict[str, Any]
) -> Heard:
    """The rate of one update. One that is not finite is not taken: the rate is 0 and nothing of it is remembered."""
    signals = {"count": count, "params": params, "extra": extra}
    if not isinstance(rate, Controller):
        applied, memory = rate_of_update(rate, memory, direction, signals)
        return Heard(applied, memory, jnp.ones((), bool), jnp.zeros((), bool))
    needs = needs_of(rate)
    given: dict[str, Any] = {name: extra.get(name) for name in ("grad", "value", "value_fn")}
    require(f"{factory_name(rule)}(learning_rate={factory_name(rate)}(...))", needs, params=params, **given)
    if "value" in needs:
        given["value"] = scalar_value(given["value"])
    applied, new = rate.rate(memory, direction, signals | given)
    usable = all_finite(applied)
    memory = select(usable, new, memory)
    applied = jax.tree.map(lambda r: jnp.where(usable, r, jnp.zeros_like(r)), applied)
    heard = usable & jnp.isfinite(given["value"]) if "value" in needs else usable
    return Heard(applied, memory, usable, ~heard)


def scalar_value(value: Any) -> jax.Array:
    """The loss as a float32 or float64 number."""
    value = jnp.asarray(value)
    whole = jnp.issubdtype(value.dtype, jnp.integer)
    if value.shape != () or not (whole or jnp.issubdtype(value.dtype, jnp.floating)):
        raise ValueError(
            f"update(value=...) must be one real number, the loss, got shape {value.shape}, {value.dtype}."
        )
    return value.astype(F32 if whole else wide(value.dtype))


# ---------------------------------------------------------------- what is missing

_HOW = {
    "value": (
        "value=, the loss at these parameters: tx.update(grads, state, params, value=loss). lrx.chain, optax.chain and "
        "lrx.accumulate pass it on; in Flax nnx: optimizer.update(model, grads, value=loss). A Flax TrainState passes "
        "nothing on: call train_state.tx.update yourself, or use lrx.plateau(..., metric='reported') and lrx.report"
    ),
    "value_fn": (
        "value_fn=, the loss as a function of the parameters: tx.update(grads, state, params, value=loss, "
        "value_fn=loss_fn); further arguments of loss_fn are given by name, batch=batch"
    ),
    "params": "the parameters: tx.update(grads, state, params)",
    "grad": (
        "grad=, the gradient as it was before any other transformation. lrx.chain adds it; outside it, inside "
        "optax.chain too, give it yourself: tx.update(grads, state, params, grad=grads)"
    ),
}


def require(who: str, needs: tuple[str, ...], **given: Any) -> None:
    """The one error for an argument of `update` that is not there."""
    for name in _HOW:
        if name in needs and given.get(name) is None:
            raise ValueError(f"{who} needs {_HOW[name]}.")
