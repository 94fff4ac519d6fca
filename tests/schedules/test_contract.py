"""What every schedule promises, asked of each in turn: one list of records, the same questions to all."""

import copy
import dataclasses
import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrx
from tests.common import finite, same
from tests.operations import by_operations
from tests.schedules import combined
from tests.schedules.cases import CASES, INT32_MAX, VARIANTS, is_count

BY_NAME = {case.name: case for case in CASES}
every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
# one for each factory, where another shape or another length asks nothing new
FACTORIES = {case.factory: case for case in reversed(CASES)}.values()
every_factory = pytest.mark.parametrize("case", FACTORIES, ids=lambda case: case.name)


def floats_of(schedule):
    """The real numbers of a schedule by path, and the function that puts others in their place."""
    leaves, treedef = jax.tree_util.tree_flatten_with_path(schedule)
    floats = {jax.tree_util.keystr(path): np.asarray(x, np.float32) for path, x in leaves if not is_count(x)}

    def put(floats):
        return treedef.unflatten([floats.get(jax.tree_util.keystr(path), x) for path, x in leaves])

    return floats, put


@every_factory
def test_output_is_float32_in_the_shape_of_the_count(case):
    schedule = case.build()
    scalars = 3, np.int64(3), jnp.uint8(3), 3.0
    arrays = np.zeros((2, 3), np.int64), np.zeros(0, np.int32)

    def values():  # on the counts themselves
        rates = [schedule(count) for count in (*scalars, *arrays)]
        assert all(isinstance(rate, jax.Array) for rate in rates)
        return rates

    for rate, shape in zip(jax.eval_shape(values), [()] * 4 + [(2, 3), (0,)], strict=True):
        assert (rate.shape, rate.dtype) == (shape, jnp.float32)
        assert not rate.weak_type


def assert_close(got, want, case):
    """Two evaluations of one formula: numbers may be folded or fused, which moves a value by an ulp or two."""
    np.testing.assert_allclose(got, want, rtol=3e-7, atol=3e-7 * case.floor)


@functools.cache
def rates(name):
    """The schedule of a case, its numbers known, as a function of an array of counts."""
    return by_operations(BY_NAME[name].build())


@every_factory
def test_array_and_scan_give_the_values_of_single_counts(case):
    schedule, counts = case.build(), case.counts()
    values = rates(case.name)(counts)
    assert_close(by_operations(lambda: schedule(int(counts[2])))(), values[2], case)
    distinct, where = np.unique(counts, return_index=True)
    assert_close(
        by_operations(lambda n: jax.lax.scan(lambda _, i: (_, schedule(i)), None, n))(distinct)[1], values[where], case
    )


@every_factory
def test_vmap_over_every_number(case):
    """Also over lengths, which optax's factories refuse to trace."""
    counts, pair = case.counts(), (case.build(), other(case.build()))
    swept = by_operations(jax.vmap(lambda schedule: schedule(counts)))(stacked(*pair))
    for got, schedule in zip(swept, pair, strict=True):
        assert_close(got, by_operations(schedule)(counts), case)


def other(schedule):
    """The same with other numbers."""
    return jax.tree.map(lambda x: x + 1 if is_count(x) else x * 0.9, schedule)


def stacked(*schedules):
    return jax.tree.map(lambda *x: np.stack(x).astype(np.int32 if is_count(x[0]) else np.float32), *schedules)


@every_factory
def test_factory_takes_tracers(case):
    numbers = {k: v for k, v in case.arguments.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    made = by_operations(lambda numbers: case.factory(**{**case.arguments, **numbers})(np.arange(32)))
    assert_close(made(numbers), rates(case.name)(np.arange(32)), case)


@functools.cache
def gradients(name):
    """The derivatives with respect to every real number of a schedule, a function of (numbers, counts)."""
    _, put = floats_of(BY_NAME[name].build())
    return by_operations(jax.vmap(jax.grad(lambda floats, count: put(floats)(count)), (None, 0)))


@every_factory
def test_gradient_with_respect_to_every_number_is_finite_at_every_count(case):
    floats, _ = floats_of(case.build())
    assert finite(gradients(case.name)(floats, case.counts()))
    assert finite(gradients(case.name)({k: np.zeros_like(x) for k, x in floats.items()}, case.counts()))


@every
def test_gradient_is_that_of_the_formula(case):
    floats, put = floats_of(case.build())
    counts = np.arange(1, 97, 3, np.int32)
    for name, by_number in gradients(case.name)(floats, counts).items():
        if "length_multiplier" in name:
            continue  # cycles start at whole steps: the derivative is that of a step function
        for count, got in list(zip(counts, by_number, strict=True))[::3]:
            low, value, high = (moved(case, put, floats, name, int(count), h) for h in (-(2.0**-9), 0, 2.0**-9))
            slopes = [(value - low) * 2**9, (high - value) * 2**9]
            if abs(slopes[0] - slopes[1]) > 0.1 * (abs(slopes[0]) + abs(slopes[1])) + 1e-3:
                continue  # a corner lies between them
            assert float(np.sum(got)) == pytest.approx(np.mean(slopes), rel=2e-2, abs=2e-4), (name, count)


def moved(case, put, floats, name, count, by):
    """The float64 formula with one number moved, or all numbers of one array."""
    moved = {k: np.asarray(x, np.float64) + by * (k == name) for k, x in floats.items()}
    schedule = put({k: x if x.ndim else float(x) for k, x in moved.items()})
    return dataclasses.replace(case, arguments={**case.arguments, **as_arguments(schedule)}).reference(count)


def as_arguments(schedule):
    """The arguments of the factory that the schedule's fields stand for."""
    return schedule.call()


@every
def test_copies_pickles_repr_and_json_are_equal(case):
    schedule = case.build()
    others = [copy.copy(schedule), copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))]
    others += [
        eval(repr(schedule), {**vars(lrx), case.factory.__name__: case.factory}),
        lrx.from_json(schedule.to_json()),
    ]
    counts = case.counts()
    values = by_operations(lambda schedule: schedule(counts))
    for other in others:
        assert type(other) is type(schedule)
        assert other == schedule
        assert hash(other) == hash(schedule)
        assert same(values(other), values(schedule))


@every_factory
def test_strict_promotion_debug_nans_and_x64_change_nothing(case):
    def values():
        return by_operations(lambda n: case.build()(n))(case.counts())

    expected = rates(case.name)(case.counts())
    assert finite(expected)
    with jax.numpy_dtype_promotion("strict"), jax.debug_nans(True):
        assert same(values(), expected)
        case.build()(5)
    with jax.enable_x64(True):
        assert same(values(), expected)
        assert same(*by_operations(lambda: [case.build()(n) for n in (np.int64(case.last), case.last)])())
        state = jax.eval_shape(lrx.sgd(case.build()).init, np.ones(1))
        assert {x.dtype.name for x in jax.tree.leaves(state)} <= {"float32", "int32"}


def test_float_counts_and_states_are_traced_under_strict_promotion():
    """In a state numbers are strong int32 and float32; `stretch` and the like ask their base between two updates."""
    float_count, params = jax.ShapeDtypeStruct((), jnp.float32), jax.ShapeDtypeStruct((2,), jnp.float32)
    schedules = {case.name: case.build() for case in CASES + VARIANTS}
    schedules |= {f"combined_{case.name}": case.schedule for case in combined.CASES}
    schedules["stretch_of_warmup"] = lrx.stretch(lrx.warmup_linear_schedule(0.5, 8, total_steps=32), 16)
    with jax.numpy_dtype_promotion("strict"):
        for name, schedule in schedules.items():
            strong = jax.tree.map(lambda x: np.asarray(x, np.int32 if is_count(x) else np.float32), schedule)
            rate = jax.eval_shape(lambda schedule, count: schedule(count), strong, float_count)
            assert (rate.shape, rate.dtype) == ((), jnp.float32), name
            tx = lrx.sgd(schedule)
            updates, _ = jax.eval_shape(tx.update, params, jax.eval_shape(tx.init, params))
            assert updates.dtype == jnp.float32, name


@every
def test_counts_beyond_int32_hold_the_last_value_and_negative_ones_the_first(case):
    schedule = case.build()
    last = schedule(INT32_MAX)
    for count in (2**31, 10**12, 10**30, np.int64(2**40), np.uint32(2**32 - 1)):
        assert same(schedule(count), last)
    assert same(schedule(-5), schedule(0))


@every_factory
def test_a_step_of_an_optimizer_uses_the_value_at_its_count(case):
    tx, ones = lrx.sgd(case.build()), np.ones(1, np.float32)
    step, state = by_operations(lambda state: tx.update(ones, state)), tx.init(ones)
    for rate in rates(case.name)(np.arange(3)):
        update, state = step(state)
        assert_close(-update[0], rate, case)
