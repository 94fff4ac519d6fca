"""What the tests and the workers of a study share: a search, and what its runs would give."""

import numpy as np
import optuna
from optuna.storages.journal import JournalFileBackend

import lrx
from lrx.integrations.optuna import SearchSampler

STEPS = 1000
sampler = SearchSampler(steps=STEPS, optimizer="sgd")


def journal(file):
    return optuna.storages.JournalStorage(JournalFileBackend(str(file)))


def descended(run, steps=None):
    """Losses of gradient descent on a parabola, whose best rate is a few tenths."""
    peak, n = run.learning_rate, run.steps
    weight, losses = np.array([1.0, 1.0]), []
    for i in range(n if steps is None else steps):
        losses.append(0.01 + float(np.sum(weight**2)))
        rate = peak * (1 - i / n)
        weight = np.clip(weight - rate * np.array([2.0, 0.5]) * weight, -1e6, 1e6)
    return losses


def alone():
    """The search without a study."""
    search = lrx.Search(steps=STEPS, optimizer="sgd")
    while (trial := search.ask()) is not None:
        search.tell(trial, descended(trial))
    return search
