"""LAMB: AdamW, with a trust ratio for each leaf."""

from typing import Any

from .. import _check as check
from .._chain import chain
from .._numbers import Hyperparameter
from .._transformation import Transformation
from ..controllers._controller import LearningRate
from .adam import scale_by_adam
from .learning_rate import scale_by_learning_rate
from .trust_ratio import scale_by_trust_ratio
from .weight_decay import add_decayed_weights


@check.public
def lamb(
    learning_rate: LearningRate,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-6,
    eps_root: Hyperparameter = 0.0,
    weight_decay: Hyperparameter = 0.0,
    mask: Any = None,
    *,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> Transformation:
    """LAMB: Adam's direction, scaled to the norm of each leaf's parameters.

    With m̂_t and v̂_t as in `adam` and η_t the learning rate, for each leaf::

      u_t = m̂_t / (√(v̂_t + eps_root) + eps) + weight_decay · θ_{t−1}
      θ_t = θ_{t−1} − η_t · ‖θ_{t−1}‖ / ‖u_t‖ · u_t          (−η_t · u_t where either norm is 0)

    The ratio is not clipped: the paper's φ is the identity, as in optax.

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number or a schedule.
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ≥ 0, inside the root.
      weight_decay: λ ≥ 0.
      mask: a tree of bools like the parameters, or a function from parameters to one: decay where True.
      mu_dtype: dtype of m; the parameters' if None.
      nu_dtype: dtype of v; at least float32 if None.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a decay is not in [0, 1), an ε is negative or vanishes in float32, or λ is negative.
      TypeError: if the mask or a dtype is not one.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.lamb(0.25, eps=0.0)
      >>> params = jnp.array([3.0, 4.0, 0.0, 0.0])  # ‖θ‖ = 5, and Adam's first direction has length 2
      >>> updates, _ = tx.update(jnp.array([9.0, -0.1, 2.0, -7.0]), tx.init(params), params)
      >>> print(updates.round(4))
      [-0.625  0.625 -0.625  0.625]

    References:
      You et al., Large batch optimization for deep learning: training BERT in 76 minutes (ICLR 2020),
      arXiv 1904.00962, algorithm 2.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nu_dtype=nu_dtype),
        add_decayed_weights(weight_decay, mask),
        scale_by_trust_ratio(),
        scale_by_learning_rate(learning_rate),
    )
