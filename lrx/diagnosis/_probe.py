"""`probe`: short branches at multiples of the learning rate, from one training state and on the same batches."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np

from .. import _check as check
from .._numbers import is_array, is_number
from ._best_factor import best_factor
from ._scaled_rates import Edit, copied, edits, rates_in

STILL = 1e-12
"""The multiple of the rate at which a step only tells the loss: at exactly 0 a rate in logarithms is not a number."""

SAME = 1e-3
"""How far the rate of a branch may be from its multiple, relative: rounding alone."""


@dataclasses.dataclass(frozen=True)
class Probe:
    """What the branches of `probe` tell."""

    factor: float
    """Multiply the learning rate by it."""
    interval: tuple[float, float]
    """The factors that may be as good; infinite or 0 at a side where the branches show no end."""
    text: str
    """Two sentences for a person."""
    factors: np.ndarray
    """Those that were tried, ascending; float64 [factors]."""
    losses: np.ndarray
    """The loss of each step of each branch, float64 [factors, steps]."""
    ends: np.ndarray
    """The loss of each branch's last parameters on the same batches each, float64 [factors, batches]."""
    learning_rates: np.ndarray
    """The rate of each step of each branch, float64 [factors, steps]; that of the first group, if there are several."""

    def __repr__(self) -> str:
        low, high = self.interval
        return f"Probe(factor={self.factor:.3g}, interval=({low:.3g}, {high:.3g}), factors={self.factors.tolist()})"


@check.public
def probe(
    step: Callable[[Any, Any], tuple[Any, Any]],
    state: Any,
    batches: Iterable[Any],
    *,
    factors: Sequence[float] = (0.1, 0.3, 1.0, 3.0, 10.0),
    steps: int,
) -> Probe:
    """Try multiples of the present learning rate from one training state, and tell by which to multiply it.

    For each factor f the training goes on from a copy of `state` for `steps` steps, on the same batches, at f times its
    rate, which falls linearly to 0: without the fall, a rate that is too high for the end would be blamed for noise
    that a schedule takes off anyway. Then the loss of the last parameters is taken on the same batches again. The best
    of the branches is the lowest point of the parabola, over the logarithm of f, through the best and its neighbours.
    What is best for a short branch is not what is best for the run: the answer is that point, stretched by what the
    runs of `benchmarks.doctor.probe` showed. It costs `2 * len(factors) * steps` calls of the step, and a few.

    A short branch is a guess. On these runs, half-way, with branches of 2.5 % of the run (25 % of its cost), half the
    answers are within a factor of 1.5 of the right one and nine in ten within 4.1; shorter branches tell the direction.
    Both are in-sample: the stretch was fitted to the same runs, so expect larger errors on others.

    The rate is multiplied in the state, as `lrx.with_hyperparams` edits it, so that nothing is compiled anew and your
    state stays what it is: the step may donate it, it is given copies. A schedule is multiplied as a whole, a
    controller by its base. What cannot be multiplied so is an error.

    Args:
      step: `step(state, batch) -> (state, loss)`, jitted or not. The loss is that before the update, as
        `jax.value_and_grad` gives it.
      state: any pytree with an optimizer's state of lrx's, or of `optax.inject_hyperparams`: a tuple, a `TrainState`,
        an `nnx` model and optimizer.
      batches: at least `steps` batches. What comes after is left.
      factors: multiples of the rate, > 0, at least three. The answer lies among them.
      steps: of each branch, ≥ 1; ten at least, and better 2 % of the run or more.

    Returns:
      `.factor`, `.interval`, `.text`, `.factors`, `.losses`, `.ends`, `.learning_rates`.

    Raises:
      ValueError: if a factor is not positive or there are fewer than three, if there are too few batches, if the state
        has no learning rate, or if it does not follow what is edited.
      TypeError: if `step` is no function or does not return (state, loss).

    Examples:
      >>> import itertools, jax, jax.numpy as jnp, lrx
      >>> tx = lrx.sgd(lrx.linear_schedule(1e-3, 0.0, transition_steps=1_000))
      >>> @jax.jit
      ... def step(state, batch):
      ...   params, opt_state = state
      ...   loss, grads = jax.value_and_grad(lambda p: jnp.mean((batch - p) ** 2))(params)
      ...   updates, opt_state = tx.update(grads, opt_state, params)
      ...   return (lrx.apply_updates(params, updates), opt_state), loss
      >>> params = jnp.zeros(3)
      >>> found = lrx.probe(step, (params, tx.init(params)), itertools.repeat(jnp.ones(3)), steps=5)
      >>> print(found.text)
      The learning rate is too low: multiply it by 10. The last branch is the best, so probe again from there.
    """
    if not callable(step):
        raise TypeError(f"{check.where('step')} must be a function of (state, batch), got {step!r}.")
    check.positive_count(steps=steps)
    tried = _checked(factors)
    taken = _taken(batches, int(steps))
    edit = _working_edit(step, state, taken[0])
    losses, rates, ends = [], [], []
    for factor in tried:
        branch = copied(state)
        for k, batch in enumerate(taken):
            branch, loss = _stepped(step, edit(branch, factor * (1 - k / len(taken))), batch)
            losses.append(loss)
            rates.append(next(iter(rates_in(branch).values())))
        for batch in taken:
            branch, loss = _stepped(step, edit(branch, STILL), batch)
            ends.append(loss)
    n = len(tried)
    found = [np.asarray(jax.device_get(x), np.float64).reshape(n, -1) for x in (losses, ends, rates)]
    factor, interval, text = best_factor(tried, found[1])
    return Probe(factor, interval, text, tried, *found)


def _checked(factors: Any) -> np.ndarray:
    tried = np.unique(np.asarray(factors, np.float64))
    if tried.ndim != 1 or tried.size < 3 or not np.all(np.isfinite(tried) & (tried > 0)):
        raise check.fail("factors", "must be three positive numbers or more", factors)
    return tried


def _taken(batches: Any, steps: int) -> list[Any]:
    taken = list(itertools.islice(iter(batches), steps))
    if len(taken) < steps:
        raise check.fail("batches", f"must have steps={steps} batches or more", len(taken))
    return taken


def _stepped(step: Any, state: Any, batch: Any) -> tuple[Any, Any]:
    out = step(state, batch)
    if not (isinstance(out, tuple) and len(out) == 2):
        raise TypeError(f"{check.where('step')} must return (state, loss), got {type(out).__name__}.")
    new, loss = out
    if not is_number(loss) or (is_array(loss) and np.shape(loss) != ()):
        raise TypeError(f"{check.where('step')} must return (state, loss) with a scalar loss, got {loss!r}.")
    return new, loss


def _working_edit(step: Any, state: Any, batch: Any) -> Edit:
    """The edit by which a step takes half the rate."""
    found = edits(state)

    def rates(edit: Edit, factor: float) -> np.ndarray:
        after, _ = _stepped(step, edit(copied(state), factor), batch)
        return np.asarray(jax.device_get(list(rates_in(after).values())), np.float64)

    whole, half = rates(found[0], 1.0), np.zeros(0)
    for edit in found:
        half = rates(edit, 0.5)
        if np.allclose(half, 0.5 * whole, rtol=SAME, atol=0):
            return edit
    way_out = (
        "A rate that optax schedules, or that an optimizer estimates, cannot be multiplied: use a schedule of lrx's."
    )
    raise check.fail(
        "state", "must have a learning rate that follows its numbers", f"{half} for half of {whole}", way_out
    )
