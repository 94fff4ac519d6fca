"""The `lrx` command: `lrx tune` chooses a learning rate, `lrx show` draws a schedule.

A wrong argument is one line on stderr and exit code 2; an error in the user's own code one line and exit code 1.
"""

import json
import logging
import math
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, NoReturn, cast

from ._version import __version__
from .charts import drawing, horizon
from .charts import plot as plot_schedules
from .convert import recognised
from .problems._load import BUILT_IN, load
from .schedules._schedule import Schedule
from .schedules._text import from_json, parse
from .tuning._arguments import By
from .tuning._presets import OPTIMIZERS, SCHEDULES
from .tuning._suggest import logspace
from .tuning._tune import tune
from .tuning._tuned import Tuned

MISSING = 'the command needs typer and rich: pip install "lrx[cli]"'
MOST_STEPS = 2**31 - 1
LOSSES = "training", "validation"


def main() -> None:
    """Run the command with the arguments of the process, and exit."""
    logging.getLogger("jax").setLevel(logging.ERROR)  # not about which device it found
    warnings.filterwarnings("ignore", module="jax|optax")
    make_app()(prog_name="lrx")


def make_app() -> Any:
    """The typer application, made when asked for so that `import lrx.cli` works without typer."""
    try:
        import rich  # noqa: F401  # later imports count on it
        import typer
        from typer.core import TyperGroup
    except ImportError:
        stop(MISSING)

    usage_error: Any = typer.BadParameter.__base__  # click's UsageError, wherever this version of typer keeps it

    class OneLine(TyperGroup):
        """A group whose usage errors are one line."""

        def main(self, *args: Any, standalone_mode: bool = True, **kwargs: Any) -> Any:
            del standalone_mode
            try:
                sys.exit(super().main(*args, standalone_mode=False, **kwargs) or 0)
            except usage_error as e:
                more = f" See '{e.ctx.command_path} --help'." if e.ctx else ""
                stop(e.format_message().rstrip(".") + "." + more)
            except (KeyboardInterrupt, typer.Abort):
                sys.exit(130)

    app = typer.Typer(cls=OneLine, add_completion=False, pretty_exceptions_enable=False)

    def version(asked: bool) -> None:
        if asked:
            typer.echo(f"lrx {__version__}")
            raise typer.Exit

    @app.callback()
    def root(
        version: Annotated[bool, typer.Option("--version", callback=version, is_eager=True, help="Print it.")] = False,
    ) -> None:
        """Learning rates for JAX: choose them, look at them."""

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

    @app.command("show")
    def show_command(
        schedule: Annotated[
            str,
            typer.Argument(
                metavar="SCHEDULE_OR_JSON",
                help="A call such as 'cosine_decay_schedule(0.1, 1000)', or JSON, in a file or as it is: a schedule of "
                "lrx, or a config of torch, Keras, transformers or timm.",
            ),
        ],
        steps: Annotated[int | None, typer.Option(help="The last step drawn.")] = None,
        out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a picture: .png, .svg, .pdf.")] = None,
    ) -> None:
        """Draw a schedule."""
        try:
            run_show(schedule, steps, out)
        except RecursionError:
            stop("the schedule is nested too deeply.")

    return app


def stop(message: object, code: int = 2) -> NoReturn:
    """One line on stderr, and exit."""
    sys.stderr.write(f"lrx: error: {' '.join(str(message).split())}\n")
    raise SystemExit(code)


# ---------------------------------------------------------------- lrx tune


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
    names = _names("--optimizers", optimizers, OPTIMIZERS), _names("--schedules", schedules, SCHEDULES)
    if by is not None:
        _check_name("--by", by, LOSSES)
    _check_count("--steps", steps)
    if seeds is not None:
        _check_count("--seeds", seeds)
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
    _say(f"Report: {report}", fold=False)


def _names(option: str, text: str | None, known: dict[str, Any]) -> list[str] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    for name in names:
        _check_name(option, name, known)
    return names


def _check_name(option: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        stop(f"{option}: there is no {name!r}. Choose from {', '.join(known)}.")


def _check_count(option: str, count: int) -> None:
    if not 1 <= count <= MOST_STEPS:
        stop(f"{option} must be {'at least 1' if count < 1 else f'at most {MOST_STEPS}'}, got {count}.")


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
    return Path(filename).absolute().is_relative_to(Path(__file__).absolute().parent)


def _print_tuned(tuned: Tuned) -> None:
    from rich.console import Console
    from rich.table import Table

    from .tuning._report_words import choice, columns, comparison, cost, evidence, notes

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
        _say(text)


def _say(text: str, fold: bool = True) -> None:
    """A line, folded at words in a terminal and left whole in a pipe."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    console.print(text, soft_wrap=not (fold and console.is_terminal))


# ---------------------------------------------------------------- lrx show


def run_show(text: str, steps: int | None, out: Path | None) -> None:
    """`lrx show`: print a schedule, draw it, and write it as a picture if asked to."""
    schedule = _schedule(text)
    if steps is not None:
        _check_count("--steps", steps)
    steps = horizon(schedule) if steps is None else steps
    if out is not None:
        try:
            figure = plot_schedules(schedule, steps=steps)
            formats = figure.canvas.get_supported_filetypes()
            if out.suffix[1:].lower() not in formats:
                stop(f"--out must end in one of {', '.join('.' + f for f in sorted(formats))}, got {str(out)!r}.")
            figure.savefig(out)
        except ImportError as e:
            stop(e)
        except OSError as e:
            stop(f"--out: cannot write {out}: {e.strerror or e}.")
    _say(repr(schedule))
    _say("\n" + drawing(schedule, steps), fold=False)
    if out is not None:
        _say(f"\nPicture: {out}", fold=False)


def _schedule(text: str) -> Any:
    path = Path(text)
    try:
        if text.lstrip().startswith("{"):
            return _of_json(text)
        if path.suffix == ".json" or ("(" not in text and path.is_file()):
            return _of_json(path.read_text(encoding="utf-8"))
        return parse(text)
    except OSError as e:
        stop(f"cannot read {text}: {e.strerror or e}.")
    except (RecursionError, MemoryError):
        stop("the schedule is nested too deeply.")
    except (ValueError, TypeError) as e:  # a UnicodeDecodeError is a ValueError
        stop(f"{text}: {e}" if path.suffix == ".json" else e)


def _of_json(text: str) -> Any:
    """A schedule of lrx, or a config of another library as a schedule."""
    try:
        config = json.loads(text.removeprefix("\ufeff"))
    except ValueError:
        return from_json(text)  # which says what is wrong
    if not isinstance(config, dict) or "lrx" in config:
        return from_json(text)
    if (found := recognised(config)) is None:
        keys = "'name', 'class_name', 'lr_scheduler_type' or 'sched'"
        raise ValueError(
            "the JSON must be a schedule of lrx, with the keys 'lrx' and 'schedule', or a config of torch, Keras, "
            f"transformers or timm, with a scheduler of theirs under {keys}."
        )
    if not isinstance(found, Schedule):
        raise ValueError("a plateau follows a metric, so that there is no curve to draw.")
    return found
