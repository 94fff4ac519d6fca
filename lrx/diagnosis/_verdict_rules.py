"""From probabilities to a label and a correction: what needs no fit."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

from ._verdict_levels import BLOCKS
from ._verdict_model import Model

Label = Literal["too_low", "fine", "oscillating", "diverging", "dead", "unknown"]
Sign = Literal["straight", "down", "never_rises", "too_high", "none"]

FAR_FROM_BEST = 0.05
"""A run whose loss is above the best one's by at most this share of the best's descent is fine."""
TOO_FAR = 0.2
"""One that is so far above, beyond noise, is not, whatever else it shows."""
REPEATS, HALF = 0.2, 0.5
"""Of `sure_sign`."""
LONG = 5
"""Levels of fewer losses are those of a short record."""
CLEAR = 20.0
"""A descent of this many standard errors of a level is clear."""
LOST = 0.2
"""A descent of this share of a clear one is lost in noise."""
DOUBT = 0.5
"""The least that a descent in noise leaves of what the probabilities say."""
LEAST = 0.4
"""Where nothing is more probable than this, the verdict is unknown."""
SURELY = 9.0
"""Where the descent is lost in noise, or its start is missing, too high must be so many times as probable as anything
else; without the start, beside a best run, too low as well."""
NEVER_RISES = -2.0
"""A record whose rises make less than ten to this, in descents, in all: no step was too long."""
STEADY = 0.1
"""And one that is never further, by this share of its descent, than a straight line along the rates is slow."""
OVER = 0.01
"""And one of which less than this share of the descent is left after half of the rates is done."""
KEPT = 0.35
"""Levels that kept less than this share of all their rises went up and down, not up."""
WIDER = 1.25
"""What the errors of the correction on tasks that the fit did not see are to those on its own."""
SMALL = 0.5
"""The correction of a rate that is fine is at most this, in decades."""
ANYTHING = (0.0, float("inf"))


def sure_sign(found: Mapping[str, float], width: float) -> bool:
    """Whether the record shows what no rate that is too low or fine does.

    A swing that repeats at the same length; levels that go up, while the rate does not, by half of the descent in all,
    beyond what noise does to levels of `width` losses; or losses ten descents above the start and an end above it, or
    hundreds in the first steps, or more than it ever came down, to stand still since.
    """
    sigma = 10 ** -found["snr"] * (2 / width) ** 0.5  # of the difference of two levels
    noise = sigma * (0.6 * BLOCKS + 1.2 * BLOCKS**0.5)
    rises = width >= 5 and found["swing"] - noise > HALF
    explodes = found["jump"] > 2.2 or (found["above_start"] > 1 and found["net"] < 0)
    dies = found["first_jump"] > 1 and found["fall_half"] < 0.05
    return bool(found["cycle"] > REPEATS or rises or explodes or dies)


def sign_of(found: Mapping[str, float], width: float) -> Sign:
    """What the record shows without a model: a rate too high, or a loss that never rises, and how it falls."""
    if found["rises"] < NEVER_RISES:
        if all(found[f"x{share}"] > 1 - share / 100 - STEADY for share in (25, 50, 75)):
            return "straight"
        return "down" if found["x50"] < OVER and found["snr"] > 1 else "never_rises"
    return "too_high" if sure_sign(found, width) else "none"


def signed(shares: np.ndarray, sign: Sign) -> np.ndarray:
    """The probabilities [..., 3], given a sign."""
    if sign == "straight":
        return np.broadcast_to([0.9, 0.1, 0.0], shares.shape)
    if sign == "down":
        return np.broadcast_to([0.1, 0.9, 0.0], shares.shape)
    if sign == "never_rises":
        low, fine, high = np.moveaxis(shares, -1, 0)
        return np.stack([low, fine + high, np.zeros_like(high)], -1)
    return 0.1 * shares + [0.0, 0.0, 0.9] if sign == "too_high" else shares


def errors_of(snr: Any, width: Any) -> Any:
    """The descent in standard errors of a level: numbers or arrays."""
    return 10**snr * width**0.5


def weighed(shares: np.ndarray, errors: Any, width: Any) -> np.ndarray:
    """The probabilities [..., 3], nearer to a third where the descent is lost in noise or the levels are short."""
    known = np.clip(errors / CLEAR, DOUBT, 1.0) * np.minimum((width / LONG) ** 2, 1.0)
    known = np.expand_dims(known, -1)
    return known * shares + (1 - known) / 3


def beyond_noise(found: Mapping[str, float]) -> float:
    """The gap to the best run less one and a half standard errors."""
    gap, errors = found["gap"], 10 ** found.get("gap_sure", 3.0)
    return gap * (1 - min(1.5 / errors, 1.0)) if gap > 0 else 0.0


def beside_run(shares: np.ndarray, found: Mapping[str, float], width: float, ratio: float | None) -> np.ndarray:
    """The probabilities beside the record of the best run, given the gap and how much higher that one's rates are."""
    if found["gap"] <= 0:
        return np.array([0.0, 1.0, 0.0])
    gap, (low, fine, high) = beyond_noise(found), shares
    if found["rises"] < NEVER_RISES:
        low, high = low + high, 0.0
    elif gap > FAR_FROM_BEST and sure_sign(found, width):
        low, fine, high = 0.1 * low, 0.1 * fine, 0.1 * high + 0.9
    if steadily_behind(found):
        low, fine, high = 0.1 * low + 0.9, 0.1 * fine, 0.1 * high
    return on_one_side((low, fine, high), gap < TOO_FAR, ratio)


def steadily_behind(found: Mapping[str, float]) -> bool:
    """A clear descent that never rises, goes on, and is behind: nothing but slow."""
    rises = found["swing"] + found["swing_with_rate"]
    return rises < 0.02 and found["fall_half"] > 0.2 and found["snr"] > 1.5 and found["gap"] > 2 * FAR_FROM_BEST


def beside_loss(shares: np.ndarray, gap: float, ratio: float | None) -> np.ndarray:
    """The same where only the best run's last loss is known, which nothing was fitted to."""
    if gap <= FAR_FROM_BEST / 2:
        return np.array([0.0, 1.0, 0.0])
    return on_one_side(shares.tolist(), gap < 2 * FAR_FROM_BEST, ratio)


def on_one_side(shares: Iterable[float], may_be_fine: bool, ratio: float | None) -> np.ndarray:
    """The probabilities, where the best rate is known to be so many times this one."""
    low, fine, high = shares
    fine = fine if may_be_fine else 0.0
    if ratio is not None and abs(np.log(ratio)) > 0.05:
        low, high = (low + high, 0.0) if ratio > 1 else (0.0, low + high)
    total = low + fine + high
    return np.array([low, fine, high]) / total if total > 0 else np.array([0.0, 1.0, 0.0])


def is_clear(shares: np.ndarray, late: bool, lost: bool, beside: bool = False, ratio: float | None = None) -> bool:
    """Whether the most probable may be said.

    Args:
      shares: the probabilities, before they are weighed.
      late: whether the start of the record is missing: no fall is slow then, unless it is beside another one.
      lost: whether the descent is lost in noise.
      beside: whether there is a best run.
      ratio: that one's rates over these, if both are known.
    """
    low, fine, high = shares
    if fine >= max(low, high) or ratio is not None or not (late or lost):
        return True
    sure = max(low, high) > SURELY * max(fine, min(low, high))
    return bool(sure and (high > low or beside) if late else sure or low > high)


def label_of(found: Mapping[str, float], shares: np.ndarray) -> Label:
    """The most probable label."""
    top = int(shares.argmax())
    return (("too_low", "fine")[top]) if top < 2 else too_high(found)


def too_high(found: Mapping[str, float]) -> Label:
    """How a rate that is too high shows."""
    if found["cycle"] > REPEATS:
        return "oscillating"
    stands = abs(found["fall_half"]) < 0.1 and found["noise_end"] < -0.5 and found["wander"] < -1
    lost = found["first_jump"] > 1 or (found["above_start"] > -0.5 and found["net"] < 0.2) or found["rise"] > 0.5
    if stands and lost:
        return "dead"
    if found["kept"] < KEPT:
        return "oscillating"
    grows = found["net"] < -0.5 or (found["rise"] > 0.5 and found["swing"] < 2 * found["rise"])
    return "diverging" if grows else "oscillating"


def short(losses: np.ndarray) -> Label:
    """The label of a record that is too short for signals."""
    if not np.isfinite(losses[-1]):
        return "diverging"
    steps = np.diff(losses[np.isfinite(losses)])
    grows = steps.size >= 4 and bool((steps > 0).all()) and bool((steps[1:] > 1.3 * steps[:-1]).all())
    return "diverging" if grows else "unknown"


def correct(
    label: Label, shares: np.ndarray, corrections: np.ndarray, model: Model, ratio: float | None
) -> tuple[float, tuple[float, float]]:
    """The factor and its interval."""
    if ratio is not None:
        return ratio, (ratio / 2, ratio * 2)
    top = int(shares.argmax()) if label != "diverging" else 2
    correction = float(corrections[top])
    low, high = (WIDER * x for x in model.spread[("too_low", "fine", "too_high")[top]][int(shares[top] > 0.8)])
    if label == "too_low":
        correction = max(correction, 0.1)
    elif label in ("oscillating", "diverging", "dead"):
        correction = min(correction, -0.1)
    elif label == "unknown":
        return 1.0, (10 ** min(correction + 2 * low, 0.0), 10 ** max(correction + 2 * high, 0.0))
    else:
        correction = float(np.clip(correction, -SMALL, SMALL))
    return 10**correction, (10 ** (correction + min(low, 0.0)), 10 ** (correction + max(high, 0.0)))
