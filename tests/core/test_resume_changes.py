"""`resume` where the optimizer has changed: what goes on, what starts fresh, what is dropped, and what is refused."""

import functools
import itertools
import logging

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrx
from tests.common import as_restored, avals, one_step, same, train
from tests.operations import by_operations

PARAMS = {"body": {"w": np.ones((2, 3), np.float32)}, "head": {"w": np.full(3, 0.5, np.float32)}}
GRADS = jax.tree.map(lambda p: np.asarray(0.1 + 0.2 * p, np.float32), PARAMS)
LABELS = {"body": "body", "head": "head"}
RATE = lrx.linear_schedule(0.1, 0.0, 100)
ADAM = lrx.adam(RATE)
EMA = lrx.params_ema(0.9)
GROUPS = lrx.partition({"body": ADAM, "head": ADAM}, LABELS)
FRESH = {"missing": "fresh", "extra": "drop"}


trained = functools.cache(functools.partial(train, params=PARAMS, grads=GRADS, by=by_operations))
"""Parameters and state after some updates, the same for all that ask."""


def memory(state, name="scale_by_adam"):
    """The moments of Adam by path, wherever they are."""
    found = [f.state.memory for f in lrx._state_paths.rules(state) if f.name[-1:] == (name,)]
    return [jax.tree_util.tree_leaves_with_path((m.mu, m.nu)) for m in found]


def moments(state):
    """All moments of Adam in a state, by parameter."""
    return {jax.tree_util.keystr(path): x for part in memory(state) for path, x in part}


def next_params(tx, params, state):
    return one_step(tx, params, state, GRADS)[0]


# ---------------------------------------------------------------- the same memory in another place

PLACES = {
    "plain": ADAM,
    "clipped": lrx.chain(lrx.clip_by_global_norm(10.0), ADAM),
    "named": lrx.named_chain(("first", lrx.clip(10.0)), ("second", ADAM)),
    "partition": GROUPS,
    "masks": lrx.chain(
        lrx.masked(ADAM, {"body": True, "head": False}), lrx.masked(ADAM, {"body": False, "head": True})
    ),
    "optax_chain": optax.chain(optax.clip(10.0), optax.chain(ADAM)),
    "optax_partition": optax.partition({"body": ADAM, "head": ADAM}, LABELS),
    "all_in_one_group": lrx.partition({"all": ADAM, "none": lrx.freeze(True)}, {"body": "all", "head": "all"}),
}


@pytest.mark.parametrize(("old", "new"), list(itertools.permutations(PLACES, 2)))
def test_memory_goes_wherever_the_same_rule_is(old, new):
    params, state = trained(PLACES[old])
    for held in (state, as_restored(state)):
        resumed = lrx.resume(PLACES[new], params, held, report=pytest.fail)
        assert moments(resumed).keys() == moments(state).keys()
        assert same(moments(resumed), moments(state))
        assert lrx.count(resumed) == 3
        assert set(map(float, lrx.learning_rates(resumed).values())) == {float(RATE(2))}
        assert avals(resumed) == avals(PLACES[new].init(params))


@pytest.mark.parametrize("constant", [lrx.adam(0.1), optax.adam(0.1)], ids=["lrx", "optax"])
def test_a_constant_rate_becomes_schedules_of_groups(constant):
    params, state = trained(constant)
    _, state = one_step(GROUPS, params, lrx.resume(GROUPS, params, state, report=pytest.fail), GRADS)
    assert [float(x) for x in lrx.learning_rates(state).values()] == [float(RATE(3))] * 2


# ---------------------------------------------------------------- what is new, and what is gone


@pytest.mark.parametrize(
    ("old", "new", "starts", "goes"),
    [
        (ADAM, lrx.chain(ADAM, EMA), ["params_ema.count", "params_ema.averaged.body.w"], []),
        (lrx.chain(ADAM, EMA), ADAM, [], ["params_ema.count", "params_ema.averaged.head.w"]),
        (ADAM, lrx.apply_if_finite(ADAM, 3), ["notfinite_count", "last_finite", "total_notfinite"], []),
        (lrx.apply_if_finite(ADAM, 3), ADAM, [], ["notfinite_count", "total_notfinite"]),
        (ADAM, lrx.accumulate(ADAM, 4), ["mini_step", "gradients.body.w", "skipped"], []),
        (ADAM, lrx.chain(lrx.clip(1.0), lrx.accumulate(ADAM, 4)), ["accumulate.mini_step"], []),
        (lrx.accumulate(ADAM, 1), ADAM, [], ["mini_step", "gradients.head.w"]),
        (optax.MultiSteps(optax.adam(RATE), 1).gradient_transformation(), ADAM, [], ["mini_step", "acc_grads.head.w"]),
        (ADAM, lrx.chain(ADAM, lrx.trace(0.9)), ["momentum.trace.head.w"], []),
        (lrx.chain(lrx.trace(0.9), ADAM), ADAM, [], ["momentum.trace.body.w"]),
    ],
)
def test_late_parts_start_fresh_and_old_ones_are_dropped(old, new, starts, goes):
    params, state = trained(old)
    with pytest.raises(ValueError, match="do not fit") as error:
        lrx.resume(new, params, state)
    lines: list[str] = []
    resumed = lrx.resume(new, params, state, missing="fresh", extra="drop", report=lines.append)
    assert moments(resumed).keys() == moments(ADAM.init(params)).keys()
    assert lrx.count(resumed) == 3
    for path in starts:
        assert f"{path} is not in the checkpoint" in str(error.value)
        assert f"{path} is not in the checkpoint: starts fresh" in lines
    for path in goes:
        assert any(f"{path} is in the checkpoint, but tx has no place for it: dropped" in line for line in lines)
    assert bool(starts) == any("fresh" in line for line in lines)
    assert bool(goes) == any("dropped" in line for line in lines)


def test_each_half_is_asked_for_by_itself():
    params, state = trained(lrx.sgd(0.1, momentum=0.9))
    with pytest.raises(ValueError, match=r"momentum\.trace\.body\.w is in the checkpoint") as error:
        lrx.resume(ADAM, params, state, missing="fresh")
    assert "is not in the checkpoint" not in str(error.value)
    with pytest.raises(ValueError, match=r"scale_by_adam\.mu\.body\.w is not in the checkpoint") as error:
        lrx.resume(ADAM, params, state, extra="drop")
    assert "is in the checkpoint" not in str(error.value)
    for wrong in ({"missing": "drop"}, {"extra": "fresh"}):
        with pytest.raises(ValueError, match=r"resume\((missing|extra)=...\) must be one of"):
            lrx.resume(ADAM, params, state, **wrong)


def test_a_new_head_starts_fresh_and_the_rest_goes_on():
    """As when a model is fine-tuned to other classes."""
    _, state = trained(ADAM)
    wider = {"body": PARAMS["body"], "head": {"w": np.zeros(5, np.float32), "b": np.zeros((), np.float32)}}
    text = "scale_by_adam.mu.head.w has shape (3,) in the checkpoint, (5,) in tx"
    for half in ({}, {"missing": "fresh"}, {"extra": "drop"}):
        with pytest.raises(ValueError, match="do not fit") as error:
            lrx.resume(ADAM, wider, state, **half)
        assert text in str(error.value)
    lines: list[str] = []
    resumed = lrx.resume(ADAM, wider, state, missing="fresh", extra="drop", report=lines.append)
    assert f"{text}: starts fresh" in lines
    assert "scale_by_adam.nu.head.b is not in the checkpoint: starts fresh" in lines
    old, new = state["scale_by_adam"].memory, resumed["scale_by_adam"].memory
    assert same(new.mu["body"], old.mu["body"])
    assert not new.nu["head"]["w"].any()
    assert new.count == 3  # one for the whole rule


def test_by_default_the_lines_are_one_warning_of_the_logger(caplog):
    params, state = trained(ADAM)
    with caplog.at_level(logging.WARNING, "lrx"):
        lrx.resume(lrx.apply_if_finite(ADAM, 3), params, state, missing="fresh")
        lrx.resume(ADAM, params, state)
    (record,) = caplog.records
    assert "notfinite_count is not in the checkpoint: starts fresh; last_finite is" in record.getMessage()


# ---------------------------------------------------------------- what is not clear


def test_counts_that_differ_are_no_one_count():
    params, one = trained(GROUPS, steps=2)
    _, two = trained(GROUPS, steps=3)
    mixed = one._replace(inner_states={"body": one.inner_states["body"], "head": two.inner_states["head"]})
    message = r"scale_by_adam\.count is one number in tx, and the checkpoint has body\.scale_by_adam\.count=2, head\."
    for options in ({}, FRESH):
        with pytest.raises(ValueError, match=message):
            lrx.resume(ADAM, params, mixed, **options)


def test_which_of_two_is_meant_is_an_error_that_names_both():
    both = optax.chain(optax.trace(0.9), optax.trace(0.5))
    params, state = trained(both)
    for options in ({}, FRESH):
        with pytest.raises(ValueError, match=r"momentum\.trace\.body\.w may come from 0 or 1 of the checkpoint"):
            lrx.resume(lrx.sgd(0.1, momentum=0.9), params, state, **options)


def test_a_schedule_needs_a_count_and_a_constant_rate_does_without():
    params, state = trained(optax.sgd(0.1, momentum=0.9))
    with pytest.raises(ValueError, match=r"scale_by_learning_rate\.count is not in the checkpoint"):
        lrx.resume(lrx.sgd(RATE, momentum=0.9), params, state)
    lines: list[str] = []
    lrx.resume(lrx.sgd(0.1, momentum=0.9), params, state, report=lines.append)
    assert lines == ["scale_by_learning_rate.num_updates starts at 0: the checkpoint has no count for it"]


def test_rules_with_the_same_fields_are_told_apart_where_something_says_it():
    params, state = trained(lrx.yogi(0.1))
    named = [lrx.named_chain(("opt", rule)) for rule in (lrx.scale_by_yogi(), lrx.scale_by_adam())]
    pairs = [(lrx.adam(0.1), state), (lrx.adam(0.1), as_restored(state)), (named[1], named[0].init(PARAMS))]
    pairs.append((lrx.adam(0.1), optax.adabelief(0.1).init(PARAMS)))
    pairs.append((lrx.adabelief(0.1), optax.adam(0.1).init(PARAMS)))
    for tx, held in pairs:
        with pytest.raises(ValueError, match=r"mu\.body\.w is not in the checkpoint"):
            lrx.resume(tx, params, held)


# ---------------------------------------------------------------- gradual unfreezing


def phase(groups, labels):
    return lrx.partition({**groups, "frozen": lrx.freeze(True)}, labels)


def loop(tx, params, state, steps):
    step = jax.jit(lambda params, state: one_step(tx, params, state, GRADS))
    for _ in range(steps):
        params, state = step(params, state)
    return params, state


FIRST = {
    "lrx": phase({"head": ADAM}, {"body": "frozen", "head": "head"}),
    "optax": optax.partition(
        {"head": optax.adam(RATE), "frozen": optax.set_to_zero()}, {"body": "frozen", "head": "head"}
    ),
    "masked": optax.chain(
        optax.masked(optax.adam(RATE), {"body": False, "head": True}),
        optax.masked(optax.set_to_zero(), {"body": True, "head": False}),
    ),
}


@pytest.mark.parametrize("first", FIRST)
def test_gradual_unfreezing(first):
    """The head, then the body too with a rate of its own, then the head alone again."""
    body = lrx.adam(lrx.linear_schedule(0.01, 0.0, 50))
    head_alone = FIRST["lrx"]
    whole = phase({"head": ADAM, "body": body}, LABELS)
    params, state = loop(FIRST[first], PARAMS, FIRST[first].init(PARAMS), 3)
    assert same(params["body"], jax.tree.map(jnp.asarray, PARAMS["body"]))
    lines: list[str] = []
    state = lrx.resume(whole, params, state, missing="fresh", extra="drop", report=lines.append)
    assert {line.split(".")[0] for line in lines} == {"body"}
    params, state = loop(whole, params, state, 2)
    kept = moments(state)
    # each group is as if it had been trained alone: the head for five updates, the body for two
    expected, _ = trained(ADAM, steps=5)
    way = PARAMS["head"]["w"] - expected["head"]["w"]
    np.testing.assert_allclose(params["head"]["w"], expected["head"]["w"], atol=5e-5 * way.max())  # optax's rounding
    assert lrx.learning_rates(state)["head.scale_by_learning_rate.learning_rate"] == RATE(4)
    expected, _ = trained(body, steps=2)
    np.testing.assert_allclose(params["body"]["w"], expected["body"]["w"], rtol=1e-6)
    state = lrx.resume(head_alone, params, as_restored(state), missing="fresh", extra="drop", report=lines.append)
    assert "body.scale_by_adam.mu.body.w is in the checkpoint, but tx has no place for it: dropped" in lines
    assert lrx.count(state) == 5
    assert same(moments(state), {path: x for path, x in kept.items() if "head" in path})


names = st.sampled_from(["x", "y", "frozen", "all"])


@settings(max_examples=40, deadline=None)
@given(st.tuples(names, names, names), st.tuples(names, names, names))
def test_moments_go_with_their_parameters_however_labels_move(before, after):
    """With "all" for each of three parameters an optimizer without groups."""

    def made(labels):
        if set(labels) == {"all"}:
            return ADAM
        labels = dict(zip("abc", ("x" if label == "all" else label for label in labels), strict=True))
        return lrx.partition({"x": ADAM, "y": ADAM, "frozen": lrx.freeze(True)}, labels)

    params = {k: np.zeros(2, np.float32) for k in "abc"}
    old = made(before).init(params)
    rng = np.random.default_rng(1)
    held = jax.tree.map(lambda x: np.int32(3) if x.dtype == np.int32 else rng.normal(size=x.shape), old)
    new = lrx.resume(made(after), params, held, **FRESH, report=lambda line: None)
    had, got = moments(held), moments(new)
    trained_in = {k for k, label in zip("abc", after, strict=True) if label != "frozen"}
    assert {path[-3] for path in got} == trained_in
    for path, x in got.items():
        np.testing.assert_allclose(x, had.get(path, 0.0), rtol=1e-6)
    for part in lrx._state_paths.rules(new):
        if part.name[-1:] == ("scale_by_adam",):
            paths = jax.tree_util.tree_leaves_with_path(part.state.memory.mu)
            kept = [f"[0]{jax.tree_util.keystr(path)}" in had for path, _ in paths]
            assert not paths or part.state.memory.count == (3 if any(kept) else 0)


def test_a_layer_that_joins_a_group_shares_its_count():
    """Labels move between two phases of one partition: moments go with their parameters."""
    first = phase({"train": ADAM}, {"body": "frozen", "head": "train"})
    second = phase({"train": ADAM}, {"body": "train", "head": "train"})
    params, state = loop(first, PARAMS, first.init(PARAMS), 3)
    resumed = lrx.resume(second, params, state, missing="fresh", report=lambda line: None)
    memory = resumed.inner_states["train"]["scale_by_adam"].memory
    assert memory.count == 3
    assert not memory.mu["body"]["w"].any()
    assert same(memory.mu["head"], state.inner_states["train"]["scale_by_adam"].memory.mu["head"])
    # its first step is (1 − b1)/√(1 − b2) times the usual one, over the corrections of the third count
    before, after = params, next_params(second, params, resumed)
    corrections = (1 - 0.9**4) / np.sqrt(1 - 0.999**4)
    step = (before["body"]["w"] - after["body"]["w"]) / RATE(3)
    np.testing.assert_allclose(step, 0.1 / np.sqrt(0.001) / corrections, rtol=1e-4)


def test_groups_that_exchange_their_labels_exchange_their_counts():
    first, other = lrx.partition({"a": ADAM, "b": ADAM}, {"body": "a", "head": "b"}), lrx.adam(RATE)
    second = lrx.partition({"a": other, "b": other}, {"body": "b", "head": "a"})
    _, two = trained(first, steps=2)
    params, three = trained(first, steps=3)
    mixed = two._replace(inner_states={"a": two.inner_states["a"], "b": three.inner_states["b"]})
    new = lrx.resume(second, params, mixed, report=pytest.fail).inner_states
    assert [int(lrx.count(new[label])) for label in "ab"] == [3, 2]
    assert [int(new[label]["scale_by_adam"].count) for label in "ab"] == [3, 2]


def test_a_controller_that_is_new_is_told():
    params, state = trained(lrx.adam(0.1))
    lines: list[str] = []
    new = lrx.resume(lrx.adam(lrx.plateau(0.1)), params, state, report=lines.append)
    assert lines == ["scale_by_learning_rate.controller starts fresh: the checkpoint has none"]
    assert lrx.count(new) == 3


def test_a_group_whose_parameters_are_all_new_counts_from_zero():
    first = phase({"train": ADAM}, {"body": "frozen", "head": "train"})
    second = phase({"train": ADAM}, {"body": "train", "head": "frozen"})
    params, state = loop(first, PARAMS, first.init(PARAMS), 3)
    state = lrx.resume(second, params, state, **FRESH, report=lambda line: None)
    assert state.inner_states["train"]["scale_by_adam"].memory.count == 0
    assert lrx.count(state) == 3  # the rate's: the group's schedule goes on


# ---------------------------------------------------------------- a number of updates


@pytest.mark.parametrize("step", [0, 1200, np.int64(1200), jnp.int32(1200)], ids=str)
def test_a_number_of_updates_sets_every_count(step):
    scheduled = lrx.adam(RATE, b1=lrx.linear_schedule(0.5, 0.9, 2000))
    for tx in (
        scheduled,
        lrx.chain(lrx.clip(1.0), scheduled, EMA),
        lrx.partition({"body": scheduled, "head": lrx.sgd(0.1)}, LABELS),
        lrx.accumulate(scheduled, 4),
        lrx.schedule_free(lrx.sgd(0.1), 0.1),
        optax.chain(optax.clip(1.0), scheduled),
    ):
        state = lrx.resume(tx, PARAMS, step)
        assert avals(state) == avals(tx.init(PARAMS))
        assert lrx.count(state) == int(step)
        assert not any(x.any() for x in moments(state).values())
        if int(step) == 0:
            assert same(state, tx.init(PARAMS))


def test_the_schedules_go_on_from_a_number_of_updates():
    tx = lrx.adam(RATE, b1=lrx.linear_schedule(0.5, 0.9, 10))
    state, (_, trained_state) = lrx.resume(tx, PARAMS, 5), trained(tx, steps=5)
    assert same(lrx.learning_rate(state), lrx.learning_rate(trained_state))
    assert same(state["scale_by_adam"].count, trained_state["scale_by_adam"].count)
    _, state = one_step(tx, PARAMS, state, GRADS)
    assert lrx.learning_rate(state) == RATE(5)


AROUND = {
    "optax_chain": lambda tx: optax.chain(optax.clip(1.0), tx),
    "MultiSteps": lambda tx: optax.MultiSteps(tx, 1),
    "optax_chain_in_optax_masked": lambda tx: optax.masked(optax.chain(tx), {"body": True, "head": False}),
    "inject_hyperparams": lambda tx: optax.inject_hyperparams(lrx.adam)(RATE),
    "injected_inside": lambda tx: optax.MultiSteps(optax.chain(optax.inject_hyperparams(lrx.adam)(RATE)), 1),
    "controller": lambda tx: optax.chain(lrx.sgd(lrx.plateau(RATE))),
    "scale_by_schedule": lambda tx: optax.chain(lrx.scale_by_adam(), lrx.scale_by_schedule(RATE), lrx.scale(-1.0)),
    "accumulate": lambda tx: lrx.accumulate(optax.chain(tx), 4),
}


@pytest.mark.parametrize("around", AROUND)
def test_the_rate_of_a_number_of_updates_is_shown_under_any_wrapper(around):
    tx = AROUND[around](ADAM)
    state = lrx.resume(tx, PARAMS, 12)
    assert avals(state) == avals(tx.init(PARAMS))
    assert lrx.learning_rate(state) == RATE(11)
    assert lrx.learning_rate(tx.init(PARAMS)) == RATE(0)
    if around == "inject_hyperparams":
        assert state.hyperparams["learning_rate"] == RATE(11)
    _, after = tx.update(GRADS, state, PARAMS, **({"value": 1.0} if around == "controller" else {}))
    assert around == "accumulate" or lrx.learning_rate(after) == RATE(12)


def test_rules_outside_an_accumulation_count_micro_steps():
    tx = lrx.chain(lrx.ema(0.9), lrx.accumulate(lrx.adam(RATE), 4))
    state = lrx.resume(tx, PARAMS, 10)
    assert lrx.count(state) == 10
    assert state["moving_average"].memory.count == 40


def test_a_number_of_updates_may_be_traced():
    rate = jax.vmap(lambda n: lrx.learning_rate(ADAM.update(GRADS, lrx.resume(ADAM, PARAMS, n), PARAMS)[1]))
    np.testing.assert_array_equal(jax.jit(rate)(jnp.arange(4)), RATE(jnp.arange(4)))


@pytest.mark.parametrize(("step", "error"), [(-1, ValueError), (True, TypeError), (2.0, TypeError), ("7", TypeError)])
def test_what_is_no_number_of_updates_is_refused(step, error):
    with pytest.raises(error, match=r"resume\(restored=...\) must"):
        lrx.resume(ADAM, PARAMS, step)
