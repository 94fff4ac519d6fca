"""`lrx show`: draw a schedule."""

import json
from pathlib import Path
from typing import Annotated, Any

from ..charts import drawing, horizon
from ..charts import plot as plot_schedules
from ..convert import recognised
from ..schedules._schedule import Schedule
from ..schedules._text import from_json, parse
from ._lines import check_count, say, stop


def add_to(app: Any) -> None:
    """Add the command to the application."""
    import typer

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


def run_show(text: str, steps: int | None, out: Path | None) -> None:
    """`lrx show`: print a schedule, draw it, and write it as a picture if asked to."""
    schedule = _schedule(text)
    if steps is not None:
        check_count("--steps", steps)
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
        except Exception as e:  # a format that needs another program
            stop(f"--out: cannot write {out}: {e}.")
    say(repr(schedule))
    say("\n" + drawing(schedule, steps), fold=False)
    if out is not None:
        say(f"\nPicture: {out}", fold=False)


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
