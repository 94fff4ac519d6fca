"""An epoch's pattern in a loss: the same batches in the same order give the same ups and downs again and again."""

import numpy as np

REPEATS = 4
"""A pattern is found from this many repeats on."""
ALIKE = 0.7
"""The correlation of the pattern in each third of the record with that of the whole."""
SMOOTH = 0.47
"""Neighbouring batches have nothing to do with each other: a pattern whose neighbours correlate more is a swing."""

EXACT = 1e-6
"""Patterns that differ by less, as a share of their range, are the same."""


def find_period(losses: np.ndarray) -> int | None:
    """The steps of an epoch whose pattern repeats from the start of the record to its end, or None.

    A swing that the learning rate causes is no such pattern: it grows from nothing, changes its length, and is smooth
    or of length 2.
    """
    n = losses.size
    if n < 3 * REPEATS:
        return None
    scale = float(np.abs(losses).max()) or 1.0
    losses = losses / scale
    d = np.diff(losses)
    d = d - np.median(d)
    spread = float(np.median(np.abs(d)))
    if not spread > 0:
        return None
    d = np.clip(d / spread, -6, 6)
    size = 1 << (2 * n - 1).bit_length()
    power = np.abs(np.fft.rfft(d, size)) ** 2
    repeated = np.fft.irfft(power)[: n // REPEATS + 1]
    repeated = repeated / np.maximum(repeated[0], 1e-300) * n / (n - np.arange(repeated.size))
    likely = [p for p in np.argsort(-repeated)[:12] if p > 2 and repeated[p] > 0.5]
    for period in sorted(likely):
        if _repeats(losses, int(period)):
            return None if _settles(losses, int(period)) else int(period)
    return None


def _settles(losses: np.ndarray, period: int) -> bool:
    """Whether the pattern becomes exactly the same each time only after the start: the cycle of steps too long."""
    last = losses[-period:]
    same = EXACT * float(np.ptp(last))

    def off(at: int) -> float:
        return float(np.abs(losses[at : at + period] - last).max())

    first = losses.size % period
    return off(losses.size - 2 * period) <= same and off(losses.size - 3 * period) <= same and off(first) > 10 * same


def _repeats(losses: np.ndarray, period: int) -> bool:
    """Whether the pattern is there in every third, and rough."""
    rest = losses - _trend(losses, period)
    whole = _pattern(rest, period)
    power = float(whole @ whole)
    if not power > 0:
        return False
    cut = losses.size // 3 // period * period
    if cut < period:
        return False
    for begin in (0, cut, 2 * cut):
        part = rest[begin : begin + cut]
        folded = _pattern(part, period)
        norm = float(np.linalg.norm(folded)) * power**0.5
        if not norm or float(folded @ whole) / norm < ALIKE:
            return False
        size = float(np.linalg.norm(folded)) / power**0.5
        if not 0.4 < size < 2.5:
            return False
        left = part - np.resize(folded, part.size)
        if float(np.median(np.abs(left))) > 0.7 * float(np.median(np.abs(part))):
            return False
    alternates = period > 3 and float(whole @ np.roll(whole, 2)) / power > 0.9
    return not alternates and float(whole @ np.roll(whole, 1)) / power < SMOOTH


def drifts(losses: np.ndarray, period: int) -> bool:
    """Whether the mean of a period moves over the record, beyond noise."""
    folded = losses[losses.size % period :].reshape(-1, period)
    half = len(folded) // 2
    rest = folded - np.median(folded, axis=0)
    error = float(rest.std()) * 2 / folded.size**0.5
    moved = abs(float(folded[-half:].mean() - folded[:half].mean()))
    return moved > 3 * error + EXACT * float(np.ptp(folded[-1]))


def shuffled(losses: np.ndarray, period: int) -> np.ndarray:
    """The losses with the pattern of an epoch of `period` steps in another order in each epoch.

    What differs from batch to batch is the noise of mini-batches; only its order is special. The pattern may change
    slowly: it is taken from five epochs.
    """
    n = losses.size
    if period < 2 or n < 2 * period:
        return losses
    rest = losses - _trend(losses, period)
    repeats = -(-n // period)
    order = np.random.default_rng(0)
    out = np.empty(n)
    for i in range(repeats):
        first = max(0, min(i - 2, repeats - 5)) * period
        pattern = _pattern(rest[first : first + 5 * period], period)
        here = slice(i * period, min((i + 1) * period, n))
        change = order.permutation(pattern) - pattern
        out[here] = losses[here] + change[: here.stop - here.start]
    return out


def _trend(losses: np.ndarray, period: int) -> np.ndarray:
    """The mean over a period around each step; at the ends, the nearest one, along its slope."""
    total = np.concatenate([[0.0], np.cumsum(losses)])
    mean = (total[period:] - total[:-period]) / period
    middle = np.arange(mean.size) + (period - 1) / 2
    at = np.arange(losses.size)
    if mean.size < 2:
        return np.full(losses.size, mean.mean())
    inside = np.interp(at, middle, mean)
    before, after = mean[1] - mean[0], mean[-1] - mean[-2]
    inside += np.minimum(at - middle[0], 0) * before + np.maximum(at - middle[-1], 0) * after
    return inside


def _pattern(rest: np.ndarray, period: int) -> np.ndarray:
    """The median of each place of the period, with median 0."""
    repeats = -(-rest.size // period)
    padded = np.full(repeats * period, np.nan)
    padded[: rest.size] = rest
    pattern = np.nanmedian(padded.reshape(repeats, period), axis=0)
    return pattern - pattern.mean()
