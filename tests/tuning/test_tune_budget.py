"""`tune` within a budget keeps to it, and spends it where the evidence points."""

import jax.numpy as jnp
import numpy as np
import pytest

import lrx
from lrx.tuning._convex_bound import ConvexBound
from lrx.tuning._next_run import Candidates, Member
from lrx.tuning._rate_search import least
from lrx.tuning._tune_plan import divided
from tests.tuning.bowl import bowl

PLAIN = bowl(0.1)
GRID = np.geomspace(0.01, 1.5, 12)


@pytest.fixture(scope="module")
def tuned():
    return lrx.tune(PLAIN, optimizers="sgd", learning_rates=GRID, budget=4.0, steps=200)


# ---------------------------------------------------------------- the budget


@pytest.mark.parametrize("budget", [1.25, 2.0, 3.0, 4.9, 20.0])
@pytest.mark.parametrize("optimizers", [1, 2, 4])
@pytest.mark.parametrize("steps", [288, 1000, 12345])
@pytest.mark.parametrize("seeds", [1, 3])
def test_short_and_whole_runs_cost_no_more_than_the_budget(budget, optimizers, steps, seeds):
    if budget < 0.25 * optimizers + seeds:
        with pytest.raises(ValueError, match="must be at least"):
            divided(budget, optimizers, steps, seeds)
        return
    for longer in (True, False):
        plan = divided(budget, optimizers, steps, seeds, longer)
        assert plan.whole >= 1
        short = optimizers * (plan.gradients + 3 * plan.longer) / steps
        assert plan.whole * seeds + short <= budget + 1e-9
        assert plan.gradients >= least(plan.starts)
        assert 1 <= plan.starts <= (1 if plan.longer else 4)
        assert longer or not plan.longer
        if plan.longer:
            assert steps // 4 <= plan.longer <= steps
            assert plan.whole >= min(optimizers, 2)


@pytest.mark.parametrize(
    ("budget", "optimizers", "seeds", "whole", "longer"),
    [
        (1.99, 1, 1, 1, 0),
        (2.0, 1, 1, 1, 250),
        (3.0, 1, 1, 2, 250),
        (3.75, 1, 1, 2, 500),
        (5.0, 1, 1, 4, 250),
        (3.99, 1, 3, 1, 0),
        (6.9, 1, 3, 1, 1000),
        (7.0, 1, 3, 2, 250),
        (3.99, 2, 1, 3, 0),
        (5.5, 2, 1, 3, 333),
    ],
)
def test_longer_runs_come_before_more_whole_ones_than_are_compared(budget, optimizers, seeds, whole, longer):
    plan = divided(budget, optimizers, 1000, seeds)
    assert (plan.whole, plan.longer) == (whole, longer)


def test_what_it_cost_is_told_and_within_the_budget(tuned):
    whole = sum(len(s.learning_rates) for s in tuned.sweeps["sgd"])
    assert tuned.runs == pytest.approx(whole + tuned.found.gradients / 200)
    assert whole == 2
    assert tuned.found.gradients == least(1) + 3 * tuned.found.rounds[-1].steps
    assert tuned.runs <= tuned.budget == 4.0


def test_only_the_rates_that_were_given_are_used(tuned):
    for s in tuned.sweeps["sgd"]:
        for r in s.learning_rates:
            assert np.isclose(GRID, r).any()


# ---------------------------------------------------------------- the choice


def test_the_choice_is_nearly_as_good_as_the_best_of_the_whole_grid(tuned):
    schedules = {"constant": lambda peak, steps: peak, "cosine": lrx.cosine_decay_schedule}
    schedules["linear"] = lambda peak, steps: lrx.warmup_linear_schedule(peak, steps // 20, total_steps=steps)
    whole = lrx.sweep(PLAIN, lrx.sgd, learning_rate=GRID, schedule=schedules, steps=200, seeds=4)
    mean = whole.final.mean(axis=-1)
    rate = int(np.argmin(abs(whole.learning_rates - tuned.learning_rate)))
    assert tuned.schedule_name in schedules
    assert mean[rate, list(schedules).index(tuned.schedule_name)] < 1.5 * mean.min()


def test_the_same_key_gives_the_same_choice(tuned):
    again = lrx.tune(PLAIN, optimizers="sgd", learning_rates=GRID, budget=4.0, steps=200)
    assert again.table == tuned.table
    assert again.interval == tuned.interval


def test_a_larger_budget_trains_what_it_said(tuned):
    more = lrx.tune(PLAIN, optimizers="sgd", learning_rates=GRID, budget=5.0, steps=200)
    before, after = (
        {(s.schedules[0], f"{r:.3g}") for s in t.sweeps["sgd"] for r in s.learning_rates} for t in (tuned, more)
    )
    assert before < after
    ((schedule, rate),) = after - before
    assert tuned.larger_budget == f"A budget of 5 runs would also train sgd under {schedule} at {rate}."


def test_optimizers_without_a_whole_run_are_told_from_short_ones_of_one_length():
    result = lrx.tune(PLAIN, optimizers=["sgd", "adam", "adagrad"], schedules="linear", budget=3.0, steps=400)
    whole, short = ([r for r in result.table if (r.steps == 400) is w] for w in (True, False))
    assert len(whole) == 2
    assert [r.verdict for r in short] == ["short runs"]
    assert result.runner_up is whole[1]
    assert result.table == (*whole, *short)


def test_validation_asks_for_a_lower_rate_where_training_goes_too_far():
    """Training goes from 0 to 1, and 0.5 is best in truth."""
    problem = lrx.Problem(
        init=lambda key: jnp.zeros(()),
        loss=lambda x, batch, key=None: (x - 1) ** 2,
        sample=lambda key: jnp.zeros(()),
        evaluate=lambda x: {"loss": (x - 0.5) ** 2},
    )
    by = {
        by: lrx.tune(problem, optimizers={"sgd": lrx.sgd}, schedules="linear", budget=5.0, steps=40, by=by)
        for by in ("training", "validation")
    }
    assert by["validation"].learning_rate < by["training"].learning_rate
    losses = {name: t.table[0].validation.mean for name, t in by.items()}
    assert losses["validation"] < 0.1 * losses["training"]
    assert lrx.tune(problem, optimizers={"sgd": lrx.sgd}, schedules="linear", budget=5.0, steps=40).by == "validation"


# ---------------------------------------------------------------- who is next


def candidates(by="training", optimizers=("a", "b", "c")):
    lattice = np.geomspace(1e-3, 1, 31)
    return Candidates(
        optimizers=optimizers,
        schedules=("linear", "constant"),
        bounds={"linear": ConvexBound(1.0, 2.0), "constant": ConvexBound(2.0, 1.0)},
        suggested=dict.fromkeys(optimizers, 0.104),
        lattice=dict.fromkeys(optimizers, lattice),
        by=by,
    )


def order(among, losses, n):
    """The first `n` members that get whole runs, under a given loss."""
    done = {}
    for _ in range(n):
        member = next(among.in_order(done))
        done[member] = losses(member)
    return list(done)


def test_the_two_best_optimizers_come_first():
    first = order(candidates(), lambda m: 1.0, 2)
    assert [(m.optimizer, m.schedule) for m in first] == [("a", "linear"), ("b", "linear")]


def test_the_rates_around_the_best_one_come_next_then_its_other_schedule_at_the_transferred_rate():
    tried = order(
        candidates(optimizers=("a",)), lambda m: abs(np.log(m.learning_rate / 0.1)) + (m.schedule != "linear"), 4
    )
    np.testing.assert_allclose([m.learning_rate for m in tried[:3]], [0.1, 0.126, 0.0794], rtol=0.01)
    assert tried[3].schedule == "constant"
    assert tried[3].learning_rate == pytest.approx(0.05, rel=0.01)


def test_the_search_follows_a_loss_that_falls():
    tried = order(candidates(optimizers=("a",)), lambda m: -m.learning_rate, 6)
    rates = [m.learning_rate for m in tried if m.schedule == "linear"]
    assert len(rates) == 6
    np.testing.assert_allclose(np.diff(np.log10(rates)), 0.1, rtol=1e-6)


def test_validation_goes_far_down_first_and_then_in_between():
    tried = order(candidates("validation", ("a",)), lambda m: abs(np.log(m.learning_rate / 0.04)), 3)
    np.testing.assert_allclose([m.learning_rate for m in tried], [0.1, 0.0158, 0.0398], rtol=0.02)


def test_where_a_whole_run_diverged_a_lower_rate_is_next():
    tried = order(candidates(optimizers=("a",)), lambda m: np.inf, 2)
    assert tried[1] == Member("a", "linear", pytest.approx(0.1 / 6, rel=0.1))


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        (dict(budget=0.0), ValueError, r"tune\(budget=...\) must be positive, got 0.0."),
        (dict(budget=float("nan")), ValueError, r"tune\(budget=...\)"),
        (dict(budget=float("inf")), ValueError, r"tune\(budget=...\) must be finite"),
        (dict(budget=1.0), ValueError, r"tune\(budget=...\) must be at least 1.25, for the short runs of an optimizer"),
        (dict(by="x"), ValueError, r"tune\(by=...\) must be one of 'training', 'validation', got 'x'."),
        (dict(by="validation"), ValueError, r"tune\(by=...\) needs a problem whose evaluate\(params\) gives a 'loss'"),
    ],
)
def test_wrong_arguments(kwargs, error, message):
    with pytest.raises(error, match=message):
        lrx.tune(PLAIN, steps=1000, **kwargs)


def test_batches_that_can_be_read_once_are_refused():
    batches = iter(np.zeros((1000, 2), np.float32))
    problem = lrx.Problem(PLAIN.init, PLAIN.loss, batches=batches)
    with pytest.raises(ValueError, match=r"must give batches that can be read again for each run"):
        lrx.tune(problem, budget=3.0, steps=300)
