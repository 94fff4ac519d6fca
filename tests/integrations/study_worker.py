"""Four workers of one study, of which the first is killed: `test_optuna.py` starts this.

python -m tests.integrations.study_worker FOLDER
"""

import os
import signal
import sys
import time
import traceback
from pathlib import Path

import optuna

from tests.integrations.common import descended, journal, sampler


def work(folder, number):
    """The first worker never comes to the end of its second run."""
    runs = 0

    def objective(trial):
        nonlocal runs
        runs += 1
        run = sampler.run(trial)
        print("run", run.id, flush=True)
        time.sleep(60.0 if number == 0 and runs == 2 else 0.1)
        return sampler.value(trial, descended(run))

    study = optuna.load_study(study_name="shared", storage=journal(folder / "journal"), sampler=sampler)
    study.optimize(objective)
    print("done", sampler.search(study).result.learning_rate, flush=True)


def start(folder, number):
    """A worker in a process of its own, which need not import all of this again."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.dup2(os.open(folder / f"{number}.out", os.O_WRONLY | os.O_CREAT), 1)
        work(folder, number)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def main(folder):
    workers, first = [start(folder, 0)], folder / "0.out"
    # it is in its second run before the others, however busy the machine is
    while not first.exists() or first.read_text().count("run") < 2:
        time.sleep(0.01)
    workers += [start(folder, number) for number in range(1, 4)]
    os.kill(workers[0], signal.SIGKILL)
    print([os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) for worker in workers])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
