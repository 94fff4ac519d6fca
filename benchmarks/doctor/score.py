"""Verdicts by models that have not seen the task, and how often they are right."""

import dataclasses
from typing import Any

import numpy as np

from lrx.diagnosis._verdict import BLOWN_UP, SHORT_INTERVAL
from lrx.diagnosis._verdict_rules import (
    ANYTHING,
    CLEAR,
    FAR_FROM_BEST,
    LEAST,
    LOST,
    beside_run,
    correct,
    is_clear,
)

from .choice import choose, left_out
from .fit import judge
from .models import Signs, alone_model, balanced, fold_of, model_beside
from .signals import FINE, Table

assert FINE == FAR_FROM_BEST
NEAR = 0.2
"""Decades; a factor of `lrx.probe` nearer to 1 is none."""
WAYS = ("alone", "with rates", "with best", "with best and its rates")
CLASSES = ("too_low", "fine", "too_high", "unknown")


@dataclasses.dataclass(frozen=True)
class Verdicts:
    """Of every row."""

    label: np.ndarray
    """An index into `CLASSES`."""
    correction: np.ndarray
    """log10 of the factor."""
    inside: np.ndarray
    """Whether the right factor is in the interval."""


def verdicts(table: Table) -> dict[str, Verdicts]:
    """By way: each task judged by numbers that were fitted and chosen without it, each curve without its kind."""
    folds = fold_of(table)
    n = len(table.y)
    out = {way: (np.full(n, 3), np.zeros(n), np.zeros(n, bool)) for way in WAYS}
    signs = {False: Signs(table, table.alone), True: Signs(table, table.rated)}
    pairs = left_out(table, folds)
    for fold in np.unique(folds):
        prior = choose(table, folds, pairs, signs[True], int(fold))
        alone, with_best = alone_model(table, folds != fold, prior), model_beside(table, folds != fold)
        here = np.flatnonzero(folds == fold)
        for way in WAYS:
            rated, beside = "rates" in way, "best" in way
            model, x = (with_best, table.best) if beside else (alone, table.rated if rated else table.alone)
            rows = here[~table.short[here] & np.isfinite(x[here]).all(1)]
            shares, correction = judge(model, x[rows])
            seen = shares if beside else signs[rated].seen(shares, rows)
            weighed = seen if beside else signs[rated].weighed(seen, rows)
            for i, row in enumerate(rows):
                z = float(table.z[row])
                ratio, p = 10**z if way == WAYS[3] else None, weighed[i]
                if beside:
                    p = beside_run(p, found_beside(table, int(row)), float(table.width[row]), ratio)
                lost = not beside and bool(signs[rated].errors[row] < LOST * CLEAR)
                clear = is_clear(p if beside else seen[i], bool(table.late[row]), lost, beside, ratio)
                clear = clear and p.max() >= LEAST
                top = 2 if not table.finite[row] else int(p.argmax()) if clear else 3
                label = ("too_low", "fine", "oscillating" if table.finite[row] else "diverging", "unknown")[top]
                factor, interval = correct(label, p, correction[i], model, ratio)
                put(out[way], int(row), top, factor, interval, z)
            for row in here[table.short[here]]:
                lost = not table.finite[row]
                top, factor = (2, 10**BLOWN_UP) if lost else (3, 1.0)
                put(out[way], int(row), top, factor, SHORT_INTERVAL if lost else ANYTHING, float(table.z[row]))
    return {way: Verdicts(*v) for way, v in out.items()}


def found_beside(table: Table, row: int) -> dict[str, float]:
    """The signals of a run beside the best one, as `diagnose` has them."""
    names = [*table.names.tolist(), *table.names_beside.tolist(), "rises", "kept"]
    found = dict(zip(names, [*table.best[row].tolist(), *table.motion[row].tolist()], strict=True))
    return found | {"gap": 10 ** found["gap"] if found["gap"] > -3 else 0.0}


def put(out: Any, row: int, top: int, factor: float, interval: tuple[float, float], z: float) -> None:
    """Enter one verdict."""
    label, correction, inside = out
    label[row], correction[row] = top, np.log10(factor)
    inside[row] = interval[0] * 0.999 <= 10**z <= interval[1] * 1.001


def summary(table: Table, v: Verdicts, rows: np.ndarray) -> dict[str, Any]:
    """The numbers of some runs."""
    y, label = table.y[rows], v.label[rows]
    error = np.abs(v.correction[rows] - table.z[rows])
    return {
        "runs": int(rows.sum()),
        "balanced_accuracy": balanced(y, label),
        "confusion": [[int(((y == a) & (label == b)).sum()) for b in range(4)] for a in range(3)],
        "median_error": float(np.median(error)),
        "median_error_by_class": [float(np.median(error[y == c])) for c in range(3) if (y == c).any()],
        "inside_interval": float(v.inside[rows].mean()),
        "healthy_called_ill": float(np.isin(label[y == 1], (0, 2)).mean()),
        "sick_called_fine": float((label[y != 1] == 1).mean()),
        "unknown": float((label == 3).mean()),
    }


def compare(table: Table, by_way: dict[str, Verdicts]) -> dict[str, Any]:
    """All numbers."""
    runs = table.about[:, 0] != "curve"
    out: dict[str, Any] = {"parts": {}, "at the end": {}}
    for way, v in by_way.items():
        out["parts"][way] = {str(p): summary(table, v, runs & (table.part == p)) for p in np.unique(table.part)}
        groups = {}
        for column in range(3):
            for name in np.unique(table.about[runs, column]):
                rows = runs & (table.part == 1.0) & (table.about[:, column] == name)
                groups[name] = balanced(table.y[rows], v.label[rows])
        out["at the end"][way] = groups
    out["curves"] = curves(table, by_way["with rates"])
    return out


def curves(table: Table, v: Verdicts) -> dict[str, Any]:
    """For each kind of curve, what it was called how often; and the two shares that matter."""
    drawn = table.about[:, 0] == "curve"
    kinds = {}
    for kind in np.unique(table.about[drawn, 1]):
        rows = drawn & (table.about[:, 1] == kind)
        shares = {c: float((v.label[rows] == i).mean()) for i, c in enumerate(CLASSES)}
        kinds[kind] = {"health": str(table.about[rows, 2][0]), **shares}

    def share(health: str, called: tuple[int, ...]) -> float:
        return float(np.isin(v.label[drawn & (table.about[:, 2] == health)], called).mean())

    return {
        "healthy called ill": share("healthy", (0, 2)),
        "slow called fine": share("slow", (1,)),
        "slow called too high": share("slow", (2,)),
        "sick called fine": share("sick", (1,)),
        "sick called too low": share("sick", (0,)),
        "kinds": kinds,
    }


def probed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the rows that `benchmarks.doctor.probe` writes, by the length of the branches.

    The truth is the multiple of the best rate that the run had: only the best rate itself is fine, and a factor within
    0.2 decades of 1 calls it so. These are other runs than those of the other tables, and a harder question.
    """
    out = {}
    for steps in sorted({r["steps"] for r in rows}):
        own = [r for r in rows if r["steps"] == steps]
        off = np.log10([r["off"] for r in own])
        factor = np.array([r["error"] for r in own]) - off
        y, label = (np.where(x > NEAR, 0, np.where(x < -NEAR, 2, 1)) for x in (-off, factor))
        out[str(steps)] = {
            "runs": len(own),
            "cost": own[0]["cost"],
            "balanced_accuracy": balanced(y, label),
            "confusion": [[int(((y == a) & (label == b)).sum()) for b in range(3)] for a in range(3)],
            "median_error": float(np.median([abs(r["error"]) for r in own])),
            "inside_interval": float(np.mean([r["covered"] for r in own])),
        }
    return out
