"""The rule of numbers: what the state holds counts until the code says something else."""

import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import serialization
from flax.training.train_state import TrainState

import lrx
from tests.common import GRADS, PARAMS, avals, distance, same, train, warmup_cosine, words
from tests.operations import by_operations
from tests.optimizers.cases import CASES, VARIANTS

MASK = {"w": True, "b": False}


def with_other_numbers(case):
    smaller = {name: name != "learning_rate" and x < 1 for name, x in case.numbers().items()}
    return case.build(**{name: (0.9 if smaller[name] else 1.1) * x for name, x in case.numbers().items()})


@pytest.mark.parametrize("case", CASES + VARIANTS, ids=lambda case: case.name)
def test_new_code_counts_and_an_edit_of_the_old_lasts(case):
    """A restored state under new numbers, and an edited state under the old ones, step as a state of the new code."""
    old, new = case.build(), with_other_numbers(case)
    state, target = old.init(PARAMS), new.init(PARAMS)
    fresh = lrx.resume(new, PARAMS, state)
    edited = lrx.with_hyperparams(state, **lrx.hyperparams(fresh))

    def two_steps(tx):
        """One trace of an optimizer, in which the state is carried: the scan refuses one whose types change."""

        def step(state, _):
            updates, state = tx.update(GRADS, state, PARAMS, **case.extra)
            return state, updates

        return by_operations(lambda state: jax.lax.scan(step, state, None, length=2)[::-1])

    by_new, by_old = two_steps(new), two_steps(old)
    by_code, expected, by_edit, unchanged = by_new(state), by_new(fresh), by_old(edited), by_old(state)
    for (updates, after), start in ((by_code, target), (by_edit, state)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-12), updates, expected[0])
        assert same(lrx.hyperparams(after), lrx.hyperparams(expected[1]))
        assert avals(after) == avals(start)
    assert not same(lrx.hyperparams(unchanged[1]), lrx.hyperparams(expected[1]))
    # restored into a target of the new code, and by itself
    state, target = words(state), words(target)
    for restored in (
        serialization.from_bytes(target, serialization.to_bytes(state)),
        pickle.loads(pickle.dumps(state)),
    ):
        assert same(jax.tree.map(jnp.asarray, restored), state)


SCHEDULES = {
    "constant": (lambda o: o.adam(0.1), lambda o: o.adam(0.5)),
    "beta": (lambda o: o.adamw(0.1, b1=0.9, weight_decay=0.1), lambda o: o.adamw(0.1, b1=0.5, weight_decay=0.2)),
    "horizon": (
        lambda o: o.sgd(o.cosine_decay_schedule(1.0, 10), momentum=0.9),
        lambda o: o.sgd(o.cosine_decay_schedule(1.0, 1000), momentum=0.5),
    ),
    "kind of schedule": (
        lambda o: o.adam(o.cosine_decay_schedule(1.0, 10)),
        lambda o: o.adam(o.warmup_exponential_decay_schedule(0.0, 1.0, 3, 20, 0.5)),
    ),
    "table": (
        lambda o: o.sgd(o.piecewise_constant_schedule(1.0, {2: 0.5})),
        lambda o: o.sgd(o.piecewise_constant_schedule(1.0, {1: 0.5, 3: 0.1})),
    ),
}


@jax.jit
def step(state):
    return state.apply_gradients(grads=GRADS)


def by_replaced_tx(old, new, tmp_path):
    state = step(TrainState.create(apply_fn=None, params=PARAMS, tx=old))
    return step(state.replace(tx=new))


def by_msgpack(old, new, tmp_path):
    state = step(TrainState.create(apply_fn=None, params=PARAMS, tx=old))
    target = TrainState.create(apply_fn=None, params=PARAMS, tx=new)
    return step(serialization.from_bytes(target, serialization.to_bytes(state)))


def by_orbax(old, new, tmp_path):
    state = step(TrainState.create(apply_fn=None, params=PARAMS, tx=old))
    target = TrainState.create(apply_fn=None, params=PARAMS, tx=new)
    with ocp.StandardCheckpointer() as files:
        files.save(tmp_path / "state", state)
        files.wait_until_finished()
        return step(files.restore(tmp_path / "state", target))


@functools.cache
def old_and_new(name, library):
    return tuple(make(library) for make in SCHEDULES[name])


@functools.cache
def restarted_by_optax(name):
    """The numbers of optax are in the code alone: it goes on alike by whatever way the state came."""
    return by_replaced_tx(*old_and_new(name, optax), None)


SAME_STRUCTURE = ("constant", "beta", "horizon")
"""Where the target has the structure of the file: else Flax and Orbax refuse it, and `lrx.resume` is the way."""


@pytest.mark.parametrize(
    ("name", "restart"),
    [(name, by_replaced_tx) for name in SCHEDULES]
    + [(name, way) for name in SAME_STRUCTURE for way in (by_msgpack, by_orbax)],
)
def test_hf_27749_and_23099_a_changed_config_wins_over_the_checkpoint(name, restart, tmp_path):
    ours = restart(*old_and_new(name, lrx), tmp_path)
    assert distance(ours.params, restarted_by_optax(name).params) < 2e-5
    assert lrx.count(ours.opt_state) == 2


# ---------------------------------------------------------------- an edit lasts


def test_an_edit_lasts_until_the_code_changes():
    tx = lrx.adam(warmup_cosine(init_value=1e-4))
    _, state = train(tx, by=by_operations)
    state = lrx.with_hyperparams(state, learning_rate={"init_value": 0.5, "peak_value": 0.5}, b1=0.25)
    update, batch = jax.jit(tx.update, donate_argnums=1), by_operations(jax.vmap(tx.update, (0, None, None)))
    for state_after in (
        update(GRADS, jax.tree.map(jnp.copy, state), PARAMS)[1],
        pickle.loads(pickle.dumps(lrx.adam(warmup_cosine(init_value=1e-4)).update(GRADS, state, PARAMS)[1])),
        jax.tree.map(lambda x: x[0], batch(stacked(GRADS), state, PARAMS)[1]),
    ):
        assert lrx.learning_rate(state_after) == 0.5
        assert lrx.hyperparams(state_after)["scale_by_adam.b1"] == 0.25
    # one rule of the new code says something else: its edits are void, those of the other rule are not
    _, state = lrx.adam(warmup_cosine(init_value=2e-4)).update(GRADS, state, PARAMS)
    assert lrx.learning_rate(state) == warmup_cosine(init_value=2e-4)(3)
    assert lrx.hyperparams(state)["scale_by_adam.b1"] == 0.25
    _, state = lrx.adam(warmup_cosine(init_value=2e-4), b2=0.5).update(GRADS, state, PARAMS)
    assert lrx.hyperparams(state)["scale_by_adam.b1"] == np.float32(0.9)


def stacked(tree):
    return jax.tree.map(lambda x: jnp.stack([x, x]), tree)


WRAPPERS = {
    "accumulate": lambda o, tx: lrx.accumulate(tx, 1) if o is lrx else optax.MultiSteps(tx, 1),
    "partition": lambda o, tx: o.partition({"a": tx, "b": o.sgd(0.1)}, {"w": "a", "b": "b"}),
    "masked": lambda o, tx: o.masked(tx, MASK),
    "chain": lambda o, tx: o.chain(o.clip_by_global_norm(1.0), tx),
    "optax_chain": lambda o, tx: optax.chain(optax.clip(1.0), optax.masked(tx, MASK)),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS.keys())
def test_edits_and_new_code_through_wrappers(wrap):
    def update_of(o, rate):
        tx = wrap(o, o.adam(rate))
        return by_operations(lambda s: tx.update(GRADS, s, PARAMS))

    state = wrap(lrx, lrx.adam(0.1)).init(PARAMS)
    path = next(p for p in lrx.learning_rates(state) if "b." not in p)
    edited = lrx.with_hyperparams(state, **{path: 0.3})
    expected, _ = update_of(optax, 0.3)(wrap(optax, optax.adam(0.3)).init(PARAMS))
    for updates, _ in (update_of(lrx, 0.1)(edited), update_of(lrx, 0.3)(state), update_of(lrx, 0.3)(edited)):
        assert distance(updates, expected) < 1e-5
    _, after = update_of(lrx, 0.1)(update_of(lrx, 0.1)(edited)[1])
    assert lrx.learning_rates(after)[path] == np.float32(0.3)


# ---------------------------------------------------------------- a traced number is what the code says now


def loss(updates):
    return sum(jnp.sum(u) for u in jax.tree.leaves(updates))


def test_optimizers_built_under_vmap_step_any_state():
    rates = jnp.array([0.1, 0.2, 0.3])
    one = lrx.sgd(0.5).init(PARAMS)
    many = jax.vmap(lambda r: lrx.with_hyperparams(lrx.sgd(0.5).init(PARAMS), learning_rate=r))(rates)
    for state, axis in ((one, None), (many, 0)):
        updates, after = jax.vmap(lambda r, s: lrx.sgd(r).update(GRADS, s), (0, axis))(rates, state)
        np.testing.assert_allclose(updates["b"][:, 0], -0.3 * rates, rtol=1e-6)
        np.testing.assert_array_equal(lrx.learning_rate(after), rates)
    updates, after = jax.vmap(lrx.sgd(0.5).update, (None, 0))(GRADS, many)
    np.testing.assert_allclose(updates["b"][:, 0], -0.3 * rates, rtol=1e-6)
    assert avals(after) == avals(many)


def test_gradients_of_numbers_wherever_init_ran():
    outside = lrx.adam(0.1).init(PARAMS)

    def by_code(rate, b1, inside):
        tx = lrx.adam(rate, b1=b1)
        state = tx.init(PARAMS) if inside else outside
        for grads in (GRADS, jax.tree.map(lambda g: 2 * g, GRADS)):
            updates, state = tx.update(grads, state, PARAMS)
        return loss(updates)

    def by_state(rate, b1):
        state = lrx.with_hyperparams(outside, learning_rate=rate, b1=b1)
        for grads in (GRADS, jax.tree.map(lambda g: 2 * g, GRADS)):
            updates, state = lrx.adam(0.1).update(grads, state, PARAMS)
        return loss(updates)

    # at the very numbers that the state was made with, where a stamp might hide them
    results = [jax.jit(jax.grad(lambda r, b, i=i: by_code(r, b, i), (0, 1)))(0.1, 0.9) for i in (True, False)]
    results.append(jax.jit(jax.grad(by_state, (0, 1)))(0.1, 0.9))
    h = 1e-2
    for by_rate, by_b1 in results:
        np.testing.assert_allclose(by_rate, (by_state(0.1 + h, 0.9) - by_state(0.1 - h, 0.9)) / (2 * h), rtol=1e-3)
        np.testing.assert_allclose(by_b1, (by_state(0.1, 0.9 + h) - by_state(0.1, 0.9 - h)) / (2 * h), rtol=1e-2)


def test_optimizer_rebuilt_from_a_traced_rate_for_an_old_state():
    state = lrx.adam(0.1).init(PARAMS)
    updates, after = jax.jit(lambda rate: lrx.adam(rate).update(GRADS, state, PARAMS))(0.25)
    np.testing.assert_allclose(updates["b"], -0.25, rtol=1e-5)
    assert lrx.learning_rate(after) == 0.25


# ---------------------------------------------------------------- nothing is traced again


def test_optax_577_a_thousand_edits_and_equal_optimizers_trace_nothing(traces):
    tx = lrx.adam(warmup_cosine(), b2=0.96875)
    step = jax.jit(lambda tx, state: tx.update(GRADS, state, PARAMS), static_argnums=0)
    _, state = step(tx, tx.init(PARAMS))
    names = [name for name, x in lrx.hyperparams(state).items() if x.dtype == np.float32]
    rng = np.random.default_rng(0)
    for _ in range(1000):
        state = lrx.with_hyperparams(state, **{rng.choice(names): rng.uniform(0.0, 0.5)})
        _, state = step(lrx.adam(warmup_cosine(), b2=0.96875), state)
    assert traces.count == 1
