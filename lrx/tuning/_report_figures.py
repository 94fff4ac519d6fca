"""The charts in the report of `tune`, and their captions."""

from typing import Any

import numpy as np

from .. import charts
from ..charts import COLOURS, rate
from ..schedules._schedule import as_schedule
from ._choice import Choice
from ._presets import BASELINE_RATE, SCHEDULES
from ._report_words import combination, doubt, whole
from ._table import Row

BAND = "Lines are means, bands reach from the lowest to the highest seed."


def figures(tuned: Choice) -> dict[str, tuple[Any, str]]:
    """File name -> (figure, caption), in the order of the report."""
    compared = _figures_of_all(tuned) if tuned.budget is None else _figures_of_few(tuned)
    return compared | {"schedules": _figure_of_schedules(tuned), "short_runs": _figure_of_short_runs(tuned)}


def _figures_of_few(tuned: Choice) -> dict[str, tuple[Any, str]]:
    """Within a budget: the whole runs."""
    several = len(tuned.sweeps) > 1
    lines, records = {}, []
    for optimizer, sweeps in tuned.sweeps.items():
        for s in sweeps:
            (schedule, (rates, losses)) = next(iter(s.lines(tuned.by).items()))
            lines[f"{optimizer}, {schedule}" if several else schedule] = rates, losses
            names = [f"{optimizer}, {schedule}, {rate(x)}" for x in rates]
            records += zip(losses.mean(axis=-1), names, s.losses[:, 0], strict=True)
    records = sorted((r for r in records if np.isfinite(r[0])), key=lambda r: r[0])
    best = records[: len(COLOURS)]
    which = f"The whole runs, the lowest {tuned.by} loss at the end first."
    if len(best) < len(records):
        which = f"The {len(best)} best of {len(records)} whole runs, the lowest {tuned.by} loss at the end first."
    figures = {"losses": (charts.plot_losses({name: losses for _, name, losses in best}), which)}
    if len(records) > 1:
        caption = f"The whole runs: {tuned.by} loss at the end against the peak rate." + f" {BAND}" * (tuned.seeds > 1)
        figures = {"sweep": (charts.plot_final_losses(lines, tuned.by), caption)} | figures
    return figures


def _figures_of_all(tuned: Choice) -> dict[str, tuple[Any, str]]:
    """Without a budget: the sweeps, and the choice on fresh seeds."""
    main, *others = tuned.sweeps
    figures = {}
    lines = {k: line for s in tuned.sweeps[main] for k, line in s.lines(tuned.by).items()}
    figures["sweep"] = charts.plot_final_losses(lines, tuned.by), f"{main}: every rate under every schedule. {BAND}"
    if others:
        schedule = tuned.sweeps[others[0]][0].schedules[0]
        lines = {name: s.lines(tuned.by)[schedule] for name, (s, *_) in tuned.sweeps.items()}
        caption = f"The optimizers, each under the {schedule} schedule. {BAND}"
        figures["optimizers"] = charts.plot_final_losses(lines, tuned.by), caption
    fresh = zip((tuned.retrained, tuned.baseline), tuned.confirmation.values(), strict=True)
    losses = {combination(row): s.losses[0, 0] for row, s in fresh if row}
    figures["losses"] = (
        charts.plot_losses(losses),
        f"The choice and Adam at a constant {rate(BASELINE_RATE)}, on fresh seeds.",
    )
    best = _best_by_schedule(tuned)
    if len(best) > 1:
        losses = {f"{k}: {r.optimizer}, {rate(r.learning_rate)}": _record(tuned, r) for k, r in best.items()}
        figures["losses_by_schedule"] = (
            charts.plot_losses(losses),
            "Each schedule with its best optimizer at its best rate.",
        )
    return figures


def _figure_of_schedules(tuned: Choice) -> tuple[Any, str]:
    drawn = {tuned.schedule_name: tuned.schedule}
    caption = "The chosen schedule."
    best = _best_by_schedule(tuned)
    known = {k: SCHEDULES[k](tuned.learning_rate, tuned.steps) for k in best if k in SCHEDULES}
    if len(known) == len(best) > 1 and as_schedule(known[tuned.schedule_name]) == tuned.schedule:
        drawn = {k + " (chosen)" * (k == tuned.schedule_name): s for k, s in known.items()}
        caption = "The schedules that were tried, all at the chosen peak."
    return charts.plot(drawn, steps=tuned.steps), caption


def _figure_of_short_runs(tuned: Choice) -> tuple[Any, str]:
    found = tuned.found
    optimizer = next(iter(tuned.sweeps)) if tuned.budget is None else tuned.optimizer
    caption = (
        f"Short runs of {optimizer}, ever longer and closer to the best rate. Followed to the length of the "
        f"training, they suggest {rate(found.learning_rate)} and expect the best rate between "
        f"{rate(found.interval[0])} and {rate(found.interval[1])} (shaded).{doubt(tuned)}"
    )
    return found.plot(), caption


def _best_by_schedule(tuned: Choice) -> dict[str, Row]:
    """Schedule -> its best row with whole runs, in the order of the sweeps: a colour means the same everywhere."""
    best = {row.schedule: row for row in reversed(whole(tuned))}
    names = dict.fromkeys(name for some in tuned.sweeps.values() for s in some for name in s.schedules)
    return {k: best[k] for k in names if k in best}


def _record(tuned: Choice, row: Row) -> np.ndarray:
    """The training losses behind a row of the table, [seed, step]."""
    sweep = next(s for s in tuned.sweeps[row.optimizer] if row.schedule in s.schedules)
    return sweep.losses[sweep.best(tuned.by, row.schedule).index]
