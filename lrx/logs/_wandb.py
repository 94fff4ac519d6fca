"""W&B's offline files, `run-*.wandb`: what `wandb.log` was given in a run that was not synced.

W&B's Python package has no reader of them. They are a log in LevelDB's format (blocks of 32 KiB, records in pieces with
a header of 7 bytes: checksum, length, kind) of protocol-buffer messages, whose field numbers do not change.
"""

import json
import struct
from collections.abc import Iterator
from pathlib import Path

from ._table import Table, from_rows, unreadable

MAGIC = b":W&B"
HEADER = 7
BLOCK = 32_768
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
HISTORY = 2
"""Of `Record`: what one call of `log` was given."""
ITEM = 1
"""Of `HistoryRecord`."""
KEY, NESTED_KEY, INTEGER, NUMBER, JSON = 1, 2, 5, 6, 16
"""Of `HistoryItem`."""


def is_wandb_file(path: Path) -> bool:
    """Whether a file is the record of a run that W&B keeps on disk."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_wandb(path: Path) -> Table:
    """A table from an offline file: a row for each call of `log`, nested names joined by `/`.

    Raises:
      ValueError: if nothing was logged.
    """
    rows = []
    for record in _records(path.read_bytes()):
        try:
            rows += [dict(_items(x)) for field, x in _fields(record) if field == HISTORY and isinstance(x, bytes)]
        except (IndexError, struct.error, UnicodeDecodeError):
            continue  # damaged
    if not any(rows):
        raise unreadable(path, "must hold what a run logged", "an offline file of W&B without any history", empty=True)
    return from_rows(str(path), rows)


def _items(history: bytes) -> Iterator[tuple[str, float | str]]:
    """Names and numbers of one call."""
    for field, item in _fields(history):
        if field != ITEM or not isinstance(item, bytes):
            continue
        names: list[str] = []
        value: float | str | None = None
        for number, x in _fields(item):
            if number in (KEY, NESTED_KEY) and isinstance(x, bytes) and x:
                names.append(x.decode())
            elif number == JSON and isinstance(x, bytes):
                value = _scalar(x.decode())
            elif number == INTEGER and isinstance(x, int):
                value = float(x - (1 << 64) if x >> 63 else x)
            elif number == NUMBER and isinstance(x, float):
                value = x
        if names and value is not None:
            yield "/".join(names), value


def _scalar(text: str) -> float | str | None:
    """A number or a text; NaN and infinities are written as they are, or as texts."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, int | float | str) and not isinstance(value, bool) else None


def _records(content: bytes) -> Iterator[bytes]:
    """The records of the log, whole ones. The end of a file that is still written is left out."""
    at, pieces = HEADER, b""
    while at + HEADER <= len(content):
        left = BLOCK - at % BLOCK
        if left < HEADER:
            at += left  # no header fits here: zeros
            continue
        _, size, kind = struct.unpack_from("<IHB", content, at)
        at += HEADER
        if kind not in (FULL, FIRST, MIDDLE, LAST) or at + size > len(content):
            return
        pieces = content[at : at + size] if kind in (FULL, FIRST) else pieces + content[at : at + size]
        if kind in (FULL, LAST):
            yield pieces
        at += size


def _fields(message: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Numbers and values of the fields of a message of protocol buffers."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
        elif kind == 1:
            value, at = struct.unpack_from("<d", message, at)[0], at + 8
        elif kind == 2:
            size, at = _varint(message, at)
            value, at = message[at : at + size], at + size
        elif kind == 5:
            value, at = struct.unpack_from("<f", message, at)[0], at + 4
        else:
            return
        yield key >> 3, value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A whole number in groups of 7 bits, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at
