"""Argument checks: the one place where bad input turns into an error, and the one form of its message.

    call(argument=...) rule, got value. way out.

Checks look at concrete values only: a traced argument passes, and the function stays total for it.
The call that is named is the outermost public function that the user typed, which `public` remembers.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar, get_args

import numpy as np

from ._numbers import F32, canonical, is_tracer
from ._numbers import flag as to_flag

P = ParamSpec("P")
R = TypeVar("R")

_call: ContextVar[str] = ContextVar("lrx_call", default="")


factories: dict[str, Callable[..., Any]] = {}
"""The functions that `public` decorates, by name."""


def public(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator of public factories: errors raised inside name the outermost one."""
    factories[function.__name__] = function

    @functools.wraps(function)
    def named(*args: P.args, **kwargs: P.kwargs) -> R:
        token = _call.set(_call.get() or function.__name__)
        try:
            return function(*args, **kwargs)
        finally:
            _call.reset(token)

    return named


@contextlib.contextmanager
def calling(name: str) -> Iterator[None]:
    """Errors raised inside name this call; none if the name is empty, as in the user's own code."""
    token = _call.set(name)
    try:
        yield
    finally:
        _call.reset(token)


def in_user_code(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function of the user. An error raised inside does not name the public call."""
    with calling(""):
        return function(*args, **kwargs)


def where(argument: str, fallback: str = "") -> str:
    """`call(argument=...)`, with the outermost public call or, outside one, `fallback`."""
    return f"{_call.get() or fallback}({argument}=...)"


def fail(argument: str, rule: str, value: Any, way_out: str = "") -> ValueError:
    """The error, to be raised by the caller."""
    return ValueError(f"{where(argument)} {rule}, got {value!r}." + (f" {way_out}" if way_out else ""))


def number(**arguments: Any) -> None:
    """Each is one real number that float32 can hold."""
    for name, x in arguments.items():
        canonical(where(name), x, float)


def count(**arguments: Any) -> None:
    """Each is one whole number that int32 can hold."""
    for name, x in arguments.items():
        canonical(where(name), x, int)


def flag(**arguments: Any) -> None:
    """Each is True or False."""
    for name, x in arguments.items():
        to_flag(where(name), x)


def _concrete(arguments: dict[str, Any]) -> Any:
    for name, x in arguments.items():
        if callable(x):
            continue  # a schedule; a field that takes none refuses it itself
        value = canonical(where(name), x, float)
        if not is_tracer(value):
            yield name, x, value


def finite(**arguments: Any) -> None:
    """Each is a number, neither NaN nor infinite."""
    for name, x, value in _concrete(arguments):
        if not np.isfinite(value):
            raise fail(name, "must be finite", x)


def positive(**arguments: Any) -> None:
    """Each is > 0, also after rounding to float32."""
    for name, x, value in _concrete(arguments):
        if not F32.type(value) > 0:
            raise fail(name, "must be positive", x)


def non_negative(**arguments: Any) -> None:
    """Each is >= 0."""
    for name, x, value in _concrete(arguments):
        if not value >= 0:
            raise fail(name, "must not be negative", x)


def at_most_one(**arguments: Any) -> None:
    """Each is <= 1."""
    for name, x, value in _concrete(arguments):
        if not value <= 1:
            raise fail(name, "must not exceed 1", x)


def at_least_one(**arguments: Any) -> None:
    """Each is >= 1."""
    for name, x, value in _concrete(arguments):
        if not value >= 1:
            raise fail(name, "must not be less than 1", x)


def below_one(**arguments: Any) -> None:
    """Each is in [0, 1), as a decay rate must be, after rounding to float32."""
    for name, x, value in _concrete(arguments):
        if not 0 <= F32.type(value) < 1:
            raise fail(name, "must be in [0, 1) in float32", x)


def epsilon(**arguments: Any) -> None:
    """Each is >= 0 and, if not 0, does not round to 0 in float32."""
    non_negative(**arguments)
    for name, x, value in _concrete(arguments):
        if 0 < value < np.finfo(F32).tiny:
            raise fail(name, "must not vanish in float32", x)


def positive_count(**arguments: Any) -> None:
    """Each is a whole number > 0."""
    count(**arguments)
    positive(**arguments)


def non_negative_count(**arguments: Any) -> None:
    """Each is a whole number >= 0."""
    count(**arguments)
    non_negative(**arguments)


def one_of(options: Any, **arguments: Any) -> None:
    """Each is one of the named options: a `Literal`, or a tuple of strings."""
    names = get_args(options) or options
    for name, x in arguments.items():
        if x not in names:
            raise fail(name, f"must be one of {', '.join(map(repr, names))}", x)


def less(small: str, a: Any, large: str, b: Any, way_out: str = "") -> None:
    """`a < b`, where both are concrete."""
    if not is_tracer(a) and not is_tracer(b) and not a < b:
        message = f"{where(small)} must be less than {large}, got {small}={a}, {large}={b}."
        raise ValueError(f"{message} {way_out}" if way_out else message)


def needs_params(rule: str, updates: Any, params: Any) -> None:
    """The parameters are given to an update that needs them; None for both is an empty tree."""
    if params is None and updates is not None:
        raise ValueError(f"{rule} needs the parameters: tx.update(grads, state, params).")
