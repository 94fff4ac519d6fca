"""Reduce on plateau: the peers' lists, what the mode promises, and every way to hand over the metric."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree

import lrx
from tests.reference import controllers as reference

PARAMS = {"w": jnp.ones(2)}
GRADS = {"w": jnp.ones(2)}


@jax.jit
def followed(controller, metrics):
    """The rate after each metric. Controllers that differ only in their numbers, which are traced, share a program."""
    tx = lrx.sgd(controller)

    def step(state, metric):
        _, state = tx.update(GRADS, state, PARAMS, value=metric)
        return state, lrx.learning_rate(state)

    return jax.lax.scan(step, tx.init(PARAMS), metrics)[1]


def rates(controller, metrics):
    """The rate after each metric, which comes with the update; one row for each row of metrics."""
    rows = [followed(controller, padded(row)) for row in np.atleast_2d(metrics)]
    return np.stack(rows)[:, : np.shape(metrics)[-1]].reshape(np.shape(metrics))


def padded(metrics):
    """Of one of two lengths, so that little is compiled: what comes later changes no rate before it."""
    length = 120 if len(metrics) <= 120 else 600
    return np.pad(np.asarray(metrics, np.float32), (0, length - len(metrics)), mode="edge")


# ---------------------------------------------------------------- golden lists


def test_optax_patience_and_cooldown():
    controller = lrx.plateau(1.0, patience=5, cooldown=5, min_value=0.01)
    got = rates(controller, np.ones(30, np.float32))
    # one improvement on infinity, five bad, a cut; five let pass, five bad, a cut to the minimum, which holds
    np.testing.assert_allclose(got, [1.0] * 5 + [0.1] * 10 + [0.01] * 15, rtol=1e-6)


def test_torch_lists():
    def torch(**options):
        return lrx.plateau(0.5, counting="torch", rtol=0.0, **options)

    t = np.arange(20)
    got = rates(torch(atol=0.01, patience=5, cooldown=5), (10 - 0.0167 * t).astype(np.float32))
    np.testing.assert_allclose(got, [0.5] * 20)
    slow = lrx.plateau(0.5, mode="max", rtol=0.1, patience=5, cooldown=5, counting="torch")
    got = rates(slow, (1.5 * 1.005 ** np.arange(21)).astype(np.float32))
    np.testing.assert_allclose(got, [0.5] * 6 + [0.05] * 11 + [0.005] * 4, rtol=1e-6)
    fast = lrx.plateau(0.5, rtol=0.1, patience=5, cooldown=5, counting="torch")
    np.testing.assert_allclose(rates(fast, (1.5 * 0.85**t).astype(np.float32)), [0.5] * 20)


@pytest.mark.parametrize(("counting", "cut"), [("optax", 3), ("keras", 3), ("torch", 4)])
def test_torch_94450_patience_is_counted_as_documented(counting, cut):
    got = rates(lrx.plateau(1.0, patience=3, counting=counting), np.ones(6, np.float32))
    assert list(np.flatnonzero(got < 1)[:1]) == [cut]


@pytest.mark.parametrize("counting", ["optax", "torch", "keras"])
@pytest.mark.parametrize("nan", ["bad", "skip"])
def test_against_the_reference(counting, nan):
    rng = np.random.default_rng(5)
    for mode in ("min", "max"):
        metrics = rng.normal(size=120).cumsum().astype(np.float32)
        metrics[rng.random(120) < 0.1] = np.nan
        options = dict(
            factor=0.5,
            patience=2,
            cooldown=3,
            window=2,
            mode=mode,
            atol=0.3,
            min_value=0.05,
            counting=counting,
            nan=nan,
        )
        schedule = lrx.linear_schedule(1.0, 0.5, transition_steps=100)
        expected = reference.plateau(metrics, learning_rate=schedule, **options)
        np.testing.assert_allclose(rates(lrx.plateau(schedule, **options), metrics), expected, rtol=2e-6)


# ---------------------------------------------------------------- what the mode promises

walks = st.lists(st.integers(-8, 8), min_size=1, max_size=30).map(lambda x: np.cumsum(x).astype(np.float32))
numbers = dict(factor=0.5, patience=2, cooldown=1)


@settings(max_examples=20, deadline=None)
@given(walks, st.sampled_from([0.5, 2.0, 1024.0]))
def test_a_relative_margin_does_not_see_the_unit(metrics, unit):
    controller = lrx.plateau(1.0, rtol=0.125, **numbers)
    assert np.array_equal(rates(controller, metrics), rates(controller, metrics * unit))


@settings(max_examples=20, deadline=None)
@given(walks, st.integers(-1000, 1000))
def test_an_absolute_margin_does_not_see_the_origin(metrics, origin):
    controller = lrx.plateau(1.0, rtol=0.0, atol=1.5, **numbers)
    assert np.array_equal(rates(controller, metrics), rates(controller, metrics + origin))


@settings(max_examples=20, deadline=None)
@given(walks)
def test_max_is_min_of_the_negative(metrics):
    least = rates(lrx.plateau(1.0, rtol=0.125, **numbers), metrics)
    most = rates(lrx.plateau(1.0, rtol=0.125, mode="max", **numbers), -metrics)
    assert np.array_equal(least, most)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_optax_1767_torch_47513_a_negative_metric_that_stagnates_reduces_the_rate(mode):
    metrics = -np.ones(8, np.float32)
    assert rates(lrx.plateau(1.0, patience=3, rtol=0.1, mode=mode), metrics)[-1] < 1
    improving = -np.arange(1, 9, dtype=np.float32) if mode == "min" else -1 / np.arange(1, 9, dtype=np.float32)
    assert rates(lrx.plateau(1.0, patience=3, rtol=0.1, mode=mode), improving)[-1] == 1


def test_keras_36612_a_plateau_of_a_schedule_multiplies():
    schedule = lrx.linear_schedule(1.0, 0.0, transition_steps=4)
    got = rates(lrx.plateau(schedule, factor=0.5, patience=1), np.ones(4, np.float32))
    np.testing.assert_allclose(got, [1.0, 0.75 * 0.5, 0.5 * 0.25, 0.25 * 0.125])


def test_bfloat16_parameters_do_not_round_the_metric():
    tx = lrx.sgd(lrx.plateau(1.0, patience=10))
    params = jnp.ones(2, jnp.bfloat16)
    state, update = tx.init(params), jax.jit(tx.update)
    for t in range(60):  # falls by 0.02 % an update, which bfloat16 does not see
        _, state = update(params, state, params, value=jnp.float32(1.0 * 0.9998**t))
    assert lrx.learning_rate(state) == 1.0


# ---------------------------------------------------------------- noise


def rates_on_digits(*controllers, seeds=2, steps=600):
    """The rates of 600 updates of AdamW with mini-batch losses, [seeds, steps, controllers]."""
    problem, optimizers = lrx.problems.digits(), [lrx.adamw(c) for c in controllers]
    starts, unravel = zip(*(ravel_pytree(problem.init(jax.random.key(seed))) for seed in range(seeds)), strict=True)

    def step(carry, batch):
        params, states = carry
        values, grads = jax.lax.map(jax.value_and_grad(lambda p: problem.loss(unravel[0](p), batch)), params)
        pairs = [tx.update(grads[i], states[i], params[i], value=values[i]) for i, tx in enumerate(optimizers)]
        updates, states = zip(*pairs, strict=True)
        return (params + jnp.stack(updates), states), jnp.stack([lrx.learning_rate(state) for state in states])

    def run(start_and_batches):
        start, batches = start_and_batches
        states = tuple(tx.init(start) for tx in optimizers)
        return jax.lax.scan(step, (jnp.stack([start] * len(optimizers)), states), batches)[1]

    keys = jnp.stack([jax.random.split(jax.random.key(100 + seed), steps) for seed in range(seeds)])
    batches = jax.jit(jax.vmap(jax.vmap(problem.sample)))(keys)  # a loop that draws as well takes long to compile
    return np.asarray(jax.jit(lambda x: jax.lax.map(run, x))((jnp.stack(starts), batches)))


def test_lightning_673_torch_30873_mini_batch_losses_leave_a_useful_rate():
    """One loss a batch and patience 10: with window=1 the rate ends at 0, or at 3.6e-18."""
    readme = lrx.plateau(lrx.constant_schedule(1e-3), factor=0.5, patience=10)
    last = rates_on_digits(lrx.plateau(1e-3), readme, lrx.plateau(1e-3, window=1))[:, -1]
    assert last[:, :2].min() >= 5e-4
    assert last[:, 2].max() < 1e-6


def noisy(level, noise, seeds=32):
    """Metrics around a level, [seeds, steps]."""
    level = np.broadcast_to(level, 600)
    return (level + noise * np.random.default_rng(7).standard_normal((seeds, 600))).astype(np.float32)


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.3])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_real_plateau_reduces_the_rate_whatever_the_noise(noise, mode):
    metrics = noisy(1.0, noise) * (1 if mode == "min" else -1)
    got = rates(lrx.plateau(1.0, factor=0.5, mode=mode), metrics)
    assert got[:, -1].max() <= 0.25
    if noise:
        assert got.min() >= 0.5**6


@pytest.mark.parametrize("noise", [0.01, 0.1])
def test_a_fall_in_noise_is_no_plateau_and_what_follows_it_is(noise):
    t = np.arange(600)
    falling = noisy(np.exp(-t / 150) + 0.1, noise)  # a tenth of the noise in 10 to 100 updates
    got = rates(lrx.plateau(1.0, factor=0.5), falling)
    assert np.mean(got[:, 300] == 1.0) >= 0.9
    stalled = noisy(np.exp(-np.minimum(t, 200) / 150) + 0.1, noise)
    got = rates(lrx.plateau(1.0, factor=0.5), stalled)
    assert np.mean(got[:, 200] == 1.0) >= 0.9
    assert got[:, -1].max() < 1.0


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("spike", [-1.0, 1e3])
def test_one_spike_starts_no_series_of_reductions(noise, spike):
    t = np.arange(600)
    metrics = noisy(3 / (1 + 0.01 * t), noise, seeds=8)
    for at in (40, 150):
        spiked = metrics.copy()
        spiked[:, at] = spike
        got = rates(lrx.plateau(1.0, factor=0.5), spiked)
        assert got[:, -1].min() >= 0.5
        if noise == 0:
            assert got.min() == 1.0


def test_a_rate_never_vanishes():
    assert 0 < rates(lrx.plateau(1.0), np.ones(600, np.float32))[-1] < 1e-7


def test_a_given_window_is_that_of_the_peers_and_a_clean_metric_needs_none():
    noise = noisy(1.0, 0.1)[0, :60]
    expected = reference.plateau(noise, learning_rate=1.0, factor=0.5, patience=3)
    np.testing.assert_allclose(rates(lrx.plateau(1.0, factor=0.5, patience=3, window=1), noise), expected)
    rng = np.random.default_rng(0)
    for _ in range(20):
        clean = np.sort(rng.integers(-40, 40, 30))[::-1].astype(np.float32) / 8
        clean = np.concatenate([clean, np.full(20, clean[-1] + rng.integers(0, 2))])
        expected = reference.plateau(clean, learning_rate=1.0, factor=0.5, patience=3, cooldown=1)
        got = rates(lrx.plateau(1.0, factor=0.5, patience=3, cooldown=1), clean.astype(np.float32))
        np.testing.assert_allclose(got, expected)


@pytest.mark.parametrize("counting", ["optax", "torch", "keras"])
def test_short_lists_are_judged_as_by_the_peers(counting):
    rng = np.random.default_rng(1)
    options = dict(factor=0.5, patience=2, counting=counting)
    for _ in range(20):
        metrics = rng.integers(0, 9, 7).astype(np.float32)
        expected = reference.plateau(metrics, learning_rate=1.0, **options)
        np.testing.assert_allclose(rates(lrx.plateau(1.0, **options), metrics), expected)


# ---------------------------------------------------------------- how the metric arrives


def test_timm_871_a_restored_plateau_counts_on():
    tx = lrx.sgd(lrx.plateau(1.0, patience=3))
    state, update = tx.init(PARAMS), jax.jit(tx.update)
    for _ in range(3):
        _, state = update(GRADS, state, PARAMS, value=1.0)
    restored = lrx.resume(tx, PARAMS, jax.tree.map(np.asarray, state))
    _, restored = update(GRADS, restored, PARAMS, value=1.0)
    assert lrx.learning_rate(restored) == pytest.approx(0.1)


def test_optax_679_plateau_inside_an_accumulation_is_given_the_mean_of_the_window():
    tx = lrx.accumulate(lrx.sgd(lrx.plateau(1.0, patience=1, factor=0.5)), every=2)
    state, update, seen = tx.init(PARAMS), jax.jit(tx.update), []
    for value in (1.0, 3.0, 3.0, 1.0, 0.0, 2.0):
        _, state = update(GRADS, state, PARAMS, value=value)
        seen.append(float(lrx.learning_rate(state)))
    assert seen == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5]


def test_flax_train_state_takes_reports():
    from flax.training.train_state import TrainState

    tx = lrx.adam(lrx.plateau(1.0, patience=2, metric="reported"))
    state = TrainState.create(apply_fn=None, params=PARAMS, tx=tx)
    step = jax.jit(lambda state: state.apply_gradients(grads=GRADS))
    told, compiled = [], []
    for _ in range(4):
        for _ in range(3):
            state = step(state)
        told.append(float(lrx.learning_rate(state)))
        compiled.append(step._cache_size())
        state = lrx.report(state, 1.0)
    np.testing.assert_allclose(told, [1.0, 1.0, 1.0, 0.1], rtol=1e-6)
    assert len(set(compiled)) == 1


def test_flax_nnx_takes_values_and_reports():
    from flax import nnx

    @nnx.jit
    def step(model, optimizer, **signals):
        grads = nnx.grad(lambda m: jnp.sum(m(jnp.ones((1, 2))) ** 2))(model)
        optimizer.update(model, grads, **signals)

    model = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
    for metric in ("value", "reported"):
        tx = lrx.sgd(lrx.plateau(1.0, patience=1, metric=metric))
        optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
        for _ in range(3):
            if metric == "value":
                step(model, optimizer, value=jnp.float32(1.0))
            else:
                optimizer.opt_state = nnx.data(lrx.report(optimizer.opt_state, 1.0))
                step(model, optimizer)
        assert lrx.learning_rate(optimizer.opt_state) == pytest.approx(0.01)


def test_several_reports_between_two_updates_are_one():
    tx = lrx.sgd(lrx.plateau(1.0, patience=1, metric="reported"))
    state = tx.init(PARAMS)
    for metrics in ((2.0,), (0.0, 2.0), (1.0,)):  # means 2, 1, 1
        for metric in metrics:
            state = lrx.report(state, metric)
        _, state = tx.update(GRADS, state, PARAMS)
    assert lrx.learning_rate(state) == pytest.approx(0.1)


def test_a_batch_of_states_takes_a_batch_of_reports():
    tx = lrx.sgd(lrx.plateau(1.0, patience=1, metric="reported"))
    params = {"w": jnp.ones((2, 2))}
    state, update = jax.vmap(tx.init)(params), jax.jit(jax.vmap(tx.update))
    for metrics in (jnp.array([1.0, 2.0]), jnp.array([1.0, 1.0])):
        state = lrx.report(state, metrics)
        _, state = update(params, state, params)
    np.testing.assert_allclose(lrx.learning_rate(state), [0.1, 1.0], rtol=1e-6)


def test_report_without_a_plateau_says_what_to_build():
    for tx in (lrx.sgd(1.0), lrx.sgd(lrx.plateau(1.0))):
        with pytest.raises(ValueError, match=r"no plateau that takes reports.*metric='reported'"):
            lrx.report(tx.init(PARAMS), 1.0)


def test_report_refuses_what_is_no_metric():
    state = lrx.sgd(lrx.plateau(1.0, metric="reported")).init(PARAMS)
    with pytest.raises(ValueError, match=r"report\(metric=...\) must have shape \(\), got shape \(2,\)"):
        lrx.report(state, jnp.ones(2))
    with pytest.raises(TypeError, match="must be a real number"):
        lrx.report(state, True)


# ---------------------------------------------------------------- optax.contrib's transformation


def test_reduce_on_plateau_scales_as_optax_does():
    rng = np.random.default_rng(2)
    metrics = 5 + rng.normal(size=60).cumsum().astype(np.float32) * 0.3
    options = dict(factor=0.5, patience=2, rtol=0.01, atol=0.1, cooldown=2, accumulation_size=2, min_scale=0.05)
    ours, theirs = lrx.reduce_on_plateau(**options), optax.contrib.reduce_on_plateau(**options)
    a, b = ours.init(PARAMS), theirs.init(PARAMS)
    step = jax.jit(lambda a, b, v: (ours.update(GRADS, a, PARAMS, value=v), theirs.update(GRADS, b, PARAMS, value=v)))
    for metric in metrics:
        (u, a), (v, b) = step(a, b, metric)
        np.testing.assert_allclose(u["w"], v["w"], rtol=1e-6)


def test_reduce_on_plateau_refuses_what_optax_refuses():
    for options in (dict(factor=0.0), dict(factor=1.0), dict(rtol=-0.1), dict(rtol=1.5), dict(rtol=0.0, atol=0.0)):
        with pytest.raises(ValueError, match=r"reduce_on_plateau\("):
            lrx.reduce_on_plateau(**options)
