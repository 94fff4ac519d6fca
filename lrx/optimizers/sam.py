"""SAM: gradients taken where the loss near the parameters is worst."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .. import _check as check
from .._arithmetic import copied, map_leaves, map_present, select, trainable, vary_like, zero_count
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, as_transformation, transformation, update_where
from .apply_updates import apply_updates
from .lookahead import reset_where


class SAMState(NamedTuple):
    """The state of SAM."""

    steps_since_sync: jax.Array
    """Adversarial steps since the last step of the optimizer; int32 []."""
    opt_state: Any
    """The state of the optimizer."""
    adv_state: Any
    """The state of the adversarial optimizer."""
    cache: Any
    """θ, where the adversarial steps began, in the parameters' dtype; None in the opaque mode."""


@pytree_dataclass
class Sam(Rule):
    """See `sam`."""

    inner: Any = static()
    """The optimizer and the adversarial optimizer."""
    sync_period: int = static(default=2)
    reset_state: bool = static(default=True)
    opaque_mode: bool = static(default=False)
    batch_axis_name: str | None = static(default=None)

    elementwise = True

    def init(self, params: Any) -> SAMState:
        """The state before the first step."""
        opt_state, adv_state = (tx.init(params) for tx in self.inner)
        cache = None if self.opaque_mode else copied(params)
        return SAMState(vary_like(zero_count(), params), opt_state, adv_state, cache)

    def update(self, updates: Any, state: SAMState, params: Any = None, **extra: Any) -> tuple[Any, SAMState]:
        """One step of one of the two, or in the opaque mode of both."""
        check.needs_params("sam", updates, params)
        grad_fn = extra.pop("grad_fn", None)
        if not self.opaque_mode:
            return self._one(updates, state, params, extra)
        if grad_fn is None:
            raise ValueError(
                "sam(opaque_mode=True) needs grad_fn=, the gradient as a function of the parameters and of the number "
                "of the adversarial step: tx.update(grads, state, params, grad_fn=lambda p, i: jax.grad(loss)(p))."
            )
        return self._both(updates, state, params, grad_fn, extra)

    def _one(self, updates: Any, state: SAMState, params: Any, extra: dict[str, Any]) -> tuple[Any, SAMState]:
        optimizer, adversary = self.inner
        first, last = state.steps_since_sync == 0, state.steps_since_sync == self.sync_period - 1
        cache = select(first, params, state.cache)

        def ascend(adv_state: Any) -> tuple[Any, Any]:
            return adversary.update(updates, adv_state, params, **extra)

        def descend(opt_state: Any) -> tuple[Any, Any]:
            return optimizer.update(updates, opt_state, cache, **extra)

        up, adv_state = update_where(~last, ascend, state.adv_state, updates)
        down, opt_state = update_where(last, descend, state.opt_state, updates)
        if self.reset_state:
            adv_state = reset_where(last, adv_state, adversary.init(params))

        def leaf(up: jax.Array, down: jax.Array, p: Any, c: Any) -> tuple[jax.Array]:
            down, p, c = (jnp.asarray(x).astype(up.dtype) for x in (down, p, c))
            return (jnp.where(last, c - p + down, -up),)

        moved = map_leaves(leaf, 1, up, down, params, cache)[0]
        steps = jnp.where(last, jnp.zeros_like(state.steps_since_sync), state.steps_since_sync + 1)
        return moved, SAMState(steps, opt_state, adv_state, cache)

    def _both(
        self, updates: Any, state: SAMState, params: Any, grad_fn: Any, extra: dict[str, Any]
    ) -> tuple[Any, SAMState]:
        optimizer, adversary = self.inner
        there, grads, adv_state = params, updates, state.adv_state
        for i in range(self.sync_period - 1):
            up, adv_state = adversary.update(grads, adv_state, there, **{**extra, "grad": grads})
            there = apply_updates(there, map_present(lambda u: -u if trainable(u) else u, up))
            grads = grad_fn(there, i)
            if self.batch_axis_name is not None:
                grads = jax.lax.pmean(grads, axis_name=self.batch_axis_name)
        if self.reset_state:
            adv_state = reset_where(jnp.ones((), bool), adv_state, adversary.init(params))
        # a controller's gradient is the one that the optimizer is given
        moved, opt_state = optimizer.update(grads, state.opt_state, params, **{**extra, "grad": grads})
        return moved, SAMState(jnp.zeros_like(state.steps_since_sync), opt_state, adv_state, None)

    def __repr__(self) -> str:
        options = {"sync_period": 2, "reset_state": True, "opaque_mode": False, "batch_axis_name": None}
        shown = [f"{name}={getattr(self, name)!r}" for name, x in options.items() if getattr(self, name) != x]
        return f"sam({', '.join([*map(repr, self.inner), *shown])})"


@check.public
def sam(
    optimizer: optax.GradientTransformation,
    adv_optimizer: optax.GradientTransformation,
    sync_period: int = 2,
    reset_state: bool = True,
    opaque_mode: bool = False,
    batch_axis_name: str | None = None,
) -> Transformation:
    """Sharpness-aware minimization: the optimizer steps by the gradient at the end of steps that raise the loss.

    From the parameters θ, with k = `sync_period` and g the gradient at w::

      w ← θ;  w ← w − u(g)     k − 1 times, u the updates of `adv_optimizer`, which descends: with −u the loss rises
      θ ← θ + v(g)             v the updates of `optimizer` for the gradient at w

    The paper's SAM has k = 2 and, for its ρ, `lrx.chain(lrx.normalize_by_update_norm(eps=0.0), lrx.sgd(rho))` as the
    adversary. Each of the k gradients is one call of `update`, between which the parameters are w; evaluate after
    every k-th. In the opaque mode one call does all of it, with gradients that it takes itself.

    `lrx.learning_rate` and `lrx.count` read the optimizer; the numbers of both are among the hyperparameters, with
    `opt_state` and `adv_state` in their paths.

    Args:
      optimizer: what moves θ, lrx's or optax's.
      adv_optimizer: what moves away from it.
      sync_period: k ≥ 1, gradients for each step of `optimizer`.
      reset_state: whether the memory of `adv_optimizer` starts anew each time: moments and bias corrections, but not
        its place in a schedule (in optax the schedule starts again too).
      opaque_mode: whether one update does all k, given `grad_fn=`, the gradient as a function of the parameters and of
        the number 0, 1, … of the adversarial step. For models with running statistics, such as those of BatchNorm.
      batch_axis_name: the mapped axis over which these gradients are averaged; in the opaque mode alone.

    Returns:
      A transformation, whose update needs the parameters. Its updates must be applied as they are.

    Raises:
      TypeError: if one of the two is no transformation, or `sync_period` no whole number.
      ValueError: if `sync_period` is less than 1; in update, if the parameters or `grad_fn=` are missing.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.sam(lrx.sgd(0.25), lrx.chain(lrx.scale_by_sign(), lrx.sgd(1.0)))
      >>> params = jnp.array([2.0])
      >>> state = tx.init(params)
      >>> for _ in range(2):  # of the loss x²: up to 3, whose gradient is 6, then from 2 by −0.25 · 6
      ...   updates, state = tx.update(2 * params, state, params)
      ...   params = lrx.apply_updates(params, updates)
      ...   print(params)
      [3.]
      [0.5]

    References:
      Foret, Kleiner, Mobahi, Neyshabur, Sharpness-aware minimization for efficiently improving generalization (ICLR
      2021), arXiv 2010.01412, algorithm 1.
    """
    check.positive_count(sync_period=sync_period)
    inner = as_transformation("optimizer", optimizer), as_transformation("adv_optimizer", adv_optimizer)
    return transformation(Sam(inner, int(sync_period), reset_state, opaque_mode, batch_axis_name))
