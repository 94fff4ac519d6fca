"""What all schedules have in common: the base class, the registry of their factories, and JSON."""

import ast
import inspect
import json
import operator
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import F32, is_array, is_number, is_tracer
from .._pytree import arguments, factory_name, is_node, pytree_dataclass, static
from . import _questions

P = ParamSpec("P")
S = TypeVar("S")

VERSION = 1
"""The version of the JSON form."""

_factories: dict[str, Callable[..., Any]] = {}


class Schedule:
    """A learning rate as a pure function of the count of updates completed.

    Subclasses are frozen dataclass pytrees whose fields are the arguments of their factory. Schedules and numbers can
    be multiplied and added: `0.5 * s`, `s * t`, `s + 0.1`, `s + t`.
    """

    __array_ufunc__ = None  # a NumPy number on the left leaves the operation to the schedule

    def __call__(self, count: Any) -> jax.Array:
        """The rate at `count` (int32, any shape; a float count is a point between two updates), float32."""
        raise NotImplementedError  # the one method of the interface

    def to_json(self) -> str:
        """This schedule as JSON, which `lrx.from_json` reads."""
        return json.dumps({"lrx": VERSION, **_encoded(self)})

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, Schedule):
            return _factories["product"](self, other)
        return _factories["scale_schedule"](self, other) if is_number(other) else NotImplemented

    def __add__(self, other: Any) -> Any:
        return _factories["total"](self, other) if isinstance(other, Schedule) or is_number(other) else NotImplemented

    __rmul__, __radd__ = __mul__, __add__  # only a number can stand on the left of these

    def marks(self) -> _questions.Marks:
        """Name -> count of the ends of the phases, as each class tells them; "end" if nothing changes after it.

        Counts may be traced. `landmarks` is what to ask.
        """
        return _questions.inferred(self)

    def landmarks(self) -> dict[str, int]:
        """Where something happens: name -> count, in order.

        "peak" is the first count of the greatest value, "warmup_end" and the like are the ends of phases, "end" is the
        last step of change. Phases of no steps are left out, and so is the peak of a schedule that grows for ever. In
        a combination, a number tells of which part a name is. The peak of a curve without a landmark of its own is
        searched for by sampling.

        Returns:
          Name -> count.

        Raises:
          TypeError: if the schedule is traced.

        Examples:
          >>> import lrx
          >>> lrx.warmup_linear_schedule(1.0, 10, total_steps=100).landmarks()
          {'warmup_end': 10, 'peak': 10, 'end': 100}
        """
        return _questions.landmarks(self)

    @property
    def end(self) -> int | None:
        """The last step of change, or None if there is none: for a constant, a cycle, a decay that never stops.

        Raises:
          TypeError: if the schedule is traced.

        Examples:
          >>> import lrx
          >>> lrx.linear_schedule(1.0, 0.0, transition_steps=4).end
          4
        """
        return _questions.end(self)

    def integral(self, a: int, b: int) -> float:
        """The sum of the rates of the updates from `a` to before `b`.

        ::

          Σ_{t = a}^{b − 1} η(t)

        Up to 2²⁰ rates are added in float64. More are summed by quadrature between landmarks, to about 10⁻⁶ of the
        greatest rate for each update; where that does not settle, as for very many cycles, all are added.

        Args:
          a: the first count.
          b: the count after the last, ≥ `a`.

        Returns:
          The sum.

        Raises:
          ValueError: if `a` is negative or greater than `b`.
          TypeError: if the schedule is traced.

        Examples:
          >>> import lrx
          >>> lrx.linear_schedule(1.0, 0.0, transition_steps=4).integral(0, 4)
          2.5
        """
        return _questions.integral(self, a, b)

    def mean(self, a: int, b: int) -> float:
        """The mean rate of the updates from `a` to before `b`: `integral(a, b) / (b - a)`.

        Args:
          a: the first count.
          b: the count after the last, > `a`.

        Returns:
          The mean.

        Raises:
          ValueError: if `a` is negative or not less than `b`.
          TypeError: if the schedule is traced.

        Examples:
          >>> import lrx
          >>> lrx.linear_schedule(1.0, 0.0, transition_steps=4).mean(0, 5)
          0.5
        """
        return _questions.mean(self, a, b)

    def first_below(self, value: float) -> int | None:
        """The first step of the decay below a value: the first count, from the peak on, whose rate is less.

        So a warmup, which starts below the value, does not count; a schedule that never reaches the value is below it
        from its peak on. The first 2²⁰ counts after the peak are looked at one by one; later ones are sampled between
        landmarks, which is exact where the schedule falls steadily.

        Args:
          value: a rate, rounded to float32 as those of the schedule are.

        Returns:
          The count, or None if there is none.

        Raises:
          ValueError: if `value` is not finite.
          TypeError: if the schedule is traced.

        Examples:
          >>> import lrx
          >>> lrx.warmup_linear_schedule(1.0, 10, total_steps=110).first_below(0.5)
          61
        """
        return _questions.first_below(self, value)


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

    def marks(self) -> _questions.Marks:
        """None: a function tells nothing."""
        return {}

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
    return part("schedule", schedule)


def part(argument: str, schedule: Any) -> Any:
    """`as_schedule` of an argument of another factory, which its error names."""
    if is_node(schedule) and callable(schedule):
        return schedule
    if is_number(schedule):
        return _factories["constant_schedule"](schedule)
    if not callable(schedule):
        raise TypeError(f"{check.where(argument)} must be a number or a function of the count, got {schedule!r}.")
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
    if callable(x):
        raise TypeError(f"to_json: {x!r} holds code, which JSON cannot. Build it from lrx's schedules.")
    if is_array(x) and x.ndim:
        raise TypeError(f"to_json: a batch of schedules is not one, got {x!r}. Take one member of it.")
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
    if not isinstance(text, str):
        raise ValueError(f"from_json(text=...) must be text, got {text!r}.")
    try:
        data = json.loads(text.removeprefix("\ufeff"))  # files from Windows begin with it
    except (json.JSONDecodeError, RecursionError) as e:
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
    if not isinstance(name, str) or name not in _factories:
        raise ValueError(f"there is no schedule {name!r}. There are: {', '.join(sorted(_factories))}.")
    for p in inspect.signature(_factories[name]).parameters.values():
        if p.kind is p.VAR_POSITIONAL and isinstance(kwargs.get(p.name), tuple):
            args, kwargs = args + kwargs[p.name], {k: v for k, v in kwargs.items() if k != p.name}
    try:
        return _factories[name](*args, **kwargs)
    except TypeError as e:
        raise ValueError(str(e) if str(e).startswith(name) else f"{name}: {e}") from None


def parse(text: str) -> Any:
    """The schedule that a constructor expression names. The text is read, never run.

    Args:
      text: such as "cosine_decay_schedule(0.1, decay_steps=1000)"; arguments are literals or further schedules.
        Schedules and numbers may be multiplied and added: "0.5 * cosine_decay_schedule(0.1, 1000) + 0.01".

    Returns:
      The schedule.

    Raises:
      ValueError: if it is anything else, or the schedule refuses its arguments.
    """
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as e:
        raise ValueError(f"{text!r} is not a schedule: {e.msg}.") from None
    if not isinstance(node, ast.Call | ast.BinOp):
        raise ValueError(f"{text!r} is not a schedule. Write one such as 'cosine_decay_schedule(0.1, 1000)'.")
    return _evaluated(node)


def _evaluated(node: ast.expr) -> Any:
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if any(k.arg is None for k in node.keywords) or any(isinstance(a, ast.Starred) for a in node.args):
            raise ValueError(f"{ast.unparse(node)!r}: write the arguments out.")
        kwargs = {str(k.arg): _evaluated(k.value) for k in node.keywords}
        if len(kwargs) < len(node.keywords):
            raise ValueError(f"{ast.unparse(node)!r} gives an argument twice.")
        return make(name, tuple(map(_evaluated, node.args)), kwargs)
    if isinstance(node, ast.BinOp):
        return _combined(node)
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(map(_evaluated, node.elts))
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_evaluated(k): _evaluated(v) for k, v in zip(node.keys, node.values, strict=True) if k is not None}
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise ValueError(f"{ast.unparse(node)!r} must be a number, a string, or a schedule.") from None


_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {ast.Mult: operator.mul, ast.Add: operator.add}


def _combined(node: ast.BinOp) -> Any:
    """A product or sum of two schedules, or of a schedule and a number."""
    left, right = _evaluated(node.left), _evaluated(node.right)
    combine, schedules = _OPERATORS.get(type(node.op)), [x for x in (left, right) if isinstance(x, Schedule)]
    others = [x for x in (left, right) if not isinstance(x, Schedule)]
    if combine is None or not schedules or not all(map(is_number, others)):
        raise ValueError(f"{ast.unparse(node)!r} must be a product or a sum of schedules and numbers.")
    return combine(left, right)
