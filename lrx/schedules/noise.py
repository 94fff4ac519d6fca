"""Reproducible noise: a function of the key and the count alone."""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _check as check
from .._keys import KINDS, words_of
from .._numbers import Count, Scalar, is_tracer
from .._pytree import pytree_dataclass
from ._lookup import stacked
from ._phase import as_count, scalar
from ._questions import Marks, marks_of
from ._schedule import Schedule, part, schedule_factory


@jax.jit
def _uniform(words: jax.Array, t: jax.Array) -> jax.Array:
    """A number in [−1, 1) for each count."""
    key = jax.random.wrap_key_data(jax.lax.bitcast_convert_type(words, jnp.uint32), impl=KINDS[words.shape[0]])

    def one(count: jax.Array) -> jax.Array:
        return jax.random.uniform(jax.random.fold_in(key, count), (), jnp.float32, -1.0, 1.0)

    return jax.vmap(one)(t.ravel()).reshape(t.shape)


@pytree_dataclass
class Noisy(Schedule):
    """See `noisy`. The key is kept as its words, in int32: a state holds numbers only."""

    s: Any
    scale: Scalar
    key: tuple[Count, ...]

    def __call__(self, count: Any) -> jax.Array:
        """The schedule, times 1 and a little."""
        t = as_count(count)
        words = stacked(list(self.key), lambda word: jnp.asarray(word, jnp.int32))
        u = _uniform(words, jnp.floor(t).astype(jnp.int32))
        return jnp.asarray(self.s(count)).astype(jnp.float32) * (1 + scalar(self.scale) * u)

    def marks(self) -> Marks:
        """The marks of the schedule without its end: noise never stops changing."""
        return {k: m for k, m in marks_of(self.s).items() if k != "end"}


@schedule_factory
def noisy(s: Any, *, scale: Scalar, key: Any) -> Noisy:
    """Multiply a schedule by reproducible random noise.

    ::

      η(t) = s(t) · (1 + scale · u(t)),   u(t) uniform on [−1, 1), drawn with jax.random.fold_in(key, t)

    Args:
      s: a schedule, a number or a function of the count.
      scale: in [0, 1], by how much of its value η(t) may differ from s(t).
      key: a key of jax.random (threefry or rbg), or its words.

    Returns:
      A schedule, within one ulp more than `s`. A count between two updates has the noise of the first.

    Raises:
      ValueError: if `scale` is not in [0, 1], or the key has the wrong size.
      TypeError: if `key` is not a key.

    Examples:
      >>> import jax
      >>> import lrx
      >>> schedule = lrx.noisy(1.0, scale=0.5, key=jax.random.key(3))
      >>> bool(schedule(7) == schedule(7)), bool(schedule(7) == schedule(8))
      (True, False)
      >>> lrx.from_json(schedule.to_json()) == schedule
      True
    """
    check.finite(scale=scale)
    check.non_negative(scale=scale)
    if not is_tracer(scale) and scale > 1:
        raise check.fail("scale", "must be at most 1", scale)
    return Noisy(part("s", s), scale, words_of(key))
