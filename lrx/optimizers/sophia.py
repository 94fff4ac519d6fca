"""Sophia: momentum divided by an estimate of the Hessian's diagonal, clipped."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .. import _check as check
from .._arithmetic import (
    add_one,
    arrays,
    full_like_second,
    is_none,
    leaves_like,
    map_leaves,
    one_minus_power,
    real,
    trainable,
    vary_like,
    zero_count,
    zeros_like,
)
from .._chain import chain
from .._numbers import F32, Count, Hyperparameter, Scalar, is_key, is_tracer
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, as_transformation, transformation, update_where
from ..controllers._controller import LearningRate
from ..controllers._loss import loss_of, refuse_masked
from ._blocks import refuse_complex
from ._dimension_numbers import spread_like
from ._dtype import dtype_name
from .learning_rate import scale_by_learning_rate
from .weight_decay import add_decayed_weights


class HutchinsonState(NamedTuple):
    """The state of Hutchinson's estimator."""

    key: jax.Array
    """The key of the next signs."""


@pytree_dataclass
class HutchinsonEstimatorDiagHessian(Rule):
    """See `hutchinson_estimator_diag_hessian`."""

    random_seed: Any = static(default=None)
    """The words of a key, and the name of its generator or None for a key of the old kind."""

    factory = "hutchinson_estimator_diag_hessian"

    def init(self, params: Any) -> HutchinsonState:
        """The key."""
        del params
        words, generator = self.random_seed or ((0, 0), None)
        key = jnp.asarray(np.asarray(words, np.uint32))
        return HutchinsonState(key if generator is None else jax.random.wrap_key_data(key, impl=generator))

    def update(
        self, updates: Any, state: HutchinsonState, params: Any = None, **extra: Any
    ) -> tuple[Any, HutchinsonState]:
        """r∘(H·r), for random signs r."""
        who = "hutchinson_estimator_diag_hessian()"
        check.needs_params(who, updates, params)
        refuse_masked(who, params)
        function = extra.get("obj_fn") or extra.get("value_fn")
        if function is None:
            raise ValueError(f"{who} needs obj_fn=, the loss as a function of the parameters: {_HOW}.")
        loss = loss_of({"value_fn": function, "extra": extra})
        us, treedef = jax.tree.flatten(updates, is_leaf=is_none)
        values = leaves_like(treedef, vary_like(params, updates))
        trained = [i for i, u in enumerate(us) if u is not None and trainable(values[i])]
        key, subkey = jax.random.split(state.key)
        keys = jax.random.split(subkey, max(1, len(trained)))

        def of_trained(xs: list[Any]) -> Any:
            moved = dict(zip(trained, xs, strict=True))
            return loss(treedef.unflatten([moved.get(i, p) for i, p in enumerate(values)]))

        at = [jnp.asarray(values[i]) for i in trained]
        signs = [_signs(k, p) for k, p in zip(keys, at, strict=False)]
        products = jax.jvp(jax.grad(of_trained), (at,), (signs,))[1]
        diagonal = {i: h * r for i, h, r in zip(trained, products, signs, strict=True)}
        still = [jnp.zeros_like(u) if u is not None and trainable(u) else u for u in us]
        return treedef.unflatten([diagonal.get(i, u) for i, u in enumerate(still)]), HutchinsonState(key)


def _signs(key: jax.Array, p: jax.Array) -> jax.Array:
    return vary_like(spread_like(jax.random.rademacher(key, p.shape, F32).astype(p.dtype), p), p)


_HOW = "tx.update(grads, state, params, obj_fn=lambda params: loss(params, batch)); value_fn= is taken too"


class SophiaState(NamedTuple):
    """The state of Sophia."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    mu: Any
    """m, the first moment, shaped like the parameters, in their dtype or in `mu_dtype`."""
    nu: Any
    """h, the mean of the Hessian's diagonal, shaped like the parameters, float32 or wider."""
    hessian_fn_state: Any
    """The state of what estimates the diagonal."""
    win_rate: jax.Array
    """The share of coordinates that the last update did not clip; float32 []."""


@pytree_dataclass
class ScaleBySophia(Rule):
    """See `scale_by_sophia`."""

    b1: Scalar = 0.965
    b2: Scalar = 0.99
    eps: Scalar = 1e-8
    gamma: Scalar = 0.01
    clip_threshold: Scalar = 1.0
    update_interval: Count = 10
    inner: Any = static(default=None)
    mu_dtype: str | None = static(default=None)
    verbose: bool = static(default=False)
    print_win_rate_every_n_steps: int = static(default=0)

    renamed = (("inner", "hessian_diagonal_fn"),)

    def init(self, params: Any) -> SophiaState:
        """The state before the first update."""
        refuse_complex("sophia", params)
        moments = zeros_like(params, self.mu_dtype), full_like_second(params, 0.0)
        return SophiaState(zero_count(), *moments, self.inner.init(params), jnp.zeros((), F32))

    def update(self, updates: Any, state: SophiaState, params: Any = None, **extra: Any) -> tuple[Any, SophiaState]:
        """Algorithm 3: a step with the diagonal known so far, which is then measured in every k-th update."""
        check.needs_params("scale_by_sophia", updates, params)
        t = add_one(state.count)
        c1 = one_minus_power(self.b1, t.astype(F32))

        def leaf(g: jax.Array, m: jax.Array, h: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            r = real(g.dtype)
            b1, gamma, eps = (jnp.asarray(x, r) for x in (self.b1, self.gamma, self.eps))
            m = b1 * m.astype(g.dtype) + (1 - b1) * g
            size = jnp.maximum(gamma * h.astype(r), eps)
            u = m * (1 / c1).astype(r) / size
            most = jnp.asarray(self.clip_threshold, r)
            return jnp.clip(u, -most, most), m, (jnp.abs(u) < most).astype(h.dtype)

        moved, mu, kept = map_leaves(leaf, 3, updates, state.mu, state.nu)
        kept = jax.tree.map(lambda u, k: k if u is not None and trainable(u) else None, updates, kept, is_leaf=is_none)
        size = sum(k.size for k in arrays(kept))
        share = sum((jnp.sum(k).astype(F32) for k in arrays(kept)), jnp.zeros((), F32)) / max(size, 1)

        def measured(held: Any) -> tuple[Any, Any]:
            return self.inner.update(updates, held, params, **extra)

        now = state.count % jnp.asarray(self.update_interval, jnp.int32) == 0
        diagonal, inner = update_where(now, measured, state.hessian_fn_state, updates)

        def mean(d: jax.Array, h: jax.Array) -> tuple[jax.Array, jax.Array]:
            r = real(d.dtype)
            b2 = jnp.asarray(self.b2, r)
            h = h.astype(r)
            return d, jnp.where(now, b2 * h + (1 - b2) * jnp.real(d), h)

        nu = map_leaves(mean, 2, diagonal, state.nu)[1]
        self._show(t, share)
        return moved, SophiaState(t, mu, nu, inner, share)

    def _show(self, t: jax.Array, share: jax.Array) -> None:
        every = self.print_win_rate_every_n_steps
        if self.verbose and every:
            text = "Sophia optimizer win rate: {}"
            jax.lax.cond(t % every == 0, lambda: jax.debug.print(text, share), lambda: None)


@check.public
def hutchinson_estimator_diag_hessian(random_seed: jax.Array | int | None = None) -> Transformation:
    """Estimate the diagonal of the Hessian, from one product of it with random signs.

    With H the Hessian of the loss at the parameters and r a vector of random signs, of which each r∘(H·r) has the
    diagonal as its mean::

      d_t = r_t ∘ (H_t · r_t)

    The updates that come in are not looked at.

    Args:
      random_seed: a JAX random key or a seed; `jax.random.PRNGKey(0)` if None.

    Returns:
      A transformation, whose update needs the parameters and `obj_fn=`, the loss as a function of the parameters, or
      `value_fn=` in its place. Further arguments of these are taken from the update's by name.

    Raises:
      TypeError: if `random_seed` is no key; in update, if there are no parameters or no loss.
      ValueError: in update, if the parameters, or the loss, are missing or under a mask.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> loss = lambda p: jnp.sum(jnp.array([1.0, 3.0]) * p**2)
      >>> tx, params = lrx.hutchinson_estimator_diag_hessian(), jnp.ones(2)
      >>> print(tx.update(params, tx.init(params), params, obj_fn=loss)[0])  # exact where the Hessian is diagonal
      [2. 6.]

    References:
      Liu et al., Sophia: a scalable stochastic second-order optimizer for language model pre-training (ICLR 2024),
      arXiv 2305.14342, algorithm 1.
    """
    return transformation(HutchinsonEstimatorDiagHessian(_words("random_seed", random_seed)))


def _words(argument: str, seed: Any) -> Any:
    key: Any = seed
    if key is None or isinstance(key, tuple):
        return key
    if is_tracer(key):
        raise TypeError(f"{check.where(argument)} must be a key outside `jit`, got {key!r}.")
    if isinstance(seed, int) and not isinstance(seed, bool):
        key = jax.random.PRNGKey(seed)
    generator = None
    if is_key(key):
        generator, key = str(jax.random.key_impl(key)), jax.random.key_data(key)
    if getattr(key, "dtype", None) != np.uint32 or key.ndim != 1:
        raise TypeError(f"{check.where(argument)} must be a random key or a seed, got {key!r}.")
    return tuple(int(word) for word in np.asarray(key)), generator


@check.public
def scale_by_sophia(
    b1: Hyperparameter = 0.965,
    b2: Hyperparameter = 0.99,
    eps: Hyperparameter = 1e-8,
    gamma: Hyperparameter = 0.01,
    clip_threshold: Hyperparameter | None = 1.0,
    update_interval: Count = 10,
    hessian_diagonal_fn: optax.GradientTransformation | None = None,
    mu_dtype: Any = None,
    verbose: bool = False,
    print_win_rate_every_n_steps: int = 0,
) -> Transformation:
    """Divide the mean of the updates by the diagonal of the Hessian, and clip: see `sophia`.

    Args:
      b1: decay of m, in [0, 1).
      b2: decay of h, in [0, 1).
      eps: ε ≥ 0, the least divisor.
      gamma: factor ≥ 0 of h.
      clip_threshold: ρ > 0, or None for no clipping.
      update_interval: k > 0: h is measured in every k-th update, from the first on.
      hessian_diagonal_fn: a transformation whose update is an estimate of the diagonal;
        `hutchinson_estimator_diag_hessian()` if None.
      mu_dtype: dtype of m; the parameters' if None.
      verbose: whether to print the share of coordinates that are not clipped.
      print_win_rate_every_n_steps: in which updates; 0 for none. The state has it as `win_rate` in any case.

    Returns:
      A transformation, whose update needs the parameters, and `obj_fn=` for Hutchinson's estimator.

    Raises:
      ValueError: if a number is out of its range.
      TypeError: if `hessian_diagonal_fn` is no transformation, or a dtype is not floating; in init, if a parameter is
        complex.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> loss = lambda p: jnp.sum(jnp.array([1.0, 4.0]) * p**2)
      >>> params = jnp.array([1.0, 1.0])
      >>> tx = lrx.scale_by_sophia(b1=0.0, b2=0.0, gamma=1.0, clip_threshold=2.0)
      >>> state = tx.init(params)
      >>> for _ in range(2):  # nothing is known at first; then Newton's step
      ...   updates, state = tx.update(jax.grad(loss)(params), state, params, obj_fn=loss)
      ...   print(updates)
      [2. 2.]
      [1. 1.]

    References:
      Liu et al., Sophia (ICLR 2024), arXiv 2305.14342, algorithm 3, with the signs of optax.
    """
    check.below_one(b1=b1, b2=b2)
    check.epsilon(eps=eps)
    check.non_negative(gamma=gamma)
    clip_threshold = float("inf") if clip_threshold is None else clip_threshold
    check.positive(clip_threshold=clip_threshold)
    check.positive_count(update_interval=update_interval)
    check.non_negative_count(print_win_rate_every_n_steps=print_win_rate_every_n_steps)
    given = hutchinson_estimator_diag_hessian() if hessian_diagonal_fn is None else hessian_diagonal_fn
    inner = as_transformation("hessian_diagonal_fn", given)
    numbers = b1, b2, eps, gamma, clip_threshold, update_interval
    every = print_win_rate_every_n_steps if verbose else 0
    if is_tracer(every):
        raise check.fail("print_win_rate_every_n_steps", "must be a plain number where it is verbose", every)
    return transformation(ScaleBySophia(*numbers, inner, dtype_name("mu_dtype", mu_dtype), verbose, int(every)))


@check.public
def sophia(
    learning_rate: LearningRate,
    b1: Hyperparameter = 0.965,
    b2: Hyperparameter = 0.99,
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter = 1e-4,
    weight_decay_mask: Any = None,
    gamma: Hyperparameter = 0.01,
    clip_threshold: Hyperparameter | None = 1.0,
    update_interval: Count = 10,
    hessian_diagonal_fn: optax.GradientTransformation | None = None,
    mu_dtype: Any = None,
    verbose: bool = False,
    print_win_rate_every_n_steps: int = 0,
) -> Transformation:
    """Sophia: a clipped diagonal Newton step.

    With g_t the gradient, d_t an estimate of the Hessian's diagonal and η_t the learning rate::

      m_t = b1·m_{t−1} + (1 − b1)·g_t,   m̂_t = m_t / (1 − b1^t)
      u_t = clip(m̂_t / max(gamma · h_{t−1}, eps), ±clip_threshold)
      h_t = b2·h_{t−1} + (1 − b2)·d_t in every `update_interval`-th update, the first among them; else h_{t−1}
      θ_t = θ_{t−1} − η_t · (u_t + weight_decay · θ_{t−1})

    In the first update h is 0: it is one of the sign. `optax.tree.get(state, "win_rate")` is the share of coordinates
    that were not clipped, which should be between 0.1 and 0.5; if it is less, raise `gamma`.

    Every number may be a schedule too, evaluated at the count of updates completed, but for `update_interval`.

    Args:
      learning_rate: η, a number, a schedule or a controller.
      b1: decay of m, in [0, 1).
      b2: decay of h, in [0, 1).
      eps: ≥ 0, the least divisor.
      weight_decay: λ ≥ 0; it is multiplied by the learning rate.
      weight_decay_mask: a tree of bools like the parameters, or a function from parameters to one: decay where True.
      gamma: factor ≥ 0 of h.
      clip_threshold: > 0, or None for no clipping.
      update_interval: updates from one measurement of the diagonal to the next, > 0.
      hessian_diagonal_fn: a transformation whose update is d_t; `hutchinson_estimator_diag_hessian()` if None. It is
        given the extra arguments of the update.
      mu_dtype: dtype of m; the parameters' if None.
      verbose: whether to print the share of coordinates that are not clipped.
      print_win_rate_every_n_steps: in which updates; 0 for none.

    Returns:
      A transformation, whose update needs the parameters and, for the estimator by default, `obj_fn=`, the loss as a
      function of the parameters, or `value_fn=` in its place.

    Raises:
      ValueError: if a number is out of its range; in update, if the parameters or the loss are missing.
      TypeError: if `hessian_diagonal_fn` is no transformation, a mask is none, or a dtype is not floating; in init, if
        a parameter is complex.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> loss = lambda p: jnp.sum(jnp.array([1.0, 100.0]) * p**2)
      >>> params, tx = jnp.ones(2), lrx.sophia(0.05, b1=0.5, gamma=0.5)
      >>> state = tx.init(params)
      >>> for _ in range(60):
      ...   updates, state = tx.update(jax.grad(loss)(params), state, params, obj_fn=loss)
      ...   params = lrx.apply_updates(params, updates)
      >>> print(loss(params) < 1.0)
      True

    References:
      Liu et al., Sophia: a scalable stochastic second-order optimizer for language model pre-training (ICLR 2024),
      arXiv 2305.14342, algorithm 3, with three differences, as in optax: the mean is corrected for its start, a step
      uses the diagonal measured before it, and the signs are random, where the paper draws from a normal distribution.
    """
    rule = scale_by_sophia(
        b1,
        b2,
        eps,
        gamma,
        clip_threshold,
        update_interval,
        hessian_diagonal_fn,
        mu_dtype,
        verbose,
        print_win_rate_every_n_steps,
    )
    return chain(rule, add_decayed_weights(weight_decay, weight_decay_mask), scale_by_learning_rate(learning_rate))
