"""One training as a differentiable function of the numbers of its schedule, in the memory of √T states."""

import contextlib
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .. import _check as check
from .._numbers import F32
from .._pytree import is_node, key_name
from ..optimizers.apply_updates import apply_updates
from ..problems._problem import Problem, loss_of, scores_of, start_of
from ._arguments import By

Mode = Literal["auto", "reverse", "forward"]


class Numbers(NamedTuple):
    """The numbers of a tree that are tuned: all floating ones that are not 0."""

    treedef: Any
    leaves: tuple[Any, ...]
    places: tuple[tuple[int, int], ...]
    """Of each number, the leaf and its place in it."""
    names: tuple[str, ...]
    shares: tuple[bool, ...]
    """Whether a number is to stay in (0, 1), such as a momentum."""

    @classmethod
    def of(cls, tree: Any, make_optimizer: Callable[[Any], Any] | None = None) -> "Numbers":
        """Find them. Those between 0 and 1 that the optimizer or the schedule refuses at 1.001 are to stay there."""
        flat, treedef = jax.tree_util.tree_flatten_with_path(tree)
        places, names, leaves = [], [], []
        for i, (path, leaf) in enumerate(flat):
            leaves.append(leaf)
            array = np.asarray(leaf) if isinstance(leaf, float | np.ndarray | np.floating | jax.Array) else None
            if array is None or not jnp.issubdtype(array.dtype, jnp.floating):
                continue
            name = ".".join(map(key_name, path)) or "value"
            for place in np.flatnonzero(np.nan_to_num(array.astype(np.float64))):
                places.append((i, int(place)))
                names.append(f"{name}[{place}]" if array.ndim else name)
        if not names:
            raise check.fail("schedule", "must have a number other than 0 to tune, written as a float", tree)
        found = cls(treedef, tuple(leaves), tuple(places), tuple(names), (False,) * len(names))
        if make_optimizer is None:
            return found
        make_optimizer(tree)
        start, shares = found.start(), []
        for i, x in enumerate(start):
            factors = np.ones(len(start))
            factors[i] = 1.001 / x
            shares.append(
                bool(0 < x < 1) and not is_accepted(make_optimizer, found.with_factors(factors, concrete=True))
            )
        return found._replace(shares=tuple(shares))

    def start(self) -> np.ndarray:
        """The numbers, float64 [numbers]."""
        return np.array([np.asarray(self.leaves[leaf]).astype(np.float64).flat[place] for leaf, place in self.places])

    def at(self, phi: Any, concrete: bool = False) -> Any:
        """The tree at φ: a number x becomes x e^φ, and one in (0, 1) that is to stay there moves in its log odds."""
        xp = np if concrete else jnp
        factors, rest = xp.exp(xp.asarray(phi)), 1 - self.start()
        return self.with_factors(
            xp.where(np.array(self.shares), factors / (rest + self.start() * factors), factors), concrete
        )

    def with_factors(self, factors: Any, concrete: bool = False) -> Any:
        """The tree with each number times its factor; of Python numbers and arrays if that is asked for."""
        leaves = list(self.leaves)
        for i in sorted({i for i, _ in self.places}):
            rows = [(n, place) for n, (leaf, place) in enumerate(self.places) if leaf == i]
            which, where = (np.array(x) for x in zip(*rows, strict=True))
            array = jnp.asarray(self.leaves[i], F32)
            scaled = array * jnp.ones(array.size, F32).at[where].set(jnp.asarray(factors, F32)[which]).reshape(
                array.shape
            )
            leaves[i] = scaled
            if concrete:
                leaves[i] = float(scaled) if isinstance(self.leaves[i], float) else np.asarray(scaled)
        return self.treedef.unflatten(leaves)


def is_accepted(make_optimizer: Callable[[Any], Any], tree: Any) -> bool:
    """Whether the schedules' factories and the optimizer's take these numbers."""
    try:
        for node in jax.tree.leaves(tree, is_leaf=is_node):
            if is_node(node) and hasattr(node, "to_json"):
                with contextlib.suppress(TypeError):  # it holds code
                    node.to_json()
        make_optimizer(tree)
    except ValueError:
        return False
    return True


class Training(NamedTuple):
    """One training, as a function of the logarithms of factors."""

    problem: Problem
    make_optimizer: Callable[[Any], Any]
    numbers: Numbers
    steps: int
    by: By
    batches: Any

    def losses(self, phi: jax.Array, keys: Any) -> jax.Array:
        """The loss at the end, of each seed [seeds]: one after another."""
        return jax.lax.map(lambda pair: self.loss(phi, *pair), keys)

    def loss(self, phi: jax.Array, init_key: jax.Array, batch_key: jax.Array) -> jax.Array:
        """The loss at the end of one training."""
        problem, tail = self.problem, max(1, self.steps // 20)
        tx = self.make_optimizer(self.numbers.at(phi))
        tx = optax.with_extra_args_support(tx)

        def update(carry: Any, t: jax.Array) -> tuple[Any, jax.Array]:
            (params, model_state), state = carry
            key = jax.random.fold_in(batch_key, t)
            batch = jax.tree.map(lambda x: x[t], self.batches) if problem.sample is None else problem.sample(key)
            noise = jax.random.fold_in(key, 0)

            def loss_at(params: Any) -> tuple[jax.Array, Any]:
                return loss_of(problem, params, model_state, batch, noise)

            (loss, after), grads = jax.value_and_grad(loss_at, has_aux=True)(params)
            extra = dict(value=loss, grad=grads, value_fn=lambda params: loss_at(params)[0])
            updates, state = tx.update(grads, state, params, **extra)
            return ((apply_updates(params, updates), after), state), loss.astype(jnp.promote_types(loss.dtype, F32))

        def several(carry: Any, counts: jax.Array) -> tuple[Any, jax.Array]:
            return jax.lax.scan(update, carry, counts)

        model = start_of(problem, init_key)
        carry = model, tx.init(model[0])
        length = math.isqrt(self.steps - 1) + 1
        whole = self.steps // length * length
        counts = jnp.arange(self.steps)
        # only the carries between the stretches are kept; each stretch is computed again on the way back
        carry, first = jax.lax.scan(
            jax.checkpoint(several, prevent_cse=False), carry, counts[:whole].reshape(-1, length)
        )
        carry, rest = jax.checkpoint(several)(carry, counts[whole:])
        if self.by == "validation":
            return scores_of(problem, *carry[0])["loss"]
        return jnp.mean(jnp.concatenate([first.ravel(), rest])[-tail:])


def value_and_gradient(training: Training, mode: Mode) -> Callable[..., Any]:
    """`f(φ, keys) -> (losses [seeds], gradients [seeds, numbers])`, jitted."""

    def one(phi: jax.Array, init_key: jax.Array, batch_key: jax.Array) -> tuple[jax.Array, jax.Array]:
        def loss(phi: jax.Array) -> jax.Array:
            return training.loss(phi, init_key, batch_key)

        if mode == "reverse":
            return jax.value_and_grad(loss)(phi)
        value, gradient = jax.vmap(lambda e: jax.jvp(loss, (phi,), (e,)), out_axes=(None, 0))(jnp.eye(len(phi)))
        return value, gradient

    return jax.jit(lambda phi, keys: jax.lax.map(lambda pair: one(phi, *pair), keys))
