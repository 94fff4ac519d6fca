"""Multiply the updates by a number of either sign."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import add_one, scaled, zero_count
from .._first_count import shown_count
from .._numbers import F32, Hyperparameter, Scalar
from .._pytree import pytree_dataclass
from .._rule import Rule
from .._transformation import Transformation, transformation
from ..schedules._schedule import as_schedule
from .learning_rate import ScaleByScheduleState


@pytree_dataclass
class Scale(Rule):
    """See `scale`."""

    step_size: Scalar

    elementwise = True

    def init(self, params: Any) -> tuple[()]:
        """Nothing to remember."""
        del params
        return ()

    def update(self, updates: Any, state: tuple[()], params: Any = None, **extra: Any) -> tuple[Any, tuple[()]]:
        """`step_size * updates`."""
        del params, extra
        return scaled(jnp.asarray(self.step_size), updates), state


@pytree_dataclass
class ScaleByStepSize(Rule):
    """See `scale_by_schedule`."""

    step_size_fn: Any

    factory = "scale_by_schedule"
    elementwise = True

    def init(self, params: Any) -> ScaleByScheduleState:
        """The state before the first update."""
        del params
        return ScaleByScheduleState(zero_count(), jnp.abs(self._step_size(shown_count())))

    def update(
        self, updates: Any, state: ScaleByScheduleState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByScheduleState]:
        """`step_size_fn(count) * updates`."""
        del params, extra
        step_size = self._step_size(state.count)
        return scaled(step_size, updates), ScaleByScheduleState(add_one(state.count), jnp.abs(step_size))

    def _step_size(self, count: jax.Array) -> jax.Array:
        value = jnp.asarray(self.step_size_fn(count))
        if value.shape != ():
            raise ValueError(f"scale_by_schedule: {self.step_size_fn!r} must give a scalar, got shape {value.shape}.")
        return value.astype(F32)


@check.public
def scale(step_size: Hyperparameter) -> Transformation:
    """Multiply the updates by a number.

    ::

      u_t = step_size · g_t

    The product is formed in at least float32 and rounded once, to the dtype of each update. `lrx.learning_rate` reads
    the number, without its sign, where the state has no other rate, as in `chain(scale_by_adam(), scale(-1e-3))`.

    Args:
      step_size: a finite number of either sign; −1 turns ascent into descent.

    Returns:
      A transformation without memory.

    Raises:
      ValueError: if the number is not finite.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.chain(lrx.scale_by_sign(), lrx.scale(-0.5))
      >>> updates, state = tx.update(jnp.array([3.0, -4.0]), tx.init(jnp.zeros(2)))
      >>> print(updates, lrx.hyperparams(state)["scale.step_size"])
      [-0.5  0.5] -0.5
    """
    check.finite(step_size=step_size)
    return transformation(Scale(step_size))


@check.public
def scale_by_schedule(step_size_fn: Any) -> Transformation:
    """Multiply the updates by a schedule.

    With t the number of updates completed::

      u_t = step_size_fn(t) · g_t

    The numbers of a schedule of lrx are in the state, and so is the factor applied last without its sign, as
    `learning_rate`, which `lrx.learning_rate` reads. Behind another rate of the same chain it multiplies that.

    Args:
      step_size_fn: a schedule, or any function of the count (int32 [], 0 at the first update) that gives a scalar of
        either sign.

    Returns:
      A transformation.

    Raises:
      TypeError: if `step_size_fn` is no schedule, function or number.
      ValueError: if it does not give a scalar.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.chain(lrx.scale_by_schedule(lrx.linear_schedule(1.0, 0.0, transition_steps=4)), lrx.scale(-1.0))
      >>> state = tx.init(jnp.zeros(1))
      >>> for _ in range(2):
      ...   updates, state = tx.update(jnp.ones(1), state)
      >>> print(updates, lrx.learning_rate(state))
      [-0.75] 0.75
    """
    return transformation(ScaleByStepSize(as_schedule(step_size_fn)))
