"""A model of Flax nnx as a `Problem`."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from ._models import Of, mode_of, model_problem, names_of, required
from ._problem import Problem


@check.public
def from_nnx(
    module: Any,
    loss_fn: Of,
    batches: Any = None,
    *,
    sample: Callable[..., Any] | None = None,
    validation: Any = None,
    metrics: Of | None = None,
    name: str | None = None,
) -> Problem:
    """A Flax nnx module and a loss as a `Problem`.

    `loss_fn(model, batch)` calls the model: `model(images)`. The model is in the mode of `model.train()` in training
    and of `model.eval()` in evaluation; an argument of `__call__` that is called `train`, `training`, `deterministic`
    … is given too. Its `nnx.Param` are trained. Its random streams start anew at each update from the problem's key;
    in evaluation they are always the same. All other variables (`nnx.BatchStat`, say) are the problem's model state.

    Args:
      module: a class whose arguments are `rngs` alone, or a function `lambda rngs: CNN(32, rngs=rngs)`. A model that
        is there already is trained from its own parameters, which are then the same for all seeds.
      loss_fn: `loss_fn(model, batch) -> scalar`, pure.
      batches: as in `Problem`: an iterable of batches, or a function that returns a fresh one.
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
      >>> from flax import nnx
      >>> import jax.numpy as jnp, lrx
      >>> class Net(nnx.Module):
      ...     def __init__(self, rngs):
      ...         self.dense, self.out = nnx.Linear(3, 8, rngs=rngs), nnx.Linear(8, 1, rngs=rngs)
      ...         self.norm, self.drop = nnx.BatchNorm(8, rngs=rngs), nnx.Dropout(0.1, rngs=rngs)
      ...     def __call__(self, x):
      ...         return self.out(self.drop(self.norm(self.dense(x))))
      >>> def loss_fn(model, batch):
      ...     x, y = batch
      ...     return jnp.mean((model(x) - y) ** 2)
      >>> batches = [(jnp.ones((4, 3)), jnp.ones((4, 1)))]
      >>> problem = from_nnx(Net, loss_fn, batches, validation=batches[0])
      >>> problem
      Problem(name='Net')
      >>> sorted(lrx.sweep(problem, lrx.adam, learning_rate=0.01, steps=3).scores)
      ['loss']
    """
    nnx = required("flax.nnx", "flax")
    ready = isinstance(module, nnx.Module)
    if not ready and not callable(module):
        rule = "must be an nnx Module, its class or a function of rngs that makes one"
        raise TypeError(f"{check.where('module')} {rule}, got {module!r}.")
    kinds = nnx.Param, nnx.RngState, ...

    def made(key: Any) -> Any:
        rngs = nnx.Rngs(key)
        model = check.in_user_code(module, rngs=rngs) if "rngs" in names_of(module) else module(rngs)
        if not isinstance(model, nnx.Module):
            raise TypeError(f"from_nnx(module=...) must make an nnx Module, got {model!r}.")
        return model

    abstract = module if ready else nnx.eval_shape(lambda: made(0))
    graph, _, streams, _ = nnx.split(abstract, *kinds)
    names = names_of(type(abstract).__call__) if callable(abstract) else []

    def start(key: Any, batch: Any) -> tuple[Any, Any]:
        del batch
        _, params, _, rest = nnx.split(module if ready else made(key), *kinds)
        return params, rest

    def apply(function: Of, params: Any, state: Any, batch: Any, key: Any, training: bool) -> tuple[Any, Any]:
        # variables of this trace, which the model may change
        params, state = jax.tree.map(lambda x: x, (params, state))
        model = nnx.merge(graph, params, _seeded(streams, jax.random.key(0) if key is None else key), state)
        (model.train if training else model.eval)()
        mode = mode_of(names, training)
        result = function(functools.partial(model, **mode) if mode else model, batch)
        return result, nnx.split(model, *kinds)[3]

    name = type(abstract).__name__ if name is None else name
    given: Any = dict(sample=sample, validation=validation, metrics=metrics, name=name)
    return model_problem(start, apply, loss_fn, batches, **given)


def _seeded(streams: Any, key: Any) -> Any:
    """Random streams at their start: the i-th has the key `fold_in(key, i)`."""
    leaves, structure = jax.tree.flatten(streams)
    made = itertools.count()

    def seeded(x: Any) -> Any:
        if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jnp.zeros(x.shape, x.dtype)
        mine = jax.random.fold_in(key, next(made))
        return jax.random.split(mine, x.shape) if x.shape else mine

    return jax.tree.unflatten(structure, [seeded(x) for x in leaves])
