"""Schedulers of torch whose rate depends on the step alone, from the base rate `lr`."""

from fractions import Fraction
from typing import Any

from .. import _check as check
from ..schedules.clock import repeat
from ..schedules.constant import constant_schedule
from ..schedules.piecewise import piecewise_constant_schedule, piecewise_value_schedule
from ..schedules.polynomial import linear_schedule, polynomial_schedule
from ._arguments import number, rate, several, whole
from ._curves import cosine, cycles, exponential, stairs, wave


def step(lr: float, step_size: Any, gamma: Any) -> Any:
    """A factor every `step_size` steps."""
    return stairs(lr, whole("step_size", step_size, 1), rate("gamma", gamma))


def multi_step(lr: float, milestones: Any, gamma: Any) -> Any:
    """A factor at each milestone."""
    times: dict[Any, Any] = {}
    for m in several("milestones", milestones):  # one that is named twice counts twice
        times[whole("milestones", m)] = times.get(whole("milestones", m), 1.0) * rate("gamma", gamma)
    return piecewise_constant_schedule(lr, times)


def constant(lr: float, factor: Any, total_iters: Any) -> Any:
    """A factor for a while."""
    factor, n = number("factor", factor), whole("total_iters", total_iters)
    check.non_negative(factor=factor)
    check.at_most_one(factor=factor)
    if n and not factor:  # which torch's step() divides by
        raise check.fail("factor", f"must be positive where it ends, after total_iters={n}", factor)
    # with 0 iterations torch never gives the factor back
    return piecewise_value_schedule([n], [lr * factor, lr]) if n else constant_schedule(lr * factor)


def linear(lr: float, start_factor: Any, end_factor: Any, total_iters: Any) -> Any:
    """A line of factors."""
    start, end = number("start_factor", start_factor), number("end_factor", end_factor)
    check.positive(start_factor=start)
    check.at_most_one(start_factor=start, end_factor=end)
    check.non_negative(end_factor=end)
    return linear_schedule(lr * start, lr * end, whole("total_iters", total_iters))


def exponential_lr(lr: float, gamma: Any) -> Any:
    """A factor in each step."""
    return exponential(lr, 1, rate("gamma", gamma))


def polynomial(lr: float, total_iters: Any, power: Any) -> Any:
    """A power of what is left."""
    return polynomial_schedule(lr, 0.0, rate("power", power), whole("total_iters", total_iters))


def cosine_lr(lr: float, T_max: Any, eta_min: Any) -> Any:
    """A wave that never ends."""
    return wave(lr, number("eta_min", eta_min), whole("T_max", T_max, 1))


def restarts(lr: float, T_0: Any, T_mult: Any, eta_min: Any) -> Any:
    """Falling cosines one after another."""
    first, multiplier, low = whole("T_0", T_0, 1), whole("T_mult", T_mult, 1), number("eta_min", eta_min)
    if multiplier == 1:
        return repeat(cosine(lr, low, first), first)
    return cycles(first, Fraction(multiplier), lambda k, steps: cosine(lr, low, steps))


def swa(lr: float, swa_lr: Any, anneal_epochs: Any, anneal_strategy: Any) -> Any:
    """From the rate that it finds to `swa_lr`."""
    n, low = whole("anneal_epochs", anneal_epochs), rate("swa_lr", swa_lr)
    check.one_of(("cos", "linear"), anneal_strategy=anneal_strategy)
    return (cosine if anneal_strategy == "cos" else linear_schedule)(lr, low, n) if n else constant_schedule(low)
