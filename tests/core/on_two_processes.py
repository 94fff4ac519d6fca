"""The core on two processes with two devices each: states that are spread over both, and their checkpoints."""

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import lrx
from tests.common import one_step, same, warmup_cosine

from ..loops.common import IMAGES, LABELS
from ..loops.frameworks import Bare, bare_logits, cross_entropy


def ask(folder):
    mesh = jax.make_mesh((4,), ("x",), axis_types=(AxisType.Auto,))
    replicated, split = NamedSharding(mesh, P()), NamedSharding(mesh, P("x"))

    def placed(array, sharding):
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    params = {"w": placed(np.ones((8, 4), np.float32), split), "b": placed(np.zeros(4, np.float32), replicated)}
    optimizers = (
        lrx.adam(1e-3),
        lrx.adamw(warmup_cosine()),
        lrx.adam(placed(np.float32(1e-3), replicated)),
        lrx.chain(lrx.masked(lrx.trace(0.9), {"w": True, "b": False}), lrx.adam(1e-3)),
        lrx.partition({"slow": lrx.adam(1e-3), "held": lrx.freeze(True)}, {"w": "slow", "b": "held"}),
    )
    for i, tx in enumerate(optimizers):
        hash(tx)
        state, step = tx.init(params), jax.jit(lambda g, s, p, tx=tx: tx.update(g, s, p))
        for _ in range(3):
            _, state = step(params, state, params)
        _, state = step(params, lrx.with_hyperparams(state, b1=0.5), params)
        assert step._cache_size() == 1, "an update or an edit changed an aval"
        assert int(lrx.count(state)) == 4
        float(lrx.learning_rate(state))
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(f"{folder}/{i}", state)
            checkpointer.wait_until_finished()
            restored = checkpointer.restore(f"{folder}/{i}", tx.init(params))
        step(params, restored, params)
        assert int(lrx.count(restored)) == 4
    refuses_numbers_that_differ(params)
    trains_on_digits(placed, split, replicated, f"{folder}/digits")
    rates = placed(np.logspace(-4, -1, 8).astype(np.float32), split)
    population = {"w": placed(np.ones((8, 3), np.float32), split)}
    states = jax.jit(jax.vmap(lambda rate, p: lrx.adam(rate).init(p)))(rates, population)
    jax.jit(jax.vmap(lrx.adam(1.0).update))(population, states, population)
    jnp.zeros(()).block_until_ready()


def trains_on_digits(placed, split, replicated, path):
    """Each process has half of the images: the run is one device's, and goes on from a file with the same bits."""
    tx = lrx.accumulate(lrx.chain(lrx.clip_by_global_norm(1.0), lrx.adamw(warmup_cosine(peak_value=0.03))), every=2)
    alone = Bare(tx)
    batch = placed(IMAGES, split), placed(LABELS, split)

    @jax.jit
    def step(params, state, images, labels):
        loss, grads = jax.value_and_grad(lambda p: cross_entropy(bare_logits(p, images), labels))(params)
        return *one_step(tx, params, state, grads), loss

    params = jax.tree.map(lambda x: placed(np.asarray(x), replicated), alone.params)
    state, losses = tx.init(params), []
    for i in range(20):
        if i == 10:
            with ocp.StandardCheckpointer() as checkpointer:
                checkpointer.save(path, (params, state))
        params, state, loss = step(params, state, *batch)
        losses.append(float(loss))
        np.testing.assert_allclose(losses[-1], float(alone.step(IMAGES, LABELS)), rtol=1e-3)
    assert losses[-1] < 0.9 * losses[0]
    assert int(lrx.count(state)) == 10
    with ocp.StandardCheckpointer() as checkpointer:
        again = checkpointer.restore(path, (params, state))
    for i in range(10, 20):
        *again, loss = step(*again, *batch)
        assert float(loss) == losses[i]
    assert same(jax.device_get(tuple(again)), jax.device_get((params, state)))
    assert step._cache_size() == 1


def refuses_numbers_that_differ(params):
    try:
        lrx.adam(1e-3 * (1 + jax.process_index())).init(params)
    except AssertionError as error:
        assert "not the same on each process" in str(error)
    else:
        raise AssertionError("two processes with two rates went unnoticed")
