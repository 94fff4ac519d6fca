"""The long tail of optax's rules: a thousand steps of each are optax's, and what each does where optax says nothing.

All of them run in one program, on a quadratic loss whose gradient is noisy.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from tests.common import avals

pytestmark = pytest.mark.usefixtures("cheap_module")
STEPS = 1000
START = {"w": jnp.linspace(0.5, 2.0, 8).reshape(4, 2), "b": jnp.array([1.0, -2.0, 0.5])}
LOG = jax.tree.map(lambda p: np.random.default_rng(p.size).normal(size=(STEPS, *p.shape)).astype(np.float32), START)


def falling(count):
    return -0.02 * 100 / (100 + count)


TAIL = {  # of either library
    "scale": lambda m: m.chain(m.scale_by_adam(), m.scale(-1e-2)),
    "scale_by_schedule": lambda m: m.chain(m.scale_by_adam(), m.scale_by_schedule(falling)),
    "scale_by_schedule_and_sign": lambda m: m.chain(m.scale_by_schedule(m.linear_schedule(0.1, 0.01, 9)), m.scale(-1)),
    "normalize_by_update_norm": lambda m: m.chain(m.normalize_by_update_norm(-0.02, eps=0.5)),
    "centralize": lambda m: m.chain(m.centralize(), m.sgd(0.01)),
    "scale_by_param_block_norm": lambda m: m.chain(m.scale_by_adam(), m.scale_by_param_block_norm(0.5), m.scale(-1e-3)),
}


def loss(params):
    return 0.5 * sum(jnp.sum(p**2) for p in jax.tree.leaves(params))


@pytest.fixture(scope="module")
def paths():
    """Name -> the two paths of the parameters, one row a step."""
    txs = {(name, m.__name__): make(m) for name, make in TAIL.items() for m in (lrx, optax)}

    def step(carry, noise):
        after = {}
        for key, (params, state) in carry.items():
            value, slope = jax.value_and_grad(loss)(params)
            grads = jax.tree.map(lambda s, n: s + n, slope, noise)
            updates, state = optax.with_extra_args_support(txs[key]).update(grads, state, params, value=value)
            after[key] = optax.apply_updates(params, updates), state
        return after, {key: jnp.concatenate([p.ravel() for p in jax.tree.leaves(after[key][0])]) for key in after}

    @jax.jit
    def run(noise):
        return jax.lax.scan(step, {key: (START, tx.init(START)) for key, tx in txs.items()}, noise)[1]

    found = jax.device_get(run(LOG))
    return {name: (found[name, "lrx"], found[name, "optax"]) for name in TAIL}


@pytest.mark.parametrize("name", TAIL)
def test_a_thousand_steps_are_those_of_optax(name, paths):
    ours, theirs = (path.astype(np.float64) for path in paths[name])
    travelled = np.abs(np.diff(theirs, axis=0)).sum(axis=0)
    assert travelled.min() > 0
    assert np.max(np.abs(ours - theirs).max(axis=0) / travelled) < 5e-5  # as in test_agreement.py


# ---------------------------------------------------------------- factors


def test_a_factor_is_in_the_state_and_may_be_edited_or_scheduled():
    tx = lrx.chain(lrx.scale_by_schedule(lrx.linear_schedule(1.0, 0.0, 4)), lrx.scale(-1.0))
    params, state = jnp.ones(1), None
    state = tx.init(params)
    assert state["scale_by_schedule"].step_size == 1.0
    _, state = tx.update(params, state)
    state = lrx.with_hyperparams(
        state, **{"scale.step_size": 3.0, "scale_by_schedule.step_size_fn": {"init_value": 2.0}}
    )
    updates, state = tx.update(params, state)
    assert updates == 3.0 * 2.0 * 0.75
    assert state["scale_by_schedule"].count == 2
    scheduled = lrx.scale(lambda count: -1.0 - count)
    state = scheduled.init(params)
    for expected in (-1.0, -2.0):
        updates, state = scheduled.update(params, state)
        assert updates == expected


def test_a_factor_does_not_round_to_a_narrow_dtype_and_does_not_widen_it():
    g = jnp.array([1.0, 3.0], jnp.bfloat16)
    for tx in (lrx.scale(1 / 3), lrx.scale_by_schedule(lambda count: 1 / 3), lrx.normalize_by_update_norm(1 / 3)):
        updates, _ = tx.update(g, tx.init(g))
        assert updates.dtype == jnp.bfloat16
    assert lrx.scale(1 / 3).update(g, None)[0][1] == 1.0  # 3 times 1/3 in bfloat16 is 1.0039


def test_a_schedule_of_factors_goes_on_where_an_update_is_skipped():
    tx = lrx.chain(lrx.scale_by_schedule(lrx.linear_schedule(1.0, 0.0, 4)), lrx.sgd(lrx.dog()))
    params = jnp.ones(2)
    _, state = jax.jit(tx.update)(params * jnp.nan, tx.init(params), params)
    assert state["scale_by_schedule"].count == 1
    assert state["scale_by_learning_rate"].skipped == 1


@pytest.mark.parametrize("size", [jnp.nan, jnp.inf])
def test_a_factor_that_is_not_finite_is_refused(size):
    for factory, name in ((lrx.scale, "step_size"), (lrx.normalize_by_update_norm, "scale_factor")):
        with pytest.raises(ValueError, match=rf"{factory.__name__}\({name}=...\) must be finite"):
            factory(size)


def test_a_schedule_of_vectors_is_refused():
    with pytest.raises(ValueError, match="must give a scalar, got shape"):
        lrx.scale_by_schedule(lambda count: jnp.ones(2)).init(jnp.ones(2))


def test_nothing_to_normalize():
    tx = lrx.normalize_by_update_norm(eps=0.0)
    assert jnp.array_equal(tx.update(jnp.zeros(2), None)[0], jnp.zeros(2))


def test_nans_are_zeroed_and_counted_by_leaf():
    grads = {"w": jnp.array([1.0, jnp.nan]), "b": jnp.array([jnp.inf]), "n": None}
    ours, theirs = lrx.zero_nans(), optax.zero_nans()
    state = ours.init({"w": jnp.ones(2), "b": jnp.ones(1), "n": None})
    updates, after = jax.jit(ours.update)(grads, state)
    expected, seen = theirs.update(grads, theirs.init(grads))
    assert jax.tree.all(jax.tree.map(jnp.array_equal, (updates, after.found_nan), (expected, seen.found_nan)))
    assert avals(after) == avals(state)
