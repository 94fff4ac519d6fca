"""`as_loop`: a problem in a training loop of one's own."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrx

KEY = jax.random.key(0)


def loss_with_state(params, seen, batch, key):
    """Noise from the key; the state counts the batches."""
    return jnp.mean((batch @ params["w"] - 1.0) ** 2) + 0.0 * jax.random.normal(key), seen + 1


def rows(problem, tx, n):
    step, state, batches = lrx.problems.as_loop(problem, tx, key=KEY)
    losses = []
    for batch in itertools.islice(batches, n):
        state, loss = step(state, batch)
        losses.append(float(loss))
    return state, losses


def with_state(**source):
    return lrx.Problem(
        init=lambda key: ({"w": jnp.zeros(3)}, jnp.int32(0)), loss_with_state=loss_with_state, name="rows", **source
    )


def test_losses_are_those_of_a_sweep_where_nothing_is_random():
    bowl = lrx.Problem(
        init=lambda key: jnp.ones(3), loss=lambda p, batch, key: jnp.sum((p - batch) ** 2), sample=lambda key: 0.5
    )
    state, losses = rows(bowl, lrx.adam(0.1), 6)
    swept = lrx.sweep(bowl, lrx.adam, learning_rate=0.1, steps=6).losses[0, 0, 0]
    np.testing.assert_allclose(losses, swept, rtol=1e-6)
    assert lrx.count(state) == 6


def test_the_same_key_gives_the_same_run_and_the_model_state_follows():
    drawn = with_state(sample=lambda key: jax.random.normal(key, (4, 3)))
    (state, losses), (_, again) = (rows(drawn, lrx.sgd(0.1), 5) for _ in range(2))
    assert losses == again and len(set(losses)) == 5
    assert state.model_state == 5


@pytest.mark.parametrize("kind", ["list", "function", "iterator"])
def test_batches_from_the_host_start_anew_but_an_iterator_is_read_once(kind):
    data = [np.full((2, 3), i, np.float32) for i in range(3)]
    source = {"list": data, "function": lambda: iter(data), "iterator": iter(data)}[kind]
    _, _, batches = lrx.problems.as_loop(with_state(batches=source), lrx.sgd(0.1), key=KEY)
    assert [int(batch[0, 0]) for batch in itertools.islice(batches, 7)] == ([0, 1, 2] * 3)[
        : 3 if kind == "iterator" else 7
    ]


def test_controllers_and_probe():
    drawn = with_state(sample=lambda key: jax.random.normal(key, (4, 3)))
    _, losses = rows(drawn, lrx.sgd(lrx.polyak(0.1)), 30)
    assert losses[-1] < losses[0]
    for rate, low, high in ((1e-4, 3.0, 10.0), (3.0, 0.1, 0.5)):
        step, state, batches = lrx.problems.as_loop(drawn, lrx.sgd(rate), key=KEY)
        assert low <= lrx.probe(step, state, batches, steps=10).factor <= high


def test_wrong_arguments():
    with pytest.raises(TypeError, match=r"as_loop\(problem=...\) must be an lrx.Problem, got 'digits'"):
        lrx.problems.as_loop("digits", lrx.sgd(0.1), key=KEY)
