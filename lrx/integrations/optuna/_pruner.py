"""Halving as a pruner: the worse trials of a study are stopped at the ends of rungs."""

import math

import optuna
from optuna.trial import FrozenTrial

from ...tuning._halving_plan import Rung, halving_plan
from ._sampler import OVER, RUN


class HalvingPruner(optuna.pruners.BasePruner):
    """Stop a trial at the end of a rung unless it is among the best that have come so far.

    The rungs are those of `lrx.halving_plan`, `.rungs`. The objective reports its loss with the number of updates
    done, and stops when it is told to::

      trial.report(loss, step=updates)
      if trial.should_prune():
          raise optuna.TrialPruned

    The first value that is reported at the end of a rung or after it is the score of the trial there. Of the n trials
    that have a score there already, the best n · n_{k+1} / n_k go on, at least one (as n grows these are the shares of
    `lrx.halving`); nobody waits for others, so that any number of workers share a study. A loss that is not finite is
    the worst.

    A high rate looks worse than it is until it decays. `lrx.halving` therefore scores a copy of each model that was
    cooled down; in a loop of your own train a copy for `rung.cooldown` further updates with a rate that goes linearly
    to zero, and report the loss of the copy at `rung.end`. Report means over several batches, or validation losses.

    The trials of a `SearchSampler` are short, decay to their ends and are compared with each other: there it stops only
    those whose loss is not finite or has doubled, and those that another worker has finished meanwhile.

    Args:
      steps: updates of a full run.
      members: how many trials there are to be.
      budget: what all of them may cost, in full runs.
      keep: share of the trials that a rung keeps.
      cooldown: length of the cooldown, as a share of the updates done so far.

    Raises:
      ValueError: if the budget does not suffice for so many members, or a number is out of its range.

    Examples:
      >>> import lrx, optuna
      >>> from lrx.integrations.optuna import HalvingPruner
      >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
      >>> pruner = HalvingPruner(steps=100, members=8, budget=4.0)
      >>> [(rung.members, rung.end) for rung in pruner.rungs]
      [(8, 28), (2, 100)]
      >>> def objective(trial):
      ...     rate, weight = trial.suggest_float("learning_rate", 1e-3, 10.0, log=True), 1.0
      ...     for i in range(100):
      ...         trial.report(weight**2, step=i)
      ...         if trial.should_prune():
      ...             raise optuna.TrialPruned
      ...         weight -= rate * 2 * weight
      ...     return weight**2
      >>> grid = optuna.samplers.GridSampler({"learning_rate": lrx.logspace(0.001, 0.5, 8).tolist()})
      >>> study = optuna.create_study(sampler=grid, pruner=pruner)
      >>> study.optimize(objective)
      >>> study.best_params["learning_rate"] > 0.1
      True
    """

    def __init__(
        self, *, steps: int, members: int, budget: float = 3.0, keep: float = 0.25, cooldown: float = 0.1
    ) -> None:
        self.rungs = halving_plan(members, budget, steps, keep=keep, cooldown=cooldown)

    def prune(self, study: optuna.study.Study, trial: FrozenTrial) -> bool:
        """Whether to stop the trial after what it reported last."""
        mark = study._storage.get_trial_user_attrs(trial._trial_id).get(RUN)
        if mark is not None:
            return _is_hopeless(trial) or _is_known(study, trial, mark["id"])
        sign = 1.0 if study.direction == optuna.study.StudyDirection.MINIMIZE else -1.0
        for rung, following in zip(self.rungs, self.rungs[1:], strict=False):
            if _first_at(trial, rung) == trial.last_step is not None:
                others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
                scores = [_score(t, rung, sign) for t in others if _first_at(t, rung) is not None]
                places = max(1, math.floor((len(scores) + 1) * following.members / rung.members + 1e-9))
                mine = _score(trial, rung, sign)
                if mine == math.inf or sum(score <= mine for score in scores) >= places:
                    return True
        return False


def _first_at(trial: FrozenTrial, rung: Rung) -> int | None:
    """The step of the first report at the end of a rung or after it."""
    return min((step for step in trial.intermediate_values if step >= rung.end), default=None)


def _score(trial: FrozenTrial, rung: Rung, sign: float) -> float:
    step = _first_at(trial, rung)
    value = math.nan if step is None else sign * trial.intermediate_values[step]
    return math.inf if math.isnan(value) else value


def _is_hopeless(trial: FrozenTrial) -> bool:
    """Whether a short run has diverged."""
    reported = trial.intermediate_values
    if not reported:
        return False
    first, last = reported[min(reported)], reported[max(reported)]
    return not math.isfinite(last) or last > 2 * first > 0


def _is_known(study: optuna.study.Study, trial: FrozenTrial, number: int | None) -> bool:
    """Whether another trial has made the same short run to its end."""
    if number is None:
        return False
    over = study.get_trials(deepcopy=False, states=OVER)
    return any(t.user_attrs.get(RUN, {}).get("id") == number for t in over if t.number != trial.number)
