"""Loss laws: a run's whole loss curve as a function of its learning rates, fitted to logs."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .. import _check as check
from ..charts import plot_predictions
from ._best_schedule import Task, best_schedule, exact_loss, usual_schedules
from ._drops import drops_of, padded
from ._law_text import read, written
from ._laws import LAWS
from ._robust_fit import fitted, on_the_host
from ._runs import Run, asked, run_at, runs_of

LawName = Literal["multi-power", "momentum"]

MOST_DROPS = 4096
"""Drops of one run in a fit; more are joined with their neighbours. Predictions take all of them."""


class Prospect(NamedTuple):
    """A schedule, and where a law expects it to end."""

    schedule: Any
    """It, from the start of the run on."""
    peak: float
    """Its greatest rate."""
    loss: float
    """The predicted loss at its end."""


@dataclasses.dataclass(frozen=True, eq=False)
class LossLaw:
    """A law with its parameters: what `lrx.fit_loss_law` gives.

    Made by hand, it must have all parameters of its law, in any order, and no others.
    """

    law: LawName
    """Its name."""
    params: dict[str, float]
    """Its parameters by the paper's letters; `horizon` of the momentum law is 1 / (1 − λ), in updates."""
    r2: float = math.nan
    """The share of the variance of all losses of the fit that it explains."""
    mean_error: float = math.nan
    """The mean relative error of the fit."""
    worst_error: float = math.nan
    """The greatest relative error of the fit."""
    warmup_steps: int = 0
    """Updates of the warmup, of which only the sum of the rates counts."""
    warmup_sum: float | None = None
    """That sum, if it was given; else it is what the rates say."""
    runs: tuple[Run, ...] = ()
    """The runs of the fit; none in a law out of JSON."""

    def __post_init__(self) -> None:
        with check.calling("LossLaw"):
            check.one_of(LawName, law=self.law)
            check.non_negative_count(warmup_steps=self.warmup_steps)
            if self.warmup_sum is not None:
                check.finite(warmup_sum=self.warmup_sum)
                check.non_negative(warmup_sum=self.warmup_sum)
            object.__setattr__(self, "params", _in_order(self.law, self.params))

    def __repr__(self) -> str:
        numbers = ", ".join(f"{k}={v:.4g}" for k, v in self.params.items())
        error = f"mean_error={self.mean_error:.2g}, worst_error={self.worst_error:.2g}"
        return f"LossLaw({self.law!r}, {numbers}, r2={self.r2:.5g}, {error})"

    @check.public
    def predict(self, schedule_or_rates: Any, steps: Any) -> np.ndarray:
        """The losses that a run is expected to log.

        Args:
          schedule_or_rates: a schedule, a function of the count or a number; or the rates of all updates, or those
            at each of `steps`, between which lines are drawn. From the start of the run on, the warmup included.
          steps: a number n of updates, for the losses after 1, 2 … n of them; or an array of numbers of updates,
            whole and increasing.

        Returns:
          The loss after so many updates, float64 in the shape of `steps` or [n]. During the warmup no drop counts;
          before any update it is infinite.

        Raises:
          ValueError: if rates are negative, not finite, all zero or of neither number, or steps do not increase.
          TypeError: if rates or steps are not real numbers.

        Examples:
          >>> import lrx
          >>> params = {"L0": 2.0, "A": 0.5, "alpha": 0.5, "B": 3.0, "C": 2.0, "beta": 0.5, "gamma": 0.5}
          >>> law = lrx.LossLaw("multi-power", params)
          >>> print(law.predict(lrx.linear_schedule(0.1, 0.0, 100), steps=[10, 50, 100]).round(2))
          [2.5  2.16 2.03]
        """
        at = asked(steps)
        run = run_at("schedule_or_rates", at, schedule_or_rates, self.warmup_steps, self.warmup_sum)
        return self.predicted(run)

    def predicted(self, run: Run) -> np.ndarray:
        """The losses at the steps of one of `runs`, float64 [losses]."""
        after = run.steps > run.warmup_steps
        total = run.sums[run.steps]
        p = self._vector()
        with np.errstate(divide="ignore"):
            found = p[0] + p[1] * total ** -p[2]
        if after.any():
            drops = padded(drops_of([dataclasses.replace(run, steps=run.steps[after])]))
            with on_the_host():
                found[after] = np.asarray(_predicted(self.law, jnp.asarray(p), drops))[: int(after.sum())]
        return found

    @check.public
    def optimal_schedule(self, steps: int, *, max_value: float, end_value: float = 0.0) -> Any:
        """The schedule whose loss at the end is the least that the law predicts.

        By gradient descent over the rates at knots that never rise, from `max_value` or less to `end_value`. A law is
        as good as its logs: of rates much higher than theirs, or runs much longer, it knows nothing.

        Args:
          steps: the number of updates of the run, the warmup included.
          max_value: the greatest rate that may be used.
          end_value: the rate after the last update.

        Returns:
          A schedule, linear between its knots; with the warmup of the logs, a line from 0, before them.

        Raises:
          ValueError: if `steps` does not exceed the warmup, or the values are not in order.

        Examples:
          >>> import lrx
          >>> params = {"L0": 2.0, "A": 0.5, "alpha": 0.5, "B": 3.0, "C": 2.0, "beta": 0.5, "gamma": 0.5}
          >>> schedule = lrx.LossLaw("multi-power", params).optimal_schedule(100, max_value=0.1)
          >>> print(*(f"{schedule(t):.2f}" for t in (0, 50, 80, 90, 100)))
          0.10 0.08 0.03 0.01 0.00
        """
        return best_schedule(self._task(steps, max_value, end_value))

    @check.public
    def compare(self, steps: int, *, max_value: float, end_value: float = 0.0) -> dict[str, Prospect]:
        """The predicted end of the optimal schedule and of the usual ones, each at its own best peak.

        Args:
          steps: the number of updates of the run, the warmup included.
          max_value: the greatest rate that may be used.
          end_value: the rate after the last update.

        Returns:
          `"optimal"`, `"cosine"`, `"linear"` and `"wsd"`, each with `.schedule`, `.peak` and `.loss`. The peak is the
          best of 60 from a fiftieth of `max_value` to all of it; WSD falls over its best share of 5 to 50 %, along a
          line or 1 − √x.

        Raises:
          ValueError: as `optimal_schedule` does.
        """
        task = self._task(steps, max_value, end_value)
        schedule = best_schedule(task)
        found = {"optimal": Prospect(schedule, max(schedule.values.tolist()), exact_loss(task, schedule))}
        return found | {name: Prospect(*usual) for name, usual in usual_schedules(task).items()}

    def _task(self, steps: int, max_value: float, end_value: float) -> Task:
        check.positive_count(steps=steps)
        check.finite(max_value=max_value, end_value=end_value)
        check.non_negative(end_value=end_value)
        check.less("end_value", end_value, "max_value", max_value)
        if (after := int(steps) - self.warmup_steps) < 2:
            way = f"The warmup of the logs has {self.warmup_steps} steps."
            raise check.fail("steps", "must exceed the warmup by 2 at least", steps, way)
        p = self._vector()
        return Task(self.law, p, self.warmup_steps, self.warmup_sum, after, float(max_value), float(end_value))

    def _vector(self) -> np.ndarray:
        """The parameters in the order of the formula, float64."""
        return np.array([self.params[name] for name in LAWS[self.law].names])

    def plot(self) -> Any:
        """The losses of the fit and what the law makes of them. Needs matplotlib; returns the figure."""
        return plot_predictions([(run.steps, run.losses, self.predicted(run)) for run in self.runs])

    def to_json(self) -> str:
        """The law as JSON, without its runs; `LossLaw.from_json` reads it."""
        return written(self)

    @classmethod
    def from_json(cls, text: str) -> "LossLaw":
        """The law that `to_json` wrote.

        The text may come from anywhere: it is only ever read.

        Raises:
          ValueError: if the text is no such law.
          TypeError: if `text` is not a string.
        """
        return cls(**read(text))


def _in_order(law: LawName, params: Any) -> dict[str, float]:
    """All parameters of a law, checked, in the order of its formula."""
    if not isinstance(params, Mapping):
        raise TypeError(f"{check.where('params')} must be a dict of names and numbers, got {params!r}.")
    names = LAWS[law].names
    if set(params) != set(names):
        missing = [name for name in names if name not in params]
        unknown = [name for name in params if name not in names]
        rule = f"must have the parameters {', '.join(names)} of the law {law!r}"
        way = [f"Add {', '.join(missing)}."] * bool(missing)
        way += [f"Leave out {', '.join(map(str, unknown))}."] * bool(unknown)
        raise check.fail("params", rule, list(params), " ".join(way))
    for name in names:
        check.number(**{f"params[{name!r}]": params[name]})
        if not 0 < params[name] < math.inf:
            raise check.fail(f"params[{name!r}]", "must be positive and finite", params[name])
    return {name: float(params[name]) for name in names}


_predicted = jax.jit(lambda law, p, z: LAWS[law].losses(p, z), static_argnums=0)


@check.public
def fit_loss_law(
    logs: Any, *, law: LawName = "multi-power", warmup_steps: int = 0, warmup_sum: float | None = None
) -> LossLaw:
    """Fit a law that predicts whole loss curves from the learning rates alone.

    With the rates η₀, η₁ … after the warmup, the loss after t updates is, by the law `"multi-power"`, ::

      L(t) = L0 + A (S(t) + W)^(−α) − B Σ_{0<k<t} (η_{k−1} − η_k) (1 − (1 + C η_k^(−γ) S_k(t))^(−β))

    where S(t) = Σ_{i<t} η_i, S_k(t) = Σ_{k≤i<t} η_i and W is the sum of the warmup's rates; by the law `"momentum"` ::

      L(t) = L0 + A (S(t) + W)^(−α) − C Σ_{0<i<t} Σ_{0<k≤i} (η_{k−1} − η_k) λ^(i−k),   λ = 1 − 1 / horizon

    All parameters are positive. They minimise the sum over all losses of Huber's function of log predicted − log
    logged, which is quadratic up to 0.001, by Levenberg and Marquardt's method with exact derivatives in float64, from
    several starts. β and γ, of which few runs say much, have a prior: ½, within a factor of 4. It weighs little where
    the law follows the losses closely, or there are many whose errors do not go together. Time and memory are
    proportional to the length of the runs.

    Fit it to runs of one model with different schedules: a constant rate says nothing of drops, and one cosine hardly
    tells the parameters apart. Two or three runs will do, such as a cosine, a constant rate and one that drops to a
    lower constant rate.

    Args:
      logs: one run or many. A run is a pair (learning rates, losses) with entries for every update; a triple (steps,
        learning rates, losses), where the rates are those at the steps, between which lines are drawn, or those of all
        updates, or a schedule; or an object with `.steps`, `.losses` and `.learning_rates`, as `lrx.read_log` gives it.
        A loss at step t is one after t updates. A rate that jumps between two logged steps is best given for all
        updates.
      law: `"multi-power"`, or `"momentum"`, which has fewer parameters.
      warmup_steps: updates of the warmup at the start of each run. Losses within it are left out. If its rates are not
        in the log, they are taken to rise on a line from 0 to the first one that is.
      warmup_sum: W, where it is known better: the sum of the rates before `warmup_steps` or, if that is 0, before the
        first logged step.

    Returns:
      A `LossLaw`: `.predict(schedule, steps)`, `.optimal_schedule(steps, max_value=...)`, `.compare(...)`, `.params`,
      `.r2`, `.mean_error`, `.worst_error`, `.plot()`.

    Raises:
      ValueError: if losses are not finite and positive, rates are negative, not finite or all zero, lengths do not
        match, steps do not increase, no rate changes, or the losses are not more than the parameters.
      TypeError: if a log is none of these, or its numbers are not real.

    Examples:
      >>> import lrx
      >>> import numpy as np
      >>> steps, rates = np.arange(1, 400), np.asarray(lrx.cosine_decay_schedule(0.1, 400)(np.arange(400)))
      >>> losses = 2 + 0.5 * np.cumsum(rates)[:-1] ** -0.5 - 3 * (0.1 - rates[:-1])
      >>> law = lrx.fit_loss_law((steps, rates, losses))
      >>> law.mean_error < 0.02, law.predict(rates, [399]).shape
      (True, (1,))

    References:
      Luo, Wen, Hu, Sun, Liu, Sun, Lyu and Chen, A multi-power law for loss curve prediction across learning rate
      schedules (2025), arXiv 2503.12811, for the law, its robust fit and the optimal schedule. Tissue, Wang and Wang,
      Scaling law with learning rate annealing (2024), arXiv 2408.11029, for the momentum law.
    """
    check.one_of(LawName, law=law)
    check.non_negative_count(warmup_steps=warmup_steps)
    if warmup_sum is not None:
        check.finite(warmup_sum=warmup_sum)
        check.non_negative(warmup_sum=warmup_sum)
    runs = runs_of("logs", logs, int(warmup_steps), warmup_sum)
    losses = np.concatenate([run.losses for run in runs])
    if losses.size <= (n := len(LAWS[law].names)):
        way = "Those before any update and within the warmup do not count."
        raise check.fail("logs", f"must have more losses than the {n} parameters of the law", losses.size, way)
    drops = drops_of(runs, MOST_DROPS)
    if not drops.at.size:
        way = "A constant rate says nothing of what a drop does: add a run with another schedule."
        raise check.fail("logs", "must have a run whose learning rate changes after the warmup", "constant rates", way)
    found = fitted(law, padded(drops), losses)
    if not np.isfinite(found.cost):
        raise check.fail("logs", "must be losses that the law can follow", "no finite prediction from any start")
    params = dict(zip(LAWS[law].names, map(float, found.params), strict=True))
    made = LossLaw(law, params, 0.0, 0.0, 0.0, int(warmup_steps), warmup_sum, runs)
    predicted = np.concatenate([made.predicted(run) for run in runs])
    errors = np.abs(predicted / losses - 1)
    r2 = 1 - np.sum((predicted - losses) ** 2) / max(np.sum((losses - losses.mean()) ** 2), 1e-300)
    scores = {"r2": float(r2), "mean_error": float(errors.mean()), "worst_error": float(errors.max())}
    return dataclasses.replace(made, **scores)
