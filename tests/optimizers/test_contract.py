"""What every optimizer promises, asked of each in turn: one list of records, the same questions to all."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrx
from tests.common import GRADS, PARAMS, avals, distance, finite, one_step, same, scan, train, warmup_cosine
from tests.optimizers.cases import CASES, MIXED, VARIANTS

pytestmark = pytest.mark.usefixtures("cheap_compiles")
every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_variant = pytest.mark.parametrize("case", CASES + VARIANTS, ids=lambda case: case.name)


@every_variant
def test_first_update_keeps_the_avals_of_the_state(case):
    for rate in (0.01, warmup_cosine()):
        tx = case.build(rate)
        state = tx.init(PARAMS)
        assert avals(tx.update(GRADS, state, PARAMS, **case.extra)[1]) == avals(state)


@every_variant
def test_dtypes_hold_under_mixed_precision(case):
    tx = case.build()
    params = case.mixed()
    state = tx.init(params)
    updates, after = jax.jit(lambda *trees: tx.update(*trees, **case.extra))(params, state, params)
    assert avals(after) == avals(state)
    assert avals(updates) == avals(params)
    assert finite(updates)
    assert {x.dtype.name for x in lrx.hyperparams(after).values()} <= {"float32", "int32"}


@every_variant
def test_runs_under_strict_promotion_and_debug_nans(case):
    real = {"w": MIXED["w"], "b": MIXED["b"][:2]}  # JAX itself refuses complex times real under strict promotion
    tx = case.build(warmup_cosine())
    with jax.numpy_dtype_promotion("strict"), jax.debug_nans(True):
        step = jax.jit(lambda params, state, grads: one_step(tx, params, state, grads, **case.extra))
        params, state = step(real, tx.init(real), jax.tree.map(jnp.zeros_like, real))
        step(params, state, real)


@every
def test_donated_loop_compiles_once_and_gives_what_scan_gives(case):
    tx = case.build(warmup_cosine(init_value=1e-3))
    step = jax.jit(lambda *trees: one_step(tx, *trees, **case.extra), donate_argnums=(0, 1))
    params = jax.tree.map(jnp.array, PARAMS)
    state = tx.init(params)
    for _ in range(3):
        params, state = step(params, state, GRADS)
    assert step._cache_size() == 1
    assert lrx.count(state) == 3
    path = scan(tx, PARAMS, jax.tree.map(lambda g: jnp.stack([g] * 3), GRADS), **case.extra)
    assert distance(jax.tree.map(lambda p: p[-1], path), params) < 1e-6


@every
def test_float64_parameters_are_computed_in_float64(case, x64):
    params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float64), PARAMS)
    grads = jax.tree.map(lambda p: jnp.asarray(np.random.default_rng(0).normal(size=(4, *p.shape))), PARAMS)
    wide = scan(case.build(), params, grads, **case.extra)
    assert {x.dtype.name for x in jax.tree.leaves(wide)} == {"float64"}
    narrow = scan(case.build(), PARAMS, jax.tree.map(lambda g: g.astype(jnp.float32), grads), **case.extra)
    assert 0 < distance(wide, narrow) < 1e-5


@every_variant
def test_state_holds_no_float64(case, x64):
    state = case.build().init(PARAMS)
    assert {x.dtype.name for x in jax.tree.leaves(state)} <= {"float32", "int32"}


def final(case, numbers, grads):
    return scan(case.build(**numbers), PARAMS, grads, **case.extra)


@every
def test_vmap_over_every_hyperparameter(case):
    grads = jax.tree.map(lambda g: jnp.stack([g, -2 * g, g]), GRADS)
    numbers = case.numbers()
    grid = {k: jnp.stack([jnp.float32(v), jnp.float32(v * 0.9)]) for k, v in numbers.items()}
    swept = jax.jit(jax.vmap(lambda n: final(case, n, grads)))(grid)
    for i in range(2):
        alone = final(case, {k: v[i] for k, v in grid.items()}, grads)
        assert distance(jax.tree.map(lambda x, i=i: x[i], swept), alone) < 1e-6


@pytest.mark.parametrize("case", [case for case in CASES if case.differentiable], ids=lambda case: case.name)
def test_gradient_with_respect_to_every_hyperparameter_is_finite(case):
    """Also where a gradient was zero from the start, and a root therefore has no derivative."""
    grads = {"w": jnp.stack([0 * GRADS["w"]] * 3), "b": jnp.stack([GRADS["b"], 0 * GRADS["b"], 2 * GRADS["b"]])}

    def loss(numbers, grads):
        return sum(jnp.sum(x[-1] ** 2) for x in jax.tree.leaves(final(case, numbers, grads)))

    numbers = {k: jnp.float32(v) for k, v in case.numbers().items()}
    by_number, by_grad = jax.jit(jax.grad(loss, argnums=(0, 1)))(numbers, grads)
    assert finite(by_number)
    assert finite(by_grad)
    assert by_number["learning_rate"] != 0


@every
def test_equal_optimizers_are_equal_and_other_numbers_are_not(case):
    tx = case.build()
    assert tx == case.build()
    assert hash(tx) == hash(case.build())
    assert tx != case.build(0.02)
    assert tx.update == case.build().update
    assert tx.update != case.build(0.02).update


@every
def test_pickle_and_copy_give_an_equal_optimizer(case):
    tx = case.build(warmup_cosine())
    expected = tx.update(GRADS, tx.init(PARAMS), PARAMS, **case.extra)
    for other in (pickle.loads(pickle.dumps(tx)), copy.copy(tx), copy.deepcopy(tx)):
        assert other == tx
        assert hash(other) == hash(tx)
        assert same(other.update(GRADS, other.init(PARAMS), PARAMS, **case.extra), expected)


@every
def test_repr_names_the_numbers(case):
    assert "learning_rate=0.01" in repr(case.build())


@every
def test_init_on_shapes_alone(case):
    tx = case.build()
    abstract = jax.eval_shape(tx.init, jax.eval_shape(lambda: jax.tree.map(jnp.asarray, PARAMS)))
    assert avals(abstract) == avals(tx.init(PARAMS))


@every
def test_unknown_extra_arguments_are_ignored(case):
    tx = case.build()
    state = tx.init(PARAMS)
    with_extra = tx.update(GRADS, state, PARAMS, **{"value": 1.0, "anything": "else", **case.extra})
    assert same(with_extra, tx.update(GRADS, state, PARAMS, **case.extra))


@every
def test_zero_gradients_do_not_move_the_parameters(case):
    zero = jax.tree.map(np.zeros_like, GRADS)
    no_decay = {"weight_decay": 0.0} if "weight_decay" in case.numbers() else {}
    params, _ = train(case.build(**no_decay), grads=zero, **case.extra)
    assert same(params, jax.tree.map(jnp.asarray, PARAMS))
