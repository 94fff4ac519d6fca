"""The arithmetic of `benchmarks.choose`, and the whole of it on the bowl."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks.choose.evidence import SHARES, Table, answer, group_of, shown
from benchmarks.choose.evidence import summary as of_answers
from benchmarks.choose.measure import best_fixed, measure, plain, row
from benchmarks.choose.methods import Choice, linear_gradient
from benchmarks.choose.score import ratios, regrets, summary
from benchmarks.choose.show import picture, table
from benchmarks.choose.tasks import Task
from benchmarks.choose.train import Oracle, consult, linear, remembered, train
from benchmarks.choose.users import reinforce, transformer
from lrx.tuning._found import Found
from lrx.tuning._range_test import RangeTest
from tests.tuning.bowl import CURVATURE, scored

STEPS, SEEDS = 40, 3
SLOW, FAST = RATES = np.array([1e-3, 0.1])


def toy():
    def training(params):
        return 0.5 * jnp.sum(CURVATURE * params["x"] ** 2)

    return Task(
        scored(lambda params: {"loss": jnp.sum((params["x"] - 0.5) ** 2)}),
        scored(lambda params: {"loss": jnp.sum((params["x"] - 0.5) ** 2), "training": training(params)}),
    )


@pytest.fixture(scope="module")
def task():
    return toy()


@pytest.fixture(scope="module")
def oracle(task):
    return consult(task, SEEDS, STEPS, RATES)


def test_a_ratio_is_of_means_over_seeds():
    loss, best = np.array([[1.0, 3.0], [np.inf, 1.0]]), np.array([[1.0, 1.0], [1.0, 1.0]])
    np.testing.assert_array_equal(ratios(loss, best), [2.0, np.inf])


def test_a_regret_is_the_share_of_the_decrease_that_was_missed_and_is_clipped():
    best, initial = np.array([1.0]), np.array([5.0])
    for loss, regret in [(1.0, 0.0), (2.0, 0.25), (5.0, 1.0), (0.5, 0.0), (9.0, 1.0), (np.inf, 1.0)]:
        assert regrets(np.array([loss]), best, initial) == regret


def test_the_columns_of_three_tasks():
    loss = np.array([[1.04, 1.04], [1.2, 1.2], [3.0, 5.0]])
    told = summary(loss, np.ones((3, 2)), np.full((3, 2), 5.0), np.array([[0.0, 0.0], [1.0, 1.0], [-1.0, 0.5]]))
    values = {name: value for name, (value, _, _) in told.items()}
    assert values == pytest.approx(
        {
            "ratio_median": 1.2,
            "ratio_within_5_percent": 1 / 3,
            "ratio_worst": 4.0,
            "regret_mean": (0.01 + 0.05 + 0.75) / 3,
            "regret_worst": 0.75,
            "log10_rate_median": 0.25,
        }
    )
    assert all(low <= value <= high for value, low, high in told.values())
    assert told["ratio_median"][1] == pytest.approx(1.04)  # the bootstrap draws the best task only, now and then
    assert told["ratio_worst"][2] == pytest.approx(5.0)  # and the worst seed only


def test_no_spread_no_interval():
    told = summary(np.full((4, 3), 2.0), np.ones((4, 3)), np.full((4, 3), 3.0), None)
    assert told["ratio_median"] == (2.0, 2.0, 2.0)
    assert told["regret_mean"] == (0.5, 0.5, 0.5)
    assert "log10_rate_median" not in told


def test_a_run_is_as_many_gradients_as_steps_a_forward_a_third_and_an_hvp_two():
    assert Choice(1.0).runs(1000) == 0
    assert Choice(1.0, gradients=100, forwards=30, hvps=20).runs(1000) == pytest.approx(0.15)


def test_lightnings_rule_finds_the_steepest_fall_over_the_rate_itself():
    rates = np.geomspace(1e-7, 10, 100)
    low, high = 30, 70  # the loss falls fast over the rate at `low`, fast over its logarithm at `high`
    losses = 5 - np.tanh((rates - rates[low]) / rates[low]) - 10 * np.tanh((rates - rates[high]) / rates[high])
    losses[-5:] = np.nan
    assert rates[20] < linear_gradient(rates, losses) < rates[50]


def test_a_lone_training_is_a_member_of_the_sweep(task, oracle):
    rates = np.stack([np.asarray(linear(FAST, STEPS)(np.arange(STEPS)))] * SEEDS)
    trained = train(task, optax.adam, rates, np.arange(SEEDS), SEEDS)
    for by in ("training", "validation"):
        np.testing.assert_allclose(trained.losses[by], oracle.swept[by][1], rtol=1e-4)


def test_the_whole_of_it(task, oracle):
    keys = [str(jax.random.key(1000 + seed)) for seed in range(SEEDS)]
    picked = dict(zip(keys, [SLOW, FAST, SLOW], strict=True))
    assert best_fixed({"toy": oracle}) == FAST
    choosers = {
        "fast": lambda task, key, steps: Choice(FAST),
        "mixed": lambda task, key, steps: Choice(picked[str(key)], gradients=10),
    }
    measured = measure(task, choosers, ["optax schedule_free_adamw"], SEEDS, STEPS)
    rows = {name: row({"toy": oracle}, {"toy": m}, STEPS) for name, m in measured.items()}

    fast, mixed, free = rows.values()
    assert fast["training"]["ratio_median"][0] == pytest.approx(1, rel=1e-4)
    assert fast["training"]["regret_worst"][0] == pytest.approx(0, abs=1e-5)
    assert fast["choose_runs"] == 0
    # each seed is scored at its own choice
    expected = [oracle.swept["training"][i, seed] for seed, i in enumerate([0, 1, 0])]
    np.testing.assert_allclose(measured["mixed"].losses["training"], expected, rtol=1e-4)
    assert mixed["choose_runs"] == 0.25
    assert mixed["learning_rates"]["toy"] == [SLOW, FAST, SLOW]
    assert mixed["training"]["log10_rate_median"][0] == pytest.approx(-2)
    assert "learning_rates" not in free
    assert "| fast | 0 + 1 |" in table(rows, "training")
    assert len(picture(rows).axes) == 2


def test_the_oracle_is_asked_once_for_the_same_settings(tmp_path, oracle):
    asked = []

    def ask():
        asked.append(1)
        return {"toy": oracle}

    first, second = (remembered(str(tmp_path), "rates.json", {"seeds": 3}, Oracle, ask) for _ in range(2))
    assert len(asked) == 1
    assert isinstance(second["toy"], Oracle)
    jax.tree.map(np.testing.assert_array_equal, *(dataclasses.asdict(o["toy"]) for o in (first, second)))
    remembered(str(tmp_path), "rates.json", {"seeds": 4}, Oracle, ask)
    assert len(asked) == 2


def test_json_has_no_infinity():
    assert plain({"a": [1.0, (np.inf, float("nan"))]}) == {"a": [1.0, [None, None]]}


# ---------------------------------------------------------------- evidence


def known():
    """A sweep whose best rate is 0.01, and runs at it that end at 1 / share."""
    return Table(np.array([1e-3, 1e-2, 1e-1]), np.array([1.04, 1.0, 4.0]), 5.0, 1 / SHARES)


def said(rate, low, high, confident=True):
    return Found(rate, (low, high), confident, RangeTest(np.ones(2), np.ones(2)), gradients=250)


def test_a_suggestion_is_scored_by_its_runs_beside_the_sweep():
    a = answer(said(10**-1.5, 0.005, 0.2), 2.0, known(), 1000)
    assert a.ratio == pytest.approx(2.0)
    assert a.regret == pytest.approx(0.25)
    assert a.lost == pytest.approx(0.5)  # at half of the updates the best rate is as low
    assert a.log10_rate == pytest.approx(0.5)
    assert (a.covers_best, a.covers_valley, a.runs) == (True, False, 0.25)
    assert answer(said(0.01, 5e-4, 0.2), 1.0, known(), 1000).covers_valley
    best = answer(said(0.01, 0.02, 0.2), 1.0, known(), 1000)
    assert (best.ratio, best.lost, best.covers_best) == (1.0, pytest.approx(0.0), False)


def test_only_confident_answers_are_asked_for_their_intervals():
    good = answer(said(0.01, 5e-4, 0.2), 1.0, known(), 1000)
    wrong = answer(said(0.1, 0.05, 0.2), 4.0, known(), 1000)
    unsure = answer(said(0.1, 0.05, 0.2, confident=False), 4.0, known(), 1000)
    row = of_answers({"a, adam": [good, unsure], "b, adam": [good, good]})
    assert (row["cases"], row["confident"], row["covers the best"]) == (2, 0.75, 1.0)
    assert row["within 5 %"] == 0.5  # of cases, by the mean over their answers
    assert of_answers({"a, adam": [good, wrong]})["covers the best"] == 0.5
    assert "100 %" in shown({"adam": row})
    assert group_of("digits trained, sgd") == "trained start" and group_of("digits, sgd") == "sgd"


@pytest.mark.parametrize("make", [transformer, reinforce])
def test_tasks_of_users_have_a_loss(make):
    problem = make().problem
    key = jax.random.key(0)
    gradient = jax.eval_shape(
        lambda key: jax.value_and_grad(problem.loss)(problem.init(key), problem.sample(key), key), key
    )
    assert gradient[0].shape == ()
    assert set(jax.eval_shape(lambda key: problem.evaluate(problem.init(key)), key)) == {"loss", "training"}
