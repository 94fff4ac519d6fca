"""A model of Haiku as a `Problem`."""

from collections.abc import Callable
from typing import Any

import jax

from .. import _check as check
from ._models import Of, mode_of, model_problem, names_of, required
from ._problem import Problem


@check.public
def from_haiku(
    module: Any,
    loss_fn: Of,
    batches: Any = None,
    *,
    sample: Callable[..., Any] | None = None,
    validation: Any = None,
    metrics: Of | None = None,
    name: str | None = None,
) -> Problem:
    """A Haiku function and a loss as a `Problem`.

    `loss_fn(model, batch)` calls the model as it calls the function: `model(images)`. Called twice, the model has the
    same parameters and goes on with its state, as with `apply`. If the function has an argument that is called `train`,
    `training` or `is_training`, it is True in training and False in evaluation; `deterministic` and `inference` are the
    contrary. What `loss_fn` gives by name has the last word.

    The parameters are trained, and Haiku's state is the problem's model state. `hk.next_rng_key()` starts from the
    problem's key at each update; in evaluation it is always the same.

    Args:
      module: the function that makes and calls Haiku modules, before or after `hk.transform` or
        `hk.transform_with_state`.
      loss_fn: `loss_fn(model, batch) -> scalar`, pure.
      batches: as in `Problem`: an iterable of batches, or a function that returns a fresh one. The model is
        initialised on the first batch.
      sample: instead of batches, `sample(key) -> batch` on the device.
      validation: a batch of held-out data for `evaluate`, which is the loss in evaluation mode; none if None.
      metrics: `metrics(model, batch) -> {"accuracy": ...}`: further scores of the validation batch.
      name: what reports and plots call it; the name of the function if None.

    Returns:
      A `Problem` with `loss_with_state`.

    Raises:
      ImportError: if Haiku is not installed.
      TypeError: if an argument is of the wrong kind; when training, if the loss is not a scalar.
      ValueError: if there is no batch.

    Examples:
      >>> import haiku as hk, jax.numpy as jnp, lrx
      >>> def net(x, is_training):
      ...     x = hk.BatchNorm(True, True, decay_rate=0.9)(hk.Linear(8)(x), is_training)
      ...     return hk.Linear(1)(hk.dropout(hk.next_rng_key(), 0.1 * is_training, x))
      >>> def loss_fn(model, batch):
      ...     x, y = batch
      ...     return jnp.mean((model(x) - y) ** 2)
      >>> batches = [(jnp.ones((4, 3)), jnp.ones((4, 1)))]
      >>> problem = from_haiku(net, loss_fn, batches, validation=batches[0])
      >>> problem
      Problem(name='net')
      >>> sorted(lrx.sweep(problem, lrx.adam, learning_rate=0.01, steps=3).scores)
      ['loss']
    """
    haiku = required("haiku", "dm-haiku")
    function = getattr(getattr(module, "init", module), "_original_fn", module)  # what was transformed
    if isinstance(function, haiku.Transformed | haiku.TransformedWithState) or not callable(function):
        rule = "must be a function of Haiku modules, before or after hk.transform"
        raise TypeError(f"{check.where('module')} {rule}, got {module!r}.")
    names = names_of(function)

    transformed = haiku.transform_with_state(function)

    def run(of: Of, variables: Any, batch: Any, key: Any, training: bool) -> tuple[Any, Any, Any]:
        """What `of` gives, the variables that its model began with (fresh ones if None), and its state at the end."""
        begun, calls, mode = variables, 0, mode_of(names, training)

        def model(*args: Any, **kwargs: Any) -> Any:
            nonlocal begun, variables, calls
            kwargs = {**mode, **kwargs}
            if variables is None:
                begun = variables = transformed.init(key, *args, **kwargs)
            now = jax.random.fold_in(key, calls) if calls and key is not None else key
            out, after = transformed.apply(*variables, now, *args, **kwargs)
            variables, calls = (variables[0], after), calls + 1
            return out

        result = of(model, batch)
        if variables is None:
            raise ValueError("from_haiku(loss_fn=...) must call the model: model(inputs).")
        return result, begun, variables[1]

    def start(key: Any, batch: Any) -> tuple[Any, Any]:
        return run(loss_fn, None, batch, key, True)[1]

    def apply(of: Of, params: Any, state: Any, batch: Any, key: Any, training: bool) -> tuple[Any, Any]:
        result, _, after = run(of, (params, state), batch, key, training)
        return result, after

    name = getattr(function, "__name__", type(function).__name__) if name is None else name
    given: Any = dict(sample=sample, validation=validation, metrics=metrics, name=name)
    return model_problem(start, apply, loss_fn, batches, **given)
