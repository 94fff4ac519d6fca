"""What eight devices are for, in one process of its own that has them: it costs seconds to start."""

import subprocess
import sys

import pytest

from tests.common import REPOSITORY, environment

FILES = [
    "tests/core/on_eight_devices.py",
    "tests/core/on_explicit_axes.py",
    "tests/schedules/on_eight_devices.py",
    "tests/tuning/on_eight_devices.py",
]


@pytest.mark.slow
def test_eight_devices():
    """Runs the files; their report is in the message of a failure."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *FILES]
    result = subprocess.run(
        command, env=environment(8), cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-1000:]
