"""Digests, and a sweep that tells how far it is and takes its time: `test_checkpoint.py` kills their process."""

import sys
import time
from typing import Any

import lrx
from tests.conftest import cheaply
from tests.tuning.bowl import validated
from tests.tuning.digests import in_any_process

GRID: dict[str, Any] = dict(
    learning_rate=[0.01, 0.1, 0.5], schedule={"cosine": lrx.cosine_decay_schedule}, seeds=2, steps=32
)


def progress(done):
    print(done, flush=True)
    time.sleep(0.05)


if __name__ == "__main__":
    print(*in_any_process(), flush=True)
    with cheaply():  # as in the test: the file goes on with the same bits
        lrx.sweep(validated(), lrx.adam, checkpoint=sys.argv[1], progress=progress, **GRID)
