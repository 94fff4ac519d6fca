"""torch's ChainedScheduler: its schedulers one after another change the rate that stands in the optimizer."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import _check as check
from ..schedules.algebra import product, scale_schedule
from ..schedules.join import join_schedules
from ..schedules.start_at import start_at
from ._arguments import number, several, traceable, whole
from ._curves import table

FACTORS = "StepLR", "MultiStepLR", "ConstantLR", "LinearLR", "ExponentialLR", "PolynomialLR"
"""Schedulers that multiply the rate by a factor of the step alone, and that lrx has as curves."""
COSINE = "CosineAnnealingLR"
OVERWRITE = "LambdaLR", "CosineAnnealingWarmRestarts"
"""Schedulers that do not look at the rate: what those before them made of it is lost."""
LINKS = *FACTORS, "MultiplicativeLR", COSINE, *OVERWRITE
FUNCTIONS = "LambdaLR", "MultiplicativeLR"
"""Schedulers with a function of the user's, which Python calls with a number."""
AGAIN = "ExponentialLR", "PolynomialLR", "MultiplicativeLR", COSINE
"""Schedulers whose step to count 0 moves the rate, where it is not the one of their constructor."""

Link = tuple[str, Mapping[str, Any]]
"""The name of a scheduler, and all its arguments."""
Closed = Callable[[str, float, Mapping[str, Any]], Any]
"""The curve of a scheduler by itself: name, base rate, arguments."""
Move = Callable[[int, float], float]
"""The rate after a step to count t, from the rate before."""


def chain(links: list[Link], lr: float, steps: Any, closed: Closed, inside: bool = False) -> Any:
    """The schedule of the chain; `steps` is its length or None, which is needed where it has no closed form.

    `inside` a SequentialLR torch steps to count 0 once more than a scheduler's constructor does.
    """
    last = max((k for k, (kind, _) in enumerate(links) if kind in OVERWRITE), default=0)
    links = links[last:]
    again = inside and any(kind in AGAIN for kind, _ in links)
    if not again:
        if len(links) == 1:
            return closed(links[0][0], lr, links[0][1])
        found = _product(links, closed)
        if found is not None:
            return scale_schedule(found, lr)
    if steps is None:
        names = ", ".join(kind for kind, _ in links)
        rule = f"must be given for a ChainedScheduler of {names}, which has no closed form"
        raise check.fail("total_steps", rule, None, "It is the number of steps to evaluate, as a table.")
    return table(_simulated(links, lr, whole("total_steps", steps, 1), closed, again))


def _product(links: list[Link], closed: Closed) -> Any:
    """The product of the factors; None if the chain is more than that.

    A cosine to 0 takes part to its first trough, from which it rises without the others.
    """
    waves = [a for kind, a in links if kind == COSINE]
    if len(waves) > 1 or any(kind not in (*FACTORS, COSINE) for kind, _ in links):
        return None
    parts = [closed(kind, 1.0, a) for kind, a in links]
    if not waves:
        return product(*parts)
    trough = whole("T_max", waves[0]["T_max"], 1)
    others = [part for part, (kind, _) in zip(parts, links, strict=True) if kind != COSINE]
    if number("eta_min", waves[0]["eta_min"]) or any(part.end is None or int(part.end) > trough for part in others):
        return None
    wave = next(part for part, (kind, _) in zip(parts, links, strict=True) if kind == COSINE)
    return join_schedules([product(*parts), start_at(wave, trough)], [trough])


# ---------------------------------------------------------------- functions of the user's


def factor_at(lr_lambda: Any) -> Callable[[int], float]:
    """The function, called with one whole number."""
    if not callable(lr_lambda):
        raise check.fail("lr_lambda", "must be a function of the step", lr_lambda)
    return lambda t: number("lr_lambda", check.in_user_code(lr_lambda, t))


def by_lambda(lr: float, lr_lambda: Any, total_steps: Any) -> Any:
    """The base rate times a function; its values, if the number of steps is given."""
    at = factor_at(lr_lambda)
    if total_steps is not None:
        return table([lr * at(t) for t in range(whole("total_steps", total_steps, 1))])
    traceable("lr_lambda", lr_lambda, "Give total_steps=, and it is evaluated step by step, with whole numbers.")
    return scale_schedule(lr_lambda, lr)


def multiplicative(lr: float, lr_lambda: Any, total_steps: Any) -> Any:
    """The products of the factors from step 1 on, which have no closed form."""
    at = factor_at(lr_lambda)
    if total_steps is None:
        rule = "must be given for MultiplicativeLR, which is a product of as many factors"
        raise check.fail("total_steps", rule, None)
    rates = [lr]
    for t in range(1, whole("total_steps", total_steps, 1)):
        rates.append(rates[-1] * at(t))
    return table(rates)


# ---------------------------------------------------------------- step by step


def _simulated(links: list[Link], lr: float, steps: int, closed: Closed, again: bool) -> list[float]:
    """The rates of the first `steps` counts, in float64 as torch computes them."""
    moves = [(kind, _move(kind, a, lr, closed, steps)) for kind, a in links]
    rates, rate = [], lr
    for t in range(steps):
        for kind, move in moves:
            if t or again or kind not in AGAIN:
                rate = move(t, rate)
        rates.append(rate)
    return rates


def _move(kind: str, a: Mapping[str, Any], lr: float, closed: Closed, steps: int) -> Move:
    if kind in FUNCTIONS:
        at = factor_at(a["lr_lambda"])
        return (lambda t, rate: lr * at(t)) if kind in OVERWRITE else (lambda t, rate: rate * at(t))
    curve = closed(kind, lr, a)  # which checks the arguments
    if kind in OVERWRITE:
        values = np.asarray(curve(np.arange(steps)), np.float64)
        return lambda t, rate: float(values[t])
    if kind == COSINE:
        return _cosine(whole("T_max", a["T_max"], 1), number("eta_min", a["eta_min"]), lr)
    factor = _factor(kind, a)
    return lambda t, rate: rate * factor(t)


def _cosine(trough: int, low: float, lr: float) -> Move:
    """What lies above `eta_min` is scaled by the ratio of two values of the wave, which after a trough is 1 / 0."""

    def height(t: int) -> float:
        return 1 + math.cos(math.pi * t / trough)

    def move(t: int, rate: float) -> float:
        if (t - 1 - trough) % (2 * trough) == 0:
            return rate + (lr - low) * (1 - math.cos(math.pi / trough)) / 2
        return height(t) / height(t - 1) * (rate - low) + low

    return move


def _factor(kind: str, a: Mapping[str, Any]) -> Callable[[int], float]:
    """The factor of the step to count t."""
    if kind in ("StepLR", "MultiStepLR", "ExponentialLR"):
        gamma = number("gamma", a["gamma"])
        if kind == "ExponentialLR":
            return lambda t: gamma
        if kind == "StepLR":
            size = whole("step_size", a["step_size"], 1)
            return lambda t: gamma if t and t % size == 0 else 1.0
        milestones = [whole("milestones", m) for m in several("milestones", a["milestones"])]
        return lambda t: gamma ** milestones.count(t)
    n = whole("total_iters", a["total_iters"])
    if kind == "PolynomialLR":
        power = number("power", a["power"])
        return lambda t: ((n - t) / (n - t + 1)) ** power if t <= n else 1.0
    if kind == "ConstantLR":
        factor = number("factor", a["factor"])
        return lambda t: factor if t == 0 else 1 / factor if t == n else 1.0
    start, end = number("start_factor", a["start_factor"]), number("end_factor", a["end_factor"])
    return lambda t: start if t == 0 else (1 + (end - start) / (n * start + (t - 1) * (end - start)) if t <= n else 1.0)
