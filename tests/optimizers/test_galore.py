"""GaLore: the subspace, what is projected, and what the base optimizer sees."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

import lrx
from tests.common import avals, distance, needs_optax, same, scan
from tests.reference.compare import disagreement

D = lrx.GaLoreDimensionNumbers
SHAPES = {"tall": (5, 3), "wide": (3, 5), "heads": (4, 2, 3), "conv": (2, 2, 3, 4), "bias": (3,)}
SIDES = {"tall": D(), "wide": D(1, 0), "heads": D(0, (1, -1)), "conv": D((0, 1, 2), 3), "bias": None}


def trees(*steps, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal((*steps, *shape)).astype(np.float32) for name, shape in SHAPES.items()}


def start():
    return {name: jnp.ones(shape) for name, shape in SHAPES.items()}


def decaying(count):
    return 0.1 / (1 + count)


def not_biases(params):
    return jax.tree.map(lambda p: p.ndim > 1, params)


def test_a_thousand_steps_are_those_of_optax():
    """One program: every way to be a matrix, subspaces that move, the base optimizers and all the arguments."""
    needs_optax("0.2.7")
    runs = [
        lambda m, d: m.contrib.galore(0.01, weight_dimension_numbers=d),
        lambda m, d: m.contrib.galore(decaying, 2, 7, 0.25, None, 0.1, not_biases, d),
        lambda m, d: m.contrib.galore(0.01, 1, 50, base_optimizer=m.scale_by_lion(), weight_dimension_numbers=d),
        lambda m, d: m.contrib.galore(0.01, rank=2, update_proj_gap=1, base_optimizer=m.trace(0.9)),
    ]
    theirs = {name: d and optax.contrib.GaLoreDimensionNumbers(*d) for name, d in SIDES.items()}
    pairs = [(run(lrx, SIDES), run(optax, theirs)) for run in runs]
    paths = jax.jit(lambda p, g: [(scan(ours, p, g), scan(twin, p, g)) for ours, twin in pairs])(start(), trees(1000))
    for i, (ours, twin) in enumerate(paths):
        for name in SHAPES:
            ours_path, twin_path = (np.asarray(x[name], np.float64) - 1 for x in (ours, twin))
            assert disagreement(twin_path, ours_path) < 5e-5, (i, name)


def test_a_run_of_optax_goes_on():
    needs_optax("0.2.7")
    grads = trees(3)
    first, second, third = ({name: g[t] for name, g in grads.items()} for t in range(3))
    tx, twin = lrx.galore(0.1, 2, 2), optax.contrib.galore(0.1, 2, 2)
    state = twin.init(start())
    for g in (first, second):
        _, state = twin.update(g, state, start())
    ours, _ = tx.update(third, lrx.resume(tx, start(), state), start())
    expected, _ = twin.update(third, state, start())
    assert distance(ours, expected) < 1e-5


def subspace(g, r):
    """The projection of the longer side of a matrix, float64."""
    u, _, vh = np.linalg.svd(np.asarray(g, np.float64), full_matrices=False)
    left = g.shape[0] >= g.shape[1]
    basis = u[:, :r] if left else vh[:r].T
    return lambda x: basis @ (basis.T @ x) if left else (x @ basis) @ basis.T


def test_what_is_left_is_the_best_of_that_rank_until_the_subspace_is_found_anew():
    grads = trees(5)
    tx = lrx.scale_by_galore(2, 3, 0.5, lrx.identity())
    _, updates = jax.jit(lambda g: jax.lax.scan(lambda s, g: tx.update(g, s)[::-1], tx.init(start()), g))(grads)
    for name in ("tall", "wide"):
        for t, g in enumerate(grads[name]):
            of_rank_two = subspace(grads[name][t - t % 3], 2)
            np.testing.assert_allclose(updates[name][t], 0.5 * of_rank_two(g), atol=1e-5)
    for name in ("heads", "conv", "bias"):  # no two axes: neither projected nor scaled
        assert same(updates[name], grads[name])


def test_adam_in_the_subspace_is_that_of_the_float64_loop():
    """Adam's own letters, within one subspace, where the signs of singular vectors cancel."""
    grads = np.random.default_rng(1).standard_normal((30, 4, 3)).astype(np.float32)
    ours = jax.jit(lambda g: scan(lrx.galore(0.1, 2, 30), jnp.zeros((4, 3)), g))(grads)
    p = np.linalg.svd(grads[0].astype(np.float64), full_matrices=False)[0][:, :2]
    theta, m, v, path = np.zeros((4, 3)), 0.0, 0.0, [np.zeros((4, 3))]
    for t, g in enumerate(grads.astype(np.float64), 1):
        r = p.T @ g
        m, v = 0.9 * m + 0.1 * r, 0.999 * v + 0.001 * r**2
        theta = theta - 0.1 * p @ ((m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8))
        path.append(theta)
    assert disagreement(np.array(path), np.asarray(ours, np.float64)) < 2e-5


def test_a_stack_of_matrices_moves_as_the_matrices_alone():
    grads = np.random.default_rng(2).standard_normal((4, 3, 4, 2)).astype(np.float32)
    stacked, alone = lrx.galore(0.1, 1, 2, weight_dimension_numbers=D(-2, -1)), lrx.galore(0.1, 1, 2)
    layers = lambda g: [scan(alone, jnp.zeros((4, 2)), g[:, i]) for i in range(3)]  # noqa: E731
    path, paths = jax.jit(lambda g: (scan(stacked, jnp.zeros((3, 4, 2)), g), layers(g)))(grads)
    assert distance(path, jnp.stack(paths, 1)) < 1e-5


def test_the_memory_is_of_low_rank():
    state = lrx.scale_by_galore(2, weight_dimension_numbers=SIDES).init(start())
    shapes = {name: x.shape for name, x in state.projector.items()}
    # (rows, columns) are those of the dimension numbers: (5, 3), (5, 3), (4, 6), (12, 4)
    assert shapes == {"tall": (5, 2), "wide": (5, 2), "heads": (6, 2), "conv": (12, 2), "bias": (0, 0)}
    shapes = {name: x.shape for name, x in state.base_optimizer_state.mu.items()}
    assert shapes == {"tall": (2, 3), "wide": (2, 3), "heads": (4, 2), "conv": (2, 4), "bias": (3,)}


def test_numbers_are_read_and_edited_in_the_state_also_those_of_the_base():
    tx = lrx.galore(lrx.linear_schedule(0.5, 0.0, 4), 1, 3, base_optimizer=lrx.scale_by_adam(b1=0.5))
    g = jnp.asarray(trees()["tall"])
    state = tx.init(g)
    found = lrx.hyperparams(state)
    assert {"scale_by_galore.scale", "scale_by_galore.update_proj_gap", "scale_by_galore.inner.b1"} <= {*found}
    assert not {name for name in found if "rank" in name}  # the shapes depend on it
    _, state = tx.update(g, state, g)
    once, kept = tx.update(g.T.reshape(5, 3), state, g)
    edited = lrx.with_hyperparams(state, update_proj_gap=1)
    _, moved = tx.update(g.T.reshape(5, 3), edited, g)
    first, held, found = (optax.tree_utils.tree_get(s, "projector") for s in (state, kept, moved))
    assert same(held, first)
    assert distance(found, first) > 1e-2
    twice, _ = tx.update(g.T.reshape(5, 3), lrx.with_hyperparams(state, scale=2.0), g)
    assert distance(twice, 2 * once) < 1e-6
    assert float(lrx.learning_rate(kept)) == 0.375


def test_leaves_that_are_not_trained_and_short_dtypes():
    params = {"w": jnp.ones((3, 2), jnp.bfloat16), "n": jnp.ones((2, 2), jnp.int32), "empty": jnp.ones((0, 2))}
    grads = {**params, "n": np.zeros((2, 2), jax.dtypes.float0)}
    tx = lrx.scale_by_galore(1, base_optimizer=lrx.scale_by_lion())
    state = tx.init(params)
    updates, after = tx.update(grads, state, params)
    assert avals(after) == avals(state)
    assert avals(updates) == avals(grads)
    assert state.projector["w"].dtype == jnp.bfloat16
    some, after = tx.update({"w": None, "n": None, "empty": grads["empty"]}, state, params)
    assert some["w"] is None and same(after.projector, state.projector)


def test_of_the_extra_arguments_the_base_gets_the_numbers():
    seen = {}

    def update(updates, state, params=None, **extra):
        seen.update(extra, params=params)
        return updates, state

    tx = lrx.scale_by_galore(1, base_optimizer=optax.GradientTransformationExtraArgs(lambda p: (), update))
    g = jnp.ones((3, 2))
    tx.update(g, tx.init(g), g, value=jnp.float32(2.0), grad=g, value_fn=jnp.sum, tree={"a": 1.0}, none=None)
    assert seen == {"value": 2.0, "params": None}


def test_a_skipped_update_does_not_spend_the_subspace():
    g = jnp.asarray(trees()["tall"])
    tx = lrx.apply_if_finite(lrx.galore(0.1, 1, 5), 3)
    updates, state = tx.update(g.at[0, 0].set(jnp.nan), tx.init(g), g)
    assert same(updates, jnp.zeros_like(g))
    _, state = tx.update(g, state, g)
    found, expected = (optax.tree_utils.tree_get(s, "projector") for s in (state, tx.update(g, tx.init(g), g)[1]))
    assert same(found, expected) and jnp.any(found != 0)


WRONG = [
    ({"rank": 0}, ValueError, r"galore\(rank=...\) must be positive"),
    ({"rank": 1.5}, TypeError, r"galore\(rank=...\) must be"),
    ({"rank": jnp.int32(2)}, TypeError, r"galore\(rank=...\) must be an int"),
    ({"update_proj_gap": 0}, ValueError, r"galore\(update_proj_gap=...\) must be positive"),
    ({"scale": float("inf")}, ValueError, r"galore\(scale=...\) must be finite"),
    ({"weight_decay": -1.0}, ValueError, r"galore\(weight_decay=...\) must not be negative"),
    ({"base_optimizer": 0.1}, TypeError, r"galore\(base_optimizer=...\) must be a gradient transformation"),
    ({"weight_dimension_numbers": {"w": 1}}, TypeError, "must be GaLoreDimensionNumbers, a tree"),
]


@pytest.mark.parametrize(("options", "error", "match"), WRONG, ids=lambda x: str(x)[:40])
def test_wrong_arguments_are_refused(options, error, match):
    with pytest.raises(error, match=match):
        lrx.galore(0.1, **options)


def test_what_does_not_fit_is_refused_by_init_and_update():
    g = jnp.ones((3, 2))
    with pytest.raises(ValueError, match=r"scale_by_galore\(weight_dimension_numbers=...\) must name axes of the"):
        lrx.galore(0.1, weight_dimension_numbers=D(0, 2)).init(g)
    with pytest.raises(ValueError, match="must name each axis once"):
        lrx.galore(0.1, weight_dimension_numbers=D(0, 0)).init(g)
    tx = lrx.galore(0.1, base_optimizer=lrx.adamw(1.0))
    with pytest.raises(ValueError, match="add_decayed_weights needs the parameters"):
        tx.update(g, tx.init(g), g)
    tx = lrx.galore(0.1)
    with pytest.raises(ValueError, match="must be given updates with the shapes of the parameters"):
        tx.update(jnp.ones((4, 2)), tx.init(g), g)
