"""The published accuracy of `diagnose`: what is chosen for a task has not seen the task."""

import dataclasses

import numpy as np
import pytest

from benchmarks.doctor.choice import PRIORS, choose, left_out
from benchmarks.doctor.models import Signs, fold_of
from benchmarks.doctor.signals import Table
from lrx.diagnosis._verdict_rules import is_clear

NAMES = ["snr", "swing", "jump", "above_start", "net", "first_jump", "fall_half", "cycle", "x25", "x50", "x75", "trend"]
TASKS, ROWS = 4, 90


def table(seed):
    """Three classes whose signals overlap; what is fine is told from too low less well in some tasks than in others."""
    rng = np.random.default_rng(seed)
    n = TASKS * ROWS
    y = rng.integers(3, size=n)
    x = rng.normal(0, 0.3, (n, len(NAMES)))
    task = np.arange(n) // ROWS
    x[:, NAMES.index("trend")] = y + rng.normal(0, 0.3 + 0.3 * task)
    x[:, NAMES.index("snr")] = 2.0
    kinds = np.array([("curve", f"kind {i}", "healthy") for i in range(TASKS)])
    curves = np.repeat(kinds, 3, axis=0)
    m = len(curves)
    x = np.r_[x, rng.normal(1, 0.3, (m, len(NAMES)))]
    about = np.r_[[(f"task {t}", "sgd", "constant") for t in task], curves]
    return Table(
        names=np.array(NAMES),
        names_beside=np.array(["gap"]),
        about=about,
        part=np.where(np.arange(n + m) % 2, 0.5, 1.0),
        y=np.r_[y, np.ones(m, int)],
        z=np.r_[1.0 - y, np.full(m, np.nan)],
        finite=np.ones(n + m, bool),
        short=np.zeros(n + m, bool),
        late=np.zeros(n + m, bool),
        width=np.full(n + m, 20.0),
        alone=x,
        rated=x,
        best=np.c_[x, np.zeros(n + m)],
        motion=np.zeros((n + m, 2)),
    )


def test_what_is_chosen_for_a_task_has_not_seen_it():
    held = table(0)
    folds = fold_of(held)
    pairs = left_out(held, folds)
    chosen = [choose(held, folds, pairs, Signs(held, held.rated), fold) for fold in range(TASKS)]
    assert set(chosen) <= set(PRIORS)
    for fold in range(TASKS):
        own = folds == fold
        rng = np.random.default_rng(fold)
        other = dataclasses.replace(
            held,
            y=np.where(own, rng.permutation(held.y), held.y),
            alone=np.where(own[:, None], 3 * held.alone[::-1], held.alone),
            rated=np.where(own[:, None], 3 * held.rated[::-1], held.rated),
        )
        again = left_out(other, folds)
        assert choose(other, folds, again, Signs(other, other.rated), fold) == chosen[fold]
        runs = held.about[:, 0] != "curve"
        for a, b in pairs:
            if fold in (a, b) and a != b:
                rest = ~own[((folds == a) | (folds == b)) & runs]
                np.testing.assert_array_equal(again[a, b][rest], pairs[a, b][rest])
            elif fold not in (a, b):
                assert not np.array_equal(again[a, b], pairs[a, b])


@pytest.mark.parametrize(
    "shares, clear",
    [
        ((0.05, 0.9, 0.05), dict.fromkeys(["alone", "late", "lost", "late beside"], True)),
        ((0.6, 0.3, 0.1), {"alone": True, "late": False, "lost": True, "late beside": False}),
        ((0.95, 0.03, 0.02), {"alone": True, "late": False, "lost": True, "late beside": True}),
        ((0.1, 0.3, 0.6), {"alone": True, "late": False, "lost": False, "late beside": False}),
        ((0.02, 0.03, 0.95), dict.fromkeys(["alone", "late", "lost", "late beside"], True)),
    ],
)
def test_what_may_be_said_of_a_record_that_shows_less(shares, clear):
    p = np.array(shares)
    found = {
        "alone": is_clear(p, late=False, lost=False),
        "late": is_clear(p, late=True, lost=False),
        "lost": is_clear(p, late=False, lost=True),
        "late beside": is_clear(p, late=True, lost=False, beside=True),
    }
    assert found == clear
    assert is_clear(p, late=True, lost=False, beside=True, ratio=2.0)
