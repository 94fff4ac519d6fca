"""Batches from the host, for a problem that does not draw its own on the device."""

import zlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..problems._problem import Problem


class Batches:
    """The batches of a training run by their place in it. The source starts anew when it runs out.

    No batch is kept longer than the call that asks for it, except those that are to be asked for again. Batches before
    the last ones are read again, from the beginning of the source.

    With `marked`, each batch leaves a mark (its CRC-32), and one that differs from what was read before in its place is
    an error.
    """

    def __init__(self, problem: Problem, marked: bool = False):
        self.source = problem.batches
        self.marked = marked
        self.marks: list[int] = []
        self.place = 0
        """Of the next batch that the source gives."""
        self.iterator: Iterator[Any] | None = None
        self.begun: Any = None
        self.shapes: Any = None
        self.held: dict[int, Any] = {}
        """Batches that will be asked for again, by place."""

    @property
    def once_only(self) -> bool:
        """Whether the source is an iterator, which can be read once."""
        return isinstance(self.source, Iterator)

    def first(self) -> Any:
        """A batch as all are, or None; the first one that is read comes in its turn all the same."""
        if self.source is None:
            return None
        if self.begun is None and self.held:
            return next(iter(self.held.values()))
        if self.begun is None:
            self.begun = self._read()
        return self.begun

    def stack(self, place: int, n: int, length: int, again_from: int | None = None) -> Any:
        """`n` batches from `place` on, with zeros after them up to `length`: [length, …]. None without a source.

        Those from `again_from` on will be asked for again.
        """
        if self.source is None:
            return None
        end = place + n
        again = end if again_from is None else min(again_from, end)
        if place < self.place and place not in self.held:
            self.place, self.iterator, self.held = 0, None, {}
        while self.place < end:
            i = self.place
            batch = self._next()
            if i >= min(place, again):
                self.held[i] = batch
        stacked = [self.held[i] for i in range(place, end)]
        self.held = {i: batch for i, batch in self.held.items() if i >= again}

        def padded(*xs: np.ndarray) -> jax.Array:
            stack = np.zeros((length, *xs[0].shape), np.result_type(*xs))
            np.stack(xs, out=stack[:n])
            return jnp.asarray(stack)

        return jax.tree.map(padded, *stacked)

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
