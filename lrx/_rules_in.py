"""The rules of an optimizer, each at the path of its state."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from ._chain import ChainInit
from ._pytree import scheduled
from ._rule import inner_fields, wrapped_by
from ._transformation import Init


def rules_in(init: Any, state: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The path and the rule of each state in `state`, which `init` made; not of those that another library wraps."""
    if isinstance(init, ChainInit):
        for name, link in init.links:
            yield from rules_in(link, state[name], (*place, name))
    elif isinstance(init, Init):
        rule = init.rule
        yield place, rule
        fields = inner_fields(state.memory)
        inner = getattr(state.memory, fields[0]) if fields else None
        if isinstance(inner, dict) and hasattr(rule, "labels"):
            for label, tx in zip(map(str, rule.labels), rule.inner, strict=True):
                yield from rules_in(tx.init, inner[label], (*place, "memory", fields[0], label))
        elif len(wrapped_by(rule)) == len(fields):
            for field, tx in zip(fields, wrapped_by(rule), strict=True):
                yield from rules_in(tx.init, getattr(state.memory, field), (*place, "memory", field))


def applied_last(rule: Any, count: Any) -> jax.Array | None:
    """The rate that a rule with a schedule has applied last after `count` updates, or None if it has no schedule."""
    schedule = getattr(rule, "schedule", None) or scheduled(rule).get("learning_rate")
    return None if schedule is None else jnp.asarray(schedule(jnp.maximum(jnp.asarray(count) - 1, 0)))
