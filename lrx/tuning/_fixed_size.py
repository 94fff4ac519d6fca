"""Whether the updates of an optimizer have a size of their own: then its best rate falls with the length of the run."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..problems._problem import Problem
from ._evidence import FALLS, STAYS, UNKNOWN, Drift

STEPS = 12
"""Updates of the trial, whose gradients differ by factors of 100."""
WIDEST = 8
"""Rows and columns of its parameters, at most: the kind of an optimizer does not depend on them."""
ALIKE = 0.6
"""The smallest of the updates over the largest, from which on they are of a fixed size. Adam's are below it, as its
mean gradient and its mean square forget at different paces."""
BY_NAME = {
    **dict.fromkeys(("lion", "muon", "sign_sgd", "signsgd", "signum", "lamb", "lars", "scion"), FALLS),
    **dict.fromkeys(("sgd", "momentum", "nesterov", "adam", "adamw", "nadam", "nadamw", "amsgrad", "adamax"), STAYS),
}


def drift_of(problem: Problem, make_optimizer: Callable[..., Any]) -> Drift:
    """How the best rate of an optimizer is expected to move with the length of the run, from a trial on noise.

    The kind is that of the updates of most parameters, as matrices may be trained by other rules than the rest.

    Nothing of the problem is trained: parameters of the same structure, of eight rows and columns at most, are given
    gradients of new directions and sizes each time. An optimizer that cannot be tried like this is of an unknown kind.
    """
    try:
        sizes, counts = _sizes(problem, make_optimizer)
    except Exception:  # whatever it needs that a trial does not have: values, functions, other shapes
        return UNKNOWN
    if not np.isfinite(sizes).all() or not sizes.max(initial=0) > 0:
        return UNKNOWN
    fixed = (sizes.min(axis=0) >= ALIKE * sizes.max(axis=0)) & (sizes.max(axis=0) > 0)
    return FALLS if counts[fixed].sum() > counts.sum() / 2 else STAYS


def _sizes(problem: Problem, make_optimizer: Callable[..., Any]) -> tuple[np.ndarray, np.ndarray]:
    """The norms of the updates, [steps, leaves], and how many parameters the leaves have, [leaves]."""
    shapes = jax.eval_shape(problem.init, jax.random.key(0))
    shapes = shapes if problem.loss_with_state is None else shapes[0]
    random = np.random.default_rng(0)
    leaves, structure = jax.tree.flatten(shapes)
    cut = [tuple(min(n, WIDEST) for n in leaf.shape) for leaf in leaves]

    def drawn(*more: int) -> Any:
        return structure.unflatten([jnp.asarray(random.standard_normal((*more, *shape)), jnp.float32) for shape in cut])

    params, scale = drawn(), 100.0 ** np.array([0, 1, -1] * (STEPS // 3))
    grads = jax.tree.map(lambda g: g * scale.reshape(-1, *[1] * (g.ndim - 1)).astype(np.float32), drawn(STEPS))
    tx = make_optimizer(1.0)

    def step(state: Any, grads: Any) -> Any:
        updates, state = tx.update(grads, state, params)
        return state, jnp.stack([jnp.sqrt(jnp.sum(jnp.square(u))) for u in jax.tree.leaves(updates)])

    sizes = jax.jit(lambda: jax.lax.scan(step, tx.init(params), grads)[1])()
    return np.asarray(sizes), np.array([math.prod(leaf.shape) for leaf in leaves])
