"""The signals of all runs and curves, once, so that fits and tables need no training."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lrx.diagnosis._verdict_signals import beside, levels, signals

from .curves import KINDS
from .runs import PARTS, Runs, factors

FINE = 0.05
"""A rate is fine if its final loss is above the best one's by at most this share of the best's descent."""
LAST = 0.05
"""The final loss is the mean over this share of the steps, and over the seeds."""
DRAWS = 30
"""Curves of each kind."""
SPOILED = 0.1
"""The share of the runs that get a huge first loss, and the share that get one outlier somewhere."""


def truth(losses: np.ndarray) -> tuple[np.ndarray, int]:
    """0 too low, 1 fine, 2 too high for each rate of a sweep [rates, seeds, steps], and the index of the best."""
    last = max(1, int(LAST * losses.shape[-1]))
    final = losses[..., -last:].mean(-1)
    final[~np.isfinite(losses).all(-1)] = np.inf
    final = final.mean(-1)
    best = int(np.argmin(final))
    gap = (final - final[best]) / (np.median(losses[:, :, 0]) - final[best])
    side = np.where(np.arange(len(final)) < best, 0, 2)
    return np.where(gap <= FINE, 1, side), best


@dataclasses.dataclass(frozen=True)
class Table:
    """A row for each verdict; text in arrays, so that NumPy stores them."""

    names: np.ndarray
    """Of the signals of a record alone."""
    names_beside: np.ndarray
    about: np.ndarray
    """Task, optimizer and schedule, or "curve", kind and health, [rows, 3]."""
    part: np.ndarray
    y: np.ndarray
    z: np.ndarray
    """log10 of the best rate over this one; NaN for curves."""
    finite: np.ndarray
    """Whether the last loss is."""
    short: np.ndarray
    """Whether there are too few finite losses for signals."""
    width: np.ndarray
    """Losses in a block."""
    alone: np.ndarray
    """Without rates, [rows, signals]."""
    rated: np.ndarray
    """With them."""
    best: np.ndarray
    """With them and the best run of another seed; NaN for curves."""


def spoiled(losses: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Some with a huge first loss or an outlier: neither says anything of the rate."""
    losses = losses.copy()
    finite = losses[np.isfinite(losses)]
    size = np.ptp(finite) if finite.size else 1.0
    with np.errstate(over="ignore"):
        if rng.random() < SPOILED:
            losses[: rng.integers(1, 3)] += size * rng.uniform(3, 100)
        if rng.random() < SPOILED:
            losses[rng.integers(5, losses.size)] += size * rng.uniform(1, 10)
    return losses


def gather(runs: Iterable[Runs], file: Path) -> Table:
    """From the file if it is there, else from the runs."""
    if not file.exists():
        np.savez_compressed(file, **dataclasses.asdict(_gather(runs)))
    with np.load(file) as held:
        return Table(**{k: held[k] for k in held.files})


def _gather(runs: Iterable[Runs]) -> Table:
    rng = np.random.default_rng(0)
    rows, names, names_beside = [], [], []
    for of in runs:
        for schedule, losses in of.sweeps():
            shape = factors(schedule, losses.shape[-1])
            y, best = truth(losses)
            seeds = range(losses.shape[1])
            for rate, seed, part in ((r, s, p) for r in range(len(y)) for s in seeds for p in PARTS):
                if part < 1 and seed > 0:
                    continue  # parts of one seed are enough
                n = int(part * losses.shape[-1])
                x, reference = spoiled(losses[rate, seed, :n], rng), losses[best, seed - 1, :n]
                about = (of.task, of.optimizer, schedule)
                z = 0.25 * (best - rate)
                a, b = levels(x, None), levels(x, shape[:n])
                if a is None or b is None:
                    rows.append((about, part, y[rate], z, np.isfinite(x[-1]), None, None, None, 0.0))
                    continue
                alone = signals(a)
                rated = alone if schedule == "constant" else signals(b)
                against = levels(reference, shape[:n])
                assert against is not None
                more = beside(b, against)
                names, names_beside = list(alone), list(more)
                both = [*rated.values(), *more.values()]
                found = [*alone.values()], [*rated.values()], both
                rows.append((about, part, y[rate], z, np.isfinite(x[-1]), *found, a.width))
    for kind in KINDS:
        for _ in range(DRAWS):
            x, rates = kind.draw(rng)
            a, b = levels(x, None), levels(x, rates)
            y = {"slow": 0, "healthy": 1, "sick": 2}[kind.health]
            found = [None if c is None else signals(c) for c in (a, b)]
            names = names or list(found[0] or ())
            s = [None if c is None else [*c.values()] for c in found]
            rows.append(
                (
                    ("curve", kind.name, kind.health),
                    1.0,
                    y,
                    np.nan,
                    np.isfinite(x[-1]),
                    *s,
                    None,
                    0.0 if a is None else a.width,
                )
            )
    width, wider = len(names), len(names) + len(names_beside)

    def filled(i: int, columns: int) -> np.ndarray:
        return np.array([np.full(columns, np.nan) if row[i] is None else row[i] for row in rows])

    return Table(
        names=np.array(names),
        names_beside=np.array(names_beside),
        about=np.array([row[0] for row in rows]),
        part=np.array([row[1] for row in rows]),
        y=np.array([row[2] for row in rows]),
        z=np.array([row[3] for row in rows], float),
        finite=np.array([row[4] for row in rows]),
        short=np.array([row[5] is None for row in rows]),
        width=np.array([row[8] for row in rows], float),
        alone=filled(5, width),
        rated=filled(6, width),
        best=filled(7, wider),
    )
