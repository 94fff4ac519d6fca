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
from flax.training.train_state import TrainState

import lrx
from lrx._transformation import transformation

from .common import GRADS, PARAMS, python, same, train, warmup_cosine
from .rules import Join, Ramp, Table, Typed

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


def test_nan_equals_nan():
    assert lrx.adam(float("nan")) == lrx.adam(-float("nan") * 0 + float("nan"))


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
    gc.collect()
    assert reference() is None


# ---------------------------------------------------------------- the caches of jit


def pool():
    """Optimizers that differ in a bit, a type or a structure."""
    small = np.float32(0.1)
    rates = [0.0, -0.0, 1, 1.0, small, 0.1, float(small), np.nextafter(small, np.float32(1)), float("nan")]
    rates += [float("inf"), jnp.bfloat16(0.5), 0.5, np.float64(1e-3), 1e-3, 1e-45, 2**24 + 1]
    optimizers = [lrx.adam(rate) for rate in rates]
    optimizers += [lrx.adam(1.0, nesterov=nesterov) for nesterov in (True, 1, False)]
    optimizers += [lrx.adam(lrx.constant_schedule(rate)) for rate in (0.0, -0.0, 1, small)]
    optimizers += [lrx.adam(warmup_cosine(peak_value=v, warmup_steps=w)) for v in (1, 1.0, 0.5) for w in (1, 2)]
    optimizers += [lrx.adam(lambda count, rate=rate: rate) for rate in (1.0, 1, -0.0)]
    optimizers += [lrx.adam(Table(np.array(v))) for v in ([1.0, 2, 3], [1.0, 2, 4], [0.0, -0.0, 1], [1, 2, 3])]
    return optimizers + [lrx.adam(Join((warmup_cosine(), lrx.constant_schedule(v)), (5,))) for v in (1.0, 2.0)]


def test_no_cache_of_jit_ever_gives_another_optimizers_numbers():
    """All alive at once and in random order: a jitted init, a static argument, a TrainState and a jitted update."""
    params, optimizers = {"w": np.ones(2, np.float32)}, pool()
    restart = jax.jit(lambda state: state.replace(opt_state=state.tx.init(state.params)))
    first = jax.jit(lambda tx, params: tx.init(params), static_argnums=0)
    rng = np.random.default_rng(0)
    for i in rng.permutation(len(optimizers)):
        tx, other = optimizers[i], optimizers[rng.integers(len(optimizers))]
        expected = tx.init(params)
        assert same(jax.jit(tx.init)(params), expected), tx
        assert same(first(tx, params), expected), tx
        assert same(restart(TrainState.create(apply_fn=None, params=params, tx=tx)).opt_state, expected), tx
        assert tx != other or (same(expected, other.init(params)) and hash(tx) == hash(other)), (tx, other)
        fresh = jax.jit(lambda g, s, p, tx=tx: tx.update(g, s, p))(params, expected, params)
        assert same(jax.jit(tx.update)(params, expected, params), fresh), tx


def test_equinox_940_equal_optimizers_share_one_trace(traces):
    for rate in (1e-3, 1e-2, 1, np.float32(0.1)):
        tx = lrx.adam(rate, b2=0.9375)
        jax.jit(tx.update)(GRADS, tx.init(PARAMS), PARAMS)
        del tx
        gc.collect()  # jax.jit forgets functions that died
    assert traces.count <= 1  # 0 if an earlier test has compiled it


def test_optax_353_equal_optimizers_trace_once(traces):
    step = jax.jit(lambda tx, state: tx.update(GRADS, state, PARAMS), static_argnums=0)
    for _ in range(3):
        for tx in (lrx.adam(float("nan")), lrx.adam(warmup_cosine()), lrx.adamw(1e-3, mask={"w": True, "b": False})):
            step(tx, tx.init(PARAMS))
    assert traces.count == 3


def test_update_of_other_numbers_is_the_same_program():
    tx = lrx.adam(warmup_cosine())
    step = jax.jit(tx.update)
    step(GRADS, tx.init(PARAMS), PARAMS)
    traced = step._cache_size()
    other = lrx.adam(warmup_cosine(peak_value=5e-3, warmup_steps=20, decay_steps=300), b1=0.5)
    step(GRADS, other.init(PARAMS), PARAMS)
    assert step._cache_size() == traced


def test_compiled_update_has_a_short_name():
    tx = lrx.adam(1e-3)
    assert "@jit_update" in jax.jit(tx.update).lower(GRADS, tx.init(PARAMS), PARAMS).as_text()[:60]


def test_functions_of_the_pair_can_be_weakly_referenced():
    for tx in (lrx.adam(1e-3), transformation(Typed())):
        assert weakref.ref(tx.init)() is tx.init
        assert weakref.ref(tx.update)() is tx.update


# ---------------------------------------------------------------- whose state it is


@pytest.mark.parametrize(
    ("tx", "state", "told"),
    [
        (lrx.sgd(1e-3), lrx.sgd(warmup_cosine()), r"\{schedule: \{.*peak_value.*\}\}, scale_by_learning_rate has"),
        (lrx.sgd(Ramp(1.0, 100)), lrx.sgd(warmup_cosine()), r"scale_by_learning_rate has \{schedule: \{peak_value, d"),
        (lrx.sgd(Ramp(1.0, 100)), lrx.sgd(lrx.constant_schedule(1.0)), r"\{schedule: \{value\}\}"),
        (lrx.adam(1e-3), lrx.sgd(1e-3), r"the chain has the links \['scale_by_adam', 'scale_by_learning_rate'\]"),
        (lrx.adam(1e-3), optax.adam(1e-3), "the state has tuple"),
    ],
)
def test_state_of_another_optimizer_is_told(tx, state, told):
    with pytest.raises(ValueError, match=f"this state belongs to another optimizer: .*{told}.*Use the optimizer that"):
        tx.update(GRADS, state.init(PARAMS), PARAMS)


# ---------------------------------------------------------------- copies


VALUES = [
    lrx.adam(1e-3),
    lrx.adam(np.float32(1e-3), mu_dtype=jnp.bfloat16),
    lrx.adam(jnp.float32(1e-3)),
    lrx.adamw(warmup_cosine(), mask={"w": True, "b": False}),
    lrx.chain(lrx.clip_by_global_norm(1.0), lrx.rmsprop(1e-3, momentum=0.9, centered=True)),
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


@pytest.mark.parametrize("tx", [tx for tx in VALUES[:5] if "Mask" not in repr(tx)], ids=repr)
def test_repr_evaluates_back(tx):
    assert eval(repr(tx), vars(lrx).copy()) == tx


def test_optax_schedules_have_a_readable_repr():
    assert repr(warmup_cosine()) == (
        "warmup_cosine_decay_schedule(init_value=0.0, peak_value=0.001, warmup_steps=10, decay_steps=100, "
        "end_value=0.0, exponent=1.0)"
    )


def test_pickle_in_another_process_is_equal_and_hashes_equal(tmp_path):
    """Strings hash differently there. A class written in a notebook is shipped by value and must register itself."""
    file = tmp_path / "optimizers.pkl"
    write = """
import sys, cloudpickle, lrx
from lrx._pytree import pytree_dataclass
@pytree_dataclass
class Mine:
    peak: float
    def __call__(self, count):
        return self.peak * 1.0
mine, known = lrx.adam(Mine(0.5)), lrx.adam(lrx.linear_schedule(1.0, 0.0, 10))
hash(mine), hash(known)
cloudpickle.dump((mine, known), open(sys.argv[1], "wb"))
"""
    read = """
import sys, pickle, jax.numpy as jnp, lrx
mine, known = pickle.load(open(sys.argv[1], "rb"))
same = lrx.adam(lrx.linear_schedule(1.0, 0.0, 10))
assert known == same and hash(known) == hash(same)
state = mine.init(jnp.ones(3))
mine.update(jnp.ones(3), state)
print(lrx.learning_rate(state), lrx.hyperparams(state)["scale_by_learning_rate.learning_rate.peak"])
"""
    python(write, file)
    assert python(read, file) == "0.5 0.5"


def test_optax_577_compilation_cache_on_disk_serves_every_rate(tmp_path):
    code = """
import sys, jax, jax.numpy as jnp
jax.config.update("jax_compilation_cache_dir", sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
import lrx
hits = []
tx = lrx.adam(lrx.linear_schedule(float(sys.argv[2]), 0.0, 10))
params = jnp.ones(7)
state = tx.init(params)
jax.monitoring.register_event_listener(lambda event, **kwargs: hits.append(event))
jax.jit(tx.update)(params, state, params)
print(sum("cache_hits" in event for event in hits))
"""
    assert [python(code, tmp_path, rate) for rate in (1e-3, 1e-2)] == ["0", "1"]


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
