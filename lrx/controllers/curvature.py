"""Cap the rate at bound/λ, with λ an estimate of the curvature."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .. import _check as check
from .._arithmetic import inner_product, is_none, leaves_like, real_dtype, stored, trainable, vary_like, zeros_like
from .._numbers import Scalar
from .._pytree import pytree_dataclass, static
from ._controller import Controller, LearningRate, as_one_rate, rate_of_update, start_of
from ._loss import loss_of, refuse_masked

PROBE = 0.01
"""The share of the rate that the first update has, from which the first curvature is measured."""


class CurvatureMemory(NamedTuple):
    """What `curvature_cap` remembers."""

    curvature: jax.Array
    """λ, the running estimate; float32 or wider []."""
    direction: Any
    """d_{t−1}, shaped like the parameters, in their dtype; None if the curvature is measured with `value_fn`."""
    slope: jax.Array
    """⟨g_{t−1}, d_{t−1}⟩; float32 or wider []."""
    rate: jax.Array
    """η_{t−1}; likewise."""
    base: Any


@pytree_dataclass
class CurvatureCap(Controller):
    """See `curvature_cap`."""

    learning_rate: Any
    bound: Scalar = 2.0
    decay: Scalar = 0.99
    exact: bool = static(default=False)

    elementwise = True

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]  # depends on how it is measured
        """The loss as a function, if the curvature is to be exact."""
        return ("grad", "direction", "params", "value_fn") if self.exact else ("grad", "direction")

    def start(self, params: Any) -> CurvatureMemory:
        """Nothing known: no cap."""
        curvature, slope, rate = (jnp.zeros((), real_dtype(params)) for _ in range(3))
        direction = None if self.exact else zeros_like(params)
        return CurvatureMemory(curvature, direction, slope, rate, start_of(self.learning_rate, params))

    def rate(self, memory: CurvatureMemory, direction: Any, signals: dict[str, Any]) -> tuple[Any, CurvatureMemory]:
        """`min(learning_rate(t), bound / λ_t)`."""
        base, base_memory = rate_of_update(self.learning_rate, memory.base, direction, signals)
        dtype = memory.curvature.dtype
        slope = inner_product(signals["grad"], direction).astype(dtype)
        if self.exact:
            seen = _quotient(inner_product(direction, _hessian_times(direction, signals)).astype(dtype), slope)
        else:
            last = memory.slope - inner_product(signals["grad"], memory.direction).astype(dtype)
            seen = _quotient(last, memory.slope * memory.rate)
        curvature = jnp.maximum(seen, jnp.asarray(self.decay, dtype) * memory.curvature)
        most = _quotient(jnp.asarray(self.bound, dtype), curvature)
        base = base.astype(dtype)
        # before anything is known, a probe; NaN where a gradient is
        first = base if self.exact else jnp.where(memory.rate > 0, base, PROBE * base)
        rate = jnp.where(curvature > 0, jnp.minimum(base, most), first + 0 * (curvature + slope))
        kept = None if memory.direction is None else stored(direction, memory.direction)
        return rate, CurvatureMemory(curvature, kept, slope, rate.astype(dtype), base_memory)


def _quotient(a: jax.Array, b: jax.Array) -> jax.Array:
    """`a / b` where b is positive, else 0."""
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1), jnp.zeros_like(b))


def _hessian_times(direction: Any, signals: dict[str, Any]) -> Any:
    params = vary_like(signals["params"], direction)
    refuse_masked("curvature_cap", params)
    loss = loss_of(signals)

    directions, treedef = jax.tree.flatten(direction, is_leaf=is_none)
    values = leaves_like(treedef, params)
    trained = [i for i, d in enumerate(directions) if d is not None]

    def of_trained(xs: list[Any]) -> Any:
        moved = dict(zip(trained, xs, strict=True))
        return loss(treedef.unflatten([moved.get(i, p) for i, p in enumerate(values)]))

    def tangent(p: Any, d: Any) -> Any:
        if not trainable(p):
            return np.zeros(jnp.shape(p), jax.dtypes.float0)
        return jnp.asarray(d).astype(jnp.result_type(p))

    at, along = [values[i] for i in trained], [tangent(values[i], directions[i]) for i in trained]
    product = dict(zip(trained, jax.jvp(jax.grad(of_trained, allow_int=True), (at,), (along,))[1], strict=True))
    return treedef.unflatten([product.get(i) for i in range(len(values))])


@check.public
def curvature_cap(
    learning_rate: LearningRate, *, bound: Scalar = 2.0, decay: Scalar = 0.99, exact: bool = False
) -> CurvatureCap:
    """A learning rate that is never above 2/λ, with λ a running estimate of the curvature.

    With g_t the gradient, d_t the direction that the rate multiplies and H the Hessian of the loss::

      κ_t = ⟨d, H·d⟩ / ⟨g, d⟩                              along the last step, or with `exact` along this one
      λ_t = max(κ_t, decay · λ_{t−1})
      η_t = min(learning_rate(t), bound / λ_t)

    Along its own direction a step with a rate above 2/κ raises a quadratic loss. Without `exact` H·d comes from the
    gradients themselves, at no cost but one word per parameter: (1 − ⟨g_t, d_{t−1}⟩/⟨g_{t−1}, d_{t−1}⟩)/η_{t−1}.
    Batches that differ make that larger: at worst 1/η_{t−1}, which does not bind. For gradient descent κ ≤ λ_max, and
    comes to it as steps above 2/λ_max turn towards its eigenvector. The first update, before which nothing is known,
    has a hundredth of the rate.

    Args:
      learning_rate: a number, a schedule or another controller with one rate for all leaves.
      bound: 2 is the edge of stability of gradient descent, 1 the step to the minimum along the direction; > 0.
      decay: what an estimate is worth an update later, in [0, 1). 0.99 forgets a curvature in about 100 updates.
      exact: whether to measure the curvature of this batch along this step by a Hessian-vector product, at the cost of
        about two gradients. The update then needs `value_fn=`, and the direction all the parameters.

    Returns:
      A controller, for the `learning_rate` of any optimizer.

    Raises:
      ValueError: if a number is out of its range; in update, if what it needs is missing.
      TypeError: if `learning_rate` is no rate.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> loss = lambda p: 4 * jnp.sum(p**2)  # curvature 8
      >>> tx = lrx.sgd(lrx.curvature_cap(10.0, exact=True))
      >>> params = jnp.ones(2)
      >>> updates, state = tx.update(jax.grad(loss)(params), tx.init(params), params, value_fn=loss)
      >>> print(lrx.learning_rate(state))
      0.25
    """
    check.positive(bound=bound)
    check.below_one(decay=decay)
    check.flag(exact=exact)
    return CurvatureCap(as_one_rate("learning_rate", learning_rate, is_cap=True), bound, decay, exact)
