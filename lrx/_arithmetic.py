"""The arithmetic that all rules share: one precision policy, leaf by leaf.

A leaf is computed in `wide(dtype)`, float32 for bfloat16, float16 and float8, and cast once at the end. Leaves that
have no derivative (integers, booleans, JAX's float0) are never trained: their update is zero.

Where the updates have None, as Equinox gives it for what is not an array, the leaf is not trained either: None is
passed through and the memory stays as it was, whatever the parameters have there (a function, a string).
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._jax_versions import as_varying, varying
from ._numbers import F32, I32, INT32_MAX, Scalar, is_tracer


def wide(*dtypes: Any) -> Any:
    """The dtype in which leaves are computed: at least float32; float64 and complex are kept."""
    if any(jnp.dtype(d).name == "float8_e8m0fnu" for d in dtypes):
        raise TypeError("float8_e8m0fnu has powers of two alone, neither 0 nor a sign, and cannot be trained: mask it.")
    known = [F32 if is_tiny(d) else d for d in dtypes]
    with jax.numpy_dtype_promotion("standard"):  # under "strict", bfloat16 and float32 have no common dtype
        return functools.reduce(jnp.promote_types, known, F32)


def is_tiny(dtype: Any) -> bool:
    """Whether a dtype is floating with eight bits or fewer, which JAX does not promote."""
    return jnp.issubdtype(dtype, jnp.floating) and jnp.dtype(dtype).itemsize < 2


def real(dtype: Any) -> Any:
    """The dtype of the size of a leaf: that of its real part, at least float32."""
    return jnp.finfo(wide(dtype)).dtype


def trainable(x: Any) -> bool:
    """Whether a leaf has a derivative. Functions, strings and whatever else a model holds have none."""
    if not hasattr(x, "dtype"):
        return isinstance(x, float | complex)
    return jnp.issubdtype(x.dtype, jnp.inexact)


def is_none(x: Any) -> bool:
    """Whether `x` is None, which JAX takes for an empty tree and not for a leaf."""
    return x is None


def arrays(tree: Any) -> list[jax.Array]:
    """The trainable leaves of a tree."""
    return [jnp.asarray(x) for x in jax.tree.leaves(tree) if trainable(x)]


def map_leaves(leaf: Callable[..., tuple[Any, ...]], outputs: int, updates: Any, *trees: Any) -> tuple[Any, ...]:
    """`leaf(u, *xs) -> (update, *memories)` on each trainable leaf, `outputs` trees back. The others are not moved.

    `u` comes in `wide(dtype)` and the update goes back to its own dtype; each memory keeps the dtype that it had.
    """
    us, treedef = jax.tree.flatten(updates, is_leaf=is_none)
    columns = [leaves_like(treedef, t) for t in trees]
    results = []
    for u, *xs in zip(us, *columns, strict=True):
        if u is None:
            results.append((None, *xs[: outputs - 1]))
            continue
        u = u if isinstance(u, jax.Array) or getattr(u, "dtype", None) == jax.dtypes.float0 else jnp.asarray(u)
        if not trainable(u):
            still = u if u.dtype == jax.dtypes.float0 else jnp.zeros_like(u)
            results.append((still, *xs[: outputs - 1]))
            continue
        new, *memories = leaf(_cast(u, wide(u.dtype)), *xs)
        if new.shape != u.shape or any(m.shape != np.shape(x) for m, x in zip(memories, xs, strict=False)):
            raise _misfit(u, xs)  # broadcasting would hide the mismatch
        kept = [_cast(m, x.dtype) for m, x in zip(memories, xs, strict=False)]
        new = _cast(new, u.dtype)
        results.append((new, *_own_buffers(u, new, *kept)[1:]))
    # jax.tree.transpose fails on an empty tree
    return tuple(treedef.unflatten(column) for column in zip(*results, strict=True)) if us else (updates,) * outputs


def map_present(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """As `jax.tree.map`; where `tree` has None it stays None, whatever the others have there."""
    return jax.tree.map(lambda x, *ys: None if x is None else function(x, *ys), tree, *others, is_leaf=is_none)


def leaves_like(treedef: Any, tree: Any) -> list[Any]:
    """The part of `tree`, a state or the parameters, that belongs to each leaf of the updates."""
    try:
        return treedef.flatten_up_to(tree)
    except ValueError as error:
        marks, with_none = jax.tree.flatten(treedef.unflatten([True] * treedef.num_leaves), is_leaf=is_none)
        if None in marks:  # where the updates have None, the others may have anything
            return [x for x, mark in zip(leaves_like(with_none, tree), marks, strict=True) if mark]
        reason = str(error).split("\n")[0]
        raise ValueError(
            "tx.update(updates, state, params) must be given updates with the structure of the parameters and of those "
            f"that made the state: {reason}"
        ) from None


def _own_buffers(first: jax.Array, *others: jax.Array) -> list[jax.Array]:
    """`others`, with copies of the arrays that occur earlier: a buffer that is in two places cannot be donated.

    A state holds none of a gradient's or of an update's, and none twice. Traced, there are no buffers.
    """
    seen, own = {id(first)}, list[jax.Array]()
    for x in others:
        own.append(jnp.array(x) if id(x) in seen and not is_tracer(x) else x)
        seen.add(id(x))
    return own


def _misfit(u: jax.Array, xs: list[Any]) -> ValueError:
    shapes = sorted({np.shape(x) for x in xs} - {u.shape})
    return ValueError(
        "tx.update(updates, state, params) must be given updates with the shapes of the parameters and of those that "
        f"made the state, got {u.shape} for {', '.join(map(str, shapes))}."
    )


def _cast(x: Any, dtype: Any) -> jax.Array:
    # `astype` costs time also where it does nothing; a weak type in a state would trace the next update again
    return x if x.dtype == dtype and not getattr(x, "weak_type", False) else x.astype(dtype)


def scaled(rate: jax.Array, updates: Any) -> Any:
    """`rate * updates`, the product in at least float32."""
    return map_leaves(lambda u: (rate.astype(real(u.dtype)) * u,), 1, updates)[0]


def squared(g: jax.Array) -> jax.Array:
    """|g|², real also for a complex g."""
    return jnp.real(g * jnp.conj(g)) if jnp.iscomplexobj(g) else g * g


@jax.custom_jvp
def sqrt(x: jax.Array) -> jax.Array:
    """√x, with derivative 0 at 0: a coordinate that has seen no gradient must not turn a hypergradient into NaN."""
    return jnp.sqrt(x)


@sqrt.defjvp
def _sqrt_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (dx,) = primals, tangents
    root = sqrt(x)
    half = jnp.asarray(0.5, root.dtype)
    return root, jnp.where(root > 0, half / jnp.where(root > 0, root, jnp.ones_like(root)), jnp.zeros_like(root)) * dx


def global_norm(updates: Any) -> jax.Array:
    """The Euclidean norm of all trainable leaves together, in float32 or wider."""
    squares = [jnp.sum(squared(x.astype(wide(x.dtype)))) for x in arrays(updates)]
    dtype = wide(*(s.dtype for s in squares))
    return sqrt(sum((s.astype(dtype) for s in squares), jnp.zeros((), dtype)))


def inner_product(a: Any, b: Any) -> jax.Array:
    """Re⟨a, b⟩ over all trainable leaves, in float32 or wider; `b` is a tree like `a`."""
    leaves, treedef = jax.tree.flatten(a)
    pairs = [(x, y) for x, y in zip(leaves, leaves_like(treedef, b), strict=True) if trainable(x) and y is not None]
    products = [_product(jnp.asarray(x), jnp.asarray(y)) for x, y in pairs]
    dtype = wide(*(p.dtype for p in products))
    return sum((p.astype(dtype) for p in products), jnp.zeros((), dtype))


def _product(x: jax.Array, y: jax.Array) -> jax.Array:
    dtype = wide(x.dtype, y.dtype)
    x, y = x.astype(dtype), y.astype(dtype)
    return jnp.sum(jnp.real(jnp.conj(x) * y) if jnp.iscomplexobj(x) else x * y)


def absolute_sum(tree: Any) -> jax.Array:
    """The sum of the sizes of all trainable leaves' entries, in float32 or wider."""
    sums = [jnp.sum(jnp.abs(x.astype(wide(x.dtype)))) for x in arrays(tree)]
    dtype = wide(*(s.dtype for s in sums))
    return sum((s.astype(dtype) for s in sums), jnp.zeros((), dtype))


def real_dtype(tree: Any) -> Any:
    """The dtype for sums over all leaves: float32, or float64 where a leaf is."""
    return wide(*(jnp.finfo(x.dtype).dtype for x in arrays(tree)))


def one_minus_power(b: Scalar, t: jax.Array) -> jax.Array:
    """1 − bᵗ for b in [0, 1), as −expm1(t·log b): the plain difference loses four digits in float32."""
    b = jnp.asarray(b, F32)
    positive = b > 0
    log_b = jnp.log(jnp.where(positive, b, jnp.full_like(b, 0.5)))
    return jnp.where(positive, -jnp.expm1(t.astype(b.dtype) * log_b), jnp.ones_like(b))


def zero_count() -> jax.Array:
    """The count of a fresh state."""
    return jnp.zeros((), I32)


def add_one(count: jax.Array) -> jax.Array:
    """`count + 1`, saturating at 2³¹ − 1."""
    return jnp.minimum(count, INT32_MAX - 1) + 1


def zeros_like(params: Any, dtype: Any = None) -> Any:
    """A first moment: zeros shaped and sharded like `params`, in `dtype` or in theirs."""

    def zeros(p: Any) -> jax.Array:
        # named also where it is the parameter's own: a weak-typed parameter would lose its sharding
        return jnp.zeros_like(p, dtype=memory_dtype(p, dtype))

    return jax.tree.map(zeros, params)


def wide_zeros_like(params: Any, dtype: Any = None) -> Any:
    """A mean that must not lose what is small: zeros like `zeros_like`, but at least float32 without a `dtype`."""

    def zeros(p: Any) -> jax.Array:
        return jnp.zeros_like(p, dtype=memory_dtype(p, dtype, widened=True))

    return jax.tree.map(zeros, params)


def memory_dtype(p: Any, dtype: Any = None, widened: bool = False) -> Any:
    """The dtype of a memory of `p`: `dtype`, or its own; at least float32 if `widened` or eight bits, complex as it."""
    own = jnp.result_type(p)
    if not jnp.issubdtype(own, jnp.inexact):
        return own
    dtype = dtype or (wide(own) if widened or is_tiny(own) else own)  # a mean in eight bits would not move
    return wide(dtype, jnp.complex64) if jnp.issubdtype(own, jnp.complexfloating) else jnp.finfo(dtype).dtype


def filled(p: Any, fill: Scalar, dtype: Any) -> jax.Array:
    """An array like `p` of one number, in a new buffer: a scalar would share that of the number."""
    x = jnp.full_like(p, jnp.asarray(fill).astype(dtype), dtype=dtype)
    return x if x.ndim else jnp.copy(x)


def full_like_second(params: Any, fill: Scalar, dtype: Any = None) -> Any:
    """A second moment: real, at least float32 unless `dtype` is given. In bfloat16, 0.999·ν rounds back to ν."""

    def full(p: Any) -> jax.Array:
        own = jnp.result_type(p)
        if not jnp.issubdtype(own, jnp.inexact):
            return jnp.zeros_like(p, dtype=own)
        kind = jnp.finfo(dtype).dtype if dtype else real(own)
        return filled(p, fill, kind)

    return jax.tree.map(full, params)


def all_finite(tree: Any) -> jax.Array:
    """Whether every trainable leaf is finite; bool []."""
    leaves = [jnp.isfinite(x).all() for x in arrays(tree)]
    return jnp.all(jnp.stack(leaves)) if leaves else jnp.asarray(True)


def varying_axes(tree: Any) -> frozenset[str]:
    """The mesh axes over which the leaves differ from device to device, inside a `shard_map` that checks them."""
    leaves = [x for x in jax.tree.leaves(tree) if is_tracer(x) or isinstance(x, jax.ShapeDtypeStruct)]
    return frozenset().union(*(varying(jax.typeof(x) if is_tracer(x) else x) for x in leaves))


def vary_like(tree: Any, like: Any) -> Any:
    """`tree` with leaves that may differ wherever those of `like` do; the same tree outside `shard_map`.

    A number that will depend on the parameters or gradients of one device must be of that type from the start, or a
    loop whose carry it is changes its type.
    """
    axes = varying_axes(like)

    def cast(x: Any) -> Any:
        missing = axes - varying_axes(x)
        return as_varying(x, tuple(sorted(missing))) if missing else x

    return jax.tree.map(cast, tree) if axes else tree


def select(wanted: jax.Array, new: Any, old: Any) -> Any:
    """`new` where `wanted`, else `old`: selected leaf by leaf, not multiplied, since 0 times nan is nan."""
    return jax.tree.map(lambda n, o: jnp.where(wanted, n, o), new, old)


def stored(tree: Any, like: Any) -> Any:
    """`tree` as a memory stores it: trainable leaves in the dtypes of `like`, the other leaves from `like`."""

    def leaf(x: Any, old: Any) -> Any:
        return jnp.asarray(x).astype(old.dtype) if trainable(x) else old

    return jax.tree.map(leaf, tree, like, is_leaf=is_none)


def widened(tree: Any) -> Any:
    """The trainable leaves in at least float32."""
    return jax.tree.map(lambda x: jnp.asarray(x).astype(wide(x.dtype)) if trainable(x) else x, tree)


def copied(tree: Any) -> Any:
    """A copy that may be donated separately from `tree`; its dtype is not weak."""
    return jax.tree.map(lambda x: jnp.array(x, jnp.result_type(x)), tree)


def wide_copied(tree: Any, dtype: Any = None) -> Any:
    """A copy in at least float32, or in `dtype`: what moves by little must not be rounded to bfloat16."""
    return jax.tree.map(lambda x: jnp.array(x, memory_dtype(x, dtype, widened=True)), tree)


def not_moved(updates: Any) -> Any:
    """The updates that change nothing: zeros like `updates`."""
    return map_leaves(lambda u: (jnp.zeros_like(u),), 1, updates)[0]
