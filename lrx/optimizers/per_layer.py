"""Stacks of layers, as `scan` over layers has them, optimized as the layers would be one by one."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .. import _check as check
from .._arithmetic import trainable
from .._chain import ChainInit, ChainUpdate, renewed
from .._pytree import pytree_dataclass, static
from .._rule import Rule, wrapped_by
from .._stacks import Stacks, within
from .._transformation import Init, Transformation, as_transformation, transformation
from ._labels import as_mask, spread
from .masking import is_placeholder


class PerLayerState(NamedTuple):
    """The state of `per_layer`."""

    inner: Any
    """The state of the inner optimizer. What belongs to a stack of layers is a stack."""


@pytree_dataclass
class PerLayer(Rule):
    """See `per_layer`."""

    inner: Any = static()
    axis: int = static(default=0)
    where: Any = static(default=None)

    renamed = (("inner", "tx"),)

    def init(self, params: Any) -> PerLayerState:
        """The state before the first update."""
        if is_placeholder(params):
            return PerLayerState(self.inner.init(params))
        return PerLayerState(within(self._stacks(params), self.inner.init, params))

    def update(self, updates: Any, state: PerLayerState, params: Any = None, **extra: Any) -> tuple[Any, PerLayerState]:
        """The inner update, in which a stack is its layers."""
        stacks = self._stacks(updates)
        updates, inner = within(stacks, self.inner.update, updates, state.inner, params, **extra)
        return updates, PerLayerState(inner)

    def _stacks(self, tree: Any) -> Stacks:
        if self.where is None:
            self._check_lengths(tree)
        return Stacks(self._chosen, self.axis)

    def _chosen(self, tree: Any) -> list[bool]:
        if self.where is None:
            return [True] * len(jax.tree.leaves(tree))
        return spread("per_layer(where=...)", self.where, tree, bool)

    def _check_lengths(self, tree: Any) -> None:
        """All leaves are stacks: then an embedding among them shows by its length."""
        found: dict[int, str] = {}
        for path, x in jax.tree_util.tree_leaves_with_path(tree):
            if trainable(x) and self.axis < jnp.ndim(x):
                found.setdefault(jnp.shape(x)[self.axis], jax.tree_util.keystr(path) or "params")
        if len(found) > 1:
            listed = ", ".join(f"{n} for {path}" for n, path in found.items())
            raise ValueError(
                f"per_layer(where=...) must say which leaves are stacks of layers, if axis {self.axis} has different "
                f"lengths, got {listed}. Give a mask, such as where=by_path({{'blocks': True, '': False}})."
            )


class ForeignState(NamedTuple):
    """The state of another library's transformation inside `per_layer`."""

    inner: Any
    """Its own state."""


@pytree_dataclass
class Foreign(Rule):
    """Another library's transformation as a rule, of which nothing is known: it is unrolled."""

    inner: Any = static()

    def init(self, params: Any) -> ForeignState:
        """Its own."""
        return ForeignState(self.inner.init(params))

    def update(self, updates: Any, state: ForeignState, params: Any = None, **extra: Any) -> tuple[Any, ForeignState]:
        """Its own."""
        updates, inner = self.inner.update(updates, state.inner, params, **extra)
        return updates, ForeignState(inner)

    def __repr__(self) -> str:
        return repr(self.inner)


def _as_rules(tx: Transformation) -> Transformation:
    """`tx`, with other libraries' links as rules."""
    if isinstance(tx.init, ChainInit) and isinstance(tx.update, ChainUpdate):
        return renewed(tx, lambda link: _as_rules(as_transformation("tx", link)))
    if not isinstance(tx.init, Init):
        return transformation(Foreign(tx))
    hidden = list(_foreign_inside(tx.init.rule))
    if hidden:
        raise ValueError(
            f"{check.where('tx')} must not have another library's transformation inside {tx.init.rule!r}, since its "
            "leaves cannot be told apart there, got "
            f"{hidden[0]!r}. Put per_layer around that alone, or use lrx's rule."
        )
    return tx


def _foreign_inside(rule: Any) -> Iterator[Any]:
    for tx in wrapped_by(rule):
        links = [init for _, init in tx.init.links] if isinstance(tx.init, ChainInit) else [tx.init]
        for init in links:
            if not isinstance(init, Init):
                yield init
            elif not isinstance(init.rule, Foreign):  # which is known by now
                yield from _foreign_inside(init.rule)


@check.public
def per_layer(tx: optax.GradientTransformation, axis: int = 0, *, where: Any = None) -> Transformation:
    """Treat a stack of layers as layers: each leaf of a scanned model, [L, …], as L leaves.

    A model that scans over its layers keeps the parameters of all of them in one array. Rules that look at a leaf as a
    whole then take the stack for one layer: a trust ratio, a factored or a per-block moment, clipping by the norm of a
    block or of a unit. With θ = (θ_1 … θ_L) along `axis`, the updates here are those of::

      tx.update((g_1 … g_L), state, (θ_1 … θ_L))      restacked

    What belongs to a leaf is one for each layer: ratios, norms and moments of blocks, what is factored, the rates of a
    controller with `per_leaf=True`. What is of the whole model stays so: `clip_by_global_norm`, the norms and the one
    rate of a controller, counts, `skip_spikes`, estimates as that of `prodigy`. Hyperparameters are one for all layers.
    Functions for masks and labels, such as `lambda params: jax.tree.map(lambda p: p.ndim > 1, params)`, are shown one
    layer of each stack, and decide for the stack; so `layer_wise_decay` gives a stack one depth.

    The state is that of `tx` on stacks: moments have the shapes of the parameters, a number for a leaf becomes [L].
    Rules that work entry by entry run as without `per_layer`, and those of lrx that look at leaves under `vmap`. What
    is not known to treat each leaf by itself (another library's transformation, `cautious`, a rate for each leaf) is
    unrolled: right as well, but its program is as long as the stack.

    Args:
      tx: the optimizer, lrx's or optax's. Inside a wrapper, such as `accumulate`, it must be lrx's.
      axis: the axis of the layers, ≥ 0.
      where: which leaves are stacks: a tree of bools like the parameters (or a prefix of it), or a function from
        parameters to one, such as `by_path({"blocks": True, "": False})`. None: all, which then must have the same
        number of layers.

    Returns:
      A transformation. `pack` refuses it; it may be put inside `masked` and `partition`, and they inside it.

    Raises:
      TypeError: if `tx` is no transformation, `axis` is no whole number or `where` no mask.
      ValueError: if `axis` is negative, or `tx` has another library's transformation inside a wrapper; in init and
        update, if a stack has no such axis, or the lengths differ without `where`.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> params = {"blocks": jnp.array([[3.0, 4.0], [6.0, 8.0]]), "head": jnp.array([5.0])}
      >>> tx = lrx.per_layer(lrx.scale_by_trust_ratio(), where={"blocks": True, "head": False})
      >>> grads = {"blocks": jnp.array([[1.0, 0.0], [0.0, 4.0]]), "head": jnp.array([2.0])}
      >>> updates, _ = tx.update(grads, tx.init(params), params)
      >>> print(updates["blocks"].tolist(), updates["head"])  # the norms of the layers are 5 and 10
      [[5.0, 0.0], [0.0, 10.0]] [5.]
    """
    if isinstance(axis, bool) or not isinstance(axis, int):
        raise TypeError(f"{check.where('axis')} must be a whole number, got {axis!r}.")
    if axis < 0:
        raise check.fail("axis", "must not be negative", axis, "A layer has fewer axes than its stack: count from 0.")
    return transformation(PerLayer(_as_rules(as_transformation("tx", tx)), axis, as_mask("where", where)))
