"""For all tests."""

import gc

import jax
import pytest

# thousands of compiled programs live in a worker: each full collection would walk all of them
gc.set_threshold(50_000, 50, 1000)


@pytest.fixture
def cheap_compiles():
    """Compile fast rather than well, where no digit is at stake."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
