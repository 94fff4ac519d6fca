"""A rate for another batch size, and the gradient noise scale that it depends on: by hand and simulated."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrx

# ---------------------------------------------------------------- batch sizes


def batch(rule, rate, old, new, n=None):
    return lrx.transfer_batch_size(rate, old, new, rule=rule, noise_scale=n).factor


@pytest.mark.parametrize("rule, n", [("linear", None), ("sqrt", None), ("noise_scale", 300.0), ("surge", 300.0)])
def test_batch_size_groups(rule, n):
    assert batch(rule, 0.1, 64, 64, n) == 1
    assert batch(rule, 0.1, 64, 256, n) * batch(rule, 0.1, 256, 4096, n) == pytest.approx(batch(rule, 0.1, 64, 4096, n))
    assert batch(rule, 0.1, 64, 256, n) * batch(rule, 0.1, 256, 64, n) == pytest.approx(1)


def test_batch_size_by_hand():
    assert batch("linear", 0.1, 256, 8192) == 32
    assert batch("sqrt", 0.1, 256, 1024) == 2
    assert batch("noise_scale", 0.1, 100, 300, 300.0) == pytest.approx((1 + 3) / (1 + 1))
    assert batch("surge", 0.1, 100, 400, 400.0) == pytest.approx((2 + 1 / 2) / (1 + 1))


def test_limits_of_a_noise_scale():
    assert batch("noise_scale", 0.1, 1, 8, 1e9) == pytest.approx(8)
    assert batch("noise_scale", 0.1, 10**6, 10**7, 1.0) == pytest.approx(1, rel=1e-5)
    assert batch("surge", 0.1, 1, 16, 1e9) == pytest.approx(4)
    factors = [batch("surge", 0.1, 64, new, 512.0) for new in (128, 256, 512, 1024, 2048)]
    assert max(factors) == factors[2] and factors[1] == pytest.approx(factors[3])


def test_the_estimate_goes_into_the_rule():
    n = lrx.gradient_noise_scale(5.0, 2.0, 1, 4)
    assert batch("noise_scale", 0.1, 4, 12, n) == pytest.approx((1 + 1) / (1 + 1 / 3))


# ---------------------------------------------------------------- the gradient noise scale


@settings(max_examples=100, deadline=None)
@given(st.floats(0.1, 10.0), st.floats(0.1, 1e3), st.integers(1, 64), st.integers(1, 64))
def test_noise_scale_is_exact_in_expectation(square, trace, small, more):
    big = small + more
    with jax.enable_x64(True):
        found = lrx.gradient_noise_scale(square + trace / small, square + trace / big, small, big)
    assert float(found) == pytest.approx(trace / square, rel=1e-6)


def noisy_norms(steps=4000, size=50, small=4, big=32, trace=200.0, square=2.0):
    rng = np.random.default_rng(0)
    mean = np.full(size, math.sqrt(square / size))
    noise = rng.normal(scale=math.sqrt(trace / size / small), size=(steps, big // small, size))
    each = mean + noise  # the mean gradients of the small batches that make up a big one
    return (each**2).sum(-1), (each.mean(1) ** 2).sum(-1)


def test_noise_scale_of_gaussian_gradients():
    small, big = noisy_norms()
    found = float(lrx.gradient_noise_scale(small, big, 4, 32))
    parts = zip(np.split(small, 20), np.split(big, 20), strict=True)
    blocks = [float(lrx.gradient_noise_scale(s, b, 4, 32)) for s, b in parts]
    error = np.std(blocks, ddof=1) / math.sqrt(20)
    assert error < 3 and abs(found - 100) < 3 * error
    # one small batch of each big one, so other noise, and a different number of entries
    assert lrx.gradient_noise_scale(small[:, 0], big, 4, 32) == pytest.approx(100, rel=0.1)


def test_means_come_before_the_ratio():
    small, big = noisy_norms(steps=400)
    alone = np.array([lrx.gradient_noise_scale(s, b, 4, 32) for s, b in zip(small, big, strict=True)])
    found = lrx.gradient_noise_scale(small, big, 4, 32)
    assert found == pytest.approx(100, rel=0.2)
    assert abs(alone[np.isfinite(alone)].mean() - 100) > 3 * abs(found - 100)


def test_noise_scale_at_its_edges():
    assert lrx.gradient_noise_scale(8.0, 1.0, 1, 8) == np.inf  # |G|² = 0
    assert lrx.gradient_noise_scale(9.0, 1.0, 1, 8) == np.inf
    assert lrx.gradient_noise_scale(2.0, 2.0, 1, 8) == 0
    assert lrx.gradient_noise_scale(1.0, 2.0, 1, 8) < 0


def test_noise_scale_is_a_jax_function():
    small, big = noisy_norms(steps=10)
    found = lrx.gradient_noise_scale(small, big, 4, 32)
    assert isinstance(found, jax.Array) and found.dtype == jnp.float32 and found.shape == ()
    expected = float(found)
    assert jax.jit(lrx.gradient_noise_scale)(small, big, 4, 32) == pytest.approx(expected, rel=1e-5)
    rows = jax.vmap(lambda s, b: lrx.gradient_noise_scale(s, b, 4, 32))(jnp.stack([small] * 2), jnp.stack([big] * 2))
    np.testing.assert_allclose(rows, expected, rtol=1e-5)
    half = lrx.gradient_noise_scale(jnp.asarray(small, jnp.bfloat16), jnp.asarray(big, jnp.bfloat16), 4, 32)
    assert half.dtype == jnp.float32
    assert lrx.gradient_noise_scale([5, 5], [2, 2], 1, 4) == 4
    with jax.debug_nans(True):
        assert lrx.gradient_noise_scale(8.0, 1.0, 1, 8) == np.inf
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        wide = lrx.gradient_noise_scale(small, jnp.asarray(big, jnp.float32), jnp.int32(4), 32)
        assert wide.dtype == jnp.float64 and wide == pytest.approx(expected, rel=1e-5)
