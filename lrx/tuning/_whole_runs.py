"""Training runs of `tune`, each of which goes on after a stop where it was."""

import math
from typing import Any

import jax
import numpy as np

from ._engine import Engine, part_of
from ._full_runs import open_checkpoint, train
from ._grid import grid
from ._journal import key_bits
from ._layout import lay_out
from ._next_run import Member
from ._request import Request
from ._sweep import Sweep


def trained(
    request: Request, make: Any, rows: np.ndarray, key: jax.Array, seeds: int, stage: str
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Runs with the rates [runs, updates], one after another, through one program for each optimizer.

    Args:
      request: of `tune`.
      make: the optimizer.
      rows: the rate of each update of each run.
      key: of the starts and the batches, the same for all runs.
      seeds: from how many starts each is made.
      stage: as the progress and the file name it.

    Returns:
      Losses [runs, seeds, updates], and what the problem's `evaluate` gives at the end, name -> [runs, seeds].
    """
    progress = request.progress_of(stage, seeds * rows.size)
    engine = Engine(request.problem, make, key=key, seeds=seeds, updates=part_of(request.steps))
    layout, file, path = lay_out(1), None, request.journal.path()
    if path is not None:
        run = {"run": stage, "rates": rows, "seeds": seeds, "key": key_bits(key)}
        file = open_checkpoint(path, engine, layout, run, [])
    return train(engine, rows, layout=layout, progress=progress, file=file)


class WholeRuns:
    """Whole runs, one member at a time."""

    def __init__(self, request: Request, key: jax.Array):
        self.request, self.key = request, key
        self.records: dict[tuple[str, str], list[tuple[float, np.ndarray, dict[str, np.ndarray]]]] = {}

    def train(self, member: Member) -> float:
        """The loss that decides, the mean over seeds; inf if a run was not finite."""
        request = self.request
        make, curve = request.makers[member.optimizer], request.curves[member.schedule]
        rows = grid(make, member.learning_rate, {member.schedule: curve}, {}, request.steps).rows
        stage = f"{member.optimizer}, {member.schedule}, {member.learning_rate:.3g}"
        losses, scores = trained(request, make, rows, self.key, request.seeds, stage)
        pair = member.optimizer, member.schedule
        self.records.setdefault(pair, []).append(
            (member.learning_rate, losses[0], {k: v[0] for k, v in scores.items()})
        )
        mean = self._sweep(pair, [self.records[pair][-1]]).loss(request.by).mean()
        return float(mean) if np.isfinite(mean) else math.inf

    def sweeps(self) -> dict[str, list[Sweep]]:
        """All of them, a sweep for each optimizer and schedule."""
        sweeps: dict[str, list[Sweep]] = {}
        for pair, records in self.records.items():
            sweeps.setdefault(pair[0], []).append(self._sweep(pair, sorted(records, key=lambda r: r[0])))
        return sweeps

    def _sweep(self, pair: tuple[str, str], records: list[Any]) -> Sweep:
        rates, losses, scores = zip(*records, strict=True)
        return Sweep(
            problem=self.request.problem.name,
            dims=("learning_rate", "schedule", "seed", "step"),
            coords={"learning_rate": rates, "schedule": (pair[1],), "seed": tuple(range(self.request.seeds))},
            losses=np.stack(losses)[:, None],
            scores={k: np.stack([s[k] for s in scores])[:, None] for k in scores[0]},
        )
