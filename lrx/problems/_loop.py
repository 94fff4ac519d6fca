"""A problem in a training loop of one's own: for `lrx.probe`, and what else takes a step, a state and batches."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import optax

from .. import _check as check
from ..optimizers.apply_updates import apply_updates
from ._problem import Problem, loss_of, start_of


class LoopState(NamedTuple):
    """What a step takes and gives back."""

    params: Any
    """The parameters."""
    model_state: Any
    """What follows the updates beside them; () under a plain loss."""
    opt_state: Any
    """The optimizer's state."""
    key: jax.Array
    """The random key of the losses to come."""


class Loop(NamedTuple):
    """What a training loop runs over."""

    step: Callable[[LoopState, Any], tuple[LoopState, jax.Array]]
    """`step(state, batch) -> (state, loss)`, jitted; the loss is that before the update."""
    state: LoopState
    """Where training starts."""
    batches: Iterator[Any]
    """Without end, unless the problem's batches are an iterator, which is read once."""


@check.public
def as_loop(problem: Problem, tx: Any, *, key: Any) -> Loop:
    """The step, the start and the batches of a problem, for a loop of one's own.

    Args:
      problem: what is trained.
      tx: its optimizer, of lrx's or optax's; controllers are given the loss, the gradient and the function.
      key: random key, of the start, the batches and the losses' noise.

    Returns:
      A `Loop`: `.step`, `.state`, `.batches`.

    Raises:
      TypeError: if `problem` is no `Problem`.

    Examples:
      Is the rate right in the middle of training?

      >>> import itertools, jax, lrx
      >>> tx = lrx.sgd(1e-3)
      >>> step, state, batches = lrx.problems.as_loop(lrx.problems.digits(), tx, key=jax.random.key(0))
      >>> for batch in itertools.islice(batches, 20):
      ...   state, loss = step(state, batch)
      >>> print(lrx.probe(step, state, batches, steps=10).text)
      The learning rate is too low: multiply it by 10. The last branch is the best, so probe again from there.
    """
    if not isinstance(problem, Problem):
        raise TypeError(f"{check.where('problem')} must be an lrx.Problem, got {problem!r}.")
    start, order, noise = jax.random.split(key, 3)
    params, model_state = start_of(problem, start)
    with_extra = optax.with_extra_args_support(tx)

    @jax.jit
    def step(state: LoopState, batch: Any) -> tuple[LoopState, jax.Array]:
        key, here = jax.random.split(state.key)

        def loss_at(params: Any) -> tuple[Any, Any]:
            return loss_of(problem, params, state.model_state, batch, here)

        (loss, model_state), grads = jax.value_and_grad(loss_at, has_aux=True)(state.params)
        extra = dict(value=loss, grad=grads, value_fn=lambda params: loss_at(params)[0])
        updates, opt_state = with_extra.update(grads, state.opt_state, state.params, **extra)
        return LoopState(apply_updates(state.params, updates), model_state, opt_state, key), loss

    return Loop(step, LoopState(params, model_state, tx.init(params), noise), _batches(problem, order))


def _batches(problem: Problem, key: jax.Array) -> Iterator[Any]:
    if problem.sample is not None:
        draw = jax.jit(problem.sample)
        for t in itertools.count():
            yield draw(jax.random.fold_in(key, t))
    while True:
        given = problem.batches() if callable(problem.batches) else problem.batches
        assert given is not None
        read = 0
        for batch in given:
            read += 1
            yield batch
        if not read or problem.batches is given is iter(given):
            return
