"""Which axes of a parameter are the two sides of a matrix, for rules that look at matrices."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from .. import _check as check
from ._labels import StaticTree, is_function


class MuonDimensionNumbers(NamedTuple):
    """The axes of a parameter that make the two sides of a matrix; all other axes are a batch of matrices."""

    reduction_axis: Sequence[int] | int = 0
    """The input: the axes that a product with the layer's input sums over. In y = x·W, the rows of W."""
    output_axis: Sequence[int] | int = 1
    """The output: the columns of W. A kernel kept as (out, in), as torch does, has them the other way round."""


class GaLoreDimensionNumbers(NamedTuple):
    """The axes of a parameter that make the two sides of a matrix; all other axes are a batch of matrices."""

    reduction_axis: Sequence[int] | int = 0
    """The input: the rows."""
    output_axis: Sequence[int] | int = 1
    """The output: the columns."""


class Axes(NamedTuple):
    """The axes of one parameter, each of them in one of the three."""

    batch: tuple[int, ...]
    reduction: tuple[int, ...]
    output: tuple[int, ...]


def is_dimension_numbers(x: Any) -> bool:
    """Whether `x` names the two sides: lrx's tuples of that kind, or optax's."""
    return hasattr(x, "reduction_axis") and hasattr(x, "output_axis")


def _is_leaf(x: Any) -> bool:
    return x is None or is_dimension_numbers(x) or isinstance(x, optax.MaskedNode)


def as_dimension_numbers(argument: str, x: Any, kind: type) -> Any:
    """The argument in the form that static fields hold: None, a function of the parameters, or a `StaticTree`."""
    if x is None or isinstance(x, StaticTree) or is_function(x):
        return x
    leaves, treedef = jax.tree.flatten(x, is_leaf=_is_leaf)
    return StaticTree(treedef, tuple(_numbers(check.where(argument), leaf, kind) for leaf in leaves))


def _numbers(where: str, x: Any, kind: type) -> Any:
    """Dimension numbers that hash and compare by value; None where the parameter is no matrix."""
    if x is None or isinstance(x, optax.MaskedNode):
        return None
    if not is_dimension_numbers(x):
        what = f"a tree of {kind.__name__} and None, or a function that gives one"
        raise TypeError(f"{where} must be {kind.__name__}, {what}, got {x!r}.")
    return kind(*(_axes(where, side) for side in (x.reduction_axis, x.output_axis)))


def _axes(where: str, side: Any) -> Any:
    axes = [side] if isinstance(side, int | np.integer) else list(side)
    if not axes or not all(isinstance(a, int | np.integer) and not isinstance(a, bool) for a in axes):
        raise TypeError(f"{where} must name axes by whole numbers, got {side!r}.")
    return int(axes[0]) if isinstance(side, int | np.integer) else tuple(map(int, axes))


def axes_of_leaves(where: str, dimension_numbers: Any, tree: Any, kind: type) -> list[Axes | None]:
    """The axes of each leaf, None where it is no matrix. Without dimension numbers a leaf with two axes is one."""
    leaves = jax.tree.leaves(tree)
    if dimension_numbers is None:
        return [Axes((), (0,), (1,)) if _ndim(x) == 2 else None for x in leaves]
    values = dimension_numbers.tree() if isinstance(dimension_numbers, StaticTree) else dimension_numbers(tree)
    if is_dimension_numbers(values):  # one for all that can be matrices
        numbers = [_numbers(where, values, kind) if _ndim(x) >= 2 else None for x in leaves]
    else:
        try:
            spread = jax.tree.broadcast(values, tree, is_leaf=_is_leaf)
        except ValueError as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{where} must be a tree like the parameters, or a prefix of it: {reason}") from None
        numbers = [_numbers(where, x, kind) for x in jax.tree.leaves(spread, is_leaf=_is_leaf) if not _is_masked(x)]
    return [None if n is None else _axes_in(where, n, np.shape(x)) for n, x in zip(numbers, leaves, strict=True)]


def _is_masked(x: Any) -> bool:
    return isinstance(x, optax.MaskedNode)


def _ndim(x: Any) -> int:
    return getattr(x, "ndim", 0)


def _axes_in(where: str, numbers: Any, shape: tuple[int, ...]) -> Axes:
    sides = []
    for side in numbers:
        given = (side,) if isinstance(side, int) else tuple(side)
        if not all(-len(shape) <= a < len(shape) for a in given):
            raise ValueError(f"{where} must name axes of the parameter, got {numbers} for the shape {shape}.")
        sides.append(tuple(a % len(shape) for a in given))
    used = [a for side in sides for a in side]
    if len(set(used)) < len(used):
        raise ValueError(f"{where} must name each axis once, got {numbers} for the shape {shape}.")
    return Axes(tuple(a for a in range(len(shape)) if a not in used), *sides)


def sizes(shape: tuple[int, ...], axes: Axes) -> tuple[int, int]:
    """The sizes of the two sides, the input first."""
    return math.prod(shape[a] for a in axes.reduction), math.prod(shape[a] for a in axes.output)


def as_matrices(x: jax.Array, axes: Axes) -> jax.Array:
    """`x` with the two sides as its last two axes, the others before them."""
    order = (*axes.batch, *axes.reduction, *axes.output)
    batch = tuple(x.shape[a] for a in axes.batch)
    x = x if order == tuple(range(x.ndim)) else jnp.transpose(x, order)
    return x.reshape(*batch, *sizes_of(x.shape, axes))


def sizes_of(ordered: tuple[int, ...], axes: Axes) -> tuple[int, int]:
    """The sizes of the two sides of a shape whose axes are in order."""
    first, second = len(axes.batch), len(axes.batch) + len(axes.reduction)
    return math.prod(ordered[first:second]), math.prod(ordered[second:])


def from_matrices(x: jax.Array, axes: Axes, shape: tuple[int, ...]) -> jax.Array:
    """The array of this shape of which `x` has the matrices."""
    order = (*axes.batch, *axes.reduction, *axes.output)
    x = x.reshape([shape[a] for a in order])
    return (
        x if order == tuple(range(len(shape))) else jnp.transpose(x, sorted(range(len(order)), key=order.__getitem__))
    )


def gathered(x: jax.Array, axes: Axes) -> jax.Array:
    """`x` with whole matrices on each device, where a mesh with explicit axes has spread them.

    There JAX refuses a product that sums over a spread axis. With automatic axes its partitioner decides.
    """
    spec = _explicit(x)
    if spec is None or not any(spec[a] for a in (*axes.reduction, *axes.output)):
        return x
    kept = PartitionSpec(*(part if a in axes.batch else None for a, part in enumerate(spec)))
    return jax.sharding.reshard(x, NamedSharding(jax.typeof(x).sharding.mesh, kept))


def spread_like(x: jax.Array, like: jax.Array) -> jax.Array:
    """`x`, placed on a mesh with explicit axes as `like` is."""
    spec = _explicit(like)
    if spec is None or spec == _explicit(x):
        return x
    return jax.sharding.reshard(x, NamedSharding(jax.typeof(like).sharding.mesh, PartitionSpec(*spec)))


def _explicit(x: jax.Array) -> tuple[Any, ...] | None:
    """How each axis is spread over a mesh's explicit axes, or None without such a mesh."""
    sharding: Any = getattr(jax.typeof(x), "sharding", None)
    mesh = getattr(sharding, "mesh", None)
    if mesh is None or AxisType.Explicit not in tuple(getattr(mesh, "axis_types", None) or ()):
        return None
    explicit = {name for name, kind in zip(mesh.axis_names, mesh.axis_types, strict=True) if kind == AxisType.Explicit}

    def named(part: Any) -> Any:
        names = part if isinstance(part, tuple) else (part,)
        kept = tuple(n for n in names if n in explicit)
        return kept[0] if len(kept) == 1 else kept or None

    parts = tuple(map(named, sharding.spec))
    return (*parts, *(None,) * (x.ndim - len(parts)))
