"""Signals of the course of one record: how early it falls, how its falls shrink, how steady they are."""

import numpy as np

from ._verdict_levels import Levels, log

EARLIEST = -3.0
"""log10 of the least share of a run that is told apart."""
SHARPEST = 0.005
"""Falls smaller than this share of the descent, or than the noise of a level, are nothing."""


def course(a: Levels) -> dict[str, float]:
    """The signals, by name."""
    return _trend(a) | _early(a) | _steadiness(a)


def lowest(a: Levels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The lowest mean so far at 40 places, closer at the start: shares of the steps, of the rates, and the means."""
    n = a.losses.size
    at = np.unique(np.geomspace(2, n, 40).round().astype(int))
    sums = np.concatenate([[0.0], np.cumsum(np.clip(a.losses, None, a.start + 3 * a.sigma))])
    lower, upper = (at / 1.3).astype(int), np.minimum((at * 1.3).astype(int) + 1, n)
    total = np.cumsum(a.rates)
    tau = total[np.minimum((lower + upper) // 2, n - 1)] / (total[-1] or 1.0)
    means = (sums[upper] - sums[lower]) / (upper - lower)
    return (lower + upper) / 2 / n, tau, means


def straight_fall(a: Levels) -> tuple[float, float]:
    """How far the straight line through the losses along the rates falls, and its standard error.

    It sees a descent four times as small as a difference of levels does.
    """
    x, total = kept(a), np.cumsum(a.rates)
    tau = (total - a.rates / 2) / (total[-1] or 1.0)
    tau = tau - tau.mean()
    power = max(float(tau @ tau), 1e-12)
    return -float(tau @ x) / power, a.sigma / power**0.5


def kept(a: Levels) -> np.ndarray:
    """The losses, none further from the levels than three times the noise."""
    levels = np.interp(np.arange(a.losses.size), a.t * a.losses.size, a.level)
    return levels + np.clip(a.losses - levels, -3 * a.sigma, 3 * a.sigma)


def _trend(a: Levels) -> dict[str, float]:
    """The descent of the straight line beside the noise of one loss, and beside its own error."""
    fall, error = straight_fall(a)
    return {
        "trend": log(fall / a.sigma, -1.7, 3) if fall > error else -1.7,
        "trend_sure": float(np.clip(fall / error, -4, 12)),
    }


def _early(a: Levels) -> dict[str, float]:
    """log10 of when a share of the descent was first reached, and how the falls of the last octaves shrink."""
    t, tau, means = lowest(a)
    fallen = np.maximum.accumulate(a.start - means) / a.descent
    out = {}
    for name, place, shares in (("steps_to_", t, (25, 75)), ("rates_to_", tau, (25, 50, 75))):
        for share in shares:
            i = int(np.argmax(fallen >= share / 100)) if fallen[-1] >= share / 100 else fallen.size - 1
            out[f"{name}{share}"] = log(float(place[i]), EARLIEST, 0)
    eighth, quarter, half, end = (float(np.interp(np.log(s), np.log(tau), means)) for s in (1 / 8, 1 / 4, 1 / 2, 1.0))
    least = a.sigma / (a.losses.size / 8) ** 0.5 + SHARPEST * a.descent
    falls = [max(x, 0.0) + least for x in (eighth - quarter, quarter - half, half - end)]
    out["octave_before"] = log(falls[1] / falls[0], -2, 2)
    out["octave_last"] = log(falls[2] / falls[1], -2, 2)
    return out


def _steadiness(a: Levels) -> dict[str, float]:
    """How losses hang together, how steep rises are, how the noise goes with the level and with the rate."""
    n = a.losses.size
    off = np.clip((a.losses - np.interp(np.arange(n), a.t * n, a.level))[n // 2 :], -3 * a.sigma, 3 * a.sigma)
    off = off - off.mean()
    d = np.diff(a.losses)[n // 4 :]
    bound = 6 * max(float(np.median(np.abs(d))), 1e-12)
    cubes = np.clip(d, -bound, bound) ** 3
    noise = np.log(np.maximum(a.noise, 1e-12))
    noise = noise - noise.mean()
    above = np.log(np.clip((a.level - a.level.min()) / a.descent, 0, 3) + 0.05)
    above = above - above.mean()
    peak = a.block_rate.max() or 1.0
    rate = np.log(np.maximum(a.block_rate / peak, 1e-4))
    rate = rate - rate.mean()
    return {
        "hangs": float(off[1:] @ off[:-1] / max(float(off @ off), 1e-300)),
        "steep": float(np.clip(cubes.mean() / max(float(np.abs(cubes).mean()), 1e-300), -1, 1)),
        "noise_by_level": float(np.clip(above @ noise / max(float(above @ above), 1e-3), -2, 3)),
        "noise_by_rate": float(np.clip(rate[4:] @ noise[4:] / max(float(rate @ rate), 1.0), -1, 1)),
        "mean_rate": log(float(a.rates.mean() / (a.rates.max() or 1.0)), -2, 0),
    }
