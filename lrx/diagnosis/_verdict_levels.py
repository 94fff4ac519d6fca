"""A record in blocks, and the unit of what is measured in it.

The record is cut into 20 blocks of equal length. The level of a block is its trimmed mean, its noise the median
absolute difference of neighbours, so one outlier moves neither. The unit of most signals is the descent S from the
start to the lowest level; the first losses count for at most twice the descent above the first level, so that a huge
one does not hide the rest.
"""

import dataclasses

import numpy as np

BLOCKS = 20
SHORTEST = 24
"""Fewer finite losses than this show nothing."""
TRIMMED = 0.2
"""The share of each end of a block that its level leaves out."""
START = 2.0
"""The first losses count for at most this many descents from the first level above it."""


@dataclasses.dataclass(frozen=True)
class Levels:
    """A record in blocks; the losses are shifted and scaled so that they can be squared."""

    losses: np.ndarray
    """The finite ones, [entries]."""
    rates: np.ndarray
    """[entries], ones if they are not known."""
    level: np.ndarray
    """The trimmed mean of each block, [blocks]."""
    noise: np.ndarray
    """The standard deviation of one loss in each block, [blocks]."""
    block_rate: np.ndarray
    """The mean rate of each block, [blocks]."""
    t: np.ndarray
    """The middle of each block as a share of the steps, [blocks]."""
    tau: np.ndarray
    """The same as a share of the sum of the rates, [blocks]."""
    start: float
    """Where the descent begins."""
    zero: float
    """What was taken off the losses,"""
    scale: float
    """and what they were divided by after that."""

    @property
    def width(self) -> float:
        """Losses in a block."""
        return self.losses.size / self.level.size

    @property
    def sigma(self) -> float:
        """The noise of one loss, the median of the blocks."""
        return max(float(np.median(self.noise)), 1e-12)

    @property
    def after(self) -> float:
        """The range of the levels without the two highest."""
        return max(float(np.sort(self.level)[-3] - self.level.min()), 0.0)

    @property
    def descent(self) -> float:
        """S, at least what noise may look like."""
        return max(self.start - self.level.min(), 2 * self.sigma / self.width**0.5, 1e-12)


def levels(losses: np.ndarray, rates: np.ndarray | None) -> Levels | None:
    """The record in blocks, or None if it is too short."""
    keep = np.isfinite(losses)
    n = int(keep.sum())
    if n < SHORTEST:
        return None
    x = losses[keep]
    r = np.ones(n) if rates is None or not rates.any() else rates[keep]
    zero = float(np.median(x))
    x = x - zero
    scale = float(np.abs(x).max() or 1.0)
    x = x / scale
    count = min(BLOCKS, n // 3)
    cut = np.array_split(np.arange(n), count)
    steps = np.diff(x)
    groups = np.array_split(np.abs(steps), max(1, min(count, steps.size // 5)))
    noise = 1.4826 / 2**0.5 * np.array([np.median(g) for g in groups])
    noise = noise[np.arange(count) * len(groups) // count]
    level = np.array([trimmed(x[i]) for i in cut])
    total = np.concatenate([[0.0], np.cumsum(r)])
    middle = np.array([i.mean() + 0.5 for i in cut]) / n
    tau = np.interp(middle, np.arange(n + 1) / n, total / (total[-1] or 1.0))
    first = float(np.median(x[: max(3, n // 100)]))
    floor = 2 * float(np.median(noise))
    start = min(first, level[0] + START * max(level[0] - level.min(), floor))
    rate = np.array([r[i].mean() for i in cut])
    return Levels(x, r, level, noise, rate, middle, tau, float(start), zero, scale)


def trimmed(block: np.ndarray) -> float:
    """The mean without the highest and the lowest fifth."""
    k = int(block.size * TRIMMED)
    return float(np.sort(block)[k : block.size - k].mean())


def log(x: float, low: float, high: float) -> float:
    """The decimal logarithm, kept within bounds."""
    return float(np.clip(np.log10(max(x, 10.0**low)), low, high))
