"""`read_log`: a log of training from the file that some logger wrote."""

import gzip
import os
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .. import _check as check
from ._console import is_console, read_console
from ._delimited import read_delimited
from ._folder import inside
from ._json import read_json
from ._log import Log
from ._names import pick_epoch, pick_loss, pick_rate, pick_step, pick_validation
from ._order import in_order, steps_of_rows
from ._table import Column, Table, unreadable
from ._tensorboard import is_event_file, read_events
from ._wandb import is_wandb_file, read_wandb

BINARY = {
    b"\x93NUMPY": ("a NumPy array", "Make a log of it: lrx.Log(numpy.load(path))."),
    b"PK\x03\x04": ("a ZIP archive", "Unpack it, or save a spreadsheet as CSV."),
    b"PAR1": ("a Parquet file", "Save it as CSV: pandas.read_parquet(path).to_csv('log.csv')."),
    b"SQLite format 3": ("an SQLite database", "Export a run as CSV."),
    b"\x89HDF": ("an HDF5 file", "Save the losses as CSV."),
}


@check.public
def read_log(
    path: str | os.PathLike[str],
    *,
    loss: str | int | None = None,
    learning_rate: str | int | Literal[False] | None = None,
    step: str | int | None = None,
    validation: str | int | Literal[False] | None = None,
) -> Log:
    """Read the losses and the learning rates of a run from the log that it wrote.

    What is read:

    - text in columns, with or without a header: commas, semicolons, tabs, bars or spaces between them, decimal points
      or commas, comments (`#`), quotes; so Lightning's metrics.csv, Keras's CSVLogger, an export from W&B's or
      TensorBoard's page, a plain column of numbers;
    - JSON: an object a line (W&B's history, mmengine, LLaMA-Factory), a list of them, a dict of lists (Keras), or
      `trainer_state.json` of Hugging Face's trainer;
    - what a script printed, if its lines say `loss` and the number right behind it: `iter 10: loss 2.5, lr 0.001`;
    - event files of TensorBoard, or the folder of one run (the extra `logs`);
    - W&B's offline files, `run-*.wandb`;
    - a folder that holds one of these. Files may be compressed with gzip.

    Columns are found by their names as people write them (`loss`, `train/loss`, `Training Loss`, `lr-AdamW`,
    `optimizer/lr`, `global_step`, `_step`, `iter` …). Of a name for the loss of each step and one for the mean of an
    epoch the first counts. Entries may lack some columns, as where rows of training and of validation alternate; a
    rate that was logged at other steps than the loss is interpolated linearly between them. Where steps go back, as
    after a restart from a checkpoint, the later entries count. All such decisions are in `.notes`.

    Args:
      path: the file, or a folder.
      loss: the column of the training loss: its name, or its number from 1. Guessed if None. With a validation loss
        alone, that is what is read.
      learning_rate: the column of the learning rate. Guessed if None, and there may be none; False for none.
      step: the column of the step. Guessed if None; entries are counted if there is none.
      validation: the column of the validation loss. Guessed if None, and there may be none; False for none.

    Returns:
      A `Log`: `.steps`, `.losses`, `.learning_rates`, `.validation`, `.steps_per_epoch`, `.notes`.

    Raises:
      ValueError: if the file holds no log, or several columns or runs may be meant; the message lists them.
      FileNotFoundError: if there is no such file.
      ImportError: if the reader of the format is not installed.

    Examples:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "log.csv"
      >>> _ = path.write_text("step,train/loss,lr\\n0,2.5,0.1\\n10,1.5,0.1\\n20,1.25,0.05\\n")
      >>> log = read_log(path)
      >>> log.steps, log.losses, log.learning_rates
      (array([ 0, 10, 20]), array([2.5 , 1.5 , 1.25]), array([0.1 , 0.1 , 0.05]))
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{check.where('path')} must be the path of a file or a folder, got {path!r}.")
    return as_log(read_table(Path(path)), loss=loss, learning_rate=learning_rate, step=step, validation=validation)


def read_table(path: Path, growing: bool = False) -> Table:
    """What a file or a folder holds, before its columns are chosen."""
    if not path.exists():
        raise FileNotFoundError(
            f"{check.where('path', 'read_log')} must be a file or a folder that exists, got {str(path)!r}."
        )
    found, notes = inside(path) if path.is_dir() else ([("", path)], [])
    first = found[0][1]
    if len(found) > 1 or first.is_dir() or is_event_file(first):
        table = read_events(str(path), found)
    elif is_wandb_file(first):
        table = read_wandb(first)
    else:
        table = _read_text(str(first), first.read_bytes(), growing)
    table.notes = [*notes, *table.notes]
    return table


def _read_text(source: str, content: bytes, growing: bool) -> Table:
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as e:
            raise unreadable(source, "must be a whole gzip file", str(e)) from None
    text = _decoded(source, content)
    start = text[:4096].split()
    console = is_console(text)
    if start and (start[0][0] == "{" or (start[0][0] == "[" and (not console or "".join(start)[1:2] in ('{["')))):
        return read_json(source, text, growing)
    if console:
        return read_console(source, text, growing)
    return read_delimited(source, text, growing)


def _decoded(source: str, content: bytes) -> str:
    for magic, (what, way_out) in BINARY.items():
        if content.startswith(magic):
            raise unreadable(source, "must be a log as text", what, way_out)
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):  # as PowerShell writes what a program prints
        return content.decode("utf-16", errors="replace").lstrip("\ufeff")
    if (at := content.find(b"\0")) >= 0:
        line = content.count(b"\n", 0, at) + 1
        if content[at:].strip(b"\0 \r\n"):
            raise unreadable(source, "must be a log as text", f"a zero byte in line {line}: a binary file")
        content = content[:at]  # a file whose end was not written when the machine stopped
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        text = content.decode("latin-1")
        if sum(not c.isprintable() and not c.isspace() for c in text[:4096]) > 4:
            line = content.count(b"\n", 0, e.start) + 1
            raise unreadable(source, "must be a log as text", f"bytes in line {line} that are no text") from None
        return text


def as_log(
    table: Table,
    *,
    loss: str | int | None = None,
    learning_rate: str | int | bool | None = None,
    step: str | int | None = None,
    validation: str | int | bool | None = None,
) -> Log:
    """The log in a table: columns chosen, in the order of the steps, the rates at the steps of the losses."""
    loss_name, alone = pick_loss(table, loss)
    if alone:
        table.notes.append(f"there is no training loss: {loss_name!r} is read")
    step_name, epoch_name = pick_step(table, step, loss_name), pick_epoch(table, loss_name)
    rate_name = pick_rate(table, learning_rate, loss_name)
    validation_name = pick_validation(table, validation, loss_name)
    for name in (loss_name, step_name, rate_name, validation_name):
        if name in table.texts:
            row, cell = table.texts[name]
            raise unreadable(
                table.source,
                f"must have numbers in the column {name!r}",
                f"{table.place(row)} has {cell[:60]!r}",
                "Take the line out, leave the cell empty, or name another column.",
            )
    rows = 1 + max(int(c.rows[-1]) for c in table.columns.values())
    losses, checked = _without_stand_ins(table, loss_name, validation_name)
    steps, steps_per_epoch = steps_of_rows(table, step_name, epoch_name, losses.rows, rows)

    notes = table.notes

    def tell(sentence: str) -> None:
        if sentence not in notes:
            notes.append(sentence)

    ordered = in_order(losses, steps, tell, table.place)
    if not ordered.values.size:
        raise unreadable(
            table.source, "must have losses with steps", f"none in {loss_name!r} beside {step_name!r}", empty=True
        )
    rates = None
    if rate_name is not None:
        rates = _at(
            ordered.rows, in_order(table.columns[rate_name], steps, lambda _: None, table.place), rate_name, tell
        )
    other = None
    if checked is not None:
        entries = in_order(checked, steps, lambda _: None, table.place)
        if entries.values.size:
            other = Log(entries.values, steps=entries.rows, source=table.source)
    return Log(
        ordered.values,
        rates,
        ordered.rows,
        validation=other,
        steps_per_epoch=steps_per_epoch,
        source=table.source,
        notes=[x[0].upper() + x[1:] + "." for x in notes],
    )


def _without_stand_ins(table: Table, loss: str, validation: str | None) -> tuple[Column, Column | None]:
    """The columns of both losses. NaN is a loss, unless one column has it just where the other one has a number."""
    a = table.columns[loss]
    if validation is None:
        return a, None
    b = table.columns[validation]
    if (
        np.array_equal(a.rows, b.rows)
        and (np.isnan(a.values) != np.isnan(b.values)).all()
        and 0 < np.isnan(a.values).sum() < a.values.size
    ):
        table.notes.append("a nan stands for no entry, where rows of training and validation alternate")
        return tuple(Column(c.rows[~np.isnan(c.values)], c.values[~np.isnan(c.values)]) for c in (a, b))  # type: ignore[return-value]
    return a, b


def _at(steps: np.ndarray, rates: Column, name: str, tell: Any) -> np.ndarray | None:
    """The rates at some steps, interpolated where none was logged."""
    there = np.isfinite(rates.values)
    at, values = rates.rows[there], rates.values[there]
    if not at.size:
        return None
    if not np.isin(steps, at).all():
        tell(f"{name!r} was logged at other steps than the loss: it is interpolated")
    return np.interp(steps, at, values)
