"""Inside Flax, Haiku and Equinox, and through the files of Orbax, Flax and Equinox."""

import io

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx, serialization
from flax.core import freeze
from flax.training.train_state import TrainState

import lrx
from tests.common import GRADS, PARAMS, avals, distance, one_step, same, train, warmup_cosine
from tests.operations import by_operations

OPTIMIZERS = [
    lrx.adam(1e-3),
    lrx.adam(warmup_cosine()),
    lrx.adam(lambda count: 1e-3),
    lrx.chain(lrx.clip_by_global_norm(1.0), lrx.adamw(1e-3, mask={"w": True, "b": False})),
    lrx.rmsprop(warmup_cosine(), momentum=0.9, centered=True),
]
IDS = ["constant", "scheduled", "function", "masked", "rmsprop"]
optimizers = pytest.mark.parametrize("tx", OPTIMIZERS, ids=IDS)

# ---------------------------------------------------------------- Flax linen


def train_state(tx):
    return TrainState.create(apply_fn=None, params=PARAMS, tx=tx)


def test_new_train_state_with_an_equal_optimizer_does_not_retrace(traces):
    step = jax.jit(lambda state: state.apply_gradients(grads=GRADS))
    for _ in range(3):
        step(train_state(lrx.adam(1e-3)))
    assert traces.count == 1


def test_train_state_is_scanned_differentiated_and_vmapped_over_the_rate():
    def last(rate):
        step = lambda state, _: (state.apply_gradients(grads=GRADS), None)  # noqa: E731
        return jax.lax.scan(step, train_state(lrx.adam(rate)), None, length=3)[0].params["b"].sum()

    assert jax.jit(jax.grad(last))(1e-2) == pytest.approx(-9, rel=1e-4)
    np.testing.assert_allclose(jax.vmap(last)(jnp.array([1e-2, 1e-3])), [-0.09, -0.009], rtol=1e-4)


def test_train_states_made_under_vmap_are_a_population():
    """optax raises UnexpectedTracerError here: the rate is in the closure of the static `tx`."""
    states = jax.vmap(lambda rate: train_state(lrx.adam(rate)))(jnp.array([1e-2, 1e-3]))
    step = jax.jit(jax.vmap(lambda state: state.apply_gradients(grads=GRADS)))
    states = step(step(states))
    np.testing.assert_allclose(states.params["b"][:, 0], [-0.02, -0.002], rtol=1e-4)


def test_rate_is_read_and_edited_inside_a_train_state(traces):
    state = train_state(lrx.adam(1e-3))
    step = jax.jit(lambda state: state.apply_gradients(grads=GRADS))
    for rate in (1e-3, 1e-2):
        state = step(lrx.with_hyperparams(state, learning_rate=rate))
        assert lrx.learning_rate(state) == np.float32(rate)
    assert traces.count == 1
    assert lrx.count(state) == 2


def test_boxed_and_frozen_parameters_keep_their_containers():
    for params in (freeze({"a": {"k": jnp.ones(3)}}), {"k": nn.Partitioned(jnp.ones((4, 4)), names=("x", "y"))}):
        tx = lrx.adam(1e-3)
        updates, state = tx.update(params, tx.init(params), params)
        assert jax.tree.structure(updates) == jax.tree.structure(params)
        assert jax.tree.structure(state["scale_by_adam"].memory.mu) == jax.tree.structure(params)


@optimizers
def test_flax_msgpack_restores_the_same_bits(tx):
    state = train_state(tx).apply_gradients(grads=GRADS)
    restored = serialization.from_bytes(train_state(tx), serialization.to_bytes(state))
    assert same(restored, state)


def test_flax_msgpack_of_another_optimizer_is_refused():
    saved = serialization.to_bytes(train_state(lrx.adam(1e-3)))
    with pytest.raises(ValueError, match="do not match"):
        serialization.from_bytes(train_state(lrx.adam(warmup_cosine())), saved)


# ---------------------------------------------------------------- Flax nnx


def linear(rngs=None):
    return nnx.Linear(3, 2, rngs=rngs or nnx.Rngs(0))


def nnx_step(model, optimizer):
    grads = nnx.grad(lambda m: (m(jnp.ones((4, 3))) ** 2).sum())(model)
    optimizer.update(model, grads)


def test_flax_4320_rate_of_an_nnx_optimizer_is_read_and_edited(traces):
    model = linear()
    optimizer = nnx.Optimizer(model, lrx.adam(1e-3), wrt=nnx.Param)
    step = nnx.jit(nnx_step)
    step(model, optimizer)
    assert lrx.learning_rate(optimizer.opt_state) == np.float32(1e-3)
    assert lrx.count(optimizer.opt_state) == 1
    optimizer.opt_state = lrx.with_hyperparams(optimizer.opt_state, learning_rate=5.0, b1=0.0)
    before = model.kernel[...]
    step(model, optimizer)
    assert jnp.abs(model.kernel[...] - before).max() > 4
    assert lrx.learning_rate(optimizer.opt_state) == 5
    assert traces.count == 1


def test_rate_of_an_nnx_optimizer_is_edited_inside_a_jitted_step():
    @nnx.jit
    def step(model, optimizer, rate):
        optimizer.opt_state = lrx.with_hyperparams(optimizer.opt_state, learning_rate=rate)
        nnx_step(model, optimizer)

    model = linear()
    optimizer = nnx.Optimizer(model, lrx.sgd(1e-3), wrt=nnx.Param)
    step(model, optimizer, 0.5)
    assert lrx.learning_rate(optimizer.opt_state) == 0.5


def test_variable_of_an_nnx_optimizer_is_written_in_place():
    model = linear()
    optimizer = nnx.Optimizer(model, lrx.adam(1e-3), wrt=nnx.Param)
    optimizer.opt_state["scale_by_learning_rate"].hyperparams["learning_rate"][...] = 5.0
    before = model.kernel[...]
    nnx.jit(nnx_step)(model, optimizer)
    assert jnp.abs(model.kernel[...] - before).max() > 4


def test_equal_nnx_optimizers_trace_once_and_split_to_equal_graphs(traces):
    model, step, graphs = linear(), nnx.jit(nnx_step), set()
    for _ in range(2):
        optimizer = nnx.Optimizer(model, lrx.adam(warmup_cosine()), wrt=nnx.Param)
        graphs.add(nnx.split((model, optimizer))[0])
        step(model, optimizer)
    assert traces.count == 1
    assert len(graphs) == 1


@pytest.mark.parametrize(
    "schedule", [lambda x: x, lambda x: warmup_cosine(peak_value=x)], ids=["constant", "scheduled"]
)
def test_population_of_nnx_optimizers_under_vmap(schedule):
    def make(key, rate):
        model = linear(nnx.Rngs(params=key))
        return model, nnx.Optimizer(model, lrx.adam(schedule(rate)), wrt=nnx.Param)

    step = nnx.jit(nnx.vmap(nnx_step))
    models, optimizer = nnx.vmap(make)(jax.random.split(jax.random.key(0), 4), jnp.logspace(-4, -1, 4))
    for _ in range(2):
        step(models, optimizer)
    assert lrx.learning_rate(optimizer.opt_state).shape == (4,)
    assert lrx.count(optimizer.opt_state).tolist() == [2] * 4


# ---------------------------------------------------------------- Haiku and Equinox


def test_haiku():
    net = hk.without_apply_rng(hk.transform(lambda x: hk.nets.MLP([4, 1])(x)))
    params = jax.jit(net.init)(jax.random.key(0), jnp.ones((2, 3)))
    trained, state = train(lrx.adamw(warmup_cosine(init_value=1e-3)), params, params, by=by_operations)
    assert jax.tree.structure(trained) == jax.tree.structure(params)
    assert lrx.count(state) == 3


def arrays(model):
    return eqx.filter(model, eqx.is_inexact_array)


def test_equinox_940_new_equal_optimizer_does_not_retrace(traces):
    @eqx.filter_jit
    def step(model, state, tx):
        grads = eqx.filter_grad(lambda m: jax.vmap(m)(jnp.ones((2, 3))).sum())(model)
        updates, state = tx.update(grads, state, arrays(model))
        return eqx.apply_updates(model, updates), state

    model = eqx.nn.MLP(3, 1, 4, 2, key=jax.random.key(0))
    state = lrx.adam(warmup_cosine()).init(arrays(model))
    for _ in range(3):
        model, state = step(model, state, lrx.adam(warmup_cosine()))
    assert traces.count == 1
    assert lrx.count(state) == 3


class Ramp(eqx.Module):
    peak: float

    def __call__(self, count):
        return self.peak * (count + 1)


def test_equinox_module_as_a_schedule_keeps_its_numbers_as_data(traces):
    tx = lrx.adam(Ramp(1e-3))
    assert tx == lrx.adam(Ramp(1e-3))
    step = jax.jit(lambda state: tx.update(GRADS, state, PARAMS)[1])
    assert lrx.learning_rate(step(tx.init(PARAMS))) == np.float32(1e-3)
    edited = lrx.with_hyperparams(tx.init(PARAMS), peak=0.5)
    assert lrx.learning_rate(step(step(edited))) == 1
    assert traces.count == 1


def test_equinox_files_and_filters():
    tx = lrx.adam(warmup_cosine())
    _, state = train(tx, by=by_operations)
    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, state)
    file.seek(0)
    assert same(eqx.tree_deserialise_leaves(file, tx.init(PARAMS)), state)
    assert lrx.learning_rate(eqx.filter_vmap(lambda rate: lrx.adam(rate).init(PARAMS))(jnp.ones(3))).shape == (3,)


def test_optax_1373_callable_parameters_are_not_taken_for_schedules():
    model = eqx.nn.Linear(3, 2, key=jax.random.key(0))
    tx = lrx.adamw(1e-3, mask=jax.tree.map(lambda _: True, arrays(model)))
    state = tx.init(model)
    updates, _ = tx.update(model, state, model)
    assert isinstance(updates, eqx.nn.Linear)


# ---------------------------------------------------------------- Orbax


@optimizers
def test_orbax_restores_the_same_bits_and_training_goes_on_identically(tx, tmp_path):
    step = jax.jit(lambda params, state: one_step(tx, params, state, GRADS))
    start = jax.device_put((PARAMS, tx.init(PARAMS)), jax.devices()[0])  # bound to it, as what Orbax restores
    params, state = step(*step(*start))
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "x", {"params": params, "state": state})
        checkpointer.wait_until_finished()
        target = {"params": params, "state": jax.eval_shape(tx.init, PARAMS)}
        restored = checkpointer.restore(tmp_path / "x", target)
        raw = checkpointer.restore(tmp_path / "x")
    assert same(restored["state"], state)
    assert avals(restored["state"]) == avals(state)
    expected = step(*step(params, state))
    assert same(step(*step(restored["params"], restored["state"])), expected)
    resumed = lrx.resume(tx, restored["params"], raw["state"])
    assert same(step(*step(restored["params"], resumed)), expected)
    assert distance(expected[0], train(tx, steps=4, by=by_operations)[0]) < 1e-7


def test_orbax_2561_state_is_plain_dicts_with_string_keys(tmp_path):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "x", lrx.adam(warmup_cosine()).init(PARAMS))
        checkpointer.wait_until_finished()
        raw = checkpointer.restore(tmp_path / "x")
    assert set(raw) == {"scale_by_adam", "scale_by_learning_rate"}
    assert raw["scale_by_learning_rate"]["hyperparams"]["schedule"]["peak_value"] == np.float32(1e-3)


def test_orbax_refuses_the_state_of_another_optimizer(tmp_path):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "x", lrx.adam(1e-3).init(PARAMS))
        checkpointer.wait_until_finished()
        with pytest.raises(ValueError, match=r"[Mm]ismatch|do not match"):
            checkpointer.restore(tmp_path / "x", jax.eval_shape(lrx.adam(warmup_cosine()).init, PARAMS))
