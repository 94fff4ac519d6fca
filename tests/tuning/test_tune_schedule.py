"""Gradients through training: against finite differences, both modes, memory, and what is made of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrx
from lrx.tuning._through_training import Numbers, Training, value_and_gradient
from tests.tuning.bowl import drawn

SCALES = jnp.array([0.3, 3.0])


def noisy_bowl(**changes):
    """A quadratic whose batches pull it to and fro."""
    functions = dict(
        init=lambda key: 1.0 + 0.1 * drawn(key),
        loss=lambda params, batch, key=None: jnp.sum(SCALES * (params - 0.1 * batch) ** 2),
        sample=drawn,
    )
    return lrx.Problem(**(functions | changes))


def training(schedule, make_optimizer, steps, by="training", problem=None, batches=None):
    return Training(problem or noisy_bowl(), make_optimizer, Numbers.of(schedule), steps, by, batches)


KNOTS = lrx.interpolated_schedule([0, 5, 10, 17], [0.05, 0.1, 0.08, 0.01])
KEYS = jax.random.split(jax.random.key(0), 3), jax.random.split(jax.random.key(1), 3)


@pytest.mark.parametrize("make_optimizer", [lrx.adam, lambda s: lrx.sgd(s, momentum=0.9)], ids=["adam", "momentum"])
def test_gradients_are_those_of_finite_differences(make_optimizer):
    run = training(KNOTS, make_optimizer, 17)
    phi = jnp.array([0.1, -0.2, 0.05, 0.3])
    losses, gradients = value_and_gradient(run, "reverse")(phi, KEYS)
    forward = value_and_gradient(run, "forward")(phi, KEYS)
    np.testing.assert_allclose(forward[0], losses, rtol=1e-6)
    np.testing.assert_allclose(forward[1], gradients, rtol=1e-4, atol=1e-6)
    values = jax.jit(run.losses)
    np.testing.assert_allclose(values(phi, KEYS), losses, rtol=1e-6)
    h = 0.03
    for i, e in enumerate(np.eye(4)):
        differences = (values(phi + h * e, KEYS) - values(phi - h * e, KEYS)) / (2 * h)
        scale = np.abs(gradients).max()
        np.testing.assert_allclose(gradients[:, i], differences, rtol=0.01, atol=0.003 * scale)


def test_gradients_in_float64_are_exact():
    """Against central differences where float32 does not blur them: the schedule itself stays float32."""
    with jax.enable_x64(True):
        problem = noisy_bowl(
            init=lambda key: jnp.array([0.9, 1.1], jnp.float64),
            sample=lambda key: drawn(key).astype(jnp.float64),
        )
        run = training(lrx.constant_schedule(0.125), lambda s: lrx.sgd(s), 16, problem=problem)
        phi, h = jnp.zeros(1), 2.0**-7
        _, gradient = value_and_gradient(run, "reverse")(phi, KEYS)
        values = jax.jit(run.losses)
        coarse, fine = ((values(phi + d, KEYS) - values(phi - d, KEYS)) / (2 * d) for d in (2 * h, h))
        np.testing.assert_allclose(gradient[:, 0], (4 * fine - coarse) / 3, rtol=2e-4)


def test_memory_grows_as_the_square_root_of_the_steps():
    """A hundred times the steps: ten times the states that are kept, not a hundred times."""
    problem = noisy_bowl(
        init=lambda key: jnp.ones((2, 6000)), loss=lambda p, b, key=None: jnp.sum(SCALES[:, None] * p**2)
    )

    def peak(steps):
        run = training(lrx.constant_schedule(1e-3), lrx.sgd, steps, problem=problem)
        function = jax.jit(jax.value_and_grad(lambda phi: run.loss(phi, KEYS[0][0], KEYS[1][0])))
        return function.lower(jnp.zeros(1)).compile().memory_analysis().temp_size_in_bytes

    small, large = peak(25), peak(2500)
    assert large < 20 * small
    assert large < 2500 * 2 * 6000 * 4 / 5  # a fifth of all states


def test_a_schedule_improves_and_comes_back_as_a_schedule():
    start = lrx.interpolated_schedule([0, 20, 40], [0.02, 0.02, 0.02])
    seen = []
    tuned = lrx.tune_schedule(
        noisy_bowl(), lrx.sgd, start, steps=40, rounds=25, seeds=3, progress=lambda i, loss: seen.append((i, loss))
    )
    assert tuned.names == ("values[0]", "values[1]", "values[2]")
    assert tuned.losses.shape == (25, 3) and tuned.gradients.shape == (25, 3, 3) and len(seen) == 25
    assert tuned.after < 0.5 * tuned.before and np.nanmin(tuned.agreement) > -1 and tuned.agreement[0] > 0.9
    assert lrx.from_json(tuned.schedule.to_json()) == tuned.schedule
    # noise is better averaged by a rate that falls
    assert tuned.schedule(40) < tuned.schedule(20)


def test_any_numbers_can_be_tuned_and_zeros_and_lengths_stay():
    start = {"learning_rate": lrx.warmup_linear_schedule(0.1, 4, total_steps=30), "momentum": 0.5}
    tuned = lrx.tune_schedule(
        noisy_bowl(), lambda n: lrx.sgd(**n), start, steps=30, rounds=6, seeds=1, mode="reverse", key=3
    )
    assert tuned.names == ("learning_rate.peak_value", "momentum")
    new = tuned.schedule["learning_rate"]
    assert new.init_value == 0.0 and new.end == start["learning_rate"].end and new.peak_value != 0.1
    assert np.isnan(tuned.agreement).all() and isinstance(tuned.schedule["momentum"], float)


def test_batches_from_the_host_and_validation():
    data = np.random.default_rng(0).normal(size=(7, 2)).astype(np.float32)
    problem = lrx.Problem(
        init=lambda key: jnp.ones(2),
        loss=lambda params, batch, key=None: jnp.sum(SCALES * (params - 0.1 * batch) ** 2),
        batches=lambda: iter(data),
        evaluate=lambda params: {"loss": jnp.sum(SCALES * params**2)},
    )
    tuned = lrx.tune_schedule(problem, lrx.sgd, 0.01, steps=15, rounds=8, seeds=1, by="validation")
    assert tuned.names == ("value",) and tuned.after < tuned.before
    params, rate = np.ones(2), np.float32(tuned.schedule)
    for t in range(15):
        params = params - rate * 2 * np.asarray(SCALES) * (params - 0.1 * data[t % 7])
    assert tuned.after == pytest.approx(np.sum(np.asarray(SCALES) * params**2), rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            dict(schedule=lrx.constant_schedule(0.0)),
            ValueError,
            r"tune_schedule\(schedule=...\) must have a number other than 0",
        ),
        (dict(schedule=3), ValueError, "written as a float"),
        (dict(steps=0), ValueError, r"steps=...\) must be positive"),
        (dict(mode="backward"), ValueError, "must be one of 'auto', 'reverse', 'forward'"),
        (dict(by="validation"), ValueError, "needs a problem whose evaluate"),
        (dict(schedule=lrx.constant_schedule(1e6)), ValueError, "must start with a finite loss and gradient"),
        (dict(make_optimizer=lrx.adam(1e-3)), TypeError, "must be a function of the learning rate"),
        (dict(hyper_learning_rate=0.0), ValueError, r"hyper_learning_rate=...\) must be positive"),
    ],
)
def test_errors(changes, error, message):
    arguments = dict(make_optimizer=lrx.sgd, schedule=lrx.constant_schedule(0.1), steps=30) | changes
    with pytest.raises(error, match=message):
        lrx.tune_schedule(noisy_bowl(), **arguments)


def test_numbers_that_must_stay_below_one_do():
    """A momentum of .9 grows where the rate is far too low, and in logarithms would pass 1."""
    start = {"learning_rate": 1e-4, "momentum": 0.95}
    tuned = lrx.tune_schedule(
        noisy_bowl(), lambda n: lrx.sgd(**n), start, steps=8, rounds=12, seeds=1, hyper_learning_rate=0.4
    )
    assert 0.95 < tuned.schedule["momentum"] < 1 and tuned.after < tuned.before
    assert tuned.schedule["learning_rate"] > start["learning_rate"]
    numbers = Numbers.of(start, lambda n: lrx.sgd(**n))
    assert numbers.shares == (False, True)
    assert numbers.at(np.log([2.0, 3.0]), concrete=True) == pytest.approx(
        {"learning_rate": 2e-4, "momentum": 57 / 58}, rel=1e-6
    )  # odds of 19, times 3
    onecycle = Numbers.of(lrx.linear_onecycle_schedule(20, 0.1), lrx.sgd)
    assert dict(zip(onecycle.names, onecycle.shares, strict=True))["pct_start"]


def test_a_step_into_what_is_refused_is_halved():
    def make(rate):
        if rate > 0.08:
            raise ValueError
        return lrx.sgd(rate)

    tuned = lrx.tune_schedule(noisy_bowl(), jax_or(make), 0.02, steps=8, rounds=12, seeds=1, hyper_learning_rate=0.5)
    assert 0.02 < tuned.schedule <= 0.08


def jax_or(make):
    return lambda rate: lrx.sgd(rate) if isinstance(rate, jax.core.Tracer) else make(rate)


def test_the_loss_before_the_only_update_cannot_be_tuned():
    with pytest.raises(ValueError, match=r"tune_schedule\(steps=...\) must be at least 2"):
        lrx.tune_schedule(noisy_bowl(), lrx.sgd, 0.1, steps=1)
