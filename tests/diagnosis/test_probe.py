"""`probe`: which numbers of a state are the rate, what becomes of the user's state, and which factor comes out."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState

import lrx
from lrx.diagnosis._best_factor import SHIFT, STRETCH, best_factor
from lrx.diagnosis._scaled_rates import edits, rates_in

STEPS = 4
CURVATURES = jnp.array([0.1, 1.0, 4.0])


def loss_fn(params, batch):
    return 0.5 * jnp.sum(CURVATURES * (params - batch) ** 2)


def training(tx, **jit):
    """A step, and the state that it starts from."""

    def step(state, batch):
        params, opt_state = state
        loss, grads = jax.value_and_grad(loss_fn)(params, batch)
        updates, opt_state = tx.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), loss

    params = jnp.array([3.0, -2.0, 1.0])
    return jax.jit(step, **jit), (params, tx.init(params))


def batches(seed=0):
    rng = np.random.default_rng(seed)
    return (jnp.asarray(0.1 * rng.standard_normal(3), jnp.float32) for _ in itertools.count())


LINEAR = lrx.linear_schedule(0.3, 0.03, 100)
RATES = {
    "number": 0.3,
    "linear": LINEAR,
    "warmup_cosine": lrx.warmup_cosine_decay_schedule(0.1, 0.3, 10, 100, 0.01),
    "noam": lrx.noam_schedule(64, 100),
    "join": lrx.join_schedules([lrx.linear_schedule(0.1, 0.3, 2), lrx.constant_schedule(0.2)], [2]),
    "values": lrx.piecewise_value_schedule([2], [0.3, 0.1]),
    "scales": lrx.piecewise_constant_schedule(0.3, {2: 0.5}),
    "knots": lrx.interpolated_schedule([0, 10, 50], [0.1, 0.3, 0.2], kind="cubic", log=True),
    "product": lrx.product(LINEAR, lrx.cosine_decay_schedule(1.0, 50), lrx.constant_schedule(0.5)),
    "total": lrx.total(LINEAR, lrx.constant_schedule(0.1)),
    "minimum": lrx.minimum(LINEAR, lrx.constant_schedule(0.2)),
    "quotient": lrx.quotient(LINEAR, lrx.constant_schedule(2.0)),
    "scaled": 0.5 * LINEAR,
    "clipped": lrx.clip_schedule(LINEAR, 0.1, 0.2),
    "warmed": lrx.with_cooldown(lrx.with_warmup(lrx.constant_schedule(0.3), 4, init_value=0.1), start=6, steps=5),
    "sgdr": lrx.sgdr_schedule([{"init_value": 0.1, "peak_value": 0.3, "decay_steps": 9, "warmup_steps": 3}]),
    "every": lrx.every(lrx.exponential_decay(0.3, 10, 0.5, end_value=0.1), 2),
    "onecycle": lrx.cosine_onecycle_schedule(100, 0.3),
    "plateau": lrx.plateau(LINEAR, metric="reported"),
}


def test_every_kind_of_rate_is_multiplied_as_a_whole():
    for name, rate in RATES.items():
        tx = lrx.adam(rate)
        _, (params, state) = training(tx)
        halves = [edit(state, 0.5) for edit in edits(state)]
        whole, *found = [[], *([] for _ in halves)]
        states = [state, *halves]
        step = jax.jit(lambda s, p, tx=tx: tx.update(p, s, p)[1])
        for _ in range(6):
            states = [step(s, params) for s in states]
            for rates, s in zip([whole, *found], states, strict=True):
                rates.append(float(*rates_in(s).values()))
        assert step._cache_size() == 1, name
        right = [r for r in found if np.allclose(r, 0.5 * np.array(whole), rtol=1e-5)]
        assert right, (name, whole, found)
        wrong = [r for r in found if not np.isclose(r[0], 0.5 * whole[0], rtol=1e-3)]
        assert len(right) + len(wrong) == len(found), name  # the first step tells which is which


@pytest.mark.parametrize("off", [0.1, 1.0, 8.0])
def test_the_users_state_is_neither_changed_nor_donated_and_nothing_is_compiled_again(off):
    step, state = training(lrx.sgd(0.3 * off, momentum=0.5), donate_argnums=0)
    before = jax.tree.map(np.array, state)
    found = lrx.probe(step, state, batches(), steps=8)
    jax.tree.map(np.testing.assert_array_equal, before, jax.tree.map(np.array, state))
    assert step._cache_size() == 1
    assert found.losses.shape == found.ends.shape == found.learning_rates.shape == (5, 8)
    np.testing.assert_allclose(found.learning_rates[:, 0], 0.3 * off * found.factors, rtol=1e-5)
    np.testing.assert_allclose(found.learning_rates[2], 0.3 * off * (1 - np.arange(8) / 8), rtol=1e-5)
    # the losses are those of a loop by hand
    again = lrx.sgd(lrx.linear_schedule(0.3 * off * 3, 0.0, 8), momentum=0.5)
    by_hand, (params, opt_state) = training(again)
    for batch, expected in zip(itertools.islice(batches(), 8), found.losses[3], strict=True):
        (params, opt_state), loss = by_hand((params, opt_state), batch)
        np.testing.assert_allclose(loss, expected, rtol=2e-3)
    held = [loss_fn(params, batch) for batch in itertools.islice(batches(), 8)]
    np.testing.assert_allclose(found.ends[3], held, rtol=2e-3)
    low, high = found.interval
    assert low <= found.factor <= high
    assert {0.1: found.factor > 2, 1.0: 0.3 < found.factor < 3, 8.0: found.factor < 0.5}[off], found
    said = {0.1: "too low", 1.0: "learning rate", 8.0: "too high"}[off]
    assert said in found.text and found.text.count(". ") == 1 and found.text.endswith(".")


class Linear(nnx.Module):
    def __init__(self):
        self.w = nnx.Param(jnp.array([3.0, -2.0, 1.0]))


def linen():
    module = nn.Dense(1, use_bias=False)
    params = module.init(jax.random.key(0), jnp.ones(3))
    state = TrainState.create(apply_fn=module.apply, params=params, tx=lrx.adam(LINEAR))

    @jax.jit
    def step(state, batch):
        loss, grads = jax.value_and_grad(lambda p: jnp.sum((state.apply_fn(p, batch) - 1) ** 2))(state.params)
        return state.apply_gradients(grads=grads), loss

    return step, state


def nnx_loop():
    model = Linear()
    optimizer = nnx.Optimizer(model, lrx.adam(LINEAR), wrt=nnx.Param)

    @nnx.jit
    def update(model, optimizer, batch):
        loss, grads = nnx.value_and_grad(lambda m: loss_fn(m.w[...], batch))(model)
        optimizer.update(model, grads)
        return loss

    def step(state, batch):
        loss = update(*state, batch)  # in place
        return state, loss

    return step, (model, optimizer)


def groups():
    labels = {"a": "a", "b": "b"}
    tx = lrx.partition({"a": lrx.adam(LINEAR), "b": lrx.accumulate(lrx.sgd(0.1), 2)}, labels)

    @jax.jit
    def step(state, batch):
        params, opt_state = state
        loss, grads = jax.value_and_grad(lambda p: loss_fn(p["a"] + p["b"], batch))(params)
        updates, opt_state = tx.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), loss

    params = {"a": jnp.ones(3), "b": jnp.ones(3)}
    return step, (params, tx.init(params))


LOOPS = {
    "linen": linen,
    "nnx": nnx_loop,
    "groups": groups,
    "injected": lambda: training(optax.inject_hyperparams(optax.adam)(0.3)),
}


@pytest.mark.parametrize("name", LOOPS)
def test_states_of_frameworks_and_groups(name):
    step, state = LOOPS[name]()
    before = jax.tree.map(np.array, state)
    found = lrx.probe(step, state, batches(), factors=(0.1, 1.0, 3.0), steps=3)
    jax.tree.map(np.testing.assert_array_equal, before, jax.tree.map(np.array, state))
    ratios = found.learning_rates / found.learning_rates[1]
    np.testing.assert_allclose(ratios, np.broadcast_to([[0.1], [1.0], [3.0]], (3, 3)), rtol=1e-4)
    assert len(set(found.ends[:, 0])) == 3


def test_the_best_factor_of_branches_that_are_known():
    factors = np.array([0.1, 0.3, 1.0, 3.0, 10.0])
    for at in (-0.5, 0.0, 0.3):
        ends = 2 + (np.log10(factors) - at)[:, None] ** 2 + np.linspace(0, 1, 4)
        factor, (low, high), text = best_factor(factors, ends)
        np.testing.assert_allclose(np.log10(factor), STRETCH * at + SHIFT, atol=1e-6)
        assert 0 < low < factor < high < np.inf and "may be as good" in text
        other, interval, _ = best_factor(factors, 7 * ends - 3)
        np.testing.assert_allclose([other, *interval], [factor, low, high], rtol=1e-6)
        noise = np.random.default_rng(0).standard_normal((5, 4))
        widths = [np.subtract(*np.log10(best_factor(factors, ends + s * noise)[1])[::-1]) for s in (0, 0.3, 3)]
        assert widths == sorted(widths)
    ends = np.array([3.0, 2.0, 1.0, np.nan, np.inf])[:, None]
    assert best_factor(factors, ends)[0] == pytest.approx(10**SHIFT)
    assert best_factor(factors, ends)[1][1] < 3
    factor, interval, text = best_factor(factors, np.full((5, 2), np.nan))
    assert (factor, interval) == (0.1, (0.0, 0.1)) and "too high" in text
    factor, (low, high), text = best_factor(factors, np.arange(5.0, 0.0, -1)[:, None])
    assert (factor, high) == (10.0, np.inf) and 3 < low < 10 and "The last branch is the best" in text


def test_what_cannot_be_probed_is_an_error():
    step, state = training(lrx.sgd(0.1))
    for arguments, message in (
        ({"factors": (0.1, 1.0)}, r"probe\(factors=...\) must be three positive numbers or more"),
        ({"factors": (0.0, 1.0, 2.0)}, r"probe\(factors=...\) must be three positive numbers or more"),
        ({"steps": 0}, r"probe\(steps=...\) must be positive"),
        ({"batches": [jnp.ones(3)]}, r"probe\(batches=...\) must have steps=4 batches or more, got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            lrx.probe(step, state, **{"batches": batches(), "steps": STEPS, **arguments})
    with pytest.raises(TypeError, match=r"probe\(step=...\) must return \(state, loss\)"):
        lrx.probe(lambda s, b: s, state, batches(), steps=STEPS)
    for tx, message in (
        (optax.adam(0.1), r"probe\(state=...\) must hold a learning rate of lrx's or of optax.inject_hyperparams"),
        (
            optax.inject_hyperparams(optax.adam)(optax.linear_schedule(0.1, 0.0, 9)),
            "must have a learning rate that follows",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            lrx.probe(*training(tx), batches(), steps=STEPS)
