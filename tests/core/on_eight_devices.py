"""The core on a mesh of eight devices. Not collected by itself: `test_mesh.py` runs it in a process that has them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import lrx

from .common import avals, one_step, warmup_cosine

SPECS = {"w": P("x", "y"), "b": P(None)}
HOST = {"w": np.ones((8, 4), np.float32), "b": np.zeros(4, np.float32)}


def mesh(kind=AxisType.Auto):
    return jax.make_mesh((4, 2), ("x", "y"), axis_types=(kind,) * 2)


def placed(mesh):
    return jax.tree.map(lambda a, spec: jax.device_put(a, NamedSharding(mesh, spec)), HOST, SPECS)


OPTIMIZERS = [
    lrx.adam(1e-3),
    lrx.adamw(warmup_cosine()),
    lrx.chain(lrx.clip_by_global_norm(1.0), lrx.rmsprop(1e-3, centered=True, momentum=0.9)),
]
optimizers = pytest.mark.parametrize("tx", OPTIMIZERS, ids=["adam", "adamw", "rmsprop"])


def test_there_are_eight_devices():
    assert len(jax.devices()) == 8


@optimizers
def test_one_compilation_and_constant_shardings_from_init_on(tx):
    params = placed(mesh())
    state = start = tx.init(params)
    step = jax.jit(lambda grads, state, params: tx.update(grads, state, params))
    for _ in range(3):
        _, state = step(params, state, params)
    for edited in (
        lrx.with_hyperparams(state, learning_rate={"peak_value": 0.5} if tx is OPTIMIZERS[1] else 0.5),
        state,
    ):
        step(params, edited, params)
    assert step._cache_size() == 1
    assert jax.tree.map(lambda x: x.sharding, state) == jax.tree.map(lambda x: x.sharding, start)


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
        _, state = step(params, state, params)
    assert state["scale_by_adam"].memory.mu["w"].sharding == NamedSharding(m, P("x", "y"))
    assert lrx.count(state) == 2


def test_explicit_axes_keep_the_specs_of_the_parameters():
    tx, m = lrx.adam(warmup_cosine()), mesh(AxisType.Explicit)
    with jax.set_mesh(m):
        params = placed(m)
        updates, _ = tx.update(params, tx.init(params), params)
        assert jax.typeof(updates["w"]).sharding.spec == P("x", "y")

        def body(carry, _):
            return one_step(tx, *carry, params), None

        jax.jit(lambda p: jax.lax.scan(body, (p, tx.init(p)), None, length=2)[0])(params)


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
        _, states = jax.jit(jax.vmap(lrx.adam(1.0).update))(params, states, params)
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
    for tx in OPTIMIZERS:
        params = placed(mesh())
        state = tx.init(params)
        alone, alone_state = HOST, tx.init(HOST)
        for _ in range(3):
            params, state = jax.jit(lambda p, s, tx=tx: one_step(tx, p, s, HOST))(params, state)
            alone, alone_state = one_step(tx, alone, alone_state, HOST)
        np.testing.assert_allclose(jax.device_get(params["w"]), alone["w"], rtol=1e-6)


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
