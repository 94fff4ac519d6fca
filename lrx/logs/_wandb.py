"""W&B's offline files."""

from pathlib import Path

from ._table import Table, unreadable

MAGIC = b":W&B"


def is_wandb_file(path: Path) -> bool:
    """Whether a file is the record of a run that W&B keeps on disk."""
    if path.suffix == ".wandb":
        return True
    with path.open("rb") as file:
        return file.read(4) == MAGIC


def read_wandb(path: Path) -> Table:
    """Refuse it."""
    raise unreadable(
        path,
        "must be an export of W&B",
        "its offline file",
    )
