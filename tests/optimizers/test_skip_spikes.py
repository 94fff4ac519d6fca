"""Spikes of the loss and of the gradient: which updates are skipped or clipped, and what they leave behind."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrx
from tests.common import one_step
from tests.reference import composition as reference

STEPS = 200


def record(seed):
    """Losses and gradients with noise, rare and common spikes, a lasting rise and values that are not finite."""
    rng = np.random.default_rng(seed)
    sizes = 1 + 0.1 * rng.standard_normal((2, STEPS))
    sizes *= np.where(rng.random((2, STEPS)) < 0.08, 10.0 ** rng.integers(0, 12, (2, STEPS)), 1)
    sizes[rng.integers(2), rng.integers(60, 120) :] *= 5
    sizes[rng.integers(2, size=6), rng.integers(STEPS, size=6)] = [np.nan, np.inf, -np.inf] * 2
    return sizes.astype(np.float32)


@jax.jit
def taken(losses, sizes, window_numbers):
    """Whether each update moved, and the last state, with the numbers put into the state."""
    tx = lrx.skip_spikes(lrx.sgd(1.0), window=12, on="both", min_samples=2)

    def body(state, x):
        updates, state = tx.update({"w": x[1] * jnp.array([0.6, 0.8])}, state, value=x[0])
        return state, updates["w"][0] != 0

    state = lrx.with_hyperparams(tx.init({"w": jnp.zeros(2)}), **window_numbers)
    return jax.lax.scan(body, state, jnp.stack([losses, sizes], 1))


@pytest.mark.parametrize("numbers", [(6.0, 6, 8), (3.0, 2, 3), (1.5, 12, 0)])
def test_what_is_skipped_is_that_of_the_reference(numbers):
    sigmas, least, most = numbers
    given = {"sigmas": jnp.float32(sigmas), "min_samples": jnp.int32(least), "max_consecutive": jnp.int32(most)}
    for seed in range(6):
        losses, sizes = record(seed)
        state, ours = taken(losses, sizes, given)
        expected = list(reference.skip_spikes(losses, np.abs(sizes), 12, sigmas, least, most))
        assert ours.tolist() == expected
        assert state.skipped == STEPS - sum(expected)
        assert 0 < state.skipped < STEPS


OPTIMIZERS = {
    "plateau": lambda: lrx.sgd(lrx.plateau(0.05, patience=2)),
    "schedule_free": lambda: lrx.schedule_free(lrx.sgd(0.1), 0.1),
    "curvature_cap": lambda: lrx.sgd(lrx.curvature_cap(0.5)),
    "hypergradient": lambda: lrx.adam(lrx.hypergradient(0.05, hyper_learning_rate=1e-3)),
    "dadapt_sgd": lambda: lrx.dadapt_sgd(estim_lr0=0.01),
    "scheduled": lambda: lrx.adamw(lrx.linear_schedule(0.1, 0.0, 100)),
    "in_a_chain": lambda: lrx.chain(lrx.clip_by_global_norm(1.0), lrx.sgd(lrx.polyak(0.1)), lrx.params_ema(0.9)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_gradient_1e12_times_too_large_leaves_no_trace(name):
    """The step after it is the one that would have been made in its place; the count goes on."""
    tx, spike = lrx.skip_spikes(OPTIMIZERS[name](), window=8), 6
    params = {"w": jnp.array([2.0, -1.0]), "b": jnp.array([1.0])}
    curvature = {"w": jnp.array([0.3, 0.8]), "b": jnp.array([0.5])}

    def run(bad):
        def body(carry, t):
            params, state = carry
            value = 0.5 * sum(
                jnp.sum(c * p**2) for c, p in zip(*map(jax.tree.leaves, (curvature, params)), strict=True)
            )
            factor = jnp.where(t == bad, 1e12, 1.0)
            grads = jax.tree.map(lambda c, p: c * p * factor, curvature, params)
            return (after := one_step(tx, params, state, grads, value=value)), after

        return jax.lax.scan(body, (params, tx.init(params)), jnp.arange(10))[1]

    params, states = jax.jit(jax.vmap(run))(jnp.array([spike, -1]))
    assert states.skipped[0, -1] == 1
    assert states.skipped[1, -1] == 0
    for x in jax.tree.leaves(params):
        np.testing.assert_array_equal(x[0, spike], x[0, spike - 1])
        if name != "scheduled":  # whose rate falls at the spike too
            np.testing.assert_allclose(x[0, -1], x[1, -2], rtol=1e-6)
        assert np.all(np.abs(np.diff(x[1], axis=0)).sum() > 0)
    clocks = "count", "skipped", "learning_rate", "num_updates"
    for path, x in jax.tree_util.tree_flatten_with_path(states.inner)[0]:
        field = jax.tree_util.keystr(path)
        if name != "scheduled" and not any(clock in field for clock in clocks):
            np.testing.assert_allclose(x[0, -1], x[1, -2], rtol=1e-5, atol=1e-7, err_msg=field)
    assert lrx.count(jax.tree.map(lambda x: x[0, -1], states)) == 10
    if name != "schedule_free":  # whose constant rate is a hyperparameter
        assert lrx.learning_rate(jax.tree.map(lambda x: x[0, spike], states)) == 0


def test_a_spike_is_clipped_to_the_bound_and_the_bound_enters():
    tx = lrx.skip_spikes(lrx.sgd(1.0), window=4, sigmas=2.0, action="clip", min_samples=3)
    state, norms = tx.init(jnp.zeros(2)), [1.0, 1.5, 2.0]
    step = jax.jit(lambda x, state, value: tx.update(x * jnp.array([0.6, 0.8]), state, value=value))
    for x in norms:
        _, state = step(x, state, 1.0)
    for _ in range(2):
        norms.append(np.mean(norms[-4:]) + 2 * np.std(norms[-4:], ddof=1))
        updates, state = step(1e12, state, 1.0)
        np.testing.assert_allclose(np.linalg.norm(updates), norms[-1], rtol=1e-6)
    np.testing.assert_allclose(sorted(state.norms.sizes), sorted(norms[-4:]), rtol=1e-6)
    assert (state.clipped, state.skipped, state.in_a_row) == (2, 0, 2)
    for x, value in ((1.0, 2.0), (jnp.nan, 1.0), (1e30, 1.0)):  # a loss; a gradient that is not usable
        updates, state = step(x, state, value)
        assert not np.any(updates)
    assert (state.clipped, state.skipped) == (2, 3)


def test_the_loss_is_looked_at_where_it_is_asked_for_or_given():
    grads = jnp.ones(2)
    for on, counted in (("given", 1), ("both", 1), ("value", 1), ("gradient", 0)):
        tx = lrx.skip_spikes(lrx.sgd(1.0), window=4, on=on)
        state = tx.init(grads)
        for value in (1.0, 1.1, 0.9, 5.0):
            _, state = tx.update(grads, state, value=value)
        assert state.skipped == counted
        if on in ("both", "value"):
            with pytest.raises(ValueError, match=rf"skip_spikes\(on='{on}'\) needs value=, the loss"):
                tx.update(grads, state)
        else:
            tx.update(grads, state)


def test_a_loss_that_moves_by_rounding_alone_is_no_spike():
    tx = lrx.skip_spikes(lrx.sgd(1.0), window=4)
    state, grads = tx.init(jnp.zeros(2)), jnp.ones(2)
    for value in (3.0, 3.0, 3.0, np.nextafter(np.float32(3), np.float32(4))):
        _, state = tx.update(grads, state, value=value)
    assert state.skipped == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": 1}, "skip_spikes(window=...) must be at least 2, got 1."),
        ({"sigmas": 0.0}, "skip_spikes(sigmas=...) must be positive, got 0.0."),
        ({"on": "loss"}, "skip_spikes(on=...) must be one of 'given', 'both', 'value', 'gradient', got 'loss'."),
        ({"action": "drop"}, "skip_spikes(action=...) must be one of 'skip', 'clip', got 'drop'."),
        (
            {"on": "value", "action": "clip"},
            "skip_spikes(action=...) must be 'skip' with on='value', got 'clip'. A loss has nothing to clip.",
        ),
        ({"window": 8, "min_samples": 9}, "skip_spikes(min_samples=...) must be from 2 to window=8, got 9."),
        ({"max_consecutive": -1}, "skip_spikes(max_consecutive=...) must not be negative, got -1."),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError) as error:
        lrx.skip_spikes(lrx.sgd(0.1), **arguments)
    assert str(error.value) == message
