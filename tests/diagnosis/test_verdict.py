"""Labels of recorded training on digits and of what people met; properties and the contract of `diagnose`."""

import re
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrx import Recorder
from lrx.diagnosis import Diagnosis, diagnose

STEPS = np.arange(200)
LABELS = {"too_low", "fine", "oscillating", "diverging", "dead", "unknown"}
TOO_HIGH = {"oscillating", "diverging", "dead"}
RECORDED = Path(__file__).parents[1] / "data" / "doctor.npz"


def label(losses, best=None, **options):
    return diagnose(losses, best, **options).label


def noise(seed, n, size=1.0):
    return size * np.random.default_rng(seed).standard_normal(n)


# ---------------------------------------------------------------- recorded training on digits


@pytest.fixture(scope="module")
def digits():
    """Written by `python -m benchmarks.doctor.threads`; rates from a thousandth to a thousand times the best."""
    with np.load(RECORDED) as held:
        return {name: held[name].astype(float) for name in held.files}


MULTIPLES = np.geomspace(0.001, 1000.0, 13)


@pytest.mark.parametrize("run, best", [("adam_constant", 0.01), ("adam_cosine", 0.02), ("sgd_constant", 0.3)])
def test_digits(digits, run, best):
    records, shape = digits[run], digits["cosine"] if run.endswith("cosine") else np.ones(300)
    reference = SimpleNamespace(losses=records[6], learning_rates=best * shape)
    for i, losses in enumerate(records):
        rates = best * MULTIPLES[i] * shape
        alone, beside = diagnose(losses, learning_rates=rates), diagnose(losses, records[6], learning_rates=rates)
        if i <= 2:
            assert alone.label == beside.label == "too_low", (i, alone, beside)
            assert alone.factor > 3 and beside.factor > 10
        if i >= 9:
            assert alone.label in TOO_HIGH and beside.label in TOO_HIGH, (i, alone, beside)
            assert alone.factor < 0.5
        known = diagnose(losses, reference, learning_rates=rates)
        assert known.factor == pytest.approx(1 / MULTIPLES[i])  # both rates are known
        assert known.label == "fine" or (known.label == "too_low") == (i < 6)
    assert label(records[6], learning_rates=best * shape) == "fine"
    assert label(records[6], records[6]) == "fine"


# ---------------------------------------------------------------- faults, by what people met


@pytest.mark.parametrize("period", [4, 8, 16])
def test_data_order_that_repeats_is_not_oscillation(digits, period):
    losses = digits[f"repeated_{period}"][0]
    for told in (None, period):
        assert label(losses, period=told) in ("too_low", "unknown"), told
    assert diagnose(losses).evidence["period"] % period == 0


def test_a_drop_when_the_rate_falls_is_no_slowness(digits):
    """Noisy inputs under warmup, stable, decay."""
    best, *high = zip(digits["noisy"], digits["noisy_rates"], strict=True)
    assert label(best[0], learning_rates=best[1]) not in TOO_HIGH
    found = [label(losses, learning_rates=rates) for losses, rates in high]
    assert "too_low" not in found and sum(x in TOO_HIGH for x in found) >= 2, found


def test_dead_relus_are_not_fine(digits):
    for losses in (*digits["dead"], *digits["dead_adam"]):
        found = diagnose(losses)
        assert found.label in TOO_HIGH and found.factor < 0.7, found


def test_a_short_record_that_doubles_is_not_fine():
    assert label([2.0**i for i in range(9)]) == "diverging"
    assert label([2.0, 1.9, 2.1, 1.8]) == "unknown"


@pytest.mark.parametrize("first", [10.0, 100.0, 1e4])
def test_a_huge_first_loss_hides_nothing(first):
    slow, good = 2.3 - 0.8 * STEPS / 200 + noise(0, 200, 0.02), 0.3 + 2 * np.exp(-STEPS / 15) + noise(1, 200, 0.02)
    for losses in (slow, good):
        spoiled = losses.copy()
        spoiled[0] = first
        assert label(spoiled) == label(losses), first
        assert label(spoiled, good) == label(losses, good), first
    assert (label(slow), label(good), label(slow, good)) == ("too_low", "fine", "too_low")


T = np.arange(900) / 900


def cosine_to_zero():
    return 0.5 * (1 + np.cos(np.pi * T)) + 1e-4


def epoch_staircase():
    """FastChat#2025, alpaca#236: the loss drops at the start of each epoch and is flat within."""
    return 1.5 + 0.4 * np.exp(-T / 0.02) - 0.35 * np.floor(3 * T) + noise(0, 900, 0.05), cosine_to_zero()


def spike_that_recovers():
    """tacotron2#387."""
    spike = 1.5 * np.exp(-(T - 0.6) / 0.004) * (T >= 0.6)
    return 0.2 + 1.3 * (1 + T / 0.01) ** -0.8 + spike + noise(1, 900, 0.02), None


def cycles_of_the_schedule():
    rate = 0.1 + 0.9 * (1 - np.abs(2 * ((5 * T) % 1) - 1))
    return 0.2 + 2 * (1 + T / 0.01) ** -0.8 + 0.15 * rate + noise(2, 900, 0.03), rate


def step_decay_of_a_resnet():
    rate = np.where(T < 0.5, 1.0, np.where(T < 0.75, 0.1, 0.01))
    return (0.9 * np.exp(-T / 0.05) + 0.05 + 0.35 * rate**0.5) * (1 + noise(3, 900, 0.08)), rate


def sequence_length_curriculum():
    jumps = 0.12 * np.exp(-((4 * T) % 1) / 0.2) * (T > 0.25)
    return 0.2 + 2 * np.exp(-T / 0.1) + jumps + noise(4, 900, 0.02), None


def reinforcement_learning():
    x = noise(5, 900)
    for i in range(1, 900):
        x[i] += 0.7 * x[i - 1]
    return np.exp(-T / 0.05) + 0.06 * x, None


HEALTHY = [
    epoch_staircase,
    spike_that_recovers,
    cycles_of_the_schedule,
    step_decay_of_a_resnet,
    sequence_length_curriculum,
    reinforcement_learning,
]


@pytest.mark.parametrize("curve", HEALTHY, ids=lambda curve: curve.__name__)
def test_healthy_curves_that_people_post(curve):
    losses, rates = curve()
    assert label(losses, learning_rates=rates) in ("fine", "unknown")


def test_overfitting_is_named_and_is_no_rate():
    losses = 0.05 + 2 * np.exp(-T / 0.05) + noise(6, 900, 0.02)
    held_out = 0.8 + 1.5 * np.exp(-T[::30] / 0.05) + 0.8 * np.maximum(T[::30] - 0.3, 0)
    found = diagnose(losses, validation=held_out)
    assert found.label == diagnose(losses).label == "fine"
    assert found.evidence["overfitting"] > 0.2 and 0.2 < found.evidence["overfits_from"] < 0.5
    assert "overfits" in found.text and "overfits" not in diagnose(losses).text
    assert diagnose(losses, validation=losses[::30]).evidence["overfitting"] < 0.1


# ---------------------------------------------------------------- properties


def curves():
    yield from ((curve()[0], curve()[1]) for curve in HEALTHY)
    yield 2.3 - 0.5 * T + noise(7, 900, 0.02), None
    yield np.exp(-T / 0.04) + noise(8, 900, 0.05), None
    yield 1 + 0.01 * np.exp(12 * T), None
    yield 0.5 + np.exp(-T / 0.04) + 0.3 * np.minimum(T / 0.3, 1) * (1 + np.sin(300 * T)), None


@pytest.mark.parametrize("shift, scale", [(0.0, 2.0**20), (0.0, 2.0**-30), (8.0, 1.0), (-3.0, 0.5)])
def test_shift_and_scale_change_nothing(shift, scale):
    for losses, rates in curves():
        for best in (None, losses.min() + 0.3 * np.exp(-T / 0.02)):
            moved = None if best is None else (best + shift) * scale
            expected = diagnose(losses, best, learning_rates=rates)
            other = diagnose((losses + shift) * scale, moved, learning_rates=rates)
            assert other.label == expected.label
            assert other.factor == pytest.approx(expected.factor, rel=1e-3)


def test_only_the_shape_of_the_rates_matters():
    for losses, rates in curves():
        if rates is not None:
            one, other = diagnose(losses, learning_rates=rates), diagnose(losses, learning_rates=4 * rates)
            assert other.label == one.label and other.factor == pytest.approx(one.factor)


@pytest.mark.parametrize("every", [2, 3])
def test_a_thinner_record_says_nearly_the_same(every):
    for losses, rates in curves():
        whole = diagnose(losses, learning_rates=rates)
        thin = diagnose(losses[::every], learning_rates=None if rates is None else rates[::every])
        assert thin.label == whole.label
        assert abs(np.log10(thin.factor / whole.factor)) < 0.5


def test_more_noise_never_makes_a_verdict_more_certain():
    """On average over seeds: the probability of what is most probable, and the width of the interval."""
    for losses in (0.2 + np.exp(-T / 0.05), 1 - 0.5 * T):
        sure, last = [], 900
        for size in (0.03, 0.3, 1.0):
            found = [diagnose(losses + noise(seed, last, size)) for seed in range(8)]
            sure.append(np.mean([max(v for k, v in d.evidence.items() if k.startswith("prob")) for d in found]))
        assert sure[0] > sure[1] - 0.02 and sure[1] > sure[2] - 0.02, sure


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-1000, 1000), min_size=2, max_size=60),
    st.integers(-30, 30),
    st.integers(-(2**20), 2**20),
    st.one_of(st.none(), st.integers(-1000, 1000)),
)
def test_any_record_has_a_verdict_that_scale_and_shift_keep(losses, power, shift, best):
    losses = np.array(losses, float)
    expected = diagnose(losses, best)
    assert expected.label in LABELS and expected.interval[0] <= expected.factor <= expected.interval[1]
    other = diagnose((losses + shift) * 2.0**power, None if best is None else (best + shift) * 2.0**power)
    assert other.label == expected.label
    assert other.factor == pytest.approx(expected.factor, rel=1e-4)


# ---------------------------------------------------------------- the contract


def test_the_evidence_is_numbers_and_the_text_two_sentences():
    shown = set()
    for losses, rates in curves():
        found = diagnose(losses, learning_rates=rates)
        shown.add(found.label)
        assert isinstance(found, Diagnosis) and all(type(x) is float for x in found.evidence.values())
        assert found.interval[0] <= found.factor <= found.interval[1]
        assert found.text.endswith(".") and found.text.count(". ") == 1, found.text
    assert len(shown) >= 4
    assert "gap" in diagnose(STEPS[::-1], 1.0).evidence and "gap" not in found.evidence


def test_a_verdict_is_shown_in_a_line():
    form = re.compile(r"Diagnosis\('(\w+)', factor=([\d.e+-]+)(?:, probability=(0\.\d\d|1\.00))?\)")
    for losses, rates in curves():
        found = diagnose(losses, learning_rates=rates)
        label, factor, share = form.fullmatch(repr(found)).groups()
        assert label == found.label and float(factor) == pytest.approx(found.factor, rel=0.01)
        assert (share is None) == (label == "unknown")
        if share is not None:
            seen = label if label in ("too_low", "fine") else "too_high"
            assert float(share) == pytest.approx(found.evidence[f"probability_{seen}"], abs=0.005)
    assert repr(diagnose([2.3, 2.2, 2.1])) == "Diagnosis('unknown', factor=1)"
    assert repr(diagnose([2.0**i for i in range(9)])) == "Diagnosis('diverging', factor=0.1)"


def test_a_fine_rate_is_told_a_factor_only_where_one_is_excluded():
    for losses, rates in curves():
        found = diagnose(losses, learning_rates=rates)
        if found.label == "fine":
            low, high = found.interval
            assert ("times" in found.text) == (not low <= 1 <= high), found.text
    good = 0.3 + 2 * np.exp(-STEPS / 15) + noise(1, 200, 0.02)
    assert diagnose(good).text == "The learning rate looks fine. Keep it."
    held = SimpleNamespace(losses=good, learning_rates=0.1), SimpleNamespace(losses=good, learning_rates=0.5)
    assert diagnose(*held).text.endswith("About 5 times it may be a little better.")


@pytest.mark.parametrize("steps", [*range(1, 10), 20])
def test_too_short_to_tell(steps):
    found = diagnose(np.linspace(1.0, 9.0, steps))
    assert found.label == "unknown" and found.factor == 1.0 and found.interval == (0.0, np.inf)
    assert label(np.append(np.ones(steps), np.nan)) == "diverging"


def test_a_loss_that_is_missing_in_the_middle_is_left_out():
    losses = np.exp(-STEPS / 10) + noise(0, 200, 0.02)
    expected = label(losses)
    losses[50] = np.inf
    found = diagnose(losses)
    assert found.label == expected == "fine" and found.evidence["non_finite"] == pytest.approx(1 / 200)


def test_best_at_the_same_step():
    """A running record is compared with what the best run had reached by then, wherever the two were logged."""
    best = np.exp(-np.arange(1000) / 300) + noise(3, 1000, 0.05)
    assert label(best[:200], best) == "fine"
    thin = SimpleNamespace(losses=best[:200:5], steps=np.arange(0, 200, 5))
    assert label(thin, SimpleNamespace(losses=best, steps=np.arange(1000))) == "fine"
    assert label(np.exp(-STEPS / 3000) + noise(4, 200, 0.05), best) == "too_low"


def test_a_final_loss_as_the_best():
    good = 0.3 + 2 * np.exp(-STEPS / 15) + noise(1, 200, 0.02)
    assert label(good, 0.3) == "fine"
    assert label(2.3 - STEPS / 400 + noise(2, 200, 0.02), 0.3) == "too_low"


def test_input_kinds():
    losses = np.exp(-STEPS / 10) + noise(0, 200, 0.02)
    expected = diagnose(losses.astype(np.float32))
    for kind in (list, tuple, jnp.asarray):
        assert diagnose(kind(losses)).label == expected.label == "fine"
    held = SimpleNamespace(losses=losses, learning_rates=np.linspace(1, 0.1, 200), validation=losses[::10])
    assert diagnose(held).evidence["overfitting"] < 0.2 and diagnose(held).label == "fine"
    recorder = Recorder()
    for x in losses:
        recorder.add(float(x))
    assert diagnose(recorder).label == "fine"  # without rates
    assert label(losses * 1e300) == label(losses * 1e-300) == "fine"


def test_it_is_fast():
    """Work in proportion to the record: 10,000 losses take some milliseconds."""
    import time

    losses = np.exp(-np.arange(10_000) / 500) + noise(0, 10_000, 0.05)
    begin = time.process_time()
    for _ in range(5):
        diagnose(losses, losses)
    assert (time.process_time() - begin) / 5 < 0.05


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (
            lambda: diagnose([]),
            ValueError,
            "diagnose(losses=...) must be one-dimensional and not empty, got shape (0,).",
        ),
        (
            lambda: diagnose(np.ones((2, 3))),
            ValueError,
            "diagnose(losses=...) must be one-dimensional and not empty, got shape (2, 3).",
        ),
        (lambda: diagnose(["a"]), TypeError, "diagnose(losses=...) must hold real numbers, got dtype <U1."),
        (lambda: diagnose([1.0], np.nan), ValueError, "diagnose(best=...) must end in a finite loss, got nan."),
        (lambda: diagnose([1.0], [1.0, np.inf]), ValueError, "diagnose(best=...) must end in a finite loss, got inf."),
        (
            lambda: diagnose([1.0, 2.0], learning_rates=[0.1]),
            ValueError,
            "diagnose(learning_rates=...) must have an entry for each of the 2 losses, got 1.",
        ),
        (
            lambda: diagnose([1.0, 2.0], learning_rates=-0.1),
            ValueError,
            "diagnose(learning_rates=...) must be finite and not negative, got -0.1.",
        ),
    ],
)
def test_errors_say_what_is_wrong(call, kind, message):
    with pytest.raises(kind) as error:
        call()
    assert str(error.value) == message
