"""Reading and editing the state of an optimizer."""

import gc
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from tests.common import GRADS, PARAMS, WARMUP_COSINE, avals, same, train, warmup_cosine
from tests.operations import by_operations


def trained(tx, steps=3):
    """The state after some updates."""
    return train(tx, steps=steps, by=by_operations)[1]


# ---------------------------------------------------------------- reading


def test_optax_206_read_the_rate():
    assert lrx.learning_rate(lrx.adam(1e-3).init(PARAMS)) == np.float32(1e-3)
    assert lrx.learning_rate(trained(lrx.adam(1e-3))) == np.float32(1e-3)


def test_learning_rate_before_the_first_update_is_the_one_that_it_will_apply():
    schedule = warmup_cosine(init_value=0.25)
    assert lrx.learning_rate(lrx.adam(schedule).init(PARAMS)) == 0.25


def test_learning_rate_after_updates_is_the_one_applied_last():
    schedule = warmup_cosine()
    for steps in (1, 2, 5):
        state = train(lrx.adam(schedule), steps=steps)[1]
        assert abs(lrx.learning_rate(state) - schedule(steps - 1)) <= np.spacing(np.float32(1e-3))


def test_optax_415_schedule_starts_at_count_0():
    schedule = lrx.piecewise_value_schedule([1], [0.5, 0.25])
    updates, state = lrx.sgd(schedule).update(GRADS, lrx.sgd(schedule).init(PARAMS), PARAMS)
    np.testing.assert_array_equal(updates["b"], np.float32(-0.5) * GRADS["b"])
    assert lrx.learning_rate(state) == 0.5


def test_optax_964_rate_through_clip_adamw_schedule():
    tx = lrx.chain(lrx.clip_by_global_norm(1.0), lrx.adamw(warmup_cosine()))
    assert lrx.learning_rate(trained(tx, steps=6)) == pytest.approx(5e-4)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tx: optax.chain(optax.clip(1.0), tx),
        lambda tx: optax.masked(tx, {"w": True, "b": False}),
        lambda tx: optax.apply_if_finite(tx, 2),
        lambda tx: optax.MultiSteps(tx, 1).gradient_transformation(),
        lambda tx: optax.named_chain(("first", tx)),
        lambda tx: optax.partition({"a": tx, "b": optax.set_to_zero()}, {"w": "a", "b": "b"}),
    ],
    ids=["chain", "masked", "apply_if_finite", "MultiSteps", "named_chain", "partition"],
)
def test_optax_312_one_call_reads_and_edits_through_every_wrapper(wrap):
    state = trained(wrap(lrx.adam(warmup_cosine())), steps=2)
    assert lrx.learning_rate(state) == pytest.approx(1e-4)
    assert lrx.count(state) == 2
    edited = lrx.with_hyperparams(state, peak_value=0.5)
    assert jax.tree.structure(edited) == jax.tree.structure(state)
    assert [v for k, v in lrx.hyperparams(edited).items() if k.endswith("peak_value")] == [0.5]


def test_two_rates_are_listed_and_ask_for_the_plural():
    state = lrx.chain(lrx.sgd(0.5), lrx.sgd(0.25)).init(PARAMS)
    message = (
        "learning_rate(opt_state) holds 2 rates: scale_by_learning_rate.learning_rate, "
        "scale_by_learning_rate_2.learning_rate. Use learning_rates."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        lrx.learning_rate(state)
    assert lrx.learning_rates(state) == {
        "scale_by_learning_rate.learning_rate": 0.5,
        "scale_by_learning_rate_2.learning_rate": 0.25,
    }


def test_no_rate_names_what_would_hold_one():
    with pytest.raises(ValueError, match=r"learning_rate\(opt_state\) found none.* lrx\.scale_by_learning_rate"):
        lrx.learning_rate(optax.adam(1e-3).init(PARAMS))
    assert lrx.learning_rates(optax.adam(1e-3).init(PARAMS)) == {}


def test_hyperparams_lists_every_number_by_path():
    state = lrx.adamw(lrx.linear_schedule(1.0, 0.0, 10), weight_decay=0.5).init(PARAMS)
    assert lrx.hyperparams(state) == {
        "add_decayed_weights.weight_decay": 0.5,
        "scale_by_adam.b1": np.float32(0.9),
        "scale_by_adam.b2": np.float32(0.999),
        "scale_by_adam.eps": np.float32(1e-8),
        "scale_by_adam.eps_root": 0,
        "scale_by_learning_rate.learning_rate.end_value": 0,
        "scale_by_learning_rate.learning_rate.init_value": 1,
        "scale_by_learning_rate.learning_rate.transition_begin": 0,
        "scale_by_learning_rate.learning_rate.transition_steps": 10,
    }


def test_state_keys_are_rule_names_and_repeats_are_numbered():
    tx = lrx.chain(optax.clip(1.0), lrx.chain(optax.clip(2.0), lrx.adam(1.0)), lrx.sgd(1.0))
    assert list(tx.init(PARAMS)) == [
        "clip",
        "clip_2",
        "scale_by_adam",
        "scale_by_learning_rate",
        "scale_by_learning_rate_2",
    ]


def test_count_is_the_number_of_updates():
    for steps in (0, 1, 4):
        for tx in (lrx.sgd(1.0), lrx.adam(warmup_cosine()), lrx.rmsprop(1.0, momentum=0.9), lrx.adamw(1.0)):
            assert lrx.count(trained(tx, steps=steps)) == steps


def test_counts_that_differ_are_an_error():
    state = {"a": trained(lrx.sgd(1.0)), "b": lrx.adam(1.0).init(PARAMS)}
    differ = r"differ: a\.scale_by_learning_rate\.count=3, b\.scale_by_learning_rate\.count=0"
    with pytest.raises(ValueError, match=differ):
        lrx.count(state)
    with pytest.raises(ValueError, match="no rule of lrx"):
        lrx.count(optax.adam(1.0).init(PARAMS))


# ---------------------------------------------------------------- editing


def test_optax_577_new_rate_does_not_recompile(traces):
    tx = lrx.adam(1e-3)
    step = jax.jit(lambda grads, state: tx.update(grads, state))
    _, state = step(GRADS, tx.init(PARAMS))
    for rate in (1e-2, 1, np.float64(0.5), jnp.float32(2.0), jnp.bfloat16(0.5)):
        state = lrx.with_hyperparams(state, learning_rate=rate, eps=1e-6)
        updates, state = step(GRADS, state)
        assert abs(updates["b"][0] + float(rate)) < 1e-2 * float(rate)
    assert traces.count == 1


def test_edited_schedule_is_followed_without_a_new_trace(traces):
    tx = lrx.adam(warmup_cosine())
    step = jax.jit(lambda grads, state: tx.update(grads, state))
    _, state = step(GRADS, tx.init(PARAMS))
    other = warmup_cosine(peak_value=2.0, warmup_steps=4)
    for edit in ({"peak_value": 2.0, "warmup_steps": 4}, other):
        _, after = step(GRADS, lrx.with_hyperparams(state, learning_rate=edit))
        assert lrx.learning_rate(after) == 0.5
    _, after = step(GRADS, lrx.with_hyperparams(state, peak_value=2.0, **{"learning_rate.warmup_steps": 4}))
    assert lrx.learning_rate(after) == 0.5
    assert traces.count == 1


def test_an_edited_schedule_is_told_from_the_next_update_on():
    state = lrx.with_hyperparams(lrx.sgd(warmup_cosine()).init(PARAMS), init_value=0.5)
    before = lrx.learning_rate(state)
    _, after = lrx.sgd(warmup_cosine()).update(GRADS, state)
    assert before == warmup_cosine()(0)
    assert lrx.learning_rate(after) == 0.5


def test_edit_changes_nothing_else():
    state = trained(lrx.adam(1e-3))
    edited = lrx.with_hyperparams(state, b1=0.5)
    assert avals(edited) == avals(state)
    assert same(lrx.with_hyperparams(edited, b1=0.9), state)


def test_ambiguous_name_is_resolved_by_its_path():
    tx = optax.multi_transform({"a": lrx.adam(1.0), "b": lrx.adam(2.0)}, {"w": "a", "b": "b"})
    state = tx.init(PARAMS)
    paths = [path for path in lrx.hyperparams(state) if path.endswith("b1")]
    with pytest.raises(ValueError, match=re.escape(f"(b1=...) is the name of 2 hyperparameters: {', '.join(paths)}.")):
        lrx.with_hyperparams(state, b1=0.5)
    edited = lrx.hyperparams(lrx.with_hyperparams(state, **{paths[0]: 0.5}))
    assert [edited[path] for path in paths] == [0.5, np.float32(0.9)]


CONSTANT, SCHEDULED = lrx.sgd(1e-3).init(PARAMS), lrx.sgd(warmup_cosine()).init(PARAMS)
FIELDS = ", ".join(f"'{name}': ..." for name in (*WARMUP_COSINE, "end_value", "exponent"))
REFUSED = [
    (CONSTANT, "momentum", 0.5, ValueError, "is not in this state: scale_by_learning_rate.learning_rate."),
    (SCHEDULED, "learning_rate", 0.5, ValueError, f"is scheduled: give its numbers, learning_rate={{{FIELDS}}}"),
    (CONSTANT, "learning_rate", {"peak_value": 1.0}, ValueError, "is one number in this state, got a dict."),
    (CONSTANT, "learning_rate", warmup_cosine(), ValueError, "holds one number in this state and can only take"),
    (SCHEDULED, "learning_rate", lrx.constant_schedule(1.0), ValueError, "holds {init_value, peak_value,"),
    (CONSTANT, "learning_rate", "0.1", TypeError, "must be a number, got '0.1'."),
    (CONSTANT, "learning_rate", None, TypeError, "must be a number, got None."),
    (CONSTANT, "learning_rate", True, TypeError, "must be a number, got True."),
    (CONSTANT, "learning_rate", 1e39, ValueError, "must fit in float32, got 1e+39."),
    (CONSTANT, "learning_rate", np.ones(3), ValueError, "must be a scalar or have shape (), got shape (3,)."),
    (SCHEDULED, "warmup_steps", 1.5, TypeError, "must be a whole number, got 1.5."),
    (SCHEDULED, "decay_steps", 2**31, ValueError, "must fit in int32, got 2147483648."),
]


@pytest.mark.parametrize(
    ("state", "name", "value", "kind", "message"), REFUSED, ids=[f"{r[1]}-{r[4]}" for r in REFUSED]
)
def test_refused_edit_says_why(state, name, value, kind, message):
    with pytest.raises(kind, match=re.escape(f"with_hyperparams({name}=...) {message}")):
        lrx.with_hyperparams(state, **{name: value})


def test_unknown_field_of_a_schedule_lists_its_fields():
    with pytest.raises(ValueError, match=r"learning_rate\.peak=\.\.\.\) is not in this state: .*peak_value"):
        lrx.with_hyperparams(SCHEDULED, learning_rate={"peak": 1.0})


PLATEAU = lrx.sgd(lrx.plateau(0.1))
ACCUMULATED = lrx.accumulate(lrx.adam(0.1), 4)
COSINE = lrx.adamw(lrx.cosine_decay_schedule(0.1, 10))
AS_THE_FACTORY = [
    (COSINE, {"b1": 1.5}, r"\(b1=...\) must be in \[0, 1\) in float32, got 1.5"),
    (COSINE, {"b1": float("nan")}, r"\(b1=...\) must be in \[0, 1\)"),
    (COSINE, {"eps": -1e-8}, r"\(eps=...\) must not be negative"),
    (COSINE, {"decay_steps": 0}, r"\(decay_steps=...\) must be positive, got 0"),
    (COSINE, {"learning_rate": {"decay_steps": -1}}, r"\(decay_steps=...\) must"),
    (lrx.sgd(0.1), {"learning_rate": -1.0}, r"\(learning_rate=...\) must not be negative, got -1.0"),
    (lrx.sgd(0.1), {"learning_rate": float("inf")}, r"\(learning_rate=...\) must be finite"),
    (ACCUMULATED, {"every": 0}, r"\(every=...\) must be positive"),
    (PLATEAU, {"patience": -1}, r"\(patience=...\) must not be negative"),
]


@pytest.mark.parametrize(("tx", "edit", "message"), AS_THE_FACTORY, ids=[str(e) for _, e, _ in AS_THE_FACTORY])
def test_an_edit_is_checked_as_the_factory_checks(tx, edit, message):
    with pytest.raises(ValueError, match="with_hyperparams" + message):
        lrx.with_hyperparams(tx.init(PARAMS), **edit)


def test_an_edit_is_checked_though_an_equal_optimizer_died():
    def rate(step):  # a user's function: optimizers with one are not shared
        return 0.1 / (1 + step)

    tx, twin = (lrx.accumulate(lrx.adam(rate), 4) for _ in range(2))
    assert tx.update is not twin.update
    del twin
    gc.collect(1)  # what is young
    with pytest.raises(ValueError, match=r"\(every=...\) must be positive"):
        lrx.with_hyperparams(tx.init(PARAMS), every=0)


def test_each_number_of_a_batch_is_checked():
    tx = lrx.adam(0.1)
    states = jax.vmap(lambda r: lrx.with_hyperparams(tx.init(PARAMS), learning_rate=r))(jnp.array([0.1, 0.2]))
    lrx.with_hyperparams(states, b1=jnp.array([0.5, 0.9]))
    with pytest.raises(ValueError, match=r"with_hyperparams\(b1=...\) must be in \[0, 1\)"):
        lrx.with_hyperparams(states, b1=jnp.array([0.5, 1.9]))


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), -0.1])
def test_a_rate_that_is_none_is_refused(rate):
    for make in (lrx.sgd, lrx.adam, lrx.scale_by_learning_rate):
        with pytest.raises(ValueError, match=rf"{make.__name__}\(learning_rate=...\) must"):
            make(rate)


def test_count_where_one_group_is_a_batch():
    one = trained(lrx.sgd(1.0), steps=2)
    states = jax.tree.map(lambda x: jnp.stack([x] * 3), one)
    assert lrx.count({"a": one, "b": states}) == 2
    assert lrx.count(states).tolist() == [2, 2, 2]
    with pytest.raises(ValueError, match="counts that differ"):
        lrx.count({"a": trained(lrx.sgd(1.0), steps=1), "b": states})


# ---------------------------------------------------------------- batched and traced


def test_batched_states_are_read_and_edited_as_a_batch():
    rates = jnp.array([0.1, 0.2, 0.3])
    states = jax.vmap(lambda rate: lrx.adam(rate).init(PARAMS))(rates)
    np.testing.assert_array_equal(lrx.learning_rate(states), rates)
    assert lrx.count(states).shape == (3,)
    np.testing.assert_array_equal(lrx.learning_rate(lrx.with_hyperparams(states, learning_rate=0.5)), [0.5] * 3)
    edited = lrx.with_hyperparams(states, learning_rate=2 * rates)
    np.testing.assert_array_equal(lrx.learning_rate(edited), 2 * rates)
    assert avals(edited) == avals(states)


def test_edit_with_a_traced_number():
    def loss(rate):
        tx = lrx.sgd(1e-3)
        updates, _ = tx.update(GRADS, lrx.with_hyperparams(tx.init(PARAMS), learning_rate=rate))
        return updates["b"].sum()

    assert jax.jit(jax.grad(loss))(0.5) == pytest.approx(-0.9)
    np.testing.assert_allclose(jax.vmap(loss)(jnp.array([0.5, 1.0])), [-0.45, -0.9], rtol=1e-6)


def test_edit_under_jit_of_a_traced_state():
    tx = lrx.adam(warmup_cosine())
    edit = jax.jit(lambda state, peak: lrx.with_hyperparams(state, learning_rate={"peak_value": peak}))
    state = tx.init(PARAMS)
    edited = edit(state, 0.5)
    assert avals(edited) == avals(state)
    assert lrx.hyperparams(edited)["scale_by_learning_rate.learning_rate.peak_value"] == 0.5


def test_edit_keeps_the_commitment_to_a_device():
    tx = lrx.adam(1e-3)
    device = jax.devices()[0]
    state = jax.device_put(tx.init(PARAMS), device)
    edited = lrx.with_hyperparams(state, b1=0.5)
    assert lrx.hyperparams(edited)["scale_by_adam.b1"].committed
    assert not lrx.hyperparams(lrx.with_hyperparams(tx.init(PARAMS), b1=0.5))["scale_by_adam.b1"].committed


@pytest.mark.parametrize(
    "start",
    [
        lambda rate: lrx.with_hyperparams(lrx.adam(1e-3).init(jnp.ones(3)), learning_rate=rate),
        lambda rate: lrx.adam(rate).init(jnp.ones(3)),
    ],
)
def test_a_population_does_not_hold_the_array_of_rates_that_it_was_made_from(start):
    rates = jnp.array([0.1, 0.2])
    states = jax.vmap(start)(rates)
    jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)(states)
    assert not rates.is_deleted()


HALF = lrx.linear_schedule(1.0, 0.0, 4)
"""0.5 in the third update."""


@pytest.mark.parametrize(
    ("tx", "rate"),
    [
        (lrx.chain(lrx.scale_by_adam(), lrx.scale_by_schedule(HALF), lrx.scale(-1.0)), 0.5),
        (optax.chain(lrx.scale_by_adam(), lrx.scale_by_schedule(HALF), lrx.scale(-1.0)), 0.5),
        (lrx.chain(lrx.scale_by_adam(), lrx.scale_by_schedule(lambda count: -HALF(count))), 0.5),
        (lrx.chain(lrx.scale_by_adam(), lrx.scale_by_schedule(HALF), lrx.scale(-0.25)), 0.125),
        (lrx.chain(lrx.scale(0.125), lrx.scale_by_adam(), lrx.scale_by_schedule(lambda count: -HALF(count))), 0.5),
        (lrx.chain(lrx.adam(0.25), lrx.scale_by_schedule(HALF)), 0.125),
        (
            lrx.masked(
                lrx.chain(lrx.scale_by_adam(), lrx.scale_by_schedule(HALF), lrx.scale(-1.0)), {"w": True, "b": False}
            ),
            0.5,
        ),
        (lrx.chain(lrx.clip(1.0), lrx.scale_by_adam(), lrx.scale(-0.25)), 0.25),
        (optax.MultiSteps(optax.chain(lrx.scale_by_adam(), lrx.scale_by_schedule(HALF), lrx.scale(-1.0)), 1), 0.5),
        (lrx.chain(lrx.sgd(0.25), lrx.reduce_on_plateau()), 0.25),
    ],
    ids=[
        "chain",
        "optax chain",
        "function",
        "scale",
        "scale before",
        "two",
        "masked",
        "no schedule",
        "steps",
        "plateau",
    ],
)
def test_what_multiplies_the_direction_is_the_learning_rate(tx, rate):
    params, state = PARAMS, tx.init(PARAMS)
    extra = {"value": 1.0} if "reduce_on_plateau" in str(tx) else {}
    for _ in range(3):
        _, state = tx.update(GRADS, state, params, **extra)
    assert lrx.learning_rate(state) == rate
    assert jax.jit(lrx.learning_rate)(state) == rate


@pytest.mark.parametrize("chain", [lrx.chain, optax.chain])
@pytest.mark.parametrize("search", [lrx.scale_by_zoom_linesearch(9), lrx.scale_by_backtracking_linesearch(9)])
def test_a_line_search_multiplies_the_rate_before_it(chain, search):
    def loss(x):
        return 4 * jnp.sum(x**2)

    tx, params = chain(lrx.sgd(0.25), search), jnp.array([1.0, -2.0])
    state = tx.init(params)
    value, grad = jax.value_and_grad(loss)(params)
    updates, state = tx.update(grad, state, params, value=value, value_fn=loss, grad=grad)
    np.testing.assert_allclose(updates, -lrx.learning_rate(state) * grad, rtol=1e-6)
    assert len(lrx.learning_rates(state)) == 2


def test_rates_of_two_groups_do_not_multiply():
    link = {k: lrx.chain(lrx.scale_by_adam(), lrx.scale_by_schedule(HALF), lrx.scale(-1.0)) for k in "ab"}
    state = lrx.partition(link, {"w": "a", "b": "b"}).init(PARAMS)
    assert len(lrx.learning_rates(state)) == 2
    with pytest.raises(ValueError, match=r"holds 2 rates: a\.scale_by_schedule\.learning_rate"):
        lrx.learning_rate(state)
    with pytest.raises(ValueError, match="holds 2 rates"):
        lrx.learning_rate((lrx.adam(0.1).init(PARAMS), lrx.adam(0.1).init(PARAMS)))
