"""Multiply the updates by the negative learning rate: the only place where a rate is applied."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .. import _check as check
from .._arithmetic import add_one, map_leaves, real, scaled, vary_like, zero_count
from .._first_count import shown_count
from .._numbers import F32, Scalar, is_number
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._skipping import guarded, not_moved_where, settled
from .._transformation import Transformation, transformation
from ..controllers._controller import Controller, LearningRate, evaluate, is_by_leaf, is_per_leaf
from ..schedules._schedule import as_schedule


class RateState(NamedTuple):
    """What a constant rate remembers. The rate itself is the hyperparameter, the state's one `learning_rate`."""

    num_updates: jax.Array
    """t, the number of updates completed; int32 []. Not `count`: optax's state of a constant rate has none."""


class ScaleByScheduleState(NamedTuple):
    """What a scheduled rate or factor remembers."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    learning_rate: Any = np.float32(0)  # optax's has a count alone
    """The rate last applied, before the first update the one that the first will apply; float32 []. Of
    `scale_by_schedule` without its sign."""


@pytree_dataclass
class ScaleByLearningRate(Rule):
    """See `scale_by_learning_rate`. The rate is a number."""

    learning_rate: Scalar
    flip_sign: bool = static(default=True)

    factory = "scale_by_learning_rate"
    elementwise = True

    def init(self, params: Any) -> RateState:
        """The state before the first update."""
        del params
        return RateState(zero_count())

    def update(self, updates: Any, state: RateState, params: Any = None, **extra: Any) -> tuple[Any, RateState]:
        """`-learning_rate * updates`."""
        del params, extra
        rate = jnp.asarray(self.learning_rate, F32)
        return scaled(-rate if self.flip_sign else rate, updates), RateState(add_one(state.num_updates))


@pytree_dataclass
class ScaleBySchedule(Rule):
    """See `scale_by_learning_rate`. The rate is a schedule, which the rule evaluates itself, to keep the value."""

    schedule: Any
    flip_sign: bool = static(default=True)

    factory = "scale_by_learning_rate"
    elementwise = True

    def init(self, params: Any) -> ScaleByScheduleState:
        """The state before the first update."""
        del params
        return ScaleByScheduleState(zero_count(), self._rate(shown_count()))

    def update(
        self, updates: Any, state: ScaleByScheduleState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByScheduleState]:
        """`-schedule(count) * updates`."""
        del params, extra
        rate = self._rate(state.count)
        return scaled(-rate if self.flip_sign else rate, updates), ScaleByScheduleState(add_one(state.count), rate)

    def _rate(self, count: jax.Array) -> jax.Array:
        rate = jnp.asarray(self.schedule(count))
        if rate.shape != ():
            raise ValueError(f"scale_by_learning_rate: {self.schedule!r} must give a scalar, got shape {rate.shape}.")
        return rate.astype(F32)

    def __repr__(self) -> str:
        sign = "" if self.flip_sign else ", flip_sign=False"
        return f"scale_by_learning_rate(learning_rate={self.schedule!r}{sign})"


class ControlledRateState(NamedTuple):
    """What a controlled rate remembers."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    learning_rate: Any
    """The rate last applied, before the first update that of the controller's base; float32 [], or one each leaf."""
    skipped: jax.Array
    """Updates that were skipped: the gradient, the loss or the rate was not finite; int32 []."""
    controller: Any
    """What the controller remembers."""


@pytree_dataclass
class ScaleByController(Rule):
    """See `scale_by_learning_rate`. The rate is a controller."""

    controller: Any
    flip_sign: bool = static(default=True)

    factory = "scale_by_learning_rate"
    renamed = (("controller", "learning_rate"),)
    skips = True

    @property
    def elementwise(self) -> bool:
        """Whether each coordinate is treated by itself: a rate may be one for each leaf."""
        return not is_by_leaf(self.controller)

    def init(self, params: Any) -> ControlledRateState:
        """The state before the first update."""
        first, memory = self.controller.first(params), self.controller.start(params)
        return ControlledRateState(zero_count(), *vary_like((first, zero_count(), memory), params))

    def update(
        self, updates: Any, state: ControlledRateState, params: Any = None, **extra: Any
    ) -> tuple[Any, ControlledRateState]:
        """`-rate * updates`, with the controller's rate."""
        return guarded(lambda state: self._step(updates, state, params, extra), updates, state)

    def _step(
        self, updates: Any, state: ControlledRateState, params: Any, extra: dict[str, Any]
    ) -> tuple[Any, ControlledRateState]:
        result = evaluate(self, self.controller, state.controller, updates, state.count, params, extra)
        applied = jax.tree.map(lambda r: r.astype(F32), result.rate)
        new = ControlledRateState(add_one(state.count), applied, state.skipped, result.memory)
        rates = result.rate if is_per_leaf(self.controller) else jax.tree.map(lambda u: result.rate, updates)

        def leaf(u: jax.Array, rate: jax.Array) -> tuple[jax.Array]:
            rate = rate.astype(real(u.dtype))
            return ((-rate if self.flip_sign else rate) * u,)

        moved, after = settled(map_leaves(leaf, 1, updates, rates)[0], new, state, result.failed)
        # a plateau remembers a loss that is not finite as no improvement, though nothing moves
        unmeasured = result.unmeasured & (after.skipped == state.skipped)
        after = after._replace(skipped=jnp.where(unmeasured, add_one(state.skipped), after.skipped))
        return not_moved_where(unmeasured, moved), after


@check.public
def scale_by_learning_rate(learning_rate: LearningRate, *, flip_sign: bool = True) -> Transformation:
    """Multiply the updates by the negative learning rate.

    With η_t = `learning_rate`, or `learning_rate(t)` for a schedule, at t updates completed, or what a controller makes
    of the loss, the gradient and the parameters::

      u_t = −η_t · g_t

    The product is formed in at least float32 and rounded once, to the dtype of each update; the rate itself is
    float32 whatever the dtypes of updates and parameters. The rate applied last stays in the state, where
    `lrx.learning_rate` reads it.

    Args:
      learning_rate: η, a number; or a schedule: a function of the count of updates completed (int32 [], 0 at the
        first update) that gives a scalar; or a controller, such as `lrx.plateau(0.1)`, whose update may need extra
        arguments. An update whose gradient, loss or rate is not finite moves nothing, and is counted in
        the state as `skipped`.
      flip_sign: whether to multiply by −η (to descend) or by η.

    Returns:
      A transformation.

    Raises:
      TypeError: if `learning_rate` is no number, no schedule and no controller.
      ValueError: if it is a number that is negative or not finite; in update, if an argument is missing that the
        controller needs.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_learning_rate(0.5)
      >>> updates, state = tx.update(jnp.array([1.0, 2.0]), tx.init(jnp.zeros(2)))
      >>> print(updates)
      [-0.5 -1. ]
    """
    if isinstance(learning_rate, Controller):
        return transformation(ScaleByController(learning_rate, flip_sign))
    if callable(learning_rate):
        return transformation(ScaleBySchedule(as_schedule(learning_rate), flip_sign))
    if not is_number(learning_rate):
        what = check.where("learning_rate")
        raise TypeError(f"{what} must be a number, a schedule or a controller, got {learning_rate!r}.")
    check.finite(learning_rate=learning_rate)
    check.non_negative(learning_rate=learning_rate)
    return transformation(ScaleByLearningRate(learning_rate, flip_sign))
