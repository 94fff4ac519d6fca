"""What every optimizer promises: one list of records, the same questions to all.

What is compiled is compiled for a part of the list at a time: one program costs a fraction of many.
"""

import copy
import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrx
from tests.common import GRADS, PARAMS, avals, distance, finite, one_step, same, scan, warmup_cosine
from tests.optimizers.cases import CASES, MIXED, SEARCHES, VARIANTS

every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_variant = pytest.mark.parametrize("case", CASES + VARIANTS + SEARCHES, ids=lambda case: case.name)
FALLING = lrx.linear_schedule(0.01, 0.001, 10)
"""A rate that differs from update to update, and compiles fast."""


def in_parts(cases, size=4):
    """The list in parts whose cases share their programs, one of each kind in all of them."""
    parts = [cases[i :: -(-len(cases) // size)] for i in range(-(-len(cases) // size))]
    return pytest.mark.parametrize("cases", parts, ids=[f"{part[0].name}_and_{len(part) - 1}_more" for part in parts])


def jitted(cases, function, **options):
    """One program that calls `function(case, *arguments)` for each case, its arguments taken from dicts by name."""
    return jax.jit(lambda *trees: {c.name: function(c, *(tree[c.name] for tree in trees)) for c in cases}, **options)


def of_each(cases, function):
    return {case.name: function(case) for case in cases}


@every_variant
def test_first_update_keeps_the_avals_of_the_state(case):
    for rate in (0.01, FALLING):
        tx = case.build(rate)
        state = tx.init(PARAMS)
        assert avals(tx.update(GRADS, state, PARAMS, **case.extra)[1]) == avals(state)


@in_parts(CASES + VARIANTS + SEARCHES)
def test_dtypes_hold_under_mixed_precision_and_debug_nans(cases):
    params = of_each(cases, lambda case: case.mixed())
    txs = of_each(cases, lambda case: case.build(FALLING))
    states = of_each(cases, lambda case: txs[case.name].init(case.mixed()))

    def step(case, params, state, grads):
        updates, state = txs[case.name].update(grads, state, params, **case.extra)
        return updates, lrx.apply_updates(params, updates), state

    step = jitted(cases, step)
    with jax.debug_nans(True):
        still = step(params, states, jax.tree.map(jnp.zeros_like, params))
        step(*({name: x[i] for name, x in still.items()} for i in (1, 2)), params)
        moved = step(params, states, params)
    for name, (updates, _, after) in moved.items():
        assert avals(after) == avals(states[name]), name
        assert avals(updates) == avals(params[name]), name
        assert finite(updates), name
        assert {x.dtype.name for x in lrx.hyperparams(after).values()} <= {"float32", "int32"}, name


@every_variant
def test_is_traced_under_strict_promotion(case):
    real = {"w": MIXED["w"], "b": MIXED["b"][:2]}  # JAX itself refuses complex times real under strict promotion
    tx = case.build(FALLING)
    with jax.numpy_dtype_promotion("strict"):
        carry = real, jax.eval_shape(tx.init, real)
        assert jax.eval_shape(lambda carry: one_step(tx, *carry, real, **case.extra), carry)[0].keys() == real.keys()


@in_parts(CASES)
def test_donated_loop_compiles_once_and_gives_what_scan_gives(cases):
    txs = of_each(cases, lambda case: case.build())

    def donated(case, params, state, grads):
        return one_step(txs[case.name], params, state, grads, **case.extra)

    step = jitted(cases, donated, donate_argnums=(0, 1))
    params = of_each(cases, lambda _: jax.tree.map(jnp.array, PARAMS))
    states = of_each(cases, lambda case: txs[case.name].init(params[case.name]))
    for i in range(4):
        after = step(params, states, of_each(cases, lambda _, i=i: jax.tree.map(lambda g: g[i], UNEVEN)))
        params, states = ({name: pair[j] for name, pair in after.items()} for j in (0, 1))
    assert step._cache_size() == 1
    for name, path in narrow_paths(tuple(case.name for case in cases)).items():
        assert lrx.count(states[name]) == 4, name
        assert distance(jax.tree.map(lambda p: p[-1], path), params[name]) < 1e-6, name


@in_parts(CASES)
def test_float64_parameters_are_computed_in_float64(cases, x64):
    params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float64), PARAMS)
    grads = jax.tree.map(lambda g: jnp.asarray(g, jnp.float64), UNEVEN)
    wide = jitted(cases, lambda case: scan(case.build(), params, grads, **case.extra))()
    narrow = narrow_paths(tuple(case.name for case in cases))
    for case in cases:
        short = jax.eval_shape(lambda case=case: scan(case.build(), PARAMS, UNEVEN, **case.extra))
        assert {x.dtype.name for x in jax.tree.leaves(short)} == {"float32"}, case.name
        assert {x.dtype.name for x in jax.tree.leaves(wide[case.name])} == {"float64"}, case.name
        assert 0 < distance(wide[case.name], narrow[case.name]) < 1e-5, case.name


@every_variant
def test_state_holds_no_float64(case, x64):
    state = case.build().init(PARAMS)
    assert {x.dtype.name for x in jax.tree.leaves(state)} <= {"float32", "int32", *case.dtypes}


UNEVEN = {k: np.random.default_rng(0).normal(size=(4, *p.shape)).astype(np.float32) for k, p in PARAMS.items()}


@functools.cache
def narrow_paths(names):
    """The paths under gradients in float32, each optimizer built of the numbers of its record."""
    cases = [case for case in CASES if case.name in names]
    with jax.enable_x64(False):
        return jitted(cases, lambda case: scan(case.build(), PARAMS, UNEVEN, **case.extra))()


def final(case, numbers, grads):
    return scan(case.build(**numbers), PARAMS, grads, **case.extra)


@in_parts(CASES)
def test_vmap_over_every_hyperparameter(cases):
    def two(case):
        return {k: jnp.stack([jnp.float32(v), jnp.float32(v * 0.9)]) for k, v in case.numbers().items()}

    grid = of_each(cases, two)
    swept = jitted(cases, lambda case, numbers: jax.vmap(lambda n: final(case, n, UNEVEN))(numbers))(grid)
    # each alone is built of numbers, as the code gives them
    first = narrow_paths(tuple(case.name for case in cases))
    lone = of_each(cases, lambda case: case.build(**{k: v[1] for k, v in grid[case.name].items()}))
    second = jitted(cases, lambda case: scan(lone[case.name], PARAMS, UNEVEN, **case.extra))()
    for name, path in swept.items():
        for i, alone in enumerate((first, second)):
            assert distance(jax.tree.map(lambda x, i=i: x[i], path), alone[name]) < 1e-6, name


@in_parts([case for case in CASES if case.differentiable])
def test_gradient_with_respect_to_every_hyperparameter_is_finite(cases):
    """Also where a gradient was zero from the start, and a root therefore has no derivative."""
    grads = {"w": jnp.stack([0 * GRADS["w"]] * 3), "b": jnp.stack([GRADS["b"], 0 * GRADS["b"], 2 * GRADS["b"]])}

    def slopes(case, numbers):
        def loss(numbers, grads):
            return sum(jnp.sum(x[-1] ** 2) for x in jax.tree.leaves(final(case, numbers, grads)))

        return jax.grad(loss, argnums=(0, 1))(numbers, grads)

    numbers = of_each(cases, lambda case: {k: jnp.float32(v) for k, v in case.numbers().items()})
    for name, (by_number, by_grad) in jitted(cases, slopes)(numbers).items():
        assert finite(by_number), name
        assert finite(by_grad), name
        assert by_number["learning_rate"] != 0, name


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


@in_parts(CASES)
def test_zero_gradients_do_not_move_the_parameters(cases):
    def still(case):
        return case.build(**({"weight_decay": 0.0} if "weight_decay" in case.numbers() else {}))

    zero = jax.tree.map(np.zeros_like, GRADS)
    step = jitted(cases, lambda case, carry: one_step(still(case), *carry, zero, **case.extra))
    carry = of_each(cases, lambda case: (jax.tree.map(jnp.asarray, PARAMS), still(case).init(PARAMS)))
    for _ in range(3):
        carry = step(carry)
    for name, (params, _) in carry.items():
        assert same(params, jax.tree.map(jnp.asarray, PARAMS)), name
