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
from lrx._arithmetic import trainable
from tests.common import GRADS, PARAMS, avals, distance, finite, one_step, same, scan
from tests.operations import by_operations
from tests.optimizers.cases import CASES, MIXED, SEARCHES, VARIANTS

every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_variant = pytest.mark.parametrize("case", CASES + VARIANTS + SEARCHES, ids=lambda case: case.name)
BY_NAME = {case.name: case for case in CASES + VARIANTS + SEARCHES}
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


@functools.cache
def step_of(name):
    """One update, a function of (parameters, state, gradients) that is traced once for all tests that ask for it."""
    case = BY_NAME[name]
    tx = case.build()

    def step(params, state, grads):
        updates, after = tx.update(grads, state, params, **case.extra)
        return updates, lrx.apply_updates(params, updates), after

    return by_operations(step)


@every_variant
def test_first_update_keeps_the_avals_of_the_state(case):
    """Of a constant rate; the next test asks it of a schedule."""
    state = case.build().init(PARAMS)
    assert avals(step_of(case.name)(PARAMS, state, GRADS)[2]) == avals(state)


@every_variant
def test_dtypes_hold_under_mixed_precision_and_debug_nans(case):
    params, tx = case.mixed(), case.build(FALLING)
    start = tx.init(params)

    @by_operations
    def step(params, state, grads):
        updates, state = tx.update(grads, state, params, **case.extra)
        return updates, lrx.apply_updates(params, updates), state

    with jax.debug_nans(True):
        still = step(params, start, jax.tree.map(jnp.zeros_like, params))
        step(*still[1:], params)
        updates, _, after = step(params, start, params)
    assert avals(after) == avals(start)
    assert avals(updates) == avals(params)
    assert finite(updates)
    assert {x.dtype.name for x in lrx.hyperparams(after).values()} <= {"float32", "int32"}


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
    for case in cases:
        assert lrx.count(states[case.name]) == 4, case.name
        path = narrow_path(case.name)
        assert distance(jax.tree.map(lambda p: p[-1], path), params[case.name]) < 1e-6, case.name


@every
def test_float64_parameters_are_computed_in_float64(case, x64):
    params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float64), PARAMS)
    grads = jax.tree.map(lambda g: jnp.asarray(g, jnp.float64), UNEVEN)
    wide = by_operations(lambda: scan(case.build(), params, grads, **case.extra))()
    short = jax.eval_shape(lambda: scan(case.build(), PARAMS, UNEVEN, **case.extra))
    assert {x.dtype.name for x in jax.tree.leaves(short)} == {"float32"}
    assert {x.dtype.name for x in jax.tree.leaves(wide)} == {"float64"}
    assert 0 < distance(wide, narrow_path(case.name)) < 1e-5


@every_variant
def test_state_holds_no_float64(case, x64):
    state = case.build().init(PARAMS)
    assert {x.dtype.name for x in jax.tree.leaves(state)} <= {"float32", "int32", *case.dtypes}


UNEVEN = {k: np.random.default_rng(0).normal(size=(4, *p.shape)).astype(np.float32) for k, p in PARAMS.items()}


@functools.cache
def narrow_path(name):
    """The path under gradients in float32, of the optimizer that is built of the numbers of its record."""
    with jax.enable_x64(False):
        path, state = [PARAMS], BY_NAME[name].build().init(PARAMS)
        for i in range(4):
            _, params, state = step_of(name)(path[-1], state, jax.tree.map(lambda g, i=i: g[i], UNEVEN))
            path.append(params)
        return jax.tree.map(lambda *x: np.stack(x), *path)


def final(case, numbers, grads):
    return scan(case.build(**numbers), PARAMS, grads, **case.extra)


@every
def test_a_schedule_of_one_value_gives_the_path_of_the_number(case):
    """Each of its steps: the path of the number is compared with others."""
    rate = lrx.linear_schedule(case.rate, case.rate, 3)
    path = by_operations(lambda: final(case, {"learning_rate": rate}, UNEVEN))()
    assert distance(path, narrow_path(case.name)) < 1e-6


@every
def test_vmap_over_every_hyperparameter(case):
    grid = {k: jnp.stack([jnp.float32(v), jnp.float32(v * 0.9)]) for k, v in case.numbers().items()}
    swept = by_operations(jax.vmap(lambda numbers: final(case, numbers, UNEVEN)))(grid)
    # each alone is built of numbers, as the code gives them
    lone = case.build(**{k: v[1] for k, v in grid.items()})
    second = by_operations(lambda: scan(lone, PARAMS, UNEVEN, **case.extra))()
    for i, alone in enumerate((narrow_path(case.name), second)):
        assert distance(jax.tree.map(lambda x, i=i: x[i], swept), alone) < 1e-6


@pytest.mark.parametrize("case", [case for case in CASES if case.differentiable], ids=lambda case: case.name)
def test_gradient_with_respect_to_every_hyperparameter_is_finite(case):
    """Of the squared norm of the parameters after three updates, one traced for all, back through each in its turn.

    Also where a gradient was zero from the start, and a root therefore has no derivative.
    """

    def start(numbers):
        return PARAMS, case.build(**numbers).init(PARAMS)

    def step(numbers, carry, grads):
        return one_step(case.build(**numbers), *carry, grads, **case.extra)

    numbers = {k: np.float32(v) for k, v in case.numbers().items()}
    forward, back = by_operations(step), by_operations(functools.partial(pulled_back, step))
    inputs, carry = [], by_operations(start)(numbers)
    for scale in (1, 0, 2):
        inputs.append((numbers, carry, {"w": 0 * GRADS["w"], "b": scale * GRADS["b"]}))
        carry = forward(*inputs[-1])
    params, state = carry
    by_carry = jax.tree.map(lambda p: 2 * np.asarray(p), params), jax.tree.map(np.zeros_like, state)
    parts = []
    for given in reversed(inputs):
        by_number, by_carry, by_grad = back(by_carry, *given)
        parts.append(by_number)
        assert finite(by_grad)
    parts += by_operations(functools.partial(pulled_back, start))(by_carry, numbers)
    assert finite(parts)
    assert sum(float(by_number["learning_rate"]) for by_number in parts) != 0


def pulled_back(function, by_outputs, *inputs):
    """The derivatives by the inputs of `function`, of those by its outputs; of integers, which have none, zeros."""
    outputs, pull = jax.vjp(function, *inputs)
    none = jax.tree.map(lambda x: np.zeros(x.shape, jax.dtypes.float0), outputs)
    by_inputs = pull(jax.tree.map(lambda d, no: d if trainable(d) else no, by_outputs, none))
    return jax.tree.map(lambda d, x: d if trainable(x) else jnp.zeros_like(x), by_inputs, inputs)


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
    tx = case.build(FALLING)
    other = tx
    for again in (lambda tx: pickle.loads(pickle.dumps(tx)), copy.copy, copy.deepcopy):
        other = again(other)  # one after another: what one of them lost the step below would lack
        assert other == tx
        assert hash(other) == hash(tx)
    assert same(first_step(case, other), first_step(case, tx))


def first_step(case, tx, **extra):
    update = by_operations(lambda state, grads: tx.update(grads, state, PARAMS, **extra, **case.extra))
    return update(tx.init(PARAMS), GRADS)


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
    others = {name: x for name, x in {"value": 1.0, "anything": "else"}.items() if name not in case.extra}
    updates, _, after = step_of(case.name)(PARAMS, tx.init(PARAMS), GRADS)
    assert same(first_step(case, tx, **others), (updates, after))


@every
def test_zero_gradients_do_not_move_the_parameters(case):
    zero, start = jax.tree.map(np.zeros_like, GRADS), jax.tree.map(jnp.asarray, PARAMS)
    if "weight_decay" in case.numbers():
        tx = case.build(weight_decay=0.0)
        step = by_operations(lambda params, state: one_step(tx, params, state, zero, **case.extra))
    else:
        tx = case.build()
        step = lambda params, state: step_of(case.name)(params, state, zero)[1:]  # noqa: E731
    params, state = start, tx.init(start)
    for _ in range(3):
        params, state = step(params, state)
    assert same(params, start)
