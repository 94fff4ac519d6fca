"""Sign descent: the step depends on the sign of each coordinate, not on its size."""

from typing import Any

import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import map_leaves
from .._chain import chain
from .._numbers import Hyperparameter
from .._pytree import pytree_dataclass
from .._rule import Rule
from .._transformation import Transformation, transformation
from ..controllers._controller import LearningRate
from .ema import ema
from .learning_rate import scale_by_learning_rate


@pytree_dataclass
class ScaleBySign(Rule):
    """See `scale_by_sign`."""

    elementwise = True

    def init(self, params: Any) -> tuple[()]:
        """Nothing to remember."""
        del params
        return ()

    def update(self, updates: Any, state: tuple[()], params: Any = None, **extra: Any) -> tuple[Any, tuple[()]]:
        """One step, on each leaf."""
        del params, extra
        return map_leaves(lambda g: (jnp.sign(g),), 1, updates)[0], state


@check.public
def scale_by_sign() -> Transformation:
    """Replace each coordinate by its sign.

    ::

      u_t = sign(g_t)          (0 at 0;  g_t / |g_t| for a complex g_t)

    Returns:
      A transformation without memory.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_sign()
      >>> updates, _ = tx.update(jnp.array([3.0, 0.0, -0.5]), tx.init(jnp.zeros(3)))
      >>> print(updates)
      [ 1.  0. -1.]

    References:
      Bernstein et al., signSGD: compressed optimisation for non-convex problems (ICML 2018), arXiv 1802.04434,
      algorithm 1.
    """
    return transformation(ScaleBySign())


@check.public
def sign_sgd(learning_rate: LearningRate) -> Transformation:
    """Sign descent: every coordinate moves by the learning rate.

    With g_t the gradient and η_t the learning rate::

      θ_t = θ_{t−1} − η_t · sign(g_t)

    Args:
      learning_rate: η, a number or a schedule.

    Returns:
      A transformation.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.sign_sgd(0.25)
      >>> updates, _ = tx.update(jnp.array([4.0, -0.5]), tx.init(jnp.zeros(2)))
      >>> print(updates)
      [-0.25  0.25]

    References:
      Bernstein et al., signSGD: compressed optimisation for non-convex problems (ICML 2018), arXiv 1802.04434,
      algorithm 1.
    """
    return chain(scale_by_sign(), scale_by_learning_rate(learning_rate))


@check.public
def signum(learning_rate: LearningRate, beta: Hyperparameter = 0.9, accumulator_dtype: Any = None) -> Transformation:
    """Sign descent along the mean gradient.

    With g_t the gradient, η_t the learning rate and m_0 = 0::

      m_t = beta · m_{t−1} + (1 − beta) · g_t
      θ_t = θ_{t−1} − η_t · sign(m_t)

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number or a schedule.
      beta: decay of the mean, in [0, 1).
      accumulator_dtype: dtype of m; the parameters' if None.

    Returns:
      A transformation.

    Raises:
      ValueError: if `beta` is not in [0, 1).
      TypeError: if the dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.signum(0.25, beta=0.5)
      >>> state = tx.init(jnp.zeros(2))
      >>> for gradient in ([4.0, -4.0], [-1.0, -1.0]):  # the second does not outweigh the first
      ...   updates, state = tx.update(jnp.array(gradient), state)
      ...   print(updates)
      [-0.25  0.25]
      [-0.25  0.25]

    References:
      Bernstein et al., signSGD: compressed optimisation for non-convex problems (ICML 2018), arXiv 1802.04434,
      algorithm 2.
    """
    check.below_one(beta=beta)
    average = ema(beta, debias=False, accumulator_dtype=accumulator_dtype)  # a sign needs no correction
    return chain(average, scale_by_sign(), scale_by_learning_rate(learning_rate))
