"""`range_test` and `find`: one short run in which the learning rate grows from far too low to far too high."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from .. import _check as check
from ..problems._problem import Problem
from ..schedules.exponential import exponential_decay
from ._population import train_population
from ._suggest import suggest

ENOUGH = 50
"""Steps in a ramp that say something: in fewer, the losses are still those of the first steps."""


@dataclasses.dataclass(frozen=True, eq=False)
class RangeTest:
    """The record of a range test."""

    learning_rates: np.ndarray
    """The rate of each step, float32 [num_steps]."""
    losses: np.ndarray
    """The training loss before the update of each step, float32 [num_steps]; inf or nan once it has diverged."""

    def plot(self, learning_rate: float | None = None) -> Any:
        """Loss against learning rate, with a suggestion marked. Needs matplotlib; returns the figure."""
        from ..plot import plot_range_test

        return plot_range_test(self, learning_rate)


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """A suggested learning rate, and how far to trust it."""

    learning_rate: float
    """The suggestion, from the median loss over seeds."""
    interval: tuple[float, float]
    """The lowest and the highest suggestion of a single seed."""
    confident: bool
    """Whether the ramp has 50 steps or more, the loss fell by a tenth in it, and the seeds agree within a factor 10."""
    range_test: RangeTest
    """The ramp, with the median loss over seeds."""

    def plot(self) -> Any:
        """Loss against learning rate, with the suggestion marked. Needs matplotlib; returns the figure."""
        return self.range_test.plot(self.learning_rate)


def _ramps(
    problem: Problem,
    make_optimizer: Callable[..., Any],
    start: float,
    stop: float,
    num_steps: int,
    key: Any,
    seeds: int,
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
    losses, _ = train_population(problem, make_optimizer, rates[None], {}, key, seeds)
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
    rates, losses = _ramps(problem, make_optimizer, start, stop, num_steps, key, 1)
    return RangeTest(rates, losses[0])


@check.public
def find(
    problem: Problem,
    make_optimizer: Callable[..., Any],
    *,
    key: jax.Array | None = None,
    start: float = 1e-7,
    stop: float = 10.0,
    num_steps: int = 100,
    rule: str = "minimum",
    seeds: int = 3,
) -> Found:
    """Suggest a learning rate from range tests, run from several seeds in one program.

    The rule is applied to losses smoothed with β = 0.98, without the first tenth and the last five points (a twentieth
    of a ramp of fewer than 100 steps).

    Args:
      problem: what to train.
      make_optimizer: function of the learning rate, such as `lrx.adamw`.
      key: a JAX random key; `jax.random.key(0)` if None.
      start: the first rate of the ramp, > 0.
      stop: the last rate of the ramp.
      num_steps: updates in one ramp; three ramps of 100 steps cost 0.3 of a run of 1,000.
      rule: a rule of `suggest`. "minimum" is the default because it lands closest to the best swept rate of the named
        rules; "valley" is fastai's.
      seeds: ramps.

    Returns:
      A `Found`: `.learning_rate`, `.interval`, `.confident`, `.range_test`, `.plot()`.

    Raises:
      ValueError: if a number is out of its range, or the loss is not finite at the start.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> bowl = lrx.Problem(
      ...     init=lambda key: jnp.ones(2),
      ...     loss=lambda params, batch, key=None: jnp.sum(params**2),
      ...     sample=lambda key: jnp.zeros(()),
      ... )
      >>> found = lrx.find(bowl, lrx.sgd)
      >>> 0.01 < found.learning_rate < 1.0
      True
    """
    check.positive_count(seeds=seeds)
    rates, losses = _ramps(problem, make_optimizer, start, stop, num_steps, key, seeds)

    if not np.isfinite(losses[:, 0]).all():
        raise ValueError(f"find(problem=...) must have a finite loss before the first update, got {losses[:, 0]}.")

    skip_end = min(5, num_steps // 20)

    def ask(losses: np.ndarray) -> float:
        return suggest(rates, losses, rule, smoothing=0.98, skip_start=num_steps // 10, skip_end=skip_end)

    middle = np.median(losses, axis=0)
    each = [ask(row) for row in losses]
    fell = num_steps >= ENOUGH and all(_fell(row[: num_steps - skip_end]) for row in losses)
    interval = (min(each), max(each))
    confident = fell and interval[1] <= 10 * interval[0]
    return Found(ask(middle), interval, confident, RangeTest(rates, middle))


def _fell(losses: np.ndarray) -> bool:
    """Whether the loss fell by a tenth of its size at the start, beyond the noise of single batches."""
    n = max(1, len(losses) // 20)
    smooth = np.convolve(losses[np.isfinite(losses)], np.ones(n) / n, mode="valid")
    return bool(smooth.size) and bool(smooth.min() < smooth[0] - 0.1 * abs(smooth[0]))
