"""Stop in the middle, write a file, go on in a run that was built from nothing: the same bits, or an error by path."""

import jax
import numpy as np
import pytest
from flax import nnx

import lrx
from tests.common import same

from .common import loops, optimizer, restored, schedule, train, written
from .frameworks import NNX


def bound(run):
    """The run, its arrays bound to the device as those of a file are: another program takes arrays that are not."""
    run.load(jax.device_put(run.saved(), jax.devices()[0]))
    return run


def on_host(run):
    return jax.device_get(run.saved())


@loops
def test_orbax_in_the_middle_of_a_run(loop, tmp_path, traces):
    """The target of the restore is what `eval_shape` says of a new run: no parameter is made twice."""
    whole = bound(loop(optimizer()))
    train(whole, 10)
    written(whole.saved(), tmp_path / "run")
    expected = train(whole, 10, begin=10)
    seen = traces.count
    again = loop(optimizer(), seed=1)
    again.load(restored(tmp_path / "run", jax.eval_shape(lambda: loop(optimizer()).saved())))
    assert lrx.count(again.container) == 10
    assert same(train(again, 10, begin=10), expected)
    assert same(on_host(again), on_host(whole))
    assert traces.count == seen


@loops
def test_the_frameworks_own_file_in_the_middle_of_a_run(loop):
    """Flax's msgpack; for Equinox its leaves."""
    whole = loop(optimizer())
    train(whole, 10)
    data = whole.to_bytes()
    again = loop(optimizer(), seed=1)
    again.from_bytes(data)
    assert same(train(again, 10, begin=10), train(whole, 10, begin=10))
    assert same(on_host(again), on_host(whole))


def test_orbax_of_an_nnx_state_onto_an_abstract_graph(tmp_path, traces):
    """As Flax documents it: split, save the state, merge what is restored with the graph of `nnx.eval_shape`."""

    def build():
        run = NNX(optimizer())
        return run.model, run.optimizer

    whole = NNX(optimizer())
    train(whole, 4)
    written(nnx.state((whole.model, whole.optimizer)), tmp_path / "run")
    expected = train(whole, 4, begin=4)
    seen = traces.count
    graph, abstract = nnx.split(nnx.eval_shape(build))
    again = NNX(optimizer(), seed=1)
    again.model, again.optimizer = nnx.merge(graph, restored(tmp_path / "run", abstract))
    assert same(train(again, 4, begin=4), expected)
    assert same(on_host(again), on_host(whole))
    assert traces.count == seen


@loops
def test_constant_then_scheduled_then_constant(loop, tmp_path):
    run = bound(loop(optimizer(2e-3)))
    train(run, 6)
    written(run.saved(), tmp_path / "constant")
    run = loop(optimizer(), seed=1)
    run.resume(restored(tmp_path / "constant"))
    assert lrx.count(run.container) == 6
    assert lrx.learning_rate(run.container) == np.float32(2e-3)  # that of the last update
    train(run, 2, begin=6)
    assert lrx.learning_rate(run.container) == pytest.approx(float(schedule()(7)), rel=1e-6)
    written(run.saved(), tmp_path / "scheduled")
    expected = loop(optimizer(2e-3), seed=2)
    expected.resume(restored(tmp_path / "scheduled"))
    assert lrx.count(expected.container) == 8
    train(expected, 1, begin=8)
    assert lrx.learning_rate(expected.container) == np.float32(2e-3)


@loops
def test_resumed_under_the_same_optimizer_is_the_same_run(loop, tmp_path):
    whole = loop(optimizer())
    train(whole, 6)
    written(whole.saved(), tmp_path / "run")
    again = loop(optimizer(), seed=1)
    again.resume(restored(tmp_path / "run"))
    assert same(train(again, 6, begin=6), train(whole, 6, begin=6))
    assert same(on_host(again), on_host(whole))


@pytest.mark.parametrize("params", [nnx.to_pure_dict, lambda state: state], ids=["plain", "boxed"])
@pytest.mark.parametrize("where", ["file", "memory"])
def test_resume_of_an_nnx_state_in_its_boxes(params, where, tmp_path):
    old = NNX(optimizer(1e-2))
    train(old, 6)
    written(nnx.state(old.optimizer), tmp_path / "run")
    held = restored(tmp_path / "run")["opt_state"] if where == "file" else old.optimizer.opt_state
    new = NNX(optimizer())
    new.load({"model": old.saved()["model"], "optimizer": new.saved()["optimizer"]})
    resumed = lrx.resume(new.optimizer.tx, params(nnx.state(new.model, nnx.Param)), held)
    nnx.update(new.optimizer.opt_state, nnx.state(resumed))
    assert lrx.count(new.container) == 6
    assert same(new.opt_state["scale_by_adam"].memory, old.opt_state["scale_by_adam"].memory)


@loops
def test_what_does_not_fit_is_told_by_path(loop, tmp_path):
    run = loop(lrx.sgd(0.1, momentum=0.9))
    written(run.saved(), tmp_path / "momentum")
    with pytest.raises(ValueError, match="do not fit") as error:
        loop(optimizer()).resume(restored(tmp_path / "momentum"))
    assert f"scale_by_adam.mu.{loop.kernel} is not in the checkpoint" in str(error.value)
    assert f"momentum.trace.{loop.kernel} is in the checkpoint, but tx has no place for it" in str(error.value)
