"""The rules of an optimizer, each at the path of its state."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from ._chain import ChainInit
from ._pytree import scheduled
from ._rule import inner_field, wrapped_by
from ._transformation import Init


def rules_in(init: Any, state: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The path and the rule of each state in `state`, which `init` made; not of those that another library wraps."""
    if isinstance(init, ChainInit):
        for name, link in init.links:
            yield from rules_in(link, state[name], (*place, name))
    elif isinstance(init, Init):
        rule = init.rule
        yield place, rule
        field = inner_field(state.memory)
        if field is None:
            return
        inner, within = getattr(state.memory, field), (*place, "memory", field)
        if isinstance(inner, dict) and hasattr(rule, "labels"):
            for label, tx in zip(map(str, rule.labels), rule.inner, strict=True):
                yield from rules_in(tx.init, inner[label], (*within, label))
        elif len(wrapped_by(rule)) == 1:
            yield from rules_in(wrapped_by(rule)[0].init, inner, within)


def applied_last(rule: Any, count: Any) -> jax.Array | None:
    """The rate that a rule with a schedule has applied last after `count` updates, or None if it has no schedule."""
    schedule = getattr(rule, "schedule", None) or scheduled(rule).get("learning_rate")
    return None if schedule is None else jnp.asarray(schedule(jnp.maximum(jnp.asarray(count) - 1, 0)))
