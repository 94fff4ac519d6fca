"""`tune`: which optimizer, which schedule, which peak, with the evidence."""

from typing import Any

import jax
import numpy as np

from .. import _check as check
from ..problems._problem import Problem
from ._arguments import By, check_by, check_kinds, is_validated
from ._engine import as_key
from ._journal import key_bits, open_journal
from ._presets import DEFAULT_OPTIMIZERS, MAIN_SCHEDULES, OPTIMIZERS, SCHEDULES, chosen
from ._request import Request, StageProgress
from ._tune_all import tune_all
from ._tune_budget import tune_within
from ._tuned import Tuned


@check.public
def tune(
    problem: Problem,
    *,
    optimizers: Any = None,
    schedules: Any = None,
    learning_rates: Any = None,
    budget: float | None = 3.0,
    steps: int = 500,
    seeds: int | None = None,
    by: By | None = None,
    key: jax.Array | None = None,
    progress: StageProgress | None = None,
    checkpoint: Any = None,
) -> Tuned:
    """Choose an optimizer, a schedule and a learning rate by training, and say how sure it is.

    With a budget:

    1. Short runs of each optimizer, as `lrx.find` makes them, for a quarter of a run, under the schedule of which
       theory promises most (a convex bound, see `lrx.transfer_schedule`).
    2. Longer runs of each optimizer, where the budget pays for three of a quarter of a run at least: at three rates a
       factor 1.8 apart around that suggestion, through the same schedule in fewer updates. The lowest point of the
       parabola through their losses, as in `lrx.find`, is the rate. With a smaller budget the short runs are made from
       up to four starts instead.
    3. Whole runs: at that rate (of the two best optimizers), then around the best one, then under the other schedules
       at the rates that the bound transfers to them, while the budget lasts.

    If the validation loss decides, there are no longer runs, and far below the suggested rate is tried first, which is
    of the training loss. Of one optimizer and one seed there are longer runs from a budget of 2 on; 3 pays for three of
    a quarter of a run and two whole ones.

    With `budget=None` everything is tried:

    1. The first optimizer runs over 16 rates around the suggestion of `lrx.find` × (constant, step, cosine, linear) ×
       seeds, and over the other schedules at five rates around the best one.
    2. The other optimizers run at seven rates around their own suggestions under the schedule that was best.
    3. The best combination and Adam at a constant 1e-3 are trained again from fresh seeds.

    Args:
      problem: what to train.
      optimizers: names ("adam", "sgd", "adagrad", "rmsprop", "adamw"; sgd with momentum 0.9) or a dict name -> function
        of the learning rate. If None, "adam" within a budget and the first four without one.
      schedules: names ("constant", "step", "cosine", "linear", "exponential", "triangular", "cyclic") or a dict name ->
        function of (peak, steps). If None, the first four within a budget and all of them without one.
      learning_rates: the rates that may be used (without a budget, by the first optimizer); from short runs if None.
      budget: what it may cost in runs of `steps` gradients, short and longer runs included, or None.
      steps: updates in one run.
      seeds: runs of each combination; if None, 1 within a budget and 3 without one. The budget counts each.
      by: the loss that decides, "training" or "validation"; if None, that of the problem's `evaluate` if it gives one.
      key: a JAX random key; `jax.random.key(0)` if None.
      progress: called now and then with (stage, updates done, updates in the stage), of which the second also knows
        `.loss`, `.best` and `.seconds_left`, those of the stage, as in `lrx.sweep`.
      checkpoint: path of a folder, made if it is not there, from which the same call goes on after a stop and comes to
        the same choice. A stop loses a batch of short runs, or of a longer or whole run what it loses of a sweep.

    Returns:
      A `Tuned`: `.learning_rate`, `.schedule`, `.optimizer`, `.table`, `.interval`, `.runner_up`, `.larger_budget`,
      `.report(path)`.

    Raises:
      ValueError: if a name is unknown, a number is out of its range, the budget does not suffice, or nothing that was
        tried stayed finite.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> bowl = lrx.Problem(
      ...     init=lambda key: jnp.ones(2),
      ...     loss=lambda params, batch, key=None: jnp.sum((params - 0.1 * batch) ** 2),
      ...     sample=lambda key: jax.random.normal(key, (2,)),
      ... )
      >>> best = lrx.tune(bowl, optimizers=["sgd"], schedules=["constant", "linear"], budget=4, steps=200)
      >>> best.optimizer, best.schedule_name, best.by, best.runs <= 4
      ('sgd', 'linear', 'training', True)
    """
    check.positive_count(steps=steps)
    if seeds is None:
        seeds = 3 if budget is None else 1
    check.positive_count(seeds=seeds)
    few, main = (("adam",), MAIN_SCHEDULES) if budget is not None else (DEFAULT_OPTIMIZERS, SCHEDULES)
    makers = chosen("optimizers", optimizers, OPTIMIZERS, few)
    curves = chosen("schedules", schedules, SCHEDULES, main)
    by, key = _loss_that_decides(problem, makers, by), as_key(key)
    rates = None if learning_rates is None else _rates(learning_rates)
    if budget is not None:
        check.finite(budget=budget)
        check.positive(budget=budget)
    given = {"budget": budget, "steps": int(steps), "seeds": int(seeds), "by": by, "learning_rates": rates}
    given |= {"key": key_bits(key), "whole grid": isinstance(schedules, dict)}
    request = Request(
        problem=problem,
        makers=makers,
        curves=curves,
        by=by,
        learning_rates=rates,
        steps=int(steps),
        seeds=int(seeds),
        key=key,
        progress=progress,
        journal=open_journal(checkpoint, problem, makers, curves, int(steps), given),
    )
    if budget is None:
        return tune_all(request, whole_grid=isinstance(schedules, dict))
    return tune_within(request, float(budget))


def _loss_that_decides(problem: Problem, makers: dict[str, Any], by: By | None) -> By:
    """By default the validation loss, if there is one. Checks the kinds of the problem and of the optimizers."""
    if not isinstance(problem, Problem):
        raise TypeError(f"tune(problem=...) must be a Problem, got {problem!r}.")
    make, *_ = makers.values()
    for given in makers.values():
        if not callable(given):
            rule = "must give functions of the learning rate, such as lrx.adam"
            raise TypeError(f"tune(optimizers=...) {rule}, got {given!r}.")
    check_kinds(problem, make)
    if by is None:
        return "validation" if is_validated(problem) else "training"
    check_by(problem, by)
    return by


def _rates(given: Any) -> tuple[float, ...]:
    """Learning rates, increasing, each as the shortest number that float32 takes for it."""
    rates = np.atleast_1d(np.asarray(given)).tolist()
    if not rates:
        raise check.fail("learning_rates", "must be at least one", given)
    for rate in rates:
        check.finite(learning_rates=rate)
        check.positive(learning_rates=rate)
    return tuple(sorted({float(str(np.float32(rate))) for rate in rates}))
