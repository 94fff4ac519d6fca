"""A bar on stderr while something trains: how far it is, the loss so far, the best so far, the time left."""

import math
import time
from typing import Any

import numpy as np

from ..tuning._done import Losses
from ..tuning._engine import watching
from ._lines import console


class ProgressBar:
    """`with ProgressBar() as tell: tune(..., progress=tell)`. Nothing is shown if nobody is looking."""

    def __enter__(self) -> Any:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        terminal = console(stderr=True)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.fields[told]}", markup=False),
        )
        self.bar = Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal)
        self.task = self.bar.add_task("short runs", total=None, told="")
        self.losses = Losses()
        self.begun = time.monotonic()
        self.watch = watching(self.hear)
        self.watch.__enter__()
        self.bar.start()
        return self.tell

    def __exit__(self, *error: Any) -> None:
        self.bar.stop()
        self.watch.__exit__(*error)

    def hear(self, losses: np.ndarray) -> None:
        """The losses of a chunk, of whatever trains."""
        self.losses.add(losses)
        self.bar.update(self.task, told=self.losses.text())

    def tell(self, stage: str, done: int, total: int) -> None:
        """The callback of `lrx.tune`. What follows a stage, such as compilation, has no known length."""
        if done == 0:
            self.begun = time.monotonic()
        if done < total:
            left = (time.monotonic() - self.begun) * (total - done) / done if done else math.nan
            told = self.losses.text() + (f" · {duration(left)} left" if done else "")
            self.bar.update(self.task, description=stage, completed=done, total=total, told=told)
        else:
            self.bar.reset(self.task, description=f"after {stage}", total=None, start=True, told=self.losses.text())


def duration(seconds: float) -> str:
    """A time in two units at most: 45 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
