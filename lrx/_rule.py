"""The protocol of an update rule: what it does, and everything that it may declare about itself.

A rule is a frozen dataclass whose fields are its numbers and options, with `init(params) -> memory` and
`update(updates, memory, params, **extra) -> (updates, memory)`. `transformation` lifts it to optax's (init, update)
pair, whose state keeps the rule's numbers beside its memory. `lrx.extend` is the tutorial.

`lrx.learning_rate` and the like read a state without the rule that made it. What they look for is in the memory, under
names that mean the same everywhere:

- `count`: the number of updates completed, int32 []; or what `COUNTS` lists, where optax's state has another name.
- `learning_rate`: the rate applied last, float32 [], or a tree with one for each leaf.
- `inner`: the states of the transformations that the rule wraps; or what `INNER` lists, as optax's states have it.
- `skipped`: the number of updates that were skipped; the rule then decides itself what a skipped update changes.
- `mini_step`: the micro-steps since the last update; the rules inside count updates, those outside micro-steps.
- `averaged`: the parameters to evaluate with, x; or, with `share`, the z in params = share · x + (1 − share) · z.

A rule that has a learning rate keeps it in the field `learning_rate`, or `schedule` or `controller`, whose numbers are
then called `learning_rate` outside; its memory has `count` and `learning_rate`, and they go on where an update is
skipped.
"""

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

import jax
import optax

from ._boxes import value_of

COUNTS = {"count": 0, "num_updates": 0, "t": 0, "step_count": 1}
"""The names of the number of updates completed, each with what it starts from."""

INNER = (
    *("inner", "inner_state", "inner_states", "base_optimizer_state", "fast_state"),
    *("opt_state", "adv_state", "hessian_fn_state"),
)
"""The names of the states of the transformations that a rule wraps."""


if TYPE_CHECKING:
    T = TypeVar("T")

    class _TakesSchedules(type):
        """To type checkers, a rule is made of anything: a field that an update reads as a number may be a schedule."""

        def __call__(cls: type[T], *args: Any, **kwargs: Any) -> T | Any: ...
else:
    _TakesSchedules = type


class Rule(metaclass=_TakesSchedules):
    """Base class of every update rule. The defaults are safe: what a rule does not declare is not assumed."""

    factory: ClassVar[str] = ""
    """The public function that makes the rule, for errors and `repr`; by default the class name in snake case."""
    key: ClassVar[str] = ""
    """Its key in the state of a chain; by default `factory`. It must differ from every field of its memory, so that
    `optax.tree_utils.tree_get(state, field)` finds one value."""
    renamed: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Pairs (field, argument) where the argument of the factory has another name than the field."""
    elementwise: Any = False  # True, or a property where it depends on the options
    """Whether it treats every entry alike, or all leaves as one vector: then `pack` may join leaves."""
    skips: ClassVar[bool] = False
    """Whether an update that is not usable (`lrx._skipping`) is skipped as a whole, by every link of its chain."""
    handles_nonfinite: ClassVar[bool] = False
    """Whether it handles gradients that are not finite, so that the chain around it need not."""
    stacks: Any = "unrolled"
    """How it runs in `per_layer` (`lrx._stacks`): "mapped" if it treats each leaf by itself; "whole" if it does not
    look at the leaves, what it wraps apart; "unrolled" is always right."""
    inner: Any = ()
    """The transformations that it wraps: one, or a tuple of them, in a static field of this name."""

    def init(self, params: Any) -> Any:
        """The memory before the first update. Shapes, dtypes and shardings stay what they are here."""
        raise NotImplementedError(f"{type(self).__name__} must define init(params)")

    def update(self, updates: Any, memory: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        """The updates for the next rule, or to apply, and the memory after them."""
        raise NotImplementedError(f"{type(self).__name__} must define update(updates, memory, params, **extra)")


class State(NamedTuple):
    """What one rule needs for its next step. The fields of its memory are attributes too, such as `.mu`."""

    hyperparams: Any
    """The rule's numbers: a nested dict of float32 and int32 arrays. An edit takes effect in the next update."""
    memory: Any
    """What the rule remembers of past updates: counts and moments."""
    stamp: jax.Array
    """A fingerprint of the code that wrote the numbers; int32 []."""

    @property
    def count(self) -> Any:  # every tuple has a method of that name
        """The number of updates completed, if the memory counts them."""
        found = completed(self.memory)
        return _in_memory(self, "count") if found is None else found

    def __getattr__(self, name: str) -> Any:
        return _in_memory(self, name)


class ScheduledState(NamedTuple):
    """What one rule needs for its next step if some of its numbers are schedules."""

    hyperparams: Any
    """As in `State`; a schedule is a nested dict of its numbers."""
    memory: Any
    """As in `State`."""
    count: jax.Array
    """The number of updates completed, at which the schedules are evaluated; int32 []."""
    stamp: jax.Array
    """As in `State`."""

    def __getattr__(self, name: str) -> Any:
        return _in_memory(self, name)


def _in_memory(state: Any, name: str) -> Any:
    kind = type(state.memory)
    if name in getattr(kind, "_fields", ()) or isinstance(getattr(kind, name, None), property):
        return getattr(state.memory, name)
    raise AttributeError(f"{type(state).__name__!r} object has no attribute {name!r}, nor has its memory")


def completed(memory: Any) -> Any:
    """The number of updates completed, int32 [], or None if the memory does not count them."""
    for name, start in COUNTS.items():
        if name in getattr(memory, "_fields", ()):
            held = value_of(getattr(memory, name))
            return held - start if start else held
    return None


def inner_fields(memory: Any) -> tuple[str, ...]:
    """The names of the states of what the rule wraps."""
    return tuple(name for name in INNER if name in getattr(memory, "_fields", ()))


def _replace(state: Any, **values: Any) -> Any:
    """A state with other fields, its own or its memory's, as `_replace` of optax's states gives it."""
    in_memory = getattr(state.memory, "_fields", ())
    unknown = [name for name in values if name not in state._fields and name not in in_memory]
    if unknown:
        raise ValueError(f"_replace(...) got names that neither the state nor its memory has: {unknown}.")
    own = {name: x for name, x in values.items() if name in state._fields}
    memory = own.pop("memory", state.memory)
    remembered = {name: x for name, x in values.items() if name in in_memory}
    memory = memory._replace(**remembered) if remembered else memory
    return type(state)(**{**dict(zip(state._fields, state, strict=True)), **own, "memory": memory})


for _class in (State, ScheduledState):
    _class._replace = _replace  # type: ignore[method-assign]  # a NamedTuple's body may not define it


def is_rule_state(x: Any) -> bool:
    """Whether `x` is the state of one rule."""
    return isinstance(x, State | ScheduledState)


def wrapped_by(rule: Any) -> tuple[Any, ...]:
    """The transformations that a rule wraps."""
    return (rule.inner,) if isinstance(rule.inner, optax.GradientTransformation) else tuple(rule.inner)
