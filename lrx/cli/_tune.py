"""`lrx tune`: choose an optimizer, a schedule and a learning rate by training."""

import math
from pathlib import Path
from typing import Annotated, Any, cast

from ..problems._load import BUILT_IN, load
from ..tuning._arguments import By
from ..tuning._presets import OPTIMIZERS, SCHEDULES
from ..tuning._suggest import logspace
from ..tuning._tune import tune
from ..tuning._tuned import Tuned
from ._lines import check_count, check_folder, check_name, console, names_of, say, stop, stop_after
from ._progress import ProgressBar

MOST_RATES = 10_000
"""In a grid: more cannot be trained."""
LOSSES = "training", "validation"


def add_to(app: Any) -> None:
    """Add the command to the application."""
    import typer

    problem_help = f"{', '.join(BUILT_IN)}, or path/to/file.py:name with a Problem or a function returning one."
    names_help = "Names, separated by commas, from {}."

    @app.command("tune")
    def tune_command(
        problem: Annotated[str | None, typer.Argument(metavar="PROBLEM", help=problem_help)] = None,
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
        if problem is None:
            say(f"Problems that come with lrx: {', '.join(BUILT_IN)}. One of your own is path/to/file.py:name.")
            return
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
    given, out = out, out.absolute()  # the user's file may change the folder
    check_folder(given)
    try:
        import matplotlib  # noqa: F401  # the report will need it
    except ImportError:
        stop('the report needs matplotlib: pip install "lrx[cli]"')
    try:
        loaded = load(problem)
    except (ValueError, TypeError, ImportError, OSError) as e:
        stop(str(e).replace("load(spec=...)", "PROBLEM"))
    with ProgressBar() as show_progress:
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
            stop_after(e, problem)
    # first of all, as what prints may fail: a pipe that is closed, a full disk
    report, error = None, None
    try:
        report = tuned.report(out)
    except OSError as e:
        error = e
    _print_tuned(tuned)
    if error is not None:
        stop(f"--out: cannot write into {given}: {error.strerror or error}.")
    assert report is not None
    say(f"Report: {given / report.name}", fold=False)


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
    if num > MOST_RATES:
        stop(f"--learning-rates: NUM must be at most {MOST_RATES}, got {text!r}.")
    if num < 2:
        stop(f"--learning-rates: NUM must be at least 2, got {text!r}.")
    try:
        return logspace(start, end, num)
    except ValueError as e:
        stop(f"--learning-rates: {e}")


def _print_tuned(tuned: Tuned) -> None:
    from rich.table import Table

    from ..tuning._report_words import choice, columns, comparison, cost, evidence, notes

    terminal, shown = console(), columns(tuned)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in shown:
        table.add_column(name.replace(" ", "\n"), no_wrap=True, overflow="ignore")
    for row in tuned.table:
        chosen = row is tuned.table[0]
        first, *rest = (f(row).replace(" ± ", "±") for f in shown.values())
        table.add_row(("▸ " if chosen else "  ") + first, *rest, style="bold green" if chosen else None)
    wide = terminal.options.update(max_width=1000)  # `measure` answers no more than it is offered
    if terminal.measure(table, options=wide).maximum > terminal.width:
        table.padding = (0, 1, 0, 0)
    terminal.width = max(terminal.width, terminal.measure(table, options=wide).maximum)  # a number is never cut
    terminal.print()
    terminal.print(table)
    for text in ("", *notes(tuned), "", choice(tuned), comparison(tuned), evidence(tuned), f"Cost: {cost(tuned)}."):
        say(text)
