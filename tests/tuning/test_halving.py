"""A halving finds what the whole sweep would, for the price that it was allowed."""

import dataclasses
import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrx
from lrx.tuning._checkpoint import Checkpoint
from lrx.tuning._engine import watching
from lrx.tuning._halving_plan import unit_of
from tests.tuning.bowl import bowl, validated

LINEAR = {"linear": lambda peak, steps: lrx.linear_schedule(peak, 0.0, steps)}
SCHEDULES = LINEAR | {"cosine": lrx.cosine_decay_schedule}
RATES = np.geomspace(0.01, 1.9, 8)
GRID: dict[str, Any] = dict(learning_rate=RATES, schedule=SCHEDULES, seeds=2, steps=100)


@functools.cache
def shaken():
    """Descent along a flat valley whose walls are shaken to and fro: no chance in it, and high rates pay at the end.

    A high rate gets far along the valley and bounces between its walls, which costs more than it gains until the rate
    decays.
    """
    curvature, shake = jnp.array([1.0, 0.02]), jnp.array([1.0, 0.0])
    data = [np.float32(sign) for sign in (1, 1, -1, -1)]
    return lrx.Problem(
        init=lambda key: jnp.array([0.0, 3.0]),
        loss=lambda x, batch, key=None: 0.5 * jnp.sum(curvature * (x - batch * shake) ** 2),
        batches=data,
        name="shaken",
    )


@functools.cache
def valley():
    """Descent along a valley, too long to reach its end: at every horizon the highest stable rate is the best."""

    def loss(x):
        return 0.5 * jnp.sum(jnp.array([1.0, 0.002]) * x**2)

    return lrx.Problem(
        init=lambda key: jnp.array([0.1, 3.0]),
        loss=lambda x, batch, key=None: loss(x),
        sample=lambda key: jnp.zeros(()),
        evaluate=lambda x: {"loss": 2 * loss(x)},
    )


# ---------------------------------------------------------------- the plan


@pytest.mark.parametrize("members", [1, 2, 5, 16, 100, 128])
@pytest.mark.parametrize("budget", [2.0, 3.0, 7.5, 200.0])
@pytest.mark.parametrize("steps", [997, 1000, 12345])
@pytest.mark.parametrize("keep", [0.25, 0.5])
def test_plans_keep_to_the_budget_and_use_it(members, budget, steps, keep):
    rungs = lrx.halving_plan(members, budget, steps, keep=keep)
    assert [r.begin for r in rungs] == [0, *(r.end for r in rungs[:-1])]
    assert rungs[-1].end == steps
    assert rungs[0].members == members
    cost = sum(r.gradients for r in rungs) / steps
    assert cost <= budget
    if members > budget:
        assert cost > 0.7 * budget
    for a, b in itertools.pairwise(rungs):
        assert a.members > b.members >= keep * a.members
        assert a.cooldown > 0
        assert a.end + a.cooldown <= steps
        assert a.cooldown >= 0.1 * a.end
        assert a.end % unit_of(steps) == a.cooldown % unit_of(steps) == 0


def test_a_rung_costs_what_its_members_and_their_copies_do():
    rung = lrx.halving_plan(32, budget=4.0, steps=1000)[1]
    assert (rung.members, rung.begin, rung.end, rung.cooldown) == (8, 35, 140, 14)
    assert rung.gradients == pytest.approx(8 * (105 + 14 + 14 / 3))


def test_as_many_runs_as_members_are_a_sweep():
    assert [(r.members, r.end) for r in lrx.halving_plan(4, budget=4, steps=10)] == [(4, 10)]


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((100, 1.0), {}, r"halving_plan\(budget=...\) must be at least 1.\d\d for 100 members, got 1.0. Give a larger"),
        ((0,), {}, r"halving_plan\(members=...\) must be positive"),
        ((8, 0.0), {}, r"halving_plan\(budget=...\) must be positive"),
        ((8,), dict(keep=1.0), r"halving_plan\(keep=...\) must be below 1"),
        ((8,), dict(cooldown=0.0), r"halving_plan\(cooldown=...\) must be positive"),
        ((8,), dict(cooldown=1.5), r"halving_plan\(cooldown=...\) must be at most 1"),
        ((128, 3.0, 2), {}, r"halving_plan\(steps=...\) must be more for 5 rungs, got 2."),
    ],
)
def test_wrong_plans(args, kwargs, message):
    with pytest.raises(ValueError, match=message):
        lrx.halving_plan(*args, **kwargs)


# ---------------------------------------------------------------- the training


@pytest.fixture(scope="module")
def whole():
    return lrx.sweep(validated(), lrx.sgd, **GRID)


@pytest.fixture(scope="module")
def halved():
    told = []
    return lrx.halving(validated(), lrx.sgd, budget=4.0, progress=told.append, **GRID), told


def test_who_is_left_trained_as_in_a_sweep_and_who_is_not_was_stopped(whole, halved):
    result, _ = halved
    ends = np.zeros((8, 2), int)
    for scored in result.rungs:
        ends[np.isfinite(scored.scores)] = scored.rung.end
        assert np.isfinite(scored.scores).sum() == scored.rung.members
    assert sorted(np.unique(ends)) == [s.rung.end for s in result.rungs]
    for index in np.ndindex(8, 2):
        end = ends[index]
        np.testing.assert_allclose(result.losses[index][:, :end], whole.losses[index][:, :end], rtol=2e-6)
        assert np.isnan(result.losses[index][:, end:]).all()
        kept = end == 100
        np.testing.assert_allclose(
            result.sweep.scores["loss"][index], whole.scores["loss"][index] if kept else np.nan, rtol=2e-6
        )


def test_the_best_members_of_a_rung_go_on(halved):
    for a, b in itertools.pairwise(halved[0].rungs):
        alive = np.isfinite(b.scores)
        assert np.nanmax(a.scores[alive]) <= np.nanmin(np.where(alive, np.inf, a.scores))


def test_the_price_is_within_the_budget_and_told(halved):
    result, told = halved
    plan = lrx.halving_plan(16, budget=4.0, steps=100)
    assert tuple(s.rung for s in result.rungs) == plan
    assert result.runs == pytest.approx(sum(r.gradients for r in plan) / 100)
    assert result.runs <= 4.0
    assert told == sorted(told)
    assert told[-1] == 2 * sum(r.members * (r.end - r.begin + r.cooldown) for r in plan)  # two seeds
    assert repr(result) == f"Halving('bowl', members: 16 → 4 → 2, runs: {result.runs:.2f})"


@pytest.mark.parametrize("by", ["training", "validation"])
@pytest.mark.parametrize("budget", [3.0, 5.0])
def test_the_true_best_is_kept_when_there_is_no_noise(by, budget):
    kwargs: dict[str, Any] = dict(learning_rate=np.geomspace(0.003, 30.0, 24), steps=400)
    best = lrx.sweep(valley(), lrx.sgd, **kwargs).best(by)
    assert 1.0 < best.learning_rate < 2.0  # the highest at which descent is stable
    result = lrx.halving(valley(), lrx.sgd, budget=budget, by=by, **kwargs)
    assert result.by == by
    assert result.best().learning_rate == best.learning_rate
    assert result.best().loss == pytest.approx(best.loss, rel=1e-5)


def test_a_high_rate_is_not_stopped_because_it_has_not_decayed_yet():
    rates = np.geomspace(0.003, 1.9, 16)
    kwargs: dict[str, Any] = dict(learning_rate=rates, schedule=LINEAR, steps=400)
    best = lrx.sweep(shaken(), lrx.sgd, **kwargs).best().index
    first = lrx.halving(shaken(), lrx.sgd, **kwargs).rungs[0]
    losses = lrx.sweep(shaken(), lrx.sgd, **kwargs).losses[:, :, 0, first.rung.end - 4 : first.rung.end].mean(axis=-1)
    assert (losses < losses[best]).sum() >= first.rung.members // 4  # by its loss so far it would have been stopped
    assert (first.scores < first.scores[best]).sum() < first.rung.members // 4


def test_as_many_runs_as_members_give_the_sweep(whole):
    result = lrx.halving(validated(), lrx.sgd, budget=16, **GRID)
    np.testing.assert_allclose(result.losses, whole.losses, rtol=2e-6)
    assert result.best() == whole.best()
    assert result.runs == 16


def test_one_trace_for_each_size_of_the_population_and_none_for_another_grid():
    traces = []

    def make(rate):
        if isinstance(rate, jax.core.Tracer):
            traces.append(rate)
        return lrx.sgd(rate)

    problem = bowl()
    kwargs: dict[str, Any] = dict(learning_rate=np.geomspace(0.01, 1.9, 32), steps=200, budget=4.0)
    for method, programs in (("vmap", 3), ("map", 1)):  # 32, 8, 2; sixteen at once
        traces.clear()
        result = lrx.halving(problem, make, method=method, **kwargs)
        assert [s.rung.members for s in result.rungs] == [32, 8, 2]
        assert len(traces) <= 1 + 4 * programs  # the start; each loop around a step may trace it again
        first = len(traces)
        lrx.halving(problem, make, method=method, **kwargs | dict(learning_rate=np.geomspace(0.02, 1.5, 32)))
        assert len(traces) == first


def test_diverged_members_are_stopped_first():
    rates = [0.1, 1e30, 0.5, 1e20, 1.0, 1e25, 0.01, 3.0]
    result = lrx.halving(bowl(), lrx.sgd, learning_rate=rates, steps=200, budget=4.0)
    assert np.isinf(result.rungs[0].scores[[1, 3, 5], 0]).all()
    assert result.best().learning_rate in (0.5, 1.0)
    with pytest.raises(ValueError, match=r"halving\(\) found no member that stayed finite on every seed: give lower"):
        lrx.halving(bowl(), lrx.sgd, learning_rate=np.geomspace(1e20, 1e30, 8), steps=200)


def test_further_hyperparameters_are_members_too():
    kwargs: dict[str, Any] = dict(learning_rate=[0.01, 0.1, 0.5], momentum=[0.5, 0.9], steps=200)
    result = lrx.halving(bowl(), lrx.sgd, budget=4.0, **kwargs)
    assert result.rungs[0].scores.shape == (3, 1, 2)
    best, whole = result.best(), lrx.sweep(bowl(), lrx.sgd, **kwargs)
    assert whole.losses[best.index] == pytest.approx(result.losses[best.index], rel=2e-6)


@pytest.mark.parametrize("once", [False, True])
def test_batches_from_the_host_are_those_of_a_sweep(once):
    data = np.random.default_rng(0).normal(size=300).astype(np.float32)

    def problem():
        return dataclasses.replace(shaken(), batches=iter(data) if once else data)

    kwargs: dict[str, Any] = dict(learning_rate=np.geomspace(0.01, 0.5, 4), steps=100)
    result = lrx.halving(problem(), lrx.sgd, budget=2.0, keep=0.5, **kwargs)
    whole = lrx.sweep(problem(), lrx.sgd, **kwargs)
    best = result.best().index
    np.testing.assert_allclose(result.losses[best], whole.losses[best], rtol=2e-6)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(by="test"), r"halving\(by=...\) must be one of 'training', 'validation', got 'test'."),
        (dict(by="validation"), r"halving\(by=...\) needs a problem whose evaluate\(params\) gives a 'loss'"),
        (dict(budget=0.5), r"halving\(budget=...\) must be at least"),
        (dict(learning_rate=[0.1, -1.0]), r"halving\(learning_rate=...\) must be positive"),
        (dict(method="x"), r"halving\(method=...\) must be one of"),
    ],
)
def test_wrong_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        lrx.halving(bowl(), lrx.sgd, **dict(learning_rate=RATES) | kwargs)


# ---------------------------------------------------------------- stopped and gone on with


class Stop(Exception):
    pass


def stop_after(calls):
    left = [calls]

    def progress(done):
        left[0] -= 1
        if left[0] < 0:
            raise Stop

    return progress


@pytest.mark.parametrize("by", ["training", "validation"])
def test_a_halving_stopped_again_and_again_ends_as_one_that_was_not(tmp_path, by):
    problem = validated()
    kwargs: dict[str, Any] = dict(budget=3.0, by=by, **GRID)
    plain = lrx.halving(problem, lrx.sgd, **kwargs)
    assert len(plain.rungs) > 2
    stops = 0
    while True:
        try:
            again = lrx.halving(problem, lrx.sgd, checkpoint=tmp_path / "state", progress=stop_after(25), **kwargs)
            break
        except Stop:
            stops += 1
    assert stops > 4
    for result in (again, lrx.halving(problem, lrx.sgd, checkpoint=tmp_path / "state", **kwargs)):
        np.testing.assert_array_equal(result.losses, plain.losses)
        for one, other in zip(result.rungs, plain.rungs, strict=True):
            np.testing.assert_array_equal(one.scores, other.scores)
        for name, x in plain.sweep.scores.items():
            np.testing.assert_array_equal(result.sweep.scores[name], x)


@pytest.mark.parametrize("problem", [bowl(), shaken()], ids=["drawn", "host"])
def test_a_halving_stopped_while_it_scores_measures_nothing_twice(tmp_path, problem, monkeypatch):
    monkeypatch.setattr(Checkpoint, "due", lambda self, done: True)
    kwargs: dict[str, Any] = dict(learning_rate=[0.01, 0.1, 0.5, 1.0], steps=65, budget=3.0, cooldown=1.0)
    sizes = []
    with watching(lambda losses: sizes.append(losses.size)):
        plain = lrx.halving(problem, lrx.sgd, **kwargs)
    left = list(sizes)

    def hear(losses):
        made.append(losses.size)
        if len(made) == 3:
            raise Stop

    for _ in range(len(sizes)):
        made = []
        try:
            with watching(hear):
                again = lrx.halving(problem, lrx.sgd, checkpoint=tmp_path / "state", **kwargs)
            break
        except Stop:
            assert made == left[:3]  # the third, which was not written, comes again
            left = left[2:]
    assert made == left
    np.testing.assert_array_equal(again.losses, plain.losses)
    for one, other in zip(again.rungs, plain.rungs, strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)


def test_a_halving_of_host_batches_goes_on(tmp_path):
    kwargs: dict[str, Any] = dict(learning_rate=[0.01, 0.1, 0.5, 1.0], steps=100, budget=2.0)
    plain = lrx.halving(shaken(), lrx.sgd, **kwargs)
    with pytest.raises(Stop):
        lrx.halving(shaken(), lrx.sgd, checkpoint=tmp_path / "state", progress=stop_after(40), **kwargs)
    again = lrx.halving(shaken(), lrx.sgd, checkpoint=tmp_path / "state", **kwargs)
    np.testing.assert_array_equal(again.losses, plain.losses)


def test_another_halving_is_told(tmp_path):
    kwargs: dict[str, Any] = dict(learning_rate=[0.01, 0.1, 0.5, 1.0], steps=20, checkpoint=tmp_path / "state")
    lrx.halving(bowl(), lrx.sgd, budget=2.0, **kwargs)
    with pytest.raises(ValueError, match=r"halving\(checkpoint=...\) must be of a halving with .*: plan of the rungs"):
        lrx.halving(bowl(), lrx.sgd, budget=2.5, **kwargs)
    with pytest.raises(ValueError, match=r"halving\(checkpoint=...\) must be of a halving with the same arguments"):
        lrx.sweep(bowl(), lrx.sgd, learning_rate=0.1, steps=20, checkpoint=tmp_path / "other")
        lrx.halving(bowl(), lrx.sgd, **kwargs | dict(checkpoint=tmp_path / "other"))
