"""Schedules as text: JSON, and expressions such as `0.5 * cosine_decay_schedule(0.1, 1000)`."""

import ast
import inspect
import json
import operator
from collections.abc import Callable
from typing import Any

from .._json_text import parsed, short
from .._numbers import is_array, is_number, is_tracer
from .._pytree import factory_name, holds_code, is_node
from ._registry import call_of, classes, factories

VERSION = 1
"""The version of the JSON form."""


# ---------------------------------------------------------------- JSON


def to_json(schedule: Any) -> str:
    """See `Schedule.to_json`."""
    text = json.dumps({"lrx": VERSION, **_encoded(schedule)})
    try:
        from_json(text)
    except ValueError as error:  # numbers that the factory refuses, in an object that was built without it
        raise ValueError(f"to_json: lrx.from_json could not read this schedule back: {error}") from None
    return text


def _encoded(x: Any) -> Any:
    if is_node(x):
        return {"schedule": _name(x), **{k: _encoded(v) for k, v in call_of(x).items()}}
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


def _name(schedule: Any) -> str:
    """The factory that makes a schedule, or the error that says why JSON cannot name one."""
    name = factory_name(schedule)
    if classes.get(name) is type(schedule):
        return name
    if holds_code(schedule):
        raise TypeError(f"to_json: {schedule!r} holds code, which JSON cannot. Build it from lrx's schedules.")
    raise TypeError(
        f"to_json: {type(schedule).__qualname__} is not one of lrx's schedules, so lrx.from_json could not read it. "
        "Decorate its factory with lrx.extend.schedule_factory, build it from lrx's schedules, or pickle it."
    )


def from_json(text: str) -> Any:
    """The schedule that `Schedule.to_json` wrote.

    The text may come from anywhere: it is only ever read, and whatever is wrong with it is a ValueError.

    Args:
      text: JSON.

    Returns:
      An equal schedule.

    Raises:
      ValueError: if the text is not JSON, is of another version, names an unknown schedule or argument, or gives an
        argument that the schedule refuses.
      TypeError: if `text` is not a string.

    Examples:
      >>> import lrx
      >>> schedule = lrx.cosine_decay_schedule(0.5, decay_steps=100)
      >>> lrx.from_json(schedule.to_json()) == schedule
      True
    """
    data = parsed(text)
    if not isinstance(data, dict) or "lrx" not in data or "schedule" not in data:
        raise ValueError("from_json(text=...) must be an object with the keys 'lrx' and 'schedule'.")
    version = data.pop("lrx")
    if type(version) is not int or version != VERSION:
        raise ValueError(f"from_json(text=...) must be of version {VERSION}, got {short(version)}.")
    return _decoded(data)


def _decoded(x: Any) -> Any:
    if isinstance(x, list):
        return tuple(_decoded(v) for v in x)
    if not isinstance(x, dict):
        return x
    if "schedule" not in x:
        return {_key(k): _decoded(v) for k, v in x.items()}
    return make(x["schedule"], (), {k: _decoded(v) for k, v in x.items() if k != "schedule"})


def _key(key: str) -> int | str:
    """A key of JSON, which is always a string, as the step that it stands for, if it does."""
    return int(key) if key.isdecimal() and len(key) <= 10 else key


def make(name: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call the factory `name`; an unknown name or argument, or one that does not fit, is one clear ValueError."""
    if not isinstance(name, str) or name not in factories:
        raise ValueError(f"there is no schedule {short(name)}. There are: {', '.join(sorted(factories))}.")
    for p in inspect.signature(factories[name]).parameters.values():
        if p.kind is p.VAR_POSITIONAL and isinstance(kwargs.get(p.name), tuple):
            args, kwargs = args + kwargs[p.name], {k: v for k, v in kwargs.items() if k != p.name}
    try:
        return factories[name](*args, **kwargs)
    except (
        TypeError,
        AttributeError,
        ArithmeticError,
    ) as e:  # what factories raise for wrong kinds, and Python for others
        raise ValueError(str(e) if str(e).startswith(name) else f"{name}: {e}") from None


# ---------------------------------------------------------------- expressions


def parse(text: str) -> Any:
    """The schedule that a constructor expression names. The text is read, never run.

    Args:
      text: such as "cosine_decay_schedule(0.1, decay_steps=1000)"; arguments are literals or further schedules.
        Schedules and numbers may be added, subtracted, multiplied and divided:
        "0.5 * cosine_decay_schedule(0.1, 1000) + 0.01".

    Returns:
      The schedule.

    Raises:
      ValueError: if it is anything else, or the schedule refuses its arguments.
    """
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if not isinstance(node, ast.Call | ast.BinOp | ast.UnaryOp):
            raise ValueError(f"{text!r} is not a schedule. Write one such as 'cosine_decay_schedule(0.1, 1000)'.")
        return _evaluated(node)
    except SyntaxError as e:
        raise ValueError(f"{text!r} is not a schedule: {e.msg}.") from None
    except (RecursionError, MemoryError):  # of Python's parser, or of ours
        raise ValueError(f"{text[:60]!r}... is nested too deeply to be a schedule.") from None


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
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        return -_schedule(node.operand)
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(map(_evaluated, node.elts))
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_evaluated(k): _evaluated(v) for k, v in zip(node.keys, node.values, strict=True) if k is not None}
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise ValueError(f"{ast.unparse(node)!r} must be a number, a string, or a schedule.") from None


def _schedule(node: ast.expr) -> Any:
    value = _evaluated(node)
    if not is_schedule(value):
        raise ValueError(f"{ast.unparse(node)!r} must be a number, a string, or a schedule.")
    return value


def is_schedule(x: Any) -> bool:
    """Whether `x` is a schedule of lrx's form."""
    return is_node(x) and callable(x)


_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
}


def _combined(node: ast.BinOp) -> Any:
    """Two schedules, or a schedule and a number, under one of the operators."""
    left, right = _evaluated(node.left), _evaluated(node.right)
    combine, schedules = _OPERATORS.get(type(node.op)), [x for x in (left, right) if is_schedule(x)]
    others = [x for x in (left, right) if not is_schedule(x)]
    if combine is None or not schedules or not all(map(is_number, others)):
        raise ValueError(
            f"{ast.unparse(node)!r} must be a sum, difference, product or quotient of schedules and numbers."
        )
    return combine(left, right)
