"""One of two processes with two devices each. `test_two_processes.py` starts both.

python -m tests.on_two_processes PORT PROCESS FOLDER
"""

import sys
from pathlib import Path

import jax

from .conftest import cheaply


def main(port, process, folder):
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, int(process))
    from .core import on_two_processes as core  # some make arrays, when the devices are known
    from .tuning import search_on_two_processes as search
    from .tuning import sweep_on_two_processes as sweep

    assert len(jax.devices()) == 4 and len(jax.local_devices()) == 2
    with cheaply():
        for name, questions in {"core": core, "sweep": sweep, "search": search}.items():
            questions.ask(Path(folder))
            print(f"{name}: done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
