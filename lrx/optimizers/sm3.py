"""SM3: Adagrad's sums of squares, stored as one number for each row, column, and slice."""

import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .. import _check as check
from .._arithmetic import full_like_second, map_leaves, zero_count, zeros_like
from .._chain import chain
from .._numbers import F32, Hyperparameter, Scalar, is_tracer
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, transformation
from ..controllers._controller import LearningRate
from ._blocks import map_blocks, refuse_complex
from ._dtype import dtype_name
from .learning_rate import scale_by_learning_rate
from .masking import is_placeholder


class ScaleBySm3State(NamedTuple):
    """The state of SM3."""

    mu: Any
    """μ: for each axis a tree like the parameters, which for a leaf has a vector (a number for a scalar) or () if the
    leaf has no such axis; float32 or `nu_dtype`."""
    nu: Any
    """m, the mean of the directions (optax's `nu`), shaped like the parameters, in their dtype or in `mu_dtype`."""


@pytree_dataclass
class ScaleBySm3(Rule):
    """See `scale_by_sm3`."""

    b1: Scalar = 0.9
    b2: Scalar = 1.0
    eps: Scalar = 1e-8
    mu_dtype: str | None = static(default=None)
    nu_dtype: str | None = static(default=None)

    stacks = "mapped"

    def init(self, params: Any) -> ScaleBySm3State:
        """The state before the first update."""
        refuse_complex("scale_by_sm3", params)

        def slices(p: Any) -> tuple[jax.Array, ...]:
            total = full_like_second(p, 0.0, self.nu_dtype)
            # as sums, they are laid out on a mesh as the maxima of an update will be
            return tuple(jnp.sum(total, axes) for axes in _others(total.ndim)) if total.ndim > 1 else (total,)

        mean = zeros_like(params, self.mu_dtype)
        if is_placeholder(params):
            return ScaleBySm3State(zero_count(), mean)
        leaves, treedef = jax.tree.flatten(params)
        # a tree for each axis and not a tuple for each leaf, which in a Flax nnx optimizer would come back a dict
        axes = itertools.zip_longest(*map(slices, leaves), fillvalue=())
        return ScaleBySm3State(tuple(map(treedef.unflatten, axes)), mean)

    def update(
        self, updates: Any, state: ScaleBySm3State, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleBySm3State]:
        """SM3-II, on each leaf."""
        del params, extra

        def leaf(g: jax.Array, m: jax.Array, *mu: jax.Array) -> tuple[jax.Array, ...]:
            b1, b2, eps = (jnp.asarray(x, g.dtype) for x in (self.b1, self.b2, self.eps))
            others = _others(g.ndim)
            slices = [jnp.expand_dims(x.astype(g.dtype), axes) for x, axes in zip(mu, others, strict=True)]
            nu = b2 * functools.reduce(jnp.minimum, slices) + jnp.where(b2 == 1, 1, 1 - b2) * (g * g)
            seen = nu > 0
            u = g * jnp.where(seen, jax.lax.rsqrt(jnp.where(seen, nu, 1) + eps), 0)
            m = b1 * m.astype(g.dtype) + (1 - b1) * u
            return m, m, *(jnp.max(nu, axes, initial=0) if axes else nu for axes in others)

        def block(g: Any, m: Any, *mu: Any) -> tuple[Any, ...]:
            own = mu[: max(jnp.ndim(g), 1)]
            return *map_leaves(leaf, 2 + len(own), g, m, *own), *mu[len(own) :]

        updates, m, *mu = map_blocks(block, 2 + len(state.mu), updates, state.nu, *state.mu)
        return updates, ScaleBySm3State(tuple(mu), m)


def _others(ndim: int) -> list[tuple[int, ...]]:
    """For each axis, the others; for a scalar, which has none, once no axis."""
    return [tuple(j for j in range(ndim) if j != i) for i in range(max(ndim, 1))]


@check.public
def scale_by_sm3(
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 1.0,
    eps: Hyperparameter = 1e-8,
    *,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> Transformation:
    """Divide each coordinate by the root of its sum of squares so far, bounded from few numbers: see `sm3`.

    With r running over the slices of a leaf (rows and columns of a matrix), m_0 = 0 and μ_0 = 0::

      ν_t(i) = b2 · min over r∋i of μ_{t−1}(r) + a · g_t(i)²          (a = 1 − b2, but 1 if b2 is 1)
      m_t = b1·m_{t−1} + (1 − b1) · g_t / √(ν_t + eps),   u_t = m_t   (g_t / … = 0 where ν_t = 0)
      μ_t(r) = max over i∈r of ν_t(i)

    Args:
      b1: decay of m, in [0, 1).
      b2: decay of the squares, in [0, 1]; 1, the paper's, sums them.
      eps: ε ≥ 0, inside the root.
      mu_dtype: dtype of m; the parameters' if None.
      nu_dtype: dtype of μ; at least float32 if None.

    Returns:
      A transformation of real parameters.

    Raises:
      ValueError: if `b1` is not in [0, 1), `b2` not in [0, 1], or `eps` is negative or vanishes in float32.
      TypeError: if a dtype is not floating; in init, if a parameter is complex.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_sm3(b1=0.0, eps=0.0)
      >>> updates, state = tx.update(jnp.array([[4.0, 0.0, -2.0]]), tx.init(jnp.zeros((1, 3))))
      >>> print(updates)
      [[ 1.  0. -1.]]
      >>> for mu in state.memory.mu:
      ...   print(mu)
      [16.]
      [16.  0.  4.]

    References:
      Anil, Gupta, Koren, Singer, Memory-efficient adaptive optimization (NeurIPS 2019), arXiv 1901.11150,
      algorithm SM3-II.
    """
    check.below_one(b1=b1)
    check.non_negative(b2=b2)
    check.epsilon(eps=eps)
    if not callable(b2) and not is_tracer(b2) and F32.type(np.asarray(b2)) > 1:
        raise check.fail("b2", "must be in [0, 1]", b2)
    mu_dtype, nu_dtype = dtype_name("mu_dtype", mu_dtype), dtype_name("nu_dtype", nu_dtype)
    return transformation(ScaleBySm3(b1, b2, eps, mu_dtype, nu_dtype))


@check.public
def sm3(
    learning_rate: LearningRate, momentum: Hyperparameter = 0.9, *, mu_dtype: Any = None, nu_dtype: Any = None
) -> Transformation:
    """SM3: Adagrad with a memory of n + m instead of n × m numbers, and a momentum.

    With η_t the learning rate, and r running over the slices of a leaf (rows and columns of a matrix)::

      ν_t(i) = min over r∋i of μ_{t−1}(r) + g_t(i)²
      m_t = momentum · m_{t−1} + (1 − momentum) · g_t / √(ν_t + 1e-8)   (g_t / … = 0 where ν_t = 0)
      μ_t(r) = max over i∈r of ν_t(i)
      θ_t = θ_{t−1} − η_t · m_t

    ν_t(i) is never below Adagrad's sum of squares of coordinate i; for vectors and scalars it is that sum.

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number or a schedule.
      momentum: in [0, 1).
      mu_dtype: dtype of m; the parameters' if None.
      nu_dtype: dtype of μ; at least float32 if None.

    Returns:
      A transformation of real parameters.

    Raises:
      ValueError: if `momentum` is not in [0, 1).
      TypeError: if a dtype is not floating; in init, if a parameter is complex.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.sm3(0.5, momentum=0.0)
      >>> updates, _ = tx.update(jnp.array([[4.0, -2.0]]), tx.init(jnp.zeros((1, 2))))
      >>> print(updates)
      [[-0.5  0.5]]

    References:
      Anil, Gupta, Koren, Singer, Memory-efficient adaptive optimization (NeurIPS 2019), arXiv 1901.11150,
      algorithm SM3-II.
    """
    check.below_one(momentum=momentum)
    rule = scale_by_sm3(momentum, mu_dtype=mu_dtype, nu_dtype=nu_dtype)
    return chain(rule, scale_by_learning_rate(learning_rate))
