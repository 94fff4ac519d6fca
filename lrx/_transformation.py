"""A rule, lifted to an (init, update) pair whose compiled update holds no hyperparameter.

`init` puts the rule's numbers into the state; `update` rebuilds the rule from the state's numbers and applies it.
So a new number, or a whole grid of them under `vmap`, traces nothing again. `init` compares by its numbers (a
jitted `init` bakes them in), `update` by structure alone. Both pickle, and both are objects of their own because
JAX's caches hold functions by weak reference.

A number of a rule may be a schedule. Its numbers are then in the state, with a count of the updates completed; the rule
itself sees the value at that count, a number.

A rule may wrap other transformations: it holds them in its static field `inner` (one or a tuple of them, as
`as_transformation` gives them) and their states in the field `inner` of its memory, where `lrx.state` looks for them.
"""

import collections
import dataclasses
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from . import _check as check
from ._arithmetic import add_one, vary_like, zero_count
from ._numbers import F32, is_tracer, state_dtype
from ._provenance import Provenance, provenance_of
from ._pytree import factory_name, from_dict, holds_code, replaced, scheduled, to_dict
from .schedules._schedule import as_schedule


class State(NamedTuple):
    """What one rule needs for its next step."""

    hyperparams: Any
    """The rule's numbers: a nested dict of float32 and int32 arrays. Editing them changes the next update."""
    memory: Any
    """What the rule remembers of past updates: counts and moments."""


class ScheduledState(NamedTuple):
    """What one rule needs for its next step if some of its numbers are schedules."""

    hyperparams: Any
    """As in `State`; a schedule is a nested dict of its numbers."""
    memory: Any
    """As in `State`."""
    count: jax.Array
    """The number of updates completed, at which the schedules are evaluated; int32 []."""


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

    def __call__(self, params: Any) -> State | ScheduledState:
        if self.provenance is not None:
            self.provenance.initialised = True
        rule, numbers = self.rule, to_dict(self.rule)
        if not scheduled(rule):
            return _on_mesh_of(params, State(numbers, _placed(rule, params)))
        count = zero_count()
        return _on_mesh_of(params, ScheduledState(numbers, _placed(_at(rule, count), params), count))

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

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        if not hasattr(state, "hyperparams"):
            raise ValueError(
                f"this state belongs to another optimizer: {factory_name(self.template)} has a state of its own kind, "
                f"got {type(state).__name__}. Use the optimizer that made it, or lrx.resume."
            )
        if self.provenance is not None:
            self.provenance.check(self.template, state.hyperparams)
        rule = from_dict(self.template, state.hyperparams)
        if not scheduled(rule):
            updates, memory = rule.update(updates, state.memory, params, **extra)
            return updates, State(state.hyperparams, memory)
        updates, memory = _at(rule, state.count).update(updates, state.memory, params, **extra)
        return updates, ScheduledState(state.hyperparams, memory, add_one(state.count))

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
    rule = replaced(rule, {name: as_schedule(s) for name, s in scheduled(rule).items()}) if scheduled(rule) else rule
    provenance = provenance_of(rule)
    template, wrapped = jax.tree.map(state_dtype, rule), _inner(rule)
    keep = provenance is None and all(is_interned(t.update) for t in wrapped)
    if wrapped and not getattr(rule, "reset_state", False):  # which needs the whole of them
        template = replaced(template, {"inner": _updates_only(rule.inner)})
    keep = keep and not holds_code(replaced(rule, {"inner": ()}) if wrapped else rule)
    update: Any = Update(template, provenance)  # a user's function must not be kept alive here
    return Transformation(Init(rule, provenance), interned(update) if keep else update)


def _at(rule: Any, count: jax.Array) -> Any:
    """The rule with its schedules' values at `count` in their place."""
    values = {}
    for name, schedule in scheduled(rule).items():
        values[name] = jnp.asarray(schedule(count)).astype(F32)
        if values[name].shape != ():
            what = f"{factory_name(rule)}({name}=...) must give a scalar"
            raise ValueError(f"{what}, got shape {values[name].shape} from {schedule!r}.")
    return replaced(rule, values)


def _revive_init(rule: Any) -> Init:
    return Init(rule, provenance_of(rule))


# ---------------------------------------------------------------- transformations inside a rule


def as_transformation(argument: str, t: Any) -> Transformation:
    """Any gradient transformation, lrx's or another's, as one that takes extra arguments and is a value."""
    if not isinstance(t, optax.GradientTransformation):
        raise TypeError(f"{check.where(argument)} must be a gradient transformation, got {t!r}.")
    if isinstance(t, Transformation):
        return t
    extra = isinstance(t, optax.GradientTransformationExtraArgs)
    return Transformation(t.init, t.update if extra else _IgnoreExtra(t.update))  # type: ignore[arg-type]  # see optax


@dataclasses.dataclass(frozen=True)
class _IgnoreExtra:
    """The update of a transformation that takes no extra arguments. `optax.with_extra_args_support`, as a value."""

    update: Any

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        del extra
        return self.update(updates, state, params)


def update_where(wanted: jax.Array, update: Callable[[Any], tuple[Any, Any]], state: Any, like: Any) -> tuple[Any, Any]:
    """`update(state) -> (updates, state)` where `wanted`; elsewhere updates of zero, placed as `like`, and `state`."""
    if not is_tracer(wanted):  # outside `jit`, `cond` would compile its two closures anew in every step
        types = jax.eval_shape(update, state)[0]
        return update(state) if wanted else (jax.tree.map(_zeros, types, like), state)
    types, new_types = jax.eval_shape(update, state)

    def take(state: Any) -> tuple[Any, Any]:
        updates, new = update(state)
        return updates, jax.tree.map(vary_like, new, state)

    def skip(state: Any) -> tuple[Any, Any]:
        # like the types, so that sharding and manual axes are those of the other branch
        return jax.tree.map(jnp.zeros_like, types), jax.tree.map(vary_like, state, new_types)

    return jax.lax.cond(wanted, take, skip, state)


def _zeros(t: Any, like: Any) -> Any:
    return np.zeros(t.shape, t.dtype) if t.dtype == jax.dtypes.float0 else jnp.zeros_like(like, dtype=t.dtype)


def _inner(rule: Any) -> tuple[Transformation, ...]:
    inner = getattr(rule, "inner", ())
    return (inner,) if isinstance(inner, Transformation) else inner


def _updates_only(inner: Any) -> Any:
    """The transformations that an update needs, without their `init`, which holds numbers."""
    if isinstance(inner, Transformation):
        return Transformation(_no_init, inner.update)
    return tuple(map(_updates_only, inner))


def _no_init(params: Any) -> Any:
    raise NotImplementedError("an update has no init")


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
    try:
        with _lock:
            return _interned.get(update) is update
    except TypeError:  # another library's update may not hash
        return False


# ---------------------------------------------------------------- placement


def _placed(rule: Any, params: Any) -> Any:
    """The memory of a rule; in `shard_map`, one that may depend on what is each device's own is of that type."""
    memory = rule.init(params)
    return memory if getattr(rule, "elementwise", False) else vary_like(memory, params)


def _on_mesh_of(params: Any, state: Any) -> Any:
    """Eager `init` on sharded parameters: the scalars are replicated on the parameters' mesh.

    Otherwise the first update changes their sharding, which compiles the step twice, and a checkpoint restores
    them onto one device. With several processes `device_put` also checks that all gave the same numbers.
    """
    for p in jax.tree.leaves(params):
        if _is_on_mesh(p):
            everywhere = NamedSharding(p.sharding.mesh, PartitionSpec())

            def move(x: Any, everywhere: Any = everywhere) -> Any:
                if is_tracer(x) or not isinstance(x, jax.Array) or isinstance(x.sharding, NamedSharding):
                    return x
                return jax.device_put(np.asarray(x) if jax.process_count() > 1 else x, everywhere)

            return jax.tree.map(move, state)
    return state


def _is_on_mesh(p: Any) -> bool:
    return isinstance(p, jax.Array) and not is_tracer(p) and isinstance(p.sharding, NamedSharding)
