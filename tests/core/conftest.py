"""Fixtures of the tests of the core."""

import jax
import pytest

from lrx.optimizers.adam import ScaleByAdam


class Traces:
    """How often Adam's rule was run, which under `jit` is how often it was traced."""

    def __init__(self):
        self.count = 0


@pytest.fixture
def traces(monkeypatch):
    """Count the traces of Adam's rule."""
    seen, update = Traces(), ScaleByAdam.update

    def counted(self, *args, **kwargs):
        seen.count += 1
        return update(self, *args, **kwargs)

    monkeypatch.setattr(ScaleByAdam, "update", counted)
    return seen


@pytest.fixture
def x64():
    """Let JAX compute in float64 for one test."""
    with jax.enable_x64(True):
        yield
