"""Files that hold no log, or several: one error that names the file, the line and the way out."""

import re

import numpy as np
import pytest

import lrx

CASES = {
    "empty": (b"", "must hold a row of numbers, got 'FILE': an empty file."),
    "blank": (b"\n\n# nothing\n", "got 'FILE': no line but empty ones and comments."),
    "header": (b"step,loss\n", "must hold a row of numbers, got 'FILE': nothing but a header."),
    "binary": (bytes(range(256)) * 4, "must be a log as text, got 'FILE': a zero byte in line 1: a binary file."),
    "noise": (bytes(range(128, 256)) * 9, "must be a log as text, got 'FILE': bytes in line 1 that are no text."),
    "gzip": (b"\x1f\x8b\x08\x00broken", "must be a whole gzip file, got 'FILE'"),
    "zip": (b"PK\x03\x04abc", "got 'FILE': a ZIP archive. Unpack it, or save a spreadsheet as CSV."),
    "prose": (b"It was a dark night.\nNothing was logged.\n", "must hold a row of numbers, got 'FILE'"),
    "text": (
        b"step,loss\n0,3\n1,abc\n2,3\n",
        "must have numbers in the column 'loss', got 'FILE': line 3 has 'abc'. Take the line out, leave the cell empty",
    ),
    "wide": (b"step,loss\n0,3\n1,2,5\n", "got 'FILE': line 3 has 3 cells and the header 2. Quote cells that hold"),
    "unnamed": (
        b"0 2.5 .1\n1 2.5 .1\n",
        "columns 'column 1', 'column 2', 'column 3'. Name the column: loss='column 2' or",
    ),
    "no_loss": (
        b"step,foo,bar\n0,1,2\n1,1,2\n",
        "columns 'step', 'foo', 'bar'. Name the column: loss='foo' or loss='bar'.",
    ),
    "tie": (b"step,g_loss,d_loss\n0,1,2\n", "2 that may be: 'g_loss', 'd_loss'. Name the column: loss='g_loss'."),
    "runs": (
        b'Step,"a - loss","b - loss"\n0,1,2\n',
        "2 runs: 'a - loss', 'b - loss'. Name the column: loss='a - loss'.",
    ),
    "rates": (b"loss,lr-a,lr-b\n1,1,2\n1,1,3\n", "one column for the learning rate, got 'FILE': 2 that may be: 'lr-a'"),
    "not_json": (b"{hello\n{there\n", "must be JSON, or one JSON object a line, got 'FILE': line 1 is '{hello'."),
    "mixed": (b'{"loss": 1}\nhello\n{"loss": 2}\n', "must have one JSON object a line, got 'FILE': line 2 is 'hello'."),
    "deep": (b"[" * 100_000, "JSON that is nested too deeply"),
    "object": (b"{}", "must hold a row of numbers, got 'FILE'"),
    "strings": (b'["a", "b"]', "must be a log: JSON objects, one a line or in a list, or lists of numbers by name"),
    "no_steps": (b"step,loss\n1,\n,5\n,6\n2,7\n", None),
}


@pytest.mark.parametrize("name", CASES)
def test_one_error_in_the_form_of_all(name, tmp_path):
    content, message = CASES[name]
    path = tmp_path / name
    path.write_bytes(content)
    if message is None:
        assert lrx.read_log(path).losses.size
        return
    with pytest.raises(ValueError) as e:
        lrx.read_log(path)
    text = str(e.value)
    assert text.startswith("read_log(path=...) must ")
    assert message.replace("FILE", str(path)) in text
    assert text.endswith(".") and "\n" not in text


def test_numpy_arrays_have_a_way_of_their_own(tmp_path):
    np.save(tmp_path / "losses.npy", np.ones(5))
    with pytest.raises(ValueError, match=re.escape("a NumPy array. Make a log of it: lrx.Log(numpy.load(path)).")):
        lrx.read_log(tmp_path / "losses.npy")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"read_log\(path=...\) must be a file or a folder that exists, got"):
        lrx.read_log(tmp_path / "nothing.csv")
    with pytest.raises(TypeError, match=r"read_log\(path=...\) must be the path of a file or a folder, got 3"):
        lrx.read_log(3)


def test_a_keyword_that_names_no_column(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("step,loss,tag\n0,3,x\n1,2,y\n")
    with pytest.raises(
        ValueError, match=r"read_log\(loss=...\) must name a column of .*log.csv, got 'cost'. It has 'step'"
    ):
        lrx.read_log(path, loss="cost")
    with pytest.raises(ValueError, match=r"read_log\(loss=...\) must be the number of a column, 1 to 2 in .*, got 3."):
        lrx.read_log(path, loss=3)
    with pytest.raises(ValueError, match=r"read_log\(step=...\) must name a column of numbers in .* Line 2 has 'x'."):
        lrx.read_log(path, step="tag")
    with pytest.raises(TypeError, match=r"read_log\(loss=...\) must be the name of a column, got 1.5."):
        lrx.read_log(path, loss=1.5)


# ---------------------------------------------------------------- Log


def test_a_log_made_by_hand():
    log = lrx.Log([3, 2, 1], 0.5 * np.ones(3), validation=lrx.Log([4.0], steps=[2]))
    assert log.steps.tolist() == [0, 1, 2] and len(log) == 3
    assert repr(log) == "Log(3 losses at steps 0 to 2, learning rate 0.5, validation at 1 step)"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([1, 2], [1]), ValueError, "Log(learning_rates=...) must have an entry for each of the 2 losses, got 1."),
        (([1, 2], None, [2, 1]), ValueError, "Log(steps=...) must increase, got [2, 1]."),
        (([1, 2], None, [0.5, 1]), TypeError, "Log(steps=...) must be whole numbers, got [0.5 1. ]."),
        (([],), ValueError, "Log(losses=...) must be one-dimensional and not empty, got shape (0,)."),
        ((["a"],), TypeError, "Log(losses=...) must hold real numbers, got dtype <U1."),
    ],
)
def test_what_is_no_log(arguments, error, message):
    with pytest.raises(error, match="^" + re.escape(message) + "$"):
        lrx.Log(*arguments)
    with pytest.raises(TypeError, match=r"Log\(validation=...\) must be a Log, got \[1\]."):
        lrx.Log([1], validation=[1])
