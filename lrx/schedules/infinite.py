"""A schedule without a fixed length: warmup, cooldown to a constant, and a final annealing at any time."""

from typing import Any, Literal

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import Count, Scalar
from .._pytree import pytree_dataclass, static
from ._phase import as_count, fraction, half_cosine, is_before, line, scalar, split
from ._questions import Marks
from ._schedule import Schedule, schedule_factory
from ._shapes import after
from ._steps import Steps
from .warmup_cooldown import PhaseShape, WithCooldown, with_cooldown

Shape = Literal["inverse-sqrt", "cosine", "linear"]
_ALPHA = 10.0


def _inverse_sqrt(a: Any, b: Any, elapsed: jax.Array, remaining: jax.Array) -> jax.Array:
    """b + (a − b)·(g(x) − g(1))/(g(0) − g(1)), g(x) = 1/√(1 + αx), with the differences of roots resolved."""
    steps, end = elapsed + remaining, (1 + _ALPHA) ** 0.5
    x, r = fraction(elapsed, steps), jnp.where(remaining == 0, 0.0, fraction(remaining, steps))
    root = jnp.sqrt(1 + _ALPHA * x)
    w = r * ((end + 1) / (root * (end + root)))
    v = x * (end * (end + 1) / (root * (root + 1)))
    return scalar(a) * w + scalar(b) * jnp.where(remaining == 0, 1.0, v)


@pytree_dataclass
class InfiniteSchedule(Schedule):
    """See `infinite_schedule`."""

    peak_value: Scalar
    warmup_steps: Count
    cooldown_steps: Count
    constant_value: Scalar
    shape: str = static(default="inverse-sqrt")

    def __call__(self, count: Any) -> jax.Array:
        """Warmup, cooldown, constant."""
        t, w = as_count(count), as_count(self.warmup_steps)
        curve = {"inverse-sqrt": _inverse_sqrt, "cosine": half_cosine, "linear": line}[self.shape]
        down = curve(self.peak_value, self.constant_value, *split(t, w, self.cooldown_steps))
        return jnp.where(is_before(t, w), line(0.0, self.peak_value, *split(t, 0, w)), down)

    def anneal(
        self, start: Count, steps: Count, *, end_value: Scalar = 0.0, shape: PhaseShape = "linear"
    ) -> WithCooldown:
        """This schedule up to `start`, then down to `end_value` within `steps`: the end of a run, at any time.

        Args:
          start: the count at which the annealing begins, ≥ 0: also one before the constant phase.
          steps: its length, ≥ 0, in updates.
          end_value: the value from `start + steps` on.
          shape: as in `with_cooldown`; the paper uses "exponential", which needs an `end_value` > 0.

        Returns:
          The schedule `with_cooldown(self, ...)`.

        Raises:
          ValueError: if a length is negative, the shape is unknown, or a value is not finite.

        Examples:
          >>> import lrx
          >>> schedule = lrx.infinite_schedule(2.0, 2, cooldown_steps=4, constant_value=1.0)
          >>> final = schedule.anneal(100, 4)
          >>> print(*(final(t) for t in (50, 100, 101, 104)))
          1.0 1.0 0.75 0.0
        """
        return with_cooldown(self, start=start, steps=steps, end_value=end_value, shape=shape)

    def marks(self) -> Marks:
        """The ends of the warmup and of the cooldown."""
        return {"warmup_end": self.warmup_steps, "end": after(self.warmup_steps, self.cooldown_steps)}


@schedule_factory
def infinite_schedule(
    peak_value: Scalar,
    warmup_steps: Steps,
    *,
    cooldown_steps: Steps,
    constant_value: Scalar,
    shape: Shape = "inverse-sqrt",
) -> InfiniteSchedule:
    """Rise to `peak_value`, cool down to `constant_value`, and stay there.

    With w = `warmup_steps`, c = `cooldown_steps`, x = min((t − w) / c, 1), α = 10 and g(x) = 1 / √(1 + αx)::

      η(t) = peak_value · t / w                                              for t < w
      η(t) = constant_value + (peak_value − constant_value) · D(x)           for t ≥ w
      D(x) = (g(x) − g(1)) / (1 − g(1)) (inverse-sqrt),  ½(1 + cos πx) (cosine),  1 − x (linear)

    Training can continue, also on new data, without a fixed length and without another warmup.
    `schedule.anneal(start, steps)` is the same schedule with an end.

    Args:
      peak_value: the value at t = w.
      warmup_steps: w ≥ 0, in updates; with 0 the schedule starts at the peak.
      cooldown_steps: c ≥ 0, in updates; with 0 the value jumps to the constant.
      constant_value: the value from t = w + c on.
      shape: "inverse-sqrt", "cosine" or "linear".

    Returns:
      A schedule, exact at its corners, within 8 ulp between values of one sign.

    Raises:
      ValueError: if a length is negative, the shape is unknown, or a value is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.infinite_schedule(2.0, 2, cooldown_steps=4, constant_value=1.0, shape="cosine")
      >>> print(*(schedule(t) for t in (0, 1, 2, 4, 6, 1000)))
      0.0 1.0 2.0 1.5 1.0 1.0

    References:
      Ibrahim et al., Simple and scalable strategies to continually pre-train large language models (2024), arXiv
      2403.08763, section 7.
    """
    check.finite(peak_value=peak_value, constant_value=constant_value)
    check.non_negative_count(warmup_steps=warmup_steps, cooldown_steps=cooldown_steps)
    check.one_of(Shape, shape=shape)
    return InfiniteSchedule(peak_value, warmup_steps, cooldown_steps, constant_value, shape)
