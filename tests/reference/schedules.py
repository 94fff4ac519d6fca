"""Schedules in plain Python: one integer count in, one float64 rate out.

Every function takes the count `t` first and then optax's arguments. Numbers are rounded to float32, the precision in
which a schedule stores them, and all arithmetic after that is float64. Counts and lengths are exact integers.
The docstrings abbreviate `init_value` to init, `end_value` to end, and so on, as the code does.
A phase of length zero is skipped: its end value holds from the count at which it would have begun. In the functions
that are linear or polynomial schedules of optax it holds the initial value, as there.
"""

import bisect
import itertools
import math
import statistics

import jax
import numpy as np

from lrx._pytree import factory_name
from lrx.schedules._schedule import call_of


def f32(number):
    """Round to the nearest float32, and return it as a Python (float64) number."""
    return float(np.float32(number))


def value_of(schedule, count):
    """The value of a part of a schedule: a number, a function, or a schedule by the reference of its name."""
    if isinstance(schedule, int | float):
        return f32(schedule)
    if factory_name(schedule) in globals():
        return globals()[factory_name(schedule)](count, **call_of(schedule))
    return float(schedule(count))


def constant_schedule(count, value):
    """Return `value` at every count."""
    del count
    return f32(value)


def polynomial_schedule(count, init_value, end_value, power, transition_steps, transition_begin=0):
    """Go from init to end along a power of the fraction that remains.

        init                                      if t < B
        end + (init − end)·(1 − (t − B)/T)^p      if B ≤ t < B + T
        end                                       if t ≥ B + T, or init if p = 0, since 0⁰ = 1

    with B = transition_begin, T = transition_steps, p = power; init throughout if T = 0. Source: optax's documentation.
    """
    init, end, p = f32(init_value), f32(end_value), f32(power)
    t, B, T = count, transition_begin, transition_steps
    if t < B or T == 0 or p == 0:
        return init
    if t < B + T:
        x = (t - B) / T
        rising = -math.expm1(p * math.log1p(-x)) if x < 0.5 else 1 - (1 - x) ** p  # 1 − (1 − x)^p
        return init * (1 - x) ** p + end * rising
    return end


def linear_schedule(count, init_value, end_value, transition_steps, transition_begin=0):
    """Go from init to end along a straight line.

    init                             if t < B
    init + (end − init)·(t − B)/T    if B ≤ t < B + T
    end                              if t ≥ B + T
    init                             if T = 0
    """
    init, end = f32(init_value), f32(end_value)
    t, B, T = count, transition_begin, transition_steps
    if t < B or T == 0:
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
    if t >= T and p > 0:
        return init * alpha
    c = 0.5 * (1 + math.cos(math.pi * min(t, T) / T))
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
    count, min_value, max_value, *, half_cycle_steps, mode="triangular", gamma=1.0, down_steps=None, amplitude=None
):
    """Rise from min to max and fall back, again and again.

        min + (max − min)·a·x
        x = u/U              if u < U          u = t mod (U + D), the place in the cycle
        x = 1 − (u − U)/D    if u ≥ U          i = ⌊t/(U + D)⌋, the number of the cycle
        a = 1 (triangular), 2^−i (triangular2) or γ^t (exp_range), and times amplitude(t)

    with U = half_cycle_steps, D = down_steps, by default U. Source: Smith 2015, arXiv 1506.01186, whose cycles are
    symmetric; D as in torch's `CyclicLR`.
    """
    low, high, gamma = f32(min_value), f32(max_value), f32(gamma)
    t, U = count, half_cycle_steps
    D = U if down_steps is None else down_steps
    i, u = divmod(t, U + D)
    x = u / U if u < U else 1 - (u - U) / D
    a = {"triangular": 1.0, "triangular2": 2.0**-i, "exp_range": gamma**t}[mode]
    if amplitude is not None:
        a = a * value_of(amplitude, t)
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


# ---------------------------------------------------------------- further schedules of optax


def piecewise_interpolate_schedule(count, interpolate_type, init_value, boundaries_and_scales=None):
    """Go from value to value, each the one before times a scale, along lines or half cosines.

        a + (b − a)·x                     linear       x = (t − c)/(d − c) between the boundaries c ≤ t < d
        a + (b − a)·½(1 − cos(πx))        cosine

    Source: optax's documentation.
    """
    c, a = 0, f32(init_value)
    for d, scale in sorted((boundaries_and_scales or {}).items()):
        b = a * f32(scale)
        if count < d:
            x = (count - c) / (d - c)
            return a + (b - a) * (x if interpolate_type == "linear" else 0.5 * (1 - math.cos(math.pi * x)))
        c, a = d, b
    return a


def warmup_constant_schedule(count, init_value, peak_value, warmup_steps):
    """Rise from init to peak along a line: init + (peak − init)·t/W if t < W, then peak."""
    return linear_schedule(count, init_value, peak_value, warmup_steps)


def warmup_exponential_decay_schedule(
    count,
    init_value,
    peak_value,
    warmup_steps,
    transition_steps,
    decay_rate,
    transition_begin=0,
    staircase=False,
    end_value=None,
):
    """Rise from init to peak along a line, then follow `exponential_decay` from its count 0. Source: optax."""
    if count < warmup_steps:
        return linear_schedule(count, init_value, peak_value, warmup_steps)
    decay = transition_steps, decay_rate, transition_begin, staircase, end_value
    return exponential_decay(count - warmup_steps, peak_value, *decay)


def sgdr_schedule(count, cosine_kwargs):
    """Follow one `warmup_cosine_decay_schedule` after another, each for its decay_steps. Source: optax."""
    *cycles, last = cosine_kwargs
    for kwargs in cycles:
        if count < kwargs["decay_steps"]:
            return warmup_cosine_decay_schedule(count, **kwargs)
        count -= kwargs["decay_steps"]
    return warmup_cosine_decay_schedule(count, **last)


def join_schedules(count, schedules, boundaries):
    """Follow schedule k from boundary k − 1 on, from its own count 0."""
    k = sum(count >= boundary for boundary in boundaries)
    return value_of(schedules[k], count - (0, *boundaries)[k])


def through(t, corners, curve="linear"):
    """Follow lines or half cosines through corners (step, value); of several at one step the last counts."""
    last = max(i for i, (step, _) in enumerate(corners) if step <= t)
    if last == len(corners) - 1:
        return corners[-1][1]
    (c, a), (d, b) = corners[last], corners[last + 1]
    x = (t - c) / (d - c)
    return a + (b - a) * (x if curve == "linear" else 0.5 * (1 - math.cos(math.pi * x)))


def linear_onecycle_schedule(
    count, transition_steps, peak_value, pct_start=0.3, pct_final=0.85, div_factor=25.0, final_div_factor=1e4
):
    """Follow lines through (0, peak/D), (⌊pT⌋, peak), (⌊qT⌋, peak/D), (T, peak/D/F), the third after the second.

    Source: optax, where turns at one step overwrite each other.
    """
    T, peak = transition_steps, f32(peak_value)
    low = peak / f32(div_factor)
    p = int(pct_start * T)
    q = max(int(pct_final * T), min(p + 1, T))
    corners = [(0, low), (p, peak), (q, low), (T, low / f32(final_div_factor))]
    return through(count, corners)


def cosine_onecycle_schedule(count, transition_steps, peak_value, pct_start=0.3, div_factor=25.0, final_div_factor=1e4):
    """Follow half cosines through (0, peak/D), (⌊pT⌋, peak), (T, peak/D/F). Source: optax."""
    T, peak = transition_steps, f32(peak_value)
    low = peak / f32(div_factor)
    return through(count, [(0, low), (int(pct_start * T), peak), (T, low / f32(final_div_factor))], "cosine")


# ---------------------------------------------------------------- one cycle elsewhere


def torch_turns(T, p, three_phase):
    """Give the ends of torch's phases: pT − 1, then 2pT − 2 with three phases, then T − 1, all within [0, T − 1]."""
    up = p * T - 1
    turns = [up, 2 * up, T - 1] if three_phase else [up, T - 1]
    return [min(max(turn, 0), T - 1) for turn in turns]


def torch_onecycle_schedule(
    count,
    max_value,
    total_steps,
    *,
    pct_start=0.3,
    anneal="cos",
    div_factor=25.0,
    final_div_factor=1e4,
    three_phase=False,
):
    """Rise to max, fall (to the first value, and from there) to max/D/F. Source: torch's `OneCycleLR`."""
    high = f32(max_value)
    low = high / f32(div_factor)
    values = [high, low, low / f32(final_div_factor)] if three_phase else [high, low / f32(final_div_factor)]
    turns = torch_turns(total_steps, pct_start, three_phase)
    return through(count, [(0, low), *zip(turns, values, strict=True)], anneal)


def torch_onecycle_momentum_schedule(
    count, total_steps, *, pct_start=0.3, anneal="cos", base_momentum=0.85, max_momentum=0.95, three_phase=False
):
    """Fall from max to base while the rate rises, and rise again. Source: torch's `OneCycleLR`."""
    low, high = f32(base_momentum), f32(max_momentum)
    values = [low, high, high] if three_phase else [low, high]
    turns = torch_turns(total_steps, pct_start, three_phase)
    return through(count, [(0, high), *zip(turns, values, strict=True)], anneal)


def fastai_onecycle_schedule(count, max_value, total_steps, *, pct_start=0.25, div_factor=25.0, final_div_factor=1e5):
    """Follow half cosines through (0, max/D), (pT, max), (T, max/F). Source: fastai's `fit_one_cycle`."""
    T, high = total_steps, f32(max_value)
    return through(
        count, [(0, high / f32(div_factor)), (pct_start * T, high), (T, high / f32(final_div_factor))], "cos"
    )


def fastai_onecycle_momentum_schedule(count, total_steps, *, pct_start=0.25, base_momentum=0.85, max_momentum=0.95):
    """Follow half cosines through (0, max), (pT, base), (T, max). Source: fastai's `fit_one_cycle`."""
    T, low, high = total_steps, f32(base_momentum), f32(max_momentum)
    return through(count, [(0, high), (pct_start * T, low), (T, high)], "cos")


# ---------------------------------------------------------------- decay without an end


def inverse_time_schedule(count, init_value, transition_steps, *, decay_rate, staircase=False):
    """Divide by 1 + r·t/T; a staircase takes ⌊t/T⌋. Source: Keras's `InverseTimeDecay`."""
    x = count // transition_steps if staircase else count / transition_steps
    return f32(init_value) / (1 + f32(decay_rate) * x)


def inverse_sqrt_schedule(count, peak_value, warmup_steps, *, timescale=None):
    """Rise along a line to peak at W, then fall as peak·√(s/(t − W + s)), s = timescale or W or 10,000.

    Source: Hugging Face's `get_inverse_sqrt_schedule`.
    """
    t, W, peak = count, warmup_steps, f32(peak_value)
    s = timescale or W or 10_000
    return peak * t / W if t < W else peak / math.sqrt((t - W + s) / s)


def noam_schedule(count, model_size, warmup_steps, *, scale=1.0):
    """Give scale·d^−½·min(t^−½, t·W^−1.5). Source: Vaswani et al. 2017, arXiv 1706.03762, equation 3.

    Without a warmup it is scale·d^−½·max(t, 1)^−½.
    """
    t, d, W = count, model_size, warmup_steps
    rising = t * W**-1.5 if W else math.inf
    return f32(scale) * d**-0.5 * min(rising, max(t, 1) ** -0.5 if t or not W else math.inf)


def power_schedule(count, max_value, warmup_steps, *, a, b, batch_size):
    """Give min(max, β·a·n^b), n = β·t, after a line from 0 to its value at W. Source: Shen et al. 2024, 2408.13359."""
    t, W, beta = count, warmup_steps, batch_size

    def law(t):
        return min(f32(max_value), beta * f32(a) * (beta * max(t, 1)) ** f32(b))

    return law(W) * t / W if t < W else law(t)


# ---------------------------------------------------------------- decay over a budget


def cooldown(shape, x, a, b):
    """Go from a to b while x goes from 0 to 1."""
    if shape == "exponential":
        return a ** (1 - x) * b**x
    cosine = 0.5 * (1 + math.cos(math.pi * x))
    factors = {"linear": 1 - x, "1-sqrt": 1 - math.sqrt(x), "1-square": 1 - x**2, "cosine": cosine}
    D = {**factors, "mirror-cosine": 2 * (1 - x) - cosine}[shape]
    return b + (a - b) * D


def wsd_schedule(
    count,
    peak_value,
    warmup_steps,
    *,
    decay_steps,
    total_steps=None,
    stable_steps=None,
    shape="1-sqrt",
    init_value=0.0,
    end_value=0.0,
):
    """Rise to peak along a line in W steps, stay there, cool down to end in D steps.

    Source: Hu et al. 2024, arXiv 2404.06395; the shapes: Hägele et al. 2024, arXiv 2405.18392.
    """
    peak, init, end = f32(peak_value), f32(init_value), f32(end_value)
    t, W, D = count, warmup_steps, decay_steps
    start = W + stable_steps if stable_steps is not None else total_steps - D
    if t < W:
        return init + (peak - init) * t / W
    if t < start:
        return peak
    return cooldown(shape, (t - start) / D, peak, end) if t < start + D else end


def polynomial_cycles_schedule(count, init_value, end_value, power, cycle_steps):
    """Fall as end + (init − end)·(1 − t/(kn))^p, k = max(⌈t/n⌉, 1). Source: Keras, PolynomialDecay with cycle."""
    until = min(max(-(-count // cycle_steps), 1) * cycle_steps, 2**31 - 1)
    x = (until - count) / until
    return f32(end_value) + (f32(init_value) - f32(end_value)) * x ** f32(power)


def rex_schedule(count, init_value, total_steps):
    """Fall as init·(1 − x)/(1 − x/2), x = min(t/T, 1). Source: Chen et al. 2021, arXiv 2107.04197."""
    x = min(count / total_steps, 1)
    return f32(init_value) * (1 - x) / (1 - x / 2)


def knee_schedule(count, peak_value, total_steps, *, knee_fraction, warmup_steps=0):
    """Follow lines through (0, 0), (W, peak), (W + ⌊kT⌋, peak), (T, 0). Source: Iyer et al. 2020, 2003.03977."""
    T, W, peak = total_steps, warmup_steps, f32(peak_value)
    return through(count, [(0, 0.0), (W, peak), (W + int(knee_fraction * T), peak), (T, 0.0)])


def flat_cosine_schedule(count, init_value, total_steps, *, flat_fraction=0.75, end_value=0.0):
    """Stay at init up to ⌊fT⌋, then follow half a cosine to (T, end). Source: fastai's `fit_flat_cos`."""
    T, init = total_steps, f32(init_value)
    return through(count, [(0, init), (int(flat_fraction * T), init), (T, f32(end_value))], "cos")


def tanh_schedule(count, init_value, total_steps, *, lower=-7.0, upper=3.0, end_value=0.0):
    """Fall as end + (init − end)·½(1 − tanh(l(1 − x) + ux)), x = t/T; end from T on. Source: timm."""
    init, end = f32(init_value), f32(end_value)
    if count >= total_steps:
        return end
    x = count / total_steps
    z = f32(lower) * (1 - x) + f32(upper) * x
    return end + (init - end) / (1 + math.exp(2 * z))  # ½(1 − tanh z) without the cancellation


def k_decay_schedule(count, init_value, total_steps, *, k=1.0, end_value=0.0, power=None):
    """Fall as end + (init − end)·f(x), x = t/T. Source: Zhang & Li 2020, arXiv 2004.05909.

    f(x) = ½(1 + cos(π·x^k)), or (1 − x^k)^p for polynomial decay.
    """
    init, end = f32(init_value), f32(end_value)
    if count >= total_steps:
        return end
    left = -math.expm1(f32(k) * math.log1p(-(total_steps - count) / total_steps)) if count else 1.0  # 1 − x^k
    weight = math.sin(math.pi / 2 * left) ** 2 if power is None else left ** f32(power)
    return end + (init - end) * weight


def infinite_schedule(count, peak_value, warmup_steps, *, cooldown_steps, constant_value, shape="inverse-sqrt"):
    """Rise to peak along a line, cool down to a constant, stay there.

        peak + (const − peak)·h(x)/h(1),  h(x) = 1/√(1 + 10x) − 1        inverse-sqrt

    Source: Ibrahim et al. 2024, arXiv 2403.08763, section 7.
    """
    peak, const = f32(peak_value), f32(constant_value)
    t, W, C = count, warmup_steps, cooldown_steps
    if t < W:
        return peak * t / W
    if t >= W + C:
        return const
    x = (t - W) / C
    if shape == "inverse-sqrt":
        return peak + (const - peak) * (1 / math.sqrt(1 + 10 * x) - 1) / (1 / math.sqrt(11) - 1)
    return cooldown(shape, x, peak, const)


# ---------------------------------------------------------------- Chebyshev, knots, noise


def fractal_permutation(T):
    """Give the order of Agarwal et al. 2021: σ_2n = interlace(σ_n, 2n − 1 − σ_n), without the numbers ≥ T."""
    order = [0]
    while len(order) < T:
        order = [s for i in order for s in (i, 2 * len(order) - 1 - i)]
    return [s for s in order if s < T]


def chebyshev_schedule(count, min_value, max_value, *, total_steps):
    """Give one over the Chebyshev nodes of [1/max, 1/min] in the fractal order. Source: arXiv 2103.01338."""
    T, m, M = total_steps, 1 / f32(max_value), 1 / f32(min_value)
    s = fractal_permutation(T)[min(count, T - 1)]
    return 1 / ((M + m) / 2 - (M - m) / 2 * math.cos((s + 0.5) * math.pi / T))


def interpolated_schedule(count, counts, values, *, kind="linear", log=False):
    """Pass through knots along lines, cosines, or Fritsch and Carlson's cubics; maybe in the logarithm."""
    y = [math.log(f32(v)) if log else f32(v) for v in values]
    if count <= counts[0] or count >= counts[-1]:
        result = y[0] if count <= counts[0] else y[-1]
    elif kind == "cubic":
        result = pchip(count, counts, y)
    else:
        i = bisect.bisect_right(counts, count) - 1
        x = (count - counts[i]) / (counts[i + 1] - counts[i])
        result = y[i] + (y[i + 1] - y[i]) * (x if kind == "linear" else 0.5 * (1 - math.cos(math.pi * x)))
    return math.exp(result) if log else result


def refined_schedule(count, gradient_norms, peak_value, *, norm="l2", smoothing=0.1):
    """Defazio et al. 2023, algorithms 1 and 2: a median filter, weights, and what is left of them after each."""
    T, reach = len(gradient_norms), int(smoothing * len(gradient_norms) / 2)

    def G(t):  # the first one repeated before the start, mirrored at the end
        return gradient_norms[max(t, 0) if t < T else 2 * (T - 1) - t]

    smooth = [statistics.median(G(s) for s in range(t - reach, t + reach + 1)) for t in range(T)]
    w = [g**-2 if norm == "l2" else 1 / g for g in smooth]
    eta = [w[t] * math.fsum(w[t + 1 :]) for t in range(T)]
    return f32(peak_value) * eta[min(count, T - 1)] / max(eta)


def pchip(t, knots, y):
    """Follow Hermite's cubic with the slopes of Fritsch & Butland 1984 (and of Fritsch & Carlson at the ends)."""
    h = [b - a for a, b in itertools.pairwise(knots)]
    d = [(b - a) / step for (a, b), step in zip(itertools.pairwise(y), h, strict=True)]

    def within(k):
        if d[k - 1] * d[k] <= 0:
            return 0.0
        w1, w2 = 2 * h[k] + h[k - 1], h[k] + 2 * h[k - 1]
        return (w1 + w2) / (w1 / d[k - 1] + w2 / d[k])

    def outer(h0, h1, d0, d1):
        m = ((2 * h0 + h1) * d0 - h0 * d1) / (h0 + h1)
        if m * d0 <= 0:
            return 0.0
        return 3 * d0 if d0 * d1 <= 0 and abs(m) > 3 * abs(d0) else m

    if len(d) == 1:
        slopes = [d[0], d[0]]
    else:
        slopes = [outer(h[0], h[1], d[0], d[1]), *map(within, range(1, len(d))), outer(h[-1], h[-2], d[-1], d[-2])]
    i = bisect.bisect_right(knots, t) - 1
    x = (t - knots[i]) / h[i]
    ends = y[i] * (1 - x) ** 2 * (1 + 2 * x) + y[i + 1] * x**2 * (3 - 2 * x)
    return ends + h[i] * x * (1 - x) * (slopes[i] * (1 - x) - slopes[i + 1] * x)


def noisy(count, s, *, scale, key):
    """Give s(t)·(1 + scale·u), u uniform on [−1, 1) by fold_in(key, t)."""
    if isinstance(key, tuple):
        key = jax.random.wrap_key_data(np.array(key, np.int64).astype(np.uint32))
    u = jax.random.uniform(jax.random.fold_in(key, count), (), np.float32, -1.0, 1.0)
    return value_of(s, count) * (1 + f32(scale) * float(u))
