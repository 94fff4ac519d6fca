"""The one place where a learning rate touches an update."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import add_one, scaled, zero_count
from .._numbers import F32, Scalar, is_number
from .._pytree import pytree_dataclass, static
from .._transformation import Transformation, transformation
from ..schedules._schedule import Schedule, as_schedule


class RateState(NamedTuple):
    """What a constant rate remembers. The rate itself is the hyperparameter, the state's one `learning_rate`."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""


class ScheduledRateState(NamedTuple):
    """What a scheduled rate remembers."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    learning_rate: jax.Array
    """The rate last applied, before the first update the one that the first will apply; float32 []."""


@pytree_dataclass
class ScaleByLearningRate:
    """See `scale_by_learning_rate`. The rate is a number."""

    learning_rate: Scalar
    flip_sign: bool = static(default=True)

    factory = "scale_by_learning_rate"

    def init(self, params: Any) -> RateState:
        """The state before the first update."""
        del params
        return RateState(zero_count())

    def update(self, updates: Any, state: RateState, params: Any = None, **extra: Any) -> tuple[Any, RateState]:
        """`-learning_rate * updates`."""
        del params, extra
        rate = jnp.asarray(self.learning_rate, F32)
        return scaled(-rate if self.flip_sign else rate, updates), RateState(add_one(state.count))


@pytree_dataclass
class ScaleBySchedule:
    """See `scale_by_learning_rate`. The rate is a schedule."""

    schedule: Any
    flip_sign: bool = static(default=True)

    factory = "scale_by_learning_rate"

    def init(self, params: Any) -> ScheduledRateState:
        """The state before the first update."""
        del params
        return ScheduledRateState(zero_count(), self._rate(zero_count()))

    def update(
        self, updates: Any, state: ScheduledRateState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScheduledRateState]:
        """`-schedule(count) * updates`."""
        del params, extra
        rate = self._rate(state.count)
        return scaled(-rate if self.flip_sign else rate, updates), ScheduledRateState(add_one(state.count), rate)

    def _rate(self, count: jax.Array) -> jax.Array:
        rate = jnp.asarray(self.schedule(count))
        if rate.shape != ():
            raise ValueError(f"scale_by_learning_rate: {self.schedule!r} must give a scalar, got shape {rate.shape}.")
        return rate.astype(F32)

    def __repr__(self) -> str:
        sign = "" if self.flip_sign else ", flip_sign=False"
        return f"scale_by_learning_rate(learning_rate={self.schedule!r}{sign})"


@check.public
def scale_by_learning_rate(learning_rate: Scalar | Schedule | Any, *, flip_sign: bool = True) -> Transformation:
    """Multiply the updates by the negative learning rate.

    With η_t = `learning_rate`, or `learning_rate(t)` for a schedule, at t updates completed::

      u_t = −η_t · g_t

    The product is formed in at least float32 and rounded once, to the dtype of each update; the rate itself is
    float32 whatever the dtypes of updates and parameters. The rate applied last stays in the state, where
    `lrx.learning_rate` reads it.

    Args:
      learning_rate: η, a number, or a schedule: a function of the count of updates completed (int32 [], 0 at the
        first update) that gives a scalar.
      flip_sign: whether to multiply by −η (to descend) or by η.

    Returns:
      A transformation.

    Raises:
      TypeError: if `learning_rate` is neither a number nor callable.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_learning_rate(0.5)
      >>> updates, state = tx.update(jnp.array([1.0, 2.0]), tx.init(jnp.zeros(2)))
      >>> print(updates)
      [-0.5 -1. ]
    """
    if callable(learning_rate):
        return transformation(ScaleBySchedule(as_schedule(learning_rate), flip_sign))
    if not is_number(learning_rate):
        what = check.where("learning_rate")
        raise TypeError(f"{what} must be a number or a schedule, got {learning_rate!r}.")
    return transformation(ScaleByLearningRate(learning_rate, flip_sign))
