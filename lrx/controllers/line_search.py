"""A backtracking line search on the batch at hand: Armijo's condition."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import inner_product, is_none, map_leaves, real, real_dtype, trainable
from .._numbers import Count, Scalar, is_number
from .._pytree import pytree_dataclass
from ._controller import Controller, LearningRate, as_one_rate, rate_of_update, start_of
from ._loss import loss_of, refuse_masked


class LineSearchMemory(NamedTuple):
    """What a line search remembers."""

    last: jax.Array
    """The rate last tried that was not 0, infinite before the first; float32 or wider []."""
    evaluations: jax.Array
    """How often the loss was evaluated in the last search; int32 []."""
    base: Any


@pytree_dataclass
class LineSearch(Controller):
    """See `line_search`."""

    max_learning_rate: Any
    c: Scalar = 0.1
    decrease: Scalar = 0.9
    increase: Scalar = 2.0
    max_steps: Count = 100

    needs = ("value", "value_fn", "params", "grad", "direction")

    def start(self, params: Any) -> LineSearchMemory:
        """Begin at the greatest rate."""
        last = jnp.full((), jnp.inf, real_dtype(params))
        return LineSearchMemory(last, jnp.zeros((), jnp.int32), start_of(self.max_learning_rate, params))

    def rate(
        self, memory: LineSearchMemory, direction: Any, signals: dict[str, Any]
    ) -> tuple[jax.Array, LineSearchMemory]:
        """The first of η, decrease·η, decrease²·η, … that meets the condition; 0 if none does."""
        params, value, dtype = signals["params"], signals["value"], memory.last.dtype
        refuse_masked("line_search", params)
        most, base = rate_of_update(self.max_learning_rate, memory.base, direction, signals)
        loss = loss_of(signals)
        slope = jnp.asarray(self.c, dtype) * inner_product(signals["grad"], direction).astype(dtype)
        value = value.astype(dtype)

        def too_far(rate: jax.Array) -> jax.Array:
            new = jnp.asarray(loss(_moved(params, direction, rate))).astype(dtype)
            return ~(new <= value - rate * slope)  # also where the loss is NaN there

        def go_on(carry: Any) -> jax.Array:
            step, _, failed = carry
            return failed & (step < self.max_steps)

        def shorter(carry: Any) -> Any:
            step, rate, _ = carry
            rate = rate * jnp.asarray(self.decrease, dtype)
            return step + 1, rate, too_far(rate)

        first = jnp.minimum(memory.last * jnp.asarray(self.increase, dtype), most.astype(dtype))
        failed = too_far(first)
        step = 0 * failed.astype(
            jnp.int32
        )  # as varied as the condition: a plain 0 fails under vmap on an explicit mesh
        step, last, failed = jax.lax.while_loop(go_on, shorter, (step, first, failed))
        rate = jnp.where(jnp.isfinite(value + slope), jnp.where(failed, jnp.zeros_like(last), last), jnp.nan)
        return rate, LineSearchMemory(jnp.where(last > 0, last, memory.last), step + 1, base)


def _moved(params: Any, direction: Any, rate: jax.Array) -> Any:
    def leaf(d: jax.Array, p: Any) -> tuple[jax.Array]:
        return (jnp.asarray(p).astype(d.dtype) - rate.astype(real(d.dtype)) * d,)

    new = map_leaves(leaf, 1, direction, params)[0]
    return jax.tree.map(lambda n, p: n.astype(jnp.result_type(p)) if trainable(n) else p, new, params, is_leaf=is_none)


@check.public
def line_search(
    max_learning_rate: LearningRate = 10.0,
    *,
    c: Scalar = 0.1,
    decrease: Scalar = 0.9,
    increase: Scalar = 2.0,
    max_steps: Count = 100,
) -> LineSearch:
    """A learning rate by stochastic line search: the greatest on a grid that lowers the loss of this batch enough.

    With f the loss of the batch, g its gradient and d the direction that the optimizer makes of it::

      start at min(increase · the rate last tried, max_learning_rate(t)), the first time at max_learning_rate
      multiply by decrease until f(θ − η·d) ≤ f(θ) − c · η · ⟨g, d⟩

    If no rate of `max_steps` + 1 does, the step is not taken: η_t = 0. For models that can fit all their data it needs
    no tuning. It costs one evaluation of the loss more than SGD, and one for each reduction: `evaluations` in the
    state.

    Args:
      max_learning_rate: a finite number, a schedule or another controller.
      c: the share of the predicted decrease that is asked for, in (0, 1). The paper's is 0.1.
      decrease: in (0, 1).
      increase: by how much a search may start above the rate last found, ≥ 1: γ^(b/n) in the paper, with γ = 2 and
        batches of b from n samples.
      max_steps: reductions at most, > 0.

    Returns:
      A controller, for the `learning_rate` of any optimizer. Its update needs the parameters, `value=`, the loss there,
      and `value_fn=`, the loss as a function of the parameters; arguments of `value_fn` besides them are given by name:
      `tx.update(grads, state, params, value=loss, value_fn=loss_fn, batch=batch)`.

    Raises:
      ValueError: if a number is out of its range; in update, if what it needs is missing, or parameters are masked.
      TypeError: if `max_learning_rate` is no rate.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> loss = lambda p: 2 * jnp.sum(p**2)
      >>> tx = lrx.sgd(lrx.line_search(1.0, decrease=0.5))
      >>> params = jnp.ones(2)
      >>> value, grad = jax.value_and_grad(loss)(params)
      >>> updates, state = tx.update(grad, tx.init(params), params, value=value, value_fn=loss)
      >>> print(lrx.learning_rate(state))  # 1 and 0.5 do not lower the loss
      0.25

    References:
      Vaswani et al., Painless stochastic gradient: interpolation, line-search, and convergence rates (NeurIPS 2019),
      arXiv 1905.09997, algorithms 1 and 2 with option 1.
    """
    if not callable(max_learning_rate) and is_number(max_learning_rate):
        check.finite(max_learning_rate=max_learning_rate)
    check.positive(c=c, decrease=decrease)
    check.below_one(c=c, decrease=decrease)
    check.at_least_one(increase=increase)
    check.positive_count(max_steps=max_steps)
    return LineSearch(as_one_rate("max_learning_rate", max_learning_rate), c, decrease, increase, max_steps)
