"""Labels of records whose learning rate is known: analytic curves, gradient descent, and training on real digits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrx.diagnosis import Diagnosis, diagnose
from lrx.problems import digits

pytestmark = pytest.mark.usefixtures("cheap_module")
STEPS = np.arange(200)
KEYS = {
    "steps", "non_finite", "gap", "early_gap", "early_speed", "falling", "progress",
    "rise", "climb", "spike", "swing", "cycle",
}  # fmt: skip
LABELS = {"too_low", "fine", "oscillating", "diverging"}


def label(losses, best=None):
    return diagnose(losses, best).label


# ---------------------------------------------------------------- analytic records


@pytest.mark.parametrize(
    "losses, expected",
    [
        (np.linspace(2.3, 2.2, 200), "too_low"),
        (np.exp(-STEPS / 1000), "too_low"),
        (np.full(200, 2.3), "too_low"),  # nothing happens
        (np.exp(-STEPS / 10), "fine"),
        (1 / (1 + STEPS) ** 1.5, "fine"),
        (np.exp(-STEPS / 10) - 5, "fine"),  # a log-likelihood may be negative
        (2 + 0.5 * (-1.0) ** STEPS, "oscillating"),
        (2 + 0.5 * np.sin(STEPS), "oscillating"),
        (2 + 0.5 * np.sin(STEPS / 10), "oscillating"),
        (np.exp(-STEPS / 10) + 0.2 * (STEPS % 2), "oscillating"),
        (1.05**STEPS, "diverging"),
        (np.exp(-STEPS / 10) + 1.05 ** (STEPS - 150), "diverging"),  # after a good start
        (-np.exp(-STEPS / 10) + 1.5 ** (STEPS - 195), "diverging"),
        (np.where(STEPS < 150, 1.0, np.nan), "diverging"),
        (np.where(STEPS < 150, 1.0, np.inf), "diverging"),
        (np.full(200, np.nan), "diverging"),
    ],
)
def test_analytic_records(losses, expected):
    assert label(losses) == expected


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("steps", [20, 100, 1000])
def test_mini_batch_noise_is_not_oscillation(seed, steps):
    noise = np.random.RandomState(seed).randn(steps)
    curve = np.exp(-np.arange(steps) / (0.05 * steps))
    assert label(1 + curve + 0.1 * noise) == "fine"
    assert label(1 + curve + 0.1 * noise, best=1 + curve) == "fine"
    assert label(1 - 0.0001 * np.arange(steps) / steps + 0.1 * noise) == "too_low"  # noise and nothing else


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
    assert diagnose(record(12.0)).evidence["cycle"] > 0.9
    assert label(record(40.0)) == "diverging"


# ---------------------------------------------------------------- real training

DIGITS_STEPS = 300
FACTORS = (0.01, 0.1, 0.5, 1.0, 2.0, 1000.0)


@functools.cache
def trainer(optimizer):
    """`train(rates, keys)`: the losses under each row of rates and each key, shape (row, key, step)."""
    problem = digits()

    def record(rates, key):
        init_key, data_key = jax.random.split(key)
        params = problem.init(init_key)
        tx = getattr(optax, optimizer)(lambda count: rates[count])

        def step(carry, key):
            params, state = carry
            loss, grads = jax.value_and_grad(problem.loss)(params, problem.sample(key))
            updates, state = tx.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), loss

        return jax.lax.scan(step, (params, tx.init(params)), jax.random.split(data_key, rates.size))[1]

    return jax.jit(jax.vmap(jax.vmap(record, (None, 0)), (0, None)))


def digits_records(optimizer, best, schedule):
    """Records at multiples of the best rate, two seeds."""
    time = np.arange(DIGITS_STEPS) / DIGITS_STEPS
    shape = {"constant": np.ones(DIGITS_STEPS), "cosine": 0.5 * (1 + np.cos(np.pi * time))}[schedule]
    rates = best * np.outer(FACTORS, shape)
    return np.asarray(trainer(optimizer)(jnp.asarray(rates, jnp.float32), jax.random.split(jax.random.key(0), 2)))


RUNS = [("adam", 0.01, "constant"), ("adam", 0.02, "cosine"), ("sgd", 0.3, "constant")]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run[0]}-{run[2]}")
def test_digits(run):
    records = digits_records(*run)
    best = records[FACTORS.index(1.0)]
    for seed in range(2):
        for reference in (best[0], best[1], float(best[0][-20:].mean())):
            labels = [label(record[seed], reference) for record in records]
            assert labels[0] == "too_low", labels
            assert labels[2:4] == ["fine"] * 2, labels
            assert labels[-1] in ("diverging", "oscillating"), labels
        assert label(best[seed]) == "fine"
        assert label(records[-1][seed]) in ("diverging", "oscillating")
        if run[-1] == "constant":  # a decaying schedule flattens every record
            assert label(records[0][seed]) == "too_low"


# ---------------------------------------------------------------- the contract


def test_evidence_has_stable_keys_and_the_repr_shows_it():
    for losses, best in [(np.exp(-STEPS / 10), None), ([1.0], None), ([np.nan] * 20, 0.5), (STEPS[::-1], STEPS[::-1])]:
        result = diagnose(losses, best)
        assert isinstance(result, Diagnosis) and result.label in LABELS
        assert set(result.evidence) == KEYS and all(type(x) is float for x in result.evidence.values())
    assert repr(diagnose([1.0, np.nan])) == "Diagnosis('diverging', steps=2, non_finite=0.5)"
    assert "gap" not in repr(diagnose(STEPS)) and "gap=" in repr(diagnose(STEPS, 1.0))


@pytest.mark.parametrize("steps", range(1, 10))
def test_too_short_to_tell(steps):
    assert label(np.linspace(1.0, 9.0, steps)) == "fine"
    assert label(np.append(np.ones(steps), np.nan)) == "diverging"


def test_a_loss_that_is_missing_in_the_middle_is_left_out():
    losses = np.exp(-STEPS / 10)
    losses[50] = np.inf
    result = diagnose(losses)
    assert result.label == "fine" and result.evidence["non_finite"] == pytest.approx(1 / 200)


def test_best_at_the_same_step():
    """A running record is compared with what the best run had reached by then."""
    best = np.exp(-np.arange(1000) / 300)
    assert label(best[:200], best) == "fine"
    assert label(best[:200]) == "too_low"
    assert diagnose(best[:200], best).evidence["gap"] <= 0 < diagnose(best[:200], best[-1]).evidence["gap"]


def test_too_high_without_a_spike_falls_behind_the_best():
    best = np.exp(-STEPS / 30)
    assert label(0.6 + 0.4 * np.exp(-STEPS / 5), best) == "oscillating"  # fast at first, stuck above
    assert label(np.exp(-STEPS / 300), best) == "too_low"


def test_input_kinds():
    losses = np.exp(-STEPS / 10)
    expected = diagnose(losses.astype(np.float32)).label
    for kind in (list, tuple, jnp.asarray, lambda x: jnp.asarray(x, jnp.bfloat16)):
        assert diagnose(kind(losses)).label == expected
    assert label(losses * 1e300) == label(losses * 1e-300) == expected


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(-1000, 1000), min_size=2, max_size=60),
    st.integers(-30, 30),
    st.integers(-(2**20), 2**20),
    st.one_of(st.none(), st.integers(-1000, 1000)),
)
def test_scale_and_shift_change_nothing(losses, power, shift, best):
    losses = np.array(losses, float)
    expected = diagnose(losses, best)
    other = diagnose((losses + shift) * 2.0**power, None if best is None else (best + shift) * 2.0**power)
    assert other.label == expected.label
    for name, x in expected.evidence.items():
        assert other.evidence[name] == pytest.approx(x, rel=1e-6, abs=1e-6, nan_ok=True), name


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
    ],
)
def test_errors_say_what_is_wrong(call, kind, message):
    with pytest.raises(kind) as error:
        call()
    assert str(error.value) == message
