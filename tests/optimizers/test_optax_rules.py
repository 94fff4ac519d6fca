"""The long tail of optax's rules: a thousand steps of each are optax's, and what each does where optax says nothing.

All of them run in one program, on a quadratic loss whose gradient is noisy.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from tests.common import avals

pytestmark = [
    pytest.mark.filterwarnings("ignore:`optimistic_adam` is deprecated:DeprecationWarning"),
]
STEPS = 1000
START = {"w": jnp.linspace(0.5, 2.0, 8).reshape(4, 2), "b": jnp.array([1.0, -2.0, 0.5])}
LOG = jax.tree.map(lambda p: np.random.default_rng(p.size).normal(size=(STEPS, *p.shape)).astype(np.float32), START)


def falling(count):
    return -0.02 * 100 / (100 + count)


def rising(count):
    return 0.05 * (1.0 + count) / (100 + count)


TAIL = {  # of either library
    "scale": lambda m: m.chain(m.scale_by_adam(), m.scale(-1e-2)),
    "scale_by_schedule": lambda m: m.chain(m.scale_by_adam(), m.scale_by_schedule(falling)),
    "scale_by_schedule_and_sign": lambda m: m.chain(m.scale_by_schedule(m.linear_schedule(0.1, 0.01, 9)), m.scale(-1)),
    "normalize_by_update_norm": lambda m: m.chain(m.normalize_by_update_norm(-0.02, eps=0.5)),
    "centralize": lambda m: m.chain(m.centralize(), m.sgd(0.01)),
    "optimistic_gradient_descent": lambda m: m.optimistic_gradient_descent(0.01, alpha=0.5, beta=2.0),
    "optimistic_adam": lambda m: m.optimistic_adam(0.01),
    "optimistic_adam_optimism": lambda m: m.optimistic_adam(0.01, 0.1, b1=0.5, eps=1e-3, nesterov=False),
    "optimistic_adam_v2": lambda m: m.optimistic_adam_v2(rising, alpha=0.5, beta=2.0, b2=0.9),
    "fromage": lambda m: m.fromage(0.1),
    "fromage_scheduled": lambda m: m.fromage(rising, min_norm=1.0),
    "noisy_sgd": lambda m: m.noisy_sgd(0.01, key=7),
    "noisy_sgd_key": lambda m: m.chain(m.add_noise(4.0, 0.1, key=jax.random.key(2**31 + 9)), m.sgd(rising)),
    "noisy_sgd_seed": lambda m: m.noisy_sgd(0.01, 1.0, 0.3, 2**32 - 1),
    "polyak_sgd": lambda m: m.polyak_sgd(0.3, f_min=0.25),
    "polyak_sgd_scaled": lambda m: m.polyak_sgd(0.05, rising, 0.5, 2.0, "sps+"),
    "scale_by_polyak": lambda m: m.chain(m.sgd(0.5), m.scale_by_polyak(0.0, 0.1)),
    "scale_by_distance_over_gradients": lambda m: m.scale_by_distance_over_gradients(1e-3, global_scale=-1.0),
    "scale_by_cocob": lambda m: (m if m is lrx else optax.contrib).scale_by_cocob(alpha=20.0),
    "scale_by_param_block_norm": lambda m: m.chain(m.scale_by_adam(), m.scale_by_param_block_norm(0.5), m.scale(-1e-3)),
}


def loss(params):
    return 0.5 * sum(jnp.sum(p**2) for p in jax.tree.leaves(params))


@pytest.fixture(scope="module")
def paths():
    """Name -> the two paths of the parameters, one row a step."""
    txs = {(name, m.__name__): make(m) for name, make in TAIL.items() for m in (lrx, optax)}

    def step(carry, noise):
        after = {}
        for key, (params, state) in carry.items():
            value, slope = jax.value_and_grad(loss)(params)
            grads = jax.tree.map(lambda s, n: s + n, slope, noise)
            updates, state = optax.with_extra_args_support(txs[key]).update(grads, state, params, value=value)
            after[key] = optax.apply_updates(params, updates), state
        return after, {key: jnp.concatenate([p.ravel() for p in jax.tree.leaves(after[key][0])]) for key in after}

    @jax.jit
    def run(noise):
        return jax.lax.scan(step, {key: (START, tx.init(START)) for key, tx in txs.items()}, noise)[1]

    found = jax.device_get(run(LOG))
    return {name: (found[name, "lrx"], found[name, "optax"]) for name in TAIL}


@pytest.mark.parametrize("name", TAIL)
def test_a_thousand_steps_are_those_of_optax(name, paths):
    ours, theirs = (path.astype(np.float64) for path in paths[name])
    travelled = np.abs(np.diff(theirs, axis=0)).sum(axis=0)
    assert travelled.min() > 0
    assert np.max(np.abs(ours - theirs).max(axis=0) / travelled) < 5e-5  # as in test_agreement.py


# ---------------------------------------------------------------- factors


def test_a_factor_is_in_the_state_and_may_be_edited_or_scheduled():
    tx = lrx.chain(lrx.scale_by_schedule(lrx.linear_schedule(1.0, 0.0, 4)), lrx.scale(-1.0))
    params, state = jnp.ones(1), None
    state = tx.init(params)
    assert state["scale_by_schedule"].learning_rate == 1.0
    _, state = tx.update(params, state)
    state = lrx.with_hyperparams(
        state, **{"scale.step_size": 3.0, "scale_by_schedule.step_size_fn": {"init_value": 2.0}}
    )
    updates, state = tx.update(params, state)
    assert updates == 3.0 * 2.0 * 0.75
    assert state["scale_by_schedule"].count == 2
    scheduled = lrx.scale(lambda count: -1.0 - count)
    state = scheduled.init(params)
    for expected in (-1.0, -2.0):
        updates, state = scheduled.update(params, state)
        assert updates == expected


def test_a_factor_does_not_round_to_a_narrow_dtype_and_does_not_widen_it():
    g = jnp.array([1.0, 3.0], jnp.bfloat16)
    for tx in (lrx.scale(1 / 3), lrx.scale_by_schedule(lambda count: 1 / 3), lrx.normalize_by_update_norm(1 / 3)):
        updates, _ = tx.update(g, tx.init(g))
        assert updates.dtype == jnp.bfloat16
    assert lrx.scale(1 / 3).update(g, None)[0][1] == 1.0  # 3 times 1/3 in bfloat16 is 1.0039


def test_a_schedule_of_factors_goes_on_where_an_update_is_skipped():
    tx = lrx.chain(lrx.scale_by_schedule(lrx.linear_schedule(1.0, 0.0, 4)), lrx.sgd(lrx.dog()))
    params = jnp.ones(2)
    _, state = jax.jit(tx.update)(params * jnp.nan, tx.init(params), params)
    assert state["scale_by_schedule"].count == 1
    assert state["scale_by_learning_rate"].skipped == 1


@pytest.mark.parametrize("size", [jnp.nan, jnp.inf])
def test_a_factor_that_is_not_finite_is_refused(size):
    for factory, name in ((lrx.scale, "step_size"), (lrx.normalize_by_update_norm, "scale_factor")):
        with pytest.raises(ValueError, match=rf"{factory.__name__}\({name}=...\) must be finite"):
            factory(size)


def test_a_schedule_of_vectors_is_refused():
    with pytest.raises(ValueError, match="must give a scalar, got shape"):
        lrx.scale_by_schedule(lambda count: jnp.ones(2)).init(jnp.ones(2))


def test_nothing_to_normalize():
    tx = lrx.normalize_by_update_norm(eps=0.0)
    assert jnp.array_equal(tx.update(jnp.zeros(2), None)[0], jnp.zeros(2))


def test_nans_are_zeroed_and_counted_by_leaf():
    grads = {"w": jnp.array([1.0, jnp.nan]), "b": jnp.array([jnp.inf]), "n": None}
    ours, theirs = lrx.zero_nans(), optax.zero_nans()
    state = ours.init({"w": jnp.ones(2), "b": jnp.ones(1), "n": None})
    updates, after = jax.jit(ours.update)(grads, state)
    expected, seen = theirs.update(grads, theirs.init(grads))
    assert jax.tree.all(jax.tree.map(jnp.array_equal, (updates, after.found_nan), (expected, seen.found_nan)))
    assert avals(after) == avals(state)


# ---------------------------------------------------------------- rates and noise


@pytest.mark.parametrize(
    ("tx", "rate"),
    [
        (lrx.fromage(lrx.linear_schedule(0.5, 0.0, 2)), 0.25),
        (lrx.optimistic_adam(lrx.linear_schedule(0.5, 0.0, 2), 0.1), 0.25),
        (lrx.optimistic_adam(0.5), 0.5),
        (lrx.noisy_sgd(0.5), 0.5),
        (lrx.polyak_sgd(4.0, scaling=0.5), 0.5 * 3 / (0.25 * 4)),
    ],
    ids=["fromage", "optimistic_adam", "optimistic_adam_paper", "noisy_sgd", "polyak_sgd"],
)
def test_the_rate_applied_is_read_and_edited(tx, rate):
    params, grads = jnp.ones(2), jnp.array([2.0, 0.0])
    state = tx.init(params)
    for _ in range(2):
        _, state = jax.jit(tx.update)(grads, state, params, value=3.0)
    assert lrx.learning_rate(state) == pytest.approx(rate)
    assert lrx.count(state) == 2
    if "polyak" in repr(tx):
        return
    held = {"init_value": 0.0, "end_value": 0.0} if rate == 0.25 else 0.0
    _, after = tx.update(grads, lrx.with_hyperparams(state, learning_rate=held), params)
    assert lrx.learning_rate(after) == 0.0


def test_rates_that_adapt_stand_where_a_rate_does():
    params, grads = {"w": jnp.ones(2)}, {"w": jnp.array([2.0, 1.0])}
    for factory in (lrx.fromage, lrx.noisy_sgd, lambda rate: lrx.optimistic_adam(rate, 0.1)):
        tx = factory(lrx.polyak(1.0))
        update = jax.jit(tx.update)
        _, state = update(grads, tx.init(params), params, value=1.0)
        assert 0 < lrx.learning_rate(state) < 1
        updates, state = update({"w": jnp.array([jnp.nan, 1.0])}, state, params, value=1.0)
        assert not np.any(updates["w"])
        assert lrx.learning_rate(state) == 0


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_a_loss_that_is_not_finite_skips_the_step_of_polyak(bad):
    tx, params = lrx.polyak_sgd(), jnp.ones(2)
    updates, state = jax.jit(tx.update)(params, tx.init(params), params, value=bad)
    assert not np.any(updates)
    assert (state.skipped, state.count, lrx.learning_rate(state)) == (1, 1, 0)
    with pytest.raises(ValueError, match=r"polyak_sgd\(\) needs value="):
        tx.update(params, state, params)


def test_noise_is_that_of_its_key_however_it_is_given():
    params = {"w": jnp.zeros(3), "n": None, "b": jnp.zeros(2, jnp.bfloat16), "i": jnp.zeros(2, int)}

    def noise(**key):
        tx = lrx.add_noise(1.0, 0.0, **key)
        updates, state = tx.update(params, tx.init(params))
        return jnp.concatenate([updates["w"], updates["b"].astype(jnp.float32)]), state

    expected, state = noise(key=3)
    assert jnp.std(expected) > 0.1
    for key in ({"seed": 3}, {"key": jax.random.key(3)}, {"key": jax.random.PRNGKey(3)}, {"key": np.int64(3)}):
        assert jnp.array_equal(noise(**key)[0], expected)
    assert not jnp.array_equal(noise(key=4)[0], expected)
    assert jnp.array_equal(noise()[0], noise(key=0)[0])
    grid = jax.vmap(lambda seed: noise(key=seed)[0])(jnp.arange(5))
    assert jnp.array_equal(grid[3], expected)
    assert jax.random.key_data(state.rng_key).shape == (2,)
    assert state.count == 1


def test_keys_that_are_none_are_refused():
    for key, error in (("a", TypeError), (0.5, TypeError), (jnp.ones((2, 2)), TypeError), ((1, 2, 3), ValueError)):
        with pytest.raises(error, match=r"add_noise\(key=...\) must"):
            lrx.add_noise(0.1, 0.5, key)
    with pytest.raises(ValueError, match=r"noisy_sgd\(seed=...\) must not be given beside key"):
        lrx.noisy_sgd(0.1, key=1, seed=2)


def test_equal_rules_are_equal_and_print_as_their_calls():
    for make in (
        lambda seed: lrx.noisy_sgd(0.5, key=seed),
        lambda seed: lrx.add_noise(0.5, 0.1, jax.random.key(seed)),
        lambda seed: lrx.optimistic_adam(0.5, seed),
        lambda seed: lrx.fromage(0.5, seed),
    ):
        assert make(1) == make(1)
        assert make(1).update == make(1).update
        assert make(1) != make(2)
    names = {name: getattr(lrx, name) for name in ("chain", "add_noise", "scale_by_learning_rate")}
    for tx in (lrx.noisy_sgd(0.5, key=3), lrx.noisy_sgd(0.5, key=jax.random.key(3))):
        assert eval(repr(tx), names) == tx
