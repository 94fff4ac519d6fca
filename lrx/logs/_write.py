"""What a `Recorder` holds, as a CSV file or TensorBoard's events."""

import logging
import os
from itertools import product
from pathlib import Path

import numpy as np

MISSING = 'event files are written by tensorboardX: pip install "lrx[logs]"'


def write_csv(path: str | os.PathLike[str], losses: np.ndarray, rates: np.ndarray | None) -> None:
    """Write `step,loss,learning_rate`, a line a step, in the fewest digits that read back as the same float32.

    Args:
      path: the file; replaced if it is there.
      losses: float32 [steps] or [members, steps]. Members have columns of their own: `loss/0`, `loss/1` …
      rates: like the losses, or None.
    """
    columns = {f"loss{name}": losses[i] for name, i in _members(losses)}
    if rates is not None:
        columns |= {f"learning_rate{name}": rates[i] for name, i in _members(rates)}
    lines = [",".join(["step", *columns])]
    texts = [[str(x) for x in column] for column in columns.values()]
    lines += [",".join([str(step), *cells]) for step, *cells in zip(range(losses.shape[-1]), *texts, strict=True)]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_events(directory: str | os.PathLike[str], losses: np.ndarray, rates: np.ndarray | None) -> None:
    """Write the scalars `train/loss` and `train/learning_rate`; members of a population into folders of their own.

    Args:
      directory: the folder of the run; made if need be.
      losses: float32 [steps] or [members, steps].
      rates: like the losses, or None.

    Raises:
      ImportError: if tensorboardX is missing.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise ImportError(MISSING) from None
    logging.getLogger("tensorboardX").setLevel(logging.ERROR)  # a loss may be NaN
    for name, i in _members(losses):
        with SummaryWriter(str(directory) + name) as writer:
            for step, loss in enumerate(losses[i].tolist()):
                writer.add_scalar("train/loss", loss, step)
                if rates is not None:
                    writer.add_scalar("train/learning_rate", float(rates[i][step]), step)


def _members(x: np.ndarray) -> list[tuple[str, tuple[int, ...]]]:
    """A suffix for each member of a population, and its index; nothing and everything if there is one run alone."""
    return [("".join(f"/{k}" for k in i), i) for i in product(*map(range, x.shape[:-1]))]
