"""What every schedule promises, asked of each in turn: one list of records, the same questions to all."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrx

from .common import finite, same
from .schedule_cases import CASES, INT32_MAX

every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def floats_of(schedule):
    """The real numbers of a schedule, and the function that puts others in their place."""
    leaves, treedef = jax.tree.flatten(schedule)
    places = [i for i, x in enumerate(leaves) if isinstance(x, float)]

    def put(floats):
        others = list(leaves)
        for i, x in zip(places, floats, strict=True):
            others[i] = x
        return treedef.unflatten(others)

    return [jnp.float32(leaves[i]) for i in places], put


@every
def test_output_is_float32_in_the_shape_of_the_count(case):
    schedule = case.build()
    for count in (3, np.int64(3), jnp.int32(3), jnp.uint8(3), 3.0, np.float64(3)):
        rate = schedule(count)
        assert isinstance(rate, jax.Array)
        assert (rate.shape, rate.dtype) == ((), jnp.float32)
        assert not rate.weak_type
    assert schedule(np.zeros((2, 3), np.int64)).shape == (2, 3)
    assert schedule(np.zeros(0, np.int32)).shape == (0,)


@every
def test_jit_scan_and_array_give_the_values_of_single_counts(case):
    """Under jit the numbers may be folded or fused, which moves a value by an ulp."""
    schedule, counts = case.build(), case.counts()
    single = np.stack([schedule(int(count)) for count in counts])
    scanned = jax.lax.scan(lambda _, count: (_, schedule(count)), None, counts)[1]
    for values in (schedule(counts), jax.jit(schedule)(counts), jax.jit(lambda s, c: s(c))(schedule, counts), scanned):
        np.testing.assert_array_max_ulp(np.asarray(values), single, maxulp=2)


@every
def test_landmarks_are_the_same_eager_jitted_and_in_a_state(case):
    schedule = case.build()
    tx = lrx.sgd(schedule)
    start = tx.init(jnp.ones(1))

    def applied(count):
        memory = start["scale_by_learning_rate"].memory._replace(count=count)
        state = {"scale_by_learning_rate": start["scale_by_learning_rate"]._replace(memory=memory)}
        return lrx.learning_rate(tx.update(jnp.ones(1), state)[1])

    counts = jnp.array([0, INT32_MAX])
    assert same(jax.jit(jax.vmap(applied))(counts), schedule(counts))
    assert same(jax.jit(schedule)(counts), schedule(counts))


@every
def test_vmap_over_every_number(case):
    """Also over lengths, which optax's factories refuse to trace."""
    schedule = case.build()
    others = jax.tree.map(lambda x: x + 1 if isinstance(x, int) else x * 0.9, schedule)
    grid = jax.tree.map(lambda x, y: jnp.stack([jnp.asarray(x), jnp.asarray(y)]), schedule, others)
    counts = case.counts()
    swept = jax.jit(jax.vmap(lambda s: s(counts)))(grid)
    for values, alone in zip(swept, (schedule, others), strict=True):
        np.testing.assert_array_max_ulp(np.asarray(values), np.asarray(alone(counts)), maxulp=2)


@every
def test_factory_takes_tracers(case):
    numbers = {k: v for k, v in case.arguments.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    others = {k: v for k, v in case.arguments.items() if k not in numbers}
    traced = jax.jit(lambda numbers: case.factory(**numbers, **others)(jnp.arange(40)))(numbers)
    np.testing.assert_array_max_ulp(np.asarray(traced), np.asarray(case.build()(jnp.arange(40))), maxulp=2)


@every
def test_gradient_with_respect_to_every_number_is_finite_at_every_count(case):
    floats, put = floats_of(case.build())
    gradient = jax.jit(jax.vmap(jax.grad(lambda floats, count: put(floats)(count)), (None, 0)))
    assert finite(gradient(floats, case.counts()))
    zeros = [jnp.zeros_like(x) for x in floats]
    assert finite(gradient(zeros, case.counts()))


@every
def test_gradient_is_that_of_the_formula(case):
    floats, put = floats_of(case.build())
    counts = np.arange(1, 60, 4)
    gradient = jax.jit(jax.vmap(jax.grad(lambda floats, count: put(floats)(count)), (None, 0)))(floats, counts)
    for i, by_number in enumerate(gradient):
        for count, got in zip(counts, by_number, strict=True):
            if case.name == "exponential_floor" or case.name == "exponential_ceiling":
                continue  # a corner may lie between the two values of the difference
            want = differences(case, floats, i, int(count))
            assert float(got) == pytest.approx(want, rel=2e-2, abs=2e-4), (i, count)


def differences(case, floats, i, count):
    """A central difference of the float64 reference in the i-th real number of the schedule."""
    h = 2.0**-9

    def value(step):
        moved = iter([float(x) + step * (j == i) for j, x in enumerate(floats)])
        order = jax.tree.map(lambda x: next(moved) if isinstance(x, float) else x, case.build())
        return type(case)(case.name, case.factory, {**case.arguments, **as_arguments(order, case)}).reference(count)

    return (value(h) - value(-h)) / (2 * h)


def as_arguments(schedule, case):
    """The arguments of the factory that the schedule's fields stand for."""
    call = schedule.call() if hasattr(schedule, "call") else vars(schedule)
    return {k: v for k, v in call.items() if v is not None and not k.startswith("_") and k != "from_arrays"}


@every
def test_copies_pickles_repr_and_json_are_equal(case):
    schedule = case.build()
    others = [copy.copy(schedule), copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))]
    others += [eval(repr(schedule), vars(lrx).copy()), lrx.from_json(schedule.to_json())]
    for other in others:
        assert type(other) is type(schedule)
        assert other == schedule
        assert hash(other) == hash(schedule)
        assert same(other(case.counts()), schedule(case.counts()))


@every
def test_strict_promotion_and_debug_nans(case):
    with jax.numpy_dtype_promotion("strict"), jax.debug_nans(True):
        values = case.build()(case.counts())
        jax.jit(case.build())(jnp.int32(5))
    assert finite(values)


@every
def test_x64_changes_nothing(case):
    expected = case.build()(case.counts())
    with jax.enable_x64(True):
        assert same(case.build()(case.counts().astype(np.int64)), expected)
        state = lrx.sgd(case.build()).init(jnp.ones(1))
        assert {x.dtype.name for x in jax.tree.leaves(state)} <= {"float32", "int32"}


@every
def test_counts_beyond_int32_hold_the_last_value_and_negative_ones_the_first(case):
    schedule = case.build()
    for count in (2**31, 10**12, 10**30, np.int64(2**40), np.uint32(2**32 - 1)):
        assert same(schedule(count), schedule(INT32_MAX))
    assert same(schedule(-5), schedule(0))


@every
def test_a_step_of_an_optimizer_uses_the_value_at_its_count(case):
    tx = lrx.sgd(case.build())
    state, update = tx.init(jnp.ones(1)), jax.jit(tx.update)
    for count in range(3):
        updates, state = update(jnp.ones(1), state)
        np.testing.assert_array_max_ulp(-updates[0], np.asarray(case.build()(count)), maxulp=2)
