"""What `monitor` reads: all entries of a small model, or a sample of a large one's."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._arithmetic import leaves_like, sqrt, squared, trainable, varying_axes, wide
from .._numbers import F32


class Whole:
    """All entries: the update is read where it comes out."""

    late = False
    held: Any = ()

    def __init__(self, us: list[Any], ps: list[Any], treedef: Any, previous: Any):
        self.us, self.ps, self.treedef = us, ps, treedef
        self.old = leaves_like(treedef, previous)
        self.now = [entries(u, None) if trainable(u) else o for u, o in zip(us, self.old, strict=True)]

    def over(self, function: Callable[..., jax.Array], *columns: list[Any]) -> jax.Array:
        """Σ function over the entries of the leaves that are trained."""
        terms = [_sum(function, *xs) for u, *xs in zip(self.us, *columns, strict=True) if trainable(u)]
        return sum(terms, jnp.zeros((), F32))

    def parameter_norm(self) -> jax.Array:
        """‖θ_t‖."""
        return self._norm(self.ps)

    def ordered(self, updates: Any, weights: jax.Array | None) -> Any:
        """The updates for the inner optimizer."""
        return updates

    def step_norm(self, moved: Any) -> jax.Array:
        """‖u_t‖."""
        return self._norm(leaves_like(self.treedef, moved))

    def norm_before(self, weights: jax.Array) -> jax.Array:
        """‖θ_t‖, which u_t moves."""
        return weights

    def _norm(self, leaves: list[Any]) -> jax.Array:
        return sqrt(self.over(squared, [entries(x, None) if trainable(x) else jnp.zeros(()) for x in leaves]))


class Sample:
    """Some entries, in one array. They are those of the gradient and of the parameters, never of the update.

    An optimizer's update is an expression inside the loop that writes the parameters. To read entries of it, XLA would
    write all of it to memory, and copy the memory that it is made of. The next update sees the moved parameters.
    """

    late = True

    def __init__(self, us: list[Any], ps: list[Any], share: int, previous: jax.Array, held: jax.Array):
        gradient, parameters, factors = [], [], []
        for u, part in zip(us, ps, strict=True):
            for p in filter(trainable, jax.tree.leaves(part)):
                x = entries(p, share)
                # what is not trained may be anything, also not a number
                parameters.append(x if trainable(u) else jnp.zeros_like(x))
                gradient.append(entries(u, share) if trainable(u) else jnp.zeros_like(x))
                factors.append(np.full(x.size, size_of(p) / x.size if trainable(u) else 0.0, np.float32))
        self.now, self.old, self.held = [sampled(gradient)], [previous], sampled(parameters)
        if self.held.shape != held.shape:
            fault = f"got {self.held.size} entries for the {held.size} of the state"
            raise ValueError(f"monitor(tx).update(updates, state, params) must be given the parameters, {fault}.")
        self.before, self.factors = held, np.concatenate(factors)

    def over(self, function: Callable[..., jax.Array], *columns: list[Any]) -> jax.Array:
        """Σ function over the entries, as of all entries."""
        return _sum(lambda *xs: function(*xs) * self.factors, *(column[0] for column in columns))

    def parameter_norm(self) -> jax.Array:
        """‖θ_t‖."""
        return sqrt(self.over(squared, [self.held]))

    def ordered(self, updates: Any, weights: jax.Array | None) -> Any:
        """The same updates, but computed after the norm of the sampled parameters.

        Where the order is open, XLA copies donated parameters so that they can be read after they were written. A
        barrier is gone before that is decided: the order must be in the data. No norm is below -1.
        """
        if weights is None:
            return updates
        true = ~(weights < -1)

        def after(u: Any) -> Any:
            if not trainable(u) or varying_axes(weights) - varying_axes(u):
                return u
            u = jnp.asarray(u)
            return jnp.where(true, u, jnp.zeros_like(u))

        return jax.tree.map(after, updates)

    def step_norm(self, moved: Any) -> jax.Array:
        """‖θ_t − θ_{t−1}‖: what the update before this one did."""
        return sqrt(self.over(lambda x, y: squared(x - y), [self.held], [self.before]))

    def norm_before(self, weights: jax.Array) -> jax.Array:
        """‖θ_{t−1}‖."""
        return sqrt(self.over(squared, [self.before]))


def size_of(x: Any) -> int:
    return int(np.prod(jnp.shape(x), dtype=np.int64))


def sampled(pieces: list[jax.Array]) -> jax.Array:
    """The entries of all leaves in one array, in their widest dtype: many small arrays cost time in every step."""
    dtype = wide(*(x.dtype for x in pieces))
    return jnp.concatenate([x.astype(dtype).ravel() for x in pieces])


def entries(x: Any, most: int | None) -> jax.Array:
    """At most so many entries of a leaf, in at least float32: always the same, drawn at random without repetition."""
    x = jax.lax.stop_gradient(jnp.asarray(x))
    if most is not None and x.size > most:
        drawn = np.sort(np.random.default_rng(0).choice(x.size, most, replace=False, shuffle=False))
        places = tuple(i.astype(np.int32) for i in np.unravel_index(drawn, x.shape))
        x = _take(x, places)
    return x.astype(wide(x.dtype))


def _take(x: jax.Array, places: tuple[np.ndarray, ...]) -> jax.Array:
    """`x[places]`; replicated, where the types say how `x` is spread over a mesh."""
    sharding = getattr(jax.typeof(x), "sharding", None)
    if sharding is None or sharding.mesh.empty or not any(sharding.spec):
        return x[places]
    everywhere = jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec(None))
    return x.at[places].get(out_sharding=everywhere)


def _sum(function: Callable[..., jax.Array], *xs: jax.Array) -> jax.Array:
    return jnp.sum(function(*xs)).astype(F32)


def real_product(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.real(jnp.conj(x) * y.astype(x.dtype))
