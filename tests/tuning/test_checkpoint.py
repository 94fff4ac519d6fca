"""A sweep that was stopped goes on, and gives the same numbers to the last bit."""

import functools
import os
import signal
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import lrx
from lrx.tuning._checkpoint import Checkpoint, leaves, restored
from tests.common import REPOSITORY, environment
from tests.tuning.bowl import bowl, validated
from tests.tuning.digests import in_any_process
from tests.tuning.to_be_killed import GRID

SIZE = 3 * 2 * 32


class Stop(Exception):
    pass


def stop_at(member_updates, told=None):
    def progress(done):
        if told is not None:
            told.append(done)
        if done >= member_updates:
            raise Stop

    return progress


def same(a, b):
    np.testing.assert_array_equal(a.losses, b.losses)
    for name in a.scores:
        np.testing.assert_array_equal(a.scores[name], b.scores[name])


@pytest.fixture(scope="module")
def whole():
    return {n: lrx.sweep(validated(), lrx.adam, chunk_size=n, **GRID) for n in (None, 2)}


@pytest.mark.parametrize("chunk_size", [None, 2])
def test_a_sweep_stopped_again_and_again_ends_as_one_that_was_not(tmp_path, whole, chunk_size):
    run = functools.partial(lrx.sweep, validated(), lrx.adam, chunk_size=chunk_size, **GRID)
    begun = []
    for stop in range(SIZE // 4, SIZE, SIZE // 4):
        told = []
        with pytest.raises(Stop):
            run(checkpoint=tmp_path / "state", progress=stop_at(stop, told))
        begun.append(told[0])
    assert begun == sorted(set(begun))  # each went on from a later place
    same(run(checkpoint=tmp_path / "state"), whole[chunk_size])
    assert [p.name for p in tmp_path.iterdir()] == ["state"]


def test_a_complete_file_is_read_and_nothing_is_trained(tmp_path, whole):
    told = []
    for _ in range(2):
        result = lrx.sweep(validated(), lrx.adam, checkpoint=tmp_path / "state", progress=told.append, **GRID)
        same(result, whole[None])
    assert told[-1] == SIZE
    assert told == sorted(set(told))


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """What a process, where strings hash differently, said of its digests, and the file of its sweep: it was killed."""
    path = tmp_path_factory.mktemp("killed") / "state"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.tuning.to_be_killed", str(path)],
        env=environment(1) | {"PYTHONHASHSEED": "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"},
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    digests, *chunks = (process.stdout.readline() for _ in range(5))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert all(chunks)
    return digests, path


def test_a_killed_process_loses_nothing_that_was_written(killed, whole):
    _, path = killed
    assert path.exists()
    told = []
    same(lrx.sweep(validated(), lrx.adam, checkpoint=path, progress=told.append, **GRID), whole[None])
    assert SIZE // 32 < told[0] < SIZE  # the first chunk was not trained again


def test_the_digest_is_the_same_in_another_process(killed):
    digests, _ = killed
    assert digests.split() == [word for text in in_any_process() for word in text.split()]


def other_bowl():
    return validated().__class__(**{**vars(validated()), "loss": lambda p, b, key=None: jnp.sum(p["x"] ** 2)})


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """The file of a sweep that was stopped after its first chunk."""
    path = tmp_path_factory.mktemp("begun") / "state"
    with pytest.raises(Stop):
        lrx.sweep(validated(), lrx.adam, checkpoint=path, progress=stop_at(1), **GRID)
    return path


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (dict(steps=64), r"steps \(32 in the file, 64 now\)"),
        (dict(seeds=1), r"seeds \(2 in the file, 1 now\)"),
        (dict(learning_rate=[0.01, 0.1]), r"learning_rate \(\(0.01, 0.1, 0.5\) in the file, \(0.01, 0.1\) now\)"),
        (
            dict(schedule={"linear": lambda peak, steps: lrx.linear_schedule(peak, 0, steps)}),
            r"schedule \(\('cosine',\) in",
        ),
        (
            dict(schedule={"cosine": lambda p, s: lrx.cosine_decay_schedule(p, s, 0.1)}),
            r"different: values of the sched",
        ),
        (dict(key=7), r"different: key"),
        (dict(chunk_size=2), r"different: chunk_size, method and mesh"),
        (dict(b1=0.8), r"different: b1, make_optimizer"),
        (dict(make_optimizer=lambda rate: lrx.adam(rate, b1=0.8)), r"different: make_optimizer. got"),
        (dict(make_optimizer=lambda rate: lrx.adam(rate, eps=1e-7)), r"different: make_optimizer, got"),
        (dict(problem=other_bowl()), r"different: problem, got"),
        (dict(problem=bowl()), r"different: problem, got"),
    ],
)
def test_another_sweep_is_told_what_differs(begun, change, told):
    kwargs: dict[str, Any] = dict(problem=validated(), make_optimizer=lrx.adam, checkpoint=begun) | GRID
    before = begun.read_bytes()
    with pytest.raises(ValueError, match=r"sweep\(checkpoint=...\) must be of a sweep with the same arg.*" + told):
        lrx.sweep(**kwargs | change)
    assert begun.read_bytes() == before


@pytest.mark.parametrize("changed", [[0.9, 0.0], [0.0, 0.9, 0.9], [0.0]])
def test_the_order_of_further_hyperparameters_belongs_to_the_sweep(tmp_path, changed):
    kwargs: dict[str, Any] = dict(learning_rate=0.1, steps=2, checkpoint=tmp_path / "state")
    lrx.sweep(bowl(), lrx.sgd, momentum=[0.0, 0.9], **kwargs)
    with pytest.raises(ValueError, match=r"sweep\(checkpoint=...\) must be of a sweep .* different: .*momentum"):
        lrx.sweep(bowl(), lrx.sgd, momentum=changed, **kwargs)


def test_a_folder_that_is_not_there_is_told_before_training(tmp_path):
    with pytest.raises(
        ValueError, match=r"sweep\(checkpoint=...\) must be in a folder that exists, got '.*gone/state'"
    ):
        lrx.sweep(bowl(), lrx.sgd, learning_rate=0.1, checkpoint=tmp_path / "gone" / "state")


def test_what_is_no_such_file_is_told(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    with pytest.raises(ValueError, match=r"sweep\(checkpoint=...\) must be a path that sweep wrote, or a new one"):
        lrx.sweep(bowl(), lrx.sgd, learning_rate=0.1, steps=4, checkpoint=path)
    assert path.read_text() == "mine"


def test_a_damaged_file_is_told(tmp_path):
    file = Checkpoint(tmp_path / "state", {"steps": "8"})
    file.save(lambda: {"losses": np.ones((2, 3), ml_dtypes.bfloat16), "leaf_0": np.zeros(0), "leaf_1": np.ones(())})
    whole = file.path.read_bytes()
    assert file.load() is not None
    with np.load(file.path) as saved:
        arrays = dict(saved)
    changes = [
        {"leaf_1": np.zeros(())},
        {"losses": np.ones((3, 2))},
        {"arguments": np.array("[]")},
        {"more": np.ones(1)},
    ]
    for change in [*changes, *arrays]:
        if isinstance(change, str):
            np.savez(tmp_path / "other.npz", **{k: v for k, v in arrays.items() if k != change})
        else:
            np.savez(tmp_path / "other.npz", **(arrays | change))
        file.path.write_bytes((tmp_path / "other.npz").read_bytes())
        with pytest.raises(ValueError, match=r"checkpoint=...\) must be a path that .* wrote.*Delete the file"):
            file.load()
    versions = [whole[:20] + b"\xff" + whole[21:], whole.replace(b"PK\x01\x02\x14\x03", b"PK\x01\x02\x14\xff")]
    for content in [b"", *(whole[:n] for n in range(0, len(whole), 97)), *versions]:
        file.path.write_bytes(content)
        try:
            assert set(file.load() or ()) == {"losses", "leaf_0", "leaf_1"}  # a byte that nobody reads
        except ValueError as error:
            assert "must be a path that" in str(error)


def counted(batches):
    return lrx.Problem(lambda key: jnp.zeros(2), lambda p, b, key=None: jnp.sum(p) * 0 + b[0], batches=batches)


@pytest.mark.parametrize("once", [False, True])
def test_batches_are_read_up_to_where_the_run_had_stopped(tmp_path, once):
    data = np.arange(40, dtype=np.float32)[:, None] * np.ones(2, np.float32)
    kwargs: dict[str, Any] = dict(
        make_optimizer=lrx.sgd, learning_rate=[0.1, 0.2], steps=32, checkpoint=tmp_path / "state"
    )
    with pytest.raises(Stop):
        lrx.sweep(counted(iter(data) if once else data), progress=stop_at(30), **kwargs)
    losses = lrx.sweep(counted(iter(data) if once else data), **kwargs).losses
    np.testing.assert_array_equal(losses[:, 0, 0], [np.arange(32)] * 2)


def test_other_batches_are_told(tmp_path):
    kwargs: dict[str, Any] = dict(make_optimizer=lrx.sgd, learning_rate=0.1, steps=32, checkpoint=tmp_path / "state")
    data = np.arange(64, dtype=np.float32).reshape(32, 2)
    with pytest.raises(Stop):
        lrx.sweep(counted(data), progress=stop_at(8), **kwargs)
    with pytest.raises(
        ValueError, match=r"must give the same batches each time it is read, got another one at place 0"
    ):
        lrx.sweep(counted(data + 1), **kwargs)


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path):
    file = Checkpoint(tmp_path / "state", {"steps": "1"})
    file.save(lambda: {"x": np.ones(3)})

    class Broken:
        def __array__(self, *args, **kwargs):
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        file.save(lambda: {"x": np.zeros(3), "y": Broken()})
    np.testing.assert_array_equal(file.load()["x"], np.ones(3))
    assert [p.name for p in tmp_path.iterdir()] == ["state"]


def test_every_kind_of_leaf_returns(tmp_path):
    tree = {
        "bf16": jnp.array([1.5, -2.0], jnp.bfloat16),
        "key": jax.random.key(3),
        "int": jnp.int32(7),
        "f32": jnp.array([[np.nan, 1e-45, np.inf]]),
        "empty": jnp.zeros((0, 3)),
    }
    file = Checkpoint(tmp_path / "state", {})
    file.save(lambda: leaves(tree))
    again = restored(jax.tree.map(lambda x: x, tree), file.load())
    assert again["bf16"].dtype == ml_dtypes.bfloat16
    for name in ("bf16", "int", "f32", "empty"):
        assert np.asarray(again[name]).tobytes() == np.asarray(tree[name]).tobytes()
    assert again["key"] == tree["key"]


@pytest.fixture
def clock(monkeypatch):
    """Seconds, to be set."""
    now = [1000.0]
    monkeypatch.setattr("os.fsync", lambda file: None)
    monkeypatch.setattr("lrx.tuning._checkpoint.time.perf_counter", lambda: now[0])
    return now


def writes(file, clock, seconds, cost, chunk, steps):
    """When a run of so many chunks writes, each of which takes `chunk` seconds of `seconds` and each write `cost`."""
    began, times = clock[0], []

    def slow():
        clock[0] += cost
        return {}

    for done in range(1, steps + 1):
        clock[0] += chunk
        if file.due(done * chunk / seconds):
            times.append(clock[0] - began)
            file.save(slow)
    return np.array(times)


@pytest.mark.parametrize(("cost", "every"), [(0.1, 2.0), (0.5, 10.0), (1.4, 28.0)])
def test_writing_takes_a_twentieth_of_the_time(tmp_path, clock, cost, every):
    times = writes(Checkpoint(tmp_path / "state", {}), clock, seconds=200.0, cost=cost, chunk=0.5, steps=400)
    assert times[0] == 0.5  # at once: until then, all is lost
    np.testing.assert_allclose(np.diff(times), every + cost, atol=0.5)


@pytest.mark.parametrize(("seconds", "lost"), [(300.0, 30.0), (1500.0, 30.0), (10_000.0, 200.0), (100_000.0, 400.0)])
@pytest.mark.parametrize("parts", [64, 2000])
def test_a_killed_process_loses_30_seconds_or_2_percent(tmp_path, clock, seconds, lost, parts):
    """Where a write takes 20 seconds: a twentieth of the time would be one in 400."""
    file, chunk = Checkpoint(tmp_path / "state", {}), seconds / parts
    times = writes(file, clock, seconds, cost=20.0, chunk=chunk, steps=parts)
    gaps = np.diff(times) - 20.0  # between two states that were written
    assert gaps.max() <= max(lost, 0.02 * seconds if seconds < 20_000 else lost) + chunk
    if lost > 30:
        assert gaps[1:].min() > 0.8 * lost - 2 * chunk - 20  # and does not write more often than that asks for
