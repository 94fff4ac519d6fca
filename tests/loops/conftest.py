"""Fixtures of the tests of training loops."""

from ..core.conftest import traces as traces
