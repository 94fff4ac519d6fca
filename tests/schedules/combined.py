"""The schedules made of schedules: one record each, with its formula in float64."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import lrx

T = np.arange(128)  # one shape for all: each new one compiles every operation anew
N = T.size
linear, cosine = lrx.linear_schedule(0.3, 0.01, 20), lrx.cosine_decay_schedule(0.5, 16)
fall = lrx.tanh_schedule(0.5, 16)
"""As curved as the cosine, in a fifth of its operations: most combinations are of it."""
rise, warm = lrx.linear_schedule(0.1, 1.0, 8), lrx.warmup_linear_schedule(0.5, 4, total_steps=16)


def at(schedule, counts=T):
    return np.asarray(schedule(counts), np.float64)


def shaped(shape, a, b, x):
    """From a to b, in float64."""
    w = {"linear": 1 - x, "cosine": (1 + np.cos(np.pi * x)) / 2, "1-sqrt": 1 - np.sqrt(x)}.get(shape)
    return a ** (1 - x) * b**x if w is None else a * w + b * (1 - w)


def warmed(shape, init_value, w):
    return np.where(w > T, shaped(shape, init_value, at(fall)[0], np.minimum(T / w, 1)), at(fall, np.maximum(T - w, 0)))


def cooled(shape, c, steps, end_value):
    x = np.clip((T - c) / steps, 0, 1)
    return np.where(c > T, at(fall), shaped(shape, at(fall)[c], end_value, x))


class Case(NamedTuple):
    name: str
    schedule: Any
    formula: Callable[[], np.ndarray]
    leaves: int
    """The degrees of freedom: each is one leaf."""
    end: int | None


ONE_EACH = "linear", "cosine", "1-sqrt", "exponential"
CASES = [
    Case("product", lrx.product(rise, fall), lambda: at(rise) * at(fall), 9, 16),
    Case("product_of_three", lrx.product(rise, cosine, 0.5), lambda: at(rise) * at(cosine) * 0.5, 9, 16),
    Case("total", lrx.total(rise, fall), lambda: at(rise) + at(fall), 9, 16),
    Case("minimum", lrx.minimum(rise, fall, 0.4), lambda: np.minimum(np.minimum(at(rise), at(fall)), 0.4), 10, 16),
    Case("maximum", lrx.maximum(linear, 0.1), lambda: np.maximum(at(linear), 0.1), 5, 20),
    Case("quotient", fall / rise, lambda: at(fall) / at(rise), 9, 16),
    Case("quotient_of_a_number", 0.02 / rise, lambda: 0.02 / at(rise), 5, 8),
    Case("difference", rise - fall, lambda: at(rise) - at(fall), 10, 16),
    Case("difference_of_a_number", 1 - fall, lambda: 1 - at(fall), 7, 16),
    Case("scale", lrx.scale_schedule(fall, -3.0), lambda: -3 * at(fall), 6, 16),
    Case("clip", lrx.clip_schedule(fall, 0.1, 0.4), lambda: np.clip(at(fall), 0.1, 0.4), 7, 16),
    Case("shift", lrx.shift(fall, 7), lambda: at(fall, np.maximum(T - 7, 0)), 6, 23),
    Case("shift_none", lrx.shift(fall, 0), lambda: at(fall), 6, 16),
    Case("start_at", lrx.start_at(warm, 6), lambda: at(warm, T + 6), 5 + 1, 10),
    Case("start_at_none", lrx.start_at(fall, 0), lambda: at(fall), 6, 16),
    Case("start_at_the_end", lrx.start_at(fall, 16), lambda: np.zeros(N), 6, None),
    Case("every", lrx.every(warm, 5), lambda: at(warm, T // 5), 6, 80),
    Case("every_one", lrx.every(fall, 1), lambda: at(fall), 6, 16),
    Case(
        "every_of_every",
        lrx.every(lrx.every(fall, 2) * rise, 3),
        lambda: at(fall, T // 6) * at(rise, T // 3),
        11,
        96,
    ),
    Case("stretch", lrx.stretch(warm, 32), lambda: at(lrx.warmup_linear_schedule(0.5, 8, total_steps=32)), 6, 32),
    Case("stretch_less", lrx.stretch(warm, 8), lambda: at(warm, np.minimum(2 * T, 16)), 6, 8),
    Case("stretch_one", lrx.stretch(fall, 1), lambda: np.where(T < 1, 0.5, 0.0), 6, 1),
    Case("repeat", lrx.repeat(fall, 10), lambda: at(fall, T % 10), 6, None),
    Case("repeat_one", lrx.repeat(fall, 1), lambda: np.full(N, 0.5), 6, None),
    Case("reverse", lrx.reverse(fall, 12), lambda: at(fall, np.maximum(12 - T, 0)), 6, 12),
    Case("reverse_at_once", lrx.reverse(fall, 0), lambda: np.full(N, 0.5), 6, None),
    Case("warmup_none", lrx.with_warmup(fall, 0), lambda: at(fall), 7, 16),
    Case("warmup_one", lrx.with_warmup(fall, 1, init_value=0.2), lambda: np.append(0.2, at(fall)[:-1]), 7, 17),
    Case("cooldown_none", lrx.with_cooldown(fall, start=5, steps=0), lambda: np.where(T < 5, at(fall), 0.0), 8, 5),
    Case(
        "cooldown_at_once", lrx.with_cooldown(0.3, start=0, steps=10), lambda: 0.3 * np.maximum(10 - T, 0) / 10, 4, 10
    ),
    Case(
        "nested", 0.5 * (lrx.repeat(warm, 9) + 0.1) * rise, lambda: 0.5 * (at(warm, T % 9) + 0.1) * at(rise), 12, None
    ),
    *(
        Case(
            f"warmup_{shape}",
            lrx.with_warmup(fall, 6, init_value=0.02, shape=shape),
            lambda shape=shape: warmed(shape, 0.02, 6),
            7,
            22,
        )
        for shape in ONE_EACH
    ),
    *(
        Case(
            f"cooldown_{shape}",
            lrx.with_cooldown(fall, start=6, steps=20, end_value=0.02, shape=shape),
            lambda shape=shape: cooled(shape, 6, 20, 0.02),
            8,
            26,
        )
        for shape in ONE_EACH
    ),
]
