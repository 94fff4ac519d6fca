"""W&B's offline files: one that wandb 0.31 wrote (what it says of the machine was cut out), and damaged ones."""

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

import lrx

FILE = Path(__file__).parents[1] / "data" / "offline.wandb"


def test_what_wandb_logged_is_read():
    """Five calls of `run.log({"train/loss": …, "train/learning_rate": …}, step=10 * i)`, one of `eval/loss`."""
    log = lrx.read_log(FILE)
    assert log.steps.tolist() == [0, 10, 20, 30, 40]
    np.testing.assert_array_equal(log.losses, [2.5, 2.25, 2, np.nan, 1.5])
    np.testing.assert_array_equal(log.learning_rates, 0.5 / np.arange(1, 6))
    assert (log.validation.steps.tolist(), log.validation.losses.tolist()) == ([40], [2])


def test_the_folder_of_an_offline_run(tmp_path):
    run = tmp_path / "wandb" / "offline-run-1"
    (run / "logs").mkdir(parents=True)
    (run / "logs" / "debug.log").write_text("x")
    shutil.copy(FILE, run / "run-1.wandb")
    assert len(lrx.read_log(tmp_path)) == 5


def test_a_file_that_ends_anywhere(tmp_path):
    content = FILE.read_bytes()
    lengths = []
    for end in [*range(7, len(content), 9), len(content)]:
        (tmp_path / "run.wandb").write_bytes(content[:end])
        try:
            lengths.append(len(lrx.read_log(tmp_path / "run.wandb")))
        except ValueError as e:
            assert "an offline file of W&B without any history" in str(e) and not lengths
    assert lengths == sorted(lengths) and set(lengths) == {1, 2, 3, 4, 5}


def test_noise_is_no_log(tmp_path):
    rng = np.random.default_rng(0)
    for size in (0, 10, 1000, 70_000):
        (tmp_path / "run.wandb").write_bytes(b":W&B\xe1\xbe\x00" + rng.bytes(size))
        with pytest.raises(ValueError, match="without any history"):
            lrx.read_log(tmp_path / "run.wandb")


def test_records_longer_than_a_block(tmp_path):
    """A call with a long text spans blocks; typed values stand beside JSON."""
    content = b":W&B\xe1\xbe\x00"
    for i in range(40):
        items = item("text", json.dumps("x" * 5000 * (i % 20)).encode(), 16) + item(
            "train/loss", struct.pack("<d", 1 / (i + 1)), 6
        )
        content = framed(content, field(2, items + item("_step", varint(7 * i), 5)))
    (tmp_path / "run.wandb").write_bytes(content)
    log = lrx.read_log(tmp_path / "run.wandb")
    assert log.steps.tolist() == [7 * i for i in range(40)]
    assert log.losses.tolist() == [1 / (i + 1) for i in range(40)]


# ---------------------------------------------------------------- a writer of the format


def varint(x):
    out = b""
    while x > 127:
        out, x = out + bytes([x & 127 | 128]), x >> 7
    return out + bytes([x])


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def item(name, value, number):
    kind = {16: 2, 6: 1, 5: 0}[number]
    size = varint(len(value)) if kind == 2 else b""
    return field(1, field(2, name.encode()) + varint(number << 3 | kind) + size + value)


def framed(content, record):
    first = True
    while True:
        left = 32_768 - len(content) % 32_768
        if left < 7:
            content += bytes(left)
            continue
        part, record = record[: left - 7], record[left - 7 :]
        kind = (1 if not record else 2) if first else (4 if not record else 3)
        content += struct.pack("<IHB", 0, len(part), kind) + part
        if not record:
            return content
        first = False
