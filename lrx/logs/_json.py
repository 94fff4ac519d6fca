"""Logs as JSON: an object a line, a list of them, a dict of lists, or the state of a Hugging Face trainer."""

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from ._table import Column, Table, from_rows, number, unreadable

HISTORIES = ("log_history", "history", "logs", "log", "metrics", "records", "rows", "data")
"""Keys under which the entries of a log stand in one JSON document."""


def read_json(source: str, text: str, growing: bool = False) -> Table:
    """A table from JSON, or from text with one JSON object a line.

    Args:
      source: what errors call the file.
      text: its content.
      growing: whether it is still being written, so that a last line without its end is not read.

    Returns:
      The columns, with the path of nested values as names: `train/loss`.

    Raises:
      ValueError: if it is not JSON, or holds no log.
    """
    try:
        document = json.loads(text)
    except ValueError as e:
        return _lines(source, text, growing, e)
    except RecursionError:
        raise unreadable(source, "must be a log", "JSON that is nested too deeply") from None
    return _document(source, document)


def _document(source: str, document: Any) -> Table:
    if isinstance(document, dict):
        for key in HISTORIES:
            if isinstance(document.get(key), list | dict) and document[key]:
                return _document(source, document[key])
        lists = {name: x for name, x in _flat(document, whole_lists=True) if isinstance(x, list)}
        if lists:  # a dict of lists, such as Keras's History.history
            columns = {name: [number(v) for v in values] for name, values in lists.items()}
            found = {name: _column(values) for name, values in columns.items()}
            return Table(source, {name: column for name, column in found.items() if column.rows.size})
        return from_rows(source, [dict(_flat(document))])
    if isinstance(document, list) and document:
        if all(isinstance(x, dict) for x in document):
            return from_rows(source, [dict(_flat(x)) for x in document])
        if all(isinstance(x, list) and len(x) == 3 for x in document):  # as TensorBoard's web page exports a scalar
            return from_rows(source, [dict(zip(("wall time", "step", "value"), x, strict=True)) for x in document])
        values = [number(x) for x in document]
        if all(isinstance(x, float) or x is None for x in values):
            return Table(source, {"column 1": _column(values)}, named=False)
    raise unreadable(
        source,
        "must be a log: JSON objects, one a line or in a list, or lists of numbers by name",
        f"a {type(document).__name__} of another kind" if document else f"an empty {type(document).__name__}",
    )


def _lines(source: str, text: str, growing: bool, error: ValueError) -> Table:
    """One object a line. What a killed process left half written is left out, and said."""
    rows, places, notes = [], [], []
    lines = text.splitlines()
    if growing and not text.endswith("\n"):
        lines = lines[:-1]
    strange: tuple[int, str] | None = None
    for i, line in enumerate(lines, 1):
        line = line.strip().rstrip(",")  # a list that lacks its end has commas
        if not line or line in "[]" or line.startswith(("#", "//")):
            continue
        entry = _entry(line)
        if entry is None and (start := line.rfind('{"')) > 0:  # what follows a line that was cut off
            entry = _entry(line[start:])
            if entry is not None:
                notes.append(f"line {i} begins with an entry that was cut off: it is left out")
        if entry is not None:
            rows.append(dict(_flat(entry)))
            places.append(i)
        elif i == len(lines):
            notes.append(f"line {i}, the last one, is cut off: it is left out")
        elif strange is None:
            strange = i, line
    if not rows:
        what = f"line {strange[0]} is {strange[1][:60]!r}" if strange else str(error)
        raise unreadable(source, "must be JSON, or one JSON object a line", what, empty=growing)
    if strange is not None:
        raise unreadable(
            source,
            "must have one JSON object a line",
            f"line {strange[0]} is {strange[1][:60]!r}",
            "Take the lines out that are no objects.",
        )
    table = from_rows(source, rows, places)
    table.notes = notes
    return table


def _entry(line: str) -> dict[str, Any] | None:
    """One object, as JSON or as Python prints a dict of numbers, which Hugging Face's trainer does."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        if not line.startswith("{'"):
            return None
        try:
            entry = ast.literal_eval(re.sub(r"(?<=: )(nan|-?inf)(?=[,}])", r"'\1'", line))
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return None
    return entry if isinstance(entry, dict) else None


def _flat(entry: dict[str, Any], prefix: str = "", whole_lists: bool = False) -> Iterator[tuple[str, Any]]:
    """Names and values, nested names joined by `/`. Lists of one or a few are values of their own."""
    for name, x in entry.items():
        if isinstance(x, dict):
            if "_type" not in x:  # W&B's histograms and media
                yield from _flat(x, f"{prefix}{name}/", whole_lists)
        elif isinstance(x, list) and not whole_lists:
            if len(x) == 1:
                yield prefix + name, x[0]
            elif len(x) <= 16:
                yield from ((f"{prefix}{name}/{i}", v) for i, v in enumerate(x))
        else:
            yield prefix + name, x


def _column(values: list[float | str | None]) -> Column:
    there = [(i, x) for i, x in enumerate(values) if isinstance(x, float)]
    return Column(np.array([i for i, _ in there], np.int64), np.array([x for _, x in there], np.float64))
