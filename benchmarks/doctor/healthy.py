"""Curves of runs at a good rate, with what only looks like trouble."""

import numpy as np

from .kinds import Curve, Random, kind, noise, power, settled, time


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


@kind("healthy")
def power_law_alone(rng: Random) -> Curve:
    """A formula: (1 + step) to a negative power."""
    t = time(rng, 100)
    return (1 + np.arange(t.size)) ** -rng.uniform(0.7, 3.0) + rng.choice([0.0, 0.3]), None


@kind("healthy")
def damped_swings(rng: Random) -> Curve:
    """Momentum on a valley: swings that die out."""
    t = time(rng)
    fast = settled(rng, t)
    return 0.2 + fast * (1 + rng.uniform(0.1, 0.5) * np.cos(t * rng.uniform(30, 300))) + noise(rng, t, 0.02), None


@kind("healthy")
def log_after_warmup(rng: Random) -> Curve:
    """A language model whose log begins when its warmup is over: the fast fall is not in it."""
    t = time(rng, 150, 1500)
    rate = [np.ones_like(t), 0.55 + 0.45 * np.cos(np.pi * t), np.clip((1 - t) / 0.2, 0, 1) + 1e-6][rng.integers(3)]
    x = power(rng, t, 10.5, 2.8) + 0.1 * rate + noise(rng, t, 0.02)
    begins = int(rng.uniform(0.02, 0.3) * t.size)
    return x[begins:], rate[begins:], np.arange(begins, t.size)
