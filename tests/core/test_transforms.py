"""JAX's transformations, through building, initialising and updating an optimizer."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrx
from tests.common import GRADS, PARAMS, WARMUP_COSINE, avals, distance, finite, one_step, scan, train, warmup_cosine
from tests.operations import by_operations

TARGET = {"w": jnp.full((2, 3), 0.5), "b": jnp.full(3, -0.5)}
RATES = jnp.array([1e-3, 1e-2, 1e-1])


def loss(params):
    return sum(jnp.sum((p - t) ** 2) for p, t in zip(jax.tree.leaves(params), jax.tree.leaves(TARGET), strict=True))


def trained(tx, steps=5, params=PARAMS, wrap=lambda body: body):
    """The loss after some steps of gradient descent, under scan."""

    def body(carry, _):
        params, state = carry
        return one_step(tx, params, state, jax.grad(loss)(params)), None

    params = jax.tree.map(jnp.asarray, params)
    return loss(jax.lax.scan(wrap(body), (params, tx.init(params)), None, length=steps)[0][0])


def slope(f, x, h):
    return (float(f(x + h)) - float(f(x - h))) / (2 * h)


@pytest.mark.parametrize(
    ("make", "x", "h"),
    [
        (lrx.sgd, 0.05, 1e-3),
        (lrx.adam, 0.05, 1e-3),
        (lambda m: lrx.sgd(0.05, momentum=m), 0.5, 1e-2),
        (lambda b1: lrx.adam(0.05, b1=b1), 0.8, 1e-2),
        (lambda b2: lrx.adam(0.05, b2=b2), 0.9, 1e-2),
        (lambda wd: lrx.adamw(0.05, weight_decay=wd), 0.5, 1e-2),
        (lambda peak: lrx.sgd(warmup_cosine(peak_value=peak, warmup_steps=1, decay_steps=9)), 0.05, 1e-3),
        (lambda rate: lrx.sgd(lrx.exponential_decay(0.05, 2, rate)), 0.5, 1e-2),
    ],
    ids=["sgd", "adam", "momentum", "b1", "b2", "weight_decay", "peak_value", "decay_rate"],
)
def test_optax_432_gradient_of_training_with_respect_to_a_hyperparameter(make, x, h):
    f = lambda x: trained(make(x))  # noqa: E731
    assert float(by_operations(jax.grad(f))(x)) == pytest.approx(slope(by_operations(f), x, h), rel=2e-2)


def test_hessian_and_forward_mode_with_respect_to_the_rate():
    f = lambda rate: trained(lrx.sgd(rate))  # noqa: E731
    ways = by_operations(lambda rate: (jax.jvp(f, (rate,), (1.0,)), jax.grad(f)(rate), jax.hessian(f)(rate)))
    (value, tangent), by_reverse, second = ways(0.05)
    assert tangent == pytest.approx(float(by_reverse), rel=1e-5)
    # (1 - 2η)^10 times the first loss
    first = float(loss(PARAMS))
    assert value == pytest.approx(first * 0.9**10, rel=1e-5)
    assert float(second) == pytest.approx(360 * first * 0.9**8, rel=1e-4)


def test_checkpointed_steps_have_the_same_gradient():
    plain, remat = (
        jax.jit(jax.grad(lambda rate, wrap=wrap: trained(lrx.adam(rate), wrap=wrap)))(0.05)
        for wrap in (lambda body: body, jax.checkpoint)
    )
    assert remat == pytest.approx(float(plain), rel=1e-5)


def test_gradient_with_respect_to_the_whole_state():
    tx = lrx.adam(warmup_cosine(init_value=0.5))

    def f(state):
        return loss(one_step(tx, PARAMS, state, GRADS)[0])

    by_state = jax.jit(jax.grad(f, allow_int=True))(tx.init(PARAMS))
    assert finite([x for x in jax.tree.leaves(by_state) if x.dtype != jax.dtypes.float0])
    assert lrx.hyperparams(by_state)["scale_by_learning_rate.learning_rate.init_value"] != 0


# ---------------------------------------------------------------- vmap


@pytest.mark.parametrize("make", [lrx.sgd, lrx.adam, lrx.rmsprop, lrx.adagrad, lrx.adamw], ids=lambda f: f.__name__)
def test_optax_932_vmap_over_rates(make):
    def swept_and_alone(rates):
        return jax.vmap(lambda rate: trained(make(rate)))(rates), [trained(make(float(x))) for x in np.asarray(RATES)]

    np.testing.assert_allclose(*by_operations(swept_and_alone)(RATES), rtol=1e-5)


@pytest.mark.parametrize("name", WARMUP_COSINE)
def test_vmap_over_any_number_of_a_schedule(name):
    value = WARMUP_COSINE[name]
    grid = np.asarray([value, 2 * value + 1])
    one = lambda x: trained(lrx.sgd(warmup_cosine(**{name: x})))  # noqa: E731
    swept, alone = by_operations(lambda xs: (jax.vmap(one)(xs), [one(x.item()) for x in grid]))(jnp.asarray(grid))
    np.testing.assert_allclose(swept, alone, rtol=1e-5)


def test_one_compiled_update_trains_a_population(traces):
    tx = lrx.adam(warmup_cosine())

    def start(rate, warmup):
        return lrx.with_hyperparams(tx.init(PARAMS), learning_rate={"peak_value": rate, "warmup_steps": warmup})

    update = jax.jit(jax.vmap(lambda grads, state, params: tx.update(grads, state, params)))
    params = jax.tree.map(lambda p: jnp.stack([p] * 3), PARAMS)
    for warmups in (jnp.array([0, 1, 2]), jnp.array([4, 5, 6])):
        state = jax.vmap(start)(RATES, warmups)
        for _ in range(2):
            _, state = update(params, state, params)
        expected = [
            warmup_cosine(peak_value=float(r), warmup_steps=int(w))(1) for r, w in zip(RATES, warmups, strict=True)
        ]
        np.testing.assert_allclose(lrx.learning_rate(state), expected, rtol=1e-6)
    assert traces.count == 1


def test_initial_state_of_a_population_under_eval_shape():
    def shapes(rate):
        return jax.eval_shape(lrx.adam(rate).init, PARAMS), rate

    jax.vmap(lambda rate: (shapes(rate), rate)[1])(RATES)


# ---------------------------------------------------------------- control flow


def test_jitted_init_and_update_are_the_eager_ones():
    tx = lrx.adamw(warmup_cosine(init_value=0.5))
    assert avals(jax.jit(tx.init)(PARAMS)) == avals(tx.init(PARAMS))
    eager, jitted = (update(GRADS, tx.init(PARAMS), PARAMS) for update in (tx.update, jax.jit(tx.update)))
    assert distance(eager, jitted) < 1e-6
    assert avals(eager) == avals(jitted)


def test_optimizer_and_schedule_as_arguments_of_jit():
    assert jax.jit(lambda schedule, count: schedule(count))(warmup_cosine(), 10) == np.float32(1e-3)
    update = jax.jit(lambda tx, state: tx.update(GRADS, state, PARAMS)[0], static_argnums=0)
    tx = lrx.adam(1e-3)
    assert distance(update(tx, tx.init(PARAMS)), tx.update(GRADS, tx.init(PARAMS), PARAMS)[0]) < 1e-9


def test_while_loop():
    tx = lrx.adam(warmup_cosine())

    def body(carry):
        steps, params, state = carry
        return steps + 1, *one_step(tx, params, state, GRADS)

    params = jax.tree.map(jnp.asarray, PARAMS)
    _, params, state = jax.lax.while_loop(lambda c: c[0] < 5, body, (0, params, tx.init(params)))
    assert lrx.count(state) == 5
    assert distance(params, train(tx, steps=5)[0]) < 1e-7


def test_cond_on_an_optimizer_built_from_a_tracer():
    @jax.jit
    def branch(rate, wanted):
        tx = lrx.adam(rate)
        state = tx.init(PARAMS)
        return jax.lax.cond(wanted, lambda s: tx.update(GRADS, s, PARAMS)[1], lambda s: s, state)

    assert [lrx.count(branch(1e-2, wanted)) for wanted in (True, False)] == [1, 0]


def test_jitted_init_of_a_traced_rate():
    def rate_of(rate):
        return lrx.learning_rate(jax.jit(lrx.adam(rate).init)(PARAMS))

    assert jax.jit(rate_of)(0.5) == 0.5
    np.testing.assert_array_equal(jax.vmap(rate_of)(RATES), RATES)


@pytest.mark.skipif(not hasattr(jax.monitoring, "unregister_event_duration_listener"), reason="JAX 0.6 keeps listeners")
def test_optax_328_eager_steps_compile_nothing_after_the_second():
    tx = lrx.adam(warmup_cosine())
    params, state = {"w": jnp.ones((7, 11))}, tx.init({"w": jnp.ones((7, 11))})
    compiled = []

    def listener(event, duration, **kwargs):
        compiled.extend([event] * ("backend_compile" in event))

    jax.monitoring.register_event_duration_secs_listener(listener)
    try:
        for _ in range(2):
            params, state = one_step(tx, params, state, params)
        assert compiled
        compiled.clear()
        for _ in range(3):
            params, state = one_step(tx, params, state, params)
        assert not compiled
    finally:
        jax.monitoring.unregister_event_duration_listener(listener)


# ---------------------------------------------------------------- donation


def test_donated_parameters_and_state_leave_the_users_numbers_alone():
    rate = jnp.float32(1e-3)
    tx = lrx.chain(lrx.scale_by_learning_rate(rate), lrx.scale_by_learning_rate(rate), lrx.adam(warmup_cosine()))
    step = jax.jit(lambda p, s: one_step(tx, p, s, GRADS), donate_argnums=(0, 1))
    params = jax.tree.map(jnp.array, PARAMS)
    for _ in range(2):
        params, state = step(jax.tree.map(jnp.array, params), tx.init(params))
        params, state = step(params, state)
    assert not rate.is_deleted()
    assert rate == np.float32(1e-3)


def test_no_buffer_of_a_state_is_shared():
    """A shared buffer would be donated twice."""
    state = lrx.adamw(lrx.linear_schedule(1.0, 1.0, 0), weight_decay=1.0).init(PARAMS)
    buffers = [x.unsafe_buffer_pointer() for x in jax.tree.leaves(state)]
    assert len(set(buffers)) == len(buffers)


# ---------------------------------------------------------------- schedules as pytrees


def test_schedule_is_mapped_differentiated_and_replaced_like_a_tree():
    schedule = warmup_cosine()
    assert jax.grad(lambda s: s(5), allow_int=True)(schedule).peak_value == 0.5
    assert jax.tree.map(lambda x: x * 2, schedule) == warmup_cosine(
        peak_value=2e-3, warmup_steps=20, decay_steps=200, exponent=2.0
    )
    assert dataclasses.replace(schedule, peak_value=2.0) == warmup_cosine(peak_value=2.0)
    assert scan(lrx.sgd(schedule), PARAMS, jax.tree.map(lambda g: g[None], GRADS))["b"].shape == (2, 3)


@pytest.mark.parametrize("leaf", [None, object(), "x"], ids=["None", "object", "text"])
def test_schedule_may_hold_anything_while_jax_passes_it_through(leaf):
    schedule = jax.tree.map(lambda _: leaf, warmup_cosine())
    assert schedule.peak_value is leaf
