"""Logs as loggers write them, read back."""

import gzip

import numpy as np
import pytest

import lrx
from tests.logs.files import FILES, LIGHTNING

NAMED = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)


def assert_holds(log, file):
    np.testing.assert_array_equal(log.steps, file.steps)
    np.testing.assert_array_equal(log.losses, file.losses)
    if file.rates is None:
        assert log.learning_rates is None
    else:
        np.testing.assert_allclose(log.learning_rates, file.rates, rtol=1e-12)
    if file.validation is None:
        assert log.validation is None
    else:
        np.testing.assert_array_equal(log.validation.steps, file.validation[0])
        np.testing.assert_array_equal(log.validation.losses, file.validation[1])
    assert log.steps_per_epoch == file.steps_per_epoch
    assert log.steps.dtype == np.int64 and log.losses.dtype == np.float64


@NAMED
def test_what_a_logger_wrote_is_read(file, tmp_path):
    path = tmp_path / file.name
    path.write_text(file.text, encoding="utf-8", newline="")
    log = lrx.read_log(path, **file.keywords)
    assert_holds(log, file)
    assert log.source == str(path)
    (tmp_path / "again.gz").write_bytes(gzip.compress(file.text.encode()))
    assert_holds(lrx.read_log(str(tmp_path / "again.gz"), **file.keywords), file)


@NAMED
def test_utf_16_as_powershell_writes_it(file, tmp_path):
    path = tmp_path / "log"
    path.write_bytes(file.text.removeprefix("\ufeff").encode("utf-16"))
    assert_holds(lrx.read_log(path, **file.keywords), file)


def test_a_log_is_what_diagnose_takes(tmp_path):
    (tmp_path / "log.csv").write_text("step,loss\n" + "".join(f"{i},{0.9**i}\n" for i in range(100)))
    log = lrx.read_log(tmp_path / "log.csv")
    assert lrx.diagnose(log).label == lrx.diagnose(0.9 ** np.arange(100.0)).label


# ---------------------------------------------------------------- columns


@pytest.mark.parametrize(
    "name",
    [
        *("loss", "Loss", "train_loss", "train/loss", "Training Loss", "training_loss", "trainLoss", "Loss/train"),
        *("loss/train", "train_loss_step", "train/total_loss", "tr_loss", "lm loss", "train/lm_loss", "batch_loss"),
        *("train/loss_epoch", "train_nll_loss", "epoch_loss", "metrics/train/loss", "my-run - loss", "train_ce_loss"),
        *("nll", "cross_entropy", "train/mse", "objective", "loss_mean", "train.loss", "train:loss", "running_loss"),
    ],
)
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_names_of_the_loss(name, form, tmp_path):
    others = {"step": 3, "train_accuracy": 0.5, "loss_scale": 65536, "val_loss": 2, "grad_norm": 1, "best_val_loss": 2}
    log = lrx.read_log(written(tmp_path, form, {**others, name: 2.5}, {**others, "step": 4, name: 2.25}))
    np.testing.assert_array_equal(log.losses, [2.5, 2.25])
    assert log.steps.tolist() == [3, 4]
    assert log.validation is not None and log.validation.losses.tolist() == [2, 2]


@pytest.mark.parametrize(
    "name",
    [
        *("lr", "LR", "learning_rate", "Learning Rate", "learningRate", "train/learning_rate", "train/lr", "lr-AdamW"),
        *("optimizer/lr", "lr-SGD/pg1", "lr/group_0", "opt.lr", "metrics/lr", "run 3 - lr", "lr_0", "base_lr"),
        *("epoch_learning_rate", "schedule/learning_rate", "eta", "last_lr", "train/optimizer/learning_rate"),
    ],
)
def test_names_of_the_learning_rate(name, tmp_path):
    others = {"loss": 2.5, "weight_decay": 0.1, "lr-AdamW-momentum": 0.9, "lr_scale": 2, "min_lr": 0}
    log = lrx.read_log(written(tmp_path, "csv", {**others, name: 0.5}, {**others, name: 0.25}))
    np.testing.assert_array_equal(log.learning_rates, [0.5, 0.25])


@pytest.mark.parametrize(
    "name",
    [
        *("step", "Step", "global_step", "_step", "globalStep", "train/global_step", "trainer/global_step", "iter"),
        *("iteration", "Iteration", "it", "num_updates", "current_steps", "optimizer_step", "steps", "batch", "t"),
        *("time/total_timesteps", "num_timesteps"),
    ],
)
def test_names_of_the_step(name, tmp_path):
    others = {"loss": 2.5, "total_steps": 100, "epoch": 0.5, "steps_per_second": 3, "_runtime": 5, "_timestamp": 1.7e9}
    log = lrx.read_log(written(tmp_path, "csv", {**others, name: 10}, {**others, name: 30}))
    assert log.steps.tolist() == [10, 30]


@pytest.mark.parametrize("name", ["val_loss", "eval_loss", "validation/loss", "test loss", "Loss/val", "valid_loss"])
def test_names_of_the_validation_loss(name, tmp_path):
    log = lrx.read_log(written(tmp_path, "csv", {"loss": 2.5, name: 3}, {"loss": 2.25, name: 2.75}))
    assert log.validation is not None and log.validation.losses.tolist() == [3, 2.75]
    assert log.losses.tolist() == [2.5, 2.25]


def test_w_and_b_counts_calls_beside_the_steps_of_the_trainer(tmp_path):
    rows = [{"_step": i, "train/global_step": 50 * i, "train/loss": 3 - i} for i in range(3)]
    assert lrx.read_log(written(tmp_path, "csv", *rows)).steps.tolist() == [0, 50, 100]


def test_columns_are_named_by_keywords(tmp_path):
    path = written(tmp_path, "csv", {"a": 5, "b": 2, "c": 0.5, "d": 7}, {"a": 6, "b": 1, "c": 0.25, "d": 8})
    for log in (
        lrx.read_log(path, loss="b", learning_rate="c", step="a", validation="d"),
        lrx.read_log(path, loss=2, learning_rate=3, step=1, validation=4),
        lrx.read_log(path, loss="B", learning_rate="C", step="A", validation="D"),
    ):
        assert (log.steps.tolist(), log.losses.tolist(), log.learning_rates.tolist()) == ([5, 6], [2, 1], [0.5, 0.25])
        assert log.validation.losses.tolist() == [7, 8]


def test_of_two_losses_the_finer_one_is_read_and_said(tmp_path):
    lines = [f"{i},{10 - i},{10 - i if i % 5 == 1 else ''}\n" for i in range(11)]
    (tmp_path / "log.csv").write_text("step,loss,train_loss\n" + "".join(lines))
    log = lrx.read_log(tmp_path / "log.csv")
    assert len(log) == 11 and "which has the most entries" in log.notes[0]
    (tmp_path / "log.csv").write_text("step,loss,train_loss\n0,1,2\n1,2,1\n2,,3\n")
    with pytest.raises(ValueError, match=r"2 that may be: 'train_loss', 'loss'. Name the column: loss='train_loss'."):
        lrx.read_log(tmp_path / "log.csv")


def test_false_reads_no_such_column(tmp_path):
    path = written(
        tmp_path,
        "csv",
        {"loss": 2, "val_loss": 2, "lr-a": 1, "lr-b": 1},
        {"loss": 1, "val_loss": 2, "lr-a": 1, "lr-b": 3},
    )
    with pytest.raises(ValueError, match="one column for the learning rate"):
        lrx.read_log(path)
    log = lrx.read_log(path, learning_rate=False, validation=False)
    assert log.learning_rates is None and log.validation is None


def test_rates_of_parameter_groups_that_are_proportional(tmp_path):
    path = written(tmp_path, "csv", {"loss": 2, "lr/pg1": 1, "lr/pg2": 0.1}, {"loss": 1, "lr/pg1": 0.5, "lr/pg2": 0.05})
    log = lrx.read_log(path)
    assert log.learning_rates.tolist() == [1, 0.5]
    assert log.notes[0] == "'lr/pg1', 'lr/pg2' are proportional: 'lr/pg1' is read."


def test_a_rate_that_was_logged_elsewhere_is_interpolated_and_said(tmp_path):
    (tmp_path / "metrics.csv").write_text(LIGHTNING)
    log = lrx.read_log(tmp_path / "metrics.csv")
    assert log.notes == ("'lr-AdamW' was logged at other steps than the loss: it is interpolated.",)


def test_what_is_not_finite_is_kept(tmp_path):
    for form in ("csv", "jsonl"):
        values = [3.0, float("inf"), float("nan"), float("-inf")]
        log = lrx.read_log(written(tmp_path, form, *({"step": i, "loss": x} for i, x in enumerate(values))))
        np.testing.assert_array_equal(log.losses, values)
    (tmp_path / "words.csv").write_text("loss\n3\nInfinity\nNaN\n-inf\n1e400\n-1.#IND\n")
    log = lrx.read_log(tmp_path / "words.csv")
    np.testing.assert_array_equal(log.losses, [3, np.inf, np.nan, -np.inf, np.inf, np.nan])


def written(folder, form, *rows):
    """A file with rows that have the same names."""
    import json

    path = folder / f"log.{form}"
    if form == "csv":
        path.write_text("\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]) + "\n")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_learning_rate_that_is_no_number_is_told(tmp_path):
    log = lrx.read_log(written(tmp_path, "csv", {"loss": 2.5, "lr": "0.1%"}, {"loss": 2.0, "lr": "0.1%"}))
    assert log.learning_rates is None
    assert "'lr' is not read: line 2 has '0.1%', which is no number." in " ".join(log.notes)
