"""Replace what is not a number by zero."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import map_leaves, map_present, trainable, vary_like
from .._pytree import pytree_dataclass
from .._rule import Rule
from .._transformation import Transformation, transformation


class ZeroNansState(NamedTuple):
    """What `zero_nans` saw."""

    found_nan: Any
    """A tree like the parameters: whether the last update of each leaf had a NaN; bool []."""


@pytree_dataclass
class ZeroNans(Rule):
    """See `zero_nans`."""

    def init(self, params: Any) -> ZeroNansState:
        """The state before the first update."""
        # each a new buffer: two leaves in one could not be donated
        return ZeroNansState(vary_like(jax.tree.map(lambda p: jnp.zeros((), bool), params), params))

    def update(self, updates: Any, state: ZeroNansState, params: Any = None, **extra: Any) -> tuple[Any, ZeroNansState]:
        """One step, on each leaf."""
        del params, extra

        def found(g: Any, old: Any) -> Any:
            return jnp.any(jnp.isnan(g)) if trainable(g) else old

        def leaf(g: jax.Array) -> tuple[jax.Array]:
            return (jnp.where(jnp.isnan(g), jnp.zeros_like(g), g),)

        seen = map_present(found, updates, state.found_nan)
        return map_leaves(leaf, 1, updates)[0], ZeroNansState(seen)


@check.public
def zero_nans() -> Transformation:
    """Replace each NaN in the updates by 0.

    ::

      u = 0 where g is NaN, else g

    Infinities pass. The state tells, leaf by leaf, whether the last updates had a NaN. A chain with a controller, or
    with an optimizer that finds its own rate, skips a gradient with a NaN as a whole, before any link sees it.

    Returns:
      A transformation.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.zero_nans()
      >>> updates, state = tx.update(jnp.array([jnp.nan, 1.0]), tx.init(jnp.zeros(2)))
      >>> print(updates, state.found_nan)
      [0. 1.] True
    """
    return transformation(ZeroNans())
