"""`monitor`: the statistics against their definition, and what they must not be moved by."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from tests.reference import diagnosis as reference

PARAMS = {
    "w": jnp.linspace(-1.0, 2.0, 6).reshape(2, 3),
    "b": jnp.ones(3, jnp.bfloat16),
    "z": jnp.ones(2, jnp.complex64),
}
SIZES = {name: p.size for name, p in PARAMS.items()}


def flat(tree):
    return np.concatenate([np.asarray(x, np.complex128).ravel() for x in jax.tree.leaves(tree)])


def run(tx, grads, params):
    """The parameters before, the update, and the statistics after each step."""

    def body(carry, g):
        params, state = carry
        u, state = tx.update(g, state, params)
        return (optax.apply_updates(params, u), state), (params, u, lrx.monitored(state))

    return jax.lax.scan(body, (params, tx.init(params)), grads)


def test_the_statistics_are_those_of_the_reference():
    rng = np.random.default_rng(0)
    grads = {k: rng.standard_normal((30, *p.shape)) + 0.5 for k, p in PARAMS.items()}
    grads["w"][[4, 5, 17]], grads["w"][9] = [[[np.nan]], [[np.inf]], [[1e30]]], 0
    grads["z"] = grads["z"] + 1j * rng.standard_normal((30, 2))
    grads = {k: jnp.asarray(g, PARAMS[k].dtype) for k, g in grads.items()}
    # an optimizer that survives, so that what the monitor does is seen alone
    tx = lrx.monitor(lrx.chain(lrx.zero_nans(), lrx.clip(1.0), lrx.sgd(lrx.linear_schedule(0.0, 0.1, 9))), decay=0.9)
    state, (params, updates, found) = jax.jit(run, static_argnums=0)(tx, grads, PARAMS)

    def rows(trees):
        return [flat(jax.tree.map(lambda x, i=i: x[i], trees)) for i in range(30)]

    gs = rows(grads)
    gs[17] = np.full(13, np.nan)  # its square is not a number of float32
    expected = list(reference.monitor(rows(params), gs, rows(updates), 0.9))
    for name, x in found.items():
        np.testing.assert_allclose(x, [row[name] for row in expected], rtol=2e-5, err_msg=name)
    assert found["skipped"][-1] == 3 and np.isfinite(found["signal_to_noise"][2:]).all()
    assert lrx.count(state[1]) == 30


def test_a_sample_of_all_entries_gives_the_same_and_the_ratio_one_update_later():
    rng = np.random.default_rng(1)
    params = {k: p.astype(jnp.promote_types(p.dtype, jnp.float32)) for k, p in PARAMS.items()}
    grads = {k: jnp.asarray(rng.standard_normal((20, *p.shape)) + 0.5, p.dtype) for k, p in params.items()}
    grads["w"] = grads["w"].at[jnp.array([3, 4, 11])].set(jnp.nan)
    rates = lrx.linear_schedule(0.0, 0.1, 9)
    found, known = (
        # no leaf has fewer than 16 entries in the sample
        jax.jit(run, static_argnums=0)(
            lrx.monitor(lrx.chain(lrx.zero_nans(), lrx.sgd(rates)), sample=n), grads, params
        )[1][2]
        for n in (1, None)
    )
    late = {**known, "update_ratio": jnp.concatenate([jnp.array([jnp.nan]), known["update_ratio"][:-1]])}
    for name, x in found.items():
        np.testing.assert_allclose(x, late[name], rtol=1e-5, err_msg=name)
    assert np.isfinite(found["update_ratio"][2:]).all() and found["skipped"][-1] == 3


def test_the_step_of_a_large_model_needs_no_copy_of_it():
    params = {"a": jnp.ones((500, 400)), "b": jnp.ones(30_000, jnp.bfloat16)}

    def temporary(tx):
        def step(params, state, grads):
            updates, state = tx.update(grads, state, params)
            return lrx.apply_updates(params, updates), state

        state = jax.eval_shape(tx.init, params)
        compiled = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, params).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    # the smaller leaf alone has 60,000 bytes
    assert temporary(lrx.monitor(lrx.adam(1e-3), sample=256)) < temporary(lrx.adam(1e-3)) + 20_000


def test_a_sample_moves_nothing_and_says_what_it_lacks():
    params = {"a": jnp.ones((3, 20)), "frozen": jnp.full(30, jnp.nan), "f": None}
    tx, plain = lrx.monitor(lrx.adam(0.1), sample=20), lrx.adam(0.1)
    grads = {"a": jnp.arange(60.0).reshape(3, 20), "frozen": None, "f": None}
    state, other = tx.init(params), plain.init(params)
    for _ in range(3):
        updates, state = tx.update(grads, state, params)
        expected, other = plain.update(grads, other, params)
        np.testing.assert_array_equal(updates["a"], expected["a"])
        params = {**params, "a": params["a"] + updates["a"]}
    found = lrx.monitored(state)
    assert found["cosine"] == pytest.approx(1.0) and 0.1 < found["update_ratio"] < 0.13
    with pytest.raises(ValueError, match="must be given the parameters, got 20 entries for the 32 of the state"):
        tx.update(grads, state)


def test_a_sample_estimates_what_all_entries_give():
    rng, scale = np.random.default_rng(0), {"a": 1.0, "b": 0.1, "c": 3.0}
    params = {"a": np.ones((300, 400), np.float32), "b": np.ones(50_000, np.float32), "c": np.ones((3, 5), np.float32)}
    gradients = {}
    for k, p in params.items():
        signal, noise = (rng.standard_normal((n, *p.shape), np.float32) for n in (1, 12))
        gradients[k] = scale[k] * (signal + noise)

    tx, exact = (lrx.monitor(lrx.sgd(0.1), sample=n) for n in (4096, None))
    found, known = (jax.jit(run, static_argnums=0)(t, gradients, params)[1][2] for t in (tx, exact))
    for name, tolerance in {"update_ratio": 0.05, "gradient_l1": 0.05, "cosine": 0.05, "signal_to_noise": 0.15}.items():
        np.testing.assert_allclose(found[name][-1], known[name][-1], rtol=tolerance, err_msg=name)
    np.testing.assert_allclose(found["gradient_norm"], known["gradient_norm"], rtol=1e-6)
    assert abs(known["cosine"][-1] - 0.5) < 0.01 and abs(known["signal_to_noise"][-1] - 1) < 0.05
    held = sum(x.size for x in jax.tree.leaves(tx.init(params)))
    assert held < 2 * 4096 + 40  # of the gradient and of the parameters


AROUND = {
    "accumulate": (lambda tx: lrx.accumulate(tx, 2), 3),
    "multi_steps": (lambda tx: optax.MultiSteps(tx, 2), 3),
    "itself": (lambda tx: tx, 6),
}


@pytest.mark.parametrize("name", AROUND)
def test_inside_an_accumulation_it_sees_the_means(name):
    wrap, updates = AROUND[name]
    tx = wrap(lrx.monitor(lrx.adam(0.1)))
    state = tx.init(jnp.ones(3))
    for i in range(6):
        _, state = tx.update(jnp.full(3, 1.0 + i % 2), state, jnp.ones(3))
    memory = [
        x for x in jax.tree.leaves(state, is_leaf=lambda x: hasattr(x, "update_ratio")) if hasattr(x, "update_ratio")
    ]
    assert memory[0].count == updates
    np.testing.assert_allclose(
        lrx.monitored(state)["gradient_norm"], (1.5 if updates == 3 else 2.0) * 3**0.5, rtol=1e-6
    )
    np.testing.assert_allclose(lrx.monitored(state)["cosine"], 1.0, rtol=1e-6)


def test_what_rules_inside_skip_is_skipped():
    tx = lrx.monitor(lrx.skip_spikes(lrx.sgd(0.1), window=4))
    state = tx.init(jnp.ones(1))
    for g in (1.0, 1.1, 0.9, 1.0, 1e9, jnp.nan, 1.0):
        _, state = tx.update(jnp.full(1, g), state, jnp.ones(1))
    found = lrx.monitored(state)
    assert found["skipped"] == 2 and found["gradient_norm"] == 1.0
    # around a chain that skips, the count is of its own updates too
    outer = lrx.chain(lrx.monitor(lrx.scale_by_adam()), lrx.scale_by_learning_rate(lrx.polyak(1.0)))
    state = outer.init(jnp.ones(1))
    for g in (1.0, jnp.nan, 2.0):
        _, state = outer.update(jnp.full(1, g), state, jnp.ones(1), value=1.0)
    assert lrx.monitored(state)["skipped"] == 1 and lrx.monitored(state)["gradient_norm"] == 2.0


def test_leaves_that_are_not_trained():
    params = {"w": jnp.ones(3), "frozen": jnp.ones(2), "n": jnp.arange(4), "f": None, "masked": optax.MaskedNode()}
    tx = lrx.monitor(lrx.sgd(0.5))
    state = tx.init(params)
    shapes = jax.tree.map(jnp.shape, state)
    for _ in range(2):
        grads = {**params, "frozen": None, "n": np.zeros(4, jax.dtypes.float0)}
        updates, state = tx.update(grads, state, params)
    assert updates["frozen"] is None and jax.tree.map(jnp.shape, state) == shapes
    found = lrx.monitored(state)
    np.testing.assert_allclose(
        [found["update_ratio"], found["cosine"], found["gradient_norm"]], [0.5, 1, 3**0.5], rtol=1e-6
    )
    assert np.isnan(lrx.monitored(tx.init(params))["cosine"])
    _, without = tx.update(grads, tx.init(params))
    assert np.isnan(lrx.monitored(without)["update_ratio"])


def test_a_population_and_a_resumed_run_keep_their_statistics():
    tx = lrx.monitor(lrx.adam(0.1))

    def steps(state, n):
        for i in range(n):
            _, state = tx.update(jnp.array([1.0, i]), state, jnp.ones(2))
        return state

    rates = jnp.array([0.1, 0.2])
    state = jax.vmap(lambda r: steps(lrx.with_hyperparams(tx.init(jnp.ones(2)), learning_rate=r), 3))(rates)
    ratios = lrx.monitored(state)["update_ratio"]
    np.testing.assert_allclose(ratios[1], 2 * ratios[0], rtol=1e-5)
    new = lrx.monitor(lrx.adam(0.3))
    held = steps(tx.init(jnp.ones(2)), 3)
    resumed = lrx.resume(new, jnp.ones(2), held)
    assert lrx.monitored(resumed) == lrx.monitored(held)
    np.testing.assert_allclose(lrx.learning_rate(new.update(jnp.ones(2), resumed, jnp.ones(2))[1]), 0.3)


def test_a_dict_of_measurements_is_optaxs_monitor():
    measures = {"largest": lambda u: jnp.max(jnp.abs(u))}
    tx, theirs = lrx.chain(lrx.monitor(measures), lrx.sgd(0.5)), optax.chain(optax.monitor(measures), optax.sgd(0.5))
    states = [t.update(jnp.array([1.0, -3.0]), t.init(jnp.ones(2)))[1] for t in (tx, theirs)]
    assert [float(optax.tree_utils.tree_get(s, "largest")) for s in states] == [3.0, 3.0]


def test_wrong_arguments():
    for arguments, message in (
        ({"decay": 1.0}, r"monitor\(decay=...\) must be in \[0, 1\)"),
        ({"sample": 0}, r"monitor\(sample=...\) must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            lrx.monitor(lrx.sgd(0.1), **arguments)
    with pytest.raises(TypeError, match=r"monitor\(tx=...\)"):
        lrx.monitor(0.1)
    with pytest.raises(ValueError, match=r"monitored\(opt_state\) must hold one lrx.monitor, got 0"):
        lrx.monitored(lrx.sgd(0.1).init(jnp.ones(2)))
