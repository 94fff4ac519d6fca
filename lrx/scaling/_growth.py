"""What grew between two trees of shapes, and which of its axes are inputs and outputs of a layer."""

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from .. import _check as check
from .._boxes import is_boxed
from .._pytree import key_name

AUTO = "auto"

VECTORS = re.compile(r"^(bias|b\d*|scale|offset|beta|gamma)$")
"""Names of parameters that are added or multiplied by feature: all of their axes are outputs."""
IN_OUT = re.compile(r"^(kernel|[wW]\d*|embedding|embeddings)$")
"""Names of parameters whose last two axes are (input, output): Flax, Haiku, and `x @ w` in bare JAX."""
OUT_IN = "weight"
"""The name of parameters whose first two axes are (output, input): Equinox and torch."""


class Growth(NamedTuple):
    """How much larger a parameter is than the same one of the base model."""

    name: str
    """Its dotted path."""
    shape: tuple[int, ...]
    base_shape: tuple[int, ...]
    axes: str
    """A letter an axis: `i` for an input, `o` for an output of the layer, others for neither."""

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
        return "i" in self.axes

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
    results = []
    for (path, leaf), (_, base_leaf), name, spec in zip(leaves, base, names, chosen, strict=True):
        [array], [base_array] = jax.tree.leaves(leaf), jax.tree.leaves(base_leaf)  # out of a box, a shape too
        growth = None
        if hasattr(array, "shape") and hasattr(base_array, "shape"):
            growth = _growth(name, array.shape, base_array.shape, spec, path, params)
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


def _growth(
    name: str, shape: tuple[int, ...], base_shape: tuple[int, ...], spec: str, path: Any, params: Any
) -> Growth:
    if len(shape) != len(base_shape):
        raise ValueError(
            f"{check.where('base_params')} must have axes like params, got {name!r} with the shapes {base_shape} and "
            f"{shape}."
        )
    if 0 in (*shape, *base_shape):
        raise ValueError(f"{check.where('params')} must have no empty arrays, got {name!r} with the shape {shape}.")
    grown = [axis for axis, (n, n0) in enumerate(zip(shape, base_shape, strict=True)) if n != n0]
    if spec == AUTO:
        letters = _guess(name, shape, base_shape, grown, _owner(params, path), path)
    else:
        letters = _aligned(name, spec, len(shape))
    growth = Growth(name, tuple(shape), tuple(base_shape), letters)
    if others := [axis for axis in grown if letters[axis] not in "io"]:
        raise ValueError(
            f"{check.where('params')} must differ from base_params in the width of layers, got {name!r} with the "
            f"shapes {base_shape} and {shape}, where axis {others[0]} is neither an input nor an output ({letters!r}). "
            f"{_way_out(name)}"
        )
    return growth


def _aligned(name: str, spec: str, ndim: int) -> str:
    """The letters of each axis: those of the specification are the last ones. Vectors are outputs."""
    if not re.fullmatch(r"[a-z\-]+", spec) or "o" not in spec:
        raise check.fail(
            "axes", "must be 'auto' or have a letter for each axis, `i` for inputs and `o` for outputs", spec
        )
    if ndim < 2:
        return "o" * ndim
    if len(spec) > ndim:
        raise check.fail("axes", f"must have at most {ndim} letters for {name!r}", spec)
    return "-" * (ndim - len(spec)) + spec


def _guess(
    name: str, shape: tuple[int, ...], base_shape: tuple[int, ...], grown: list[int], owner: Any, path: Any
) -> str:
    """The letters from the parameter's name, from what holds it, and from which axes grew."""
    *places, last = [key_name(key) for key in path] or [""]
    ndim = len(shape)
    if ndim < 2 or VECTORS.match(last):
        return "o" * ndim
    out_in = last == OUT_IN and type(owner).__name__ != "Embedding"
    factors = {shape[axis] / base_shape[axis] for axis in grown}
    known = out_in or last == OUT_IN or IN_OUT.match(last)
    if len(grown) == 2 and (known or len(factors) == 1):  # from inputs to outputs, whatever lies between
        first, second = grown if not out_in else reversed(grown)
        return "".join("i" if axis == first else "o" if axis == second else "-" for axis in range(ndim))
    if ndim > 2 and IN_OUT.match(last) and {"query", "key", "value"} & set(places[-1:]):
        return "-" * (ndim - 3) + "ioo"  # the heads of Flax's attention: features to (heads, size)
    if ndim > 2 and IN_OUT.match(last) and places[-1:] == ["out"]:
        return "-" * (ndim - 3) + "iio"
    if out_in:
        spatial = getattr(owner, "num_spatial_dims", 0 if hasattr(owner, "in_features") else ndim - 2)
        return _aligned(name, "oi" + "-" * spatial, ndim)
    if known:
        return _aligned(name, "io", ndim)
    if not grown:
        return "-" * ndim
    raise ValueError(
        f"{check.where('axes')} must say which axes of {name!r} are inputs and outputs, got 'auto' for the shapes "
        f"{base_shape} and {shape}, and a name that does not say it. {_way_out(name)}"
    )


def _way_out(name: str) -> str:
    """How a user says it."""
    return f"Say it in axes=lrx.by_path({{{re.escape(name)!r}: 'io', '': 'auto'}}), a letter for each of the last axes."


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
