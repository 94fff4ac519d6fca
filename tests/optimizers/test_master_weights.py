"""`master_weights`: parameters of few bits that arrive where float32 arrives, whoever adds the updates."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx, serialization
from flax.training.train_state import TrainState
from hypothesis import given, settings
from hypothesis import strategies as st

import lrx
from tests.common import avals, same, scan

from ..reference import composition
from ..reference.optimizers import adam_directions

ROUNDINGS = ["nearest", "kahan", "stochastic"]
roundings = pytest.mark.parametrize("rounding", ROUNDINGS)
dtypes = pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
F32 = np.float32


def ulp(dtype):
    return float(jnp.finfo(dtype).eps)


@functools.partial(jax.jit, static_argnums=0)
def path(tx, params, grads):
    """The parameters after each gradient, added by optax."""

    def body(carry, g):
        updates, state = tx.update(g, carry[1], carry[0])
        params = optax.apply_updates(carry[0], updates)
        return (params, state), params

    return jax.lax.scan(body, (params, tx.init(params)), grads)[1]


@dtypes
@roundings
def test_keras_hub_2629_small_steps_arrive(dtype, rounding):
    """Ones under adam(1e-3): each step is below half an ulp. In float32 they end at 0.8."""
    params, grads = jnp.ones(64, dtype), jnp.full((200, 64), 0.3, dtype)
    ours = np.asarray(path(lrx.master_weights(lrx.adam(1e-3), rounding), params, grads)[-1], F32)
    exact = np.asarray(path(lrx.adam(1e-3), params.astype(F32), grads.astype(F32))[-1])
    assert exact[0] == pytest.approx(0.8, abs=1e-4)
    if rounding == "stochastic":  # some are above, some below, none for ever where they began
        assert np.abs(ours.mean() - exact.mean()) < 4 * ours.std() / 8
        assert ours.max() < 1
    else:
        assert np.abs(ours - exact).max() <= ulp(dtype) / 4  # an ulp of numbers below 1 is half of that of 1


@dtypes
@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
def test_parameters_are_the_float32_weights_rounded_after_every_step(dtype, scale):
    """Whatever the size of the steps, through 0 and back too: bit for bit, jitted and eager."""
    rng = np.random.default_rng(0)
    params = jnp.asarray(rng.normal(size=400) * 10.0 ** rng.uniform(-3, 2, 400), dtype)
    grads = jnp.asarray(rng.normal(size=(20, 400)) * scale, dtype)
    ours = path(lrx.master_weights(lrx.sgd(1.0)), params, grads)
    exact = path(lrx.sgd(1.0), params.astype(F32), grads.astype(F32))
    assert same(ours, exact.astype(dtype))
    tx = lrx.master_weights(lrx.sgd(1.0))
    state = tx.init(params)
    for g, expected in zip(grads[:3], ours[:3], strict=True):
        updates, state = tx.update(g, state, params)
        params = optax.apply_updates(params, updates)
        assert same(params, expected)


@settings(max_examples=200, deadline=None)
@given(
    p=st.floats(-1e4, 1e4, width=16), u=st.floats(-1e4, 1e4, width=32), dtype=st.sampled_from(["bfloat16", "float16"])
)
def test_any_step_ends_at_the_rounded_weight(p, u, dtype):
    """Also where the difference of the two parameters is no number of their dtype."""
    params = jnp.asarray([p], dtype)
    tx = lrx.master_weights(lrx.scale_by_learning_rate(1.0))
    updates, _ = tx.update(jnp.asarray([u], F32), tx.init(params), params)
    new, goal = optax.apply_updates(params, updates), (params.astype(F32) - F32(u)).astype(dtype)
    least = 2.0**-15 if dtype == "bfloat16" else 2.0**-12
    tiny = float(jnp.finfo("float32").tiny) if dtype == "bfloat16" else 0.0  # which XLA flushes on a CPU
    size = abs(float(goal[0]))
    if size == 0 or (size >= least * abs(float(params[0])) and size >= tiny):
        assert same(new, goal) or (size == 0 and float(new[0]) == 0)
    assert abs(float(new[0]) - float(goal[0])) <= least * abs(float(params[0]))  # documented: the nearest there is


@dtypes
@pytest.mark.parametrize("rounding", ["nearest", "kahan"])
def test_path_is_that_of_the_reference(dtype, rounding):
    rng = np.random.default_rng(1)
    start, grads = rng.normal(size=50).astype(dtype), rng.normal(size=(40, 50)).astype(dtype)
    ours = np.asarray(path(lrx.master_weights(lrx.adam(1e-3), rounding), jnp.asarray(start), jnp.asarray(grads)), F32)
    reference = composition.master_weights(1e-3, adam_directions(), np.dtype(dtype), rounding)
    theirs = np.stack(list(reference(start.astype(np.float64), grads.astype(np.float64))))
    unequal = ours != theirs  # adam's float32 is not the reference's float64
    assert unequal.mean() < 0.01
    assert np.abs(ours - theirs).max() <= ulp(dtype) * np.abs(theirs).max()


def test_kahan_follows_float32_with_two_bytes():
    params, grads = (
        jnp.ones(100, "bfloat16"),
        jnp.asarray(np.random.default_rng(2).normal(size=(1000, 100)), "bfloat16"),
    )
    ours = path(lrx.master_weights(lrx.sgd(1e-4), "kahan"), params, grads)
    exact = path(lrx.sgd(1e-4), params.astype(F32), grads.astype(F32))
    assert np.abs(np.asarray(ours, F32) - exact).max() <= 0.6 * ulp("bfloat16")
    state = lrx.master_weights(lrx.sgd(1e-4), "kahan").init(params)
    assert sum(x.nbytes for x in jax.tree.leaves(state.memory.rest)) == 2 * 100


def test_stochastic_rounding_is_unbiased_and_differs_from_step_to_step_and_leaf_to_leaf():
    """A step of an eighth of an ulp is taken an eighth of the time."""
    n = 4000
    params = {"a": jnp.ones(n, "bfloat16"), "b": jnp.ones(n, "bfloat16")}
    tx = lrx.master_weights(lrx.sgd(1.0), "stochastic")
    state, moved = tx.init(params), []
    grads = jax.tree.map(lambda p: jnp.full(n, -ulp("bfloat16") / 8, F32), params)
    for _ in range(2):
        updates, state = tx.update(grads, state, params)
        moved += [np.asarray(optax.apply_updates(params, updates)[k] != 1) for k in "ab"]
    for one in moved:
        assert one.mean() == pytest.approx(1 / 8, abs=4 * (1 / 8 * 7 / 8 / n) ** 0.5)
    assert all((x != y).any() for i, x in enumerate(moved) for y in moved[:i])
    other = lrx.with_hyperparams(tx.init(params), seed=1)
    assert not same(tx.update(grads, other, params)[0], tx.update(grads, tx.init(params), params)[0])


@pytest.mark.parametrize("rounding", ["nearest", "kahan"])
def test_parameters_that_the_user_changed_count(rounding):
    """Clipped, zeroed, or another checkpoint's: what was kept of the old ones is not added to the new."""
    tx = lrx.master_weights(lrx.sgd(1.0), rounding)
    params = jnp.asarray([1.0, 1.0, -3.0, 300.0], "bfloat16")
    state = tx.init(params)
    rest = jnp.full(4, 1e-3, "bfloat16")
    updates, state = tx.update(rest, state, params)
    params = optax.apply_updates(params, updates)
    for changed in (jnp.zeros(4, "bfloat16"), jnp.asarray([2.0, 0.5, 7.0, 1e-3], "bfloat16")):
        updates, _ = tx.update(jnp.zeros(4, "bfloat16"), state, changed)
        assert not updates.any()
    updates, _ = tx.update(jnp.zeros(4, "bfloat16"), state, params)
    assert not updates.any()  # and what did not change is kept
    kept = path(tx, params, jnp.full((8, 4), 1e-3, "bfloat16"))[-1]
    assert float(kept[0]) < 1


def test_float32_parameters_pass_and_are_not_copied():
    params = {"w": jnp.ones(3, "bfloat16"), "b": jnp.ones(3), "z": jnp.ones(2, jnp.complex64), "n": jnp.arange(2)}
    grads = {"w": jnp.ones(3), "b": jnp.ones(3, "bfloat16"), "z": params["z"], "n": np.zeros(2, jax.dtypes.float0)}
    tx, alone = lrx.master_weights(lrx.adam(0.1)), lrx.adam(0.1)
    state = tx.init(params)
    assert jax.tree.map(lambda x: x.dtype.name, state.memory.masters) == {"w": "float32", "b": (), "z": (), "n": ()}
    updates, after = tx.update(grads, state, params)
    expected, _ = alone.update(grads, alone.init(params), params)
    assert same([updates[k] for k in "bz"], [expected[k] for k in "bz"])
    assert updates["n"].dtype == jax.dtypes.float0
    assert avals(after) == avals(state)


@roundings
def test_rates_are_read_and_edited_through_it_and_a_grid_is_one_program(rounding):
    params, grads = jnp.ones(3, "bfloat16"), jnp.full((5, 3), 0.3, "bfloat16")
    tx = lrx.master_weights(lrx.adam(lrx.linear_schedule(0.5, 0.0, 10)), rounding)
    state = lrx.with_hyperparams(tx.init(params), learning_rate={"init_value": 1.0}, b1=0.5)
    _, state = tx.update(grads[0], state, params)
    assert lrx.learning_rate(state) == 1
    assert lrx.count(state) == 1
    rates = jnp.array([0.01, 0.1])
    swept = jax.vmap(lambda rate: path(lrx.master_weights(lrx.adam(rate), rounding), params, grads))(rates)
    for i in range(2):
        assert same(swept[i], path(lrx.master_weights(lrx.adam(float(rates[i])), rounding), params, grads))
    resumed = lrx.resume(lrx.master_weights(lrx.adam(0.2), rounding), params, state)
    assert lrx.count(resumed) == 1
    assert lrx.learning_rate(resumed) == F32(0.2)


def test_accumulated_masked_averaged_and_packed():
    params, grads = {"w": jnp.ones(3, "bfloat16"), "b": jnp.ones(2, "bfloat16")}, {"w": 0.1, "b": 0.1}
    grads = jax.tree.map(lambda p, g: jnp.full((6, *p.shape), g, p.dtype), params, grads)
    alone = path(lrx.master_weights(lrx.adam(1e-2)), params, grads)
    assert same(path(lrx.pack(lrx.master_weights(lrx.adam(1e-2))), params, grads), alone)
    masked = path(lrx.masked(lrx.master_weights(lrx.adam(1e-2)), {"w": True, "b": False}), params, grads)
    assert same(masked["w"], alone["w"])
    for tx in (
        lrx.master_weights(lrx.accumulate(lrx.sgd(1e-2), 2)),
        lrx.accumulate(lrx.master_weights(lrx.sgd(1e-2)), 2),
    ):
        assert same(path(tx, params, grads), path(lrx.master_weights(lrx.accumulate(lrx.sgd(1e-2), 2)), params, grads))
    averaged = lrx.master_weights(lrx.chain(lrx.sgd(1e-2), lrx.params_ema(0.5)))
    _, state = averaged.update(jax.tree.map(lambda g: g[0], grads), averaged.init(params), params)
    assert state.memory.inner["params_ema"].memory.averaged["w"].dtype == F32


@roundings
def test_train_state_donated_and_restored(rounding):
    def fresh():
        params = {"w": jnp.ones((2, 3), "bfloat16"), "b": jnp.ones(3)}
        return TrainState.create(apply_fn=None, params=params, tx=lrx.master_weights(lrx.adamw(1e-3), rounding))

    state, step = fresh(), jax.jit(lambda s: s.apply_gradients(grads=s.params), donate_argnums=0)
    state = state.replace(step=jnp.zeros((), jnp.int32))
    for _ in range(3):
        state = step(state)
    assert step._cache_size() == 1
    restored = serialization.from_bytes(fresh(), serialization.to_bytes(state))
    assert same(jax.device_get(step(restored)), jax.device_get(step(state)))


def test_nnx_optimizer():
    model = nnx.Linear(3, 2, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    model.kernel[...] = jnp.ones((3, 2), "bfloat16")
    optimizer = nnx.Optimizer(model, lrx.master_weights(lrx.adam(1e-3)), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        optimizer.update(model, nnx.grad(lambda m: m(jnp.ones((4, 3))).astype(F32).sum())(model))

    for _ in range(20):
        step(model, optimizer)
    assert model.kernel[...].dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(model.kernel[...], F32), 0.98, atol=ulp("bfloat16") / 4)
    assert lrx.count(optimizer.opt_state) == 20


def test_gradient_with_respect_to_the_rate_passes_the_rounding():
    def last(rate):
        return scan(lrx.master_weights(lrx.sgd(rate)), jnp.ones(2, "bfloat16"), jnp.ones((3, 2), "bfloat16"))[-1].sum()

    assert float(jax.grad(lambda rate: last(rate).astype(F32))(0.25)) == pytest.approx(-6)


def test_bad_arguments_are_refused():
    with pytest.raises(TypeError, match=r"master_weights\(tx=...\) must be a gradient transformation, got 1\."):
        lrx.master_weights(1)
    with pytest.raises(ValueError, match="must be one of 'nearest', 'stochastic', 'kahan', got 'up'"):
        lrx.master_weights(lrx.sgd(0.1), rounding="up")
    with pytest.raises(TypeError, match=r"master_weights\(seed=...\) must be a whole number, got 0.5\."):
        lrx.master_weights(lrx.sgd(0.1), "stochastic", seed=0.5)
    tx = lrx.master_weights(lrx.sgd(0.1))
    with pytest.raises(ValueError, match="master_weights needs the parameters"):
        tx.update(jnp.ones(1), tx.init(jnp.ones(1)))
    assert eval(repr(tx), vars(lrx)) == tx
