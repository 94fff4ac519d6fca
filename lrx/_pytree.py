"""Frozen dataclass pytrees: the form of every schedule, update rule and controller.

Annotated fields hold numbers (pytree leaves) or further pytrees; `static` fields are part of the structure.
Instances compare, hash and pickle by value, print as the call that makes them, and pass through `jit`, `vmap`
and `grad` as arguments.
"""

import dataclasses
import functools
import re
import typing
from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform

import jax

from . import _check as check
from ._numbers import Count, Identity, Scalar, canonical, flag, in_state, is_number, value_key
from ._rule import Rule

T = TypeVar("T")

_classes: set[type] = set()


def static(*, default: Any = dataclasses.MISSING) -> Any:
    """A field that is structure, not data: changing it makes another program."""
    return dataclasses.field(default=default, metadata={"static": True})


def is_node(x: Any) -> bool:
    """Whether `x` is a pytree dataclass."""
    return type(x) in _classes


def is_class(x: Any) -> bool:
    """Whether `x` is the class of a pytree dataclass."""
    return isinstance(x, type) and x in _classes


def is_rule(x: Any) -> bool:
    """Whether `x` is an update rule, whose numbers may be schedules."""
    return is_node(x) and isinstance(x, Rule)


def scheduled(x: Any) -> dict[str, Any]:
    """The fields of `x` that are made for one real number and hold a schedule."""
    fields = {name: getattr(x, name) for name, kind in _kinds(type(x)).items() if kind is float}
    return {name: value for name, value in fields.items() if callable(value)}


def fields_of(x: Any) -> dict[str, Any]:
    """The fields of a pytree dataclass, data and static, by name."""
    return {f.name: getattr(x, f.name) for f in dataclasses.fields(x)}


def replaced(x: Any, values: dict[str, Any]) -> Any:
    """`x` with some fields replaced, unchecked: the values may be traced."""
    return _make(type(x), {**fields_of(x), **values})


def holds_code(x: Any) -> bool:
    """Whether a function of the user's is among the fields of `x`, at any depth."""
    if is_node(x):
        return any(map(holds_code, fields_of(x).values()))
    return any(map(holds_code, x)) if isinstance(x, tuple) else callable(x)


def factory_name(x: Any) -> str:
    """The public function that makes `x`: its class's `factory`, else the class name in snake case."""
    cls = x if isinstance(x, type) else type(x)
    return getattr(cls, "factory", None) or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()


@dataclass_transform(frozen_default=True, field_specifiers=(static, dataclasses.field))
def pytree_dataclass(cls: type[T]) -> type[T]:
    """Class decorator: a frozen dataclass that JAX sees as a pytree and Python as a value."""
    cls.__post_init__ = _post_init  # type: ignore[attr-defined]  # before `dataclass`, whose `__init__` calls it
    if "__repr__" not in cls.__dict__:
        cls.__repr__ = _repr
    cls._value, cls.__eq__, cls.__hash__, cls.__reduce__ = _value, _eq, _hash, _reduce  # type: ignore[attr-defined]
    cls = dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)
    _register(cls)
    return cls


# ---------------------------------------------------------------- methods of the classes


def _post_init(self: Any) -> None:
    for name, kind in _kinds(type(self)).items():
        x = getattr(self, name)
        if x is None and getattr(type(self), name, ...) is None:
            continue  # None is this field's default
        if kind is float and callable(x) and is_rule(self):
            continue  # a number that changes from update to update
        object.__setattr__(self, name, _checked(check.where(name, factory_name(self)), x, kind))
    for name in _flags(type(self)):
        object.__setattr__(self, name, flag(check.where(name, factory_name(self)), getattr(self, name)))


def _checked(where: str, x: Any, kind: type | None) -> Any:
    if isinstance(x, tuple | list):
        return tuple(_checked(where, v, kind) for v in x)  # lists are mutable
    if kind is None and not is_number(x) and not isinstance(x, bool | str | bytes):
        return x  # a pytree of ours, or somebody else's (Equinox, Partial), or None
    return canonical(where, x, kind)


def _value(self: Any) -> tuple[int, Any]:
    """The hash and the key by which instances compare, computed once."""
    cached = self.__dict__.get("_cached_value")
    if cached is None:
        leaves, treedef = jax.tree.flatten(self)
        key = treedef, tuple(map(value_key, leaves))
        cached = hash(key), key
        object.__setattr__(self, "_cached_value", cached)
    return cached


def _eq(self: Any, other: object) -> bool:
    return self is other or (type(self) is type(other) and self._value()[1] == other._value()[1])  # type: ignore[attr-defined]  # same class


def _hash(self: Any) -> int:
    return self._value()[0]


def _reduce(self: Any) -> Any:
    # hashes of strings differ between processes: the cached value stays behind
    return _make, (type(self), fields_of(self))


def _repr(self: Any) -> str:
    """The call that makes an equal object."""
    names = dict(getattr(type(self), "renamed", ()))  # fields that the factory's arguments call otherwise
    shown = (f"{names.get(name, name)}={x!r}" for name, x in arguments(self).items())
    return f"{factory_name(self)}({', '.join(shown)})"


def arguments(x: Any) -> dict[str, Any]:
    """The arguments of the call that makes `x`: its fields, without the optional ones that are the default."""
    shown = {}
    for f in dataclasses.fields(x):
        value = getattr(x, f.name)
        optional = f.metadata.get("static") or value is None
        if not (optional and type(value) is type(f.default) and value == f.default):
            shown[f.name] = value
    return shown


# ---------------------------------------------------------------- registration


class _Static(tuple):
    """Static fields, compared with their types (1, 1.0 and True are three programs); an unhashable one by identity."""

    def _typed(self) -> tuple[Any, ...]:
        return tuple((type(x), x) if type(x).__hash__ else Identity(x) for x in self)

    def __eq__(self, other: object) -> bool:
        return type(other) is _Static and self._typed() == other._typed()

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._typed())


@functools.cache
def _kinds(cls: type) -> dict[str, type | None]:
    """Data field -> float, int, or None where the field holds something else than one kind of number."""
    hints = typing.get_type_hints(cls)
    return {f.name: _kind(hints.get(f.name)) for f in dataclasses.fields(cls) if not f.metadata.get("static")}  # type: ignore[arg-type]  # a dataclass


@functools.cache
def _flags(cls: type) -> tuple[str, ...]:
    """The static fields that are True or False."""
    hints = typing.get_type_hints(cls)
    return tuple(f.name for f in dataclasses.fields(cls) if f.metadata.get("static") and hints.get(f.name) is bool)  # type: ignore[arg-type]  # a dataclass


def _kind(hint: Any) -> type | None:
    """Float for a `Scalar`, int for a `Count`, also for a tuple of them and for one that may be None."""
    args = tuple(a for a in typing.get_args(hint) if a is not type(None))
    if typing.get_origin(hint) is tuple and len(args) == 2 and args[1] is Ellipsis:
        hint = args[0]
    elif args:
        hint = typing.Union[args]  # noqa: UP007  # made at run time
    return float if hint in (float, Scalar) else int if hint in (int, Count) else None


def _register(cls: type) -> None:
    if cls in _classes:
        return
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]  # a dataclass
    data = tuple(f.name for f in fields if not f.metadata.get("static"))
    meta = tuple(f.name for f in fields if f.metadata.get("static"))
    keys = tuple(map(jax.tree_util.GetAttrKey, data))

    def flatten(x: Any) -> tuple[tuple[Any, ...], _Static]:
        return tuple(getattr(x, k) for k in data), _Static(getattr(x, k) for k in meta)

    def flatten_with_keys(x: Any) -> tuple[tuple[Any, ...], _Static]:
        leaves, aux = flatten(x)
        return tuple(zip(keys, leaves, strict=True)), aux

    def unflatten(aux: _Static, leaves: Any) -> Any:
        return _make(cls, {**dict(zip(data, leaves, strict=True)), **dict(zip(meta, aux, strict=True))})

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    _classes.add(cls)


def _make(cls: type, values: dict[str, Any]) -> Any:
    """An instance without `__init__`: JAX passes None, object() and tracers through unflatten."""
    _register(cls)  # cloudpickle ships a notebook's class by value, without its registration
    x = object.__new__(cls)
    for name, value in values.items():
        object.__setattr__(x, name, value)
    return x


# ---------------------------------------------------------------- numbers <-> nested dict


def key_name(key: Any) -> str:
    """One component of a pytree path as a string: a field's name, a dict's key or an index."""
    return str(getattr(key, "name", getattr(key, "key", getattr(key, "idx", key))))


def to_dict(node: Any, leaf: Callable[[Any], Any] = in_state) -> dict[str, Any]:
    """The numbers of a pytree dataclass as a nested dict with string keys, each passed through `leaf`."""
    tree: dict[str, Any] = {}
    for path, x in jax.tree_util.tree_flatten_with_path(node)[0]:
        *heads, last = map(key_name, path)
        place = tree
        for head in heads:
            place = place.setdefault(head, {})
        place[last] = leaf(x)
    return tree


def same_keys(a: Any, b: Any) -> bool:
    """Whether two nested dicts have the same keys all the way down."""
    if not isinstance(a, dict):
        return not hasattr(b, "keys")
    return hasattr(b, "keys") and set(a) == set(b) and all(same_keys(a[k], b[k]) for k in a)
