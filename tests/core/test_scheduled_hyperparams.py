"""Numbers of a rule that are schedules: b1, a weight decay, a momentum."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from lrx._transformation import ScheduledState, State
from tests.common import GRADS, PARAMS, avals, distance, same, scan, train
from tests.operations import by_operations

B1 = lrx.linear_schedule(0.85, 0.95, 10)
DECAY = lrx.cosine_decay_schedule(0.1, 8)
STEPS = 6
MANY = jax.tree.map(lambda g: np.stack([g * (1 + 0.1 * i) for i in range(STEPS)]), GRADS)


def falling(count):
    return jnp.float32(0.1) / (1 + count).astype(jnp.float32)


OPTIMIZERS = {
    "adam_b1": (lrx.adam(0.01, b1=B1), optax.inject_hyperparams(optax.adam)(0.01, b1=B1)),
    "adamw_decay": (lrx.adamw(0.01, weight_decay=DECAY), optax.adamw(0.01, weight_decay=DECAY)),
    "sgd_momentum": (lrx.sgd(0.01, momentum=B1), optax.inject_hyperparams(optax.sgd)(0.01, momentum=B1)),
    "rmsprop_decay": (lrx.rmsprop(0.01, decay=B1), optax.inject_hyperparams(optax.rmsprop)(0.01, decay=B1)),
    "function": (lrx.adamw(0.01, weight_decay=falling), optax.adamw(0.01, weight_decay=falling)),
    "three": (
        lrx.adamw(B1 * 0.01, b1=B1, weight_decay=DECAY),
        optax.inject_hyperparams(optax.adamw)(B1 * 0.01, b1=B1, weight_decay=DECAY),
    ),
}
every = pytest.mark.parametrize("name", OPTIMIZERS)


def test_numbers_alone_keep_their_state():
    state = lrx.adamw(0.01).init(PARAMS)
    assert {type(s) for s in state.values()} == {State}
    assert not any(isinstance(x, ScheduledState) for x in state.values())


@every
def test_it_follows_optax(name):
    ours, theirs = by_operations(lambda: [scan(tx, PARAMS, MANY) for tx in OPTIMIZERS[name]])()
    assert distance(ours, theirs) < 2e-6


def test_the_value_is_that_at_the_updates_completed():
    tx = lrx.trace(lrx.piecewise_value_schedule([1, 2], [0.0, 0.5, 0.25]))
    state, seen = tx.init(jnp.zeros(1)), []
    for _ in range(4):
        updates, state = tx.update(jnp.ones(1), state)
        seen.append(float(updates[0]))
    assert seen == [1.0, 1.5, 1.375, 1.34375]
    assert lrx.count(state) == 4


@every
def test_the_state_keeps_its_structure_and_the_update_its_trace(name):
    tx, _ = OPTIMIZERS[name]
    params, state = train(tx, steps=2, by=by_operations)
    assert avals(state) == avals(tx.init(PARAMS))
    step = jax.jit(tx.update)
    for _ in range(3):
        _, state = step(GRADS, state, params)
    assert step._cache_size() == 1
    assert lrx.count(state) == 5
    plain = step(GRADS, state, params)
    with jax.numpy_dtype_promotion("strict"):
        assert same(jax.jit(tx.update)(GRADS, state, params), plain)


def test_its_numbers_are_named_and_edited_by_path():
    tx = lrx.adam(0.01, b1=B1)
    state = tx.init(PARAMS)
    assert lrx.hyperparams(state)["scale_by_adam.b1.end_value"] == np.float32(0.95)
    for edit in (
        {"b1": {"end_value": 0.9}},
        {"scale_by_adam.b1.end_value": 0.9},
        {"b1": lrx.linear_schedule(0.85, 0.9, 10)},
    ):
        edited = lrx.with_hyperparams(state, **edit)
        assert same(
            lrx.hyperparams(edited), lrx.hyperparams(lrx.adam(0.01, b1=lrx.linear_schedule(0.85, 0.9, 10)).init(PARAMS))
        )
    with pytest.raises(ValueError, match=r"with_hyperparams\(b1=\.\.\.\) is scheduled: give its numbers"):
        lrx.with_hyperparams(state, b1=0.9)


def test_equal_optimizers_are_equal_and_share_one_compilation():
    one, same_one, other = (lrx.adam(0.01, b1=lrx.linear_schedule(0.85, end, 10)) for end in (0.95, 0.95, 0.9))
    assert one == same_one
    assert one.init != other.init
    assert one.update is same_one.update
    assert one.update != other.update
    assert pickle.loads(pickle.dumps(one)) == one
    assert "b1=linear_schedule(init_value=0.85, end_value=0.95" in repr(one)
    assert one.update != lrx.adam(0.01).update


def test_populations_differ_in_the_numbers_of_a_schedule():
    ends = 0.9, 0.95

    def last(end):
        return scan(lrx.adam(0.01, b1=lrx.linear_schedule(0.85, end, 10)), PARAMS, MANY)["w"][-1]

    def all_ways(xs):
        return jax.vmap(last)(xs), [last(end) for end in ends], jax.grad(lambda end: last(end).sum())(xs[0])

    swept, alone, slope = by_operations(all_ways)(jnp.array(ends))
    np.testing.assert_allclose(swept, alone, rtol=1e-5, atol=1e-7)
    assert np.isfinite(slope)


def test_resume_changes_between_a_number_and_a_schedule():
    constant, scheduled = lrx.adamw(0.01), lrx.adamw(0.01, b1=B1, weight_decay=DECAY)
    for before, after in ((constant, scheduled), (scheduled, constant)):
        params, state = train(before, steps=3, by=by_operations)
        resumed = lrx.resume(after, params, state)
        assert avals(resumed) == avals(after.init(params))
        assert lrx.count(resumed) == 3
        assert same(resumed["scale_by_adam"].memory, state["scale_by_adam"].memory)


def test_a_rate_is_computed_in_float32_whatever_the_parameters():
    params = jnp.ones(3, jnp.bfloat16)
    tx = lrx.add_decayed_weights(lrx.linear_schedule(0.0, 1.0, 1000))
    state = tx.init(params)
    assert {x.dtype.name for x in jax.tree.leaves(state)} == {"float32", "int32"}
    updates, _ = tx.update(jnp.zeros(3, jnp.bfloat16), state, params)
    assert updates.dtype == jnp.bfloat16
    with jax.enable_x64(True):
        assert {x.dtype.name for x in jax.tree.leaves(tx.init(np.ones(3)))} == {"float32", "int32"}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: lrx.adam(0.01, b1="fast"), TypeError, r"adam\(b1=...\) must be a number, got 'fast'."),
        (lambda: lrx.adam(0.01, b1=1.5), ValueError, r"adam\(b1=...\) must be in \[0, 1\)"),
        (
            lambda: lrx.cosine_decay_schedule(B1, 10),
            TypeError,
            r"cosine_decay_schedule\(init_value=...\) must be a number, got linear_schedule",
        ),
        (
            lambda: lrx.adam(0.01, b1=lambda t: jnp.ones(3)).init(PARAMS),
            ValueError,
            r"scale_by_adam\(b1=...\) must give a scalar, got shape \(3,\)",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
