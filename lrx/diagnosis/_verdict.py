"""The verdict on a learning rate from the losses of a training run."""

import dataclasses
from typing import Any, Literal

import numpy as np

from .. import _check as check
from ._verdict_record import record_of

Label = Literal["too_low", "fine", "oscillating", "diverging", "dead", "unknown"]

BLOCKS = 20
"""The record is read as the means of this many stretches of equal length (two steps at least)."""

SHORTEST = 10
"""Fewer finite losses than this show nothing."""

# Thresholds, as shares of the run's descent; beyond what noise explains, so they need no margin of their own.
FAR_FROM_BEST = 0.03
LOST, ABOVE_START, FAR_ABOVE_START, SPIKE, SWING = 0.5, 0.25, 10.0, 0.5, 0.1
UP_AND_DOWN = 2.0  # times the rise: it has been up and down before
CYCLE, CYCLE_SIZE = 0.5, 0.02  # a correlation; white noise gives 0
STILL_FALLING = 0.08  # constant rates 100 times below the best have 0.1 and more
KEPT_UP, EARLY_SHARE = 0.8, 1 / 3  # at 100 times below the best, a run has less of the speed or more of the gap

NOT_MEASURED = dict.fromkeys(
    ("gap", "early_gap", "early_speed", "falling", "progress", "rise", "climb", "spike", "swing", "cycle"), float("nan")
)


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """A verdict and the numbers behind it; see `diagnose`."""

    label: Label
    """`too_low`, `fine`, `oscillating` or `diverging` (both: too high), `dead` (learns nothing more), `unknown`."""
    evidence: dict[str, float]
    """The numbers behind it, by name; NaN where it was not measured."""
    factor: float = 1.0
    """What to multiply the learning rate by; 1 where nothing is known."""
    interval: tuple[float, float] = (0.0, float("inf"))
    """Where the right factor lies, four times in five."""
    text: str = ""
    """Two plain sentences."""

    def __repr__(self) -> str:
        known = ", ".join(f"{name}={x:.3g}" for name, x in self.evidence.items() if not np.isnan(x))
        return f"Diagnosis({self.label!r}, {known})"


@check.public
def diagnose(
    losses: Any, best: Any = None, *, learning_rates: Any = None, period: int | None = None, validation: Any = None
) -> Diagnosis:
    """Say whether a loss record looks like a learning rate too low, fine, or too high.

    The record is cut into 20 blocks with means m₁ … m₂₀. Its descent, the unit of most of the evidence, is
    S = max(ℓ₁ − min m, 4σ), where σ is the noise of one loss (from the median absolute difference of neighbours, so
    trends and spikes don't count). What noise explains, at two or three standard errors, has been taken off, so
    that more than 0 is beyond noise (the two `early` numbers are as they are):

    - `gap`: (m₂₀ − best) / (ℓ₁ − best), how far above the best run it is; NaN without `best`.
    - `early_gap`, `early_speed`: the same for m₁, and the descent ℓ₁ − m₁ as a multiple of the best run's; NaN
      unless `best` is a record at least as long.
    - `falling`: the share of the descent that a straight line through the last half falls by.
    - `progress`: the descent in standard errors, less 4: below 0, nothing was learned.
    - `rise`: (m₂₀ − min m) / S, the share of its progress that the run lost again.
    - `climb`, `spike`: (max m − ℓ₁) / S and (max ℓ − ℓ₁) / S, how far it went above its start.
    - `swing`: all upward moves between blocks, Σ max(mᵢ₊₁ − mᵢ, 0) / S.
    - `cycle`: the largest correlation of the loss's steps in the last half with those 2 to 16 steps later: 0 for
      mini-batch noise, 1 for a cycle that repeats; 0 as well if the loss moves by less than 0.02 S.
    - `steps`, `non_finite`: the length of the record and the share of it that is NaN or infinite.

    The label is the first that applies:

    1. `diverging`: the last loss is not finite.
    2. `fine`: fewer than 10 finite losses, which is too short to tell; or `gap` ≤ 0.03.
    3. `diverging`: `climb` > 10, or `rise` > 0.5 and `swing` < 2 `rise` (it went up once and stayed there).
    4. `oscillating`: `climb` > 0.25, `swing` > 0.1 or `cycle` > 0.5.
    5. With `best`: `oscillating` if `spike` > 0.5, or if it kept up at first and fell behind later (`progress` >
       0, `early_speed` > 0.8 and `early_gap` < `gap` / 3), else `too_low`.
    6. Without: `too_low` if `falling` > 0.08 or `progress` < 0, else `fine`.

    Adding a constant to the losses, or multiplying them by a positive one, changes nothing (in `best` too).

    Give the record of the best run you know whenever you have one. Alone, a run that was too slow under a decaying
    schedule looks like one that has converged, a run that needs more steps looks like one that needs a higher rate,
    and gradient descent on a quadratic falls monotonically at every rate below 2/L.

    Args:
      losses: training losses, one per step, shape `(steps,)`, from the first step of the run; it may be running.
      best: the losses of the best known run of the same problem and schedule, or its final loss. A longer record
        is compared at the same step.
      learning_rates: the rate of each step, shape `(steps,)`, or one number; None: those of the record, if any.
      period: the steps of an epoch, if every epoch has the same order of batches; found from the losses if None.
      validation: losses on held-out data, or a record of them.

    Returns:
      A `Diagnosis` with `.label` and `.evidence`, a dict of floats with the keys above (NaN: not measured).

    Raises:
      ValueError: if the losses are not one-dimensional or empty, or `best` ends in a non-finite loss.
      TypeError: if the losses are not real numbers.

    Examples:
      >>> import numpy as np
      >>> steps = np.arange(200)
      >>> diagnose(np.exp(-steps / 2000)).label, diagnose(np.exp(-steps / 20)).label
      ('too_low', 'fine')
      >>> diagnose(1 + 0.5 * (-1.0) ** steps).label, diagnose(1.1**steps).label
      ('oscillating', 'diverging')
      >>> diagnose(np.exp(-steps / 200), best=np.exp(-steps / 20)).label
      'too_low'

    References:
      J. Cohen et al., "Gradient Descent on Neural Networks Typically Occurs at the Edge of Stability",
      arXiv:2103.00065 (what rates near 2/L look like).
    """
    record = record_of("losses", losses, learning_rates, validation)
    values = record.losses
    if period is not None:
        check.positive_count(period=period)
    finite = np.isfinite(values)
    evidence = {"steps": float(values.size), "non_finite": float(1 - finite.mean()), **NOT_MEASURED}
    reference = None if best is None else _reference(best)
    if finite.sum() >= SHORTEST:
        evidence.update(_measure(values[finite], reference))
    evidence = {name: float(x) for name, x in evidence.items()}
    label = _label(evidence, bool(finite[-1]))
    if label == "fine" and finite.sum() < SHORTEST:
        return Diagnosis(label, evidence, *CORRECTION["unknown"], TOO_SHORT)
    return Diagnosis(label, evidence, *CORRECTION[label], TEXT[label])


CORRECTION: dict[Label, tuple[float, tuple[float, float]]] = {
    "too_low": (10.0, (3.0, 100.0)),
    "fine": (1.0, (0.3, 3.0)),
    "oscillating": (0.3, (0.1, 1.0)),
    "diverging": (0.1, (0.01, 0.3)),
    "dead": (0.1, (0.01, 0.3)),
    "unknown": (1.0, (0.0, float("inf"))),
}
TEXT: dict[Label, str] = {
    "too_low": "The learning rate is too low. Multiply it by 10.",
    "fine": "The learning rate is fine. Keep it.",
    "oscillating": "The learning rate is too high: the loss oscillates. Multiply it by 0.3.",
    "diverging": "The learning rate is too high: the loss diverges. Multiply it by 0.1.",
    "dead": "The run learns nothing any more. Start again with a tenth of the learning rate.",
    "unknown": "The record does not show whether the learning rate is right. Train longer, or give best=.",
}
TOO_SHORT = f"The record is too short to tell: it has fewer than {SHORTEST} losses. Nothing is wrong so far."


def _reference(best: Any) -> np.ndarray:
    values = record_of("best", [best] if not hasattr(best, "losses") and np.ndim(best) == 0 else best).losses
    if not np.isfinite(values[-1]):
        raise check.fail("best", "must end in a finite loss", float(values[-1]))
    return values[np.isfinite(values)]


def _measure(losses: np.ndarray, best: np.ndarray | None) -> dict[str, Any]:
    """The evidence, from finite losses."""
    with np.errstate(all="ignore"):
        unit = np.ptp(losses) or 1.0  # rates far too high leave losses whose squares overflow
        start, losses = losses[0], (losses - losses[0]) / unit
        measured = _shape(losses)
        if best is not None:
            measured.update(_against(losses, (best - start) / unit))
        return measured


def _shape(losses: np.ndarray) -> dict[str, Any]:
    """The evidence in one record that starts at 0."""
    means, noise, error = _blocks(losses)
    lowest, end, sigma = means.min(), means[-1], np.median(noise)
    descent = max(-lowest, 4 * sigma) or 1.0
    # of the first loss and of the highest block; what is more is not sampling noise but an explosion
    first, highest = min(noise[0], descent), min(error[means.argmax()], descent)

    # means of two neighbouring blocks of white noise differ by N(0, pair²), upwards by 0.4 ± 0.6 pairs
    pair = np.hypot(error[1:], error[:-1])
    up = np.maximum(np.diff(means), 0).sum() - 0.4 * pair.sum() - 2 * 0.6 * np.linalg.norm(pair)

    tail = losses[-max(losses.size // 2, min(losses.size, 16)) :]
    time = np.arange(tail.size) - (tail.size - 1) / 2
    slope = time @ tail / (time @ time)
    fall = -slope * tail.size
    certain = fall > 2.5 * sigma * (12 / tail.size) ** 0.5  # 2.5 standard errors
    moves = np.std(tail - slope * time) > CYCLE_SIZE * descent

    return {
        "falling": fall / ((max(0.0, means.max()) - lowest) or 1.0) if certain else 0.0,
        "progress": max(_ratio(-lowest, sigma), _ratio(means[0] - end, np.hypot(error[0], error[-1]))) - 4,
        "rise": (end - lowest - 3 * (error[-1] + error[means.argmin()])) / descent,
        "climb": (means.max() - 3 * first - 2 * highest) / descent,
        "spike": (losses.max() - 6 * first) / descent,
        "swing": up / descent,
        "cycle": _cycle(np.diff(tail)) if moves else 0.0,
    }


def _against(losses: np.ndarray, best: np.ndarray) -> dict[str, Any]:
    """The evidence in the comparison of a record that starts at 0 with the best one at the same step."""
    means, noise, _ = _blocks(losses)
    best = best[: losses.size]
    width = losses.size // means.size
    level = best[-width:].mean()
    # sampling noise is no larger than this: what is more is an explosion, and must not excuse the gap
    largest = max(_blocks(best)[1].max() if best.size >= SHORTEST else 0.0, abs(level) / 2)
    noise = np.minimum(noise, largest)
    descent = max(-level, 4 * np.median(noise)) or 1.0
    evidence = {"gap": (means[-1] - level - 3 * (2 / width) ** 0.5 * noise[-1]) / descent}
    if best.size == losses.size:
        early = best[:width].mean()
        evidence["early_gap"] = (means[0] - early) / descent
        evidence["early_speed"] = _ratio(means[0], early - best[0])
    return evidence


def _blocks(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each block: the mean, the noise of one loss, and the standard error of the mean."""
    count = min(BLOCKS, losses.size // 2)
    means = np.array([block.mean() for block in np.array_split(losses, count)])
    steps = np.diff(losses)
    groups = np.array_split(steps, max(1, min(count, steps.size // 9)))  # a median of fewer than 9 says little
    deviation = [np.median(np.abs(g - np.median(g))) for g in groups]
    # 1.4826: from the median absolute deviation of a normal distribution to σ; √2: from a difference to one loss
    noise = 1.4826 / 2**0.5 * np.array(deviation)[np.arange(count) * len(groups) // count]
    return means, noise, noise / (losses.size / count) ** 0.5


def _cycle(steps: np.ndarray) -> float:
    """The largest correlation of steps with those 2 to 16 later, less what chance gives in so short a record."""
    ups = np.maximum(steps, 0).sum()
    if not ups > 0.25 * np.abs(steps).sum():
        return 0.0  # one long descent is no cycle
    pairs = [(steps[lag:], steps[:-lag]) for lag in range(2, min(17, steps.size - 5))]
    largest = max(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for a, b in pairs)
    return largest - np.clip(4.3 / steps.size**0.5 - CYCLE, 0, 0.4)


def _ratio(x: float, y: float) -> float:
    return x / y if y else np.inf * np.sign(x) if x else 0.0


def _label(evidence: dict[str, float], ends_finite: bool) -> Label:
    """The first label of `diagnose` that applies; comparisons with NaN are False."""
    e = evidence
    if not ends_finite:
        return "diverging"
    if np.isnan(e["rise"]) or e["gap"] <= FAR_FROM_BEST:
        return "fine"
    if e["climb"] > FAR_ABOVE_START or (e["rise"] > LOST and e["swing"] < UP_AND_DOWN * e["rise"]):
        return "diverging"
    if e["climb"] > ABOVE_START or e["swing"] > SWING or e["cycle"] > CYCLE:
        return "oscillating"
    if np.isnan(e["gap"]):
        return "too_low" if e["falling"] > STILL_FALLING or e["progress"] < 0 else "fine"
    kept_up = e["progress"] > 0 and e["early_speed"] > KEPT_UP and e["early_gap"] < EARLY_SHARE * e["gap"]
    return "oscillating" if e["spike"] > SPIKE or kept_up else "too_low"
