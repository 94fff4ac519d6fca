"""Refined schedules on digits and text: `python -m benchmarks.laws.refined [--steps 1000] [--json FILE]`.

One run with a line to zero, at the best of nine peaks, gives its gradient norms; `lrx.refined_schedule` makes a
schedule of them. Then both schedules, each at all nine peaks: five seeds that the first run did not use. The loss is
the mean over the last twentieth of the steps; the difference is paired over seeds, each schedule at its best peak.
FILE is written after each case.
"""

import argparse
from typing import Any

import jax
import numpy as np

import lrx

from .._timing import write
from .training import OPTIMIZERS, TASKS, line, norms_of_a_run

SEEDS, PEAKS = 5, 9


def measure(task: str, optimizer: str, steps: int) -> dict[str, Any]:
    """Both schedules of one task and optimizer."""
    problem = TASKS[task](64)
    make, norm, (low, high) = OPTIMIZERS[optimizer]
    peaks = np.geomspace(low, high, PEAKS)
    first = lrx.sweep(problem, make, learning_rate=peaks, schedule={"line": line}, steps=steps, key=jax.random.key(99))
    peak = first.best().learning_rate
    norms = norms_of_a_run(problem, make(line(peak, steps)), steps, norm, seed=99)
    unit = lrx.refined_schedule(norms, peak_value=1.0, norm=norm)
    schedules = {"line": line, "refined": lambda peak, steps: peak * unit}
    swept = lrx.sweep(problem, make, learning_rate=peaks, schedule=schedules, seeds=SEEDS, steps=steps)
    result: dict[str, Any] = {
        "first peak": peak,
        "peak at": unit.landmarks()["peak"] / steps,
        "half after the peak at": float(np.flatnonzero(np.asarray(unit.values) >= 0.5)[-1] / steps),
    }
    for by in ("training", "validation"):
        losses = swept.loss(by)
        mean = np.where(np.isfinite(losses).all(-1), losses.mean(-1), np.inf)
        i, j = np.argmin(mean[:, 0]), np.argmin(mean[:, 1])
        ratio = losses[j, 1] / losses[i, 0] - 1
        result[by] = {
            "line": float(mean[i, 0]),
            "refined": float(mean[j, 1]),
            "line peak": float(peaks[i]),
            "refined peak": float(peaks[j]),
            "difference": float(ratio.mean()),
            "standard error": float(ratio.std(ddof=1) / np.sqrt(SEEDS)),
        }
    return result


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--json")
    args = parser.parse_args()
    saved = {}
    print("| task | optimizer | loss | line | its peak | refined | its peak | difference | greatest at | half at |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for task in TASKS:
        for optimizer in OPTIMIZERS:
            result = saved[f"{task}, {optimizer}"] = measure(task, optimizer, args.steps)
            shape = f"{result['peak at']:.0%} | {result['half after the peak at']:.0%}"
            for by in ("training", "validation"):
                r = result[by]
                ends = f"{r['line']:.4f} | {r['line peak']:.2g} | {r['refined']:.4f}"
                gap = f"{r['difference']:+.1%} ± {r['standard error']:.1%}"
                print(
                    f"| {task} | {optimizer} | {by} | {ends} | {r['refined peak']:.2g} | {gap} | {shape} |",
                    flush=True,
                )
            write(args.json, saved)


if __name__ == "__main__":
    main()
