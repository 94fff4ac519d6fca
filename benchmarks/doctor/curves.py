"""Curves that imitate what people post: healthy, slow and sick ones, each kind with random sizes.

A curve is a pair of losses and rates; rates are None where a kind has a constant one. Each docstring says what is seen.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

Random = np.random.Generator
Curve = tuple[np.ndarray, np.ndarray | None]
Health = Literal["healthy", "slow", "sick"]

ACCEPTED = {
    "healthy": ("fine", "unknown"),
    "slow": ("too_low", "unknown"),
    "sick": ("oscillating", "diverging", "dead"),
}
"""The labels that are right for each; a healthy curve of which the record shows too little is unknown, not ill."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of curve."""

    name: str
    health: Health
    draw: Callable[[Random], Curve]


KINDS: list[Kind] = []


def kind(health: Health) -> Callable[[Any], Any]:
    """Add a kind."""

    def add(draw: Any) -> Any:
        KINDS.append(Kind(draw.__name__.replace("_", " "), health, draw))
        return draw

    return add


def time(rng: Random, low: int = 300, high: int = 3000) -> np.ndarray:
    """From 0 to 1 in a random number of steps."""
    n = int(np.exp(rng.uniform(np.log(low), np.log(high))))
    return np.arange(n) / n


def noise(rng: Random, t: np.ndarray, size: float) -> np.ndarray:
    """Independent noise of mini-batches."""
    return size * rng.standard_normal(t.size)


def power(rng: Random, t: np.ndarray, start: float = 3.0, floor: float = 0.5) -> np.ndarray:
    """A power law, as of language models: fast, then ever slower."""
    scale, exponent = rng.uniform(0.003, 0.015), rng.uniform(0.6, 1.1)
    return floor + (start - floor) * (1 + t / scale) ** -exponent


def settled(rng: Random, t: np.ndarray) -> np.ndarray:
    """Exponential descent that is over long before the end."""
    return np.exp(-t / rng.uniform(0.02, 0.08))


# ------------------------------------------------------------------------------------------------ healthy


@kind("healthy")
def smooth_descent(rng: Random) -> Curve:
    """Full batches: falls fast and settles."""
    return settled(rng, time(rng)), None


@kind("healthy")
def noisy_descent(rng: Random) -> Curve:
    """The same with mini-batch noise that shrinks with the loss."""
    t = time(rng)
    mean = 0.05 + 2.3 * settled(rng, t)
    return mean * (1 + noise(rng, t, rng.uniform(0.05, 0.2))), None


@kind("healthy")
def very_noisy_descent(rng: Random) -> Curve:
    """Batches of a few rows: the noise is as large as half of the descent."""
    t = time(rng, 600)
    return 1 + settled(rng, t) + noise(rng, t, rng.uniform(0.2, 0.4)), None


@kind("healthy")
def language_model(rng: Random) -> Curve:
    """A power law with small noise under warmup and cosine."""
    t = time(rng, 600, 6000)
    warm = rng.uniform(0.01, 0.03)
    rate = np.where(t < warm, t / warm, 0.1 + 0.45 * (1 + np.cos(np.pi * t)))
    return power(rng, t, 10.5, 2.8) + noise(rng, t, 0.03), rate + 1e-6


@kind("healthy")
def epoch_staircase(rng: Random) -> Curve:
    """FastChat#2025, alpaca#236: three epochs of fine-tuning, a drop at the start of each, flat between."""
    t = time(rng)
    epochs = int(rng.integers(3, 5))
    stairs = 0.35 * np.floor(t * epochs)
    begin = 0.4 * np.exp(-t / 0.02)
    rate = 0.5 * (1 + np.cos(np.pi * t)) + 1e-4
    return 1.5 + begin - stairs + noise(rng, t, rng.uniform(0.03, 0.08)), rate


@kind("healthy")
def spike_that_recovers(rng: Random) -> Curve:
    """tacotron2#387: one spike far above, gone within a hundredth of the run."""
    t = time(rng)
    at = rng.uniform(0.3, 0.8)
    spike = rng.uniform(0.5, 2.0) * np.exp(-(t - at) / 0.004) * (t >= at)
    return power(rng, t, 1.5, 0.2) + spike + noise(rng, t, 0.02), None


@kind("healthy")
def several_spikes(rng: Random) -> Curve:
    """A large language model: a handful of single outliers."""
    t = time(rng, 600)
    x = power(rng, t, 9.0, 2.5) + noise(rng, t, 0.04)
    x[rng.integers(t.size // 10, t.size, 5)] += rng.uniform(0.5, 3.0, 5)
    return x, None


@kind("healthy")
def triangular_cycles(rng: Random) -> Curve:
    """A cyclical rate: the loss swings with it, and falls from cycle to cycle."""
    t = time(rng, 600)
    cycles = int(rng.integers(3, 9))
    rate = 0.1 + 0.9 * (1 - np.abs(2 * ((t * cycles) % 1) - 1))
    return power(rng, t, 2.3, 0.2) + rng.uniform(0.05, 0.2) * rate + noise(rng, t, 0.03), rate


@kind("healthy")
def warm_restarts(rng: Random) -> Curve:
    """SGDR: the loss jumps up at each restart and ends lower than before."""
    t = time(rng, 600)
    cycles = int(rng.integers(3, 6))
    rate = 0.5 * (1 + np.cos(np.pi * ((t * cycles) % 1))) + 1e-3
    return power(rng, t, 2.3, 0.2) + rng.uniform(0.05, 0.25) * rate + noise(rng, t, 0.03), rate


@kind("healthy")
def step_decay(rng: Random) -> Curve:
    """ResNet: the loss drops when the rate is divided by ten at a half and at three quarters."""
    t = time(rng)
    rate = np.where(t < 0.5, 1.0, np.where(t < 0.75, 0.1, 0.01))
    level = 0.9 * np.exp(-t / 0.05) + 0.05 + 0.35 * rate**0.5
    return level * (1 + noise(rng, t, 0.08)), rate


@kind("healthy")
def wsd_drop(rng: Random) -> Curve:
    """Warmup, stable, decay: slow descent, then a drop in the decay phase."""
    t = time(rng, 600)
    rate = np.clip(np.minimum(t / 0.03, (1 - t) / 0.2), 0, 1) + 1e-6
    return power(rng, t, 6.0, 2.6) + 0.15 * rate + noise(rng, t, 0.02), rate


@kind("healthy")
def length_curriculum(rng: Random) -> Curve:
    """Sequences get longer at fixed steps: the loss jumps up a little each time and falls again."""
    t = time(rng, 600)
    stages = int(rng.integers(3, 6))
    local = (t * stages) % 1
    return 0.2 + 2 * np.exp(-t / 0.1) + 0.12 * np.exp(-local / 0.2) * (t > 1 / stages) + noise(rng, t, 0.02), None


@kind("healthy")
def reinforcement(rng: Random) -> Curve:
    """A policy's loss: falls early, then wanders with correlated noise around its level."""
    t = time(rng, 600)
    x = noise(rng, t, 1.0)
    for i in range(1, t.size):
        x[i] += 0.7 * x[i - 1]
    return settled(rng, t) + rng.uniform(0.04, 0.1) * x, None


@kind("healthy")
def distillation(rng: Random) -> Curve:
    """Falls by two decades, with noise in proportion, to a level that is not zero."""
    t = time(rng)
    return (0.02 + power(rng, t, 4.0, 0.02)) * (1 + noise(rng, t, 0.05)), None


@kind("healthy")
def two_phases(rng: Random) -> Curve:
    """A plateau early on that is left (grokking, induction heads), then settled."""
    t = time(rng)
    at = rng.uniform(0.15, 0.3)
    return 1 + settled(rng, t) + 1 / (1 + np.exp((t - at) / 0.02)) + noise(rng, t, 0.02), None


@kind("healthy")
def warmup_bump(rng: Random) -> Curve:
    """The loss rises a little at the end of a long warmup, then falls."""
    t = time(rng)
    rate = np.clip(t / 0.1, 0, 1) * np.clip((1 - t) / 0.9, 0, 1) + 1e-6
    bump = rng.uniform(0.05, 0.3) * np.exp(-0.5 * ((t - 0.1) / 0.02) ** 2)
    return 0.1 + 2 * np.exp(-t / 0.07) + bump + noise(rng, t, 0.03), rate


@kind("healthy")
def huge_first_loss(rng: Random) -> Curve:
    """Targets near a hundred, or a last layer far too large: the first losses are a hundred times the rest."""
    t = time(rng)
    n = np.arange(t.size)
    return power(rng, t, 2.3, 0.3) + rng.uniform(50, 500) * np.exp(-n / 1.5) + noise(rng, t, 0.03), None


@kind("healthy")
def log_likelihood(rng: Random) -> Curve:
    """Negative losses, of a density model."""
    t = time(rng)
    return -3.5 + power(rng, t, 5.0, 0.0) + noise(rng, t, 0.05), None


@kind("healthy")
def repeated_epochs(rng: Random) -> Curve:
    """The same batches in the same order each epoch: a pattern that repeats over a good descent."""
    t = time(rng, 400)
    period = int(rng.integers(4, 40))
    pattern = rng.standard_normal(period)[np.arange(t.size) % period]
    return 0.1 + settled(rng, t) + 0.05 * pattern + noise(rng, t, 0.005), None


@kind("healthy")
def smoothed_log(rng: Random) -> Curve:
    """A log of moving averages: correlated noise around a settled curve."""
    t = time(rng)
    x = 0.2 + 2 * settled(rng, t) + noise(rng, t, 0.1)
    for i in range(1, t.size):
        x[i] = 0.9 * x[i - 1] + 0.1 * x[i]
    return x, None


@kind("healthy")
def linear_to_zero(rng: Random) -> Curve:
    """A good descent under a linear decay; the noise shrinks at the end."""
    t = time(rng)
    rate = 1 - t + 1e-6
    return 0.1 + power(rng, t, 2.0, 0.1) + 0.1 * rate + noise(rng, t, 1.0) * 0.05 * rate**0.5, rate


@kind("healthy")
def fine_tuning(rng: Random) -> Curve:
    """A pretrained model: a quick small drop, then nearly flat with batches of very different difficulty."""
    t = time(rng, 300, 1000)
    return 1.2 + 0.8 * settled(rng, t) + 0.12 * rng.gamma(2.0, 1.0, t.size), None


@kind("healthy")
def few_losses(rng: Random) -> Curve:
    """A log of epochs: thirty points of a settled curve."""
    t = time(rng, 25, 50)
    return 0.3 + 2 * np.exp(-t / 0.1) + noise(rng, t, 0.02), None


# ------------------------------------------------------------------------------------------------ slow


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


# ------------------------------------------------------------------------------------------------ sick


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
