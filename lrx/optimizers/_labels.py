"""Trees of Python values (masks, labels, depths) as values: they hash and compare by content.

Static fields hold them, so that equal optimizers are equal.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from .. import _check as check
from .._arithmetic import leaves_like
from .._boxes import map_with_names
from .._numbers import is_array, is_tracer
from .._pytree import key_name
from .._stacks import one_layer


class StaticTree(NamedTuple):
    """A flattened tree of hashable values."""

    treedef: Any
    leaves: tuple[Any, ...]

    def tree(self) -> Any:
        """The unflattened tree."""
        return self.treedef.unflatten(self.leaves)

    def __repr__(self) -> str:
        return repr(self.tree())


def is_function(x: Any) -> bool:
    """Whether `x` is a function of the parameters, not a tree whose nodes happen to be callable."""
    return callable(x) and jax.tree.leaves(x) == [x]


def as_static_tree(argument: str, tree: Any, kind: type) -> Any:
    """A tree of `kind` (bool, int or any object), or a function that gives one, in the form that static fields hold."""
    if is_function(tree):
        return tree
    tree = tree.tree() if isinstance(tree, StaticTree) else tree  # that of a rule which is made again
    leaves, treedef = jax.tree.flatten(tree)
    return StaticTree(treedef, tuple(_of_kind(check.where(argument), leaves, kind, tree)))


_KIND_NAMES = {bool: "bools", int: "whole numbers", float: "numbers", object: "labels"}


def _of_kind(where: str, leaves: list[Any], kind: type, tree: Any) -> list[Any]:
    leaves = [m.item() if is_array(m) and not is_tracer(m) and not m.ndim else m for m in leaves]
    if kind is float:
        leaves = [float(m) if isinstance(m, int) and not isinstance(m, bool) else m for m in leaves]
    if not all(isinstance(m, kind) and (kind is not int or not isinstance(m, bool)) for m in leaves):
        raise TypeError(f"{where} must be a tree of {_KIND_NAMES[kind]} or a function that gives one, got {tree!r}.")
    if kind is float and not all(0 <= m < math.inf for m in leaves):
        raise ValueError(f"{where} must be finite and not negative, got {tree!r}.")
    return leaves


def as_mask(argument: str, mask: Any) -> Any:
    """A mask argument in the form that static fields hold: None, a function of the parameters, or a `StaticTree`."""
    return mask if mask is None else as_static_tree(argument, mask, bool)


def spread(where: str, tree: StaticTree | Callable[[Any], Any], over: Any, kind: type = object) -> list[Any]:
    """The value that stands for each leaf of `over`, of which the tree is a prefix; `where` is the argument's name."""
    values = tree.tree() if isinstance(tree, StaticTree) else tree(one_layer(over))
    try:
        leaves: list[Any] = []  # not `jax.tree.broadcast`, which JAX 0.6.0 does not have
        jax.tree.map(lambda x, part: leaves.extend([x] * len(jax.tree.leaves(part))), values, over)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{where} must be a tree like the parameters, or a prefix of it: {reason}") from None
    return _of_kind(where, leaves, kind, values)


def map_chosen(where: str, mask: Any, function: Callable[[Any, Any], Any], updates: Any, params: Any) -> Any:
    """`function(updates, params)` on the leaves that a mask argument chooses; the other updates pass."""
    if mask is None:
        return function(updates, params)
    leaves, treedef = jax.tree.flatten(updates)
    present = leaves_like(treedef, params)  # a mask is asked about what is trained: a model may hold functions too
    chosen = spread(where, mask, treedef.unflatten(present), bool)
    triples = zip(chosen, leaves, present, strict=True)
    return treedef.unflatten([function(u, p) if c else u for c, u, p in triples])


@dataclasses.dataclass(frozen=True)
class ByPath:
    """See `by_path`."""

    patterns: tuple[tuple[str, Any], ...]

    def __call__(self, tree: Any) -> Any:
        """The value of each leaf."""
        return map_with_names(lambda path, _: self._value(".".join(map(key_name, path))), tree)

    def _value(self, path: str) -> Any:
        for pattern, value in self.patterns:
            match = re.search(pattern, path)
            if match:
                return value(match) if callable(value) else value
        raise ValueError(f"by_path(...) has no pattern for the parameter {path!r}: {[p for p, _ in self.patterns]}.")

    def __repr__(self) -> str:
        return f"by_path({dict(self.patterns)!r})"


@check.public
def by_path(patterns: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Masks, labels and depths from the names of the parameters.

    Args:
      patterns: regular expression -> value. The first that is found in the dotted path of a leaf (`encoder.block_3.w`)
        gives its value; a function is given the match. End with `""` for all others.

    Returns:
      A function from a tree of parameters to a tree of values, for `masked`, `partition`, `layer_wise_decay`, and
      every argument `mask`. Equal patterns make equal functions.

    Raises:
      TypeError: if `patterns` is no mapping.
      ValueError: if a pattern is no regular expression; when called, if a leaf has no pattern.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> params = {"block_0": {"w": 0.0, "bias": 0.0}, "block_1": {"w": 0.0, "bias": 0.0}}
      >>> lrx.by_path({"bias": False, "": True})(params)
      {'block_0': {'bias': False, 'w': True}, 'block_1': {'bias': False, 'w': True}}
      >>> lrx.by_path({r"block_(\\d+)": lambda match: int(match[1])})(params)
      {'block_0': {'bias': 0, 'w': 0}, 'block_1': {'bias': 1, 'w': 1}}
    """
    if not isinstance(patterns, Mapping):
        raise TypeError(f"{check.where('patterns')} must map regular expressions to values, got {patterns!r}.")
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise check.fail("patterns", f"must be regular expressions ({error})", pattern) from None
    return ByPath(tuple(patterns.items()))
