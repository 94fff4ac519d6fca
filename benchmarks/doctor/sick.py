"""Curves of runs at a rate that is too high."""

import numpy as np

from .kinds import Curve, Random, kind, noise, settled, time


@kind("sick")
def exponential_divergence(rng: Random) -> Curve:
    """Grows by a factor each step."""
    t = time(rng)
    return 1 + np.exp(t * rng.uniform(5, 60)) * 0.01, None


@kind("sick")
def not_a_number(rng: Random) -> Curve:
    """Falls, explodes and is not a number from then on."""
    t = time(rng)
    at = int(rng.uniform(0.1, 0.9) * t.size)
    x = 0.2 + settled(rng, t) + noise(rng, t, 0.02)
    x[at - 3 : at] += [1.0, 30.0, 1e5]
    x[at:] = np.nan
    return x, None


@kind("sick")
def late_blow_up(rng: Random) -> Curve:
    """Trains well for two thirds, then goes up to chance and stays."""
    t = time(rng)
    at = rng.uniform(0.5, 0.8)
    return np.where(t < at, 0.2 + 2 * settled(rng, t), 2.3 + 2 * np.exp(-(t - at) / 0.02)) + noise(rng, t, 0.03), None


@kind("sick")
def two_cycle(rng: Random) -> Curve:
    """At the edge of stability: every other loss is high."""
    t = time(rng)
    return 0.3 + settled(rng, t) + rng.uniform(0.1, 0.5) * (np.arange(t.size) % 2) + noise(rng, t, 0.01), None


@kind("sick")
def growing_swings(rng: Random) -> Curve:
    """Momentum: swings that grow to the size of the loss."""
    t = time(rng)
    size = rng.uniform(0.2, 0.5) * np.minimum(t / 0.3, 1)
    wave = np.sin(2 * np.pi * t * rng.uniform(12, 60))
    return 0.6 + settled(rng, t) + size * (1 + wave) + noise(rng, t, 0.02), None


@kind("sick")
def dead_relu(rng: Random) -> Curve:
    """Jumps up in the first steps, then flat at chance: ln C and the batches' noise."""
    t = time(rng)
    n = np.arange(t.size)
    jump = rng.uniform(2, 30) * np.exp(-(((n - rng.uniform(2, 5)) / rng.uniform(1, 3)) ** 2))
    return 2.31 + jump + noise(rng, t, 0.02), None


@kind("sick")
def dies_after_a_start(rng: Random) -> Curve:
    """Falls for a tenth of the run, jumps, and is flat at chance to the end."""
    t = time(rng)
    at = rng.uniform(0.05, 0.3)
    n = np.arange(t.size) - at * t.size
    falling = 2.31 - 1.5 * t / at
    return np.where(t < at, falling, 2.31 + 5 * np.exp(-np.maximum(n, 0) / 3)) + noise(rng, t, 0.02), None


@kind("sick")
def chaotic(rng: Random) -> Curve:
    """Never settles: bursts of every size far above the start."""
    t = time(rng)
    return 2 + np.exp(1.2 * rng.standard_normal(t.size)) * rng.uniform(1, 3), None


@kind("sick")
def explodes_and_lingers(rng: Random) -> Curve:
    """Ten to a thousand times the start within a few steps, then a slow way back that does not reach it."""
    t = time(rng)
    n = np.arange(t.size)
    top = 10 ** rng.uniform(1, 3)
    return 2.3 + top * np.minimum(n / 5, 1) * np.exp(-t / 0.6) * (1 + noise(rng, t, 0.1)), None


@kind("sick")
def rises_slowly(rng: Random) -> Curve:
    """Learns at first, then climbs for the rest of the run."""
    t = time(rng)
    return 0.5 + 2 * settled(rng, t) + rng.uniform(1, 3) * np.maximum(t - 0.2, 0) + noise(rng, t, 0.05), None


@kind("sick")
def frequent_bursts(rng: Random) -> Curve:
    """A spike every thirtieth of the run, each as high as the start."""
    t = time(rng, 600)
    local = (t * 30 + rng.uniform(0, 1)) % 1
    return 0.3 + 2 * settled(rng, t) + rng.uniform(1, 3) * np.exp(-local / 0.3) * (t > 0.1) + noise(rng, t, 0.02), None


@kind("sick")
def dead_with_infinities(rng: Random) -> Curve:
    """Mixed precision: infinite losses now and then, the rest stuck at chance after a jump."""
    x, _ = dead_relu(rng)
    x[rng.integers(10, x.size - 1, 5)] = np.inf
    return x, None


@kind("sick")
def wave_about_a_level(rng: Random) -> Curve:
    """A swing of any length that neither grows nor falls."""
    t = time(rng)
    swing = np.sin(2 * np.pi * t * rng.uniform(3, 100) + rng.uniform(0, 2 * np.pi))
    return 2 + rng.uniform(0.2, 0.8) * swing + noise(rng, t, 0.02), None


@kind("sick")
def log_of_swings_after_warmup(rng: Random) -> Curve:
    """A log that begins when the warmup is over: the loss goes up and down about a level from there on."""
    t = time(rng, 150, 1500)
    swings = 0.3 * np.sin(2 * np.pi * np.arange(t.size) / rng.uniform(3, 15))
    x = 1.5 + settled(rng, t) + swings + noise(rng, t, 0.02)
    begins = int(rng.uniform(0.02, 0.3) * t.size)
    return x[begins:], None, np.arange(begins, t.size)
