"""What `lrx.tune` found, in words and as a folder: report.html, its plots as PNG, schedule.json."""

import base64
import math
import platform
import re
from html import escape
from pathlib import Path
from typing import Any

import jax
import numpy as np

from . import __version__
from ._pytree import holds_code
from ._report_page import PAGE
from .plot import COLOURS, curves, plot_curves, plot_losses, plot_rounds, png, rate
from .plot import plot as plot_schedules
from .schedules._schedule import as_schedule
from .schedules.constant import ConstantSchedule
from .tuning._candidates import OPTIMIZERS, SCHEDULES
from .tuning._exhaustive import BASELINE_RATE
from .tuning._tuned import Row, Score, Tuned


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
    """The choice against another, in a sentence that doesn't claim more than the seeds show.

    The other is Adam at a constant 1e-3 on fresh seeds, or, within a budget, the runner-up.
    """
    if tuned.retrained and tuned.baseline:
        fresh, chosen, other = "fresh ", tuned.retrained, tuned.baseline
        name = f"Adam at a constant {rate(BASELINE_RATE)}"
    else:
        fresh, chosen, other = "", tuned.table[0], tuned.runner_up
        name = "the runner-up, " + _told(other) if other else ""
    ours, theirs = _decider(tuned, chosen), _decider(tuned, other) if other else None
    seeds = f"one {fresh}seed" if tuned.seeds == 1 else f"{tuned.seeds} {fresh}seeds"
    reached = f"On {seeds} its final {tuned.by} loss is {plus_minus(ours)}"
    if theirs is None:
        return f"{reached}; no other combination had a whole run."
    return f"{reached}, against {plus_minus(theirs)} for {name}: {_difference(ours, theirs, tuned.seeds)}."


def _difference(ours: Score, theirs: Score, seeds: int) -> str:
    """How much lower or higher, and whether that says anything."""
    difference, spread = ours.mean - theirs.mean, math.hypot(ours.spread, theirs.spread)
    amount = f"{abs(difference) / theirs.mean:.0%}" if theirs.mean > 0 else f"{abs(difference):.3g}"
    way = "lower" if difference < 0 else "higher"
    if seeds == 1:
        return f"{amount} {way}; one seed has no spread to judge that by"
    if abs(difference) <= spread:
        return f"{amount} {way}, which is within the spread over seeds: no difference that these runs can show"
    return f"{amount} {way}, more than the spread over seeds"


def _decider(tuned: Tuned, row: Row) -> Score:
    """The loss of a row by which it was ranked."""
    score = row.validation if tuned.by == "validation" else row.training
    assert score is not None  # what decided was measured
    return score


def _told(row: Row) -> str:
    return f"{row.optimizer}, {row.schedule}, {rate(row.learning_rate)}"


def interval(tuned: Tuned) -> str:
    """How well the rate is known, in a sentence or two."""
    low, high = map(rate, tuned.interval)
    if tuned.budget is not None:
        return f"The best peak is expected between {low} and {high}.{_doubt(tuned)}"
    if low == high:
        return f"No other rate that was tried comes within 5% or one spread of its {tuned.by} loss."
    return f"Under the same schedule, rates from {low} to {high} do as well (within 5% or one spread)."


def _doubt(tuned: Tuned) -> str:
    return f" The short runs are weak evidence: {tuned.found.doubt}." if tuned.found.doubt else ""


def rivals(tuned: Tuned) -> str:
    """How far the table is from a ranking, in a sentence."""
    best, *others = (_decider(tuned, row) for row in whole(tuned))
    if len(others) < 2 or tuned.seeds == 1:
        return ""
    close = sum(x.mean - best.mean <= math.hypot(x.spread, best.spread) for x in others)
    return f"Of the other {len(others)} combinations, {close or 'none'} came within the spread over seeds."


def whole(tuned: Tuned) -> list[Row]:
    """The rows of the table with whole runs behind them."""
    return [row for row in tuned.table if row.steps == tuned.steps]


def evidence(tuned: Tuned) -> str:
    """How sure the choice is, and what would make it surer, in sentences."""
    return " ".join(filter(None, (interval(tuned), rivals(tuned), tuned.larger_budget)))


def cost(tuned: Tuned) -> str:
    """What was spent."""
    spent = f"{tuned.runs:.2f}".rstrip("0").rstrip(".")
    allowed = "" if tuned.budget is None else f" of {tuned.budget:.6g}"
    return f"{spent}{allowed} runs of {tuned.steps} steps, short ones included; seeds per combination: {tuned.seeds}"


def notes(tuned: Tuned) -> list[str]:
    """What the table needs to be read, in lines."""
    seeds = "mean ± standard deviation over seeds" if tuned.seeds > 1 else "of one seed"
    lines = [f"Losses at the end, {seeds}; the training loss is of the last twentieth of the steps."]
    if any(_edge(tuned, row) for row in tuned.table):
        lines.append("† The first or the last rate that was tried: a better one may lie beyond it.")
    short = [row.steps for row in tuned.table if row.steps != tuned.steps]
    if short:
        lines.append(f"‡ Short runs of {short[0]} steps; not to be compared with whole ones.")
    return lines


def _edge(tuned: Tuned, row: Row) -> bool:
    """Whether the end of a grid is news: of a few rates, around what short runs suggest, each is an end."""
    return row.at_edge and tuned.budget is None


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


BAND = "Lines are means, bands reach from the lowest to the highest seed."


def _figures(tuned: Tuned) -> dict[str, tuple[Any, str]]:
    """File name -> (figure, caption), in the order of the report."""
    compared = _figures_of_all(tuned) if tuned.budget is None else _figures_of_few(tuned)
    return compared | {"schedules": _figure_of_schedules(tuned), "short_runs": _figure_of_short_runs(tuned)}


def _figures_of_few(tuned: Tuned) -> dict[str, tuple[Any, str]]:
    """Within a budget: the whole runs."""
    several = len(tuned.sweeps) > 1
    lines, records = {}, []
    for optimizer, sweeps in tuned.sweeps.items():
        for s in sweeps:
            (schedule, (rates, losses)) = next(iter(curves(s, tuned.by).items()))
            lines[f"{optimizer}, {schedule}" if several else schedule] = rates, losses
            names = [f"{optimizer}, {schedule}, {rate(x)}" for x in rates]
            records += zip(losses.mean(axis=-1), names, s.losses[:, 0], strict=True)
    records = sorted((r for r in records if np.isfinite(r[0])), key=lambda r: r[0])
    best = records[: len(COLOURS)]
    which = f"The whole runs, the lowest {tuned.by} loss at the end first."
    if len(best) < len(records):
        which = f"The {len(best)} best of {len(records)} whole runs, the lowest {tuned.by} loss at the end first."
    figures = {"losses": (plot_losses({name: losses for _, name, losses in best}), which)}
    if len(records) > 1:
        caption = f"The whole runs: {tuned.by} loss at the end against the peak rate." + f" {BAND}" * (tuned.seeds > 1)
        figures = {"sweep": (plot_curves(lines, tuned.by), caption)} | figures
    return figures


def _figures_of_all(tuned: Tuned) -> dict[str, tuple[Any, str]]:
    """Without a budget: the sweeps, and the choice on fresh seeds."""
    main, *others = tuned.sweeps
    figures = {}
    lines = {k: line for s in tuned.sweeps[main] for k, line in curves(s, tuned.by).items()}
    figures["sweep"] = plot_curves(lines, tuned.by), f"{main}: every rate under every schedule. {BAND}"
    if others:
        schedule = tuned.sweeps[others[0]][0].schedules[0]
        lines = {name: curves(s, tuned.by)[schedule] for name, (s, *_) in tuned.sweeps.items()}
        caption = f"The optimizers, each under the {schedule} schedule. {BAND}"
        figures["optimizers"] = plot_curves(lines, tuned.by), caption
    fresh = zip((tuned.retrained, tuned.baseline), tuned.confirmation.values(), strict=True)
    losses = {_told(row): s.losses[0, 0] for row, s in fresh if row}
    figures["losses"] = plot_losses(losses), f"The choice and Adam at a constant {rate(BASELINE_RATE)}, on fresh seeds."
    best = _best_by_schedule(tuned)
    if len(best) > 1:
        losses = {f"{k}: {r.optimizer}, {rate(r.learning_rate)}": _record(tuned, r) for k, r in best.items()}
        figures["losses_by_schedule"] = plot_losses(losses), "Each schedule with its best optimizer at its best rate."
    return figures


def _figure_of_schedules(tuned: Tuned) -> tuple[Any, str]:
    drawn = {tuned.schedule_name: tuned.schedule}
    caption = "The chosen schedule."
    best = _best_by_schedule(tuned)
    known = {k: SCHEDULES[k](tuned.learning_rate, tuned.steps) for k in best if k in SCHEDULES}
    if len(known) == len(best) > 1 and as_schedule(known[tuned.schedule_name]) == tuned.schedule:
        drawn = {k + " (chosen)" * (k == tuned.schedule_name): s for k, s in known.items()}
        caption = "The schedules that were tried, all at the chosen peak."
    return plot_schedules(drawn, steps=tuned.steps), caption


def _figure_of_short_runs(tuned: Tuned) -> tuple[Any, str]:
    found = tuned.found
    optimizer = next(iter(tuned.sweeps)) if tuned.budget is None else tuned.optimizer
    caption = (
        f"Short runs of {optimizer}, ever longer and closer to the best rate. They suggest "
        f"{rate(found.learning_rate)}, by the dashed parabola through the longest, and expect the best "
        f"rate between {rate(found.interval[0])} and {rate(found.interval[1])} (shaded).{_doubt(tuned)}"
    )
    return plot_rounds(found.rounds, found.learning_rate, found.interval), caption


def _best_by_schedule(tuned: Tuned) -> dict[str, Row]:
    """Schedule -> its best row with whole runs, in the order of the sweeps: a colour means the same everywhere."""
    best = {row.schedule: row for row in reversed(whole(tuned))}
    names = dict.fromkeys(name for some in tuned.sweeps.values() for s in some for name in s.schedules)
    return {k: best[k] for k in names if k in best}


def _record(tuned: Tuned, row: Row) -> np.ndarray:
    """The training losses behind a row of the table, [seed, step]."""
    sweep = next(s for s in tuned.sweeps[row.optimizer] if row.schedule in s.schedules)
    return sweep.losses[sweep.best(tuned.by, row.schedule).index]


# ---------------------------------------------------------------- the page


def _page(tuned: Tuned, pictures: dict[str, tuple[bytes, str]]) -> str:
    measured = {
        "problem": tuned.problem,
        "decided by": f"{tuned.by} loss" + (", of the final parameters" if tuned.by == "validation" else ""),
        "cost": cost(tuned),
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
        evidence=escape(evidence(tuned)),
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
        "peak rate": lambda row: rate(row.learning_rate) + "†" * _edge(tuned, row),
        "training loss": lambda row: plus_minus(row.training) + "‡" * (row.steps != tuned.steps),
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
    head = "<tr>" + "".join(f"<th>{escape(name)}</th>" for name in shown) + "</tr>"
    rows = [line(row, chosen if row is tuned.table[0] else "") for row in tuned.table]
    if tuned.retrained and tuned.baseline:
        fresh = [line(tuned.retrained, chosen), line(tuned.baseline)]
        title = section("Each combination at its best rate, best first")
        rows = [section("On fresh seeds: the choice, and Adam as it comes"), *fresh, title, *rows]
    return f"<table>{head}{''.join(rows)}</table>"
