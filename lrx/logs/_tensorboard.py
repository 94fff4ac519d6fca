"""TensorBoard's event files, read with TensorBoard's own loader. Reading any of them needs the extra `logs`."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ._folder import is_events
from ._table import Table, from_rows, unreadable

VERSION = b"brain.Event:"
"""What the first record of an event file says."""
MISSING = 'event files are read by TensorBoard: pip install "lrx[logs]"'


def is_event_file(path: Path) -> bool:
    """Whether a file is one of TensorBoard's, by its name or by its first record."""
    if is_events(path):
        return True
    with path.open("rb") as file:
        return VERSION in file.read(64)


def read_events(source: str, parts: list[tuple[str, Path]]) -> Table:
    """A table from the event files of one run.

    Args:
      source: what errors call the run.
      parts: files, or folders of files, and a name that is put before their tags.

    Returns:
      A row for each event, with its step and its scalars.

    Raises:
      ImportError: if tensorboard is not installed.
      ValueError: if there is no scalar.
    """
    try:
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    except ImportError:
        raise ImportError(MISSING) from None
    rows: list[dict[str, float]] = []
    for name, path in parts:
        for file in sorted(x for x in path.iterdir() if is_events(x) and x.is_file()) if path.is_dir() else [path]:
            for step, tag, value in _scalars(EventFileLoader, file):
                tag = f"{name}/{tag}" if name else tag
                if rows and rows[-1]["step"] == step and tag not in rows[-1]:
                    rows[-1][tag] = value
                else:
                    rows.append({"step": float(step), tag: value})
    if not rows:
        raise unreadable(source, "must hold scalars", "event files without any", empty=True)
    return from_rows(source, rows)


def _scalars(loader: Any, file: Path) -> Iterator[tuple[int, str, float]]:
    """Step, tag and value of each scalar of a file, in the order in which they were written."""
    from tensorboard.util import tensor_util

    quiet = logging.getLogger("tensorboard")
    level = quiet.level
    quiet.setLevel(logging.ERROR)  # a file that is still written ends in the middle of a record
    try:
        kinds: dict[str, str] = {}
        for event in loader(str(file)).Load():
            for value in event.summary.value:
                kind = kinds.setdefault(value.tag, value.metadata.plugin_data.plugin_name)  # the first one has it
                if value.HasField("simple_value"):
                    yield event.step, value.tag, value.simple_value
                elif value.HasField("tensor") and kind in ("scalars", "") and _is_scalar(value.tensor):
                    yield event.step, value.tag, float(tensor_util.make_ndarray(value.tensor).item())
    finally:
        quiet.setLevel(level)


def _is_scalar(tensor: Any) -> bool:
    """Whether a tensor is one number. The types are DT_FLOAT, DT_DOUBLE, whole numbers, DT_BFLOAT16 and DT_HALF."""
    size = 1
    for dim in tensor.tensor_shape.dim:
        size *= dim.size
    return size == 1 and tensor.dtype in {1, 2, 3, 4, 5, 6, 9, 14, 17, 19, 22, 23}
