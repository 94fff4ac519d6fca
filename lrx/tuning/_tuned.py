"""What `tune` returns: the choice, and its report."""

import dataclasses
from pathlib import Path

from ._choice import Choice
from ._report import write_report


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Tuned(Choice):
    """The choice of `lrx.tune`, the evidence for it, and its report."""

    def report(self, path: str | Path) -> Path:
        """Write the report into a folder: report.html, its plots as PNG, schedule.json. Needs matplotlib.

        Args:
          path: the folder; made if need be.

        Returns:
          The path of report.html.
        """
        return write_report(self, Path(path))

    def __repr__(self) -> str:
        return f"Tuned({self.problem!r}: {self.optimizer}, {self.schedule!r})"
