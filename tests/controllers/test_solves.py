"""A quadratic, Rosenbrock's valley and a logistic regression, each solved without a tuned rate."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrx

STEPS = 2_000
CURVATURE = jnp.logspace(-1, 1, 8)


def planted():
    """Two classes of points with some labels flipped, so that the least loss is not 0."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 6)).astype(np.float32) * np.logspace(-0.5, 0.5, 6).astype(np.float32)
    y = np.sign(x @ rng.normal(size=6) + 0.5 * rng.normal(size=60)).astype(np.float32)
    return jnp.asarray(x), jnp.asarray(y)


X, Y = planted()


def losses(x):
    """All three, of the first coordinates that each has."""
    w = x[:6]
    return jnp.stack(
        [
            0.5 * jnp.sum(CURVATURE * x**2),
            (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2,
            jnp.mean(jnp.logaddexp(0.0, -Y * (X @ w))) + 1e-3 * jnp.sum(w**2),
        ]
    )


STARTS = np.zeros((3, 8), np.float32)
STARTS[0] = 1.0
STARTS[1, :2] = -1.2, 1.0


def least_logistic():
    """By Newton's method, in float64 and without lrx."""
    x, y, w = np.asarray(X, np.float64), np.asarray(Y, np.float64), np.zeros(6)
    for _ in range(50):
        p = 1 / (1 + np.exp(y * (x @ w)))
        gradient = -(x.T @ (y * p)) / len(y) + 2e-3 * w
        hessian = (x.T * (p * (1 - p))) @ x / len(y) + 2e-3 * np.eye(6)
        w -= np.linalg.solve(hessian, gradient)
    return float(np.mean(np.logaddexp(0.0, -y * (x @ w))) + 1e-3 * np.sum(w**2))


LEAST = np.array([0.0, 0.0, least_logistic()])


@functools.cache
def way():
    """From the first loss of each problem to the least."""
    return np.diagonal(jax.jit(jax.vmap(losses))(STARTS)) - LEAST


SLOW = ("dog", "l_dog", "dowg", "dadapt_adagrad", "mechanize", "cocob", "schedule_free_plus")
"""These need more steps in the valley."""


def steps_of(name):
    return 5 * STEPS if name in SLOW else STEPS


def factor(steps=STEPS):
    """What a rate-free optimizer has on top: a factor that falls from 1 to 0."""
    return lrx.linear_schedule(1.0, 0.0, steps)


SOLVERS = {
    "plateau": lambda: lrx.adam(lrx.plateau(0.1, factor=0.5, patience=50)),
    "polyak": lambda: lrx.sgd(lrx.polyak(float("inf"))),
    "polyak_capped": lambda: lrx.adam(lrx.polyak(lrx.linear_schedule(0.1, 0.0, STEPS))),
    "alig": lambda: lrx.sgd(lrx.alig(1.0)),
    "line_search": lambda: lrx.sgd(lrx.line_search()),
    "hypergradient": lambda: lrx.adam(
        lrx.hypergradient(lrx.linear_schedule(1e-2, 0.0, STEPS), hyper_learning_rate=0.02, mode="multiplicative")
    ),
    "l4": lambda: lrx.adam(lrx.l4(), eps=1e-4),
    "dog": lambda: lrx.sgd(lrx.dog()),
    "l_dog": lambda: lrx.sgd(lrx.dog(per_leaf=True)),
    "dowg": lambda: lrx.sgd(lrx.dowg()),
    "curvature_cap": lambda: lrx.sgd(lrx.curvature_cap(1.0, bound=1.5)),
    "curvature_cap_exact": lambda: lrx.sgd(lrx.curvature_cap(10.0, bound=1.0, exact=True)),
    "distance_cap": lambda: lrx.sgd(lrx.distance_cap(0.1, max_distance=0.01)),
    "momo": lrx.momo,
    "momo_adam": lambda: lrx.momo_adam(0.1),
    "hdm": lrx.hdm,
    "prodigy": lambda: lrx.prodigy(factor()),
    "dadapt_sgd": lambda: lrx.dadapt_sgd(factor(), momentum=0.9),
    "dadapt_adagrad": lambda: lrx.dadapt_adagrad(factor(5 * STEPS)),
    "dadapt_adamw": lambda: lrx.dadapt_adamw(factor()),
    "mechanize": lambda: lrx.mechanize(lrx.adam(factor(5 * STEPS))),
    "cocob": lrx.cocob,
    "schedule_free_sgd": lambda: lrx.schedule_free_sgd(lrx.polyak(1.0)),
    "schedule_free_adamw": lambda: lrx.schedule_free_adamw(0.1),
    "schedule_free_radam": lambda: lrx.schedule_free_radam(0.1),
    "schedule_free_plus": lambda: lrx.schedule_free_adamw(1.0, 50, b2=0.95, inner_momentum=0.9, polyak=True),
}


AVERAGING = {"hdm", *(name for name in SOLVERS if name.startswith("schedule_free"))}
"""Which of them evaluate at other parameters than those that they train."""


def solved(name):
    """How much of the way from the first loss to the least is left for each problem, all in one program."""

    tx = SOLVERS[name]()

    def run(start, which):
        def loss(x):  # whose least value is 0, the bound that those who look at the loss start from
            return (losses(x) - LEAST.astype(np.float32))[which]

        def step(carry, _):
            x, state = carry
            value, grads = jax.value_and_grad(loss)(x)
            updates, state = tx.update(grads, state, x, value=value, value_fn=loss)
            return (lrx.apply_updates(x, updates), state), None

        (x, state), _ = jax.lax.scan(step, (start, tx.init(start)), None, length=steps_of(name))
        return loss(lrx.eval_params(state, x) if name in AVERAGING else x)

    return np.asarray(jax.jit(jax.vmap(run))(STARTS, np.arange(3))) / way()


@pytest.mark.parametrize("name", SOLVERS)
def test_solves_all_three(name):
    assert solved(name).max() < 0.01
