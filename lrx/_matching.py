"""Which part of an old state each leaf of a new one comes from.

A leaf goes with its rule and its parameter: the Adam moment of `head.w` is looked for in every part of the old state
that is Adam's, whatever chain, mask, group or accumulation it lies in. If several have it, names of links decide, then
labels of groups, then their order; if these do not, that is an error.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import numpy as np

from ._boxes import is_boxed, value_of
from ._numbers import is_tracer
from ._optax_states import OPTAX_FIELDS, Around, Source, controller_of, reading_of
from ._pytree import key_name
from ._rule import COUNTS
from ._state_parts import MISSING, UPDATE_COUNTS, Part, Parts, Place, entry, known_fields, shown


class Leaf(NamedTuple):
    """A leaf of the new state."""

    part: Part
    field: str
    path: Place
    """Its path within the field."""
    fresh: Any

    @property
    def of_param(self) -> bool:
        """Whether it belongs to a parameter, and not to the rule as a whole."""
        return bool(self.path) or np.ndim(self.fresh) > 0


class Found(NamedTuple):
    """What an old state has for a leaf."""

    value: Any = MISSING
    fault: str = ""
    """Why it is not clear which of several values is meant."""


class Count(NamedTuple):
    """One count of updates in the old state."""

    place: Place
    """The path of its part."""
    value: Any
    of_rate: bool
    """Learning rates count all updates, where a moment may have been reset."""
    used: Place
    """The path of the count itself."""


class Matching:
    """A new state against an old one."""

    def __init__(self, fresh: Any, old_tree: Any, params: Any):
        known = OPTAX_FIELDS | frozenset(known_fields(fresh))
        self.old_tree, self.params = old_tree, params
        self.new, self.old = Parts(fresh, known), Parts(old_tree, known)
        self.used: set[Place] = set()
        """The paths of the old state that were taken."""
        self.controllers: set[Part] = set()
        """The states of optax's that became controllers."""
        self.leaves = self._leaves(fresh)
        self.clocks: dict[Place, Part] = {
            (*new.place, "count"): new for new in self.new.parts if new.count is not MISSING
        }
        """The counts at which hyperparameters' schedules are evaluated, by path."""
        self.readings = {(new, old): reading_of(new, old) for new in self.new.parts for old in self.old.parts}
        self.own = self._named_alike()
        self.counts = list(self._counts())
        self.choices: dict[Place, tuple[Part | None, str]] = {}
        self.sources: dict[Part, list[Part]] = {}
        """New part with leaves of parameters -> the old ones that they come from."""
        for leaf in self.leaves.values():
            if leaf.of_param and not leaf.part.is_rate:
                held, (old, _) = self.sources.setdefault(leaf.part, []), self._chosen(leaf)
                if old is not None and old not in held:
                    held.append(old)

    # ------------------------------------------------------------ leaves of parameters

    def of_param(self, leaf: Leaf) -> Found:
        """What the old state has for a leaf that belongs to a parameter."""
        old, fault = self._chosen(leaf)
        return Found(fault=fault) if old is None else Found(self._value(leaf, old))

    def _chosen(self, leaf: Leaf) -> tuple[Part | None, str]:
        """The part that a leaf comes from, or why there is none."""
        place = self.place_of(leaf)
        if place not in self.choices:
            self.choices[place] = self._choice(leaf)
        return self.choices[place]

    def _choice(self, leaf: Leaf) -> tuple[Part | None, str]:
        holders = [old for old in self.old.parts if self._has(leaf.part, old, leaf)]
        own = self.own.get(leaf.part)
        if own in holders:
            return own, ""
        rivals = [new for new in self.new.parts if self._is_rival(new, leaf, holders)]
        claimed = {self.own[new] for new in rivals if self.own.get(new) in holders}
        rivals = [new for new in rivals if self.own.get(new) not in claimed]
        holders = [old for old in holders if old not in claimed]
        if not holders:
            return None, ""
        near = [old for old in holders if old.labels == leaf.part.labels]
        if len(near) == 1 and [new for new in rivals if new.labels == leaf.part.labels] == [leaf.part]:
            return near[0], ""
        if len(rivals) == len(holders) and (len(holders) == 1 or all(old.ordered for old in holders)):
            return holders[rivals.index(leaf.part)], ""
        if not leaf.of_param and _agree([old.at(leaf.field, leaf.path) for old in holders]):
            return holders[0], ""
        listed = " or ".join(shown(old.place) or "the state itself" for old in holders)
        return None, f"{shown(self.place_of(leaf))} may come from {listed} of the checkpoint"

    def _has(self, new: Part, old: Part, leaf: Leaf) -> bool:
        source = (self.readings[new, old] or {}).get(leaf.field)
        return source is not None and all(_is_leaf(old.at(f, source.path(leaf.path))) for f in source.fields)

    def _is_rival(self, new: Part, leaf: Leaf, holders: list[Part]) -> bool:
        """Whether another part of the new state could take the same."""
        if new is leaf.part:
            return True
        if not leaf.of_param and new in self.sources:
            return False
        return _is_leaf(new.at(leaf.field, leaf.path)) and any(self._has(new, old, leaf) for old in holders)

    def of_controller(self, leaf: Leaf) -> Found:
        """What an optimizer of optax's has for the memory of a controller."""
        readings = {old: controller_of(leaf.part, old) for old in self.old.parts}
        readings = {old: reading for old, reading in readings.items() if reading and leaf.path[0] in reading}
        if len(readings) != 1:
            return Found()
        ((old, reading),) = readings.items()
        source, path = reading[leaf.path[0]], leaf.path[1:]
        self.controllers.add(old)
        self.used |= {(*old.places[f], *path) for f in source.fields}
        values = [old.at(f, path) for f in source.fields]
        return Found() if any(x is MISSING for x in values) else Found(self._made(source, leaf.part, old, path, values))

    def _made(self, source: Source, new: Part, old: Part, path: Place, values: list[Any]) -> Any:
        if source.make is None:
            return values[0]
        return source.make(Around(new, old, value_of(entry(self.params, path))), *values)

    def _value(self, leaf: Leaf, old: Part) -> Any:
        source: Source = (self.readings[leaf.part, old] or {})[leaf.field]
        path = source.path(leaf.path)
        self.used |= {(*old.places[f], *path) for f in source.fields}
        return self._made(source, leaf.part, old, leaf.path, [old.at(f, path) for f in source.fields])

    # ------------------------------------------------------------ numbers of a rule as a whole

    def of_rule(self, leaf: Leaf) -> Found:
        """What the old state has for a number of the rule as a whole, such as its count."""
        sources = self.sources.get(leaf.part)
        if sources is None:
            old, fault = self._chosen(leaf)
            if fault:
                return Found(fault=fault)
            sources = [] if old is None else [old]
        held = [old for old in sources if self._has(leaf.part, old, leaf)]
        values = [self._value(leaf, old) for old in held]
        if values and not _agree(values):
            listed = ", ".join(f"{shown((*old.place, leaf.field))}={x}" for old, x in zip(held, values, strict=True))
            return Found(fault=f"{shown(self.place_of(leaf))} is one number in tx, and the checkpoint has {listed}")
        if not values and leaf.field in COUNTS and (sources or leaf.part.is_rate):
            return self.count_for(leaf.part)
        return Found(values[0]) if values else Found()

    def clock(self, part: Part) -> Found:
        """The count at which the schedules of a part's hyperparameters are evaluated."""
        named = self.named(part)
        olds = self.sources.get(part) or ([] if named is None else [named])
        values = [old.count for old in olds if old.count is not MISSING and old.count is not None]
        return Found(values[0]) if values and _agree(values) else self.count_for(part)

    def is_as_init(self, leaf: Leaf) -> bool:
        """Whether optax's state of the same rule does without a leaf: then it is as `init` makes it."""
        olds = self.sources.get(leaf.part, self.old.parts if leaf.part not in self.sources else [])
        readings = [self.readings[leaf.part, old] for old in olds if not old.is_ours and leaf.part.is_ours]
        # the slow parameters of a lookahead are parameters, which no state of optax's has
        return leaf.field != "averaged" and any(r is not None and leaf.field not in r for r in readings)

    # ------------------------------------------------------------ counts of updates

    def count_for(self, part: Part) -> Found:
        """The number of updates completed, for a part whose count the old state lacks: that of what lies around it."""
        named = self.named(part)
        own = [count for count in self.counts if named is not None and count.place == named.place]
        found = own[:1] or [count for place in self._anchors(part) for count in self._near(place)]
        self.used |= {count.used for count in found}
        if found and not _agree([count.value for count in found]):
            listed = ", ".join(sorted({f"{shown(c.used)}={c.value}" for c in found}))
            return Found(fault=f"{shown(part.place)} needs one count of updates, and the checkpoint has {listed}")
        return Found(found[0].value) if found else Found()

    def named(self, part: Part) -> Part | None:
        """The old part of the same names, unless the parameters of its group are now in others."""
        own = self.own.get(part)
        if own is None or not own.labels:
            return own
        group, around = self.old.groups[own.labels], self._around(part)
        return None if around and all(place[: len(group)] != group for place in around) else own

    def _anchors(self, part: Part) -> list[Place]:
        """Where in the old state the counts lie that a part goes by; nowhere if its rule is wholly new."""
        named = self.named(part)
        if named is not None:
            return [named.place]
        around = self._around(part)
        if around is not None:
            return around
        group = self.old.groups.get(part.labels, ())
        if part.labels and self.old.groups:
            return [(*group, "")] if any(group and old.place[: len(group)] == group for old in self.old.parts) else []
        return [()]

    def _around(self, part: Part) -> list[Place] | None:
        """The old parts that the leaves nearest to a part come from, in its group; None if there are no leaves."""
        mine = [new for new in self.sources if new.labels[: len(part.labels)] == part.labels]
        for end in range(len(part.place), -1, -1):
            near = [new for new in mine if new.place[:end] == part.place[:end]]
            if near:
                return list(dict.fromkeys(old.place for new in near for old in self.sources[new]))
        return None

    def _near(self, place: Place) -> list[Count]:
        """The counts nearest to a path, from the chain around it outwards."""
        for end in range(max(len(place) - 1, 0), -1, -1):
            near = [count for count in self.counts if count.place[:end] == place[:end]]
            near = [count for count in near if count.of_rate] or near
            if near:
                return near
        return []

    def _counts(self) -> Iterable[Count]:
        for part in self.old.parts:
            if "plateau_count" in part.fields:  # its count is that of a window
                continue
            for name, start in UPDATE_COUNTS.items():
                x = part.fields.get(name)
                if x is not None and _is_leaf(x) and not np.ndim(x):
                    yield Count(part.place, x - start if start else x, part.is_rate, part.places[name])

    def rates_of(self, part: Part) -> list[Part]:
        """The old learning rates, of lrx's, that a new one goes on from: several where groups become one."""
        named = self.named(part)
        if named is not None:
            return [named]
        near = {count.place for place in self._anchors(part) for count in self._near(place)}
        return [old for old in self.old.parts if old.place in near and old.is_rate and old.is_ours]

    def rate_of(self, part: Part) -> Part | None:
        """The one that it goes on from, if it is one."""
        rates = self.rates_of(part)
        return rates[0] if len(rates) == 1 else None

    def applied_last(self, leaf: Leaf) -> Any:
        """The rate that the old state has applied last, or MISSING if there is none or several."""
        found = []
        sources = self.sources.get(leaf.part, [])
        searched = [old for old in sources if not old.is_ours and "learning_rate" in old.fields]  # of a line search
        for old in searched or self.rates_of(leaf.part):
            held = old.fields.get("learning_rate", (old.numbers or {}).get("learning_rate"))
            found.append(MISSING if held is None else entry(held, leaf.path))
        fits = found and all(_is_leaf(x) and np.shape(x) == np.shape(leaf.fresh) for x in found)
        return found[0] if fits and _agree(found) else MISSING

    # ------------------------------------------------------------ what there is

    def place_of(self, leaf: Leaf) -> Place:
        """The path of a leaf of the new state."""
        return (*leaf.part.places[leaf.field], *leaf.path)

    def left_over(self) -> list[Place]:
        """The paths of what no leaf of the new state has taken, besides what is made anew in any case."""
        spared: set[Place] = set()
        for old in self.old.parts:
            fields = {"learning_rate"}
            if old.is_ours:
                spared |= {(*old.place, "hyperparams"), (*old.place, "stamp")}
                spared |= {(*old.place, "count")} if old.count is not MISSING else set()
                controlled = [new for new in self.new.parts if "controller" in new.fields and self.rate_of(new) is old]
                fields |= {"skipped"} if controlled else {"skipped", "controller"} if old.is_rate else set()
            elif "hyperparams" in old.fields or old in self.controllers:
                fields |= set(old.fields)
            for new in self.new.parts:
                reading = self.readings[new, old]
                if reading is not None and not old.is_ours and old in self._givers(new):
                    direct = {f for source in reading.values() for f in source.fields if source.make is None}
                    fields |= (set(old.fields) - direct) | {"params0", "x0"}  # not kept for narrow parameters
            spared |= {place for name, place in old.places.items() if name in fields}
        held = [tuple(map(key_name, path)) for path, _ in jax.tree_util.tree_flatten_with_path(self.old_tree)[0]]
        return sorted(p for p in held if p not in self.used and not any(p[:n] in spared for n in range(len(p) + 1)))

    def _givers(self, new: Part) -> list[Part]:
        return self.sources.get(new) or [old for old in self.old.parts if self.readings[new, old] is not None]

    def _leaves(self, fresh: Any) -> dict[Place, Leaf]:
        fields = {place: (part, field) for part in self.new.parts for field, place in part.places.items()}
        found = {}
        for path, x in jax.tree_util.tree_flatten_with_path(fresh, is_leaf=is_boxed)[0]:
            place = tuple(map(key_name, path))
            for n in range(len(place), -1, -1):
                if place[:n] in fields:
                    found[place] = Leaf(*fields[place[:n]], place[n:], value_of(x))
                    break
        return found

    def _named_alike(self) -> dict[Part, Part]:
        """New part -> the old one with its names."""
        by_name: dict[Place, list[Part]] = {}
        for old in self.old.parts:
            by_name.setdefault(old.name, []).append(old)
        own = {}
        for new in self.new.parts:
            alike = [old for old in by_name.get(new.name, []) if old.is_ours == new.is_ours]
            alike = [old for old in alike if self.readings[new, old] is not None or (new.is_rate and old.is_rate)]
            if len(alike) == 1:
                own[new] = alike[0]
        return own


def _is_leaf(x: Any) -> bool:
    return x is not MISSING and x is not None and jax.tree_util.all_leaves([x])


def _agree(values: list[Any]) -> bool:
    first, *others = values
    return all(is_tracer(first) or is_tracer(x) or np.array_equal(first, x) for x in others)
