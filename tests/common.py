"""What the tests of the core share: a small problem, a training loop, and comparisons of trees."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx

PARAMS = {"w": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3), "b": np.zeros(3, np.float32)}
GRADS = {"w": np.full((2, 3), 0.3, np.float32), "b": np.full(3, 0.3, np.float32)}
WARMUP_COSINE = {"init_value": 0.0, "peak_value": 1e-3, "warmup_steps": 10, "decay_steps": 100}
REPOSITORY = Path(__file__).parents[1]


def has_optax(version):
    return tuple(map(int, optax.__version__.split(".")[:3])) >= tuple(map(int, version.split(".")))


def needs_optax(version):
    """Skip the test where optax is older: what it compares with came with that version."""
    if not has_optax(version):
        pytest.skip(f"compares with what came with optax {version}; {optax.__version__} is installed")


def warmup_cosine(**changes):
    return lrx.warmup_cosine_decay_schedule(**{**WARMUP_COSINE, **changes})


def train(tx, params=PARAMS, grads=GRADS, steps=3, by=jax.jit, **extra):
    """Parameters and state after some updates with one gradient, in one step that is compiled, or run `by` another."""
    step = by(lambda params, state, grads: one_step(tx, params, state, grads, **extra))
    state = tx.init(params)
    for _ in range(steps):
        params, state = step(params, state, grads)
    return params, state


def scan(tx, params, grads, state=None, **extra):
    """The path of the parameters, one more than `grads` has gradients on its leading axis."""

    def body(carry, g):
        params, state = one_step(tx, *carry, g, **extra)
        return (params, state), params

    carry = params, tx.init(params) if state is None else state
    path = jax.lax.scan(body, carry, grads)[1]
    return jax.tree.map(lambda p, rest: jnp.concatenate([jnp.asarray(p)[None], rest]), params, path)


def one_step(tx, params, state, grads, **extra):
    updates, state = tx.update(grads, state, params, **extra)
    return lrx.apply_updates(params, updates), state


def random_gradients(steps, seed=0):
    """Gradients of `steps` updates of `PARAMS`, one after another along the first axis."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda p: rng.normal(size=(steps, *p.shape)).astype(np.float32), PARAMS)


def as_restored(tree):
    """What a checkpoint without a target restores to: named tuples are dicts in alphabetical order, tuples lists."""
    if hasattr(tree, "_asdict"):
        tree = tree._asdict()
    if isinstance(tree, dict):
        return {str(k): as_restored(tree[k]) for k in sorted(tree)}
    if isinstance(tree, tuple | list):
        return [as_restored(x) for x in tree]
    return np.asarray(words(tree))


def words(tree):
    """A tree with its random keys as arrays: most files hold no others."""
    is_key = lambda x: hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)  # noqa: E731
    return jax.tree.map(lambda x: jax.random.key_data(x) if is_key(x) else x, tree)


def avals(tree):
    """Structure, shapes, dtypes and weak types: what decides whether a jitted function is traced again."""
    return jax.tree.map(jax.typeof, tree)


def same(a, b):
    """Whether two trees have the same structure, dtypes and bits."""
    if jax.tree.structure(a) != jax.tree.structure(b):
        return False
    pairs = zip(*(map(np.asarray, jax.tree.leaves(words(tree))) for tree in (a, b)), strict=True)
    return all(x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes() for x, y in pairs)


def finite(tree):
    """Whether every inexact leaf of a tree is finite."""
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return all(np.isfinite(np.asarray(x)).all() for x in leaves)


def distance(a, b):
    """The largest difference between two trees of arrays."""
    return max(float(np.max(np.abs(np.asarray(x) - np.asarray(y)), initial=0)) for x, y in leaf_pairs(a, b))


def leaf_pairs(a, b):
    return zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)


def python(code, *arguments, cwd=REPOSITORY, **environment):
    """Run Python code in a process of its own and return what it printed; its failure is the test's."""
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu", **environment}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, env=env, cwd=cwd, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout.strip()


def environment(devices):
    flags = f"--xla_force_host_platform_device_count={devices}"
    return {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(REPOSITORY)}
