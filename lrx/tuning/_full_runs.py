"""Training runs of many members to the end: one group after another, with a file from which a stopped run goes on."""

from typing import Any

import numpy as np

from .. import _check as check
from ._checkpoint import Checkpoint, leaves, restored
from ._digest import arguments_of
from ._done import Meter, Progress
from ._engine import Engine, Group
from ._layout import Layout, lay_out


def open_checkpoint(
    path: Any, engine: Engine, layout: Layout, arguments: dict[str, Any], names: list[str]
) -> Checkpoint:
    """The file of a run.

    Args:
      path: where it is, or will be.
      engine: what trains.
      layout: how members are laid out on the devices.
      arguments: name -> value, by which two calls are compared.
      names: of further arguments of `make_optimizer`.
    """
    arguments = arguments | {"chunk_size, method and mesh": (layout.size, layout.lanes, layout.devices)}
    batch = engine.batches.first()
    return Checkpoint(path, arguments_of(engine.problem, engine.make_optimizer, batch, names, arguments))


def train(
    engine: Engine,
    rates: np.ndarray,
    hyperparams: dict[str, np.ndarray] | None = None,
    *,
    layout: Layout | None = None,
    progress: Progress | None = None,
    file: Checkpoint | None = None,
    record: dict[str, np.ndarray] | None = None,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Train every member from every seed, to the end.

    Args:
      engine: what trains.
      rates: the learning rate of each update, float32 [members, steps].
      hyperparams: further arguments of `make_optimizer`, name -> array [members].
      layout: how members are laid out on the devices; by `lay_out` if None.
      progress: called after each chunk.
      file: into which the state is written on the way.
      record: what the file holds beside the results when all is done, together with the models at the end if they were
        one group; without it, there are the results alone.

    Returns:
      Training losses, float32 [members, seeds, steps], each measured before the update of that step; and what
      `problem.evaluate` gives for the models at the end, name -> [members, seeds].
    """
    layout = layout or lay_out(len(rates))
    several = len(rates) > layout.size
    engine.batches.marked |= several or file is not None
    if several and engine.batches.once_only:
        rule = "must be left out if the batches are an iterator, which cannot be read again for each group of members"
        way_out = "Give a function that returns a fresh one, Problem(batches=lambda: iter(loader))."
        raise check.fail("chunk_size", rule, layout.size, way_out)
    runs = _Runs(engine, layout, rates, hyperparams or {}, file, progress, record)
    runs.go_on()
    return runs.results()


class _Runs:
    """What is completed: whole groups of members, and some updates of the next group."""

    def __init__(
        self,
        engine: Engine,
        layout: Layout,
        rates: np.ndarray,
        hyperparams: dict[str, np.ndarray],
        file: Checkpoint | None,
        progress: Progress | None,
        record: dict[str, np.ndarray] | None,
    ):
        self.record, self.meter = record, Meter(rates.size * len(engine.batch_keys))
        self.engine, self.layout, self.file, self.progress = engine, layout, file, progress
        self.rates, self.hyperparams = rates, hyperparams
        self.saved = None if file is None else file.load()
        saved = self.saved or {}
        self.losses = [saved["losses"]] if "losses" in saved else []
        scores = {k.removeprefix("score_"): v for k, v in saved.items() if k.startswith("score_")}
        self.scores = [scores] if scores else []
        self.chunks = [saved["chunks"]] if "chunks" in saved else []
        """Losses of the next group, each [members, seeds, updates]."""
        engine.batches.marks = list(map(int, saved.get("marks", engine.batches.marks)))

    @property
    def finished(self) -> int:
        """Members of whole groups."""
        return sum(map(len, self.losses))

    def results(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        names = self.scores[0] if self.scores else ()
        return np.concatenate(self.losses), {k: np.concatenate([s[k] for s in self.scores]) for k in names}

    def go_on(self) -> None:
        """Train what is left."""
        if self.finished == len(self.rates):
            return
        for first in range(self.finished, len(self.rates), self.layout.size):
            group = self._trained(first)
            scores = self.engine.score(group)
            if scores:
                self.scores.append(scores)
            self.losses.append(np.concatenate(self.chunks, axis=2))
            self.chunks = []
            end = group.carry if self.record is not None and len(self.rates) <= self.layout.size else ()
            if self.file is not None and self.finished == len(self.rates):
                self.file.save(lambda end=end: self._arrays(end) | (self.record or {}))
            del group, end  # the next one needs its memory

    def _trained(self, first: int) -> Group:
        """The group whose first member is `first`, at the end of its training."""
        rates = self.rates[first : first + self.layout.size]
        hyperparams = {k: v[first : first + self.layout.size] for k, v in self.hyperparams.items()}
        group = self.engine.start(self.layout, rates[:, 0], hyperparams)
        if self.chunks and self.saved is not None:
            group.carry = restored(group.carry, self.saved)
        steps, seeds = rates.shape[1], len(self.engine.batch_keys)
        done = sum(x.shape[2] for x in self.chunks)
        for losses in self.engine.advance(group, rates[:, done:], done):
            self.chunks.append(losses)
            done += losses.shape[2]
            completed = (first * steps + group.members * done) * seeds
            if self.file is not None and self.file.due(completed / (self.rates.size * seeds)):
                self.file.save(lambda: self._arrays(group.carry))
            if self.progress is not None:
                self.progress(self.meter(completed, losses))
        return group

    def _arrays(self, carry: Any) -> dict[str, np.ndarray]:
        """For a file."""
        arrays = leaves(carry) | {"marks": np.asarray(self.engine.batches.marks, np.uint32)}
        if self.chunks:
            arrays["chunks"] = np.concatenate(self.chunks, axis=2)
        if self.losses:
            losses, scores = self.results()
            arrays |= {"losses": losses} | {f"score_{k}": v for k, v in scores.items()}
        return arrays
