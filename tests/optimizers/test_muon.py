"""Muon: which parameters are matrices, the scale of a step, and its two rates."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

import lrx
from lrx.extend import transformation
from lrx.optimizers._newton_schulz import as_coefficients, orthogonalized
from lrx.optimizers.muon import ScaleByMuon
from tests.common import avals, distance, finite, one_step, same, scan
from tests.operations import by_operations
from tests.reference.compare import disagreement
from tests.reference.loop import trajectory
from tests.reference.matrices import JORDAN, muon, newton_schulz

D = lrx.MuonDimensionNumbers
MUON, ADAM = "muon.scale_by_learning_rate.learning_rate", "adam.scale_by_learning_rate.learning_rate"
SHAPES = {"dense": (4, 3), "torch": (3, 4), "conv": (2, 2, 3, 4), "heads": (4, 2, 3), "stack": (3, 4, 2), "bias": (3,)}
SIDES = {
    "dense": D(),
    "torch": D(1, 0),
    "conv": D((0, 1, 2), 3),
    "heads": D(0, (1, -1)),
    "stack": D(-2, -1),
    "bias": None,
}
ADAPTIVE = {"adaptive": True, "consistent_rms": 0.2}


def trees(*steps, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal((*steps, *shape)).astype(np.float32) for name, shape in SHAPES.items()}


def start():
    return {name: jnp.zeros(shape) for name, shape in SHAPES.items()}


def axes(side):
    return side if isinstance(side, tuple) else (side,)


@pytest.mark.parametrize("options", [{}, ADAPTIVE], ids=["plain", "adaptive"])
def test_stacked_and_reshaped_matrices_are_those_of_the_float64_loop_and_of_optax(options):
    """One program: every way to be a matrix at once, 100 steps."""
    grads = trees(100)
    theirs = {name: d and optax.contrib.MuonDimensionNumbers(*d) for name, d in SIDES.items()}
    tx = lrx.muon(0.01, muon_weight_dimension_numbers=SIDES, **options)
    twin = optax.contrib.muon(0.01, muon_weight_dimension_numbers=theirs, **options)
    ours, peer = jax.jit(lambda p, g: (scan(tx, p, g), scan(twin, p, g)))(start(), grads)
    for name, sides in SIDES.items():
        path = np.asarray(ours[name], np.float64)
        assert disagreement(path, np.asarray(peer[name], np.float64)) < 5e-5, name
        if sides is not None:
            ndim = len(SHAPES[name])
            both = tuple(tuple(a % ndim for a in axes(side)) for side in sides)
            expected = trajectory(muon(0.01, sides=both, **options), np.zeros(SHAPES[name]), grads[name])
            assert disagreement(expected, path) < 2e-6, name


@pytest.mark.parametrize("first", ["frobenius", "spectral", "aol", "schatten"])
@pytest.mark.parametrize("shape", [(3, 7), (6, 2), (1, 4), (4, 4)])
def test_newton_schulz_is_that_of_the_singular_values(first, shape):
    x = np.random.default_rng(0).standard_normal((5, *shape))
    row = jnp.asarray(as_coefficients("muon"))
    ours = by_operations(lambda x: orthogonalized(x, row, 5, first, 1e-8, None))(jnp.asarray(x, jnp.float32))
    expected = [newton_schulz(g, [JORDAN] * 5, 1e-8, first) for g in x.astype(np.float32).astype(np.float64)]
    np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_a_stack_of_layers_moves_as_the_layers_alone():
    """A scanned model and its unrolled twin have the same updates."""
    sizes = np.array([1e-3, 1.0, 9.0]).reshape(3, 1, 1)
    grads = jnp.asarray(np.random.default_rng(0).standard_normal((3, 4, 2)) * sizes, jnp.float32)
    stacked = lrx.muon(0.1, muon_weight_dimension_numbers=D(-2, -1))
    alone = lrx.muon(0.1)
    updates = stacked.update(grads, stacked.init(grads), grads)[0]
    layers = list(grads)
    assert distance(list(updates), alone.update(layers, alone.init(layers), layers)[0]) < 1e-7


def test_a_side_named_the_other_way_round_is_the_transposed_layer():
    g = jnp.asarray(np.random.default_rng(0).standard_normal((2, 5)), jnp.float32)
    jax_kernel, torch_kernel = lrx.muon(0.1), lrx.muon(0.1, muon_weight_dimension_numbers=D(1, 0))
    ours = jax_kernel.update(g, jax_kernel.init(g), g)[0]
    assert distance(torch_kernel.update(g.T, torch_kernel.init(g.T), g.T)[0].T, ours) < 1e-7


@pytest.mark.parametrize("shape", [(16, 4), (4, 16), (8, 8)])
def test_the_two_conventions_of_the_scale(shape):
    """An orthogonal update has a spectral norm of √max(1, out/in), or a root mean square of `consistent_rms`."""
    n_in, n_out = shape
    g = jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)
    exact = {"ns_coeffs": (1.5, -0.5, 0.0), "ns_steps": 40}
    jordan, moonlight = lrx.muon(1.0, **exact), lrx.muon(1.0, **exact, consistent_rms=0.2)
    u, v = (tx.update(g, tx.init(g), g)[0] for tx in (jordan, moonlight))
    np.testing.assert_allclose(np.linalg.svd(u)[1], max(1, n_out / n_in) ** 0.5, rtol=1e-4)
    np.testing.assert_allclose(np.sqrt(np.mean(v**2)), 0.2, rtol=1e-4)


def test_two_rates_are_read_edited_without_a_trace_and_swept():
    params, grads = trees(), trees(seed=1)
    make = lambda rate: lrx.muon(  # noqa: E731
        rate, adam_learning_rate=lrx.linear_schedule(1e-3, 0.0, 10), muon_weight_dimension_numbers=SIDES
    )
    tx, traced = make(0.02), []

    @jax.jit
    def step(params, state):
        traced.append(1)
        return one_step(tx, params, state, grads)

    state = tx.init(params)
    _, state = step(params, state)
    rates = lrx.learning_rates(state)
    assert {path: float(rate) for path, rate in rates.items()} == {ADAM: np.float32(1e-3), MUON: np.float32(0.02)}
    edited = lrx.with_hyperparams(
        state, **{MUON: 0.04, "muon.scale_by_muon.beta": 0.5, ADAM: {"init_value": 2e-3}, "ns_coeffs": np.ones(3)}
    )
    _, after = step(params, edited)
    assert len(traced) == 1
    assert lrx.learning_rates(after)[MUON] == np.float32(0.04)
    assert lrx.learning_rates(after)[ADAM] == lrx.linear_schedule(2e-3, 0.0, 10)(1)
    assert lrx.count(after) == 2
    with pytest.raises(ValueError, match=r"beta=...\) must be in \[0, 1\)"):
        lrx.with_hyperparams(state, **{"muon.scale_by_muon.beta": 1.5})
    grid = jnp.array([0.01, 0.02])
    moved = lambda rate: one_step(make(rate), params, make(rate).init(params), grads)[0]  # noqa: E731
    swept, alone = by_operations(lambda grid: (jax.vmap(moved)(grid), moved(0.02)))(grid)
    assert distance(jax.tree.map(lambda x: x[1], swept), alone) < 1e-6
    assert distance(swept["bias"][0], swept["bias"][1]) == 0


def test_steps_given_as_an_array_are_a_number_in_the_state():
    x, least = jnp.linspace(-1.0, 1.0, 6).reshape(3, 2), 1e-8
    row = jnp.asarray(JORDAN)

    @jax.jit
    def both(steps):
        kinds = ("frobenius", "aol", "schatten")
        looped = [[orthogonalized(x, row, n, kind, least, None) for kind in kinds] for n in steps]
        return looped, [[orthogonalized(x, row, n, kind, least, None) for kind in kinds] for n in (0, 1, 4)]

    assert distance(*both(jnp.array([0, 1, 4]))) < 1e-5
    params, grads = {"kernel": x, "bias": jnp.ones(2)}, {"kernel": 0.1 * x + 0.05, "bias": jnp.ones(2)}
    ours, theirs = (optax.inject_hyperparams(f)(learning_rate=0.1) for f in (lrx.muon, optax.contrib.muon))
    step = jax.jit(lambda g, s: (ours.update(g, s[0], params), theirs.update(g, s[1], params)))
    (ours_moved, state), (moved, _) = step(grads, (ours.init(params), theirs.init(params)))
    assert distance(ours_moved, moved) < 1e-5
    assert state.hyperparams["ns_steps"] == 5
    tx = lrx.muon(0.1, ns_steps=jnp.int32(3))
    state = lrx.with_hyperparams(tx.init(params), ns_steps=4)
    assert (
        distance(
            one_step(tx, params, state, grads)[0],
            one_step(still := lrx.muon(0.1, ns_steps=4), params, still.init(params), grads)[0],
        )
        < 1e-6
    )


def test_a_controller_in_either_slot():
    params, grads = trees(), trees(seed=1)
    tx = lrx.muon(lrx.plateau(0.02), adam_learning_rate=lrx.polyak(1.0))
    updates, state = jax.jit(lambda g, s, p: tx.update(g, s, p, value=2.0))(grads, tx.init(params), params)
    assert finite(updates)
    assert set(lrx.learning_rates(state)) == {MUON, ADAM}


OTHER_TREES = {
    "no matrices": {"b": jnp.ones(3), "s": jnp.ones(())},
    "no others": [jnp.ones((2, 3))],
    "one matrix": jnp.ones((2, 3)),
    "nothing": {},
    "holes": {"w": jnp.ones((2, 2)), "f": None, "b": jnp.ones(2)},
    "empty": {"w": jnp.ones((0, 2)), "v": jnp.ones((2, 0))},
    "whole numbers": {"w": jnp.ones((2, 3), jnp.int32), "v": jnp.ones((2, 2), jnp.bfloat16)},
}


@pytest.mark.parametrize("params", OTHER_TREES.values(), ids=OTHER_TREES.keys())
def test_any_tree(params):
    for options in ({}, {"preconditioning": "spectral"}, {"muon_weight_dimension_numbers": D(), "adaptive": True}):
        tx = lrx.muon(0.1, **options)
        state = tx.init(params)
        updates, after = by_operations(tx.update)(params, state, params)
        assert avals(updates) == avals(params)
        assert avals(after) == avals(state)
        assert finite(updates)


def test_bf16_parameters_are_orthogonalized_in_float32_unless_told_otherwise():
    g = jnp.asarray(np.random.default_rng(0).standard_normal((8, 8)), jnp.bfloat16)
    tx, short = lrx.scale_by_muon(), lrx.scale_by_muon(ns_dtype="bfloat16")
    wide = g.astype(jnp.float32)
    ours = tx.update(g, tx.init(g))[0]
    assert same(ours, tx.update(wide, tx.init(wide))[0].astype(jnp.bfloat16))
    other = short.update(g, short.init(g))[0]
    assert 0 < distance(other.astype(jnp.float32), ours.astype(jnp.float32)) < 0.1


def test_names_choose_and_optax_tuples_are_taken():
    params = {"embed": jnp.ones((3, 2)), "kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    theirs = optax.contrib.MuonDimensionNumbers()
    for d in (lrx.by_path({"embed": None, "kernel": theirs, "": None}), {"embed": None, "kernel": [0], "bias": None}):
        if isinstance(d, dict):
            with pytest.raises(TypeError, match="MuonDimensionNumbers"):
                lrx.muon(0.1, muon_weight_dimension_numbers=d)
            continue
        tx = lrx.muon(0.1, muon_weight_dimension_numbers=d)
        inner = tx.init(params).memory.inner_states
        shapes = {k: [x.shape for x in jax.tree.leaves(optax.tree.get(s, "mu"))] for k, s in inner.items()}
        assert shapes == {"muon": [(2, 2)], "adam": [(2,), (3, 2)]}
        assert tx == lrx.muon(0.1, muon_weight_dimension_numbers=d)


REFUSED = [
    ({"ns_coeffs": "fast"}, ValueError, r"muon\(ns_coeffs=...\) must be one of 'standard'"),
    ({"ns_coeffs": (1.0, 2.0)}, ValueError, r"muon\(ns_coeffs=...\) must be three numbers"),
    ({"ns_coeffs": (1.0, float("nan"), 0.0)}, ValueError, r"muon\(ns_coeffs=...\) must be finite"),
    ({"ns_coeffs": ("a", "b", "c")}, TypeError, r"muon\(ns_coeffs=...\) must be numbers"),
    ({"ns_steps": -1}, ValueError, r"muon\(ns_steps=...\) must not be negative"),
    ({"beta": 1.0}, ValueError, r"muon\(beta=...\) must be in \[0, 1\)"),
    ({"adam_b2": 1.0}, ValueError, r"muon\(adam_b2=...\) must be in \[0, 1\)"),
    ({"adam_learning_rate": -1.0}, ValueError, r"muon\(adam_learning_rate=...\) must not be negative"),
    ({"adam_learning_rate": "x"}, TypeError, r"muon\(adam_learning_rate=...\) must be a number"),
    ({"consistent_rms": 0.0}, ValueError, r"muon\(consistent_rms=...\) must be positive"),
    ({"preconditioning": "none"}, ValueError, r"muon\(preconditioning=...\) must be one of"),
    ({"muon_weight_dimension_numbers": {"w": D((), 1)}}, TypeError, "must name axes by whole numbers"),
]


@pytest.mark.parametrize(("options", "kind", "message"), REFUSED)
def test_bad_input_is_refused(options, kind, message):
    with pytest.raises(kind, match=message):
        lrx.muon(0.1, **options)


def test_dimension_numbers_that_do_not_fit_are_refused_by_init():
    params = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
    for numbers, message in [
        ({"w": D(0, 2), "b": None}, "must name axes of the parameter"),
        ({"w": D(0, -2), "b": None}, "must name each axis once"),
        ({"w": D(), "b": D()}, "must name axes of the parameter"),
        ({"w": D()}, "must be a tree like the parameters"),
    ]:
        with pytest.raises(ValueError, match=message):
            lrx.muon(0.1, muon_weight_dimension_numbers=numbers).init(params)
    with pytest.raises(ValueError, match=r"one of shape \(3,\). lrx.muon gives such parameters to Adam"):
        lrx.scale_by_muon().init(params)
    assert "scale_by_muon" in repr(transformation(ScaleByMuon(as_coefficients("dion"))))
