"""The signals of all runs and curves, once, so that fits and tables need no training."""

import dataclasses
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lrx.diagnosis._verdict_beside import beside
from lrx.diagnosis._verdict_levels import Levels, levels
from lrx.diagnosis._verdict_period import find_period, shuffled
from lrx.diagnosis._verdict_record import Record
from lrx.diagnosis._verdict_signals import motion, signals
from lrx.diagnosis._verdict_words import LATE

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
    late: np.ndarray
    """Whether the record lacks the start of the run; such rows are judged and not fitted."""
    width: np.ndarray
    """Losses in a block."""
    alone: np.ndarray
    """Without rates, [rows, signals]."""
    rated: np.ndarray
    """With them."""
    best: np.ndarray
    """With them and the best run of another seed; NaN for curves."""
    motion: np.ndarray
    """What the rules use beside, [rows, 2]."""


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
    """The runs from the file if it is there, else from their losses; the curves are drawn again each time."""
    if not file.exists():
        np.savez_compressed(file, **dataclasses.asdict(_of_runs(runs)))
    with np.load(file) as held:
        of_runs = Table(**{k: held[k] for k in held.files})
    drawn = _of_curves(of_runs.names.tolist(), of_runs.names_beside.tolist())
    columns = (f.name for f in dataclasses.fields(Table) if f.name not in ("names", "names_beside"))
    both = {c: np.concatenate([getattr(of_runs, c), getattr(drawn, c)]) for c in columns}
    return dataclasses.replace(of_runs, **both)


def _of_runs(runs: Iterable[Runs]) -> Table:
    rng = np.random.default_rng(0)
    rows, names, names_beside = [], [], []
    for of in runs:
        for schedule, losses in of.sweeps():
            shape = factors(schedule, losses.shape[-1])
            y, best = truth(losses)
            seeds = range(losses.shape[1])
            references = {}
            for rate, seed, part in ((r, s, p) for r in range(len(y)) for s in seeds for p in PARTS):
                if part < 1 and seed > 0:
                    continue  # parts of one seed are enough
                n = int(part * losses.shape[-1])
                x = spoiled(losses[rate, seed, :n], rng)
                row = Row((of.task, of.optimizer, schedule), part, int(y[rate]), 0.25 * (best - rate), x)
                rows.append(row)
                a, b = levels(x, None), levels(x, shape[:n])
                if a is None or b is None:
                    continue
                alone = signals(a)
                row.found = [alone, alone if schedule == "constant" else signals(b)]
                if (seed, n) not in references:
                    against = levels(losses[best, seed - 1, :n], shape[:n])
                    assert against is not None
                    references[seed, n] = against, signals(against)
                against, of_best = references[seed, n]
                row.found.append({**row.found[1], **beside(b, against, row.found[1], of_best)})
                row.measure(a)
                names, names_beside = list(alone), list(row.found[2])[len(alone) :]
    return _table(rows, names, names_beside)


def _of_curves(names: list[str], names_beside: list[str]) -> Table:
    rows = []
    for kind in KINDS:
        rng = np.random.default_rng(zlib.crc32(kind.name.encode()))
        for _ in range(DRAWS):
            x, rates, *steps = kind.draw(rng)
            y = {"slow": 0, "healthy": 1, "sick": 2}[kind.health]
            row = Row(("curve", kind.name, kind.health), 1.0, y, np.nan, x)
            row.late = Record(x, rates, steps[0] if steps else None).missing > LATE
            rows.append(row)
            period = find_period(x) if np.isfinite(x).all() else None
            x = x if period is None else shuffled(x, period)
            a, b = levels(x, None), levels(x, rates)
            if a is not None and b is not None:
                row.found = [signals(a), signals(b)]
                row.measure(a)
    return _table(rows, names, names_beside)


class Row:
    """One verdict to be given."""

    def __init__(self, about: tuple[str, str, str], part: float, y: int, z: float, losses: np.ndarray):
        self.about, self.part, self.y, self.z = about, part, y, z
        self.finite = bool(np.isfinite(losses[-1]))
        self.found: list[dict[str, float]] = []
        self.late, self.width, self.motion = False, 0.0, [np.nan, np.nan]

    def measure(self, a: Levels) -> None:
        """What rules use."""
        self.width, self.motion = a.width, [*motion(a).values()]


def _table(rows: list[Row], names: list[str], names_beside: list[str]) -> Table:
    def filled(i: int, columns: int) -> np.ndarray:
        missing = np.full(columns, np.nan)
        return np.array([[*row.found[i].values()] if i < len(row.found) else missing for row in rows])

    width = len(names)
    return Table(
        names=np.array(names),
        names_beside=np.array(names_beside),
        about=np.array([row.about for row in rows]),
        part=np.array([row.part for row in rows]),
        y=np.array([row.y for row in rows]),
        z=np.array([row.z for row in rows], float),
        finite=np.array([row.finite for row in rows]),
        short=np.array([not row.found for row in rows]),
        late=np.array([row.late for row in rows]),
        width=np.array([row.width for row in rows], float),
        alone=filled(0, width),
        rated=filled(1, width),
        best=filled(2, width + len(names_beside)),
        motion=np.array([row.motion for row in rows], float),
    )
