"""Where the states of rules are inside a larger state, and how their numbers are named."""

from typing import Any, NamedTuple

import jax

from ._pytree import key_name
from ._rule import ScheduledState, State, inner_fields, is_rule_state

RATE_KEYS = ("schedule", "controller")
"""The keys in the raw state for the numbers of a rate that changes, beside the `learning_rate` applied last. In dotted
paths they are called `learning_rate`."""


class Slot(NamedTuple):
    """A hyperparameter, or a group of them such as the numbers of a schedule."""

    place: tuple[str, ...]
    """Its path in the raw state."""
    name: str
    """Its dotted path."""
    value: Any

    @property
    def is_group(self) -> bool:
        """Whether it holds several numbers, each with a name."""
        return hasattr(self.value, "keys")


class Found(NamedTuple):
    """The state of one rule inside a larger state."""

    place: tuple[str, ...]
    """Its path in the raw state."""
    name: tuple[str, ...]
    """Its path in dotted names: the wrapper's name before what it wraps, and `inner` for a rule without a chain."""
    state: State | ScheduledState


def rules(tree: Any, place: tuple[str, ...] = (), name: tuple[str, ...] = ()) -> list[Found]:
    """Each rule's state in `tree`, those that a rule wraps after it."""
    found = []
    for keys, x in jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_rule_state)[0]:
        if is_rule_state(x):
            here = tuple(map(key_name, keys))
            # a rule that is not a link of a chain has no name, and a wrapper may wrap another of its kind
            path = (*name, *(here or ("inner",) * bool(place)))
            found.append(Found((*place, *here), path, x))
            fields = inner_fields(x.memory)
            for field in fields:
                inside = path if len(fields) == 1 else (*path, field)  # two may have links of the same name
                found += rules(getattr(x.memory, field), (*place, *here, "memory", field), inside)
    return found


def outermost(found: list[Found]) -> list[Found]:
    """Without the rules inside a rule that has a rate: its rate contains theirs, and its count is theirs.

    Nor those of adversarial steps, which train nothing.
    """
    found = [f for f in found if "adv_state" not in f.place]
    outer = [f.place for f in found if inner_fields(f.state.memory) and rate_of(f.state) is not None]
    return [f for f in found if not any(f.place != o and f.place[: len(o)] == o for o in outer)]


def rate_of(state: Any) -> Any:
    """The learning rate that one rule applied last, or None if it is not a rule that applies one."""
    rate = getattr(state.memory, "learning_rate", None)
    return state.hyperparams.get("learning_rate") if rate is None else rate


def dotted(path: tuple[str, ...]) -> str:
    """A path in one string."""
    return ".".join(path)
