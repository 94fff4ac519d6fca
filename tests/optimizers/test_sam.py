"""Sharpness-aware minimization: optax's path, the opaque mode, and what the state tells."""

import jax
import jax.numpy as jnp
import numpy as np
import optax.contrib
import pytest

import lrx
from tests.common import avals, distance, one_step

PARAMS = {"w": jnp.linspace(-1.0, 1.5, 6).reshape(2, 3), "b": jnp.array([0.5, -0.25])}


def loss(params):
    return sum(jnp.sum(jnp.log1p(p**2) + 0.1 * p**2) for p in jax.tree.leaves(params))


def adversary(m, rho=0.1):
    return m.chain(optax.contrib.normalize(), m.sgd(rho, momentum=0.5))


VARIANTS = {
    "paper": {},
    "three": {"sync_period": 3},
    "three_kept": {"sync_period": 3, "reset_state": False},
    "opaque": {"opaque_mode": True},
    "opaque_four": {"opaque_mode": True, "sync_period": 4, "reset_state": False},
}


def path_of(tx, steps):
    def step(carry, noise):
        def grad_fn(params, _):
            return jax.tree.map(lambda g: g + noise, jax.grad(loss)(params))

        carry = one_step(tx, *carry, grad_fn(carry[0], 0), grad_fn=grad_fn)
        return carry, carry[0]

    noise = np.random.default_rng(0).normal(size=steps).astype(np.float32)
    return jax.lax.scan(step, (PARAMS, tx.init(PARAMS)), noise)[1]


def test_a_thousand_steps_are_those_of_optax():
    pairs = {
        name: (
            lrx.sam(lrx.adam(0.01), adversary(lrx), **options),
            optax.contrib.sam(optax.adam(0.01), adversary(optax), **options),
        )
        for name, options in VARIANTS.items()
    }
    paths = jax.jit(lambda: {name: [path_of(tx, 1000) for tx in pair] for name, pair in pairs.items()})()
    for name, (ours, theirs) in paths.items():
        went = min(float(np.abs(np.diff(x, axis=0)).sum(axis=0).min()) for x in jax.tree.leaves(theirs))
        assert went > 0
        assert distance(ours, theirs) < 5e-5 * went, name


def test_opaque_is_the_other_mode_with_its_gradients_taken_inside():
    def grads(params, i):
        return jax.grad(loss)(params)

    one = lrx.sam(lrx.adam(0.1), adversary(lrx), 3)
    all_three = lrx.sam(lrx.adam(0.1), adversary(lrx), 3, opaque_mode=True)
    params, state = PARAMS, one.init(PARAMS)
    for _ in range(6):
        params, state = one_step(one, params, state, grads(params, 0))
    inside, opaque = PARAMS, all_three.init(PARAMS)
    for _ in range(2):
        inside, opaque = one_step(all_three, inside, opaque, grads(inside, 0), grad_fn=grads)
    assert distance(params, inside) < 1e-6
    assert lrx.count(state) == lrx.count(opaque) == 2


def test_a_period_of_one_is_the_optimizer():
    tx = lrx.sam(lrx.adam(0.1), adversary(lrx), sync_period=1)
    pair = (PARAMS, tx.init(PARAMS)), (PARAMS, lrx.adam(0.1).init(PARAMS))
    for _ in range(3):  # optax's goes back to the parameters before
        pair = tuple(
            one_step(t, *held, jax.grad(loss)(held[0])) for t, held in zip((tx, lrx.adam(0.1)), pair, strict=True)
        )
    assert distance(pair[0][0], pair[1][0]) < 1e-6


def test_the_state_tells_the_rate_of_the_optimizer_and_the_numbers_of_both():
    tx = lrx.sam(lrx.adam(lrx.linear_schedule(0.5, 0.0, 2)), lrx.sgd(lrx.linear_schedule(0.25, 0.0, 8)))
    update = jax.jit(tx.update)
    state = tx.init(PARAMS)
    for rate, count in ((0.5, 0), (0.5, 1), (0.5, 1), (0.25, 2)):
        updates, new = update(PARAMS, state, PARAMS)
        assert avals(new) == avals(state)
        state = new
        assert lrx.learning_rate(state) == rate
        assert lrx.count(state) == count
    # two adversarial steps have been made: the schedule of ρ has gone on, though the memory was reset
    assert state.adv_state["scale_by_learning_rate"].learning_rate == 0.25 * 7 / 8
    names = [name for name in lrx.hyperparams(lrx.chain(lrx.clip(1e3), tx).init(PARAMS)) if "init_value" in name]
    assert names == [f"sam.{x}.scale_by_learning_rate.learning_rate.init_value" for x in ("opt_state", "adv_state")]
    edited = lrx.with_hyperparams(state, **{names[1].removeprefix("sam."): 0.0})
    updates, _ = update(PARAMS, edited, PARAMS)
    assert lrx.learning_rate(edited) == 0.25
    assert distance(updates, jax.tree.map(lambda p: 0.0 * p, PARAMS)) == 0


def test_missing_arguments_are_named():
    tx = lrx.sam(lrx.sgd(0.1), lrx.sgd(0.1), opaque_mode=True)
    with pytest.raises(ValueError, match=r"sam\(opaque_mode=True\) needs grad_fn="):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    with pytest.raises(ValueError, match=r"sam\(sync_period=...\) must be positive"):
        lrx.sam(lrx.sgd(0.1), lrx.sgd(0.1), 0)
    with pytest.raises(TypeError, match=r"sam\(adv_optimizer=...\) must be a gradient transformation"):
        lrx.sam(lrx.sgd(0.1), 0.1)
    assert repr(tx) == f"sam({lrx.sgd(0.1)!r}, {lrx.sgd(0.1)!r}, opaque_mode=True)"
    assert tx == lrx.sam(lrx.sgd(0.1), lrx.sgd(0.1), opaque_mode=True)


def test_a_rate_that_adapts_skips_what_is_not_finite():
    tx = lrx.sam(lrx.sgd(lrx.polyak(1.0)), lrx.sgd(0.1))
    grads, update = jax.grad(loss)(PARAMS), jax.jit(lambda g, s: tx.update(g, s, PARAMS, value=1.0, grad=g))
    _, state = update(grads, tx.init(PARAMS))
    updates, state = update({**grads, "b": grads["b"] * jnp.nan}, state)
    assert distance(updates, jax.tree.map(jnp.zeros_like, PARAMS)) == 0  # from the parameters where the cache was made
    assert state.opt_state["scale_by_learning_rate"].skipped == 1
