"""lrx inside optax, optax inside lrx."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import tree_utils as otu

import lrx
from tests.common import GRADS, PARAMS, avals, distance, finite, one_step, same, train, warmup_cosine
from tests.operations import by_operations

MASK = {"w": True, "b": False}
OPTIMIZERS = {"constant": lrx.adam(1e-3), "scheduled": lrx.adam(warmup_cosine(init_value=1e-4))}
optimizers = pytest.mark.parametrize("tx", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())

# ---------------------------------------------------------------- lrx inside optax

WRAPPERS = {
    "masked": lambda tx: optax.masked(tx, MASK),
    "masked_by_function": lambda tx: optax.masked(tx, lambda p: jax.tree.map(lambda x: x.ndim > 1, p)),
    "multi_transform": lambda tx: optax.multi_transform({"a": tx, "b": tx}, {"w": "a", "b": "b"}),
    "partition": lambda tx: optax.partition({"a": tx, "b": optax.set_to_zero()}, {"w": "a", "b": "b"}),
    "MultiSteps": lambda tx: optax.MultiSteps(tx, 2).gradient_transformation(),
    "apply_if_finite": lambda tx: optax.apply_if_finite(tx, 2),
    "chain": lambda tx: optax.chain(optax.clip(1.0), tx, optax.ema(0.9)),
    "lrx_chain": lambda tx: lrx.chain(optax.clip(1.0), tx, optax.ema(0.9)),
    "named_chain": lambda tx: optax.named_chain(("first", tx)),
    "flatten": optax.flatten,
    "conditionally_mask": lambda tx: optax.conditionally_mask(tx, lambda step: step % 2 == 0),
    "schedule_free": lambda tx: optax.contrib.schedule_free(tx, 1e-3, b1=0.9),
    "sam": lambda tx: optax.contrib.sam(tx, optax.sgd(0.1), sync_period=2),
}


@optimizers
@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS.keys())
def test_wrapped_by_optax_as_optax_itself_is(tx, wrap):
    twin = optax.adam(1e-3 if tx is OPTIMIZERS["constant"] else warmup_cosine(init_value=1e-4))
    ours, theirs = (train(wrap(x), steps=4, by=by_operations)[0] for x in (tx, twin))
    assert distance(ours, theirs) < 1e-6
    assert distance(ours, PARAMS) > 0


@optimizers
@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS.keys())
def test_equinox_853_wrapped_state_is_constant_from_init_on(tx, wrap):
    tx = wrap(tx)
    state = tx.init(PARAMS)
    after = jax.eval_shape(tx.update, GRADS, state, PARAMS)[1]
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)


@optimizers
def test_lookahead(tx):
    params = optax.LookaheadParams.init_synced(PARAMS)
    wrapped = optax.lookahead(tx, 2, 0.5)
    updates, _ = wrapped.update(GRADS, wrapped.init(params), params)
    assert distance(updates.fast, tx.update(GRADS, tx.init(PARAMS), PARAMS)[0]) < 1e-9


def test_two_schedules_in_one_multi_transform():
    tx = optax.multi_transform(
        {"a": lrx.sgd(0.5), "b": lrx.sgd(lrx.linear_schedule(1.0, 0.0, 4))}, {"w": "a", "b": "b"}
    )
    _, state = train(tx, steps=2)
    assert list(lrx.learning_rates(state).values()) == [0.5, 0.75]


def test_hf_24088_a_step_is_an_update_and_not_a_micro_batch():
    tx = optax.MultiSteps(lrx.adam(warmup_cosine()), 3)
    state, update = tx.init(PARAMS), jax.jit(tx.update)
    for _ in range(7):
        _, state = update(GRADS, state, PARAMS)
    assert lrx.count(state) == 2
    assert lrx.learning_rate(state) == pytest.approx(1e-4)


def test_optax_1744_schedule_inside_schedule_free_starts_at_count_0():
    schedule = lrx.piecewise_value_schedule([1], [0.5, 0.25])
    tx = optax.contrib.schedule_free(lrx.sgd(schedule), 1.0)
    assert lrx.learning_rate(train(tx, steps=1)[1]) == 0.5


def test_skipped_update_does_not_count():
    tx = optax.apply_if_finite(lrx.adam(warmup_cosine()), 3)
    bad = jax.tree.map(lambda g: g * jnp.nan, GRADS)
    updates, state = tx.update(bad, tx.init(PARAMS), PARAMS)
    assert lrx.count(state) == 0
    assert finite(updates)


def test_nested_wrappers_still_show_the_rate():
    tx = optax.MultiSteps(optax.apply_if_finite(optax.masked(lrx.adam(1e-3), MASK), 2), 2)
    assert lrx.learning_rate(lrx.with_hyperparams(tx.init(PARAMS), learning_rate=0.5)) == 0.5


def test_masked_gradients_given_by_hand():
    tx = lrx.adamw(1e-3)
    params = {**PARAMS, "b": optax.MaskedNode()}
    updates, _ = tx.update({**GRADS, "b": optax.MaskedNode()}, tx.init(params), params)
    assert updates["b"] == optax.MaskedNode()


# ---------------------------------------------------------------- optax inside lrx


def test_optax_links_in_an_lrx_chain():
    ours = lrx.chain(
        optax.clip(0.1), optax.scale_by_adam(), optax.add_decayed_weights(0.5), lrx.scale_by_learning_rate(0.01)
    )
    theirs = optax.chain(optax.clip(0.1), optax.scale_by_adam(), optax.add_decayed_weights(0.5), optax.scale(-0.01))
    assert distance(train(ours)[0], train(theirs)[0]) < 1e-7
    assert list(ours.init(PARAMS)) == ["clip", "scale_by_adam", "add_decayed_weights", "scale_by_learning_rate"]


@optimizers
@pytest.mark.parametrize("chain", [optax.chain, lrx.chain], ids=["optax", "lrx"])
def test_value_reaches_reduce_on_plateau(tx, chain):
    tx = chain(tx, optax.contrib.reduce_on_plateau(factor=0.5, patience=2))
    state = tx.init(PARAMS)
    for _ in range(4):
        _, state = tx.update(GRADS, state, PARAMS, value=jnp.float32(1.0))
    assert otu.tree_get(state, "scale") < 1


def test_extra_arguments_are_kept_from_links_that_do_not_take_them():
    plain = optax.GradientTransformation(lambda params: (), lambda updates, state, params=None: (updates, state))
    tx = lrx.chain(plain, lrx.sgd(0.5))
    updates, _ = tx.update(GRADS, tx.init(PARAMS), PARAMS, value=1.0)
    np.testing.assert_array_equal(updates["b"], -0.5 * GRADS["b"])


def test_an_empty_chain_is_the_identity():
    tx = lrx.chain()
    assert tx.update(GRADS, tx.init(PARAMS), PARAMS) == (GRADS, {})


# ---------------------------------------------------------------- optax's tools on lrx's states


@optimizers
def test_tree_map_params_touches_what_is_shaped_like_parameters(tx):
    state = tx.init(PARAMS)
    mapped = optax.tree_map_params(tx, lambda x: x + 7, state)
    assert same(lrx.hyperparams(mapped), lrx.hyperparams(state))
    moments = mapped["scale_by_adam"].memory
    assert {float(x) for tree in (moments.mu, moments.nu) for leaf in jax.tree.leaves(tree) for x in leaf.ravel()} == {
        7.0
    }
    assert lrx.count(mapped) == 0


@optimizers
def test_tree_map_params_through_a_mask(tx):
    tx = optax.masked(tx, MASK)
    mapped = optax.tree_map_params(tx, lambda x: x, tx.init(PARAMS), is_leaf=lambda x: isinstance(x, optax.MaskedNode))
    assert same(mapped, tx.init(PARAMS))


@optimizers
def test_tree_get_finds_the_rate_the_moments_and_the_decays(tx):
    state = tx.init(PARAMS)
    assert otu.tree_get(state, "learning_rate") == lrx.learning_rate(state)
    assert otu.tree_get(state, "b1") == np.float32(0.9)
    assert otu.tree_get(state, "mu")["w"].shape == (2, 3)


def test_tree_set_edits_a_state():
    tx = lrx.adam(1e-2)
    state = otu.tree_set(tx.init(PARAMS), learning_rate=1e-5, b1=0)
    assert jax.tree.structure(state) == jax.tree.structure(tx.init(PARAMS))
    updates, _ = jax.jit(tx.update)(GRADS, state, PARAMS)
    np.testing.assert_allclose(updates["b"], -1e-5, rtol=1e-4)


def test_inject_hyperparams_around_optax_numbers_beside_lrx_works():
    def make(rate):
        return optax.chain(lrx.scale_by_adam(), optax.scale(-rate))

    tx = optax.inject_hyperparams(make)(rate=optax.linear_schedule(1.0, 0.0, 10))
    assert finite(train(tx)[0])


def test_optimizer_built_from_an_array_works_with_jitted_init_and_edited_states():
    for _ in range(2):  # the second time jit's cache answers for init
        tx = lrx.adam(jnp.float32(1e-3))
        state = jax.jit(tx.init)(PARAMS)
        tx.update(GRADS, lrx.with_hyperparams(state, learning_rate=0.5), PARAMS)
        tx.update(GRADS, state, PARAMS)


def test_optax_schedule_free_agrees():
    twins = (optax.contrib.schedule_free(library.adam(1e-2, b1=0.0), 1e-2) for library in (lrx, optax))
    ours, theirs = (train(tx, steps=20)[0] for tx in twins)
    assert distance(ours, theirs) < 5e-6


def test_optax_apply_updates_takes_lrx_updates():
    tx = lrx.adam(1e-3)
    updates, state = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    assert same(optax.apply_updates(PARAMS, updates), lrx.apply_updates(PARAMS, updates))
    assert avals(one_step(tx, PARAMS, state, GRADS)[1]) == avals(state)
