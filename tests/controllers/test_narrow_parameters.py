"""Parameters in bfloat16 and float16: the distance travelled is float32, so that training starts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrx

STEPS = 150
SIDE = 5
POINTS = np.random.default_rng(0).standard_normal((STEPS, 8, SIDE), np.float32)
SOLUTION = np.float32([*np.linspace(-1.0, 1.0, SIDE * SIDE).reshape(SIDE, SIDE), np.full(SIDE, 0.5)])
"""Weights, and a last row of biases."""

CASES = {
    "prodigy": lambda: lrx.prodigy(),
    "prodigy_sliced": lambda: lrx.prodigy(slice_p=3),
    "prodigy_decay": lambda: lrx.prodigy(weight_decay=1e-2, safeguard_warmup=True),
    "dog": lambda: lrx.sgd(lrx.dog()),
    "l_dog": lambda: lrx.sgd(lrx.dog(per_leaf=True)),
    "dog_adam": lambda: lrx.adam(lrx.dog()),
    "dowg": lambda: lrx.sgd(lrx.dowg(init_distance=1e-4)),
    "mechanize_sgd": lambda: lrx.mechanize(lrx.sgd(1.0)),
    "mechanize_adam": lambda: lrx.mechanize(lrx.adam(1.0)),
    "dadapt_sgd": lambda: lrx.dadapt_sgd(),
    "dadapt_adagrad": lambda: lrx.dadapt_adagrad(),
    "dadapt_adamw": lambda: lrx.dadapt_adamw(),
    "cocob": lambda: lrx.cocob(),
    "momo": lambda: lrx.momo(),
    "momo_adam": lambda: lrx.momo_adam(0.05),
    "schedule_free_sgd": lambda: lrx.schedule_free_sgd(0.5),
    "schedule_free_adamw": lambda: lrx.schedule_free_adamw(0.05),
    "schedule_free_radam": lambda: lrx.schedule_free_radam(0.05),
    "distance_cap": lambda: lrx.sgd(lrx.distance_cap(0.5, max_distance=0.1)),
    "hdm": lambda: lrx.hdm(),
}


def loss(params, x):
    away = jnp.concatenate(jax.tree.leaves(params)).astype(jnp.float32) - SOLUTION
    return jnp.mean((x @ away[:-1] + away[-1]) ** 2)


@functools.cache
def trained(name, dtype):
    """The mean loss at the beginning and at the end, and the state."""
    tx = CASES[name]()
    params = np.full(SOLUTION.shape, 0.25, dtype)
    params = [params[:-1], params[-1:]] if name == "l_dog" else params
    points = POINTS if name != "hdm" else np.broadcast_to(POINTS[0], POINTS.shape)  # for one loss

    def step(carry, x):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params, x)
        updates, state = tx.update(grads, state, params, value=value)
        return (lrx.apply_updates(params, updates), state), value

    run = jax.jit(lambda params, points: jax.lax.scan(step, (params, tx.init(params)), points))
    (_, state), losses = run(params, points)
    return float(np.mean(losses[:3])), float(np.mean(losses[-10:])), state


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("name", CASES)
def test_prodigy_27_onetrainer_412_training_starts_and_goes_as_far_as_in_float32(name, dtype):
    first, last, state = trained(name, dtype)
    _, expected, _ = trained(name, jnp.float32)
    # a parameter near 1 is known to 2^-8, which is 0.002 of squared error in each of ten sums
    assert last < 1.5 * expected + 0.01 * first, (first, last, expected)
    assert last < first / 3 or expected > first / 4
    assert not any(
        "skipped" in jax.tree_util.keystr(p) and x for p, x in jax.tree_util.tree_flatten_with_path(state)[0]
    )


def test_the_way_of_narrow_parameters_is_the_sum_of_their_updates():
    """A hundred updates of which none moves a bfloat16 number."""
    params = {"w": jnp.ones(4, jnp.bfloat16), "b": jnp.ones(2, jnp.float32)}
    tx = lrx.sgd(lrx.dog(init_distance=1e-6))
    grads = jax.tree.map(jnp.ones_like, params)
    (after, state), rates = jax.jit(
        lambda: jax.lax.scan(
            lambda c, _: (
                (lrx.apply_updates(c[0], (u := tx.update(grads, c[1], c[0]))[0]), u[1]),
                lrx.learning_rate(u[1]),
            ),
            (params, tx.init(params)),
            None,
            length=40,
        )
    )()
    memory = state["scale_by_learning_rate"].memory.controller
    np.testing.assert_array_equal(after["w"], params["w"])
    np.testing.assert_allclose(memory.moved["w"], -np.sum(rates), rtol=1e-5)
    assert memory.moved["b"] is None and memory.params0["w"] is None
    assert memory.moved["w"].dtype == jnp.float32
    assert jax.tree.structure(state) == jax.tree.structure(tx.init(params))
