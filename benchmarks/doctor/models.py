"""Models of some rows, what the rules make of their probabilities, and the folds that are left out in turn."""

import numpy as np

from lrx.diagnosis._verdict_model import Model
from lrx.diagnosis._verdict_rules import CLEAR, LEAST, LOST, SURELY, errors_of, sign_of, signed, weighed

from .fit import fit
from .signals import Table

CURVES = 0.25
"""The weight of all curves in a fit, as a share of that of all runs."""


def alone_model(table: Table, rows: np.ndarray, prior: float, corrections: bool = True) -> Model:
    """The model of a record alone, with rates or without, from these rows."""
    usable = rows & ~table.short & table.finite & ~table.late
    curve = table.about[:, 0] == "curve"
    weight = np.where(curve, CURVES * (~curve & usable).sum() / max((curve & usable).sum(), 1), 1.0)
    with_rates = (np.arange(len(rows)) % 2 == 0)[:, None]  # the other half without
    x = np.where(with_rates, table.rated, table.alone)[usable]
    z = table.z[usable] if corrections else None
    return fit(table.names.tolist(), x, table.y[usable], z, weight[usable], prior)


def model_beside(table: Table, rows: np.ndarray) -> Model:
    """The model of a record beside that of the best run, from these rows."""
    runs = rows & ~table.short & table.finite & (table.about[:, 0] != "curve")
    names = [*table.names, *table.names_beside]
    return fit(names, table.best[runs], table.y[runs], table.z[runs], np.ones(runs.sum()))


class Signs:
    """What the rules make of probabilities of a record alone; the signs are read once."""

    def __init__(self, table: Table, x: np.ndarray):
        names = [*table.names.tolist(), "rises", "kept"]
        self.table = table
        self.errors = errors_of(x[:, table.names.tolist().index("snr")], table.width)
        self.sign = np.array(
            [
                "none" if short else sign_of(dict(zip(names, row, strict=True)), width)
                for short, row, width in zip(table.short, np.c_[x, table.motion].tolist(), table.width, strict=True)
            ]
        )

    def seen(self, shares: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The probabilities of these rows, [rows, 3], given their signs."""
        sign, out = self.sign[rows], shares.copy()
        for kind in np.unique(sign):
            out[sign == kind] = signed(shares[sign == kind], kind)
        return out

    def weighed(self, seen: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The same, weighed."""
        certain = (self.sign[rows] == "too_high")[:, None]
        return np.where(certain, seen, weighed(seen, self.errors[rows], self.table.width[rows]))

    def labels(self, shares: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The classes of runs, which have their starts, an index into `CLASSES` each."""
        seen, table = self.seen(shares, rows), self.table
        low, fine, high = seen.T
        doubtful = (self.errors[rows] < LOST * CLEAR) & (high > fine) & (high > low)
        unclear = doubtful & (high <= SURELY * np.maximum(low, fine))
        top = np.where(unclear | (self.weighed(seen, rows).max(1) < LEAST) | table.short[rows], 3, seen.argmax(1))
        return np.where(table.finite[rows], top, 2)


def fold_of(table: Table) -> np.ndarray:
    """The fold of each row: one for each task; kinds of curves go round."""
    tasks = [t for t in np.unique(table.about[:, 0]) if t != "curve"]
    kinds = np.unique(table.about[table.about[:, 0] == "curve", 1]).tolist()
    return np.array([kinds.index(k) % len(tasks) if t == "curve" else tasks.index(t) for t, k, _ in table.about])


def balanced(y: np.ndarray, label: np.ndarray) -> float:
    """The mean of the shares of each class that are right."""
    return float(np.mean([(label[y == c] == c).mean() for c in range(3) if (y == c).any()]))
