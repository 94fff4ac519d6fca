"""`range_test`: one short run in which the learning rate grows from far too low to far too high."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from .. import _check as check
from .. import charts
from ..problems._problem import Problem
from ..schedules.exponential import exponential_decay
from ._arguments import check_kinds
from ._done import Progress
from ._engine import Engine
from ._full_runs import train


@dataclasses.dataclass(frozen=True, eq=False)
class RangeTest:
    """The record of a range test."""

    learning_rates: np.ndarray
    """The rate of each step, float32 [num_steps]."""
    losses: np.ndarray
    """The training loss before the update of each step, float32 [num_steps]; inf or nan once it has diverged."""

    def plot(self, learning_rate: float | None = None) -> Any:
        """Loss against learning rate, with a suggestion marked. Needs matplotlib; returns the figure."""
        return charts.plot_range_test(self.learning_rates, self.losses, learning_rate)


def ramps(
    problem: Problem,
    make_optimizer: Callable[..., Any],
    start: float,
    stop: float,
    num_steps: int,
    key: Any,
    seeds: int,
    progress: Progress | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Rates [num_steps] and losses [seeds, num_steps] of ramps from `seeds` starts, in one program."""
    check.finite(start=start, stop=stop)
    check.positive(start=start)
    check.less("start", start, "stop", stop)
    check.positive_count(num_steps=num_steps)
    if num_steps < 2:
        raise check.fail("num_steps", "must be at least 2", num_steps)
    ramp = exponential_decay(start, num_steps - 1, stop / start)
    rates = np.asarray(ramp(np.arange(num_steps)))
    check_kinds(problem, make_optimizer)
    losses, _ = train(Engine(problem, make_optimizer, key=key, seeds=seeds), rates[None], progress=progress)
    return rates, losses[0]


@check.public
def range_test(
    problem: Problem,
    make_optimizer: Callable[..., Any],
    *,
    start: float = 1e-7,
    stop: float = 10.0,
    num_steps: int = 100,
    key: jax.Array | None = None,
) -> RangeTest:
    """Train once with a learning rate that grows exponentially, and record the loss.

    ::

      η(t) = start · (stop / start)^(t / (num_steps − 1)),   t = 0 … num_steps − 1

    Args:
      problem: what to train.
      make_optimizer: function of the learning rate, such as `lrx.adamw`.
      start: the first rate, > 0.
      stop: the last rate, > start.
      num_steps: updates, ≥ 2.
      key: a JAX random key; `jax.random.key(0)` if None.

    Returns:
      A `RangeTest`. `losses[i]` is measured before the update with `learning_rates[i]`, as the peers do.

    Raises:
      ValueError: if a number is out of its range.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> bowl = lrx.Problem(
      ...     init=lambda key: jnp.ones(2),
      ...     loss=lambda params, batch, key=None: jnp.sum(params**2),
      ...     sample=lambda key: jnp.zeros(()),
      ... )
      >>> test = lrx.range_test(bowl, lrx.sgd, start=1e-3, stop=10.0, num_steps=41)
      >>> print(test.learning_rates[[0, 20, 40]])
      [1.e-03 1.e-01 1.e+01]

    References:
      Smith, Cyclical learning rates for training neural networks (WACV 2017), arXiv 1506.01186, section 3.3.
    """
    rates, losses = ramps(problem, make_optimizer, start, stop, num_steps, key, 1)
    return RangeTest(rates, losses[0])
