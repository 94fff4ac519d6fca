"""A learning rate that was found once, carried to another schedule, length of training or batch size."""

import dataclasses
import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from .. import _check as check
from ..schedules import _questions
from ..schedules._schedule import Schedule, part
from ._convex_bound import convex_bound
from ._grid import MakeSchedule


@dataclasses.dataclass(frozen=True)
class Transferred:
    """A learning rate for other circumstances, and what it rests on. `float()` of it is the rate."""

    learning_rate: float
    """The rate."""
    factor: float
    """What the old rate was multiplied by."""
    assumption: str
    """What was assumed, in a sentence."""

    def __float__(self) -> float:
        return self.learning_rate

    def __repr__(self) -> str:
        rate, factor = f"learning_rate={self.learning_rate:.6g}", f"factor={self.factor:.6g}"
        return f"Transferred({rate}, {factor}, assumption={self.assumption!r})"


# ---------------------------------------------------------------- what the convex bound says


@check.public
def transfer_schedule(
    learning_rate: float, schedule: MakeSchedule | None, new_schedule: MakeSchedule | None, steps: int
) -> Transferred:
    """The peak under another schedule, in a run of the same length.

    Of each schedule, the values η₁ … η_T over the run bound how far the last iterate of gradient descent on a convex
    function is from the minimum; with a start within D of it and gradients up to G, at γ times these values::

      Ω(γ) = a D² / γ + b γ G²,   a = 1 / (2 Σ_t η_t)
      b = Σ_t η_t² / (2 Σ_t η_t) + ½ Σ_{k<T} (η_k / Σ_{t>k} η_t) (Σ_{t≥k} η_t² / Σ_{t≥k} η_t)

    It is smallest at γ = √(a / b) · D / G. The new peak is `learning_rate` times the ratio of the γ of the new schedule
    and that of the old one, both made for the peak `learning_rate`, in which D and G cancel. A schedule that falls to
    zero takes a higher peak than a constant rate.

    Between WSD schedules with cooldowns of 10 to 80 % of 15,000 steps of a language model the predicted peaks were 1.04
    to 1.18 times the measured ones (`benchmarks/README.md`).

    Args:
      learning_rate: the best peak under `schedule`.
      schedule: function of (peak, steps) that gives a schedule, as in `lrx.sweep`; None is a constant rate.
      new_schedule: the same of the other schedule.
      steps: the number of updates T of the run. The work is proportional to it.

    Returns:
      A `Transferred`: `.learning_rate`, the peak under `new_schedule`; `.factor`; `.assumption`.

    Raises:
      ValueError: if `learning_rate` or `steps` is not positive, or a schedule gives a rate that is negative or not
        finite, or nothing but zeros.
      TypeError: if a schedule is not a function of (peak, steps).

    Examples:
      >>> import lrx
      >>> new = lrx.transfer_schedule(0.1, None, lrx.cosine_decay_schedule, steps=1000)
      >>> f"{new.learning_rate:.2f}"
      '0.28'

    References:
      Defazio, Cutkosky, Mehta and Mishchenko, Optimal linear decay learning rate schedules and further refinements
      (2023), arXiv 2310.07831, theorem 10, for the bound. Schaipp, Hägele, Taylor, Simsekli and Bach, The surprising
      agreement between convex optimization theory and learning-rate scheduling for large model training (2025), arXiv
      2501.18965, for the transfer.
    """
    rate = _checked(learning_rate)
    check.positive_count(steps=steps)
    old = _best_peak("schedule", schedule, rate, int(steps))
    new = _best_peak("new_schedule", new_schedule, rate, int(steps))
    peaks = f"at {old:.4g} D/G under the old schedule and at {new:.4g} D/G under the new one"
    return _transferred(rate, new / old, f"{_BOUND.format(f'of {steps} iterates')} {peaks}.")


@check.public
def transfer_horizon(
    learning_rate: float,
    steps: int,
    new_steps: int,
    schedule: MakeSchedule | None = None,
    *,
    exponent: float | None = None,
) -> Transferred:
    """The peak for a longer or a shorter run, under the same schedule.

    By default as `transfer_schedule` does, with the schedule over `steps` and over `new_steps`. For schedules that fall
    to zero the new peak is, in long runs, ::

      learning_rate · (new_steps / steps)^(−1/2)

    and for a constant rate it falls a little faster, as 1 / √(T log T). With an `exponent` it is ::

      learning_rate · (new_steps / steps)^(−exponent)

    The bound is a worst case. Of language models at a fixed batch size, Bjorck et al. measured the power 0.32 of the
    amount of data, which lowers the rate less. Over 15,000 to 50,000 steps of a model of 124M parameters (AdamW, WSD,
    `benchmarks/README.md`) the best rate fell as the power 0.27 for a cooldown of 10 % and 0.1 for 40 % and more:
    there the bound's rate was 0.63 to 0.80 of the best one at 3.3 times the length. Prefer an `exponent` of 0.1 to 0.3.

    Args:
      learning_rate: the best peak in a run of `steps`.
      steps: the number of updates of that run.
      new_steps: the number of updates of the other run.
      schedule: function of (peak, steps) that gives a schedule, as in `lrx.sweep`; None is a constant rate.
      exponent: the power of the number of steps, positive if longer runs want lower rates; None is the bound.

    Returns:
      A `Transferred`: `.learning_rate`, the peak in a run of `new_steps`; `.factor`; `.assumption`.

    Raises:
      ValueError: if `learning_rate`, `steps` or `new_steps` is not positive; `exponent` is not finite, or given beside
        a schedule; or the schedule gives a rate that is negative or not finite, or nothing but zeros.
      TypeError: if the schedule is not a function of (peak, steps).

    Examples:
      >>> import lrx
      >>> new = lrx.transfer_horizon(0.01, 1000, 4000, lrx.cosine_decay_schedule)
      >>> f"{new.factor:.2f}"
      '0.50'
      >>> lrx.transfer_horizon(0.01, 1000, 4000, exponent=0.5)
      Transferred(learning_rate=0.005, factor=0.5, assumption='The best peak is proportional to steps^-0.5, here from
      1000 steps to 4000.')

    References:
      See `transfer_schedule` for the bound. Bjorck, Benhaim, Chaudhary, Wei and Song, Scaling optimal LR across token
      horizons (2024), arXiv 2409.19913, section 4.
    """
    rate = _checked(learning_rate)
    check.positive_count(steps=steps, new_steps=new_steps)
    if exponent is not None:
        check.finite(exponent=exponent)
        if schedule is not None:
            raise check.fail("schedule", "must be None beside an exponent, which holds for any schedule", schedule)
        with np.errstate(over="ignore", under="ignore"):
            factor = float(np.float64(new_steps / steps) ** -float(exponent))
            fits = 0 < np.float32(rate * factor) < np.inf
        if not fits:
            raise check.fail("exponent", "must leave a rate that float32 can hold", exponent)
        law = f"The best peak is proportional to steps^{0 - float(exponent):g}, here from {steps} steps to {new_steps}."
        return _transferred(rate, factor, law)
    old = _best_peak("schedule", schedule, rate, int(steps))
    new = _best_peak("schedule", schedule, rate, int(new_steps))
    peaks = f"at {old:.4g} D/G in {steps} steps and at {new:.4g} D/G in {new_steps}"
    return _transferred(rate, new / old, f"{_BOUND.format('iterate')} {peaks}.")


_BOUND = "The best peak is where the bound on the last {} of gradient descent on a convex function is smallest:"


def _best_peak(argument: str, make: MakeSchedule | None, peak: float, steps: int) -> float:
    """The peak at which the bound is smallest, in units of D / G, for a schedule that keeps its shape."""
    if make is None:
        return float(convex_bound(np.ones(steps)).peak)
    rates = _rates(argument, make, peak, steps)
    return float(convex_bound(rates).peak * peak / rates.max())  # not all functions reach the peak they are given


def _rates(argument: str, make: MakeSchedule, peak: float, steps: int) -> np.ndarray:
    """The rate of each update, float64 [steps], or the error that names `argument`."""
    if not callable(make) or isinstance(make, Schedule):
        rule = "must be a function of (peak, steps), such as lrx.cosine_decay_schedule, or None"
        raise TypeError(f"{check.where(argument)} {rule}, got {make!r}.")
    rates = _questions.values(part(argument, make(peak, steps)), np.arange(steps))
    wrong = ~(np.isfinite(rates) & (rates >= 0))
    if wrong.any():
        i = int(np.argmax(wrong))
        rule = "must give rates that are finite and not negative"
        raise check.fail(argument, rule, float(rates[i]), f"That is the rate at count {i}.")
    if not rates.any():
        raise check.fail(argument, f"must give a positive rate in some of the {steps} steps", 0.0)
    return rates


# ---------------------------------------------------------------- what the noise of the gradient says


class _Rule(NamedTuple):
    """How the best rate depends on the batch size B and a noise scale N."""

    optimizers: str
    """Those for which it was derived."""
    size: Callable[[float, float], float]
    """(B, N) -> the best rate, up to a constant."""
    law: str
    """In words."""
    has_scale: bool = True
    """Whether there is an N."""


_ADAM = "Adam and other adaptive optimizers"

RULES: dict[str, _Rule] = {
    "linear": _Rule("SGD", lambda b, n: b, "The best rate of SGD is proportional to the batch size", False),
    "sqrt": _Rule(
        _ADAM,
        lambda b, n: math.sqrt(b),
        f"The best rate of {_ADAM} is proportional to the square root of the batch size, with 1 - b1 and 1 - b2 "
        "multiplied by {k:.4g} and eps divided by its root",
        False,
    ),
    "noise_scale": _Rule(
        "SGD",
        lambda b, n: b / (b + n),
        "The best rate of SGD is proportional to 1 / (1 + N / B), at a gradient noise scale N of {n:.6g} examples",
    ),
    "surge": _Rule(
        _ADAM,
        lambda b, n: 1 / (math.sqrt(n / b) + math.sqrt(b / n)),
        f"The best rate of {_ADAM} is proportional to 1 / (sqrt(N / B) + sqrt(B / N)), greatest at a batch size N of "
        "{n:.6g}",
    ),
}
"""By name. No name is the default: the wrong one for the optimizer is off by the root of the ratio of batch sizes."""


@check.public
def transfer_batch_size(
    learning_rate: float,
    batch_size: int,
    new_batch_size: int,
    *,
    rule: Literal["linear", "sqrt", "noise_scale", "surge"] | None = None,
    noise_scale: float | None = None,
) -> Transferred:
    """The learning rate for another batch size, by a rule that must be named.

    With B = `batch_size` and N = `noise_scale`, the best rate η(B) is, up to a constant,

    - `linear`: B. For SGD, over the same number of epochs, as long as the batch is small beside the noise scale.
    - `sqrt`: √B. For Adam and other adaptive optimizers, over the same number of epochs. If B grows by a factor κ, the
      rule also has 1 − `b1` and 1 − `b2` multiplied by κ and `eps` divided by √κ.
    - `noise_scale`: 1 / (1 + N / B). For SGD: linear in small batches, constant in large ones. N is what
      `gradient_noise_scale` estimates.
    - `surge`: 1 / (√(N / B) + √(B / N)). For Adam and other adaptive optimizers: √B in small batches, greatest at
      B = N, and falling after it. That N is not the gradient noise scale, but the batch size of the greatest rate. The
      rule was derived for small batches, and the rate does not fall to zero in large ones.

    The new rate is `learning_rate` · η(`new_batch_size`) / η(B).

    Args:
      learning_rate: the best rate at `batch_size`.
      batch_size: the number of examples in a batch.
      new_batch_size: the number of examples in a batch of the other run.
      rule: `"linear"`, `"sqrt"`, `"noise_scale"` or `"surge"`. There is no default.
      noise_scale: N in examples, for the last two rules.

    Returns:
      A `Transferred`: `.learning_rate`, the rate at `new_batch_size`; `.factor`; `.assumption`.

    Raises:
      ValueError: if `learning_rate` or a batch size is not positive, `rule` is missing or unknown, `noise_scale` is not
        positive and finite, or is missing or given where the rule has none.

    Examples:
      >>> import lrx
      >>> lrx.transfer_batch_size(0.1, 256, 1024, rule="linear").learning_rate
      0.4
      >>> lrx.transfer_batch_size(0.001, 256, 1024, rule="sqrt").learning_rate
      0.002
      >>> lrx.transfer_batch_size(0.1, 256, 1024, rule="noise_scale", noise_scale=512).factor
      2.0

    References:
      `linear`: Goyal et al., Accurate, large minibatch SGD (2017), arXiv 1706.02677, section 2.1. `sqrt`: Malladi,
      Lyu, Panigrahi and Arora, On the SDEs and scaling rules for adaptive gradient algorithms (2022), arXiv
      2205.10287. `noise_scale`: McCandlish, Kaplan, Amodei et al., An empirical model of large-batch training (2018),
      arXiv 1812.06162, equation 2.6. `surge`: Li et al., Surge phenomenon in optimal learning rate and batch size
      scaling (2024), arXiv 2405.14578, theorem 3, equation 13.
    """
    rate = _checked(learning_rate)
    check.positive_count(batch_size=batch_size, new_batch_size=new_batch_size)
    if not isinstance(rule, str) or rule not in RULES:
        raise check.fail(
            "rule", "must be " + " or ".join(f"{k!r} (for {r.optimizers})" for k, r in RULES.items()), rule
        )
    chosen = RULES[rule]
    _check_scale(rule, chosen, noise_scale)
    n, b, new_b = float(noise_scale or 0), float(batch_size), float(new_batch_size)
    factor = chosen.size(new_b, n) / chosen.size(b, n)
    law = f"{chosen.law.format(n=n, k=new_b / b)}, here from a batch size B of {batch_size} to {new_batch_size}."
    return _transferred(rate, factor, law)


def _check_scale(rule: str, chosen: _Rule, noise_scale: float | None) -> None:
    if not chosen.has_scale:
        if noise_scale is not None:
            raise check.fail("noise_scale", f"must be None for rule={rule!r}, which has none", noise_scale)
        return
    if noise_scale is None:
        raise check.fail("noise_scale", f"must be given for rule={rule!r}", None)
    check.positive(noise_scale=noise_scale)
    if not math.isfinite(noise_scale):
        limit = "linear" if rule == "noise_scale" else "sqrt"
        raise check.fail("noise_scale", "must be finite", noise_scale, f"Its limit is rule={limit!r}.")


# ---------------------------------------------------------------- common


def _checked(learning_rate: float) -> float:
    check.finite(learning_rate=learning_rate)
    check.positive(learning_rate=learning_rate)
    return float(learning_rate)


def _transferred(rate: float, factor: float, assumption: str) -> Transferred:
    return Transferred(rate * factor, factor, assumption)
