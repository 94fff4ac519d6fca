"""How numbers are stored, rounded and refused, and what happens to leaves of every kind."""

import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from lrx._arithmetic import add_one, one_minus_power
from tests.common import GRADS, PARAMS, avals, finite, one_step, same, train, warmup_cosine
from tests.operations import by_operations

INT32_MAX = 2**31 - 1

# ---------------------------------------------------------------- dtypes


def test_integers_given_for_reals_are_float32():
    numbers = lrx.hyperparams(lrx.adam(1, b1=0, eps=0).init(PARAMS))
    assert {x.dtype.name for x in numbers.values()} == {"float32"}


def test_dtypes_follow_the_field_and_not_the_value():
    floats = lrx.adam(warmup_cosine(warmup_steps=0.1 * 100, decay_steps=1e2)).init(PARAMS)
    integers = lrx.adam(warmup_cosine(peak_value=1, warmup_steps=np.int64(10), decay_steps=np.array(100))).init(PARAMS)
    assert avals(floats) == avals(integers)


def test_optax_1414_bf16_params_keep_float32_hyperparams():
    params = jax.tree.map(lambda p: jnp.asarray(p, jnp.bfloat16), PARAMS)
    params, state = train(lrx.adam(1e-3), params, params)
    assert lrx.hyperparams(state)["scale_by_adam.b2"] == np.float32(0.999)
    assert finite(params)


@pytest.mark.parametrize("rate", [1e-3, 1, np.float64(1e-3), np.float16(1e-3), "jax", warmup_cosine()], ids=str)
def test_x64_leaves_the_state_at_32_bits(rate, x64):
    rate = jnp.float64(1e-3) if rate == "jax" else rate
    params = jnp.float64(1 / 3)
    tx = lrx.adam(rate)
    state = tx.init(params)
    assert {x.dtype.name for x in jax.tree.leaves((lrx.hyperparams(state), lrx.count(state)))} <= {"float32", "int32"}
    jax.eval_shape(lambda x: jax.lax.scan(lambda x, _: (one_step(tx, *x, params), None), x, length=2), (params, state))


def test_float64_updates_are_not_rounded_to_float32(x64):
    third = jnp.float64(1 / 3)
    tx = lrx.scale_by_learning_rate(0.5)
    assert float(tx.update(third, tx.init(third))[0]) == -0.5 / 3


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_updates_neither_round_the_rate_nor_are_promoted(dtype):
    """The rate is 2e-8: 0 in float16, and in bfloat16 the same for many steps of a long warmup."""
    tx = lrx.sgd(lrx.linear_schedule(0.0, 1e-3, 100_000))
    grads = jnp.full(3, 60_000, dtype)
    state = tx.init(grads)
    for _ in range(3):
        updates, state = tx.update(grads, state)
    assert lrx.learning_rate(state) == np.float32(2e-8)
    assert updates.dtype == dtype
    assert updates[0] == jnp.asarray(-2e-8 * float(grads[0]), dtype)


def test_second_moment_of_bf16_parameters_decays():
    param = jnp.ones((), jnp.bfloat16)
    tx = lrx.adam(1e-3)
    _, state = tx.update(param, tx.init(param))
    nu = state["scale_by_adam"].memory.nu
    for _ in range(50):
        _, state = tx.update(0 * param, state)
    assert state["scale_by_adam"].memory.nu == pytest.approx(float(nu) * 0.999**50, rel=1e-4)


def test_moments_take_the_dtypes_that_were_named():
    memory = lrx.adam(1e-3, mu_dtype=jnp.bfloat16, nu_dtype="float16").init(PARAMS)["scale_by_adam"].memory
    assert memory.mu["w"].dtype == jnp.bfloat16
    assert memory.nu["w"].dtype == jnp.float16


def test_array_given_as_a_number_is_copied():
    number = np.array(1e-3)
    tx = lrx.adam(number)
    before = hash(tx)
    number[...] = 5.0
    assert hash(tx) == before
    assert lrx.learning_rate(tx.init(PARAMS)) == np.float32(1e-3)


# ---------------------------------------------------------------- refused

REFUSED = [
    (
        lambda: lrx.adam("1e-3"),
        TypeError,
        "adam(learning_rate=...) must be a number, a schedule or a controller, got '1e-3'.",
    ),
    (
        lambda: lrx.adam(True),
        TypeError,
        "adam(learning_rate=...) must be a number, a schedule or a controller, got True.",
    ),
    (
        lambda: lrx.adam(None),
        TypeError,
        "adam(learning_rate=...) must be a number, a schedule or a controller, got None.",
    ),
    (lambda: lrx.adam(1e-3, b1="x"), TypeError, "adam(b1=...) must be a number, got 'x'."),
    (
        lambda: lrx.adam(np.ones(3)),
        ValueError,
        "adam(learning_rate=...) must be a scalar, got shape (3,). To sweep it,",
    ),
    (lambda: lrx.sgd(1e39), ValueError, "sgd(learning_rate=...) must fit in float32, got 1e+39."),
    (lambda: lrx.adam(1, b2=1 - 1e-9), ValueError, "adam(b2=...) must be in [0, 1) in float32, got 0.999999999."),
    (lambda: lrx.adam(1, b1=-0.1), ValueError, "adam(b1=...) must be in [0, 1) in float32, got -0.1."),
    (lambda: lrx.adam(1, eps=1e-50), ValueError, "adam(eps=...) must not vanish in float32, got 1e-50."),
    (lambda: lrx.adam(1, eps=-1e-8), ValueError, "adam(eps=...) must not be negative, got -1e-08."),
    (lambda: lrx.adam(1, mu_dtype="int8"), TypeError, "adam(mu_dtype=...) must be a floating dtype, got 'int8'."),
    (lambda: lrx.adamw(1, weight_decay=-1), ValueError, "adamw(weight_decay=...) must not be negative, got -1."),
    (lambda: lrx.adamw(1, mask={"w": 1}), TypeError, "adamw(mask=...) must be a tree of bools or a function"),
    (lambda: lrx.sgd(1, momentum=1.0), ValueError, "sgd(momentum=...) must be in [0, 1) in float32, got 1.0."),
    (lambda: lrx.rmsprop(1, decay=2), ValueError, "rmsprop(decay=...) must be in [0, 1) in float32, got 2."),
    (
        lambda: lrx.adagrad(1, -0.1),
        ValueError,
        "adagrad(initial_accumulator_value=...) must not be negative, got -0.1.",
    ),
    (lambda: lrx.clip_by_global_norm(0.0), ValueError, "clip_by_global_norm(max_norm=...) must be positive, got 0.0."),
    (lambda: lrx.chain(1), TypeError, "chain(...) takes gradient transformations, got 1."),
    (lambda: lrx.sgd(lambda count: jnp.ones(3)).init(PARAMS), ValueError, "must give a scalar, got shape (3,)."),
    (
        lambda: lrx.adamw(1).update(GRADS, lrx.adamw(1).init(PARAMS)),
        ValueError,
        "add_decayed_weights needs the parameters",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), REFUSED, ids=[r[2] for r in REFUSED])
def test_bad_input_is_refused_with_call_argument_rule_and_value(call, kind, message):
    with pytest.raises(kind, match=re.escape(message)):
        call()


def test_whole_numbers_beyond_float32_are_refused():
    with pytest.raises(ValueError, match=r"must fit in float32"):
        lrx.sgd(10**400)


# ---------------------------------------------------------------- counters and bias correction


def test_counters_saturate():
    tx = lrx.adam(warmup_cosine())
    state = tx.init(PARAMS)
    full = jax.tree.map(lambda x: jnp.full_like(x, INT32_MAX) if x.dtype == jnp.int32 and x == 0 else x, state)
    updates, state = tx.update(GRADS, full, PARAMS)
    assert lrx.count(state) == INT32_MAX
    assert finite((updates, state))
    assert add_one(jnp.int32(INT32_MAX - 1)) == INT32_MAX


@pytest.mark.parametrize("b", [0.9, 0.999, 0.99999])
def test_bias_correction_has_no_cancellation(b):
    for t in (1, 2, 10, 1000, INT32_MAX):
        exact = -np.expm1(t * np.log(np.float64(np.float32(b))))
        assert float(one_minus_power(jnp.float32(b), jnp.float32(t))) == pytest.approx(exact, rel=3e-7)


def test_bias_correction_without_decay_is_one_with_a_finite_gradient():
    assert one_minus_power(jnp.float32(0), jnp.float32(1)) == 1
    assert jnp.isfinite(jax.grad(one_minus_power)(jnp.float32(0), jnp.float32(3)))


# ---------------------------------------------------------------- leaves of every kind

EVERY_KIND = {
    "bfloat16": jnp.ones(3, jnp.bfloat16),
    "float16": jnp.ones(3, jnp.float16),
    "float32": jnp.ones(3),
    "empty": jnp.zeros((0, 2)),
    "scalar": jnp.float32(1.0),
    "python": 1.0,
    "integer": jnp.arange(3),
    "bool": jnp.array([True, False]),
    "none": None,
    "complex": jnp.ones(2, jnp.complex64),
    "numpy": np.ones(2, np.float32),
}
RULES = [lrx.adam(1e-3), lrx.adamw(warmup_cosine()), lrx.rmsprop(1e-3, momentum=0.9), lrx.adagrad(1e-3)]
RULES += [lrx.rmsprop(1e-3, centered=True), lrx.sgd(1e-3, momentum=0.9), lrx.chain(lrx.clip_by_global_norm(1.0))]
every_rule = pytest.mark.parametrize("tx", RULES, ids=repr)


@every_rule
def test_leaves_of_every_kind_keep_their_dtypes(tx):
    state = tx.init(EVERY_KIND)
    updates, after = by_operations(tx.update)(EVERY_KIND, state, EVERY_KIND)
    assert avals(after) == avals(state)
    assert jax.tree.map(jnp.result_type, updates) == jax.tree.map(jnp.result_type, EVERY_KIND)
    params = lrx.apply_updates(EVERY_KIND, updates)
    assert same(params["integer"], EVERY_KIND["integer"])
    assert same(params["bool"], EVERY_KIND["bool"])


@every_rule
@pytest.mark.parametrize("params", [{}, (), None, [], {"a": None}], ids=str)
def test_empty_trees(tx, params):
    updates, _ = tx.update(params, tx.init(params), params)
    assert jax.tree.leaves(updates) == []
    assert lrx.apply_updates(params, updates) == params


@every_rule
def test_float0_gradients_of_integer_parameters(tx):
    params = {"w": jnp.ones(3), "i": jnp.arange(3)}
    grads = jax.grad(lambda p: (p["w"] ** 2).sum(), allow_int=True)(params)
    updates, _ = tx.update(grads, tx.init(params), params)
    assert same(lrx.apply_updates(params, updates)["i"], params["i"])


def test_complex_gradients_raise_no_warning():
    params = jnp.ones(3, jnp.complex64)
    grads = jnp.full(3, 1 + 1j, jnp.complex64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours, theirs = (train(tx, params, grads, steps=1)[0] for tx in (lrx.adam(1e-3), optax.adam(1e-3)))
    assert jnp.abs(ours - theirs).max() < 1e-6


def test_global_norm_of_tiny_and_of_zero_gradients_is_safe():
    tx = lrx.clip_by_global_norm(1.0)
    clip = lambda g: tx.update(g, tx.init(g))[0]  # noqa: E731
    assert same(clip(jnp.zeros(3)), jnp.zeros(3))
    assert finite(jax.grad(lambda g: clip(g).sum())(jnp.zeros(3)))


# ---------------------------------------------------------------- JAX's checks

CHECKED = [lrx.adam(1), lrx.adam(1e-3, b1=0), lrx.adam(warmup_cosine(warmup_steps=0)), lrx.sgd(lambda count: 1e-3)]
every_checked = pytest.mark.parametrize("tx", CHECKED, ids=["int", "b1=0", "schedule", "function"])


@every_checked
def test_strict_promotion_and_debug_nans(tx):
    with jax.numpy_dtype_promotion("strict"), jax.debug_nans(True):
        train(tx, steps=2)
        one_step(tx, PARAMS, tx.init(PARAMS), GRADS)


@every_checked
def test_leaks_no_tracer(tx):
    with jax.check_tracer_leaks(True):
        train(tx, steps=1, by=by_operations)


def test_optimizer_built_under_vmap_leaks_no_tracer():
    def step(rate):
        tx = lrx.adam(rate)
        return jax.jit(tx.update)(GRADS, tx.init(PARAMS), PARAMS)[0]["b"]

    with jax.check_tracer_leaks(True):
        assert jax.vmap(step)(jnp.ones(2)).shape == (2, 3)


@every_checked
def test_without_jit(tx):
    expected = train(tx, steps=1, by=by_operations)[0]
    with jax.disable_jit():
        params, _ = one_step(tx, PARAMS, tx.init(PARAMS), GRADS)
    np.testing.assert_allclose(params["w"], expected["w"], rtol=1e-6)
