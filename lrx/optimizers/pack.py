"""Many small parameters packed into one vector, so that a step costs a few operations instead of a few for each."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .. import _check as check
from .._arithmetic import is_none, leaves_like, wide
from .._chain import ChainInit
from .._pytree import factory_name, pytree_dataclass, static
from .._rule import Rule, wrapped_by
from .._transformation import Init, Transformation, as_transformation, transformation
from .masking import is_placeholder


class PackState(NamedTuple):
    """The state of packing."""

    offsets: tuple[jax.Array, ...]
    """Where each chunk of equal leaves begins in its vector; int32 [] each."""
    inner: Any
    """The state of the inner optimizer, whose parameters are the vectors and the leaves that are not packed."""


class Chunk(NamedTuple):
    """Some leaves of one size, side by side in the vector of their dtype."""

    dtype: str
    begin: int
    leaves: list[int]
    size: int


@pytree_dataclass
class Pack(Rule):
    """See `pack`.

    A slice at a fixed place is a program of its own for each leaf, which is what makes XLA compile for so long. Here
    the places of the chunks are data, and the place in a chunk is one of √n, so that equal leaves share their programs.
    """

    inner: Any = static()
    max_size: int = static(default=65_536)

    renamed = (("inner", "tx"),)
    elementwise = True

    def init(self, params: Any) -> PackState:
        """The state before the first update."""
        if is_placeholder(params):
            raise ValueError(
                "optax.tree_map_params does not fit pack(...): its memory is not shaped like the parameters."
            )
        chunks = self._chunks(params)
        offsets = tuple(jnp.asarray(np.int32(c.begin)) for c in chunks)
        return PackState(offsets, self.inner.init(_packed(chunks, params)))

    def update(self, updates: Any, state: PackState, params: Any = None, **extra: Any) -> tuple[Any, PackState]:
        """The inner update of the vectors."""
        structure = jax.tree.structure(updates)
        if params is not None:  # where the updates have None, which is not trained, so have they
            params = structure.unflatten(leaves_like(structure, params))
        chunks = self._chunks(updates if params is None else params)
        if params is not None and _shapes(params) != _shapes(updates):
            raise ValueError("pack(...) must be given updates with the structure and the shapes of the parameters.")
        if len(chunks) != len(state.offsets):
            reason = f"its state has {len(state.offsets)} chunks of equal leaves, these have {len(chunks)}"
            raise ValueError(
                f"pack(...) must be given parameters, or updates, like those that made its state: {reason}."
            )
        same = {k: v for k, v in extra.items() if k == "grad" and jax.tree.structure(v) == structure}
        extra = {**extra, **{k: _packed(chunks, v) for k, v in same.items()}}
        flat_params = None if params is None else _packed(chunks, params)
        new, inner = self.inner.update(_packed(chunks, updates), state.inner, flat_params, **extra)
        return _unpacked(chunks, state.offsets, new, updates), PackState(state.offsets, inner)

    def _chunks(self, tree: Any) -> list[Chunk]:
        """Leaves by dtype and size, in chunks of √n."""
        groups: dict[tuple[str, int], list[int]] = {}
        for i, x in enumerate(_leaves(tree)):
            if x is None:
                continue
            dtype, size = jnp.result_type(x), int(np.size(x))
            if jnp.issubdtype(dtype, jnp.inexact) and 0 < size <= self.max_size:
                groups.setdefault((dtype.name, size), []).append(i)
        chunks, ends = [], dict[str, int]()
        for (dtype, size), leaves in sorted(groups.items()):
            for some in _split(leaves, math.isqrt(len(leaves) - 1) + 1):
                begin = ends.get(dtype, 0)
                chunks.append(Chunk(dtype, begin, some, size))
                ends[dtype] = begin + size * len(some)
        return chunks


def _leaves(tree: Any) -> list[Any]:
    """The leaves, None included, so that an index does not depend on which leaves are trained."""
    return jax.tree.leaves(tree, is_leaf=is_none)


def _shapes(tree: Any) -> list[tuple[int, ...]]:
    return list(map(np.shape, jax.tree.leaves(tree)))


def _split(xs: list[int], length: int) -> Iterator[list[int]]:
    return (xs[i : i + length] for i in range(0, len(xs), length))


def _packed(chunks: list[Chunk], tree: Any) -> dict[str, Any]:
    """One vector for each dtype, and the leaves that are in none."""
    leaves = _leaves(tree)
    vectors: dict[str, list[Any]] = {}
    for c in chunks:
        vectors.setdefault(c.dtype, []).extend(jnp.ravel(leaves[i]) for i in c.leaves)
    inside = {i for c in chunks for i in c.leaves}
    single = {str(i): x for i, x in enumerate(leaves) if i not in inside}
    return {"packed": {dtype: _joined(parts) for dtype, parts in vectors.items()}, "single": single}


def _joined(parts: list[jax.Array]) -> jax.Array:
    """One vector. Gradients may have other dtypes than the parameters by which they are packed."""
    dtypes = {x.dtype for x in parts}
    return jnp.concatenate(parts if len(dtypes) == 1 else [x.astype(wide(*dtypes)) for x in parts])


def _unpacked(chunks: list[Chunk], offsets: tuple[Any, ...], new: Any, like: Any) -> Any:
    leaves, treedef = jax.tree.flatten(like, is_leaf=is_none)
    results: list[Any] = [new["single"].get(str(i)) for i in range(len(leaves))]
    for c, offset in zip(chunks, offsets, strict=True):
        chunk = jax.lax.dynamic_slice(new["packed"][c.dtype], (offset,), (len(c.leaves) * c.size,))
        for j, i in enumerate(c.leaves):
            x = jax.lax.slice(chunk, (j * c.size,), ((j + 1) * c.size,)).reshape(np.shape(leaves[i]))
            dtype = jnp.result_type(leaves[i])
            results[i] = x if x.dtype == dtype else x.astype(dtype)
    return treedef.unflatten(results)


def _links(t: optax.GradientTransformation) -> list[tuple[str, Any]]:
    """The name and the `init` of each transformation in a chain, or of `t` itself."""
    if isinstance(t.init, ChainInit):
        return [pair for name, init in t.init.links for pair in _links_of(name, init)]
    update = getattr(t.update, "update", t.update)  # of another library, which takes no extra arguments
    return [(getattr(update, "__qualname__", type(update).__name__).split(".")[0], t.init)]


def _links_of(name: str, init: Any) -> list[tuple[str, Any]]:
    return [pair for link in init.links for pair in _links_of(*link)] if isinstance(init, ChainInit) else [(name, init)]


def _not_elementwise(t: optax.GradientTransformation, trusted: bool) -> Iterator[str]:
    """The rules that do not say that they are elementwise; of another library's, none if they are trusted."""
    for name, init in _links(t):
        if not isinstance(init, Init):
            yield from () if trusted else (name,)
            continue
        if not init.rule.elementwise:
            yield factory_name(init.rule)
        for wrapped in wrapped_by(init.rule):
            yield from _not_elementwise(wrapped, trusted)


@check.public
def pack(tx: optax.GradientTransformation, *, max_size: int = 65_536, elementwise: bool = False) -> Transformation:
    """Run an optimizer on a few long vectors instead of on many small parameters.

    Leaves of one dtype are concatenated, updated as one vector and taken apart again; the moments stay packed. With a
    thousand small leaves that halves the time of a step on CPU, and the time to compile it (`python -m
    benchmarks.step` tells how much). The results are those of `tx` up to rounding, since every rule in `tx` must be
    elementwise: it treats each coordinate by itself, or all together, as `clip_by_global_norm` does. Rules that look at
    leaves (trust ratios, factored moments, masks, groups, layer-wise decay) are refused, and so is a rule that does not
    say what it is: one of your own says `elementwise = True` in its class.

    Not for parameters that are sharded in different ways, which it would gather; and a checkpoint fits only parameters
    of the same shapes.

    Args:
      tx: the optimizer.
      max_size: the most entries that a leaf may have to be packed, > 0; larger ones gain nothing and stay as they are.
      elementwise: whether you know that the transformations of optax, or of another library, in `tx` are elementwise.
        lrx cannot know it, and refuses them otherwise.

    Returns:
      A transformation.

    Raises:
      TypeError: if `tx` is no transformation.
      ValueError: if `tx` has a rule that looks at leaves or does not say that it is elementwise, or `max_size` is not
        positive; in update, if the parameters are not those of `init`, or None stands for another part of them.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> params = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
      >>> tx = lrx.pack(lrx.sgd(0.5))
      >>> updates, _ = tx.update(params, tx.init(params), params)
      >>> print(updates["w"].shape, updates["b"])
      (2, 2) [-0.5 -0.5]
    """
    check.positive_count(max_size=max_size)
    check.flag(elementwise=elementwise)
    inner = as_transformation("tx", tx)
    refused = list(_not_elementwise(inner, elementwise))
    if refused:
        raise check.fail("tx", "must be made of rules that say that they are elementwise", refused, _WAY_OUT)
    return transformation(Pack(inner, int(max_size)))


_WAY_OUT = (
    "A rule of your own that treats each coordinate by itself says elementwise = True in its class; for another "
    "library's transformation that does, give elementwise=True."
)
