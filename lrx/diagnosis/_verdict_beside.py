"""Signals of a record beside that of the best run, at the same steps; the unit is the best's descent."""

from collections.abc import Mapping

import numpy as np

from ._verdict_course import lowest, straight_fall
from ._verdict_levels import Levels, log

COMPARED = (
    "snr",
    "noise_end",
    "noise_change",
    "noise_by_level",
    "heavy",
    "fall_half",
    "reach50",
    "reach90",
    "low_fall",
    "rates_to_25",
    "rates_to_50",
)
"""Signals of each record whose difference is one."""


def beside(a: Levels, b: Levels, of_a: Mapping[str, float], of_b: Mapping[str, float]) -> dict[str, float]:
    """The signals of a record `a` beside the best one, `b`, whose own signals are `of_a` and `of_b`."""
    ratio, shift = a.scale / b.scale, (a.zero - b.zero) / b.scale
    m, noise, start = a.level * ratio + shift, a.noise * ratio, a.start * ratio + shift
    gap = (np.interp(b.t, a.t, m) - b.level) / b.descent
    out = _gaps(gap, m, noise, b)
    out |= _ends(a.losses * ratio + shift, b)
    out |= _noises(m, noise, b)
    out |= _behind(a, b, m, start)
    out |= _from_own_starts(a, b, ratio)
    return out | {f"{name}_beside": of_a[name] - of_b[name] for name in COMPARED}


def _gaps(gap: np.ndarray, m: np.ndarray, noise: np.ndarray, b: Levels) -> dict[str, float]:
    """How far the levels are above the best's, and when."""
    few = max(1, m.size // 5)
    spread = np.minimum(noise[-1], b.noise.max() + b.descent) / b.descent
    doubt = float(np.hypot(spread, b.noise[-1] / b.descent) / b.width**0.5)
    out = {
        "gap": log(float(gap[-1]), -3, 3),
        "gap_last": log(float(gap[-few:].mean()), -3, 3),
        "gap_sure": log(float(gap[-1]) / max(doubt, 1e-12), -1, 3),
        "better": log(float(-gap[-1]), -3, 0),
        "gap_peak": log(float(gap.max()), -3, 3),
        "gap_peak_at": float(gap.argmax() / gap.size),
        "gap_kept": log(max(float(gap[-1]), 1e-3) / max(float(gap.max()), 1e-3), -3, 0),
        "gap_closing": float(np.clip(gap[-min(6, gap.size)] - gap[-1], -2, 2)),
    }
    for share in (5, 15, 40):
        x = float(np.interp(share / 100, b.t, gap))
        out[f"gap{share}"] = float(np.clip(np.sign(x) * np.log10(1 + abs(x) / 0.02), -3, 5))
    return out


def _ends(x: np.ndarray, b: Levels) -> dict[str, float]:
    """The gap once more, of the last twentieth and tenth of the losses."""
    k, of_best = max(1, x.size // 20), max(1, b.losses.size // 20)
    mean = float(x[-k:].mean() - b.losses[-of_best:].mean()) / b.descent
    median = float(np.median(x[-2 * k :]) - np.median(b.losses[-2 * of_best :])) / b.descent
    return {"gap_mean": log(mean, -3, 3), "gap_median": float(np.clip(median, -0.2, 0.4))}


def _noises(m: np.ndarray, noise: np.ndarray, b: Levels) -> dict[str, float]:
    """The noise beside the best's, late, early, and when the best was as low as this record ends."""
    few = max(1, m.size // 5)
    low = b.level <= m[-1]
    pairs = {
        "noise_ratio": (noise[-few:].mean(), b.noise[-few:].mean()),
        "noise_ratio_early": (noise[:few].mean(), b.noise[:few].mean()),
        "noise_at_level": (noise[-few:].mean(), b.noise[low.argmax() if low.any() else -1]),
    }
    return {name: float(np.clip(np.log10(max(x, 1e-12) / max(y, 1e-12)), -2, 3)) for name, (x, y) in pairs.items()}


def _behind(a: Levels, b: Levels, m: np.ndarray, start: float) -> dict[str, float]:
    """How far the best run was, along the rates, when it first came as low as this one is at shares of them."""
    grid, curve = _envelope(b)
    out = {}
    for share in (10, 30, 60, 100):
        level = float(np.interp(share / 100, np.r_[0, a.tau], np.r_[start, np.minimum.accumulate(m)]))
        at = float(np.interp(-level, -curve, grid))
        own = max(share / 100, float(a.tau[0]))
        out[f"behind{share}"] = float(np.clip(np.log10(max(at, 1e-4) / own), -3, 1.5))
    return out


def _from_own_starts(a: Levels, b: Levels, ratio: float) -> dict[str, float]:
    """Where along the rates the best run had fallen as far as this one has, each from its own start."""
    _, tau, means = lowest(a)
    _, tau_of_best, means_of_best = lowest(b)
    fallen = np.maximum.accumulate(np.maximum(np.r_[0.0, a.start - means], 0.0)) * ratio
    of_best = np.maximum.accumulate(np.maximum(np.r_[0.0, b.start - means_of_best], 0.0))
    of_best = of_best + np.arange(of_best.size) * 1e-12  # strictly rising
    grid, own = np.r_[0.0, tau_of_best], np.r_[0.0, tau]
    fall = max(straight_fall(a)[0] * ratio, 1e-3 * b.descent)
    out = {"descent_beside": log(float(fallen[-1]) / b.descent, -3, 0.5)}
    for share in (3, 30, 100):
        at = float(np.interp(np.interp(share / 100, own, fallen), of_best, grid))
        out[f"own_behind{share}"] = log(max(at, 1e-4) / max(share / 100, float(own[1])), -3, 1.5)
    out["trend_behind"] = log(float(np.interp(fall, of_best, grid)), -4, 0.3)
    out["trend_beside"] = log(fall / max(float(of_best[2] / max(grid[2], 1e-9)), 1e-12), -4, 0.5)
    return out


def _envelope(b: Levels) -> tuple[np.ndarray, np.ndarray]:
    """The lowest level so far along the sum of the rates, finer at the start: (shares, levels)."""
    n = b.losses.size
    at = np.unique(np.geomspace(1, n, 60).round().astype(int))
    sums = np.concatenate([[0.0], np.cumsum(np.clip(b.losses, None, b.start + 3 * b.sigma))])
    lower, upper = (at / 1.35).astype(int), np.minimum((at * 1.35).astype(int) + 1, n)
    curve = np.minimum.accumulate(np.r_[b.start, (sums[upper] - sums[lower]) / (upper - lower)])
    total = np.cumsum(b.rates)
    curve = curve - np.arange(curve.size) * 1e-12  # strictly falling
    return np.r_[0.0, total[at - 1] / (total[-1] or 1.0)], curve
