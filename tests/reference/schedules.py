"""Schedules in plain Python: one integer count in, one float64 rate out.

Every function takes the count `t` first and then optax's arguments. Numbers are rounded to float32, the precision in
which a schedule stores them, and all arithmetic after that is float64. Counts and lengths are exact integers.
The docstrings abbreviate `init_value` to init, `end_value` to end, and so on, as the code does.
A phase of length zero is skipped: its end value holds from the count at which it would have begun.
"""

import math

import numpy as np


def f32(number):
    """Round to the nearest float32, and return it as a Python (float64) number."""
    return float(np.float32(number))


def constant_schedule(count, value):
    """Return `value` at every count."""
    del count
    return f32(value)


def polynomial_schedule(count, init_value, end_value, power, transition_steps, transition_begin=0):
    """Go from init to end along a power of the fraction that remains.

        init                                      if t < B
        end + (init − end)·(1 − (t − B)/T)^p      if B ≤ t < B + T
        end                                       if t ≥ B + T

    with B = transition_begin, T = transition_steps, p = power. Source: optax's documentation, except that T = 0 gives
    end from B on, where optax holds init.
    """
    init, end, p = f32(init_value), f32(end_value), f32(power)
    t, B, T = count, transition_begin, transition_steps
    if t < B:
        return init
    if t < B + T:
        return end + (init - end) * (1 - (t - B) / T) ** p
    return end


def linear_schedule(count, init_value, end_value, transition_steps, transition_begin=0):
    """Go from init to end along a straight line.

    init                             if t < B
    init + (end − init)·(t − B)/T    if B ≤ t < B + T
    end                              if t ≥ B + T
    """
    init, end = f32(init_value), f32(end_value)
    t, B, T = count, transition_begin, transition_steps
    if t < B:
        return init
    if t < B + T:
        return init + (end - init) * (t - B) / T
    return end


def exponential_decay(
    count, init_value, transition_steps, decay_rate, transition_begin=0, staircase=False, end_value=None
):
    """Multiply by r every T steps, gradually or (staircase) all at once.

        init                  if t ≤ B
        init·r^((t − B)/T)    if t > B; a staircase takes ⌊(t − B)/T⌋

    with B = transition_begin, T = transition_steps > 0, r = decay_rate > 0. `end_value` is a floor where r < 1 and a
    ceiling otherwise. As in optax it bounds every count, those before B included.
    """
    init, r = f32(init_value), f32(decay_rate)
    t, B, T = count, transition_begin, transition_steps
    if t <= B:
        value = init
    elif staircase:
        value = init * r ** ((t - B) // T)
    else:
        value = init * r ** ((t - B) / T)
    if end_value is None:
        return value
    return max(value, f32(end_value)) if r < 1 else min(value, f32(end_value))


def step_decay_schedule(count, init_value, transition_steps, *, decay_rate=0.5):
    """Multiply by r every T steps: init·r^⌊t/T⌋ (torch's `StepLR`)."""
    init, r = f32(init_value), f32(decay_rate)
    t, T = count, transition_steps
    return init * r ** (t // T)


def piecewise_constant_schedule(count, init_value, boundaries_and_scales=None):
    """Multiply by each scale from its boundary on: init·Π{s_i : t ≥ b_i}. The scales accumulate."""
    value = f32(init_value)
    for boundary, scale in sorted((boundaries_and_scales or {}).items()):
        if count >= boundary:
            value = value * f32(scale)
    return value


def piecewise_value_schedule(count, boundaries, values):
    """Hold values[i], where i is how many boundaries b have t ≥ b; one more value than boundaries."""
    return f32(values[sum(count >= boundary for boundary in boundaries)])


def cosine_decay_schedule(count, init_value, decay_steps, alpha=0.0, exponent=1.0):
    """Fall from init to α·init along half a cosine.

        init·(α + (1 − α)·c^p),    c = ½(1 + cos(π·min(t, T)/T))

    with T = decay_steps > 0, p = exponent. Source: Loshchilov & Hutter 2016, arXiv 1608.03983, equation 5, for one
    cycle and p = 1; α and p as in optax's documentation.
    """
    init, alpha, p = f32(init_value), f32(alpha), f32(exponent)
    t, T = count, decay_steps
    if t >= T:
        return init * alpha
    c = 0.5 * (1 + math.cos(math.pi * t / T))
    return init * (alpha + (1 - alpha) * c**p)


def warmup_cosine_decay_schedule(count, init_value, peak_value, warmup_steps, decay_steps, end_value=0.0, exponent=1.0):
    """Rise from init to peak along a line, then fall to end along half a cosine.

        init + (peak − init)·t/W      if t < W
        end + (peak − end)·c^p        if W ≤ t < T,    c = ½(1 + cos(π(t − W)/(T − W)))
        end                           if t ≥ T

    with W = warmup_steps, T = decay_steps (the warmup is part of it), p = exponent. Source: optax's documentation.
    """
    init, peak, end, p = f32(init_value), f32(peak_value), f32(end_value), f32(exponent)
    t, W, T = count, warmup_steps, decay_steps
    if t < W:
        return init + (peak - init) * t / W
    if t < T:
        c = 0.5 * (1 + math.cos(math.pi * (t - W) / (T - W)))
        return end + (peak - end) * c**p
    return end


def warmup_linear_schedule(count, peak_value, warmup_steps, *, total_steps, init_value=0.0, end_value=0.0):
    """Rise from init to peak along a line, then fall to end along another.

        init + (peak − init)·t/W                if t < W
        peak + (end − peak)·(t − W)/(T − W)     if W ≤ t < T
        end                                     if t ≥ T

    with W = warmup_steps, T = total_steps (the warmup is part of it).
    """
    init, peak, end = f32(init_value), f32(peak_value), f32(end_value)
    t, W, T = count, warmup_steps, total_steps
    if t < W:
        return init + (peak - init) * t / W
    if t < T:
        return peak + (end - peak) * (t - W) / (T - W)
    return end


def triangular_schedule(
    count, min_value, max_value, *, half_cycle_steps, mode="triangular", gamma=1.0, down_steps=None
):
    """Rise from min to max and fall back, again and again.

        min + (max − min)·a·x
        x = u/U              if u < U          u = t mod (U + D), the place in the cycle
        x = 1 − (u − U)/D    if u ≥ U          i = ⌊t/(U + D)⌋, the number of the cycle
        a = 1 (triangular), 2^−i (triangular2) or γ^t (exp_range)

    with U = half_cycle_steps, D = down_steps, by default U. Source: Smith 2015, arXiv 1506.01186, whose cycles are
    symmetric; D as in torch's `CyclicLR`.
    """
    low, high, gamma = f32(min_value), f32(max_value), f32(gamma)
    t, U = count, half_cycle_steps
    D = U if down_steps is None else down_steps
    i, u = divmod(t, U + D)
    x = u / U if u < U else 1 - (u - U) / D
    a = {"triangular": 1.0, "triangular2": 2.0**-i, "exp_range": gamma**t}[mode]
    return low + (high - low) * a * x


def cyclic_annealing_schedule(
    count, max_value, min_value, *, cycle_steps, shape="linear", length_multiplier=1, peak_multiplier=1.0
):
    """Fall from a peak towards min, jump to the next peak, and so on: a saw-tooth.

        min + (peak_i − min)·(1 − x)               linear
        min + (peak_i − min)·½(1 + cos(πx))        cosine
        peak_i·(min/peak_i)^x                      exponential (min > 0)
        peak_i = min + (max − min)·p^i,   T_i = cycle_steps·m^i,   x = (t − T_0 − … − T_{i−1})/T_i in [0, 1)

    with p = peak_multiplier and m = length_multiplier, an integer here so that every cycle has a whole number of
    steps. x never reaches 1: the last count of a cycle is one step short of min, the next one is the next peak.
    Source for the cosine with T_i growing by m: Loshchilov & Hutter 2016, arXiv 1608.03983 (SGDR).
    """
    low, high, p, m = f32(min_value), f32(max_value), f32(peak_multiplier), int(length_multiplier)
    if m != length_multiplier or m < 1:
        raise ValueError(f"length_multiplier must be an integer of at least 1, got {length_multiplier}")
    i, u, T = 0, count, cycle_steps
    while u >= T:
        i, u, T = i + 1, u - T, T * m
    x = u / T
    peak = low + (high - low) * p**i
    if shape == "linear":
        return low + (peak - low) * (1 - x)
    if shape == "cosine":
        return low + (peak - low) * 0.5 * (1 + math.cos(math.pi * x))
    if shape == "exponential":
        return peak * (low / peak) ** x
    raise ValueError(f"shape must be linear, cosine or exponential, got {shape!r}")
