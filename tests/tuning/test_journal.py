"""A choice that was stopped goes on, and chooses the same."""

from typing import Any

import numpy as np
import pytest

import lrx
from lrx.tuning._engine import Engine
from tests.tuning.bowl import bowl, validated

LINEAR = {"linear": lambda peak, steps: lrx.linear_schedule(peak, 0.0, steps)}
OWN = {"sgd": lrx.sgd, "adam": lrx.adam}
WAYS: dict[str, dict[str, Any]] = {
    "within a budget": dict(optimizers=["sgd", "adam"], budget=6.0, steps=100, seeds=2),
    "with longer runs": dict(optimizers=OWN, budget=6.5, steps=100, by="training"),
    "without a budget": dict(optimizers=OWN, schedules=LINEAR, budget=None, steps=40, seeds=2),
}


class Stop(Exception):
    pass


def stop_after(calls):
    left = [calls]

    def progress(stage, done, total):
        left[0] -= 1
        if left[0] < 0:
            raise Stop

    return progress


def same(a, b):
    assert (a.learning_rate, a.optimizer, a.schedule_name) == (b.learning_rate, b.optimizer, b.schedule_name)
    assert a.interval == b.interval and a.runs == b.runs and a.larger_budget == b.larger_budget
    assert a.found.learning_rate == b.found.learning_rate and a.found.doubt == b.found.doubt
    assert len(a.table) == len(b.table)
    for name, sweeps in a.sweeps.items():
        for one, other in zip(sweeps, b.sweeps[name], strict=True):
            np.testing.assert_array_equal(one.losses, other.losses)
            for score, x in one.scores.items():
                np.testing.assert_array_equal(x, other.scores[score])


@pytest.mark.parametrize("way", WAYS)
def test_a_choice_stopped_again_and_again_is_that_of_a_call_that_was_not(tmp_path, way, monkeypatch):
    plain, stops, calls = lrx.tune(validated(), **WAYS[way]), 0, 20
    while True:
        try:
            again = lrx.tune(validated(), checkpoint=tmp_path / "state", progress=stop_after(calls), **WAYS[way])
            break
        except Stop:
            stops, calls = stops + 1, calls + 15
    assert stops > 2
    same(again, plain)

    def trains(*args, **kwargs):
        raise AssertionError("all of it is in the folder")

    monkeypatch.setattr(Engine, "advance", trains)
    same(lrx.tune(validated(), checkpoint=tmp_path / "state", **WAYS[way]), plain)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """The folder of a choice that was stopped at once."""
    folder = tmp_path_factory.mktemp("begun") / "state"
    with pytest.raises(Stop):
        lrx.tune(validated(), checkpoint=folder, progress=stop_after(0), **WAYS["within a budget"])
    return folder


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (dict(budget=5.0), r"budget \(6.0 in the file, 5.0 now\)"),
        (dict(seeds=1), r"seeds"),
        (dict(optimizers="sgd"), r"optimizers"),
        (dict(optimizers=OWN), r"make_optimizer sgd"),
        (dict(schedules=LINEAR), r"schedules"),
        (dict(key=7), r"key"),
        (dict(problem=bowl(), by="training"), r"problem"),
    ],
)
def test_another_call_is_told_what_differs(begun, change, told):
    kwargs: dict[str, Any] = dict(problem=validated(), checkpoint=begun) | WAYS["within a budget"]
    with pytest.raises(ValueError, match=r"tune\(checkpoint=...\) must be of a tune with the same arg.*" + told):
        lrx.tune(**kwargs | change)


def test_wrong_places_are_told_before_training(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for path, rule in (("notes.txt", "must be a folder, or a new path"), ("a/b", "must be in a folder that exists")):
        with pytest.raises(ValueError, match=rf"tune\(checkpoint=...\) {rule}"):
            lrx.tune(bowl(), checkpoint=tmp_path / path)
    once = lrx.Problem(bowl().init, bowl().loss, batches=iter(np.ones((900, 2), np.float32)))
    with pytest.raises(ValueError, match=r"tune\(checkpoint=...\) must be None if the batches are an iterator"):
        lrx.tune(once, checkpoint=tmp_path / "state", budget=1.25)


def test_progress_is_told_chunk_by_chunk_in_every_stage():
    told = []
    lrx.tune(bowl(), budget=2.0, steps=200, progress=lambda *args: told.append(args))
    stages = list(dict.fromkeys(stage for stage, *_ in told))
    assert stages[0] == "adam: short runs" and len(stages) > 1
    for name in stages:
        done, totals = zip(*((done, total) for stage, done, total in told if stage == name), strict=True)
        assert done == tuple(sorted(done)) and len(done) > 3
        assert done[0] == 0 and done[-1] == totals[-1] and len(set(totals)) == 1
        assert done[1].best >= done[-2].best and done[0].best == np.inf
