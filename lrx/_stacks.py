"""Stacks of layers: leaves of which a rule is to treat each layer as a leaf of its own.

`per_layer` says, for all that runs inside it, which leaves are stacks. A rule then runs in one of three ways, which it
declares as `Rule.stacks`:

- "whole": on the stacks, as ever. For rules that do not look at the leaves, and for those that wrap others.
- "mapped": under `vmap` over the layers, where what is not of a leaf is in common. For rules that treat each leaf by
  itself.
- "unrolled": with a leaf for each layer. It is right for every rule, and makes the program as long as the stack.

While a rule is mapped or unrolled, its trees have `Layers` in place of a stack. Outside there are arrays alone: the
memory of a stack is a stack.
"""

import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from ._arithmetic import leaves_like, trainable
from ._numbers import is_tracer


class Stacks(NamedTuple):
    """Which leaves are stacks, and along which axis."""

    chosen: Callable[[Any], list[bool]]
    """Whether each leaf of a tree is a stack."""
    axis: int


class Spec(NamedTuple):
    """One stack of layers."""

    axis: int
    size: int
    """The number of layers."""
    shape: tuple[int, ...]
    """That of one layer."""
    over: Any
    """The mesh axes over which the layers are spread, where JAX's types say it."""
    layout: Any
    """The sharding of the stack, if it is known and the types do not say it."""


class LayerKey(NamedTuple):
    """The place of one layer in a path."""

    idx: int


class Layers:
    """The layers of a stack, each a leaf of its own; while a rule is mapped, the one that it sees."""

    def __init__(self, layers: tuple[Any, ...], spec: Spec):
        self.layers, self.spec = layers, spec


jax.tree_util.register_pytree_with_keys(
    Layers,
    lambda x: (tuple((LayerKey(i), layer) for i, layer in enumerate(x.layers)), x.spec),
    lambda spec, layers: Layers(tuple(layers), spec),
    lambda x: (x.layers, x.spec),
)

_active: ContextVar[Stacks | None] = ContextVar("lrx_stacks", default=None)


def within(stacks: Stacks | None, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`function(...)`, with these stacks."""
    token = _active.set(stacks)
    try:
        return function(*args, **kwargs)
    finally:
        _active.reset(token)


def one_layer(tree: Any) -> Any:
    """`tree` with one layer in place of each stack: what masks and labels are decided by."""
    tree = jax.tree.map(lambda x: x.layers[0] if _is_layers(x) else x, tree, is_leaf=_is_layers)
    specs = _specs(tree)
    leaves, treedef = jax.tree.flatten(tree)
    return treedef.unflatten([_layer(x, 0, s.axis) if s else x for x, s in zip(leaves, specs, strict=True)])


def of_stack(path: Any) -> Any:
    """The path of a leaf, or of the stack if the leaf is a layer."""
    return tuple(key for key in path if not isinstance(key, LayerKey))


def _is_layers(x: Any) -> bool:
    return isinstance(x, Layers)


def _specs(tree: Any) -> list[Spec | None]:
    """The stack that each leaf is, or None."""
    stacks, leaves = _active.get(), jax.tree.leaves(tree)
    if stacks is None:
        return [None] * len(leaves)
    chosen = within(None, stacks.chosen, tree)
    return [_spec(x, stacks.axis) if c and trainable(x) else None for x, c in zip(leaves, chosen, strict=True)]


def _spec(x: Any, axis: int) -> Spec | None:
    shape = jnp.shape(x)
    if axis >= len(shape):
        raise ValueError(f"per_layer(where=...) must choose leaves that have an axis {axis}, got the shape {shape}.")
    rest = (*shape[:axis], *shape[axis + 1 :])
    return Spec(axis, shape[axis], rest, _spread_over(x, axis), _layout(x)) if shape[axis] else None


def _spread_over(x: Any, axis: int) -> Any:
    sharding = getattr(jax.typeof(x), "sharding", None)
    return None if sharding is None or sharding.mesh.empty else sharding.spec[axis]


def _layout(x: Any) -> NamedSharding | None:
    sharding = None if is_tracer(x) else getattr(x, "sharding", None)
    if not isinstance(sharding, NamedSharding) or AxisType.Explicit in sharding.mesh.axis_types:
        return None
    return sharding


def _respread(x: jax.Array, axis: int, over: Any) -> jax.Array:
    """`x` with this axis spread over other mesh axes, on a mesh whose types say how arrays are spread."""
    if _spread_over(x, axis) == over:
        return x
    sharding = jax.typeof(x).sharding
    spec = [*sharding.spec]
    spec[axis] = over
    return jax.sharding.reshard(x, sharding.update(spec=tuple(spec)))


def _way(rule: Any) -> str:
    return "whole" if _active.get() is None or rule.elementwise else rule.stacks


# ---------------------------------------------------------------- a rule on stacks


def init_of(rule: Any, params: Any) -> Any:
    """`rule.init(params)`, where some of the parameters may be stacks."""
    way = _way(rule)
    if way == "whole" or not any(specs := _specs(params)):
        return rule.init(params)
    like = within(None, _memory_like, rule, params, specs)
    if way == "unrolled":
        return _laid_out(_restacked(within(None, rule.init, _unrolled(params, params, specs))), like)
    tree = _Tree(params, params, specs)
    return _laid_out(within(None, _mapped, lambda it: rule.init(tree.seen(it)), [tree], like), like)


def update_of(rule: Any, updates: Any, memory: Any, params: Any, extra: dict[str, Any]) -> tuple[Any, Any]:
    """`rule.update(updates, memory, params, **extra)`, where some of the updates may be of stacks."""
    way = _way(rule)
    if way == "whole" or not any(specs := _specs(updates)):
        return rule.update(updates, memory, params, **extra)
    has_grad = jax.tree.structure(extra.get("grad")) == jax.tree.structure(updates)
    run = _update_unrolled if way == "unrolled" else _update_mapped
    return within(None, run, rule, updates, memory, params, extra, specs, has_grad)


def _update_unrolled(
    rule: Any, updates: Any, memory: Any, params: Any, extra: Any, specs: Any, has_grad: bool
) -> tuple[Any, Any]:
    each = functools.partial(_unrolled, like=updates, specs=specs)
    nodes, structure = jax.tree.flatten(_memory_like(rule, updates, specs), is_leaf=_is_layers)
    held = [_split(x, n) if _is_layers(n) else x for x, n in zip(structure.flatten_up_to(memory), nodes, strict=True)]
    extra = {**extra, "grad": each(extra["grad"])} if has_grad else dict(extra)
    if extra.get("value_fn") is not None:
        extra["value_fn"] = _of_stacks(extra["value_fn"])
    params = None if params is None else each(params)
    return _restacked(rule.update(each(updates), structure.unflatten(held), params, **extra))


def _update_mapped(
    rule: Any, updates: Any, memory: Any, params: Any, extra: Any, specs: Any, has_grad: bool
) -> tuple[Any, Any]:
    us, own = _Tree(updates, updates, specs), _Memory(memory, _memory_like(rule, updates, specs))
    ps = None if params is None else _Tree(params, updates, specs)
    gs = _Tree(extra["grad"], updates, specs) if has_grad else None

    def call(it: Iterator[Any]) -> tuple[Any, Any]:
        seen = [None if t is None else t.seen(it) for t in (us, own, ps, gs)]
        given = {**extra, "grad": seen[3]} if has_grad else extra
        return rule.update(*seen[:3], **given)

    return _mapped(call, [t for t in (us, own, ps, gs) if t is not None], (_one_each(updates, specs), own.like))


def _of_stacks(value_fn: Any) -> Any:
    """A function of parameters, for parameters that are unrolled."""

    @functools.wraps(value_fn)  # its arguments are looked at
    def of_layers(params: Any, *args: Any, **kwargs: Any) -> Any:
        return value_fn(_restacked(params), *args, **kwargs)

    return of_layers


# ---------------------------------------------------------------- stacks and layers


def _memory_like(rule: Any, tree: Any, specs: list[Spec | None]) -> Any:
    """The memory of a rule with the shapes of one layer, in `Layers` of one, wherever it belongs to a stack."""
    shown = _Tree(tree, tree, specs)
    layers = [jax.ShapeDtypeStruct(s.shape, x.dtype) for x, s in zip(shown.leaves, specs, strict=True) if s]
    return jax.eval_shape(lambda *xs: rule.init(shown.seen(iter(xs))), *layers)


def _one_each(tree: Any, specs: list[Spec | None]) -> Any:
    leaves, treedef = jax.tree.flatten(tree)
    return treedef.unflatten(
        [Layers((jax.ShapeDtypeStruct(s.shape, x.dtype),), s) if s else x for x, s in zip(leaves, specs, strict=True)]
    )


def _axis(layer: Any, spec: Spec) -> int:
    """Along which axis the layers of one array lie: that of the parameters, if it is shaped as they are."""
    return spec.axis if jnp.shape(layer) == spec.shape else 0


def _layer(x: Any, i: int, axis: int) -> jax.Array:
    return jax.lax.index_in_dim(_respread(jnp.asarray(x), axis, None), i, axis, keepdims=False)


def _split(x: Any, node: Layers) -> Layers:
    """A part of a stacked memory as the memory of each layer."""
    (like,), spec = node.layers, node.spec
    axes = jax.tree.map(lambda layer: _axis(layer, spec), like)
    return Layers(tuple(jax.tree.map(lambda a, axis, i=i: _layer(a, i, axis), x, axes) for i in range(spec.size)), spec)


def _unrolled(tree: Any, like: Any, specs: list[Spec | None]) -> Any:
    """A tree like the updates, with the layers of each stack as leaves."""
    treedef = jax.tree.structure(like)
    leaves = zip(leaves_like(treedef, tree), specs, strict=True)
    return treedef.unflatten(
        [Layers(tuple(_layer(x, i, s.axis) for i in range(s.size)), s) if s else x for x, s in leaves]
    )


def _restacked(tree: Any) -> Any:
    """The inverse of `_unrolled`, also of a memory."""

    def stack(x: Any) -> Any:
        if not _is_layers(x):
            return x

        def stacked(*layers: Any) -> jax.Array:
            axis = _axis(layers[0], x.spec)
            return _respread(jnp.stack(layers, axis), axis, x.spec.over)

        return jax.tree.map(stacked, *x.layers)

    return jax.tree.map(stack, tree, is_leaf=_is_layers)


def _laid_out(memory: Any, like: Any) -> Any:
    """A new memory, laid out on a mesh as the parameters that it belongs to: what is made under `vmap` is not."""
    nodes, structure = jax.tree.flatten(like, is_leaf=_is_layers)

    def place(x: Any, layer: Any, spec: Spec) -> Any:
        if spec.layout is None or is_tracer(x):
            return x
        if layer.shape == spec.shape:
            return jax.device_put(x, spec.layout)
        entries = [*spec.layout.spec, *[None] * (len(spec.shape) + 1 - len(spec.layout.spec))]
        places = [entries.pop(spec.axis)]
        left = [*zip(spec.shape, entries, strict=True)]
        for n in layer.shape:  # an axis of the parameters that has this length
            i = next((i for i, (m, _) in enumerate(left) if m == n), None)
            if i is None:  # it is shaped otherwise: one for all devices
                places = []
                break
            places.append(left[i][1])
            left = left[i + 1 :]
        return jax.device_put(x, NamedSharding(spec.layout.mesh, PartitionSpec(*places)))

    parts = zip(structure.flatten_up_to(memory), nodes, strict=True)
    return structure.unflatten(
        [jax.tree.map(lambda x, y, n=n: place(x, y, n.spec), x, n.layers[0]) if _is_layers(n) else x for x, n in parts]
    )


# ---------------------------------------------------------------- under vmap


class _Tree:
    """A tree like the updates, for `_mapped`."""

    def __init__(self, tree: Any, like: Any, specs: list[Spec | None]):
        self.treedef, self.specs = jax.tree.structure(like), specs
        self.leaves = leaves_like(self.treedef, tree)

    def arrays(self) -> list[tuple[Any, int, Any]]:
        """Each stack with the axis and the kind of its layers."""
        return [(x, s.axis, _kind(s)) for x, s in zip(self.leaves, self.specs, strict=True) if s]

    def seen(self, layers: Iterator[Any]) -> Any:
        """The tree with the next of `layers` in place of each stack."""
        pairs = zip(self.leaves, self.specs, strict=True)
        return self.treedef.unflatten([Layers((next(layers),), s) if s else x for x, s in pairs])


class _Memory:
    """The memory of a rule, for `_mapped`; `like` is that of one layer."""

    def __init__(self, memory: Any, like: Any):
        self.like = like
        self.nodes, self.structure = jax.tree.flatten(like, is_leaf=_is_layers)
        self.parts = self.structure.flatten_up_to(memory)

    def arrays(self) -> list[tuple[Any, int, Any]]:
        """Each stack with the axis and the kind of its layers."""
        found = []
        for x, n in zip(self.parts, self.nodes, strict=True):
            if _is_layers(n):
                pairs = zip(jax.tree.leaves(x), jax.tree.leaves(n.layers), strict=True)
                found += [(a, _axis(layer, n.spec), _kind(n.spec)) for a, layer in pairs]
        return found

    def seen(self, layers: Iterator[Any]) -> Any:
        """The memory with the next of `layers` in place of each stack."""
        pairs = zip(self.parts, self.nodes, strict=True)
        return self.structure.unflatten(
            [jax.tree.map(lambda _: next(layers), n) if _is_layers(n) else x for x, n in pairs]
        )


def _kind(spec: Spec) -> Any:
    """What the stacks that one `vmap` maps have in common."""
    return spec.size, spec.over


def _mapped(call: Callable[[Iterator[Any]], Any], trees: list[Any], like: Any) -> Any:
    """`call(layers)` for all layers at once, restacked; `like` is what it gives for one."""
    given = [x for t in trees for x in t.arrays()]
    nodes, structure = jax.tree.flatten(like, is_leaf=_is_layers)
    places = []  # of each array that comes out: the axis and the kind of its layers, or None
    for n in nodes:
        layers = jax.tree.leaves(n)
        places += [(_axis(x, n.spec), _kind(n.spec)) for x in layers] if _is_layers(n) else [None] * len(layers)

    def run(*layers: Any) -> list[Any]:
        return jax.tree.leaves(call(iter(layers)))

    for kind in dict.fromkeys(kind for _, _, kind in given):  # those of another length are not mapped by this one
        run = jax.vmap(
            run,
            tuple(axis if k == kind else None for _, axis, k in given),
            [p[0] if p and p[1] == kind else None for p in places],
        )
    results = iter(run(*(x for x, _, _ in given)))
    return structure.unflatten(
        [jax.tree.map(lambda _: next(results), n.layers[0] if _is_layers(n) else n) for n in nodes]
    )
