"""Sophia: the Hessian's diagonal, measured now and then from the loss."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

import lrx
from tests.common import avals, distance, finite, one_step, same
from tests.reference.compare import disagreement
from tests.reference.optimizers import sophia

CURVES = {"w": jnp.array([[1.0, 3.0], [0.1, 20.0]]), "b": jnp.array([2.0, 0.5])}
PARAMS = {"w": jnp.array([[1.0, -2.0], [3.0, 0.5]]), "b": jnp.array([-1.0, 2.0])}


def loss(params, shift=0.0):
    """Not quadratic, and its Hessian is not diagonal."""
    coupled = jnp.sum(params["w"]) * jnp.sum(params["b"])
    pairs = zip(jax.tree.leaves(CURVES), jax.tree.leaves(params), strict=True)
    return sum(jnp.sum(c * p**2 + 0.1 * (p - shift) ** 4) for c, p in pairs) + 0.1 * coupled


def path(tx, steps, given):
    def body(carry, shift):
        params, state = carry
        grads = jax.grad(loss)(params, shift)
        params, state = one_step(tx, params, state, grads, **given(shift))
        return (params, state), params

    return jax.lax.scan(body, (PARAMS, tx.init(PARAMS)), jnp.sin(jnp.arange(steps)))[1]


def flat(tree):
    return np.concatenate([np.asarray(x, np.float64).reshape(len(x), -1) for x in jax.tree.leaves(tree)], axis=1)


@pytest.mark.parametrize(
    "options", [{"update_interval": 3}, {"clip_threshold": None, "gamma": 1.0, "eps": 1.0, "b2": 0.5}]
)
def test_a_hundred_steps_are_those_of_optax(options):
    """By the same key, so the signs are the same."""

    def given(shift):
        return {"obj_fn": lambda p: loss(p, shift)}

    def both(_):
        pair = lrx.sophia(0.01, weight_decay=0.1, **options), optax.contrib.sophia(0.01, weight_decay=0.1, **options)
        return [path(tx, 100, given) for tx in pair]

    ours, theirs = map(flat, jax.jit(both)(0))
    assert disagreement(ours, theirs) < 5e-5


SLOPES = np.array([0.5, 4.0, -1.0, 30.0])


@pytest.mark.parametrize("k", [1, 3])
def test_a_thousand_steps_are_those_of_the_reference(k):
    """Where each coordinate has a loss of its own, random signs measure the Hessian's diagonal without error."""

    def separate(x, shift):
        return jnp.sum(0.5 * SLOPES * x**2 + 0.25 * x**4 - shift * x)

    shifts = np.sin(np.arange(1000) * 0.7).astype(np.float32)
    made = {"b1": 0.9, "b2": 0.8, "gamma": 0.5, "weight_decay": 0.1}
    tx, x0 = lrx.sophia(0.01, update_interval=k, **made), jnp.array([1.0, -2.0, 0.3, 1.5])

    def body(carry, shift):
        x, state = carry
        grads = jax.grad(separate)(x, shift)
        return one_step(tx, x, state, grads, value_fn=separate, shift=shift), x

    ours = np.asarray(jax.jit(lambda: jax.lax.scan(body, (x0, tx.init(x0)), shifts))()[1], np.float64)
    theirs = sophia(
        0.01,
        **made,
        k=k,
        gradient=lambda x, t: SLOPES * x + x**3 - shifts[t - 1],
        hessian_diagonal=lambda x, t: SLOPES + 3 * x**2,
    )(np.asarray(x0, np.float64), 999)
    assert disagreement(ours[1:], theirs) < 5e-5


def test_value_fn_and_its_arguments_are_taken_too():
    ours, theirs = (
        path(lrx.sophia(0.01, update_interval=2), 6, given)
        for given in (lambda s: {"value_fn": loss, "shift": s}, lambda s: {"obj_fn": lambda p: loss(p, s)})
    )
    assert same(ours, theirs)


def test_the_estimate_is_the_diagonal_on_average():
    tx = lrx.hutchinson_estimator_diag_hessian(jax.random.key(3))
    draws = 400

    def body(state, _):
        diagonal, state = tx.update(PARAMS, state, PARAMS, obj_fn=loss)
        return state, diagonal

    seen = jax.lax.scan(body, tx.init(PARAMS), None, length=draws)[1]
    hessian = jax.hessian(lambda x: loss({"w": x[:4].reshape(2, 2), "b": x[4:]}))(
        jnp.concatenate([PARAMS["w"].ravel(), PARAMS["b"]])
    )
    ours = jnp.concatenate([seen["w"].reshape(draws, 4), seen["b"]], axis=1)
    np.testing.assert_allclose(
        ours.mean(axis=0), jnp.diag(hessian), atol=5 * float(ours.std(axis=0).max()) / draws**0.5
    )


def test_the_seed_is_a_value():
    keys = [None, 0, 1, jax.random.PRNGKey(1), jax.random.key(1)]
    txs = [lrx.hutchinson_estimator_diag_hessian(key) for key in keys]
    assert txs[2] == txs[3]
    assert txs[1] != txs[2] != txs[4]
    first = [tx.update(PARAMS, tx.init(PARAMS), PARAMS, obj_fn=loss)[0] for tx in txs]
    assert same(first[0], first[1])
    with pytest.raises(TypeError, match="must be a random key or a seed"):
        lrx.hutchinson_estimator_diag_hessian("x")


def test_state_numbers_and_what_is_estimated_otherwise():
    inner = lrx.chain(lrx.hutchinson_estimator_diag_hessian(), lrx.ema(0.5))
    tx = lrx.sophia(0.1, hessian_diagonal_fn=inner, update_interval=1)
    state = tx.init(PARAMS)
    updates, after = tx.update(PARAMS, state, PARAMS, obj_fn=loss)
    assert avals(after) == avals(state)
    assert finite(updates)
    assert [v for k, v in lrx.hyperparams(after).items() if k.endswith("decay") and "sophia" in k] == [0.5]
    assert optax.tree.get(after, "win_rate") == 0
    edited = lrx.with_hyperparams(after, gamma=1e6)
    updates, after = tx.update(PARAMS, edited, PARAMS, obj_fn=loss)
    assert optax.tree.get(after, "win_rate") == 1
    assert distance(updates, jax.tree.map(lambda p: -1e-5 * p, PARAMS)) < 1e-5
    with pytest.raises(ValueError, match="gamma"):
        lrx.with_hyperparams(after, gamma=-1.0)


def test_what_is_missing_is_said():
    tx = lrx.sophia(0.1)
    with pytest.raises(ValueError, match="needs obj_fn="):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    with pytest.raises(ValueError, match="needs the parameters"):
        tx.update(PARAMS, tx.init(PARAMS), obj_fn=loss)
    with pytest.raises(ValueError, match=r"sophia\(update_interval=...\) must be positive"):
        lrx.sophia(0.1, update_interval=0)
