"""The factories of schedules by name: `from_json` and the expressions of the command line call them."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from .. import _check as check
from .._pytree import arguments, factory_name, is_class
from ._steps import is_steps, nearest

P = ParamSpec("P")
S = TypeVar("S")

factories: dict[str, Callable[..., Any]] = {}
classes: dict[str, Any] = {}
"""Name of a factory -> the class of what it makes."""


def schedule_factory(function: Callable[P, S]) -> Callable[P, S]:
    """Decorator of the public functions that make schedules, so that JSON can name them and errors do.

    `lrx.from_json` finds the function by its name, once the module that defines it is imported. A float for an argument
    that is annotated as `Steps` is rounded to the nearest whole number of steps.

    Args:
      function: its return annotation is the class of the schedule, whose `factory` is the name of the function.

    Returns:
      The function, registered.

    Raises:
      TypeError: if it has no such annotation.
      ValueError: if the class has another `factory`, or another module has registered the name.
    """
    signature = inspect.signature(function, eval_str=True)
    name, parameters, cls = function.__name__, signature.parameters, signature.return_annotation
    _check_names(function, name, cls)
    steps = {k for k, p in parameters.items() if is_steps(p.annotation)}
    classes[name] = cls

    @functools.wraps(function)
    def rounded(*args: P.args, **kwargs: P.kwargs) -> S:
        places = [nearest(k, x) if k in steps else x for k, x in zip(parameters, args, strict=False)]
        names = {k: nearest(k, x) if k in steps else x for k, x in kwargs.items()}
        return function(*places, *args[len(places) :], **names)  # type: ignore[arg-type]  # the same, but for rounding

    factories[name] = check.public(rounded if steps else function)
    return factories[name]


def _check_names(function: Any, name: str, cls: Any) -> None:
    if not is_class(cls):
        found = "none" if cls is inspect.Signature.empty else repr(cls)
        raise TypeError(
            f"schedule_factory({name}) must have the pytree_dataclass that it makes as its return annotation, "
            f"got {found}."
        )
    if factory_name(cls) != name:
        raise ValueError(
            f"schedule_factory({name}) must be the factory of its class, got {factory_name(cls)}. "
            f"Write factory = {name!r} in the class {cls.__qualname__}."
        )
    if name in factories and factories[name].__module__ != function.__module__:  # a cell of a notebook may run again
        raise ValueError(
            f"schedule_factory({name}) must have a name of its own, got one that {factories[name].__module__} has."
        )


def call_of(schedule: Any) -> dict[str, Any]:
    """The arguments of the call that makes `schedule`."""
    return schedule.call() if hasattr(schedule, "call") else arguments(schedule)
