"""`sharpness`: the largest eigenvalue of the loss's Hessian, and how near the learning rate is to the edge it sets."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import is_none, leaves_like, trainable, wide
from .._keys import normal_like
from .._numbers import F32
from ._preconditioner import preconditioner

VANISHED = 1e-5
"""What is left of a vector is rounding below this share of the largest number so far: the space is exhausted."""


class Sharpness(NamedTuple):
    """See `sharpness`."""

    eigenvalue: jax.Array
    """λ, the largest eigenvalue of the Hessian H, or of P⁻¹H; float32 []."""
    stability: jax.Array | None
    """learning_rate · λ / threshold: 1 at the edge of stability; None without a learning rate."""
    threshold: jax.Array
    """What learning_rate · λ may be on a quadratic; float32 []."""
    error: jax.Array
    """An eigenvalue is at most this far from λ; float32 []."""


class _Rest(NamedTuple):
    """What of the parameters is held still and is no array, such as functions: equal if the objects are the same."""

    treedef: Any
    leaves: tuple[Any, ...]
    """None in place of the arrays."""

    def __hash__(self) -> int:
        return hash((self.treedef, tuple(map(id, self.leaves))))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Rest) or self.treedef != other.treedef:
            return False
        return all(x is y for x, y in zip(self.leaves, other.leaves, strict=True))


def _largest(loss_fn: Any, iters: int, params: Any, batch: Any, divisor: Any, key: Any) -> tuple[jax.Array, jax.Array]:
    """The largest eigenvalue and the bound of its error."""
    leaves, treedef = jax.tree.flatten(params, is_leaf=is_none)
    over: list[Any] = [None] * len(leaves) if divisor is None else leaves_like(treedef, divisor)
    at, still, roots, rest = {}, {}, {}, [None] * len(leaves)
    for i, (p, v) in enumerate(zip(leaves, over, strict=True)):
        if trainable(p) and (divisor is None or trainable(v)):
            at[i] = jnp.asarray(p).astype(wide(jnp.result_type(p)))
            roots[i] = None if divisor is None else jnp.sqrt(v).astype(at[i].dtype)
        elif hasattr(p, "dtype"):
            still[i] = p
        else:
            rest[i] = p
    if not at:
        raise TypeError(f"{check.where('params')} must have leaves that are trained, got none.")
    return _lanczos(loss_fn, iters, _Rest(treedef, tuple(rest)), at, still, roots, batch, key)


@functools.partial(jax.jit, static_argnames=("loss_fn", "iters", "rest"))
def _lanczos(
    loss_fn: Any, iters: int, rest: _Rest, trained: Any, still: Any, over: Any, batch: Any, key: Any
) -> tuple[jax.Array, jax.Array]:
    """`iters` steps of Lanczos' method, with one correction for what rounding leaves."""
    places, at, roots = list(trained), list(trained.values()), list(over.values())

    def loss(xs: list[jax.Array]) -> jax.Array:
        full = list(rest.leaves)
        for i, x in (*still.items(), *zip(places, xs, strict=True)):
            full[i] = x
        return loss_fn(rest.treedef.unflatten(full), batch)

    def scaled(xs: list[jax.Array]) -> list[jax.Array]:
        return [x if r is None else x / r for x, r in zip(xs, roots, strict=True)]

    def product(v: list[jax.Array]) -> list[jax.Array]:
        """P^(−1/2) H P^(−1/2) v, which has the eigenvalues of P⁻¹H."""
        return scaled(jax.jvp(jax.grad(loss), (at,), (scaled(v),))[1])

    dtype = wide(*(x.dtype for x in at))

    def dot(xs: list[jax.Array], ys: list[jax.Array]) -> jax.Array:
        return sum((jnp.sum(x * y).astype(dtype) for x, y in zip(xs, ys, strict=True)), jnp.zeros((), dtype))

    def plus(xs: list[jax.Array], factor: jax.Array, ys: list[jax.Array]) -> list[jax.Array]:
        return [x + factor.astype(x.dtype) * y for x, y in zip(xs, ys, strict=True)]

    def unit(xs: list[jax.Array], norm: jax.Array) -> list[jax.Array]:
        return [x / norm.astype(x.dtype) for x in xs]

    def step(carry: Any, _: Any) -> Any:
        before, v, beta, largest, first, done = carry
        w = plus(product(v), -beta, before)
        alpha = dot(v, w)
        w = plus(w, -alpha, v)
        w = plus(w, -dot(v, w), v)  # what rounding has left of it
        after = jnp.sqrt(dot(w, w))
        first = jnp.where(jnp.isnan(first), alpha, first)
        alpha = jnp.where(done, first, alpha)  # a value inside the spectrum, which changes no largest one
        largest = jnp.maximum(largest, jnp.maximum(jnp.abs(alpha), after))
        done = done | (after <= VANISHED * largest)
        after = jnp.where(done, 0, after)
        return (v, unit(w, jnp.where(done, 1, after)), after, largest, first, done), (alpha, after)

    start = normal_like(jax.random.split(key, len(at)), at)
    start = unit(start, jnp.sqrt(dot(start, start)))
    zero = jnp.zeros((), dtype)
    carry = ([jnp.zeros_like(x) for x in at], start, zero, zero, jnp.full((), jnp.nan, dtype), jnp.zeros((), bool))
    _, (alpha, beta) = jax.lax.scan(step, carry, None, length=iters)
    values, vectors = jnp.linalg.eigh(jnp.diag(alpha) + jnp.diag(beta[:-1], 1) + jnp.diag(beta[:-1], -1))
    return values[-1].astype(F32), (beta[-1] * jnp.abs(vectors[-1, -1])).astype(F32)


@check.public
def sharpness(
    loss_fn: Callable[[Any, Any], Any],
    params: Any,
    batch: Any,
    *,
    opt_state: Any = None,
    learning_rate: Any = None,
    iters: int = 20,
    key: Any,
    hyperparams: Mapping[str, Any] | None = None,
) -> Sharpness:
    """Measure the sharpness of the loss, and how near the learning rate is to the edge of stability.

    λ is the largest eigenvalue of the Hessian H. If the state is of an optimizer that divides the gradient by P, such
    as Adam by √v̂ + eps, it is that of P⁻¹H. On a quadratic, training diverges if learning_rate · λ is above::

      gradient descent           2
      momentum b                 2 + 2b                 (2 + 2b) / (1 + 2b) with Nesterov's
      Adam, and a mean of b1     (2 + 2·b1) / (1 − b1)   38 for b1 = 0.9

    `stability` is learning_rate · λ over this threshold. Full-batch training at a constant rate comes to 1 and stays
    there; with noisy batches it stays below.

    λ comes from `iters` products of the Hessian with a vector, each as costly as two gradients, by Lanczos' method. It
    never exceeds the true one by more than rounding. Memory: four vectors like the parameters.

    Args:
      loss_fn: `loss_fn(params, batch)` -> loss, a real scalar. A function of the same identity is compiled once.
      params: the parameters. Leaves that are not trained may be anything; bfloat16 and float16 are taken as float32.
      batch: what `loss_fn` takes: the larger, the less noise.
      opt_state: the state of the optimizer, lrx's or optax's, or anything that contains it; gives P, the threshold and
        the learning rate. Without it, λ is of H and the threshold 2.
      learning_rate: the rate, if the state does not have it.
      iters: products, ≥ 2.
      key: a key of `jax.random`, for the vector to start from.
      hyperparams: numbers and options that the state does not hold: `b1`, `b2`, `eps`, `eps_root`, `decay`,
        `nesterov`, `eps_in_sqrt`. optax's states hold none, and its defaults are taken; lrx's hold all numbers.

    Returns:
      `.eigenvalue`, `.stability`, `.threshold`, `.error`, scalars.

    Raises:
      ValueError: if the state is of an optimizer without such a threshold, as Lion, or of one that has not begun; if
        `iters` is less than 2.
      TypeError: if `loss_fn` is no function or gives no real scalar, or a parameter is complex.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> def loss_fn(params, batch):
      ...   return 0.5 * jnp.sum(batch * params["w"] ** 2)
      >>> params, batch = {"w": jnp.ones(3)}, jnp.array([1.0, 5.0, 20.0])
      >>> found = lrx.sharpness(loss_fn, params, batch, learning_rate=0.09, key=jax.random.key(0))
      >>> print(f"{found.eigenvalue:.4g} {found.stability:.4g}")
      20 0.9

    References:
      Cohen et al., Gradient descent on neural networks typically occurs at the edge of stability (ICLR 2021), arXiv
      2103.00065; Adaptive gradient methods at the edge of stability (2022), arXiv 2207.14484, for P⁻¹H.
    """
    if not callable(loss_fn):
        raise TypeError(f"{check.where('loss_fn')} must be a function of (params, batch), got {loss_fn!r}.")
    check.positive_count(iters=iters)
    if iters < 2:
        raise check.fail("iters", "must be at least 2", iters)
    _check_loss(loss_fn, params, batch)
    divisor, threshold, rate = preconditioner(opt_state, dict(hyperparams or {}))
    rate = rate if learning_rate is None else learning_rate
    value, error = _largest(loss_fn, int(iters), params, batch, divisor, key)
    stability = None if rate is None else jnp.asarray(rate, F32) * value / threshold
    return Sharpness(value, stability, threshold, error)


def _check_loss(loss_fn: Any, params: Any, batch: Any) -> None:
    for path, x in jax.tree_util.tree_flatten_with_path(params)[0]:
        if trainable(x) and jnp.iscomplexobj(x):
            raise TypeError(f"{check.where('params')} must be real, got complex{jax.tree_util.keystr(path)}.")
    out = jax.eval_shape(lambda: check.in_user_code(loss_fn, params, batch))
    if not (hasattr(out, "dtype") and out.shape == () and jnp.issubdtype(out.dtype, jnp.floating)):
        raise TypeError(f"{check.where('loss_fn')} must give the loss, a real scalar, got {out!r}.")
