"""The loss as a function of the parameters, as line searches are given it."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import optax


def loss_of(signals: dict[str, Any]) -> Callable[[Any], Any]:
    """`value_fn` of the parameters alone, its further arguments taken from the update's extra ones by their names."""
    value_fn, extra = signals["value_fn"], signals["extra"]
    try:
        accepted = inspect.signature(value_fn).parameters
    except (TypeError, ValueError):  # a callable without a signature
        return value_fn
    named = [name for name in accepted if name in extra]
    further = {name: extra[name] for name in named}
    return lambda params: value_fn(params, **further)


def refuse_masked(who: str, params: Any) -> None:
    """Refuse parameters under a mask, since the loss needs all of them."""

    def is_masked(x: Any) -> bool:
        return isinstance(x, optax.MaskedNode)

    if any(map(is_masked, jax.tree.leaves(params, is_leaf=is_masked))):
        raise ValueError(f"{who} evaluates the loss, which needs all parameters: use it outside masked and partition.")
