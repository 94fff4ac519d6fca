"""The same questions to every training loop: does it learn, what is its rate, and can one change it on the way."""

import jax
import numpy as np
import pytest

import lrx
from tests.common import distance, same

from .common import IMAGES, LABELS, STEPS, each, loops, optimizer, schedule, train
from .frameworks import NNX, Equinox, Linen


@loops
def test_loss_falls_and_the_rate_is_the_schedules(loop, traces):
    run, losses, rates = loop(optimizer()), [], []
    assert lrx.learning_rate(run.container) == schedule()(0)
    for i in range(STEPS):
        losses += train(run, 1, begin=i)
        rates.append(lrx.learning_rate(run.container))
        assert lrx.count(run.container) == i + 1
    np.testing.assert_allclose(rates, schedule()(np.arange(STEPS)), rtol=1e-6)
    assert np.mean(losses[-4:]) < 0.25 * np.mean(losses[:4])
    assert traces.count <= 1, "the loop was traced more than once"  # 0 if another test has compiled it


@loops
def test_numbers_are_told_by_path(loop):
    run = loop(optimizer())
    train(run, 2)
    assert list(lrx.learning_rates(run.container)) == ["opt_state.scale_by_learning_rate.learning_rate"]
    told = lrx.hyperparams(run.container)
    assert told["opt_state.scale_by_learning_rate.learning_rate.peak_value"] == np.float32(0.03)
    assert told["opt_state.clip_by_global_norm.max_norm"] == 1


@loops
def test_edits_change_the_next_step_and_trace_nothing(loop, traces):
    run = loop(optimizer())
    train(run, 4)
    before, seen = jax.device_get(run.params), traces.count
    run.edit(learning_rate={"init_value": 0.0, "peak_value": 0.0})
    train(run, 2, begin=4)
    assert lrx.learning_rate(run.container) == 0
    assert same(jax.device_get(run.params), before), "a rate of 0 moved the parameters"
    run.edit(learning_rate=schedule(peak_value=0.5), weight_decay=0.1)
    train(run, 1, begin=6)
    assert lrx.learning_rate(run.container) == pytest.approx(float(schedule(peak_value=0.5)(6)), rel=1e-6)
    assert distance(jax.device_get(run.params), before) > 0.2
    run.edit(max_norm=1e-30, weight_decay=0.0, b1=0.0)
    before = jax.device_get(run.params)
    train(run, 1, begin=7)
    assert same(jax.device_get(run.params), before), "a gradient clipped to nothing moved the parameters"
    assert traces.count == seen


@loops
def test_a_schedule_edited_in_is_the_schedule_built_in(loop, traces):
    other = schedule(0.01, init_value=0.001)
    edited = loop(optimizer())
    train(loop(optimizer()), 1)
    seen = traces.count
    edited.edit(learning_rate=other)
    losses = train(edited, 8)
    assert traces.count == seen
    built = loop(optimizer(other))
    assert same(train(built, 8), losses)
    assert same(jax.device_get(built.params), jax.device_get(edited.params))


@each([Linen, NNX])
def test_four_accumulated_batches_are_one_large_batch(loop, traces):
    tx = lrx.sgd(schedule(peak_value=0.3), momentum=0.9)
    large, small = loop(tx), loop(lrx.accumulate(tx, every=4))
    for i in range(3):
        large.step(IMAGES, LABELS)
        before = jax.device_get(small.params)
        train(small, 3)
        assert same(jax.device_get(small.params), before)
        train(small, 1, begin=3)
        assert lrx.count(small.container) == lrx.count(large.container) == i + 1
        assert lrx.learning_rate(small.container) == lrx.learning_rate(large.container)
    assert distance(jax.device_get(small.params), jax.device_get(large.params)) < 1e-6
    seen = traces.count
    small.edit(every=1)
    train(small, 2)
    assert lrx.count(small.container) == 5
    assert traces.count == seen


@each([Linen, NNX, Equinox])
def test_two_groups_have_two_rates(loop, traces):
    first_layer = loop.kernel.split(".")[0]
    groups = {"body": optimizer(1e-3), "head": optimizer()}
    run = loop(lrx.partition(groups, lrx.by_path({first_layer: "body", "": "head"})))
    train(run, 3)
    body, head = (f"opt_state.{group}.scale_by_learning_rate.learning_rate" for group in groups)
    rates = lrx.learning_rates(run.container)
    assert set(rates) == {body, head}
    assert rates[body] == np.float32(1e-3)
    assert rates[head] == pytest.approx(float(schedule()(2)), rel=1e-6)
    seen = traces.count
    run.edit(**{"body.scale_by_learning_rate.learning_rate": 0.0})
    before = jax.device_get(run.params)
    train(run, 1, begin=3)
    moved = [name for name, x, y in leaves(before, run.params) if not np.array_equal(x, y)]
    assert moved
    assert not any(first_layer in name for name in moved), "the group with a rate of 0 moved"
    assert traces.count == seen


def leaves(a, b):
    """The leaves of two trees side by side, by path."""
    pairs = zip(jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True)
    return [(jax.tree_util.keystr(path), x, np.asarray(y)) for (path, x), y in pairs]
