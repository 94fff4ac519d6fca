"""The report of a diagnosis as a folder: report.html and its charts as PNG."""

import platform
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from .._version import __version__
from ..charts import HEAD, picture, plot_learning_rates, plot_run, png
from ..diagnosis import Diagnosis
from ._log import Log
from ._words import contents, correction, known_rates

PAGE = Template(
    HEAD
    + """\
<header>lrx diagnose: $title</header>
<h1>$verdict</h1>
<p>$advice</p>
<p>$correction</p>
<h2>Pictures</h2>
$figures
<h2>Evidence</h2>
<div class="wide">$evidence</div>
<h2>What was read</h2>
<dl>
$read
</dl>
</body>
</html>
"""
)


def write_report(log: Log, verdict: Diagnosis, path: Path, *, best: Log | float | None = None) -> Path:
    """Write a verdict, with the curves that it is about, into a folder.

    Args:
      log: what was diagnosed.
      verdict: what `lrx.diagnose` said of it.
      path: the folder; made if need be. Files of the same names are replaced.
      best: what the log was compared with: a log, or a loss at the end.

    Returns:
      The path of report.html, which needs no other file.

    Raises:
      ImportError: if matplotlib is missing.
      OSError: if the folder cannot be written.
    """
    pictures = {name: (png(figure), caption) for name, (figure, caption) in _figures(log, verdict, best).items()}
    path.mkdir(parents=True, exist_ok=True)
    for name, (image, _) in pictures.items():
        (path / f"{name}.png").write_bytes(image)
    report = path / "report.html"
    report.write_text(_page(log, verdict, pictures, best), encoding="utf-8")
    return report


def _figures(log: Log, verdict: Diagnosis, best: Log | float | None) -> dict[str, tuple[Any, str]]:
    """File name -> (figure, caption)."""
    held_out = None if log.validation is None else (log.validation.steps, log.validation.losses)
    other = (best.steps, best.losses) if isinstance(best, Log) else None
    with_best = "" if other is None else ", and those of the run to compare with"
    figures = {
        "losses": (plot_run(log.steps, log.losses, validation=held_out, best=other), f"The losses{with_best}."),
    }
    if known_rates(log):
        interval = verdict.interval if verdict.interval[1] < np.inf else None
        caption = "The learning rate" + (", and what it is after the correction." if verdict.factor != 1 else ".")
        drawn = plot_learning_rates(log.steps, log.learning_rates, factor=verdict.factor, interval=interval)
        figures["learning_rates"] = drawn, caption
    return figures


def _page(log: Log, verdict: Diagnosis, pictures: dict[str, tuple[bytes, str]], best: Log | float | None) -> str:
    read = {"log": log.source, "entries": contents(log)}
    if log.steps_per_epoch is not None:
        read["epoch"] = f"{log.steps_per_epoch:,.6g} steps"
    if best is not None:
        read["compared with"] = f"{best.source}: {contents(best)}" if isinstance(best, Log) else f"a loss of {best:g}"
    read |= {f"note {i}": note for i, note in enumerate(log.notes, 1)}
    read["versions"] = f"lrx {__version__}, NumPy {np.__version__}, Python {platform.python_version()}"
    title, *advice = verdict.text.split(". ", 1)
    measured = {name.replace("_", " "): f"{x:.4g}" for name, x in verdict.evidence.items() if not np.isnan(x)}
    rows = "".join(f"<tr><td>{escape(k)}</td><td>{escape(v)}</td></tr>" for k, v in measured.items())
    return PAGE.substitute(
        title=escape(log.source),
        verdict=escape(title.rstrip(".") + "."),
        advice=escape(" ".join(advice)),
        correction=escape(correction(verdict, log)),
        figures="\n".join(picture(image, caption) for image, caption in pictures.values()),
        evidence=f"<table><tr><th>number</th><th>value</th></tr>{rows}</table>",
        read="\n".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in read.items()),
    )
