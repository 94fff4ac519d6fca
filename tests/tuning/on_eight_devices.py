"""A population on a mesh of eight devices. Not collected by itself: `test_eight_devices.py` runs it."""

import contextlib
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh

import lrx
from lrx.tuning._compiled import Chunk, Setup, programs_of
from lrx.tuning._engine import seed_keys
from lrx.tuning._layout import lay_out

from .bowl import bowl, validated

RATES = np.geomspace(0.01, 1.0, 11)
GRID: dict[str, Any] = dict(learning_rate=RATES, seeds=2, steps=16)


def momentum(learning_rate):
    """An optimizer with a memory of its own for each member."""
    return lrx.sgd(learning_rate, momentum=0.9)


def meshes():
    return jax.make_mesh((8,), ("members",)), (jax.make_mesh((2, 4), ("data", "members")), "members")


def test_there_are_eight_devices():
    assert len(jax.devices()) == 8


@pytest.mark.parametrize(("method", "chunk_size"), [("vmap", 8), ("map", None)])
def test_eight_devices_give_what_one_does(method, chunk_size):
    one = lrx.sweep(validated(), momentum, **GRID)
    for mesh in meshes():
        with jax.set_mesh(mesh) if isinstance(mesh, Mesh) else contextlib.nullcontext():
            divided = lrx.sweep(validated(), momentum, method=method, chunk_size=chunk_size, mesh=mesh, **GRID)
        np.testing.assert_allclose(divided.losses, one.losses, rtol=1e-6)
        np.testing.assert_allclose(divided.scores["loss"], one.scores["loss"], rtol=1e-6)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_each_device_holds_its_members_and_no_others(kind):
    mesh = jax.make_mesh((8,), ("members",), axis_types=(kind,))
    layout = lay_out(11, mesh=mesh)
    assert layout.size == 16
    compiled = programs_of(Setup(bowl(), momentum, layout))
    init_keys, keys = seed_keys(jax.random.key(0), 2)
    rates = np.repeat(np.geomspace(0.01, 1, 16, dtype=np.float32)[:, None], 4, axis=1)
    carry = compiled.start(rates[:, 0], {}, init_keys)
    shardings = jax.tree.map(lambda x: x.sharding, carry)
    for x in jax.tree.leaves(carry):
        assert x.sharding.spec[0] == "members"
        assert {s.data.shape for s in x.addressable_shards} == {(2, *x.shape[1:])}
        assert len({s.index[0].start for s in x.addressable_shards}) == 8
    chunk = Chunk(rates, np.int32(0), np.int32(4), layout.turns(11), None)
    carry, losses = compiled.advance({}, carry, chunk, keys)
    assert jax.tree.map(lambda x: x.sharding, carry) == shardings
    assert losses.sharding.spec[0] == "members"
    programs = compiled.advance._cache_size()
    compiled.advance({}, carry, chunk._replace(begin=np.int32(4), updates=np.int32(3)), keys)
    assert compiled.advance._cache_size() == programs


def test_devices_talk_to_each_other_in_no_update():
    layout = lay_out(16, mesh=meshes()[0])
    compiled = programs_of(Setup(bowl(), momentum, layout))
    init_keys, keys = seed_keys(jax.random.key(0), 1)
    rates = np.full((16, 4), 0.1, np.float32)
    carry = compiled.start(rates[:, 0], {}, init_keys)
    chunk = Chunk(rates, np.int32(0), np.int32(4), layout.turns(16), None)
    text = compiled.advance.lower({}, carry, chunk, keys).compile().as_text()
    assert not any(word in text for word in ("all-reduce", "all-gather", "all-to-all", "collective-permute"))


def test_a_stopped_sweep_goes_on_on_the_mesh(tmp_path):
    def stop(done):
        if done > 11 * 2 * 8:
            raise KeyboardInterrupt

    kwargs: dict[str, Any] = GRID | dict(mesh=meshes()[0], checkpoint=tmp_path / "state")
    with pytest.raises(KeyboardInterrupt):
        lrx.sweep(bowl(), momentum, progress=stop, **kwargs)
    told = []
    result = lrx.sweep(bowl(), momentum, progress=told.append, **kwargs)
    assert told[0] > 11 * 2  # the first chunk was not trained again
    np.testing.assert_array_equal(result.losses, lrx.sweep(bowl(), momentum, **GRID | dict(mesh=meshes()[0])).losses)


@pytest.mark.parametrize(
    ("mesh", "chunk_size", "message"),
    [
        (
            lambda: jax.make_mesh((2, 4), ("a", "b")),
            None,
            r"sweep\(mesh=...\) must come with one of its axes, as mesh=\(mesh, 'a'\)",
        ),
        (lambda: (jax.make_mesh((8,), ("a",)), "b"), None, r"sweep\(mesh=...\) must come with one of its axes"),
        (
            lambda: jax.make_mesh((8,), ("a",)),
            4,
            r"sweep\(chunk_size=...\) must be at least 1 for each of 8 devices, got 4.",
        ),
    ],
)
def test_wrong_arguments(mesh, chunk_size, message):
    with pytest.raises(ValueError, match=message):
        lrx.sweep(bowl(), lrx.sgd, learning_rate=0.1, mesh=mesh(), chunk_size=chunk_size)
