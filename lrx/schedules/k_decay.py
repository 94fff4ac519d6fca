"""k-decay: half a cosine, or a power, of a power of the time."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import Count, Scalar
from .._pytree import pytree_dataclass
from ._phase import fraction, scalar, split, weight_power
from ._questions import Marks
from ._schedule import Schedule, schedule_factory
from ._steps import Steps


@pytree_dataclass
class KDecaySchedule(Schedule):
    """See `k_decay_schedule`."""

    init_value: Scalar
    total_steps: Count
    k: Scalar = 1.0
    end_value: Scalar = 0.0
    power: Scalar | None = None

    factory = "k_decay_schedule"

    def __call__(self, count: Any) -> jax.Array:
        """Half a cosine of x^k, or a power of 1 − x^k."""
        elapsed, remaining = split(count, 0, self.total_steps)
        early = elapsed < remaining
        x, r = fraction(elapsed, elapsed + remaining), fraction(remaining, elapsed + remaining)
        y = weight_power(jnp.where(early, x, 0.5), self.k)
        left = -jnp.expm1(scalar(self.k) * jnp.log1p(-jnp.where(early, 0.5, r)))  # 1 − x^k, exact where x is near 1
        y, left = jnp.where(early, y, 1 - left), jnp.where(early, 1 - y, left)
        if self.power is None:
            sine = jnp.sin(jnp.float32(jnp.pi / 2) * jnp.minimum(y, left))
            small = sine * sine
            w, v = jnp.where(y < left, 1 - small, small), jnp.where(y < left, small, 1 - small)
        else:
            w = weight_power(left, self.power)
            v = 1 - w
        value = scalar(self.init_value) * w + scalar(self.end_value) * v
        return jnp.where(remaining == 0, scalar(self.end_value), value)

    def marks(self) -> Marks:
        """The end."""
        return {"end": self.total_steps}


@schedule_factory
def k_decay_schedule(
    init_value: Scalar,
    total_steps: Steps,
    *,
    k: Scalar = 1.0,
    end_value: Scalar = 0.0,
    power: Scalar | None = None,
) -> KDecaySchedule:
    """Fall along half a cosine, or a polynomial, of a power of the time, which holds the first value longer.

    With x = min(t / total_steps, 1)::

      η(t) = end_value + (init_value − end_value) · ½(1 + cos(π · x^k))     without power
             end_value + (init_value − end_value) · (1 − x^k)^power         with power

    Args:
      init_value: the value at t = 0.
      total_steps: in updates, > 0.
      k: the exponent, > 0; 1 is cosine decay.
      end_value: the value from `total_steps` on.
      power: the exponent of polynomial decay, > 0; None is half a cosine.

    Returns:
      A schedule, exact at both ends, within 8 ulp between values of one sign for k from ½ to 3.

    Raises:
      ValueError: if `total_steps`, k or `power` is not positive, or a value is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.k_decay_schedule(1.0, 4, k=2.0)
      >>> print(*(schedule(t) for t in (0, 2, 4, 5)))
      1.0 0.85355335 0.0 0.0

    References:
      Zhang, Li, k-decay: a new method for learning rate schedule (2020), arXiv 2004.05909.
    """
    check.finite(init_value=init_value, k=k, end_value=end_value)
    check.positive_count(total_steps=total_steps)
    check.positive(k=k)
    if power is not None:
        check.finite(power=power)
        check.positive(power=power)
    return KDecaySchedule(init_value, total_steps, k, end_value, power)
