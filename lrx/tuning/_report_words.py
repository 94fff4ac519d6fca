"""What `tune` found, in words: sentences, the cells of a table, and code."""

import math
import re
from typing import Any

import numpy as np

from .._pytree import holds_code
from ..charts import rate
from ..schedules.constant import ConstantSchedule
from ._choice import Choice
from ._presets import BASELINE_RATE, OPTIMIZERS
from ._table import Row, Score


def choice(tuned: Choice) -> str:
    """What to use, in a sentence."""
    peak = rate(tuned.learning_rate)
    return f"Use {tuned.optimizer} with the {tuned.schedule_name} schedule at a peak learning rate of {peak}."


def comparison(tuned: Choice) -> str:
    """The choice against another, in a sentence that doesn't claim more than the seeds show.

    The other is Adam at a constant 1e-3 on fresh seeds, or, within a budget, the runner-up.
    """
    if tuned.retrained and tuned.baseline:
        fresh, chosen, other = "fresh ", tuned.retrained, tuned.baseline
        name = f"Adam at a constant {rate(BASELINE_RATE)}"
    else:
        fresh, chosen, other = "", tuned.table[0], tuned.runner_up
        name = "the runner-up, " + combination(other) if other else ""
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
    if seeds == 1 and not spread:
        return f"{amount} {way}; one seed has no spread to judge that by"
    if seeds == 1:
        if abs(difference) <= 2 * spread:
            return f"{amount} {way}, which may be the luck of one seed"
        return f"{amount} {way}, more than the luck of one seed"
    if abs(difference) <= spread:
        return f"{amount} {way}, which is within the spread over seeds: no difference that these runs can show"
    return f"{amount} {way}, more than the spread over seeds"


def _decider(tuned: Choice, row: Row) -> Score:
    """The loss of a row by which it was ranked."""
    score = row.validation if tuned.by == "validation" else row.training
    assert score is not None  # what decided was measured
    return score


def combination(row: Row) -> str:
    """Optimizer, schedule and rate."""
    return f"{row.optimizer}, {row.schedule}, {rate(row.learning_rate)}"


def interval(tuned: Choice) -> str:
    """How well the rate is known, in a sentence or two."""
    low, high = map(rate, tuned.interval)
    if tuned.budget is not None:
        return f"The best peak is expected between {low} and {high}.{doubt(tuned)}"
    if low == high:
        return f"No other rate that was tried comes within 5% or one spread of its {tuned.by} loss."
    return f"Under the same schedule, rates from {low} to {high} do as well (within 5% or one spread)."


def doubt(tuned: Choice) -> str:
    """What is wrong with the short runs, in a sentence after others; empty if nothing is."""
    return f" The short runs are weak evidence: {tuned.found.doubt}." if tuned.found.doubt else ""


def rivals(tuned: Choice) -> str:
    """How far the table is from a ranking, in a sentence."""
    best, *others = (_decider(tuned, row) for row in whole(tuned))
    if len(others) < 2 or tuned.seeds == 1:
        return ""
    close = sum(x.mean - best.mean <= math.hypot(x.spread, best.spread) for x in others)
    return f"Of the other {len(others)} combinations, {close or 'none'} came within the spread over seeds."


def whole(tuned: Choice) -> list[Row]:
    """The rows of the table with whole runs behind them."""
    return [row for row in tuned.table if row.steps == tuned.steps]


def evidence(tuned: Choice) -> str:
    """How sure the choice is, and what would make it surer, in sentences."""
    return " ".join(filter(None, (interval(tuned), rivals(tuned), tuned.larger_budget)))


def cost(tuned: Choice) -> str:
    """What the choice cost, in words."""
    spent = f"{tuned.runs:.2f}".rstrip("0").rstrip(".")
    allowed = "" if tuned.budget is None else f" of {tuned.budget:.6g}"
    return f"{spent}{allowed} runs of {tuned.steps} steps, short ones included; seeds per combination: {tuned.seeds}"


def notes(tuned: Choice) -> list[str]:
    """Notes below the table, in lines."""
    seeds = "mean ± standard deviation over seeds" if tuned.seeds > 1 else "of one seed"
    if tuned.seeds == 1 and any(
        row.training.spread or (row.validation and row.validation.spread) for row in whole(tuned)
    ):
        seeds += " ± what another would change, estimated from runs at neighbouring rates"
    lines = [f"Losses at the end, {seeds}; the training loss is of the last twentieth of the steps."]
    if tuned.table[0].advice:
        lines.append(f"The verdict on the first row: {tuned.table[0].advice}")
    if any(at_edge(tuned, row) for row in tuned.table):
        lines.append("† The first or the last rate that was tried: a better one may lie beyond it.")
    short = [row.steps for row in tuned.table if row.steps != tuned.steps]
    if short:
        lines.append(f"‡ Short runs of {short[0]} steps; not to be compared with whole ones.")
    return lines


def at_edge(tuned: Choice, row: Row) -> bool:
    """Whether to mark a rate at the end of its grid. Within a budget nearly every rate would be, so none is."""
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


def code(tuned: Choice) -> str:
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


def columns(tuned: Choice) -> dict[str, Any]:
    """Header -> what a row says under it, without the columns that no row fills."""
    every = {
        "optimizer": lambda row: row.optimizer,
        "schedule": lambda row: row.schedule,
        "peak rate": lambda row: rate(row.learning_rate) + "†" * at_edge(tuned, row),
        "training loss": lambda row: plus_minus(row.training) + "‡" * (row.steps != tuned.steps),
        "validation loss": lambda row: plus_minus(row.validation),
        "accuracy %": lambda row: plus_minus(row.accuracy, 100.0),
        "verdict": lambda row: row.verdict.replace("_", " "),
    }
    return {k: f for k, f in every.items() if any(f(row) != "–" for row in tuned.table)}
