"""Where the rules' states lie inside a larger state, and how their numbers are named."""

from typing import Any, NamedTuple

import jax

from ._pytree import key_name
from ._rule import ScheduledState, State, is_rule_state

TOLD_AS_RATE = ("schedule", "controller")
"""The keys for the numbers of a rate that changes, in the raw state, beside the `learning_rate` last applied."""


class Slot(NamedTuple):
    """A hyperparameter, or a group of them such as the numbers of a schedule."""

    place: tuple[str, ...]
    """Its path in the raw state."""
    name: str
    """The dotted path by which it is told."""
    value: Any

    @property
    def is_group(self) -> bool:
        """Whether it holds several numbers, under names of their own."""
        return hasattr(self.value, "keys")


class Found(NamedTuple):
    """The state of one rule inside a larger state."""

    place: tuple[str, ...]
    """Its path in the raw state."""
    name: tuple[str, ...]
    """Its path as it is told: what a wrapping rule remembers stands under the wrapper's own name, a rule that it wraps
    without a chain as `inner`."""
    state: State | ScheduledState


def rules(tree: Any, place: tuple[str, ...] = (), name: tuple[str, ...] = ()) -> list[Found]:
    """Each rule's state in `tree`, those that a rule wraps after it."""
    found = []
    for path, x in jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_rule_state)[0]:
        if is_rule_state(x):
            here = tuple(map(key_name, path))
            # a rule that is not a link of a chain has no name of its own, and a wrapper may hold another of its kind
            told = (*name, *(here or ("inner",) * bool(place)))
            found.append(Found((*place, *here), told, x))
            if "inner" in getattr(x.memory, "_fields", ()):
                found += rules(x.memory.inner, (*place, *here, "memory", "inner"), told)
    return found


def in_charge(found: list[Found]) -> list[Found]:
    """Without the rules inside a rule that has a rate, which has theirs in it, and counts for them."""
    outer = [
        f.place for f in found if "inner" in getattr(f.state.memory, "_fields", ()) and rate_of(f.state) is not None
    ]
    return [f for f in found if not any(f.place != o and f.place[: len(o)] == o for o in outer)]


def rate_of(state: Any) -> Any:
    """The learning rate that one rule applied last, or None if it is not a rule that applies one."""
    rate = getattr(state.memory, "learning_rate", None)
    return state.hyperparams.get("learning_rate") if rate is None else rate


def dotted(path: tuple[str, ...]) -> str:
    """The path as it is told."""
    return ".".join(path)
