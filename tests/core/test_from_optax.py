"""What lrx has from optax works with lrx's rules inside as it does with optax's."""

import jax
import numpy as np
import optax
import optax.contrib
import pytest

import lrx
from tests.common import PARAMS, distance, needs_optax, same, scan
from tests.operations import by_operations

STEPS = 8
GRADS = jax.tree.map(
    lambda p: np.random.default_rng(p.size).standard_normal((STEPS, *p.shape), np.float32), {**PARAMS, "b": np.ones(3)}
)


def falling(m):
    return m.linear_schedule(0.1, 0.01, 3)


COMPOSITIONS = {
    "MultiSteps": lambda m: m.MultiSteps(m.adam(falling(m)), 4).gradient_transformation(),
    "MultiSteps_that_skips": lambda m: m.MultiSteps(m.adam(0.1), 2, should_skip_update_fn=m.skip_not_finite),
    "inject_hyperparams": lambda m: m.inject_hyperparams(m.adam)(falling(m), b1=0.8),
    "apply_every": lambda m: m.chain(m.scale_by_adam(), m.apply_every(4), m.scale_by_learning_rate(0.1)),
    "flatten": lambda m: m.flatten(m.adam(falling(m))),
    "conditionally_transform": lambda m: m.conditionally_transform(m.adam(0.1), lambda step: step > 2),
    "conditionally_mask": lambda m: m.conditionally_mask(m.adam(falling(m)), lambda step: step % 2 == 0),
    "multi_transform": lambda m: m.multi_transform({"a": m.adam(0.1), "c": m.set_to_zero()}, {"w": "a", "b": "c"}),
    "selective": lambda m: m.transforms.selective_transform(m.adam(0.1), freeze_mask={"w": False, "b": True}),
    "nonnegative": lambda m: m.chain(m.identity(), m.sgd(0.5, momentum=0.9), m.keep_params_nonnegative()),
    "stateless": lambda m: m.chain(
        m.stateless_with_tree_map(lambda g, p: g + p), m.with_extra_args_support(m.sgd(0.1))
    ),
    "split": lambda m: m.contrib.split_real_and_imaginary(m.adam(0.1)),
}


def test_compositions_are_those_of_optax():
    path = by_operations(
        lambda: {k: [scan(make(m), PARAMS, GRADS) for m in (lrx, optax)] for k, make in COMPOSITIONS.items()}
    )
    for name, (ours, theirs) in path().items():
        assert distance(ours, theirs) < 1e-5, name
        assert distance(theirs, jax.tree.map(lambda p: p[:1], theirs)) > 0.01, name


def test_measurements_are_those_of_optax():
    needs_optax("0.2.7")

    def make(m):
        watched = {"norm": lrx.global_norm, "mean": m.measure_with_ema(lrx.global_norm, decay=0.9)}
        return m.chain(m.scale_by_adam(), m.monitor(watched), m.snapshot("first", lrx.global_norm), m.scale_by_sign())

    states = []
    for m in (lrx, optax):
        tx = make(m)
        _, state = tx.update(jax.tree.map(lambda g: g[0], GRADS), tx.init(PARAMS), PARAMS)
        states.append([optax.tree.get(state, name) for name in ("norm", "mean", "first")])
    assert distance(*states) < 1e-4  # optax's Adam rounds 1 − b2 to three digits fewer


def test_the_global_norm_is_that_of_optax():
    assert lrx.global_norm is lrx.extend.global_norm
    for tree in (PARAMS, {"z": np.array([3 + 4j, 1j], np.complex64)}, {}, [1.0, np.float32(2.0)]):
        np.testing.assert_allclose(lrx.global_norm(tree), optax.tree.norm(tree), rtol=1e-6)


def test_the_rate_is_read_through_what_is_around():
    expected = {"MultiSteps": 0.1, "MultiSteps_that_skips": 0.1, "flatten": 0.1, "conditionally_mask": 0.1}
    for name, rate in expected.items():
        state = COMPOSITIONS[name](lrx).init(PARAMS)
        assert lrx.learning_rate(state) == np.float32(rate), name
        assert lrx.learning_rate(lrx.with_hyperparams(lrx.lion(0.1).init(PARAMS), learning_rate=0.5)) == 0.5


INITIALISED = {
    "adamw": lrx.adamw(0.1),
    "scheduled": lrx.adam(lrx.linear_schedule(0.1, 0.0, 10), b1=lrx.linear_schedule(0.5, 0.9, 10)),
    "adafactor": lrx.adafactor(0.1),
    "sm3": lrx.sm3(0.1),
    "novograd": lrx.novograd(0.1),
    "rprop": lrx.rprop(0.1),
    "prodigy": lrx.prodigy(),
    "dog": lrx.contrib.dog(),
    "hypergradient": lrx.sgd(lrx.hypergradient(0.1, hyper_learning_rate=0.1)),
    "schedule_free": lrx.schedule_free_adamw(0.1),
    "mechanize": lrx.mechanize(lrx.adam(0.1)),
    "lookahead": lrx.lookahead(lrx.adam(0.1), 3, 0.5),
    "accumulate": lrx.accumulate(lrx.adam(0.1), 3),
    "params_ema": lrx.chain(lrx.sgd(0.1, momentum=0.9), lrx.params_ema(0.9)),
    "master_weights": lrx.master_weights(lrx.adam(0.1)),
    "multi_steps": lrx.MultiSteps(lrx.adam(0.1), 4),
    "injected": lrx.inject_hyperparams(lrx.adam)(0.1),
    "apply_every": lrx.chain(lrx.adam(0.1), lrx.apply_every(2)),
    "conditional": lrx.conditionally_transform(lrx.adam(0.1), lambda step: step > 2),
    "finite": lrx.apply_if_finite(lrx.adam(0.1), 3),
}


REDUCED = {"adafactor", "novograd", "sm3"}
"""Whose memory is not shaped like the parameters."""


@pytest.mark.parametrize("name", INITIALISED)
def test_tree_map_params_maps_what_is_shaped_like_the_parameters_and_nothing_else(name):
    """It calls init with a placeholder; the specs are a tree like the parameters."""
    tx = INITIALISED[name]
    state = tx.init(PARAMS)
    assert same(lrx.tree_map_params(tx, lambda x: x, state), state)
    specs = {"w": "of w", "b": "of b"}
    assert same(lrx.tree_map_params(tx.init, lambda x, _: x, state, specs), state)
    mapped = lrx.tree_map_params(tx, lambda _, spec: spec, state, specs, transform_non_params=lambda _: "number")
    by_shape = {"of w": (2, 3), "of b": (3,), "number": ()}
    if name in REDUCED:
        return
    for spec, x in zip(jax.tree.leaves(mapped), jax.tree.leaves(state), strict=True):
        assert np.shape(x) == by_shape[spec] or (name == "mechanize" and spec == "number")  # its bettors are a vector


def test_schedule_free_eval_params_reads_the_states_of_both():
    def averages(make):
        tx = make
        params, state = PARAMS, tx.init(PARAMS)
        for i in range(3):
            updates, state = tx.update(jax.tree.map(lambda g, i=i: g[i], GRADS), state, params)
            params = optax.apply_updates(params, updates)
        return lrx.contrib.schedule_free_eval_params(state, params), lrx.schedule_free_eval_params((state, 1), params)

    ours, nested = averages(lrx.contrib.schedule_free_sgd(0.1))
    theirs, nested_theirs = averages(optax.contrib.schedule_free_sgd(0.1))
    assert same(ours, nested) and same(theirs, nested_theirs)
    assert distance(ours, theirs) < 1e-6
    with pytest.raises(ValueError, match="no averaged parameters"):
        lrx.schedule_free_eval_params(lrx.adam(0.1).init(PARAMS), PARAMS)


# ---------------------------------------------------------------- optimizers of optax.contrib

TWINS = {
    "dog": lambda m: m.dog(),
    "dog_decayed": lambda m: m.dog(falling(optax), ("distance", 0.1), 1e-3, 0.1, {"w": True, "b": False}),
    "dog_from_a_rate": lambda m: m.dog(0.5, init_step=("learning_rate", 0.05)),
    "dowg": lambda m: m.dowg(),
    "dowg_decayed": lambda m: m.dowg(falling(optax), 0.25, 1e-2, 0.1, {"w": True, "b": False}),
    "scale_by_cocob": lambda m: m.scale_by_cocob(),
    "scale_by_cocob_bold": lambda m: m.scale_by_cocob(4.0, 1e-3),
}


def test_optimizers_of_contrib_are_those_of_optax_over_a_thousand_steps():
    rng = np.random.default_rng(0)
    grads = jax.tree.map(lambda p: rng.standard_normal((1000, *p.shape), np.float32) + np.float32(0.1), PARAMS)
    libraries = lrx.contrib, optax.contrib
    paths = jax.jit(lambda: {k: [scan(make(m), PARAMS, grads) for m in libraries] for k, make in TWINS.items()})()
    for name, (ours, theirs) in paths.items():
        moved = distance(theirs, jax.tree.map(lambda p: p[:1], theirs))
        assert moved > 1e-6, name
        assert distance(ours, theirs) < 5e-5 * moved, name


@pytest.mark.parametrize("per_leaf", [False, True])
def test_dog_from_a_rate_waits_for_the_first_gradient(per_leaf):
    """In optax a first gradient of 0 stops it for ever: the distance stays 0."""
    tx = lrx.sgd(lrx.dog(init_rate=0.25, per_leaf=per_leaf))
    still = {"w": np.zeros((1, 2, 3), np.float32), "b": np.zeros((1, 3), np.float32)}
    grads = jax.tree.map(lambda z, g: np.concatenate([z, g[:1]]), still, GRADS)
    path = scan(tx, PARAMS, grads)
    for k, p in PARAMS.items():
        np.testing.assert_array_equal(path[k][1], p)
        np.testing.assert_allclose(path[k][2], p - 0.25 * GRADS[k][0], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: lrx.contrib.dog(init_step=("first", 1.0)),
            ValueError,
            r"dog\(init_step=...\) must be one of",
        ),
        (lambda: lrx.contrib.dog(init_step=("distance", 0.0)), ValueError, r"dog\(init_step=...\) must be positive"),
        (lambda: lrx.contrib.dog(init_step=1e-6), TypeError, r"dog\(init_step=...\) must be a pair"),
        (lambda: lrx.contrib.dog(weight_decay=-1.0), ValueError, r"dog\(weight_decay=...\) must not be negative"),
        (lambda: lrx.contrib.dowg(init_estim_sq_dist=-1.0), ValueError, r"dowg\(init_estim_sq_dist=...\) must be posi"),
        (lambda: lrx.dog(init_rate=0.1, init_distance=0.1), ValueError, r"dog\(init_rate=...\) must not be given with"),
        (lambda: lrx.dog(init_rate=-0.1), ValueError, r"dog\(init_rate=...\) must be positive"),
        (lambda: lrx.scale_by_cocob(alpha=0.0), ValueError, r"scale_by_cocob\(alpha=...\) must be positive"),
    ],
)
def test_wrong_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()
