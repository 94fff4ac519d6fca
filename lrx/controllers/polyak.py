"""Polyak's step size: the distance of the loss from its least value, over the slope."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import absolute_sum, inner_product, real_dtype
from .._numbers import F32, Scalar
from .._pytree import pytree_dataclass, static
from ._controller import Controller, LearningRate, as_one_rate, rate_of_update, start_of

Variant = Literal["sps", "sps+"]


class PolyakMemory(NamedTuple):
    """What `polyak` remembers."""

    last: jax.Array | None
    """The last rate that was not 0, infinite before it; float32 or wider []. None without `growth`."""
    base: Any


@pytree_dataclass
class Polyak(Controller):
    """See `polyak`."""

    max_learning_rate: Any
    f_min: Scalar = 0.0
    c: Scalar = 1.0
    growth: Scalar | None = None
    eps: Scalar = 0.0
    variant: str = static(default="sps")

    needs = ("value", "grad", "direction")
    elementwise = True

    def start(self, params: Any) -> PolyakMemory:
        """No rate yet."""
        last = None if self.growth is None else jnp.full((), jnp.inf, real_dtype(params))
        return PolyakMemory(last, start_of(self.max_learning_rate, params))

    def rate(self, memory: PolyakMemory, direction: Any, signals: dict[str, Any]) -> tuple[jax.Array, PolyakMemory]:
        """`min((f − f_min) / (c·⟨g, d⟩ + eps), max_learning_rate)`."""
        most, base = rate_of_update(self.max_learning_rate, memory.base, direction, signals)
        slope = inner_product(signals["grad"], direction)
        gap = signals["value"].astype(slope.dtype) - jnp.asarray(self.f_min, slope.dtype)
        gap = jnp.maximum(gap, 0) if self.variant == "sps+" else gap
        rate = jnp.minimum(over(gap, jnp.asarray(self.c, slope.dtype) * slope, self.eps), most.astype(slope.dtype))
        rate = jnp.where(jnp.isfinite(gap), rate, jnp.nan)
        last = memory.last
        if last is not None:
            known = jnp.isfinite(last)
            bound = jnp.where(known, last, 1).astype(rate.dtype) * jnp.asarray(self.growth, rate.dtype)
            rate = jnp.where(known, jnp.minimum(rate, bound), rate)
            last = jnp.where(rate > 0, rate, last).astype(last.dtype)
        return rate, PolyakMemory(last, base)


@pytree_dataclass
class L1Polyak(Controller):
    """Polyak's rate for directions of unit size, that of ScheduleFree+: see `schedule_free_adamw`."""

    learning_rate: Any

    needs = ("value", "grad")
    elementwise = True

    def start(self, params: Any) -> Any:
        """What the base remembers."""
        return start_of(self.learning_rate, params)

    def rate(self, memory: Any, direction: Any, signals: dict[str, Any]) -> tuple[Any, Any]:
        """`learning_rate(t) · [f]₊ / (‖g‖₁ · √(π/2))`."""
        base, memory = rate_of_update(self.learning_rate, memory, direction, signals)
        size = absolute_sum(signals["grad"]) * jnp.sqrt(jnp.pi / 2).astype(F32)
        gap = jnp.maximum(signals["value"].astype(size.dtype), 0)
        return base.astype(size.dtype) * over(gap, size), memory


def over(gap: jax.Array, slope: jax.Array, eps: Scalar = 0.0) -> jax.Array:
    """`gap / (slope + eps)`, and 0 where the direction is not one of descent; NaN where one of them is."""
    downhill = slope > 0
    return jnp.where(downhill, gap / jnp.where(downhill, slope + jnp.asarray(eps, slope.dtype), 1), 0 * (gap + slope))


@check.public
def polyak(
    max_learning_rate: LearningRate,
    *,
    f_min: Scalar = 0.0,
    variant: Variant = "sps",
    c: Scalar = 1.0,
    growth: Scalar | None = None,
    eps: Scalar = 0.0,
) -> Polyak:
    """A learning rate from the loss itself: Polyak's step size, stochastic and bounded (SPS_max).

    With f_t the loss, g_t the gradient and d_t the direction that the optimizer makes of it (g_t itself for SGD)::

      η_t = min( (f_t − f_min) / (c · ⟨g_t, d_t⟩ + eps), max_learning_rate(t), growth · η_{t−1} )

    and 0 where ⟨g_t, d_t⟩ ≤ 0. For SGD ⟨g, d⟩ = ‖g‖²; for Adam it is ‖g‖² in the metric of the preconditioner, so that
    one formula serves all. On a loss whose least value is `f_min` for every batch it needs no tuning.

    Args:
      max_learning_rate: a number, a schedule or another controller; `float("inf")` for none.
      f_min: the least value of the loss, 0 for a model that can fit all its data.
      variant: "sps", or "sps+" with the positive part of f_t − f_min: never a step uphill from below `f_min`.
      c: > 0. 0.5 is the paper's for neural networks, 1 for convex losses.
      growth: by how much a rate may exceed the one before, > 0: γ^(b/n) in the paper, with γ = 2, batches of b from n
        samples. None for no such bound.
      eps: ≥ 0.

    Returns:
      A controller, for the `learning_rate` of any optimizer. Its update needs `value=`, the loss.

    Raises:
      ValueError: if a number is out of its range or the variant unknown; in update, if `value=` is missing.
      TypeError: if `max_learning_rate` is no rate.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> tx = lrx.sgd(lrx.polyak(1.0))
      >>> params = jnp.array([2.0, 0.0])
      >>> value, grad = jax.value_and_grad(lambda p: jnp.sum(p**2))(params)
      >>> updates, state = tx.update(grad, tx.init(params), params, value=value)
      >>> print(lrx.learning_rate(state))  # 4 / 4²
      0.25

    References:
      Loizou, Vaswani, Laradji, Lacoste-Julien, Stochastic Polyak step-size for SGD (AISTATS 2021), arXiv 2002.10542
      (SPS_max); Garrigos, Gower, Schaipp, Function value learning (2023), arXiv 2307.14528 (SPS+).
    """
    check.number(f_min=f_min)
    check.positive(c=c)
    check.non_negative(eps=eps)
    check.one_of(Variant, variant=variant)
    if growth is not None:
        check.positive(growth=growth)
    return Polyak(as_one_rate("max_learning_rate", max_learning_rate, is_cap=True), f_min, c, growth, eps, variant)


@check.public
def alig(max_learning_rate: LearningRate, *, eps: Scalar = 1e-5) -> Polyak:
    """ALI-G: Polyak's step size for models that interpolate, whose losses can all be 0.

    With f_t ≥ 0 the loss, g_t the gradient and d_t the direction (g_t for SGD)::

      η_t = min( f_t / (⟨g_t, d_t⟩ + eps), max_learning_rate(t) )

    It is `polyak(max_learning_rate, variant="sps+", eps=eps)` by the name under which it was published.

    Args:
      max_learning_rate: a number, a schedule or another controller.
      eps: δ ≥ 0.

    Returns:
      A controller, for the `learning_rate` of any optimizer. Its update needs `value=`, the loss.

    Raises:
      ValueError: if `eps` is negative; in update, if `value=` is missing.
      TypeError: if `max_learning_rate` is no rate.

    Examples:
      >>> import lrx
      >>> lrx.alig(0.1).eps
      1e-05

    References:
      Berrada, Zisserman, Kumar, Training neural networks for and by interpolation (ICML 2020), arXiv 1906.05661,
      algorithm 1.
    """
    check.non_negative(eps=eps)
    return Polyak(as_one_rate("max_learning_rate", max_learning_rate, is_cap=True), eps=eps, variant="sps+")
