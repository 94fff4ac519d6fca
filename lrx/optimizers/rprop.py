"""Rprop: a step size for each coordinate, growing while the sign of the gradient stays, shrinking when it changes."""

from typing import Any, Literal, NamedTuple, TypeGuard

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import add_one, full_like_second, map_leaves, zero_count
from .._chain import chain
from .._numbers import F32, Hyperparameter, Scalar, is_tracer
from .._pytree import arguments, factory_name, pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, transformation
from ..controllers._controller import Controller
from ._blocks import refuse_complex
from ._negate import negate

Convention = Literal["optax", "paper"]


class ScaleByRpropState(NamedTuple):
    """The state of Rprop with a constant rate, which is the hyperparameter."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    step_sizes: Any
    """Δ, shaped like the parameters, at least float32."""
    prev_updates: Any
    """d, the last step with its sign, 0 where the sign has changed; shaped and typed like Δ."""
    unit: jax.Array
    """The last rate above 0, to which Δ and d belong; 1 before there was one; float32 []."""


class ScaleByScheduledRpropState(NamedTuple):
    """The state of Rprop with a scheduled rate."""

    count: jax.Array
    """As in `ScaleByRpropState`."""
    step_sizes: Any
    """As in `ScaleByRpropState`."""
    prev_updates: Any
    """As in `ScaleByRpropState`."""
    unit: jax.Array
    """As in `ScaleByRpropState`."""
    learning_rate: jax.Array
    """The rate last applied, before the first update the one that the first will apply; float32 []."""


RpropState = ScaleByRpropState | ScaleByScheduledRpropState


@pytree_dataclass
class ScaleByRprop(Rule):
    """See `scale_by_rprop`."""

    learning_rate: Scalar
    eta_minus: Scalar = 0.5
    eta_plus: Scalar = 1.2
    min_step_size: Scalar = 1e-6
    max_step_size: Scalar = 50.0
    convention: str = static(default="optax")
    follows_schedule: bool = static(default=False)

    elementwise = True

    def init(self, params: Any) -> RpropState:
        """The state before the first update."""
        refuse_complex("scale_by_rprop", params)
        unit = self._unit(jnp.ones((), F32))
        return self._state(zero_count(), full_like_second(params, unit), full_like_second(params, 0.0), unit)

    def update(self, updates: Any, state: RpropState, params: Any = None, **extra: Any) -> tuple[Any, RpropState]:
        """One step, on each leaf."""
        del params, extra
        new_unit = self._unit(state.unit)

        def leaf(g: jax.Array, size: jax.Array, last: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            rate, eta_minus, eta_plus, smallest, largest, unit, old_unit = (
                jnp.asarray(x, g.dtype)
                for x in (
                    self.learning_rate, self.eta_minus, self.eta_plus, self.min_step_size, self.max_step_size,
                    new_unit, state.unit,
                )
            )  # fmt: skip
            growth = unit / old_unit
            sign, size, last = jnp.sign(g), size.astype(g.dtype) * growth, last.astype(g.dtype) * growth
            turn = sign * last
            changed = jnp.clip(size * jnp.where(turn > 0, eta_plus, eta_minus), smallest, largest)
            size = jnp.where(turn == 0, size, changed)
            step = jnp.where(turn < 0, 0, size * sign)  # with 0 the next gradient has no predecessor
            # optax returns the step of the update before; drop this with google-deepmind/optax#1725
            taken = jnp.where(turn < 0, 0, last) if self.convention == "optax" else step
            return taken * (rate / unit), size, step

        updates, sizes, steps = map_leaves(leaf, 3, updates, state.step_sizes, state.prev_updates)
        return updates, self._state(add_one(state.count), sizes, steps, new_unit)

    def _unit(self, before: jax.Array) -> jax.Array:
        """The rate, or, where a schedule is 0, the last one above 0."""
        rate = jnp.array(self.learning_rate, F32)
        return jnp.where(rate > 0, rate, before)

    def _state(self, count: jax.Array, sizes: Any, steps: Any, unit: jax.Array) -> RpropState:
        if not self.follows_schedule:
            return ScaleByRpropState(count, sizes, steps, unit)
        return ScaleByScheduledRpropState(count, sizes, steps, unit, jnp.array(self.learning_rate, F32))

    def __repr__(self) -> str:
        shown = {name: x for name, x in arguments(self).items() if name != "follows_schedule"}
        return f"{factory_name(self)}({', '.join(f'{name}={x!r}' for name, x in shown.items())})"


@check.public
def scale_by_rprop(
    learning_rate: Hyperparameter,
    eta_minus: Hyperparameter = 0.5,
    eta_plus: Hyperparameter = 1.2,
    min_step_size: Hyperparameter = 1e-6,
    max_step_size: Hyperparameter = 50.0,
    *,
    convention: Convention = "optax",
) -> Transformation:
    """Replace each coordinate by a step that depends on its sign and on those before: see `rprop`.

    ::

      Δ_t = clip(eta_plus · Δ_{t−1})    if g_t and g_{t−1} have the same sign
            clip(eta_minus · Δ_{t−1})   if they have opposite signs; g_t is then replaced by 0, also at t + 1
            Δ_{t−1}                     if one of them is 0
      d_t = Δ_t · sign(g_t)
      u_t = d_{t−1}, or 0 where the sign has changed   (`convention="optax"`)
            d_t                                        (`convention="paper"`)

    Args:
      learning_rate: Δ_0, a number or a schedule.
      eta_minus: in [0, 1).
      eta_plus: at least 1.
      min_step_size: ≥ 0, the lower bound of `clip`.
      max_step_size: at least `min_step_size`, the upper bound.
      convention: "paper", or "optax": each step one update late.

    Returns:
      A transformation of real parameters. As in optax its updates point in the direction of ascent.

    Raises:
      ValueError: if a number is outside its range, or the convention is unknown.
      TypeError: in init, if a parameter is complex.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_rprop(0.5, convention="paper")
      >>> state = tx.init(jnp.zeros(1))
      >>> for gradient in (9.0, 0.1, -2.0, -3.0):
      ...   updates, state = tx.update(jnp.array([gradient]), state)
      ...   print(updates)
      [0.5]
      [0.6]
      [0.]
      [-0.3]

    References:
      Riedmiller, Braun, A direct adaptive method for faster backpropagation learning: the RPROP algorithm (ICNN 1993);
      the variant iRprop⁻ of Igel, Hüsken, Improving the Rprop learning algorithm (NC 2000).
    """
    if isinstance(learning_rate, Controller):
        raise check.fail(
            "learning_rate", "must be a number or a schedule: each coordinate has its own step size", learning_rate
        )
    check.non_negative(learning_rate=learning_rate, min_step_size=min_step_size, max_step_size=max_step_size)
    check.below_one(eta_minus=eta_minus)
    check.non_negative(eta_plus=eta_plus)
    if _known(eta_plus) and float(eta_plus) < 1:
        raise check.fail("eta_plus", "must be at least 1", eta_plus)
    if _known(min_step_size) and _known(max_step_size) and float(max_step_size) < float(min_step_size):
        raise check.fail("max_step_size", f"must be at least min_step_size={min_step_size}", max_step_size)
    check.one_of(Convention, convention=convention)
    numbers = learning_rate, eta_minus, eta_plus, min_step_size, max_step_size
    return transformation(ScaleByRprop(*numbers, convention, follows_schedule=callable(learning_rate)))


def _known(x: Any) -> TypeGuard[Scalar]:
    return not callable(x) and not is_tracer(x)


@check.public
def rprop(
    learning_rate: Hyperparameter,
    eta_minus: Hyperparameter = 0.5,
    eta_plus: Hyperparameter = 1.2,
    min_step_size: Hyperparameter = 1e-6,
    max_step_size: Hyperparameter = 50.0,
    *,
    convention: Convention = "optax",
) -> Transformation:
    """Rprop: full-batch descent by signs alone, with a separate step size for each coordinate.

    With Δ_t the step sizes of the coordinates and g_t the gradient::

      Δ_t = clip(eta_plus · Δ_{t−1})    if g_t and g_{t−1} have the same sign
            clip(eta_minus · Δ_{t−1})   if they have opposite signs; g_t is then replaced by 0, also at t + 1
            Δ_{t−1}                     if one of them is 0
      d_t = Δ_t · sign(g_t)
      θ_t = θ_{t−1} − d_t             (`convention="paper"`)
            θ_{t−1} − d_{t−1}         (`convention="optax"`; θ_{t−1} where the sign has changed)

    optax 0.2.8 makes each step one update late, and no step at first. This is the default here as long as it is
    optax's; the convention of the paper and of torch is better.

    The learning rate is the size of the first step, and what `lrx.learning_rate` reads; from then on each coordinate
    has its own step size. If the rate changes, by a schedule or by `with_hyperparams`, all of them change by the
    same factor. The gradients of small batches change sign by chance, which shrinks the steps to nothing: use large
    batches.

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: Δ_0, a number or a schedule.
      eta_minus: in [0, 1).
      eta_plus: at least 1.
      min_step_size: ≥ 0, the lower bound of `clip`.
      max_step_size: at least `min_step_size`, the upper bound.
      convention: "paper", or "optax": each step one update late.

    Returns:
      A transformation of real parameters.

    Raises:
      ValueError: if a number is outside its range, or the convention is unknown.
      TypeError: in init, if a parameter is complex.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.rprop(0.5, convention="paper")
      >>> state = tx.init(jnp.zeros(2))
      >>> for _ in range(2):
      ...   updates, state = tx.update(jnp.array([9.0, -0.1]), state)
      ...   print(updates)
      [-0.5  0.5]
      [-0.6  0.6]

    References:
      Riedmiller, Braun, A direct adaptive method for faster backpropagation learning: the RPROP algorithm (ICNN 1993);
      the variant iRprop⁻ of Igel, Hüsken, Improving the Rprop learning algorithm (NC 2000).
    """
    numbers = learning_rate, eta_minus, eta_plus, min_step_size, max_step_size
    return chain(scale_by_rprop(*numbers, convention=convention), negate())
