"""Chebyshev step sizes in their fractal order."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from .. import _check as check
from .._numbers import Count, Scalar, is_tracer
from .._pytree import pytree_dataclass
from ._phase import as_count, cosine_weights, scalar
from ._questions import Marks
from ._schedule import Schedule, schedule_factory
from ._steps import Steps


@jax.jit
def fractal_order(t: jax.Array, total: jax.Array) -> jax.Array:
    """Which of 0, …, total − 1 stands at place t < total when they are sorted by their Gray codes, lowest bit first.

    A walk down the tree of those bits. Where the j + 1 lowest bits of the Gray code s ⊕ ⌊s/2⌋ are known, so is
    s mod 2^(j+1) up to its complement. Below the next bit's 0 are the s that agree with it in one more bit: count them
    (in uint32; any total up to 2³¹ − 1), and go there if t is less, else subtract them from t and go to the 1.
    """
    total = total.astype(jnp.uint32)

    def descend(j: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        place, low = carry
        bit, shift = jnp.left_shift(jnp.uint32(2), j), j + 2
        modulus = jnp.left_shift(jnp.uint32(1), shift)
        zero = low | ((low << 1) & bit)  # the next bit of s equals the last: their sum, a bit of the code, is 0
        complement = modulus - 1 - zero
        size = ((total + complement) >> shift) + ((total + zero) >> shift)  # how many s < total have either residue
        left = place < size
        return jnp.where(left, place, place - size), jnp.where(left, zero, zero ^ bit)

    t = t.astype(jnp.uint32)
    place, low = lax.fori_loop(0, 30, lambda j, carry: descend(jnp.uint32(j), carry), (t, jnp.zeros_like(t)))
    small = jnp.minimum(low, 2**31 - 1 - low)
    first = (place == 0) & (small < total)
    return jnp.where(first, small, 2**31 - 1 - small)


@pytree_dataclass
class ChebyshevSchedule(Schedule):
    """See `chebyshev_schedule`."""

    min_value: Scalar
    max_value: Scalar
    total_steps: Count

    def __call__(self, count: Any) -> jax.Array:
        """One over a Chebyshev node of [1/max_value, 1/min_value]."""
        n = jnp.maximum(as_count(self.total_steps), 1)
        t = jnp.minimum(jnp.floor(as_count(count)).astype(jnp.int32), n - 1)
        s = fractal_order(t, n)
        odd = 2 * s + 1
        u, v = cosine_weights(odd, 2 * n.astype(jnp.uint32) - odd)  # of cos² and sin² of θ/2
        a, b = scalar(self.min_value), scalar(self.max_value)
        mean = a * u + b * v
        return b * (a / jnp.where(mean > 0, mean, 1.0))

    def marks(self) -> Marks:
        """The last step."""
        return {"end": self.total_steps - 1}


@schedule_factory
def chebyshev_schedule(min_value: Scalar, max_value: Scalar, *, total_steps: Steps) -> ChebyshevSchedule:
    """Take Chebyshev step sizes in their fractal order, large and small steps alternating.

    With m = 1 / max_value, M = 1 / min_value, T = `total_steps` and σ the fractal order of the numbers 0 … T − 1::

      η(t) = 1 / ((M + m)/2 − (M − m)/2 · cos θ),   θ = (σ(t) + ½) · π / T,   for t < T,  η(T − 1) from T on

    For a quadratic whose curvatures lie between m and M, these T steps of plain gradient descent reduce the error as
    much as the best polynomial of degree T: as fast as with momentum. Some steps are longer than 2/M and make the loss
    rise; the order keeps the intermediate iterates from exploding.

    σ for a power of two is the paper's: σ₁ = (0), and σ₂ₙ interlaces σₙ with 2n − 1 − σₙ, so that
    σ₈ = (0, 7, 3, 4, 1, 6, 2, 5). This is the order of the Gray codes s ⊕ ⌊s/2⌋ of the numbers s, compared from the
    lowest bit up, which any other T takes over: the order of the next power of two, without the numbers ≥ T.

    Args:
      min_value: the shortest step, > 0 (up to the ends of the nodes, which are never reached).
      max_value: the longest step, ≥ min_value.
      total_steps: T > 0, in updates.

    Returns:
      A schedule, within 8 ulp. A count between two updates has the value of the first.

    Raises:
      ValueError: if T or `min_value` is not positive, `max_value` is less than `min_value`, or a value is not finite.

    Examples:
      >>> import lrx
      >>> schedule = lrx.chebyshev_schedule(0.25, 1.0, total_steps=2)
      >>> print(*(f"{schedule(t):.3f}" for t in range(3)))
      0.695 0.281 0.281

    References:
      Agarwal, Goel, Zhang, Acceleration via fractal learning rate schedules (ICML 2021), arXiv 2103.01338; Lebedev,
      Finogenov (1971).
    """
    check.finite(min_value=min_value, max_value=max_value)
    check.positive(min_value=min_value)
    check.positive_count(total_steps=total_steps)
    if not is_tracer(min_value) and not is_tracer(max_value) and max_value < min_value:
        raise check.fail("max_value", f"must be at least min_value={min_value}", max_value)
    return ChebyshevSchedule(min_value, max_value, total_steps)
