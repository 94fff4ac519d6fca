"""The engine of all tuning: groups of members that train side by side, in chunks of bounded size.

What drives it decides which members train, how far, and what follows from their losses: `lrx.sweep` trains every group
to the end, `lrx.halving` keeps the better members of one, `lrx.find` starts short runs again and again.

A chunk is what one call of the compiled program trains. Its size is bounded for every number of steps: at most a 64th
of a run, 256 updates, and 256 MiB of batches from the host. A last, shorter chunk is padded, and the number of its
updates is an argument of the program: it costs no second compilation (which for a large model may take longer than the
chunk) and no wasted update. Between two chunks the losses are on the host, progress is reported and the state may be
written.
"""

import contextlib
import ctypes
import dataclasses
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from .._jax_versions import set_mesh
from ..problems._problem import Problem
from . import _compiled as compiled
from ._compiled import Chunk, Setup
from ._host_batches import Batches
from ._layout import Layout

LONGEST = 256
"""Updates in a chunk, at most."""
PARTS = 64
"""Chunks in a run of many steps, at least."""
MOST_BYTES = 2**28
"""Batches from the host in a chunk, at most, in bytes; one batch may be larger."""


_watcher: ContextVar[Callable[[np.ndarray], None] | None] = ContextVar("lrx_watcher", default=None)


@contextlib.contextmanager
def watching(hear: Callable[[np.ndarray], None]) -> Iterator[None]:
    """Whatever trains inside tells its losses [members, seeds, updates] after each chunk."""
    token = _watcher.set(hear)
    try:
        yield
    finally:
        _watcher.reset(token)


@dataclasses.dataclass
class Group:
    """Members that train side by side, from every seed. `Engine.advance` moves it on."""

    layout: Layout
    members: int
    """How many there are; the layout may have room for more, which is filled with copies of the first one."""
    hyperparams: dict[str, np.ndarray]
    """Further arguments of `make_optimizer`, name -> [layout.size]."""
    carry: Any
    """Models and optimizer states [layout.size, seeds, …], on the devices."""

    def filled(self, x: np.ndarray) -> np.ndarray:
        """An array [members, …] with its first entry repeated up to the size of the layout."""
        return filled(x, self.layout.size)


class Engine:
    """Trains members of one problem and one family of optimizers, all from the same seeds and on the same batches."""

    def __init__(
        self,
        problem: Problem,
        make_optimizer: Callable[..., Any],
        *,
        key: Any = None,
        seeds: int = 1,
        updates: int = LONGEST,
        batches: Batches | None = None,
    ):
        """Prepare.

        Args:
          problem: what to train.
          make_optimizer: `make_optimizer(learning_rate, **hyperparams)`, traced once.
          key: from which the seeds' keys are made; `jax.random.key(0)` if None.
          seeds: how many starts and streams of batches.
          updates: in a chunk; fewer if the batches from the host are large.
          batches: those from the host, if another engine reads them too.
        """
        self.problem, self.make_optimizer = problem, make_optimizer
        self.trained, self.scored = compiled.only(problem), compiled.only(problem, evaluate=True)
        self.init_keys, self.batch_keys = seed_keys(as_key(key), seeds)
        self.batches = Batches(problem) if batches is None else batches
        self.updates = min(updates, LONGEST)
        self.length = LONGEST
        """Of the arrays that a chunk is padded to: the same for all runs, so that they share one program."""
        first = self.batches.first()
        if first is not None:  # whose padding would be as large as they are
            size = sum(np.asarray(x).nbytes for x in jax.tree.leaves(first))
            self.length = self.updates = max(1, min(self.updates, MOST_BYTES // max(size, 1)))

    def start(self, layout: Layout, rates: np.ndarray, hyperparams: dict[str, np.ndarray]) -> Group:
        """Fresh members, from their first rates [members] and their other numbers, name -> [members]."""
        full = {k: filled(v, layout.size) for k, v in hyperparams.items()}
        keys = _everywhere(self.init_keys, layout)
        with _on(layout):
            carry = self.programs(layout).start(filled(rates, layout.size), full, keys)
        return Group(layout, len(rates), full, carry)

    def advance(
        self, group: Group, rates: np.ndarray, begin: int, *, again_from: int | None = None, learn: bool = True
    ) -> Iterator[np.ndarray]:
        """Train a group, chunk by chunk. After each chunk the group is as far as the losses that were given.

        Args:
          group: moved on in place.
          rates: of each update, [members, updates].
          begin: the place of the first batch in the stream of batches.
          again_from: the place of the first batch that will be asked for again, which is kept until then.
          learn: whether to update at all, or only to measure the losses.

        Yields:
          The losses before each update of a chunk, float32 [members, seeds, updates].
        """
        programs, turns = self.programs(group.layout), group.layout.turns(group.members)
        keys = _everywhere(self.batch_keys, group.layout)
        for i in range(0, rates.shape[1], self.updates):
            some = rates[:, i : i + self.updates]
            n = some.shape[1]
            padded = np.zeros((group.layout.size, self.length), np.float32)
            padded[:, :n] = group.filled(some)
            batches = _everywhere(self.batches.stack(begin + i, n, self.length, again_from), group.layout)
            chunk = Chunk(padded, np.int32(begin + i), np.int32(n), turns, batches)
            with _on(group.layout):
                group.carry, losses = programs.advance(group.hyperparams, group.carry, chunk, keys, learn=learn)
            told = _on_host(losses)[: group.members, :, :n]
            if (hear := _watcher.get()) is not None:
                hear(told)
            yield told

    def copy(self, group: Group) -> Group:
        """The same members once more, to be trained apart from the first."""
        return dataclasses.replace(group, carry=compiled.take(group.carry, np.arange(group.layout.size)))

    def keep(self, group: Group, places: np.ndarray, layout: Layout) -> Group:
        """Some members of a group, by their places, in a layout of their own; the group is used up."""
        order = filled(places, layout.size)
        hyperparams = {k: v[order] for k, v in group.hyperparams.items()}
        return Group(layout, len(places), hyperparams, compiled.take(group.carry, order))

    def score(self, group: Group) -> dict[str, np.ndarray]:
        """What the problem's `evaluate` gives for the members now, name -> [members, seeds]; {} if it has none."""
        if self.problem.evaluate is None:
            return {}
        programs = compiled.programs_of(Setup(self.scored, self.make_optimizer, group.layout))
        with _on(group.layout):
            scores = dict(programs.evaluate(group.carry[0]))
        return {name: _at_least_float32(_on_host(x))[: group.members] for name, x in scores.items()}

    def programs(self, layout: Layout) -> compiled.Programs:
        """What trains members in a layout."""
        return compiled.programs_of(Setup(self.trained, self.make_optimizer, layout))


def _at_least_float32(x: np.ndarray) -> np.ndarray:
    """Narrow floats, which no file of NumPy's can hold, as float32."""
    return x.astype(np.float32) if jnp.issubdtype(x.dtype, jnp.floating) and x.dtype.itemsize < 4 else x


def return_memory() -> None:
    """Give the system back what was freed.

    glibc keeps up to 64 MiB for each thread that frees memory. The next model, in other threads, would come on top.
    """
    with contextlib.suppress(OSError, TypeError, AttributeError):  # another system, or another C library
        ctypes.CDLL(None).malloc_trim(0)


def part_of(steps: int) -> int:
    """Updates in a chunk of a run of so many."""
    return -(-steps // PARTS)


def filled(x: np.ndarray, size: int) -> np.ndarray:
    """An array with its first entry repeated up to `size` entries."""
    return np.concatenate([x, np.repeat(x[:1], size - len(x), axis=0)])


def as_key(key: Any) -> jax.Array:
    """A random key, also from a number; that of 0 if None."""
    return jax.random.key(key or 0) if key is None or isinstance(key, int) else key


def seed_keys(key: jax.Array, seeds: int) -> tuple[jax.Array, jax.Array]:
    """The keys of the starts and those of the batches, [seeds] each."""
    keys = jax.random.split(key, (seeds, 2))
    return keys[:, 0], keys[:, 1]


def _everywhere(tree: Any, layout: Layout) -> Any:
    """Arrays that each process has, as arrays of all the devices where these are of several processes."""
    if layout.mesh is None or not layout.spans_processes:
        return tree
    sharding = NamedSharding(layout.mesh, PartitionSpec())

    def put(x: jax.Array) -> jax.Array:
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(put(jax.random.key_data(x)), impl=jax.random.key_impl(x))
        return jax.device_put(np.asarray(x), sharding)

    return jax.tree.map(put, tree)


def _on_host(x: jax.Array) -> np.ndarray:
    """An array of the devices, also of those of other processes."""
    if x.is_fully_addressable:
        return np.asarray(x)
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(x, tiled=True))


def _on(layout: Layout) -> contextlib.AbstractContextManager[Any]:
    # a mesh that the caller has set, with other kinds of axes, would not be ours
    return contextlib.nullcontext() if layout.mesh is None else set_mesh(layout.mesh)
