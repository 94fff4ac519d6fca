"""Train a population in one program: members (rates, schedules, other numbers) × seeds.

A run of known length needs of its schedule no more than the list of its values. So a member is a row of learning
rates, one for each update, and one program serves every schedule and every number. Members of one seed start from the
same parameters and see the same batches: they differ in nothing but what is compared. A member that diverges goes on
by itself, as inf or nan.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .. import _check as check
from .._resume import resume
from ..optimizers.apply import apply_updates
from ..problems._problem import Problem

Progress = Callable[[int], None]
"""Told after each chunk how many updates every member has completed."""


def train_population(
    problem: Problem,
    make_optimizer: Callable[..., Any],
    rates: np.ndarray,
    hyperparams: dict[str, np.ndarray],
    key: jax.Array | None,
    seeds: int,
    progress: Progress | None = None,
) -> tuple[np.ndarray, dict[str, np.ndarray], Any]:
    """Train every member from every seed.

    Args:
      problem: what to train.
      make_optimizer: `make_optimizer(learning_rate, **hyperparams)`, traced once.
      rates: the learning rate of each update, float32 [members, steps].
      hyperparams: other numbers, name -> array [members].
      key: from which the seeds' keys are made; `jax.random.key(0)` if None.
      seeds: how many.
      progress: called after each chunk.

    Returns:
      Training losses, float32 [members, seeds, steps], each measured before the update of that step; what
      `problem.evaluate` says of the final parameters, name -> [members, seeds]; and those parameters.
    """
    _check(problem, make_optimizer)
    batches = _Batches(problem)
    steps = rates.shape[1]
    key = as_key(key)
    carry, keys = _start(problem, make_optimizer, seeds, rates[:, 0], hyperparams, key)
    losses, done = [], 0
    chunk = chunk_size(steps)
    while done < steps:
        xs = rates[:, done : done + chunk].T, batches.stack(chunk)
        carry, loss = _chunk(problem, make_optimizer, hyperparams, keys, carry, np.int32(done), *xs)
        losses.append(np.asarray(loss))
        done += chunk
        if progress is not None:
            progress(done)
    params = carry[0]
    scores = {} if problem.evaluate is None else jax.tree.map(np.asarray, dict(_evaluate(problem, params)))
    return np.concatenate(losses, axis=2), scores, params


def chunk_size(steps: int) -> int:
    """Updates between two reports: a divisor of `steps`, so that one program serves all chunks."""
    divisors = [d for d in range(1, steps + 1) if steps % d == 0 and d <= max(1, steps // 8)]
    return divisors[-1] if divisors and divisors[-1] * 64 >= steps else steps


def as_key(key: jax.Array | int | None) -> jax.Array:
    """A random key, also from a number; that of 0 if None."""
    return jax.random.key(key or 0) if key is None or isinstance(key, int) else key


def what_evaluate_gives(problem: Problem) -> Any:
    """The shapes and dtypes of `problem.evaluate`'s answer, without computing it; {} if the problem has none."""
    evaluate = problem.evaluate
    if evaluate is None:
        return {}
    return jax.eval_shape(lambda key: evaluate(problem.init(key)), jax.random.key(0))


def _check(problem: Any, make_optimizer: Any) -> None:
    """Wrong kinds, told before any training."""
    if not isinstance(problem, Problem):
        raise TypeError(f"{check.where('problem')} must be a Problem, got {problem!r}.")
    if not callable(make_optimizer) or isinstance(make_optimizer, optax.GradientTransformation):
        rule = "must be a function of the learning rate, such as lrx.adam"
        raise TypeError(f"{check.where('make_optimizer')} {rule}, got {make_optimizer!r}.")
    told = what_evaluate_gives(problem)
    if not isinstance(told, dict) or any(getattr(x, "shape", None) != () for x in told.values()):
        raise TypeError(f"Problem(evaluate=...) must return a dict of scalars, got {told}.")


class _Batches:
    """Batches from the host, for a problem that does not draw its own on the device."""

    def __init__(self, problem: Problem):
        self.source = problem.batches
        self.iterator: Iterator[Any] | None = None
        self.shapes: Any = None

    def stack(self, n: int) -> Any:
        """The next `n` batches, stacked, or None. The source starts anew when it runs out."""
        if self.source is None:
            return None
        batches = [jax.tree.map(np.asarray, self._next()) for _ in range(n)]
        for batch in batches:
            shapes = jax.tree.map(np.shape, batch)
            self.shapes = self.shapes or shapes
            if shapes != self.shapes:
                raise ValueError(
                    f"Problem(batches=...) must give batches of one shape, got {self.shapes} and {shapes}. "
                    "Leave out the last, smaller batch of an epoch (drop_last in many loaders)."
                )
        return jax.tree.map(lambda *xs: jnp.asarray(np.stack(xs)), *batches)

    def _next(self) -> Any:
        for _ in range(2):
            if self.iterator is None:
                source = self.source() if callable(self.source) else self.source
                assert source is not None  # `stack` has looked
                self.iterator = iter(source)
            for batch in self.iterator:
                return batch
            self.iterator = None
        raise ValueError(
            "Problem(batches=...) ran out of batches. An iterator can be read once only: give a function that "
            "returns a fresh one, batches=lambda: iter(loader)."
        )


def _over_population(f: Callable[..., Any], members: tuple[Any, ...], seeds: tuple[Any, ...]) -> Callable[..., Any]:
    """`f(*by member, *by seed, *by both, *shared)` over members and seeds, the members inside.

    `members` and `seeds` are the axes of the arguments for the inner and for the outer map: what depends on the
    seed alone, such as its batches, is computed once for all members.
    """
    return jax.vmap(jax.vmap(f, in_axes=members), in_axes=seeds)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _start(
    problem: Problem, make_optimizer: Callable[..., Any], seeds: int, rates: Any, hyperparams: Any, key: jax.Array
) -> Any:
    """Parameters and states [seeds, members, …], and the key of each seed's batches."""

    def start(rate: jax.Array, hyper: Any, key: jax.Array) -> Any:
        params = problem.init(key)
        return params, make_optimizer(rate, **hyper).init(params)

    keys = jax.random.split(key, (seeds, 2))
    return _over_population(start, (0, 0, None), (None, None, 0))(rates, hyperparams, keys[:, 0]), keys[:, 1]


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=(4,))
def _chunk(
    problem: Problem,
    make_optimizer: Callable[..., Any],
    hyperparams: Any,
    keys: jax.Array,
    carry: Any,
    begin: jax.Array,
    rates: jax.Array,
    batches: Any,
) -> tuple[Any, jax.Array]:
    """Some updates of every member, with rates [length, members]; carry and losses [members, seeds, length]."""

    def update(rate: jax.Array, hyper: Any, params: Any, state: Any, batch: Any, key: jax.Array) -> Any:
        # the optimizer of this step: optax's keep their numbers in a closure, lrx's find them in the state
        tx = optax.with_extra_args_support(make_optimizer(rate, **hyper))
        state = resume(tx, params, state)

        def value_fn(params: Any) -> jax.Array:
            return problem.loss(params, batch, key)

        loss, grads = jax.value_and_grad(value_fn)(params)
        updates, state = tx.update(grads, state, params, value=loss, grad=grads, value_fn=value_fn)
        return apply_updates(params, updates), state, loss

    def step(carry: Any, xs: Any) -> Any:
        params, state = carry
        t, rate, batch = xs
        now = jax.vmap(lambda key: jax.random.fold_in(key, t))(keys)
        batch_axis = None
        if problem.sample is not None:
            batch, batch_axis = jax.vmap(problem.sample)(now), 0
        noise = jax.vmap(lambda key: jax.random.fold_in(key, 0))(now)
        mapped = _over_population(update, (0, 0, 0, 0, None, None), (None, None, 0, 0, batch_axis, 0))
        params, state, loss = mapped(rate, hyperparams, params, state, batch, noise)
        return (params, state), loss

    t = begin + jnp.arange(len(rates), dtype=jnp.int32)
    carry, losses = jax.lax.scan(step, carry, (t, rates, batches))
    return carry, jnp.transpose(losses, (2, 1, 0))


@functools.partial(jax.jit, static_argnums=0)
def _evaluate(problem: Problem, params: Any) -> Any:
    scores = jax.vmap(jax.vmap(problem.evaluate))(params)  # type: ignore[arg-type]  # the caller checked it
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), scores)
