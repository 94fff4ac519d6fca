"""Lookahead: slow parameters, moved towards the fast ones at each synchronisation."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .. import _check as check
from .._arithmetic import add_one, map_leaves, map_present, real, zero_count
from .._numbers import Count, Hyperparameter, Scalar
from .._pytree import pytree_dataclass, static
from .._rule import COUNTS, Rule, is_rule_state
from .._state_paths import rate_of
from .._transformation import Transformation, as_transformation, transformation


class LookaheadState(NamedTuple):
    """The state of lookahead."""

    steps_since_sync: jax.Array
    """Fast steps since the last synchronisation; int32 []."""
    averaged: Any
    """φ, the slow parameters, in the parameters' dtype; None if the parameters come as a pair."""
    fast_state: Any
    """The state of the fast optimizer."""


@pytree_dataclass
class Lookahead(Rule):
    """See `lookahead`."""

    inner: Any = static()
    sync_period: Count
    slow_step_size: Scalar
    reset_state: bool = static(default=False)

    renamed = (("inner", "fast_optimizer"),)
    elementwise = True

    def init(self, params: Any) -> LookaheadState:
        """The state before the first step."""
        pair = isinstance(params, optax.LookaheadParams)
        fast = params.fast if pair else params
        # copied, so that it is not donated with the parameters; typed, so that it is not weak
        slow = None if pair else jax.tree.map(lambda p: jnp.array(p, jnp.result_type(p)), fast)
        return LookaheadState(zero_count(), slow, self.inner.init(fast))

    def update(
        self, updates: Any, state: LookaheadState, params: Any = None, **extra: Any
    ) -> tuple[Any, LookaheadState]:
        """A fast step; on a sync both parameters move to φ + slow_step_size · (θ − φ)."""
        check.needs_params("lookahead", updates, params)
        pair = isinstance(params, optax.LookaheadParams)
        fast, slow = (params.fast, params.slow) if pair else (params, state.averaged)
        updates, inner = self.inner.update(updates, state.fast_state, fast, **extra)
        steps = add_one(state.steps_since_sync)
        sync = steps >= self.sync_period

        def moves(u: jax.Array, theta: Any, phi: Any) -> tuple[jax.Array, jax.Array]:
            """The updates of θ and of φ."""
            theta, phi = (jnp.asarray(x).astype(u.dtype) for x in (theta, phi))
            moved = jnp.asarray(self.slow_step_size, real(u.dtype)) * (theta + u - phi)
            return jnp.where(sync, phi + moved - theta, u), jnp.where(sync, moved, jnp.zeros_like(u))

        def towards(u: jax.Array, phi: Any, theta: Any) -> tuple[jax.Array, jax.Array]:
            fast_update, moved = moves(u, theta, phi)
            return fast_update, jnp.asarray(phi).astype(u.dtype) + moved

        if self.reset_state:  # of what `init` was given: a model may hold functions too
            started = map_present(lambda _, theta: theta, updates if pair else slow, fast)
            inner = reset_where(sync, inner, self.inner.init(started))
        steps = jnp.where(sync, zero_count(), steps)
        if not pair:
            updates, slow = map_leaves(towards, 2, updates, slow, fast)
            return updates, LookaheadState(steps, slow, inner)
        still = map_present(lambda u, phi: jnp.zeros_like(phi), updates, slow)
        both = map_leaves(lambda u, _, theta, phi: moves(u, theta, phi), 2, updates, still, fast, slow)
        return optax.LookaheadParams(*both), LookaheadState(steps, None, inner)


def reset_where(sync: jax.Array, old: Any, fresh: Any) -> Any:
    """The memory of `fresh` on a sync. Hyperparameters, learning rates and the counts of schedules are kept."""

    def part(old: Any, fresh: Any) -> Any:
        if not is_rule_state(old):
            return jnp.where(sync, fresh, old)
        memory = reset_where(sync, old.memory, fresh.memory)
        if rate_of(old) is not None:
            kept = (k for k in (*COUNTS, "learning_rate") if k in memory._fields)
            memory = memory._replace(**{k: getattr(old.memory, k) for k in kept})
        return old._replace(memory=memory)

    return jax.tree.map(part, old, fresh, is_leaf=is_rule_state)


@check.public
def lookahead(
    fast_optimizer: optax.GradientTransformation,
    sync_period: Count,
    slow_step_size: Hyperparameter,
    reset_state: bool = False,
) -> Transformation:
    """Let slow parameters follow the fast ones: k steps forward, one step back.

    With θ the fast parameters, u the updates of `fast_optimizer` and φ the slow ones, φ = θ at the start::

      θ ← θ + u                                                         on each step
      φ ← φ + slow_step_size · (θ − φ),   θ ← φ                         after every `sync_period` of them

    Train with plain parameters, which are the fast ones, and `lrx.eval_params(state, params)` gives the slow ones,
    which generalise better; or, as in optax, with `optax.LookaheadParams(fast, slow)`, whose gradients are taken at
    `params.fast`.

    Args:
      fast_optimizer: the inner optimizer, lrx's or optax's.
      sync_period: k, fast steps from one synchronisation to the next, > 0.
      slow_step_size: α in (0, 1] in the paper.
      reset_state: whether the memory of the fast optimizer starts anew after a synchronisation: moments and bias
        corrections, but not its place in a schedule (in optax the schedule starts again too).

    Returns:
      A transformation, whose update needs the parameters. Its updates must be applied as they are.

    Raises:
      TypeError: if `fast_optimizer` is no transformation.
      ValueError: if `sync_period` is not positive; in update, if there are no parameters.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.lookahead(lrx.sgd(1.0), sync_period=2, slow_step_size=0.5)
      >>> params = jnp.zeros(1)
      >>> state = tx.init(params)
      >>> for _ in range(2):
      ...   updates, state = tx.update(-jnp.ones(1), state, params)
      ...   params = lrx.apply_updates(params, updates)
      ...   print(params)
      [1.]
      [1.]

    References:
      Zhang, Lucas, Hinton, Ba, Lookahead optimizer: k steps forward, 1 step back (NeurIPS 2019), arXiv 1907.08610,
      algorithm 1.
    """
    check.positive_count(sync_period=sync_period)
    check.non_negative(slow_step_size=slow_step_size)
    inner = as_transformation("fast_optimizer", fast_optimizer)
    return transformation(Lookahead(inner, sync_period, slow_step_size, reset_state))
