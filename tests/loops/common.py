"""What these tests share: 256 real digits, the optimizer, and training."""

import importlib.util
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest

import lrx

from .frameworks import LOOPS

STEPS = 40


def each(loops):
    return pytest.mark.parametrize("loop", loops, ids=[loop.__name__ for loop in loops])


loops = each(LOOPS)


def digits():
    """From scikit-learn's file: to import it takes each process of these tests a second."""
    folder = Path(importlib.util.find_spec("sklearn").submodule_search_locations[0])
    rows = np.loadtxt(folder / "datasets/data/digits.csv.gz", np.int32, delimiter=",", max_rows=256)
    return (rows[:, :64] / 16).astype(np.float32), rows[:, 64]


IMAGES, LABELS = digits()


def schedule(peak_value=0.03, init_value=0.0):
    return lrx.warmup_cosine_decay_schedule(init_value, peak_value, warmup_steps=5, decay_steps=STEPS)


def optimizer(learning_rate=None):
    learning_rate = schedule() if learning_rate is None else learning_rate
    return lrx.chain(lrx.clip_by_global_norm(1.0), lrx.adamw(learning_rate, weight_decay=1e-2))


def train(run, steps, begin=0):
    """Go on with updates `begin`, `begin + 1`, …, each on the next 64 of the 256 digits; the losses."""
    rows = [slice(64 * (i % 4), 64 * (i % 4) + 64) for i in range(begin, begin + steps)]
    return [np.asarray(run.step(IMAGES[r], LABELS[r])) for r in rows]


def written(tree, path):
    """Save with Orbax."""
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, tree)


def restored(path, *target):
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(path, *target)
