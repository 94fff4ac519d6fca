"""Chunks of bounded size, for every number of steps, and nothing held that is not needed."""

import gc
import re
import weakref
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from lrx.tuning import _compiled, _engine
from lrx.tuning._compiled import Setup, only, programs_of
from lrx.tuning._engine import LONGEST, PARTS, Engine, part_of
from lrx.tuning._host_batches import Batches
from lrx.tuning._layout import lay_out
from tests.tuning.bowl import bowl


def numbered(n=40):
    """A problem with batches from the host whose loss is the number on the batch."""
    data = np.arange(n, dtype=np.float32)[:, None] * np.ones(2, np.float32)
    return lrx.Problem(lambda key: jnp.zeros(2), lambda p, b, key=None: jnp.sum(p) * 0 + b[0], batches=data)


NUMBERED = numbered()


@pytest.mark.parametrize("steps", [1, 2, 63, 64, 65, 997, 1000, 1002, 1006, 1009, 12_347, 10**6])
def test_no_number_of_steps_is_one_chunk(steps):
    updates = min(part_of(steps), LONGEST)
    assert 0 < updates <= LONGEST
    assert updates - 1 < steps / PARTS < steps / 50  # at most 2 % of a run, and rounding


ALONE = bowl.__wrapped__()
"""A bowl whose programs no other test shares."""


@pytest.mark.parametrize("problem", [ALONE, NUMBERED], ids=["device", "host"])
def test_runs_of_every_length_report_on_the_way_and_share_one_program(problem):
    """1002, 1006 and 1009 have no divisor near a 64th of them."""
    programs = set()
    for steps in (1002, 1006, 1009):
        reported = []
        losses = lrx.sweep(problem, lrx.sgd, learning_rate=[0.01], steps=steps, progress=reported.append).losses
        assert losses.shape == (1, 1, 1, steps)
        assert np.diff([0, *reported]).max() <= 0.02 * steps
        assert reported[-1] == steps
        programs.add(programs_of(Setup(only(problem), lrx.sgd, lay_out(1))).advance._cache_size())
    assert programs == {1}


def test_the_length_of_chunks_changes_no_bit():
    rows = np.geomspace(0.01, 1.0, 3, dtype=np.float32)[:, None] * np.linspace(1, 0.1, 45, dtype=np.float32)

    def trained(updates):
        engine = Engine(bowl(), lrx.adam, updates=updates)
        group = engine.start(lay_out(3), rows[:, 0], {})
        chunks = list(engine.advance(group, rows, 0))
        assert [c.shape[2] for c in chunks] == [min(updates, 45 - i) for i in range(0, 45, updates)]
        return np.concatenate(chunks, axis=2), group.carry

    whole = trained(45)
    for updates in (1, 7, 44):
        jax.tree.map(np.testing.assert_array_equal, trained(updates), whole)


def test_a_halving_has_the_losses_of_the_sweep_to_the_last_bit():
    """As many runs as members, so that all train to the end."""
    kwargs: dict[str, Any] = dict(learning_rate=[0.01, 0.1, 0.5], seeds=2, steps=100)
    halved = lrx.halving(bowl(), lrx.adam, budget=3.0, **kwargs).losses
    np.testing.assert_array_equal(halved, lrx.sweep(bowl(), lrx.adam, **kwargs).losses)


def test_a_copy_is_trained_apart_and_some_members_are_kept():
    engine = Engine(bowl(), lrx.adam)
    rows = np.full((3, 4), 0.1, np.float32)
    group = engine.start(lay_out(3), rows[:, 0], {})
    copy = engine.copy(group)
    (first,) = engine.advance(group, rows, 0)
    (again,) = engine.advance(copy, rows, 0)
    np.testing.assert_array_equal(first, again)
    left = engine.keep(group, np.array([2]), lay_out(1))
    (rest,), (whole,) = engine.advance(left, rows[:1], 4), engine.advance(copy, rows, 4)
    np.testing.assert_allclose(rest[0], whole[2], rtol=2e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_losses_are_float32_whatever_the_dtype_of_the_loss(dtype):
    problem = lrx.Problem(
        lambda key: jnp.ones(2, dtype), lambda p, b, key=None: jnp.sum(p**2), sample=lambda key: jnp.zeros(())
    )
    for method in ("vmap", "map"):
        rates = np.geomspace(0.01, 0.3, 17)
        losses = lrx.sweep(problem, lrx.sgd, learning_rate=rates, steps=3, method=method).losses
        assert losses.dtype == np.float32
        assert (losses[:, 0, 0, 2] < losses[:, 0, 0, 0]).all()


# ---------------------------------------------------------------- batches from the host


def test_batches_of_a_chunk_are_few_and_small(monkeypatch):
    seen = set()
    stack = Batches.stack

    def watched(self, place, n, length, again_from=None):
        stacked = stack(self, place, n, length, again_from)
        seen.add((length, len(self.held)))
        return stacked

    monkeypatch.setattr(Batches, "stack", watched)

    def chunks(steps):
        seen.clear()
        losses = lrx.sweep(NUMBERED, lrx.sgd, learning_rate=0.1, steps=steps).losses
        np.testing.assert_array_equal(losses[0, 0, 0], np.arange(steps) % 40)
        return seen

    assert chunks(100) == {(2, 0)}
    assert chunks(1009) == {(16, 0)}
    monkeypatch.setattr(_engine, "MOST_BYTES", 17)  # a batch has 8 bytes
    assert chunks(1009) == {(2, 0)}
    monkeypatch.setattr(_engine, "MOST_BYTES", 1)
    assert Engine(NUMBERED, lrx.sgd).length == 1


def test_batches_before_the_last_ones_are_read_again_or_were_kept():
    batches = Batches(NUMBERED, marked=True)

    def read(place, n, again_from=None):
        return [int(b[0]) for b in batches.stack(place, n, n + 1, again_from)][:n]

    assert read(3, 2) == [3, 4] and not batches.held  # skipped batches are not kept
    assert read(5, 4, again_from=6) == [5, 6, 7, 8] and sorted(batches.held) == [6, 7, 8]
    assert read(6, 2, again_from=7) == [6, 7] and sorted(batches.held) == [7, 8]
    assert read(7, 4) == [7, 8, 9, 10] and not batches.held
    assert read(0, 2) == [0, 1] and batches.place == 2
    assert len(batches.marks) == 11
    assert not batches.stack(2, 1, 3)[1:].any()  # what a chunk is padded with


class Model:
    """A user's class whose methods are the problem."""

    def __init__(self):
        self.data = jnp.ones((3, 50))

    def init(self, key):
        return jnp.zeros(50)

    def loss(self, params, batch, key=None):
        return jnp.mean((self.data @ params - batch) ** 2)

    def evaluate(self, params):
        return {"loss": jnp.mean((self.data @ params) ** 2)}

    def make(self, rate):
        return lrx.sgd(rate)


def as_functions():
    data = jnp.ones((3, 50))

    def loss(params, batch, key=None):
        return jnp.mean((data @ params - batch) ** 2)

    problem = lrx.Problem(
        init=lambda key: jnp.zeros(50),
        loss=jax.jit(loss),
        sample=lambda key: jax.random.normal(key),
        evaluate=lambda params: {"loss": jnp.mean((data @ params) ** 2)},
    )
    return problem, lambda rate: lrx.sgd(rate), data


def as_methods():
    model = Model()
    problem = lrx.Problem(
        init=model.init, loss=model.loss, sample=lambda key: jax.random.normal(key), evaluate=model.evaluate
    )
    return problem, model.make, model.data


@pytest.fixture
def young():
    """A collection of what the test made alone: older objects, of which a session has millions, are not walked."""
    gc.disable()  # so that all of it stays in the youngest generation
    gc.collect(0)
    yield lambda: gc.collect(0)
    gc.enable()


def one_of(way, make):
    """Train, and return weak references to what the user has dropped then."""
    problem, make_optimizer, data = make()
    kwargs: dict[str, Any] = dict(learning_rate=[0.01, 0.1], steps=20)
    if way == "sweep":
        lrx.sweep(problem, make_optimizer, **kwargs)
    elif way == "halving":
        lrx.halving(problem, make_optimizer, budget=1.9, **kwargs)
    else:
        lrx.find(problem, make_optimizer, steps=20, lanes=1)
    return [weakref.ref(x) for x in (problem, problem.loss, make_optimizer, data)]


@pytest.mark.parametrize("make", [as_functions, as_methods])
@pytest.mark.parametrize("way", ["sweep", "halving", "find"])
def test_data_and_programs_go_with_the_problem(make, way, young):
    before, arrays = len(_compiled._programs), len(jax.live_arrays())
    refs = one_of(way, make)
    young()
    assert [ref() for ref in refs] == [None] * 4
    assert len(_compiled._programs) == before
    assert len(jax.live_arrays()) <= arrays + 1


def test_an_optimizer_of_its_own_for_each_sweep_leaves_nothing_in_a_problem_that_stays(young):
    problem, _, _ = as_functions()
    lrx.sweep(problem, lrx.sgd, learning_rate=0.1, steps=2)
    young()
    before = len(_compiled._programs)
    for momentum in (0.5, 0.9):
        lrx.sweep(problem, lambda rate, m=momentum: lrx.sgd(rate, momentum=m), learning_rate=0.1, steps=2)
    young()
    assert len(_compiled._programs) == before


def test_methods_that_are_looked_up_again_share_programs():
    model = Model()
    calls = []

    def sweep():
        problem = lrx.Problem(init=model.init, loss=model.loss, sample=sample)
        lrx.sweep(problem, model.make, learning_rate=0.1, steps=2)
        calls.append(len(_compiled._programs))

    sample = jax.random.normal
    sweep()
    sweep()
    assert calls[0] == calls[1]


def test_what_an_optimizer_makes_of_the_parameters_alone_is_made_once_for_all_members():
    """A decomposition may cost more than the run."""

    def sorting(learning_rate):
        tx = lrx.sgd(learning_rate)
        return optax.GradientTransformation(lambda p: (tx.init(p), jnp.sort(p["w"])), tx.update)

    problem = lrx.Problem(lambda key: {"w": jax.random.normal(key, (7,))}, ALONE.loss, ALONE.sample)
    engine, layout = Engine(problem, sorting, seeds=2), lay_out(3)
    rates = np.full(3, 0.1, np.float32)
    program = jax.make_jaxpr(programs_of(Setup(engine.trained, sorting, layout)).together)(rates, {}, engine.init_keys)
    sorts = re.findall(r"(f32\[[0-9,]*\]) = sort\[", str(program))
    assert sorts == ["f32[2,7]"]
    assert program.out_avals[-1].shape == (3, 2, 7)
