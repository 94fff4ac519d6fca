"""Labels of records that are formulas, or gradient descent on functions whose right rate is known."""

import numpy as np
import pytest

from lrx.diagnosis import diagnose

STEPS = np.arange(200)
T = np.arange(1000) / 1000
TOO_HIGH = ("oscillating", "diverging", "dead")
NOT_ILL = ("fine", "unknown")
NOT_HIGH = ("fine", "too_low", "unknown")
SWINGS = ("oscillating", "unknown")
RISES = ("oscillating", "diverging")


def label(losses, best=None, **options):
    return diagnose(losses, best, **options).label


def noise(seed, n, size=1.0):
    return size * np.random.default_rng(seed).standard_normal(n)


def restarts(cycles):
    return 0.5 * (1 + np.cos(np.pi * ((T * cycles) % 1))) + 1e-3


# ---------------------------------------------------------------- one label


@pytest.mark.parametrize(
    "losses, expected",
    [
        (np.linspace(2.3, 2.2, 200), "too_low"),
        (STEPS[::-1], "too_low"),
        (np.exp(-STEPS / 1000), "too_low"),
        (np.exp(-STEPS / 10), "fine"),
        (0.9**STEPS, "fine"),
        (np.exp(-STEPS / 10) - 5, "fine"),  # a log-likelihood may be negative
        (1 / (1 + STEPS) ** 1.5, "fine"),
        (np.full(200, 2.3), "unknown"),  # nothing happens: at a rate of zero, or at the minimum
        (np.zeros(200), "unknown"),
        (2 + 0.5 * (-1.0) ** STEPS, "oscillating"),
        (2 + 0.5 * np.sin(STEPS), "oscillating"),
        (np.exp(-STEPS / 10) + 0.2 * (STEPS % 2), "oscillating"),
        (np.exp(-STEPS / 20) + 0.2 * np.sin(STEPS), "oscillating"),
        (1.05**STEPS, "diverging"),
        (1.001**STEPS, "diverging"),
        (np.linspace(1.0, 2.0, 200), "diverging"),
        (np.exp(-STEPS / 10) + 1.05 ** (STEPS - 150), "diverging"),  # after a good start
        (-np.exp(-STEPS / 10) + 1.5 ** (STEPS - 195), "diverging"),  # in the last five steps
        (np.where(STEPS < 150, 1.0, np.nan), "diverging"),
        (np.where(STEPS < 150, 1.0, np.inf), "diverging"),
        (np.where(STEPS < 199, np.exp(-STEPS / 10), np.nan), "diverging"),
        (np.where(STEPS < 199, np.exp(-STEPS / 10), np.inf), "diverging"),
        (np.full(200, np.nan), "diverging"),
    ],
)
def test_analytic_records(losses, expected):
    assert label(losses) == expected


# ---------------------------------------------------------------- kinds of formulas


@pytest.mark.parametrize("steps", [60, 200, 1000])
@pytest.mark.parametrize("power", [0.5, 1.0, 1.5, 2.0, 3.0])
def test_a_power_law_is_not_ill(power, steps):
    for floor in (0.0, 0.3):
        assert label(floor + (1 + np.arange(steps)) ** -power) in (NOT_HIGH if power < 1 else NOT_ILL)


@pytest.mark.parametrize("steps", [60, 200, 1000])
def test_an_exponential_descent(steps):
    n = np.arange(steps) / steps
    for share in (0.005, 0.01, 0.02, 0.05, 0.1):
        assert label(np.exp(-n / share)) in NOT_ILL, share
    for share in (0.2, 0.3, 0.5):
        assert label(np.exp(-n / share)) in NOT_HIGH, share
    for share in (2.0, 10.0, 100.0):
        assert label(np.exp(-n / share)) in ("too_low", "unknown"), share


NEVER_RISES = {
    "logarithm": 10 - np.log(1 + STEPS),
    "inverse logarithm": 1 / np.log(2 + STEPS),
    "root": 1 - T**0.5,
    "parabola": 1 - T**2,
    "cosine": 0.5 + 0.5 * np.cos(np.pi * T),
    "bell": np.exp(-((T / 0.2) ** 2)),
    "tanh": 1 - np.tanh(T),
    "to machine precision": 10.0**-STEPS,
    "one step, early": np.where(STEPS < 10, 2.0, 1.0),
    "one step, half-way": np.where(STEPS < 100, 2.0, 1.0),
    "one step, late": np.where(STEPS < 180, 2.0, 1.0),
    "stairs": 5 - np.floor(5 * T),
    "two phases, early": 1 + np.exp(-T / 0.03) + 1 / (1 + np.exp((T - 0.2) / 0.02)),
    "two phases": 1 + np.exp(-T / 0.05) + 1 / (1 + np.exp((T - 0.5) / 0.02)),
    "two phases, late": 1 + np.exp(-T / 0.05) + 1 / (1 + np.exp((T - 0.7) / 0.02)),
    "a plateau that is left": 1 / (1 + np.exp((T - 0.5) / 0.05)),
}


@pytest.mark.parametrize("losses", NEVER_RISES.values(), ids=NEVER_RISES.keys())
def test_a_loss_that_never_rises_is_not_too_high(losses):
    assert label(losses) in NOT_HIGH
    spoiled = losses.astype(float)
    spoiled[0] = 1e4
    assert label(spoiled) in NOT_HIGH


@pytest.mark.parametrize("period", [2, 3, 5, 6.3, 20, 62.8, 125])
@pytest.mark.parametrize("steps", [200, 500, 1000])
def test_a_wave_about_a_level_is_not_slow_nor_fine(steps, period):
    for phase in (0.0, 1.0, np.pi / 2, np.pi, 4.0):
        for size in (0.0, 0.02):
            wave = 2 + 0.5 * np.sin(2 * np.pi * np.arange(steps) / period + phase) + noise(0, steps, size)
            if np.ptp(wave) > 0.5 and period < steps / 3:  # a period of 2 at a phase of 0 is no wave
                assert label(wave) in SWINGS, (phase, size)


@pytest.mark.parametrize("period", [8, 20, 50])
def test_a_sawtooth_about_a_level(period):
    saw = STEPS % period / period
    for losses in (2 + 0.5 * saw, 2.5 - 0.5 * saw):
        assert label(losses) in SWINGS


@pytest.mark.parametrize("rise", [lambda t: t, np.sqrt, np.square, lambda t: np.log(1 + 9 * t)])
def test_a_loss_that_only_rises(rise):
    for size in (0.0, 0.02):
        assert label(1 + rise(T) + noise(0, 1000, size)) in RISES


def test_a_step_up():
    for at in (10, 100, 190):
        assert label(1.0 + (at <= STEPS)) in TOO_HIGH, at


def test_swings_on_a_descent():
    fast = np.exp(-STEPS / 20)
    assert label(fast * (1 + 0.5 * np.sin(STEPS))) in NOT_ILL  # they die out with it
    assert label(1 + fast + 0.2 * np.sin(STEPS / 8)) in SWINGS
    assert label((T - 0.5) ** 2) in RISES


@pytest.mark.parametrize("cycles", [3, 5, 8])
@pytest.mark.parametrize("size", [0.0, 0.02])
def test_warm_restarts_with_their_rates(cycles, size):
    rates = restarts(cycles)
    for falls in (2 * (1 + T / 0.01) ** -0.8, 2 * np.exp(-T / 0.05)):
        assert label(0.2 + falls + 0.2 * rates + noise(0, 1000, size), learning_rates=rates) in NOT_ILL


@pytest.mark.parametrize("size", [0.0, 0.02])
def test_schedules_with_their_rates(size):
    cosine, steps = restarts(1), np.where(T < 0.5, 1.0, np.where(T < 0.75, 0.1, 0.01))
    some = noise(0, 1000, size)
    for rates in (cosine, steps):
        assert label(0.2 + 2 * np.exp(-T / 0.05) + some, learning_rates=rates) in NOT_ILL
        straight = 2.3 - 0.5 * np.cumsum(rates) / rates.sum()  # along the rates
        assert label(straight + some, learning_rates=rates) in ("too_low", "unknown")
    assert label(np.where(T < 0.5, 2, np.where(T < 0.75, 1, 0.8)) + some, learning_rates=steps) in NOT_HIGH


@pytest.mark.parametrize("steps", [30, 100, 1000])
def test_mini_batch_noise_is_not_oscillation(steps):
    curve = np.exp(-np.arange(steps) / (0.05 * steps))
    for seed in range(5):
        assert label(1 + curve + noise(seed, steps, 0.1)) in NOT_ILL
        assert label(1 + curve + noise(seed, steps, 0.1), best=1 + curve) == "fine"
        assert label(1 - 1e-4 * np.arange(steps) / steps + noise(seed, steps, 0.1)) in ("too_low", "unknown")


BESIDE_A_GOOD_ONE = {
    "the same": (lambda t: 0.3 + 2 * np.exp(-t / 0.04), ("fine",)),
    "twice as fast": (lambda t: 0.3 + 2 * np.exp(-t / 0.02), ("fine",)),
    "a line": (lambda t: 2.3 - 0.6 * t, ("too_low",)),
    "a slow exponential": (lambda t: 0.3 + 2 * np.exp(-t), ("too_low",)),
    "a rise": (lambda t: 0.8 + 1.5 * np.exp(-t / 0.04) + t, RISES),
    "swings above it": (lambda t: 0.8 + 1.5 * np.exp(-t / 0.04) + 0.3 * np.sin(300 * t), SWINGS),
}


@pytest.mark.parametrize("name", BESIDE_A_GOOD_ONE)
@pytest.mark.parametrize("size", [0.0, 0.01, 0.05, 0.15])
def test_beside_a_good_run(name, size):
    curve, expected = BESIDE_A_GOOD_ONE[name]
    for seed in range(3):
        best = 0.3 + 2 * np.exp(-T / 0.04) + noise(seed + 9, 1000, size)
        found = diagnose(curve(T) + noise(seed, 1000, size), best)
        assert found.label in expected, found


# ---------------------------------------------------------------- gradient descent

EIGENVALUES = np.geomspace(0.01, 1.0, 10)


def descend(rate, momentum=0.0, steps=200):
    """Gradient descent on ½ Σ λᵢ xᵢ² with largest eigenvalue L = 1."""
    x, velocity, losses = np.ones(10), np.zeros(10), []
    with np.errstate(all="ignore"):
        for _ in range(steps):
            losses.append(0.5 * (EIGENVALUES * x * x).sum())
            velocity = momentum * velocity - rate * EIGENVALUES * x
            x = x + velocity
    return np.array(losses)


def test_gradient_descent_on_a_quadratic():
    assert [label(descend(rate)) for rate in (0.001, 0.01)] == ["too_low"] * 2
    assert [label(descend(rate)) for rate in (0.5, 1.0, 1.9)] == ["fine"] * 3
    assert [label(descend(rate)) for rate in (2.05, 3.0, 100.0)] == ["diverging"] * 3
    # between 1/L and 2/L the iterate alternates but the loss falls monotonically, as in a run that is too slow
    assert np.all(np.diff(descend(1.999)) < 0) and label(descend(1.999)) == "too_low"


def test_heavy_ball_on_a_quadratic():
    """Stable below 2 (1 + 0.9) / L = 3.8."""
    assert label(descend(0.001, 0.9)) == "too_low"
    assert label(descend(1.0, 0.9)) == "fine"
    assert label(descend(3.9, 0.9)) == "diverging"


def test_two_cycle_at_the_edge_of_stability():
    """Logistic loss of inseparable data, sharpness 0.2 at the minimum: above 2 / 0.2 the loss cycles for ever."""

    def record(rate):
        x, losses = 3.0, []
        for _ in range(200):
            losses.append(np.logaddexp(0, -x) + 0.25 * np.logaddexp(0, x))
            x -= rate * (-1 / (1 + np.exp(x)) + 0.25 / (1 + np.exp(-x)))
        return np.array(losses)

    assert label(record(0.003)) == "too_low"
    assert [label(record(rate)) for rate in (1.0, 5.0, 9.0)] == ["fine"] * 3
    assert [label(record(rate)) for rate in (11.0, 12.0)] == ["oscillating"] * 2
    assert diagnose(record(12.0)).evidence["cycle"] > 0.4
    assert label(record(40.0)) in ("oscillating", "diverging")  # a cycle of five, ten times the first loss high
