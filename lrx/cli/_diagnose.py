"""`lrx diagnose`: what is wrong with the learning rate of a run, from its log."""

import os
import re
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from ..charts import loss_drawing
from ..diagnosis import Diagnosis, diagnose
from ..logs import Log, read_log
from ._lines import check_count, say, stop

CODES = {"fine": 0, "too_low": 3, "oscillating": 4, "diverging": 5, "dead": 6, "unknown": 7}
"""The exit code of each verdict; 1 and 2 are for errors."""
CODES_TEXT = ", ".join(f"{code} {label}" for label, code in CODES.items())

LOSS_HELP = "The column of the training loss; guessed from its name if left out."
RATE_HELP = "The column of the learning rate; guessed if left out. 'none' reads none."
STEP_HELP = "The column of the step; guessed if left out."
VALIDATION_HELP = "The column of the validation loss; guessed if left out. 'none' reads none."
PERIOD_HELP = "The steps of an epoch, if every epoch has the same order of batches; from the log if left out."


def add_to(app: Any) -> None:
    """Add the command to the application."""
    import typer

    @app.command("diagnose", epilog=f"Exit codes: {CODES_TEXT}; 2 for a log that cannot be read.")
    def diagnose_command(
        log: Annotated[
            str,
            typer.Argument(
                metavar="LOG",
                help="CSV, JSONL, trainer_state.json, TensorBoard's event files, or the folder of a run.",
            ),
        ],
        best: Annotated[
            str | None, typer.Option(metavar="LOG", help="The best run of the same task: its log, or its last loss.")
        ] = None,
        loss: Annotated[str | None, typer.Option(metavar="COLUMN", help=LOSS_HELP)] = None,
        learning_rate: Annotated[str | None, typer.Option(metavar="COLUMN", help=RATE_HELP)] = None,
        step: Annotated[str | None, typer.Option(metavar="COLUMN", help=STEP_HELP)] = None,
        validation: Annotated[str | None, typer.Option(metavar="COLUMN", help=VALIDATION_HELP)] = None,
        period: Annotated[int | None, typer.Option(help=PERIOD_HELP)] = None,
        out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write a report with pictures there.")] = None,
    ) -> None:
        """Say whether the learning rate of a run was too low, fine or too high, and by how much, from its log."""
        columns = columns_of(loss, learning_rate, step, validation)
        raise typer.Exit(run_diagnose(log, best, columns, period, out))


def run_diagnose(path: str, best: str | None, columns: dict[str, Any], period: int | None, out: Path | None) -> int:
    """`lrx diagnose`: print the verdict on a log and the curve, and write a report if asked to; the exit code."""
    from ..logs._words import contents, correction

    if period is not None:
        check_count("--period", period)
    log = read(path, columns)
    other = None if best is None else read_best(best, columns)
    verdict = verdict_on(log, other, period)
    say(f"{log.source}: {contents(log)}")
    for note in log.notes:
        say(f"Note: {note}")
    say("\n" + picture_of(log), fold=False)
    say(f"\nVerdict: {verdict.label}\n{verdict.text}\n{correction(verdict, log)}")
    if out is not None:
        say(f"Report: {report(log, verdict, other, out)}", fold=False)
    return CODES[verdict.label]


def columns_of(loss: str | None, learning_rate: str | None, step: str | None, validation: str | None) -> dict[str, Any]:
    """The keywords of `read_log` from options: a number is that of a column, `none` is none."""
    given = {"loss": loss, "learning_rate": learning_rate, "step": step, "validation": validation}
    columns: dict[str, Any] = {}
    for name, x in given.items():
        if x is not None and x.isdigit():
            columns[name] = int(x)
        elif x is not None:
            columns[name] = False if x.lower() == "none" and name in ("learning_rate", "validation") else x
    return columns


def read(path: str, columns: dict[str, Any]) -> Log:
    """The log in a file, or one line on what is wrong."""
    try:
        return read_log(path, **columns)
    except (ValueError, TypeError, ImportError) as e:
        stop(in_options(e))
    except OSError as e:
        stop(f"cannot read {path}: {e.strerror}." if e.strerror else in_options(e))


def read_best(text: str, columns: dict[str, Any]) -> Log | float:
    """What a log is compared with: another one, or a loss."""
    try:
        loss = float(text)
    except ValueError:
        return read(text, columns)
    if os.path.exists(text):
        return read(text, columns)
    if not np.isfinite(loss):
        stop(f"--best must be a log or a finite loss, got {text!r}.")
    return loss


def verdict_on(log: Log, best: Log | float | None, period: int | None) -> Diagnosis:
    """The verdict of `lrx.diagnose`, which knows the epochs that the log shows."""
    epoch = log.steps_per_epoch
    if period is None and epoch is not None and 2 <= epoch <= (log.steps[-1] - log.steps[0]) / 2:
        period = round(epoch)
    try:
        return diagnose(log, best, period=period)
    except (ValueError, TypeError) as e:
        message = re.sub(r"^diagnose[(](\w+)=\.\.\.[)]", lambda m: m[1].replace("_", " "), str(e))
        stop(f"{log.source}: {message}")


def picture_of(log: Log, height: int = 12) -> str:
    """The losses in text, and the learning rates below if they change."""
    lines = ["loss", loss_drawing(log.steps, log.losses, height=height)]
    rates = log.learning_rates
    if rates is not None and np.ptp(rates) > 1e-3 * np.abs(rates).max():
        lines += ["learning rate", loss_drawing(log.steps, rates, height=4, log=False)]
    return "\n".join(lines)


def report(log: Log, verdict: Diagnosis, best: Log | float | None, out: Path) -> Path:
    """The report in a folder."""
    from ..logs._report import write_report

    try:
        return write_report(log, verdict, out, best=best)
    except ImportError as e:
        stop(e)
    except OSError as e:
        stop(f"--out: cannot write into {out}: {e.strerror or e}.")


def in_options(error: Exception) -> str:
    """The message of an error with the names of options in place of keywords."""
    text = str(error).replace("read_log(path=...)", "LOG")
    text = re.sub(r"read_log[(](\w+)=\.\.\.[)]", lambda m: _option(m[1]), text)
    return re.sub(r"\b(loss|learning_rate|step|validation)=(?=')", lambda m: _option(m[1]) + " ", text)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
