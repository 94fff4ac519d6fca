"""The exponential moving average of past updates."""

import contextlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import add_one, map_leaves, one_minus_power, real, zero_count, zeros_like
from .._numbers import F32, I32, Hyperparameter, Scalar, is_tracer
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, transformation
from ..schedules._schedule import Schedule, part
from ._dtype import dtype_name


class EmaState(NamedTuple):
    """The state of the average."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    ema: Any
    """m, shaped like the parameters, in their dtype or in `accumulator_dtype`."""


@pytree_dataclass
class Ema(Rule):
    """See `ema`."""

    decay: Scalar
    debias: bool = static(default=True)
    accumulator_dtype: str | None = static(default=None)

    key = "moving_average"
    elementwise = True

    def init(self, params: Any) -> EmaState:
        """The state before the first update."""
        return EmaState(zero_count(), zeros_like(params, self.accumulator_dtype))

    def update(self, updates: Any, state: EmaState, params: Any = None, **extra: Any) -> tuple[Any, EmaState]:
        """One step, on each leaf."""
        del params, extra
        t = add_one(state.count)
        c = one_minus_power(self.decay, t.astype(F32)) if self.debias else jnp.ones((), F32)

        def leaf(g: jax.Array, m: jax.Array) -> tuple[jax.Array, jax.Array]:
            decay = jnp.asarray(self.decay, real(g.dtype))
            m = decay * m.astype(g.dtype) + (1 - decay) * g
            return (m * (1 / c).astype(decay.dtype) if self.debias else m), m

        updates, m = map_leaves(leaf, 2, updates, state.ema)
        return updates, EmaState(t, m)


class ScheduledEmaState(NamedTuple):
    """The state of the average, if its decay is a schedule."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    weight: jax.Array
    """1 − ∏ decay_i, the weight of all updates until now; float32 []."""
    ema: Any
    """As in `EmaState`."""


@pytree_dataclass
class ScheduledEma(Rule):
    """See `ema`. The decay is a schedule."""

    decay: Any
    debias: bool = static(default=True)
    accumulator_dtype: str | None = static(default=None)

    factory = "ema"
    key = "moving_average"
    elementwise = True

    def init(self, params: Any) -> ScheduledEmaState:
        """The state before the first update."""
        return ScheduledEmaState(zero_count(), jnp.zeros((), F32), zeros_like(params, self.accumulator_dtype))

    def update(
        self, updates: Any, state: ScheduledEmaState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScheduledEmaState]:
        """One step, on each leaf."""
        del params, extra
        decay = decay_at(self.decay, state.count)
        weight = state.weight + (1 - decay) * (1 - state.weight)
        c = jnp.where(weight == 0, 1, weight) if self.debias else jnp.ones((), F32)

        def leaf(g: jax.Array, m: jax.Array) -> tuple[jax.Array, jax.Array]:
            d = decay.astype(real(g.dtype))
            m = d * m.astype(g.dtype) + (1 - d) * g
            return m * (1 / c).astype(d.dtype), m

        updates, m = map_leaves(leaf, 2, updates, state.ema)
        return updates, ScheduledEmaState(add_one(state.count), weight, m)


def decay_at(schedule: Any, count: jax.Array) -> jax.Array:
    """The decay of the update after `count` others; float32 []."""
    decay = jnp.asarray(schedule(count)).astype(F32)
    if decay.shape != ():
        raise ValueError(f"a decay must be a scalar, got shape {decay.shape} from {schedule!r}.")
    return jnp.where((decay >= 0) & (decay <= 1), decay, jnp.nan)  # an average of anything else would be none


def scheduled_decay(schedule: Any) -> Any:
    """A schedule as a decay, checked at count 0 and where it changes."""
    decay = part("decay", schedule)
    counts = {0}
    if isinstance(decay, Schedule) and not any(map(is_tracer, jax.tree.leaves(decay))):
        with contextlib.suppress(TypeError, ValueError):  # one without landmarks
            counts |= {*decay.landmarks().values()}
    for count in sorted(counts):
        value = jnp.asarray(decay(jnp.asarray(count, I32)))
        if value.shape == () and not is_tracer(value) and not 0 <= float(value) <= 1:
            raise check.fail("decay", f"must be in [0, 1] at every count, and is {float(value):g} at {count}", schedule)
    return decay


@check.public
def ema(decay: Hyperparameter, debias: bool = True, accumulator_dtype: Any = None) -> Transformation:
    """Replace the updates by the exponential moving average of past ones.

    With g_t the update coming in and m_0 = 0::

      m_t = decay · m_{t−1} + (1 − decay) · g_t
      u_t = m_t / (1 − decay^t)          (`debias=False`: u_t = m_t)

    With a schedule, d_t = decay(t − 1) is used in update t, and decay^t is ∏ d_i.

    A steady gradient ends up as large as it was; the sum of `trace` makes it 1 / (1 − decay) times as large.

    Args:
      decay: in [0, 1), or a schedule of such numbers, evaluated at the number of updates completed. Where a function
        gives one beyond [0, 1] after its first count, the average is NaN.
      debias: whether to make up for the start from zero.
      accumulator_dtype: dtype of m; the parameters' if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if `decay` is not in [0, 1).
      TypeError: if the dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.ema(0.5, debias=False)
      >>> state = tx.init(jnp.zeros(1))
      >>> for _ in range(3):
      ...   updates, state = tx.update(jnp.ones(1), state)
      ...   print(updates)
      [0.5]
      [0.75]
      [0.875]
    """
    if callable(decay):
        dtype = dtype_name("accumulator_dtype", accumulator_dtype)
        return transformation(ScheduledEma(scheduled_decay(decay), debias, dtype))
    check.below_one(decay=decay)
    return transformation(Ema(decay, debias, dtype_name("accumulator_dtype", accumulator_dtype)))
