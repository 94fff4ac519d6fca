"""How a population is laid out changes where and when members are trained, and no number."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrx
from lrx.tuning._layout import LANES, lay_out
from tests.tuning.bowl import bowl, validated

SCHEDULES = {"constant": lambda peak, steps: peak, "cosine": lrx.cosine_decay_schedule}
GRID: dict[str, Any] = dict(learning_rate=[0.01, 0.1, 0.2, 0.5, 1.0], schedule=SCHEDULES, seeds=2, steps=16)


def same(a, b):
    np.testing.assert_allclose(a.losses, b.losses, rtol=1e-6)
    assert a.scores.keys() == b.scores.keys()
    for name in a.scores:
        np.testing.assert_allclose(a.scores[name], b.scores[name], rtol=1e-6)


@pytest.fixture(scope="module")
def together():
    return lrx.sweep(validated(), lrx.adam, method="vmap", **GRID)


@pytest.mark.parametrize(("chunk_size", "method"), [(1, "vmap"), (4, "vmap"), (9, "map"), (100, "vmap"), (100, "map")])
def test_groups_of_members_give_what_all_together_do(together, chunk_size, method):
    same(lrx.sweep(validated(), lrx.adam, chunk_size=chunk_size, method=method, **GRID), together)


def test_methods_give_the_same(together):
    for method in ("map", "auto"):
        same(lrx.sweep(validated(), lrx.adam, method=method, **GRID), together)


def test_one_trace_serves_all_groups():
    traces = []

    def make(rate):
        if isinstance(rate, jax.core.Tracer):
            traces.append(rate)
        return lrx.adam(rate)

    problem = bowl()
    lrx.sweep(problem, make, learning_rate=np.geomspace(0.01, 1, 17), steps=16, chunk_size=8, method="map")
    assert len(traces) <= 6  # the start, and the step, which two loops around it trace again
    one_group = len(traces)
    lrx.sweep(problem, make, learning_rate=np.geomspace(0.01, 1, 50), steps=16, chunk_size=8, method="map")
    assert len(traces) == one_group


def test_progress_counts_the_members_of_the_last_group_and_not_what_fills_it_up():
    told = []
    lrx.sweep(bowl(), lrx.sgd, chunk_size=4, progress=told.append, **GRID)
    assert told == sorted(set(told))
    assert told[-1] == 5 * 2 * 2 * 16


def test_a_diverged_member_disturbs_no_other_group():
    rates = [0.1, 1e30, 1.0, 0.5]
    result = lrx.sweep(bowl(), lrx.sgd, learning_rate=rates, steps=40, chunk_size=3)
    assert np.isfinite(result.final[:, 0, 0]).tolist() == [True, False, True, True]


@pytest.mark.parametrize("members", [1, 2, 7, 8, 9, 17, 100, 128])
@pytest.mark.parametrize("chunk_size", [None, 1, 5, 8, 17, 1000])
@pytest.mark.parametrize("method", ["vmap", "map"])
def test_layouts_hold_all_members_and_no_more_than_asked_for(members, chunk_size, method):
    layout = lay_out(members, chunk_size, method)
    assert layout.size % layout.lanes == 0
    assert layout.size <= (chunk_size or members + layout.size // layout.lanes - 1)
    if chunk_size is None or chunk_size > members + LANES:
        assert layout.size >= members
    assert layout.lanes <= LANES or method == "vmap"
    assert layout.turns(layout.size) == layout.size // layout.lanes
    assert (layout.turns(members) - 1) * layout.lanes < members


def counted(order):
    """A problem whose loss is the number on the batch."""
    return lrx.Problem(lambda key: jnp.zeros(2), lambda p, b, key=None: jnp.sum(p) * 0 + b[0], batches=order)


def test_batches_are_read_again_for_each_group():
    data = [np.full(2, v, np.float32) for v in range(6)]
    losses = lrx.sweep(
        counted(lambda: iter(data)), lrx.sgd, learning_rate=[0.1, 0.2, 0.3], steps=8, chunk_size=2
    ).losses
    np.testing.assert_array_equal(losses[:, 0, 0], [[0, 1, 2, 3, 4, 5, 0, 1]] * 3)


def test_groups_that_would_see_other_batches_are_told():
    rng = np.random.default_rng(0)
    problem = counted(lambda: iter(rng.normal(size=(6, 2)).astype(np.float32)))
    with pytest.raises(
        ValueError, match=r"must give the same batches each time it is read, got another one at place 0"
    ):
        lrx.sweep(problem, lrx.sgd, learning_rate=[0.1, 0.2], steps=6, chunk_size=1)


def test_an_iterator_cannot_serve_several_groups():
    problem = counted(iter(np.zeros((100, 2), np.float32)))
    with pytest.raises(ValueError, match=r"sweep\(chunk_size=...\) must be left out if the batches are an iterator"):
        lrx.sweep(problem, lrx.sgd, learning_rate=[0.1, 0.2], steps=6, chunk_size=1)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        (dict(chunk_size=0), ValueError, r"sweep\(chunk_size=...\) must be positive, got 0."),
        (dict(chunk_size=1.5), TypeError, r"sweep\(chunk_size=...\) must be a whole number, got 1.5."),
        (dict(method="pmap"), ValueError, r"sweep\(method=...\) must be one of 'auto', 'vmap', 'map', got 'pmap'."),
        (
            dict(mesh="x"),
            TypeError,
            r"sweep\(mesh=...\) must be a jax.sharding.Mesh, or a Mesh and the name .* got 'x'.",
        ),
    ],
)
def test_wrong_arguments(kwargs, error, message):
    with pytest.raises(error, match=message):
        lrx.sweep(bowl(), lrx.sgd, learning_rate=0.1, **kwargs)
