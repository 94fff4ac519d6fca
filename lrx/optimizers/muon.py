"""Muon: momentum whose matrices are made orthogonal, and Adam for what is no matrix."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .. import _check as check
from .._arithmetic import add_one, map_leaves, one_minus_power, real, trainable, zero_count, zeros_like
from .._chain import chain
from .._numbers import F32, Count, Hyperparameter, Scalar
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, transformation
from ..controllers._controller import LearningRate, as_rate
from ._dimension_numbers import (
    MuonDimensionNumbers,
    as_dimension_numbers,
    as_matrices,
    axes_of_leaves,
    from_matrices,
    gathered,
    sizes,
    spread_like,
)
from ._dtype import dtype_name
from ._newton_schulz import STANDARD, Preconditioning, as_coefficients, orthogonalized
from .adam import adamw
from .learning_rate import scale_by_learning_rate
from .masking import is_placeholder
from .partition import partition
from .weight_decay import add_decayed_weights


class MuonState(NamedTuple):
    """The state of Muon. The coefficients, which optax keeps here too, are among the rule's numbers."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    mu: Any
    """m, the first moment, shaped like the parameters, in their dtype or in `mu_dtype`."""


def _axes_tree(where: str, dimension_numbers: Any, tree: Any) -> Any:
    """A tree like `tree` with the axes of each leaf, all of which must be matrices."""
    leaves, treedef = jax.tree.flatten(tree)
    axes = axes_of_leaves(where, dimension_numbers, tree, MuonDimensionNumbers)
    for x, a in zip(leaves, axes, strict=True):
        if a is None and trainable(x):
            raise ValueError(
                f"{where} must name the two sides of every parameter that has not two axes, got one of shape "
                f"{np.shape(x)}. lrx.muon gives such parameters to Adam; lrx.masked leaves them out."
            )
    return treedef.unflatten(axes)


@pytree_dataclass
class ScaleByMuon(Rule):
    """See `scale_by_muon`."""

    ns_coeffs: Any
    fixed_steps: int = static(default=5)
    beta: Scalar = 0.95
    eps: Scalar = 1e-8
    mu_dtype: str | None = static(default=None)
    nesterov: bool = static(default=True)
    adaptive: bool = static(default=False)
    preconditioning: str = static(default="frobenius")
    weight_dimension_numbers: Any = static(default=None)
    ns_dtype: str | None = static(default=None)
    ns_steps: Count | None = None  # in place of `fixed_steps`, where it was given as an array
    renamed = (("fixed_steps", "ns_steps"),)

    def init(self, params: Any) -> MuonState:
        """The state before the first update."""
        if not is_placeholder(params):
            self._axes(params)
        return MuonState(zero_count(), zeros_like(params, self.mu_dtype))

    def update(self, updates: Any, state: MuonState, params: Any = None, **extra: Any) -> tuple[Any, MuonState]:
        """One step of momentum, orthogonalized, on each leaf."""
        del params, extra
        t = add_one(state.count)
        c, c_next = (one_minus_power(self.beta, n.astype(F32)) for n in (t, add_one(t)))
        coefficients = jnp.asarray(self.ns_coeffs)
        steps = self.fixed_steps if self.ns_steps is None else self.ns_steps

        def leaf(g: jax.Array, m: jax.Array, axes: Any) -> tuple[jax.Array, jax.Array]:
            r = real(g.dtype)
            beta = jnp.asarray(self.beta, r)
            m = beta * m.astype(g.dtype) + (1 - beta) * g
            if self.nesterov:
                m_hat = beta * m * (1 / c_next).astype(r) + (1 - beta) * g * (1 / c).astype(r)
            else:
                m_hat = m * (1 / c).astype(r)
            x = as_matrices(gathered(m_hat, axes), axes)
            x = orthogonalized(x, coefficients, steps, self.preconditioning, self.eps, self.ns_dtype)
            o = spread_like(from_matrices(x, axes, g.shape), g)
            if self.adaptive:  # the dual norm of m̂
                o = jnp.sum(jnp.real(jnp.conj(m_hat) * o)) * o
            return o, m

        updates, mu = map_leaves(leaf, 2, updates, state.mu, self._axes(updates))
        return updates, MuonState(t, mu)

    def _axes(self, tree: Any) -> Any:
        return _axes_tree("scale_by_muon(weight_dimension_numbers=...)", self.weight_dimension_numbers, tree)


@pytree_dataclass
class ScaleByShape(Rule):
    """See `scale_by_shape`."""

    weight_dimension_numbers: Any = static(default=None)
    consistent_rms: Scalar | None = None

    def init(self, params: Any) -> tuple[()]:
        """Nothing to remember."""
        del params
        return ()

    def update(self, updates: Any, state: tuple[()], params: Any = None, **extra: Any) -> tuple[Any, tuple[()]]:
        """A factor for each leaf."""
        del params, extra

        def leaf(u: jax.Array, axes: Any) -> tuple[jax.Array]:
            r, (n_in, n_out) = real(u.dtype), sizes(u.shape, axes)
            if self.consistent_rms is None:
                return (jnp.asarray(max(1.0, n_out / max(n_in, 1)) ** 0.5, r) * u,)
            return (jnp.asarray(self.consistent_rms, r) * jnp.asarray(max(n_in, n_out) ** 0.5, r) * u,)

        axes = _axes_tree("scale_by_shape(weight_dimension_numbers=...)", self.weight_dimension_numbers, updates)
        return map_leaves(leaf, 1, updates, axes)[0], state


@dataclasses.dataclass(frozen=True)
class MuonLabels:
    """The groups of `muon`: "muon" for a matrix, "adam" for all else."""

    dimension_numbers: Any

    def __call__(self, tree: Any) -> Any:
        """The group of each leaf."""
        where = "muon(muon_weight_dimension_numbers=...)"
        axes = axes_of_leaves(where, self.dimension_numbers, tree, MuonDimensionNumbers)
        return jax.tree.unflatten(jax.tree.structure(tree), ["adam" if a is None else "muon" for a in axes])


@check.public
def scale_by_muon(
    ns_coeffs: Any = STANDARD,
    ns_steps: Count = 5,
    beta: Hyperparameter = 0.95,
    eps: Hyperparameter = 1e-8,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: Preconditioning = "frobenius",
    weight_dimension_numbers: Any = None,
    ns_dtype: Any = None,
) -> Transformation:
    """Make the mean of the updates orthogonal, matrix by matrix: see `muon`.

    With m_0 = 0 and NS the Newton-Schulz iteration, which brings all singular values near 1::

      m_t = beta·m_{t−1} + (1 − beta)·g_t
      m̂_t = beta·m_t / (1 − beta^{t+1}) + (1 − beta)·g_t / (1 − beta^t)      (without nesterov: m_t / (1 − beta^t))
      u_t = NS(m̂_t)

    NS divides X = m̂_t by its norm and repeats, with A = X·Xᵀ and (a, b, c) = `ns_coeffs`::

      X ← a·X + (b·A + c·A²)·X

    Unlike `muon` it does not scale by the shape (`scale_by_shape`), and every parameter must be a matrix.

    Args:
      ns_coeffs: a, b, c for all steps; or a row of them for each step; or the name of a preset, "standard" or "dion".
      ns_steps: number of steps ≥ 0. A row for each step decides it instead. As an array, such as
        `optax.inject_hyperparams` gives, it is a number in the state, and the steps are a loop.
      beta: decay of m, in [0, 1).
      eps: ≥ 0, added to the norm; the least norm for "aol" and "schatten".
      mu_dtype: dtype of m; the parameters' if None.
      nesterov: whether to use Nesterov's momentum.
      adaptive: whether to multiply u_t by the dual norm ⟨m̂_t, u_t⟩, summed over the whole parameter.
      preconditioning: the norm by which X is divided: "frobenius"; "spectral", exact and slow; "aol" for a norm of each
        row, or "schatten" for ‖A‖^½, which need a step fewer for the same precision.
      weight_dimension_numbers: `MuonDimensionNumbers` for all parameters, a tree of them like the parameters (or a
        prefix of it), or a function from parameters to one. None: each has two axes, (in, out).
      ns_dtype: dtype of NS; at least float32 if None, with the matrix products in the precision that
        `jax.default_matmul_precision` sets. "bfloat16" is that of the original, which is fast and good enough.

    Returns:
      A transformation.

    Raises:
      ValueError: if `beta` is not in [0, 1), `eps` is negative or vanishes in float32, or an option is unknown; in
        init, if a parameter is no matrix or its axes are not those of the dimension numbers.
      TypeError: if the dimension numbers or a dtype are of another kind.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.scale_by_muon(ns_coeffs=(1.5, -0.5, 0.0), ns_steps=20)  # the classical ones, which converge to 1
      >>> params = jnp.array([[3.0, 0.0], [0.0, -0.25]])
      >>> updates, _ = tx.update(params, tx.init(params))
      >>> print(updates.round(4) + 0.0)
      [[ 1.  0.]
       [ 0. -1.]]

    References:
      Jordan et al., Muon: an optimizer for hidden layers in neural networks (2024), github.com/KellerJordan/Muon;
      adaptive: Bernstein, Newhouse, Old optimizer, new norm: an anthology (2024), arXiv 2409.20325.
    """
    check.non_negative_count(ns_steps=ns_steps)
    check.below_one(beta=beta)
    check.epsilon(eps=eps)
    check.one_of(Preconditioning, preconditioning=preconditioning)
    axes = as_dimension_numbers("weight_dimension_numbers", weight_dimension_numbers, MuonDimensionNumbers)
    mu_dtype, ns_dtype = dtype_name("mu_dtype", mu_dtype), dtype_name("ns_dtype", ns_dtype)
    counted = ns_steps if isinstance(ns_steps, jax.Array) else None
    numbers = as_coefficients(ns_coeffs), 5 if counted is not None else int(ns_steps), beta, eps
    return transformation(ScaleByMuon(*numbers, mu_dtype, nesterov, adaptive, preconditioning, axes, ns_dtype, counted))


@check.public
def scale_by_shape(
    weight_dimension_numbers: Any = None, consistent_rms: Hyperparameter | None = None
) -> Transformation:
    """Scale the update of a matrix by its shape, so that one rate fits all of them.

    For a kernel with n_in inputs and n_out outputs, in JAX (n_in, n_out)::

      u = √max(1, n_out / n_in) · g                          Jordan's, which keeps rates across widths
      u = consistent_rms · √max(n_in, n_out) · g             with `consistent_rms`

    An orthogonal matrix has a root mean square of 1 / √max(n_in, n_out): with `consistent_rms` that of u is
    `consistent_rms`. At 0.2, about that of Adam's updates, the rates and the weight decay of AdamW can be kept.

    Args:
      weight_dimension_numbers: as for `scale_by_muon`.
      consistent_rms: > 0, or None for the first formula.

    Returns:
      A transformation without memory.

    Raises:
      ValueError: if `consistent_rms` is not positive; in update, if a parameter is no matrix.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> wide = jnp.ones((1, 4))
      >>> print(lrx.scale_by_shape().update(wide, ())[0])
      [[2. 2. 2. 2.]]
      >>> print(lrx.scale_by_shape(consistent_rms=0.25).update(wide.T, ())[0].T)
      [[0.5 0.5 0.5 0.5]]

    References:
      Jordan et al., Muon (2024), github.com/KellerJordan/Muon, whose torch kernels are (n_out, n_in): its
      max(1, rows / columns)^½ is the first formula; Liu et al., Muon is scalable for LLM training (2025), arXiv
      2502.16982, section 2.2, equation 4.
    """
    if consistent_rms is not None:
        check.positive(consistent_rms=consistent_rms)
    axes = as_dimension_numbers("weight_dimension_numbers", weight_dimension_numbers, MuonDimensionNumbers)
    return transformation(ScaleByShape(axes, consistent_rms))


@check.public
def muon(
    learning_rate: LearningRate,
    ns_coeffs: Any = STANDARD,
    ns_steps: Count = 5,
    beta: Hyperparameter = 0.95,
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 0.0,
    weight_decay_mask: Any = None,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: Preconditioning = "frobenius",
    adam_b1: Hyperparameter = 0.9,
    adam_b2: Hyperparameter = 0.999,
    adam_eps_root: Hyperparameter = 0.0,
    adam_weight_decay: Hyperparameter = 0.0,
    adam_learning_rate: LearningRate | None = None,
    muon_weight_dimension_numbers: Any = None,
    consistent_rms: Hyperparameter | None = None,
    ns_dtype: Any = None,
) -> Transformation:
    """Muon: steps of one size in every direction of a matrix; AdamW for the parameters that are no matrices.

    For a matrix (n_in, n_out), with m̂_t the momentum, NS(m̂_t) ≈ U·Vᵀ of its singular value decomposition U·S·Vᵀ
    (`scale_by_muon`) and η_t the learning rate::

      θ_t = θ_{t−1} − η_t · (s · NS(m̂_t) + weight_decay · θ_{t−1})

    There are two conventions of the scale s, and a rate belongs to one of them:

    - `consistent_rms=None`, Jordan's: s = √max(1, n_out / n_in), with rates around 0.02. torch keeps kernels as
      (n_out, n_in), and writes √max(1, rows / columns) for the same.
    - `consistent_rms=0.2`, Moonlight's: s = 0.2·√max(n_in, n_out), with the rates and weight decay of AdamW. torch
      calls it `match_rms_adamw`.

    Parameters with two axes are the matrices, and all others are given to AdamW, with a rate of its own. Say
    otherwise with `muon_weight_dimension_numbers`, as one should for embeddings, output layers, convolutions, attention
    and scanned stacks of layers::

      D = lrx.MuonDimensionNumbers
      lrx.by_path({"embed|head": None,                     # Adam
                   "conv.*kernel": D((0, 1, 2), 3),        # (height, width, in, out)
                   "attention.*query": D(0, (1, 2)),       # (in, heads, size)
                   "layers.*kernel": D(-2, -1),            # [layers, in, out]: each layer by itself
                   "": None})

    `lrx.learning_rates` lists both rates, as `muon.scale_by_learning_rate.learning_rate` and
    `adam.scale_by_learning_rate.learning_rate`. On a mesh with explicit axes each device orthogonalizes whole matrices.

    Every number may be a schedule too, evaluated at the count of updates completed.

    Args:
      learning_rate: η of the matrices, a number, a schedule or a controller.
      ns_coeffs: coefficients of the Newton-Schulz iteration, three, three for each step, or the name of a preset,
        "standard" or "dion".
      ns_steps: number of its steps ≥ 0, unless `ns_coeffs` has a row for each step.
      beta: decay of the momentum of the matrices, in [0, 1).
      eps: ≥ 0, added to the norm of a matrix, and Adam's ε.
      weight_decay: λ ≥ 0 of the matrices; it is multiplied by the learning rate.
      weight_decay_mask: a tree of bools like the parameters, or a function from parameters to one: decay where True.
      mu_dtype: dtype of the first moments; the parameters' if None.
      nesterov: whether to use Nesterov's momentum, in Adam too.
      adaptive: whether to multiply the update by the dual norm ⟨m̂_t, NS(m̂_t)⟩.
      preconditioning: how a matrix is scaled before the iteration, as for `scale_by_muon`.
      adam_b1: Adam's decay of the first moment, in [0, 1).
      adam_b2: Adam's decay of the second moment, in [0, 1).
      adam_eps_root: Adam's ε ≥ 0 inside the root.
      adam_weight_decay: Adam's λ ≥ 0.
      adam_learning_rate: Adam's η, a number, a schedule or a controller; None is `learning_rate`.
      muon_weight_dimension_numbers: a tree of `MuonDimensionNumbers` like the parameters (or a prefix of it), or a
        function from parameters to one; None in it is for Adam. One for all counts where there are two axes or more.
        Axes that are in neither side count a batch of matrices.
      consistent_rms: the root mean square of the updates of a matrix, > 0, or None for Jordan's scale.
      ns_dtype: dtype of the Newton-Schulz iteration, at least float32 if None; "bfloat16" is the original's.

    Returns:
      A transformation, whose update needs the parameters.

    Raises:
      ValueError: if a decay is not in [0, 1), an ε is negative or vanishes in float32, another number is out of its
        range, or an option is unknown; in init, if dimension numbers do not fit a parameter.
      TypeError: if the dimension numbers, a mask, a dtype or a rate are of another kind.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> params = {"kernel": jnp.ones((4, 2)), "bias": jnp.zeros(2)}
      >>> tx = lrx.muon(0.02, adam_learning_rate=1e-3)
      >>> state = tx.init(params)
      >>> for path, rate in sorted(lrx.learning_rates(state).items()):
      ...   print(path, rate)
      adam.scale_by_learning_rate.learning_rate 0.001
      muon.scale_by_learning_rate.learning_rate 0.02
      >>> state = lrx.with_hyperparams(state, **{"muon.scale_by_learning_rate.learning_rate": 0.01})
      >>> updates, state = tx.update(params, state, params)  # the bias has no gradient
      >>> print(updates["kernel"].shape, updates["bias"])
      (4, 2) [-0. -0.]

    References:
      Jordan et al., Muon: an optimizer for hidden layers in neural networks (2024), github.com/KellerJordan/Muon;
      Liu et al., Muon is scalable for LLM training (2025), arXiv 2502.16982, algorithm 1 and equation 4.
    """
    check.below_one(adam_b1=adam_b1, adam_b2=adam_b2)
    check.epsilon(adam_eps_root=adam_eps_root)
    check.non_negative(adam_weight_decay=adam_weight_decay)
    where = "muon_weight_dimension_numbers"
    axes = as_dimension_numbers(where, muon_weight_dimension_numbers, MuonDimensionNumbers)
    adam_rate = learning_rate if adam_learning_rate is None else as_rate("adam_learning_rate", adam_learning_rate)
    matrices = chain(
        scale_by_muon(
            ns_coeffs,
            ns_steps,
            beta,
            eps,
            mu_dtype,
            nesterov=nesterov,
            adaptive=adaptive,
            preconditioning=preconditioning,
            weight_dimension_numbers=axes,
            ns_dtype=ns_dtype,
        ),
        scale_by_shape(axes, consistent_rms),
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_learning_rate(learning_rate),
    )
    rest = adamw(adam_rate, adam_b1, adam_b2, eps, adam_eps_root, mu_dtype, adam_weight_decay, nesterov=nesterov)
    return partition({"muon": matrices, "adam": rest}, MuonLabels(axes))
