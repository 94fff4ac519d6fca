"""`sharpness`: eigenvalues against NumPy's, thresholds against divergence, and training at the edge of stability."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from tests.reference import diagnosis as reference

KEY = jax.random.key(0)


def quadratic(params, hessian):
    x = jnp.concatenate([params["a"].ravel(), params["b"]])
    return 0.5 * x @ hessian @ x + 3 * jnp.sum(x)


def matrix(seed, n=7, low=-5.0, high=5.0):
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    return (q * rng.uniform(low, high, n)) @ q.T


PARAMS = {"a": jnp.ones((2, 2)), "b": jnp.ones(3, jnp.bfloat16), "n": jnp.arange(3), "f": None, "s": "text"}


def test_the_eigenvalue_is_the_largest_of_the_spectrum():
    # fewer dimensions than iterations, signs of both kinds, and sizes from 1e-6 to 1e6
    for seed, scale in enumerate([1.0, 1e-6, 1e6, -1.0]):
        h = scale * matrix(seed, low=-9.0 if seed == 1 else 0.1)
        found = lrx.sharpness(quadratic, PARAMS, jnp.asarray(h, jnp.float32), key=jax.random.key(seed))
        np.testing.assert_allclose(found.eigenvalue, np.linalg.eigvalsh(h).max(), rtol=1e-5, atol=1e-5 * abs(scale))
        assert found.stability is None and found.threshold == 2


def test_a_wide_spectrum_is_approached_from_below():
    spectrum = jnp.concatenate([jnp.linspace(0.0, 1.0, 2000), jnp.array([3.0])])
    found = {n: lrx.sharpness(diagonal, jnp.ones(2001), spectrum, iters=n, key=KEY) for n in (3, 8, 20, 40)}
    values = [float(x.eigenvalue) for x in found.values()]
    assert values == sorted(values) and all(v < 3 + 1e-5 for v in values)
    np.testing.assert_allclose(values[2:], 3.0, rtol=1e-5)
    assert found[3].error > 0.01 and found[40].error < 0.01


def diagonal(params, h):
    return 0.5 * jnp.sum(h * params**2)


OPTIMIZERS = {
    "adam": (lambda m: m.adam(0.01), {}),
    "adamw": (lambda m: m.adamw(0.01, b2=0.99, eps=1e-3), {"b2": 0.99, "eps": 1e-3}),
    "amsgrad": (lambda m: m.amsgrad(0.01), {}),
    "adabelief": (lambda m: m.adabelief(0.01), {}),
    "rmsprop": (lambda m: m.rmsprop(0.01, eps=1e-4), {"eps": 1e-4}),
    "adagrad": (lambda m: m.adagrad(0.01), {}),
}


def divisor(name, state, n):
    """P from the memory, by the formula of each optimizer, in NumPy."""
    count = optax.tree_utils.tree_get(state, "count")
    nu = {
        k: np.asarray(optax.tree_utils.tree_get(state, k), np.float64)
        for k in ("nu", "nu_max", "sum_of_squares")
        if optax.tree_utils.tree_get_all_with_path(state, k)
    }
    if name == "amsgrad":
        return np.sqrt(nu["nu_max"]) + 1e-8
    if name == "adagrad":
        return np.sqrt(nu["sum_of_squares"] + 1e-7)
    if name == "rmsprop":
        return np.sqrt(nu["nu"] + n["eps"])
    eps = n.get("eps", 1e-16 if name == "adabelief" else 1e-8)
    return np.sqrt(nu["nu"] / (1 - n.get("b2", 0.999) ** int(count))) + eps


@pytest.mark.parametrize("library", [lrx, optax], ids=["lrx", "optax"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_preconditioner_is_read_from_the_state(name, library):
    make, numbers = OPTIMIZERS[name]
    tx, h = make(library), matrix(3, low=0.1)
    state, x = tx.init(jnp.ones(7)), np.ones(7)
    for i in range(3):
        _, state = tx.update(jnp.asarray((h @ x) * (i + 1), jnp.float32), state, jnp.ones(7))
    given = {} if library is lrx else numbers
    found = lrx.sharpness(
        vector,
        jnp.ones(7),
        jnp.asarray(h, jnp.float32),
        opt_state=(state, "other"),
        hyperparams=given,
        learning_rate=None if library is lrx else 0.01,
        key=KEY,
    )
    p = divisor(name, state, numbers)
    expected = reference.preconditioned_eigenvalue(h, p)
    np.testing.assert_allclose(found.eigenvalue, expected, rtol=1e-4)
    threshold = 38.0 if name in ("adam", "adamw", "amsgrad", "adabelief") else 2.0
    np.testing.assert_allclose(found.stability, 0.01 * expected / threshold, rtol=1e-4)


def vector(x, hessian):
    return 0.5 * x @ hessian @ x


def test_injected_hyperparameters_and_groups_are_read():
    tx = optax.inject_hyperparams(optax.adamw)(0.02, b1=0.8, b2=0.9, eps=1.0)
    _, state = tx.update(jnp.ones(3), tx.init(jnp.ones(3)), jnp.ones(3))
    found = lrx.sharpness(diagonal, jnp.ones(3), jnp.array([1.0, 2.0, 4.0]), opt_state=state, key=KEY)
    np.testing.assert_allclose([found.eigenvalue, found.threshold], [4 / 2, 3.6 / 0.2], rtol=1e-5)
    np.testing.assert_allclose(found.stability, 0.02 * 2 / 18, rtol=1e-5)
    # what another group trains is held still
    params = {"a": jnp.ones((2, 2)), "b": jnp.ones(3)}
    tx = lrx.accumulate(lrx.masked(lrx.adam(0.1, eps=1.0), {"a": True, "b": False}), 1)
    _, state = tx.update(params, tx.init(params), params)
    h = jnp.diag(jnp.arange(1.0, 8.0))
    found = lrx.sharpness(quadratic, params, h, opt_state=state, key=KEY)
    np.testing.assert_allclose(found.eigenvalue, 4 / 2, rtol=1e-5)


MOMENTA = {
    "sgd": (lrx.sgd(0.1), {}, (0.0, False, False)),
    "heavy_ball": (lrx.sgd(0.1, momentum=0.8), {}, (0.8, False, False)),
    "nesterov": (lrx.sgd(0.1, momentum=0.8, nesterov=True), {"nesterov": True}, (0.8, True, False)),
    "mean": (lrx.chain(lrx.ema(0.8, debias=False), lrx.sgd(0.1)), {}, (0.8, False, True)),
    "adam": (lrx.adam(0.1, eps=1e4), {}, (0.9, False, True)),
    "nadam": (lrx.nadam(0.1, eps=1e4), {"nesterov": True}, (0.9, True, True)),
    "rmsprop_momentum": (lrx.rmsprop(0.1, momentum=0.8, eps=1e8), {}, (0.8, False, False)),
    "optax": (optax.sgd(0.1, momentum=0.8), {"decay": 0.8}, (0.8, False, False)),
}


@pytest.mark.parametrize("name", MOMENTA)
def test_a_quadratic_diverges_above_the_threshold_and_not_below(name):
    tx, numbers, (b, nesterov, mean) = MOMENTA[name]
    _, state = tx.update(jnp.ones(3), tx.init(jnp.ones(3)), jnp.ones(3))
    found = lrx.sharpness(diagonal, jnp.ones(3), jnp.ones(3), opt_state=state, hyperparams=numbers, key=KEY)
    for factor in (0.98, 1.02):
        assert reference.diverges(b, nesterov, mean, factor * float(found.threshold)) == (factor > 1)


def network(params, batch):
    h, target = batch
    for i, (w, b) in enumerate(params):
        h = h @ w + b
        h = jnp.tanh(h) if i < 2 else h
    return jnp.mean((h - target) ** 2)


X = jnp.linspace(-1, 1, 64)[:, None]
BATCH = X, 0.8 * jnp.sin(4 * jnp.pi * X) + 0.2 * X
EDGE = {"gradient_descent": (lrx.sgd(0.1), 1500, 500), "adam": (lrx.adam(3e-3), 1000, 500)}


@pytest.mark.parametrize("name", EDGE)
def test_full_batch_training_settles_at_the_edge_of_stability(name):
    tx, before, after = EDGE[name]

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(jax.grad(network)(params, BATCH), state, params)
        return (lrx.apply_updates(params, updates), state), None

    @functools.partial(jax.jit, static_argnums=1)
    def run(carry, chunks):
        def chunk(carry, _):
            carry = jax.lax.scan(step, carry, None, length=50)[0]
            return carry, lrx.sharpness(network, carry[0], BATCH, opt_state=carry[1], key=KEY).stability

        return jax.lax.scan(chunk, carry, None, length=chunks)

    params = [
        (jax.random.normal(k, (a, b)) / a**0.5, jnp.zeros(b))
        for k, a, b in zip(jax.random.split(KEY, 3), (1, 32, 32), (32, 32, 1), strict=True)
    ]
    _, stability = run((params, tx.init(params)), (before + after) // 50)
    assert 0.9 < jnp.mean(stability[before // 50 :]) < 1.1, stability


def test_what_has_no_such_threshold_is_refused():
    x = jnp.ones(3)

    def ask(tx, began=True, **arguments):
        state = tx.init({"w": x})
        state = tx.update({"w": x}, state, {"w": x})[1] if began else state
        return lrx.sharpness(lambda p, h: diagonal(p["w"], h), {"w": x}, x, opt_state=state, key=KEY, **arguments)

    for tx in (
        lrx.lion(0.1),
        optax.lion(0.1),
        lrx.sign_sgd(0.1),
        lrx.adafactor(0.1),
        lrx.adan(0.1),
        lrx.lamb(0.1),
        lrx.muon(0.1),
        lrx.prodigy(),
    ):
        with pytest.raises(
            ValueError, match=r"sharpness\(opt_state=...\) must be of an optimizer whose step is linear"
        ):
            ask(tx)
    for arguments, message in (
        ({"tx": lrx.adam(0.1), "began": False}, r"sharpness\(opt_state=...\) must be of a training that has begun"),
        ({"tx": lrx.adam(0.1), "iters": 1}, r"sharpness\(iters=...\) must be at least 2, got 1"),
        ({"tx": lrx.chain(lrx.adam(0.1), lrx.trace(0.9))}, r"must have one momentum at most"),
    ):
        with pytest.raises(ValueError, match=message):
            ask(**arguments)
    with pytest.raises(TypeError, match=r"sharpness\(loss_fn=...\) must give the loss, a real scalar"):
        lrx.sharpness(lambda p, b: (p, 1), x, x, key=KEY)
    with pytest.raises(TypeError, match=r"sharpness\(params=...\) must be real"):
        lrx.sharpness(diagonal, x + 1j, x, key=KEY)
