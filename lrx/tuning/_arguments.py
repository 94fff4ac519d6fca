"""Checks of the arguments that all of tuning has in common, before any training."""

from typing import Any, Literal

import jax
import optax

from .. import _check as check
from ..problems._problem import Problem, scores_of, start_of

By = Literal["training", "validation"]
"""The loss that decides."""


def check_kinds(problem: Any, make_optimizer: Any) -> None:
    """A problem whose `evaluate` gives a dict of scalars, and a function of the learning rate."""
    if not isinstance(problem, Problem):
        raise TypeError(f"{check.where('problem')} must be a Problem, got {problem!r}.")
    if not callable(make_optimizer) or isinstance(make_optimizer, optax.GradientTransformation):
        rule = "must be a function of the learning rate, such as lrx.adam"
        raise TypeError(f"{check.where('make_optimizer')} {rule}, got {make_optimizer!r}.")
    scores = score_shapes(problem)
    if not isinstance(scores, dict) or any(getattr(x, "shape", None) != () for x in scores.values()):
        raise TypeError(f"Problem(evaluate=...) must return a dict of scalars, got {scores}.")


def check_by(problem: Problem, by: Any) -> None:
    """A loss that there is."""
    check.one_of(("training", "validation"), by=by)
    if by == "validation" and not is_validated(problem):
        raise check.fail("by", "needs a problem whose evaluate(params) gives a 'loss'", by)


def is_validated(problem: Problem) -> bool:
    """Whether the problem's `evaluate` gives a loss."""
    return "loss" in score_shapes(problem)


def score_shapes(problem: Problem) -> Any:
    """The shapes and dtypes of what `evaluate` returns, without computing it; {} if the problem has none."""
    if problem.evaluate is None:
        return {}
    return jax.eval_shape(lambda key: scores_of(problem, *start_of(problem, key)), jax.random.key(0))
