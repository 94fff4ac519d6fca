"""The report of a fit as a folder: report.html, its charts as PNG, the law and the schedule as JSON."""

import platform
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from .._version import __version__
from ..charts import HEAD, picture, plot, plot_predictions, png
from ..charts import rate as short
from .loss_law import LossLaw, Prospect

PAGE = Template(
    HEAD
    + """\
<header>lrx fit: $title</header>
<h1>$verdict</h1>
$figures
<h2>Predicted losses after $steps steps</h2>
<div class="wide">$ends</div>
<h2>The law</h2>
<p>$law</p>
<div class="wide">$params</div>
<h2>The schedule</h2>
<pre>$schedule</pre>
<h2>What was read</h2>
<dl>
$read
</dl>
</body>
</html>
"""
)


def write_report(logs: Mapping[str, Any], law: LossLaw, ends: Mapping[str, Prospect], steps: int, path: Path) -> Path:
    """Write a law, and what it expects of schedules, into a folder.

    Args:
      logs: name -> what it was fitted to, in the order of the law's runs.
      law: the law.
      ends: its `compare`, for `steps` steps.
      steps: the length of the planned run.
      path: the folder; made if need be. Files of the same names are replaced.

    Returns:
      The path of report.html, which needs no other file.

    Raises:
      ImportError: if matplotlib is missing.
      OSError: if the folder cannot be written.
    """
    curves = {name: (r.steps, r.losses, law.predicted(r)) for name, r in zip(logs, law.runs, strict=True)}
    drawn = {
        "losses": (plot_predictions(curves), "The losses as logged (broad) and as the law has them (thin)."),
        "schedules": (
            plot({name: end.schedule for name, end in ends.items()}, steps=steps),
            "The schedule of least predicted loss, and usual ones at their best peaks.",
        ),
    }
    images = {name: (png(figure), caption) for name, (figure, caption) in drawn.items()}
    path.mkdir(parents=True, exist_ok=True)
    for name, (image, _) in images.items():
        (path / f"{name}.png").write_bytes(image)
    (path / "law.json").write_text(law.to_json() + "\n", encoding="utf-8")
    (path / "schedule.json").write_text(ends["optimal"].schedule.to_json() + "\n", encoding="utf-8")
    report = path / "report.html"
    report.write_text(_page(logs, law, ends, steps, images), encoding="utf-8")
    return report


def _page(
    logs: Mapping[str, Any],
    law: LossLaw,
    ends: Mapping[str, Prospect],
    steps: int,
    images: Mapping[str, tuple[bytes, str]],
) -> str:
    best = ends["optimal"].loss
    others = {name: end.loss - best for name, end in ends.items() if name != "optimal"}
    nearest = min(others, key=lambda name: others[name])
    verdict = f"Predicted loss {best:.4f}, {others[nearest]:.4f} below {nearest} at its best peak."
    rows = [[name, short(end.peak), f"{end.loss:.4f}", f"{end.loss - best:+.4f}"] for name, end in ends.items()]
    read = {"logs": ", ".join(logs), "losses": f"{sum(r.losses.size for r in law.runs):,}"}
    if law.warmup_steps:
        read["warmup"] = f"{law.warmup_steps:,} steps"
    read["versions"] = f"lrx {__version__}, NumPy {np.__version__}, Python {platform.python_version()}"
    fit = f"R² {law.r2:.5f}; relative error {law.mean_error:.2%} on average, {law.worst_error:.2%} at most."
    return PAGE.substitute(
        title=escape(", ".join(logs)),
        verdict=escape(verdict),
        figures="\n".join(picture(image, caption) for image, caption in images.values()),
        steps=f"{steps:,}",
        ends=_table(["schedule", "peak", "loss", "above the least"], rows),
        law=escape(f"The {law.law} law. {fit}"),
        params=_table(["parameter", "value"], [[name, f"{x:.6g}"] for name, x in law.params.items()]),
        schedule=escape(repr(ends["optimal"].schedule)),
        read="\n".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in read.items()),
    )


def _table(names: list[str], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{escape(x)}</td>" for x in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
