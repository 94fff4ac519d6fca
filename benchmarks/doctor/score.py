"""Verdicts by models that have not seen the task, and how often they are right."""

import dataclasses
from typing import Any

import numpy as np

from lrx.diagnosis._verdict import (
    ANYTHING,
    BLOWN_UP,
    BOTH,
    FAR_FROM_BEST,
    LEAST,
    SHORT_INTERVAL,
    beyond_noise,
    bounded,
    correct,
    is_clear,
    signed,
    steady,
    weighed,
)
from lrx.diagnosis._verdict_model import Model

from .fit import fit, judge
from .signals import FINE, Table

assert FINE == FAR_FROM_BEST
CURVES = 0.25
"""The weight of all curves in a fit, as a share of that of all runs."""
NEAR = 0.2
"""Decades; a factor of `lrx.probe` nearer to 1 is none."""
WAYS = ("alone", "with rates", "with best", "with best and its rates")
CLASSES = ("too_low", "fine", "too_high", "unknown")


def models(table: Table, rows: np.ndarray) -> tuple[Model, Model]:
    """The model of a record alone, with rates or without, and the one beside the best run, from these rows."""
    usable = rows & ~table.short & table.finite & ~table.late
    curve = table.about[:, 0] == "curve"
    weight = np.where(curve, CURVES * (~curve & usable).sum() / max((curve & usable).sum(), 1), 1.0)
    with_rates = (np.arange(len(rows)) % 2 == 0)[:, None]  # the other half without
    x = np.where(with_rates, table.rated, table.alone)[usable]
    alone = fit(table.names.tolist(), x, table.y[usable], table.z[usable], weight[usable])
    runs = usable & ~curve
    names = [*table.names, *table.names_beside]
    return alone, fit(names, table.best[runs], table.y[runs], table.z[runs], weight[runs])


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
    """By way: each task judged by models that were fitted on the others, each curve by models without its kind."""
    folds = fold_of(table)
    n = len(table.y)
    out = {way: (np.full(n, 3), np.zeros(n), np.zeros(n, bool)) for way in WAYS}
    for fold in np.unique(folds):
        alone, with_best = models(table, folds != fold)
        here = np.flatnonzero(folds == fold)
        for way in WAYS:
            model, x = (
                (with_best, table.best) if "best" in way else (alone, table.rated if "rates" in way else table.alone)
            )
            more = table.names_beside.tolist()
            gap, sure = table.names.size + more.index("gap"), more.index("gap_sure") - more.index("gap")
            rows = here[~table.short[here] & np.isfinite(x[here]).all(1)]
            shares, correction = judge(model, x[rows])
            if "best" in way:
                shares = BOTH * shares + (1 - BOTH) * judge(alone, table.rated[rows])[0]
            own = [dict(zip(table.names, v, strict=False)) for v in x[rows].tolist()]
            for i, row in enumerate(rows):
                z = float(table.z[row])
                ratio = 10**z if way == WAYS[3] else None
                moves = {"rises": float(table.motion[row, 0]), "kept": float(table.motion[row, 1])}
                seen = signed(shares[i], {**own[i], **moves}, float(table.width[row]))
                p = weighed(seen, own[i], float(table.width[row]))
                clear = is_clear(seen, own[i], float(table.width[row]), bool(table.late[row])) or "best" in way
                if "best" in way:
                    above = {"gap": 10 ** float(x[row, gap]), "gap_sure": float(x[row, gap + sure])}
                    p = steady(p, own[i] | above)
                    p = bounded(p, beyond_noise(above) if x[row, gap] > -3 else 0.0, ratio)
                top = 3 if p.max() < LEAST or not clear else int(p.argmax())
                top = 2 if not table.finite[row] else top
                label = ("too_low", "fine", "oscillating" if table.finite[row] else "diverging", "unknown")[top]
                factor, interval = correct(label, p, correction[i], model, ratio)
                put(out[way], int(row), top, factor, interval, z)
            for row in here[table.short[here]]:
                lost = not table.finite[row]
                top, factor = (2, 10**BLOWN_UP) if lost else (3, 1.0)
                put(out[way], int(row), top, factor, SHORT_INTERVAL if lost else ANYTHING, float(table.z[row]))
    return {way: Verdicts(*v) for way, v in out.items()}


def put(out: Any, row: int, top: int, factor: float, interval: tuple[float, float], z: float) -> None:
    """Enter one verdict."""
    label, correction, inside = out
    label[row], correction[row] = top, np.log10(factor)
    inside[row] = interval[0] * 0.999 <= 10**z <= interval[1] * 1.001


def fold_of(table: Table) -> np.ndarray:
    """The fold of each row: one for each task; kinds of curves go round."""
    tasks = [t for t in np.unique(table.about[:, 0]) if t != "curve"]
    kinds = np.unique(table.about[table.about[:, 0] == "curve", 1]).tolist()
    return np.array([kinds.index(k) % len(tasks) if t == "curve" else tasks.index(t) for t, k, _ in table.about])


def balanced(y: np.ndarray, label: np.ndarray) -> float:
    """The mean of the shares of each class that are right."""
    return float(np.mean([(label[y == c] == c).mean() for c in range(3) if (y == c).any()]))


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
