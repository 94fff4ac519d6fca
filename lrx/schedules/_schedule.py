"""What all schedules have in common: the base class, the registry of their factories, and JSON."""

import ast
import json
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import F32, is_array, is_number, is_tracer
from .._pytree import arguments, factory_name, is_node, pytree_dataclass, static

P = ParamSpec("P")
S = TypeVar("S")

VERSION = 1
"""The version of the JSON form."""

_factories: dict[str, Callable[..., Any]] = {}


class Schedule:
    """A learning rate as a pure function of the count of updates completed.

    Subclasses are frozen dataclass pytrees whose fields are the arguments of their factory.
    """

    def __call__(self, count: Any) -> jax.Array:
        """The rate at `count` (int32, any shape; a float count is a point between two updates), float32."""
        raise NotImplementedError  # the one method of the interface

    def to_json(self) -> str:
        """This schedule as JSON, which `lrx.from_json` reads."""
        return json.dumps({"lrx": VERSION, **_encoded(self)})


def schedule_factory(function: Callable[P, S]) -> Callable[P, S]:
    """Decorator of the public functions that make schedules: `from_json` and `parse` know them by name."""
    _factories[function.__name__] = check.public(function)
    return _factories[function.__name__]


# ---------------------------------------------------------------- numbers and functions as schedules


@pytree_dataclass
class FunctionSchedule(Schedule):
    """See `as_schedule`. A function is code, so it is structure; it compares as functions do, by identity."""

    function: Any = static()

    factory = "as_schedule"

    def __call__(self, count: Any) -> jax.Array:
        """`function(count)` in float32."""
        return jnp.asarray(self.function(count)).astype(F32)

    def __repr__(self) -> str:
        return f"as_schedule({self.function!r})"


@check.public
def as_schedule(schedule: Any) -> Any:
    """A schedule from a number, a function of the count, or a schedule.

    Args:
      schedule: a number (held for ever), a schedule (returned as it is), or any function of the count (int32 []) that
        gives a scalar. A callable pytree of numbers, such as an Equinox module, keeps its numbers as data.

    Returns:
      A schedule.

    Raises:
      TypeError: if it is none of these.

    Examples:
      >>> import lrx
      >>> schedule = lrx.as_schedule(lambda count: 0.5 / (1 + count))
      >>> print(schedule(1))
      0.25
      >>> lrx.as_schedule(0.5)
      constant_schedule(value=0.5)
    """
    if is_node(schedule) and callable(schedule):
        return schedule
    if is_number(schedule):
        return _factories["constant_schedule"](schedule)
    if not callable(schedule):
        raise TypeError(f"{check.where('schedule')} must be a number or a function of the count, got {schedule!r}.")
    leaves = jax.tree.leaves(schedule)
    is_data = leaves and all(is_array(x) or type(x) in (int, float) for x in leaves)
    return schedule if is_data else FunctionSchedule(schedule)


# ---------------------------------------------------------------- JSON and text


def _encoded(x: Any) -> Any:
    if is_node(x):
        if isinstance(x, FunctionSchedule) or not isinstance(x, Schedule):
            raise TypeError(f"to_json: {x!r} holds code, which JSON cannot. Build it from lrx's schedules.")
        return {"schedule": factory_name(x), **{k: _encoded(v) for k, v in call_of(x).items()}}
    if isinstance(x, dict):
        return {str(k): _encoded(v) for k, v in x.items()}
    if isinstance(x, tuple):
        return [_encoded(v) for v in x]
    if is_tracer(x):
        raise TypeError("to_json: a traced schedule has no numbers to write; call it outside of jit, vmap and grad.")
    return x.tolist() if is_array(x) else x


def call_of(schedule: Any) -> dict[str, Any]:
    """The arguments of the call that makes `schedule`."""
    return schedule.call() if hasattr(schedule, "call") else arguments(schedule)


def from_json(text: str) -> Any:
    """The schedule that `Schedule.to_json` wrote.

    Args:
      text: JSON.

    Returns:
      An equal schedule.

    Raises:
      ValueError: if the text is not JSON, is of another version, or names an unknown schedule or argument.

    Examples:
      >>> import lrx
      >>> schedule = lrx.cosine_decay_schedule(0.5, decay_steps=100)
      >>> lrx.from_json(schedule.to_json()) == schedule
      True
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as e:
        raise ValueError(f"from_json(text=...) must be JSON: {e}.") from None
    if not isinstance(data, dict) or "lrx" not in data or "schedule" not in data:
        raise ValueError("from_json(text=...) must be an object with the keys 'lrx' and 'schedule'.")
    version = data.pop("lrx")
    if version != VERSION:
        raise ValueError(f"from_json(text=...) must be of version {VERSION}, got {version!r}.")
    return _decoded(data)


def _decoded(x: Any) -> Any:
    if isinstance(x, list):
        return tuple(_decoded(v) for v in x)
    if not isinstance(x, dict):
        return x
    if "schedule" not in x:
        return {int(k) if k.isdecimal() else k: _decoded(v) for k, v in x.items()}
    return make(x["schedule"], (), {k: _decoded(v) for k, v in x.items() if k != "schedule"})


def make(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call the factory `name`; an unknown name or argument is one clear ValueError."""
    if name not in _factories:
        raise ValueError(f"there is no schedule {name!r}. There are: {', '.join(sorted(_factories))}.")
    try:
        return _factories[name](*args, **kwargs)
    except TypeError as e:
        raise ValueError(f"{name}: {e}") from None


def parse(text: str) -> Any:
    """The schedule that a constructor expression names. The text is read, never run.

    Args:
      text: such as "cosine_decay_schedule(0.1, decay_steps=1000)"; arguments are literals or further schedules.

    Returns:
      The schedule.

    Raises:
      ValueError: if it is anything else, or the schedule refuses its arguments.
    """
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as e:
        raise ValueError(f"{text!r} is not a schedule: {e.msg}.") from None
    if not isinstance(node, ast.Call):
        raise ValueError(f"{text!r} is not a schedule. Write one such as 'cosine_decay_schedule(0.1, 1000)'.")
    return _evaluated(node)


def _evaluated(node: ast.expr) -> Any:
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if any(k.arg is None for k in node.keywords) or any(isinstance(a, ast.Starred) for a in node.args):
            raise ValueError(f"{ast.unparse(node)!r}: write the arguments out.")
        kwargs = {str(k.arg): _evaluated(k.value) for k in node.keywords}
        return make(name, tuple(map(_evaluated, node.args)), kwargs)
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(map(_evaluated, node.elts))
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_evaluated(k): _evaluated(v) for k, v in zip(node.keys, node.values, strict=True) if k is not None}
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise ValueError(f"{ast.unparse(node)!r} must be a number, a string, or a schedule.") from None
