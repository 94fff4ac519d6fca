"""Optimizers and schedules are values: they compare, hash, print, copy and pickle as such."""

import copy
import functools
import gc
import pickle
import weakref

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from lrx._transformation import transformation
from tests.common import GRADS, PARAMS, same, train, warmup_cosine
from tests.core.rules import Join, Table, Typed

# ---------------------------------------------------------------- comparing


def test_equal_numbers_make_equal_optimizers_whatever_their_python_type():
    optimizers = [lrx.adam(x) for x in (1e-3, np.float32(1e-3), np.float64(1e-3), jnp.float32(1e-3), np.array(1e-3))]
    assert len(set(optimizers)) == 1
    assert lrx.adam(1) == lrx.adam(1.0)
    assert warmup_cosine(warmup_steps=10) == warmup_cosine(warmup_steps=10.0)


def test_other_numbers_make_other_optimizers():
    assert lrx.adam(1e-3) != lrx.adam(2e-3)
    assert lrx.adam(0.0) != lrx.adam(-0.0)
    assert lrx.adam(1e-3) != lrx.adam(lrx.constant_schedule(1e-3))
    assert lrx.adam(1e-3) != lrx.adam(1e-3, nesterov=True)
    assert lrx.sgd(1e-3) != lrx.chain(lrx.sgd(1e-3), lrx.sgd(1e-3))
    assert warmup_cosine() != warmup_cosine(decay_steps=99)


def test_arrays_compare_to_the_last_bit_of_the_last_entry():
    values = np.linspace(0, 1, 2000, dtype=np.float32)
    moved = values.copy()
    moved[1000] = np.nextafter(values[1000], np.float32(2))
    assert lrx.sgd(Table(values)) == lrx.sgd(Table(values.copy()))
    assert lrx.sgd(Table(values)) != lrx.sgd(Table(moved))


def test_nan_equals_nan():
    assert transformation(Typed(float("nan"))) == transformation(Typed(-float("nan") * 0 + float("nan")))


def test_static_fields_compare_with_their_types():
    rules = [transformation(Typed(choice=choice)) for choice in (1, 1.0, True)]
    assert len(set(rules)) == 3
    assert transformation(Typed(choice=1)) == transformation(Typed(choice=1))


def test_unhashable_static_field_compares_by_identity():
    choice = {"w": True}
    assert transformation(Typed(choice=choice)) == transformation(Typed(choice=choice))
    assert transformation(Typed(choice=choice)) != transformation(Typed(choice={"w": True}))
    hash(transformation(Typed(choice=choice)))


def test_functions_compare_by_identity():
    schedule = lambda count: 1e-3  # noqa: E731
    assert lrx.adam(schedule) == lrx.adam(schedule)
    assert hash(lrx.adam(schedule)) == hash(lrx.adam(schedule))
    assert lrx.adam(schedule) != lrx.adam(lambda count: 1e-3)


def test_masks_compare_by_content():
    first, second = (lrx.adamw(1e-3, mask={"w": True, "b": [False]}) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    assert first != lrx.adamw(1e-3, mask={"w": True, "b": [True]})


def test_chains_with_optax_links_compare_by_those_links():
    clip = optax.clip(1.0)
    assert lrx.chain(clip, lrx.adam(1e-3)) == lrx.chain(clip, lrx.adam(1e-3))
    plain = optax.GradientTransformation(*clip)
    assert lrx.chain(plain, lrx.adam(1e-3)) == lrx.chain(plain, lrx.adam(1e-3))


def test_tracers_are_welcome_and_compare_by_identity():
    def build(rate):
        tx = lrx.adam(rate)
        assert tx == tx
        assert hash(tx) == hash(tx)
        assert tx != lrx.adam(rate + 1)
        assert "adam" in repr(tx)
        return rate

    jax.jit(build)(1.0)
    jax.vmap(build)(jnp.ones(2))
    jax.grad(build)(1.0)


def test_users_function_is_not_kept_alive():
    big = np.zeros(3)
    schedule = lambda count, big=big: 1e-3  # noqa: E731
    reference = weakref.ref(schedule)
    tx = lrx.adam(schedule)
    train(tx, steps=1)
    del schedule, tx
    gc.collect(1)  # what is young
    assert reference() is None


# ---------------------------------------------------------------- whose state it is


@pytest.mark.parametrize(
    ("tx", "state", "told"),
    [
        (lrx.sgd(1e-3), lrx.sgd(warmup_cosine()), r"\['schedule'\], scale_by_learning_rate has \['learning_rate'\]"),
        (lrx.sgd(warmup_cosine()), lrx.sgd(1e-3), r"\['learning_rate'\], scale_by_learning_rate has \['schedule'\]"),
        (lrx.adam(1e-3), lrx.sgd(1e-3), r"the chain has the links \['scale_by_adam', 'scale_by_learning_rate'\]"),
        (lrx.adam(1e-3), optax.adam(1e-3), "the state has tuple"),
    ],
)
def test_state_of_another_optimizer_is_told(tx, state, told):
    with pytest.raises(ValueError, match=f"this state belongs to another optimizer: .*{told}.*Use the optimizer that"):
        tx.update(GRADS, state.init(PARAMS), PARAMS)


# ---------------------------------------------------------------- copies


READABLE = [
    lrx.adam(1e-3),
    lrx.adam(np.float32(1e-3), mu_dtype=jnp.bfloat16),
    lrx.adam(jnp.float32(1e-3)),
    lrx.adamw(warmup_cosine(), mask={"w": True, "b": False}),
    lrx.chain(lrx.clip_by_global_norm(1.0), lrx.rmsprop(1e-3, momentum=0.9, centered=True)),
]
"""Their repr is code."""
VALUES = [
    *READABLE,
    lrx.sgd(Join((lrx.constant_schedule(1.0), warmup_cosine()), (5,))),
    lrx.sgd(Table(np.array([1.0, 2.0]))),
]


@pytest.mark.parametrize("tx", VALUES, ids=repr)
def test_copies_and_pickles_are_equal_and_work_the_same(tx):
    expected = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    for make in (copy.copy, copy.deepcopy, repickled, recloudpickled):
        other = make(tx)
        assert other == tx
        assert hash(other) == hash(tx)
        assert same(other.update(GRADS, other.init(PARAMS), PARAMS), expected)


def repickled(x):
    return pickle.loads(pickle.dumps(x))


def recloudpickled(x):
    return cloudpickle.loads(cloudpickle.dumps(x))


def test_optimizer_with_a_lambda_goes_through_cloudpickle():
    assert lrx.learning_rate(recloudpickled(lrx.adam(lambda count: 0.5)).init(PARAMS)) == 0.5


@pytest.mark.parametrize("tx", READABLE, ids=repr)
def test_repr_evaluates_back(tx):
    assert eval(repr(tx), vars(lrx).copy()) == tx


def test_optax_schedules_have_a_readable_repr():
    assert repr(warmup_cosine()) == (
        "warmup_cosine_decay_schedule(init_value=0.0, peak_value=0.001, warmup_steps=10, decay_steps=100, "
        "end_value=0.0, exponent=1.0)"
    )


def test_schedules_of_every_kind():
    class Method:
        def rate(self, count):
            return 1e-3 * (count + 1)

    def scaled(count, by):
        return by * (count + 1)

    for schedule in (
        lambda count: 1e-3 * (count + 1),
        functools.partial(scaled, by=1e-3),
        jax.tree_util.Partial(scaled, by=1e-3),
        jax.jit(lambda count: 1e-3 * (count + 1)),
        Method().rate,
        optax.polynomial_schedule(1e-3, 11e-3, 1, 10),
        lambda count: np.float64(3e-3),
        lambda count: jnp.float32(3e-3),
        Table(np.array([1.0, 2.0, 3e-3])),
        Join((lrx.constant_schedule(1.0), lrx.constant_schedule(3e-3)), (1,)),
    ):
        tx = lrx.sgd(schedule)
        assert tx == lrx.sgd(schedule)
        assert lrx.learning_rate(train(tx)[1]) == pytest.approx(3e-3)
