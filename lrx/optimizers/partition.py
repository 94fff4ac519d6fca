"""Groups of parameters, each with its own optimizer."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import optax

from .. import _check as check
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, as_transformation, transformation
from ._labels import as_static_tree, spread
from .masking import is_placeholder, masked_extra, selected


class PartitionState(NamedTuple):
    """The state of a partition."""

    inner_states: dict[str, Any]
    """Group -> the state of its optimizer, of the group's parameters alone."""


@pytree_dataclass
class Partition(Rule):
    """See `partition`."""

    labels: tuple[Any, ...] = static()
    inner: tuple[Any, ...] = static()
    param_labels: Any = static()
    mask_compatible_extra_args: bool = static(default=False)

    stacks = "whole"

    def init(self, params: Any) -> PartitionState:
        """The state before the first update."""
        if is_placeholder(params):
            return PartitionState({str(k): tx.init(params) for k, tx in zip(self.labels, self.inner, strict=True)})
        of_leaf = self._of_leaves(params)
        states = {}
        for label, tx in zip(self.labels, self.inner, strict=True):
            states[str(label)] = tx.init(selected([k == label for k in of_leaf], params))
        return PartitionState(states)

    def update(
        self, updates: Any, state: PartitionState, params: Any = None, **extra: Any
    ) -> tuple[Any, PartitionState]:
        """Each group's update."""
        if set(state.inner_states) != set(map(str, self.labels)):
            raise ValueError(
                f"this state belongs to another optimizer: the partition has the groups {list(map(str, self.labels))}, "
                f"the state has {sorted(state.inner_states)}. Use the optimizer that made it, or lrx.resume."
            )
        of_leaf = self._of_leaves(updates)
        treedef = jax.tree.structure(updates)
        results: list[Any] = [None] * len(of_leaf)
        states = {}
        for label, tx in zip(self.labels, self.inner, strict=True):
            chosen = [k == label for k in of_leaf]
            group_params = None if params is None else selected(chosen, params, like=updates)
            group_extra = masked_extra(chosen, updates, extra, self.mask_compatible_extra_args)
            held = state.inner_states[str(label)]
            new, states[str(label)] = tx.update(selected(chosen, updates), held, group_params, **group_extra)
            for i, (mine, u) in enumerate(zip(chosen, treedef.flatten_up_to(new), strict=True)):
                results[i] = u if mine else results[i]
        return treedef.unflatten(results), PartitionState(states)

    def _of_leaves(self, tree: Any) -> list[Any]:
        of_leaf = spread("partition(param_labels=...)", self.param_labels, tree)
        unknown = sorted({str(k) for k in of_leaf if k not in self.labels})
        if unknown:
            raise ValueError(
                f"partition(param_labels=...) must name transforms, got the labels {unknown}; "
                f"there are transforms for {list(map(str, self.labels))}."
            )
        return of_leaf

    def __repr__(self) -> str:
        transforms = dict(zip(self.labels, self.inner, strict=True))
        compatible = ", mask_compatible_extra_args=True" if self.mask_compatible_extra_args else ""
        return f"partition({transforms!r}, {self.param_labels!r}{compatible})"


@check.public
def partition(
    transforms: Mapping[Any, optax.GradientTransformation],
    param_labels: Any,
    *,
    mask_compatible_extra_args: bool = False,
) -> Transformation:
    """Give each group of parameters its own optimizer, with its own rate, schedule and state.

    Args:
      transforms: label -> transformation, lrx's or optax's. `freeze(True)` holds a group constant.
      param_labels: a tree of labels like the parameters (or a prefix of it), or a function from parameters, or updates,
        to one.
      mask_compatible_extra_args: whether extra arguments that are trees like the updates are split too (`grad` always
        is).

    Returns:
      A transformation. `learning_rates` lists the rates of the groups by label.

    Raises:
      TypeError: if `transforms` is no mapping, or holds something else than transformations.
      ValueError: if two labels are the same as strings; in init and update, if a parameter has a label without a
        transformation.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> params = {"body": jnp.ones(2), "head": jnp.ones(1)}
      >>> tx = lrx.partition({"slow": lrx.sgd(0.25), "fast": lrx.sgd(1.0)}, {"body": "slow", "head": "fast"})
      >>> state = tx.init(params)
      >>> updates, state = tx.update(params, state, params)
      >>> print(updates["body"], updates["head"])
      [-0.25 -0.25] [-1.]
      >>> print(list(lrx.learning_rates(state)))
      ['fast.scale_by_learning_rate.learning_rate', 'slow.scale_by_learning_rate.learning_rate']
    """
    if not isinstance(transforms, Mapping):
        raise TypeError(f"{check.where('transforms')} must map labels to transformations, got {transforms!r}.")
    labels = tuple(transforms)
    if len(set(map(str, labels))) < len(labels):
        raise check.fail("transforms", "needs labels that differ as strings", list(labels))
    inner = tuple(as_transformation(f"transforms[{k!r}]", t) for k, t in transforms.items())
    tree = as_static_tree("param_labels", param_labels, object)
    return transformation(Partition(labels, inner, tree, mask_compatible_extra_args))
