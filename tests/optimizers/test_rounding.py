"""`apply_updates(rounding=)`: how low-precision parameters are rounded when an update is added."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrx
from tests.common import GRADS, PARAMS, same


def test_optax_1444_stochastic_rounding_keeps_the_expected_value():
    params = jnp.ones(20_000, jnp.bfloat16)
    updates = jnp.full_like(params, 2.0**-10)  # an eighth of the gap above 1
    nearest = lrx.apply_updates(params, updates)
    rounded = lrx.apply_updates(params, updates, rounding="stochastic", key=jax.random.key(0))
    assert jnp.all(nearest == 1)
    assert set(np.unique(np.asarray(rounded, np.float64))) == {1.0, 1 + 2.0**-7}
    assert np.mean(np.asarray(rounded, np.float64) - 1) == pytest.approx(2.0**-10, rel=0.06)
    assert rounded.dtype == params.dtype


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("x", [1e-7, -3.3e-6, 0.1, -1.0, 2.0, 777.7, 6e4])
def test_stochastic_rounding_is_unbiased_between_the_two_neighbours(dtype, x):
    params = jnp.zeros(40_000, dtype)
    rounded = lrx.apply_updates(params, jnp.full(40_000, x, jnp.float32), rounding="stochastic", key=jax.random.key(1))
    values = np.asarray(rounded, np.float64)
    x = float(np.float32(x))
    nearest = float(jnp.asarray(x, dtype))
    low, high = values.min(), values.max()
    assert low <= x <= high
    assert len(np.unique(values)) == (1 if nearest == x else 2)
    assert nearest in values
    assert values.mean() == pytest.approx(x, abs=4 * (high - low) / 2 / 200 + 1e-12)


def test_float32_parameters_infinities_and_nans_are_rounded_to_the_nearest():
    params = {"a": jnp.array([jnp.inf, -jnp.inf, jnp.nan], jnp.bfloat16), "b": jnp.ones(2)}
    rounded = lrx.apply_updates(params, params, rounding="stochastic", key=jax.random.key(0))
    np.testing.assert_array_equal(np.asarray(rounded["a"], np.float32), [np.inf, -np.inf, np.nan])
    assert same(rounded["b"], 2 * jnp.ones(2))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_compensated_sum_follows_float64(dtype):
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(1000, 16)) * 1e-3
    params = compensation = jnp.zeros(16, dtype)
    params = params + jnp.asarray(1, dtype)
    plain, exact = params, np.ones(16)
    add = jax.jit(lambda p, u, c: lrx.apply_updates(p, u, rounding="kahan", compensation=c))
    for u in steps:
        u = jnp.asarray(u, dtype)
        exact = exact + np.asarray(u, np.float64)
        params, compensation = add(params, u, compensation)
        plain = lrx.apply_updates(plain, u)
    error = np.abs(np.asarray(params, np.float64) - np.asarray(compensation, np.float64) - exact).max()
    assert error < 0.02 * np.abs(np.asarray(plain, np.float64) - exact).max()
    assert np.abs(np.asarray(params, np.float64) - exact).max() <= float(jnp.finfo(dtype).eps)


def test_rounding_says_what_it_needs():
    with pytest.raises(ValueError, match=r"apply_updates\(key=...\) must be a random key"):
        lrx.apply_updates(PARAMS, GRADS, rounding="stochastic")
    with pytest.raises(ValueError, match=r"jax.tree.map\(jnp.zeros_like, params\)"):
        lrx.apply_updates(PARAMS, GRADS, rounding="kahan")
    with pytest.raises(ValueError, match="must be one of 'nearest', 'stochastic', 'kahan', got 'up'"):
        lrx.apply_updates(PARAMS, GRADS, rounding="up")
