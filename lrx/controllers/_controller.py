"""What a controller is, and how a rate of any kind is evaluated where one is expected.

A controller is a pytree dataclass with two methods::

  start(params) -> memory
  rate(memory, direction, signals) -> (rate, memory)

`direction` is what the rate multiplies; `signals` is a dict of `count`, the number of updates completed, and of what
the update was given: `params`, `grad`, `value`, `value_fn`, and as `extra` all its extra arguments. A controller
lists in `needs` those that it must have. Its base is a number, a schedule or another controller: the functions below
take any of the three. A rate is a number, or a tree of numbers like `direction`: one for each leaf. A rate that is not
finite says that the update is not usable: it is skipped, and the numbers remembered stay (`lrx._skipping`).
"""

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NewType

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import all_finite, wide
from .._first_count import shown_count
from .._numbers import F32, Hyperparameter, canonical, is_number
from .._pytree import factory_name
from ..schedules._schedule import Schedule, as_schedule


class Controller:
    """A learning rate that adapts to training feedback: the loss, the gradients and the parameters."""

    factory: ClassVar[str] = ""
    """The public function that makes the controller, for errors and `repr`; by default the class name in snake case."""
    renamed: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Pairs (field, argument) where the factory calls a field otherwise."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Which it must have of `direction`, `grad`, `params`, `value`, `value_fn`."""
    elementwise: ClassVar[bool] = False
    """Whether it is the same to the rate how the coordinates are divided into leaves: else `pack` refuses it."""
    per_leaf: Any = False
    """Whether its rate is a tree of numbers, one for each leaf; a static field of this name where it is an option."""
    nan: Any = None
    """What a `value` that is NaN means: the update is not usable (None); nor is it with "bad", but the controller
    remembers it; no value was given ("skip")."""

    def start(self, params: Any) -> Any:
        """The memory before the first update. It holds no buffer of `params`."""
        raise NotImplementedError

    def rate(self, memory: Any, direction: Any, signals: dict[str, Any]) -> tuple[Any, Any]:
        """The rate of one update, in float32 or wider, and the memory after it."""
        raise NotImplementedError

    def first(self, params: Any) -> Any:
        """What to show as the rate before the first update: that of the base."""
        return first_of(base_of(self), params)


if TYPE_CHECKING:
    LearningRate = Hyperparameter | Schedule | Controller
else:
    LearningRate = NewType("LearningRate", object)  # so that `help` shows the name
    LearningRate.__module__ = "lrx"
"""What stands where an optimizer takes a learning rate: a number, a schedule (any function of the count) or a
controller."""


class Result(NamedTuple):
    """Result of evaluating a rate."""

    rate: Any
    """What to apply: [] or a tree of them, in the dtype in which it was computed."""
    memory: Any
    failed: jax.Array
    """Whether the rate is not finite, and the update not usable; bool []."""
    unmeasured: jax.Array
    """Whether a plateau has taken a loss that is not finite for no improvement: nothing moves, but it remembers that;
    bool []."""


# ---------------------------------------------------------------- a rate of any kind


def as_rate(argument: str, x: Any, *, is_cap: bool = False) -> Any:
    """`x`, a number, a schedule or a controller, in the form in which a rule or a controller holds it.

    A number is not negative, and finite; a cap may be infinite, for none.
    """
    if isinstance(x, Controller):
        return x
    if callable(x):
        return as_schedule(x)
    if not is_number(x):
        raise TypeError(f"{check.where(argument)} must be a number, a schedule or a controller, got {x!r}.")
    if not is_cap:
        check.finite(**{argument: x})
    check.non_negative(**{argument: x})
    return canonical(check.where(argument), x, float)


def as_one_rate(argument: str, x: Any, *, is_cap: bool = False) -> Any:
    """As `as_rate`, but a rate for each leaf is refused."""
    rate = as_rate(argument, x, is_cap=is_cap)
    if is_per_leaf(rate):
        raise check.fail(argument, "must have one rate for all leaves", x)
    return rate


def as_early_rate(argument: str, x: Any) -> Any:
    """As `as_one_rate`, for a rule that evaluates the controller before there is a direction."""
    rate = as_one_rate(argument, x)
    if "direction" in needs_of(rate):
        raise check.fail(argument, "must be a number, a schedule, or a controller that does without the direction", x)
    return rate


def is_per_leaf(rate: Any) -> bool:
    """Whether a rate is a tree of numbers."""
    return isinstance(rate, Controller) and (bool(rate.per_leaf) or is_per_leaf(base_of(rate)))


def is_by_leaf(rate: Any) -> bool:
    """Whether it matters to a rate which leaf is which: it has one for each, evaluates the loss, or is unknown."""
    if not isinstance(rate, Controller):
        return False
    return not rate.elementwise or is_per_leaf(rate) or "value_fn" in needs_of(rate) or is_by_leaf(base_of(rate))


def base_of(controller: Controller) -> Any:
    """What a controller adapts: its first field."""
    return getattr(controller, dataclasses.fields(controller)[0].name)  # type: ignore[arg-type]  # all are dataclasses


def needs_of(rate: Any) -> tuple[str, ...]:
    """What a rate and its bases need."""
    return (*rate.needs, *needs_of(base_of(rate))) if isinstance(rate, Controller) else ()


def start_of(rate: Any, params: Any) -> Any:
    """The memory of a rate of any kind before the first update."""
    return rate.start(params) if isinstance(rate, Controller) else ()


def first_of(rate: Any, params: Any) -> Any:
    """The value to show for a rate of any kind before the first update, float32."""
    if isinstance(rate, Controller):
        return rate.first(params)
    # a copy: under an eager vmap it may be the caller's own array, which a donated step would delete
    return jnp.copy(_scalar(rate, rate(shown_count()) if callable(rate) else rate))


def each_leaf(x: jax.Array, params: Any) -> Any:
    """A tree like `params` of copies of `x`, since two leaves of one buffer cannot be donated."""
    return jax.tree.map(lambda p: jnp.copy(x), params)


def rate_of_update(rate: Any, memory: Any, direction: Any, signals: dict[str, Any]) -> tuple[Any, Any]:
    """The rate of one update from a rate of any kind, and its memory after it."""
    if isinstance(rate, Controller):
        return rate.rate(memory, direction, signals)
    return _scalar(rate, rate(signals["count"]) if callable(rate) else rate), memory


def _scalar(rate: Any, value: Any) -> jax.Array:
    value = jnp.asarray(value)
    if value.shape != ():
        raise ValueError(f"a learning rate must be a scalar, got shape {value.shape} from {rate!r}.")
    return value.astype(F32)


def evaluate(
    rule: Any, rate: Any, memory: Any, direction: Any, count: jax.Array, params: Any, extra: dict[str, Any]
) -> Result:
    """The rate of one update, of any kind, and what it remembers after it."""
    signals = {"count": count, "params": params, "extra": extra}
    no = jnp.zeros((), bool)
    if not isinstance(rate, Controller):
        return Result(*rate_of_update(rate, memory, direction, signals), no, no)
    needs = needs_of(rate)
    given: dict[str, Any] = {name: extra.get(name) for name in ("grad", "value", "value_fn")}
    require(f"{factory_name(rule)}(learning_rate={factory_name(rate)}(...))", needs, params=params, **given)
    if "value" in needs:
        given["value"] = scalar_value(given["value"])
    applied, new = rate.rate(memory, direction, signals | given)
    failed, value = ~all_finite(applied), given["value"]
    if "value" not in needs:
        return Result(applied, new, failed, no)
    missing = ~jnp.isfinite(value) & ~jnp.isnan(value) if rate.nan == "skip" else ~jnp.isfinite(value)
    return Result(applied, new, failed | missing, no) if rate.nan != "bad" else Result(applied, new, failed, missing)


def scalar_value(value: Any) -> jax.Array:
    """The loss as a float32 or float64 number."""
    value = jnp.asarray(value)
    whole = jnp.issubdtype(value.dtype, jnp.integer)
    if value.shape != () or not (whole or jnp.issubdtype(value.dtype, jnp.floating)):
        raise ValueError(
            f"update(value=...) must be one real number, the loss, got shape {value.shape}, {value.dtype}."
        )
    return value.astype(F32 if whole else wide(value.dtype))


# ---------------------------------------------------------------- missing arguments

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
    """Raise the one error for a missing argument of `update`."""
    for name in _HOW:
        if name in needs and given.get(name) is None:
            raise ValueError(f"{who} needs {_HOW[name]}.")
