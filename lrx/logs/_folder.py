"""The one log in a folder: of several, an error that lists them."""

import os
import re
from itertools import islice
from pathlib import Path

from ._table import TRAINING, VALIDATION, unreadable, words

FILES = (
    "trainer_state.json",
    "metrics.csv",
    "wandb-history.jsonl",
    "history.csv",
    "training.log",
    "log.csv",
    "log.jsonl",
)
ENDS = (".csv", ".jsonl", ".tsv", ".ndjson")
ENOUGH = 10_000
"""Files of a folder that are looked at."""


def is_events(path: Path) -> bool:
    """Whether a file is called like TensorBoard's."""
    return "tfevents" in path.name


def files_in(folder: Path) -> list[Path]:
    """The files in a folder and its subfolders, sorted; not all of them if there are very many."""
    return sorted(path for path in islice(folder.rglob("*"), ENOUGH) if path.is_file())


def inside(folder: Path) -> tuple[list[tuple[str, Path]], list[str]]:
    """The parts of the one run in a folder.

    Args:
      folder: is searched with its subfolders.

    Returns:
      Names and paths: folders of event files, called `train` and `validation` where they are; or one file, without a
      name. And sentences about what was chosen.

    Raises:
      ValueError: if there is no log, or several.
    """
    files = files_in(folder)
    if runs := sorted({path.parent for path in files if is_events(path)}):
        return _one_run(folder, runs), []
    if states := [path for path in files if path.name == "trainer_state.json"]:
        # each checkpoint has the whole history until then
        last = max(states, key=lambda path: (len(path.relative_to(folder).parts) == 1, _number(path.parent.name)))
        same = {path.parent.parent if path.parent.name.startswith("checkpoint-") else path.parent for path in states}
        if len(same) > 1:
            raise _several(folder, states)
        return [("", last)], [f"of the folder {last.relative_to(folder).as_posix()} is read"] if len(states) > 1 else []
    known = [path for path in files if path.name in FILES] or [path for path in files if path.name.endswith(".wandb")]
    known = known or [path for path in files if path.name.endswith(ENDS)]
    if not known:
        raise unreadable(
            folder,
            "must be a folder with a log in it",
            f"{len(files)} files, none of which is an event file, CSV or JSONL" if files else "an empty folder",
            empty=True,
        )
    if len(known) > 1:
        raise _several(folder, known)
    return [("", known[0])], [f"of the folder {known[0].relative_to(folder).as_posix()} is read"]


def _one_run(folder: Path, runs: list[Path]) -> list[tuple[str, Path]]:
    """The folders of event files, if all of them are parts of one run: the losses of training, those of validation."""
    if len(runs) == 1:
        return [("", runs[0])]
    common = Path(os.path.commonpath(runs))
    names = [run.relative_to(common).as_posix() for run in runs]
    names = ["" if name == "." else name for name in names]
    if any(words(name) - {"loss", "losses", "step", "epoch"} - TRAINING - VALIDATION for name in names):
        raise _several(folder, runs)
    return list(zip(names, runs, strict=True))


def _number(name: str) -> int:
    return int((re.findall(r"\d+", name) or ["-1"])[-1])


def _several(folder: Path, found: list[Path]) -> ValueError:
    names = [path.relative_to(folder).as_posix() for path in found]
    listed = ", ".join(repr(x) for x in names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    way_out = f"Give one of them: read_log({str(found[0])!r})."
    return unreadable(folder, "must be a folder with one run in it", f"{len(names)} runs, {listed}", way_out)
