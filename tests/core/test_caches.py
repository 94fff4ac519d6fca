"""JAX's caches: equal optimizers are one program, edits are data, and no cache gives another optimizer's numbers."""

import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
from flax.training.train_state import TrainState

import lrx
from lrx._transformation import transformation
from tests.common import GRADS, PARAMS, same, warmup_cosine
from tests.core.rules import Join, Table, Typed


def pool():
    """Optimizers that differ in a bit, a type or a structure."""
    small = np.float32(0.1)
    rates = [0.0, -0.0, 1, 1.0, small, 0.1, float(small), np.nextafter(small, np.float32(1))]
    rates += [jnp.bfloat16(0.5), 0.5, np.float64(1e-3), 1e-3, 1e-45, 2**24 + 1]
    optimizers = [lrx.sgd(rate) for rate in rates]
    optimizers += [transformation(Typed(number)) for number in (float("nan"), float("inf"), 1, 1.0, 0.0, -0.0)]
    optimizers += [lrx.sgd(1.0, 0.9, nesterov=nesterov) for nesterov in (True, 1, False)]
    optimizers += [lrx.sgd(lrx.constant_schedule(rate)) for rate in (0.0, -0.0, 1, small)]
    optimizers += [lrx.sgd(warmup_cosine(peak_value=v, warmup_steps=w)) for v in (1, 1.0, 0.5) for w in (1, 2)]
    optimizers += [lrx.sgd(lambda count, rate=rate: rate) for rate in (1.0, 1, -0.0)]
    optimizers += [lrx.sgd(Table(np.array(v))) for v in ([1.0, 2, 3], [1.0, 2, 4], [0.0, -0.0, 1], [1, 2, 3])]
    return optimizers + [lrx.sgd(Join((warmup_cosine(), lrx.constant_schedule(v)), (5,))) for v in (1.0, 2.0)]


def named(function, name):
    function.__name__ = name
    return function


def test_no_cache_of_jit_ever_gives_another_optimizers_numbers():
    """All alive at once and in random order: a jitted init, a static argument, a TrainState and a jitted update.

    What gives an init or an update is called so, as what lrx has: XLA compiles equal programs of one name once.
    """
    params, optimizers = {"w": np.ones(2, np.float32)}, pool()
    restart = jax.jit(named(lambda state: state.tx.init(state.params), "init"))
    first = jax.jit(named(lambda tx, params: tx.init(params), "init"), static_argnums=0)
    rng = np.random.default_rng(0)
    for i in rng.permutation(len(optimizers)):
        tx, other = optimizers[i], optimizers[rng.integers(len(optimizers))]
        expected = tx.init(params)
        assert same(jax.jit(tx.init)(params), expected), tx
        assert same(first(tx, params), expected), tx
        assert same(restart(TrainState.create(apply_fn=None, params=params, tx=tx)), expected), tx
        assert tx != other or (same(expected, other.init(params)) and hash(tx) == hash(other)), (tx, other)
        fresh = jax.jit(named(lambda g, s, p, tx=tx: tx.update(g, s, p), "update"))(params, expected, params)
        assert same(jax.jit(tx.update)(params, expected, params), fresh), tx


def test_equinox_940_equal_optimizers_share_one_trace(traces):
    for _ in range(2):
        tx = lrx.adam(1e-3, b2=0.9375)
        jax.jit(tx.update)(GRADS, tx.init(PARAMS), PARAMS)
        del tx
        gc.collect(1)  # what is young: jax.jit forgets functions that died
    assert traces.count <= 1  # 0 if an earlier test has compiled it


def test_optax_353_equal_optimizers_trace_once(traces):
    step = jax.jit(lambda tx, state: tx.update(GRADS, state, PARAMS), static_argnums=0)
    for _ in range(3):
        for tx in (lrx.adam(0.5), lrx.adam(warmup_cosine()), lrx.adamw(1e-3, mask={"w": True, "b": False})):
            step(tx, tx.init(PARAMS))
    assert traces.count == 3


def test_states_of_other_numbers_run_in_the_same_program():
    tx = lrx.adam(warmup_cosine())
    step = jax.jit(tx.update)
    step(GRADS, tx.init(PARAMS), PARAMS)
    traced = step._cache_size()
    other = lrx.adam(warmup_cosine(peak_value=5e-3, warmup_steps=20, decay_steps=300), b1=0.5)
    step(GRADS, other.init(PARAMS), PARAMS)
    assert step._cache_size() == traced


def test_compiled_update_has_a_short_name():
    tx = lrx.adam(1e-3)
    assert "@jit_update" in jax.jit(tx.update).lower(GRADS, tx.init(PARAMS), PARAMS).as_text()[:60]


def test_functions_of_the_pair_can_be_weakly_referenced():
    for tx in (lrx.adam(1e-3), transformation(Typed())):
        assert weakref.ref(tx.init)() is tx.init
        assert weakref.ref(tx.update)() is tx.update
