"""Averages of the parameters for evaluation, and the function that reads them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .. import _check as check
from .._arithmetic import add_one, map_leaves, one_minus_power, real, trainable, wide_copied, zero_count
from .._boxes import boxed_like, is_boxed, value_of
from .._numbers import F32, Hyperparameter, Scalar
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._state_paths import dotted, rules
from .._transformation import Transformation, transformation
from ._dtype import dtype_name
from .ema import decay_at, scheduled_decay


class ParamsEmaState(NamedTuple):
    """The state of the average of the parameters."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    averaged: Any
    """a, shaped like the parameters, float32 or `accumulator_dtype`."""


@pytree_dataclass
class ParamsEma(Rule):
    """See `params_ema`."""

    decay: Scalar
    debias: bool = static(default=True)
    accumulator_dtype: str | None = static(default=None)

    elementwise = True

    def init(self, params: Any) -> ParamsEmaState:
        """The parameters themselves, copied."""
        return ParamsEmaState(zero_count(), wide_copied(params, self.accumulator_dtype))

    def update(
        self, updates: Any, state: ParamsEmaState, params: Any = None, **extra: Any
    ) -> tuple[Any, ParamsEmaState]:
        """The updates pass; the average moves towards `params + updates`."""
        del extra
        check.needs_params("params_ema", updates, params)
        t = add_one(state.count)
        share = 1 - jnp.asarray(self.decay, F32)
        if self.debias:
            share = share / one_minus_power(self.decay, t.astype(F32))
        return updates, ParamsEmaState(t, _towards(share, updates, state, params))


class ScheduledEmaOfParamsState(NamedTuple):
    """The state of the average of the parameters, if its decay is a schedule."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    weight: jax.Array
    """1 − ∏ decay_i, the weight of all parameters but the initial ones; float32 []."""
    averaged: Any
    """As in `ParamsEmaState`."""


@pytree_dataclass
class ScheduledEmaOfParams(Rule):
    """See `params_ema`. The decay is a schedule."""

    decay: Any
    debias: bool = static(default=True)
    accumulator_dtype: str | None = static(default=None)

    factory = "params_ema"
    elementwise = True

    def init(self, params: Any) -> ScheduledEmaOfParamsState:
        """The parameters themselves, copied."""
        return ScheduledEmaOfParamsState(zero_count(), jnp.zeros((), F32), wide_copied(params, self.accumulator_dtype))

    def update(
        self, updates: Any, state: ScheduledEmaOfParamsState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScheduledEmaOfParamsState]:
        """The updates pass; the average moves towards `params + updates`."""
        del extra
        check.needs_params("params_ema", updates, params)
        share = 1 - decay_at(self.decay, state.count)
        weight = state.weight + share * (1 - state.weight)
        if self.debias:  # a decay of 1 at the start gives none a weight
            share = jnp.where(weight == 0, 0, share / jnp.where(weight == 0, 1, weight))
        averaged = _towards(share, updates, state, params)
        return updates, ScheduledEmaOfParamsState(add_one(state.count), weight, averaged)


@check.public
def params_ema(decay: Hyperparameter, *, debias: bool = True, accumulator_dtype: Any = None) -> Transformation:
    """Keep an exponential moving average of the parameters, as the last link of a chain. The updates pass unchanged.

    With θ_t = θ_{t−1} + u_t the parameters after the update and a_0 = θ_0::

      a_t = a_{t−1} + w_t · (θ_t − a_{t−1}),   w_t = (1 − decay) / (1 − decay^t)   or, without debias, 1 − decay

    With `debias` the initial parameters carry no weight: a_1 = θ_1, and a_t is the average of θ_1 … θ_t with weights
    that fall by `decay` from each to the one before.

    A `decay` that is a schedule is evaluated at the number of updates completed, 0 for the first: d_t = decay(t − 1).
    Then decay^t is ∏ d_i, so that the weights are right for every schedule. `lambda t: 1 - 1 / (t + 1)` is the plain
    mean of θ_1 … θ_t, and `lambda t: jnp.minimum(0.9999, (1 + t) / (10 + t))` the usual warmup of the decay, for which
    `debias` can be off.

    Args:
      decay: in [0, 1), or a schedule of such numbers. Where a function gives one beyond [0, 1] after its first count,
        the average is NaN.
      debias: whether to leave out the initial parameters.
      accumulator_dtype: dtype of a; at least float32 if None.

    Returns:
      A transformation, whose update needs the parameters. `lrx.eval_params(state, params)` reads a.

    Raises:
      ValueError: if `decay` is not in [0, 1); in update, if there are no parameters.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.chain(lrx.sgd(1.0), lrx.params_ema(0.5))
      >>> params = jnp.zeros(1)
      >>> state = tx.init(params)
      >>> for _ in range(2):
      ...   updates, state = tx.update(-3 * jnp.ones(1), state, params)
      ...   params = lrx.apply_updates(params, updates)
      >>> print(params, lrx.eval_params(state, params))  # (3 · 1 + 6 · 2) / (1 + 2)
      [6.] [5.]

    References:
      Polyak, Juditsky, Acceleration of stochastic approximation by averaging (SIAM J. Control Optim. 30, 1992);
      the correction is that of Kingma, Ba, arXiv 1412.6980, section 3.
    """
    if callable(decay):
        dtype = dtype_name("accumulator_dtype", accumulator_dtype)
        return transformation(ScheduledEmaOfParams(scheduled_decay(decay), debias, dtype))
    check.below_one(decay=decay)
    return transformation(ParamsEma(decay, debias, dtype_name("accumulator_dtype", accumulator_dtype)))


@pytree_dataclass
class PolynomialAveraging(Rule):
    """See `polynomial_averaging`."""

    gamma: Scalar = 8.0
    accumulator_dtype: str | None = static(default=None)

    elementwise = True

    def init(self, params: Any) -> ParamsEmaState:
        """The parameters themselves, copied."""
        return ParamsEmaState(zero_count(), wide_copied(params, self.accumulator_dtype))

    def update(
        self, updates: Any, state: ParamsEmaState, params: Any = None, **extra: Any
    ) -> tuple[Any, ParamsEmaState]:
        """The updates pass; the average moves towards `params + updates`."""
        del extra
        check.needs_params("polynomial_averaging", updates, params)
        t, gamma = add_one(state.count), jnp.asarray(self.gamma, F32)
        return updates, ParamsEmaState(t, _towards((gamma + 1) / (gamma + t.astype(F32)), updates, state, params))


def _towards(share: jax.Array, updates: Any, state: Any, params: Any) -> Any:
    """The average, moved by `share` of the way to the parameters after the update."""

    def leaf(u: jax.Array, a: jax.Array, p: Any) -> tuple[jax.Array, jax.Array]:
        a = a.astype(u.dtype)
        return u, a + share.astype(real(u.dtype)) * (jnp.asarray(p).astype(u.dtype) + u - a)

    return map_leaves(leaf, 2, updates, state.averaged, params)[1]


@check.public
def polynomial_averaging(gamma: Hyperparameter = 8.0, *, accumulator_dtype: Any = None) -> Transformation:
    """Keep an average of the parameters with polynomial weights, as the last link of a chain. The updates pass.

    With θ_t = θ_{t−1} + u_t the parameters after update t = 1, 2, …::

      a_t = a_{t−1} + w_t · (θ_t − a_{t−1}),   w_t = (gamma + 1) / (gamma + t)

    so that a_1 = θ_1, and θ_i has a weight of about i^gamma: the average is over the last part of training, however
    long it is. It is the average that `dog` is to be evaluated with.

    Args:
      gamma: γ ≥ 0; 0 is the plain mean of all parameters.
      accumulator_dtype: dtype of a; at least float32 if None.

    Returns:
      A transformation, whose update needs the parameters. `lrx.eval_params(state, params)` reads a.

    Raises:
      ValueError: if `gamma` is negative; in update, if there are no parameters.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.chain(lrx.sgd(1.0), lrx.polynomial_averaging(1.0))
      >>> params = jnp.zeros(1)
      >>> state = tx.init(params)
      >>> for _ in range(2):
      ...   updates, state = tx.update(-3 * jnp.ones(1), state, params)
      ...   params = lrx.apply_updates(params, updates)
      >>> print(params, lrx.eval_params(state, params))  # 3 / 3 + 2 · 6 / 3
      [6.] [5.]

    References:
      Shamir, Zhang, Stochastic gradient descent for non-smooth optimization (ICML 2013), arXiv 1212.1824; with γ = 8 as
      in Ivgi, Hinder, Carmon (2023), arXiv 2302.12022.
    """
    check.non_negative(gamma=gamma)
    return transformation(PolynomialAveraging(gamma, dtype_name("accumulator_dtype", accumulator_dtype)))


def eval_params(opt_state: Any, params: Any) -> Any:
    """The parameters to evaluate with, for optimizers that keep an average besides the trained parameters.

    Args:
      opt_state: the state of an optimizer with `params_ema`, `polynomial_averaging`, `lookahead`, `schedule_free` or
        `hdm` in it, or anything that contains one.
      params: the parameters that are trained; the result is shaped like them and has their dtypes.

    Returns:
      The average, or the slow parameters. A leaf that is not averaged (under a mask, or a whole number) is that of
      `params`.

    Raises:
      ValueError: if no rule in the state keeps such parameters, or several do, or they are no tree like `params`.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.chain(lrx.sgd(1.0), lrx.params_ema(0.9))
      >>> params = jnp.ones(2)
      >>> print(lrx.eval_params(tx.init(params), params))
      [1. 1.]
    """
    memories = {dotted(name): s.memory for _, name, s in rules(opt_state)}
    found = {name: memory for name, memory in memories.items() if getattr(memory, "averaged", None) is not None}
    if len(found) != 1:
        reason = f"several averages: {', '.join(found)}" if found else "no averaged parameters"
        raise ValueError(
            f"eval_params(opt_state, params) found {reason}. One rule that keeps them is needed, such as params_ema as "
            "the last link of the chain, lookahead or schedule_free."
        )
    (memory,) = found.values()
    kept_share = getattr(memory, "share", None)  # of the average in `params`, where what is kept is the rest

    def read(a: Any, box: Any) -> Any:
        if _is_absent(a) or not trainable(value_of(box)):
            return box
        a, p = value_of(a), value_of(box)
        if kept_share is not None:
            share = value_of(kept_share).astype(real(a.dtype))
            share = share.reshape(share.shape + (1,) * (a.ndim - share.ndim))  # of a batch of states
            a = a + (jnp.asarray(p).astype(a.dtype) - a) / share
        return boxed_like(box, a.astype(jnp.result_type(p)))

    try:
        return jax.tree.map(read, memory.averaged, params, is_leaf=lambda x: _is_absent(x) or is_boxed(x))
    except ValueError as error:
        raise ValueError(
            f"eval_params(opt_state, params) found averages in {dotted((*found,))} that are no tree like params "
            f"(`pack` goes inside: chain(pack(tx), params_ema(...))): {' '.join(str(error).split())}"
        ) from None


def _is_absent(x: Any) -> bool:
    """Whether there is no average: under a mask, or of what is no array."""
    return x is None or isinstance(x, optax.MaskedNode)
