"""Parameters in eight bits or fewer: computed in float32, with float32 moments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrx
from tests.common import avals, finite, same
from tests.optimizers.cases import CASES, VARIANTS
from tests.optimizers.wrappers import WRAPPERS

DTYPES = [
    name
    for name in dir(jnp)
    if name.startswith(("float8_", "float4_")) and name != "float8_e8m0fnu" and "scale" not in name
]


def falling(count):
    """A rate that takes few operations."""
    return 0.01 / (1 + count)


OPTIMIZERS = {case.name: (case.build(falling), case.needs) for case in CASES + VARIANTS}
OPTIMIZERS |= {f"{name}_around": (wrap(lrx.adamw(falling)), ()) for name, wrap in WRAPPERS.items()}
OPTIMIZERS["pack"] = lrx.pack(lrx.adam(falling)), ()


def params(dtype):
    return {"w": jnp.ones((2, 3), dtype), "b": jnp.ones(3, dtype)}


def loss(params):
    return sum(jnp.sum(p.astype(jnp.float32) ** 2) for p in jax.tree.leaves(params))


GIVEN = {
    "w": {dtype: jax.ShapeDtypeStruct((2, 3), dtype) for dtype in DTYPES},
    "b": {dtype: jax.ShapeDtypeStruct((3,), dtype) for dtype in DTYPES[::4]},
}
"""As types, in one tree, since each would be another program: matrices of all, and vectors of some."""


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_takes_every_dtype(name):
    tx, needs = OPTIMIZERS[name]
    extra = {k: v for k, v in {"value": 1.0, "value_fn": loss}.items() if k in needs}
    state = jax.eval_shape(tx.init, GIVEN)
    updates, after = jax.eval_shape(lambda g, s: tx.update(g, s, g, **extra), GIVEN, state)
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
    assert [x.dtype for x in jax.tree.leaves(after)] == [x.dtype for x in jax.tree.leaves(state)]
    # what brings a narrow weight to its target may need more digits than the weight has
    of_updates = lambda p: jnp.dtype(jnp.float32) if name.startswith("master_weights") else p.dtype  # noqa: E731
    assert jax.tree.map(lambda x: x.dtype, updates) == jax.tree.map(of_updates, GIVEN)
    assert not any(x.dtype in map(jnp.dtype, DTYPES) for x in jax.tree.leaves(state) if "mu" in name)


def test_the_numbers_are_those_of_float32_rounded():
    """All dtypes in one tree and program."""
    tx, given = lrx.adamw(0.5), {dtype: params(dtype) for dtype in DTYPES}
    wide = jax.tree.map(lambda p: p.astype(jnp.float32), given)
    state = tx.init(given)
    assert {x.dtype for x in jax.tree.leaves(state["scale_by_adam"].memory.mu)} == {jnp.dtype(jnp.float32)}
    step = jax.jit(lambda *trees: [tx.update(tree, tx.init(tree), tree) for tree in trees])
    (updates, after), (expected, _) = step(given, wide)
    assert avals(after) == avals(state)
    assert same(updates, jax.tree.map(lambda e, p: e.astype(p.dtype), expected, given))


@pytest.mark.parametrize("rounding", ["nearest", "stochastic", "kahan"])
def test_updates_are_applied_and_masters_kept(rounding):
    for dtype in DTYPES:
        given = params(dtype)
        key, rest = jax.random.key(0), jax.tree.map(jnp.zeros_like, given)
        new = lrx.apply_updates(given, given, rounding=rounding, key=key, compensation=rest)
        new = new[0] if rounding == "kahan" else new
        assert avals(new) == avals(given)
        np.testing.assert_array_equal(np.asarray(new["w"], np.float32), 2)
    for dtype in ("float8_e4m3fn", "float8_e5m2"):  # a step of a sixteenth, sixteen times
        given = {"w": jnp.ones(200, dtype)}
        tx = lrx.master_weights(lrx.sgd(1 / 64), rounding)
        state, grads = tx.init(given), {"w": jnp.ones(200, dtype)}
        for _ in range(32):
            updates, state = tx.update(grads, state, given)
            given = lrx.apply_updates(given, updates)
        assert finite(given)
        assert float(given["w"].astype(jnp.float32).mean()) == pytest.approx(0.5, abs=0.05)


def test_a_dtype_without_zero_is_refused():
    """float8_e8m0fnu holds the scales of a block: powers of two."""
    scales = jnp.ones(3, "float8_e8m0fnu")
    for tx in (lrx.sgd(0.1), lrx.adam(0.1), lrx.lion(0.1)):
        with pytest.raises(TypeError, match="float8_e8m0fnu has powers of two alone"):
            tx.update(scales, tx.init(scales), scales)
