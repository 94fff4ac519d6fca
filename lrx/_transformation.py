"""A rule, lifted to an (init, update) pair whose state keeps the rule's numbers.

A number in the state counts as long as the numbers in the code are those with which it was written; once the code has
other numbers, they count. `init` writes the rule's numbers into the state, with a stamp of them; `update` takes the
state's numbers where the stamp is its own, else the rule's, and writes back what it took. This holds for all numbers of
a rule together. So an edit of the state lasts through steps, checkpoints and restarts of the same code,
and traces nothing again; and new code overrides an old state.

Both functions compare, hash and pickle by value, numbers included. They are separate objects because JAX's caches hold
functions by weak reference.

A number of a rule may be a schedule. Its numbers are then in the state, with a count of the updates completed; the rule
itself sees the value at that count, a number. The learning rate alone goes another way: its schedule or controller is a
field of a rule of its own (`optimizers/learning_rate.py`), which keeps the rate applied last in its memory.

`init_of` and `update_of` are the rule's own `init` and `update`, but for stacks of layers inside `per_layer`.

A rule may wrap other transformations: it holds them in its static field `inner` (one or a tuple of them, as
`as_transformation` gives them) and their states in the field `inner` of its memory, where `lrx.state` looks for them
(`_rule.INNER` has other names for it).
"""

import collections
import dataclasses
import inspect
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from . import _check as check
from ._arithmetic import add_one, vary_like, zero_count
from ._factory_checks import remember
from ._numbers import F32, in_state, is_tracer, state_dtype
from ._pytree import factory_name, holds_code, is_rule, replaced, same_keys, scheduled, to_dict
from ._rule import ScheduledState, State, is_rule_state, wrapped_by
from ._stacks import init_of, update_of
from ._stamp import stamp_of
from .schedules._schedule import as_schedule


class Transformation(optax.GradientTransformationExtraArgs):
    """An optax transformation that compares and pickles by value and prints as the call that makes it."""

    __slots__ = ()

    if TYPE_CHECKING:  # optax's state may be an array or a number, which has neither keys nor fields
        init: Callable[[Any], Any]  # type: ignore[override]  # a field of a named tuple, with the same place
        update: Callable[..., tuple[Any, Any]]

    def __repr__(self) -> str:
        return repr(self.init)


@dataclasses.dataclass(frozen=True)
class Init:
    """`init(params) -> State`."""

    rule: Any
    __name__ = "init"  # what profiles and compiler output show; the default is the whole repr

    def __call__(self, params: Any) -> State | ScheduledState:
        rule, numbers, stamp = self.rule, to_dict(self.rule), jnp.asarray(stamp_of(self.rule))
        if not scheduled(rule):
            return _on_mesh_of(params, State(numbers, _placed(rule, params), stamp))
        count = zero_count()
        return _on_mesh_of(params, ScheduledState(numbers, _placed(_at(rule, count), params), count, stamp))

    def __repr__(self) -> str:
        return repr(self.rule)


@dataclasses.dataclass(frozen=True)
class Update:
    """`update(updates, state, params) -> (updates, state)`."""

    rule: Any
    __name__ = "update"

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        if _is_blank(state) and not scheduled(self.rule) and _remembers_nothing(self.rule):
            return update_of(self.rule, updates, (), params, extra)[0], state
        state = _with_numbers(self.rule, state, updates if params is None else params)
        rule, numbers, stamp = _in_force(self.rule, state)
        if not scheduled(rule):
            updates, memory = update_of(rule, updates, state.memory, params, extra)
            return updates, State(numbers, memory, stamp)
        updates, memory = update_of(_at(rule, state.count), updates, state.memory, params, extra)
        return updates, ScheduledState(numbers, memory, add_one(state.count), stamp)

    def __repr__(self) -> str:
        return "update"


def transformation(rule: Any) -> Transformation:
    """The (init, update) pair of a rule.

    Args:
      rule: a `pytree_dataclass` that derives from `Rule`. A field for one number may hold a schedule.

    Returns:
      A transformation, usable wherever optax's are.

    Raises:
      TypeError: if `rule` is no such dataclass.
    """
    if not is_rule(rule):
        raise TypeError(f"transformation(rule=...) must be a pytree_dataclass that derives from Rule, got {rule!r}.")
    rule = replaced(rule, {name: as_schedule(s) for name, s in scheduled(rule).items()}) if scheduled(rule) else rule
    update: Any = Update(rule)
    wrapped = wrapped_by(rule)
    keep = all(is_interned(t.update) for t in wrapped) and not any(map(is_tracer, jax.tree.leaves(rule)))
    # a user's function must not be kept alive here
    keep = keep and not holds_code(replaced(rule, {"inner": ()}) if wrapped else rule)
    update = interned(update) if keep else update
    remember(update.rule)  # the one that lives as long as any equal optimizer
    return Transformation(Init(rule), update)


def _remembers_nothing(rule: Any) -> bool:
    memory = rule.init(())
    return memory == () or getattr(memory, "inner_state", None) == ()  # as in `freeze`


def _is_blank(state: Any) -> bool:
    """Whether there is no state, as in `clip(1.0).update(grads, None)`: a rule that remembers nothing needs none."""
    return state is None or (isinstance(state, tuple) and not state)


def _with_numbers(rule: Any, state: Any, params: Any) -> Any:
    """A state; a memory that a user made by hand, such as a `lrx.ReduceLROnPlateauState`, with the code's numbers."""
    if is_rule_state(state) or not hasattr(state, "_fields"):
        return state
    fresh = jax.eval_shape(Init(rule), params)
    if type(fresh.memory) is not type(state) or isinstance(fresh, ScheduledState):
        return state
    return State(to_dict(rule), state, jnp.asarray(stamp_of(rule)))


# ---------------------------------------------------------------- the numbers that count


def _in_force(rule: Any, state: Any) -> tuple[Any, Any, Any]:
    """The rule with the numbers that count, these numbers as the new state holds them, and its stamp."""
    leaves, structure = jax.tree.flatten(rule)
    places = to_dict(structure.unflatten(range(len(leaves))), lambda i: i)  # the numbers, by their index
    own = jnp.asarray(stamp_of(rule))
    held = _held(rule, places, state, leaves)
    if held is None:  # other code, whose numbers have other names or shapes
        return structure.unflatten([in_state(x) for x in leaves]), to_dict(rule), own
    numbers, layout = jax.tree.flatten(held)
    agree: Any = state.stamp == own
    if not is_tracer(agree) and not np.ndim(agree):
        agree = bool(agree)
    counts = list(leaves)
    for n, i in enumerate(jax.tree.leaves(places)):
        x = counts[i] = _chosen(agree, numbers[n], leaves[i])
        # a state that was cast as a whole keeps the dtypes that it has
        given = getattr(numbers[n], "dtype", x.dtype)
        numbers[n] = x if given == x.dtype else x.astype(given)
    return structure.unflatten(counts), layout.unflatten(numbers), _where(agree, state.stamp, own)


def _held(rule: Any, places: Any, state: Any, leaves: list[Any]) -> Any:
    """The state's numbers, or None if the code's have other names or shapes."""
    held: Any = getattr(state, "hyperparams", None)
    clocked = isinstance(state, ScheduledState)
    if not hasattr(held, "keys") or set(held) != set(places) or bool(scheduled(rule)) != clocked:
        kept = f"the hyperparameters {sorted(held)}" if hasattr(held, "keys") else f"a {type(state).__name__}"
        raise ValueError(
            f"this state belongs to another optimizer: it holds {kept}, {factory_name(rule)} has {sorted(places)}. "
            "Use the optimizer that made it, or lrx.resume."
        )
    fits = same_keys(places, held) and all(
        np.ndim(leaves[i]) == 0 or np.shape(leaves[i]) == np.shape(x)
        for i, x in zip(jax.tree.leaves(places), jax.tree.leaves(held), strict=True)
    )
    return held if fits else None


def _chosen(agree: Any, held: Any, own: Any) -> jax.Array:
    """The number that counts; one that the code gives as a tracer always does."""
    if is_tracer(own):
        try:
            return in_state(own)
        except jax.errors.UnexpectedTracerError:  # of a `vmap` that has ended: only the state has it
            return held
    dtype = state_dtype(own)
    return _where(agree, held if getattr(held, "dtype", None) == dtype else jnp.asarray(held, dtype), own)


def _where(agree: Any, held: Any, own: Any) -> jax.Array:
    if isinstance(agree, bool):  # outside `jit`
        return held if agree else in_state(own)
    return jnp.where(agree, held, in_state(own))


def _at(rule: Any, count: jax.Array) -> Any:
    """The rule with its schedules' values at `count` in their place."""
    values = {}
    for name, schedule in scheduled(rule).items():
        values[name] = jnp.asarray(schedule(count)).astype(F32)
        if values[name].shape != ():
            what = f"{factory_name(rule)}({name}=...) must give a scalar"
            raise ValueError(f"{what}, got shape {values[name].shape} from {schedule!r}.")
    return replaced(rule, values)


# ---------------------------------------------------------------- transformations inside a rule


def is_transformation(t: Any) -> bool:
    """Whether `t` has an init and an update, as optax's transformations do, and `optax.MultiSteps`, which is none."""
    if isinstance(t, optax.GradientTransformation):
        return True
    return not isinstance(t, type) and callable(getattr(t, "init", None)) and callable(getattr(t, "update", None))


def as_transformation(argument: str, t: Any) -> Transformation:
    """Any gradient transformation, lrx's or another's, as one that takes extra arguments and is a value."""
    if not is_transformation(t):
        raise TypeError(f"{check.where(argument)} must be a gradient transformation, got {t!r}.")
    if isinstance(t, Transformation):
        return t
    extra = isinstance(t, optax.GradientTransformationExtraArgs)
    if not isinstance(t, optax.GradientTransformation):
        extra = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(t.update).parameters.values())
    return Transformation(t.init, t.update if extra else _IgnoreExtra(t.update))  # type: ignore[arg-type]  # see optax


@dataclasses.dataclass(frozen=True)
class _IgnoreExtra:
    """The update of a transformation that takes no extra arguments. `optax.with_extra_args_support`, as a value."""

    update: Any

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        del extra
        return self.update(updates, state, params)


def update_where(
    wanted: jax.Array,
    update: Callable[[Any], tuple[Any, Any]],
    state: Any,
    like: Any,
    otherwise: Callable[[Any], Any] = lambda state: state,
) -> tuple[Any, Any]:
    """`update(state) -> (updates, state)` where `wanted`; elsewhere zeros, placed as `like`, and `otherwise(state)`."""
    if not is_tracer(wanted):  # outside `jit`, `cond` would compile its two closures anew in every step
        if wanted:
            return update(state)
        types = jax.eval_shape(update, state)[0]
        return jax.tree.map(_zeros, types, like), otherwise(state)
    update = jax.jit(update, inline=True)  # traced once, for its types and for the branch
    types, new_types = jax.eval_shape(update, state)

    def take(state: Any) -> tuple[Any, Any]:
        updates, new = update(state)
        return updates, jax.tree.map(vary_like, new, state)

    def skip(state: Any) -> tuple[Any, Any]:
        # like the types, so that sharding and manual axes are those of the other branch
        return jax.tree.map(jnp.zeros_like, types), jax.tree.map(vary_like, otherwise(state), new_types)

    return jax.lax.cond(wanted, take, skip, state)


def _zeros(t: Any, like: Any) -> Any:
    if t.dtype == jax.dtypes.float0:
        return np.zeros(t.shape, t.dtype)
    # what sums over a batch gives other shapes than it gets
    return jnp.zeros_like(like, dtype=t.dtype) if np.shape(like) == t.shape else jnp.zeros(t.shape, t.dtype)


# ---------------------------------------------------------------- one object for equal updates

_interned: "collections.OrderedDict[Any, Any]" = collections.OrderedDict()
_lock = threading.Lock()


def interned(update: Any, size: int = 256) -> Any:
    """The one object used for all equal updates.

    `jax.jit` forgets a function when it dies; kept here, two equal optimizers share one compilation even if the first
    is gone.
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
    memory = init_of(rule, params)
    return memory if rule.elementwise and not rule.skips else vary_like(memory, params)


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
