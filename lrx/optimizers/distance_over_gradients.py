"""L-DoG: for each leaf a rate of its own, the distance travelled over the root of the sum of squared gradients."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import map_leaves, real, sqrt, squared, trainable, vary_like, wide_copied, zero_count
from .._numbers import F32, Hyperparameter, Scalar
from .._pytree import pytree_dataclass, static
from .._skipping import SkipsUnusable
from .._transformation import Transformation, transformation
from ._blocks import block_norm
from ._dtype import dtype_name


class ScaleByDistanceOverGradientsState(NamedTuple):
    """The state of L-DoG."""

    max_dist: Any
    """r̄, a tree like the parameters: the greatest distance of each leaf from its start; float32 or wider []."""
    grad_sum_of_squares: Any
    """A tree like the parameters: the sum of the squared norms of each leaf's gradients; float32 or wider [1]."""
    init_params: Any
    """θ_0, in `param_dtype`."""
    skipped: jax.Array
    """Updates that were skipped, since the gradient was not finite; int32 []."""


@pytree_dataclass
class ScaleByDistanceOverGradients(SkipsUnusable):
    """See `scale_by_distance_over_gradients`."""

    reps_rel: Scalar = 1e-6
    eps: Scalar = 1e-8
    param_dtype: str = static(default="float32")
    global_scale: Scalar = 1.0

    def init(self, params: Any) -> ScaleByDistanceOverGradientsState:
        """The state before the first update."""

        def reach(p: Any) -> jax.Array:
            if not trainable(p):
                return jnp.zeros((), F32)
            p = jnp.asarray(p)
            r = real(p.dtype)
            return jnp.asarray(self.reps_rel, r) * (1 + block_norm(p.astype(r) if not jnp.iscomplexobj(p) else p))

        def none_yet(p: Any) -> jax.Array:
            return jnp.zeros(1, real(jnp.result_type(p)) if trainable(p) else F32)

        reached, total, skipped = vary_like(
            (jax.tree.map(reach, params), jax.tree.map(none_yet, params), zero_count()), params
        )
        start = wide_copied(params, self.param_dtype)
        return ScaleByDistanceOverGradientsState(reached, total, start, skipped)

    def step(
        self, updates: Any, state: ScaleByDistanceOverGradientsState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByDistanceOverGradientsState, jax.Array]:
        """One step, on each leaf."""
        del extra
        check.needs_params("scale_by_distance_over_gradients", updates, params)

        def leaf(g: jax.Array, reach: jax.Array, total: jax.Array, p: Any, start: Any) -> tuple[jax.Array, ...]:
            r = real(g.dtype)
            p, start = jnp.asarray(p).astype(g.dtype), start.astype(g.dtype)
            reach = jnp.maximum(reach.astype(r), block_norm(p - start))
            total = total.astype(r) + jnp.sum(squared(g))
            root = sqrt(total[0] + jnp.asarray(self.eps, r))
            rate = jnp.where(root > 0, reach / jnp.where(root > 0, root, jnp.ones_like(root)), jnp.zeros_like(root))
            return jnp.asarray(self.global_scale, r) * rate * g, reach, total

        trees = state.max_dist, state.grad_sum_of_squares, params, state.init_params
        updates, reach, total = map_leaves(leaf, 3, updates, *trees)
        new = ScaleByDistanceOverGradientsState(reach, total, state.init_params, state.skipped)
        return updates, new, jnp.zeros((), bool)


@check.public
def scale_by_distance_over_gradients(
    reps_rel: Hyperparameter = 1e-6,
    eps: Hyperparameter = 1e-8,
    param_dtype: Any = jnp.float32,
    global_scale: Hyperparameter = 1.0,
) -> Transformation:
    """Multiply the update of each leaf by the distance that it travelled, over its gradients so far (L-DoG).

    For each leaf, with r̄_0 = `reps_rel` · (1 + ‖θ_0‖) and G_0 = 0::

      r̄_t = max(r̄_{t−1}, ‖θ_{t−1} − θ_0‖),   G_t = G_{t−1} + ‖g_t‖²
      u_t = global_scale · g_t · r̄_t / √(G_t + eps)

    `lrx.sgd(lrx.dog(per_leaf=True))` is the same optimizer with rates that `lrx.learning_rates` reads. The authors
    advise to average the parameters. An update whose gradient is not finite is skipped, and counted in the state as
    `skipped`.

    Args:
      reps_rel: > 0, the first distance, relative to the parameters: 1e-4 with batch norm, else 1e-6.
      eps: ≥ 0.
      param_dtype: dtype of the copy of θ_0; complex leaves stay complex.
      global_scale: a finite number; −1 makes the updates descend.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a number is out of its range; in update, if there are no parameters.
      TypeError: if the dtype is not floating.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_distance_over_gradients(reps_rel=0.5, eps=0.0, global_scale=-1.0)
      >>> params = jnp.array([3.0])
      >>> updates, _ = tx.update(jnp.array([8.0]), tx.init(params), params)
      >>> print(updates)  # r̄ = 0.5 · (1 + 3), G = 8²
      [-2.]

    References:
      Ivgi, Hinder, Carmon, DoG is SGD's best friend: a parameter-free dynamic step size schedule (ICML 2023), arXiv
      2302.12022, section 3.3.
    """
    check.positive(reps_rel=reps_rel)
    check.epsilon(eps=eps)
    check.finite(reps_rel=reps_rel, global_scale=global_scale)
    name = dtype_name("param_dtype", param_dtype) or "float32"
    return transformation(ScaleByDistanceOverGradients(reps_rel, eps, name, global_scale))
