"""A state of any kind as a list of parts, one for each rule that remembers something.

The state may be live (named tuples in tuples and dicts) or raw, as a file without a target gives it back: named tuples
are dicts of their fields, tuples are lists or dicts with the keys "0", "1", …, empty states are None or {}.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax

from ._pytree import key_name
from ._rule import COUNTS, INNER, ScheduledState, State, is_rule_state
from ._state_paths import dotted

MISSING = object()

INNER_FIELDS = (*INNER, "inner_opt_state")
"""The names of the states inside a state, lrx's and optax's."""
UPDATE_COUNTS = {**COUNTS, "gradient_step": 0}
"""The names of the number of updates completed, each with what it starts from, lrx's and optax's."""
_OWN_FIELDS = {"hyperparams", "memory", "count", "stamp"}
_SCALARS = {*UPDATE_COUNTS, "mini_step", "notfinite_count", "count_m2", "weight_sum", "estim_lr", "barf"}

Place = tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """What one rule remembers, inside a larger state."""

    place: Place
    """The path of the rule's state."""
    name: Place
    """The keys of dicts on it: the names of links, and the labels of groups."""
    labels: Place
    """The labels alone."""
    ordered: bool
    """Whether its place among the others is known: it is in no dict of names."""
    fields: dict[str, Any]
    """Its memory by field, without the states of what the rule wraps."""
    places: dict[str, Place]
    """The path of each field."""
    numbers: Any = None
    """The hyperparameters, for a rule of lrx's."""
    count: Any = MISSING
    """The count at which its hyperparameters' schedules are evaluated."""
    kind: str = ""
    """The class of its memory, if the state is live."""

    @property
    def is_ours(self) -> bool:
        """Whether it is the state of a rule of lrx's."""
        return self.numbers is not None

    @property
    def is_rate(self) -> bool:
        """Whether it is a learning rate and nothing else, or the hyperparameters that optax injects."""
        names = set(self.fields)
        if not self.is_ours:
            return names == {"count"} or "hyperparams" in names
        return names - {"skipped", "controller"} in ({"num_updates"}, {"count", "learning_rate"})

    def at(self, field: str, path: Place) -> Any:
        """What is at a path in one of the fields, or MISSING."""
        return entry(self.fields[field], path) if field in self.fields else MISSING


class Parts:
    """The parts of a state, in order."""

    def __init__(self, tree: Any, known: frozenset[frozenset[str]] = frozenset()):
        self.known = known
        self.groups: dict[Place, Place] = {}
        """The labels of each group of a partition -> its path."""
        self.parts: list[Part] = list(self._walk(tree, (), (), (), ordered=True))

    def _walk(self, x: Any, place: Place, name: Place, labels: Place, ordered: bool) -> Iterator[Part]:
        around = (place, name, labels, ordered)
        if is_rule_state(x) or _is_raw_rule_state(x):
            get = x.get if hasattr(x, "keys") else lambda k, default: getattr(x, k) if k in x._fields else default
            memory = get("memory", ())
            within = (*place, "memory")
            has_count = isinstance(x, ScheduledState) or (hasattr(x, "keys") and "count" in x)
            own = {"numbers": get("hyperparams", None) or {}, "count": get("count", None) if has_count else MISSING}
            yield from self._part(_fields_of(memory), memory, within, around, own)
        elif (fields := self._record(x)) is not None:
            yield from self._part(fields, x, place, around, {})
        elif hasattr(x, "keys"):
            keys = {str(k): k for k in x}
            as_sequence = all(k.isdecimal() for k in keys)
            for key in sorted(keys, key=int) if as_sequence else keys:
                longer = name if as_sequence else (*name, key)
                yield from self._walk(x[keys[key]], (*place, key), longer, labels, ordered and as_sequence)
        elif isinstance(x, list | tuple):
            for i, child in enumerate(x):
                yield from self._walk(child, (*place, str(i)), name, labels, ordered)
        elif x is not None:
            for path, child in jax.tree_util.tree_flatten_with_path(x, is_leaf=lambda y: y is not x)[0]:
                if path:
                    yield from self._walk(child, (*place, key_name(path[0])), name, labels, ordered)

    def _part(self, fields: dict[str, Any], memory: Any, within: Place, around: Any, own: Any) -> Iterator[Part]:
        place, name, labels, ordered = around
        held = {k: x for k, x in fields.items() if k not in INNER_FIELDS}
        kind = type(memory).__name__ if hasattr(memory, "_fields") else ""
        places = {k: (*within, k) if k else within for k in held}
        if held or own:  # a mask of optax's remembers nothing of its own
            yield Part(place, name, labels, ordered, held, places, kind=kind, **own)
        for field in (k for k in fields if k in INNER_FIELDS):
            inner, here = fields[field], (*within, field)
            if field == "inner_states" and hasattr(inner, "keys"):
                for label in inner:
                    longer = (*labels, str(label))
                    self.groups[longer] = (*here, str(label))
                    yield from self._walk(inner[label], self.groups[longer], (*name, str(label)), longer, ordered)
            else:
                yield from self._walk(inner, here, name, labels, ordered)

    def _record(self, x: Any) -> dict[str, Any] | None:
        """The fields of another library's state, or None if `x` is none."""
        if hasattr(x, "_fields"):
            return {name: getattr(x, name) for name in x._fields}
        if not hasattr(x, "keys"):
            return None
        fields = {str(k): x[k] for k in x}
        if frozenset(fields) not in self.known:
            return None
        groups = [k for k in fields if k in _SCALARS and (hasattr(fields[k], "keys") or isinstance(fields[k], list))]
        return None if groups or any(_is_raw_rule_state(v) for v in fields.values()) else fields


def known_fields(tree: Any) -> Iterator[frozenset[str]]:
    """The fields of each named tuple in a live state."""
    if hasattr(tree, "_fields") and not is_rule_state(tree):
        yield frozenset(tree._fields)
    if not jax.tree_util.all_leaves([tree]):
        for child in jax.tree.leaves(tree, is_leaf=lambda y: y is not tree):
            yield from known_fields(child)


def entry(tree: Any, names: Place) -> Any:
    """The entry of `tree` at a path, or MISSING. Containers may have become dicts or lists in a file."""
    for name in names:
        if hasattr(tree, "keys"):
            key = name if name in tree else next((k for k in tree if str(k) == name), MISSING)
            if key is MISSING:
                return MISSING
            tree = tree[key]
        elif isinstance(tree, list | tuple) and name.isdecimal():
            if int(name) >= len(tree):
                return MISSING
            tree = tree[int(name)]
        elif hasattr(tree, name) and name in getattr(tree, "_fields", (name,)):  # every tuple has a method `count`
            tree = getattr(tree, name)
        else:
            return MISSING
    return tree


def shown(place: Place) -> str:
    """A path as users name it."""
    return dotted(tuple(n for n in place if n not in (*State._fields, *INNER_FIELDS)))


def _is_raw_rule_state(x: Any) -> bool:
    """Whether `x` is the state of a rule of lrx's as a file gives it back."""
    if not hasattr(x, "keys"):
        return False
    keys = set(x)
    return keys <= _OWN_FIELDS and ("stamp" in keys or {"hyperparams", "memory"} <= keys)


def _fields_of(memory: Any) -> dict[str, Any]:
    """A memory by field; one that is a single tree is the field ""."""
    if hasattr(memory, "_fields"):
        return {name: getattr(memory, name) for name in memory._fields}
    if hasattr(memory, "keys"):
        return {str(k): memory[k] for k in memory}
    if dataclasses.is_dataclass(memory):
        return {f.name: getattr(memory, f.name) for f in dataclasses.fields(memory)}
    return {"": memory} if jax.tree.leaves(memory) else {}
