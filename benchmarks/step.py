"""One optimizer step of lrx and of optax, paired: `python -m benchmarks.step [--quick] [--json FILE]`.

A step is update and apply, jitted, with parameters and state donated in the order of the outputs:
`step(params, state, grads) -> (params, state)`. Donated buffers are matched to outputs in order, and on CPU the other
order copies everything.
"""

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

import lrx

from ._timing import paired, ratio, write

SIZES = {"4 x 5M": (4, 5_000_000), "200 x 5k": (200, 5_000)}

OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "sgd momentum": lambda m: m.sgd(1e-3, momentum=0.9),
    "adagrad": lambda m: m.adagrad(1e-3),
    "rmsprop": lambda m: m.rmsprop(1e-3),
    "adam": lambda m: m.adam(1e-3),
    "adamw": lambda m: m.adamw(1e-3),
    "adam, cosine": lambda m: m.adam(m.cosine_decay_schedule(1e-3, 10_000)),
}


class Stepper:
    """An optimizer with its own parameters and state, stepped in place."""

    def __init__(self, tx: Any, apply: Callable[..., Any], leaves: int, size: int):
        def step(params: Any, state: Any, grads: Any) -> Any:
            updates, state = tx.update(grads, state, params)
            return apply(params, updates), state

        self.params = {f"p{i:04}": jnp.ones(size) for i in range(leaves)}
        self.grads = jax.tree.map(lambda p: jnp.full_like(p, 1e-3), self.params)
        self.state = jax.jit(tx.init)(self.params)
        self.step = jax.jit(step, donate_argnums=(0, 1))

    def __call__(self) -> None:
        """One step, waited for."""
        self.params, self.state = self.step(self.params, self.state, self.grads)
        jax.block_until_ready(self.params)


def measured(make: Callable[[Any], Any], leaves: int, size: int, rounds: int, pairs: int) -> dict[str, list[float]]:
    """Seconds of each step, lrx and optax in turns, over several pairs.

    Where the allocator puts a large array moves its speed by some percent: each pair has arrays of its own, and the
    one that is built first changes.
    """
    builders = [
        ("lrx", lambda: Stepper(make(lrx), lrx.apply_updates, leaves, size)),
        ("optax", lambda: Stepper(make(optax), optax.apply_updates, leaves, size)),
    ]
    times: dict[str, list[float]] = {"lrx": [], "optax": []}
    for i in range(pairs):
        steppers = {name: build() for name, build in (builders if i % 2 == 0 else builders[::-1])}
        for stepper in 3 * list(steppers.values()):
            stepper()
        for name, seconds in paired(dict(steppers), rounds).items():
            times[name] += seconds
    return times


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller parameters")
    parser.add_argument("--json")
    args = parser.parse_args()
    results = []
    print(f"{'optimizer':14} {'parameters':>10} {'optax ms':>9} {'lrx ms':>9} {'lrx/optax':>9}  quartiles")
    for shape, (leaves, size) in SIZES.items():
        size, rounds, pairs = (size // 10, 10, 2) if args.quick else (size, 20 if size > 100_000 else 100, 6)
        for name, make in OPTIMIZERS.items():
            times = measured(make, leaves, size, rounds, pairs)
            middle, low, high = ratio(times, "lrx", "optax")
            lrx_ms, optax_ms = (1e3 * statistics.median(times[k]) for k in ("lrx", "optax"))
            row = f"{name:14} {shape:>10} {optax_ms:9.3f} {lrx_ms:9.3f} {middle:9.3f}  {low:.3f} .. {high:.3f}"
            print(row, flush=True)
            results.append(
                {"optimizer": name, "parameters": shape, "optax_ms": optax_ms, "lrx_ms": lrx_ms, "ratio": middle}
                | {"quartiles": [low, high], "rounds": rounds, "pairs": pairs}
            )
    write(args.json, results)


if __name__ == "__main__":
    main()
