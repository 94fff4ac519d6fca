"""Numbers of steps as people write them: floats, shares, none at all, and boundaries too many."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from lrx.schedules import _registry
from lrx.schedules._steps import Steps, is_steps
from tests.operations import by_operations

T = np.arange(256, dtype=np.int32)


def values(schedule):
    rates = by_operations(lambda counts: jnp.broadcast_to(jax.vmap(schedule)(counts), T.shape).astype(jnp.float32))
    return np.asarray(rates(T), np.float64)


# ---------------------------------------------------------------- optax, with floats

WARM, DECAY = {"init_value": 0.0, "peak_value": 1.0}, {"transition_steps": 50.3, "decay_rate": 0.5}
CONTINUOUS = {
    "linear": ("linear_schedule", (1.0, 0.0, 96.15, 7.4)),
    "JaxMARL": ("linear_schedule", (1.0, 0.0, 0.05 * 1923)),
    "polynomial": ("polynomial_schedule", (1.0, 0.1, 1.5, 120.6)),
    "warmup_constant": ("warmup_constant_schedule", (0.0, 1.0, 0.05 * 1234)),
    "cosine": ("cosine_decay_schedule", (1.0, 150.7)),
    "warmup_cosine": ("warmup_cosine_decay_schedule", (0.0, 1.0, 0.05 * 1234, 0.1 * 2222)),
    "exponential": ("exponential_decay", (1.0, 50.3, 0.5, 10.2)),
    "warmup_exponential": ("warmup_exponential_decay_schedule", (0.0, 1.0, 20.6, 50.3, 0.5)),
    "interpolate": ("piecewise_interpolate_schedule", ("linear", 1.0, {50.4: 0.5, 100.7: 0.1})),
    "linear_onecycle": ("linear_onecycle_schedule", (200.4, 1.0)),
    "cosine_onecycle": ("cosine_onecycle_schedule", (200.4, 1.0)),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_jaxmarl_a_float_is_rounded_to_less_than_half_a_step_of_the_curve_of_optax(name):
    factory, arguments = CONTINUOUS[name]
    ours, theirs = values(getattr(lrx, factory)(*arguments)), values(getattr(optax, factory)(*arguments))
    steepest = np.abs(np.diff(theirs)).max()
    assert np.abs(ours - theirs).max() <= 0.75 * steepest + 1e-6
    tx = lrx.sgd(getattr(lrx, factory)(*arguments))
    assert {x.dtype.name for x in lrx.hyperparams(tx.init(np.ones(1, np.float32))).values()} <= {"float32", "int32"}


JUMPS = {
    "piecewise": lambda m: m.piecewise_constant_schedule(1.0, {10.2: 0.5, 20.7: 0.5, 0.07 * 3000: 0.1}),
    "join": lambda m: m.join_schedules([m.constant_schedule(x) for x in (1.0, 0.5, 0.25)], [10.2, 0.07 * 100 + 20]),
}


@pytest.mark.parametrize("make", JUMPS.values(), ids=JUMPS)
def test_a_boundary_that_is_a_float_has_the_values_of_optax(make):
    np.testing.assert_allclose(values(make(lrx)), values(make(optax)), rtol=1e-6)


def test_restarts_at_floats_are_where_those_of_optax_are():
    cycle = {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 5, "decay_steps": 20.5}
    ours, theirs = values(lrx.sgdr_schedule([cycle] * 10)), values(optax.sgdr_schedule([cycle] * 10))
    starts = np.flatnonzero(np.diff(ours) > 0.1)
    assert np.abs(ours - theirs)[starts].max() <= 0.2
    assert np.abs(ours - theirs).mean() < 0.05


@pytest.mark.parametrize("name", sorted(name for name in _registry.factories if hasattr(lrx, name)))
def test_a_share_where_steps_are_meant_is_an_error_that_names_the_way_out(name):
    factory = _registry.factories[name]
    steps = [k for k, x in inspect.signature(factory).parameters.items() if is_steps(x.annotation)]
    for k in steps:
        with pytest.raises(TypeError, match=rf"{k}=\.\.\.\) must be a whole number, got 0.05. .*round\(0.05 \* total"):
            factory(**{k: 0.05})


@pytest.mark.parametrize(
    "call",
    [
        lambda: lrx.join_schedules([1.0, 2.0], [0.5]),
        lambda: lrx.piecewise_value_schedule([0.5], [1.0, 2.0]),
        lambda: lrx.piecewise_constant_schedule(1.0, {0.5: 0.1}),
        lambda: lrx.piecewise_interpolate_schedule("linear", 1.0, {0.5: 0.1}),
        lambda: lrx.interpolated_schedule([0, 0.5], [1.0, 2.0]),
    ],
)
def test_a_share_among_boundaries_is_an_error(call):
    with pytest.raises(TypeError, match=r"must be a whole number, got 0.5. For a share of the run, give round"):
        call()


def test_floats_of_every_kind_and_traced_ones_are_rounded():
    for n in (4807.6, np.float32(4807.6), np.float64(4807.6), jnp.float32(4807.6)):
        assert lrx.linear_schedule(1.0, 0.0, n) == lrx.linear_schedule(1.0, 0.0, 4808)
    assert jax.jit(lambda n: lrx.linear_schedule(1.0, 0.0, n)(2))(4.2) == 0.5
    for bad in (-1.5, float("nan"), float("inf")):
        with pytest.raises((TypeError, ValueError), match=r"must be a whole number|must not be negative"):
            lrx.shift(1.0, bad)
    assert not is_steps(int) and is_steps(Steps | None)


# ---------------------------------------------------------------- no steps

ZEROS = {
    "minimax 10": ("linear_schedule", (3e-4, 0.0, 0)),
    "linear_begin": ("linear_schedule", (3e-4, 0.1, 0, 5)),
    "polynomial": ("polynomial_schedule", (0.3, 0.0, 2.0, 0, 3)),
    "power_0": ("polynomial_schedule", (0.3, 0.1, 0.0, 7)),
    "warmup_constant": ("warmup_constant_schedule", (0.1, 0.3, 0)),
    "warmup_cosine": ("warmup_cosine_decay_schedule", (0.1, 0.3, 0, 9)),
    "exponent_0": ("cosine_decay_schedule", (0.1, 100, 0.0, 0.0)),
    "warmup_exponent_0": ("warmup_cosine_decay_schedule", (0.1, 0.3, 5, 9, 0.05, 0.0)),
    "warmup_exponential": ("warmup_exponential_decay_schedule", (0.1, 0.3, 0, 5, 0.5)),
    "piecewise": ("piecewise_constant_schedule", (0.3, {0: 0.5, 3: 0.5})),
    "interpolate": ("piecewise_interpolate_schedule", ("linear", 0.3, {0: 0.5})),
    "interpolate_twice": ("piecewise_interpolate_schedule", ("cosine", 0.3, {0: 0.5, 9: 0.5})),
    "sgdr": ("sgdr_schedule", ([{"init_value": 0.1, "peak_value": 0.3, "warmup_steps": 0, "decay_steps": 5}] * 2,)),
    "one_cycle": ("cosine_onecycle_schedule", (50, 0.3, 0.0)),
}


@pytest.mark.parametrize("name", ZEROS)
def test_minimax_10_functions_with_a_name_of_optax_have_its_meaning_of_nothing(name):
    factory, arguments = ZEROS[name]
    schedule = getattr(lrx, factory)(*arguments)
    expected = values(getattr(optax, factory)(*arguments))
    np.testing.assert_allclose(values(schedule), expected, rtol=1e-5, atol=1e-7)
    ones = np.ones(1, np.float32)
    state = lrx.sgd(schedule).init(ones)  # where the numbers are traced
    assert by_operations(lrx.sgd(schedule).update)(ones, state)[0] == pytest.approx(-expected[0], rel=1e-5)


# ---------------------------------------------------------------- boundaries too many


def test_maxtext_surplus_boundaries_are_left_out():
    parts = [lrx.linear_schedule(0.0, 1.0, 5), lrx.cosine_decay_schedule(1.0, 45)]
    joined = lrx.join_schedules(parts, [5, 50])
    assert joined == lrx.join_schedules(parts, [5]) == lrx.join_schedules(parts, [5, 50, 60])
    assert lrx.from_json(joined.to_json()) == joined
    np.testing.assert_allclose(values(joined), values(optax.join_schedules(parts, [5, 50])), rtol=1e-5, atol=1e-7)
    assert lrx.join_schedules([1.0], [3]) == lrx.join_schedules([1.0], [])
    assert lrx.piecewise_value_schedule([5, 50], [1.0, 2.0]) == lrx.piecewise_value_schedule([5], [1.0, 2.0])
    with pytest.raises(ValueError, match=r"boundaries=...\) must not be negative, got -3"):
        lrx.join_schedules([1.0], [-3])


def test_a_share_of_the_run_is_a_whole_number_of_updates():
    assert [lrx.share(x, of=1234) for x in (0, 0.05, 1 / 3, 1)] == [0, 62, 411, 1234]
    with pytest.raises(ValueError, match=r"share\(fraction=...\) must not exceed 1, got 5"):
        lrx.share(5, of=100)
    with pytest.raises(TypeError, match=r"share\(of=...\) must be a whole number, got 10.5"):
        lrx.share(0.05, of=10.5)
