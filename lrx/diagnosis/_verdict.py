"""The verdict on a learning rate from the record of a training run."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from .. import _check as check
from ._verdict_model import Model
from ._verdict_numbers import ALONE, BESIDE
from ._verdict_period import drifts, find_period, shuffled
from ._verdict_record import Record, record_of
from ._verdict_signals import BLOCKS, Levels, beside, levels, motion, overfit, signals
from ._verdict_words import LATE, text

Label = Literal["too_low", "fine", "oscillating", "diverging", "dead", "unknown"]

FAR_FROM_BEST = 0.05
"""A run whose loss is above the best one's by at most this share of the best's descent is fine."""
REPEATS, HALF = 0.2, 0.5
"""Of `sure_sign`."""
BOTH = 0.6
"""Beside a best run, the weight of the model that sees both; the rest is that of the record alone."""
CLEAR = 20.0
"""A descent of this many standard errors of a level is clear."""
LOST = 0.2
"""A descent of this share of a clear one is lost in noise."""
LONG = 5
"""Levels of fewer losses are those of a short record."""
LEAST = 0.4
"""Where nothing is more probable than this, the verdict is unknown."""
CLEARLY = 1.5
"""Without a best run, too low must be so many times as probable as anything else, or it is unknown.
Chosen on the tables of `benchmarks.doctor`: more calls fewer good rates ill, and leaves more bad ones unknown."""
CLEARLY_IN_NOISE = 4.0
"""The same of too high where the descent is lost in noise, or its start is missing; then also of too low beside a best
run. On runs without their first tenth, 2 % of the fine rates are called too high then, and 6 % without it."""
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
BLOWN_UP = -1.0
"""log10 of the correction where a record holds little more than the blow-up."""
SHORT_INTERVAL = (0.001, 0.5)
"""And its interval."""


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """A verdict, a correction and the numbers behind them; see `diagnose`."""

    label: Label
    """`too_low`, `fine`, `oscillating` or `diverging` (both: too high), `dead` (learns nothing more), `unknown`."""
    evidence: dict[str, float]
    """The numbers behind it, by name; NaN where it was not measured."""
    factor: float = 1.0
    """What to multiply the learning rate by; 1 where nothing is known."""
    interval: tuple[float, float] = ANYTHING
    """Where the right factor lies, four times in five."""
    text: str = ""
    """Two plain sentences."""

    def __repr__(self) -> str:
        known = ", ".join(f"{name}={x:.3g}" for name, x in self.evidence.items() if not np.isnan(x))
        return f"Diagnosis({self.label!r}, factor={self.factor:.3g}, {known})"


@check.public
def diagnose(
    losses: Any, best: Any = None, *, learning_rates: Any = None, period: int | None = None, validation: Any = None
) -> Diagnosis:
    """Say whether the record of a run looks like a learning rate too low, fine, or too high, and by how much.

    The record is read as some forty signals without units, of which a logistic model makes probabilities::

      log P(too low) / P(fine) = a₀ + Σᵢ aᵢ(sᵢ)      log P(too high) / P(fine) = b₀ + Σᵢ bᵢ(sᵢ)

    where aᵢ and bᵢ are lines with two bends. The correction is a third such sum. Their numbers are fixed; they were
    fitted on training runs of known outcome by `python -m benchmarks.doctor --fit`, and the accuracy on tasks that the
    fit did not see is in `benchmarks/README.md`.

    The unit of most signals is the descent S from the start to the lowest level, where levels are the trimmed means of
    20 blocks, and the start counts for at most five times the range of the levels after it: no single loss sets the
    unit. Give the rates whenever you have them. Progress is then measured along the sum of the rates so far as well as
    along the steps: a run at too low a rate falls in a straight line along that sum, whatever the schedule; a loss that
    drops when the rate drops was held up by noise; and a loss that rises while its rate rises is no trouble by itself.

    The label is the first that applies:

    1. `diverging`: the last loss is not finite, or a record too short for more grows by a factor in each step.
    2. `unknown`: fewer than 24 finite losses.
    3. With the record of the best run: `fine` if the loss is above the best one's, beyond noise, by less than
       0.05 of the best's descent; else not fine, too low if the rates of both are known and the best one's are higher.
    4. What is most probable; `unknown` if nothing is more probable than 0.4, or if, without the record of a best run,
       too low is not one and a half times as probable as anything else, or too high four times where the descent is
       lost in noise. A record that begins after more than a hundredth of its steps, as a log after warmup does, lacks
       the fast fall of the start, and a good rate looks too low in what is left: it is called too low only beside a
       best run, and where that is four times as probable or the rates of both show it. A loss that never rises, by a
       hundredth of its descent in all, is not too high: it is too low if it falls in a straight line along the rates,
       fine if it is down after half of them. Three signs, which no run at a lower rate showed, make too high nine
       times in ten probable by themselves: a swing that repeats at one length, levels that rise by half of the
       descent beyond noise while the rate does not, and losses ten descents above the start of a run that ends above
       it, or hundreds in its first steps. Where the descent is lost in noise, the probabilities are nearer to each
       other.
    5. Too high is `dead` if the loss stands still where nothing is learned, `diverging` if it went up
       and stayed there, else `oscillating`.

    Adding a constant to the losses, or multiplying losses or rates by a positive number, changes nothing.

    Args:
      losses: training losses from the first step of the run, at equal distances, shape `(steps,)`; it may be running.
        Or an object that has them as `.losses`, and `.learning_rates`, `.steps` and `.validation` if it knows them: a
        `Recorder`, a log. Only the steps show that the first ones are missing.
      best: the same of the best known run of the same problem and schedule, or its final loss. A longer record is
        compared at the same steps; one that begins later, by its last loss. If both have rates, the correction is
        their ratio.
      learning_rates: the rate of each loss, shape `(steps,)`, or one number; None: those of the record, if any. Only
        their shape matters, and beside a best run that has them, their ratio.
      period: the steps of an epoch, where every epoch has the same batches in the same order: their pattern is read as
        noise. If None it is looked for.
      validation: losses on held-out data, or a record of them. Overfitting is told in the evidence and the text; it is
        no label, since another rate is not its cure.

    Returns:
      A `Diagnosis`. Its evidence holds the signals, and `probability_too_low`, `probability_fine`,
      `probability_too_high`, `steps`, `non_finite` (the share), `period`, `overfitting` (the share of its descent that
      the validation loss lost again), `overfits_from` (the share of the record) and `missing` (the share of the run's
      steps before the record).

    Raises:
      ValueError: if a series is not one-dimensional or empty, the rates are not as many as the losses, negative or not
        finite, or `best` ends in a non-finite loss.
      TypeError: if a series does not hold real numbers.

    Examples:
      >>> import numpy as np
      >>> steps = np.arange(400)
      >>> diagnose(np.exp(-steps / 2000)).label, diagnose(np.exp(-steps / 20)).label
      ('too_low', 'fine')
      >>> diagnose(1 + 0.5 * (-1.0) ** steps).label, diagnose(1.1**steps).label
      ('oscillating', 'diverging')
      >>> diagnose(np.exp(-steps / 400), best=np.exp(-steps / 20)).label
      'too_low'
      >>> diagnose([2.3, 2.2, 2.1]).label
      'unknown'

    References:
      J. Cohen et al., "Gradient Descent on Neural Networks Typically Occurs at the Edge of Stability",
      arXiv:2103.00065 (what rates near 2/L look like).
    """
    record = record_of("losses", losses, learning_rates, validation)
    if period is not None:
        check.positive_count(period=period)
        period = int(period)
    return examine(record, None if best is None else _best(best), period, ALONE, BESIDE)


def _best(best: Any) -> Record:
    record = record_of("best", best if hasattr(best, "losses") or np.ndim(best) else [best])
    if not np.isfinite(record.losses[-1]):
        raise check.fail("best", "must end in a finite loss", float(record.losses[-1]))
    return record


def examine(record: Record, best: Record | None, period: int | None, alone: Model, with_best: Model) -> Diagnosis:
    """The verdict by these models."""
    x = record.losses
    finite = np.isfinite(x)
    evidence = {"steps": float(x.size), "non_finite": float(1 - finite.mean()), "period": float("nan")}
    lost, since = (float("nan"),) * 2 if record.validation is None else overfit(record.validation.losses)
    evidence |= {"overfitting": lost, "overfits_from": since, "missing": record.missing}
    late = record.missing > LATE
    in_doubt = False  # a pattern over a level that does not move: the order of the data, or a swing
    if finite.all():
        if period is None:
            period = find_period(x)
            in_doubt = period is not None and not drifts(x, period)
        if period is not None:
            evidence["period"] = float(period)
            x = shuffled(x, period)
    here = levels(x, record.rates)
    if here is None:
        label = short(x)
        factor = 10**BLOWN_UP if label == "diverging" else 1.0
        interval = SHORT_INTERVAL if label == "diverging" else ANYTHING
        return Diagnosis(label, evidence, factor, interval, text(label, factor, evidence))
    found = signals(here)
    ratio, model, known = None, alone, found
    if best is not None:
        reference = best.beside(record)
        there = levels(reference.losses, reference.rates if record.rates is not None else None)
        if there is None:
            found["gap"] = _gap(here, float(reference.losses[-1]))
        elif best.lacks(record, LATE):
            found["gap"] = _gap(here, there.zero + there.scale * float(there.level[-1]))
        else:
            found |= beside(here, there)
            found["gap"], model = 10 ** found["gap"] if found["gap"] > -3 else 0.0, with_best
            known = found | {"gap": float(np.log10(max(found["gap"], 1e-3)))}
        rates = record.rates, reference.rates
        if rates[0] is not None and rates[1] is not None and rates[0].max() > 0 and rates[1].max() > 0:
            ratio = float(rates[1].max() / rates[0].max())
    shares, corrections = model.judge(known)
    if model is not alone:
        shares = BOTH * shares + (1 - BOTH) * alone.judge(found)[0]
    moves = motion(here)
    seen = signed(shares, found | moves, here.width)
    shares = weighed(seen, found, here.width)
    clear = is_clear(seen, found, here.width, late) and not in_doubt
    if best is not None:
        shares = bounded(steady(shares, found), beyond_noise(found), ratio)
        clear = not late or ratio is not None or surely(shares)
    label = decide(found | moves, shares, clear, bool(finite[-1]))
    names = ("probability_too_low", "probability_fine", "probability_too_high")
    evidence |= dict(zip(names, shares.tolist(), strict=True)) | found | moves
    factor, interval = correct(label, shares, corrections, model, ratio)
    interval = ANYTHING if late and label == "unknown" else interval
    evidence = {name: float(v) for name, v in evidence.items()}
    return Diagnosis(label, evidence, factor, interval, text(label, factor, evidence, interval))


def _gap(here: Levels, best: float) -> float:
    """How far a record ends above a final loss, as a share of that one's descent, beyond noise."""
    level = (best - here.zero) / here.scale
    noise = 2 * here.noise[-1] / here.width**0.5
    descent = max(here.start - level, here.sigma / here.width**0.5, 1e-12)
    return float(max(here.level[-1] - level - noise, 0.0) / descent)


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


def signed(shares: np.ndarray, found: Mapping[str, float], width: float) -> np.ndarray:
    """The probabilities, given signs that need no model: what shows a rate too high, and a loss that never rises."""
    if found["rises"] < NEVER_RISES:
        low, fine, high = shares
        if all(found[f"x{share}"] > 1 - share / 100 - STEADY for share in (25, 50, 75)):
            return np.array([0.9, 0.1, 0.0])
        if found["x50"] < OVER and found["snr"] > 1:
            return np.array([0.1, 0.9, 0.0])
        return np.array([low, fine + high, 0.0])
    return 0.1 * shares + [0.0, 0.0, 0.9] if sure_sign(found, width) else shares


def is_clear(shares: np.ndarray, found: Mapping[str, float], width: float, late: bool) -> bool:
    """Whether the most probable is so clear that it may be said: calling a good rate ill costs more than no answer.

    So must too high be where the descent is lost in noise, or its start is missing; then no fall is slow.
    """
    low, fine, high = shares
    lost = late or 10 ** found["snr"] * width**0.5 < LOST * CLEAR
    low_is = not late and low > CLEARLY * max(fine, high)
    high_is = high > (CLEARLY_IN_NOISE if lost else 1.0) * max(fine, low)
    return bool(fine >= max(low, high) or low_is or high_is)


def surely(shares: np.ndarray) -> bool:
    """Whether a rate that is not fine stands out so far that it may be said beside a best run without the starts."""
    low, fine, high = shares
    return bool(fine >= max(low, high) or max(low, high) > CLEARLY_IN_NOISE * max(fine, min(low, high)))


def weighed(shares: np.ndarray, found: Mapping[str, float], width: float) -> np.ndarray:
    """The probabilities, given how far the descent is beyond noise.

    Where the descent is lost in the noise of the levels, or the record is short, all three are nearer to a third. A
    sure sign stands whatever the noise.
    """
    if sure_sign(found, width):
        return shares
    errors = 10 ** found["snr"] * width**0.5
    known = np.clip(errors / CLEAR, LOST, 1.0) * min((width / LONG) ** 2, 1.0)
    return known * shares + (1 - known) / 3


def steady(shares: np.ndarray, found: Mapping[str, float]) -> np.ndarray:
    """The probabilities beside a best run that is ahead: a clear descent that never rises and goes on is too slow."""
    rises = found["swing"] + found["swing_with_rate"]
    slow = rises < 0.02 and found["fall_half"] > 0.2 and found["snr"] > 1.5 and found["gap"] > 2 * FAR_FROM_BEST
    return 0.1 * shares + [0.9, 0.0, 0.0] if slow else shares


def beyond_noise(found: Mapping[str, float]) -> float:
    """The gap to the best run less one and a half standard errors."""
    gap, errors = found["gap"], 10 ** found.get("gap_sure", 3.0)
    return gap * (1 - min(1.5 / errors, 1.0)) if gap > 0 else 0.0


def bounded(shares: np.ndarray, gap: float, ratio: float | None) -> np.ndarray:
    """The probabilities, given how far the run is above the best one and how much higher the best one's rates are."""
    low, fine, high = shares
    if gap <= FAR_FROM_BEST / 2:
        return np.array([0.0, 1.0, 0.0])
    if gap > 2 * FAR_FROM_BEST:
        fine = 0.0
    if ratio is not None and abs(np.log(ratio)) > 0.05:
        low, high = (low + high, 0.0) if ratio > 1 else (0.0, low + high)
    total = low + fine + high
    return np.array([low, fine, high]) / total if total > 0 else np.array([0.0, 1.0, 0.0])


def decide(found: Mapping[str, float], shares: np.ndarray, clear: bool, ends_finite: bool) -> Label:
    """The label from the signals and the probabilities."""
    if not ends_finite:
        return "diverging"
    top = int(shares.argmax())
    if shares[top] < LEAST or not clear:
        return "unknown"
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
