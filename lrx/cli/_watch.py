"""`lrx watch`: follow the log of a run, and speak when the verdict on its learning rate changes."""

import time
from pathlib import Path
from typing import Annotated, Any

from ..diagnosis import Diagnosis
from ..logs import Log
from ._diagnose import (
    LOSS_HELP,
    PERIOD_HELP,
    RATE_HELP,
    STEP_HELP,
    VALIDATION_HELP,
    columns_of,
    in_options,
    picture_of,
    read_best,
    verdict_on,
)
from ._lines import check_count, console, stop

SHARE = 5
"""Reading may take a fifth of the time: a longer log is read less often."""
COLOURS = {"fine": "green", "unknown": "dim", "too_low": "yellow"}


def add_to(app: Any) -> None:
    """Add the command to the application."""
    import typer

    @app.command("watch", epilog="It goes on until it is interrupted, by Ctrl-C: exit code 130.")
    def watch_command(
        log: Annotated[
            str, typer.Argument(metavar="LOG", help="A file that grows, or the folder of a run. It may not exist yet.")
        ],
        best: Annotated[
            str | None, typer.Option(metavar="LOG", help="The best run of the same task: its log, or its last loss.")
        ] = None,
        loss: Annotated[str | None, typer.Option(metavar="COLUMN", help=LOSS_HELP)] = None,
        learning_rate: Annotated[str | None, typer.Option(metavar="COLUMN", help=RATE_HELP)] = None,
        step: Annotated[str | None, typer.Option(metavar="COLUMN", help=STEP_HELP)] = None,
        validation: Annotated[str | None, typer.Option(metavar="COLUMN", help=VALIDATION_HELP)] = None,
        period: Annotated[int | None, typer.Option(help=PERIOD_HELP)] = None,
        interval: Annotated[float, typer.Option(metavar="SECONDS", help="The time between two looks.")] = 2.0,
    ) -> None:
        """Follow the log of a run, and say when the verdict on its learning rate changes."""
        run_watch(log, best, columns_of(loss, learning_rate, step, validation), period, interval)


def run_watch(path: str, best: str | None, columns: dict[str, Any], period: int | None, interval: float) -> None:
    """`lrx watch`: a line for each new verdict, and in a terminal the curve below."""
    if period is not None:
        check_count("--period", period)
    if not 0 < interval < 86_400:
        stop(f"--interval must be positive and less than a day, got {interval:g}.")
    other = None if best is None else read_best(best, columns)
    _follow(path, other, columns, period, interval)


def _follow(path: str, best: Log | float | None, columns: dict[str, Any], period: int | None, interval: float) -> None:
    from ..logs._follow import Follower

    terminal = console()
    follower, last, verdict = Follower(path, **columns), None, None
    with _Display(terminal) as display:
        if not Path(path).exists():
            display.line(f"{path}: not there yet, waiting")
        while True:
            began = time.monotonic()
            try:
                log = follower.poll()
            except (ValueError, TypeError, ImportError) as e:
                stop(in_options(e))
            except OSError as e:
                stop(f"cannot read {path}: {e.strerror or e}.")
            if log is not None:
                if last is not None and log.steps[-1] < last.steps[-1]:
                    display.line(f"step {log.steps[-1]:,}: the log begins anew, after step {last.steps[-1]:,}")
                    verdict = None
                found = verdict_on(log, best, period)
                if verdict is None or _news(found) != _news(verdict):
                    before = f" (was {verdict.label})" if verdict and verdict.label != found.label else ""
                    text = f"step {log.steps[-1]:,}: {found.label}{before}. {found.text}"
                    display.line(text, COLOURS.get(found.label, "bold red"))
                last, verdict = log, found
                display.show(log, found)
            time.sleep(max(interval, SHARE * (time.monotonic() - began)))


def _news(verdict: Diagnosis) -> tuple[str, bool]:
    """What is worth a line if it changes: the label, and whether the record was long enough for it."""
    return verdict.label, verdict.interval == (0.0, float("inf"))


class _Display:
    """Lines, and in a terminal the newest curve below them."""

    def __init__(self, console: Any) -> None:
        from rich.live import Live

        self.console = console
        self.live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> "_Display":
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.live is not None:
            self.live.stop()

    def line(self, text: str, style: str | None = None) -> None:
        self.console.print(text, style=style, soft_wrap=self.live is None, highlight=False, markup=False)

    def show(self, log: Log, verdict: Diagnosis) -> None:
        if self.live is None:
            return
        from rich.text import Text

        height = max(4, min(12, self.console.height - 14))
        rates = log.learning_rates
        now = f"step {log.steps[-1]:,}, loss {log.losses[-1]:.5g}"
        now += "" if rates is None else f", learning rate {rates[-1]:.4g}"
        picture = Text(f"{picture_of(log, height)}\n{now}: {verdict.label}", no_wrap=True, overflow="crop")
        self.live.update(picture, refresh=True)
