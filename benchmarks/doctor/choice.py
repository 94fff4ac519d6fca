"""The prior of a fine rate, chosen on tasks that the fit did not see.

For a published figure it may not be chosen on the task that the figure is of. Models are fitted without each pair of
tasks; what is chosen for a task is chosen on the predictions for every other one, by models that saw neither.
"""

import numpy as np

from .fit import judge
from .models import Signs, alone_model, balanced
from .signals import Table

PRIORS = (1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5)

Pairs = dict[tuple[int, int], np.ndarray]


def judged(table: Table) -> np.ndarray:
    """The runs, at all parts, that have signals."""
    return (table.about[:, 0] != "curve") & ~table.short


def left_out(table: Table, folds: np.ndarray) -> Pairs:
    """By pair of folds, the probabilities of the runs in both, with their rates, by a model that saw neither."""
    out = {}
    for a in np.unique(folds).tolist():
        for b in range(a, int(folds.max()) + 1):
            both = (folds == a) | (folds == b)
            model = alone_model(table, ~both, 1.0, corrections=False)
            out[a, b] = judge(model, table.rated[both & judged(table)])[0]
    return out


def choose(table: Table, folds: np.ndarray, pairs: Pairs, signs: Signs, without: int | None) -> float:
    """The prior of the highest balanced accuracy, the mean over the parts, without a fold; of all if it is None."""
    rows, shares = [], []
    for fold in np.unique(folds).tolist():
        if fold != without:
            a, b = sorted((fold, fold if without is None else without))
            both = np.flatnonzero(((folds == a) | (folds == b)) & judged(table))
            own = folds[both] == fold
            rows.append(both[own])
            shares.append(pairs[a, b][own])
    at, p = np.concatenate(rows), np.concatenate(shares)
    y, part = table.y[at], table.part[at]

    def accuracy(prior: float) -> float:
        weighted = p * [1.0, prior, 1.0]
        label = signs.labels(weighted / weighted.sum(1, keepdims=True), at)
        return float(np.mean([balanced(y[part == x], label[part == x]) for x in np.unique(part)]))

    return max(PRIORS, key=accuracy)
