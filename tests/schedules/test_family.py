"""The family of schedules: lists from other libraries, faults that their users met, and differences from optax."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from tests.operations import by_operations
from tests.schedules.cases import is_count
from tests.schedules.cases import values_at as at

INT32_MAX = 2**31 - 1


def values(schedule, stop, start=0):
    return at(schedule, np.arange(start, stop)).astype(np.float64)


def has_finite_gradients(schedule, counts):
    """Whether the derivatives with respect to every real number of a schedule are finite at all of these counts."""

    schedule = jax.tree.map(lambda x: np.asarray(x, np.int32 if is_count(x) else np.float32), schedule)

    def slopes(count):
        leaves = jax.tree.leaves(jax.grad(lambda s: s(count), allow_int=True)(schedule))
        return [x for x in leaves if x.dtype == np.float32]

    return all(np.isfinite(x).all() for x in by_operations(jax.vmap(slopes))(np.asarray(counts, np.int32)))


# ---------------------------------------------------------------- lists that other libraries' own tests assert

ONECYCLE = [100, 400, 700, 1000, 775, 550, 325, 100, 67, 34, 1, 1]
GOLDEN = {
    "optax interpolate": (
        lrx.piecewise_interpolate_schedule("linear", 200.0, {5: 1.5, 10: 0.25}),
        [200, 220, 240, 260, 280, 300, 255, 210, 165, 120, 75, 75, 75],
    ),
    "optax linear onecycle": (lrx.linear_onecycle_schedule(10, 1000.0, 0.3, 0.7, 10.0, 100.0), ONECYCLE),
    "optax cosine onecycle": (
        lrx.cosine_onecycle_schedule(5, 1000.0, 0.4, 10.0, 100.0),
        [100, 550, 1000, 750.25, 250.75, 1, 1],
    ),
    "optax join": (lrx.join_schedules([1.0, 2.0, 1.0], [3, 6]), [1, 1, 1, 2, 2, 2, 1]),
    "torch OneCycleLR": (
        lrx.torch_onecycle_schedule(25.0, 10, anneal="linear", final_div_factor=2.0),
        [1, 13, 25, 21.5, 18, 14.5, 11, 7.5, 4, 0.5],
    ),
    "torch SequentialLR": (  # constant, then exponential: each from its own first step
        lrx.join_schedules([0.005, lrx.exponential_decay(0.05, 1, 0.9)], [3]),
        [0.005, 0.005, 0.005, 0.05, 0.045, 0.0405],
    ),
    "kozistr trapezoid": (
        lrx.wsd_schedule(1.0, 2, decay_steps=2, total_steps=6, shape="linear"),
        [0, 0.5, 1, 1, 1, 0.5, 0],
    ),
}


@pytest.mark.parametrize(("schedule", "expected"), GOLDEN.values(), ids=GOLDEN)
def test_values_that_other_libraries_assert(schedule, expected):
    np.testing.assert_allclose(values(schedule, len(expected)), expected, rtol=1e-5)


def test_values_of_hugging_face_inverse_sqrt():
    expected = [0, 5, 10, 8.165, 7.071, 6.325, 5.774, 5.345, 5, 4.714]
    np.testing.assert_allclose(values(lrx.inverse_sqrt_schedule(10.0, 2), 10), expected, rtol=5e-4)


def test_sgdr_peaks_where_those_of_optax_do():
    cycles = [
        {"init_value": 0.0, "peak_value": peak, "warmup_steps": 500, "decay_steps": steps}
        for peak, steps in ((1.6, 2000), (0.8, 3000), (0.4, 5000))
    ]
    ours, theirs = lrx.sgdr_schedule(cycles), optax.sgdr_schedule(cycles)
    np.testing.assert_array_equal(at(ours, [500, 2500, 5500]), np.float32([1.6, 0.8, 0.4]))
    counts = np.arange(0, 11_000, 100)
    np.testing.assert_allclose(at(ours, counts), jax.vmap(theirs)(counts), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("anneal", ["cos", "linear"])
def test_torch_onecycle_follows_the_phases_that_its_documentation_lists(anneal):
    """Three phases of 30 % up, 30 % down, and down to the end; the momentum mirrors the first two."""
    rate = lrx.torch_onecycle_schedule(1.0, 100, anneal=anneal, three_phase=True)
    momentum = lrx.torch_onecycle_momentum_schedule(100, anneal=anneal, three_phase=True)
    turns = [0, 29, 58, 99]
    np.testing.assert_array_equal(at(rate, turns), np.float32([0.04, 1, 0.04, 1 / 25e4]))
    np.testing.assert_array_equal(at(momentum, turns), np.float32([0.95, 0.85, 0.95, 0.95]))
    middle = {"cos": 0.5, "linear": 0.5}[anneal]
    assert float(rate(14.5)) == pytest.approx(0.04 + 0.96 * middle)


def test_fastai_onecycle_moves_momentum_against_the_rate():
    rate, momentum = lrx.fastai_onecycle_schedule(1.0, 100), lrx.fastai_onecycle_momentum_schedule(100)
    np.testing.assert_array_equal(at(rate, [0, 25, 100]), np.float32([0.04, 1, 1e-5]))
    np.testing.assert_array_equal(at(momentum, [0, 25, 100]), np.float32([0.95, 0.85, 0.95]))
    assert np.all(np.diff(values(rate, 101)) * np.diff(values(momentum, 101)) <= 0)


def test_torch_cyclic_takes_an_amplitude_of_its_own():
    """torch's scale_fn, here a function of the count: with 2^−cycle it is triangular2."""
    plain = {"half_cycle_steps": 4, "amplitude": lambda count: 0.5 ** (count // 8)}
    np.testing.assert_array_equal(
        values(lrx.triangular_schedule(1.0, 5.0, **plain), 30),
        values(lrx.triangular_schedule(1.0, 5.0, half_cycle_steps=4, mode="triangular2"), 30),
    )


def test_keras_inverse_time_and_its_staircase():
    np.testing.assert_allclose(
        values(lrx.inverse_time_schedule(1.0, 2, decay_rate=0.5, staircase=True), 6),
        [1, 1, 2 / 3, 2 / 3, 0.5, 0.5],
        rtol=1e-6,
    )


# ---------------------------------------------------------------- faults that users met


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("factory", [lrx.linear_onecycle_schedule, lrx.cosine_onecycle_schedule])
def test_optax_1403_one_cycle_of_few_steps(factory, steps):
    """optax keeps the turns as keys of a dict, where turns at one step overwrite each other, and is NaN at some."""
    schedule = factory(steps, 1.0, div_factor=4.0, final_div_factor=8.0)
    found = values(schedule, steps + 3)
    assert np.isfinite(found).all()
    assert found[0] == 1  # ⌊0.3 · steps⌋
    np.testing.assert_array_equal(found[steps:], 1 / 32)
    assert has_finite_gradients(schedule, np.arange(steps + 2))


def test_optax_835_the_last_value_of_one_cycle_is_the_one_that_the_docstring_gives():
    schedule = lrx.cosine_onecycle_schedule(100, 1.0, div_factor=4.0, final_div_factor=8.0)
    assert (schedule(0), schedule(30), schedule(100)) == (0.25, 1, 0.25 / 8)


def test_optax_503_one_cycle_is_jittable_in_its_length():
    swept = jax.jit(jax.vmap(lambda n: lrx.cosine_onecycle_schedule(n, 1.0)(jnp.arange(40))))(jnp.array([10, 30]))
    np.testing.assert_allclose(swept[1], lrx.cosine_onecycle_schedule(30, 1.0)(jnp.arange(40)), rtol=3e-7)


def test_optax_1255_values_can_be_given_as_they_are():
    """The scales of piecewise_interpolate_schedule accumulate; interpolated_schedule takes the values themselves."""
    scales = lrx.piecewise_interpolate_schedule("cosine", 1.0, {4: 0.1, 8: 0.5})
    plain = lrx.interpolated_schedule([0, 4, 8], [1.0, 0.1, 0.05], kind="cosine")
    np.testing.assert_allclose(values(scales, 10), values(plain, 10), rtol=1e-6)


def test_optax_join_an_unused_branch_does_not_poison_gradients():
    """optax evaluates every branch, also before its begin: the gradient of √(negative) is NaN."""

    def loss(peak):
        root = lrx.as_schedule(lambda count: peak * jnp.sqrt(jnp.float32(1) + count))
        falling = lrx.as_schedule(lambda count: peak * jnp.sqrt(jnp.float32(4) - count))
        schedule = lrx.join_schedules([falling, root], [4])
        return schedule(jnp.arange(100)).sum()

    assert np.isfinite(jax.grad(loss)(1.0))


def test_optax_logs_bad_input_where_lrx_raises():
    with pytest.raises(ValueError, match=re.escape("warmup_exponential_decay_schedule(transition_steps=...)")):
        lrx.warmup_exponential_decay_schedule(0.0, 1.0, 3, transition_steps=0, decay_rate=0.5)


def test_torch_185872_milestone_0():
    """torch's SequentialLR with a milestone at 0 fails, or runs its first scheduler for a step."""
    schedule = lrx.join_schedules([0.5, lrx.linear_schedule(1.0, 0.0, 4), 0.25], [0, 2])
    assert values(schedule, 4).tolist() == [1, 0.75, 0.25, 0.25]
    assert values(lrx.join_schedules([1.0, 2.0, 3.0], [2, 2]), 4).tolist() == [1, 1, 3, 3]


def test_torch_60265_162591_the_rate_is_a_function_of_the_count_alone():
    """A resumed SequentialLR goes on at another rate, since its parts are recursions."""
    schedule = lrx.join_schedules(
        [lrx.wsd_schedule(1.0, 2, decay_steps=3, stable_steps=2), lrx.rex_schedule(0.5, 9)], [7]
    )
    tx, params = lrx.sgd(schedule), jnp.zeros(1)
    state = tx.init(params)
    for count in range(12):
        state = lrx.resume(lrx.sgd(lrx.from_json(schedule.to_json())), params, state)
        assert lrx.learning_rate(state) == pytest.approx(float(schedule(max(count - 1, 0))), rel=1e-6)
        state = tx.update(jnp.ones(1), state, params)[1]


def test_torch_38170_onecycle_holds_its_last_value():
    schedule = lrx.torch_onecycle_schedule(1.0, 10)
    assert schedule.end == 9
    assert set(values(schedule, 30, start=9)) == {float(np.float32(1 / 25e4))}


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
@pytest.mark.parametrize("three_phase", [False, True])
def test_torch_onecycle_of_few_steps_is_finite(steps, three_phase):
    schedule = lrx.torch_onecycle_schedule(1.0, steps, three_phase=three_phase)
    assert np.isfinite(values(schedule, 8)).all()
    assert has_finite_gradients(schedule, np.arange(6))


def test_torch_152081_cosine_has_no_recursion_to_drift_or_divide_by_zero():
    schedule = lrx.flat_cosine_schedule(1.0, 1000, flat_fraction=0.0)
    np.testing.assert_allclose(
        values(schedule, 1001), np.cos(np.pi * np.arange(1001) / 2000) ** 2, rtol=1e-6, atol=1e-15
    )


def test_torch_69794_seams_of_a_sequence_are_where_they_are_said_to_be():
    schedule = lrx.join_schedules([lrx.linear_schedule(0.0, 1.0, 5), lrx.exponential_decay(1.0, 1, 0.5)], [5])
    assert values(schedule, 8, start=4).tolist() == pytest.approx([0.8, 1, 0.5, 0.25])


def test_hf_cosine_does_not_rise_again():
    """Neither past the end, where the cosine of Hugging Face and of torch goes up again, nor anywhere before."""
    for schedule in (
        lrx.warmup_cosine_decay_schedule(0.0, 10.0, 2, 10),
        lrx.flat_cosine_schedule(10.0, 10),
        lrx.k_decay_schedule(10.0, 10, k=2.0),
        lrx.wsd_schedule(10.0, 2, decay_steps=5, total_steps=10, shape="cosine"),
        lrx.cosine_onecycle_schedule(10, 10.0, pct_start=0.2),
    ):
        assert np.all(np.diff(values(schedule, 60)[3:]) <= 0)
        assert schedule(60) == schedule(10) == schedule(INT32_MAX)


def test_kozistr_382_wsd_default_is_1_sqrt():
    schedule = lrx.wsd_schedule(1.0, 0, decay_steps=4, stable_steps=0)
    np.testing.assert_allclose(values(schedule, 5), 1 - np.sqrt(np.arange(5) / 4), atol=1e-7)


@pytest.mark.parametrize("shape", ["linear", "1-sqrt", "1-square", "cosine", "exponential", "mirror-cosine"])
def test_kozistr_wsd_falls_to_its_end_value_without_a_jump_up(shape):
    """kozistr's cooldowns fall below the minimum, towards 0, and jump up to it at the end."""
    schedule = lrx.wsd_schedule(1.0, 5, decay_steps=50, total_steps=100, shape=shape, end_value=0.1)
    falling = values(schedule, 105, start=50)
    assert np.all(np.diff(falling) <= 0)
    assert falling[0] == 1
    assert set(falling[50:]) == {float(np.float32(0.1))}


def test_maxtext_2882_wsd_by_total_or_by_phases_is_one_curve():
    by_total = lrx.wsd_schedule(1.0, 5, decay_steps=20, total_steps=100)
    by_phases = lrx.wsd_schedule(1.0, 5, decay_steps=20, stable_steps=75)
    np.testing.assert_array_equal(values(by_total, 120), values(by_phases, 120))
    assert by_total.landmarks() == by_phases.landmarks()
    assert by_total.end == 100


def test_tf_2859_counts_and_lengths_up_to_int32_do_not_overflow():
    """A product step·batch in int32 made TensorFlow's rate jump."""
    n = INT32_MAX
    schedules = [
        lrx.power_schedule(1.0, 10, a=4.6, b=-0.51, batch_size=n),
        lrx.inverse_sqrt_schedule(1.0, n - 1, timescale=n),
        lrx.inverse_time_schedule(1.0, 1, decay_rate=1.0),
        lrx.noam_schedule(n, n - 1),
        lrx.wsd_schedule(1.0, n, decay_steps=n, stable_steps=n),
        lrx.infinite_schedule(1.0, n, cooldown_steps=n, constant_value=0.1),
        lrx.sgdr_schedule([{"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 0, "decay_steps": n}] * 3),
        lrx.linear_onecycle_schedule(n, 1.0),
        lrx.torch_onecycle_schedule(1.0, n, three_phase=True),
        lrx.knee_schedule(1.0, n, knee_fraction=0.5, warmup_steps=n // 2),
        lrx.chebyshev_schedule(0.01, 1.0, total_steps=n),
        lrx.interpolated_schedule([0, n - 1, n], [1.0, 0.5, 0.1], kind="cubic"),
    ]
    for schedule in schedules:
        found = values(schedule, n, start=n - 3)
        assert np.isfinite(found).all()
        assert np.all((found >= 0) & (found <= 1)), schedule
        assert np.all(np.abs(np.diff(found)) < 0.5) or isinstance(schedule, type(schedules[-2])), schedule
        assert has_finite_gradients(schedule, np.array([n]))


def test_torchtune_2010_the_first_step_need_not_be_at_rate_0():
    assert lrx.wsd_schedule(1.0, 10, decay_steps=5, total_steps=100, init_value=0.1)(0) == np.float32(0.1)
    assert lrx.warmup_constant_schedule(0.1, 1.0, 10)(0) == np.float32(0.1)


def test_timm_noise_is_replayable():
    schedule = lrx.noisy(lrx.linear_schedule(1.0, 0.5, 100), scale=0.1, key=jax.random.key(7))
    base = values(schedule.s, 1000)
    found = values(schedule, 1000)
    again = values(lrx.from_json(schedule.to_json()), 1000)
    np.testing.assert_array_equal(found, again)
    assert found[17] == float(schedule(17)) == float(jax.jit(schedule)(17))
    relative = found / base - 1
    assert np.all(np.abs(relative) <= 0.1 + 1e-6)
    assert abs(relative.mean()) < 0.01
    assert relative.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.1)
    other = lrx.noisy(schedule.s, scale=0.1, key=jax.random.key(8))
    assert np.abs(values(other, 100) - found[:100]).max() > 0.01


def test_timm_tanh_and_k_decay_have_the_values_of_their_formulas_at_the_ends():
    schedule = lrx.tanh_schedule(1.0, 100)
    assert float(schedule(0)) == pytest.approx(0.5 * (1 + np.tanh(7)), rel=1e-6)
    assert float(schedule(99)) == pytest.approx(0.5 * (1 - np.tanh(-0.07 + 2.97)), rel=1e-5)
    assert schedule(100) == 0
    np.testing.assert_allclose(
        values(lrx.k_decay_schedule(1.0, 50), 60), values(lrx.cosine_decay_schedule(1.0, 50), 60), rtol=1e-6
    )


# ---------------------------------------------------------------- Chebyshev, knots, the infinite schedule


def order(schedule, steps):
    """Which step of the sorted ones stands at each count: 0 is the longest."""
    return np.argsort(np.argsort(-values(schedule, steps))).tolist()


def test_chebyshev_order_is_the_fractal_one():
    assert order(lrx.chebyshev_schedule(0.1, 1.0, total_steps=8), 8) == [0, 7, 3, 4, 1, 6, 2, 5]


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 13, 100, 128])
def test_chebyshev_takes_every_step_once(steps):
    schedule = lrx.chebyshev_schedule(0.1, 1.0, total_steps=steps)
    assert sorted(order(schedule, steps)) == list(range(steps))
    nodes = 5.5 - 4.5 * np.cos((np.arange(steps) + 0.5) * np.pi / steps)
    np.testing.assert_allclose(np.sort(values(schedule, steps)), np.sort(1 / nodes), rtol=1e-6)


def test_chebyshev_accelerates_gradient_descent_on_a_quadratic():
    """As the paper says: T steps do what the best polynomial does, where the best constant rate falls far behind."""
    curvatures = np.geomspace(1, 100, 50)
    chebyshev = np.prod(1 - np.outer(values(lrx.chebyshev_schedule(0.01, 1.0, total_steps=32), 32), curvatures), 0)
    constant = (1 - 2 / 101 * curvatures) ** 32
    bound = 1 / np.cosh(32 * np.arccosh(101 / 99))
    assert np.abs(chebyshev).max() <= bound * 1.01
    assert np.abs(constant).max() > 100 * np.abs(chebyshev).max()


def test_cubic_knots_are_those_of_scipy():
    interpolate = pytest.importorskip("scipy.interpolate")
    counts, y = [0, 7, 20, 21, 60, 90], [0.1, 0.3, 0.3, 0.05, 0.2, 0.02]
    for log in (False, True):
        ours = lrx.interpolated_schedule(counts, y, kind="cubic", log=log)
        theirs = interpolate.PchipInterpolator(counts, np.log(y) if log else y)(np.arange(91))
        np.testing.assert_allclose(values(ours, 91), np.exp(theirs) if log else theirs, rtol=1e-5)
        np.testing.assert_array_equal(at(ours, counts), np.float32(y))


def test_infinite_schedule_anneals_from_any_step():
    schedule = lrx.infinite_schedule(1.0, 10, cooldown_steps=50, constant_value=0.25)
    assert values(schedule, 61)[[0, 10, 60]].tolist() == [0, 1, 0.25]
    assert schedule(10**9) == 0.25
    for start in (0, 30, 10_000):
        annealed = schedule.anneal(start, 100)
        np.testing.assert_array_equal(values(annealed, start + 1), values(schedule, start + 1))
        assert annealed(start + 50) == pytest.approx(float(schedule(start)) / 2)
        assert annealed(start + 100) == 0 == annealed(INT32_MAX)
        assert lrx.from_json(annealed.to_json()) == annealed


def test_landmarks_of_the_family():
    assert lrx.wsd_schedule(1.0, 10, decay_steps=20, total_steps=100).landmarks() == {
        "peak": 10,
        "warmup_end": 10,
        "decay_start": 80,
        "end": 100,
    }
    assert lrx.linear_onecycle_schedule(100, 1.0).landmarks()["warmup_end"] == 30
    assert lrx.join_schedules([1.0, lrx.linear_schedule(1.0, 0.0, 5)], [10]).end == 15
    assert lrx.inverse_sqrt_schedule(1.0, 10).end is None


# ---------------------------------------------------------------- deliberate differences from optax


def test_differences_from_optax():
    """The list in the docstring of lrx.schedules, next to what optax 0.2.8 does."""
    assert isinstance(lrx.join_schedules([1.0], [])(0), jax.Array)
    assert lrx.linear_schedule(1.0, 0.0, 10)(-5) == 1 == lrx.linear_schedule(0.0, 1.0, 10)(10**12)
    no_peak = {"init_value": 1.0, "peak_value": 0.0, "warmup_steps": 2, "decay_steps": 4, "end_value": 0.5}
    assert lrx.warmup_cosine_decay_schedule(**no_peak)(4) == 0.5
    assert optax.warmup_cosine_decay_schedule(**no_peak)(4) == 0
    assert optax.join_schedules([lambda count: 1.0, lambda count: 2.0, lambda count: 3.0], [3])(9) == 2
    with pytest.raises(ValueError, match="boundaries"):
        lrx.join_schedules([1.0, 2.0, 3.0], [3])
    assert lrx.cosine_onecycle_schedule(100, 1.0, 0.29)(29) == 1
    assert optax.cosine_onecycle_schedule(100, 1.0, 0.29)(28) == 1
    assert lrx.linear_onecycle_schedule(1, 1.0)(0) == 1 > optax.linear_onecycle_schedule(1, 1.0)(0)
