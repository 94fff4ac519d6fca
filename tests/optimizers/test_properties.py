"""Properties of optimizers over trees, dtypes, sizes of gradients and hyperparameters."""

import functools
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

import lrx
from tests.common import avals, distance, finite, leaf_pairs, same
from tests.operations import by_operations
from tests.optimizers.cases import FAMILY


@dataclass(frozen=True)
class Traits:
    """How an optimizer sees its gradients."""

    by_coordinate: bool = True
    """Whether no coordinate of a leaf is told of the others; False for trust ratios, factored moments, norms."""
    by_leaf: bool | None = None
    """Whether `pack` refuses it. None: if it does not go by coordinates."""
    unscaled: dict[str, Any] | None = None
    """The numbers with which the size of the gradients does not matter, or None if it always does."""
    after: int = 0
    """The updates of which that is not yet true: RAdam begins as gradient descent."""
    linear: bool = False
    """Whether updates are as many times larger as the gradients."""

    @property
    def refused(self):
        return not self.by_coordinate if self.by_leaf is None else self.by_leaf


TRAITS = {
    "sgd": Traits(linear=True),
    "sgd_momentum": Traits(linear=True),
    "sign_sgd": Traits(unscaled={}),
    "signum": Traits(unscaled={}),
    "adagrad": Traits(unscaled={"initial_accumulator_value": 0.0, "eps": 0.0}),
    "adadelta": Traits(),
    "rmsprop": Traits(unscaled={"eps": 0.0}),
    "rmsprop_centered": Traits(unscaled={"eps": 0.0}),
    "adam": Traits(unscaled={"eps": 0.0}),
    "adamw": Traits(unscaled={"eps": 0.0}),
    "adamw_masked": Traits(by_leaf=True, unscaled={"eps": 0.0}),
    "adamax": Traits(unscaled={"eps": 0.0}),
    "adamaxw": Traits(unscaled={"eps": 0.0}),
    "nadam": Traits(unscaled={"eps": 0.0}),
    "nadamw_torch": Traits(unscaled={"eps": 0.0}),
    "amsgrad": Traits(unscaled={"eps": 0.0}),
    "radam": Traits(unscaled={"eps": 0.0}, after=5),
    "adabelief": Traits(unscaled={"eps": 0.0, "eps_root": 0.0}),
    "yogi": Traits(unscaled={"eps": 0.0}),
    "adan": Traits(unscaled={"eps": 0.0, "eps_root": 0.0}),
    "adopt": Traits(unscaled={"eps": 0.0}),
    "ademamix": Traits(unscaled={"eps": 0.0}),
    "acprop": Traits(),
    "simplified_ademamix": Traits(unscaled={"eps": 0.0}),
    "mars": Traits(by_coordinate=False),
    "adam_mini": Traits(by_coordinate=False, unscaled={"eps": 0.0}),
    "adafactor": Traits(by_coordinate=False, unscaled={"eps": 0.0}),
    "lion": Traits(unscaled={}),
    "lars": Traits(by_coordinate=False, unscaled={"weight_decay": 0.0, "eps": 0.0}),
    "lamb": Traits(by_coordinate=False, unscaled={"eps": 0.0}),
    "novograd": Traits(by_coordinate=False, unscaled={"eps": 0.0}),
    "muon": Traits(by_coordinate=False, unscaled={"eps": 0.0}),
    "sm3": Traits(by_coordinate=False),
    "rprop": Traits(unscaled={}),
}
every = pytest.mark.parametrize("case", FAMILY, ids=lambda case: case.name)


def of(wanted):
    return pytest.mark.parametrize("case", [c for c in FAMILY if wanted(TRAITS[c.name])], ids=lambda case: case.name)


def over(*strategies, examples=5):
    """Run a test over some draws, the same in every run."""
    return lambda test: settings(max_examples=examples, deadline=None, derandomize=True)(given(*strategies)(test))


def test_every_optimizer_has_its_traits():
    assert list(TRAITS) == [case.name for case in FAMILY]


# ---------------------------------------------------------------- any tree, any size, any numbers

LEAVES = {  # shape, dtype and the largest exponent of ten: sums and quotients of float16 must leave room
    "matrix": ((2, 3), "float32", 15),
    "vector": ((3,), "bfloat16", 15),
    "half": ((3,), "float16", 2),
    "scalar": ((), "float32", 15),
    "empty": ((0, 2), "float32", 0),
    "none": None,
}
seeds = st.integers(0, 99)
decays, epsilons, unit = st.floats(0.125, 0.999), st.floats(1e-10, 0.1), st.floats(0, 1, width=32)
RANGES = {
    "learning_rate": unit,
    **dict.fromkeys(["b1", "b2", "b3", "beta", "decay", "momentum", "rho"], decays),
    **dict.fromkeys(["eps", "eps_root", "adam_eps_root"], epsilons),
    **dict.fromkeys(["adam_b1", "adam_b2"], decays),
    "adam_weight_decay": unit,
    **dict.fromkeys(["weight_decay", "gamma", "initial_accumulator_value", "initial_scale", "decay_rate"], unit),
    "momentum_decay": st.floats(0, 0.1),
    "alpha": st.floats(0, 10),
    "trust_coefficient": st.floats(1e-4, 1),
    "clipping_threshold": st.floats(0.1, 10),
    "threshold": st.floats(4, 6),
    "eta_minus": decays,
    "eta_plus": st.floats(1, 2),
    "min_step_size": st.floats(0, 1e-3),
    "max_step_size": st.floats(1, 100),
}


def is_matrix(params):
    return jax.tree.map(lambda p: p.ndim > 1, params)


def nested(names, rng):
    """A tree of these leaves: lists, tuples and dicts in each other, and some that are empty."""
    if len(names) == 1:
        return names[0]
    cut = rng.integers(1, len(names))
    x, y = nested(names[:cut], rng), nested(names[cut:], rng)
    return [[x, y], (x, {}, (y,)), {"x": x, "y": y}, {"b": [], "a": (x, y)}][rng.integers(4)]


def random_leaf(name, rng, exponent=0):
    if LEAVES[name] is None:
        return None
    shape, dtype, largest = LEAVES[name]
    return jnp.asarray(rng.normal(size=shape) * 10.0 ** min(exponent, largest), dtype)


@every
@over(st.data(), st.permutations(list(LEAVES)), seeds, examples=4)
def test_updates_are_like_the_gradients_finite_and_the_state_is_constant(case, data, names, seed):
    rng = np.random.default_rng(seed)
    tree = nested(names, rng)
    numbers = {name: data.draw(RANGES[name], name) for name in sorted(case.numbers())}
    tx = case.build(**numbers, **({"mask": is_matrix} if "mask" in case.arguments else {}))
    params = jax.tree.map(lambda name: random_leaf(name, rng), tree)
    update, state = by_operations(tx.update), tx.init(params)
    start = state
    for _ in range(2):
        grads = jax.tree.map(lambda name: random_leaf(name, rng, rng.integers(-30, 16)), tree)
        updates, state = update(grads, state, params)
        assert avals(updates) == avals(grads)
        assert avals(state) == avals(start)
        assert finite((updates, state))


# ---------------------------------------------------------------- coordinates, leaves and their order

SHAPES = {"w": (4, 3), "b": (5,)}


def random_tree(rng, scale=1.0):
    """Its numbers have few digits, so that sums of squares do not depend on their order."""
    return {
        k: jnp.asarray(scale * (rng.integers(1, 64, s) * rng.choice([-1, 1], s)), "float32") for k, s in SHAPES.items()
    }


@functools.cache
def update_of(tx):
    """One trace of an optimizer for all trees of a structure."""
    return by_operations(tx.update)


def updates_of(tx, seed, change=lambda tree: tree, scale=1.0, steps=3):
    """The updates of some steps, gradients and parameters changed beforehand."""
    rng = np.random.default_rng(seed)
    params = change(random_tree(rng, 2.0**-6))
    state, path = tx.init(params), []
    for _ in range(steps):
        updates, state = update_of(tx)(change(random_tree(rng, scale)), state, params)
        path.append(updates)
    return path


@every
@over(seeds, st.permutations(range(4)), st.permutations(range(3)), st.permutations(range(5)))
def test_permuted_coordinates_get_permuted_updates(case, seed, rows, columns, places):
    """Rows and columns for those that look at them; a column is a block of Adam-mini's."""

    def permuted(tree):
        return {"w": tree["w"][np.array(rows)][:, np.array(columns)], "b": tree["b"][np.array(places)]}

    ours = updates_of(case.build(), seed, permuted, steps=2)
    expected = [permuted(updates) for updates in updates_of(case.build(), seed, steps=2)]
    assert same(ours, expected) or (not TRAITS[case.name].by_coordinate and distance(ours, expected) < 1e-6)


def split(tree):
    """One leaf taken apart; a mask or a label that stood for it stands for both parts."""
    return {**tree, "w": [tree["w"][:1], tree["w"][1:]]}


@every
def test_a_leaf_split_in_two_gets_the_same_updates_if_coordinates_do_not_meet(case):
    ours, expected = updates_of(case.build(), 0, split), [split(u) for u in updates_of(case.build(), 0)]
    assert same(ours, expected) == TRAITS[case.name].by_coordinate


@of(lambda traits: not traits.refused)
@over(seeds, examples=2)
def test_packed_it_makes_the_same_updates(case, seed):
    assert same(updates_of(lrx.pack(case.build()), seed), updates_of(case.build(), seed))


@of(lambda traits: traits.refused)
def test_pack_refuses_what_tells_leaves_apart(case):
    with pytest.raises(ValueError, match=r"must be made of rules that say that they are elementwise, got \["):
        lrx.pack(case.build())


# ---------------------------------------------------------------- the size of the gradients


@of(lambda traits: traits.unscaled is not None)
@over(seeds, st.integers(-24, 24))
def test_the_size_of_the_gradients_does_not_matter(case, seed, power):
    """A power of two moves no digit."""
    traits = TRAITS[case.name]
    tx, steps = case.build(**traits.unscaled), traits.after + 2
    ours, expected = (updates_of(tx, seed, scale=scale, steps=steps)[traits.after :] for scale in (2.0**power, 1.0))
    for x, y in leaf_pairs(ours, expected):
        np.testing.assert_allclose(x, y, rtol=1e-6)


@of(lambda traits: traits.linear)
@over(seeds, st.integers(-24, 24))
def test_updates_grow_with_the_gradients(case, seed, power):
    ours = updates_of(case.build(), seed, scale=2.0**power)
    assert same(ours, jax.tree.map(lambda u: 2.0**power * u, updates_of(case.build(), seed)))


@of(lambda traits: not traits.linear and traits.unscaled is None)
def test_the_others_see_the_size_and_are_not_linear(case):
    large, usual = (updates_of(case.build(), 0, scale=scale, steps=2)[-1] for scale in (2.0**-12, 1.0))
    assert distance(large, usual) > 0
    assert distance(large, jax.tree.map(lambda u: 2.0**-12 * u, usual)) > 0


@every
@over(seeds, examples=2)
def test_steps_of_rate_zero_move_nothing(case, seed):
    params = random_tree(np.random.default_rng(seed), 2.0**-6)
    tx = case.build(0.0)
    state = tx.init(params)
    for _ in range(2):
        updates, state = update_of(tx)(random_tree(np.random.default_rng(seed + 1)), state, params)
        assert same(lrx.apply_updates(params, updates), params)


def test_a_wrong_cautious_decay_is_named_as_it_was_given():
    with pytest.raises(TypeError, match=r"adamw\(cautious_decay=...\) must be True or False, got 'no'"):
        lrx.adamw(0.1, cautious_decay="no")
