"""Several devices and several processes, each in a process of its own."""

import socket
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


def test_two_processes(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.core.on_two_processes", str(port)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [
        subprocess.Popen([*command, str(i), str(tmp_path)], env=environment(2), cwd=REPOSITORY, **pipes)
        for i in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=180) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (out, err) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, err[-3000:]
        assert "both done" in out
