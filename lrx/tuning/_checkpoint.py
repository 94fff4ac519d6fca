"""The state of an interrupted sweep in one file, with a fingerprint of the arguments that it belongs to."""

import functools
import hashlib
import json
import os
import re
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .. import _check as check
from ..problems._problem import Problem, loss_of, scores_of, start_of

SHARE = 0.05
"""Of the time that goes into writing, as long as no more than `LOST` is at stake."""
LOST = 30.0, 0.02
"""What a stopped process may lose: so many seconds, or this share of the run if that is longer."""


class Checkpoint:
    """A file that is replaced as a whole: at each moment it holds one state of the run, or it is not there."""

    def __init__(self, path: Any, arguments: dict[str, str]):
        self.path, self.arguments = Path(path), arguments
        self.cost = self.written = 0.0
        """Seconds that the last write took, and when it was; no cost before the first."""
        self.asked = 0.0, 0.0
        """When a chunk was completed last, and the share of the run that was."""
        if not self.path.parent.is_dir():
            raise check.fail("checkpoint", "must be in a folder that exists", str(path))

    def load(self) -> dict[str, np.ndarray] | None:
        """The arrays of the last state that was written, or None."""
        if not self.path.exists():
            return None
        try:
            with np.load(self.path) as file:
                arrays = dict(file)
            theirs = json.loads(arrays.pop("arguments").item())
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise check.fail("checkpoint", "must be a path that sweep wrote, or a new one", str(self.path)) from error
        names = list(self.arguments) + [name for name in theirs if name not in self.arguments]
        differ = [name for name in names if theirs.get(name) != self.arguments.get(name)]
        if differ:
            listed = ", ".join(_difference(name, theirs.get(name), self.arguments.get(name)) for name in differ)
            rule = f"must be of a sweep with the same arguments; different: {listed}"
            raise check.fail("checkpoint", rule, str(self.path), "Delete the file to start anew, or name another.")
        return arrays

    def due(self, done: float) -> bool:
        """Whether to write now; asked after each chunk of the run, of which a share `done` is completed."""
        now = time.perf_counter()
        (before, done_before), self.asked = self.asked, (now, done)
        if not self.cost:
            return True
        chunk, unwritten = now - before, now - self.written
        whole = chunk / (done - done_before)  # at the pace of the last chunk
        seconds, share = LOST
        return unwritten >= self.cost / SHARE or unwritten + chunk + self.cost > max(seconds, share * whole)

    def save(self, state: Callable[[], dict[str, np.ndarray]]) -> None:
        """Replace the file."""
        began = time.perf_counter()
        arrays = state()
        part = self.path.with_name(f".{self.path.name}.part")
        try:
            with part.open("wb") as file:
                np.savez(file, arguments=np.array(json.dumps(self.arguments)), **arrays)  # type: ignore[arg-type]
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self.path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        self.written = time.perf_counter()
        self.cost = max(self.written - began, 1e-9)
        self.asked = self.written, self.asked[1]


def leaves(tree: Any) -> dict[str, np.ndarray]:
    """The leaves of a pytree as plain arrays, by position."""
    return {f"leaf_{i}": np.asarray(_plain(x)) for i, x in enumerate(jax.tree.leaves(tree))}


def restored(template: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The pytree whose leaves were saved, with the dtypes and the placement of `template`'s."""
    old, structure = jax.tree.flatten(template)
    return jax.tree.unflatten(structure, [_like(x, arrays[f"leaf_{i}"]) for i, x in enumerate(old)])


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.extended)


def _plain(x: Any) -> Any:
    return jax.random.key_data(x) if _is_key(x) else x


def _like(old: Any, saved: np.ndarray) -> Any:
    if _is_key(old):
        return jax.device_put(jax.random.wrap_key_data(jnp.asarray(saved), impl=jax.random.key_impl(old)), old.sharding)
    # bfloat16 and its like come back from a file as raw bytes
    return jax.device_put(saved if saved.dtype == old.dtype else saved.view(old.dtype), old.sharding)


# ---------------------------------------------------------------- what the arguments are


def arguments_of(
    problem: Problem, make_optimizer: Callable[..., Any], batch: Any, hyper: list[str], named: dict[str, Any]
) -> dict[str, str]:
    """Argument -> text by which two calls are compared: short values as they are, others as a digest.

    Of functions the traced program is compared, with the arrays in it, so that an edited loss, other data or another
    constant inside `make_optimizer` is noticed, and the same code in another process is not.
    """
    key = jax.random.key(0)
    start = functools.partial(start_of, problem)
    model = jax.eval_shape(start, key)
    programs = [_program(start, key)]
    if problem.sample is not None:
        programs.append(_program(problem.sample, key))
        batch = jax.eval_shape(problem.sample, key)
    programs.append(_program(functools.partial(loss_of, problem), *model, batch, key))
    if problem.evaluate is not None:
        programs.append(_program(functools.partial(scores_of, problem), *model))

    def optimizer(rate: Any, hyper: Any, params: Any) -> Any:
        tx = optax.with_extra_args_support(check.in_user_code(make_optimizer, rate, **hyper))
        state = tx.init(params)

        def value_fn(params: Any) -> Any:
            return sum(jnp.sum(x.astype(jnp.float32)) for x in jax.tree.leaves(params))

        value, grad = jax.value_and_grad(value_fn)(params)
        return state, tx.update(grad, state, params, value=value, grad=grad, value_fn=value_fn)

    number = jax.ShapeDtypeStruct((), jnp.float32)
    return {name: _text(value) for name, value in named.items()} | {
        "problem": f"{problem.name} {_digest(*programs)}",
        "make_optimizer": _digest(_program(optimizer, number, dict.fromkeys(hyper, number), model[0])),
        "jax": jax.__version__,
    }


def _program(function: Callable[..., Any], *args: Any) -> bytes:
    """The traced program of a function and the arrays that it closes over."""
    closed = jax.make_jaxpr(function)(*args)
    text = re.sub(r"0x[0-9a-f]+", "", str(closed.jaxpr))  # addresses, which no two processes share
    return text.encode() + b"".join(np.asarray(_plain(x)).tobytes() for x in closed.consts)


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def _text(value: Any) -> str:
    """A number as it is, an array as its digest, a list by its parts."""
    if isinstance(value, np.ndarray):
        return _digest(str((value.shape, value.dtype)).encode(), value.tobytes())
    return str(value)


def _difference(name: str, theirs: str | None, ours: str | None) -> str:
    if name in ("problem", "make_optimizer") or theirs is None or ours is None or max(len(theirs), len(ours)) > 60:
        return name
    return f"{name} ({theirs} in the file, {ours} now)"
