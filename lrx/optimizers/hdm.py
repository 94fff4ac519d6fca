"""HDM: a rate for each coordinate, learned online from how far each step lowered the loss."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import (
    add_one,
    copied,
    full_like_second,
    global_norm,
    inner_product,
    map_leaves,
    real,
    real_dtype,
    select,
    sqrt,
    squared,
    vary_like,
    zero_count,
    zeros_like,
)
from .._numbers import F32, Hyperparameter, Scalar
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, transformation
from ..controllers._controller import LearningRate, as_early_rate, evaluate, first_of, require, scalar_value, start_of

TINY = 1e-12
"""What the authors' code adds to a denominator."""
MOST_MOMENTUM = 0.9995
"""The greatest β in the authors' code."""


class HdmState(NamedTuple):
    """What HDM remembers of x, the last parameters that were accepted."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    skipped: jax.Array
    """Those of them whose loss or gradient was not finite; int32 []."""
    seen: jax.Array
    """The others, since the memory began; int32 []."""
    learning_rate: jax.Array
    """⟨g, P·g⟩ / ‖g‖², the rate of an equally long step along the gradient; float32 []."""
    best: Any
    """x, shaped like the parameters."""
    moved: Any
    """x − x⁻, by the last step, 0 if that was not accepted."""
    gradient: Any
    """g, at x."""
    loss: jax.Array
    """f(x); float32 or wider []."""
    rates: Any
    """P, shaped like the parameters, real, float32 or wider, as the next."""
    squares: Any
    """G, the sums of P's squared hypergradients."""
    momentum: jax.Array
    """β; float32 or wider []."""
    momentum_square: jax.Array
    """The sum of its squared hypergradients; likewise."""
    base: Any

    @property
    def averaged(self) -> Any:
        """The parameters to evaluate with, by the name under which `eval_params` looks for them."""
        return self.best


@pytree_dataclass
class Hdm(Rule):
    """See `hdm`."""

    learning_rate: Any
    momentum: Scalar = 0.95
    momentum_rate: Scalar = 1.0
    nonnegative: bool = static(default=True)

    elementwise = True

    def init(self, params: Any) -> HdmState:
        """The state before the first update."""
        dtype = real_dtype(params)
        rates, squares = full_like_second(params, 0.0), full_like_second(params, 0.0)
        memory = HdmState(
            zero_count(),
            zero_count(),
            zero_count(),
            first_of(self.learning_rate, params),
            copied(params),
            zeros_like(params),
            zeros_like(params),
            jnp.zeros((), dtype),
            rates,
            squares,
            jnp.array(jnp.asarray(self.momentum, dtype)),
            jnp.zeros((), dtype),
            start_of(self.learning_rate, params),
        )
        return vary_like(memory, params)

    def update(self, updates: Any, state: HdmState, params: Any = None, **extra: Any) -> tuple[Any, HdmState]:
        """From the parameters that were proposed to the next that are."""
        require("hdm()", ("value", "params"), params=params, value=extra.get("value"))
        dtype = state.loss.dtype
        value = scalar_value(extra["value"]).astype(dtype)
        base = evaluate(self, self.learning_rate, state.base, updates, state.count, params, {"grad": updates, **extra})
        usable = jnp.isfinite(value) & jnp.isfinite(global_norm(updates)) & ~(base.failed | base.unmeasured)
        first = state.seen == 0  # no parameters have been accepted
        a, size = base.rate.astype(dtype), jnp.where(first, global_norm(updates), global_norm(state.gradient))
        size = size.astype(dtype) ** 2 + jnp.asarray(TINY, dtype)

        slope = inner_product(updates, state.moved).astype(dtype) / size
        momentum_square = state.momentum_square + slope**2
        down = jnp.asarray(self.momentum_rate, dtype) * slope / (sqrt(momentum_square) + jnp.asarray(TINY, dtype))
        momentum = jnp.clip(state.momentum - down, 0, jnp.asarray(MOST_MOMENTUM, dtype))
        momentum, momentum_square = select(usable, (momentum, momentum_square), (state.momentum, state.momentum_square))
        better = usable & (first | (value < state.loss))

        def leaf(new: jax.Array, y: Any, x: Any, old: Any, g: Any, p: Any, square: Any) -> tuple[jax.Array, ...]:
            del old
            kind = real(new.dtype)
            y, x, g = (jnp.asarray(z).astype(new.dtype) for z in (y, x, g))
            p, square = p.astype(kind), square.astype(kind)
            h = -jnp.real(jnp.conj(new) * jnp.where(first, new, g)) / size.astype(kind)
            added = square + squared(h)
            learned = p - a.astype(kind) * h / (sqrt(added) + jnp.asarray(TINY, kind))
            learned = jnp.maximum(learned, 0) if self.nonnegative else learned
            # the loss is not finite at this proposal: the next one is nearer to x
            p, square = select(usable, (learned, added), (p / 2, square))
            moved = jnp.where(better & ~first, y - x, jnp.zeros_like(x))
            x, g = select(better, (y, new), (x, g))
            proposed = x - p * g + momentum.astype(kind) * moved
            return proposed - y, x, moved, g, p, square

        trees = state.best, state.moved, state.gradient, state.rates, state.squares
        moved, best, step, gradient, rates, squares = map_leaves(_from(leaf), 6, updates, *trees, params)
        loss = jnp.where(better, value, state.loss)
        norms = map_leaves(lambda g, p: (p.astype(real(g.dtype)) * g,), 1, gradient, rates)[0]
        along, whole = inner_product(gradient, norms), inner_product(gradient, gradient)
        shown = jnp.where(whole > 0, along / jnp.where(whole > 0, whole, 1), 0).astype(F32)
        skipped = jnp.where(usable, state.skipped, add_one(state.skipped))
        seen = jnp.where(usable, add_one(state.seen), state.seen)
        return moved, HdmState(
            add_one(state.count),
            skipped,
            seen,
            shown,
            best,
            step,
            gradient,
            loss,
            rates,
            squares,
            momentum,
            momentum_square,
            select(usable, base.memory, state.base),
        )


def _from(leaf: Any) -> Any:
    """`leaf` with the parameters, which are no memory, behind the memories."""
    return lambda u, *xs: leaf(u, xs[-1], *xs[:-1])


@check.public
def hdm(
    learning_rate: LearningRate = 0.1,
    *,
    momentum: Hyperparameter = 0.95,
    momentum_rate: Hyperparameter = 1.0,
    nonnegative: bool = True,
) -> Transformation:
    """Hypergradient descent with heavy-ball momentum (HDM-HB): learn a rate for each coordinate while descending.

    With x the last parameters that were accepted, f and g the loss and the gradient there, x⁻ those before them, y the
    parameters proposed, P a rate for each coordinate, a = `learning_rate`, b = `momentum_rate`::

      h = −∇f(y)∘g / ‖g‖²,            G ← G + h²,      P ← [P − a·h/√G]₊            from P = 0
      h_β = ⟨∇f(y), x − x⁻⟩ / ‖g‖²,   G_β ← G_β + h_β²,   β ← β − b·h_β/√G_β        from `momentum`, kept in [0, 0.9995]
      accept y if f(y) < f(x); x⁻ ← x otherwise
      y ← x − P∘g + β·(x − x⁻)

    The parameters of the training loop are the proposals: evaluate x, `lrx.eval_params(state, params)`. It is a method
    for losses that are the same function in every update, the whole data set or one large batch. The first update sets
    P = a. `lrx.learning_rate(state)` is ⟨g, P·g⟩/‖g‖².

    Where the loss or the gradient is not finite, or its squares overflow, the state counts it as `skipped` and keeps x,
    but the parameters do move: they are a proposal that failed, at which the next gradient would fail as well. P is
    halved, and they go back to x − P∘g + β·(x − x⁻). After one such update training goes on, with the halved rates.

    Args:
      learning_rate: a, which the rates start from and learn with: a number, a schedule, or a controller that does
        without the direction. The authors use 0.1, or 10/L for a loss whose gradient has the Lipschitz constant L.
      momentum: β at the start, in [0, 1).
      momentum_rate: b ≥ 0.
      nonnegative: whether rates stay at or above 0, as for convex losses.

    Returns:
      A transformation, whose update needs the parameters and `value=`, the loss. It keeps five words per parameter.

    Raises:
      ValueError: if a number is out of its range; in update, if the parameters or `value=` are missing.
      TypeError: if `learning_rate` is no rate.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> loss = lambda p: 0.5 * jnp.sum(jnp.array([1.0, 100.0]) * p**2)
      >>> tx = lrx.hdm(0.1)
      >>> params = jnp.ones(2)
      >>> state = tx.init(params)
      >>> for _ in range(100):
      ...   value, grads = jax.value_and_grad(loss)(params)
      ...   updates, state = tx.update(grads, state, params, value=value)
      ...   params = lrx.apply_updates(params, updates)
      >>> print(loss(lrx.eval_params(state, params)) < 1e-3)
      True

    References:
      Chu, Gao, Ye, Udell, Provable and practical online learning rate adaptation with hypergradient descent (ICML
      2025), arXiv 2502.11229, and the authors' code, whose heuristics after the first updates are left out.
    """
    check.below_one(momentum=momentum)
    check.non_negative(momentum_rate=momentum_rate)
    check.flag(nonnegative=nonnegative)
    base = as_early_rate("learning_rate", learning_rate)
    return transformation(Hdm(base, momentum, momentum_rate, nonnegative))
