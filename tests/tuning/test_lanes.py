"""`find(lanes=...)`: how many models are in memory changes no suggestion, and with one it is the memory of training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrx
from lrx.tuning._compiled import Chunk
from lrx.tuning._engine import Engine, return_memory
from lrx.tuning._layout import Layout
from tests.tuning.bowl import bowl

BOWL = bowl(0.1)
FULL = "RESOURCE_EXHAUSTED: Out of memory allocating 8589934592 bytes."


def alike(a, b):
    assert a.learning_rate == pytest.approx(b.learning_rate, rel=1e-4)
    assert a.gradients == b.gradients
    for one, other in zip(a.rounds, b.rounds, strict=True):
        np.testing.assert_allclose(one.losses, other.losses, rtol=1e-4)


@pytest.fixture
def in_memory(monkeypatch):
    """How many models each group has, from all seeds."""
    seen, start = [], Engine.start

    def counted(self, layout, *args):
        seen.append(layout.size * len(self.init_keys))
        return start(self, layout, *args)

    monkeypatch.setattr(Engine, "start", counted)
    return seen


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_suggestion_is_the_same_whatever_is_in_memory_at_a_time(seeds, in_memory):
    arguments = dict(steps=200, seeds=seeds, budget=1.25 * seeds)
    plain = lrx.find(BOWL, lrx.sgd, **arguments)
    assert set(in_memory) == {3 * seeds}
    for lanes in (1, 4):
        in_memory.clear()
        alike(lrx.find(BOWL, lrx.sgd, lanes=lanes, **arguments), plain)
        assert max(in_memory) == lanes


def test_batches_from_the_host_are_the_same_for_all_members():
    data = list(np.random.default_rng(0).standard_normal((250, 2)).astype(np.float32))
    problems = [lrx.Problem(init=BOWL.init, loss=BOWL.loss, batches=x) for x in (data, lambda: iter(data), iter(data))]
    plain = lrx.find(problems[0], lrx.sgd, steps=200)
    for problem in problems:
        alike(lrx.find(problem, lrx.sgd, steps=200, lanes=1), plain)


def test_a_device_that_is_too_small_for_three_is_given_one_after_another(monkeypatch):
    plain, advance, sizes = lrx.find(BOWL, lrx.sgd, steps=200), Engine.advance, []

    def small(self, group, *args, **kwargs):
        sizes.append(group.layout.size)
        if group.layout.size > 1:
            raise jax.errors.JaxRuntimeError(FULL)
        return advance(self, group, *args, **kwargs)

    monkeypatch.setattr(Engine, "advance", small)
    alike(lrx.find(BOWL, lrx.sgd, steps=200), plain)
    assert sizes == [3] + [1] * sum(len(r.losses) for r in plain.rounds)
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):  # what was asked for is what is done
        lrx.find(BOWL, lrx.sgd, steps=200, lanes=2)


@pytest.mark.parametrize("text", [FULL, "INTERNAL: something else"])
def test_another_error_of_the_device_is_the_users_to_see(text, monkeypatch):
    def broken(*args, **kwargs):
        raise jax.errors.JaxRuntimeError(text)

    monkeypatch.setattr(Engine, "advance", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match=text[:8]):
        lrx.find(BOWL, lrx.sgd, steps=200)


def test_one_lane_takes_the_memory_of_training():
    """As XLA plans it: arguments, results that are not in their place, and what is in between."""

    def planned(compiled):
        plan = compiled.memory_analysis()
        sizes = plan.argument_size_in_bytes + plan.output_size_in_bytes - plan.alias_size_in_bytes
        return sizes + plan.temp_size_in_bytes

    def loss(params, batch, key=None):
        return jnp.mean((jnp.tanh(batch @ params["a"]) @ params["b"] - batch) ** 2)

    def init(key):
        return {"a": jax.random.normal(key, (300, 300)), "b": jnp.zeros((300, 300))}

    def step(params, state, key):
        loss_here, grads = jax.value_and_grad(loss)(params, problem.sample(key))
        updates, state = tx.update(grads, state, params)
        return lrx.apply_updates(params, updates), state, loss_here

    problem = lrx.Problem(init=init, loss=loss, sample=lambda key: jax.random.normal(key, (4, 300)))
    tx, params = lrx.adam(1e-3), init(jax.random.key(0))
    jitted = jax.jit(step, donate_argnums=(0, 1))
    training = planned(jitted.lower(params, tx.init(params), jax.random.key(0)).compile())
    layout = Layout(1, 1)
    engine, rates = Engine(problem, lrx.adam, updates=8), np.full((1, 8), 1e-3, np.float32)
    group = engine.start(layout, rates[:, 0], {})
    padded = np.zeros((1, engine.length), np.float32)
    chunk = Chunk(padded, np.int32(0), np.int32(8), layout.turns(1), None)
    programs = engine.programs(layout)
    args = (group.hyperparams, group.carry, chunk, engine.batch_keys)
    assert planned(programs.advance.lower(*args, learn=True).compile()) < 1.15 * training
    # the model is done before its optimizer begins
    assert planned(programs.models.lower(rates[:, 0], engine.init_keys).compile()) < 1.15 * training
    assert planned(programs.states.lower(rates[:, 0], {}, group.carry[0]).compile()) < 1.15 * training


def test_a_run_is_gone_when_the_next_one_starts(monkeypatch):
    """With its model, its optimizer's state and, where one model at a time was asked for, what the C library keeps."""
    start, alive, returned = Engine.start, [], []

    def watched(self, *args):
        alive.append([x.nbytes for x in jax.live_arrays() if x.shape[2:] == (123, 45)])
        return start(self, *args)

    def loss(params, batch, key=None):
        return jnp.mean((params - batch) ** 2)

    monkeypatch.setattr(Engine, "start", watched)
    monkeypatch.setattr("lrx.tuning._find.return_memory", lambda: returned.append(len(alive)))
    problem = lrx.Problem(lambda key: jnp.ones((123, 45)), loss, lambda key: jax.random.normal(key))
    found = lrx.find(problem, lrx.adam, steps=60, lanes=1)
    assert len(alive) == sum(len(r.losses) for r in found.rounds) > 3
    assert not any(alive)
    assert returned == list(range(len(alive)))  # before each start
    lrx.find(problem, lrx.adam, steps=60)
    assert len(returned) < len(alive) and not any(alive)


def test_memory_is_returned_to_the_system_that_takes_it(monkeypatch):
    return_memory()
    for error in (OSError, TypeError, AttributeError):  # Windows, another C library

        def no_library(name, error=error):
            raise error

        monkeypatch.setattr("ctypes.CDLL", no_library)
        return_memory()


def test_wrong_lanes():
    with pytest.raises(ValueError, match=r"find\(lanes=...\) must be positive, got 0"):
        lrx.find(BOWL, lrx.sgd, lanes=0)
    with pytest.raises(TypeError, match=r"find\(lanes=...\) must"):
        lrx.find(BOWL, lrx.sgd, lanes="all")
    with pytest.raises(ValueError, match=r"find\(lanes=...\) must be None beside rule='valley'"):
        lrx.find(BOWL, lrx.sgd, lanes=1, rule="valley")
