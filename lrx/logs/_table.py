"""Named columns of numbers, each with the rows that have one: what every kind of log file is read into."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .. import _check as check

TRAINING = {"train", "training", "trn", "tr"}
VALIDATION = {"val", "valid", "validation", "eval", "evaluation", "dev", "test", "testing", "heldout", "holdout"}
SPLITS = {"mode", "phase", "split", "stage", "set", "subset", "type", "kind", "partition"}
"""Names of columns whose cells say what a row is about: `train` or `val`."""

NUMBER = re.compile(r"\w+\(\s*\[?\s*([-+.\w]+)\s*\]?\s*(?:,.*)?\)$|\[\s*([-+.\w]+)\s*\]$")
"""A number as it prints in `tensor(0.5, device='cuda:0')`, `Array(0.5, dtype=float32)` and `[0.5]`."""
MISSING = {"", "none", "null", "na", "n/a", "-", "--", "<na>"}
NOT_A_NUMBER = {"#num!", "1.#qnan", "-1.#ind", "1.#ind", "-nan(ind)", "nan(ind)"}


@dataclasses.dataclass(frozen=True)
class Column:
    """The numbers under one name."""

    rows: np.ndarray
    """The rows that have one, int64, increasing."""
    values: np.ndarray
    """The numbers there, float64."""


@dataclasses.dataclass
class Table:
    """The columns of one log."""

    source: str
    columns: dict[str, Column]
    lines: np.ndarray | None = None
    """The line of the file that each row comes from, if rows are lines."""
    named: bool = True
    """Whether the names come from the file."""
    notes: list[str] = dataclasses.field(default_factory=list)
    texts: dict[str, tuple[int, str]] = dataclasses.field(default_factory=dict)
    """Columns that are not numbers: the row of the first cell that is none, and the cell."""

    def place(self, row: int) -> str:
        """Where a row stands, such as `line 17`."""
        return f"entry {row + 1}" if self.lines is None else f"line {self.lines[row]}"


class EmptyLogError(ValueError):
    """The file holds no loss as yet, so that there may be one later."""


def unreadable(source: object, rule: str, what: str = "", way_out: str = "", *, empty: bool = False) -> ValueError:
    """The error about a file, to be raised by the caller."""
    message = f"{check.where('path', 'read_log')} {rule}, got {str(source)!r}{what and ': ' + what}."
    return (EmptyLogError if empty else ValueError)(f"{message} {way_out}" if way_out else message)


def from_rows(source: str, rows: Iterable[Mapping[str, Any]], lines: list[int] | None = None) -> Table:
    """A table of rows that are mappings from names to numbers, or to texts that may be numbers."""
    table = Table(source, {}, None if lines is None else np.array(lines, np.int64))
    found: dict[str, tuple[list[int], list[float]]] = {}
    for i, row in enumerate(rows):
        prefix = split_of(row)
        for name, cell in row.items():
            value = number(cell)
            if isinstance(value, float):
                named = f"{prefix}/{name}" if prefix and is_split_by(name) else name
                at, values = found.setdefault(named, ([], []))
                at.append(i)
                values.append(value)
            elif value is not None:
                table.texts.setdefault(name, (i, str(cell)))
    table.columns = {name: Column(np.array(at, np.int64), np.array(x)) for name, (at, x) in found.items()}
    return table


def number(cell: Any) -> float | str | None:
    """A cell as a number; None if it is empty, and the text if it is neither."""
    if isinstance(cell, bool) or cell is None:
        return None if cell is None else str(cell)
    try:
        return float(cell)
    except OverflowError:  # a whole number of hundreds of digits
        return float("inf") if cell > 0 else float("-inf")
    except (TypeError, ValueError):
        pass
    text = str(cell).strip()
    low = text.lower()
    if low in MISSING:
        return None
    if low in NOT_A_NUMBER:
        return float("nan")
    if inside := NUMBER.match(text):
        try:
            return float(inside[1] or inside[2])
        except ValueError:
            return text
    return text


def split_of(row: Mapping[str, Any]) -> str:
    """`train` or `val` if a cell says that the whole row is of one, else nothing."""
    for name, cell in row.items():
        if isinstance(cell, str) and name.strip().lower() in SPLITS:
            word = cell.strip().lower()
            if word in TRAINING:
                return "train"
            if word in VALIDATION:
                return "val"
    return ""


def is_split_by(name: str) -> bool:
    """Whether a column has one meaning in rows of training and another in rows of validation: not a step or a time."""
    return not words(name) & {"step", "steps", "iter", "iteration", "epoch", "batch", "time", "timestamp", "lr"}


def words(name: str) -> frozenset[str]:
    """The words of a name, in small letters: `trainLoss`, `train/loss` and `Training loss` have two each."""
    parted = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    return frozenset(re.findall(r"[^\W_\d]+|\d+", parted.lower()))
