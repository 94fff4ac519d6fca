"""What grew between two trees of shapes, and which of its axes are inputs and outputs of a layer."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from .. import _check as check
from .._boxes import is_boxed
from .._pytree import key_name
from ._axes import AUTO, ENTRIES, Parameter, aligned, guessed, way_out


class Growth(NamedTuple):
    """How much larger a parameter is than the same one of the base model."""

    name: str
    """Its dotted path."""
    shape: tuple[int, ...]
    base_shape: tuple[int, ...]
    axes: str
    """A letter an axis: `i` for an input, `o` for an output of the layer, `E` for entries, others for neither."""

    def along(self, letter: str, shape: tuple[int, ...]) -> int:
        """The size of the axes of one letter together."""
        return math.prod(n for n, axis in zip(shape, self.axes, strict=True) if axis == letter)

    @property
    def fan_in(self) -> float:
        """The factor by which its inputs grew."""
        return self.along("i", self.shape) / self.along("i", self.base_shape)

    @property
    def fan_out(self) -> float:
        """The factor by which its outputs grew."""
        return self.along("o", self.shape) / self.along("o", self.base_shape)

    @property
    def is_matrix(self) -> bool:
        """Whether it maps inputs to outputs."""
        return "i" in self.axes or ENTRIES in self.axes

    @property
    def is_output(self) -> bool:
        """Whether only its inputs grew, as those of a model's last layer."""
        return self.is_matrix and self.fan_in != 1 and self.fan_out == 1


def map_growths(function: Callable[[Growth | None, Any, Any], Any], params: Any, base_params: Any, axes: Any) -> Any:
    """`function(growth, leaf, base leaf)` for each parameter, a box counted as one; no growth where there is no shape.

    The trees are compared by the names in them: their static parts (such as the number of features that an Equinox
    layer keeps) may differ.
    """
    leaves, treedef = jax.tree_util.tree_flatten_with_path(params, is_leaf=is_boxed)
    base = jax.tree_util.tree_flatten_with_path(base_params, is_leaf=is_boxed)[0]
    names, base_names = ([".".join(map(key_name, path)) for path, _ in tree] for tree in (leaves, base))
    if names != base_names:
        odd = sorted(set(names) ^ set(base_names)) or names
        raise ValueError(
            f"{check.where('base_params')} must have the same parameters as params, got a difference in {odd[0]!r}. "
            "Give two models that differ in width alone."
        )
    chosen = _spread(axes, params, names)
    found = []
    for (path, leaf), (_, base_leaf), name in zip(leaves, base, names, strict=True):
        [array], [base_array] = jax.tree.leaves(leaf), jax.tree.leaves(base_leaf)  # out of a box, a shape too
        known = hasattr(array, "shape") and hasattr(base_array, "shape")
        found.append(_parameter(name, array.shape, base_array.shape, _owner(params, path)) if known else None)
    together = {parameter.name: parameter for parameter in found if parameter is not None}
    results = []
    for parameter, (_, leaf), (_, base_leaf), spec in zip(found, leaves, base, chosen, strict=True):
        growth = None if parameter is None else _growth(parameter, spec, together)
        results.append(function(growth, leaf, base_leaf))
    return jax.tree.unflatten(treedef, results)


def _spread(axes: Any, params: Any, names: list[str]) -> list[str]:
    """The `axes` argument for each parameter."""
    if isinstance(axes, str):
        return [axes] * len(names)
    tree = axes(params) if callable(axes) else axes
    chosen = jax.tree.leaves(tree)
    if len(chosen) != len(names) or not all(isinstance(spec, str) for spec in chosen):
        raise TypeError(
            f"{check.where('axes')} must be a string, or a tree of strings like the parameters or a function that "
            f"gives one, got {axes!r}."
        )
    return chosen


def _parameter(name: str, shape: tuple[int, ...], base_shape: tuple[int, ...], owner: Any) -> Parameter:
    if len(shape) != len(base_shape):
        raise ValueError(
            f"{check.where('base_params')} must have axes like params, got {name!r} with the shapes {base_shape} and "
            f"{shape}."
        )
    if 0 in (*shape, *base_shape):
        raise ValueError(f"{check.where('params')} must have no empty arrays, got {name!r} with the shape {shape}.")
    return Parameter(name, tuple(shape), tuple(base_shape), owner)


def _growth(parameter: Parameter, spec: str, together: dict[str, Parameter]) -> Growth:
    name, shape, base_shape, _ = parameter
    letters = guessed(parameter, together) if spec == AUTO else aligned(name, spec, len(shape))
    growth = Growth(name, shape, base_shape, letters)
    if others := [axis for axis in parameter.grown if letters[axis] not in "io" + ENTRIES]:
        raise ValueError(
            f"{check.where('params')} must differ from base_params in the width of layers, got {name!r} with the "
            f"shapes {base_shape} and {shape}, where axis {others[0]} is neither an input nor an output ({letters!r}). "
            f"{way_out(name)}"
        )
    return growth


def _owner(params: Any, path: Any) -> Any:
    """The object that holds a parameter: in Equinox a layer, whose class tells what its weight is."""
    node = params
    try:
        for key in path[:-1]:
            node = (
                getattr(node, key.name)
                if hasattr(key, "name")
                else node[getattr(key, "key", getattr(key, "idx", None))]
            )
    except (AttributeError, KeyError, IndexError, TypeError):
        return None
    return node
