"""TensorBoard's event files, written by its writers, and folders: the one run in them."""

import time

import numpy as np
import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.scalar.metadata import create_summary_metadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.tensor_util import make_tensor_proto
from tensorboardX import SummaryWriter

import lrx
from tests.logs.files import LIGHTNING, TRAINER_STATE

LOSSES = np.float32([2.5, 2.25, 2, 1.75])


def write(folder, tags, start=0, others=False):
    with SummaryWriter(str(folder)) as writer:
        for tag, values in tags.items():
            for i, x in enumerate(values, start):
                writer.add_scalar(tag, x, 10 * i)
        if others:
            writer.add_histogram("loss histogram", np.arange(9.0), 3)
            writer.add_text("notes", "a loss", 1)
    return folder


def test_scalars_of_tensorboardx(tmp_path):
    scalars = {"train/loss": LOSSES, "train/learning_rate": [0.5] * 4, "eval/loss": LOSSES[:2] + 1}
    run = write(tmp_path / "run", scalars, others=True)
    for path in (run, next(run.iterdir())):
        log = lrx.read_log(path)
        assert log.steps.tolist() == [0, 10, 20, 30]
        assert log.losses.tolist() == LOSSES.tolist() and log.learning_rates.tolist() == [0.5] * 4
        assert log.validation.losses.tolist() == [3.5, 3.25]


def test_tensors_as_tensorflow_and_clu_write_them(tmp_path):
    writer = EventFileWriter(str(tmp_path))
    for i, x in enumerate(LOSSES):
        summary = Summary()
        scalar = create_summary_metadata("", "") if i == 0 else None  # it may come once alone
        for tag, value in (("loss", x), ("learning_rate", np.float64(0.1)), ("steps_total", np.int64(i))):
            summary.value.add(tag=tag, tensor=make_tensor_proto(value), metadata=scalar)
        summary.value.add(tag="weights", tensor=make_tensor_proto(np.ones((2, 3))))
        writer.add_event(Event(step=i, summary=summary, wall_time=1e9 + i))
    writer.close()
    log = lrx.read_log(tmp_path)
    assert log.losses.tolist() == LOSSES.tolist() and log.learning_rates.tolist() == [0.1] * 4


def test_an_event_file_by_its_content(tmp_path):
    run = write(tmp_path / "run", {"loss": LOSSES})
    (tmp_path / "renamed.log").write_bytes(next(run.iterdir()).read_bytes())
    assert lrx.read_log(tmp_path / "renamed.log").losses.tolist() == LOSSES.tolist()


@pytest.mark.parametrize(
    ("names", "tag"),
    [(("train", "validation"), "epoch_loss"), (("", "eval"), "loss"), (("Loss/train", "Loss/val"), "Loss")],
    ids=["Keras", "estimators", "add_scalars"],
)
def test_folders_that_are_parts_of_one_run(names, tag, tmp_path):
    for extra, name in zip((0, 1), names, strict=True):
        write(tmp_path / "a" / "run" / name, {tag: LOSSES + extra})
    for path in (tmp_path / "a" / "run", tmp_path):
        log = lrx.read_log(path)
        assert log.losses.tolist() == LOSSES.tolist()
        assert log.validation.losses.tolist() == (LOSSES + 1).tolist()


def test_several_runs_are_listed(tmp_path):
    for name in ("lr0.1", "lr0.2"):
        write(tmp_path / name, {"loss": LOSSES})
    message = r"2 runs, 'lr0.1', 'lr0.2'. Give one of them: read_log\('.*lr0.1'\)"
    with pytest.raises(ValueError, match=message):
        lrx.read_log(tmp_path)
    assert lrx.read_log(tmp_path / "lr0.2").losses.tolist() == LOSSES.tolist()


def test_a_run_that_was_restarted_has_two_files(tmp_path):
    write(tmp_path, {"loss": LOSSES})
    time.sleep(1.01)  # the second in its name orders them
    write(tmp_path, {"loss": LOSSES + 1}, start=2)
    log = lrx.read_log(tmp_path)
    assert log.losses.tolist() == [2.5, 2.25, 3.5, 3.25, 3.0, 2.75]
    assert "as after a restart: the later entries count, and of the earlier 2 entries are left out" in log.notes[0]


def test_a_file_that_ends_in_the_middle_of_an_event(tmp_path):
    run = write(tmp_path / "run", {"loss": np.linspace(1, 0, 50)})
    file = next(run.iterdir())
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    log = lrx.read_log(run)
    assert 10 < len(log) < 40 and log.losses[0] == 1
    for broken in (content[:40], bytes(1000)):
        file.write_bytes(broken)
        with pytest.raises(ValueError, match=r"must hold scalars, got .*: event files without any."):
            lrx.read_log(run)


def test_folders_of_trainers(tmp_path):
    (tmp_path / "version_0").mkdir()
    (tmp_path / "version_0" / "metrics.csv").write_text(LIGHTNING)
    (tmp_path / "version_0" / "hparams.yaml").write_text("a: 1\n")
    assert lrx.read_log(tmp_path).notes[0] == "Of the folder version_0/metrics.csv is read."
    assert len(lrx.read_log(tmp_path)) == 5
    (tmp_path / "version_1").mkdir()
    (tmp_path / "version_1" / "metrics.csv").write_text(LIGHTNING)
    with pytest.raises(ValueError, match=r"2 runs, 'version_0/metrics.csv', 'version_1/metrics.csv'. Give one"):
        lrx.read_log(tmp_path)


def test_the_newest_checkpoint_has_the_whole_history(tmp_path):
    for step in (9, 10):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text(TRAINER_STATE.replace("2.4,", f"2.{step},"))
    log = lrx.read_log(tmp_path)
    assert log.losses.tolist() == [2.5, 2.1]
    assert log.notes[0] == "Of the folder checkpoint-10/trainer_state.json is read."


def test_a_folder_without_a_log(tmp_path):
    with pytest.raises(ValueError, match=r"must be a folder with a log in it, got .*: an empty folder."):
        lrx.read_log(tmp_path)
    (tmp_path / "model.bin").write_bytes(b"1")
    with pytest.raises(ValueError, match=r"1 files, none of which is an event file, CSV or JSONL."):
        lrx.read_log(tmp_path)


def test_without_tensorboard_the_error_says_what_to_install(tmp_path, monkeypatch):
    import sys

    write(tmp_path / "run", {"loss": LOSSES})
    monkeypatch.setitem(sys.modules, "tensorboard.backend.event_processing.event_file_loader", None)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r'event files are read by TensorBoard: pip install "lrx\[logs\]"'):
        lrx.read_log(tmp_path / "run")
    recorder = lrx.Recorder()
    recorder.add(1.0)
    with pytest.raises(ImportError, match=r'event files are written by tensorboardX: pip install "lrx\[logs\]"'):
        recorder.to_tensorboard(tmp_path / "other")


# ---------------------------------------------------------------- what a Recorder writes


@pytest.fixture
def recorder():
    import jax.numpy as jnp

    tx, recorder = lrx.sgd(0.1), lrx.Recorder()
    state = tx.init(jnp.ones(1))
    for i, loss in enumerate([2.3, 1 / 3, float("nan"), float("inf"), 1e-30, -1.5]):
        _, state = tx.update(jnp.ones(1), lrx.with_hyperparams(state, learning_rate=0.1 / (i + 1)), jnp.ones(1))
        recorder.add(loss, state)
    return recorder


def test_what_a_recorder_writes_is_read_back_bit_by_bit(recorder, tmp_path):
    recorder.to_csv(tmp_path / "log.csv")
    recorder.to_tensorboard(tmp_path / "run")
    for name in ("log.csv", "run"):
        log = lrx.read_log(tmp_path / name)
        np.testing.assert_array_equal(log.losses.astype(np.float32), recorder.losses)
        np.testing.assert_array_equal(log.learning_rates.astype(np.float32), recorder.learning_rates)
        assert log.steps.tolist() == list(range(6)) and log.notes == ()


def test_members_of_a_population_are_columns_and_runs(tmp_path):
    recorder = lrx.Recorder()
    for i in range(3):
        recorder.add(np.float32([[1, 2], [3, 4]]) + i)
    recorder.to_csv(tmp_path / "log.csv")
    recorder.to_tensorboard(tmp_path / "run")
    assert lrx.read_log(tmp_path / "log.csv", loss="loss/1/0").losses.tolist() == [3, 4, 5]
    assert lrx.read_log(tmp_path / "run" / "1" / "0").losses.tolist() == [3, 4, 5]
    with pytest.raises(ValueError, match="4 that may be: 'loss/0/0', 'loss/0/1', 'loss/1/0', 'loss/1/1'"):
        lrx.read_log(tmp_path / "log.csv")


def test_an_empty_recorder_writes_a_header(tmp_path):
    lrx.Recorder().to_csv(tmp_path / "log.csv")
    assert (tmp_path / "log.csv").read_text() == "step,loss\n"
    lrx.Recorder().to_tensorboard(tmp_path / "run")
    with pytest.raises(ValueError, match=r"must hold scalars"):
        lrx.read_log(tmp_path / "run")
