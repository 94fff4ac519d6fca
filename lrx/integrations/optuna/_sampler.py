"""The search as a sampler: made anew from the trials of the study each time that it is asked."""

import contextlib
import datetime
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from ... import _check as check
from ...schedules._schedule import Schedule
from ...tuning._find import QUARTER
from ...tuning._rate_search import Batch, Told
from ...tuning._search import Search, Trial, summary_of
from ...tuning._search_text import as_told, told_as_json

RUN = "lrx_run"
"""The user attribute of a trial that says which short run it makes: id, learning rate, steps, round."""
TOLD = "lrx_told"
"""The user attribute of a trial that has what its losses said."""
SEARCH = "lrx_search"
"""The user attribute of a study that has the arguments of its search."""
OVER = TrialState.COMPLETE, TrialState.PRUNED
FAILURES = 2
"""How often a run may fail before it counts as diverged: the first time it may have been the machine."""


class SearchSampler(optuna.samplers.BaseSampler):
    """`lrx.Search` as a sampler of one parameter, the learning rate.

    How it is used stands in `lrx.integrations.optuna`.

    Args:
      steps: updates of the training to come.
      name: of the parameter in the study.
      optimizer: the name of its optimizer, which says how its best rate moves with the length: as for `Search`.
      schedule: its schedule, as in `lrx.Search`.
      budget: what the search may cost, in runs of `steps` gradients. Trials that were made twice come on top.
      start: the lowest rate to try, > 0.
      stop: the highest.
      seed: a whole number ≥ 0, from which the seeds of the trials are made.

    Raises:
      ValueError: if a number is out of its range or the budget is too small; when it is used, if the study is not one
        that minimises one value, belongs to a search with other arguments, or asks for a parameter beside the rate.
      TypeError: if an argument is of the wrong kind.

    Examples:
      >>> import optuna
      >>> from lrx.integrations.optuna import SearchSampler
      >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
      >>> sampler = SearchSampler(steps=1000)
      >>> def objective(trial):
      ...     run = sampler.run(trial)
      ...     weight, losses = 1.0, []
      ...     for i in range(run.steps):
      ...         losses.append(weight**2)
      ...         weight -= run.learning_rate * (1 - i / run.steps) * 2 * weight
      ...     return sampler.value(trial, losses)
      >>> study = optuna.create_study(sampler=sampler)
      >>> study.optimize(objective)
      >>> 0.1 < sampler.search(study).result.learning_rate < 1.0
      True
    """

    def __init__(
        self,
        *,
        steps: int,
        name: str = "learning_rate",
        optimizer: str = "adam",
        schedule: Any = None,
        budget: float = QUARTER,
        start: float = 1e-7,
        stop: float = 10.0,
        seed: int = 0,
    ):
        self._arguments: dict[str, Any] = dict(
            steps=steps, optimizer=optimizer, schedule=schedule, budget=budget, start=start, stop=stop, seed=seed
        )
        search = Search(**self._arguments)  # says what is wrong with them
        with check.calling("SearchSampler"):
            if not isinstance(name, str) or not name:
                raise TypeError(f"{check.where('name')} must be the name of a parameter, got {name!r}.")
        self.name, self._space = name, FloatDistribution(search.start, search.stop, log=True)
        names = "steps", "optimizer", "budget", "start", "stop", "seed"
        self._record = {k: getattr(search, k) for k in names} | {"name": name, "schedule": _schedule_text(schedule)}

    # ---------------------------------------------------------------- for the objective

    def run(self, trial: optuna.trial.Trial) -> Trial:
        """The short run that a trial of the study makes: rate, steps, seed and schedule.

        Raises:
          optuna.TrialPruned: if the search is done. `study.optimize` ends then.
          ValueError: if the trial was not made by this sampler.
        """
        mark = _mark_of(trial.study, trial._trial_id)
        if mark["steps"] is None:
            raise optuna.TrialPruned("The search is done.")
        rate = trial.suggest_float(self.name, self._space.low, self._space.high, log=True)
        run = self._alone(mark, rate)._trial(0)
        return run._replace(id=-1 if mark["id"] is None else mark["id"])

    def value(self, trial: optuna.trial.Trial, losses: Any) -> float:
        """The value of a trial for Optuna: the mean loss at the end of its run, inf if it diverged.

        Args:
          trial: of the study.
          losses: the training loss before each update, [steps]; fewer if the run was cut short.

        Raises:
          optuna.TrialPruned: if the run was cut short without having diverged: it is left out.
          TypeError: if the losses are not real numbers.
          ValueError: if there are more losses than steps.
        """
        with check.calling("value"):
            mark = _mark_of(trial.study, trial._trial_id)
            told = summary_of(losses, self._alone(mark, mark["learning_rate"])._search.batches[0])
        trial.set_user_attr(TOLD, told_as_json(told))
        if told.score is None:
            raise optuna.TrialPruned("The run was cut short.")
        return told.score

    def search(self, study: optuna.study.Study) -> Search:
        """The search as far as the study is: `.done`, `.result`, `.cost`."""
        return self._rebuilt(study.get_trials(deepcopy=False))

    # ---------------------------------------------------------------- for Optuna

    def before_trial(self, study: optuna.study.Study, trial: FrozenTrial) -> None:
        """Write into the trial which short run it makes; that is there already where Optuna retries one."""
        self._check_study(study)
        if RUN not in study._storage.get_trial_user_attrs(trial._trial_id):
            study._storage.set_trial_user_attr(trial._trial_id, RUN, self._next(study, trial))

    def infer_relative_search_space(self, study: optuna.study.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The learning rate alone."""
        del study, trial
        return {self.name: self._space}

    def sample_relative(
        self, study: optuna.study.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The rate of the run that was written into the trial."""
        del search_space
        return {self.name: _mark_of(study, trial._trial_id)["learning_rate"]}

    def sample_independent(
        self, study: optuna.study.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """An error: the rates of a search are comparable if nothing else changes."""
        del study, trial
        if param_name == self.name:
            rule = f"must be the range of the parameter, suggest_float({self.name!r}, start, stop, log=True)"
            raise ValueError(f"SearchSampler(start=..., stop=...) {rule}, got {param_distribution}.")
        raise ValueError(
            f"SearchSampler(name=...) must be the only parameter of the study, got {param_name!r} beside "
            f"{self.name!r}. Fix it, or have a study for each of its values."
        )

    def after_trial(
        self, study: optuna.study.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """End `study.optimize` when the search is done."""
        trials = study.get_trials(deepcopy=False)
        # Optuna writes the end of the trial after this call
        attributes = study._storage.get_trial_user_attrs(trial._trial_id)
        trials = [t if t.number != trial.number else _ended(trial, state, values, attributes) for t in trials]
        if self._rebuilt(trials).done:
            _end(study)

    # ---------------------------------------------------------------- inside

    def _next(self, study: optuna.study.Study, trial: FrozenTrial) -> dict[str, Any]:
        """What a new trial is to do."""
        trials = study.get_trials(deepcopy=False)
        search = self._rebuilt(trials)
        fixed = trial.system_attrs.get("fixed_params", {})
        if search.done and self.name not in fixed:
            _end(study)
            rate = min(max(search.result.learning_rate, search.start), search.stop)
            return {"id": None, "learning_rate": rate, "steps": None, "round": None}
        batch = search._search.batches[-1]
        mark: dict[str, Any] = {"steps": batch.steps, "round": batch.number}
        if self.name in fixed:  # enqueued by the user: no part of the search
            return mark | {"id": None, "learning_rate": float(fixed[self.name])}
        out = [i for i in range(len(search._asked)) if search._of(i)[2] is None]
        out.sort(key=lambda i: search._asked[i])
        # those that began before, at the same moment, take the first ones
        before = sum(t.state == TrialState.RUNNING and RUN not in t.user_attrs for t in trials[: trial.number])
        number = out[before % len(out)]
        return mark | {"id": number, "learning_rate": search._trial(number).learning_rate}

    def _rebuilt(self, trials: Sequence[FrozenTrial]) -> Search:
        """The search that was told what the trials of a study say."""
        search = Search(**self._arguments)
        made: dict[int, list[FrozenTrial]] = {}
        for trial in sorted(trials, key=lambda t: (t.datetime_complete or datetime.datetime.max, t.number)):
            number = trial.user_attrs.get(RUN, {}).get("id")
            if number is not None:
                made.setdefault(number, []).append(trial)
        number = 0
        while number < len(search._asked):
            batch, place, _ = search._of(number)
            mine = made.get(number, [])
            search._asked[number] = sum(t.state == TrialState.RUNNING for t in mine)
            batch.told[place] = _told(batch, mine)
            number += 1
            if number == len(search._asked):
                search._open()
        search._shared = {i for i in range(number) if search._of(i)[2] is None}
        return search

    def _alone(self, mark: dict[str, Any], rate: float) -> Search:
        """A search with one trial."""
        search = Search(**self._arguments)
        search._search.batches = [Batch(mark["round"], mark["steps"], np.asarray([rate]), [None])]
        return search

    def _check_study(self, study: optuna.study.Study) -> None:
        if study.directions != [optuna.study.StudyDirection.MINIMIZE]:
            directions = ", ".join(d.name.lower() for d in study.directions)
            raise ValueError(f"SearchSampler: the study must minimize one value, got {directions}.")
        theirs = study.user_attrs.get(SEARCH)
        if theirs is None:
            study.set_user_attr(SEARCH, self._record)
        elif theirs != self._record:
            names = [k for k, v in self._record.items() if theirs.get(k) != v]
            told = ", ".join(f"{k}={theirs.get(k)!r} in the study, {self._record[k]!r} now" for k in names)
            raise ValueError(f"SearchSampler(...) must have the arguments of the study's search, got {told}.")


def _mark_of(study: optuna.study.Study, trial_id: int) -> dict[str, Any]:
    """Which short run a trial makes."""
    attributes = study._storage.get_trial_user_attrs(trial_id)  # the trial's own copy may be older
    if RUN not in attributes:
        raise ValueError("SearchSampler: the trial must be of a study that was made or loaded with this sampler.")
    return attributes[RUN]


def _told(batch: Batch, trials: list[FrozenTrial]) -> Told | None:
    """What the trials that made one run say, in the order of their ends; None if it is still to be made."""
    for trial in trials:
        if trial.state in OVER:
            return _said(batch, trial)
    failed = [t for t in trials if t.state == TrialState.FAIL]
    if len(failed) >= FAILURES or any(TOLD in t.user_attrs or _diverged(t) for t in failed):
        return Told(batch.steps, math.inf, math.nan)
    return None


def _said(batch: Batch, trial: FrozenTrial) -> Told:
    """What a trial says that is over."""
    if TOLD in trial.user_attrs:
        return as_told(trial.user_attrs[TOLD], batch.steps)
    reported = trial.intermediate_values
    initial = reported.get(0, math.nan)
    if trial.state == TrialState.COMPLETE and trial.value is not None:
        return Told(batch.steps, trial.value, initial)
    if not reported:
        return Told(0, None, math.nan)
    last = max(reported)
    # a pruner stopped it: it was worse than others, and could have become better
    score = math.inf if _diverged(trial) else reported[last]
    return Told(min(max(last, 0), batch.steps), score, initial)


def _diverged(trial: FrozenTrial) -> bool:
    """Whether the last value that was reported is not finite."""
    reported = trial.intermediate_values
    return bool(reported) and not math.isfinite(reported[max(reported)])


def _ended(trial: FrozenTrial, state: TrialState, values: Sequence[float] | None, attributes: Any) -> FrozenTrial:
    """A trial as it will be when Optuna has written its end, which is the last one so far."""
    return optuna.trial.FrozenTrial(
        number=trial.number,
        state=state,
        value=None,
        values=None if values is None else list(values),
        datetime_start=trial.datetime_start,
        datetime_complete=datetime.datetime.max,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs=dict(attributes),
        system_attrs={},
        intermediate_values=trial.intermediate_values,
        trial_id=trial._trial_id,
    )


def _end(study: optuna.study.Study) -> None:
    with contextlib.suppress(RuntimeError):  # outside of `optimize` there is nothing to end
        study.stop()


def _schedule_text(schedule: Any) -> Any:
    """A schedule as a study records it."""
    if isinstance(schedule, Schedule):
        return json.loads(schedule.to_json())
    if schedule is None or isinstance(schedule, str):
        return schedule
    return f"function {getattr(schedule, '__qualname__', type(schedule).__qualname__)}"
