"""Rising and falling alike: a weight and its complement keep their digits at both ends of a phase."""

import math

import numpy as np
import pytest

import lrx
from tests.schedules.cases import ulps

pytestmark = pytest.mark.real_compiler

STEPS = (7, 1000, 10**6)
EXPONENTS = (0.0, 0.01, 0.5, 1.0, 2.0, 7.3, 20.0)


def f32(x):
    return float(np.float32(x))


def counts(steps):
    near = np.concatenate([np.arange(6), np.geomspace(6, max(steps / 2, 6), 26).astype(int)])
    return np.resize(np.clip(np.concatenate([near, steps - near]), 0, steps), 256)  # as many as elsewhere: one program


def in_parts(schedule, counts):
    return np.concatenate([schedule(some) for some in np.split(counts, len(counts) // 256)])


def raised(w, v, p):
    """w^p and 1 − w^p of w and v = 1 − w, in float64."""
    if w == 0 or p == 0:
        return (1.0, 0.0) if p == 0 else (0.0, 1.0)
    log = math.log1p(-v) if v < 0.5 else math.log(w)
    return math.exp(p * log), -math.expm1(p * log)


def line(t, steps):
    return (steps - t) / steps, t / steps


def cosine(t, steps):
    return math.sin(math.pi * (steps - t) / (2 * steps)) ** 2, math.sin(math.pi * t / (2 * steps)) ** 2


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize(("a", "b"), [(0.0, 1.0), (1.0, 0.0), (0.3, 1e-4), (1e-4, 0.3)])
def test_powers_of_lines_and_cosines(a, b, exponent, steps):
    t, p = counts(steps), f32(exponent)
    for schedule, shape, bound in (
        (lrx.polynomial_schedule(a, b, exponent, steps), line, 4),
        (lrx.warmup_cosine_decay_schedule(0.0, a, 0, steps, b, exponent), cosine, 8),
    ):
        weights = [raised(*shape(int(c), steps), p) for c in t]
        assert ulps(schedule(t), [f32(a) * w + f32(b) * v for w, v in weights]) <= bound


@pytest.mark.parametrize("gamma", [0.5, 0.999, 1 - 2.0**-20])
def test_cycles_that_stand_on_their_head(gamma):
    """A cycle from max down to min = 0 and back, whose height shrinks."""
    t, g = np.arange(12 * 256), f32(gamma)
    schedule = lrx.triangular_schedule(1.0, 0.0, half_cycle_steps=1000, down_steps=500, mode="exp_range", gamma=gamma)
    u = t % 1500
    w, v = np.where(u < 1000, [u / 1000, (1000 - u) / 1000], [(1500 - u) / 500, (u - 1000) / 500])
    assert ulps(in_parts(schedule, t), v + w * -np.expm1(t * math.log(g))) <= 8
    peaks = lrx.cyclic_annealing_schedule(0.0, 1.0, cycle_steps=3, peak_multiplier=gamma)
    cycle, place = t // 3, t % 3
    assert ulps(in_parts(peaks, t), -np.expm1(cycle * math.log(g)) * (3 - place) / 3 + place / 3) <= 8


@pytest.mark.parametrize("share", [0.3, 0.45, 0.499, 0.998, 0.0001])
@pytest.mark.parametrize("steps", [3, 77, 1234, 99_991])
def test_turns_between_steps(share, steps):
    from tests.reference import schedules as reference

    turns = np.array([share * steps - 1, share * steps, 2 * share * steps - 2, steps])
    t = np.clip((turns[:, None] + np.arange(-32, 32)).astype(int).ravel(), 0, steps)
    for name, more in (
        ("torch_onecycle_schedule", {"three_phase": True}),
        ("torch_onecycle_schedule", {"anneal": "linear"}),
        ("fastai_onecycle_schedule", {}),
    ):
        arguments = {"max_value": 0.3, "total_steps": steps, "pct_start": share, **more}
        expected = [getattr(reference, name)(int(c), **arguments) for c in t]
        assert ulps(getattr(lrx, name)(**arguments)(t), expected) <= 8
