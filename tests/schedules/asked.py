"""Schedules that are asked where they begin, peak and end: name -> the schedule, its marks."""

import lrx

LAST = 2**31 - 1
BILLION = 10**9
warm = lrx.warmup_cosine_decay_schedule(0.0, 0.3, 100, 1000)

SCHEDULES = {
    "constant": (lrx.constant_schedule(0.3), {}),
    "linear": (lrx.linear_schedule(0.3, 0.0, 100, 20), {"peak": 0, "begin": 20, "end": 120}),
    "rise": (lrx.linear_schedule(0.0, 0.3, 100), {"end": 100, "peak": 100}),
    "jump": (lrx.linear_schedule(0.3, 0.1, 0, 20), {}),  # never changes, as in optax
    "interpolated": (
        lrx.interpolated_schedule([5, 40, 90], [0.1, 0.3, 0.2]),
        {"boundary_1": 5, "peak": 40, "boundary_2": 40, "end": 90},
    ),
    "scaled_drops": (
        lrx.piecewise_constant_schedule(0.3, {30: 0.5, 60: 0.5}),
        {"peak": 0, "boundary_1": 30, "end": 60},
    ),
    "polynomial": (lrx.polynomial_schedule(0.3, 0.0, 0.5, 100), {"peak": 0, "end": 100}),
    "cosine": (lrx.cosine_decay_schedule(0.3, 1000), {"peak": 0, "end": 1000}),
    "warmup_cosine": (warm, {"warmup_end": 100, "peak": 100, "end": 1000}),
    "no_warmup": (lrx.warmup_cosine_decay_schedule(0.0, 0.3, 0, 1000), {"peak": 0, "end": 1000}),
    "exponential": (lrx.exponential_decay(0.3, 100, 0.5), {"peak": 0}),
    "exponential_bound": (lrx.exponential_decay(8.0, 2, 0.25, end_value=1.0), {"peak": 0, "end": 3}),
    "stairs_bound": (lrx.exponential_decay(8.0, 20, 0.25, staircase=True, end_value=1.0), {"peak": 0, "end": 40}),
    "drops": (lrx.piecewise_value_schedule([30, 60], [0.3, 0.1, 0.2]), {"peak": 0, "boundary_1": 30, "end": 60}),
    "triangular": (lrx.triangular_schedule(0.1, 0.3, half_cycle_steps=40), {"half_cycle": 40, "peak": 40, "cycle": 80}),
    "annealing": (lrx.cyclic_annealing_schedule(0.3, 0.1, cycle_steps=50), {"peak": 0, "cycle": 50}),
    "function": (lrx.as_schedule(lambda t: 0.3 / (1 + t)), {"peak": 0}),
    "bump": (lrx.as_schedule(lambda t: 1 / (1 + (t / 100 - 123.45) ** 2)), {"peak": 12345}),
    "growth": (lrx.as_schedule(lambda t: 1.0 * t), {}),
    "scaled": (0.5 * warm, {"warmup_end": 100, "peak": 100, "end": 1000}),
    "product": (
        lrx.linear_schedule(0.0, 1.0, 100) * lrx.cosine_decay_schedule(0.3, 1000),
        {"end_1": 100, "peak": 100, "end": 1000},
    ),
    "twice": (
        warm + lrx.warmup_linear_schedule(0.1, 50, total_steps=500),
        {"warmup_end_2": 50, "warmup_end_1": 100, "peak": 100, "end_2": 500, "end": 1000},
    ),
    "with_constant": (warm + 0.1, {"warmup_end": 100, "peak": 100, "end": 1000}),
    "with_cycles": (
        lrx.repeat(lrx.cosine_decay_schedule(0.3, 30), 40) * warm,
        {"end_1": 30, "period": 40, "warmup_end": 100, "peak": 120, "end_2": 1000},
    ),
    "shifted": (lrx.shift(warm, 7), {"begin": 7, "warmup_end": 107, "peak": 107, "end": 1007}),
    "started": (lrx.start_at(warm, 70), {"warmup_end": 30, "peak": 30, "end": 930}),
    "started_later": (lrx.start_at(warm, 700), {"peak": 0, "end": 300}),
    "every": (lrx.every(warm, 7), {"warmup_end": 700, "peak": 700, "end": 7000}),
    "stretched": (lrx.stretch(warm, 501), {"warmup_end": 51, "peak": 51, "end": 501}),
    "repeated": (lrx.repeat(warm, 300), {"warmup_end": 100, "peak": 100, "period": 300}),
    "reversed": (lrx.reverse(warm, 1200), {"begin": 200, "peak": 1100, "warmup_end": 1100, "end": 1200}),
    "warmed": (
        lrx.with_warmup(warm, 10, init_value=0.1),
        {"warmup_end": 10, "warmup_end_2": 110, "peak": 110, "end": 1010},
    ),
    "cooled": (
        lrx.with_cooldown(warm, start=300, steps=60),
        {"warmup_end": 100, "peak": 100, "cooldown_start": 300, "end": 360},
    ),
}
