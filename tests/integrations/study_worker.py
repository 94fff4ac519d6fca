"""A worker of a study that four share. `test_optuna.py` starts them, and kills the first.

python -m tests.integrations.study_worker FILE NUMBER
"""

import sys
import time

import optuna

from tests.integrations.common import descended, journal, sampler


def main(file, number):
    """The first worker never comes to the end of its second run."""
    runs = 0

    def objective(trial):
        nonlocal runs
        runs += 1
        run = sampler.run(trial)
        print("run", run.id, flush=True)
        time.sleep(60.0 if number == "0" and runs == 2 else 0.1)
        return sampler.value(trial, descended(run))

    study = optuna.load_study(study_name="shared", storage=journal(file), sampler=sampler)
    study.optimize(objective)
    print("done", sampler.search(study).result.learning_rate, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
