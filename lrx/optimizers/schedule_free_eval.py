"""`schedule_free_eval_params`, under optax's name and for both libraries' states."""

from typing import Any

import jax
import optax.contrib

from .averaging import eval_params


def schedule_free_eval_params(state: Any, params: Any) -> Any:
    """The average x of a schedule-free optimizer, to evaluate with: `lrx.eval_params`, also for states of optax's.

    Args:
      state: the state of lrx's `schedule_free` (or of anything that `lrx.eval_params` takes), or one of optax's, at any
        depth of a larger state.
      params: the parameters that are trained.

    Returns:
      x, shaped like the parameters.

    Raises:
      ValueError: if the state keeps no average, or several.

    Examples:
      >>> import jax.numpy as jnp, lrx, optax
      >>> params = jnp.zeros(1)
      >>> for tx in (lrx.schedule_free(lrx.sgd(1.0), b1=0.5), optax.contrib.schedule_free(optax.sgd(1.0), 1.0, b1=0.5)):
      ...   updates, state = tx.update(-jnp.ones(1), tx.init(params), params)
      ...   print(lrx.contrib.schedule_free_eval_params(state, lrx.apply_updates(params, updates)))
      [1.]
      [1.]
    """

    def is_optax(x: Any) -> bool:
        return isinstance(x, optax.contrib.ScheduleFreeState)

    theirs = [x for x in jax.tree.leaves(state, is_leaf=is_optax) if is_optax(x)]
    if len(theirs) == 1:
        return optax.contrib.schedule_free_eval_params(theirs[0], params)
    return eval_params(state, params)
