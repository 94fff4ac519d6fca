"""Hypergradient descent: the rate follows the derivative of the loss with respect to itself."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import global_norm, inner_product, real_dtype, stored, zeros_like
from .._numbers import Scalar
from .._pytree import pytree_dataclass, static
from ._controller import Controller, LearningRate, as_one_rate, each_leaf, first_of, rate_of_update, start_of

Mode = Literal["additive", "multiplicative"]


class HypergradientMemory(NamedTuple):
    """What a hypergradient needs."""

    adapted: Any
    """A or M, [] or one for each leaf, float32 or wider."""
    direction: Any
    """d_{t−1}, shaped like the parameters, in their dtype."""
    base: Any


@pytree_dataclass
class Hypergradient(Controller):
    """See `hypergradient`."""

    learning_rate: Any
    hyper_learning_rate: Scalar
    mode: str = static(default="additive")
    per_leaf: bool = static(default=False)

    needs = ("grad", "direction")
    elementwise = True

    def start(self, params: Any) -> HypergradientMemory:
        """No direction yet."""
        one = jnp.full((), 0.0 if self.mode == "additive" else 1.0, real_dtype(params))
        adapted = each_leaf(one, params) if self.per_leaf else one
        return HypergradientMemory(adapted, zeros_like(params), start_of(self.learning_rate, params))

    def first(self, params: Any) -> Any:
        """That of the base, for each leaf."""
        rate = first_of(self.learning_rate, params)
        return each_leaf(rate, params) if self.per_leaf else rate

    def rate(
        self, memory: HypergradientMemory, direction: Any, signals: dict[str, Any]
    ) -> tuple[Any, HypergradientMemory]:
        """`learning_rate(t) + A_t` or `learning_rate(t) · M_t`."""
        base, base_memory = rate_of_update(self.learning_rate, memory.base, direction, signals)
        grad = signals["grad"]
        if self.per_leaf:
            adapted = jax.tree.map(self._adapted, memory.adapted, grad, memory.direction)
        else:
            adapted = self._adapted(memory.adapted, grad, memory.direction)

        def combined(a: jax.Array) -> jax.Array:
            return base.astype(a.dtype) + a if self.mode == "additive" else base.astype(a.dtype) * a

        kept = stored(direction, memory.direction)
        return jax.tree.map(combined, adapted), HypergradientMemory(adapted, kept, base_memory)

    def _adapted(self, a: jax.Array, grad: Any, last: Any) -> jax.Array:
        """A or M after one more gradient: −∂f/∂η of the last step is ⟨g_t, d_{t−1}⟩."""
        beta = jnp.asarray(self.hyper_learning_rate, a.dtype)
        h = inner_product(grad, last).astype(a.dtype)
        if self.mode == "additive":
            return a + beta * h
        size = (global_norm(grad) * global_norm(last)).astype(a.dtype)
        return a * (1 + beta * jnp.where(size > 0, h / jnp.where(size > 0, size, 1), 0 * h))


@check.public
def hypergradient(
    learning_rate: LearningRate, *, hyper_learning_rate: Scalar, mode: Mode = "additive", per_leaf: bool = False
) -> Hypergradient:
    """A learning rate that descends on the loss as the parameters do: hypergradient descent.

    With g_t the gradient, d_t the direction that the rate η_t multiplies, and β = `hyper_learning_rate`::

      A_t = A_{t−1} + β · ⟨g_t, d_{t−1}⟩                              A_{−1} = 0
      η_t = learning_rate(t) + A_t                                    mode "additive"

      M_t = M_{t−1} · (1 + β · ⟨g_t, d_{t−1}⟩ / (‖g_t‖ · ‖d_{t−1}‖))    M_{−1} = 1
      η_t = learning_rate(t) · M_t                                    mode "multiplicative"

    with d_{−1} = 0. Two steps in the same direction raise the rate, an overshoot lowers it; an additive rate may become
    negative. For a constant `learning_rate` these are the paper's rules; a schedule goes on beneath the adaptation.

    Args:
      learning_rate: a number, a schedule or another controller with one rate for all leaves.
      hyper_learning_rate: β ≥ 0: 1e-7 to 1e-3, in units of a squared rate, for "additive"; about 0.02 for
        "multiplicative", which does without units.
      mode: "additive" or "multiplicative".
      per_leaf: whether each leaf of the parameters has a rate of its own: `lrx.learning_rates(state)` lists them.

    Returns:
      A controller, for the `learning_rate` of any optimizer. It keeps one word per parameter.

    Raises:
      ValueError: if β is negative or the mode unknown.
      TypeError: if `learning_rate` is no rate.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.sgd(lrx.hypergradient(0.5, hyper_learning_rate=0.25, mode="multiplicative"))
      >>> params = jnp.zeros(2)
      >>> state = tx.init(params)
      >>> for grad in (jnp.ones(2), jnp.ones(2)):
      ...   _, state = tx.update(grad, state, params)
      ...   print(lrx.learning_rate(state))
      0.5
      0.625

    References:
      Baydin, Cornish, Martínez Rubio, Schmidt, Wood, Online learning rate adaptation with hypergradient descent
      (ICLR 2018), arXiv 1703.04782.
    """
    check.non_negative(hyper_learning_rate=hyper_learning_rate)
    check.one_of(Mode, mode=mode)
    check.flag(per_leaf=per_leaf)
    return Hypergradient(as_one_rate("learning_rate", learning_rate), hyper_learning_rate, mode, per_leaf)
