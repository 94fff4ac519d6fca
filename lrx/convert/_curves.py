"""Curves that other libraries have, put together from lrx's schedules: each goes to JSON."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from .. import _check as check
from .._numbers import INT32_MAX
from ..schedules.clock import repeat, reverse, stretch
from ..schedules.constant import constant_schedule
from ..schedules.cosine import warmup_cosine_decay_schedule
from ..schedules.exponential import exponential_decay
from ..schedules.join import join_schedules
from ..schedules.piecewise import piecewise_constant_schedule, piecewise_value_schedule
from ..schedules.polynomial import linear_schedule


def cosine(high: float, low: float, steps: int) -> Any:
    """Half a cosine from `high` to `low`, which holds."""
    return warmup_cosine_decay_schedule(high, high, 0, steps, low)


def wave(high: float, low: float, steps: int, waves: Fraction = Fraction(1, 2)) -> Any:
    """A cosine that never ends, of which `waves` whole ones fit into `steps`; one half by default."""
    halves = 2 * waves
    if 2 * steps * halves.denominator * halves.numerator > INT32_MAX:
        return _long_wave(high, low, steps, halves)
    p, half = halves.numerator, steps * halves.denominator
    down = cosine(high, low, half)
    up_and_down = repeat(join_schedules([down, reverse(down, half)], [half]), 2 * half)
    return up_and_down if p == 1 else faster(up_and_down, p, 2 * half)


def _long_wave(high: float, low: float, steps: int, halves: Fraction) -> Any:
    """A wave whose period does not fit into int32, to four times `steps` at least: then it holds.

    Its clock makes `p` ticks in a step, and `steps · q` of them are half a wave, with `p / q` near to `halves`. A
    large `q` is nearer, by 1 / q², and a small one leaves more steps before int32 ends; this one is about even.
    """
    even = (math.pi * INT32_MAX / (1e-7 * steps * float(halves))) ** (1 / 3)
    fits = INT32_MAX // (4 * steps * max(math.ceil(halves), 1))
    near = halves.limit_denominator(max(min(int(even), fits), 1))
    if abs(near - halves) * 4 * math.pi > 5e-7:
        rule = f"must be a fraction of which int32 can count {steps} steps"
        raise check.fail("num_cycles", rule, float(halves / 2), "Round it.")
    p, half = near.numerator, steps * near.denominator
    down = cosine(high, low, half)
    up_and_down = repeat(join_schedules([down, reverse(down, half)], [half]), 2 * half)
    return stretch(up_and_down, INT32_MAX // p, base_end=INT32_MAX // p * p)


def table(rates: list[float]) -> Any:
    """The given rates, one a step; the last holds."""
    changes = [t for t in range(1, len(rates)) if rates[t] != rates[t - 1]]
    return piecewise_value_schedule(changes, [rates[0], *(rates[t] for t in changes)])


def faster(base: Any, factor: int, steps: int) -> Any:
    """`base(factor · t)`, for a base that repeats every `steps` steps."""
    return repeat(stretch(base, steps, base_end=factor * steps), steps)


def cycles(
    first: int, multiplier: Fraction, curve: Callable[[int, int], Any], limit: int | None = None, name: str = ""
) -> Any:
    """Cycle k of a length multiplier^k · first after another: `curve(k, length)` of each.

    As many as int32 can count, or `limit`; the end of the last cycle is then the boundary of nothing, so that its
    curve goes on. All lengths must be whole.
    """
    parts, begins, begin, length = [], [], 0, Fraction(first)
    while begin <= INT32_MAX and (limit is None or len(parts) < limit):
        if length.denominator != 1:
            rule = f"must give cycles of whole steps: cycle {len(parts)} has {float(length):g}"
            raise check.fail(name, rule, float(multiplier))
        begins.append(begin)
        parts.append(curve(len(parts), min(int(length), INT32_MAX)))
        begin, length = begin + int(length), length * multiplier
    return join_schedules(parts, begins[1:]) if len(parts) > 1 else parts[0]


def after_warmup(first: float, top: float, steps: int, rest: Any) -> Any:
    """A line from `first` to `top` in `steps` steps, then another schedule from its own step 0."""
    return join_schedules([linear_schedule(first, top, steps), rest], [steps]) if steps else rest


def exponential(value: float, steps: int, factor: float) -> Any:
    """`value · factor^(t / steps)`. The factor is kept in float32, so that many of them are one."""
    if factor in (0, 1):
        return stairs(value, steps, factor)
    if _error(factor) < NEGLIGIBLE:
        return exponential_decay(value, steps, factor)
    many = max(min(int(69 / abs(math.log(factor))), INT32_MAX // steps), 1)  # their product is within 1e±30
    return exponential_decay(value, many * steps, factor**many)


def stairs(value: float, steps: int, factor: float) -> Any:
    """`value · factor^⌊t / steps⌋`, with a factor of 0 too."""
    if factor == 0:
        return piecewise_constant_schedule(value, {steps: 0.0})
    if factor == 1:
        return constant_schedule(value)
    staircase = exponential_decay(value, steps, factor, staircase=True)
    if _error(factor) < NEGLIGIBLE:
        return staircase
    # what float32 lost of each factor is made good smoothly: within a stair it is less than half an ulp
    rest = math.log(factor) - math.log(float(np.float32(factor)))
    many = max(min(int(87 / abs(math.log(factor))), INT32_MAX // steps), 1)
    return staircase * exponential_decay(1.0, many * steps, math.exp(rest * many))


NEGLIGIBLE = 6e-7


def _error(factor: float) -> float:
    """The relative error, from the float32 of the factor, when the power leaves float32."""
    return abs(float(np.float32(factor)) / factor - 1) * 87 / abs(math.log(factor))
