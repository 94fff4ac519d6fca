"""`optax.tree_utils.tree_get(state, name)` finds in lrx's states what it finds in optax's."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import tree_utils as otu

import lrx
from lrx import _optax_names
from lrx._rule import INNER, is_rule_state
from tests.core.twins import RATE, TWINS, Twin
from tests.operations import by_operations
from tests.optimizers.cases import CASES, VARIANTS

PARAMS = {"w": jnp.ones((3, 4)), "b": jnp.ones(3)}
GRADS = {"w": jnp.linspace(-1.0, 2.0, 12).reshape(3, 4), "b": jnp.array([0.5, -0.25, 2.0])}
MASK = {"w": True, "b": False}

OTHERS = {
    ("cocob", "init_particles"): "lrx knows the bet from the other memories, and keeps no copy of the parameters",
    ("lbfgs_scheduled", "learning_rate"): "in lrx the schedule's rate is in the state too",
    ("rmsprop_corrected", "nu"): "as below",
    ("rmsprop_centered", "nu"): "lrx keeps the variance, by a recurrence that never subtracts",
    ("scale_by_stddev", "nu"): "as above",
    ("schedule_free_around_adam", "b1"): "in lrx the b1 of Adam is a hyperparameter in the state too",
}
"""What lrx does not keep under optax's name, and why."""

PAIRS = {
    f"{twin.name}_{i}": (twin.name, lambda lib, twin=twin: twin.factory(lib)(**twin.arguments))
    for i, twin in enumerate(TWINS)
}


def contrib(library):
    return library if library is lrx else optax.contrib


PAIRS |= {
    name: (name, make)
    for name, make in {
        "adafactor_factored": lambda lib: lib.adafactor(0.1, min_dim_size_to_factor=2, momentum=0.9),
        "adafactor_unfactored": lambda lib: lib.adafactor(0.1, factored=False),
        "rmsprop_centered": lambda lib: lib.rmsprop(0.1, centered=True, momentum=0.9),
        "lion_scheduled": lambda lib: lib.lion(optax.linear_schedule(0.1, 0.0, 9)),
        "weight_decay_scheduled": lambda lib: lib.add_decayed_weights(optax.linear_schedule(0.1, 0.0, 9)),
        "rmsprop_scheduled": lambda lib: lib.rmsprop(optax.linear_schedule(0.1, 0.0, 9)),
        "rmsprop_corrected": lambda lib: lib.rmsprop(0.1, bias_correction=True, centered=True),
        "lbfgs": lambda lib: lib.lbfgs(),
        "lbfgs_scheduled": lambda lib: lib.lbfgs(optax.linear_schedule(0.1, 0.0, 9)),
        "backtracking": lambda lib: lib.scale_by_backtracking_linesearch(5, store_grad=True),
        "masked": lambda lib: lib.masked(lib.adam(0.1), MASK),
        "apply_if_finite": lambda lib: lib.apply_if_finite(lib.adam(0.1), 3),
        "partition": lambda lib: lib.partition({"a": lib.adam(0.1), "b": lib.sgd(0.1)}, {"w": "a", "b": "b"}),
        "mechanize": lambda lib: contrib(lib).mechanize(lib.sgd(0.1)),
        "reduce_on_plateau": lambda lib: contrib(lib).reduce_on_plateau(),
        "schedule_free_around_sgd": lambda lib: contrib(lib).schedule_free(lib.sgd(0.1), 0.1),
        "schedule_free_around_adam": lambda lib: contrib(lib).schedule_free(lib.adam(0.1), 0.1),
    }.items()
}


def fields(state):
    """The names of the fields of every NamedTuple in a state."""
    if isinstance(state, tuple):
        own = set(getattr(state, "_fields", ()))
        return own.union(*map(fields, state))
    return set().union(*map(fields, state.values())) if isinstance(state, dict) else set()


def unique(state):
    """Field -> the value that `tree_get` finds, for those of which there is one."""
    found = {name: otu.tree_get_all_with_path(state, name) for name in fields(state)}
    return {name: hits[0][1] for name, hits in found.items() if len(hits) == 1}


def shapes(tree):
    return sorted(map(jnp.shape, jax.tree.leaves(tree)))  # the two libraries nest the vectors of SM3 differently


@pytest.mark.parametrize(("name", "make"), PAIRS.values(), ids=PAIRS.keys())
def test_what_optax_finds_by_name_is_found(name, make):
    theirs = unique(jax.eval_shape(make(optax).init, PARAMS))
    state = jax.eval_shape(make(lrx).init, PARAMS)
    for field, value in theirs.items():
        hits = otu.tree_get_all_with_path(state, field)
        if (name, field) in OTHERS:
            assert len(hits) != 1
            continue
        assert len(hits) == 1, field
        if field not in INNER:  # whole states, which in lrx hold the numbers too
            assert shapes(hits[0][1]) == shapes(value), field


KINDS = {
    name: (getattr(lrx, name), getattr(optax.contrib, name, None) or getattr(optax, name, None))
    for name in _optax_names.__all__
    if name.endswith("State") and name != "MaskedState"  # optax masks inside partition, muon and lars too
}


def held(state, kind):
    leaves = jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, kind))
    return any(isinstance(x, kind) for x in leaves)


def test_a_state_is_of_the_type_that_optax_gives_it():
    for name, make in PAIRS.values():
        ours, theirs = (jax.eval_shape(make(library).init, PARAMS) for library in (lrx, optax))
        for kind, (our_kind, their_kind) in KINDS.items():
            if their_kind is not None and not (name == "schedule_free_adamw" and kind == "ScaleByRmsState"):
                assert held(ours, our_kind) == held(theirs, their_kind), (name, kind)


def test_lookahead_and_its_fast_state():
    make = {lib: lib.lookahead(lib.adam(0.1), 2, 0.5) for lib in (lrx, optax)}
    params = optax.LookaheadParams.init_synced(PARAMS)
    assert set(unique(make[optax].init(params))) <= set(unique(make[lrx].init(params)))


SAME = [twin for twin in TWINS if twin.name in ("adan", "lion", "sm3", "ademamix", "cocob")]
SAME += [Twin("adafactor", RATE | {"min_dim_size_to_factor": 2}), Twin("rprop", RATE), Twin("schedule_free_sgd", RATE)]


def test_the_values_found_are_optax_s():
    """By the same name the same quantity, after three updates, the last with the gradient negated."""

    @by_operations
    def after_three(grads):
        states = {}
        for twin in SAME:
            for library in (lrx, optax):
                tx, params = twin.factory(library)(**twin.arguments), PARAMS
                state = tx.init(params)
                for sign in (1.0, 1.0, -1.0):
                    updates, state = tx.update(jax.tree.map(lambda g, sign=sign: sign * g, grads), state, params)
                    params = optax.apply_updates(params, updates)
                states[twin.name, library.__name__] = state
        return states

    states = after_three(GRADS)
    for twin in SAME:
        for field, value in unique(states[twin.name, "optax"]).items():
            if (twin.name, field) in OTHERS or field in INNER:
                continue
            ours = sorted(jax.tree.leaves(otu.tree_get(states[twin.name, "lrx"], field)), key=jnp.shape)
            for a, b in zip(ours, sorted(jax.tree.leaves(value), key=jnp.shape), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7, err_msg=f"{twin.name}: {field}")


@pytest.mark.parametrize("case", CASES + VARIANTS, ids=lambda case: case.name)
def test_no_link_is_called_like_a_field_of_a_memory(case):
    state = jax.eval_shape(case.build().init, PARAMS)

    def keys(tree):
        if isinstance(tree, dict):
            linked = {key for key, x in tree.items() if is_rule_state(x)}
            return linked.union(*map(keys, tree.values()))
        return set().union(*map(keys, tree)) if isinstance(tree, tuple) else set()

    assert not keys(state) & fields(state)


def test_under_inject_hyperparams_both_libraries_keep_the_rate_and_setting_it_by_name_sets_both():
    tx = optax.inject_hyperparams(lrx.sgd)(learning_rate=0.25)
    state = tx.init(PARAMS)
    hits = otu.tree_get_all_with_path(state, "learning_rate")
    assert [float(x) for _, x in hits] == [0.25, 0.25] == [lrx.learning_rate(state)] * 2
    state = otu.tree_set(state, learning_rate=0.5)
    assert [float(x) for _, x in otu.tree_get_all_with_path(state, "learning_rate")] == [0.5, 0.5]
    updates, state = tx.update(PARAMS, state, PARAMS)
    jax.tree.map(lambda u, p: np.testing.assert_array_equal(u, -0.5 * p), updates, PARAMS)
    assert lrx.learning_rate(state) == 0.5 == state.hyperparams["learning_rate"]
