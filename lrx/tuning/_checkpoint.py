"""The state of an interrupted sweep in one file, with a fingerprint of the arguments that it belongs to."""

import contextlib
import hashlib
import json
import os
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import _check as check

SHARE = 0.05
"""Of the time that goes into writing, as long as no more than `LOST` is at stake."""
LOST = 30.0, 0.02
"""What a stopped process may lose: so many seconds, or this share of the run if that is longer."""
PART = ".part"
"""The end of the name of a file that is being written."""
ANEW = "Delete the file to start anew, or name another."
OLD = 3600.0
"""Seconds after which nobody is writing it any more."""


class Checkpoint:
    """A file that is replaced as a whole: at each moment it holds one state of the run, or it is not there."""

    def __init__(self, path: Any, arguments: dict[str, str]):
        self.path, self.arguments = Path(path), arguments
        self.cost = self.written = 0.0
        """Seconds that the last write took, and when it was; no cost before the first."""
        self.asked = 0.0, 0.0
        """When a chunk was completed last, and the share of the run that was."""
        if not self.path.parent.is_dir():
            raise check.fail("checkpoint", "must be in a folder that exists", str(path))

    def load(self) -> dict[str, np.ndarray] | None:
        """The arrays of the last state that was written, or None."""
        read = self._read()
        if read is None:
            return None
        arrays, theirs = read
        if differ := self._differing(theirs):
            call = check.where("checkpoint", "sweep").partition("(")[0]
            listed = ", ".join(_difference(name, theirs.get(name), self.arguments.get(name)) for name in differ)
            rule = f"must be of a {call} with the same arguments; different: {listed}"
            raise check.fail("checkpoint", rule, str(self.path), ANEW)
        return arrays

    def load_other(self, may_differ: set[str]) -> dict[str, np.ndarray] | None:
        """The arrays of a state with other arguments, of which these alone differ; None if there is no such state."""
        arrays, theirs = self._read() or ({}, {})
        differ = set(self._differing(theirs))
        return arrays if differ and differ <= may_differ else None

    def _read(self) -> tuple[dict[str, np.ndarray], dict[str, str]] | None:
        """The arrays and the arguments in the file, if there is one."""
        if not self.path.exists():
            return None
        try:
            with np.load(self.path) as file:
                arrays = dict(file)
            whole = arrays.pop("check").item() == _check_of(arrays)
            theirs = json.loads(arrays.pop("arguments").item()) if whole else {}
        except OSError as error:
            rule = f"must be a file that can be read ({error.strerror or error})"
            raise check.fail("checkpoint", rule, str(self.path), ANEW) from error
        except Exception as error:  # whatever a damaged file does to the readers of zip and NumPy files
            raise self._foreign() from error
        if not whole:
            raise self._foreign()
        return arrays, theirs

    def _foreign(self) -> ValueError:
        call = check.where("checkpoint", "sweep").partition("(")[0]
        return check.fail("checkpoint", f"must be a path that {call} wrote, or a new one", str(self.path), ANEW)

    def _differing(self, theirs: dict[str, str]) -> list[str]:
        """The names of the arguments that differ."""
        names = list(self.arguments) + [name for name in theirs if name not in self.arguments]
        return [name for name in names if theirs.get(name) != self.arguments.get(name)]

    def due(self, done: float) -> bool:
        """Whether to write now; asked after each chunk of the run, of which a share `done` is completed."""
        now = time.perf_counter()
        (before, done_before), self.asked = self.asked, (now, done)
        if not self.cost:
            return True
        chunk, unwritten = now - before, now - self.written
        whole = chunk / max(done - done_before, 1e-12)  # at the pace of the last chunk
        seconds, share = LOST
        return unwritten >= self.cost / SHARE or unwritten + chunk + self.cost > max(seconds, share * whole)

    def save(self, state: Callable[[], dict[str, np.ndarray]]) -> None:
        """Replace the file."""
        began = time.perf_counter()
        arrays = state() | {"arguments": np.array(json.dumps(self.arguments))}
        # the file itself, where the path is a link; of a short name, and of each process its own
        path = Path(os.path.realpath(self.path))
        prefix = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:8]}-"
        _remove_old(path.parent, prefix)
        descriptor, name = tempfile.mkstemp(PART, prefix, path.parent)
        part = Path(name)
        try:
            with open(descriptor, "wb") as file:
                np.savez(file, **arrays, check=np.array(_check_of(arrays)))  # type: ignore[arg-type]
                file.flush()
                os.fsync(file.fileno())
            part.chmod(_mode_of(path))
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        self.written = time.perf_counter()
        self.cost = max(self.written - began, 1e-9)
        self.asked = self.written, self.asked[1]


def _check_of(arrays: dict[str, np.ndarray]) -> str:
    """By which a file is known to hold what was written, all of it: the sizes and the CRC-32s of its arrays."""
    parts = []
    for name, given in sorted(arrays.items()):
        x = np.asarray(given)
        content = np.ascontiguousarray(x).reshape(-1).view(np.uint8)
        parts.append(f"{name} {x.shape} {zlib.crc32(content.data):x}")
    return hashlib.sha256("\n".join(parts).encode("utf-8", "backslashreplace")).hexdigest()


def _mode_of(path: Path) -> int:
    """The permissions of a file, or those that a new one would have."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _remove_old(folder: Path, prefix: str) -> None:
    """What a killed process had begun to write. What is younger may be of a process that lives."""
    for part in folder.glob(f"{prefix}*{PART}"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > OLD:
                part.unlink()


def leaves(tree: Any) -> dict[str, np.ndarray]:
    """The leaves of a pytree as plain arrays, by position."""
    return {f"leaf_{i}": np.asarray(_plain(x)) for i, x in enumerate(jax.tree.leaves(tree))}


def restored(template: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The pytree whose leaves were saved, with the dtypes and the placement of `template`'s."""
    old, structure = jax.tree.flatten(template)
    return jax.tree.unflatten(structure, [_like(x, arrays[f"leaf_{i}"]) for i, x in enumerate(old)])


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.extended)


def _plain(x: Any) -> Any:
    return jax.random.key_data(x) if _is_key(x) else x


def _like(old: Any, saved: np.ndarray) -> Any:
    if _is_key(old):
        return jax.device_put(jax.random.wrap_key_data(jnp.asarray(saved), impl=jax.random.key_impl(old)), old.sharding)
    # bfloat16 and its like come back from a file as raw bytes
    return jax.device_put(saved if saved.dtype == old.dtype else saved.view(old.dtype), old.sharding)


def _difference(name: str, theirs: str | None, ours: str | None) -> str:
    if name in ("problem", "make_optimizer") or theirs is None or ours is None or max(len(theirs), len(ours)) > 60:
        return name
    return f"{name} ({theirs} in the file, {ours} now)"
