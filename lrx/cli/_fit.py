"""`lrx fit`: a loss law from the logs of a few runs, and the schedule that it asks for."""

from pathlib import Path
from typing import Annotated, Any, cast

from ..charts import drawing
from ..evidence.loss_law import LawName, LossLaw, Prospect, fit_loss_law
from ..logs import Log
from ._diagnose import LOSS_HELP, RATE_HELP, STEP_HELP, columns_of, read
from ._lines import check_count, check_name, say, stop

LAWS = "multi-power", "momentum"


def add_to(app: Any) -> None:
    """Add the command to the application."""
    import typer

    @app.command("fit")
    def fit_command(
        logs: Annotated[
            list[str],
            typer.Argument(
                metavar="LOG...",
                help="Logs with losses and learning rates, of one model under different schedules: CSV, JSONL, "
                "trainer_state.json, TensorBoard's event files, or the folder of a run.",
            ),
        ],
        law: Annotated[str, typer.Option(metavar="|".join(LAWS), help="The law.")] = "multi-power",
        warmup_steps: Annotated[int, typer.Option(help="Updates of the warmup at the start of each run.")] = 0,
        steps: Annotated[
            int | None,
            typer.Option(help="Updates of the run to plan, warmup included; as the longest log if left out."),
        ] = None,
        max_value: Annotated[
            float | None, typer.Option(help="The greatest rate of its schedule; the greatest logged if left out.")
        ] = None,
        end_value: Annotated[float, typer.Option(help="The rate at its end.")] = 0.0,
        loss: Annotated[str | None, typer.Option(metavar="COLUMN", help=LOSS_HELP)] = None,
        learning_rate: Annotated[str | None, typer.Option(metavar="COLUMN", help=RATE_HELP)] = None,
        step: Annotated[str | None, typer.Option(metavar="COLUMN", help=STEP_HELP)] = None,
        out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write a report with pictures there.")] = None,
    ) -> None:
        """Fit a law that predicts losses from learning rates, and find the schedule that it asks for."""
        columns = columns_of(loss, learning_rate, step, None)
        run_fit(logs, law, warmup_steps, steps, max_value, end_value, columns, out)


def run_fit(
    paths: list[str],
    law: str,
    warmup_steps: int,
    steps: int | None,
    max_value: float | None,
    end_value: float,
    columns: dict[str, Any],
    out: Path | None,
) -> None:
    """`lrx fit`: print the law, its errors and the best schedule; write a report if asked to."""
    check_name("--law", law, LAWS)
    if warmup_steps:
        check_count("--warmup-steps", warmup_steps)
    if steps is not None:
        check_count("--steps", steps)
    logs = [read(path, columns) for path in paths]
    for path, log in zip(paths, logs, strict=True):
        if log.learning_rates is None:
            stop(f"{path} has no learning rates. Name their column by --learning-rate.")
    try:
        fit = fit_loss_law(logs, law=cast(LawName, law), warmup_steps=warmup_steps)
        steps = max(int(log.steps[-1]) for log in logs) if steps is None else steps
        greatest = max(float(log.learning_rates.max()) for log in logs if log.learning_rates is not None)
        ends = fit.compare(steps, max_value=greatest if max_value is None else max_value, end_value=end_value)
    except (ValueError, TypeError) as e:
        stop(in_options(e))
    say(f"{law} law, fitted to {sum(r.losses.size for r in fit.runs):,} losses of {len(logs)} runs:")
    say("  " + ", ".join(f"{name} {x:.4g}" for name, x in fit.params.items()))
    for path, (mean, worst) in zip(paths, errors(fit), strict=True):
        say(f"  {path}: relative error {mean:.2%} on average, {worst:.2%} at most", fold=False)
    for note in (note for log in logs for note in log.notes):
        say(f"Note: {note}")
    say(f"\nThe schedule of least predicted loss after {steps:,} steps:\n")
    say(drawing(ends["optimal"].schedule, steps), fold=False)
    say("")
    for line in table(ends):
        say(line, fold=False)
    say(f"\n{ends['optimal'].schedule!r}", fold=False)
    if out is not None:
        say(f"\nReport: {report(paths, logs, fit, ends, steps, out)}", fold=False)


def errors(law: LossLaw) -> list[tuple[float, float]]:
    """The mean and the greatest relative error of each run of the fit."""
    found = []
    for run in law.runs:
        off = abs(law.predicted(run) / run.losses - 1)
        found.append((float(off.mean()), float(off.max())))
    return found


def table(ends: dict[str, Prospect]) -> list[str]:
    """The predicted losses, one line for each schedule."""
    best = ends["optimal"].loss
    lines = [f"{'schedule':10} {'peak':>10} {'loss':>10} {'optimal is lower by':>20}"]
    for name, end in ends.items():
        gain = "" if name == "optimal" else f"{end.loss - best:.4f} ({1 - best / end.loss:.2%})"
        lines.append(f"{name:10} {end.peak:10.3g} {end.loss:10.4f} {gain:>20}".rstrip())
    return lines


def report(paths: list[str], logs: list[Log], law: LossLaw, ends: dict[str, Prospect], steps: int, out: Path) -> Path:
    """The report in a folder."""
    from ..evidence._report import write_report

    try:
        return write_report(dict(zip(paths, logs, strict=True)), law, ends, steps, out)
    except ImportError as e:
        stop(e)
    except OSError as e:
        stop(f"--out: cannot write into {out}: {e.strerror or e}.")


def in_options(error: Exception) -> str:
    """The message of an error with the names of options in place of arguments."""
    text = str(error)
    for call in ("fit_loss_law", "compare"):
        for name in ("warmup_steps", "steps", "max_value", "end_value"):
            text = text.replace(f"{call}({name}=...)", "--" + name.replace("_", "-"))
        text = text.replace(f"{call}(logs=...)", "LOG")
    return text
