"""`lrx find`: a learning rate for a fraction of a training run."""

import json
import math
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from ..charts import rate
from ..problems._load import BUILT_IN, load
from ..tuning._find import find, usual
from ..tuning._found import Found
from ..tuning._presets import OPTIMIZERS
from ._lines import check_count, check_folder, check_name, say, stop, stop_after
from ._progress import ProgressBar

WIDTH, HEIGHT = 56, 12
"""Of the drawing, in characters."""


def add_to(app: Any) -> None:
    """Add the command to the application."""
    import typer

    problem_help = f"{', '.join(BUILT_IN)}, or path/to/file.py:name with a Problem or a function returning one."

    @app.command("find")
    def find_command(
        problem: Annotated[str, typer.Argument(metavar="PROBLEM", help=problem_help)],
        optimizer: Annotated[str, typer.Option(help=f"One of {', '.join(OPTIMIZERS)}.")] = "adam",
        steps: Annotated[int, typer.Option(help="Updates of the training to come.")] = 1000,
        seed: Annotated[int, typer.Option(help="Of the parameters and the data.")] = 0,
        lanes: Annotated[
            int | None, typer.Option(help="Models in memory at a time; three if they fit, if left out.")
        ] = None,
        out: Annotated[
            Path | None, typer.Option(metavar="DIR", help="A folder for find.json and find.png; none if left out.")
        ] = None,
    ) -> None:
        """Suggest a learning rate from short runs, for a quarter of a training run."""
        run_find(problem, optimizer, steps, seed, lanes, out)


def run_find(problem: str, optimizer: str, steps: int, seed: int, lanes: int | None, out: Path | None) -> None:
    """`lrx find`: check everything before the first step, search, answer."""
    import jax

    check_name("--optimizer", optimizer, OPTIMIZERS)
    check_count("--steps", steps)
    if not 0 <= seed < 2**32:
        stop(f"--seed must be a whole number from 0 to {2**32 - 1}, got {seed}.")
    if lanes is not None:
        check_count("--lanes", lanes)
    if out is not None:
        check_folder(out)
        out = out.absolute()  # the user's file may change the folder
        try:
            import matplotlib  # noqa: F401  # the picture will need it
        except ImportError:
            stop('--out needs matplotlib: pip install "lrx[cli]"')
    try:
        loaded = load(problem)
    except (ValueError, TypeError, ImportError, OSError) as e:
        stop(str(e).replace("load(spec=...)", "PROBLEM"))
    with ProgressBar() as show_progress:

        def progress(done: int) -> None:
            show_progress("short runs", done, usual(1, steps))

        try:
            found = find(
                loaded, OPTIMIZERS[optimizer], steps=steps, key=jax.random.key(seed), lanes=lanes, progress=progress
            )
        except Exception as e:
            stop_after(e, problem)
    written = None if out is None else write(found, out, problem, optimizer, steps)
    for line in answer(found, loaded.name, optimizer, steps):
        say(line, fold=line.endswith("."))
    if isinstance(written, OSError):
        stop(f"--out: cannot write into {out}: {written.strerror or written}.")
    if written is not None:
        say(f"Written: {written}", fold=False)


def answer(found: Found, problem: str, optimizer: str, steps: int) -> list[str]:
    """What is printed."""
    low, high = found.interval
    sure = "confident." if found.confident else f"not confident: {found.doubt}."
    return [
        f"Use {optimizer} with a learning rate of {rate(found.learning_rate)} for {problem}, {steps} steps.",
        f"The best rate is expected between {rate(low)} and {rate(high)}; {sure}",
        "",
        *drawn(found),
        "",
        f"Cost: {found.gradients} gradients, {found.gradients / steps:.2f} of a training run.",
        "That is with 5 % warmup, then linear to zero, a schedule that most training can use.",
    ]


def drawn(found: Found) -> list[str]:
    """The losses of the short runs by learning rate, each as the number of its round, and where the suggestion is."""
    points = [
        (math.log(x), y, str(i + 1))
        for i, r in enumerate(found.rounds)
        for x, y in zip(r.learning_rates, r.losses, strict=True)
        if np.isfinite(y)
    ]
    if not points:
        return []
    xs = [x for x, _, _ in points] + [math.log(found.learning_rate)]
    ys = [y for _, y, _ in points]
    # a loss far above that of the start says no more than that it is high
    top = min(max(ys), max(min(ys), 1.5 * found.rounds[0].initial if found.rounds[0].initial > 0 else max(ys)))
    low, high, left, right = min(ys), top, min(xs), max(xs)

    def column(x: float) -> int:
        return round((x - left) / ((right - left) or 1.0) * (WIDTH - 1))

    canvas = [[" "] * WIDTH for _ in range(HEIGHT)]
    for x, y, mark in points:
        row = round((high - min(y, high)) / ((high - low) or 1.0) * (HEIGHT - 1))
        canvas[row][column(x)] = mark
    labels = {0: f"{high:.3g}", HEIGHT - 1: f"{low:.3g}"}
    size = max(map(len, labels.values()))
    lines = [f"{labels.get(i, ''):>{size}} |" + "".join(row).rstrip() for i, row in enumerate(canvas)]
    place = column(math.log(found.learning_rate))
    lines.append(" " * size + " +" + "-" * place + "^" + "-" * (WIDTH - 1 - place))
    first, last = rate(math.exp(left)), rate(math.exp(right))
    lines.append(" " * (size + 2) + first + f"{last:>{WIDTH - len(first)}}")
    lengths = ", ".join(f"{i + 1}: {r.steps}" for i, r in enumerate(found.rounds))
    lines.append(" " * (size + 2) + f"loss by learning rate; steps of each round {lengths}")
    return lines


def write(found: Found, out: Path, problem: str, optimizer: str, steps: int) -> Path | OSError:
    """The answer as JSON and as a picture, or the error."""
    rounds = [
        {"steps": r.steps, "learning_rates": r.learning_rates.tolist(), "losses": [_finite(x) for x in r.losses]}
        for r in found.rounds
    ]
    data = {
        "problem": problem,
        "optimizer": optimizer,
        "steps": steps,
        "learning_rate": found.learning_rate,
        "interval": list(found.interval),
        "confident": found.confident,
        "doubt": found.doubt,
        "gradients": found.gradients,
        "rounds": rounds,
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "find.json").write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
        found.plot().savefig(out / "find.png")
    except OSError as error:
        return error
    return out / "find.json"


def _finite(x: Any) -> float | None:
    return float(x) if math.isfinite(x) else None
