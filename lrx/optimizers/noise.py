"""Gaussian noise on the updates, less with every update, and gradient descent with it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import add_one, map_leaves, real, sqrt, zero_count
from .._chain import chain
from .._keys import key_of, normal_like, seed_and_words
from .._numbers import F32, Count, Hyperparameter, Scalar
from .._pytree import pytree_dataclass
from .._rule import Rule
from .._transformation import Transformation, transformation
from ..controllers._controller import LearningRate
from .learning_rate import scale_by_learning_rate


class AddNoiseState(NamedTuple):
    """The state of the noise."""

    count: jax.Array
    """t, the number of updates completed; int32 []."""
    rng_key: jax.Array
    """The key of the next noise; a key of jax.random []."""


@pytree_dataclass
class AddNoise(Rule):
    """See `add_noise`."""

    eta: Scalar
    gamma: Scalar
    seed: Count | None = None
    words: tuple[Count, ...] | None = None
    """Of the key, where one was given; None with a seed."""

    renamed = (("words", "key"),)

    def init(self, params: Any) -> AddNoiseState:
        """The state before the first update."""
        del params
        return AddNoiseState(zero_count(), key_of(self.seed, self.words))

    def update(self, updates: Any, state: AddNoiseState, params: Any = None, **extra: Any) -> tuple[Any, AddNoiseState]:
        """One step, on each leaf."""
        del params, extra
        t = add_one(state.count)
        deviation = sqrt(jnp.asarray(self.eta, F32) / t.astype(F32) ** jnp.asarray(self.gamma, F32))
        rng_key, sample_key = jax.random.split(state.rng_key)
        noise = normal_like(jax.random.split(sample_key, len(jax.tree.leaves(updates))), updates)

        def leaf(g: jax.Array, z: jax.Array) -> tuple[jax.Array]:
            return (g + deviation.astype(real(g.dtype)) * z.astype(g.dtype),)

        return map_leaves(leaf, 1, updates, noise)[0], AddNoiseState(t, rng_key)


@check.public
def add_noise(eta: Hyperparameter, gamma: Hyperparameter, key: Any = None, *, seed: Any = None) -> Transformation:
    """Add Gaussian noise to the updates, whose variance falls.

    With t = 1, 2, … and z_t standard normal, drawn in the dtype of each update::

      u_t = g_t + √(eta / t^gamma) · z_t

    The noise of a key is optax's of that key.

    Args:
      eta: η ≥ 0, the variance at the first update.
      gamma: γ, the exponent by which it falls; 0 for noise that stays.
      key: a key of jax.random, or a whole number as its seed. None is 0.
      seed: another name for a `key` that is a number.

    Returns:
      A transformation.

    Raises:
      ValueError: if η is negative, γ is not finite, or both `key` and `seed` are given.
      TypeError: if `key` is neither a key nor a whole number.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> tx = lrx.add_noise(eta=0.25, gamma=0.55, key=jax.random.key(1))
      >>> noise, _ = tx.update(jnp.zeros(10_000), tx.init(jnp.zeros(10_000)))
      >>> print(noise.std().round(2))
      0.5

    References:
      Neelakantan et al., Adding gradient noise improves learning for very deep networks (2015), arXiv 1511.06807,
      equation 1, whose t begins at 0.
    """
    check.non_negative(eta=eta)
    check.finite(eta=eta, gamma=gamma)
    return transformation(AddNoise(eta, gamma, *seed_and_words(key, seed)))


@check.public
def noisy_sgd(
    learning_rate: LearningRate,
    eta: Hyperparameter = 0.01,
    gamma: Hyperparameter = 0.55,
    key: Any = None,
    *,
    seed: Any = None,
) -> Transformation:
    """Gradient descent with Gaussian noise on the gradient, whose variance falls.

    With g_t the gradient, η_t the learning rate, t = 1, 2, … and z_t standard normal::

      θ_t = θ_{t−1} − η_t · (g_t + √(eta / t^gamma) · z_t)

    Args:
      learning_rate: η_t, a number, a schedule or a controller.
      eta: ≥ 0, the variance of the noise at the first update.
      gamma: the exponent by which it falls.
      key: a key of jax.random, or a whole number as its seed. None is 0.
      seed: another name for a `key` that is a number.

    Returns:
      A transformation.

    Raises:
      ValueError: if a number is out of its range, or both `key` and `seed` are given.
      TypeError: if `key` is neither a key nor a whole number.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.noisy_sgd(0.5, eta=0.0)
      >>> updates, _ = tx.update(jnp.array([1.0, 2.0]), tx.init(jnp.zeros(2)))
      >>> print(updates)
      [-0.5 -1. ]

    References:
      Neelakantan et al., Adding gradient noise improves learning for very deep networks (2015), arXiv 1511.06807.
    """
    return chain(add_noise(eta, gamma, key, seed=seed), scale_by_learning_rate(learning_rate))
