"""What the losses of short runs say of the best rate, and how surely. Plain statistics: nothing here trains.

All that is asked of losses is the same if a constant is added to all of them, or if all are multiplied by one.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

PARTS = 8
"""Into how many parts the end of a run is divided, at most, to see how much its mean is worth."""
NEAR = 0.75
"""Decades around the lowest loss in which a parabola is fitted."""
GAIN = 0.1
"""The share of what training has gained that counts as much as a factor e: see `heights`."""
CLEAR = 3.0
"""By how many times the noise of a single loss the loss must have fallen, to have fallen."""


def parts_of(losses: np.ndarray, last: int) -> np.ndarray:
    """How far the mean over each part of the end of runs is from their score, [seeds, steps] -> [parts].

    Runs at other rates see the same batches in the same part, so that what is left of the difference of two of them
    over the parts is the noise of that difference. A part without a finite loss is left out.
    """
    tail = losses[:, -last:].astype(np.float64)
    parts = [x for seed in tail for x in np.array_split(seed, min(PARTS, last))]
    with np.errstate(invalid="ignore"):
        means = np.asarray([x[np.isfinite(x)].mean() if np.isfinite(x).any() else np.nan for x in parts])
        return means - np.nanmean(means) if np.isfinite(means).any() else means


def error_of(parts: np.ndarray) -> np.ndarray:
    """The standard error of a mean over parts, [..., parts] -> [...]; 0 where fewer than two are known."""
    known = np.isfinite(parts)
    n = known.sum(axis=-1)
    size, values = scaled(np.where(known, parts, 0))
    mean = values.sum(axis=-1, keepdims=True) / np.maximum(1, n)[..., None]
    squares = np.where(known, values - mean, 0) ** 2
    return size * np.sqrt(squares.sum(axis=-1) / np.maximum(1, n - 1) / np.maximum(1, n))


def scaled(x: np.ndarray) -> tuple[float, np.ndarray]:
    """A power of two, and the values over it: at most 1, so that their squares are finite and the large ones not 0."""
    _, exponent = np.frexp(abs(x).max(initial=0.0))
    exponent = max(int(exponent), -1000)
    return math.ldexp(1.0, exponent), np.ldexp(x, -exponent)


def lowest_of(losses: np.ndarray) -> int:
    """The place of the lowest loss: the middle one of equals, but the first if all are infinite."""
    equals = np.flatnonzero(losses == losses.min())
    return int(equals[len(equals) // 2]) if np.isfinite(losses).any() else 0


def heights(losses: np.ndarray, initial: float = math.nan, noise: float = 0.0) -> np.ndarray:
    """log(1 + (loss − lowest loss) / unit): a scale on which losses near the lowest one and far from it can be fitted.

    The unit is the next loss above the lowest, or a tenth of what was gained since the start, or the noise, whichever
    is largest. A logarithm of the loss itself would depend on constants that are added to it.

    Args:
      losses: inf if a run diverged, [points].
      initial: the loss before any training, NaN if it is not known.
      noise: of the difference of two losses.
    """
    with np.errstate(invalid="ignore"):
        above = losses - losses.min()
    finite = np.sort(above[np.isfinite(above)])
    if finite.size < 2:
        return np.where(np.isfinite(above), 0.0, np.inf)
    higher = finite[finite > 0]
    gain = initial - losses.min()
    unit = max(higher[0] if higher.size else 0.0, GAIN * gain if 0 < gain < math.inf else 0.0, noise)
    with np.errstate(over="ignore"):  # where the unit is next to nothing
        return np.log1p(above / unit) if unit > 0 else above


def lowest(x: np.ndarray, losses: np.ndarray, initial: float = math.nan, noise: float = 0.0) -> tuple[float, float]:
    """Where a parabola through the heights of the lowest losses is lowest, and its second derivative.

    It is at most one point away from the lowest of them. The second derivative is 0 if no parabola fits.

    Args:
      x: logarithms of rates, increasing, [points].
      losses: inf if a run diverged, [points].
      initial: the loss before any training.
      noise: of the difference of two losses.
    """
    k = lowest_of(losses)
    y = heights(losses, initial, noise)
    low, high = x[max(0, k - 1)], x[min(len(x) - 1, k + 1)]
    reach = max(NEAR * math.log(10) * 1.001, x[k] - low, high - x[k])
    near = np.flatnonzero((abs(x - x[k]) <= reach) & (y < 3.0))
    if len(np.unique(x[near])) < 3:
        return float(x[k]), 0.0
    (a, b, _), _, rank, *_ = np.polyfit(x[near] - x[k], y[near], 2, w=np.exp(-y[near] / 2), full=True)
    if a <= 0 or rank < 3:  # rates that are next to equal show no parabola
        return float(x[k]), 0.0
    return float(np.clip(x[k] - b / (2 * a), low, high)), float(2 * a)


def jackknife(of: Callable[[np.ndarray], float], losses: np.ndarray, parts: np.ndarray) -> float:
    """The standard error of what `of` makes of losses [points], from their parts [points, parts]."""
    if not parts.size:
        return 0.0
    n = np.isfinite(parts).sum(axis=-1, keepdims=True)
    left = losses[:, None] - np.where(np.isfinite(parts), parts, 0.0) / np.maximum(1, n - 1)
    values = np.asarray([of(left[:, i]) for i in range(parts.shape[1])])
    return float(math.sqrt((len(values) - 1) * values.var())) if len(values) > 1 else 0.0


class Trend(NamedTuple):
    """Where the best rate is for runs of some length."""

    log_rate: float
    error: float
    """Its standard deviation."""
    slope: float
    """By how much it moves for each e-fold of the length, as far as that was followed."""


class Drift(NamedTuple):
    """How the logarithm of the best rate moves over that of the length of the run, before anything is measured.

    From sweeps of real tasks: beyond some forty updates, and not as it moves within them.
    """

    mean: float
    error: float
    """Its standard deviation from task to task."""
    far: float
    """By how much the logarithm is off beside that, for runs e times as long as the longest ones: a standard deviation;
    for e² times, √2 of it."""
    certain: bool = True
    """Whether the kind of the optimizer is known: else the rounds are followed only as far as they show a movement."""


STAYS = Drift(0.0, 0.1, 0.2)
"""Of optimizers whose updates shrink with the gradients or with their agreement, such as SGD and Adam."""
FALLS = Drift(-0.5, 0.1, 0.2)
"""Of those whose updates have a fixed size, such as Lion and Muon: the rate alone can make them smaller."""
UNKNOWN = Drift(-0.15, 0.3, 0.45, certain=False)
"""Of both together."""
START_ERROR = 0.3
"""By how much the logarithm of the best rate of short runs is off that of others, from other starts: a standard
deviation on real tasks."""
IDLE_ERROR = 1.2
"""The same of runs none of which has changed the loss by more than noise."""


def trend(
    steps: Sequence[float],
    log_rates: Sequence[float],
    errors: Sequence[float],
    length: float,
    drift: Drift = UNKNOWN,
) -> Trend:
    """The best rate for runs of a length, from those for shorter runs.

    With n the longest of the runs, log rate = a + b · log(steps / n), where a may be anything and b is from a normal
    distribution. Where the kind of the optimizer is not known, the line is followed beyond n by the share of b that is
    not noise, b² / (b² + its variance): where the runs show no movement, none is assumed.

    Args:
      steps: the lengths of the runs, [rounds].
      log_rates: the logarithms of their best rates, [rounds].
      errors: the standard errors of these, beside that of another start, [rounds].
      length: of the runs that are asked about.
      drift: of the optimizer.
    """
    x = np.log(np.asarray(steps, float) / max(steps))
    w = 1 / (START_ERROR**2 + np.square(errors))
    precision = np.array([[w.sum(), (w * x).sum()], [(w * x).sum(), (w * x * x).sum() + drift.error**-2]])
    v = np.asarray(log_rates, float)
    covariance = np.linalg.inv(precision)
    a, b = covariance @ np.array([(w * v).sum(), (w * x * v).sum() + drift.mean / drift.error**2])
    further = math.log(length / max(steps))
    if drift.certain:
        slope, known = float(b), float(np.array([1, further]) @ covariance @ np.array([1, further]))
    else:
        slope, known = float(b * b**2 / (b**2 + covariance[1, 1])), covariance[0, 0]
    error = math.sqrt(known + drift.far**2 * max(0.0, further))
    return Trend(float(a + slope * further), error, slope)
