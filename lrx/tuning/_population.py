"""Train a population: members (rates, schedules, other numbers) × seeds, group by group and chunk by chunk.

The compiled part is in `_program.py`. Here is what happens between two chunks of updates: batches are read, progress
is told, the state is written, and one group of members follows another.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from .. import _check as check
from ..problems._problem import Problem, scores_of, start_of
from . import _program as program
from ._batches import Batches
from ._checkpoint import Checkpoint, arguments_of, leaves, restored
from ._program import Layout, lay_out

Progress = Callable[[int], None]
"""Told after each chunk how many updates are completed, those of each member and seed counted."""


def train_population(
    problem: Problem,
    make_optimizer: Callable[..., Any],
    rates: np.ndarray,
    hyperparams: dict[str, np.ndarray],
    key: Any,
    seeds: int,
    progress: Progress | None = None,
    layout: Layout | None = None,
    checkpoint: tuple[Any, dict[str, Any]] | None = None,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Train every member from every seed.

    Args:
      problem: what to train.
      make_optimizer: `make_optimizer(learning_rate, **hyperparams)`, traced once.
      rates: the learning rate of each update, float32 [members, steps].
      hyperparams: other numbers, name -> array [members].
      key: from which the seeds' keys are made; `jax.random.key(0)` if None.
      seeds: how many.
      progress: called after each chunk.
      layout: how members are laid out on the devices; by `lay_out` if None.
      checkpoint: a path, and the names and values of the arguments that made `rates` and `hyperparams`.

    Returns:
      Training losses, float32 [members, seeds, steps], each measured before the update of that step; and what
      `problem.evaluate` says of the models at the end, name -> [members, seeds].
    """
    check_kinds(problem, make_optimizer)
    members, steps = rates.shape
    layout = layout or lay_out(members)
    several = members > layout.size
    batches = Batches(problem, marked=several or checkpoint is not None)
    if several and batches.once_only:
        rule = "must be left out if the batches are an iterator, which cannot be read again for each group of members"
        way_out = "Give a function that returns a fresh one, Problem(batches=lambda: iter(loader))."
        raise check.fail("chunk_size", rule, layout.size, way_out)
    key = as_key(key)
    file = None
    if checkpoint is not None:
        path, named = checkpoint
        named = named | {"seeds": seeds, "steps": steps, "key": np.asarray(jax.random.key_data(key))}
        named |= {"chunk_size, method and mesh": (layout.size, layout.lanes, layout.devices)}
        told = arguments_of(problem, make_optimizer, batches.first(), list(hyperparams), named)
        file = Checkpoint(path, told)
    run = _Run(problem, make_optimizer, layout, batches, file, progress, *seed_keys(key, seeds))
    if not run.complete(members):
        # a mesh that the caller has set, with other kinds of axes, would not be ours
        with contextlib.nullcontext() if layout.mesh is None else jax.set_mesh(layout.mesh):
            run.go_on(rates, hyperparams)
    return run.results()


class _Run:
    """What is completed: whole groups of members, and some updates of the next group."""

    def __init__(
        self,
        problem: Problem,
        make_optimizer: Callable[..., Any],
        layout: Layout,
        batches: Batches,
        file: Checkpoint | None,
        progress: Progress | None,
        init_keys: jax.Array,
        keys: jax.Array,
    ):
        self.what = problem, make_optimizer, layout
        self.batches, self.file, self.progress = batches, file, progress
        self.init_keys, self.keys = init_keys, keys
        self.saved = None if file is None else file.load()
        saved = self.saved or {}
        self.losses = [saved["losses"]] if "losses" in saved else []
        scores = {k.removeprefix("score_"): v for k, v in saved.items() if k.startswith("score_")}
        self.scores = [scores] if scores else []
        self.chunks = [saved["chunks"]] if "chunks" in saved else []
        """Losses of the next group, each [members, seeds, updates]."""
        batches.marks = list(map(int, saved.get("marks", ())))

    def complete(self, members: int) -> bool:
        return self._finished() == members

    def results(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        names = self.scores[0] if self.scores else ()
        return np.concatenate(self.losses), {k: np.concatenate([s[k] for s in self.scores]) for k in names}

    def go_on(self, rates: np.ndarray, hyperparams: dict[str, np.ndarray]) -> None:
        """Train what is left."""
        problem, _, layout = self.what
        for first in range(self._finished(), len(rates), layout.size):
            size = min(layout.size, len(rates) - first)
            some = np.arange(first, first + layout.size)
            some[size:] = first  # the last group is filled up with its first member
            models = self._group(first, size, rates[some], {k: v[some] for k, v in hyperparams.items()})
            if problem.evaluate is not None:
                told = dict(program.evaluate(problem, layout, models))
                self.scores.append({k: np.asarray(v)[:size] for k, v in told.items()})
            self.losses.append(np.concatenate(self.chunks, axis=2))
            self.chunks = []
        if self.file is not None:
            self.file.save(lambda: self._arrays(()))

    def _group(self, first: int, size: int, rates: np.ndarray, hyperparams: dict[str, np.ndarray]) -> Any:
        """Train a group, the first `size` of which are members, and give its models."""
        layout = self.what[2]
        carry = program.start(*self.what, rates[:, 0], hyperparams, self.init_keys)
        if self.chunks and self.saved is not None:
            carry = restored(carry, self.saved)
        steps = rates.shape[1]
        length = report_every(steps)
        done = sum(x.shape[2] for x in self.chunks)
        self.batches.rewind(done)
        while done < steps:
            xs = rates[:, done : done + length], self.keys, np.int32(done), layout.turns(size)
            carry, losses = program.advance(*self.what, hyperparams, carry, *xs, self.batches.stack(length))
            self.chunks.append(np.asarray(losses)[:size])
            done += length
            if self.file is not None and self.file.due():
                self.file.save(lambda carry=carry: self._arrays(carry))
            if self.progress is not None:
                self.progress((first * steps + size * done) * len(self.keys))
        return carry[0]

    def _finished(self) -> int:
        """Members of whole groups."""
        return sum(map(len, self.losses))

    def _arrays(self, carry: Any) -> dict[str, np.ndarray]:
        """For a file."""
        told = leaves(carry) | {"marks": np.asarray(self.batches.marks, np.uint32)}
        if self.chunks:
            told["chunks"] = np.concatenate(self.chunks, axis=2)
        if self.losses:
            losses, scores = self.results()
            told |= {"losses": losses} | {f"score_{k}": v for k, v in scores.items()}
        return told


def report_every(steps: int) -> int:
    """Updates between two reports: a divisor of `steps`, so that one program serves all chunks."""
    divisors = [d for d in range(1, steps + 1) if steps % d == 0 and d <= max(1, steps // 8)]
    return divisors[-1] if divisors and divisors[-1] * 64 >= steps else steps


def as_key(key: Any) -> jax.Array:
    """A random key, also from a number; that of 0 if None."""
    return jax.random.key(key or 0) if key is None or isinstance(key, int) else key


def seed_keys(key: jax.Array, seeds: int) -> tuple[jax.Array, jax.Array]:
    """The keys of the starts and those of the batches, [seeds] each."""
    keys = jax.random.split(key, (seeds, 2))
    return keys[:, 0], keys[:, 1]


def what_evaluate_gives(problem: Problem) -> Any:
    """The shapes and dtypes of `problem.evaluate`'s answer, without computing it; {} if the problem has none."""
    if problem.evaluate is None:
        return {}
    return jax.eval_shape(lambda key: scores_of(problem, *start_of(problem, key)), jax.random.key(0))


def check_kinds(problem: Any, make_optimizer: Any) -> None:
    """Wrong kinds, told before any training."""
    if not isinstance(problem, Problem):
        raise TypeError(f"{check.where('problem')} must be a Problem, got {problem!r}.")
    if not callable(make_optimizer) or isinstance(make_optimizer, optax.GradientTransformation):
        rule = "must be a function of the learning rate, such as lrx.adam"
        raise TypeError(f"{check.where('make_optimizer')} {rule}, got {make_optimizer!r}.")
    told = what_evaluate_gives(problem)
    if not isinstance(told, dict) or any(getattr(x, "shape", None) != () for x in told.values()):
        raise TypeError(f"Problem(evaluate=...) must return a dict of scalars, got {told}.")
