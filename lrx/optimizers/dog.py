"""DoG and DoWG as optimizers of their own, with the arguments of `optax.contrib`."""

from typing import Any, Literal

from .. import _check as check
from .._chain import chain
from .._numbers import Hyperparameter, Scalar
from .._transformation import Transformation
from ..controllers import distance
from ..controllers._controller import LearningRate
from .learning_rate import scale_by_learning_rate
from .weight_decay import add_decayed_weights

InitStep = Literal["distance", "learning_rate", "heuristic"]
ARGUMENTS = {"distance": "init_distance", "learning_rate": "init_rate", "heuristic": "reps_rel"}
"""Those of `lrx.dog`."""


def dog(
    learning_rate: LearningRate = 1.0,
    init_step: tuple[InitStep, Scalar] = ("heuristic", 1e-6),
    eps: Scalar = 1e-8,
    weight_decay: Hyperparameter | None = None,
    mask: Any = None,
) -> Transformation:
    """Distance over gradients: `sgd(lrx.dog(...))`, with the arguments of `optax.contrib.dog`.

    With θ_t the parameters and g_t the gradient, to which weight decay is added first::

      d_t = g_t + weight_decay · θ_t
      r̄_t = max(r̄_{t−1}, ‖θ_t − θ_0‖)
      θ_{t+1} = θ_t − learning_rate(t) · r̄_t / √(Σ_{i ≤ t} ‖d_i‖² + eps) · d_t

    Args:
      learning_rate: a factor: a number, a schedule or a controller with one rate for all leaves.
      init_step: a pair of a name and a number v > 0: "distance", r̄_0 = v; "heuristic", r̄_0 = v · (1 + ‖θ_0‖);
        "learning_rate", r̄_0 = 0, and the first rate is v.
      eps: ≥ 0.
      weight_decay: λ ≥ 0, not decoupled; none if None.
      mask: a tree of bools like the parameters, or a function from parameters to one: decay where True.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a number is out of its range, or the name is unknown.
      TypeError: if `init_step` is no pair.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.contrib.dog(init_step=("distance", 0.25))
      >>> params = jnp.zeros(2)
      >>> updates, state = tx.update(jnp.array([3.0, 4.0]), tx.init(params), params)
      >>> print(updates, lrx.learning_rate(state))
      [-0.15 -0.2 ] 0.05

    References:
      Ivgi, Hinder, Carmon, DoG is SGD's best friend (ICML 2023), arXiv 2302.12022.
    """
    with check.calling("dog"):
        if not isinstance(init_step, tuple | list) or len(init_step) != 2:
            raise TypeError(f"dog(init_step=...) must be a pair of a name and a number, got {init_step!r}.")
        kind, value = init_step
        check.one_of(InitStep, init_step=kind)
        check.positive(init_step=value)
        start: dict[str, Any] = {ARGUMENTS[kind]: value}
        return _decayed(distance.dog(learning_rate, eps=eps, **start), weight_decay, mask)


def dowg(
    learning_rate: LearningRate = 1.0,
    init_estim_sq_dist: Scalar | None = None,
    eps: Scalar = 1e-4,
    weight_decay: Hyperparameter | None = None,
    mask: Any = None,
) -> Transformation:
    """Distance over weighted gradients: `sgd(lrx.dowg(...))`, with the arguments of `optax.contrib.dowg`.

    With θ_t the parameters and d_t = g_t + weight_decay · θ_t::

      r̄_t = max(r̄_{t−1}, ‖θ_t − θ_0‖),   r̄_{−1}² = init_estim_sq_dist
      v_t = v_{t−1} + r̄_t² · ‖d_t‖²
      θ_{t+1} = θ_t − learning_rate(t) · r̄_t² / (√v_t + eps) · d_t

    Args:
      learning_rate: a factor: a number, a schedule or a controller with one rate for all leaves.
      init_estim_sq_dist: the square of the first distance, > 0; `eps` if None.
      eps: ≥ 0.
      weight_decay: λ ≥ 0, not decoupled; none if None.
      mask: a tree of bools like the parameters, or a function from parameters to one: decay where True.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a number is out of its range.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.contrib.dowg(init_estim_sq_dist=0.25, eps=0.0)
      >>> params = jnp.zeros(2)
      >>> _, state = tx.update(jnp.array([3.0, 4.0]), tx.init(params), params)
      >>> print(lrx.learning_rate(state))  # 0.5² / √(0.5² · 5²)
      0.1

    References:
      Khaled, Mishchenko, Jin, DoWG unleashed (NeurIPS 2023), arXiv 2305.16284, algorithm 1.
    """
    with check.calling("dowg"):
        square = eps if init_estim_sq_dist is None else init_estim_sq_dist
        check.positive(init_estim_sq_dist=square)
        return _decayed(distance.dowg(learning_rate, init_distance=square**0.5, eps=eps), weight_decay, mask)


def _decayed(rate: Any, weight_decay: Hyperparameter | None, mask: Any) -> Transformation:
    decay = () if weight_decay is None else (add_decayed_weights(weight_decay, mask),)
    return chain(*decay, scale_by_learning_rate(rate))
