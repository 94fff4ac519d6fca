"""Runs as a law sees them: losses, and the drops of the learning rate that came before each."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ._runs import Run

SMALLEST = 1e-9
"""Of a run's greatest rate: what a rate of 0 counts as, where a power of it is taken."""


class Drops(NamedTuple):
    """The losses of all runs, one run after the other, and the drops of their rates."""

    total: Any
    """Sum of the rates of all updates before each loss, the warmup's included, float64 [losses]."""
    count: Any
    """Updates since the warmup, float64 [losses]."""
    first: Any
    """Whether it is the first loss of its run, bool [losses]."""
    fallen: Any
    """How much the rate fell between the end of the warmup and the last of those updates, float64 [losses]."""
    at: Any
    """Of each drop: the index of the first loss that comes after it, int32 [drops], not decreasing."""
    drop: Any
    """How much the rate fell, float64 [drops]; negative where it rose."""
    rate: Any
    """The rate after it, positive, float64 [drops]."""
    start: Any
    """Sum of the rates of all updates before it, float64 [drops]."""
    time: Any
    """Updates between the end of the warmup and the first at the new rate, float64 [drops]."""


def drops_of(runs: Sequence[Run], most: int | None = None) -> Drops:
    """The drops of runs, none of which has a loss before the end of its warmup.

    Args:
      runs: the runs.
      most: where a run has more drops than that, neighbours between two losses are made one: with their sum, at their
        mean place. Its error falls with the square of how many become one. None keeps all.
    """
    parts, before = [], 0
    for run in runs:
        w = run.warmup_steps
        rates, sums, steps = run.rates[w:], run.sums, run.steps - w
        drop = -np.diff(rates)
        k = np.flatnonzero(drop)  # the update k + 1, counted from the warmup, is the first at the new rate
        k = k[k + 2 <= steps[-1]] if steps.size else k[:0]
        at = np.searchsorted(steps, k + 2)
        floor = SMALLEST * rates.max(initial=0.0)
        columns = [drop[k], np.maximum(rates[k + 1], floor), sums[w + k + 1], k + 1.0]
        if most is not None and k.size > most:
            at, columns = _joined(at, columns, most)
        last = np.minimum(np.maximum(steps - 1, 0), rates.size - 1)
        start = rates[0] if rates.size else 0.0
        fallen = start - rates[last] if rates.size else np.zeros(steps.size)
        losses = sums[run.steps], steps.astype(float), np.arange(steps.size) == 0, fallen
        parts.append((*losses, (at + before).astype(np.int32), *columns))
        before += steps.size
    return Drops(*(np.concatenate(x) for x in zip(*parts, strict=True)))


def _joined(at: np.ndarray, columns: list[np.ndarray], most: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Neighbouring drops before the same loss as one: rates, sums and times weighted by how much the rate fell."""
    blocks = np.arange(at.size) * most // at.size
    new = (np.diff(blocks, prepend=-1) != 0) | (np.diff(at, prepend=-1) != 0)
    begin = np.flatnonzero(new)
    drop, *others = columns
    weight = np.abs(drop)
    size = np.add.reduceat(weight, begin)
    means = [np.add.reduceat(weight * x, begin) / size for x in others]
    return at[begin], [np.add.reduceat(drop, begin), *means]


def padded(drops: Drops) -> Drops:
    """Both lengths rounded up to powers of two, so that runs of similar lengths share one compiled program."""
    n, k = drops.total.size, drops.at.size
    more, some = _power_of_two(n) - n, _power_of_two(max(k, 1)) - k
    last = max(n - 1, 0)
    losses = [np.pad(x, (0, more), mode="edge") for x in drops[:4]]
    losses[2][n:] = False
    tail = (last, 0.0, 1.0, drops.total[last], drops.count[last])
    return Drops(*losses, *(_filled(x, some, value) for x, value in zip(drops[4:], tail, strict=True)))


def _filled(x: np.ndarray, more: int, value: float) -> np.ndarray:
    return np.concatenate([x, np.full(more, value, x.dtype)])


def _power_of_two(n: int) -> int:
    return max(64, 1 << (n - 1).bit_length())
