"""Labels of records that begin after the first steps of their runs, as logs after warmup do."""

from types import SimpleNamespace

import numpy as np
import pytest

from lrx.diagnosis import diagnose

TOO_HIGH = {"oscillating", "diverging", "dead"}
T = np.arange(900) / 900


def label(losses, best=None, **options):
    return diagnose(losses, best, **options).label


def noise(seed, n, size=1.0):
    return size * np.random.default_rng(seed).standard_normal(n)


@pytest.fixture
def after_warmup():
    """Language models, under a constant rate, WSD and cosine, whose logs begin with every 128th step from 2,176 on."""
    steps = np.arange(128, 24_000, 128)
    t = steps / 24_000
    rates = [np.ones_like(t), np.minimum(1, (1 - t) / 0.2), 0.55 + 0.45 * np.cos(np.pi * t)]
    curves = [2.8 + 7.7 * (1 + t / 0.01) ** -p + 0.1 * rate for p in (0.6, 0.9) for rate in rates]
    pairs = enumerate(zip(curves, 2 * rates, strict=True))
    return [(x + noise(seed, t.size, 0.02), rate, steps) for seed, (x, rate) in pairs]


def part(curve, first):
    losses, rates, steps = curve
    i = np.searchsorted(steps, first)
    return SimpleNamespace(losses=losses[i:], learning_rates=rates[i:], steps=steps[i:])


def test_a_log_that_begins_after_warmup_is_not_too_low(after_warmup):
    for curve in after_warmup:
        late = part(curve, 2176)
        assert label(part(curve, 0)) == "fine"
        assert label(late) in ("fine", "unknown")
        assert label(part(curve, 8000)) in ("fine", "unknown")
    seen = [label(late.losses, learning_rates=late.learning_rates) for late in (part(c, 2176) for c in after_warmup)]
    assert "too_low" in seen  # if nobody says that the start is missing


def test_a_fall_without_its_start_is_not_slow():
    straight = 2.3 - 0.5 * T + noise(0, 900, 0.02)
    found = diagnose(SimpleNamespace(losses=straight, steps=np.arange(900) + 100))
    assert (found.label, found.factor, found.interval) == ("unknown", 1.0, (0.0, np.inf))
    assert found.evidence["missing"] == pytest.approx(0.099, rel=0.01)
    assert found.text == (
        "The record begins after 9.9% of the steps: what falls slowly then may have fallen fast before. "
        "Give the log from the first step, or beside it the record of a better run and the rates of both."
    )
    not_finite = np.where(np.arange(900) < 100, np.nan, straight)
    assert label(not_finite) == "unknown"
    for steps in (np.arange(900), np.arange(1, 901), 100 * np.arange(1, 901), 100 * np.arange(900) + 100):
        assert label(SimpleNamespace(losses=straight, steps=steps)) == "too_low"  # nothing is missing, or next to it


def test_what_is_too_high_shows_without_the_start():
    steps = np.arange(900) + 200
    swings, climbs, blows_up = np.sin(2 * np.pi * 45 * T), T, np.exp(-T / 0.1) + 2 * np.exp(40 * (T - 1))
    for losses in (swings, climbs, blows_up):
        assert label(SimpleNamespace(losses=losses + noise(0, 900, 0.01), steps=steps)) in TOO_HIGH


def test_a_best_run_is_compared_at_the_same_steps(after_warmup):
    for curve in after_warmup:
        late, whole = part(curve, 2176), part(curve, 0)
        for best in (whole, late, part(curve, 8000)):
            assert label(whole, best) == label(late, best) == "fine"
        behind = SimpleNamespace(losses=late.losses + 1 - 0.3 * late.steps / 24_000, steps=late.steps)
        behind.learning_rates = 0.1 * late.learning_rates
        for best in (whole, late):
            found = diagnose(behind, best)
            assert found.label == "too_low" and found.factor == pytest.approx(10)


def test_steps_that_go_back_are_refused(after_warmup):
    losses, rates, steps = after_warmup[0]
    for wrong in (steps[::-1], np.where(steps == steps[5], np.nan, steps)):
        with pytest.raises(
            ValueError, match=r"diagnose\(losses=...\) must have .steps that are finite and do not decrease"
        ):
            diagnose(SimpleNamespace(losses=losses, learning_rates=rates, steps=wrong))
