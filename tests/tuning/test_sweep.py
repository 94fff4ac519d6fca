from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from tests.tuning.bowl import bowl, lone_run, validated

SCHEDULES = {
    "constant": lambda peak, steps: peak,
    "step": lambda peak, steps: lrx.step_decay_schedule(peak, steps // 4),
    "cosine": lambda peak, steps: lrx.cosine_decay_schedule(peak, steps),
    "linear": lambda peak, steps: lrx.warmup_linear_schedule(peak, 2, total_steps=steps),
}


def test_axes_have_names_and_the_documented_order():
    result = lrx.sweep(bowl(), lrx.sgd, learning_rate=[0.1, 0.2, 0.3], schedule=SCHEDULES, seeds=2, steps=8)
    assert result.dims == ("learning_rate", "schedule", "seed", "step")
    assert result.losses.shape == (3, 4, 2, 8)
    assert result.final.shape == (3, 4, 2)
    assert result.schedules == tuple(SCHEDULES)
    np.testing.assert_allclose(result.learning_rates, [0.1, 0.2, 0.3], rtol=1e-7)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("make", [lrx.adam, lambda rate: lrx.sgd(rate, momentum=0.9)], ids=["adam", "momentum"])
def test_a_member_equals_a_lone_run(name, make):
    key = jax.random.key(3)
    result = lrx.sweep(bowl(), make, learning_rate=[0.01, 0.1], schedule=SCHEDULES, seeds=2, steps=12, key=key)
    schedule = SCHEDULES[name](float(result.learning_rates[1]), 12)
    lone = lone_run(bowl(), make(schedule), 12, key, seeds=2, seed=1)
    np.testing.assert_allclose(result.losses[1, list(SCHEDULES).index(name), 1], lone, rtol=2e-5)


def test_one_trace_serves_the_whole_grid_and_the_next_grid_too():
    traces = []
    problem = bowl()

    def make(rate):
        if isinstance(rate, jax.core.Tracer):
            traces.append(rate)
        return lrx.adam(rate)

    lrx.sweep(problem, make, learning_rate=[0.1, 0.2], schedule=SCHEDULES, seeds=2, steps=12)
    first = len(traces)
    assert first <= 4  # the start and the step; a scan may trace its body twice
    lrx.sweep(problem, make, learning_rate=[0.3, 0.4], schedule=SCHEDULES, seeds=2, steps=12, key=jax.random.key(9))
    assert len(traces) == first


def test_members_of_a_seed_share_start_and_batches():
    losses = lrx.sweep(bowl(), lrx.sgd, learning_rate=[1e-30, 2e-30], seeds=2, steps=5).losses
    np.testing.assert_array_equal(losses[0], losses[1])
    assert len(np.unique(losses[0])) == 2 * 5  # of each seed and batch


def test_optax_optimizers_are_swept_too():
    kwargs: dict[str, Any] = dict(learning_rate=[0.01, 0.05], schedule=SCHEDULES, seeds=2, steps=12)
    ours, theirs = (lrx.sweep(bowl(), m.adam, **kwargs) for m in (lrx, optax))
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-4)
    assert ours.losses[0, 0].tolist() != ours.losses[1, 0].tolist()


def test_lrx_inside_optax_chain_is_swept_too():
    plain = lrx.sweep(bowl(), lrx.sgd, learning_rate=[0.1, 0.2], steps=6)
    wrapped = lrx.sweep(bowl(), lambda r: optax.chain(optax.clip(1e9), lrx.sgd(r)), learning_rate=[0.1, 0.2], steps=6)
    np.testing.assert_allclose(plain.losses, wrapped.losses, rtol=1e-6)


def test_a_diverged_member_is_kept_ranked_last_and_disturbs_nobody():
    rates = [0.1, 1.0, 1e30]
    result = lrx.sweep(bowl(), lrx.sgd, learning_rate=rates, steps=40)
    assert not np.isfinite(result.final[2, 0, 0])
    assert result.best().learning_rate == 1.0
    alone = lrx.sweep(bowl(), lrx.sgd, learning_rate=rates[:2], steps=40)
    np.testing.assert_allclose(result.losses[:2], alone.losses, rtol=1e-6)


def test_all_members_failed_is_told():
    result = lrx.sweep(bowl(), lrx.sgd, learning_rate=[1e30, 1e31], steps=20)
    with pytest.raises(ValueError, match="no member that stayed finite on every seed: sweep lower"):
        result.best()


def test_other_hyperparameters_have_axes_of_their_own():
    result = lrx.sweep(bowl(), lrx.adam, learning_rate=[0.01, 0.1], b1=[0.0, 0.5, 0.9], eps=1e-6, seeds=2, steps=6)
    assert result.dims == ("learning_rate", "schedule", "b1", "seed", "step")
    assert result.losses.shape == (2, 1, 3, 2, 6)
    one = lrx.sweep(bowl(), lambda r: lrx.adam(r, b1=0.5, eps=1e-6), learning_rate=[0.01, 0.1], seeds=2, steps=6)
    np.testing.assert_allclose(result.losses[:, :, 1], one.losses, rtol=1e-6)
    assert set(result.best().hyperparams) == {"b1"}


def test_training_and_validation_choose_differently_and_say_which():
    result = lrx.sweep(validated(), lrx.sgd, learning_rate=np.geomspace(1e-3, 1.9, 8), seeds=2, steps=60)
    assert result.scores["accuracy"].shape == (8, 1, 2)
    train, validation = result.best("training"), result.best("validation")
    assert train.learning_rate > validation.learning_rate
    assert validation.loss == pytest.approx(float(result.scores["loss"][validation.index].mean()))
    with pytest.raises(ValueError, match="'training' or 'validation', got 'test'"):
        result.best("test")
    with pytest.raises(ValueError, match="needs a problem whose evaluate"):
        lrx.sweep(bowl(), lrx.sgd, learning_rate=0.1, steps=2).best("validation")


def test_best_of_one_schedule():
    result = lrx.sweep(bowl(), lrx.sgd, learning_rate=[0.01, 0.5], schedule=SCHEDULES, seeds=2, steps=12)
    assert result.best(schedule="cosine").schedule == "cosine"
    with pytest.raises(ValueError, match="must be one of constant, step, cosine, linear, got 'cos'"):
        result.best(schedule="cos")


def test_a_user_function_of_peak_and_steps_may_give_a_plain_function():
    by_hand = {"mine": lambda peak, steps: lambda count: peak * (1 - count / steps)}
    ours = {"mine": lambda peak, steps: lrx.linear_schedule(peak, 0.0, steps)}
    a, b = (lrx.sweep(bowl(), lrx.sgd, learning_rate=[0.1, 0.7], schedule=s, steps=8) for s in (by_hand, ours))
    np.testing.assert_allclose(a.losses, b.losses, rtol=1e-5)


def test_batches_come_from_the_host_in_order_and_start_anew():
    data = [np.full(2, v, np.float32) for v in (1.0, 2.0, 3.0)]
    problem = lrx.Problem(
        init=lambda key: jnp.zeros(2), loss=lambda p, b, key=None: jnp.sum(p) * 0 + b[0], batches=lambda: iter(data)
    )
    losses = lrx.sweep(problem, lrx.sgd, learning_rate=[0.1, 0.2], steps=7).losses
    np.testing.assert_array_equal(losses[1, 0, 0], [1, 2, 3, 1, 2, 3, 1])


def test_an_exhausted_iterator_is_told():
    problem = lrx.Problem(
        init=lambda key: jnp.zeros(2), loss=lambda p, b, key=None: jnp.sum(p - b), batches=iter([np.zeros(2)] * 3)
    )
    with pytest.raises(ValueError, match=r"ran out of batches\. An iterator can be read once only"):
        lrx.sweep(problem, lrx.sgd, learning_rate=0.1, steps=5)


def test_progress_rises_to_the_number_of_member_updates():
    told = []
    lrx.sweep(bowl(), lrx.sgd, learning_rate=[0.1, 0.2], schedule=SCHEDULES, seeds=2, steps=12, progress=told.append)
    assert told == sorted(told)
    assert len(told) > 1
    assert told[-1] == 2 * 4 * 2 * 12


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(learning_rate=[]), r"sweep\(learning_rate=...\) must be a number or a list of numbers, got \[\]."),
        (dict(learning_rate=[0.1, -1]), r"sweep\(learning_rate=...\) must be positive, got \[0.1, -1\]."),
        (dict(learning_rate=[np.nan]), r"sweep\(learning_rate=...\) must be finite"),
        (dict(learning_rate=0.1, seeds=0), r"sweep\(seeds=...\) must be positive, got 0."),
        (dict(learning_rate=0.1, steps=0), r"sweep\(steps=...\) must be positive, got 0."),
        (dict(learning_rate=0.1, schedule={}), r"sweep\(schedule=...\) must name at least one schedule"),
    ],
)
def test_wrong_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        lrx.sweep(bowl(), lrx.sgd, **kwargs)


def test_a_controller_like_transform_gets_value_and_gradient():
    def make(rate):
        return optax.chain(lrx.sgd(rate), optax.contrib.reduce_on_plateau(patience=2))

    assert np.isfinite(lrx.sweep(bowl(), make, learning_rate=[0.1], steps=6).final).all()


def test_progress_knows_the_losses_and_the_time_that_is_left():
    told = []
    kwargs = dict(learning_rate=[0.01, 0.1], seeds=2, steps=128)
    result = lrx.sweep(bowl(), lrx.sgd, progress=told.append, **kwargs)
    means = result.losses[:, 0].reshape(2, 2, 64, 2).mean(axis=(1, 3)).min(axis=0)  # of each chunk
    assert told == list(range(8, 513, 8)) and isinstance(told[0] + 1, int)
    np.testing.assert_allclose([done.loss for done in told], means, rtol=1e-5)
    np.testing.assert_allclose([done.best for done in told], np.minimum.accumulate(means), rtol=1e-5)
    assert all(done.seconds_left > 0 for done in told[:-1]) and told[-1].seconds_left == 0
    halved = []
    lrx.halving(bowl(), lrx.sgd, **kwargs | dict(learning_rate=lrx.logspace(0.01, 1, 8)), progress=halved.append)
    assert halved[-1].seconds_left == pytest.approx(0, abs=1e-9) and halved[-1].best <= halved[0].loss
