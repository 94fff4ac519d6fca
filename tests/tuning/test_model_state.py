"""A loss with a state of its own: running means, counts, random keys. Each member and seed has its own."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from tests.tuning.bowl import drawn

RATES = [0.05, 0.4]


def init(key):
    return {"x": 1 + 0.1 * drawn(key)}, {"mean": jnp.zeros(2), "batches": 0, "noise": jax.random.fold_in(key, 1)}


def loss_with_state(params, state, batch, key=None):
    """How far the parameters are from the running mean, which follows both the batches and the parameters."""
    noise, now = jax.random.split(state["noise"])
    loss = jnp.sum((params["x"] - state["mean"]) ** 2) + 0.01 * drawn(now, 1)[0]
    mean = 0.9 * state["mean"] + 0.1 * (params["x"] + batch)
    return loss, {"mean": mean, "batches": state["batches"] + 1, "noise": noise}


def sample(key):
    return 0.1 * drawn(key)


def evaluate(params, state):
    return {
        "loss": jnp.sum((params["x"] - state["mean"]) ** 2),
        "mean": state["mean"][0],
        "batches": state["batches"],
    }


def running(**kwargs):
    given: dict[str, Any] = dict(
        init=init, loss_with_state=loss_with_state, sample=sample, evaluate=evaluate, name="running"
    )
    return lrx.Problem(**given | kwargs)


@functools.cache
def lone_programs(problem, make):
    """The start, and one update by hand at a learning rate that is an argument."""

    @jax.jit
    def start(key):
        params, model_state = problem.init(key)
        return params, model_state, make(0.1).init(params)

    @jax.jit
    def step(rate, params, model_state, state, key):
        gradient = jax.value_and_grad(problem.loss_with_state, has_aux=True)
        noise = jax.random.fold_in(key, 0)
        (loss, model_state), grads = gradient(params, model_state, problem.sample(key), noise)
        updates, state = make(rate).update(grads, state, params)
        return loss, optax.apply_updates(params, updates), model_state, state

    return start, step


def lone_run(problem, make, rates, key=0, seeds=1, seed=0):
    """One run in a plain loop, with the keys that a sweep gives to its seed: its losses, parameters and state."""
    init_key, data_key = jax.random.split(jax.random.key(key), (seeds, 2))[seed]
    start, step = lone_programs(problem, make)
    params, model_state, state = start(init_key)
    losses = []
    for t, rate in enumerate(np.asarray(rates, np.float32)):
        now = jax.random.fold_in(data_key, t)
        loss, params, model_state, state = step(rate, params, model_state, state, now)
        losses.append(loss)
    return np.array(losses), params, model_state


def same(a, b, **kwargs):
    np.testing.assert_allclose(a.losses, b.losses, **kwargs)
    assert a.scores.keys() == b.scores.keys()
    for name in a.scores:
        np.testing.assert_allclose(a.scores[name], b.scores[name], **kwargs)


@pytest.mark.parametrize(("make", "method"), [(lrx.adam, "vmap"), (optax.adam, "map")], ids=["lrx", "optax"])
def test_a_member_equals_a_lone_run_and_is_scored_with_its_own_last_state(make, method):
    rates = RATES if method == "vmap" else np.geomspace(0.05, 0.4, 18)  # two turns of nine
    result = lrx.sweep(running(), make, learning_rate=rates, seeds=2, steps=12, key=3, method=method)
    for i in (0, -1):
        losses, params, state = lone_run(running(), optax.adam, [rates[i]] * 12, key=3, seeds=2, seed=1)
        np.testing.assert_allclose(result.losses[i, 0, 1], losses, rtol=2e-5, atol=3e-6)
        for name, x in evaluate(params, state).items():
            np.testing.assert_allclose(result.scores[name][i, 0, 1], x, rtol=2e-4)
    assert (result.scores["batches"] == 12).all()
    assert len(np.unique(result.scores["mean"])) == result.scores["mean"].size  # of each member and seed


def test_a_state_that_the_loss_does_not_read_changes_no_number():
    def plain(params, batch, key=None):
        return jnp.sum((params - batch) ** 2)

    data: dict[str, Any] = dict(sample=drawn)
    stateful = lrx.Problem(
        init=lambda key: (jnp.ones(2), jnp.ones(2)),
        loss_with_state=lambda params, count, batch, key: (plain(params, batch), count + 1),
        **data,
    )
    kwargs: dict[str, Any] = dict(learning_rate=RATES, seeds=2, steps=8)
    same(
        lrx.sweep(stateful, lrx.adam, **kwargs),
        lrx.sweep(lrx.Problem(lambda key: jnp.ones(2), plain, **data), lrx.adam, **kwargs),
        rtol=1e-6,
    )


def test_what_a_line_search_tries_leaves_the_state_as_it_was():
    def make(rate):
        return optax.chain(lrx.sgd(rate), optax.scale_by_backtracking_linesearch(max_backtracking_steps=5))

    result = lrx.sweep(running(), make, learning_rate=3.0, steps=6)
    assert np.isfinite(result.losses).all()
    assert result.scores["batches"].item() == 6


def test_a_weak_type_in_the_state_costs_no_further_trace():
    traces = []

    def counted(params, state, batch, key):
        traces.append(key)
        return jnp.sum(params**2), {"batches": state["batches"] + 1, "mean": state["mean"] + batch}

    problem = lrx.Problem(
        init=lambda key: (jnp.ones(2), {"batches": 0, "mean": 0.0}),
        loss_with_state=counted,
        sample=lambda key: jnp.zeros(()),
    )
    told = []  # how many after each chunk
    lrx.sweep(problem, lrx.sgd, learning_rate=RATES, steps=32, progress=lambda done: told.append(len(traces)))
    assert len(told) > 1
    assert told[0] == told[-1]


def test_groups_of_members_give_what_all_together_do():
    kwargs: dict[str, Any] = dict(learning_rate=[*RATES, 0.1], seeds=2, steps=16)
    same(
        lrx.sweep(running(), lrx.adam, chunk_size=2, **kwargs),
        lrx.sweep(running(), lrx.adam, method="vmap", **kwargs),
        rtol=1e-6,
    )


class Stop(Exception):
    pass


def test_a_stopped_sweep_goes_on_with_the_state(tmp_path):
    data: dict[str, Any] = dict(sample=None, batches=0.1 * np.ones((5, 2), np.float32))

    def stop(done):
        if done >= 2 * 2 * 12:
            raise Stop

    kwargs: dict[str, Any] = dict(learning_rate=RATES, seeds=2, steps=32)
    with pytest.raises(Stop):
        lrx.sweep(running(**data), lrx.adam, checkpoint=tmp_path / "state", progress=stop, **kwargs)
    told = []
    again = lrx.sweep(running(**data), lrx.adam, checkpoint=tmp_path / "state", progress=told.append, **kwargs)
    assert told[0] > 2 * 2  # the first chunk was not trained again
    same(again, lrx.sweep(running(**data), lrx.adam, **kwargs), rtol=0)


@pytest.mark.parametrize(
    "change",
    [
        dict(init=lambda key: (init(key)[0], init(key)[1] | {"mean": jnp.ones(2)})),
        dict(
            loss_with_state=lambda p, s, b, key: (lambda x, new: (x, new | {"mean": 2 * b}))(*loss_with_state(p, s, b))
        ),
        dict(evaluate=lambda params, state: running().evaluate(params, state) | {"mean": state["mean"][1]}),
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_checkpoint_knows_the_functions_of_the_state(tmp_path, change):
    kwargs: dict[str, Any] = dict(learning_rate=RATES, seeds=2, steps=4, checkpoint=tmp_path / "state")
    lrx.sweep(running(), lrx.adam, **kwargs)
    with pytest.raises(ValueError, match=r"sweep\(checkpoint=...\) must be .* different: problem, got"):
        lrx.sweep(running(**change), lrx.adam, **kwargs)


def test_a_halving_keeps_the_state_of_those_who_are_left():
    kwargs: dict[str, Any] = dict(learning_rate=np.geomspace(0.01, 0.9, 8), steps=100)
    result = lrx.halving(running(), lrx.sgd, budget=4.0, by="training", **kwargs)
    whole = lrx.sweep(running(), lrx.sgd, **kwargs)
    assert [scored.rung.members for scored in result.rungs] == [8, 2]
    left = np.isfinite(result.losses[..., -1])
    np.testing.assert_allclose(result.losses[left], whole.losses[left], rtol=1e-5)
    for name in whole.scores:  # cooled-down copies and scoring have not counted as batches
        np.testing.assert_allclose(result.sweep.scores[name][left], whole.scores[name][left], rtol=1e-4)


def test_scoring_fresh_batches_leaves_the_state_as_it_was():
    """A loss that is the number of batches seen: a copy is scored by the number after its cooldown."""
    problem = lrx.Problem(
        init=lambda key: (jnp.ones(()), 0),
        loss_with_state=lambda params, seen, batch, key: (0 * params + seen, seen + 1),
        sample=lambda key: jnp.zeros(()),
    )
    rungs = lrx.halving(problem, lrx.sgd, learning_rate=np.geomspace(0.1, 1, 8), steps=100, budget=3.0).rungs
    for scored in rungs[:-1]:
        assert np.nanmax(scored.scores) == np.nanmin(scored.scores) == scored.rung.end + scored.rung.cooldown


def test_range_test_find_and_tune():
    record = lrx.range_test(running(), lrx.sgd, start=1e-3, stop=1.0, num_steps=30)
    ramp = lrx.exponential_decay(1e-3, 29, 1e3)
    np.testing.assert_allclose(record.losses, lone_run(running(), optax.sgd, ramp(np.arange(30)))[0], rtol=1e-4)
    assert 1e-7 < lrx.find(running(), lrx.sgd).learning_rate < 10
    kwargs: dict[str, Any] = dict(
        optimizers={"sgd": lrx.sgd}, schedules="constant", learning_rates=RATES, steps=16, seeds=1
    )
    tuned = lrx.tune(running(), budget=6.0, **kwargs)
    assert tuned.by == "validation"
    assert tuned.sweeps["sgd"][0].scores["batches"].max() == 16


def test_parameters_and_state_may_start_as_one_array():
    def start(key):
        x = drawn(key)
        return x, x

    problem = running(init=start, loss_with_state=lambda p, s, b, key: (jnp.sum((p - s) ** 2), s + b), evaluate=None)
    losses = lone_run(problem, optax.sgd, [0.4] * 8)[0]
    np.testing.assert_allclose(
        lrx.sweep(problem, lrx.sgd, learning_rate=0.4, steps=8).losses[0, 0, 0], losses, rtol=1e-5, atol=1e-7
    )


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(nn.Dense(4, use_bias=False)(x))
        return nn.Dense(1)(nn.Dropout(0.2, deterministic=not train)(nn.relu(x)))[:, 0]


def test_flax_batch_normalization_trains_as_in_a_plain_loop():
    net, rng = Net(), np.random.default_rng(0)
    x = jnp.asarray(rng.normal(2, 3, (64, 3)), jnp.float32)
    y = jnp.sin(x[:, 0]) + x[:, 1]

    def start(key):
        variables = net.init(key, x[:1], train=False)
        return variables["params"], variables["batch_stats"]

    def loss(params, batch_stats, rows, key):
        variables = {"params": params, "batch_stats": batch_stats}
        out, new = net.apply(variables, x[rows], train=True, mutable=["batch_stats"], rngs={"dropout": key})
        return jnp.mean((out - y[rows]) ** 2), new["batch_stats"]

    def evaluate(params, batch_stats):
        out = net.apply({"params": params, "batch_stats": batch_stats}, x, train=False)
        return {"loss": jnp.mean((out - y) ** 2)}

    problem = lrx.Problem(
        init=start, loss_with_state=loss, sample=lambda key: jax.random.randint(key, (16,), 0, 64), evaluate=evaluate
    )
    scores = jax.jit(evaluate)
    result = lrx.sweep(problem, lrx.adam, learning_rate=[0.003, 0.03], seeds=2, steps=30)
    for i, seed in ((0, 1), (1, 0)):
        losses, params, batch_stats = lone_run(problem, optax.adam, [[0.003, 0.03][i]] * 30, seeds=2, seed=seed)
        np.testing.assert_allclose(result.losses[i, 0, seed], losses, rtol=1e-3)
        np.testing.assert_allclose(result.scores["loss"][i, 0, seed], scores(params, batch_stats)["loss"], rtol=1e-3)
    assert result.scores["loss"][1].max() < result.losses[1, 0, :, 0].min()


# ---------------------------------------------------------------- what is refused


def returns(change):
    def changed(params, state, batch, key):
        loss, new = loss_with_state(params, state, batch)
        return loss, change(new)

    return changed


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda s: s | {"mean": s["mean"].astype(jnp.bfloat16)},
            "model_state['mean']: bfloat16[2] where init gives float32[2].",
        ),
        (lambda s: s | {"mean": s["mean"][0]}, "model_state['mean']: float32[] where init gives float32[2]."),
        (
            lambda s: s | {"batches": s["batches"] * 1.0},
            "model_state['batches']: float32[] where init gives int32[].",
        ),
        (
            lambda s: {"batch_stats": s["mean"], "batches": 1, "noise": s["noise"]},
            "model_state['mean']: nothing where init gives float32[2]; "
            "model_state['batch_stats']: float32[2] where init gives nothing.",
        ),
        (
            lambda s: None,
            "model_state['batches']: nothing where init gives int32[]; "
            "model_state['mean']: nothing where init gives float32[2]; "
            "model_state['noise']: nothing where init gives key<fry>[].",
        ),
        (lambda s: [s["mean"]] * 2, "and 2 more."),
    ],
)
def test_a_state_that_changes_its_type_is_told_before_any_update(change, told):
    done = []
    with pytest.raises(TypeError) as error:
        lrx.sweep(running(loss_with_state=returns(change)), lrx.sgd, learning_rate=RATES, progress=done.append)
    rule = "Problem(loss_with_state=...) must return a model_state of the structure, shapes and dtypes that init gives"
    assert str(error.value).startswith(f"{rule}, got model_state")
    assert str(error.value).endswith(told)
    assert not done


def test_another_container_of_the_same_arrays_is_told():
    problem = running(
        init=lambda key: (jnp.ones(2), (0.0,)),
        loss_with_state=lambda p, s, b, key: (jnp.sum(p**2), [1.0]),
        evaluate=None,
    )
    with pytest.raises(TypeError, match=r"got PyTreeDef\(\[\*\]\) where init gives PyTreeDef\(\(\*,\)\)."):
        lrx.sweep(problem, lrx.sgd, learning_rate=RATES)


@pytest.mark.parametrize("call", [lrx.sweep, lrx.halving, lrx.find, lrx.range_test, lrx.tune])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            dict(init=lambda key: {"params": jnp.ones(2), "batch_stats": jnp.ones(2)}),
            r"Problem\(init=...\) must return the pair \(params, model_state\) beside loss_with_state, got dict.",
        ),
        (
            dict(loss_with_state=lambda params, state, batch, key: jnp.sum(params["x"] ** 2)),
            r"Problem\(loss_with_state=...\) must return the pair \(scalar, model_state\), got float32\[\].",
        ),
        (
            dict(loss_with_state=lambda params, state, batch, key: (*loss_with_state(params, state, batch), None)),
            r"Problem\(loss_with_state=...\) must return the pair \(scalar, model_state\), got a tuple of 3.",
        ),
    ],
)
def test_a_function_without_a_pair_is_told(call, change, message):
    kwargs = {} if call in (lrx.find, lrx.range_test) else dict(steps=100)
    if call is not lrx.tune:
        kwargs["make_optimizer"] = lrx.sgd
    if call in (lrx.sweep, lrx.halving):
        kwargs["learning_rate"] = np.geomspace(0.1, 1, 8)
    with pytest.raises(TypeError, match=message):
        call(running(**change), **kwargs)
