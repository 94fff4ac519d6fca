"""Where the states of rules are inside a larger state, and how their numbers are named."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ._boxes import is_boxed, value_of
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


class Rate(NamedTuple):
    """A learning rate, or a factor that multiplies those of its chain."""

    chain: tuple[str, ...]
    """The path in the raw state of the chain that it is in."""
    name: str
    """Its dotted path."""
    value: jax.Array
    multiplies: bool
    """Whether it multiplies the learning rate of its chain: of a line search, a plateau or a scaling."""


def rates_in(opt_state: Any) -> tuple[list[Rate], list[Rate]]:
    """Every learning rate and every factor that changes; and the constant factors of `scale`."""
    found, constants = [], []
    for place, path, state in outermost(rules(opt_state)):
        rate, fields = rate_of(state), getattr(state.memory, "_fields", ())
        if rate is not None:
            searched = "decrease_error" in getattr(getattr(state.memory, "info", None), "_fields", ())
            multiplies = searched or "step_size_fn" in state.hyperparams
            for leaf, x in jax.tree_util.tree_flatten_with_path(rate, is_leaf=is_boxed)[0]:
                name = dotted((*path, "learning_rate", *map(key_name, leaf)))
                found.append(Rate(place[:-1], name, value_of(x), multiplies))
        elif "plateau_count" in fields:
            found.append(Rate(place[:-1], dotted((*path, "scale")), value_of(state.memory.scale), multiplies=True))
        elif set(state.hyperparams) == {"step_size"} and not fields:
            step_size = jnp.asarray(value_of(state.hyperparams["step_size"]))
            constants.append(Rate(place[:-1], dotted((*path, "step_size")), step_size, multiplies=True))
    return found, constants


def multiplied(found: list[Rate], constants: list[Rate]) -> list[jax.Array]:
    """The products of the rates of each chain, if all but one of them multiply it; else all as they are."""
    chains: dict[tuple[str, ...], list[Rate]] = {}
    for rate in found:
        chains.setdefault(rate.chain, []).append(rate)
    for outer in sorted(chains, key=len):  # a line search behind a chain in a chain
        inside = [c for c in chains if c != outer and c[: len(outer)] == outer]
        if len(inside) == 1 and all(rate.multiplies for rate in chains[outer]):
            chains[inside[0]] += chains.pop(outer)
    if any(sum(not rate.multiplies for rate in rates) > 1 for rates in chains.values()):
        return [rate.value for rate in found]
    for x in constants:
        if x.chain in chains:  # one that is positive may undo the scaling of a loss
            chains[x.chain].append(x._replace(value=jnp.where(x.value < 0, -x.value, jnp.ones_like(x.value))))
    return [functools.reduce(jnp.multiply, [rate.value for rate in rates]) for rates in chains.values()]


def dotted(path: tuple[str, ...]) -> str:
    """A path in one string."""
    return ".".join(path)
