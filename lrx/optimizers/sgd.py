"""Stochastic gradient descent."""

from typing import Any

from .. import _check as check
from .._chain import chain
from .._numbers import Hyperparameter
from .._transformation import Transformation
from ..controllers._controller import LearningRate
from ._dtype import dtype_name
from .learning_rate import scale_by_learning_rate
from .momentum import trace


@check.public
def sgd(
    learning_rate: LearningRate,
    momentum: Hyperparameter | None = None,
    nesterov: bool = False,
    accumulator_dtype: Any = None,
) -> Transformation:
    """Stochastic gradient descent, with or without momentum.

    With g_t the gradient, η_t the learning rate and μ the momentum::

      m_t = g_t + μ · m_{t−1},   θ_t = θ_{t−1} − η_t · m_t
      (Nesterov: θ_t = θ_{t−1} − η_t · (g_t + μ · m_t);  without momentum: θ_t = θ_{t−1} − η_t · g_t)

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number or a schedule.
      momentum: μ in [0, 1), or None for no momentum and no memory.
      nesterov: whether to use Nesterov's momentum. Without a momentum it has no effect.
      accumulator_dtype: dtype of m; the parameters' if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if `momentum` is not in [0, 1).
      TypeError: if the dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.sgd(0.25, momentum=0.5)
      >>> params = jnp.array([1.0])
      >>> state = tx.init(params)
      >>> for _ in range(2):
      ...   updates, state = tx.update(jnp.ones(1), state, params)
      ...   params = lrx.apply_updates(params, updates)
      ...   print(params)
      [0.75]
      [0.375]

    References:
      Sutskever et al., On the importance of initialization and momentum in deep learning (ICML 2013).
    """
    check.flag(nesterov=nesterov)
    dtype_name("accumulator_dtype", accumulator_dtype)
    if momentum is None:
        return chain(scale_by_learning_rate(learning_rate))
    check.below_one(momentum=momentum)
    return chain(trace(momentum, nesterov, accumulator_dtype), scale_by_learning_rate(learning_rate))
