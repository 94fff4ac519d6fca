"""Preconditioners that lrx does not rewrite get lrx's reading, editing and sweeping of the rate from one link."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from tests.common import avals, one_step
from tests.operations import by_operations

# eigenvalues that are apart: where they meet, rounding chooses the eigenvectors
PARAMS = {"w": jax.random.normal(jax.random.key(0), (4, 3)), "v": jax.random.normal(jax.random.key(1), (3, 4))}


class MatrixState(NamedTuple):
    """What the two below remember of each matrix."""

    left: Any
    right: Any
    inner: Any


def _power(matrix, exponent):
    values, vectors = jnp.linalg.eigh(matrix + 1e-4 * jnp.eye(len(matrix)))
    return (vectors * values**exponent) @ vectors.T


def _start(params, inner=()):
    eye = [jax.tree.map(lambda p, i=i: jnp.zeros((p.shape[i],) * 2), params) for i in (0, 1)]
    return MatrixState(*eye, inner)


def shampoo():
    """Shampoo as a user would write it: L^(-1/4) G R^(-1/4), with L and R the sums of G Gᵀ and Gᵀ G."""

    def update(updates, state, params=None):
        left = jax.tree.map(lambda g, s: s + g @ g.T, updates, state.left)
        right = jax.tree.map(lambda g, s: s + g.T @ g, updates, state.right)
        updates = jax.tree.map(lambda g, a, b: _power(a, -0.25) @ g @ _power(b, -0.25), updates, left, right)
        return updates, MatrixState(left, right, ())

    return optax.GradientTransformation(_start, update)


def soap(decay=0.9):
    """SOAP in short: Adam in the eigenbasis of the two decaying averages."""
    adam = optax.scale_by_adam()

    def update(updates, state, params=None):
        left = jax.tree.map(lambda g, s: decay * s + (1 - decay) * g @ g.T, updates, state.left)
        right = jax.tree.map(lambda g, s: decay * s + (1 - decay) * g.T @ g, updates, state.right)
        bases = jax.tree.map(lambda a, b: (jnp.linalg.eigh(a)[1], jnp.linalg.eigh(b)[1]), left, right)
        turned = jax.tree.map(lambda g, q: q[0].T @ g @ q[1], updates, bases, is_leaf=lambda x: isinstance(x, tuple))
        turned, inner = adam.update(turned, state.inner)
        back = jax.tree.map(lambda u, q: q[0] @ u @ q[1].T, turned, bases, is_leaf=lambda x: isinstance(x, tuple))
        return back, MatrixState(left, right, inner)

    return optax.GradientTransformation(lambda params: _start(params, adam.init(params)), update)


def muon():
    """Muon of optax, for a tree of matrices."""
    dimensions = lambda params: jax.tree.map(lambda p: optax.contrib.MuonDimensionNumbers(), params)  # noqa: E731
    return optax.contrib.scale_by_muon(weight_dimension_numbers=dimensions)


OTHERS = {"muon": muon, "soap": soap, "shampoo": shampoo}
others = pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS.keys())


def loss(params):
    return jnp.sum((params["w"] @ params["v"] - jnp.eye(4)) ** 2)


@pytest.mark.real_compiler  # a line between two equal values is exact as users compile it
@others
def test_rate_is_read_and_edited_and_nothing_compiles_again(make):
    schedule = lrx.linear_schedule(0.1, 0.0, transition_steps=100)
    tx = lrx.chain(lrx.clip_by_global_norm(10.0), make(), lrx.scale_by_learning_rate(schedule))
    step = jax.jit(lambda p, s: one_step(tx, p, s, jax.grad(loss)(p)))
    params, state = PARAMS, tx.init(PARAMS)
    start = loss(params)
    for _ in range(20):
        params, state = step(params, state)
    assert loss(params) < 0.6 * start
    assert lrx.count(state) == 20
    assert lrx.learning_rate(state) == pytest.approx(float(schedule(19)))
    _, state = step(params, lrx.with_hyperparams(state, learning_rate={"init_value": 0.01, "end_value": 0.01}))
    assert lrx.learning_rate(state) == np.float32(0.01)
    assert step._cache_size() == 1
    assert avals(step(params, state)[1]) == avals(state)


@others
def test_rate_is_swept_in_one_program(make):
    built = []

    def make_optimizer(learning_rate):
        built.append(1)
        return lrx.chain(make(), lrx.scale_by_learning_rate(learning_rate))

    problem = lrx.Problem(
        init=lambda key: PARAMS, loss=lambda params, batch, key=None: loss(params), sample=lambda key: jnp.zeros(())
    )
    rates = lrx.logspace(1e-3, 1e-1, 3)
    result = lrx.sweep(problem, make_optimizer, learning_rate=rates, steps=8)
    assert len(built) <= 4  # to look at its kind, to start, to step; not once a member
    txs = [make_optimizer(float(rate)) for rate in rates]
    step = by_operations(
        lambda runs: [one_step(tx, p, s, jax.grad(loss)(p)) for tx, (p, s) in zip(txs, runs, strict=True)]
    )
    runs = [(PARAMS, tx.init(PARAMS)) for tx in txs]
    for t in range(3):  # an eigenbasis is no continuous function: later, rounding parts the two
        np.testing.assert_allclose(result.losses[:, 0, 0, t], [loss(params) for params, _ in runs], rtol=2e-2)
        runs = step(runs)


def test_muon_for_matrices_and_adam_for_the_rest_by_partition():
    """Two rates by path, one step function."""
    params = {**PARAMS, "bias": jnp.zeros(3)}
    matrices = lrx.chain(muon(), lrx.scale_by_learning_rate(lrx.cosine_decay_schedule(0.02, 10)))
    tx = lrx.partition({"muon": matrices, "adam": lrx.adam(1e-3)}, lrx.by_path({"bias": "adam", "": "muon"}))
    state = tx.init(params)
    _, state = jax.jit(tx.update)(params, state, params)
    assert {k.split(".")[0]: round(float(v), 6) for k, v in lrx.learning_rates(state).items()} == {
        "adam": 1e-3,
        "muon": 0.02,
    }


def test_optax_contrib_muon_whole_inside_an_lrx_chain():
    tx = lrx.chain(optax.contrib.muon(1.0), lrx.scale_by_learning_rate(0.5, flip_sign=False))
    updates, _ = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    alone, _ = optax.contrib.muon(1.0).update(PARAMS, optax.contrib.muon(1.0).init(PARAMS), PARAMS)
    for k in PARAMS:
        np.testing.assert_allclose(updates[k], 0.5 * alone[k], rtol=1e-5)
