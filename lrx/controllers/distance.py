"""Rates from the distance travelled: DoG, L-DoG and DoWG, and a bound on the length of a step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import global_norm, map_leaves, map_present, real, real_dtype, sqrt, widened
from .._numbers import Scalar
from .._pytree import pytree_dataclass, static
from .._travel import beginnings, gone_on, way
from ._controller import Controller, LearningRate, as_one_rate, each_leaf, first_of, rate_of_update, start_of


class DistanceMemory(NamedTuple):
    """What `dog` and `dowg` remember."""

    params0: Any
    """θ_0, a copy; None for leaves narrower than float32."""
    moved: Any
    """θ − θ_0 of these, the sum of their updates before rounding, float32; None for the others."""
    reach: Any
    """r̄, the greatest distance from it so far; [] or one for each leaf, float32 or wider."""
    total: Any
    """The sum of the directions' squared norms, weighted for DoWG; likewise."""
    base: Any


@pytree_dataclass
class Dog(Controller):
    """See `dog`."""

    learning_rate: Any
    reps_rel: Scalar = 1e-6
    init_distance: Scalar | None = None
    eps: Scalar = 1e-8
    per_leaf: bool = static(default=False)
    init_rate: Scalar | None = None

    needs = ("params", "direction")
    elementwise = True

    def start(self, params: Any) -> DistanceMemory:
        """At the start."""

        def reach(p: Any) -> jax.Array:
            if self.init_rate is not None:
                return jnp.zeros((), real_dtype(p))
            if self.init_distance is not None:
                return jnp.array(self.init_distance, real_dtype(p))
            return jnp.asarray(self.reps_rel, real_dtype(p)) * (1 + global_norm(p))

        first = jax.tree.map(reach, params) if self.per_leaf else reach(params)
        total = jax.tree.map(jnp.zeros_like, first)
        return DistanceMemory(*beginnings(params), first, total, start_of(self.learning_rate, params))

    def first(self, params: Any) -> Any:
        """That of the base, for each leaf."""
        rate = first_of(self.learning_rate, params)
        return each_leaf(rate, params) if self.per_leaf else rate

    def rate(self, memory: DistanceMemory, direction: Any, signals: dict[str, Any]) -> tuple[Any, DistanceMemory]:
        """`learning_rate(t) · r̄ / √(Σ‖d‖² + eps)`."""
        base, base_memory = rate_of_update(self.learning_rate, memory.base, direction, signals)
        each = map_present if self.per_leaf else _of_all

        def further(reach: jax.Array, away: Any) -> jax.Array:
            return jnp.maximum(reach, global_norm(away).astype(reach.dtype))

        def more(total: jax.Array, d: Any) -> jax.Array:
            return total + (global_norm(d) ** 2).astype(total.dtype)

        def quotient(reach: jax.Array, total: jax.Array, before: jax.Array) -> jax.Array:
            root = sqrt(total + jnp.asarray(self.eps, total.dtype))
            rate = jnp.where(root > 0, reach / jnp.where(root > 0, root, 1), 0 * root)
            if self.init_rate is not None:
                rate = jnp.where(before > 0, rate, jnp.asarray(self.init_rate, rate.dtype))
            return base.astype(reach.dtype) * rate

        reach = each(further, memory.reach, way(signals["params"], memory.params0, memory.moved))
        total = each(more, memory.total, direction)
        rate = each(quotient, reach, total, memory.total)
        rates = rate if self.per_leaf else jax.tree.map(lambda d: rate, direction)
        moved = _after_step(memory.moved, rates, direction)
        return rate, DistanceMemory(memory.params0, moved, reach, total, base_memory)


@pytree_dataclass
class Dowg(Controller):
    """See `dowg`."""

    learning_rate: Any
    init_distance: Scalar = 1e-2
    eps: Scalar = 1e-4

    needs = ("params", "direction")
    elementwise = True

    def start(self, params: Any) -> DistanceMemory:
        """At the start."""
        reach = jnp.array(self.init_distance, real_dtype(params))
        base = start_of(self.learning_rate, params)
        return DistanceMemory(*beginnings(params), reach, jnp.zeros_like(reach), base)

    def rate(self, memory: DistanceMemory, direction: Any, signals: dict[str, Any]) -> tuple[Any, DistanceMemory]:
        """`learning_rate(t) · r̄² / (√Σ r̄²‖d‖² + eps)`."""
        base, base_memory = rate_of_update(self.learning_rate, memory.base, direction, signals)
        dtype = memory.reach.dtype
        away = global_norm(way(signals["params"], memory.params0, memory.moved))
        reach = jnp.maximum(memory.reach, away.astype(dtype))
        total = memory.total + (reach * global_norm(direction).astype(dtype)) ** 2
        rate = base.astype(dtype) * reach**2 / (sqrt(total) + jnp.asarray(self.eps, dtype))
        moved = _after_step(memory.moved, jax.tree.map(lambda d: rate, direction), direction)
        return rate, DistanceMemory(memory.params0, moved, reach, total, base_memory)


@pytree_dataclass
class DistanceCap(Controller):
    """See `distance_cap`."""

    learning_rate: Any
    max_distance: Scalar

    needs = ("direction",)
    elementwise = True

    def start(self, params: Any) -> Any:
        """What the base remembers."""
        return start_of(self.learning_rate, params)

    def rate(self, memory: Any, direction: Any, signals: dict[str, Any]) -> tuple[Any, Any]:
        """`min(learning_rate(t), max_distance / ‖d‖)`."""
        base, memory = rate_of_update(self.learning_rate, memory, direction, signals)
        size = global_norm(direction)
        most = jnp.asarray(self.max_distance, size.dtype) / jnp.where(size > 0, size, 1)
        return jnp.where(
            size > 0, jnp.minimum(base.astype(size.dtype), most), base.astype(size.dtype) + 0 * size
        ), memory


def _of_all(function: Any, *trees: Any) -> Any:
    """As `map_present` for one number of the whole tree."""
    return function(*trees)


def _after_step(moved: Any, rates: Any, direction: Any) -> Any:
    """θ − θ_0 of the narrow leaves after a step. What a controller around this one makes of the rate is not in it."""
    if not jax.tree.leaves(moved):
        return moved
    steps = map_leaves(lambda d, rate: (-rate.astype(real(d.dtype)) * d,), 1, widened(direction), rates)[0]
    return gone_on(moved, steps)


@check.public
def dog(
    learning_rate: LearningRate = 1.0,
    *,
    reps_rel: Scalar = 1e-6,
    init_distance: Scalar | None = None,
    eps: Scalar = 1e-8,
    per_leaf: bool = False,
    init_rate: Scalar | None = None,
) -> Dog:
    """A learning rate without a number to choose: distance over gradients (DoG), and L-DoG for each leaf.

    With θ_t the parameters, d_t the direction that the rate multiplies (the gradient, for SGD)::

      r̄_t = max(r̄_{t−1}, ‖θ_t − θ_0‖),   r̄_{−1} = reps_rel · (1 + ‖θ_0‖)
      η_t = learning_rate(t) · r̄_t / √(Σ_{i ≤ t} ‖d_i‖² + eps)

    With `per_leaf` (L-DoG) each leaf has norms, and so a rate, of its own. The last parameters are not what DoG is
    about: evaluate their average, with `polynomial_averaging` as the last link of the chain and `lrx.eval_params`.

    Args:
      learning_rate: a factor: a number, a schedule or another controller with one rate for all leaves.
      reps_rel: the first distance, relative to 1 + ‖θ_0‖; > 0. 1e-4 is the paper's for models with batch normalization.
      init_distance: the first distance itself, > 0, in place of the relative one.
      eps: ≥ 0.
      per_leaf: whether each leaf has a rate of its own: `lrx.learning_rates(state)` lists them.
      init_rate: the first rate itself, η_0 / learning_rate(0), > 0, in place of a first distance: r̄_0 = 0.

    Returns:
      A controller, for the `learning_rate` of any optimizer, meant for `sgd`. It keeps one word per parameter.

    Raises:
      ValueError: if a number is out of its range, or the start is given twice; in update, if there are no parameters.
      TypeError: if `learning_rate` is no rate.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.chain(lrx.sgd(lrx.dog(init_distance=0.25)), lrx.polynomial_averaging())
      >>> params = jnp.zeros(2)
      >>> state = tx.init(params)
      >>> updates, state = tx.update(jnp.array([3.0, 4.0]), state, params)
      >>> print(lrx.learning_rate(state))  # 0.25 / 5
      0.05

    References:
      Ivgi, Hinder, Carmon, DoG is SGD's best friend (ICML 2023), arXiv 2302.12022; the authors' code has the eps.
    """
    check.positive(reps_rel=reps_rel)
    check.non_negative(eps=eps)
    check.flag(per_leaf=per_leaf)
    if init_distance is not None:
        check.positive(init_distance=init_distance)
    if init_rate is not None:
        check.positive(init_rate=init_rate)
        if init_distance is not None:
            raise check.fail("init_rate", "must not be given with init_distance", init_rate)
    return Dog(as_one_rate("learning_rate", learning_rate), reps_rel, init_distance, eps, per_leaf, init_rate)


@check.public
def dowg(learning_rate: LearningRate = 1.0, *, init_distance: Scalar = 1e-2, eps: Scalar = 1e-4) -> Dowg:
    """Distance over weighted gradients (DoWG): as `dog`, with more weight on the later gradients.

    With θ_t the parameters and d_t the direction that the rate multiplies (the gradient, for SGD)::

      r̄_t = max(r̄_{t−1}, ‖θ_t − θ_0‖),   r̄_{−1} = init_distance
      v_t = v_{t−1} + r̄_t² · ‖d_t‖²
      η_t = learning_rate(t) · r̄_t² / (√v_t + eps)

    Args:
      learning_rate: a factor: a number, a schedule or another controller.
      init_distance: the first distance, > 0. 1e-2 is what optax's default, 1e-4 for its square, comes to.
      eps: ≥ 0.

    Returns:
      A controller, for the `learning_rate` of any optimizer, meant for `sgd`. It keeps one word per parameter.

    Raises:
      ValueError: if a number is out of its range; in update, if there are no parameters.
      TypeError: if `learning_rate` is no rate.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.sgd(lrx.dowg(init_distance=0.5, eps=0.0))
      >>> params = jnp.zeros(2)
      >>> updates, state = tx.update(jnp.array([3.0, 4.0]), tx.init(params), params)
      >>> print(lrx.learning_rate(state))  # 0.5² / √(0.5² · 5²)
      0.1

    References:
      Khaled, Mishchenko, Jin, DoWG unleashed (NeurIPS 2023), arXiv 2305.16284, algorithm 1.
    """
    check.positive(init_distance=init_distance)
    check.non_negative(eps=eps)
    return Dowg(as_one_rate("learning_rate", learning_rate), init_distance, eps)


@check.public
def distance_cap(learning_rate: LearningRate, *, max_distance: Scalar) -> DistanceCap:
    """A learning rate with a bound on the length of the step.

    With d_t the direction that the rate multiplies::

      η_t = min(learning_rate(t), max_distance / ‖d_t‖)

    so that no update is longer than `max_distance`, unless something after the rate makes it longer, such as the
    momentum of `rmsprop`. Unlike clipping the gradient, it bounds what the optimizer makes of it, and
    `lrx.learning_rate` shows the rate that was applied.

    Args:
      learning_rate: a number, a schedule or another controller with one rate for all leaves.
      max_distance: in units of the parameters, > 0.

    Returns:
      A controller, for the `learning_rate` of any optimizer.

    Raises:
      ValueError: if `max_distance` is not positive.
      TypeError: if `learning_rate` is no rate.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.sgd(lrx.distance_cap(1.0, max_distance=0.5))
      >>> updates, state = tx.update(jnp.array([3.0, 4.0]), tx.init(jnp.zeros(2)))
      >>> print(lrx.learning_rate(state))
      0.1
    """
    check.positive(max_distance=max_distance)
    return DistanceCap(as_one_rate("learning_rate", learning_rate, is_cap=True), max_distance)
