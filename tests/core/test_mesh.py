"""Several devices and several processes, each in a process of its own."""

import subprocess
import sys

import pytest

from tests.common import REPOSITORY, environment


@pytest.mark.slow
def test_eight_devices():
    """Runs the files in one process; its report is in the message of a failure."""
    files = "tests/core/on_eight_devices.py", "tests/core/on_explicit_axes.py"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    result = subprocess.run(
        command, env=environment(8), cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-1000:]
