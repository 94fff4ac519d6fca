"""Transfers of a learning rate against measured ones: `python -m benchmarks.laws.transfers PATH [--json FILE]`.

PATH holds `runs.csv`, the final validation losses of a language model of 124 million parameters (SlimPajama, AdamW,
warmup of 300 steps, then constant, then a line to zero) over horizons and shares of cooldown at three or four learning
rates each: github.com/fabian-sp/lr-scheduling, runs by Hägele and others. The measured best rate is the vertex of the
parabola through the three lowest losses in the logarithm of the rate. Predicted ones start from the measured best of
one cell. What a prediction costs is the loss of the parabola at the predicted rate, less that at its vertex.
"""

import argparse
import csv
import functools
import math
from pathlib import Path
from typing import Any

import numpy as np

import lrx

from .._timing import write

PARAMETERS, WARMUP = 123_587_328, 300
HORIZONS, COOLDOWNS = (15_000, 25_000, 35_000, 50_000), (0.1, 0.2, 0.4, 0.6, 0.8)
FROM = 15_000, 0.2
"""The cell from which all is predicted."""
BJORCK = 0.32
"""The power of the number of steps that Bjorck et al. measured."""

Cell = tuple[int, float]
Parabola = tuple[float, float, float]
"""Logarithm of the best rate, loss there, curvature."""


def cells(path: Path) -> dict[Cell, Parabola]:
    """The measured parabola of each horizon and cooldown."""
    found: dict[Cell, list[tuple[float, float]]] = {}
    with (path / "runs.csv").open() as file:
        for row in csv.DictReader(file):
            if int(row["parameters"]) != PARAMETERS or row["scheduler"] != "wsd" or row["decay_type"] != "linear":
                continue
            if row["cooldown_fraction"] and row["final_val_loss"]:
                cell = int(row["iterations"]), float(row["cooldown_fraction"])
                found.setdefault(cell, []).append((math.log(float(row["lr"])), float(row["final_val_loss"])))
    return {cell: parabola(points) for cell, points in found.items() if len(points) >= 3}


def parabola(points: list[tuple[float, float]]) -> Parabola:
    """The one through the lowest point and its neighbours."""
    x, y = np.array(sorted(points)).T
    i = int(np.clip(np.argmin(y), 1, x.size - 2))
    a, b, c = np.polyfit(x[i - 1 : i + 2], y[i - 1 : i + 2], 2)
    return -b / (2 * a), c - b * b / (4 * a), a


def wsd(peak: float, steps: int, cooldown: float) -> Any:
    """The schedule of the runs."""
    return lrx.wsd_schedule(peak, WARMUP, decay_steps=round(cooldown * steps), total_steps=steps, shape="linear")


def make(cooldown: float) -> Any:
    """It as a function of (peak, steps)."""
    return functools.partial(wsd, cooldown=cooldown)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--json")
    args = parser.parse_args()
    measured = cells(args.path)
    steps, cooldown = FROM
    base = math.exp(measured[FROM][0])
    print(f"From {base:.2e}, the measured best of {steps} steps with a cooldown of {cooldown:.0%}:\n")
    print("| steps | cooldown | measured best | convex bound | ratio | cost | steps^-0.32 | ratio | cost |")
    print("|---|---|---|---|---|---|---|---|---|")
    saved = []
    for n in HORIZONS:
        for share in COOLDOWNS:
            if (n, share) == FROM or (n, share) not in measured:
                continue
            best, _, curvature = measured[n, share]
            at = lrx.transfer_schedule(base, make(cooldown), make(share), steps).learning_rate
            bound = lrx.transfer_horizon(at, steps, n, make(share)).learning_rate
            power = lrx.transfer_horizon(at, steps, n, exponent=BJORCK).learning_rate
            row: dict[str, float] = {"steps": n, "cooldown": share, "measured": math.exp(best)}
            for name, rate in (("bound", bound), ("power", power)):
                off = math.log(rate) - best
                row |= {name: rate, f"{name} ratio": math.exp(off), f"{name} cost": curvature * off**2}
            saved.append(row)
            cell = [f"{row[k]:.2e} | {row[k + ' ratio']:.2f} | {row[k + ' cost']:.4f}" for k in ("bound", "power")]
            print(f"| {n} | {share:.0%} | {row['measured']:.2e} | {cell[0]} | {cell[1]} |")
    for name in ("bound", "power"):
        off = np.abs(np.log([row[f"{name} ratio"] for row in saved]))
        cost = [row[f"{name} cost"] for row in saved]
        print(f"\n{name}: off by {np.exp(np.median(off)):.2f} in the median, {np.exp(off.max()):.2f} at most;", end=" ")
        print(f"cost {np.median(cost):.4f} in the median, {max(cost):.4f} at most")
    slopes = {}
    for share in COOLDOWNS:
        x, y = zip(*[(math.log(n), measured[n, share][0]) for n in HORIZONS if (n, share) in measured], strict=True)
        slopes[share] = float(np.polyfit(x, y, 1)[0])
    print("\nmeasured powers of the number of steps:", ", ".join(f"{s:.0%}: {v:.2f}" for s, v in slopes.items()))
    write(args.json, {"from": FROM, "base": base, "rows": saved, "powers": {str(k): v for k, v in slopes.items()}})


if __name__ == "__main__":
    main()
