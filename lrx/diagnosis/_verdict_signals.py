"""What a record shows, as numbers without units: nothing changes when the losses are shifted or scaled.

Progress is measured along the steps, t, and along the sum of the rates so far, τ: a run that is slow because its rates
are low falls in a straight line along τ, whatever its schedule.
"""

import numpy as np

from ._verdict_course import course
from ._verdict_levels import BLOCKS, Levels, log

CYCLE, CYCLE_SIZE = 0.5, 0.02
"""A correlation that white noise does not have, and the least size of a cycle as a share of the descent."""
LOW = 0.35
"""Rates below this share of the highest are the low part of a schedule."""


def signals(a: Levels) -> dict[str, float]:
    """The signals of one record."""
    unit, sigma, after, m = a.descent, a.sigma, a.after, a.level
    lowest, end, highest, few = m.min(), m[-1], m.max(), max(1, m.size // 5)
    late, early = float(a.noise[-few:].mean()), float(a.noise[:few].mean())
    up = np.maximum(np.diff(m), 0) / unit
    rising = a.block_rate[1:] > 1.05 * a.block_rate[:-1]
    half = m[m.size // 2 :]
    wander = float(np.std(np.diff(half)))
    top = float(np.sort(a.losses)[-max(1, a.losses.size // 50)])
    first_part = a.losses[: max(5, a.losses.size // 20)]
    out = {
        "snr": log(unit / sigma, -1, 4),
        "start": log(after / unit, -1, 1),
        "net": float(np.clip((a.start - end) / unit, -2, 1)),
        "noise_end": log(late / unit, -4, 1),
        "noise_change": log(late / max(early, 1e-12), -3, 2),
        "noise_after": log(sigma / max(after, 1e-12), -3, 2),
        "noise_most": log(float(a.noise.max()) / unit, -4, 3),
        "rise": float(np.clip((end - lowest) / unit, 0, 3)),
        "above_lowest": log((end - lowest) / unit, -3, 5),
        "climb": float(np.clip((highest - a.start) / unit, -1, 4)),
        "above_start": log((top - a.start) / unit, -3, 6),
        "jump": log((float(np.sort(first_part)[-2]) - a.start) / unit, -3, 6),
        "swing": float(np.clip(up[~rising].sum(), 0, 5)),
        "swing_with_rate": float(np.clip(up[rising].sum(), 0, 5)),
        "wander": log(wander / unit, -4, 2),
        "wander_noise": log(wander * a.width**0.5 / sigma, -1, 2),
        "fall_half": float(np.clip((half[0] - end) / unit, -2, 1)),
        "lowest_at": float(m.argmin() / m.size),
        "first_jump": first_jump(a),
    }
    out.update(_profile(a))
    out.update(_steps(a))
    out.update(_low_part(a))
    out.update(course(a))
    return out


def motion(a: Levels) -> dict[str, float]:
    """How much the losses go up in all, in descents, and how much of what the levels went up was kept to the end.

    Both are for rules, not for the fit: the first grows with the number of losses.
    """
    ups = float(np.maximum(np.diff(a.level), 0).sum())
    return {
        "rises": log(float(np.maximum(np.diff(a.losses), 0).sum()) / a.descent, -6, 6),
        "kept": float((a.level[-1] - a.level.min()) / ups) if ups > 0 else 0.0,
    }


def first_jump(a: Levels) -> float:
    """How far the loss rose above its first value in the first tenth, in descents; 0 if noise or one loss did it."""
    x = a.losses[: max(8, a.losses.size // 10)]
    rise = float(np.sort(x[1:])[-2] - x[0])
    return float(np.clip(rise / a.descent, 0, 5)) if rise > 10 * a.sigma else 0.0


def _profile(a: Levels) -> dict[str, float]:
    """What remains of the descent, along the steps (t), along the rates (x), and after the first block (u)."""
    m, end = a.level, a.level[-1]
    left = np.clip((m - end) / a.descent, -1, 2)
    later = np.clip((m - end) / max(m[0] - end, m[1] - end, a.after / 4, 1e-12), -1, 2)
    out = {}
    for share in (10, 25, 50, 75):
        out[f"x{share}"] = float(np.interp(share / 100, np.r_[0, a.tau], np.r_[1, left]))
        out[f"t{share}"] = float(np.interp(share / 100, np.r_[0, a.t], np.r_[1, left]))
    for share in (25, 50, 75):
        out[f"u{share}"] = float(np.interp(share / 100, a.tau, later))
    reached = np.maximum.accumulate(np.r_[0.0, a.start - m]) / a.descent
    for share in (50, 90):
        i = int(np.argmax(reached >= share / 100 * reached[-1])) if reached[-1] > 0 else reached.size - 1
        lower, upper = np.r_[0, a.tau][max(i - 1, 0)], np.r_[0, a.tau][i]
        part = (share / 100 * reached[-1] - reached[i - 1]) / max(reached[i] - reached[i - 1], 1e-12) if i else 0.0
        out[f"reach{share}"] = log(float(lower + (upper - lower) * np.clip(part, 0, 1)), -2.5, 0)
    return out


def _steps(a: Levels) -> dict[str, float]:
    """How the loss moves from one step to the next, in the last three quarters."""
    d = np.diff(a.losses)[a.losses.size // 4 :]
    d = d - np.median(d)
    size = np.abs(d)
    middle = max(float(np.median(size)), 1e-12)
    w = np.clip(d, -4 * middle, 4 * middle)
    power = max(float(w @ w), 1e-300)
    rest = a.losses[a.losses.size // 2 :]
    rest = rest - np.interp(np.arange(rest.size), np.linspace(0, rest.size - 1, 5), _five(rest))
    spread = np.clip(rest, *np.quantile(rest, [0.01, 0.99]))
    return {
        "cycle": _cycle(np.diff(a.losses)[-max(a.losses.size // 2, 16) :], a.descent),
        "burst": log(float(np.quantile(rest, 0.98)) / a.descent, -3, 3),
        "next": float(w[1:] @ w[:-1] / power),
        "next_but_one": float(w[2:] @ w[:-2] / power),
        "heavy": log(float(np.quantile(size, 0.95)) / middle, 0, 2),
        "skew": float(np.clip(np.mean(((spread - spread.mean()) / max(spread.std(), 1e-12)) ** 3), -2, 3)),
    }


def _cycle(d: np.ndarray, descent: float) -> float:
    """The largest correlation of steps with those 2 to 16 later, beyond what chance gives; -0.5 where there is none."""
    ups = np.maximum(d, 0).sum() / max(float(np.abs(d).sum()), 1e-300)
    d = d - d.mean()
    if not 0.25 < ups < 0.75 or np.median(np.abs(d)) < CYCLE_SIZE / 4 * descent:
        return -CYCLE
    bound = 4 * float(np.median(np.abs(d)))
    w = np.clip(d, -bound, bound)
    lags = range(2, min(17, w.size - 5))
    largest = max(float(w[k:] @ w[:-k] / (np.linalg.norm(w[k:]) * np.linalg.norm(w[:-k]) + 1e-300)) for k in lags)
    return largest - float(np.clip(4.3 / w.size**0.5 - CYCLE, 0, 0.4)) - CYCLE


def _five(x: np.ndarray) -> np.ndarray:
    return np.array([np.median(part) for part in np.array_split(x, 5)])


def _low_part(a: Levels) -> dict[str, float]:
    """What happened once the rate had fallen far below its peak: the descent and the noise there."""
    m, r = a.level, a.block_rate
    peak = r.argmax()
    low = (r < LOW * r.max()) & (np.arange(m.size) > peak)
    if not low.any() or low.all():
        return {"low_fall": 0.0, "low_noise": 0.0}
    falls = np.maximum(-np.diff(np.r_[a.start, m]), 0)
    before = ~low & (np.arange(m.size) >= peak)
    quiet = float(a.noise[low].mean()) / max(float(a.noise[before].mean()), 1e-12)
    return {
        "low_fall": float(np.clip(falls[low].sum() / a.descent, 0, 1)),
        "low_noise": log(quiet, -2, 1),
    }


def overfit(validation: np.ndarray) -> tuple[float, float]:
    """How much of its descent a validation loss has lost again, beyond noise, and where its lowest level was."""
    keep = validation[np.isfinite(validation)]
    if keep.size < 4:
        return float("nan"), float("nan")
    m = np.array([np.median(x) for x in np.array_split(keep, min(BLOCKS, keep.size))])
    sigma = 1.4826 / 2**0.5 * float(np.median(np.abs(np.diff(keep))))
    descent = max(float(m[0] - m.min()), 1e-300)
    rise = float(np.median(m[-2:]) - m.min()) - 2 * sigma / max(1.0, keep.size / m.size) ** 0.5
    return max(rise, 0.0) / descent, float((m.argmin() + 0.5) / m.size)
