"""Schedule-free: an average of the iterates in place of a schedule that decays."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .. import _check as check
from .._arithmetic import (
    add_one,
    inner_product,
    map_leaves,
    map_present,
    real,
    real_dtype,
    trainable,
    vary_like,
    wide,
    wide_copied,
    zero_count,
)
from .._chain import ChainInit
from .._numbers import F32, Count, Hyperparameter, Scalar
from .._pytree import fields_of, pytree_dataclass, static
from .._rule import Rule, wrapped_by
from .._skipping import SkipsUnusable
from .._transformation import Transformation, as_transformation, transformation
from ..controllers._controller import (
    Controller,
    LearningRate,
    as_rate,
    needs_of,
    rate_of_update,
    scalar_value,
)
from ..state import learning_rates
from ._dtype import dtype_name


class ScheduleFreeState(NamedTuple):
    """The state of schedule-free. The fields that optax has too have the same names."""

    step_count: jax.Array
    """k + 1, with k the number of updates completed; int32 []."""
    skipped: jax.Array
    """The updates that were skipped, since the gradient, the loss or the rate was not finite; int32 []."""
    share: jax.Array
    """β of the interpolation that made the present parameters, y = β·x + (1 − β)·z; float32 []."""
    weight_sum: jax.Array
    """W, the sum of the weights; float32 or wider []."""
    max_lr: jax.Array
    """γ_max, the greatest rate so far; float32 or wider []."""
    z: Any
    """The iterate of the inner optimizer, shaped like the parameters, float32 or `state_dtype`."""
    base_optimizer_state: Any
    """The state of the inner optimizer."""

    @property
    def b1(self) -> jax.Array:
        """β, by optax's name; it is not a field, since the number b1 is one of the hyperparameters."""
        return self.share

    @property
    def averaged(self) -> Any:
        """z, from which `eval_params` computes the average: x = (y − (1 − share) · z) / share."""
        return self.z


@pytree_dataclass
class ScheduleFree(SkipsUnusable):
    """See `schedule_free`."""

    inner: Any = static()
    weights_of: Any = None
    b1: Scalar = 0.9
    weight_lr_power: Scalar = 2.0
    r: Scalar = 0.0
    decoupling: Scalar | None = None
    averaging_start: Count = 0
    state_dtype: str | None = static(default=None)

    renamed = (("inner", "base_optimizer"), ("weights_of", "learning_rate"))

    elementwise = True

    def init(self, params: Any) -> ScheduleFreeState:
        """z = x = y, the parameters, copied."""
        weight_sum, max_lr = vary_like([jnp.zeros((), real_dtype(params)) for _ in range(2)], params)
        one, b1, z = add_one(zero_count()), jnp.array(self.b1, F32), wide_copied(params, self.state_dtype)
        return ScheduleFreeState(one, zero_count(), b1, weight_sum, max_lr, z, self.inner.init(params))

    def step(
        self, updates: Any, state: ScheduleFreeState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScheduleFreeState, jax.Array]:
        """A step of z, of the average x, and of the parameters y between them."""
        check.needs_params("schedule_free", updates, params)
        if extra.get("value") is not None:  # a linear model of the loss at z, which the inner optimizer moves
            value, ahead = scalar_value(extra["value"]), inner_product(updates, _ahead(params, state.z))
            dtype = wide(value.dtype, ahead.dtype)
            extra = {**extra, "value": value.astype(dtype) + ahead.astype(dtype)}
        steps, inner = self.inner.update(updates, state.base_optimizer_state, params, **extra)
        count = state.step_count - 1
        rate = self._rate(inner, count)
        dtype = state.weight_sum.dtype
        max_lr = jnp.maximum(state.max_lr, rate.astype(dtype))
        averaging = count >= self.averaging_start
        weight = jnp.where(max_lr > 0, jnp.where(max_lr > 0, max_lr, 1) ** self._as("weight_lr_power", dtype), 0)
        weight = weight * state.step_count.astype(dtype) ** self._as("r", dtype)
        weight_sum = jnp.where(averaging, state.weight_sum + weight, state.weight_sum)
        c = jnp.where(weight_sum > 0, weight / jnp.where(weight_sum > 0, weight_sum, 1), 0)
        if self.decoupling is not None:
            c = jnp.minimum(1, c * (1 - self._as("b1", dtype)) * self._as("decoupling", dtype))
        c = jnp.where(averaging, c, 1)
        b1 = jnp.array(self.b1, F32)  # a copy: the state holds the number as well
        stay = b1.astype(dtype) * (1 - c)  # the share of x in the new y

        def leaf(u: jax.Array, z: Any, y: Any) -> tuple[jax.Array, jax.Array]:
            z, y, kind = z.astype(u.dtype), jnp.asarray(y).astype(u.dtype), real(u.dtype)
            back = 1 - (stay / state.share.astype(dtype)).astype(kind)
            return back * (z - y) + (1 - stay.astype(kind)) * u, z + u

        updates, z = map_leaves(leaf, 2, steps, state.z, params)
        new = ScheduleFreeState(add_one(state.step_count), state.skipped, b1, weight_sum, max_lr, z, inner)
        return updates, new, jnp.zeros((), bool)

    def _as(self, name: str, dtype: Any) -> jax.Array:
        return jnp.asarray(getattr(self, name), dtype)

    def _rate(self, inner: Any, count: jax.Array) -> jax.Array:
        """γ for the weights of the average: the rate that the inner optimizer applied, unless another is given."""
        if self.weights_of is not None:
            return rate_of_update(self.weights_of, (), None, {"count": count})[0]
        found = learning_rates(inner)
        if len(found) != 1:
            held = f"has {len(found)}: {', '.join(found)}" if found else "keeps none"
            raise ValueError(
                "schedule_free(base_optimizer, ...) reads the learning rate that base_optimizer applied, of which it "
                f"{held}. Give it as well, as optax's: schedule_free(base_optimizer, learning_rate)."
            )
        return next(iter(found.values()))


def _ahead(params: Any, z: Any) -> Any:
    """z − y, in the precision of z."""
    return map_present(lambda z, y: z - jnp.asarray(y).astype(z.dtype) if trainable(y) else None, z, params)


def _needs(tx: Any) -> tuple[str, ...]:
    """The arguments that the controllers in an optimizer of lrx need."""
    init = getattr(tx, "init", tx)
    if isinstance(init, ChainInit):
        return tuple(need for _, link in init.links for need in _needs(link))
    rule = getattr(init, "rule", None)
    if not isinstance(rule, Rule):
        return ()
    own = (need for rate in fields_of(rule).values() for need in needs_of(rate))
    return (*own, *(need for t in wrapped_by(rule) for need in _needs(t)))


@check.public
def schedule_free(
    base_optimizer: optax.GradientTransformation,
    learning_rate: LearningRate | None = None,
    b1: Hyperparameter = 0.9,
    weight_lr_power: Hyperparameter = 2.0,
    state_dtype: Any = None,
    *,
    r: Hyperparameter = 0.0,
    decoupling: Hyperparameter | None = None,
    averaging_start: Count = 0,
) -> Transformation:
    """Make any optimizer schedule-free: average its iterates, and train between them and their average.

    With y the parameters, z the iterate that `base_optimizer` moves by u_t, x their average, γ_t the rate that it
    applied, p = `weight_lr_power` and everything equal at the start::

      z_{t+1} = z_t + u_t                                            u_t from the gradient at y_t
      w = (t + 1)^r · (max_{i ≤ t} γ_i)^p,   c = w / Σw
      x_{t+1} = (1 − c)·x_t + c·z_{t+1}
      y_{t+1} = b1·x_{t+1} + (1 − b1)·z_{t+1}

    **Evaluate x, not the parameters**: `lrx.eval_params(state, params)`. Train with a constant rate after a warmup. z
    replaces the momentum, so switch off that of `base_optimizer`, or use `schedule_free_adamw`. A controller in
    `base_optimizer` gets the loss at z, the point that it moves, from a linear model. An update whose gradient is not
    finite is skipped, and counted in the state as `skipped`.

    Args:
      base_optimizer: lrx's or optax's, without momentum.
      learning_rate: γ for the weights of the average, a number or a schedule. None reads the rate that an optimizer of
        lrx applied, so that it is given once; another library's optimizer needs it.
      b1: β in (0, 1), or a schedule: the share of the average in the parameters. 0.95 or 0.98 for long runs.
      weight_lr_power: p ≥ 0.
      state_dtype: dtype of z; at least float32 if None.
      r: ≥ 0; above 0, later iterates have more weight.
      decoupling: C, which sets the length of the average independently of b1: c ← min(1, c · (1 − b1) · C). None is
        C = 1/(1 − b1).
      averaging_start: updates before the average begins, ≥ 0; x = z until then.

    Returns:
      A transformation, whose update needs the parameters. Its updates must be applied as they are.

    Raises:
      TypeError: if `base_optimizer` is not a transformation or `learning_rate` not a rate.
      ValueError: if a number is out of its range; in update, if there are no parameters, or no single rate.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.schedule_free(lrx.sgd(1.0), b1=0.5)
      >>> params = jnp.zeros(1)
      >>> state = tx.init(params)
      >>> for _ in range(2):
      ...   updates, state = tx.update(-jnp.ones(1), state, params)
      ...   params = lrx.apply_updates(params, updates)
      >>> print(params, lrx.eval_params(state, params))  # z = 2, x = (1 + 2) / 2, y between them
      [1.75] [1.5]

    References:
      Defazio et al., The road less scheduled (NeurIPS 2024), arXiv 2405.15682, algorithm 1; decoupling: Song, Baek,
      Ahn, Yun (2025), arXiv 2507.09846; averaging_start: Defazio (2026), arXiv 2605.19095.
    """
    check.positive(b1=b1)
    check.below_one(b1=b1)
    check.non_negative(weight_lr_power=weight_lr_power, r=r)
    if decoupling is not None:
        check.positive(decoupling=decoupling)
    check.non_negative_count(averaging_start=averaging_start)
    inner = as_transformation("base_optimizer", base_optimizer)
    if "value_fn" in _needs(inner):
        raise check.fail("base_optimizer", "must not evaluate the loss, which is not given where it moves", inner)
    weights_of = None if learning_rate is None else _own_rate(learning_rate)
    dtype = dtype_name("state_dtype", state_dtype)
    return transformation(ScheduleFree(inner, weights_of, b1, weight_lr_power, r, decoupling, averaging_start, dtype))


def _own_rate(learning_rate: Any) -> Any:
    rate = as_rate("learning_rate", learning_rate)
    if isinstance(rate, Controller):
        raise check.fail("learning_rate", "must be a number or a schedule", learning_rate, "A controller goes inside.")
    return rate
