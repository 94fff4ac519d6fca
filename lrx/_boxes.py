"""Arrays that a framework keeps in boxes: Flax nnx's `Variable`, Flax linen's `Partitioned` and its kin.

A box is a pytree node with one array in it. Readers of states and of parameters treat it as that array: it has the
name of the parameter, not `value`, and what comes back is boxed as what was given.
"""

from typing import Any

import jax


def is_boxed(x: Any) -> bool:
    """Whether `x` is a box."""
    return _is_variable(x) or hasattr(x, "replace_boxed")


def value_of(x: Any) -> Any:
    """The array in a leaf, boxed or not."""
    if hasattr(x, "get_value"):
        return x[...]
    return x.value if is_boxed(x) else x


def boxed_like(box: Any, value: Any) -> Any:
    """`value` in a box like `box`, if that is one."""
    if _is_variable(box):
        return box.replace(value)
    return box.replace_boxed(value) if is_boxed(box) else value


def _is_variable(x: Any) -> bool:
    return hasattr(x, "get_value") or hasattr(x, "raw_value")  # Flax 0.12, and before


def map_with_names(function: Any, tree: Any) -> Any:
    """`function(path, leaf)` on each leaf, a box counted as one: the path ends in the parameter's own name."""
    return jax.tree_util.tree_map_with_path(function, tree, is_leaf=is_boxed)
