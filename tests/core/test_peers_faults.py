"""Faults that users of other libraries met with optimizers and their states. A test is named after the thread.

Where optax 0.2.8 still shows the fault, the test shows that first. Others of these tests lie beside what they test.
"""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import serialization

import lrx
from tests.common import GRADS, PARAMS, avals, distance, finite, one_step, same, scan, train, warmup_cosine, words
from tests.operations import by_operations
from tests.optimizers.cases import CASES, VARIANTS

every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_variant = pytest.mark.parametrize("case", CASES + VARIANTS, ids=lambda case: case.name)
BF16 = jax.tree.map(lambda p: jnp.asarray(p, jnp.bfloat16), PARAMS)
FALLING = lrx.linear_schedule(1.0, 0.0, 10)


def program(tx, **extra):
    """What would be compiled for an update."""
    return str(jax.make_jaxpr(lambda *x: tx.update(*x, **extra))(GRADS, tx.init(PARAMS), PARAMS))


def first_update(tx, state, **extra):
    return by_operations(lambda state: tx.update(GRADS, state, PARAMS, **extra))(state)


def with_counts(state, count):
    """A state after so many updates, as far as its counts can tell."""
    is_count = lambda path: getattr(path[-1], "name", "") in ("count", "num_updates")  # noqa: E731
    return jax.tree_util.tree_map_with_path(lambda path, x: jnp.full_like(x, count) if is_count(path) else x, state)


# ---------------------------------------------------------------- numbers are data


def test_optax_197_each_number_is_a_constant_of_the_program():
    assert program(optax.adam(1e-3)) != program(optax.adam(2e-3))


def test_optax_197_no_edit_of_any_number_compiles_anew():
    """The program depends on the types of the state alone, and the code is the same."""
    for case in (*CASES, *VARIANTS):
        state = case.build().init(PARAMS)
        numbers = {k: x for k, x in lrx.hyperparams(state).items() if x.dtype == np.float32 and np.isfinite(x).all()}
        edits = {k: np.where(x <= 1, np.float32(0.95), np.float32(1.05)) * x for k, x in numbers.items()}
        assert avals(lrx.with_hyperparams(state, **edits)) == avals(state)


@pytest.mark.parametrize("name", ["adam", "adamw", "nadam", "amsgrad", "lamb"])
def test_optax_1414_a_decay_is_not_rounded_to_one_with_bf16_parameters(name):
    theirs, ours = optax.inject_hyperparams(getattr(optax, name))(1e-3), getattr(lrx, name)(1e-3)
    assert not finite(by_operations(theirs.update)(BF16, theirs.init(BF16), BF16)[0])
    assert finite(by_operations(ours.update)(BF16, ours.init(BF16), BF16)[0])


def test_optax_1532_an_edited_optimizer_is_the_one_built_with_these_numbers():
    """optax's inject_hyperparams computes 1 − b in another precision than the optimizer that it wraps."""
    grads = jax.tree.map(lambda p: np.random.default_rng(0).normal(size=(30, *p.shape)).astype(np.float32), PARAMS)
    plain, injected = optax.adam(1e-2), optax.inject_hyperparams(optax.adam)(1e-2)
    assert distance(scan(plain, PARAMS, grads), scan(injected, PARAMS, grads)) > 0
    numbers = {"learning_rate": 1e-2, "b1": 0.8, "b2": 0.99, "eps": 1e-6}
    edited = lrx.with_hyperparams(lrx.adam(1.0).init(PARAMS), **numbers)
    assert same(scan(lrx.adam(1.0), PARAMS, grads, edited), scan(lrx.adam(**numbers), PARAMS, grads))


def test_optax_412_every_number_of_adafactor_is_edited_or_scheduled_under_jit():
    theirs = optax.inject_hyperparams(optax.adafactor)(learning_rate=1e-2, min_dim_size_to_factor=2)
    with pytest.raises(jax.errors.TracerBoolConversionError):
        jax.jit(theirs.update)(GRADS, theirs.init(PARAMS), PARAMS)
    names = "learning_rate", "decay_rate", "clipping_threshold", "momentum", "weight_decay_rate", "eps"
    before, after = (dict(zip(names, x, strict=True)) for x in ((0.1, 0.8, 1, 0.9, 0.1, 0), (0.2, 0.7, 2, 0.5, 0.2, 1)))
    build = lambda numbers: lrx.adafactor(**numbers, min_dim_size_to_factor=2)  # noqa: E731
    step = jax.jit(lambda *x: build(before).update(*x))
    told = {"clipping_threshold": "threshold", "weight_decay_rate": "weight_decay", "eps": "epsilon"}
    told |= {"momentum": "moving_average.decay"}  # where adafactor has put them
    state = build(before).init(PARAMS)
    edited = lrx.with_hyperparams(state, **{told.get(name, name): x for name, x in after.items()})
    for start, numbers in ((state, before), (edited, after)):
        expected = build({name: lrx.constant_schedule(x) for name, x in numbers.items()})
        expected = jax.jit(expected.update)(GRADS, expected.init(PARAMS), PARAMS)[0]
        assert distance(step(GRADS, start, PARAMS)[0], expected) < 1e-7
    assert step._cache_size() == 1


@every
def test_optax_20_a_schedule_for_every_number(case):
    plain, scheduled = case.build(), case.build(**case.scheduled())
    updates, state = first_update(scheduled, scheduled.init(PARAMS), **case.extra)
    assert same(updates, first_update(plain, plain.init(PARAMS), **case.extra)[0])
    assert lrx.count(state) == 1


def test_keras_16696_groups_with_schedules_of_their_own_for_decay_and_momentum():
    groups = {
        "decay": lrx.chain(lrx.add_decayed_weights(0.5 * FALLING), lrx.sgd(FALLING)),
        "momentum": lrx.sgd(0.1, momentum=0.9 * FALLING),
    }
    tx = lrx.partition(groups, {"w": "decay", "b": "momentum"})
    grads = {"w": np.zeros_like(GRADS["w"]), "b": GRADS["b"]}
    state, moment = tx.init(PARAMS), 0
    for count in range(4):
        updates, state = tx.update(grads, state, PARAMS)
        falling = 1 - count / 10
        np.testing.assert_allclose(updates["w"], -falling * 0.5 * falling * PARAMS["w"], rtol=1e-6)
        moment = 0.9 * falling * moment + GRADS["b"]
        np.testing.assert_allclose(updates["b"], -0.1 * moment, rtol=1e-6)


def test_tf_45261_an_integer_rate_does_not_make_later_rates_integers():
    tx = lrx.sgd(1)
    state = lrx.with_hyperparams(tx.init(PARAMS), learning_rate=0.5)
    assert tx.update(GRADS, state)[0]["b"][0] == np.float32(-0.15)


# ---------------------------------------------------------------- which rate, when


def test_timm_2125_each_update_is_made_at_its_own_rate():
    """timm's scheduler is stepped after the batch: the first one trained at another rate."""
    schedule = lrx.piecewise_value_schedule([1, 2, 3], [0.5, 0.25, 2.0, 1.0])
    tx = lrx.sgd(schedule)
    state = tx.init(PARAMS)
    for count in range(4):
        updates, state = tx.update(GRADS, state)
        np.testing.assert_array_equal(updates["b"], -schedule(count) * GRADS["b"])


def test_keras_16087_the_rate_is_among_the_metrics_of_a_jitted_step(traces):
    """Also maxtext#3444."""
    tx = lrx.chain(lrx.clip_by_global_norm(1.0), lrx.adamw(FALLING))

    @jax.jit
    def step(params, state):
        params, state = one_step(tx, params, state, GRADS)
        return params, state, {"learning_rate": lrx.learning_rate(state), "step": lrx.count(state)}

    params, state, logs = jax.tree.map(jnp.asarray, PARAMS), tx.init(PARAMS), []
    for _ in range(4):
        params, state, metrics = step(params, state)
        logs.append((int(metrics["step"]), float(metrics["learning_rate"])))
    assert logs == [(count + 1, float(FALLING(count))) for count in range(4)]
    assert traces.count == 1


def test_maxtext_3452_steps_under_accumulation_are_updates():
    """A schedule of 10 updates ends with the 10th update, after 30 micro-batches."""
    tx = lrx.accumulate(lrx.adam(FALLING), 3)
    step, state = jax.jit(tx.update), tx.init(PARAMS)
    for micro_step in range(12):
        assert lrx.count(state) == micro_step // 3
        _, state = step(GRADS, state, PARAMS)
    assert lrx.learning_rate(state) == FALLING(3)


def test_torch_130467_a_schedule_neither_recompiles_nor_moves_its_own_numbers(traces):
    """In torch a tensor rate was filled in place, and the scheduler's initial rate was the same tensor."""
    peak = jnp.float32(1.0)
    tx = lrx.adam(lrx.linear_schedule(peak, 0.0, 10))
    before = lrx.hyperparams(tx.init(PARAMS))
    _, state = train(tx, steps=5)
    assert traces.count == 1
    assert lrx.learning_rate(state) == FALLING(4)
    assert same(lrx.hyperparams(state), before)
    assert peak == 1


def test_torch_79888_a_group_added_later_follows_the_same_schedule():
    """Also torch#67761: a schedule belongs to no optimizer. It may drive any number, from any step on."""
    early = lrx.partition({"body": lrx.freeze(True), "head": lrx.sgd(FALLING)}, {"w": "body", "b": "head"})
    params, state = train(early, steps=4)
    late = lrx.partition({"body": lrx.adam(FALLING), "head": lrx.sgd(FALLING)}, {"w": "body", "b": "head"})
    fresh = late.init(params)
    inner_states = {**fresh.memory.inner_states, "head": state.memory.inner_states["head"]}
    state = late.update(GRADS, fresh._replace(memory=fresh.memory._replace(inner_states=inner_states)), params)[1]
    rates = {name.split(".")[0]: x for name, x in lrx.learning_rates(state).items()}
    assert rates == {"body": FALLING(0), "head": FALLING(4)}


def test_hf_23099_a_restored_run_keeps_its_schedule_until_the_code_says_another():
    """The position is kept, and an edit lasts as long as the code stays."""
    _, saved = train(lrx.adam(FALLING), steps=4)
    longer = lrx.linear_schedule(2.0, 0.0, 40)
    restored = serialization.from_bytes(lrx.adam(longer).init(PARAMS), serialization.to_bytes(saved))
    resumed = lrx.resume(lrx.adam(longer), PARAMS, restored)
    edited = lrx.with_hyperparams(restored, learning_rate=longer)
    for state in (restored, resumed, edited):
        assert lrx.learning_rate(lrx.adam(longer).update(GRADS, state)[1]) == longer(4)
    for state, expected in ((restored, FALLING), (resumed, FALLING), (edited, longer)):
        assert lrx.learning_rate(lrx.adam(FALLING).update(GRADS, state)[1]) == expected(4)


# ---------------------------------------------------------------- states are plain data


@every
def test_flax_5030_states_have_string_keys_and_only_arrays(case):
    """Also torch#110776, whose state held the optimizer itself, and equinox#640, #792: no Python number, no weak type.

    A weakly typed or Python number in a state comes back from the first update as another type, and the second one
    compiles anew.
    """
    params = jax.tree.map(lambda p: jnp.broadcast_to(jnp.asarray(0.5), p.shape), PARAMS)  # weakly typed
    state = case.build(warmup_cosine()).init(params)
    assert all(isinstance(x, jax.Array) and not x.weak_type for x in jax.tree.leaves(state))
    raw = serialization.to_state_dict(state)
    assert all(isinstance(k.key, str) for path, _ in jax.tree_util.tree_leaves_with_path(raw) for k in path)
    assert same(serialization.from_state_dict(state, raw), state)
    assert same(pickle.loads(pickle.dumps(state)), state)


def test_equinox_640_weak_types_of_optax():
    assert optax.adam(1e-3).init(jnp.asarray(0.5))[0].mu.weak_type


@every_variant
def test_tf_2859_no_count_of_any_optimizer_overflows(case):
    last = 2**31 - 1
    tx = case.build(warmup_cosine())
    updates, state = first_update(tx, with_counts(tx.init(PARAMS), last), **case.extra)
    assert lrx.count(state) == last
    assert finite(updates)
    assert not any(np.isnan(x).any() for x in jax.tree.leaves(words(state)))  # some bounds are infinite


def test_optax_1051_a_rate_that_is_a_numpy_number_promotes_in_optax(x64):
    """It was prodigy that promoted, which 0.2.8 no longer does."""
    params, theirs = jax.tree.map(jnp.asarray, PARAMS), optax.adam(np.float64(1e-3))
    assert theirs.update(params, theirs.init(params))[0]["b"].dtype == "float64"


@every_variant
def test_optax_1051_nothing_is_promoted_to_float64(case, x64):
    params = jax.tree.map(jnp.asarray, PARAMS)
    for rate in (np.float64(1e-3), lambda count: jnp.float64(1e-3) * count):
        tx = case.build(rate, **{k: np.float64(v) for k, v in case.numbers().items() if k != "learning_rate"})
        state = tx.init(params)
        updates, after = jax.eval_shape(lambda *x, tx=tx: tx.update(*x, **case.extra), params, state, params)
        assert {x.dtype.name for x in jax.tree.leaves((updates, state, after))} <= {"float32", "int32", *case.dtypes}


# ---------------------------------------------------------------- what reading optax's source shows


def test_peers_3_1_optimizers_are_values():
    theirs = optax.adam(1e-3)
    assert "<function" in repr(theirs)
    assert theirs != optax.adam(1e-3)
    with pytest.raises(AttributeError, match="local object"):
        pickle.dumps(theirs)
    ours = lrx.adam(FALLING)
    assert "learning_rate=linear_schedule(init_value=1.0, end_value=0.0, transition_steps=10" in repr(ours)
    assert eval(repr(ours), vars(lrx)) == ours == pickle.loads(pickle.dumps(ours))


def test_peers_3_1_a_schedule_or_a_clip_moves_nothing_else_in_the_state():
    count = lambda tx: len(jax.tree.leaves(tx.init(PARAMS)))  # noqa: E731
    assert count(optax.adamw(FALLING)) == count(optax.adamw(1e-3)) + 1
    clip = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)).init(PARAMS)
    assert jax.tree.structure(clip[0]) != jax.tree.structure(optax.adamw(1e-3).init(PARAMS)[0])
    constant, scheduled = (lrx.adamw(rate).init(PARAMS) for rate in (1e-3, FALLING))
    clipped = lrx.chain(lrx.clip_by_global_norm(1.0), lrx.adamw(FALLING)).init(PARAMS)
    assert same({k: x for k, x in clipped.items() if k != "clip_by_global_norm"}, scheduled)
    rate = "scale_by_learning_rate"
    assert same({**constant, rate: ()}, {**scheduled, rate: ()})
    assert constant[rate].memory.num_updates == scheduled[rate].memory.count == 0


def test_peers_3_3_one_count_and_every_rate_are_found():
    inject = optax.inject_hyperparams
    theirs = optax.MultiSteps(inject(optax.adamw)(FALLING, weight_decay=FALLING), 2).init(PARAMS)
    assert sum(x.dtype == jnp.int32 for x in jax.tree.leaves(theirs)) == 6  # and which one is the step?
    with pytest.raises(KeyError, match="multiple values"):
        optax.tree.get(optax.adamw(FALLING).init(PARAMS), "count")
    groups = optax.partition({"w": inject(optax.adam)(1.0), "b": inject(optax.sgd)(2.0)}, {"w": "w", "b": "b"})
    with pytest.raises(KeyError, match="multiple values"):
        optax.tree.get(groups.init(PARAMS), "learning_rate")
    _, state = train(lrx.accumulate(lrx.adamw(FALLING, weight_decay=FALLING), 2), steps=6)
    assert lrx.count(state) == 3
    state = lrx.partition({"w": lrx.adam(1.0), "b": lrx.sgd(2.0)}, {"w": "w", "b": "b"}).init(PARAMS)
    assert list(lrx.learning_rates(state).values()) == [2.0, 1.0]


def test_peers_3_4_a_schedule_is_not_rounded_to_the_dtype_of_the_gradients():
    def at(tx, count, grads):
        updates, state = tx.update(grads, with_counts(tx.init(grads), count))
        return updates.astype(jnp.float32), state

    warmup = lrx.linear_schedule(0.0, 1e-3, 10_000)
    grads = jnp.full((), 1 + 2.0**-7, jnp.bfloat16)
    theirs, ours = optax.scale_by_learning_rate(warmup), lrx.scale_by_learning_rate(warmup)
    assert len({float(at(theirs, count, grads)[0]) for count in range(9000, 9021)}) == 1
    assert len({float(lrx.learning_rate(at(ours, count, grads)[1])) for count in range(9000, 9021)}) == 21
    # optax rounds the rate, then the product; lrx the exact product alone
    for count in range(8900, 9100, 7):
        exact = -float(warmup(count)) * float(grads)
        assert at(ours, count, grads)[0] == jnp.asarray(exact, jnp.bfloat16)
    tiny = lrx.constant_schedule(2e-8), jnp.full((), 6e4, jnp.float16)
    assert at(optax.scale_by_learning_rate(tiny[0]), 0, tiny[1])[0] == 0
    assert at(lrx.scale_by_learning_rate(tiny[0]), 0, tiny[1])[0] == pytest.approx(-1.2e-3, rel=1e-3)


def test_peers_3_4_an_array_as_the_rate_promotes_no_update():
    rate, grads = jnp.float32(1e-3), jnp.ones(1, jnp.bfloat16)
    theirs, ours = optax.sgd(rate), lrx.sgd(rate)
    assert theirs.update(grads, theirs.init(grads))[0].dtype == jnp.float32
    assert ours.update(grads, ours.init(grads))[0].dtype == jnp.bfloat16


def test_peers_3_4_second_moment_of_bf16_parameters_is_forgotten_at_its_rate():
    zero = jnp.zeros((), jnp.bfloat16)

    def after_a_thousand(tx, state):
        return jax.lax.scan(lambda s, _: (tx.update(zero, s)[1], None), state, length=1000)[0].nu

    theirs = optax.scale_by_adam()
    assert after_a_thousand(theirs, theirs.init(zero)._replace(nu=jnp.ones_like(zero))) == 1
    ours = lrx.scale_by_adam()
    state = ours.init(zero)
    state = state._replace(memory=state.memory._replace(nu=jnp.ones_like(state.memory.nu)))
    state = jax.lax.scan(lambda s, _: (ours.update(zero, s)[1], None), state, length=1000)[0]
    assert state.memory.nu == pytest.approx(0.999**1000, rel=1e-3)


@every
def test_peers_3_4_squares_of_bf16_gradients_are_kept_in_float32(case):
    """Whatever is not called a mean, which decays fast enough for bfloat16, or a copy."""
    leaves = jax.tree_util.tree_leaves_with_path(case.build().init(BF16))
    narrow = {
        (getattr(path[0], "key", ""), [k.name for k in path if hasattr(k, "name")][-1])
        for path, x in leaves
        if x.dtype == jnp.bfloat16
    }
    means, copies = (
        {"mu", "exp_avg", "m1", "grad", "trace", "ema", "mean", "d"},
        {"direction", "start", "best", "moved", "gradient", "x0"},
    )
    of_one_rule = {("scale_by_adan", name) for name in "mvg"} | {("scale_by_sm3", "nu")}
    assert {name for link, name in narrow if (link, name) not in of_one_rule} <= means | copies
