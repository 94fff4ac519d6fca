"""The factories of schedules by name: `from_json` and the expressions of the command line call them."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from .. import _check as check
from .._pytree import arguments
from ._steps import is_steps, nearest

P = ParamSpec("P")
S = TypeVar("S")

factories: dict[str, Callable[..., Any]] = {}
classes: dict[str, Any] = {}
"""Name of a factory -> the class of what it makes."""


def schedule_factory(function: Callable[P, S]) -> Callable[P, S]:
    """Decorator of the public functions that make schedules: registers them, and rounds arguments that are `Steps`."""
    name, parameters = function.__name__, inspect.signature(function).parameters
    steps = {k for k, p in parameters.items() if is_steps(p.annotation)}
    classes[name] = inspect.signature(function).return_annotation

    @functools.wraps(function)
    def rounded(*args: P.args, **kwargs: P.kwargs) -> S:
        places = [nearest(k, x) if k in steps else x for k, x in zip(parameters, args, strict=False)]
        names = {k: nearest(k, x) if k in steps else x for k, x in kwargs.items()}
        return function(*places, *args[len(places) :], **names)  # type: ignore[arg-type]  # the same, but for rounding

    factories[name] = check.public(rounded if steps else function)
    return factories[name]


def call_of(schedule: Any) -> dict[str, Any]:
    """The arguments of the call that makes `schedule`."""
    return schedule.call() if hasattr(schedule, "call") else arguments(schedule)
