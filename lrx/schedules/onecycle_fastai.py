"""One cycle as fastai has it, for the rate and for the momentum, which moves the other way."""

from typing import Any

import jax

from .. import _check as check
from .._numbers import Count, Scalar
from .._pytree import pytree_dataclass
from ._phase import as_count, scalar
from ._questions import Marks
from ._schedule import Schedule, schedule_factory
from ._shapes import place
from ._steps import Steps
from .onecycle import divided
from .onecycle_torch import check_turns, turning


@pytree_dataclass
class FastaiOnecycleSchedule(Schedule):
    """See `fastai_onecycle_schedule`."""

    max_value: Scalar
    total_steps: Count
    pct_start: Scalar = 0.25
    div_factor: Scalar = 25.0
    final_div_factor: Scalar = 1e5

    def __call__(self, count: Any) -> jax.Array:
        """Up and down."""
        high, n = scalar(self.max_value), as_count(self.total_steps)
        values = [divided(high, self.div_factor), high, divided(high, self.final_div_factor)]
        return turning(count, values, [place(self.pct_start, n), n], "cos")

    def marks(self) -> Marks:
        """The end; the top need not be whole."""
        return {"end": self.total_steps}


@schedule_factory
def fastai_onecycle_schedule(
    max_value: Scalar,
    total_steps: Steps,
    *,
    pct_start: Scalar = 0.25,
    div_factor: Scalar = 25.0,
    final_div_factor: Scalar = 1e5,
) -> FastaiOnecycleSchedule:
    """Rise to `max_value`, then fall far below the first value, as fastai's `fit_one_cycle` does.

    With T = `total_steps` and p = pct_start · T, half cosines join the turns::

      (0, max_value / div_factor),  (p, max_value),  (T, max_value / final_div_factor)

    and the last value holds. Unlike in torch and optax, it is the peak that `final_div_factor` divides.
    `fastai_onecycle_momentum_schedule` is the other half.

    Args:
      max_value: the value at step p, which need not be a whole number.
      total_steps: T > 0, in updates.
      pct_start: in [0, 1], the share of T that is spent rising.
      div_factor: > 0, `max_value` over the first value (fastai's `div`).
      final_div_factor: > 0, `max_value` over the last value (fastai's `div_final`).

    Returns:
      A schedule, exact at its turns (their values are quotients), within 8 ulp between.

    Raises:
      ValueError: if T or a factor is not positive, `pct_start` is not in [0, 1], or a value is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.fastai_onecycle_schedule(8.0, 8, div_factor=4.0, final_div_factor=8.0)
      >>> print(*(schedule(t) for t in (0, 1, 2, 5, 8, 9)))
      2.0 5.0 8.0 4.5 1.0 1.0

    References:
      Smith, A disciplined approach to neural network hyper-parameters (2018), arXiv 1803.09820.
    """
    check.finite(max_value=max_value, div_factor=div_factor, final_div_factor=final_div_factor)
    check.positive(div_factor=div_factor, final_div_factor=final_div_factor)
    check_turns(total_steps, pct_start)
    return FastaiOnecycleSchedule(max_value, total_steps, pct_start, div_factor, final_div_factor)


@pytree_dataclass
class FastaiOnecycleMomentumSchedule(Schedule):
    """See `fastai_onecycle_momentum_schedule`."""

    total_steps: Count
    pct_start: Scalar = 0.25
    base_momentum: Scalar = 0.85
    max_momentum: Scalar = 0.95

    def __call__(self, count: Any) -> jax.Array:
        """Down and up."""
        n = as_count(self.total_steps)
        values = [self.max_momentum, self.base_momentum, self.max_momentum]
        return turning(count, values, [place(self.pct_start, n), n], "cos")

    def marks(self) -> Marks:
        """The end; the top need not be whole."""
        return {"end": self.total_steps}


@schedule_factory
def fastai_onecycle_momentum_schedule(
    total_steps: Steps,
    *,
    pct_start: Scalar = 0.25,
    base_momentum: Scalar = 0.85,
    max_momentum: Scalar = 0.95,
) -> FastaiOnecycleMomentumSchedule:
    """The momentum that goes with `fastai_onecycle_schedule`: low while the rate is high.

    With T and p as there, half cosines join the turns::

      (0, max_momentum),  (p, base_momentum),  (T, max_momentum)

    Args:
      total_steps: T > 0, in updates.
      pct_start: in [0, 1]: the rate's.
      base_momentum: the lowest momentum.
      max_momentum: the first and the last momentum.

    Returns:
      A schedule, exact at its turns, within 8 ulp between.

    Raises:
      ValueError: if T is not positive, `pct_start` is not in [0, 1], or a value is not finite.

    Examples:
      >>> import lrx
      >>> momentum = lrx.fastai_onecycle_momentum_schedule(8, base_momentum=0.5, max_momentum=1.0)
      >>> print(*(momentum(t) for t in (0, 1, 2, 5, 8, 9)))
      1.0 0.75 0.5 0.75 1.0 1.0
    """
    check.finite(base_momentum=base_momentum, max_momentum=max_momentum)
    check_turns(total_steps, pct_start)
    return FastaiOnecycleMomentumSchedule(total_steps, pct_start, base_momentum, max_momentum)
