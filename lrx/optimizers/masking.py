"""Transform some parameters and not others: masks and freezing."""

from typing import Any, NamedTuple

import jax
import optax

from .. import _check as check
from .._arithmetic import leaves_like, not_moved
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, as_transformation, transformation
from ._labels import as_mask, spread


class MaskedState(NamedTuple):
    """The state of a masked transformation."""

    inner_state: Any
    """The state of the transformation, of the chosen parameters alone."""


@pytree_dataclass
class Masked(Rule):
    """See `masked`."""

    inner: Any = static()
    mask: Any = static()
    mask_compatible_extra_args: bool = static(default=False)

    stacks = "whole"

    def init(self, params: Any) -> MaskedState:
        """The state before the first update."""
        if is_placeholder(params):
            return MaskedState(self.inner.init(params))
        return MaskedState(self.inner.init(selected(spread("masked(mask=...)", self.mask, params, bool), params)))

    def update(self, updates: Any, state: MaskedState, params: Any = None, **extra: Any) -> tuple[Any, MaskedState]:
        """The inner update of the chosen leaves; the others pass."""
        chosen = spread("masked(mask=...)", self.mask, updates, bool)
        extra = masked_extra(chosen, updates, extra, self.mask_compatible_extra_args)
        params = None if params is None else selected(chosen, params, like=updates)
        new, inner = self.inner.update(selected(chosen, updates), state.inner_state, params, **extra)
        leaves, treedef = jax.tree.flatten(updates)
        new_leaves = treedef.flatten_up_to(new)
        mixed = [n if c else u for c, n, u in zip(chosen, new_leaves, leaves, strict=True)]
        return treedef.unflatten(mixed), MaskedState(inner)


@pytree_dataclass
class Freeze(Rule):
    """See `freeze`."""

    mask: Any = static()

    stacks = "whole"

    def init(self, params: Any) -> MaskedState:
        """Nothing to remember, in the form of optax, whose `freeze` is a mask."""
        del params
        return MaskedState(optax.EmptyState())

    def update(self, updates: Any, state: MaskedState, params: Any = None, **extra: Any) -> tuple[Any, MaskedState]:
        """Zero where frozen."""
        del params, extra
        leaves, treedef = jax.tree.flatten(updates)
        frozen = spread("freeze(mask=...)", self.mask, updates, bool)
        kept = [not_moved(u) if f else u for f, u in zip(frozen, leaves, strict=True)]
        return treedef.unflatten(kept), state


def selected(chosen: list[bool], tree: Any, like: Any = None) -> Any:
    """`tree` with `optax.MaskedNode` in place of the leaves that are not chosen."""
    leaves, treedef = jax.tree.flatten(tree if like is None else like)
    leaves = leaves if like is None else leaves_like(treedef, tree)
    return treedef.unflatten([x if c else optax.MaskedNode() for c, x in zip(chosen, leaves, strict=True)])


def masked_extra(chosen: list[bool], updates: Any, extra: dict[str, Any], compatible: bool) -> dict[str, Any]:
    """The extra arguments, masked where they are trees like the updates; `grad` always is one."""
    structure = jax.tree.structure(updates)

    def mask(name: str, x: Any) -> Any:
        same = (compatible or name == "grad") and jax.tree.structure(x) == structure
        return selected(chosen, x) if same else x

    return {name: mask(name, x) for name, x in extra.items()}


def is_placeholder(params: Any) -> bool:
    """Whether `params` is the placeholder by which `optax.tree_map_params` finds the parts of a state shaped like it.

    It calls `init` with an object of a private class in place of them, which no mask fits.
    """
    return type(params).__name__ == "_ParamsPlaceholder"


@check.public
def masked(
    inner: optax.GradientTransformation, mask: Any, *, mask_compatible_extra_args: bool = False
) -> Transformation:
    """Transform only some of the parameters; the updates of the others pass unchanged.

    Args:
      inner: the transformation, lrx's or optax's. Its state is that of the chosen parameters alone; in their trees it
        sees `optax.MaskedNode` for the others.
      mask: a tree of bools like the parameters (or a prefix of it), or a function from parameters, or updates, to one:
        transform where True.
      mask_compatible_extra_args: whether extra arguments that are trees like the updates are masked too (`grad`
        always is).

    Returns:
      A transformation.

    Raises:
      TypeError: if `inner` is no transformation or the mask is not one.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> params = {"w": jnp.ones(2), "b": jnp.ones(1)}
      >>> tx = lrx.masked(lrx.sgd(0.5), {"w": True, "b": False})
      >>> updates, _ = tx.update(params, tx.init(params), params)
      >>> print(updates["w"], updates["b"])
      [-0.5 -0.5] [1.]
    """
    mask = as_mask("mask", True if mask is None else mask)
    return transformation(Masked(as_transformation("inner", inner), mask, mask_compatible_extra_args))


@check.public
def freeze(mask: Any) -> Transformation:
    """Freeze some of the parameters: their updates become zero.

    Where it stands decides: last in a chain, it also stops weight decay. To keep no memory for the frozen ones, give
    them a group of their own: `partition({"head": adam(1e-3), "body": freeze(True)}, labels)`. Inside one jitted step
    XLA then does not compute their gradients at all.

    Args:
      mask: True (all), or a tree of bools like the parameters (or a prefix of it), or a function from updates to one:
        frozen where True.

    Returns:
      A transformation without memory.

    Raises:
      TypeError: if the mask is not one.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> params = {"w": jnp.ones(2), "b": jnp.ones(1)}
      >>> tx = lrx.chain(lrx.sgd(0.5), lrx.freeze({"w": True, "b": False}))
      >>> updates, _ = tx.update(params, tx.init(params), params)
      >>> print(updates["w"], updates["b"])
      [0. 0.] [-0.5]
    """
    return transformation(Freeze(as_mask("mask", True if mask is None else mask)))
