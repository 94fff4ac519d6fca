"""Gradient descent with Polyak's step size, as optax has it."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import add_one, global_norm, scaled, vary_like, zero_count
from .._numbers import F32, Hyperparameter, Scalar
from .._pytree import factory_name, pytree_dataclass, static
from .._skipping import SkipsUnusable
from .._transformation import Transformation, transformation
from ..controllers._controller import require, scalar_value

Variant = Literal["sps", "sps+"]


class ScaleByPolyakState(NamedTuple):
    """What Polyak's step size remembers. It does not depend on the past."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    learning_rate: jax.Array
    """η, the rate applied last, before the first update the largest; float32 []."""
    skipped: jax.Array
    """Updates that were skipped, since the loss or the gradient was not finite; int32 []."""


@pytree_dataclass
class ScaleByPolyak(SkipsUnusable):
    """See `scale_by_polyak`."""

    f_min: Scalar = 0.0
    max_learning_rate: Scalar = 1.0
    eps: Scalar = 0.0
    variant: str = static(default="sps")

    elementwise = True

    def init(self, params: Any) -> ScaleByPolyakState:
        """The state before the first update."""
        scaling, _ = self._scaling()
        first = jnp.array(jnp.abs(scaling) * jnp.asarray(self.max_learning_rate, F32), F32)
        return ScaleByPolyakState(zero_count(), *vary_like((first, zero_count()), params))

    def step(
        self, updates: Any, state: ScaleByPolyakState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByPolyakState, jax.Array]:
        """One step, on all leaves together."""
        del params
        require(f"{factory_name(self)}()", ("value",), value=extra.get("value"))
        value = scalar_value(extra["value"])
        scaling, sign = self._scaling()
        size = global_norm(updates)
        slope = (scaling.astype(size.dtype) * size) ** 2 + jnp.asarray(self.eps, size.dtype)
        gap = value.astype(size.dtype) - jnp.asarray(self.f_min, size.dtype)
        gap = jnp.maximum(gap, 0) if self.variant == "sps+" else gap
        flat = slope <= jnp.finfo(jnp.float64).eps  # optax's bound, in every dtype
        most = jnp.asarray(self.max_learning_rate, size.dtype)
        rate = jnp.where(flat, 0, jnp.minimum(gap / jnp.where(flat, jnp.ones_like(slope), slope), most))
        rate = scaling.astype(size.dtype) * rate
        new = ScaleByPolyakState(add_one(state.count), rate.astype(F32), state.skipped)
        return scaled(sign * rate, updates), new, ~(jnp.isfinite(value) & jnp.isfinite(rate))

    def _scaling(self) -> tuple[jax.Array, int]:
        """s, by which the gradient is multiplied first, float32 [], and the sign of the updates."""
        return jnp.ones((), F32), 1


@pytree_dataclass
class PolyakSgd(ScaleByPolyak):
    """See `polyak_sgd`."""

    scaling: Scalar = 1.0

    def _scaling(self) -> tuple[jax.Array, int]:
        return jnp.asarray(self.scaling, F32), -1


def _check(**arguments: Any) -> None:
    check.finite(f_min=arguments["f_min"])
    check.non_negative(max_learning_rate=arguments["max_learning_rate"])
    check.epsilon(eps=arguments["eps"])
    check.one_of(Variant, variant=arguments["variant"])


@check.public
def scale_by_polyak(
    f_min: Hyperparameter = 0.0,
    max_learning_rate: Hyperparameter = 1.0,
    eps: Hyperparameter = 0.0,
    variant: Variant = "sps",
) -> Transformation:
    """Multiply the updates by Polyak's step size: see `polyak_sgd`.

    With f_t the loss and ‖g_t‖ the Euclidean norm of all updates together::

      u_t = g_t · min( (f_t − f_min) / (‖g_t‖² + eps), max_learning_rate )

    and 0 where ‖g_t‖² + eps is at most 2.2e-16. An update whose loss or gradient is not finite is skipped, and counted
    in the state as `skipped`.

    Args:
      f_min: the least value of the loss.
      max_learning_rate: ≥ 0, the largest step size; `float("inf")` for none.
      eps: ≥ 0.
      variant: "sps", or "sps+" with the positive part of f_t − f_min.

    Returns:
      A transformation, whose update needs `value=`, the loss.

    Raises:
      ValueError: if a number is out of its range or the variant unknown; in update, if `value=` is missing.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_polyak()
      >>> updates, _ = tx.update(jnp.array([0.0, 4.0]), tx.init(jnp.zeros(2)), value=8.0)
      >>> print(updates)  # 8 / 4² = 0.5
      [0. 2.]

    References:
      Loizou, Vaswani, Laradji, Lacoste-Julien, Stochastic Polyak step-size for SGD (AISTATS 2021), arXiv 2002.10542
      (SPS_max); Garrigos, Gower, Schaipp, Function value learning (2023), arXiv 2307.14528 (SPS+).
    """
    _check(f_min=f_min, max_learning_rate=max_learning_rate, eps=eps, variant=variant)
    return transformation(ScaleByPolyak(f_min, max_learning_rate, eps, variant))


@check.public
def polyak_sgd(
    max_learning_rate: Hyperparameter = 1.0,
    scaling: Hyperparameter = 1.0,
    f_min: Hyperparameter = 0.0,
    eps: Hyperparameter = 0.0,
    variant: Variant = "sps",
) -> Transformation:
    """Gradient descent with Polyak's step size, which follows from the loss.

    With f_t the loss, g_t the gradient and s = `scaling`::

      η_t = s · min( (f_t − f_min) / (s² · ‖g_t‖² + eps), max_learning_rate )
      θ_t = θ_{t−1} − η_t · g_t

    and η_t = 0 where s² · ‖g_t‖² + eps is at most 2.2e-16. As in optax, the gradient is scaled before its norm is
    taken: only where `max_learning_rate` bounds the step does a larger s make it larger. `lrx.learning_rate` reads η_t.
    The controller `lrx.polyak` has the same step size for every optimizer, with schedules and controllers as its bound.

    An update whose loss or gradient is not finite is skipped, and counted in the state as `skipped`.

    Args:
      max_learning_rate: ≥ 0, the largest step size; `float("inf")` for none.
      scaling: s ≥ 0, a number or a schedule.
      f_min: the least value of the loss, 0 for a model that can fit all its data.
      eps: ≥ 0.
      variant: "sps", or "sps+" with the positive part of f_t − f_min: never a step uphill from below `f_min`.

    Returns:
      A transformation, whose update needs `value=`, the loss.

    Raises:
      ValueError: if a number is out of its range or the variant unknown; in update, if `value=` is missing.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> tx = lrx.polyak_sgd()
      >>> params = jnp.array([2.0, 0.0])
      >>> value, grad = jax.value_and_grad(lambda p: jnp.sum(p**2))(params)
      >>> updates, state = tx.update(grad, tx.init(params), params, value=value)
      >>> print(updates, lrx.learning_rate(state))  # 4 / 4²
      [-1. -0.] 0.25

    References:
      Loizou, Vaswani, Laradji, Lacoste-Julien, Stochastic Polyak step-size for SGD (AISTATS 2021), arXiv 2002.10542
      (SPS_max); Garrigos, Gower, Schaipp, Function value learning (2023), arXiv 2307.14528 (SPS+).
    """
    check.finite(scaling=scaling)
    check.non_negative(scaling=scaling)
    _check(f_min=f_min, max_learning_rate=max_learning_rate, eps=eps, variant=variant)
    return transformation(PolyakSgd(f_min, max_learning_rate, eps, variant, scaling))
