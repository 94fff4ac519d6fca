"""A log that is being written: what it holds now, whenever it changes."""

import os
from pathlib import Path
from typing import Any

from .. import _check as check
from ._folder import files_in
from ._log import Log
from ._read import as_log, read_table
from ._table import EmptyLogError


class Follower:
    """Read a growing file or folder again whenever it has changed. It may not be there yet, or be replaced.

    Args:
      path: the file or the folder.
      columns: keywords of `read_log`.
    """

    def __init__(self, path: str | os.PathLike[str], **columns: Any) -> None:
        self.path, self.columns = Path(path), columns
        self._seen: object = None

    def poll(self) -> Log | None:
        """The log, if it has changed and holds a loss; None otherwise.

        Raises:
          ValueError: if it cannot be read, and more of it would not help.
        """
        state = _state(self.path)
        if state == self._seen:
            return None
        self._seen = state
        try:
            with check.calling("read_log"):
                return as_log(read_table(self.path, growing=True), **self.columns)
        except (FileNotFoundError, EmptyLogError):
            return None


def _state(path: Path) -> object:
    """What changes when a file, or one in a folder, is written."""
    try:
        if path.is_dir():
            return [(str(p), *_stamp(p)) for p in files_in(path)]
        return _stamp(path)
    except FileNotFoundError:  # deleted in between
        return None


def _stamp(path: Path) -> tuple[int, int, int]:
    s = path.stat()
    return s.st_ino, s.st_size, s.st_mtime_ns
