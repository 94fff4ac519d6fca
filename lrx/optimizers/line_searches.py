"""optax's two line searches along the updates, with their numbers in the state.

The searches themselves are optax's. Around them: they run in at least float32, an update whose loss or gradient is not
finite is skipped, and a search that found no step does not keep the next one from beginning.
"""

import inspect
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .. import _check as check
from .._arithmetic import add_one, real_dtype, select, vary_like, zero_count, zeros_like
from .._numbers import F32, I32, Count, Hyperparameter, Scalar
from .._pytree import factory_name, pytree_dataclass, static
from .._rule import Rule
from .._skipping import guarded, not_moved_where
from .._transformation import Transformation, transformation
from ..controllers._controller import require, scalar_value
from ..controllers._loss import loss_of, refuse_masked
from ._trainable import Trainable

Guess = Literal["keep", "one"]


class ScaleByBacktrackingLinesearchState(NamedTuple):
    """The state of the backtracking line search."""

    learning_rate: jax.Array
    """η, the factor found last, 1 before the first; float32 []."""
    value: jax.Array
    """The loss there, infinite before the first update; float32 or wider []."""
    grad: Any
    """The gradient there, like the parameters, or None without `store_grad`."""
    info: Any
    """`num_linesearch_steps` and `decrease_error` of the last search."""
    num_updates: jax.Array
    """t, the number of updates completed; int32 []."""
    skipped: jax.Array
    """Those of them that were skipped, since the loss or the gradient was not finite; int32 []."""


class ScaleByZoomLinesearchState(NamedTuple):
    """The state of the zoom line search."""

    learning_rate: jax.Array
    """η, the factor found last, 1 before the first; float32 []."""
    value: jax.Array
    """The loss there, infinite before the first update; float32 or wider []."""
    grad: Any
    """The gradient there, like the parameters."""
    info: Any
    """`num_linesearch_steps`, `decrease_error` and `curvature_error` of the last search."""
    num_updates: jax.Array
    """t, the number of updates completed; int32 []."""
    skipped: jax.Array
    """Those of them that were skipped, since the loss or the gradient was not finite; int32 []."""


class _Search(Rule):
    """What both share."""

    skips = True

    def _optax(self, dtype: Any) -> Any:
        raise NotImplementedError  # optax's transformation with these numbers

    def _started(self, params: Any, memory: Callable[..., Any]) -> Any:
        fresh = self._optax(F32).init([jnp.zeros((), F32)])
        grad = None if fresh.grad is None else zeros_like(params)
        value = jnp.full((), jnp.inf, real_dtype(params))
        numbers = jnp.ones((), F32), value, jax.tree.map(_narrow, fresh.info), zero_count(), zero_count()
        rate, value, info, count, skipped = vary_like(numbers, params)
        return memory(rate, value, grad, info, count, skipped)

    def update(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        """The updates, times the factor that the search finds."""
        return guarded(lambda state: self._step(updates, state, params, extra), updates, state)

    def _step(self, updates: Any, state: Any, params: Any, extra: dict[str, Any]) -> tuple[Any, Any]:
        name = factory_name(self)
        given = {name: extra.get(name) for name in ("value", "value_fn", "grad")}
        require(f"{name}()", ("value", "value_fn", "params", "grad"), params=params, **given)
        refuse_masked(name, params)
        part = Trainable(updates, least=jnp.zeros(()).dtype)  # float64 where that is enabled: optax's own constants are
        if not part.places:
            return updates, state._replace(num_updates=add_one(state.num_updates))
        us, ps, gs = (part.take(tree) for tree in (updates, params, given["grad"]))
        _refuse_unknown(name, given["value_fn"], extra)
        dtype, loss = real_dtype(ps), loss_of({"value_fn": given["value_fn"], "extra": extra})
        value = scalar_value(given["value"]).astype(dtype)

        def value_fn(xs: list[jax.Array]) -> jax.Array:
            return jnp.asarray(loss(part.back(xs, params))).astype(dtype)

        last = state.learning_rate
        last = jnp.where(last > 0, last, jnp.ones_like(last)).astype(dtype)
        with jax.numpy_dtype_promotion("standard"):
            search = self._optax(dtype)
            old = search.init(ps)._replace(learning_rate=last)
            moved, found = search.update(us, old, ps, value=value, grad=gs, value_fn=value_fn)
        failed = ~(jnp.isfinite(value) & jnp.isfinite(found.learning_rate))
        rate = jnp.where(failed, 0, found.learning_rate)
        grad = None if state.grad is None else part.stored(found.grad, state.grad)
        numbers = found.value.astype(state.value.dtype), grad, jax.tree.map(_narrow, found.info)
        value, grad, info = select(failed, (state.value, state.grad, state.info), numbers)
        skipped = jnp.where(failed, add_one(state.skipped), state.skipped)
        new = type(state)(rate.astype(F32), value, grad, info, add_one(state.num_updates), skipped)
        return not_moved_where(failed, part.back(moved, jax.tree.map(_still, updates))), new


def _refuse_unknown(who: str, value_fn: Any, extra: dict[str, Any]) -> None:
    """Refuse arguments that the loss does not take, as optax does: a misspelled one would leave it its default."""
    try:
        taken = inspect.signature(value_fn).parameters
    except (TypeError, ValueError):  # a callable without a signature
        return
    unknown = sorted(k for k in extra if k not in taken and k not in ("value", "value_fn", "grad"))
    if unknown:
        known = ", ".join(list(taken)[1:]) or "no further argument"
        raise TypeError(f"{who}() got {unknown[0]}=, which value_fn does not take: it has {known}.")


def _narrow(x: Any) -> jax.Array:
    return jnp.asarray(x).astype(I32 if jnp.issubdtype(jnp.result_type(x), jnp.integer) else F32)


def _still(u: Any) -> Any:
    return u if getattr(u, "dtype", None) == jax.dtypes.float0 else jnp.zeros_like(u)


@pytree_dataclass
class ScaleByBacktrackingLinesearch(_Search):
    """See `scale_by_backtracking_linesearch`."""

    max_backtracking_steps: Count
    slope_rtol: Scalar = 1e-4
    decrease_factor: Scalar = 0.8
    increase_factor: Scalar = 1.5
    max_learning_rate: Scalar = 1.0
    atol: Scalar = 0.0
    rtol: Scalar = 0.0
    store_grad: bool = static(default=False)
    verbose: bool = static(default=False)

    def init(self, params: Any) -> ScaleByBacktrackingLinesearchState:
        """The state before the first update."""
        return self._started(params, ScaleByBacktrackingLinesearchState)

    def _optax(self, dtype: Any) -> Any:
        names = "slope_rtol", "decrease_factor", "increase_factor", "max_learning_rate", "atol", "rtol"
        numbers = {name: jnp.asarray(getattr(self, name), dtype) for name in names}
        return optax.scale_by_backtracking_linesearch(
            self.max_backtracking_steps, **numbers, store_grad=self.store_grad, verbose=self.verbose
        )


@pytree_dataclass
class ScaleByZoomLinesearch(_Search):
    """See `scale_by_zoom_linesearch`."""

    max_linesearch_steps: Count
    max_learning_rate: Scalar | None = None
    tol: Scalar = 0.0
    increase_factor: Scalar = 2.0
    slope_rtol: Scalar = 1e-4
    curv_rtol: Scalar = 0.9
    approx_dec_rtol: Scalar | None = None
    stepsize_precision: Scalar = 1e-5
    initial_guess_strategy: str = static(default="keep")
    verbose: bool = static(default=False)

    def init(self, params: Any) -> ScaleByZoomLinesearchState:
        """The state before the first update."""
        return self._started(params, ScaleByZoomLinesearchState)

    def _optax(self, dtype: Any) -> Any:
        names = "max_learning_rate", "tol", "increase_factor", "slope_rtol", "curv_rtol", "approx_dec_rtol"
        given = {name: getattr(self, name) for name in (*names, "stepsize_precision")}
        numbers = {name: None if x is None else jnp.asarray(x, dtype) for name, x in given.items()}
        options = {"initial_guess_strategy": self.initial_guess_strategy, "verbose": self.verbose}
        return optax.scale_by_zoom_linesearch(self.max_linesearch_steps, **numbers, **options)


@check.public
def scale_by_backtracking_linesearch(
    max_backtracking_steps: Count,
    slope_rtol: Hyperparameter = 1e-4,
    decrease_factor: Hyperparameter = 0.8,
    increase_factor: Hyperparameter = 1.5,
    max_learning_rate: Hyperparameter = 1.0,
    atol: Hyperparameter = 0.0,
    rtol: Hyperparameter = 0.0,
    store_grad: bool = False,
    verbose: bool = False,
) -> Transformation:
    """Multiply the updates by the first factor of a falling sequence that lowers the loss enough (Armijo).

    With f the loss, u the updates, which must descend, and g the gradient::

      start at min(increase_factor · the last η, max_learning_rate), the last η being 1 at first
      multiply η by decrease_factor until f(θ + η·u) ≤ (1 + rtol) · f(θ) + slope_rtol · η · ⟨u, g⟩ + atol

    After `max_backtracking_steps` reductions the last η is taken though it does not, and 0 if the loss is not finite
    there. `lrx.learning_rate` reads η. The controller `lrx.line_search` searches along any optimizer's updates, below
    a schedule or another controller. An update whose loss or gradient is not finite is skipped, and counted in the
    state as `skipped`.

    Args:
      max_backtracking_steps: a whole number ≥ 0.
      slope_rtol: ≥ 0, the share of the predicted decrease that is asked for.
      decrease_factor: in (0, 1).
      increase_factor: ≥ 1; `float("inf")` to begin at `max_learning_rate` each time.
      max_learning_rate: > 0.
      atol: ≥ 0.
      rtol: ≥ 0.
      store_grad: whether the state keeps the gradient at the new parameters, for `value_and_grad_from_state`.
      verbose: whether a search that fails prints why.

    Returns:
      A transformation, whose update needs the parameters, `value=`, `value_fn=` and `grad=`, which `lrx.chain` adds.
      Further arguments of the loss are given by name.

    Raises:
      ValueError: if a number is out of its range; in update, if an argument is missing.
      TypeError: in update, if an argument is given that `value_fn` does not take.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> loss = lambda x: jnp.sum(x**2)
      >>> tx = lrx.chain(lrx.scale(-1.0), lrx.scale_by_backtracking_linesearch(10, decrease_factor=0.5))
      >>> params = jnp.array([2.0])
      >>> value, grad = jax.value_and_grad(loss)(params)
      >>> updates, state = tx.update(grad, tx.init(params), params, value=value, value_fn=loss)
      >>> print(updates, lrx.learning_rate(state))
      [-2.] 0.5

    References:
      Nocedal, Wright, Numerical optimization (2006), algorithm 3.1; Vaswani et al., Painless stochastic gradient
      (NeurIPS 2019), arXiv 1905.09997.
    """
    check.non_negative_count(max_backtracking_steps=max_backtracking_steps)
    check.non_negative(slope_rtol=slope_rtol, atol=atol, rtol=rtol)
    check.positive(decrease_factor=decrease_factor, max_learning_rate=max_learning_rate)
    check.below_one(decrease_factor=decrease_factor)
    check.at_least_one(increase_factor=increase_factor)
    numbers = slope_rtol, decrease_factor, increase_factor, max_learning_rate, atol, rtol
    return transformation(
        ScaleByBacktrackingLinesearch(max_backtracking_steps, *numbers, store_grad=store_grad, verbose=verbose)
    )


@check.public
def scale_by_zoom_linesearch(
    max_linesearch_steps: Count,
    max_learning_rate: Hyperparameter | None = None,
    tol: Hyperparameter = 0.0,
    increase_factor: Hyperparameter = 2.0,
    slope_rtol: Hyperparameter = 1e-4,
    curv_rtol: Hyperparameter = 0.9,
    approx_dec_rtol: Hyperparameter | None = 1e-6,
    stepsize_precision: Hyperparameter = 1e-5,
    initial_guess_strategy: Guess = "keep",
    verbose: bool = False,
) -> Transformation:
    """Multiply the updates by a factor that lowers the loss enough and leaves little slope (strong Wolfe).

    With f the loss, u the updates, which must descend, and g the gradient at θ::

      f(θ + η·u) ≤ f(θ) + slope_rtol · η · ⟨u, g⟩ + tol
      |⟨u, ∇f(θ + η·u)⟩| ≤ curv_rtol · |⟨u, g⟩| + tol

    An interval that holds such an η is searched by growing steps, then made smaller by cubic and quadratic
    interpolation. Where the loss changes by less than `approx_dec_rtol` of its size, slopes decide in place of losses.
    The state keeps the loss and the gradient at the new parameters, for `value_and_grad_from_state`, and η, which
    `lrx.learning_rate` reads. An update whose loss or gradient is not finite is skipped, and counted in the state as
    `skipped`.

    Args:
      max_linesearch_steps: a whole number > 0.
      max_learning_rate: > 0, or None for no bound.
      tol: ≥ 0.
      increase_factor: ≥ 1.
      slope_rtol: ≥ 0, the share of the predicted decrease that is asked for.
      curv_rtol: ≥ 0; `float("inf")` for the first condition alone.
      approx_dec_rtol: ≥ 0, or None to let losses decide always.
      stepsize_precision: ≥ 0, the length of interval at which the search ends.
      initial_guess_strategy: where a search begins: "keep" for the last η, "one" for 1, as Newton's directions need.
      verbose: whether a search that fails prints why.

    Returns:
      A transformation, whose update needs the parameters, `value=`, `value_fn=` and `grad=`, which `lrx.chain` adds.
      Further arguments of the loss are given by name.

    Raises:
      ValueError: if a number is out of its range or the strategy unknown; in update, if an argument is missing.
      TypeError: in update, if an argument is given that `value_fn` does not take.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> loss = lambda x: jnp.sum(x**2)
      >>> tx = lrx.chain(lrx.scale(-1.0), lrx.scale_by_zoom_linesearch(10))
      >>> params = jnp.array([2.0])
      >>> value, grad = jax.value_and_grad(loss)(params)
      >>> updates, state = tx.update(grad, tx.init(params), params, value=value, value_fn=loss)
      >>> print(updates, lrx.learning_rate(state))
      [-2.] 0.5

    References:
      Nocedal, Wright, Numerical optimization (2006), algorithms 3.5 and 3.6; Hager, Zhang, Algorithm 851: CG_DESCENT
      (ACM Transactions on Mathematical Software 2006), for the comparison by slopes.
    """
    check.positive_count(max_linesearch_steps=max_linesearch_steps)
    for name, x in {"max_learning_rate": max_learning_rate, "approx_dec_rtol": approx_dec_rtol}.items():
        if x is not None:
            check.non_negative(**{name: x})
    check.non_negative(tol=tol, slope_rtol=slope_rtol, curv_rtol=curv_rtol, stepsize_precision=stepsize_precision)
    check.at_least_one(increase_factor=increase_factor)
    check.one_of(Guess, initial_guess_strategy=initial_guess_strategy)
    numbers = max_learning_rate, tol, increase_factor, slope_rtol, curv_rtol, approx_dec_rtol, stepsize_precision
    return transformation(ScaleByZoomLinesearch(max_linesearch_steps, *numbers, initial_guess_strategy, verbose))


def value_and_grad_from_state(value_fn: Callable[..., Any]) -> Callable[..., tuple[jax.Array, Any]]:
    """As `jax.value_and_grad`, but what a line search already found is taken from the optimizer's state.

    The state of `scale_by_zoom_linesearch`, of `scale_by_backtracking_linesearch(store_grad=True)` and of optimizers
    that end in them holds the loss and the gradient at the parameters that the search chose. Before the first update
    they are computed. Only for a loss that does not change from step to step.

    Args:
      value_fn: the loss, a function of the parameters and of further arguments.

    Returns:
      A function of the parameters, of the further arguments and of `state=`, that gives the loss and its gradient.

    Raises:
      ValueError: in the function, if the state does not hold both once.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> loss = lambda x: jnp.sum(x**2)
      >>> tx, params = lrx.lbfgs(), jnp.array([1.0, 2.0, 3.0])
      >>> state = tx.init(params)
      >>> value_and_grad = lrx.value_and_grad_from_state(loss)
      >>> for _ in range(2):
      ...   value, grad = value_and_grad(params, state=state)
      ...   updates, state = tx.update(grad, state, params, value=value, grad=grad, value_fn=loss)
      ...   params = lrx.apply_updates(params, updates)
      >>> bool(loss(params) < 1e-9)
      True
    """

    def value_and_grad(params: Any, *args: Any, state: Any, **kwargs: Any) -> tuple[jax.Array, Any]:
        found = {name: optax.tree_utils.tree_get_all_with_path(state, name) for name in ("value", "grad")}
        held = {name: [x for _, x in hits if x is not None] for name, hits in found.items()}
        if any(len(hits) != 1 for hits in held.values()):
            raise ValueError(
                "value_and_grad_from_state(...)(state=...) must hold one loss and one gradient, as those of "
                f"scale_by_zoom_linesearch do, got {' and '.join(f'{len(x)} of {name}' for name, x in held.items())}. "
                "A backtracking search keeps the gradient with store_grad=True."
            )
        value, grad = held["value"][0], held["grad"][0]

        def computed() -> tuple[jax.Array, Any]:
            new = jax.value_and_grad(value_fn)(params, *args, **kwargs)
            return jax.tree.map(lambda x, y: jnp.asarray(x).astype(y.dtype), new, (value, grad))

        return jax.lax.cond(jnp.isfinite(value), lambda: (value, grad), computed)

    return value_and_grad
