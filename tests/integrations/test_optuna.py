"""The search and halving inside Optuna: one study, whoever works at it and whatever happens to them."""

import contextlib
import importlib
import math
import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

import lrx
from lrx.integrations.optuna import HalvingPruner, SearchSampler
from tests.common import REPOSITORY, environment
from tests.integrations.common import STEPS, alone, descended, journal, sampler

optuna.logging.set_verbosity(optuna.logging.ERROR)
ALONE = alone()


def objective(trial):
    return sampler.value(trial, descended(sampler.run(trial)))


def new_study(**arguments):
    return optuna.create_study(**{"sampler": sampler, **arguments})


def as_alone(search):
    assert search.done
    assert search.result.learning_rate == ALONE.result.learning_rate
    assert search.result.interval == ALONE.result.interval and search.result.confident == ALONE.result.confident
    assert search.cost == ALONE.cost


def test_a_study_is_the_search():
    study = new_study()
    study.optimize(objective)
    as_alone(sampler.search(study))
    assert len(study.trials) == sum(len(r.losses) for r in ALONE.result.rounds)  # none too many
    study.optimize(objective, n_trials=3)  # one more finds that it is done
    assert len(study.trials) == sum(len(r.losses) for r in ALONE.result.rounds) + 1
    assert study.trials[-1].state == TrialState.PRUNED
    as_alone(sampler.search(study))


@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_asked_and_told_out_of_order_by_samplers_that_remember_nothing(tmp_path, storage):
    file = tmp_path / "study"
    storage = journal(file) if storage == "journal" else f"sqlite:///{file}"
    new_study(storage=storage, study_name="s")
    rng, done, most = np.random.default_rng(0), False, 0
    while not done:
        again = SearchSampler(steps=STEPS, optimizer="sgd")
        study = optuna.load_study(study_name="s", storage=storage, sampler=again)
        trials = [study.ask() for _ in range(3)]
        runs = [again.run(trial) for trial in trials]
        assert len({run.seed for run in runs}) == 1
        most = max(most, len({run.id for run in runs}))  # fewer where the next run waits for these
        for i in rng.permutation(3):
            study.tell(trials[i], again.value(trials[i], descended(runs[i])))
        done = again.search(study).done
    assert most == 3
    as_alone(again.search(study))


def test_four_workers_share_a_study_and_one_is_killed(tmp_path):
    storage = journal(tmp_path / "journal")
    new_study(storage=storage, study_name="shared")
    command = [sys.executable, "-m", "tests.integrations.study_worker", str(tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment(1), cwd=REPOSITORY, start_new_session=True, **pipes) as workers:
        try:
            codes, errors = workers.communicate(timeout=120)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(workers.pid, signal.SIGKILL)  # all of them, if they have not ended
    assert codes == f"{[-signal.SIGKILL, 0, 0, 0]}\n", errors[-3000:]
    first, *others = [(tmp_path / f"{i}.out").read_text() for i in range(4)]
    assert all(f"done {ALONE.result.learning_rate!r}" in out for out in others)
    study = optuna.load_study(study_name="shared", storage=storage, sampler=sampler)
    as_alone(sampler.search(study))
    lost = [t for t in study.trials if t.state == TrialState.RUNNING]
    assert len(lost) == 1 and lost[0].user_attrs["lrx_run"]["id"] == int(first.split()[-1])


def test_runs_that_fail_are_made_once_more_and_then_have_diverged():
    study, failures = new_study(), {}

    def fails(trial, bad=lambda run, times: (run.learning_rate > 0.2 and run.round == 0) or times == 1):
        run = sampler.run(trial)
        failures[run.id] = failures.get(run.id, 0) + 1
        if bad(run, failures[run.id]):
            raise FloatingPointError
        return sampler.value(trial, descended(run))

    study.optimize(fails, catch=FloatingPointError)
    search = sampler.search(study)
    assert search.done and set(failures.values()) == {2}
    first = search.result.rounds[0]
    np.testing.assert_array_equal(np.isinf(first.losses), first.learning_rates > 0.2)


def test_runs_that_are_nan_cut_short_or_pruned():
    study = new_study()

    def ends(trial):
        run = sampler.run(trial)
        if run.id == 0:
            trial.report(1.0, 0)
            trial.report(math.nan, 1)
            return math.nan
        if run.id == 1:
            return sampler.value(trial, descended(run, steps=3))
        if run.id == 2:
            trial.report(2.0, 0)
            trial.report(1.75, 5)
            raise optuna.TrialPruned
        return float("inf") if run.id == 5 else np.mean(descended(run)[-5:])

    study.optimize(ends)
    search = sampler.search(study)
    assert search.done and "some of the runs were cut short" in search.result.doubt
    assert len({t.user_attrs["lrx_run"]["id"] for t in study.trials}) == len(study.trials)  # none twice
    first = search.result.rounds[0]
    assert first.losses[0] == np.inf and first.losses[1] == 1.75 and first.initial == 2.0
    np.testing.assert_allclose(first.learning_rates[:2] / first.learning_rates[0], [1, 10])


def test_a_trial_of_the_users_own_is_no_part_of_the_search():
    study = new_study()
    study.enqueue_trial({"learning_rate": 0.05})
    seen = []
    study.optimize(lambda trial: seen.append(sampler.run(trial)) or objective(trial))
    assert seen[0].learning_rate == 0.05 and seen[0].id == -1 and seen[0].steps == seen[1].steps
    as_alone(sampler.search(study))


def test_a_trial_that_optuna_retries_makes_the_same_run():
    study = new_study()
    first = study.ask()
    run = sampler.run(first)
    study.tell(first, state=TrialState.FAIL)
    study.enqueue_trial(first.params, user_attrs=study.trials[0].user_attrs)
    again = study.ask()
    assert sampler.run(again)._replace(schedule=None) == run._replace(schedule=None)
    study.tell(again, sampler.value(again, descended(run)))
    study.optimize(objective)
    as_alone(sampler.search(study))


def test_another_schedule_and_another_name():
    mine = SearchSampler(steps=400, name="lr", schedule="cosine", budget=1.0, seed=3)
    study, theirs = new_study(sampler=mine), lrx.Search(steps=400, schedule="cosine", budget=1.0, seed=3).ask()
    run = mine.run(trial := study.ask())
    assert run == theirs and trial.params == {"lr": run.learning_rate}
    assert pickle.loads(pickle.dumps(mine)).run(trial) == theirs


def test_wrong_studies_and_arguments():
    for wrong in (dict(direction="maximize"), dict(directions=["minimize"] * 2)):
        with pytest.raises(ValueError, match="the study must minimize one value, got m"):
            new_study(**wrong).ask()
    with pytest.raises(ValueError, match=r"Search\(budget=...\) must be positive"):
        SearchSampler(steps=100, budget=0.0)
    with pytest.raises(TypeError, match=r"SearchSampler\(name=...\) must be the name of a parameter, got 1"):
        SearchSampler(steps=100, name=1)
    study = new_study()
    study.ask()
    study.sampler = SearchSampler(steps=2 * STEPS, optimizer="sgd")
    with pytest.raises(ValueError, match="must have the arguments of the study's search, got steps=1000 in the study"):
        study.ask()
    trial = new_study().ask()
    with pytest.raises(ValueError, match=r"must be the only parameter of the study, got 'b1' beside"):
        trial.suggest_float("b1", 0.8, 0.99)
    with pytest.raises(ValueError, match=r"SearchSampler\(start=..., stop=...\) must be the range of the parameter"):
        trial.suggest_float("learning_rate", 1e-7, 1e-6, log=True)
    with pytest.raises(ValueError, match="must be of a study that was made or loaded with this sampler"):
        sampler.run(optuna.create_study().ask())
    with pytest.raises(TypeError, match=r"value\(losses=...\) must be real numbers"):
        sampler.value(new_study().ask(), "losses")


def test_halving_of_a_grid_keeps_the_best(tmp_path):
    pruner = HalvingPruner(steps=100, members=16, budget=4.0)
    rates = lrx.logspace(1e-3, 0.4, 16).tolist()
    made = []

    def train(trial, sign=1.0):
        weight, rate = 1.0, trial.suggest_float("learning_rate", 1e-4, 1.0, log=True)
        for step in range(100):
            trial.report(sign * weight**2, step)
            if trial.should_prune():
                raise optuna.TrialPruned
            weight -= rate * weight
            made.append(rate)
        return sign * weight**2

    for direction, sign in (("minimize", 1.0), ("maximize", -1.0)):
        grid = optuna.samplers.GridSampler({"learning_rate": rates}, seed=1)
        study = optuna.create_study(sampler=grid, pruner=pruner, direction=direction)
        made.clear()
        study.optimize(lambda trial, sign=sign: train(trial, sign))
        assert study.best_params["learning_rate"] == max(rates)
        pruned = [t for t in study.trials if t.state == TrialState.PRUNED]
        assert {t.last_step for t in pruned} <= {rung.end for rung in pruner.rungs[:-1]}
        assert len(pruned) >= 8 and len(made) < 0.6 * 1600


def test_halving_stops_what_is_not_finite_and_leaves_a_search_its_runs():
    pruner = HalvingPruner(steps=100, members=16)
    study = optuna.create_study(pruner=pruner)
    trial = study.ask()
    trial.report(math.nan, pruner.rungs[0].end)
    assert trial.should_prune()
    study = new_study(pruner=pruner)
    trials = [study.ask() for _ in range(7)]  # the seventh is one of the six again
    runs = [sampler.run(t) for t in trials]
    for trial in trials:
        trial.report(1.0, 0)
        trial.report(1.5, 50)
        assert not trial.should_prune()
    trials[0].report(2.5, 51)
    assert trials[0].should_prune()
    twin = next(i for i in range(6) if runs[i].id == runs[6].id)
    study.tell(trials[twin], 1.0)
    assert trials[6].should_prune() and not trials[5].should_prune()


def test_without_optuna_the_error_says_what_to_install(monkeypatch):
    for name in [m for m in sys.modules if m.startswith("lrx.integrations.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r'needs Optuna: pip install "lrx\[optuna\]"'):
        importlib.import_module("lrx.integrations.optuna")
