"""The arguments of the original, under its own names: which there are, which are missing, what they may be."""

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check

REQUIRED: Any = object()
"""The default of an argument that has none."""


def bound(name: str, given: Mapping[str, Any], known: Mapping[str, Any], ignored: Sequence[str] = ()) -> dict[str, Any]:
    """All arguments of the scheduler `name`: those that are given, and the defaults of the others."""
    call = check.where("").removesuffix("(=...)")
    unknown = [k for k in given if k not in known and k not in ignored]
    if unknown:
        raise ValueError(f"{call}({unknown[0]}=...) is no argument of {name}. It has {', '.join(known) or 'none'}.")
    missing = [k for k, default in known.items() if default is REQUIRED and k not in given]
    if missing:
        raise ValueError(f"{call}({missing[0]}=...) must be given for {name}.")
    return {k: given.get(k, default) for k, default in known.items()}


def _unquoted(value: Any) -> Any:
    if isinstance(value, str):
        with contextlib.suppress(ValueError):  # the check of what it must be says what is wrong
            return float(value)
    return value


def flag(argument: str, value: Any) -> bool:
    """True or False, and no string that says so."""
    check.flag(**{argument: value})
    return bool(value)


def several(argument: str, value: Any) -> list[Any]:
    """A list, of whatever."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise TypeError(f"{check.where(argument)} must be a list, got {value!r}.")
    return list(value)


def keyed(argument: str, value: Any) -> dict[str, Any]:
    """Arguments by name, also as JSON; None has none."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = json.loads(value)
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f"{check.where(argument)} must be a dict of arguments by name, got {value!r}.")
    return dict(value or {})


def traceable(argument: str, function: Any, way_out: str) -> None:
    """A function of a whole number that JAX can trace, as the updates of an optimizer do."""
    try:
        check.in_user_code(jax.eval_shape, function, jax.ShapeDtypeStruct((), jnp.int32))
    except Exception as error:
        raise check.fail(argument, "must be a function that JAX can trace", function, way_out) from error


def whole(argument: str, value: Any, least: int = 0) -> int:
    """A number of steps: a whole number, or a float that is one."""
    value = _unquoted(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    check.count(**{argument: value})
    if int(value) < least:
        raise check.fail(argument, f"must be at least {least}", value)
    return int(value)


def number(argument: str, value: Any) -> float:
    """A finite number. A string that is one, as YAML makes of 1e-4, counts too."""
    value = _unquoted(value)
    check.finite(**{argument: value})
    return float(value)


def rate(argument: str, value: Any) -> float:
    """A learning rate: finite, not negative."""
    value = number(argument, value)
    check.non_negative(**{argument: value})
    return value


def named(kind: str, name: Any, known: Mapping[str, Any], argument: str = "name") -> Any:
    """What `known` has under a name, or the error that lists the names."""
    if not isinstance(name, str) or name not in known:
        raise check.fail(argument, f"must be a {kind}", name, f"There are: {', '.join(known)}.")
    return known[name]
