"""A gradient, a loss or a rate that is not finite moves nothing, leaves no trace, and is counted."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import lrx
from tests.operations import by_operations

PARAMS = {"w": jnp.array([2.0, -1.0, 0.5]), "b": jnp.array([1.0, 3.0])}
STEPS = 9
HUGE = 2e19
"""Finite in float32, and its square is not."""


def loss(params, scale=1.0):
    return scale * sum(jnp.sum(c * p**2) for c, p in zip((0.3, 0.8), jax.tree.leaves(params), strict=True)) + 0.1


CONTROLLERS = {
    "plateau": lambda: lrx.plateau(0.05, factor=0.5, patience=3),
    "plateau_window": lambda: lrx.plateau(0.05, window=2),
    "reported": lambda: lrx.plateau(0.05, metric="reported"),
    "polyak": lambda: lrx.polyak(0.3, growth=2.0),
    "alig": lambda: lrx.alig(0.1),
    "l4": lambda: lrx.l4(),
    "dog": lambda: lrx.dog(init_distance=0.1),
    "l_dog": lambda: lrx.dog(init_distance=0.1, per_leaf=True),
    "dowg": lambda: lrx.dowg(),
    "distance_cap": lambda: lrx.distance_cap(0.1, max_distance=0.2),
    "curvature_cap": lambda: lrx.curvature_cap(0.1),
    "curvature_cap_exact": lambda: lrx.curvature_cap(0.1, exact=True),
    "hypergradient": lambda: lrx.hypergradient(0.05, hyper_learning_rate=1e-3),
    "hypergradient_multiplicative": lambda: lrx.hypergradient(0.05, hyper_learning_rate=0.1, mode="multiplicative"),
    "line_search": lambda: lrx.line_search(1.0),
    "plateau_of_dog": lambda: lrx.plateau(lrx.dog(init_distance=0.1)),
}
OPTIMIZERS = {
    "sgd": lrx.sgd,
    "momentum": lambda rate: lrx.sgd(rate, momentum=0.9),
    "adam": lrx.adam,
    "adamw": lambda rate: lrx.adamw(rate, weight_decay=0.1),
    "rmsprop": lambda rate: lrx.rmsprop(rate, momentum=0.5),
    "lion": lrx.lion,
    "adagrad": lrx.adagrad,
    "optax_adam": lambda rate: lrx.chain(optax.scale_by_adam(), lrx.scale_by_learning_rate(rate)),
    "clipped": lambda rate: lrx.chain(lrx.clip_by_global_norm(1.0), lrx.adam(rate)),
    "averaged": lambda rate: lrx.chain(lrx.adam(rate), lrx.polynomial_averaging()),
    "masked": lambda rate: lrx.masked(lrx.adam(rate), {"w": True, "b": True}),
    "lookahead": lambda rate: lrx.chain(lrx.lookahead(lrx.adam(rate), sync_period=3, slow_step_size=0.5)),
}
RATE_FREE = {
    "prodigy": lambda: lrx.prodigy(estim_lr0=0.01),
    "prodigy_sliced": lambda: lrx.prodigy(estim_lr0=0.01, slice_p=2, growth_rate=1.5),
    "prodigy_controlled": lambda: lrx.prodigy(lrx.plateau(1.0), estim_lr0=0.01),
    "dadapt_sgd": lambda: lrx.dadapt_sgd(estim_lr0=0.01),
    "dadapt_adagrad": lambda: lrx.dadapt_adagrad(estim_lr0=0.01),
    "dadapt_adamw": lambda: lrx.dadapt_adamw(estim_lr0=0.01),
    "mechanize_sgd": lambda: lrx.mechanize(lrx.sgd(1.0), s_init=0.01),
    "mechanize_adam": lambda: lrx.mechanize(lrx.adam(1.0), s_init=0.01),
    "mechanize_optax": lambda: lrx.mechanize(optax.adam(1.0), s_init=0.01),
    "cocob": lambda: lrx.cocob(),
    "momo": lambda: lrx.momo(0.5),
    "momo_adam": lambda: lrx.momo_adam(0.1),
    "schedule_free_sgd": lambda: lrx.schedule_free_sgd(0.1),
    "schedule_free_adamw": lambda: lrx.schedule_free_adamw(0.1),
    "schedule_free_plus": lambda: lrx.schedule_free_adamw(1.0, polyak=True, inner_momentum=0.9),
    "schedule_free_radam": lambda: lrx.schedule_free_radam(0.1),
    "prodigy_in_a_chain": lambda: lrx.chain(lrx.ema(0.9), lrx.prodigy(estim_lr0=0.01)),
}
CASES = {
    **RATE_FREE,
    **{
        f"{o}_{c}": functools.partial(lambda o, c: OPTIMIZERS[o](CONTROLLERS[c]()), o, c)
        for c in CONTROLLERS
        for o in OPTIMIZERS
        # every controller in two optimizers, every optimizer with two controllers
        if (o in ("sgd", "adamw") or c in ("plateau", "polyak")) and not (o == "masked" and c == "line_search")
    },
}


def spoiled(grads, kind):
    """With one entry of w that is NaN, infinite or too large to be squared, or with both leaves at 1e30."""
    one = jnp.array([jnp.nan, jnp.inf, HUGE, 0.0])[kind]
    whole = kind == 3
    return {
        "w": jnp.where(whole, 1e30, grads["w"].at[1].set(jnp.where(whole, 0.0, one))),
        "b": jnp.where(whole, -1e30, grads["b"]),
    }


def run(tx, bad_step, kind):
    """Parameters and states after each step, with a spoiled gradient at one of them (none at −1)."""

    def step(carry, t):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params)
        bad = spoiled(grads, kind)
        grads = jax.tree.map(lambda g, b: jnp.where(t == bad_step, b, g), grads, bad)
        updates, state = tx.update(grads, state, params, value=value, value_fn=loss)
        params = lrx.apply_updates(params, updates)
        return (params, state), (params, state)

    _, history = jax.lax.scan(step, (PARAMS, tx.init(PARAMS)), jnp.arange(STEPS))
    return history


def without_clocks(state):
    """The memory: all leaves but the counts of updates, the rate last applied and what was skipped."""
    clocks = ("skipped", "learning_rate", "num_updates")
    leaves = {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_flatten_with_path(state)[0]}
    counting = [k.removesuffix(".skipped") for k in leaves if k.endswith(".skipped")]
    counting += [k.removesuffix(".count") for k in leaves if "scale_by_learning_rate" in k and k.endswith(".count")]
    clock = {f"{k}.{name}" for k in counting for name in ("count", "step_count")}
    return {k: x for k, x in leaves.items() if k not in clock and not any(f".{c}" in k for c in clocks)}


def skips(state):
    found = [x for path, x in jax.tree_util.tree_flatten_with_path(state)[0] if "skipped" in jax.tree_util.keystr(path)]
    return np.stack([np.asarray(x) for x in found])


@pytest.mark.parametrize("name", CASES)
def test_a_gradient_that_is_not_usable_is_skipped_counted_and_left_behind(name):
    tx = CASES[name]()
    steps = np.random.default_rng(len(name)).integers(1, STEPS - 2, 4)  # a random step for each kind
    program = by_operations(functools.partial(run, tx))
    runs = [
        jax.device_get(program(np.int32(bad), kind)) for bad, kind in zip([*steps, -1], [0, 1, 2, 3, 0], strict=True)
    ]
    params, states = jax.tree.map(lambda *x: np.stack(x), *runs)
    memory = without_clocks(states)
    for kind, bad in enumerate(steps):
        # the bad step changes nothing
        for x in (*memory.values(), *jax.tree.leaves(params)):
            np.testing.assert_array_equal(x[kind, bad], x[kind, bad - 1])
        counted = skips(states)[:, kind]
        assert np.all(counted[:, bad - 1] == 0) and np.all(counted[:, -1] == 1)
        # and what follows is what would have been without it
        for x in (*memory.values(), *jax.tree.leaves(params)):
            if np.issubdtype(x.dtype, np.inexact):
                np.testing.assert_allclose(x[kind, -1], x[4, -2], rtol=2e-5, atol=1e-6)
        for path, x in jax.tree_util.tree_flatten_with_path(states)[0]:
            if ".memory.learning_rate" in jax.tree_util.keystr(path):  # a constant rate is a hyperparameter
                assert np.all(x[kind, bad] == 0)
        assert lrx.count(jax.tree.map(lambda x, kind=kind: x[kind, -1], states)) == STEPS
    moved = [np.abs(np.diff(np.asarray(x[4]), axis=0)).sum() for x in jax.tree.leaves(params)]
    assert all(m > 0 for m in moved)


def test_hdm_goes_back_from_a_proposal_that_failed_and_halves_its_rates():
    tx = lrx.hdm(0.1)
    params, states = jax.jit(jax.vmap(functools.partial(run, tx)))(
        jnp.full(5, 4).at[4].set(-1), jnp.array([0, 1, 2, 3, 0])
    )
    rates = states.memory.rates["w"]
    for kind in range(4):
        np.testing.assert_allclose(rates[kind, 4], rates[kind, 3] / 2)
        np.testing.assert_array_equal(states.memory.best["w"][kind, 4], states.memory.best["w"][kind, 3])
        assert states.memory.skipped[kind, -1] == 1
        assert loss(jax.tree.map(lambda x, kind=kind: x[kind, -1], params)) < loss(PARAMS) / 2


@pytest.mark.parametrize("name", ["polyak", "alig", "l4", "line_search", "plateau"])
def test_a_loss_that_is_not_finite_touches_no_moment(name):
    tx = lrx.adam(CONTROLLERS[name]())
    value, grads = jax.value_and_grad(loss)(PARAMS)
    update = by_operations(lambda state, value: tx.update(grads, state, PARAMS, value=value, value_fn=loss))
    _, state = update(tx.init(PARAMS), value)
    for value in (np.nan, np.inf, -np.inf):
        updates, after = update(state, np.float32(value))
        assert not any(np.any(u) for u in jax.tree.leaves(updates)), value
        for x, y in zip(jax.tree.leaves(after["scale_by_adam"]), jax.tree.leaves(state["scale_by_adam"]), strict=True):
            np.testing.assert_array_equal(x, y)
        assert skips(after).max() == 1, value
        if name == "plateau":  # to which it is no improvement
            assert after["scale_by_learning_rate"].memory.controller.watch.plateau_count == 1, value


def test_a_metric_that_is_not_there_makes_an_update_like_any_other():
    tx = lrx.adam(lrx.plateau(0.1, nan="skip"))
    updates, state = by_operations(lambda value: tx.update(PARAMS, tx.init(PARAMS), PARAMS, value=value))(jnp.nan)
    assert all(np.all(u != 0) for u in jax.tree.leaves(updates))
    assert skips(state).max() == 0


def test_plain_optimizers_are_not_touched_by_the_policy():
    for tx in (lrx.adam(0.1), lrx.chain(lrx.clip(1.0), lrx.adamw(lrx.linear_schedule(1.0, 0.0, 5)))):
        updates, _ = tx.update({"w": jnp.array([jnp.nan, 1.0])}, tx.init({"w": jnp.ones(2)}), {"w": jnp.ones(2)})
        assert np.isnan(updates["w"][0]) and np.isfinite(updates["w"][1])
        text = jax.jit(tx.update).lower(PARAMS, tx.init(PARAMS), PARAMS).as_text()
        assert "is_finite" not in text


# ---------------------------------------------------------------- inside other transformations


def spoiled_run(tx, bad, params=PARAMS, steps=6):
    state = tx.init(params)
    for t in range(steps):
        value, grads = jax.value_and_grad(loss)(params)
        grads = {**grads, "w": grads["w"] * jnp.nan} if t in bad else grads
        updates, state = tx.update(grads, state, params, value=value)
        params = lrx.apply_updates(params, updates)
    return params, state


def test_accumulation_in_a_chain_leaves_out_the_micro_gradient_alone():
    tx = lrx.chain(lrx.clip_by_global_norm(1.0), lrx.accumulate(lrx.adam(lrx.polyak(0.1)), every=2))
    params, state = spoiled_run(tx, bad=(1,))
    assert all(map(np.all, map(np.isfinite, jax.tree.leaves(params))))
    assert state["accumulate"].memory.skipped == 1
    assert lrx.count(state) == 3  # the window of the NaN made an update from the other half


@pytest.mark.parametrize("outer", [False, True])
def test_groups_of_a_partition(outer):
    groups = lrx.partition({"a": lrx.adam(lrx.polyak(0.1)), "b": lrx.sgd(0.1)}, {"w": "a", "b": "b"})
    tx = lrx.chain(lrx.ema(0.5), groups) if outer else groups
    params, state = spoiled_run(tx, bad=(2,))
    assert all(map(np.all, map(np.isfinite, jax.tree.leaves(params))))
    assert skips(state).max() == 1
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(without_clocks(state)))


def test_a_reset_memory_with_an_infinite_bound_is_no_reason_to_skip():
    tx = lrx.chain(lrx.lookahead(lrx.sgd(lrx.polyak(0.1, growth=2.0)), 2, 0.5, reset_state=True), lrx.ema(0.5))
    _, state = spoiled_run(tx, bad=())
    assert skips(state).max() == 0


def test_a_link_in_an_optax_chain_skips_by_itself():
    tx = optax.chain(optax.trace(0.5), lrx.scale_by_learning_rate(lrx.plateau(0.1)))
    _, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS, value=1.0)
    updates, state = tx.update({**PARAMS, "w": PARAMS["w"] * jnp.inf}, state, PARAMS, value=1.0)
    assert not any(np.any(u) for u in jax.tree.leaves(updates))
    assert skips(state).max() == 1


def test_on_an_explicit_mesh():
    mesh = jax.make_mesh((1,), ("x",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        params = jax.device_put(jnp.ones((4, 2)), NamedSharding(mesh, P("x", None)))
        for tx in (lrx.adam(lrx.polyak(0.1)), lrx.prodigy(), lrx.schedule_free_sgd(0.1), lrx.sgd(lrx.dog())):
            state = tx.init(params)
            step = jax.jit(tx.update)
            _, state = step(params, state, params, value=1.0)
            updates, after = step(params * jnp.nan, state, params, value=1.0)
            assert not np.any(updates) and updates.sharding == params.sharding
            assert skips(after).max() == 1
            assert jax.tree.map(lambda x: x.sharding, after) == jax.tree.map(lambda x: x.sharding, state)


def test_float64_gradients_that_can_be_squared_are_used():
    with jax.enable_x64(True):
        params = {"w": jnp.ones(2)}
        tx = lrx.sgd(lrx.plateau(0.1))
        updates, _ = tx.update({"w": jnp.array([1e30, 1.0])}, tx.init(params), params, value=1.0)
        np.testing.assert_allclose(updates["w"], [-1e29, -0.1])
