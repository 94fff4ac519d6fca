"""Schedules on several devices, in a process of their own."""

import os
import subprocess
import sys

import pytest

from tests.common import REPOSITORY


@pytest.mark.slow
def test_populations_on_eight_devices():
    """Runs `on_eight_devices.py`; its report is in the message of a failure."""
    flags = "--xla_force_host_platform_device_count=8"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/schedules/on_eight_devices.py"]
    result = subprocess.run(
        command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-1000:]
