"""L-BFGS: Newton's direction from the last differences of parameters and gradients."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .. import _check as check
from .._arithmetic import add_one, memory_dtype, real_dtype, vary_like, wide_zeros_like, zero_count
from .._chain import chain
from .._pytree import pytree_dataclass, static
from .._skipping import SkipsUnusable
from .._transformation import Transformation, transformation
from ..controllers._controller import LearningRate
from ._trainable import Trainable
from .learning_rate import scale_by_learning_rate
from .line_searches import scale_by_zoom_linesearch
from .scale import scale


class ScaleByLBFGSState(NamedTuple):
    """The state of L-BFGS. All of it is float32 or wider."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    params: Any
    """θ_{t−1}, the parameters of the last update; 0 before the first."""
    updates: Any
    """g_{t−1}, its gradient."""
    diff_params_memory: Any
    """The last differences of the parameters, on a leading axis of `memory_size`."""
    diff_updates_memory: Any
    """The last differences of the gradients, on a leading axis of `memory_size`."""
    weights_memory: jax.Array
    """ρ = 1 / ⟨δg, δθ⟩ of each, 0 where there is none; [memory_size]."""
    skipped: jax.Array
    """Updates that were skipped, since the gradient was not finite; int32 []."""


@pytree_dataclass
class ScaleByLbfgs(SkipsUnusable):
    """See `scale_by_lbfgs`."""

    memory_size: int = static(default=10)
    scale_init_precond: bool = static(default=True)

    def init(self, params: Any) -> ScaleByLBFGSState:
        """The state before the first update."""

        def stack(p: Any) -> jax.Array:
            return jnp.zeros((self.memory_size, *jnp.shape(p)), memory_dtype(p, widened=True))

        trees = [wide_zeros_like(params), wide_zeros_like(params)]
        trees += [jax.tree.map(stack, params), jax.tree.map(stack, params)]
        weights, skipped = jnp.zeros(self.memory_size, real_dtype(params)), zero_count()
        return ScaleByLBFGSState(*vary_like((zero_count(), *trees, weights, skipped), params))

    def step(
        self, updates: Any, state: ScaleByLBFGSState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByLBFGSState, jax.Array]:
        """optax's step, on the trainable leaves."""
        del extra
        check.needs_params("scale_by_lbfgs", updates, params)
        part = Trainable(updates)
        if not part.places:
            return updates, state._replace(count=add_one(state.count)), jnp.zeros((), bool)
        inner: Any = optax.scale_by_lbfgs(self.memory_size, self.scale_init_precond)
        us, ps = part.take(updates), part.take(params)
        trees = {name: part.take(getattr(state, name)) for name in _TREES}
        old = inner.init(ps)._replace(count=state.count, weights_memory=state.weights_memory, **trees)
        with jax.numpy_dtype_promotion("standard"):
            moved, found = inner.update(us, old, ps)
        stored = {name: part.stored(getattr(found, name), getattr(state, name)) for name in _TREES}
        weights = found.weights_memory.astype(state.weights_memory.dtype)
        new = state._replace(count=found.count, weights_memory=weights, **stored)
        return part.back(moved, jax.tree.map(_still, updates)), new, jnp.zeros((), bool)


_TREES = "params", "updates", "diff_params_memory", "diff_updates_memory"


def _still(u: Any) -> Any:
    return u if getattr(u, "dtype", None) == jax.dtypes.float0 else jnp.zeros_like(u)


@check.public
def scale_by_lbfgs(memory_size: int = 10, scale_init_precond: bool = True) -> Transformation:
    """Multiply the updates by L-BFGS's approximation of the inverse Hessian: see `lbfgs`.

    Args:
      memory_size: m, how many differences are kept, > 0. It is the size of the memory, and no number in the state.
      scale_init_precond: whether γ_t is as in `lbfgs`, or 1.

    Returns:
      A transformation, whose update needs the parameters. It keeps 2·m + 2 words per parameter, at least float32. An
      update whose gradient is not finite is skipped, and counted in the state as `skipped`.

    Raises:
      ValueError: if `memory_size` is not positive; in update, if there are no parameters.
      TypeError: if it is no whole number.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.chain(lrx.scale_by_lbfgs(), lrx.scale(-1.0))
      >>> params = jnp.array([4.0])
      >>> state = tx.init(params)
      >>> for _ in range(2):  # of the loss 2·x², whose inverse Hessian is 1/4
      ...   updates, state = tx.update(4 * params, state, params)
      ...   params = params + updates
      ...   print(params)
      [3.]
      [0.]

    References:
      Nocedal, Wright, Numerical optimization (2006), algorithm 7.4.
    """
    check.positive_count(memory_size=memory_size)
    return transformation(ScaleByLbfgs(int(memory_size), scale_init_precond))


@check.public
def lbfgs(
    learning_rate: LearningRate | None = None,
    memory_size: int = 10,
    scale_init_precond: bool = True,
    linesearch: optax.GradientTransformation | None = scale_by_zoom_linesearch(20, initial_guess_strategy="one"),  # noqa: B008
) -> Transformation:
    """L-BFGS with a line search: few steps for a loss that is smooth and not noisy.

    With δθ and δg the last m differences of the parameters and of the gradients, ρ = 1 / ⟨δg, δθ⟩, and P_0 = γ_t·I
    updated by each of them, the oldest first::

      P ← (I − ρ·δθ·δgᵀ) · P · (I − ρ·δg·δθᵀ) + ρ·δθ·δθᵀ
      γ_t = ⟨δθ, δg⟩ / ‖δg‖² of the last difference;  γ_1 = min(1, 1/‖g_1‖)
      θ_t = θ_{t−1} − η_t · P·g_t

    where the line search finds η_t. The directions are formed in at least float32.

    Args:
      learning_rate: a factor before the line search: a number, a schedule or a controller. None is 1.
      memory_size: m > 0, the size of the memory, and no number in the state.
      scale_init_precond: whether γ_t is as above, or 1.
      linesearch: what finds η_t: `scale_by_zoom_linesearch`, `scale_by_backtracking_linesearch` or another
        transformation of the updates. None for η_t = `learning_rate`.

    Returns:
      A transformation, whose update needs the parameters, and for a line search `value=` and `value_fn=`. It keeps
      2·m + 3 words per parameter. `value_and_grad_from_state` saves one gradient in each step.

    Raises:
      ValueError: if a number is out of its range; in update, if an argument is missing.
      TypeError: if `linesearch` is no transformation.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> loss = lambda x: jnp.sum((x - 1.0) ** 4 + x**2)
      >>> tx, params = lrx.lbfgs(), jnp.array([4.0, -3.0])
      >>> state = tx.init(params)
      >>> for _ in range(20):
      ...   value, grad = jax.value_and_grad(loss)(params)
      ...   updates, state = tx.update(grad, state, params, value=value, value_fn=loss)
      ...   params = lrx.apply_updates(params, updates)
      >>> bool(jnp.linalg.norm(jax.grad(loss)(params)) < 1e-3)
      True

    References:
      Liu, Nocedal, On the limited memory BFGS method for large scale optimization (Mathematical Programming 1989);
      Nocedal, Wright, Numerical optimization (2006), algorithms 7.4 and 7.5.
    """
    direction = scale_by_lbfgs(memory_size, scale_init_precond)
    base = scale(-1.0) if learning_rate is None else scale_by_learning_rate(learning_rate)
    return chain(direction, base) if linesearch is None else chain(direction, base, linesearch)
