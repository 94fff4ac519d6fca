"""What the training benchmarks share: the two tasks, a run that records gradient norms, parabolas over rates."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import lrx

TASKS: dict[str, Callable[..., lrx.Problem]] = {"digits": lrx.problems.digits, "text": lrx.problems.text}


def sgd(learning_rate: Any) -> Any:
    """SGD with momentum."""
    return lrx.sgd(learning_rate, momentum=0.9)


OPTIMIZERS: dict[str, tuple[Callable[..., Any], Any, tuple[float, float]]] = {
    "sgd": (sgd, "l2", (3e-3, 1.0)),
    "adam": (lrx.adam, "l1", (3e-4, 0.1)),
}
"""Each with its norm and the range of its rates."""


def line(peak: float, steps: int) -> Any:
    """From the peak to zero."""
    return lrx.linear_schedule(peak, 0.0, steps)


def norms_of_a_run(problem: lrx.Problem, tx: Any, steps: int, norm: str, seed: int) -> np.ndarray:
    """The norm of the gradient at each update, float64 [steps]."""
    assert problem.sample is not None
    sample = problem.sample
    start, draw = jax.random.split(jax.random.key(seed))
    params = problem.init(start)

    def step(carry: Any, key: Any) -> Any:
        params, state = carry
        grads = jax.grad(problem.loss)(params, sample(key), None)
        sizes = [jnp.sum(jnp.abs(g)) if norm == "l1" else jnp.sum(g * g) for g in jax.tree.leaves(grads)]
        total = sum(sizes)
        updates, state = tx.update(grads, state, params)
        return (lrx.apply_updates(params, updates), state), total if norm == "l1" else jnp.sqrt(total)

    keys = jax.random.split(draw, steps)
    return np.asarray(jax.jit(lambda c: jax.lax.scan(step, c, keys)[1])((params, tx.init(params))), np.float64)


class Vertex(NamedTuple):
    """The best rate of a sweep."""

    rate: float
    """Where the parabola through the best rate and its neighbours is lowest."""
    loss: float
    """Its value there."""
    spread: float
    """Standard deviation over seeds at the best rate."""


def vertex(rates: np.ndarray, losses: np.ndarray) -> Vertex:
    """The best of rates [rate] by the mean of losses [rate, seed]."""
    mean = np.where(np.isfinite(losses).all(1), losses.mean(1), np.inf)
    i = int(np.clip(np.argmin(mean), 1, rates.size - 2))
    x, y = np.log(rates[i - 1 : i + 2]), np.log(mean[i - 1 : i + 2])
    spread = float(losses[np.argmin(mean)].std())
    if not np.isfinite(y).all() or not i - 1 < np.argmin(mean) < i + 1:
        return Vertex(float(rates[np.argmin(mean)]), float(mean.min()), spread)
    a, b, c = np.polyfit(x - x[1], y, 2)
    return Vertex(float(np.exp(x[1] - b / (2 * a))), float(np.exp(c - b * b / (4 * a))), spread)
