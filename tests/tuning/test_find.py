import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from lrx.tuning._find import ShortRuns, rounded_up
from lrx.tuning._presets import constant, linear
from lrx.tuning._rate_search import least
from tests.tuning.bowl import bowl

BOWL = bowl(0.1)


def on_host(batches):
    """The bowl with batches from the host."""
    return lrx.Problem(init=BOWL.init, loss=BOWL.loss, batches=batches)


def normal(n, seed=0):
    return list(np.random.default_rng(seed).standard_normal((n, 2)).astype(np.float32))


def same(a, b):
    assert a.learning_rate == b.learning_rate
    assert a.interval == b.interval
    assert len(a.rounds) == len(b.rounds)
    for one, other in zip(a.rounds, b.rounds, strict=True):
        np.testing.assert_array_equal(one.losses, other.losses)


@pytest.fixture(scope="module")
def found():
    return lrx.find(BOWL, lrx.sgd, steps=200)


@pytest.fixture(scope="module")
def dense():
    """The final loss over rates of whole runs, each from eight seeds."""
    rates = np.geomspace(0.01, 1.9, 24)
    result = lrx.sweep(BOWL, lrx.sgd, learning_rate=rates, schedule={"linear": linear}, steps=200, seeds=8)
    return rates, result.final[:, 0].mean(axis=1)


# ---------------------------------------------------------------- the suggestion


def test_near_the_best_of_a_dense_sweep_of_whole_runs(found, dense):
    rates, losses = dense
    here = np.exp(np.interp(np.log(found.learning_rate), np.log(rates), np.log(losses)))
    assert here < 1.3 * losses.min()
    assert losses[0] > 3 * losses.min()  # which not every rate achieves
    assert found.confident, found.doubt
    low, high = found.interval
    assert low < found.learning_rate < high


@pytest.mark.parametrize("make", [lambda rate: lrx.sgd(rate, momentum=0.9), optax.adamw])
def test_optax_and_lrx_optimizers(make):
    found = lrx.find(BOWL, make, steps=200)
    rates = [found.learning_rate / 50, found.learning_rate]
    result = lrx.sweep(BOWL, make, learning_rate=rates, schedule={"linear": linear}, steps=200, seeds=4)
    worse, here = result.final[:, 0].mean(axis=1)
    assert here < worse


def test_optax_and_lrx_agree(found):
    assert lrx.find(BOWL, optax.sgd, steps=200).learning_rate == pytest.approx(found.learning_rate, rel=1e-3)


def test_a_line_search_is_given_what_it_asks_for():
    def make(rate):
        return optax.chain(optax.sgd(rate), optax.scale_by_backtracking_linesearch(max_backtracking_steps=3))

    assert lrx.find(BOWL, make, steps=200).gradients <= 250


def test_the_range_is_that_of_the_first_round(found):
    first = found.rounds[0]
    np.testing.assert_array_equal(found.range_test.learning_rates, np.float32(first.learning_rates))
    np.testing.assert_array_equal(found.range_test.losses, np.float32(first.losses))


def test_several_starts_are_means():
    found = lrx.find(BOWL, lrx.sgd, steps=200, seeds=2, budget=2.5)
    assert found.gradients <= 500
    assert 0.05 < found.learning_rate < 2.0
    one = lrx.find(BOWL, lrx.sgd, steps=200, budget=1.25)
    assert [r.steps for r in found.rounds] == [r.steps for r in one.rounds]


def test_a_state_beside_the_parameters():
    problem = lrx.Problem(
        init=lambda key: (BOWL.init(key), jnp.zeros((), jnp.int32)),
        loss_with_state=lambda params, count, batch, key=None: (BOWL.loss(params, batch), count + 1),
        sample=BOWL.sample,
    )
    plain = lrx.find(BOWL, lrx.sgd, steps=200)
    assert lrx.find(problem, lrx.sgd, steps=200).learning_rate == pytest.approx(plain.learning_rate, rel=1e-4)


# ---------------------------------------------------------------- what it trains


def test_short_runs_are_those_of_a_sweep_from_the_same_keys():
    rates, key = np.array([0.1, 0.5]), jax.random.key(4)
    runs = ShortRuns(BOWL, lrx.adam, linear, key, seeds=2, whole=40)
    losses = runs(rates, 40, 0)
    again = lrx.sweep(
        BOWL, lrx.adam, learning_rate=rates, schedule={"l": linear}, steps=40, seeds=2, key=jax.random.fold_in(key, 0)
    )
    np.testing.assert_allclose(losses, again.losses[:, 0], rtol=2e-5)
    assert runs.gradients == 2 * 2 * 40


def test_runs_of_a_round_start_alike_and_rounds_do_not():
    runs = ShortRuns(BOWL, lrx.sgd, linear, None, seeds=1, whole=100)
    first, more = runs(np.array([0.1, 0.2]), 8, 0), runs(np.array([0.2]), 8, 0)
    np.testing.assert_array_equal(first[1], more[0])
    assert runs(np.array([0.2]), 8, 1)[0, 0, 0] != more[0, 0, 0]


def test_short_runs_go_through_the_schedule_of_the_whole_run():
    seen = []

    def warmup(peak, steps):
        seen.append(steps)
        return lrx.warmup_linear_schedule(peak, 100, total_steps=steps)  # no schedule of fewer than 100 steps

    found = lrx.find(BOWL, lrx.sgd, steps=200, schedule=warmup)
    assert set(seen) == {200}
    assert 0.05 < found.learning_rate < 2.0
    assert lrx.find(BOWL, lrx.sgd, steps=200, schedule=constant).learning_rate < found.learning_rate


def test_a_plain_function_is_a_schedule(found):
    def half(peak, steps):
        return lambda count: 0.5 * linear(peak, steps)(count)

    doubled = lrx.find(BOWL, lrx.sgd, steps=200, schedule=half)
    assert 1.3 < doubled.learning_rate / found.learning_rate < 3.0


@pytest.mark.parametrize("steps", [1, 3, 10, 30])
def test_no_short_run_is_longer_than_the_training_to_come(steps):
    found = lrx.find(BOWL, lrx.sgd, steps=steps, schedule=constant)
    assert all(r.steps <= steps for r in found.rounds)
    assert found.confident <= (steps >= 20)


# ---------------------------------------------------------------- what it costs


def test_the_cost_is_told_and_within_the_budget():
    count = []

    def loss(params, batch, key=None):
        jax.debug.callback(lambda x: count.append(x), params["x"][0])
        return BOWL.loss(params, batch)

    found = lrx.find(dataclasses.replace(BOWL, loss=loss), lrx.sgd, steps=100, budget=0.9)
    jax.effects_barrier()
    assert found.gradients == sum(len(r.learning_rates) * r.steps for r in found.rounds)
    assert found.gradients <= 90
    assert len(count) == found.gradients


@pytest.mark.parametrize(("steps", "gradients"), [(100, 250), (1000, 250), (4000, 1000)])
def test_by_default_a_quarter_of_a_run_but_250_gradients(steps, gradients):
    assert 0.94 * gradients < lrx.find(BOWL, lrx.sgd, steps=steps, schedule=constant).gradients <= gradients


def test_the_optimizer_is_traced_as_often_whatever_the_budget():
    count = []

    def make(rate):
        count.append(rate)
        return lrx.sgd(rate)

    def traces(**kwargs):
        count.clear()
        lrx.find(BOWL, make, steps=200, **kwargs)
        return sum(isinstance(rate, jax.core.Tracer) for rate in count), len(count)

    first = traces(budget=1.25)
    assert first[0] <= 6
    assert first[1] <= 12
    assert traces(budget=1.25, key=jax.random.key(1))[0] == 0
    assert traces(budget=5.0)[0] <= first[0]


# ---------------------------------------------------------------- batches from the host


def test_batches_of_a_list_a_function_and_an_iterator_are_one():
    batches = normal(250)
    found = lrx.find(on_host(batches), lrx.sgd, steps=200)
    same(found, lrx.find(on_host(lambda: iter(batches)), lrx.sgd, steps=200))
    same(found, lrx.find(on_host(iter(batches)), lrx.sgd, steps=200))


def test_an_iterator_is_read_once_and_no_further_than_needed():
    read = []

    def batches():
        for batch in normal(1000):
            read.append(batch)
            yield batch

    found = lrx.find(on_host(batches()), lrx.sgd, steps=200)
    assert len(read) == sum(r.steps for r in found.rounds) < 100


def test_few_batches_are_held():
    """Those of one round alone, which more rates may ask for."""
    runs = ShortRuns(on_host(lambda: itertools.repeat(np.ones(2, np.float32))), lrx.sgd, linear, None, 1, 100)
    held = []
    for number, steps in ((0, 8), (0, 8), (1, 16), (2, 40)):
        runs(np.array([0.1, 0.2, 0.3]), steps, number)
        held.append(len(runs.batches.held))
    assert held == [8, 8, 16, 40]


def test_an_iterator_that_runs_out_is_told():
    with pytest.raises(ValueError, match=r"Problem\(batches=...\) ran out of batches.*batches=lambda: iter\(loader\)"):
        lrx.find(on_host(iter(normal(20))), lrx.sgd, steps=200)


# ---------------------------------------------------------------- what users of other finders ran into


def test_fastai_3658_find_leaves_nothing_behind(found):
    """fastai's finder fails after training and writes a checkpoint: here the same call gives the same answer."""
    lrx.sweep(BOWL, lrx.sgd, learning_rate=0.1, steps=4)
    same(found, lrx.find(BOWL, lrx.sgd, steps=200))
    same(found, lrx.find(BOWL, lrx.sgd, steps=200, key=jax.random.key(0)))


def test_fastai_2892_lr_finder_11_the_users_weights_are_as_they_were(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mine = {"x": jnp.array([1.0, 2.0])}
    problem = dataclasses.replace(BOWL, init=lambda key: mine)
    lrx.find(problem, lrx.sgd, steps=200)
    assert mine["x"].tolist() == [1.0, 2.0]  # not donated either
    assert not list(tmp_path.iterdir())


def test_fastai_4046_lightning_1772_the_rate_is_a_number_for_any_optimizer(found):
    assert type(found.learning_rate) is float
    tx = lrx.adam(lrx.cosine_decay_schedule(found.learning_rate, 200))
    assert lrx.learning_rate(tx.init(jnp.zeros(2))) == np.float32(found.learning_rate)


def test_fastai_pr_3477_rates_at_which_it_diverges_are_told_as_such():
    found = lrx.find(BOWL, lrx.sgd, steps=1000, start=1.0, stop=1e12)
    losses = found.rounds[0].losses
    assert not np.isfinite(losses).all() and not np.isnan(losses).any()
    assert found.learning_rate < 2.0


def test_lightning_2814_nan_in_the_middle_of_a_run():
    """Above a rate of 0.2 the loss becomes nan and stays so: no such rate is suggested, and nothing fails."""

    def loss(params, batch, key=None):
        return BOWL.loss(params, batch) + jnp.where(params["x"][0] < 0.1, jnp.nan, 0.0)

    found = lrx.find(dataclasses.replace(BOWL, loss=loss), lrx.sgd, steps=1000)
    assert np.isinf(found.rounds[0].losses).any()
    assert found.learning_rate in np.concatenate([r.learning_rates for r in found.rounds]) or found.rounds[-1].finite


def spiked_loss(params, batch, key=None):
    spike = jax.random.key_data(jax.random.fold_in(key, 7))[0] < 2**32 // 20
    return BOWL.loss(params, batch) + jnp.where(spike, 30.0, 0.0)


@pytest.mark.parametrize("seed", range(3))
def test_lightning_1767_spikes_do_not_fool_it(seed, found):
    """One batch in twenty gives a loss a hundred times as large, with no gradient: the same for all rates."""
    spiked = lrx.find(dataclasses.replace(BOWL, loss=spiked_loss), lrx.sgd, steps=1000, budget=1.0, key=seed)
    assert 1 / 4 < spiked.learning_rate / found.learning_rate < 4


def test_lr_finder_89_no_plot_is_needed(found, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    assert lrx.find(BOWL, lrx.sgd, steps=200).learning_rate == found.learning_rate


# ---------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(start=0.0), r"find\(start=...\) must be positive, got 0.0."),
        (dict(start=-1.0), r"find\(start=...\) must be positive, got -1.0."),
        (dict(start=1.0, stop=0.1), r"find\(start=...\) must be less than stop, got start=1.0, stop=0.1."),
        (dict(start=1.0, stop=1.0), r"find\(start=...\) must be less than stop"),
        (dict(stop=float("inf")), r"find\(stop=...\) must be finite, got inf."),
        (dict(stop=1e39), r"find\(stop=...\) must fit in float32"),
        (dict(steps=0), r"find\(steps=...\) must be positive, got 0."),
        (dict(seeds=0), r"find\(seeds=...\) must be positive, got 0."),
        (dict(budget=0), r"find\(budget=...\) must be positive, got 0."),
        (dict(budget=float("inf")), r"find\(budget=...\) must be finite, got inf."),
        (dict(budget=float("nan")), r"find\(budget=...\) must be finite, got nan."),
        (dict(budget=0.0719), r"find\(budget=...\) must be at least 0.072 for 1000 steps, got 0.0719."),
        (dict(budget=0.1, seeds=2), r"find\(budget=...\) must be at least 0.144 for 1000 steps, got 0.1."),
        (dict(num_steps=50), r"find\(num_steps=...\) must be None without a rule, got 50. .*rule='minimum'."),
        (dict(rule="valley", num_steps=1), r"find\(num_steps=...\) must be at least 2, got 1."),
        (dict(rule="valley", seeds=0), r"find\(seeds=...\) must be positive, got 0."),
        (dict(rule="valley", budget=1.0), r"find\(budget=...\) must be None beside rule='valley'"),
        (dict(rule="valley", schedule=linear), r"find\(schedule=...\) must be None beside rule='valley'"),
        (dict(rule="best"), r"find\(rule=...\) must be one of"),
    ],
)
def test_wrong_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        lrx.find(BOWL, lrx.sgd, **kwargs)


@pytest.mark.parametrize(
    ("kwargs", "argument"),
    [
        (dict(steps=2.5), "steps"),
        (dict(steps=True), "steps"),
        (dict(budget="3"), "budget"),
        (dict(budget=True), "budget"),
        (dict(start="1e-3"), "start"),
        (dict(schedule="cosine"), "schedule"),
        (dict(schedule=lrx.cosine_decay_schedule(0.1, 10)), "schedule"),
    ],
)
def test_wrong_kinds(kwargs, argument):
    with pytest.raises(TypeError, match=rf"find\({argument}=...\) must"):
        lrx.find(BOWL, lrx.sgd, **kwargs)


@pytest.mark.parametrize("steps", [7, 29, 77, 130, 1000, 12345])
def test_the_least_budget_that_is_told_suffices(steps):
    told = rounded_up(least(1) / steps)
    assert int(float(told) * steps + 1e-6) >= least(1)
    assert float(told) == pytest.approx(least(1) / steps, rel=1e-3)


# ---------------------------------------------------------------- how far it is, and going on after a stop


@pytest.mark.parametrize("kwargs", [{}, dict(seeds=2, lanes=1), dict(rule="minimum", num_steps=60)])
def test_progress_is_that_of_a_sweep(kwargs):
    told = []
    found = lrx.find(BOWL, lrx.sgd, progress=told.append, **kwargs)
    assert told == sorted(set(told)) and len(told) > (0 if kwargs.get("rule") else 2)
    assert told[-1] == found.gradients and isinstance(told[0] + 1, int)
    assert [x.best for x in told] == np.minimum.accumulate([x.loss for x in told]).tolist()
    assert all(x.seconds_left > 0 for x in told[:-1]) and told[-1].seconds_left >= 0


def test_a_search_that_was_stopped_goes_on(tmp_path):
    plain, told = lrx.find(BOWL, lrx.adam, seeds=2), []

    def stop(done):
        told.append(int(done))
        if done >= 150 * len(stops):
            raise KeyboardInterrupt

    stops = [1]
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            lrx.find(BOWL, lrx.adam, seeds=2, checkpoint=tmp_path / "state", progress=stop)
        stops.append(1)
    again = []
    found = lrx.find(BOWL, lrx.adam, seeds=2, checkpoint=tmp_path / "state", progress=again.append)
    assert repr(found) == repr(plain) and found.gradients == plain.gradients == again[-1]
    for one, other in zip(found.rounds, plain.rounds, strict=True):
        np.testing.assert_array_equal(one.losses, other.losses)
    with pytest.raises(ValueError, match=r"find\(checkpoint=...\) must be of a find with the same arg.*start"):
        lrx.find(BOWL, lrx.adam, seeds=2, checkpoint=tmp_path / "state", start=1e-6)


@pytest.mark.parametrize("number", [float, np.array])
def test_numbers_of_steps_seeds_and_models_may_be_whole_floats_or_arrays(number):
    plain = lrx.find(BOWL, lrx.sgd, steps=200, seeds=2, budget=2.5, lanes=1)
    found = lrx.find(BOWL, lrx.sgd, steps=number(200), seeds=number(2), budget=2.5, lanes=number(1))
    assert found.learning_rate == plain.learning_rate
    plain = lrx.find(BOWL, lrx.sgd, rule="minimum", num_steps=50, seeds=2)
    found = lrx.find(BOWL, lrx.sgd, rule="minimum", num_steps=number(50), seeds=number(2))
    assert found.learning_rate == plain.learning_rate
