"""The verdict on a learning rate from the record of a training run."""

import dataclasses
from typing import Any

import numpy as np

from .. import _check as check
from ._verdict_beside import beside
from ._verdict_levels import Levels, levels
from ._verdict_model import Model
from ._verdict_numbers import ALONE, BESIDE
from ._verdict_period import drifts, find_period, shuffled
from ._verdict_record import Record, record_of
from ._verdict_rules import (
    ANYTHING,
    CLEAR,
    LEAST,
    LOST,
    Label,
    beside_loss,
    beside_run,
    correct,
    errors_of,
    is_clear,
    label_of,
    short,
    sign_of,
    signed,
    weighed,
)
from ._verdict_signals import motion, overfit, signals
from ._verdict_words import LATE, text

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
        seen = self.label if self.label in ("too_low", "fine") else "too_high"
        share = self.evidence.get(f"probability_{seen}")
        known = "" if share is None or self.label == "unknown" else f", probability={share:.2f}"
        return f"Diagnosis({self.label!r}, factor={self.factor:.3g}{known})"


@check.public
def diagnose(
    losses: Any, best: Any = None, *, learning_rates: Any = None, period: int | None = None, validation: Any = None
) -> Diagnosis:
    """Say whether the record of a run looks like a learning rate too low, fine, or too high, and by how much.

    The record is read as some fifty signals without units, of which a logistic model makes probabilities::

      log P(too low) / P(fine) = a₀ + Σᵢ aᵢ(sᵢ)      log P(too high) / P(fine) = b₀ + Σᵢ bᵢ(sᵢ)

    where aᵢ and bᵢ are lines with two bends. The correction is a third such sum. Beside a best run there are some
    forty signals more, and other numbers. All are fixed; they were fitted on training runs of known outcome by `python
    -m benchmarks.doctor --fit`, and the accuracy on tasks that the fit did not see is in `benchmarks/README.md`.

    The unit of most signals is the descent S from the start to the lowest level, where levels are the trimmed means of
    20 blocks, and the start counts for at most five times the range of the levels after it: no single loss sets the
    unit. Give the rates whenever you have them. Progress is then measured along the sum of the rates so far as well as
    along the steps: a run at too low a rate falls in a straight line along that sum, whatever the schedule; a loss that
    drops when the rate drops was held up by noise; and a loss that rises while its rate rises is no trouble by itself.

    The label is the first that applies:

    1. `diverging`: the last loss is not finite, or a record too short for more grows by a factor in each step.
    2. `unknown`: fewer than 24 finite losses.
    3. With the record of the best run: `fine` if the loss ends no higher than the best one's; not fine if
       it is by more than 0.2 of the best's descent, beyond noise; if it is not fine and the rates of both are known,
       too low where the best one's are higher. With its final loss alone: fine up to 0.025 of the descent, not fine
       from 0.1 on.
    4. What is most probable; `unknown` if nothing is more probable than 0.4, or if nothing moves, or if too high is
       not nine times as probable as anything else where the descent is lost in noise. A record that begins after more
       than a hundredth of its steps, as a log after warmup does, lacks the fast fall of the start, and a good rate
       looks too low in what is left: too high must be nine times as probable as well, and it is called too low only
       beside a best run, where that is nine times as probable or the rates of both show it. A loss that never rises,
       by a hundredth of its descent in all, is not too high: it is too low if it falls in a straight line along the
       rates or is behind the best run, fine if it is down after half of them. Three signs, which no run at a lower
       rate showed, make too high nine times in ten probable by themselves, beside a best run if it is behind: a swing
       that repeats at one length, levels that rise by half of the descent beyond noise while the rate does not, and
       losses ten descents above the start of a run that ends above it, or hundreds in its first steps. Where the
       descent is lost in noise, the probabilities of a record alone are nearer to each other.
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
      A `Diagnosis`. A fine rate is taken to be 1.25 times as probable as each of the others before anything is seen.
      The evidence holds the signals, and `probability_too_low`, `probability_fine`,
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
    moves = motion(here)
    if best is not None:
        reference = best.beside(record)
        there = levels(reference.losses, reference.rates if record.rates is not None else None)
        if there is None:
            found["gap"] = _gap(here, float(reference.losses[-1]))
        elif best.lacks(record, LATE):
            found["gap"] = _gap(here, there.zero + there.scale * float(there.level[-1]))
        else:
            found |= beside(here, there, found, signals(there))
            model, known = with_best, found.copy()
            found["gap"] = 10 ** found["gap"] if found["gap"] > -3 else 0.0
        rates = record.rates, reference.rates
        if rates[0] is not None and rates[1] is not None and rates[0].max() > 0 and rates[1].max() > 0:
            ratio = float(rates[1].max() / rates[0].max())
    shares, corrections = model.judge(known)
    if model is with_best:
        shares = beside_run(shares, found | moves, here.width, ratio)
        clear = is_clear(shares, late, False, True, ratio)
    else:
        sign, errors = sign_of(found | moves, here.width), errors_of(found["snr"], here.width)
        seen = signed(shares, sign)
        shares = seen if sign == "too_high" else weighed(seen, errors, here.width)
        if best is not None:
            shares = beside_loss(shares, found["gap"], ratio)
            clear = is_clear(shares, late, False, True, ratio)
        else:
            clear = is_clear(seen, late, errors < LOST * CLEAR) and not in_doubt and np.ptp(here.losses) > 0
    clear = clear and shares.max() >= LEAST
    label = "diverging" if not finite[-1] else label_of(found | moves, shares) if clear else "unknown"
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
