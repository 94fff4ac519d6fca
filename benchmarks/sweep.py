"""A sweep of 16 learning rates by lrx and in the usual way: `python -m benchmarks.sweep [--json FILE]`.

The usual way is a Python loop over rates that builds an optax optimizer, jits a step and loops over the steps; it
compiles once for each rate, since the rate is a constant of the program. Both train the digits network with Adam from
the same start, compile from nothing, and see batches drawn alike. Each measurement is a new process.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

import jax
import numpy as np
import optax

import lrx

from ._timing import write

RATES = np.geomspace(1e-4, 1.0, 16)


def ours(problem: lrx.Problem, steps: int) -> float:
    """Best final loss of `lrx.sweep`."""
    result = lrx.sweep(problem, lrx.adam, learning_rate=RATES, steps=steps)
    return result.best().loss


def usual(problem: lrx.Problem, steps: int) -> float:
    """Best final loss of the loop."""
    assert problem.sample is not None
    sample = jax.jit(problem.sample)
    finals = []
    for rate in RATES:
        tx = optax.adam(float(rate))

        @jax.jit
        def step(params, state, batch, tx=tx):
            loss, grads = jax.value_and_grad(problem.loss)(params, batch, None)
            updates, state = tx.update(grads, state, params)
            return optax.apply_updates(params, updates), state, loss

        params = problem.init(jax.random.key(0))
        state = tx.init(params)
        losses = []
        for t in range(steps):
            params, state, loss = step(params, state, sample(jax.random.key(t)))
            losses.append(loss)
        finals.append(float(np.mean(losses[-max(1, steps // 20) :])))
    return float(np.nanmin(finals))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=("ours", "usual"), help=argparse.SUPPRESS)
    parser.add_argument("--json")
    args = parser.parse_args()
    if args.only:
        problem = lrx.problems.digits()
        begin = time.perf_counter()
        best = (ours if args.only == "ours" else usual)(problem, args.steps)
        print(json.dumps({"seconds": time.perf_counter() - begin, "best_final_loss": best}))
        return
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "usual": []}
    for _ in range(args.repeats):
        for name in runs:
            command = [sys.executable, "-m", "benchmarks.sweep", "--only", name, "--steps", str(args.steps)]
            runs[name].append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    print(f"16 learning rates, {args.steps} steps, Adam, digits; {args.repeats} processes each")
    seconds = {k: [r["seconds"] for r in v] for k, v in runs.items()}
    for name, title in (("ours", "lrx.sweep"), ("usual", "loop with optax")):
        low, high = min(seconds[name]), max(seconds[name])
        best = runs[name][0]["best_final_loss"]
        middle = statistics.median(seconds[name])
        print(f"{title:16} {middle:7.2f} s  ({low:.2f} .. {high:.2f})  best final loss {best:.4f}")
    ratio = statistics.median(a / b for a, b in zip(seconds["ours"], seconds["usual"], strict=True))
    print(f"lrx / loop: {ratio:.3f}")
    write(args.json, {"seconds": seconds, "ratio": ratio, "steps": args.steps})


if __name__ == "__main__":
    main()
