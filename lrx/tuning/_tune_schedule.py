"""`tune_schedule`: exact gradients of the final loss with respect to a schedule's numbers, through all of training."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import _check as check
from .._numbers import F32
from ..optimizers.adam import adam
from ..optimizers.apply_updates import apply_updates
from ..problems._problem import Problem
from ..schedules.polynomial import linear_schedule
from ._arguments import By, check_by, check_kinds
from ._engine import as_key, seed_keys
from ._host_batches import Batches
from ._through_training import Mode, Numbers, Training, is_accepted, value_and_gradient

FEW = 2
"""Numbers for which forward mode is the default."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class TunedSchedule:
    """What `tune_schedule` found; see there."""

    schedule: Any
    """The schedule with its new numbers (or whatever was given in its place)."""
    losses: np.ndarray
    """The loss at the end of training, float32 [rounds, seeds]."""
    gradients: np.ndarray
    """Its derivatives with respect to the logarithms (or log odds) of the numbers, float32 [rounds, seeds, numbers]."""
    names: tuple[str, ...]
    """The numbers that were tuned, by path."""
    before: float
    """The loss of what was given, on seeds that took no part."""
    after: float
    """The loss of `schedule` on the same seeds."""

    @property
    def agreement(self) -> np.ndarray:
        """The mean cosine between two seeds' gradients, [rounds]; nan for one seed.

        Near 0 in the first round it says that training is chaotic; later also that only noise is left.
        """
        norms = np.linalg.norm(self.gradients, axis=-1, keepdims=True)
        units = self.gradients / np.where(norms > 0, norms, 1.0)
        seeds = units.shape[1]
        if seeds < 2:
            return np.full(len(units), np.nan)
        return (np.sum(units.sum(1) ** 2, -1) - np.sum(units**2, (1, 2))) / (seeds * (seeds - 1))

    def __repr__(self) -> str:
        gain = f"before={self.before:.4g}, after={self.after:.4g}"
        return (
            f"TunedSchedule({gain}, agreement={self.agreement[0]:.2f} to {self.agreement[-1]:.2f}, {self.schedule!r})"
        )


@check.public
def tune_schedule(
    problem: Problem,
    make_optimizer: Callable[[Any], Any],
    schedule: Any,
    *,
    steps: int,
    rounds: int = 20,
    seeds: int = 4,
    hyper_learning_rate: float = 0.2,
    by: By = "training",
    mode: Mode = "auto",
    key: jax.Array | int | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> TunedSchedule:
    """Improve the numbers of a schedule by gradient descent through training.

    With φ the logarithms of the numbers, θ_T(φ) the parameters after T updates and L the loss at the end::

      g_s = dL(θ_T(φ; seed s)) / dφ          exactly, through all T updates
      φ ← φ - Adam(mean_s clip(g_s))         rounds times, the rate falling linearly from hyper_learning_rate to 0

    - Reverse mode keeps the state of every ⌈√T⌉-th update and computes what lies between twice: √T states of
      parameters and optimizer in memory each way, and about four times the time of training. Forward mode carries a
      derivative of the whole state for each number: memory and time are those of training, times the numbers plus one.
    - A number keeps its sign, and 0 stays 0. Whole numbers (lengths) stay. One in (0, 1) that may not be larger, such
      as b1 or a momentum, stays there: φ is then its log odds. Where an argument would be refused, the step is halved.
    - A seed's gradient is scaled down to the median norm of the round's seeds. A seed with a loss or a gradient that
      is not finite takes no part. A round in which half of the seeds are so goes back half-way to the best numbers.
    - All rounds train from the same seeds on the same batches; `before` and `after` come from as many others.

    Where the rate is so high that training is chaotic, gradients grow exponentially with the number of updates and
    differ from seed to seed: look at `agreement`. Start from a rate that is too low rather than too high.

    Args:
      problem: what to train. Batches from the host are all kept on the device.
      make_optimizer: `make_optimizer(schedule)`, such as `lrx.adam`; an optimizer that can be differentiated.
      schedule: where to start: a schedule, whose numbers are tuned, or any tree of numbers that `make_optimizer`
        takes, such as `{"learning_rate": 1e-3, "b1": 0.9}`.
      steps: updates T of one training.
      rounds: trainings per seed.
      seeds: starts and streams of batches over which to average.
      hyper_learning_rate: the step of a round, in logarithms: at 0.2 a number changes by up to a fifth.
      by: the loss L: "training", the mean over the last twentieth of the updates, or "validation", `evaluate`'s.
      mode: "reverse", "forward", or "auto": forward for one or two numbers.
      key: a JAX random key, or a number from which to make one.
      progress: called after each round with its number and mean loss.

    Returns:
      A `TunedSchedule`: `.schedule`, the best of the rounds, `.losses[round, seed]`, `.gradients`, `.agreement`.

    Raises:
      ValueError: if there is no number to tune, no seed starts with a finite loss and gradient, or `steps` is 1 and
        the training loss is to fall.
      TypeError: if `make_optimizer` is no function.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> bowl = lrx.Problem(
      ...     init=lambda key: jnp.ones(2),
      ...     loss=lambda params, batch, key=None: jnp.sum(params**2),
      ...     sample=lambda key: jnp.zeros(()),
      ... )
      >>> tuned = lrx.tune_schedule(bowl, lrx.sgd, lrx.constant_schedule(0.05), steps=20, seeds=1)
      >>> tuned.after < 0.1 * tuned.before
      True

    References:
      Maclaurin, Duvenaud and Adams 2015, arXiv:1502.03492 (through training); Chen et al. 2016, arXiv:1604.06174
      (√T memory); Metz et al. 2019, arXiv:1810.10180 (why long horizons are chaotic).
    """
    check.positive_count(steps=steps, rounds=rounds, seeds=seeds)
    steps, rounds, seeds = int(steps), int(rounds), int(seeds)
    check.finite(hyper_learning_rate=hyper_learning_rate)
    check.positive(hyper_learning_rate=hyper_learning_rate)
    check.one_of(Mode, mode=mode)
    check_kinds(problem, make_optimizer)
    check_by(problem, by)
    if by == "training" and steps < 2:
        raise check.fail("steps", "must be at least 2: the training loss of an update is that before it", steps)
    numbers = Numbers.of(schedule, make_optimizer)
    if mode == "auto":
        mode = "forward" if len(numbers.names) <= FEW else "reverse"
    batches = Batches(problem).stack(0, steps, steps)
    training = Training(problem, make_optimizer, numbers, int(steps), by, batches)
    both, alone = value_and_gradient(training, mode), jax.jit(training.losses)
    first_key, second_key = jax.random.split(as_key(key))
    keys, fresh = seed_keys(first_key, seeds), seed_keys(second_key, seeds)

    optimizer = adam(linear_schedule(hyper_learning_rate, 0.0, rounds))
    phi = jnp.zeros(len(numbers.names), F32)  # logarithms of what the numbers are multiplied by
    state = optimizer.init(phi)
    best, lowest = phi, math.inf
    losses, gradients = [], []
    for i in range(rounds):
        loss, gradient = map(np.asarray, both(phi, keys))
        losses.append(loss)
        gradients.append(gradient)
        usable = np.isfinite(loss) & np.isfinite(gradient).all(-1)
        if i == 0 and not usable.any():
            raise check.fail(
                "schedule", "must start with a finite loss and gradient", loss.tolist(), "Start from lower rates."
            )
        if np.isfinite(loss).all() and loss.mean() < lowest:
            best, lowest = phi, float(loss.mean())
        if progress is not None:
            progress(i + 1, float(loss.mean()))
        if not usable.any() or (seeds > 1 and 2 * usable.sum() <= seeds):
            phi = (phi + best) / 2
            continue
        updates, state = optimizer.update(jnp.asarray(_clipped_mean(gradient[usable])), state, phi)
        phi = _accepted(apply_updates(phi, updates), best, lambda x: is_accepted(make_optimizer, numbers.at(x, True)))
    before, after = (float(np.mean(alone(x, fresh))) for x in (jnp.zeros_like(phi), best))
    shown = numbers.at(best, concrete=True)
    return TunedSchedule(shown, np.stack(losses), np.stack(gradients), numbers.names, before, after)


def _accepted(phi: jax.Array, best: jax.Array, is_fine: Callable[[Any], bool]) -> jax.Array:
    """The point on the way from the best numbers to φ, halved until its numbers are not refused."""
    for _ in range(8):
        if is_fine(np.asarray(phi)):
            return phi
        phi = (phi + best) / 2
    return best


def _clipped_mean(gradients: np.ndarray) -> np.ndarray:
    """The mean over seeds, none of which is longer than the median."""
    norms = np.linalg.norm(gradients, axis=-1, keepdims=True)
    return np.mean(gradients * np.minimum(1.0, np.median(norms) / np.maximum(norms, 1e-30)), 0)
