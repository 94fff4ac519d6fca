"""The protocol of an update rule: what it does, and everything that it may tell the library about itself.

A rule is a frozen dataclass whose fields are its numbers and options, with `init(params) -> memory` and
`update(updates, memory, params, **extra) -> (updates, memory)`. `transformation` lifts it to optax's (init, update)
pair, whose state keeps the rule's numbers beside its memory. `lrx.extend` is the tutorial.

A state is read without the rule that made it, by `lrx.learning_rate` and the like. So what they look for stands in the
memory, under a name with one meaning everywhere:

- `count`: the number of updates completed, int32 []; `num_updates` where optax's state has no count.
- `learning_rate`: the rate applied last, float32 [], or a tree of rates, one for each leaf.
- `inner`: the states of the transformations that the rule wraps.
- `skipped`: the updates that were skipped; the memory then decides for itself what a skipped update changes.
- `mini_step`: the micro-steps since the last update; the rules inside count updates, those outside micro-steps.
- `averaged`: the parameters to evaluate with; with `share`, what of them is not in the parameters of the loop.

A rule that has a learning rate keeps it in the field `learning_rate`, or `schedule` or `controller`, whose numbers are
then called `learning_rate` outside; its memory has `count` and `learning_rate`, and they go on where an update is
skipped.
"""

from typing import Any, ClassVar, NamedTuple

import jax
import optax


class Rule:
    """Base class of every update rule. The defaults are safe: what a rule does not say is not assumed."""

    factory: ClassVar[str] = ""
    """The public function that makes the rule, for errors and `repr`; by default the class name in snake case."""
    key: ClassVar[str] = ""
    """Its key in the state of a chain; by default `factory`. It must differ from every field of its memory, so that
    `optax.tree_utils.tree_get(state, field)` finds one value."""
    renamed: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Pairs (field, argument) where the factory calls a field otherwise."""
    elementwise: Any = False  # True, or a property where it depends on the options
    """Whether it treats each entry of each leaf in the same way, or all together: then `pack` may join leaves."""
    skips: ClassVar[bool] = False
    """Whether an update that is not usable (`lrx._skipping`) is skipped as a whole, by every link of its chain."""
    handles_nonfinite: ClassVar[bool] = False
    """Whether it deals with gradients that are not finite itself, so that the chain around it need not."""
    inner: Any = ()
    """The transformations that it wraps: one, or a tuple of them, in a static field of this name."""

    def init(self, params: Any) -> Any:
        """The memory before the first update. Shapes, dtypes and shardings stay what they are here."""
        raise NotImplementedError(f"{type(self).__name__} must define init(params)")

    def update(self, updates: Any, memory: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        """The updates to apply, or to hand to the next rule, and the memory after them."""
        raise NotImplementedError(f"{type(self).__name__} must define update(updates, memory, params, **extra)")


class State(NamedTuple):
    """What one rule needs for its next step. The fields of its memory are attributes too, such as `.mu`."""

    hyperparams: Any
    """The rule's numbers: a nested dict of float32 and int32 arrays. Editing them changes the next update."""
    memory: Any
    """What the rule remembers of past updates: counts and moments."""
    stamp: jax.Array
    """A fingerprint of the code that wrote the numbers; int32 []."""

    @property
    def count(self) -> Any:  # every tuple has a method of that name
        """The count in the memory."""
        return _in_memory(self, "count")

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
    if name in getattr(state.memory, "_fields", ()):
        return getattr(state.memory, name)
    raise AttributeError(f"{type(state).__name__!r} object has no attribute {name!r}, nor has its memory")


def is_rule_state(x: Any) -> bool:
    """Whether `x` is the state of one rule."""
    return isinstance(x, State | ScheduledState)


def wrapped_by(rule: Any) -> tuple[Any, ...]:
    """The transformations that a rule wraps."""
    return (rule.inner,) if isinstance(rule.inner, optax.GradientTransformation) else tuple(rule.inner)
