"""L4: the step that would bring a linear model of the loss a fixed fraction of the way to its least value."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import add_one, inner_product, map_leaves, one_minus_power, real, real_dtype, zero_count, zeros_like
from .._numbers import Scalar
from .._pytree import pytree_dataclass
from ._controller import Controller, LearningRate, as_one_rate, rate_of_update, start_of
from .polyak import over


class L4Memory(NamedTuple):
    """What L4 remembers."""

    seen: jax.Array
    """Losses seen; int32 []."""
    least: jax.Array
    """L_min, which slowly rises again; float32 or wider []."""
    mean: Any
    """m, the mean of the gradients, shaped like the parameters, in their dtype."""
    base: Any


@pytree_dataclass
class L4(Controller):
    """See `l4`."""

    learning_rate: Any
    gamma: Scalar = 0.9
    init_factor: Scalar = 0.75
    timescale: Scalar = 1000.0
    b1: Scalar = 0.9
    eps: Scalar = 1e-12

    needs = ("value", "grad", "direction")
    elementwise = True

    def start(self, params: Any) -> L4Memory:
        """Nothing seen."""
        least = jnp.zeros((), real_dtype(params))
        return L4Memory(zero_count(), least, zeros_like(params), start_of(self.learning_rate, params))

    def rate(self, memory: L4Memory, direction: Any, signals: dict[str, Any]) -> tuple[jax.Array, L4Memory]:
        """`α · (f − γ·L_min) / (⟨m̂, d⟩ + eps)`."""
        alpha, base = rate_of_update(self.learning_rate, memory.base, direction, signals)
        dtype = memory.least.dtype
        value, seen = signals["value"].astype(dtype), add_one(memory.seen)
        first = jnp.asarray(self.init_factor, dtype) * value
        least = jnp.where(memory.seen == 0, first, jnp.minimum(memory.least, value))

        def averaged(g: jax.Array, m: jax.Array) -> tuple[jax.Array, jax.Array]:
            m = m.astype(g.dtype)
            return g, m + (1 - jnp.asarray(self.b1, real(g.dtype))) * (g - m)

        mean = map_leaves(averaged, 2, signals["grad"], memory.mean)[1]
        slope = inner_product(mean, direction).astype(dtype) / one_minus_power(self.b1, seen).astype(dtype)
        gap = value - jnp.asarray(self.gamma, dtype) * least
        rate = alpha.astype(dtype) * over(gap, slope, self.eps)
        forgotten = (1 + 1 / jnp.asarray(self.timescale, dtype)) * least
        return rate, L4Memory(seen, forgotten, mean, base)


@check.public
def l4(
    learning_rate: LearningRate = 0.15,
    *,
    gamma: Scalar = 0.9,
    init_factor: Scalar = 0.75,
    timescale: Scalar = 1000.0,
    b1: Scalar = 0.9,
    eps: Scalar = 1e-12,
) -> L4:
    """A learning rate from a linear model of the loss: go a fraction of the way to its least value (L4).

    With f_t the loss, d_t the direction that the rate multiplies and m̂_t the mean of the gradients, bias-corrected as
    in Adam with `b1`::

      L = init_factor · f_0 at first, then min(L, f_t)
      η_t = learning_rate(t) · (f_t − gamma · L) / (⟨m̂_t, d_t⟩ + eps),   0 where ⟨m̂_t, d_t⟩ ≤ 0
      L ← (1 + 1/timescale) · L                                           after each update

    The loss must not be negative. The authors' L4Mom is `chain(ema(0.9), scale_by_learning_rate(l4()))`, their L4Adam
    is `adam(l4(), eps=1e-4)`.

    Args:
      learning_rate: α, the fraction, 0.1 to 0.3: a number, a schedule or another controller.
      gamma: the target relative to the least loss, in [0, 1).
      init_factor: the first guess of the least loss relative to the first loss, > 0.
      timescale: updates after which a least loss is forgotten, > 0.
      b1: decay of the mean of the gradients, in [0, 1).
      eps: ≥ 0.

    Returns:
      A controller, for the `learning_rate` of any optimizer. Its update needs `value=`, the loss. It keeps one word per
      parameter.

    Raises:
      ValueError: if a number is out of its range; in update, if `value=` is missing.
      TypeError: if `learning_rate` is no rate.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.sgd(lrx.l4(0.5, gamma=0.5, init_factor=1.0))
      >>> params = jnp.zeros(2)
      >>> updates, state = tx.update(jnp.array([2.0, 0.0]), tx.init(params), params, value=4.0)
      >>> print(f"{lrx.learning_rate(state):.4f}")  # 0.5 · (4 − 0.5 · 4) / 2²
      0.2500

    References:
      Rolínek, Martius, L4: Practical loss-based stepsize adaptation for deep learning (NeurIPS 2018), arXiv 1802.05074,
      and the authors' code, whose constants these are.
    """
    check.below_one(gamma=gamma, b1=b1)
    check.positive(init_factor=init_factor, timescale=timescale)
    check.non_negative(eps=eps)
    return L4(as_one_rate("learning_rate", learning_rate), gamma, init_factor, timescale, b1, eps)
