"""What `lrx.tune` found, in words and as a folder: report.html, its plots as PNG, schedule.json."""

import base64
import math
import platform
import re
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import jax
import numpy as np

from . import __version__
from ._pytree import holds_code
from .plot import curves, plot_curves, plot_losses, plot_range_test, png, rate
from .plot import plot as plot_schedules
from .schedules._schedule import as_schedule
from .schedules.constant import ConstantSchedule
from .tuning._candidates import OPTIMIZERS, SCHEDULES
from .tuning._tune import BASELINE_RATE, Row, Score, Tuned


def write_report(tuned: Tuned, path: Path) -> Path:
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
    pictures = {name: (png(figure), caption) for name, (figure, caption) in _figures(tuned).items()}
    path.mkdir(parents=True, exist_ok=True)
    for name, (image, _) in pictures.items():
        (path / f"{name}.png").write_bytes(image)
    if not holds_code(tuned.schedule):
        (path / "schedule.json").write_text(tuned.schedule.to_json() + "\n", encoding="utf-8")
    report = path / "report.html"
    report.write_text(_page(tuned, pictures), encoding="utf-8")
    return report


# ---------------------------------------------------------------- words


def choice(tuned: Tuned) -> str:
    """What to use, in a sentence."""
    peak = rate(tuned.learning_rate)
    return f"Use {tuned.optimizer} with the {tuned.schedule_name} schedule at a peak learning rate of {peak}."


def comparison(tuned: Tuned) -> str:
    """The choice against Adam at a constant 1e-3, in a sentence that doesn't claim more than the seeds show."""
    ours, adams = (
        row.validation if tuned.by == "validation" else row.training for row in (tuned.retrained, tuned.baseline)
    )
    assert ours is not None and adams is not None  # what decided was measured
    difference, spread = ours.mean - adams.mean, math.hypot(ours.spread, adams.spread)
    amount = f"{abs(difference) / adams.mean:.0%}" if adams.mean > 0 else f"{abs(difference):.3g}"
    way = "lower" if difference < 0 else "higher"
    if tuned.seeds == 1:
        verdict = f"{amount} {way}; one seed has no spread to judge that by"
    elif abs(difference) <= spread:
        verdict = f"{amount} {way}, which is within the spread over seeds: no difference that these runs can show"
    else:
        verdict = f"{amount} {way}, more than the spread over seeds"
    seeds = "one fresh seed" if tuned.seeds == 1 else f"{tuned.seeds} fresh seeds"
    return (
        f"On {seeds} its final {tuned.by} loss is {plus_minus(ours)}, against {plus_minus(adams)} for Adam at a "
        f"constant {rate(BASELINE_RATE)}: {verdict}."
    )


def rivals(tuned: Tuned) -> str:
    """How far the table is from a ranking, in a sentence."""
    best, *others = (row.validation if tuned.by == "validation" else row.training for row in tuned.table)
    if not others or tuned.seeds == 1:
        return ""
    assert best is not None
    close = sum(x is not None and x.mean - best.mean <= math.hypot(x.spread, best.spread) for x in others)
    return f"Of the other {len(others)} combinations, {close or 'none'} came within the spread over seeds."


def notes(tuned: Tuned) -> list[str]:
    """What the table needs to be read, in lines."""
    spread = " ± standard deviation" if tuned.seeds > 1 else ""
    lines = [f"Losses at the end, mean{spread} over seeds; the training loss is of the last twentieth of the steps."]
    if any(row.at_edge for row in tuned.table):
        lines.append("† The first or the last rate that was tried: a better one may lie beyond it.")
    return lines


def plus_minus(score: Score | None, scale: float = 1.0) -> str:
    """Mean ± spread, to the first digit of the spread (two to four digits of the mean)."""
    if score is None:
        return "–"
    mean, spread = scale * score.mean, scale * score.spread
    if not math.isfinite(mean):
        return "diverged"
    size = math.floor(math.log10(abs(mean))) if mean else 0
    digits = min(max(size - math.floor(math.log10(spread)) if spread else 2, 1), 3)
    unit = 0 if -4 < size < 5 else size
    places = max(digits - size + unit, 0)
    text = f"{mean / 10**unit:.{places}f}" + (f" ± {spread / 10**unit:.{places}f}" if spread else "")
    return text if not unit else f"({text})e{unit}" if spread else f"{text}e{unit}"


def code(tuned: Tuned) -> str:
    """The lines of Python that make the chosen transformation."""
    if holds_code(tuned.schedule):
        schedule = (
            f"...  # your {tuned.schedule_name!r} at a peak of {rate(tuned.learning_rate)}, for {tuned.steps} steps"
        )
    elif isinstance(tuned.schedule, ConstantSchedule):
        schedule = short_floats(repr(tuned.schedule.value))
    else:
        schedule = re.sub(r"\b([a-z]\w*)\(", r"lrx.\1(", short_floats(repr(tuned.schedule)))
    if OPTIMIZERS.get(tuned.optimizer) is not tuned.make_optimizer:
        tx = f"tx = make_optimizer(schedule)  # your {tuned.optimizer!r}"
    else:
        tx = f"tx = lrx.{tuned.optimizer}(schedule{', momentum=0.9' if tuned.optimizer == 'sgd' else ''})"
    return f"import lrx\n\nschedule = {schedule}\n{tx}"


def short_floats(text: str) -> str:
    """Code with each float in the fewest digits that give the same float32, the precision of every state."""
    return re.sub(r"\b\d+\.\d+(e-?\d+)?\b", lambda match: repr(float(str(np.float32(match[0])))), text)


# ---------------------------------------------------------------- pictures


def _figures(tuned: Tuned) -> dict[str, tuple[Any, str]]:
    """File name -> (figure, caption), in the order of the report."""
    main, *others = tuned.sweeps
    figures = {}
    lines = {k: line for s in tuned.sweeps[main] for k, line in curves(s, tuned.by).items()}
    schedules = list(lines)
    band = "Lines are means, bands reach from the lowest to the highest seed."
    figures["sweep"] = plot_curves(lines, tuned.by), f"{main}: every rate under every schedule. {band}"
    if others:
        schedule = tuned.sweeps[others[0]][0].schedules[0]
        lines = {name: curves(s, tuned.by)[schedule] for name, (s, *_) in tuned.sweeps.items()}
        caption = f"The optimizers, each under the {schedule} schedule. {band}"
        figures["optimizers"] = plot_curves(lines, tuned.by), caption
    fresh = zip((tuned.retrained, tuned.baseline), tuned.confirmation.values(), strict=True)
    losses = {f"{r.optimizer}, {r.schedule}, {rate(r.learning_rate)}": s.losses[0, 0] for r, s in fresh}
    figures["losses"] = plot_losses(losses), f"The choice and Adam at a constant {rate(BASELINE_RATE)}, on fresh seeds."
    best = {row.schedule: row for row in reversed(tuned.table)}
    best = {k: best[k] for k in schedules if k in best}  # in one order, so that a colour means the same everywhere
    if len(best) > 1:
        losses = {f"{r.schedule}: {r.optimizer}, {rate(r.learning_rate)}": _record(tuned, r) for r in best.values()}
        figures["losses_by_schedule"] = plot_losses(losses), "Each schedule with its best optimizer at its best rate."
    drawn = {tuned.schedule_name: tuned.schedule}
    caption = "The chosen schedule."
    known = {k: SCHEDULES[k](tuned.learning_rate, tuned.steps) for k in best if k in SCHEDULES}
    if len(known) == len(best) > 1 and as_schedule(known[tuned.schedule_name]) == tuned.schedule:
        drawn = {k + " (chosen)" * (k == tuned.schedule_name): s for k, s in known.items()}
        caption = "The schedules that were tried, all at the chosen peak."
    figures["schedules"] = plot_schedules(drawn, steps=tuned.steps), caption
    found = tuned.found
    low, high = map(rate, found.interval)
    caption = (
        f"The range test with {main} from which the grid of rates was laid: one run with a growing rate, the median "
        f"of several seeds. It suggests {rate(found.learning_rate)}, a tenth of the rate at the lowest smoothed loss; "
        f"single seeds {low} to {high}." + ("" if found.confident else " The seeds disagree or the loss hardly fell.")
    )
    figures["range_test"] = plot_range_test(found.range_test, found.learning_rate), caption
    return figures


def _record(tuned: Tuned, row: Row) -> np.ndarray:
    """The training losses behind a row of the table, [seed, step]."""
    sweep = next(s for s in tuned.sweeps[row.optimizer] if row.schedule in s.schedules)
    return sweep.losses[sweep.best(tuned.by, row.schedule).index]


# ---------------------------------------------------------------- the page


def _page(tuned: Tuned, pictures: dict[str, tuple[bytes, str]]) -> str:
    low, high = map(rate, tuned.interval)
    alone = f"No other rate that was tried comes within 5% or one spread of its {tuned.by} loss."
    interval = (
        alone
        if low == high
        else f"Under the same schedule, rates from {low} to {high} do as well (within 5% or one spread)."
    )
    measured = {
        "problem": tuned.problem,
        "decided by": f"{tuned.by} loss" + (", of the final parameters" if tuned.by == "validation" else ""),
        "runs": f"{tuned.runs}, of {tuned.steps} steps each; seeds per combination: {tuned.seeds}",
        "time": f"{tuned.seconds:.0f} seconds",
        "versions": f"lrx {__version__}, jax {jax.__version__}, Python {platform.python_version()}",
        "platform": f"{jax.devices()[0].device_kind}, {platform.system()} {platform.machine()}",
    }
    figure = '<figure><img alt="{0}" src="data:image/png;base64,{1}"><figcaption>{0}</figcaption></figure>'
    saved = "The schedule is in schedule.json, which lrx.from_json reads."
    unsaved = "The schedule is a function of yours, which JSON cannot hold: there is no schedule.json."
    return PAGE.substitute(
        problem=escape(tuned.problem),
        choice=escape(choice(tuned)),
        comparison=escape(comparison(tuned)),
        interval=escape(f"{interval} {rivals(tuned)}"),
        code=escape(code(tuned)),
        saved=unsaved if holds_code(tuned.schedule) else saved,
        table=_table(tuned),
        notes="<br>".join(map(escape, notes(tuned))),
        figures="\n".join(
            figure.format(escape(caption), base64.b64encode(image).decode()) for image, caption in pictures.values()
        ),
        measured="\n".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in measured.items()),
    )


def columns(tuned: Tuned) -> dict[str, Any]:
    """Header -> what a row says under it, without the columns that no row fills."""
    every = {
        "optimizer": lambda row: row.optimizer,
        "schedule": lambda row: row.schedule,
        "peak rate": lambda row: rate(row.learning_rate) + "†" * row.at_edge,
        "training loss": lambda row: plus_minus(row.training),
        "validation loss": lambda row: plus_minus(row.validation),
        "accuracy %": lambda row: plus_minus(row.accuracy, 100.0),
        "verdict": lambda row: row.verdict.replace("_", " "),
    }
    return {k: f for k, f in every.items() if any(f(row) != "–" for row in tuned.table)}


def _table(tuned: Tuned) -> str:
    shown = columns(tuned)

    def line(row: Row, kind: str = "") -> str:
        return f"<tr{kind}>" + "".join(f"<td>{escape(f(row))}</td>" for f in shown.values()) + "</tr>"

    def section(title: str) -> str:
        return f'<tr class="section"><td colspan="{len(shown)}">{escape(title)}</td></tr>'

    chosen = ' class="chosen"'
    fresh = [line(tuned.retrained, chosen), line(tuned.baseline)]
    rows = [line(row, chosen if row is tuned.table[0] else "") for row in tuned.table]
    head = "<tr>" + "".join(f"<th>{escape(name)}</th>" for name in shown) + "</tr>"
    body = [
        section("On fresh seeds: the choice, and Adam as it comes"),
        *fresh,
        section("Each combination at its best rate, best first"),
        *rows,
    ]
    return f"<table>{head}{''.join(body)}</table>"


PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>lrx: $problem</title>
<style>
:root { --ink: #222; --soft: #666; --line: #ddd; --page: #fff; --box: #f4f5f7; --mark: #e3f0fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e4e4; --soft: #a0a0a0; --line: #3a3a3a; --page: #161616; --box: #222; --mark: #12324a; }
  img { filter: invert(1) hue-rotate(180deg); mix-blend-mode: screen; }
}
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 46rem; color: var(--ink); background: var(--page);
  font: 1rem/1.55 system-ui, sans-serif; }
header { color: var(--soft); }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .3rem 0 1rem; text-wrap: balance; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
pre { background: var(--box); padding: .9rem 1rem; border-radius: 6px; white-space: pre-wrap; overflow-wrap: anywhere;
  font: .875rem/1.5 ui-monospace, monospace; user-select: all; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .9rem .35rem 0; text-align: left; white-space: nowrap; border-bottom: 1px solid var(--line); }
th, .section, .note, figcaption, dt { color: var(--soft); font-weight: normal; }
.section td { padding-top: 1rem; }
.chosen { background: var(--mark); font-weight: 600; }
td:first-child, th:first-child { padding-left: .5rem; }
.note, figcaption { font-size: .875rem; }
figure { margin: 1.6rem 0; }
img { display: block; width: 100%; height: auto; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dd { margin: 0; }
</style>
</head>
<body>
<header>lrx.tune: $problem</header>
<h1>$choice</h1>
<p>$comparison</p>
<p>$interval</p>
<pre>$code</pre>
<p class="note">$saved</p>
<h2>What was tried</h2>
<div class="wide">$table</div>
<p class="note">$notes</p>
<h2>Pictures</h2>
$figures
<h2>How it was measured</h2>
<dl>
$measured
</dl>
</body>
</html>
""")
