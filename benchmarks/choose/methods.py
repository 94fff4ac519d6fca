"""What is compared. A later method is one more line in `CHOOSERS` or in `OPTIMIZERS`."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np
import optax

import lrx
from lrx._series import smoothed

from .tasks import Task
from .train import linear


@dataclasses.dataclass(frozen=True)
class Choice:
    """A rate for Adam, and what it took to choose it."""

    learning_rate: float
    gradients: int = 0
    forwards: int = 0
    hvps: int = 0
    """Hessian-vector products."""
    schedule: Callable[[Any, int], Any] = linear
    """(peak, steps) -> the schedule to train with."""

    def runs(self, steps: int) -> float:
        """The cost, in training runs."""
        return (self.gradients + self.forwards / 3 + 2 * self.hvps) / steps


Choose = Callable[[Task, jax.Array, int], Choice]
"""(task, key, steps of the training to come) -> a choice."""


def by_rule(rule: Literal["minimum", "steep", "valley", "slide"], task: Task, key: jax.Array, steps: int) -> Choice:
    """A rule on one ramp of 100 steps, smoothed and cut as `lrx.find` does."""
    del steps
    test = lrx.range_test(task.problem, lrx.adam, key=key)
    record = test.learning_rates, test.losses
    return Choice(lrx.suggest(*record, rule, smoothing=0.98, skip_start=10, skip_end=5), len(test.losses))


def by_linear_gradient(task: Task, key: jax.Array, steps: int) -> Choice:
    """Lightning's rule: the steepest fall of the smoothed loss over the rate itself, not over its logarithm."""
    del steps
    test = lrx.range_test(task.problem, lrx.adam, key=key)
    return Choice(linear_gradient(test.learning_rates, test.losses), len(test.losses))


def linear_gradient(learning_rates: np.ndarray, losses: np.ndarray) -> float:
    """Where Lightning's rule lands, without the first ten points and the last."""
    rates, values = learning_rates[10:-1], smoothed(losses, 0.98)[10:-1]
    rates, values = rates[np.isfinite(values)], values[np.isfinite(values)]
    return float(rates[np.argmin(np.gradient(values, rates))])


def by_find(starts: int, task: Task, key: jax.Array, steps: int) -> Choice:
    """`lrx.find` for the schedule of all runs, a quarter of a run for each start."""
    found = lrx.find(task.problem, lrx.adam, key=key, steps=steps, schedule=linear, seeds=starts)
    return Choice(found.learning_rate, found.gradients)


CHOOSERS: dict[str, Choose] = {
    "fixed 1e-3": lambda task, key, steps: Choice(1e-3),
    "range test: minimum": functools.partial(by_rule, "minimum"),
    "range test: steep": functools.partial(by_rule, "steep"),
    "range test: valley": functools.partial(by_rule, "valley"),
    "range test: slide": functools.partial(by_rule, "slide"),
    "range test: Lightning": by_linear_gradient,
    "lrx.find": functools.partial(by_find, 1),
    "lrx.find, 4 starts": functools.partial(by_find, 4),
}
"""Ways to choose a rate for Adam."""


def rising(peak: Any, steps: int) -> Any:
    """`linear` with a first rate that is not zero, where optax's Prodigy divides by zero and stays nan."""
    warmup = steps // 20
    return lrx.warmup_linear_schedule(peak, warmup, total_steps=steps, init_value=peak / warmup)


def constant(peak: Any, steps: int) -> Any:
    """The default rate throughout, as for a user who does not know the number of steps."""
    del steps
    return lrx.constant_schedule(peak)


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """An optimizer without a rate to choose."""

    make: Callable[[Any], Any]
    """Function of a schedule."""
    peak: float = 1.0
    """Its default rate."""
    schedule: Callable[[Any, int], Any] = rising
    final: Callable[[Any, Any], Any] = lambda state, params: params
    """(state, parameters) at the end -> the parameters to score."""


def gentle(peak: Any, steps: int) -> Any:
    """A warmup of a twentieth, then constant, for those that average."""
    warmup = steps // 20
    return lrx.warmup_constant_schedule(peak / warmup, peak, warmup)


def averaged(tx: Any) -> Any:
    """With DoG's average of the parameters as the last link."""
    return lrx.chain(tx, lrx.polynomial_averaging())


def hyper(rate: Any) -> Any:
    """The multiplicative hypergradient in Adam."""
    return lrx.adam(lrx.hypergradient(rate, hyper_learning_rate=0.02, mode="multiplicative"))


def free_plus(rate: Any) -> Any:
    """ScheduleFree+."""
    return lrx.schedule_free_adamw(rate, b2=0.95, inner_momentum=0.9, polyak=True)


FREE: dict[str, Optimizer] = {
    "prodigy": Optimizer(lrx.prodigy, schedule=linear),
    "prodigy, estim_lr_coef=2": Optimizer(lambda rate: lrx.prodigy(rate, estim_lr_coef=2.0), schedule=linear),
    "prodigy, estim_lr_coef=3": Optimizer(lambda rate: lrx.prodigy(rate, estim_lr_coef=3.0), schedule=linear),
    "prodigy, slice_p=11": Optimizer(lambda rate: lrx.prodigy(rate, slice_p=11), schedule=linear),
    "dadapt_adamw": Optimizer(lrx.dadapt_adamw, schedule=linear),
    "dadapt_adagrad": Optimizer(lrx.dadapt_adagrad, schedule=linear),
    "dadapt_sgd, momentum": Optimizer(lambda rate: lrx.dadapt_sgd(rate, 0.9), schedule=linear),
    "mechanize(adam)": Optimizer(lambda rate: lrx.mechanize(lrx.adam(rate)), schedule=linear),
    "cocob": Optimizer(lrx.cocob, schedule=linear),
    "sgd(dog), averaged": Optimizer(lambda rate: averaged(lrx.sgd(lrx.dog(rate))), 1.0, constant, lrx.eval_params),
    "sgd(l-dog), averaged": Optimizer(
        lambda rate: averaged(lrx.sgd(lrx.dog(rate, per_leaf=True))), 1.0, constant, lrx.eval_params
    ),
    "sgd(dowg)": Optimizer(lambda rate: lrx.sgd(lrx.dowg(rate)), schedule=linear),
    "sgd(polyak)": Optimizer(lambda rate: lrx.sgd(lrx.polyak(rate)), schedule=linear),
    "sgd(line_search)": Optimizer(lambda rate: lrx.sgd(lrx.line_search(rate, max_steps=30)), 10.0, constant),
    "adam(polyak)": Optimizer(lambda rate: lrx.adam(lrx.polyak(rate)), 0.1, linear),
    "adam(l4)": Optimizer(lambda rate: lrx.adam(lrx.l4(rate), eps=1e-4), 0.15, linear),
    "adam(hypergradient)": Optimizer(hyper, 1e-3, linear),
    "momo": Optimizer(lrx.momo, schedule=linear),
    "momo_adam": Optimizer(lrx.momo_adam, 0.01, constant),
    "momo_adam, 0.1 to zero": Optimizer(lrx.momo_adam, 0.1, linear),
    "schedule_free_adamw": Optimizer(lrx.schedule_free_adamw, 0.0025, gentle, lrx.eval_params),
    "schedule_free_radam": Optimizer(lrx.schedule_free_radam, 0.0025, constant, lrx.eval_params),
    "schedule_free_adamw+": Optimizer(free_plus, 1.0, gentle, lrx.eval_params),
}
"""lrx's learning rates that adapt and optimizers that find theirs, at the defaults of their papers.

With the schedule of all runs, except those that average, and MoMo and the line search, which follow their papers.
"""

contrib = optax.contrib
OPTIMIZERS: dict[str, Optimizer] = {
    **FREE,
    "optax prodigy": Optimizer(contrib.prodigy),
    "optax dadapt_adamw": Optimizer(contrib.dadapt_adamw),
    "optax mechanize(adam)": Optimizer(lambda rate: contrib.mechanize(optax.adam(rate))),
    "optax dowg": Optimizer(contrib.dowg),
    "optax cocob": Optimizer(contrib.cocob),
    "optax dog": Optimizer(contrib.dog, schedule=constant),
    "optax momo_adam": Optimizer(contrib.momo_adam, 0.01, constant),
    "optax schedule_free_adamw": Optimizer(
        contrib.schedule_free_adamw, 0.0025, constant, contrib.schedule_free_eval_params
    ),
}
"""Learning-rate-free optimizers, with their defaults.

With the schedule of all runs, except schedule-free, which is designed to need none, and DoG and MoMo, which end higher
with it on most tasks.
"""
