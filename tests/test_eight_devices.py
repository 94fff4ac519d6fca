"""Schedules and sweeps on eight devices, in one process of their own: it costs seconds to start."""

import subprocess
import sys

import pytest

from tests.common import REPOSITORY, environment

FILES = ["tests/schedules/on_eight_devices.py", "tests/tuning/on_eight_devices.py"]


@pytest.mark.slow
def test_populations_on_eight_devices():
    """Runs both `on_eight_devices.py`; their report is in the message of a failure."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *FILES]
    result = subprocess.run(
        command, env=environment(8), cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-1000:]
