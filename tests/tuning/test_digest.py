"""A file is recognised as the state of the same call, whatever of the call has changed."""

import os

import jax.numpy as jnp
import numpy as np
import pytest

import lrx
from lrx.tuning._checkpoint import Checkpoint
from lrx.tuning._digest import arguments_of
from tests.tuning.bowl import bowl, scored
from tests.tuning.digests import KINDS, called_back, digest, stopped

OFFSET = np.zeros(2, np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_other_data_or_code_anywhere_in_a_problem_is_another_problem(kind):
    make = KINDS[kind]
    for where in ("loss", "evaluate", "sample"):
        one, again, other = (digest(make(n), where) for n in (1, 1, 2))
        assert one == again
        if where == "loss" or not kind.endswith(("backward", "tangent")):
            assert one != other, where


def test_a_global_that_a_callback_reads(monkeypatch):
    inner = stopped(called_back(lambda x: x + OFFSET))
    before = digest(inner)
    assert digest(inner) == before
    monkeypatch.setattr(__import__(__name__, fromlist=["x"]), "OFFSET", np.ones(2, np.float32))
    assert digest(inner) != before


def test_an_optimizer_with_other_numbers_in_jit():
    def make(n):
        return lambda rate: lrx.chain(lrx.sgd(rate), lrx.masked(lrx.trace(0.9), {"x": n == 1}))

    one, again, other = (arguments_of(bowl(), make(n), None, [], {})["make_optimizer"] for n in (1, 1, 2))
    assert one == again != other


# ---------------------------------------------------------------- the file


def test_other_names_of_evaluate_are_another_sweep(tmp_path):
    kwargs = dict(learning_rate=0.1, steps=2, checkpoint=tmp_path / "state")
    lrx.sweep(scored(lambda p: {"loss": p["x"].sum()}), lrx.sgd, **kwargs)
    with pytest.raises(ValueError, match=r"sweep\(checkpoint=...\) must be of a sweep .* different: problem"):
        lrx.sweep(scored(lambda p: {"accuracy": p["x"].sum()}), lrx.sgd, **kwargs)


def test_narrow_losses_and_scores_return_from_a_file(tmp_path):
    def narrow(dtype):
        return lrx.Problem(
            init=bowl().init,
            loss=lambda p, b, key=None: jnp.sum(p["x"] ** 2).astype(dtype),
            sample=bowl().sample,
            evaluate=lambda p: {"loss": jnp.sum(p["x"] ** 2).astype(dtype), "accuracy": jnp.sum(p["x"] > 0)},
        )

    for dtype in (jnp.bfloat16, jnp.float16):
        kwargs = dict(learning_rate=[0.1, 0.2], steps=4, checkpoint=tmp_path / jnp.dtype(dtype).name, chunk_size=1)
        first = lrx.sweep(narrow(dtype), lrx.sgd, **kwargs)
        again = lrx.sweep(narrow(dtype), lrx.sgd, **kwargs)
        assert first.losses.dtype == again.losses.dtype == np.float32
        assert first.scores["loss"].dtype == np.float32
        np.testing.assert_array_equal(first.losses, again.losses)
        for name, x in first.scores.items():
            np.testing.assert_array_equal(x, again.scores[name])
        assert again.best("validation").learning_rate == first.best("validation").learning_rate


def test_a_link_stays_a_link_and_long_names_are_names(tmp_path):
    (tmp_path / "there").mkdir()
    link, name = tmp_path / "link", "n" * 255
    link.symlink_to(tmp_path / "there" / "state")
    for path in (link, tmp_path / name):
        lrx.sweep(bowl(), lrx.sgd, learning_rate=0.1, steps=2, checkpoint=path)
    assert link.is_symlink() and (tmp_path / "there" / "state").is_file()
    assert sorted(os.listdir(tmp_path)) == ["link", name, "there"]
    assert os.listdir(tmp_path / "there") == ["state"]
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o666 & ~_mask()


def _mask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_two_processes_may_write_one_file_at_a_time(tmp_path):
    """Each state is written whole beside the file first, under a name of its own."""
    one, other = (Checkpoint(tmp_path / "state", {"steps": "1"}) for _ in range(2))

    def within():
        other.save(lambda: {"x": np.full(2, 2.0)})  # in the middle of the first
        return {"x": np.ones(2)}

    class Late:
        def __array__(self, *args, **kwargs):
            within()
            return np.ones(2)

    one.save(lambda: {"x": Late()})
    np.testing.assert_array_equal(one.load()["x"], np.ones(2))
    assert os.listdir(tmp_path) == ["state"]


def test_what_a_killed_process_had_begun_is_removed_later(tmp_path):
    file = Checkpoint(tmp_path / "state", {})
    file.save(dict)
    for name, age in (("old", 7200), ("young", 10)):
        part = tmp_path / f"{next(p.name for p in _begun(file))}{name}.part"
        part.write_bytes(b"half")
        os.utime(part, (part.stat().st_mtime - age,) * 2)
    file.save(dict)
    assert len(os.listdir(tmp_path)) == 2  # the file, and what somebody may be writing
    assert any(name.endswith("young.part") for name in os.listdir(tmp_path))


def _begun(file):
    """Names that a write begins with, seen from inside of one."""
    seen = []

    class Look:
        def __array__(self, *args, **kwargs):
            seen.extend(p.with_name(p.name[:10]) for p in file.path.parent.glob(".*.part"))
            return np.zeros(1)

    file.save(lambda: {"x": Look()})
    return seen


@pytest.mark.parametrize("name", ["seed", "step"])
def test_a_number_called_as_an_axis_of_the_result(name):
    def make(rate, **kwargs):
        return lrx.sgd(rate, momentum=kwargs[name])

    assert lrx.sweep(bowl(), make, learning_rate=0.1, steps=2, **{name: 0.9}).final.shape == (1, 1, 1)
    with pytest.raises(ValueError, match=rf"sweep\({name}=...\) must be one number, since '{name}' is an axis"):
        lrx.sweep(bowl(), make, learning_rate=0.1, steps=2, **{name: [0.0, 0.9]})
