"""`tree_map_params`, under optax's name and also for memories that have nothing for some parameters."""

from collections.abc import Callable
from typing import Any

import optax.tree_utils


def tree_map_params(
    initable: Any,
    f: Callable[..., Any],
    state: Any,
    /,
    *rest: Any,
    transform_non_params: Callable[[Any], Any] | None = None,
    is_leaf: Callable[[Any], bool] | None = None,
) -> Any:
    """Map the parts of a state that are shaped like the parameters, such as to partition specs.

    It is optax's, but for parameters of which a memory has nothing: None, or an empty tuple, as in `master_weights` for
    what is float32 already. These stay as they are, where optax's function fails if there is a tree in `rest`.

    Args:
      initable: an optimizer, lrx's or optax's, or its `init`.
      f: a function of a leaf, and of the leaves of `rest` beside it.
      state: its state.
      *rest: trees like the parameters.
      transform_non_params: a function of all other leaves, which are kept if it is None.
      is_leaf: as in `jax.tree.map`, in the parts that are shaped like the parameters.

    Returns:
      A tree like the state.

    Raises:
      ValueError: if a tree in `rest` is not like the parameters.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx, params, specs = lrx.scale_by_adam(), {"w": jnp.zeros(2)}, {"w": "model"}
      >>> mapped = lrx.tree_map_params(tx, lambda _, spec: spec, tx.init(params), specs, transform_non_params=str)
      >>> print(mapped.mu, mapped.count)
      {'w': 'model'} 0
    """

    def ends(x: Any) -> bool:
        return _is_absent(x) or (is_leaf is not None and is_leaf(x))

    def function(x: Any, *others: Any) -> Any:
        return x if _is_absent(x) else f(x, *others)

    change = transform_non_params
    return optax.tree_utils.tree_map_params(initable, function, state, *rest, transform_non_params=change, is_leaf=ends)


def _is_absent(x: Any) -> bool:
    return x is None or (type(x) is tuple and not x)
