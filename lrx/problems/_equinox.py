"""A model of Equinox as a `Problem`."""

from collections.abc import Callable
from typing import Any

import jax

from .. import _check as check
from ._models import Of, mode_of, model_problem, names_of, required
from ._problem import Problem


@check.public
def from_equinox(
    module: Any,
    loss_fn: Of,
    batches: Any = None,
    *,
    sample: Callable[..., Any] | None = None,
    validation: Any = None,
    metrics: Of | None = None,
    name: str | None = None,
    axis_name: str = "batch",
) -> Problem:
    """An Equinox module and a loss as a `Problem`.

    `loss_fn(model, batch)` calls the model on a whole batch: `model(images)` is `jax.vmap` of the module over the first
    axis of its inputs. What the module's `__call__` takes beside its inputs is given to it, by these names:

    - `state`: the `eqx.nn.State`, shared by the batch; the module returns (output, state) then. It is the problem's
      model state, together with arrays of the model that are not floating.
    - `key`: of each example its own, `jax.random.split(k, batch_size)` for the problem's key k; in evaluation always
      the same.

    In evaluation the model is that of `eqx.nn.inference_mode`. Floating arrays are trained, as by
    `eqx.filter(model, eqx.is_inexact_array)`.

    Args:
      module: a class whose one argument is `key`, or a function `lambda key: CNN(32, key=key)`. A model that is there
        already (or the pair of it and its state, as `eqx.nn.make_with_state` makes it) is trained from its own
        parameters, which are then the same for all seeds.
      loss_fn: `loss_fn(model, batch) -> scalar`, pure.
      batches: as in `Problem`: an iterable of batches, or a function that returns a fresh one.
      sample: instead of batches, `sample(key) -> batch` on the device.
      validation: a batch of held-out data for `evaluate`, which is the loss in evaluation mode; none if None.
      metrics: `metrics(model, batch) -> {"accuracy": ...}`: further scores of the validation batch.
      name: what reports and plots call it; the name of the module's class if None.
      axis_name: of the batch, as the module's `eqx.nn.BatchNorm` layers call it.

    Returns:
      A `Problem` with `loss_with_state`.

    Raises:
      ImportError: if Equinox is not installed.
      TypeError: if an argument is of the wrong kind; when training, if the loss is not a scalar.
      ValueError: if there is no batch.

    Examples:
      >>> import equinox as eqx, jax, jax.numpy as jnp, lrx
      >>> class Net(eqx.Module):
      ...     dense: eqx.nn.Linear
      ...     norm: eqx.nn.BatchNorm
      ...     drop: eqx.nn.Dropout
      ...     def __init__(self, key):
      ...         self.dense, self.drop = eqx.nn.Linear(3, 1, key=key), eqx.nn.Dropout(0.1)
      ...         self.norm = eqx.nn.BatchNorm(3, "batch", mode="batch")
      ...     def __call__(self, x, state, key):
      ...         x, state = self.norm(x, state)
      ...         return self.dense(self.drop(x, key=key)), state
      >>> def loss_fn(model, batch):
      ...     x, y = batch
      ...     return jnp.mean((model(x) - y) ** 2)
      >>> batches = [(jnp.ones((4, 3)), jnp.ones((4, 1)))]
      >>> problem = from_equinox(Net, loss_fn, batches, validation=batches[0])
      >>> problem
      Problem(name='Net')
      >>> sorted(lrx.sweep(problem, lrx.adam, learning_rate=0.01, steps=3).scores)
      ['loss']
    """
    eqx = required("equinox", "equinox")
    pair = isinstance(module, tuple) and len(module) == 2 and isinstance(module[0], eqx.Module)
    ready = module if pair else (module, eqx.nn.State(module)) if isinstance(module, eqx.Module) else None
    make: Any = module
    if ready is None and not callable(module):
        rule = "must be an Equinox Module, its class or a function of a key that makes one"
        raise TypeError(f"{check.where('module')} {rule}, got {module!r}.")

    def made(key: Any) -> tuple[Any, Any]:
        def plain(key: Any) -> Any:
            return check.in_user_code(make, key=key) if "key" in names_of(make) else make(key)

        model = ready or eqx.nn.make_with_state(plain)(key)
        if isinstance(model[0], tuple):  # the user's function has made the state already
            model = model[0]
        if not isinstance(model[0], eqx.Module):
            raise TypeError(f"from_equinox(module=...) must make an Equinox Module, got {model[0]!r}.")
        return model

    abstract, _ = eqx.filter_eval_shape(made, jax.random.key(0))
    static = eqx.filter(abstract, lambda x: not isinstance(x, jax.ShapeDtypeStruct))
    names = names_of(type(abstract).__call__)

    def start(key: Any, batch: Any) -> tuple[Any, Any]:
        del batch
        model, state = made(key)
        params, rest = eqx.partition(model, eqx.is_inexact_array)
        return params, (eqx.filter(rest, eqx.is_array), state)

    def apply(function: Of, params: Any, state: Any, batch: Any, key: Any, training: bool) -> tuple[Any, Any]:
        arrays, after = state
        model = eqx.nn.inference_mode(eqx.combine(params, arrays, static), value=not training)
        calls = 0

        def on_batch(*inputs: Any, **given: Any) -> Any:
            nonlocal after, calls
            given = {**mode_of(names, training), **given}
            keys = None
            if "key" in names and key is not None:
                size = jax.tree.leaves(inputs)[0].shape[0]
                keys = jax.random.split(jax.random.fold_in(key, calls) if calls else key, size)
            calls += 1
            stateful = "state" in names

            def on_one(inputs: Any, state: Any, key: Any) -> Any:
                more = ({"state": state} if stateful else {}) | ({"key": key} if "key" in names else {})
                out = model(*inputs, **more, **given)
                return out if stateful else (out, state)

            axes = (0, None, None if keys is None else 0)
            out, after = jax.vmap(on_one, axes, (0, None), axis_name=axis_name)(inputs, after, keys)
            return out

        return function(on_batch, batch), (arrays, after)

    name = type(abstract).__name__ if name is None else name
    given: Any = dict(sample=sample, validation=validation, metrics=metrics, name=name)
    return model_problem(start, apply, loss_fn, batches, **given)
