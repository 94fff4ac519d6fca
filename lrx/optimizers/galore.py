"""GaLore: an optimizer whose memory is of low rank, in a subspace of each matrix that follows its gradient."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .. import _check as check
from .._arithmetic import add_one, is_none, leaves_like, memory_dtype, real, trainable, vary_like, wide, zero_count
from .._chain import chain
from .._numbers import Count, Hyperparameter, Scalar
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, as_transformation, transformation
from ..controllers._controller import LearningRate
from ._dimension_numbers import (
    Axes,
    GaLoreDimensionNumbers,
    as_dimension_numbers,
    as_matrices,
    axes_of_leaves,
    from_matrices,
    gathered,
    sizes,
    spread_like,
)
from .adam import scale_by_adam
from .learning_rate import scale_by_learning_rate
from .masking import is_placeholder
from .weight_decay import add_decayed_weights


class GaLoreState(NamedTuple):
    """The state of GaLore."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    base_optimizer_state: Any
    """The state of the base optimizer, in which a matrix is its projection: (r, n), or (m, r) if m < n."""
    projector: Any
    """P of each matrix, (m, r), or (n, r) if m < n, in the dtype of the parameter; (0, 0) for what is no matrix."""


@pytree_dataclass
class ScaleByGaLore(Rule):
    """See `scale_by_galore`."""

    inner: Any = static()
    rank: int = static(default=128)
    update_proj_gap: Count = 200
    scale: Scalar = 1.0
    weight_dimension_numbers: Any = static(default=None)

    factory = "scale_by_galore"
    renamed = (("inner", "base_optimizer"),)

    def init(self, params: Any) -> GaLoreState:
        """The state before the first update."""
        if is_placeholder(params):
            return GaLoreState(zero_count(), self.inner.init(params), params)
        leaves, treedef = jax.tree.flatten(params)
        pairs = [self._start(p, axes) for p, axes in zip(leaves, self._axes(params), strict=True)]
        low, projectors = (treedef.unflatten(x) for x in (zip(*pairs, strict=True) if pairs else ((), ())))
        return GaLoreState(zero_count(), self.inner.init(low), projectors)

    def _start(self, p: Any, axes: Axes | None) -> tuple[Any, jax.Array]:
        """What the base optimizer gets in place of a parameter, and P before the first update."""
        if axes is None:
            return jnp.zeros_like(p), jnp.zeros((0, 0), jnp.result_type(p))
        x = as_matrices(gathered(jnp.asarray(p), axes), axes)
        r, (m, n) = self._rank(x.shape), x.shape[-2:]
        columns = x[..., :r] if m >= n else jnp.swapaxes(x[..., :r, :], -1, -2)
        # like a part of the parameter, so that they lie and vary over the devices as it does
        return jnp.zeros_like(x[..., :r, :] if m >= n else x[..., :r]), jnp.zeros_like(columns, memory_dtype(p))

    def update(self, updates: Any, state: GaLoreState, params: Any = None, **extra: Any) -> tuple[Any, GaLoreState]:
        """Algorithm 2: project, step in the subspace, and back."""
        del params
        leaves, treedef = jax.tree.flatten(updates, is_leaf=is_none)
        projectors = leaves_like(treedef, state.projector)
        axes = iter(self._axes(updates))
        found = {i: side for i, g in enumerate(leaves) if g is not None and (side := next(axes)) is not None}
        matrices = {i: self._matrix(leaves[i], projectors[i], side) for i, side in found.items()}

        def keep() -> list[jax.Array]:
            return [vary_like(projectors[i], g) for i, g in matrices.items()]

        def renew() -> list[jax.Array]:
            return [self._subspace(g).astype(projectors[i].dtype) for i, g in matrices.items()]

        if matrices:
            due = state.count % jnp.maximum(self.update_proj_gap, 1) == 0  # a traced 0 passes the checks
            for i, projector in zip(matrices, jax.lax.cond(due, renew, keep), strict=True):
                projectors[i] = projector

        low = list(leaves)
        for i, g in matrices.items():
            p = projectors[i].astype(g.dtype)
            low[i] = (_adjoint(p) @ g if _left(g.shape) else g @ p).astype(leaves[i].dtype)
        numbers = {name: x for name, x in extra.items() if not _is_tree(x) and not callable(x) and np.ndim(x) == 0}
        low, inner = self.inner.update(treedef.unflatten(low), state.base_optimizer_state, None, **numbers)

        full = treedef.flatten_up_to(low)
        for i, g in matrices.items():
            p, u = projectors[i].astype(g.dtype), full[i].astype(g.dtype)
            u = jnp.asarray(self.scale, real(g.dtype)) * (p @ u if _left(g.shape) else u @ _adjoint(p))
            u = from_matrices(u, found[i], leaves[i].shape).astype(leaves[i].dtype)
            full[i] = spread_like(u, jnp.asarray(leaves[i]))
        return treedef.unflatten(full), GaLoreState(add_one(state.count), inner, treedef.unflatten(projectors))

    def _matrix(self, g: Any, projector: jax.Array, axes: Axes) -> jax.Array:
        """The gradient as a matrix, in at least float32."""
        g = jnp.asarray(g)
        g = as_matrices(gathered(g.astype(wide(g.dtype)), axes), axes)
        columns = (*g.shape[:-2], max(g.shape[-2:]), self._rank(g.shape))
        if projector.shape != columns:
            raise ValueError(
                "tx.update(updates, state, params) must be given updates with the shapes of the parameters that made "
                f"the state, got one whose projector has the shape {columns} for {projector.shape}."
            )
        return g

    def _subspace(self, g: jax.Array) -> jax.Array:
        """The singular vectors of the r greatest singular values, on the longer side; no derivative goes through."""
        u, _, vh = jnp.linalg.svd(jax.lax.stop_gradient(g), full_matrices=False)
        return (u if _left(g.shape) else _adjoint(vh))[..., : self._rank(g.shape)]

    def _rank(self, shape: tuple[int, ...]) -> int:
        return min(self.rank, *shape[-2:])

    def _axes(self, tree: Any) -> list[Axes | None]:
        """The axes of each leaf that is projected: of those that are trained and not empty."""
        where = "scale_by_galore(weight_dimension_numbers=...)"
        axes = axes_of_leaves(where, self.weight_dimension_numbers, tree, GaLoreDimensionNumbers)
        return [
            a if a is not None and trainable(x) and min(sizes(x.shape, a)) else None
            for x, a in zip(jax.tree.leaves(tree), axes, strict=True)
        ]


def _is_tree(x: Any) -> bool:
    return not jax.tree_util.all_leaves([x])


def _left(shape: tuple[int, ...]) -> bool:
    """Whether the input, the rows, is the longer side, which is then projected."""
    return shape[-2] >= shape[-1]


def _adjoint(x: jax.Array) -> jax.Array:
    x = jnp.swapaxes(x, -1, -2)
    return jnp.conj(x) if jnp.iscomplexobj(x) else x


@check.public
def scale_by_galore(
    rank: int = 128,
    update_proj_gap: Count = 200,
    scale: Hyperparameter = 1.0,
    base_optimizer: optax.GradientTransformation | None = None,
    weight_dimension_numbers: Any = None,
) -> Transformation:
    """Run a transformation on projections of the gradients to a low rank: see `galore`.

    With G_t the gradient of a matrix (m, n), r = min(`rank`, m, n) and ρ the update of `base_optimizer`, for m ≥ n::

      P_t = the first r columns of U, G_t = U·S·Vᵀ      where t − 1 is a multiple of `update_proj_gap`, else P_{t−1}
      R_t = P_tᵀ·G_t,   N_t = ρ(R_t)                    (r, n)
      u_t = scale · P_t·N_t

    and for m < n, with P_t the first r columns of V, R_t = G_t·P_t and u_t = scale · N_t·P_tᵀ. What is no matrix
    goes to `base_optimizer` as it is, and is not scaled.

    `base_optimizer` gets no parameters, whose shapes are others: add weight decay after it, not within. Of the extra
    arguments it gets the numbers, such as `value`.

    Args:
      rank: r > 0, of all matrices. The sizes of the memory depend on it, so that it is fixed.
      update_proj_gap: updates > 0 from one singular value decomposition to the next. The memory of `base_optimizer`
        stays as it is where the subspace moves, as in optax.
      scale: a factor of the updates of matrices; the paper's α.
      base_optimizer: a transformation that does not need the parameters; `scale_by_adam()` if None.
      weight_dimension_numbers: a tree of `GaLoreDimensionNumbers` like the parameters (or a prefix of it), or a
        function from parameters to one; None in it is for what is not projected. One for all counts where there are two
        axes or more. Axes that are in neither side count a batch of matrices. None: parameters with two axes are the
        matrices.

    Returns:
      A transformation.

    Raises:
      ValueError: if `rank` or `update_proj_gap` is not positive, or `scale` is not finite; in init, if
        dimension numbers do not fit a parameter; in update, if `base_optimizer` needs the parameters.
      TypeError: if `rank` is no whole number, or `base_optimizer` or the dimension numbers are of another kind.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_galore(rank=1, base_optimizer=lrx.identity())
      >>> gradient = jnp.array([[3.0, 0.0], [0.0, 2.0]])
      >>> updates, state = tx.update(gradient, tx.init(gradient))
      >>> print(updates)  # what is left of it in one dimension
      [[3. 0.]
       [0. 0.]]
      >>> print(state.projector.shape)
      (2, 1)

    References:
      Zhao et al., GaLore: memory-efficient LLM training by gradient low-rank projection (ICML 2024), arXiv 2403.03507,
      algorithm 2.
    """
    check.count(rank=rank)
    if not isinstance(rank, int | np.integer):
        raise TypeError(
            f"{check.where('rank')} must be an int, since the shapes of the memory depend on it, got {rank!r}."
        )
    check.positive_count(rank=rank, update_proj_gap=update_proj_gap)
    check.finite(scale=scale)
    axes = as_dimension_numbers("weight_dimension_numbers", weight_dimension_numbers, GaLoreDimensionNumbers)
    base = scale_by_adam() if base_optimizer is None else as_transformation("base_optimizer", base_optimizer)
    return transformation(ScaleByGaLore(base, int(rank), update_proj_gap, scale, axes))


@check.public
def galore(
    learning_rate: LearningRate,
    rank: int = 128,
    update_proj_gap: Count = 200,
    scale: Hyperparameter = 1.0,
    base_optimizer: optax.GradientTransformation | None = None,
    weight_decay: Hyperparameter = 0.0,
    mask: Any = None,
    weight_dimension_numbers: Any = None,
) -> Transformation:
    """GaLore: Adam with a memory of low rank, in a subspace of each matrix that is found anew from time to time.

    With u_t as in `scale_by_galore` and η_t the learning rate::

      θ_t = θ_{t−1} − η_t · (u_t + weight_decay · θ_{t−1})

    For a matrix (m, n) with m ≥ n it keeps m·r + 2·r·n numbers, where Adam keeps 2·m·n.

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η, a number, a schedule or a controller.
      rank: r > 0, of all matrices; at most their smaller side is used.
      update_proj_gap: updates > 0 from one singular value decomposition of the gradients to the next.
      scale: a factor of the updates of matrices; the paper's α.
      base_optimizer: a transformation that does not need the parameters; `scale_by_adam()` if None. One that has a
        learning rate of its own, such as `adam(1e-3)`, turns the sign too: use it in `scale_by_galore` alone.
      weight_decay: λ ≥ 0, multiplied by the learning rate.
      mask: a tree of bools like the parameters, or a function from parameters to one: decay where True.
      weight_dimension_numbers: which axes make the two sides of a matrix, as for `scale_by_galore`.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a number is out of its range; in init, if dimension numbers do not fit a parameter; in update, if
        `base_optimizer` needs the parameters.
      TypeError: if `rank` is no whole number, or another argument is of another kind.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> loss = lambda params: jnp.sum(params["kernel"] ** 2)
      >>> params = {"kernel": jnp.ones((6, 4)), "bias": jnp.zeros(4)}
      >>> tx = lrx.galore(lrx.linear_schedule(0.25, 0.0, 20), rank=1, update_proj_gap=5)
      >>> state = tx.init(params)
      >>> for _ in range(20):
      ...   updates, state = tx.update(jax.grad(loss)(params), state, params)
      ...   params = lrx.apply_updates(params, updates)
      >>> print(loss(params) < 6)
      True

    References:
      Zhao et al., GaLore: memory-efficient LLM training by gradient low-rank projection (ICML 2024), arXiv 2403.03507,
      algorithm 2.
    """
    return chain(
        scale_by_galore(rank, update_proj_gap, scale, base_optimizer, weight_dimension_numbers),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
