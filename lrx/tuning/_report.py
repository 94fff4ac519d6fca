"""The report of `tune` as a folder: report.html, its charts as PNG, schedule.json."""

import platform
from html import escape
from pathlib import Path

import jax

from .._pytree import holds_code
from .._version import __version__
from ..charts import picture, png
from ._choice import Choice
from ._report_figures import figures
from ._report_page import PAGE
from ._report_words import choice, code, columns, comparison, cost, evidence, notes
from ._table import Row


def write_report(tuned: Choice, path: Path) -> Path:
    """Write what `lrx.tune` found into a folder.

    The folder holds report.html, which needs no other file, its plots as PNG, and schedule.json, the chosen schedule
    as `lrx.from_json` reads it (left out if the schedule is a function of the user's, which JSON cannot hold).

    Args:
      tuned: what `lrx.tune` gave.
      path: the folder; made if need be. Files of the same names are replaced.

    Returns:
      The path of report.html.

    Raises:
      ImportError: if matplotlib is missing.
      OSError: if the folder cannot be written.
    """
    pictures = {name: (png(figure), caption) for name, (figure, caption) in figures(tuned).items()}
    path.mkdir(parents=True, exist_ok=True)
    for name, (image, _) in pictures.items():
        (path / f"{name}.png").write_bytes(image)
    (path / "schedule.json").unlink(missing_ok=True)  # of another choice
    if not holds_code(tuned.schedule):
        (path / "schedule.json").write_text(tuned.schedule.to_json() + "\n", encoding="utf-8")
    report = path / "report.html"
    report.write_text(_page(tuned, pictures), encoding="utf-8")
    return report


def _page(tuned: Choice, pictures: dict[str, tuple[bytes, str]]) -> str:
    measured = {
        "problem": tuned.problem,
        "decided by": f"{tuned.by} loss" + (", of the final parameters" if tuned.by == "validation" else ""),
        "cost": cost(tuned),
        "time": f"{tuned.seconds:.0f} seconds",
        "versions": f"lrx {__version__}, jax {jax.__version__}, Python {platform.python_version()}",
        "platform": f"{jax.devices()[0].device_kind}, {platform.system()} {platform.machine()}",
    }
    saved = "The schedule is in schedule.json, which lrx.from_json reads."
    unsaved = "The schedule is a function of yours, which JSON cannot hold: there is no schedule.json."
    return PAGE.substitute(
        title=escape(tuned.problem),
        problem=escape(tuned.problem),
        choice=escape(choice(tuned)),
        comparison=escape(comparison(tuned)),
        evidence=escape(evidence(tuned)),
        code=escape(code(tuned)),
        saved=unsaved if holds_code(tuned.schedule) else saved,
        table=_table(tuned),
        notes="<br>".join(map(escape, notes(tuned))),
        figures="\n".join(picture(image, caption) for image, caption in pictures.values()),
        measured="\n".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in measured.items()),
    )


def _table(tuned: Choice) -> str:
    shown = columns(tuned)

    def line(row: Row, kind: str = "") -> str:
        return f"<tr{kind}>" + "".join(f"<td>{escape(f(row))}</td>" for f in shown.values()) + "</tr>"

    def section(title: str) -> str:
        return f'<tr class="section"><td colspan="{len(shown)}">{escape(title)}</td></tr>'

    chosen = ' class="chosen"'
    head = "<tr>" + "".join(f"<th>{escape(name)}</th>" for name in shown) + "</tr>"
    rows = [line(row, chosen if row is tuned.table[0] else "") for row in tuned.table]
    if tuned.retrained and tuned.baseline:
        fresh = [line(tuned.retrained, chosen), line(tuned.baseline)]
        title = section("Each combination at its best rate, best first")
        rows = [section("On fresh seeds: the choice, and Adam as it comes"), *fresh, title, *rows]
    return f"<table>{head}{''.join(rows)}</table>"
