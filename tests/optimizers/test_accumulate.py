"""Accumulation of the gradients of micro-batches: the mean, its weights, when a window ends, and what it reaches."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from tests.common import GRADS, PARAMS, distance, finite, random_gradients, scan


@pytest.mark.parametrize("every", [1, 2, 3])
def test_accumulate_takes_the_mean_gradient(every):
    grads = random_gradients(6)
    ours = scan(lrx.accumulate(lrx.adam(0.1), every), PARAMS, grads)
    means = jax.tree.map(lambda g: g.reshape(-1, every, *g.shape[1:]).mean(axis=1), grads)
    alone = scan(lrx.adam(0.1), PARAMS, means)
    assert distance(jax.tree.map(lambda x: x[::every], ours), alone) < 1e-6


def test_accumulate_is_multi_steps_of_optax():
    grads = random_gradients(7)
    theirs = optax.MultiSteps(lrx.adamw(lrx.linear_schedule(1e-2, 1e-3, 10)), 3).gradient_transformation()
    ours = lrx.accumulate(lrx.adamw(lrx.linear_schedule(1e-2, 1e-3, 10)), 3)
    assert distance(scan(ours, PARAMS, grads), scan(theirs, PARAMS, grads)) < 1e-6


def test_a_scheduled_accumulation_is_multi_steps_of_optax():
    """The schedule counts updates, and so do the inner ones; its numbers are in the state."""
    grads, k_of = random_gradients(17), lambda step: 1 + step // 2
    inner = lrx.adamw(lrx.linear_schedule(1e-2, 1e-3, 10))
    theirs = scan(optax.MultiSteps(inner, k_of).gradient_transformation(), PARAMS, grads)
    rising = lrx.every(lrx.linear_schedule(1.0, 20.0, 19), 2)  # half a step is rounded
    for every in (k_of, rising, lrx.scale_schedule(rising, 1.1)):
        ours = scan(lrx.accumulate(inner, every), PARAMS, grads)
        assert distance(ours, theirs) < 1e-6
    tx = lrx.accumulate(lrx.sgd(1.0), rising)
    step, state = jax.jit(tx.update), tx.init(PARAMS)
    assert lrx.hyperparams(state)["every.k"] == 2
    for emitted in (1, 2, 2, 3, 3, 4):
        _, state = step(GRADS, state, PARAMS)
        assert (state.gradient_step, lrx.count(state)) == (emitted, emitted)
    state = lrx.with_hyperparams(state, every={"k": 10})
    _, state = step(GRADS, state, PARAMS)
    assert state.gradient_step == 5
    assert step._cache_size() == 1


def test_weights_flush_and_their_edges():
    """A window of tokens: the mean over all of them; zero weight leaves out, flush ends early, also while traced."""
    grads, tx = random_gradients(8), lrx.accumulate(lrx.sgd(1.0), 3)
    weights = np.array([300, 100, 0, 0, 50, 0, 0, 7], np.float32)
    flush = np.array([0, 0, 0, 0, 1, 0, 1, 1], bool)
    losses = np.array([1.0, 3.0, np.nan, 5.0, 2.0, 1.0, 1.0, 9.0], np.float32)
    grads["w"][2] = np.nan  # the mean over no tokens

    def body(state, x):
        g, w, f, value = x
        updates, state = tx.update(g, state, PARAMS, weight=w, flush=f, value=value)
        return state, (updates, state)

    state, (updates, states) = jax.jit(lambda: jax.lax.scan(body, tx.init(PARAMS), (grads, weights, flush, losses)))()
    assert states.gradient_step.tolist() == [0, 0, 1, 1, 2, 2, 2, 3]
    assert states.mini_step.tolist() == [1, 2, 0, 1, 0, 1, 0, 0]
    assert state.skipped == 0
    means = jax.tree.map(lambda g: -(300 * g[0] + 100 * g[1]) / 400, grads)
    expected = [
        None,
        None,
        means,
        None,
        jax.tree.map(lambda g: -g[4], grads),
        None,
        None,
        jax.tree.map(lambda g: -g[7], grads),
    ]
    for i, want in enumerate(expected):
        got = jax.tree.map(lambda u, i=i: u[i], updates)
        assert distance(got, jax.tree.map(jnp.zeros_like, GRADS) if want is None else want) < 1e-6
    np.testing.assert_allclose(states.value, [1.0, 1.5, 0, 0, 0, 0, 0, 0])


def test_a_weight_in_an_array_that_is_none_is_skipped_and_counted():
    """As an error is raised for a number that is negative or not finite; a weight of 0 is the user's own choice."""
    weights = jnp.array([3.0, -1.0, 0.0, jnp.nan, jnp.inf, -jnp.inf, -0.0, 1.0])
    grads, tx = random_gradients(len(weights)), lrx.accumulate(lrx.sgd(1.0), len(weights))

    def body(state, x):
        updates, state = tx.update(x[0], state, PARAMS, weight=x[1])
        return state, (updates, state.skipped)

    _, (updates, skipped) = jax.jit(lambda: jax.lax.scan(body, tx.init(PARAMS), (grads, weights)))()
    assert skipped.tolist() == [0, 1, 1, 2, 3, 4, 4, 4]
    expected = jax.tree.map(lambda g: -(3 * g[0] + g[7]) / 4, grads)
    assert distance(jax.tree.map(lambda u: u[-1], updates), expected) < 1e-6


def test_the_weight_of_a_window_reaches_an_accumulation_inside():
    grads = random_gradients(4)
    tx = lrx.accumulate(lrx.accumulate(lrx.sgd(1.0), 2), 2)
    state = tx.init(PARAMS)
    for i, w in enumerate((1, 2, 3, 4)):
        updates, state = tx.update(jax.tree.map(lambda g, i=i: g[i], grads), state, PARAMS, weight=w)
    assert distance(updates, jax.tree.map(lambda g: -np.average(g, 0, [1, 2, 3, 4]), grads)) < 1e-6
    for arguments, message in (
        ({"weight": -1.0}, r"update\(weight=...\) must be finite and not negative, got -1.0"),
        ({"weight": jnp.ones(2)}, r"update\(weight=...\) must be one real number, got shape \(2,\)"),
        ({"flush": 1}, r"update\(flush=...\) must be one bool, got shape \(\), int32"),
    ):
        with pytest.raises(ValueError, match=message):
            tx.update(GRADS, state, PARAMS, **arguments)
    for name in ("weight", "flush"):
        with pytest.raises(TypeError, match=rf"update\({name}=...\) must be one .*, got 'no'"):
            tx.update(GRADS, state, PARAMS, **{name: "no"})


def test_optax_472_the_inner_optimizer_runs_on_the_last_micro_step_only():
    """By the cost of the two branches, and by a callback in the inner update."""
    runs = []

    def update(updates, state, params=None):
        jax.debug.callback(lambda: runs.append(1))
        return updates, state

    tx = lrx.accumulate(optax.GradientTransformation(lambda params: (), update), 3)
    step, state = jax.jit(tx.update), tx.init(PARAMS)
    for _ in range(7):
        _, state = step(GRADS, state, PARAMS)
    jax.effects_barrier()
    assert len(runs) == 2


def test_a_non_finite_micro_gradient_is_skipped_and_counted():
    """Where optax's MultiSteps is poisoned for ever."""
    good = random_gradients(4)
    bad = jax.tree.map(lambda g: g.copy(), good)
    bad["b"][1, 0], bad["w"][2] = np.nan, np.inf
    tx = lrx.accumulate(lrx.sgd(1.0), 4)
    state = tx.init(PARAMS)
    for i in range(4):
        updates, state = tx.update(jax.tree.map(lambda g, i=i: g[i], bad), state, PARAMS)
    expected = jax.tree.map(lambda g: -(g[0] + g[3]) / 2, good)
    assert distance(updates, expected) < 1e-6
    assert state.memory.skipped == 2
    theirs = optax.MultiSteps(optax.sgd(1.0), 4).gradient_transformation()
    assert not finite(scan(theirs, PARAMS, jax.tree.map(lambda g: np.concatenate([g, g]), bad)))


def test_a_window_without_a_finite_micro_gradient_makes_no_update():
    tx = lrx.accumulate(lrx.adamw(0.1, weight_decay=0.5), 2)
    state = tx.init(PARAMS)
    nan = jax.tree.map(lambda g: g * np.nan, GRADS)
    for _ in range(2):
        updates, state = tx.update(nan, state, PARAMS)
        assert distance(updates, jax.tree.map(np.zeros_like, GRADS)) == 0
    assert lrx.count(state) == 0
    assert state.memory.mini_step == 0
    for _ in range(2):
        updates, state = tx.update(GRADS, state, PARAMS)
    assert lrx.count(state) == 1
    assert finite(updates)


def test_extra_arguments_reach_the_inner_optimizer_and_value_is_the_mean():
    seen = []

    def update(updates, state, params=None, *, value, key, **extra):
        jax.debug.callback(lambda v, k: seen.append((float(v), int(k))), value, key)
        return updates, state

    tx = lrx.accumulate(optax.GradientTransformationExtraArgs(lambda params: (), update), 2)
    state = tx.init(PARAMS)
    for i in range(4):
        _, state = tx.update(GRADS, state, PARAMS, value=jnp.float32(i), key=i)
    jax.effects_barrier()
    assert seen == [(0.5, 1), (2.5, 3)]


def test_plateau_of_optax_works_inside_accumulate():
    """Inside optax's MultiSteps in a chain it is a TypeError, since the value is dropped."""
    plateau = optax.contrib.reduce_on_plateau(factor=0.5, patience=1)
    tx = lrx.chain(lrx.accumulate(lrx.chain(lrx.sgd(1.0), plateau), 2))
    state = tx.init(PARAMS)
    for _ in range(6):
        updates, state = tx.update(GRADS, state, PARAMS, value=1.0)
    assert updates["b"][0] > -GRADS["b"][0]


def test_the_number_of_micro_steps_is_data():
    tx = lrx.accumulate(lrx.sgd(1.0), 4)
    step = jax.jit(tx.update)
    _, state = step(GRADS, tx.init(PARAMS), PARAMS)
    state = lrx.with_hyperparams(state, every=2)
    updates, state = step(GRADS, state, PARAMS)
    assert distance(updates, jax.tree.map(lambda g: -g, GRADS)) < 1e-7
    assert step._cache_size() == 1


def test_bf16_micro_gradients_are_averaged_in_float32():
    grads = jnp.full(3, 1.0, jnp.bfloat16)
    tx = lrx.accumulate(lrx.sgd(1.0), 512)
    state = tx.init(grads)
    assert state.memory.gradients.dtype == jnp.float32
    assert lrx.accumulate(lrx.sgd(1.0), 2, accumulator_dtype="bfloat16").init(grads).memory.gradients.dtype == (
        jnp.bfloat16
    )
