"""Gradients through training on digits: `python -m benchmarks.hypergradient [--steps 1000] [--json FILE]`.

First, where they stop saying anything: for horizons and constant rates, the length of the gradient of the final loss
with respect to the rate's logarithm, over the loss (mean of the seeds), and how far the seeds agree (the mean cosine;
of a single number, the mean product of signs). Then `lrx.tune_schedule` with 16 knots: losses before and after on
fresh seeds, beside linear decay from the best of some peaks, and the memory of one gradient as XLA plans it. FILE is
written after each of them.
"""

import argparse
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lrx
from lrx.tuning._through_training import Numbers, Training, value_and_gradient

from ._timing import write

KNOTS = 16


def agreement(schedule: Any, steps: int, seeds: int) -> tuple[float, float, float]:
    """Loss, length of the gradient over the loss, agreement of the seeds."""
    problem = lrx.problems.digits()
    run = Training(problem, lrx.adam, Numbers.of(schedule), steps, "training", None)
    keys = tuple(jax.random.split(jax.random.key(i), seeds) for i in range(2))
    losses, gradients = map(np.asarray, value_and_gradient(run, "forward")(jnp.zeros(1), keys))
    signs = np.sign(gradients[:, 0])
    return (
        float(losses.mean()),
        float(np.abs(gradients).mean() / losses.mean()),
        float((signs.sum() ** 2 - seeds) / (seeds * (seeds - 1))),
    )


def knots(peak: float, steps: int) -> Any:
    """A linear decay to a hundredth, through knots."""
    counts = np.linspace(0, steps, KNOTS).round().astype(int)
    return lrx.interpolated_schedule(counts.tolist(), np.linspace(peak, peak / 100, KNOTS).tolist(), log=True)


def memory(schedule: Any, steps: int) -> int:
    """Bytes of one gradient, in reverse mode."""
    run = Training(lrx.problems.digits(), lrx.adam, Numbers.of(schedule), steps, "training", None)
    keys = jax.random.key(0), jax.random.key(1)
    size = len(run.numbers.names)
    compiled = jax.jit(jax.value_and_grad(lambda phi: run.loss(phi, *keys))).lower(jnp.zeros(size)).compile()
    plan = compiled.memory_analysis()
    assert plan is not None
    return plan.temp_size_in_bytes


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--json")
    args = parser.parse_args()
    results: dict[str, Any] = {"chaos": [], "bytes of a gradient": {}, "knots": []}
    horizons = [t for t in (10, 30, 100, 300, 1000) if t <= args.steps]
    for rate in (1e-3, 1e-2, 3e-2, 1e-1):
        for steps in horizons:
            loss, length, agree = agreement(lrx.constant_schedule(rate), steps, 8)
            numbers = {"loss": loss, "gradient": length, "agreement": agree}
            finite = {name: x if np.isfinite(x) else None for name, x in numbers.items()}
            results["chaos"].append({"rate": rate, "steps": steps, **finite})
            print(
                f"rate {rate:g}, {steps:5} steps: loss {loss:.4g}, gradient {length:.3g}, agreement {agree:.2f}",
                flush=True,
            )
            write(args.json, results)
    for steps in (args.steps // 10, args.steps):
        size = results["bytes of a gradient"][steps] = memory(knots(0.01, steps), steps)
        print(f"memory of a gradient over {steps} steps: {size / 2**20:.1f} MiB", flush=True)
    for peak in (0.003, 0.01, 0.03):
        begin = time.perf_counter()
        tuned = lrx.tune_schedule(
            lrx.problems.digits(),
            lrx.adam,
            knots(peak, args.steps),
            steps=args.steps,
            rounds=args.rounds,
            seeds=args.seeds,
        )
        seconds = time.perf_counter() - begin
        values = [round(float(tuned.schedule(t)), 5) for t in np.linspace(0, args.steps, KNOTS).round().astype(int)]
        results["knots"].append(
            {
                "peak": peak,
                "before": tuned.before,
                "after": tuned.after,
                "agreement": tuned.agreement.tolist(),
                "values": values,
                "seconds": seconds,
            }
        )
        print(f"16 knots from linear decay of {peak:g}: {tuned.before:.4g} to {tuned.after:.4g} on fresh seeds", end="")
        print(f", agreement {tuned.agreement[0]:.2f} to {tuned.agreement[-1]:.2f}, {seconds:.0f} s")
        print("   ", *values, flush=True)
        write(args.json, results)


if __name__ == "__main__":
    main()
