"""Curves of runs at a rate that is too low."""

import numpy as np

from .kinds import Curve, Random, kind, noise, time


@kind("slow")
def straight_line(rng: Random) -> Curve:
    """Falls in a straight line to the end."""
    t = time(rng)
    return 2.3 - rng.uniform(0.1, 1.0) * t + noise(rng, t, 0.02), None


@kind("slow")
def slow_exponential(rng: Random) -> Curve:
    """A third of the way after the whole run."""
    t = time(rng)
    return np.exp(-t / rng.uniform(1.0, 4.0)), None


@kind("slow")
def nothing_but_noise(rng: Random) -> Curve:
    """The descent is hidden in the noise from the start."""
    t = time(rng)
    return 2.3 - 0.02 * t + noise(rng, t, 0.1), None


@kind("slow")
def slow_under_cosine(rng: Random) -> Curve:
    """Low peak, cosine: the curve flattens since the rate falls."""
    t = time(rng)
    rate = 0.5 * (1 + np.cos(np.pi * t)) + 1e-4
    done = np.cumsum(rate) / rate.sum()
    return 2.3 - rng.uniform(0.2, 1.0) * done + noise(rng, t, 0.02), rate


@kind("slow")
def slow_under_steps(rng: Random) -> Curve:
    """Low peak, step decay: falls in a line, then stands still when the rate is cut."""
    t = time(rng)
    rate = np.where(t < 0.5, 1.0, np.where(t < 0.75, 0.1, 0.01))
    return 2.3 - rng.uniform(0.2, 1.0) * np.cumsum(rate) / rate.sum() + noise(rng, t, 0.02), rate


@kind("slow")
def slow_under_cycles(rng: Random) -> Curve:
    """Low peak, triangular: falls faster where the rate is high."""
    t = time(rng, 600)
    rate = 0.1 + 0.9 * (1 - np.abs(2 * ((t * 4) % 1) - 1))
    return 2.3 - rng.uniform(0.2, 1.0) * np.cumsum(rate) / rate.sum() + noise(rng, t, 0.02), rate


@kind("slow")
def slow_with_repeated_epochs(rng: Random) -> Curve:
    """A rate 500 times too low, and batches that repeat every few steps."""
    t = time(rng, 400)
    period = int(rng.choice([4, 8, 16, 25]))
    pattern = rng.standard_normal(period)[np.arange(t.size) % period]
    return 2.3 - rng.uniform(0.03, 0.3) * t + 0.1 * pattern, None


@kind("slow")
def slow_after_a_huge_first_loss(rng: Random) -> Curve:
    """An outlier at the start, then a straight line."""
    t = time(rng)
    x = 2.3 - 0.8 * t + noise(rng, t, 0.02)
    x[0] = rng.uniform(50, 500)
    return x, None


@kind("slow")
def accelerating(rng: Random) -> Curve:
    """Has not left the plateau of its initialization until late."""
    t = time(rng)
    return 2.3 - 0.6 * t**2 + noise(rng, t, 0.02), None
