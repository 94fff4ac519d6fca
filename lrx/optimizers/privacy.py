"""Differential privacy: gradients of single examples, clipped, summed and made noisy."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import is_tiny, real, squared, trainable, wide
from .._chain import chain
from .._keys import key_of, seed_and_words
from .._numbers import Count, Hyperparameter, Scalar
from .._pytree import pytree_dataclass
from .._rule import Rule
from .._transformation import Transformation, transformation
from ..controllers._controller import Controller, LearningRate, needs_of
from .learning_rate import scale_by_learning_rate
from .momentum import trace


class DifferentiallyPrivateAggregateState(NamedTuple):
    """The state of the aggregation."""

    rng_key: jax.Array
    """The key of the next noise; a key of jax.random []."""


@pytree_dataclass
class DifferentiallyPrivateAggregate(Rule):
    """See `differentially_private_aggregate`."""

    l2_norm_clip: Scalar
    noise_multiplier: Scalar
    seed: Count | None = None
    words: tuple[Count, ...] | None = None
    """Of the key, where one was given; None with a seed."""

    renamed = (("words", "key"),)

    def init(self, params: Any) -> DifferentiallyPrivateAggregateState:
        """The state before the first update."""
        del params
        return DifferentiallyPrivateAggregateState(key_of(self.seed, self.words))

    def update(
        self, updates: Any, state: DifferentiallyPrivateAggregateState, params: Any = None, **extra: Any
    ) -> tuple[Any, DifferentiallyPrivateAggregateState]:
        """One step, on all leaves together."""
        del params, extra
        leaves, treedef = jax.tree.flatten(updates)
        if not leaves:
            return updates, state
        size = _batch_size(leaves)
        factors = self._factors(leaves, size)
        rng_key, *keys = jax.random.split(state.rng_key, len(leaves) + 1)

        def leaf(g: Any, key: jax.Array) -> Any:
            if not trainable(g):
                return g[0] if g.dtype == jax.dtypes.float0 else jnp.zeros_like(g[0])
            kind, r = wide(g.dtype), real(g.dtype)
            total = jnp.tensordot(factors.astype(r).astype(kind), g.astype(kind), axes=1)
            deviation = jnp.asarray(self.l2_norm_clip, r) * jnp.asarray(self.noise_multiplier, r)
            noise = jax.random.normal(key, total.shape, kind if is_tiny(g.dtype) else g.dtype).astype(kind)
            return ((total + deviation.astype(kind) * noise) / size).astype(g.dtype)

        new = [leaf(g, key) for g, key in zip(leaves, keys, strict=True)]
        return treedef.unflatten(new), DifferentiallyPrivateAggregateState(rng_key)

    def _factors(self, leaves: list[Any], size: int) -> jax.Array:
        """min(1, C/‖g_i‖) for each example."""
        known = [jnp.asarray(g).astype(wide(g.dtype)) for g in leaves if trainable(g)]
        dtype = wide(*(jnp.finfo(g.dtype).dtype for g in known))
        squares = (jnp.sum(squared(g), axis=tuple(range(1, g.ndim))).astype(dtype) for g in known)
        norms = jnp.sqrt(sum(squares, jnp.zeros(size, dtype)))
        most = jnp.asarray(self.l2_norm_clip, dtype)
        return jnp.where(norms > most, most / jnp.where(norms > most, norms, 1), jnp.ones_like(norms))


def _batch_size(leaves: list[Any]) -> int:
    """The length of the first axis, the same in all leaves."""
    sizes = {g.shape[0] if getattr(g, "ndim", 0) else -1 for g in leaves}
    if len(sizes) != 1 or -1 in sizes:
        shapes = ", ".join(sorted({str(getattr(g, "shape", ())) for g in leaves}))
        raise ValueError(
            "differentially_private_aggregate must be given the gradients of single examples, all with the batch on "
            f"their first axis, got shapes {shapes}. jax.vmap(jax.grad(loss), in_axes=(None, 0))(params, batch) makes "
            "them; the rule must be the first of its chain."
        )
    return sizes.pop()


@check.public
def differentially_private_aggregate(
    l2_norm_clip: Hyperparameter, noise_multiplier: Hyperparameter, key: Any = None, *, seed: Any = None
) -> Transformation:
    """Clip the gradient of each example, add them and noise, and divide by their number (DP-SGD).

    With g_i the gradients of B examples, ‖·‖ the Euclidean norm of all leaves together and z standard normal::

      u = (Σ_i g_i · min(1, l2_norm_clip / ‖g_i‖) + l2_norm_clip · noise_multiplier · z) / B

    The noise of a key is optax's of that key.

    Args:
      l2_norm_clip: C ≥ 0, the largest norm that a gradient keeps.
      noise_multiplier: σ ≥ 0, the deviation of the noise, relative to C.
      key: a key of jax.random, or a whole number as its seed. None is 0.
      seed: another name for a `key` that is a number.

    Returns:
      A transformation, to be the first of a chain: its updates are the gradients of single examples, with the batch on
      the first axis of each leaf. Rules that add gradients before it, such as `accumulate`, void the guarantee.

    Raises:
      ValueError: if a number is negative, or both `key` and `seed` are given; in update, if a leaf has no batch.
      TypeError: if `key` is neither a key nor a whole number.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.differentially_private_aggregate(l2_norm_clip=1.0, noise_multiplier=0.0)
      >>> grads = jnp.array([[3.0, 4.0], [0.0, 0.5]])  # of two examples
      >>> updates, _ = tx.update(grads, tx.init(jnp.zeros(2)))
      >>> print(updates)
      [0.3  0.65]

    References:
      Abadi et al., Deep learning with differential privacy (CCS 2016), arXiv 1607.00133, algorithm 1.
    """
    check.non_negative(l2_norm_clip=l2_norm_clip, noise_multiplier=noise_multiplier)
    seed, words = seed_and_words(key, seed)
    return transformation(DifferentiallyPrivateAggregate(l2_norm_clip, noise_multiplier, seed, words))


@check.public
def dpsgd(
    learning_rate: LearningRate,
    l2_norm_clip: Hyperparameter,
    noise_multiplier: Hyperparameter,
    seed: Any,
    momentum: Hyperparameter | None = None,
    nesterov: bool = False,
) -> Transformation:
    """Differentially private gradient descent: of clipped gradients of single examples, with noise.

    With u_t as in `differentially_private_aggregate`, η_t the learning rate and, with `momentum`, m_t as in `sgd`::

      θ_t = θ_{t−1} − η_t · u_t          or   θ_t = θ_{t−1} − η_t · m_t

    Args:
      learning_rate: η, a number, a schedule, or a controller that does not use the gradient, which is not private.
      l2_norm_clip: C ≥ 0, the largest norm that the gradient of an example keeps.
      noise_multiplier: σ ≥ 0, the deviation of the noise, relative to C.
      seed: a whole number, or a key of jax.random.
      momentum: in [0, 1), or None for none.
      nesterov: whether the momentum is Nesterov's.

    Returns:
      A transformation, whose updates are the gradients of single examples, with the batch on the first axis of each
      leaf.

    Raises:
      ValueError: if a number is out of its range, or the controller needs the gradient; in update, if a leaf has no
        batch.
      TypeError: if `seed` is neither a key nor a whole number.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> loss = lambda params, x: (params @ x - 1.0) ** 2
      >>> params, batch = jnp.zeros(2), jnp.array([[1.0, 0.0], [0.0, 1.0]])
      >>> tx = lrx.dpsgd(0.5, l2_norm_clip=1.0, noise_multiplier=0.0, seed=0)
      >>> grads = jax.vmap(jax.grad(loss), in_axes=(None, 0))(params, batch)
      >>> updates, _ = tx.update(grads, tx.init(params), params)
      >>> print(updates)
      [0.25 0.25]

    References:
      Abadi et al., Deep learning with differential privacy (CCS 2016), arXiv 1607.00133, algorithm 1.
    """
    if isinstance(learning_rate, Controller) and {"grad", "value_fn"} & set(needs_of(learning_rate)):
        raise check.fail("learning_rate", "must not depend on gradients, which are not private", learning_rate)
    links = [differentially_private_aggregate(l2_norm_clip, noise_multiplier, seed)]
    links += [] if momentum is None else [trace(momentum, nesterov)]
    return chain(*links, scale_by_learning_rate(learning_rate))
