"""What two processes do together on this machine. The same two are asked everything: each costs seconds to start."""

import socket
import subprocess
import sys

import pytest

from tests.common import REPOSITORY, environment
from tests.tuning.search_on_two_processes import stopped


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """What each of the processes printed."""
    folder = tmp_path_factory.mktemp("both")
    (folder / "search.json").write_text(stopped().to_json())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.on_two_processes", str(port), str(i), str(folder)],
            env=environment(2),
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=240)[0] for process in both]
    finally:
        for process in both:
            process.kill()
    return list(zip(outputs, (process.returncode for process in both), strict=True))


def went_well(outputs, name):
    for output, _ in outputs:
        assert f"{name}: done" in output, output[-5000:]


def test_states_spread_over_both_are_trained_checkpointed_and_edited(outputs):
    went_well(outputs, "core")


def test_a_sweep_divides_its_members_over_both(outputs):
    went_well(outputs, "sweep")


def test_two_processes_that_train_one_sharded_model_ask_one_search(outputs):
    went_well(outputs, "search")


def test_both_end(outputs):
    assert [code for _, code in outputs] == [0, 0], outputs
