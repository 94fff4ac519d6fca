"""Scale the updates down when the loss stops improving, apart from the learning rate."""

from typing import Any

import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import map_leaves, real
from .._numbers import F32, Count, Hyperparameter, Scalar
from .._pytree import pytree_dataclass
from .._rule import Rule
from .._transformation import Transformation, transformation
from ._controller import require, scalar_value
from ._metric import Watch, check_numbers, unwatched, watched


@pytree_dataclass
class ReduceOnPlateau(Rule):
    """See `reduce_on_plateau`."""

    factor: Scalar = 0.1
    patience: Count = 10
    rtol: Scalar = 1e-4
    atol: Scalar = 0.0
    cooldown: Count = 0
    window: Count = 1
    min_scale: Scalar = 0.0

    mode, counting, nan = "min", "optax", "bad"  # what optax's does
    renamed = (("window", "accumulation_size"),)
    elementwise = True

    def init(self, params: Any) -> Watch:
        """Nothing seen."""
        del params
        return unwatched(self)

    def update(self, updates: Any, state: Watch, params: Any = None, **extra: Any) -> tuple[Any, Watch]:
        """`scale * updates`."""
        del params
        require("reduce_on_plateau()", ("value",), value=extra.get("value"))
        state = watched(self, state, scalar_value(extra["value"]))
        state = state._replace(scale=jnp.maximum(state.scale, jnp.asarray(self.min_scale, F32)))
        return map_leaves(lambda u: (state.scale.astype(real(u.dtype)) * u,), 1, updates)[0], state


@check.public
def reduce_on_plateau(
    factor: Hyperparameter = 0.1,
    patience: Count = 10,
    rtol: Hyperparameter = 1e-4,
    atol: Hyperparameter = 0.0,
    cooldown: Count = 0,
    accumulation_size: Count = 1,
    min_scale: Hyperparameter = 0.0,
) -> Transformation:
    """Scale the updates down when the loss stops improving: optax.contrib's transformation.

    As `plateau` in mode "min", but apart from the learning rate, which `lrx.learning_rate` then does not show reduced::

      u_t = max(factor^k, min_scale) · g_t      after k reductions

    Args:
      factor: in (0, 1).
      patience: values without improvement that reduce the scale, ≥ 0.
      rtol: least improvement relative to the best value, in [0, 1].
      atol: least improvement in units of the value, ≥ 0.
      cooldown: values that are ignored after a reduction, ≥ 0.
      accumulation_size: values to a mean, which is what is judged, > 0.
      min_scale: the least scale, ≥ 0.

    Returns:
      A transformation, whose update needs `value=`, the loss.

    Raises:
      ValueError: if a number is out of its range, or both tolerances are 0; in update, if `value=` is missing.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.chain(lrx.sgd(1.0), lrx.reduce_on_plateau(factor=0.5, patience=1))
      >>> state = tx.init(jnp.zeros(1))
      >>> for loss in (2.0, 2.0):
      ...   updates, state = tx.update(jnp.ones(1), state, value=loss)
      ...   print(updates)
      [-1.]
      [-0.5]
    """
    check_numbers(factor, patience, rtol, atol, cooldown, accumulation_size)
    check.non_negative(min_scale=min_scale)
    if all(isinstance(x, int | float) and x == 0 for x in (rtol, atol)):
        raise check.fail("rtol", "or atol must be positive", rtol)
    return transformation(ReduceOnPlateau(factor, patience, rtol, atol, cooldown, accumulation_size, min_scale))
