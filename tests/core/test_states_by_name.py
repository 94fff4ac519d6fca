"""A state is asked by the names that optax gives its fields, and a rule without memory needs no state."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from tests.common import GRADS, PARAMS, distance, needs_optax, same

RULES = {
    "scale_by_adam": {},
    "scale_by_lion": {},
    "scale_by_rms": {},
    "scale_by_adan": {},
    "scale_by_amsgrad": {},
    "scale_by_yogi": {},
    "scale_by_belief": {},
    "scale_by_novograd": {},
    "scale_by_sm3": {},
    "trace": {"decay": 0.9},
    "ema": {"decay": 0.9},
}


@pytest.mark.parametrize("name", RULES)
def test_fields_of_a_rule_alone_in_a_chain_are_read_and_replaced_by_optax_names(name):
    ours, theirs = (optax.chain(getattr(o, name)(**RULES[name]), optax.scale(-1.0)) for o in (lrx, optax))
    state, expected = ours.init(PARAMS), theirs.init(PARAMS)
    for field in type(expected[0])._fields:
        assert getattr(state[0], field) is not None
    fields = {field: getattr(state[0], field) for field in type(expected[0])._fields}
    if "count" in fields:
        moved = state[0]._replace(count=jnp.int32(7))
        assert moved.count == 7
        assert same(moved.hyperparams, state[0].hyperparams)
        assert ours.update(GRADS, (moved, state[1]), PARAMS)[1][0].count == 8
        fields.pop("count")
    doubled = state[0]._replace(**{field: jax.tree.map(lambda x: x + 1, x) for field, x in fields.items()})
    for field, x in fields.items():
        assert same(getattr(doubled, field), jax.tree.map(lambda x: x + 1, x))


def test_replacing_a_field_that_there_is_not_is_refused():
    state = lrx.scale_by_adam().init(PARAMS)
    with pytest.raises(ValueError, match="momentum"):
        state._replace(momentum=1)
    clocked = lrx.scale_by_adam(b1=lrx.linear_schedule(0.5, 0.9, 4)).init(PARAMS)._replace(count=jnp.int32(3))
    assert clocked.count == clocked.memory.count == 3


@pytest.mark.parametrize(("name", "field"), [("lion", "count"), ("lion", "mu"), ("adam", "count"), ("sgd", "trace")])
def test_stoix_one_value_by_name_where_optax_has_one(name, field):
    kwargs = {"momentum": 0.9} if name == "sgd" else {}
    for o in (lrx, optax):
        assert optax.tree.get(getattr(o, name)(0.1, **kwargs).init(PARAMS), field) is not None


WRAPPED = {
    "inner_state": lambda o: o.masked(o.trace(0.9), {"w": True, "b": True}),
    "inner_states": lambda o: o.partition({"a": o.trace(0.9)}, "a"),
    "fast_state": lambda o: o.lookahead(o.trace(0.9), sync_period=2, slow_step_size=0.5),
    "base_optimizer_state": lambda o: (o if o is lrx else o.contrib).mechanize(o.trace(0.9)),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_the_state_inside_a_wrapper_has_its_optax_name(name):
    params = PARAMS
    states = [WRAPPED[name](o).init(params if name != "fast_state" else as_pair(o, params)) for o in (lrx, optax)]
    assert all(len(jax.tree.leaves(getattr(s, name))) > 0 for s in states)


def as_pair(o, params):
    return optax.LookaheadParams.init_synced(params) if o is optax else params


STATELESS = {
    "clip": lambda o: o.clip(0.1),
    "clip_by_global_norm": lambda o: o.clip_by_global_norm(0.1),
    "clip_by_block_rms": lambda o: o.clip_by_block_rms(0.1),
    "adaptive_grad_clip": lambda o: o.adaptive_grad_clip(0.01),
    "add_decayed_weights": lambda o: o.add_decayed_weights(0.1),
    "freeze": lambda o: o.freeze({"w": True, "b": False}),
}


@pytest.mark.parametrize("name", STATELESS)
def test_a_rule_without_memory_needs_no_state(name):
    """Loops clip with `optax.clip(1.0).update(grads, None)`, between other things."""
    needs_optax("0.2.6" if name == "freeze" else "0.2.5")
    ours, theirs = STATELESS[name](lrx), STATELESS[name](optax)
    expected, _ = theirs.update(GRADS, theirs.init(PARAMS), PARAMS)
    for blank in (None, (), optax.EmptyState()):
        updates, after = jax.jit(ours.update)(GRADS, blank, PARAMS)
        assert distance(updates, expected) < 1e-6
        assert after == blank


@pytest.mark.parametrize("build", [lambda: lrx.trace(0.9), lambda: lrx.sgd(0.1), lambda: lrx.add_decayed_weights(len)])
def test_a_rule_with_memory_says_whose_state_it_is(build):
    with pytest.raises(ValueError, match="belongs to another optimizer"):
        build().update(GRADS, None, PARAMS)


def test_the_state_of_freeze_is_that_of_a_mask():
    state = lrx.freeze({"w": True, "b": False}).init(PARAMS)
    assert state.inner_state == optax.EmptyState()


def test_an_edit_of_a_rule_without_memory_still_counts():
    tx = lrx.clip(1e3)
    state = lrx.with_hyperparams(tx.init(PARAMS), max_delta=1e-3)
    assert max(float(np.max(np.abs(u))) for u in jax.tree.leaves(tx.update(GRADS, state)[0])) == np.float32(1e-3)


def test_an_edit_is_checked_also_when_an_equal_optimizer_has_gone():
    tx = lrx.lion(0.1, b2=0.96875)
    state = lrx.lion(0.1, b2=0.96875).init(PARAMS)  # of another optimizer, which is gone at once
    for _ in range(2):
        with pytest.raises(ValueError, match=r"b2=...\) must be in \[0, 1\)"):
            lrx.with_hyperparams(state, b2=1.5)
    assert tx == lrx.lion(0.1, b2=0.96875)
