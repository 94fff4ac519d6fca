"""What a model of any framework needs to be a `Problem`: a start, and a run of it in training or in evaluation."""

import inspect
import itertools
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from ._problem import Problem

Of = Callable[[Any, Any], Any]
"""(model, batch) -> a scalar or a dict: written by the user, who calls the model."""
Start = Callable[[Any, Any], tuple[Any, Any]]
"""(key, batch) -> (params, model_state), as the framework initialises them."""
Run = Callable[[Of, Any, Any, Any, Any, bool], tuple[Any, Any]]
"""(function, params, model_state, batch, key, training) -> (what the function gives, the new model_state)."""

TRAINING = "train", "training", "is_training"
"""Names of a model's own arguments that are True in training."""
EVALUATION = "deterministic", "use_running_average", "inference", "is_eval"
"""Names that are True in evaluation."""


def required(module: str, package: str) -> Any:
    """A module of a framework that may not be installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(f"{check.where('module')} needs {package}: pip install {package}") from error


def mode_of(names: Iterable[str], training: bool) -> dict[str, bool]:
    """The arguments by which a model is told whether it trains, of those that it takes."""
    return {name: (name in TRAINING) == training for name in names if name in TRAINING + EVALUATION}


def names_of(function: Any) -> list[str]:
    """The arguments of a function that can be given by name."""
    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    try:
        return [p.name for p in inspect.signature(function).parameters.values() if p.kind in kinds]
    except (TypeError, ValueError):  # some callables written in C have none
        return []


def model_problem(
    start: Start,
    run: Run,
    loss_fn: Of,
    batches: Any,
    *,
    sample: Callable[..., Any] | None,
    validation: Any,
    metrics: Of | None,
    name: str,
) -> Problem:
    """The problem of a model that a framework starts and runs."""
    for argument, function in (("loss_fn", loss_fn), ("metrics", metrics)):
        if function is not None and not callable(function):
            raise TypeError(f"{check.where(argument)} must be a function of (model, batch), got {function!r}.")
    where = check.where("loss_fn")
    if sample is None and batches is None:
        raise TypeError(f"{check.where('batches')} must be given, or sample, which draws a batch on the device.")
    if sample is None:
        first, batches = _first(batches)
    else:
        first = None

    def init(key: Any) -> tuple[Any, Any]:
        assert first is not None or sample is not None
        return start(key, sample(jax.random.fold_in(key, 2)) if sample is not None else first)

    def loss_with_state(params: Any, model_state: Any, batch: Any, key: Any = None) -> tuple[Any, Any]:
        loss, after = run(loss_fn, params, model_state, batch, key, True)
        if jnp.shape(loss) != ():
            raise TypeError(f"{where} must return a scalar, got {jax.tree.map(jnp.shape, loss)}. Take the mean.")
        return loss, after

    def scores(model: Any, batch: Any) -> dict[str, Any]:
        told = {} if metrics is None else dict(metrics(model, batch))
        return {"loss": loss_fn(model, batch), **told}

    def evaluate(params: Any, model_state: Any) -> dict[str, Any]:
        held_out = jax.tree.map(jnp.asarray, validation)
        return run(scores, params, model_state, held_out, jax.random.key(0), False)[0]

    return Problem(
        init=init,
        loss_with_state=loss_with_state,
        sample=sample,
        batches=batches,
        evaluate=None if validation is None else evaluate,
        name=name,
    )


def _first(batches: Any) -> tuple[Any, Any]:
    """The first batch, which shows the model its shapes, and the batches with none lost."""
    source = batches() if callable(batches) else batches
    if not isinstance(source, Iterable):
        rule = "must be an iterable of batches or a function returning one"
        raise TypeError(f"{check.where('batches')} {rule}, got {batches!r}.")
    iterator = iter(source)
    first = next(iterator, None)
    if first is None:
        raise check.fail("batches", "must hold at least one batch", batches)
    if iterator is batches:  # which can be read once only
        batches = itertools.chain([first], iterator)
    return jax.tree.map(jnp.asarray, first), batches
