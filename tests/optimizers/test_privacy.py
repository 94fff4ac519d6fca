"""Differentially private gradient descent: optax's updates, key by key, and what must not be private by accident."""

import jax
import jax.numpy as jnp
import numpy as np
import optax.contrib
import pytest

import lrx
from tests.common import avals, distance, one_step

STEPS, BATCH = 1000, 3
PARAMS = {"w": jnp.zeros((2, 2)), "b": jnp.zeros(2)}
OF_EACH = jax.tree.map(
    lambda p: np.random.default_rng(p.size).normal(size=(STEPS, BATCH, *p.shape)).astype(np.float32), PARAMS
)


def falling(count):
    return 0.02 * 100 / (100 + count)


DPSGD = lrx.dpsgd, optax.contrib.dpsgd
AGGREGATE = lrx.differentially_private_aggregate, optax.contrib.differentially_private_aggregate
CLIP = {"l2_norm_clip": 0.5, "noise_multiplier": 1.0}
CALLS = {
    "plain": (DPSGD, {"learning_rate": 0.01, "l2_norm_clip": 1.5, "noise_multiplier": 0.3, "seed": 7}),
    "momentum": (DPSGD, {"learning_rate": falling, **CLIP, "seed": 3, "momentum": 0.9, "nesterov": True}),
    "key": (AGGREGATE, {"l2_norm_clip": 2.0, "noise_multiplier": 0.1, "key": jax.random.key(2**31 + 3)}),
}


@pytest.mark.filterwarnings('ignore:"seed" is deprecated:DeprecationWarning')
def test_a_thousand_steps_are_those_of_optax():
    txs = {(name, i): make[i](**given) for name, (make, given) in CALLS.items() for i in range(2)}

    def step(carry, grads):
        carry = {key: one_step(txs[key], *pair, grads) for key, pair in carry.items()}
        return carry, {key: pair[0] for key, pair in carry.items()}

    start = {key: (PARAMS, tx.init(PARAMS)) for key, tx in txs.items()}
    paths = jax.jit(lambda: jax.lax.scan(step, start, OF_EACH)[1])()
    for name in CALLS:
        ours, theirs = paths[name, 0], paths[name, 1]
        went = min(float(np.abs(np.diff(x, axis=0)).sum(axis=0).min()) for x in jax.tree.leaves(theirs))
        assert went > 0
        assert distance(ours, theirs) < 5e-5 * went, name


def test_numbers_and_the_rate_are_in_the_state():
    tx = lrx.dpsgd(lrx.linear_schedule(0.5, 0.0, 2), 1.0, 0.0, seed=3, momentum=0.0)
    grads = {"w": jnp.ones((2, 2, 2)), "b": jnp.zeros((2, 2))}  # each of norm 2
    state = tx.init(PARAMS)
    for rate in (0.5, 0.25):
        updates, state = tx.update(grads, state, PARAMS)
        assert lrx.learning_rate(state) == rate
        np.testing.assert_allclose(updates["w"], -rate / 2)
        assert avals(updates) == avals(PARAMS)
    state = lrx.with_hyperparams(tx.init(PARAMS), l2_norm_clip=4.0)
    np.testing.assert_allclose(tx.update(grads, state, PARAMS)[0]["w"], -0.5)
    scheduled = lrx.differentially_private_aggregate(1.0, lrx.linear_schedule(0.0, 1.0, 1))
    state = scheduled.init(PARAMS)
    _, after = scheduled.update(grads, state)
    assert distance(scheduled.update(grads, after)[0], {"w": 0.5, "b": 0.0}) > 0.01
    assert avals(after) == avals(state)


def test_narrow_and_missing_leaves():
    grads = {"w": jnp.ones((4, 3), jnp.bfloat16), "n": None, "i": jnp.ones((4, 2), int), "h": jnp.ones((4, 2)) * 1e30}
    tx = lrx.differentially_private_aggregate(1.0, 0.1, 5)
    updates, _ = tx.update(grads, tx.init(None))
    assert updates["w"].dtype == jnp.bfloat16
    assert updates["n"] is None
    assert not np.any(updates["i"])
    assert all(np.all(np.isfinite(np.float32(updates[k]))) for k in "wh")


def test_gradients_without_a_batch_and_rates_that_see_gradients_are_refused():
    tx = lrx.dpsgd(0.1, 1.0, 1.0, seed=0)
    for b in (jnp.ones(()), jnp.ones((3, 1)), jnp.ones(3)):
        grads = {"w": jnp.ones((2, 2)), "b": b}
        with pytest.raises(ValueError, match="gradients of single examples"):
            tx.update(grads, tx.init(PARAMS), PARAMS)
    with pytest.raises(ValueError, match=r"dpsgd\(learning_rate=...\) must not depend on gradients"):
        lrx.dpsgd(lrx.polyak(1.0), 1.0, 1.0, seed=0)
    with pytest.raises(ValueError, match=r"dpsgd\(noise_multiplier=...\) must not be negative"):
        lrx.dpsgd(0.1, 1.0, -1.0, seed=0)


def test_a_rate_that_adapts_to_the_loss_skips_what_is_not_finite():
    tx = lrx.dpsgd(lrx.plateau(0.1), 1.0, 0.5, seed=0)
    grads = jax.tree.map(lambda g: jnp.asarray(g[0]).at[0].set(jnp.nan), OF_EACH)
    for update in (tx.update, jax.jit(tx.update)):
        updates, state = update(grads, tx.init(PARAMS), PARAMS, value=1.0)
        assert avals(updates) == avals(PARAMS)
        assert not np.any(updates["w"])
        assert state["scale_by_learning_rate"].skipped == 1
