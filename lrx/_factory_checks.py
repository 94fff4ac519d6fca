"""The factories' own checks, for numbers that are edited in a state.

A state holds numbers, not code. The rules that are alive are kept here by their stamps, weakly, so that an edit can be
asked of the factory that a user would have called: `with_hyperparams(state, b1=1.5)` fails as `adam(b1=1.5)` does.
"""

import inspect
import weakref
from typing import Any

import numpy as np

from . import _check as check
from ._numbers import is_key, is_tracer
from ._pytree import arguments, factory_name, fields_of, is_node
from ._stamp import stamp_of

# by stamp and identity: of equal rules, one may die before the other
_alive: weakref.WeakValueDictionary[tuple[int, int], Any] = weakref.WeakValueDictionary()


def remember(rule: Any) -> None:
    """Keep a rule findable by its stamp for as long as it lives."""
    _alive[int(stamp_of(rule)), id(rule)] = rule


def _find(stamp: int) -> Any:
    return next((rule for (key, _), rule in list(_alive.items()) if key == stamp), None)


def verify(call: str, hyperparams: Any, stamp: Any) -> None:
    """Raise what the factory of the rule with this `stamp` raises for numbers, in the name of `call`."""
    rule = None if is_tracer(stamp) or not np.size(stamp) else _find(int(np.asarray(stamp).flat[0]))
    if rule is None:
        return
    with check.calling(call):
        for extreme in (np.min, np.max):  # of a batch of numbers
            _rebuilt(rule, hyperparams, extreme)


def _rebuilt(node: Any, numbers: Any, extreme: Any) -> Any:
    """`node` made again by its factory, with its numbers from a nested dict."""
    values = {name: _value(x, numbers.get(name), extreme) for name, x in fields_of(node).items()}
    given = arguments(node)
    names = dict(getattr(type(node), "renamed", ()))
    call = {names.get(name, name): values[name] for name in given}
    factory = check.factories.get(factory_name(node))
    if factory is not None and _takes(factory, call):
        return factory(**call)
    return type(node)(**values)


def _value(old: Any, held: Any, extreme: Any) -> Any:
    if is_node(old):
        return old if held is None else _rebuilt(old, held, extreme)  # a function has no numbers
    if isinstance(old, tuple) and hasattr(held, "keys"):
        return tuple(_value(x, held[str(i)], extreme) for i, x in enumerate(old))
    if held is None or hasattr(held, "keys") or is_tracer(held) or is_key(held):
        return old
    x = np.asarray(held)
    if x.ndim > np.ndim(old):
        x = np.asarray(extreme(x, axis=tuple(range(x.ndim - np.ndim(old)))))
    return x.item() if x.ndim == 0 else x


def _takes(factory: Any, call: dict[str, Any]) -> bool:
    try:
        inspect.signature(factory).bind(**call)
    except TypeError:
        return False
    return True
