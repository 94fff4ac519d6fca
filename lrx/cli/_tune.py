"""`lrx tune`: choose an optimizer, a schedule and a learning rate by training."""

import math
import os
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn, cast

from ..problems._load import BUILT_IN, load
from ..tuning._arguments import By
from ..tuning._presets import OPTIMIZERS, SCHEDULES
from ..tuning._suggest import logspace
from ..tuning._tune import tune
from ..tuning._tuned import Tuned
from ._lines import check_count, check_name, names_of, say, stop

LOSSES = "training", "validation"


def add_to(app: Any) -> None:
    """Add the command to the application."""
    import typer

    problem_help = f"{', '.join(BUILT_IN)}, or path/to/file.py:name with a Problem or a function returning one."
    names_help = "Names, separated by commas, from {}."

    @app.command("tune")
    def tune_command(
        problem: Annotated[str, typer.Argument(metavar="PROBLEM", help=problem_help)],
        optimizers: Annotated[str | None, typer.Option(help=names_help.format(", ".join(OPTIMIZERS)))] = None,
        schedules: Annotated[str | None, typer.Option(help=names_help.format(", ".join(SCHEDULES)))] = None,
        steps: Annotated[int, typer.Option(help="Updates in one run.")] = 500,
        seeds: Annotated[
            int | None, typer.Option(help="Runs of each combination; 1 within a budget and 3 without if left out.")
        ] = None,
        learning_rates: Annotated[
            str | None,
            typer.Option(
                metavar="START:STOP:NUM",
                help="The rates to try (without a budget, of the first optimizer); from short runs if left out.",
            ),
        ] = None,
        budget: Annotated[
            float | None,
            typer.Option(
                metavar="RUNS",
                help="What it may cost in runs, short ones included; every combination is tried if left out.",
            ),
        ] = None,
        by: Annotated[
            str | None,
            typer.Option(
                metavar="|".join(LOSSES),
                help="The loss that decides; if left out, validation if the problem gives one, else training.",
            ),
        ] = None,
        out: Annotated[Path, typer.Option(metavar="DIR", help="The folder of the report.")] = Path("lrx-report"),
    ) -> None:
        """Choose an optimizer, a schedule and a learning rate by training, and write a report."""
        run_tune(problem, optimizers, schedules, steps, seeds, learning_rates, budget, by, out)


def run_tune(
    problem: str,
    optimizers: str | None,
    schedules: str | None,
    steps: int,
    seeds: int | None,
    learning_rates: str | None,
    budget: float | None,
    by: str | None,
    out: Path,
) -> None:
    """`lrx tune`: check everything before the first step, train, report."""
    names = names_of("--optimizers", optimizers, OPTIMIZERS), names_of("--schedules", schedules, SCHEDULES)
    if by is not None:
        check_name("--by", by, LOSSES)
    check_count("--steps", steps)
    if seeds is not None:
        check_count("--seeds", seeds)
    if budget is not None and not 0 < budget < math.inf:
        stop(f"--budget must be positive and finite, got {budget}.")
    grid = None if learning_rates is None else _grid(learning_rates)
    _check_folder(out)
    try:
        import matplotlib  # noqa: F401  # the report will need it
    except ImportError:
        stop('the report needs matplotlib: pip install "lrx[cli]"')
    try:
        loaded = load(problem)
    except (ValueError, TypeError, ImportError, OSError) as e:
        stop(str(e).replace("load(spec=...)", "PROBLEM"))
    with _progress() as show_progress:
        try:
            tuned = tune(
                loaded,
                optimizers=names[0],
                schedules=names[1],
                learning_rates=grid,
                budget=budget,
                steps=steps,
                seeds=seeds,
                by=cast(By | None, by),
                progress=show_progress,
            )
        except Exception as e:
            _stop_after(e, problem)
    _print_tuned(tuned)
    try:
        report = tuned.report(out)
    except OSError as e:
        stop(f"--out: cannot write into {out}: {e.strerror or e}.")
    say(f"Report: {report}", fold=False)


def _grid(text: str) -> Any:
    parts = text.split(":")
    try:
        start, end, num = float(parts[0]), float(parts[1]), int(parts[2])
        if len(parts) > 3:
            raise ValueError
    except (ValueError, IndexError):
        stop(f"--learning-rates must be START:STOP:NUM, such as 1e-4:1:9, got {text!r}.")
    if not 0 < start < end < math.inf:
        stop(f"--learning-rates: START must be positive and less than STOP, got {text!r}.")
    if num < 2:
        stop(f"--learning-rates: NUM must be at least 2, got {text!r}.")
    try:
        return logspace(start, end, num)
    except ValueError as e:
        stop(f"--learning-rates: {e}")


def _check_folder(out: Path) -> None:
    """Stop before minutes of training if the report cannot be written."""
    there = next(p for p in [out.absolute(), *out.absolute().parents] if p.exists())
    if not there.is_dir():
        stop(f"--out: {there} is a file, so {out} cannot be a folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        stop(f"--out: no permission to write into {there}.")


class _progress:
    """A bar on stderr while `tune` runs, if somebody is looking."""

    def __enter__(self) -> Callable[[str, int, int], None]:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        columns = TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), TimeElapsedColumn()
        self.bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.bar.add_task("short runs", total=None)
        self.bar.start()
        return self.tell

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def tell(self, stage: str, done: int, total: int) -> None:
        """The callback of `lrx.tune`. What follows a stage, such as compilation, has no known length."""
        if done < total:
            self.bar.update(self.task, description=stage, completed=done, total=total)
        else:
            self.bar.reset(self.task, description=f"after {stage}", total=None, start=True)


def _stop_after(error: Exception, problem: str) -> NoReturn:
    """Report an error of training: an argument that lrx refuses, or the user's code failing, with its line if known."""
    frames = traceback.extract_tb(error.__traceback__)
    file = Path(problem.rpartition(":")[0]).absolute()
    mine = [
        f for f in frames if file.suffix == ".py" and Path(f.filename).absolute().parent.is_relative_to(file.parent)
    ]
    mine = [f for f in mine if "site-packages" not in f.filename and not _in_lrx(f.filename)]
    if mine:
        stop(f"line {mine[-1].lineno} of {mine[-1].filename} failed with {type(error).__name__}: {error}", code=1)
    # JAX hides its own frames, so that the last one may be of lrx without lrx raising
    if (
        isinstance(error, ValueError | TypeError)
        and _in_lrx(frames[-1].filename)
        and "raise" in (frames[-1].line or "")
    ):
        message = re.sub(r"^\w+\((\w+)=\.\.\.\)", lambda call: _option(call[1]), str(error))
        stop(f"{problem}: {message}")
    stop(f"training {problem} failed with {type(error).__name__}: {error}", code=1)


def _option(argument: str) -> str:
    """What an argument of `tune` is called here."""
    return "PROBLEM" if argument == "problem" else "--" + argument.replace("_", "-")


def _in_lrx(filename: str) -> bool:
    return Path(filename).absolute().is_relative_to(Path(__file__).absolute().parents[1])


def _print_tuned(tuned: Tuned) -> None:
    from rich.console import Console
    from rich.table import Table

    from ..tuning._report_words import choice, columns, comparison, cost, evidence, notes

    console, shown = Console(highlight=False, markup=False, emoji=False), columns(tuned)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in shown:
        table.add_column(name.replace(" ", "\n"), no_wrap=True, overflow="ignore")
    for row in tuned.table:
        chosen = row is tuned.table[0]
        first, *rest = (f(row).replace(" ± ", "±") for f in shown.values())
        table.add_row(("▸ " if chosen else "  ") + first, *rest, style="bold green" if chosen else None)
    wide = console.options.update(max_width=1000)  # `measure` answers no more than it is offered
    if console.measure(table, options=wide).maximum > console.width:
        table.padding = (0, 1, 0, 0)
    console.width = max(console.width, console.measure(table, options=wide).maximum)  # a number is never cut
    console.print()
    console.print(table)
    for text in ("", *notes(tuned), "", choice(tuned), comparison(tuned), evidence(tuned), f"Cost: {cost(tuned)}."):
        say(text)
