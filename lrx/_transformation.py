"""A rule, lifted to an (init, update) pair whose compiled update holds no hyperparameter.

`init` puts the rule's numbers into the state; `update` rebuilds the rule from the state's numbers and applies it.
So a new number, or a whole grid of them under `vmap`, traces nothing again. `init` compares by its numbers (a
jitted `init` bakes them in), `update` by structure alone. Both pickle, and both are objects of their own because
JAX's caches hold functions by weak reference.
"""

import collections
import dataclasses
import threading
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from ._numbers import is_tracer, state_dtype
from ._provenance import Provenance, provenance_of
from ._pytree import from_dict, holds_code, to_dict


class State(NamedTuple):
    """What one rule needs for its next step."""

    hyperparams: Any
    """The rule's numbers: a nested dict of float32 and int32 arrays. Editing them changes the next update."""
    memory: Any
    """What the rule remembers of past updates: counts and moments."""


class Transformation(optax.GradientTransformationExtraArgs):
    """An optax transformation that compares and pickles by value and prints as the call that makes it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(self.init)


@dataclasses.dataclass(frozen=True, eq=False)
class Init:
    """`init(params) -> State`. Compares by value, numbers included."""

    rule: Any
    provenance: Provenance | None = None
    __name__ = "init"  # what profiles and compiler output show; the default is the whole repr

    def __call__(self, params: Any) -> State:
        if self.provenance is not None:
            self.provenance.initialised = True
        return _on_mesh_of(params, State(to_dict(self.rule), self.rule.init(params)))

    def __eq__(self, other: object) -> bool:
        return type(other) is Init and self.rule == other.rule

    def __hash__(self) -> int:
        return hash(self.rule)

    def __repr__(self) -> str:
        return repr(self.rule)

    def __reduce__(self) -> Any:
        return _revive_init, (self.rule,)


@dataclasses.dataclass(frozen=True, eq=False)
class Update:
    """`update(updates, state, params) -> (updates, state)`. Compares by structure: it holds no number."""

    template: Any
    """The rule with a dtype in place of every number."""
    provenance: Provenance | None = None
    __name__ = "update"

    def __call__(self, updates: Any, state: State, params: Any = None, **extra: Any) -> tuple[Any, State]:
        if self.provenance is not None:
            self.provenance.check(self.template, state.hyperparams)
        rule = from_dict(self.template, state.hyperparams)
        updates, memory = rule.update(updates, state.memory, params, **extra)
        return updates, State(state.hyperparams, memory)

    def __eq__(self, other: object) -> bool:
        return type(other) is Update and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> Any:
        traced = self.provenance is not None and self.provenance.traced
        return self.template, self.provenance if traced else None

    def __repr__(self) -> str:
        return "update"

    def __reduce__(self) -> Any:
        return Update, (self.template,)


def transformation(rule: Any) -> Transformation:
    """The pair of a rule: a pytree dataclass with `init(params)` and `update(updates, memory, params, **extra)`."""
    provenance = provenance_of(rule)
    update: Any = Update(jax.tree.map(state_dtype, rule), provenance)
    keep = provenance is None and not holds_code(rule)  # a user's function must not be kept alive here
    return Transformation(Init(rule, provenance), interned(update) if keep else update)


def _revive_init(rule: Any) -> Init:
    return Init(rule, provenance_of(rule))


# ---------------------------------------------------------------- one object for equal updates

_interned: "collections.OrderedDict[Any, Any]" = collections.OrderedDict()
_lock = threading.Lock()


def interned(update: Any, size: int = 256) -> Any:
    """The one object that stands for all equal updates.

    `jax.jit` forgets a function when it dies; kept here, `jax.jit(adam(1e-3).update)` and
    `jax.jit(adam(3e-3).update)` share one compilation even if the first optimizer is gone.
    """
    with _lock:
        kept = _interned.setdefault(update, update)
        _interned.move_to_end(kept)
        if len(_interned) > size:
            _interned.popitem(last=False)
    return kept


def is_interned(update: Any) -> bool:
    """Whether `update` is kept, so that keeping what contains it holds no user's function alive."""
    with _lock:
        return _interned.get(update) is update


# ---------------------------------------------------------------- placement


def _on_mesh_of(params: Any, state: State) -> State:
    """Eager `init` on sharded parameters: the scalars are replicated on the parameters' mesh.

    Otherwise the first update changes their sharding, which compiles the step twice, and a checkpoint restores
    them onto one device. With several processes `device_put` also checks that all gave the same numbers.
    """
    for p in jax.tree.leaves(params):
        if _is_on_mesh(p):
            everywhere = NamedSharding(p.sharding.mesh, PartitionSpec())

            def move(x: Any, everywhere: Any = everywhere) -> Any:
                if is_tracer(x) or not isinstance(x, jax.Array) or x.sharding.num_devices > 1:
                    return x
                return jax.device_put(np.asarray(x) if jax.process_count() > 1 else x, everywhere)

            return jax.tree.map(move, state)
    return state


def _is_on_mesh(p: Any) -> bool:
    return (
        isinstance(p, jax.Array)
        and not is_tracer(p)
        and isinstance(p.sharding, NamedSharding)
        and p.sharding.num_devices > 1
    )
