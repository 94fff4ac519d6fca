"""A model of Flax linen as a `Problem`."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from .. import _check as check
from ._models import Of, mode_of, model_problem, names_of, required
from ._problem import Problem


@check.public
def from_linen(
    module: Any,
    loss_fn: Of,
    batches: Any = None,
    *,
    sample: Callable[..., Any] | None = None,
    validation: Any = None,
    metrics: Of | None = None,
    name: str | None = None,
) -> Problem:
    """A Flax linen module and a loss as a `Problem`.

    `loss_fn(model, batch)` calls the model as it calls the module: `model(images)`. What the module needs beside its
    inputs is given to it:

    - Its mode. An argument of `__call__`, or else a field of the module, that is called `train`, `training` or
      `is_training` is True in training and False in evaluation; `deterministic`, `use_running_average` and `inference`
      are the contrary. What `loss_fn` gives by name has the last word.
    - Random keys. In training the stream "dropout" is the problem's key k, and all others come from
      `jax.random.fold_in(k, 1)`; in evaluation they are always the same.
    - Its variables. "params" are trained; all other collections ("batch_stats", say) are the problem's model state.

    Args:
      module: a linen `Module`.
      loss_fn: `loss_fn(model, batch) -> scalar`, pure.
      batches: as in `Problem`: an iterable of batches, or a function that returns a fresh one. The module is
        initialised on the first batch.
      sample: instead of batches, `sample(key) -> batch` on the device.
      validation: a batch of held-out data for `evaluate`, which is the loss in evaluation mode; none if None.
      metrics: `metrics(model, batch) -> {"accuracy": ...}`: further scores of the validation batch.
      name: what reports and plots call it; the name of the module's class if None.

    Returns:
      A `Problem` with `loss_with_state`.

    Raises:
      ImportError: if Flax is not installed.
      TypeError: if an argument is of the wrong kind; when training, if the loss is not a scalar.
      ValueError: if there is no batch.

    Examples:
      >>> import flax.linen as nn, jax.numpy as jnp, lrx
      >>> class Net(nn.Module):
      ...     @nn.compact
      ...     def __call__(self, x, train):
      ...         x = nn.BatchNorm(use_running_average=not train)(nn.Dense(8)(x))
      ...         return nn.Dense(1)(nn.Dropout(0.1, deterministic=not train)(x))
      >>> def loss_fn(model, batch):
      ...     x, y = batch
      ...     return jnp.mean((model(x) - y) ** 2)
      >>> batches = [(jnp.ones((4, 3)), jnp.ones((4, 1)))]
      >>> problem = from_linen(Net(), loss_fn, batches, validation=batches[0])
      >>> problem
      Problem(name='Net')
      >>> sorted(lrx.sweep(problem, lrx.adam, learning_rate=0.01, steps=3).scores)
      ['loss']
    """
    linen = required("flax.linen", "flax")
    if not isinstance(module, linen.Module):
        raise TypeError(f"{check.where('module')} must be an instance of a linen Module, got {module!r}.")
    in_call, fields = names_of(type(module).__call__), vars(type(module))["__dataclass_fields__"]

    def called(function: Of, training: bool) -> Any:
        def run(bound: Any, batch: Any) -> Any:
            return function(functools.partial(bound, **mode_of(in_call, training)), batch)

        fixed = mode_of([f for f in fields if f not in in_call], training)
        return run, module.clone(**fixed)

    def start(key: Any, batch: Any) -> tuple[Any, Any]:
        run, trained = called(loss_fn, True)
        rngs = {"params": key, "dropout": jax.random.fold_in(key, 1)}
        variables = dict(linen.init(run, trained)(rngs, batch))
        return variables.pop("params", {}), variables

    def apply(function: Of, params: Any, state: Any, batch: Any, key: Any, training: bool) -> tuple[Any, Any]:
        rngs = None if key is None else {"params": jax.random.fold_in(key, 1), "dropout": key}
        run, mine = called(function, training)
        result, after = linen.apply(run, mine, mutable=list(state))({"params": params, **state}, batch, rngs=rngs)
        return result, {**state, **after}

    name = type(module).__name__ if name is None else name
    given: Any = dict(sample=sample, validation=validation, metrics=metrics, name=name)
    return model_problem(start, apply, loss_fn, batches, **given)
