"""`chain` and `named_chain`: transformations one after another, with a state that is a dict keyed by their names."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import optax

from . import _check as check
from ._arithmetic import vary_like
from ._pytree import factory_name
from ._skipping import guarded, settled, skips_unusable
from ._transformation import (
    Init,
    Transformation,
    Update,
    as_transformation,
    interned,
    is_interned,
    is_transformation,
)


@dataclasses.dataclass(frozen=True)
class ChainInit:
    """`init(params) -> {name: state}`."""

    links: tuple[tuple[str, Any], ...]
    named: bool = False
    """Whether the user gave the names."""
    __name__ = "init"

    def __call__(self, params: Any) -> dict[str, Any]:
        state = {name: init(params) for name, init in self.links}
        # in `shard_map` devices may differ in whether an update is usable, and so in all that is remembered
        return vary_like(state, params) if skips_unusable(self) else state

    def __repr__(self) -> str:
        if self.named:
            return f"named_chain({', '.join(f'({name!r}, {init!r})' for name, init in self.links)})"
        return f"chain({', '.join(repr(init) if _is_ours(init) else name for name, init in self.links)})"


@dataclasses.dataclass(frozen=True)
class ChainUpdate:
    """`update(updates, {name: state}, params) -> (updates, {name: state})`."""

    links: tuple[tuple[str, Any], ...]
    __name__ = "update"

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, dict[str, Any]]:
        names = [name for name, _ in self.links]
        if not hasattr(state, "keys") or set(state) != set(names):
            held = sorted(state) if hasattr(state, "keys") else type(state).__name__
            raise ValueError(
                f"this state belongs to another optimizer: the chain has the links {names}, the state has {held}. "
                "Use the optimizer that made it, or lrx.resume."
            )
        if not self.skips_unusable:
            return self._run(updates, state, params, extra)

        def take(state: Any) -> tuple[Any, Any]:
            return settled(*self._run(updates, state, params, extra), state)

        return guarded(take, updates, {name: state[name] for name in names})

    def _run(self, updates: Any, state: Any, params: Any, extra: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Each link in its turn."""
        # the outermost chain gets the raw gradient, which a controller, the last link, needs; another library's link
        # may not take it, or may wrap a chain whose gradient is another
        ours = {"grad": updates, **extra}
        new = {}
        for name, update in self.links:
            given = ours if isinstance(update, Update) else extra
            updates, new[name] = update(updates, state[name], params, **given)
        return updates, new

    @functools.cached_property
    def skips_unusable(self) -> bool:
        """Whether a controller or a rule that finds its rate is among the links."""
        return skips_unusable(self)

    def __repr__(self) -> str:
        return "update"


def chain(*transformations: optax.GradientTransformation) -> Transformation:
    """Apply gradient transformations one after another.

    The state is a dict keyed by the name of each link (`scale_by_adam`; a repeat gets `_2`, `_3`, …), so that
    adding a link changes no other key. A chain inside a chain is flattened. Extra keyword arguments of `update`
    reach every link that takes them. lrx's links also get `grad=`, the gradient given to the chain, unless the caller
    gave another.

    A chain with a controller, or with an optimizer that finds its own rate, skips updates whose gradient is not finite,
    or too large to be squared: they are zero, the memory of every link stays as it was, and the state counts them as
    `skipped`. Where only the loss or the rate is not finite, the update is zero and counted too; the rate's own numbers
    stay as they were, and moments keep the gradient.

    Args:
      *transformations: lrx's or optax's, in the order in which they get the updates. Without any it is the identity.

    Returns:
      A transformation, usable wherever optax's are.

    Raises:
      TypeError: if an argument is not a gradient transformation.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.chain(lrx.clip_by_global_norm(1.0), lrx.sgd(0.5))
      >>> state = tx.init(jnp.zeros(2))
      >>> list(state)
      ['clip_by_global_norm', 'scale_by_learning_rate']
      >>> updates, state = tx.update(jnp.array([3.0, 4.0]), state)
      >>> print(updates)
      [-0.3 -0.4]
    """
    inits: list[tuple[str, Any]] = []
    updates: list[tuple[str, Any]] = []
    seen: set[str] = set()
    for t in transformations:
        for stem, init, update in _links(t):
            name = next(n for n in _numbered(stem) if n not in seen)  # the user's name may end in a number too
            seen.add(name)
            inits.append((name, init))
            updates.append((name, update))
    return _chained(inits, updates, named=False)


@check.public
def named_chain(*transformations: tuple[str, optax.GradientTransformation]) -> Transformation:
    """Apply gradient transformations one after another, with names that you choose in the state.

    Args:
      *transformations: pairs (name, transformation), in the order in which they get the updates.

    Returns:
      A transformation whose state is a dict keyed by the names. Inside `chain` its links keep their names.

    Raises:
      TypeError: if an argument is not such a pair.
      ValueError: if a name occurs twice.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.named_chain(("clip", lrx.clip_by_global_norm(1.0)), ("step", lrx.sgd(0.5)))
      >>> state = tx.init(jnp.zeros(2))
      >>> print(list(lrx.learning_rates(state)))
      ['step.scale_by_learning_rate.learning_rate']
    """
    for pair in transformations:
        if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)):
            raise TypeError(f"named_chain(...) takes pairs (name, transformation), got {pair!r}.")
    names = [name for name, _ in transformations]
    if len(set(names)) < len(names):
        raise ValueError(f"named_chain(...) needs names that differ, got {names}.")
    links = [(name, as_transformation(name, t)) for name, t in transformations]
    return _chained([(name, t.init) for name, t in links], [(name, t.update) for name, t in links], named=True)


def _chained(inits: list[tuple[str, Any]], updates: list[tuple[str, Any]], named: bool) -> Transformation:
    update = ChainUpdate(tuple(updates))
    ours = all(is_interned(u) for _, u in updates)
    return Transformation(ChainInit(tuple(inits), named), interned(update) if ours else update)


def _links(t: Any) -> list[tuple[str, Any, Any]]:
    """The (stem of the name, init, update) of each link of `t`."""
    if not is_transformation(t):
        raise TypeError(f"chain(...) takes gradient transformations, got {t!r}.")
    if isinstance(t.init, ChainInit) and isinstance(t.update, ChainUpdate):
        pairs = zip(t.init.links, t.update.links, strict=True)
        named = t.init.named
        return [(name if named else _stem(name, init), init, update) for (name, init), (_, update) in pairs]
    tx = as_transformation("", t)
    return [(_stem("", t.init, t.update), tx.init, tx.update)]


def _numbered(stem: str) -> Iterator[str]:
    yield stem
    yield from (f"{stem}_{i}" for i in itertools.count(2))


def _stem(name: str, init: Any, update: Any = None) -> str:
    """A rule's factory; for another library's link the function that made it (`optax.clip` gives `clip`)."""
    if _is_ours(init):
        return init.rule.key or factory_name(init.rule)
    if name:
        return name.rstrip("0123456789").removesuffix("_")
    stem = getattr(update, "__qualname__", "").split(".")[0]
    if not stem.isidentifier() or stem in ("with_extra_args_support", "GradientTransformation"):
        return "link"
    return _KEYS.get(stem, stem)


_KEYS = {"trace": "momentum", "ema": "moving_average"}
"""The keys of optax's links whose states have a field of the same name, which `tree_get` would find twice."""


def _is_ours(init: Any) -> bool:
    return isinstance(init, Init)


def renewed(tx: Transformation, function: Callable[[Transformation], Transformation]) -> Transformation:
    """A chain with `function(link)` in place of each of its links, under the same names."""
    pairs = zip(tx.init.links, tx.update.links, strict=True)  # type: ignore[attr-defined]  # a chain's
    links = [(name, function(Transformation(init, update))) for (name, init), (_, update) in pairs]
    named = tx.init.named  # type: ignore[attr-defined]  # a chain's
    return _chained([(name, t.init) for name, t in links], [(name, t.update) for name, t in links], named)
