"""Skip the updates that are not finite."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .. import _check as check
from .._arithmetic import add_one, all_finite, vary_like, zero_count
from .._numbers import Count
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, as_transformation, transformation, update_where


class ApplyIfFiniteState(NamedTuple):
    """The state of `apply_if_finite`."""

    notfinite_count: jax.Array
    """Gradients in a row that were not finite, up to now; int32 []."""
    last_finite: jax.Array
    """Whether the last gradient was finite; bool []."""
    total_notfinite: jax.Array
    """Gradients that were not finite, since the beginning; int32 []."""
    inner_state: Any
    """The state of the inner optimizer."""


@pytree_dataclass
class ApplyIfFinite(Rule):
    """See `apply_if_finite`."""

    inner: Any = static()
    max_consecutive_errors: Count

    elementwise = True
    handles_nonfinite = True

    def init(self, params: Any) -> ApplyIfFiniteState:
        """The state before the first update."""
        in_a_row, last, total = vary_like((zero_count(), jnp.asarray(True), zero_count()), params)
        return ApplyIfFiniteState(in_a_row, last, total, self.inner.init(params))

    def update(
        self, updates: Any, state: ApplyIfFiniteState, params: Any = None, **extra: Any
    ) -> tuple[Any, ApplyIfFiniteState]:
        """The inner update, or none."""
        finite = all_finite(updates)
        in_a_row = jnp.where(finite, zero_count(), add_one(state.notfinite_count))
        total = jnp.where(finite, state.total_notfinite, add_one(state.total_notfinite))

        def step(inner: Any) -> tuple[Any, Any]:
            return self.inner.update(updates, inner, params, **extra)

        updates, inner = update_where(
            finite | (in_a_row > self.max_consecutive_errors), step, state.inner_state, updates
        )
        return updates, ApplyIfFiniteState(in_a_row, finite, total, inner)


@check.public
def apply_if_finite(inner: optax.GradientTransformation, max_consecutive_errors: Count) -> Transformation:
    """Skip a step whose gradient is not finite.

    A gradient with NaN or infinity in any leaf gives updates of zero and leaves the inner optimizer as it was: its
    counts, moments and schedules do not see it. The state counts such gradients, in a row (`notfinite_count`) and in
    all (`total_notfinite`). After more than `max_consecutive_errors` in a row they are let through, so that a run that
    is lost shows it.

    Args:
      inner: the optimizer, lrx's or optax's.
      max_consecutive_errors: how many in a row are skipped, ≥ 0.

    Returns:
      A transformation.

    Raises:
      TypeError: if `inner` is no transformation or the number is not whole.
      ValueError: if it is negative.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.apply_if_finite(lrx.sgd(0.5), max_consecutive_errors=3)
      >>> state = tx.init(jnp.zeros(2))
      >>> updates, state = tx.update(jnp.array([jnp.nan, 1.0]), state)
      >>> print(updates, lrx.count(state))
      [0. 0.] 0
    """
    check.non_negative_count(max_consecutive_errors=max_consecutive_errors)
    return transformation(ApplyIfFinite(as_transformation("inner", inner), max_consecutive_errors))
