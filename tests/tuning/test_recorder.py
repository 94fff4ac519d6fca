import functools
import gc
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lrx
from lrx.tuning._recorder import BLOCK
from tests.tuning.bowl import bowl

TX = lrx.sgd(lrx.linear_schedule(0.1, 0.0, transition_steps=1000))


def sum_of_squares(params, x):
    return jnp.sum((params - x) ** 2)


def update(params, state, x):
    loss, grads = jax.value_and_grad(sum_of_squares)(params, x)
    updates, state = TX.update(grads, state, params)
    return lrx.apply_updates(params, updates), state, loss


donating = functools.partial(jax.jit, donate_argnums=(0, 1))


def test_the_record_of_a_loop_that_donates_its_state_is_that_of_one_that_waits():
    step = donating(update)
    params, state, recorder = jnp.ones(3), TX.init(jnp.ones(3)), lrx.Recorder()
    losses, rates = [], []
    for i in range(2 * BLOCK + 50):
        params, state, loss = step(params, state, jnp.float32(i % 3))
        recorder.add(loss, state)
        losses.append(float(loss))
        rates.append(float(lrx.learning_rate(state)))
    assert len(recorder) == 2 * BLOCK + 50
    for told, expected in ((recorder.losses, losses), (recorder.learning_rates, rates)):
        assert told.dtype == np.float32
        np.testing.assert_array_equal(told, np.float32(expected))


def test_a_monitor_in_the_state_gives_the_gradient_norms():
    tx, recorder = lrx.monitor(lrx.sgd(0.1)), lrx.Recorder()

    def monitored_step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return lrx.apply_updates(params, updates), state

    step, params = donating(monitored_step), jnp.ones(2)
    state = tx.init(params)
    for x in (3.0, 6.0, np.nan, 1.5):
        params, state = step(params, state, jnp.array([x, -4 * x / 3]))
        recorder.add(x, state)
    np.testing.assert_allclose(recorder.gradient_norms, [5, 10, 10, 2.5], rtol=1e-6)
    np.testing.assert_allclose(recorder.gradient_l1_norms, [7, 14, 14, 3.5], rtol=1e-6)
    assert recorder.gradient_norms.dtype == np.float32
    assert lrx.refined_schedule(recorder.gradient_norms, peak_value=0.1)(3) == 0
    step(params, state, jnp.ones(2))
    with pytest.raises(ValueError, match="donated"):
        recorder.add(1.0, state)
    other = TX.init(jnp.ones(3))
    recorder.add(1.0, other)
    with pytest.raises(
        ValueError, match=r"gradient_norms needs one lrx\.monitor in the state of each step, got 4 of 5"
    ):
        _ = recorder.gradient_norms


def test_a_range_test_by_hand_is_the_range_test():
    problem, key = bowl(), jax.random.key(5)
    expected = lrx.range_test(problem, lrx.sgd, start=1e-3, stop=1.0, num_steps=12, key=key)
    tx, recorder = lrx.sgd(lrx.exponential_decay(1e-3, 11, 1e3)), lrx.Recorder()
    init_key, data_key = jax.random.split(key, (1, 2))[0]
    params = problem.init(init_key)
    state = tx.init(params)
    for i in range(12):
        batch = problem.sample(jax.random.fold_in(data_key, i))
        loss, grads = jax.value_and_grad(problem.loss)(params, batch)
        updates, state = tx.update(grads, state, params)
        params = lrx.apply_updates(params, updates)
        recorder.add(loss, state)
    np.testing.assert_allclose(recorder.learning_rates, expected.learning_rates, rtol=1e-6)
    np.testing.assert_allclose(recorder.losses, expected.losses, rtol=2e-5)


def test_a_population_has_its_members_first():
    rates = lrx.logspace(1e-3, 0.1, 4)
    params, tx = jnp.ones((4, 2)), lrx.adam(1.0)
    state = jax.vmap(lambda p, rate: lrx.with_hyperparams(tx.init(p), learning_rate=rate))(params, rates)
    recorder = lrx.Recorder()
    for i in range(3):
        recorder.add(jnp.arange(4.0) + i, state)
    np.testing.assert_array_equal(recorder.losses, np.arange(4)[:, None] + np.arange(3))
    np.testing.assert_array_equal(recorder.learning_rates, np.tile(np.asarray(rates)[:, None], 3))
    assert repr(recorder) == "Recorder(shape=(4, 3))"


@pytest.mark.parametrize(
    "make",
    [float, int, np.float16, np.float64, np.int32, np.asarray, jnp.bfloat16, jnp.float16, jnp.float32, jnp.int32],
)
def test_a_number_of_any_kind_is_a_float32(make):
    recorder = lrx.Recorder()
    for x in (3, 0, 5):
        recorder.add(make(x))
    assert recorder.losses.dtype == np.float32
    np.testing.assert_array_equal(recorder.losses, [3, 0, 5])


def test_what_is_not_finite_stays():
    recorder = lrx.Recorder()
    for x in (1.0, jnp.inf, jnp.bfloat16(jnp.nan), 1e300):
        recorder.add(x)
    np.testing.assert_array_equal(recorder.losses, np.float32([1, np.inf, np.nan, np.inf]))


def test_neither_an_array_written_into_later_nor_a_result_changes_the_record():
    recorder, loss = lrx.Recorder(), np.ones(2)
    recorder.add(loss)
    loss[:] = 7
    recorder.losses[:] = 8
    np.testing.assert_array_equal(recorder.losses, [[1], [1]])


def test_an_empty_recorder():
    recorder = lrx.Recorder()
    assert len(recorder) == 0
    assert recorder.losses.shape == recorder.learning_rates.shape == recorder.gradient_norms.shape == (0,)
    assert repr(recorder) == "Recorder(shape=(0,))"


def test_reading_in_the_middle_changes_nothing():
    recorder = lrx.Recorder()
    for i in range(5):
        recorder.add(jnp.float32(i))
        np.testing.assert_array_equal(recorder.losses, np.arange(i + 1))
    assert len(recorder) == 5


def test_no_more_than_two_blocks_are_alive_on_the_device(request):
    @jax.jit
    def step(x):
        return x + 1

    recorder, x = lrx.Recorder(), jnp.zeros((3, 5))
    gc.disable()  # arrays of other tests may die in a collection
    request.addfinalizer(gc.enable)
    before = len(jax.live_arrays())
    most = 0
    for i in range(4 * BLOCK):
        x = step(x)
        recorder.add(x)
        if i % 64 == 63:
            most = max(most, len(jax.live_arrays()) - before)
    assert BLOCK < most <= 2 * BLOCK + 8
    np.testing.assert_array_equal(recorder.losses[2, 4], np.arange(1, 4 * BLOCK + 1))


def test_the_newest_entries_are_not_waited_for():
    @jax.jit
    def slow(x):
        return jax.lax.fori_loop(0, 700, lambda _, x: jnp.tanh(x @ x), x)[0, 0]

    recorder, state = lrx.Recorder(), TX.init(jnp.ones(3))
    x = jnp.zeros((300, 300))
    compiled = slow.lower(x).compile()
    for _ in range(2 * BLOCK):
        recorder.add(jnp.float32(1), state)
    loss = compiled(x)
    for _ in range(3):  # the first of these brings a block to the host
        recorder.add(loss, state)
    assert not loss.is_ready()
    np.testing.assert_array_equal(recorder.losses, [1] * 2 * BLOCK + [0] * 3)


def test_the_state_of_an_nnx_optimizer_and_a_step_that_donates_it():
    @functools.partial(nnx.jit, donate_argnums=(0, 1))
    def step(model, optimizer, x):
        loss, grads = nnx.value_and_grad(lambda model: jnp.mean(model(x) ** 2))(model)
        optimizer.update(model, grads)
        return loss

    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    optimizer, recorder = nnx.Optimizer(model, TX, wrt=nnx.Param), lrx.Recorder()
    for _ in range(4):
        recorder.add(step(model, optimizer, jnp.ones((5, 3))), optimizer)
    np.testing.assert_allclose(recorder.learning_rates, 0.1 * (1 - np.arange(4) / 1000), rtol=1e-6)
    assert np.all(np.diff(recorder.losses) < 0)


def test_a_pickled_recorder_goes_on():
    recorder = lrx.Recorder()
    recorder.add(jnp.float32(1))
    again = pickle.loads(pickle.dumps(recorder))
    again.add(jnp.float32(2))
    np.testing.assert_array_equal(again.losses, [1, 2])
    assert len(recorder) == 1


# ---------------------------------------------------------------- what is refused


def test_tracers_are_refused():
    recorder = lrx.Recorder()

    @jax.jit
    def with_loss(x):
        recorder.add(x)

    @jax.jit
    def with_state(state):
        recorder.add(1.0, state)

    with pytest.raises(TypeError, match=r"add\(loss=...\) must be a number, got .*Record outside jit"):
        with_loss(1.0)
    with pytest.raises(TypeError, match=r"add\(opt_state=...\) must be a number, got .*Record outside jit"):
        with_state(TX.init(jnp.ones(3)))
    assert len(recorder) == 0


@pytest.mark.parametrize("x", [None, "1", [1.0], True, 1j, np.ones(2, bool), np.array("a"), jax.random.key(0)])
def test_what_is_no_real_number_is_refused(x):
    with pytest.raises(TypeError, match=r"add\(loss=...\) must be a real number or an array of them, got"):
        lrx.Recorder().add(x)


def test_a_shape_that_changes_is_refused_and_leaves_the_record_as_it_was():
    recorder, state = lrx.Recorder(), TX.init(jnp.ones(3))
    recorder.add(jnp.ones(4), state)
    with pytest.raises(ValueError, match=r"add\(loss=...\) must have shape \(4,\) as before, got shape \(\)."):
        recorder.add(1.0, state)
    batch = jax.vmap(TX.init)(jnp.ones((4, 3)))
    with pytest.raises(ValueError, match=r"add\(opt_state=...\) must have shape \(\) as before, got shape \(4,\)."):
        recorder.add(jnp.ones(4), batch)
    recorder.add(jnp.ones(4), state)
    assert recorder.losses.shape == (4, 2)
    assert recorder.learning_rates.shape == (2,)


def test_a_state_in_some_calls_only_is_refused():
    state = TX.init(jnp.ones(3))
    with_state, without = lrx.Recorder(), lrx.Recorder()
    with_state.add(1.0, state)
    without.add(1.0)
    message = r"add\(opt_state=...\) must be given in every call or in none, got {} this time."
    with pytest.raises(ValueError, match=message.format("none")):
        with_state.add(1.0)
    with pytest.raises(ValueError, match=message.format("one")):
        without.add(1.0, state)
    with pytest.raises(ValueError, match=r"learning_rates needs the state of each step: recorder.add\(loss, opt_"):
        _ = without.learning_rates
    assert len(with_state) == len(without) == 1


def test_buffers_that_were_donated_are_refused():
    step, recorder = donating(update), lrx.Recorder()
    params, state = jnp.ones(3), TX.init(jnp.ones(3))
    _, new, loss = step(params, state, 0.0)
    with pytest.raises(ValueError, match=r"add\(opt_state=...\) was donated: .* Give what the step returned, before"):
        recorder.add(loss, state)
    recorder.add(loss, new)
    loss.delete()
    with pytest.raises(ValueError, match=r"add\(loss=...\) was donated: a buffer of it is deleted."):
        recorder.add(loss, new)
    with pytest.raises(ValueError, match=r"was given an array that was donated later, entry 0: .*jnp.copy\(loss\)"):
        _ = recorder.losses
    assert len(recorder) == 1


def test_states_without_a_rate_and_with_several_are_told_by_learning_rate():
    params = {"a": jnp.ones(2), "b": jnp.ones(2)}
    several = lrx.partition({"a": lrx.sgd(0.1), "b": lrx.sgd(0.2)}, {"a": "a", "b": "b"}).init(params)
    with pytest.raises(ValueError, match="holds 2 rates"):
        lrx.Recorder().add(1.0, several)
    with pytest.raises(ValueError, match="found none"):
        lrx.Recorder().add(1.0, {})
