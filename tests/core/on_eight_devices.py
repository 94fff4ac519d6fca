"""The core on a mesh of eight devices. Not collected by itself: `tests/test_eight_devices.py` runs it."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from flax.training.train_state import TrainState
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import lrx
from tests.common import avals, one_step, same, warmup_cosine

from ..loops.common import IMAGES, LABELS, optimizer
from ..loops.frameworks import (
    Bare,
    LinenNet,
    NNXNet,
    bare_init,
    bare_logits,
    cross_entropy,
    linen_step,
    nnx_step,
)

SPECS = {"w": P("x", "y"), "b": P(None)}
HOST = {"w": np.ones((8, 4), np.float32), "b": np.zeros(4, np.float32)}


def mesh(kind=AxisType.Auto):
    return jax.make_mesh((4, 2), ("x", "y"), axis_types=(kind,) * 2)


def placed(mesh):
    return jax.tree.map(lambda a, spec: jax.device_put(a, NamedSharding(mesh, spec)), HOST, SPECS)


OPTIMIZERS = {
    "adam": lrx.adam(1e-3),
    "adamw": lrx.adamw(warmup_cosine()),
    "rmsprop": lrx.chain(lrx.clip_by_global_norm(1.0), lrx.rmsprop(1e-3, centered=True, momentum=0.9)),
    "adafactor": lrx.adafactor(1e-3, min_dim_size_to_factor=2),
    "accumulate": lrx.accumulate(lrx.adam(1e-3), every=2),
    "partition": lrx.partition(
        {"matrix": lrx.adam(1e-3), "vector": lrx.sgd(1e-3, momentum=0.9)}, lrx.by_path({"w": "matrix", "": "vector"})
    ),
    "masked": lrx.chain(lrx.masked(lrx.trace(0.9), lrx.by_path({"w": True, "": False})), lrx.adam(1e-3)),
}
optimizers = pytest.mark.parametrize("tx", OPTIMIZERS.values(), ids=OPTIMIZERS)


def one_at_a_time(outputs):
    """Wait for a step: on devices that one CPU plays, steps with collectives can block each other once they queue."""
    return jax.block_until_ready(outputs)


@functools.cache
def update(tx):
    """One jitted function for each optimizer, whose program the tests share."""
    return jax.jit(lambda grads, state, params: tx.update(grads, state, params))


def test_there_are_eight_devices():
    assert len(jax.devices()) == 8


@optimizers
def test_one_compilation_and_constant_shardings_from_init_on(tx):
    params = placed(mesh())
    state = start = tx.init(params)
    step = update(tx)
    before = step._cache_size()
    for _ in range(3):
        _, state = one_at_a_time(step(params, state, params))
    floats = {name: x for name, x in lrx.hyperparams(state).items() if x.dtype == jnp.float32}
    for edited in (lrx.with_hyperparams(state, **{name: x / 2 for name, x in floats.items()}), state):
        one_at_a_time(step(params, edited, params))
    assert step._cache_size() == before + 1
    assert jax.tree.map(lambda x: x.sharding, state) == jax.tree.map(lambda x: x.sharding, start)


@optimizers
@pytest.mark.filterwarnings("error:Some donated buffers")
def test_what_comes_out_lies_where_what_goes_in_lay_and_in_its_buffers(tx):
    params = placed(mesh())
    state = tx.init(params)
    step = jax.jit(lambda params, state, grads: one_step(tx, params, state, grads), donate_argnums=(0, 1))
    compiled = step.lower(params, state, params).compile()
    leaves, treedef = jax.tree.flatten((params, state))
    going_in = treedef.flatten_up_to(compiled.input_shardings[0][:2])
    coming_out = treedef.flatten_up_to(compiled.output_shardings)
    for x, before, after in zip(leaves, going_in, coming_out, strict=True):
        assert after.is_equivalent_to(x.sharding, x.ndim)
        # None: the rate last applied is written and never read
        assert before is None or before.is_equivalent_to(x.sharding, x.ndim)
    moments = [x for x in jax.tree.leaves(state) if x.shape == HOST["w"].shape]
    assert moments or tx is OPTIMIZERS["adafactor"]
    assert all(x.sharding == params["w"].sharding for x in moments)
    step(params, state, placed(mesh()))
    assert all(x.is_deleted() for x in (*jax.tree.leaves(params), *moments))


@optimizers
def test_an_update_moves_no_array_between_devices(tx):
    """Each device updates its own part. A norm is a sum over all, which takes one number from each."""
    params = placed(mesh())
    program = update(tx).lower(params, tx.init(params), params).compile().as_text()
    assert not re.findall(r"(?:all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\(", program)
    if tx is not OPTIMIZERS["adafactor"]:  # the means of its rows and columns cross devices
        assert not re.findall(r"= \w+\[\d\S* all-reduce(?:-start)?\(", program)


def test_moments_follow_weak_typed_parameters():
    sharding = NamedSharding(mesh(), P("x", "y"))
    params = jax.device_put(jnp.full((8, 4), 0.1), sharding)
    assert lrx.adam(1.0).init(params)["scale_by_adam"].memory.mu.sharding == sharding


def test_rate_that_lives_on_one_device_does_not_pin_the_state():
    tx = lrx.adam(jax.device_put(jnp.float32(1e-3), jax.devices()[3]))
    params = placed(mesh())
    jax.jit(tx.update)(params, tx.init(params), params)


def test_optax_548_jitted_init_with_shardings_from_tree_map_params():
    tx, m = lrx.adam(warmup_cosine()), mesh()
    params = placed(m)
    shardings = optax.tree_map_params(
        tx,
        lambda _, spec: NamedSharding(m, spec),
        jax.eval_shape(tx.init, params),
        SPECS,
        transform_non_params=lambda _: NamedSharding(m, P()),
    )
    state = jax.jit(tx.init, out_shardings=shardings)(params)
    step = jax.jit(tx.update, out_shardings=(None, shardings), donate_argnums=1)
    for _ in range(2):
        _, state = one_at_a_time(step(params, state, params))
    assert state["scale_by_adam"].memory.mu["w"].sharding == NamedSharding(m, P("x", "y"))
    assert lrx.count(state) == 2


def test_explicit_axes_keep_the_specs_of_the_parameters():
    tx, m = lrx.adam(warmup_cosine()), mesh(AxisType.Explicit)
    with jax.set_mesh(m):
        params = placed(m)

        def body(carry, _):
            updates, state = tx.update(params, carry[1], carry[0])
            return (lrx.apply_updates(carry[0], updates), state), updates

        _, updates = jax.jit(lambda p: jax.lax.scan(body, (p, tx.init(p)), None, length=2))(params)
        assert jax.typeof(updates["w"]).sharding.spec == P(None, "x", "y")


def test_population_is_sharded_over_a_mesh_axis():
    pop = jax.make_mesh((8,), ("pop",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(pop):
        rates = jax.device_put(jnp.logspace(-4, -1, 8), NamedSharding(pop, P("pop")))
        params = {"w": jax.device_put(jnp.ones((8, 3)), NamedSharding(pop, P("pop")))}

        @jax.jit
        def init(rates, params):
            states = jax.vmap(lambda rate, p: lrx.adam(rate).init(p))(rates, params)
            # constants come out of vmap unsharded
            return jax.tree.map(lambda x: jax.sharding.reshard(x, P("pop")), states)

        states = init(rates, params)
        step = jax.jit(jax.vmap(lambda rate, g, state, p: lrx.adam(rate).update(g, state, p)))
        _, states = step(rates, params, states, params)
        np.testing.assert_array_equal(lrx.learning_rate(states), rates)
        assert lrx.learning_rate(states).sharding.spec == P("pop")


def test_shard_map_of_the_update():
    tx, m = lrx.adam(1e-3), mesh()
    params = placed(m)
    specs = optax.tree_map_params(
        tx, lambda _, spec: spec, jax.eval_shape(tx.init, params), SPECS, transform_non_params=lambda _: P()
    )
    update = jax.shard_map(
        lambda g, s, p: tx.update(g, s, p), mesh=m, in_specs=(SPECS, specs, SPECS), out_specs=(SPECS, specs)
    )
    updates, _ = jax.jit(update)(params, tx.init(params), params)
    alone, _ = tx.update(HOST, tx.init(HOST), HOST)
    np.testing.assert_allclose(jax.device_get(updates["w"]), alone["w"], rtol=1e-6)


def test_result_on_a_mesh_is_that_of_one_device():
    """One program of the whole list on the mesh, one on the host's numbers."""
    step = jax.jit(lambda carry: {name: one_step(tx, *carry[name], HOST) for name, tx in OPTIMIZERS.items()})
    runs = []
    for params in (placed(mesh()), HOST):
        carry = {name: (params, tx.init(params)) for name, tx in OPTIMIZERS.items()}
        for _ in range(3):
            carry = one_at_a_time(step(carry))
        runs.append({name: jax.device_get(params["w"]) for name, (params, _) in carry.items()})
    for name in OPTIMIZERS:
        np.testing.assert_allclose(runs[0][name], runs[1][name], rtol=1e-6, err_msg=name)


def test_orbax_restores_onto_the_mesh(tmp_path):
    tx, params = lrx.adam(warmup_cosine()), placed(mesh())
    state = tx.init(params)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "x", state)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "x", state)
    assert jax.tree.map(lambda x: x.sharding, restored) == jax.tree.map(lambda x: x.sharding, state)
    jax.jit(tx.update)(params, restored, params)


def test_resume_places_memory_where_init_does(tmp_path):
    tx, params = lrx.adam(1e-3), placed(mesh())
    state = tx.init(params)
    resumed = lrx.resume(tx, params, jax.device_get(state))
    assert jax.tree.map(lambda x: x.sharding, resumed) == jax.tree.map(lambda x: x.sharding, state)
    assert avals(resumed) == avals(state)


# ---------------------------------------------------------------- real training: batch split over x, layers over y


def layers(tree, mesh):
    """The hidden units are split over y."""

    def place(path, x):
        second = re.search("out|Dense_1", jax.tree_util.keystr(path))
        spec = (P("y") if second else P(None, "y")) if x.ndim == 2 else (P() if second else P("y"))
        return jax.device_put(x, NamedSharding(mesh, spec))

    return jax.tree_util.tree_map_with_path(place, tree)


def batches(mesh):
    rows = NamedSharding(mesh, P("x"))
    return jax.device_put(IMAGES, rows), jax.device_put(LABELS, rows)


def shardings(tree):
    return jax.tree.map(lambda x: x.sharding, tree)


@pytest.mark.parametrize("wrap", [lambda tx: tx, lambda tx: lrx.accumulate(tx, every=2)], ids=["plain", "accumulate"])
def test_training_on_a_mesh_is_training_on_one_device_and_goes_on_from_a_checkpoint(tmp_path, wrap):
    tx, m = wrap(optimizer()), mesh()
    alone = Bare(tx)
    expected = [float(alone.step(IMAGES, LABELS)) for _ in range(20)]
    images, labels = batches(m)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, images, labels):
        loss, grads = jax.value_and_grad(lambda p: cross_entropy(bare_logits(p, images), labels))(params)
        return *one_step(tx, params, state, grads), loss

    params = layers(bare_init(jax.random.key(0)), m)
    state, losses = tx.init(params), []
    start = shardings((params, state))
    for i in range(20):
        if i == 10:
            with ocp.StandardCheckpointer() as checkpointer:
                checkpointer.save(tmp_path / "run", (params, state))
            target = jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), (params, state)
            )
        params, state, loss = step(params, state, images, labels)
        losses.append(float(loss))
    assert shardings((params, state)) == start
    np.testing.assert_allclose(losses, expected, rtol=1e-3)
    assert losses[-1] < 0.75 * losses[0]

    with ocp.StandardCheckpointer() as checkpointer:
        again = checkpointer.restore(tmp_path / "run", target)
    for i in range(10, 20):
        *again, loss = step(*again, images, labels)
        assert float(loss) == losses[i]
    assert same(jax.device_get(tuple(again)), jax.device_get((params, state)))
    assert step._cache_size() == 1


def test_train_state_of_sharded_parameters():
    m = mesh()
    params = layers(LinenNet().init(jax.random.key(0), IMAGES[:1])["params"], m)
    state = TrainState.create(apply_fn=LinenNet().apply, params=params, tx=optimizer())
    # Flax's own counter begins as a Python int
    state = state.replace(step=jax.device_put(np.int32(0), NamedSharding(m, P())))
    start = shardings(state)
    assert shardings(state.opt_state["scale_by_adam"].memory.mu) == shardings(params)
    before = linen_step._cache_size()
    for _ in range(3):
        state, _ = one_at_a_time(linen_step(state, *batches(m)))
    state, _ = linen_step(lrx.with_hyperparams(state, weight_decay=0.0), *batches(m))
    assert linen_step._cache_size() == before + 1
    assert shardings(state) == start


def test_nnx_optimizer_of_a_sharded_model(traces):
    m = mesh()
    model = NNXNet(nnx.Rngs(0))
    nnx.update(model, layers(nnx.state(model), m))
    trained = nnx.Optimizer(model, optimizer(), wrt=nnx.Param)
    # Flax's own counter begins on one device, whatever the model lies on
    nnx.update(trained, {"step": jax.device_put(np.uint32(0), NamedSharding(m, P()))})
    start = shardings(nnx.state(trained))
    assert trained.opt_state["scale_by_adam"].memory.mu["hidden"]["kernel"].sharding == model.hidden.kernel.sharding
    for _ in range(3):
        one_at_a_time(nnx_step(model, trained, *batches(m)))
    trained.opt_state = lrx.with_hyperparams(trained.opt_state, weight_decay=0.0)
    nnx_step(model, trained, *batches(m))
    assert traces.count == 1
    assert shardings(nnx.state(trained)) == start
    assert lrx.count(trained) == 4


def test_mesh_of_one_device_traces_once(traces):
    """The program that runs on eight devices runs on one, where the counts must lie on the mesh too."""
    one = jax.make_mesh((1,), ("x",), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])
    params = jax.device_put(HOST, NamedSharding(one, P()))
    tx = lrx.adamw(warmup_cosine())
    state, step = tx.init(params), jax.jit(lambda params, state: one_step(tx, params, state, HOST))
    for _ in range(3):
        params, state = step(params, state)
    assert traces.count == step._cache_size() == 1
