import functools

import jax.numpy as jnp
import numpy as np
import pytest

import lrx
from tests.tuning.bowl import bowl, scored


@pytest.mark.parametrize("call", [lrx.find, lrx.range_test, functools.partial(lrx.sweep, learning_rate=0.1)])
def test_problem_and_make_optimizer_are_checked_before_training(call):
    with pytest.raises(TypeError, match=r"\(problem=...\) must be a Problem, got <function"):
        call(lrx.problems.digits, lrx.adam)
    with pytest.raises(TypeError, match=r"\(make_optimizer=...\) must be a function of the learning rate"):
        call(bowl(), lrx.adam(1e-3))
    with pytest.raises(TypeError, match=r"\(make_optimizer=...\) must be a function of the learning rate"):
        call(bowl(), "adam")


def test_tune_wants_a_problem():
    with pytest.raises(TypeError, match=r"tune\(problem=...\) must be a Problem, got 'digits'."):
        lrx.tune("digits")


@pytest.mark.parametrize(
    "evaluate", [lambda p: jnp.sum(p["x"]), lambda p: {"loss": p["x"]}, lambda p: {"loss": {"a": p["x"][0]}}]
)
def test_evaluate_is_checked_before_training(evaluate):
    with pytest.raises(TypeError, match=r"Problem\(evaluate=...\) must return a dict of scalars"):
        lrx.sweep(scored(evaluate), lrx.sgd, learning_rate=0.1, steps=2, seeds=2)
    with pytest.raises(TypeError, match=r"Problem\(evaluate=...\) must return a dict of scalars"):
        lrx.tune(scored(evaluate), steps=2, seeds=2)


def test_tune_decides_by_training_loss_if_evaluate_gives_none():
    problem = scored(lambda p: {"accuracy": jnp.float32(1.0)})
    result = lrx.tune(
        problem,
        optimizers="sgd",
        schedules="constant",
        learning_rates=[0.4, 0.001, 0.01],
        budget=None,
        steps=8,
        seeds=1,
    )
    assert result.by == "training"
    assert result.sweeps["sgd"][0].coords["learning_rate"] == (0.001, 0.01, 0.4)  # sorted: at_edge is about rates


def test_batches_of_two_shapes_are_told_whatever_the_number_of_steps():
    data = [np.zeros(32), np.zeros(32), np.zeros(7)]
    problem = lrx.Problem(lambda key: jnp.ones(2), lambda p, b, key=None: jnp.mean((p.sum() - b) ** 2), batches=data)
    for steps in (6, 100):
        with pytest.raises(ValueError, match=r"must give batches of one shape.*drop_last"):
            lrx.sweep(problem, lrx.sgd, learning_rate=0.1, steps=steps)


def test_an_array_of_batches_is_read_row_by_row():
    problem = lrx.Problem(lambda key: jnp.ones(2), lambda p, b, key=None: 0 * p.sum() + b[0], batches=np.eye(3))
    assert lrx.sweep(problem, lrx.sgd, learning_rate=0.1, steps=4).losses.ravel().tolist() == [1, 0, 0, 1]


@pytest.mark.parametrize("schedule", [["cosine"], "cosine", {"c": lrx.cosine_decay_schedule(0.1, 6)}, {"c": 0.1}])
def test_schedules_are_a_dict_of_functions(schedule):
    with pytest.raises(TypeError, match=r"sweep\(schedule=...\) must"):
        lrx.sweep(bowl(), lrx.sgd, learning_rate=0.1, schedule=schedule, steps=2)


def test_swept_hyperparameters_meet_the_checks_of_the_factory():
    with pytest.raises(ValueError, match=r"momentum=...\) must be in \[0, 1\) in float32, got 1.5."):
        lrx.sweep(bowl(), lrx.sgd, learning_rate=0.1, momentum=[0.5, 1.5], steps=2)
    with pytest.raises(TypeError, match=r"with functools.partial"):
        lrx.sweep(bowl(), lrx.sgd, learning_rate=0.1, nesterov=True, steps=2)


def test_counts_may_be_floats_and_the_key_a_number():
    a = lrx.sweep(bowl(), lrx.sgd, learning_rate=0.1, steps=4.0, seeds=2.0, key=7)
    assert a.losses.shape == (1, 1, 2, 4)


CALLS = {
    "sweep": lambda make: lrx.sweep(bowl(), make, learning_rate=[0.1], steps=4),
    "find": lambda make: lrx.find(bowl(), make, steps=100),
    "range_test": lambda make: lrx.range_test(bowl(), make),
    "halving": lambda make: lrx.halving(bowl(), make, learning_rate=[0.1, 0.2], steps=40, budget=2),
    "tune": lambda make: lrx.tune(bowl(), optimizers={"mine": make}, steps=40),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_an_error_in_make_optimizer_names_what_stands_there(call):
    with pytest.raises(ValueError, match=r"^adam\(b1=...\) must be in \[0, 1\)"):
        call(lambda learning_rate: lrx.adam(learning_rate, b1=1.5))


def test_an_error_in_a_schedule_names_what_stands_there():
    schedule = {"mine": lambda peak, steps: lrx.cosine_decay_schedule(peak, 0)}
    with pytest.raises(ValueError, match=r"^cosine_decay_schedule\(decay_steps=...\) must be positive"):
        lrx.sweep(bowl(), lrx.sgd, learning_rate=[0.1], steps=4, schedule=schedule)
