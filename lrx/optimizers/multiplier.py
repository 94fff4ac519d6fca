"""A multiplier of the learning rate for each parameter, by its name or from a tree."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import scaled
from .._numbers import F32
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, transformation
from ._labels import as_static_tree, spread


@pytree_dataclass
class ByMultiplier(Rule):
    """See `by_multiplier`."""

    multipliers: Any = static()

    stacks = "whole"

    def init(self, params: Any) -> tuple[()]:
        """Nothing to remember."""
        del params
        return ()

    def update(self, updates: Any, state: tuple[()], params: Any = None, **extra: Any) -> tuple[Any, tuple[()]]:
        """Each leaf times its multiplier."""
        del params, extra
        leaves, treedef = jax.tree.flatten(updates)
        factors = spread("by_multiplier(multipliers=...)", self.multipliers, updates, float)
        pairs = zip(factors, leaves, strict=True)
        return treedef.unflatten([u if f == 1 else scaled(jnp.asarray(f, F32), u) for f, u in pairs]), state


@check.public
def by_multiplier(multipliers: Any) -> Transformation:
    """Multiply the learning rate of each parameter, as the last link of a chain: torch's `lr` of parameter groups.

    With f the multiplier of a leaf::

      u ← f · u

    Last in a chain it multiplies the rate of a leaf, also for decoupled weight decay. `lrx.learning_rate` reads the
    base rate: that of a leaf is f times it.

    Args:
      multipliers: a tree of numbers ≥ 0 like the parameters (or a prefix of it), or a function from updates to one,
        such as `by_path({r"bias$": 2.0, "": 1.0})`. With 0 a parameter does not move, but its memory goes on: see
        `freeze`.

    Returns:
      A transformation without memory.

    Raises:
      TypeError: if the multipliers are not numbers.
      ValueError: if one is negative or not finite; in update, if they are no tree like the parameters.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> params = {"w": jnp.ones(1), "bias": jnp.ones(1)}
      >>> tx = lrx.chain(lrx.sgd(0.5), lrx.by_multiplier(lrx.by_path({r"bias$": 2.0, "": 1.0})))
      >>> updates, state = tx.update(params, tx.init(params))
      >>> print(updates["w"], updates["bias"], lrx.learning_rate(state))
      [-0.5] [-1.] 0.5
    """
    return transformation(ByMultiplier(as_static_tree("multipliers", multipliers, float)))
