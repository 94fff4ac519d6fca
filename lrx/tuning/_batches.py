"""Batches from the host, for a problem that does not draw its own on the device."""

import zlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..problems._problem import Problem


class Batches:
    """The batches of a training run, in order. The source starts anew when it runs out.

    A run may be read several times, once for each group of members or again after a stop. Then each batch leaves a
    mark (its CRC-32), and one that differs from what was read before in its place is an error.
    """

    def __init__(self, problem: Problem, marked: bool = False, marks: Any = ()):
        self.source = problem.batches
        self.marked = marked
        self.marks = [int(m) for m in marks]
        self.place = 0
        self.iterator: Iterator[Any] | None = None
        self.begun: Any = None
        self.shapes: Any = None
        self.held: dict[int, Any] = {}

    @property
    def once_only(self) -> bool:
        """Whether the source is an iterator, which can be read once."""
        return isinstance(self.source, Iterator)

    def first(self) -> Any:
        """The first batch of the run, or None; it is read when its turn comes all the same."""
        if self.source is None:
            return None
        self.begun = self._read()
        return self.begun

    def rewind(self, place: int = 0) -> None:
        """Go to the beginning of the run, and on over `place` batches."""
        if self.place:
            self.place, self.iterator = 0, None
        if self.source is not None:
            for _ in range(place):
                self._next()

    def stack(self, n: int) -> Any:
        """The next `n` batches, stacked, or None."""
        if self.source is None:
            return None
        batches = [self._next() for _ in range(n)]
        return jax.tree.map(lambda *xs: jnp.asarray(np.stack(xs)), *batches)

    def at(self, place: int, n: int, keep: int) -> Any:
        """`n` batches from `place` on, stacked, or None. Those from `keep` on may be asked for again."""
        if self.source is None:
            return None
        while self.place < place + n:
            i = self.place
            self.held[i] = self._next()
        batches = [self.held[i] for i in range(place, place + n)]
        self.held = {i: b for i, b in self.held.items() if i >= min(keep, place + n)}
        return jax.tree.map(lambda *xs: jnp.asarray(np.stack(xs)), *batches)

    def _next(self) -> Any:
        batch = jax.tree.map(np.asarray, self._read())
        shapes = jax.tree.map(np.shape, batch)
        self.shapes = self.shapes or shapes
        if shapes != self.shapes:
            raise ValueError(
                f"Problem(batches=...) must give batches of one shape, got {self.shapes} and {shapes}. "
                "Leave out the last, smaller batch of an epoch (drop_last in many loaders)."
            )
        if self.marked:
            self._mark(batch)
        self.place += 1
        return batch

    def _mark(self, batch: Any) -> None:
        mark = 0
        for x in jax.tree.leaves(batch):
            mark = zlib.crc32(np.ascontiguousarray(x).tobytes(), mark)
        if self.place == len(self.marks):
            self.marks.append(mark)
        elif self.marks[self.place] != mark:
            raise ValueError(
                f"Problem(batches=...) must give the same batches each time it is read, got another one at place "
                f"{self.place}. Give a function that returns a fresh iterator, and fix the seed of its shuffling."
            )

    def _read(self) -> Any:
        if self.begun is not None:
            batch, self.begun = self.begun, None
            return batch
        for _ in range(2):
            if self.iterator is None:
                source = self.source() if callable(self.source) else self.source
                assert source is not None  # the callers have looked
                self.iterator = iter(source)
            for batch in self.iterator:
                return batch
            self.iterator = None
        raise ValueError(
            "Problem(batches=...) ran out of batches. An iterator can be read once only: give a function that "
            "returns a fresh one, batches=lambda: iter(loader)."
        )
