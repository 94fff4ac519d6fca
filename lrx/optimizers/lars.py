"""LARS: SGD with momentum, with a trust ratio for each leaf."""

from typing import Any

from .. import _check as check
from .._chain import chain
from .._numbers import Hyperparameter
from .._transformation import Transformation
from ..controllers._controller import LearningRate
from ._labels import as_mask
from .learning_rate import scale_by_learning_rate
from .momentum import trace
from .trust_ratio import scale_by_trust_ratio
from .weight_decay import add_decayed_weights


@check.public
def lars(
    learning_rate: LearningRate,
    weight_decay: Hyperparameter = 0.0,
    weight_decay_mask: Any = True,
    trust_coefficient: Hyperparameter = 0.001,
    eps: Hyperparameter = 0.0,
    trust_ratio_mask: Any = True,
    momentum: Hyperparameter = 0.9,
    nesterov: bool = False,
    *,
    accumulator_dtype: Any = None,
) -> Transformation:
    """LARS: every leaf moves in proportion to the norm of its parameters, for training with large batches.

    With ∇_t the gradient of a leaf, η_t the learning rate and m_0 = 0::

      g_t = ∇_t + weight_decay · θ_{t−1}
      r_t = trust_coefficient · ‖θ_{t−1}‖ / (‖g_t‖ + eps)          (1 where either norm is 0)
      m_t = momentum · m_{t−1} + η_t · r_t · g_t
      θ_t = θ_{t−1} − m_t          (Nesterov: θ_t = θ_{t−1} − (η_t · r_t · g_t + momentum · m_t))

    The rate is inside the momentum's buffer, as in the paper. The paper divides by ‖∇_t‖ + weight_decay · ‖θ_{t−1}‖;
    here, as in optax, the decay is part of the gradient whose norm is taken.

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number or a schedule.
      weight_decay: λ ≥ 0.
      weight_decay_mask: True, or a tree of bools like the parameters (or a prefix of it), or a function from
        parameters to one: decay where True.
      trust_coefficient: ≥ 0.
      eps: ε ≥ 0.
      trust_ratio_mask: as `weight_decay_mask`: r_t is 1 where it is False.
      momentum: in [0, 1).
      nesterov: whether the momentum is Nesterov's.
      accumulator_dtype: dtype of m; the parameters' if None.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a number is negative, `momentum` is not in [0, 1), or `eps` vanishes in float32.
      TypeError: if a mask or the dtype is not one.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.lars(0.5, trust_coefficient=0.5, momentum=0.0)
      >>> params = jnp.array([3.0, 4.0])
      >>> updates, _ = tx.update(jnp.array([6.0, 8.0]), tx.init(params), params)
      >>> print(updates)
      [-0.75 -1.  ]

    References:
      You, Gitman, Ginsburg, Large batch training of convolutional networks (2017), arXiv 1708.03888, algorithm 1.
    """
    check.below_one(momentum=momentum)
    masks = {"weight_decay_mask": weight_decay_mask, "trust_ratio_mask": trust_ratio_mask}
    for name, mask in masks.items():
        as_mask(name, mask)
    decayed, trusted = (None if mask is True else mask for mask in masks.values())
    return chain(
        add_decayed_weights(weight_decay, decayed),
        scale_by_trust_ratio(trust_coefficient=trust_coefficient, eps=eps, mask=trusted),
        scale_by_learning_rate(learning_rate),
        trace(momentum, nesterov, accumulator_dtype),
    )
