"""Optimistic gradients: what the last gradient missed is added once more, against cycles in games of two players."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .. import _check as check
from .._arithmetic import map_leaves, real, vary_like, widened, zeros_like
from .._chain import chain
from .._numbers import Hyperparameter, Scalar
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, transformation
from ..controllers._controller import LearningRate
from .adam import scale_by_adam
from .learning_rate import scale_by_learning_rate


class ScaleByOptimisticGradientState(NamedTuple):
    """The state of optimistic gradients."""

    is_initial_step: jax.Array
    """Whether there is no last gradient yet; bool []."""
    previous_gradient: Any
    """g_{t−1}, shaped like the parameters, in their dtype."""


@pytree_dataclass
class ScaleByOptimisticGradient(Rule):
    """See `scale_by_optimistic_gradient`."""

    alpha: Scalar = 1.0
    beta: Scalar = 1.0

    elementwise = True

    def init(self, params: Any) -> ScaleByOptimisticGradientState:
        """The state before the first update."""
        return ScaleByOptimisticGradientState(jnp.ones((), bool), zeros_like(params))

    def update(
        self, updates: Any, state: ScaleByOptimisticGradientState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByOptimisticGradientState]:
        """One step, on each leaf."""
        del params, extra

        def leaf(g: jax.Array, last: jax.Array) -> tuple[jax.Array, jax.Array]:
            alpha, beta = (jnp.asarray(x, real(g.dtype)) for x in (self.alpha, self.beta))
            last = jnp.where(state.is_initial_step, g, last.astype(g.dtype))
            return (alpha + beta) * g - beta * last, g

        updates, last = map_leaves(leaf, 2, updates, state.previous_gradient)
        return updates, ScaleByOptimisticGradientState(jnp.zeros_like(state.is_initial_step), last)


class AddOptimismState(NamedTuple):
    """The state of optimism with a size of its own, beside a learning rate."""

    is_initial_step: jax.Array
    """Whether there is no last direction yet; bool []."""
    previous_gradient: Any
    """r_{t−1}, shaped like the parameters, in their dtype."""
    inner: Any
    """The state of the learning rate."""


@pytree_dataclass
class AddOptimism(Rule):
    """The steps of a learning rate, and `optimism` times what the last direction missed: see `optimistic_adam`."""

    inner: Any = static()
    optimism: Scalar

    renamed = (("inner", "learning_rate"),)
    elementwise = True

    def init(self, params: Any) -> AddOptimismState:
        """The state before the first update."""
        initial = vary_like(jnp.ones((), bool), params)
        return AddOptimismState(initial, zeros_like(params), self.inner.init(params))

    def update(
        self, updates: Any, state: AddOptimismState, params: Any = None, **extra: Any
    ) -> tuple[Any, AddOptimismState]:
        """`−η·r_t − optimism·(r_t − r_{t−1})`, on each leaf."""
        moved, inner = self.inner.update(widened(updates), state.inner, params, **extra)

        def leaf(r: jax.Array, last: jax.Array, u: jax.Array) -> tuple[jax.Array, jax.Array]:
            missed = r - jnp.where(state.is_initial_step, r, last.astype(r.dtype))
            return u - jnp.asarray(self.optimism, real(r.dtype)) * missed, r

        updates, last = map_leaves(leaf, 2, updates, state.previous_gradient, moved)
        return updates, AddOptimismState(jnp.zeros_like(state.is_initial_step), last, inner)


@check.public
def scale_by_optimistic_gradient(alpha: Hyperparameter = 1.0, beta: Hyperparameter = 1.0) -> Transformation:
    """Add to each update what the last one missed.

    With g_0 = g_1::

      u_t = (alpha + beta) · g_t − beta · g_{t−1}

    Args:
      alpha: weight of the update, a finite number.
      beta: weight of its change, a finite number.

    Returns:
      A transformation.

    Raises:
      ValueError: if a number is not finite.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_optimistic_gradient()
      >>> state = tx.init(jnp.zeros(1))
      >>> for g in (1.0, 2.0):
      ...   updates, state = tx.update(jnp.array([g]), state)
      ...   print(updates)
      [1.]
      [3.]

    References:
      Mokhtari, Ozdaglar, Pattathil, A unified analysis of extra-gradient and optimistic gradient methods for saddle
      point problems: proximal point approach (AISTATS 2020), arXiv 1901.08511, section 4.
    """
    check.finite(alpha=alpha, beta=beta)
    return transformation(ScaleByOptimisticGradient(alpha, beta))


@check.public
def optimistic_gradient_descent(
    learning_rate: LearningRate, alpha: Hyperparameter = 1.0, beta: Hyperparameter = 1.0
) -> Transformation:
    """Optimistic gradient descent, which converges where two players' plain gradient descent goes round in circles.

    With g_t the gradient, η_t the learning rate and g_0 = g_1::

      θ_t = θ_{t−1} − η_t · ((alpha + beta) · g_t − beta · g_{t−1})

    Args:
      learning_rate: η, a number, a schedule or a controller.
      alpha: weight of the gradient, a number or a schedule.
      beta: weight of its change, a number or a schedule.

    Returns:
      A transformation.

    Raises:
      ValueError: if a number is out of its range.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> tx = lrx.optimistic_gradient_descent(0.5)
      >>> params = jnp.array([1.0, 1.0])  # of two players: the first makes x·y small, the second large
      >>> state = tx.init(params)
      >>> for _ in range(100):
      ...   x, y = params
      ...   updates, state = tx.update(jnp.array([y, -x]), state, params)
      ...   params = lrx.apply_updates(params, updates)
      >>> bool(jnp.linalg.norm(params) < 1e-3)
      True

    References:
      Mokhtari, Ozdaglar, Pattathil, A unified analysis of extra-gradient and optimistic gradient methods for saddle
      point problems: proximal point approach (AISTATS 2020), arXiv 1901.08511, section 4.
    """
    return chain(scale_by_optimistic_gradient(alpha, beta), scale_by_learning_rate(learning_rate))


@check.public
def optimistic_adam(
    learning_rate: LearningRate,
    optimism: Hyperparameter | None = None,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
) -> Transformation:
    """Adam with optimism, whose size is given apart from the learning rate.

    With r_t the direction of `adam`, η_t the learning rate and r_0 = r_1::

      θ_t = θ_{t−1} − η_t · r_t − optimism · (r_t − r_{t−1})

    In `optimistic_adam_v2`, which optax advises instead, the learning rate multiplies both terms.

    Args:
      learning_rate: η, a number, a schedule or a controller (in optax a number alone).
      optimism: a finite number. None is η_t, as in the paper.
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ≥ 0, inside the root.
      mu_dtype: dtype of the first moment; the parameters' if None.
      nesterov: whether to use Nesterov's momentum.

    Returns:
      A transformation.

    Raises:
      ValueError: if a number is out of its range.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.optimistic_adam(0.5, optimism=0.25, b1=0.0, b2=0.0, eps=0.0)
      >>> state = tx.init(jnp.zeros(1))
      >>> for g in (3.0, -2.0):  # of which Adam makes 1 and −1
      ...   updates, state = tx.update(jnp.array([g]), state)
      ...   print(updates)
      [-0.5]
      [1.]

    References:
      Daskalakis, Ilyas, Syrgkanis, Zeng, Training GANs with optimism (ICLR 2018), arXiv 1711.00141, algorithm 1.
    """
    direction = scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov)
    rate: optax.GradientTransformation = scale_by_learning_rate(learning_rate)
    if optimism is None:
        return chain(direction, scale_by_optimistic_gradient(), rate)
    check.finite(optimism=optimism)
    return chain(direction, transformation(AddOptimism(rate, optimism)))


@check.public
def optimistic_adam_v2(
    learning_rate: LearningRate,
    *,
    alpha: Hyperparameter = 1.0,
    beta: Hyperparameter = 1.0,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    mu_dtype: Any = None,
    nesterov: bool = True,
) -> Transformation:
    """Adam with optimism, for generative adversarial networks and other games.

    With r_t the direction of `adam`, η_t the learning rate and r_0 = r_1::

      θ_t = θ_{t−1} − η_t · ((alpha + beta) · r_t − beta · r_{t−1})

    Args:
      learning_rate: η, a number, a schedule or a controller.
      alpha: weight of the direction, a finite number.
      beta: weight of its change, a finite number.
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: ε ≥ 0, outside the root.
      eps_root: ≥ 0, inside the root.
      mu_dtype: dtype of the first moment; the parameters' if None.
      nesterov: whether to use Nesterov's momentum.

    Returns:
      A transformation.

    Raises:
      ValueError: if a number is out of its range.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.optimistic_adam_v2(0.5, b1=0.0, b2=0.0, eps=0.0)
      >>> state = tx.init(jnp.zeros(1))
      >>> for g in (3.0, -2.0):  # of which Adam makes 1 and −1
      ...   updates, state = tx.update(jnp.array([g]), state)
      ...   print(updates)
      [-0.5]
      [1.5]

    References:
      Daskalakis, Ilyas, Syrgkanis, Zeng, Training GANs with optimism (ICLR 2018), arXiv 1711.00141, algorithm 1.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        scale_by_optimistic_gradient(alpha, beta),
        scale_by_learning_rate(learning_rate),
    )
