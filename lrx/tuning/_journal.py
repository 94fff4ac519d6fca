"""What a long choice has measured so far, in a folder: each piece is a file, and is read instead of measured again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .. import _check as check
from ..problems._problem import Problem
from ._checkpoint import Checkpoint
from ._digest import arguments_of
from ._grid import grid
from ._host_batches import Batches

Arrays = dict[str, np.ndarray]


class Journal:
    """The pieces in the order in which they are asked for, which follows from the results alone.

    Without a folder nothing is written.
    """

    def __init__(self, folder: Path | None = None):
        self.folder = folder
        self.pieces = 0

    def once(self, measure: Callable[[], Arrays]) -> Arrays:
        """The next piece: read if it is there, else measured and written."""
        path = self.path()
        if path is None:
            return measure()
        file = Checkpoint(path, {"piece": path.name})
        arrays = file.load()
        if arrays is None:
            measured = arrays = measure()
            file.save(lambda: measured)
        return arrays

    def path(self) -> Path | None:
        """The file of the next piece, for what writes its own."""
        if self.folder is None:
            return None
        self.pieces += 1
        return self.folder / f"{self.pieces:04d}"


def open_journal(
    path: Any,
    problem: Problem,
    makers: dict[str, Callable[..., Any]],
    curves: dict[str, Any],
    steps: int,
    arguments: dict[str, Any],
) -> Journal:
    """The journal of a call, in a folder that is made if it is not there.

    Args:
      path: of the folder, or None.
      problem: what is trained.
      makers: name -> function of the learning rate.
      curves: name -> function of (peak, steps).
      steps: updates of a run.
      arguments: others, name -> value, by which two calls are compared.
    """
    if path is None:
        return Journal()
    if Batches(problem).once_only:
        rule = "must be None if the batches are an iterator, which cannot be read again"
        raise check.fail("checkpoint", rule, str(path), "Give a function, Problem(batches=lambda: iter(loader)).")
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise check.fail("checkpoint", "must be a folder, or a new path", str(path))
    if not folder.parent.is_dir():
        raise check.fail("checkpoint", "must be in a folder that exists", str(path))
    named = arguments | {"schedules": tuple(curves), "optimizers": tuple(makers)}
    batch, make = Batches(problem).first(), next(iter(makers.values()))
    for name, curve in curves.items():
        named[f"values of {name}"] = grid(make, 0.01, {name: curve}, {}, steps).rows
    texts: dict[str, str] = {}
    for name, make in makers.items():
        of_maker = arguments_of(problem, make, batch, [], named)
        texts |= of_maker | {f"make_optimizer {name}": of_maker["make_optimizer"]}
    folder.mkdir(exist_ok=True)
    file = Checkpoint(folder / "arguments", texts)
    if file.load() is None:
        file.save(dict)
    return Journal(folder)


def key_bits(key: jax.Array) -> np.ndarray:
    """A random key as an array, by which calls are compared."""
    return np.asarray(jax.random.key_data(key))
