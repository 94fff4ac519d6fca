"""Batch-size transfer on digits and text: `python -m benchmarks.laws.batch_size [--json FILE]`.

The best peak of a line to zero is measured at batches of 16 and of 128 examples, over the same number of examples, by a
sweep in factors of √2 with three seeds. `lrx.transfer_batch_size` predicts the second from the first by each of its
rules. The noise scale is measured along a run at the smaller batch, from 64 gradients of 16 examples and their mean at
every fiftieth step. For `surge`, whose N is not that scale but the batch size of the greatest rate, it is taken too.
"""

import argparse
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lrx

from .._timing import write
from .training import OPTIMIZERS, TASKS, line, vertex

SMALL, LARGE, GRADIENTS, SEEDS = 16, 128, 64, 3
RULES = {"sgd": ("linear", "noise_scale"), "adam": ("sqrt", "surge")}


def noise_scale(problem: lrx.Problem, tx: Any, steps: int) -> float:
    """Of the gradient, along the middle three quarters of a run."""
    assert problem.sample is not None
    sample = problem.sample

    def squares(tree: Any) -> Any:
        return sum(jnp.sum(x * x) for x in jax.tree.leaves(tree))

    @jax.jit
    def look(params: Any, key: Any) -> Any:
        grads = jax.lax.map(lambda k: jax.grad(problem.loss)(params, sample(k), None), jax.random.split(key, GRADIENTS))
        small = jnp.mean(jax.vmap(squares)(grads))
        return small, squares(jax.tree.map(lambda g: jnp.mean(g, 0), grads))

    @jax.jit
    def train(carry: Any, keys: Any) -> Any:
        def step(carry: Any, key: Any) -> Any:
            params, state = carry
            grads = jax.grad(problem.loss)(params, sample(key), None)
            updates, state = tx.update(grads, state, params)
            return (lrx.apply_updates(params, updates), state), None

        return jax.lax.scan(step, carry, keys)[0]

    params = problem.init(jax.random.key(7))
    carry, found = (params, tx.init(params)), []
    for i in range(steps // 50):
        carry = train(carry, jax.random.split(jax.random.key(i), 50))
        if steps // 8 <= 50 * (i + 1) <= steps - steps // 8:
            found.append(look(carry[0], jax.random.key(10_000 + i)))
    small, big = np.array(found).T
    return float(lrx.gradient_noise_scale(small, big, SMALL, SMALL * GRADIENTS))


def measure(task: str, optimizer: str, examples: int) -> dict[str, Any]:
    """The best rates at both batch sizes, and the predicted ones."""
    make, _, (low, high) = OPTIMIZERS[optimizer]
    rates = low * math.sqrt(2) ** np.arange(round(2 * math.log2(high / low)) + 1)
    best = {}
    for batch in (SMALL, LARGE):
        problem, steps = TASKS[task](batch), examples // batch
        swept = lrx.sweep(problem, make, learning_rate=rates, schedule={"line": line}, seeds=SEEDS, steps=steps)
        best[batch] = vertex(rates, swept.final[:, 0])
    scale = noise_scale(TASKS[task](SMALL), make(line(best[SMALL].rate, examples // SMALL)), examples // SMALL)
    result: dict[str, Any] = {"small": best[SMALL].rate, "large": best[LARGE].rate, "noise scale": scale}
    for rule in RULES[optimizer]:
        n = {} if rule in ("linear", "sqrt") else {"noise_scale": scale}
        result[rule] = float(lrx.transfer_batch_size(best[SMALL].rate, SMALL, LARGE, rule=rule, **n))  # type: ignore[arg-type]  # the rule is one of its names
    return result


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=32_000)
    parser.add_argument("--json")
    args = parser.parse_args()
    print(f"| task | optimizer | best at {SMALL} | best at {LARGE} | ratio | noise scale | rule: predicted ratio |")
    print("|---|---|---|---|---|---|---|")
    saved = {}
    for task in TASKS:
        for optimizer in OPTIMIZERS:
            r = saved[f"{task}, {optimizer}"] = measure(task, optimizer, args.examples)
            rules = ", ".join(f"{rule}: {r[rule] / r['small']:.2f}" for rule in RULES[optimizer])
            rates = f"{r['small']:.2e} | {r['large']:.2e} | {r['large'] / r['small']:.2f}"
            print(f"| {task} | {optimizer} | {rates} | {r['noise scale']:.0f} | {rules} |", flush=True)
    write(args.json, saved)


if __name__ == "__main__":
    main()
