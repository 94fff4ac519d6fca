"""Loss laws on the authors' curves: `python -m benchmarks.laws PATH [--json FILE] [--picture FILE]`.

PATH is a checkout of github.com/thu-yao-01-luo/MultiPowerLaw, which has the losses of language models of 25, 100 and
400 million parameters under nine schedules. Each law is fitted to three of them, as in the paper, and predicts the
other six. Errors are relative; those of a size are means over the six curves, and the worst is the greatest of all
points. Rates between two logged steps are taken to lie on a line.
"""

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import numpy as np

import lrx

from .._timing import write

SIZES = 25, 100, 400
FITTED = "cosine_24000", "constant_24000", "wsdcon_9"
PREDICTED = "constant_72000", "cosine_72000", "wsd_20000_24000", "wsdld_20000_24000", "wsdcon_18", "wsdcon_3"
WARMUP, PEAK, STEPS = 2160, 3e-4, 24_000
PUBLISHED = {25: (0.0011, 0.0041, 0.9988), 100: (0.0014, 0.0058, 0.9983), 400: (0.0017, 0.0100, 0.9978)}
"""Mean and worst relative error and R² of the authors' own fit."""


def read(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, learning rates and losses of a curve."""
    with path.open() as file:
        rows = [(int(row["step"]), float(row["lr"]), float(row["loss"])) for row in csv.DictReader(file)]
    steps, rates, losses = zip(*rows, strict=True)
    return np.array(steps), np.array(rates), np.array(losses)


def measure(folder: Path, law: Any) -> dict[str, Any]:
    """A law fitted to three curves of a size, and its errors on the others."""
    logs = [read(folder / f"{name}.csv") for name in FITTED]
    begin = time.perf_counter()
    fit = lrx.fit_loss_law(logs, law=law, warmup_steps=WARMUP)
    seconds = time.perf_counter() - begin
    errors = {}
    for name in PREDICTED:
        steps, rates, losses = read(folder / f"{name}.csv")
        predicted = fit.predict(rates, steps)
        error = np.abs(predicted / losses - 1)
        r2 = 1 - np.sum((predicted - losses) ** 2) / np.sum((losses - losses.mean()) ** 2)
        late = error[steps >= 2 * WARMUP]
        errors[name] = {"mean": error.mean(), "worst": error.max(), "worst, later": late.max(), "r2": r2}
    total = {key: float(np.mean([e[key] for e in errors.values()])) for key in ("mean", "r2")}
    worst = {key: float(max(e[key] for e in errors.values())) for key in ("worst", "worst, later")}
    result = {"fit": fit, "seconds": seconds, "errors": errors, **total, **worst}
    if law == "multi-power":
        begin = time.perf_counter()
        result["compared"] = fit.compare(STEPS, max_value=PEAK)
        result["compare seconds"] = time.perf_counter() - begin
    return result


def long_fit(folder: Path) -> float:
    """Seconds of a fit to three curves of 72,000 steps: a constant rate, a cosine and a line that the law made."""
    logs = [read(folder / f"{name}.csv") for name in ("constant_72000", "cosine_72000")]
    law = lrx.fit_loss_law(logs, warmup_steps=WARMUP)
    line = lrx.warmup_linear_schedule(PEAK, WARMUP, total_steps=72_000)
    steps = logs[0][0]
    begin = time.perf_counter()
    lrx.fit_loss_law([*logs, (steps, line, law.predict(line, steps))], warmup_steps=WARMUP)
    return time.perf_counter() - begin


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--json")
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    root = args.path / "loss_curve_repo"
    saved: dict[str, Any] = {}
    print("| law | model | mean error | worst | worst, later | R² | authors: mean | worst | R² | fit, seconds |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    results = {}
    for law in ("multi-power", "momentum"):
        for size in SIZES:
            r = results[law, size] = measure(root / f"csv_{size}", law)
            theirs = "{:.4f} | {:.4f} | {:.4f}".format(*PUBLISHED[size]) if law == "multi-power" else "– | – | –"
            ours = f"{r['mean']:.4f} | {r['worst']:.4f} | {r['worst, later']:.4f} | {r['r2']:.4f}"
            print(f"| {law} | {size}M | {ours} | {theirs} | {r['seconds']:.1f} |", flush=True)
            saved[f"{law}, {size}M"] = {
                "params": r["fit"].params,
                "errors": r["errors"],
                **{k: v for k, v in r.items() if isinstance(v, float)},
            }
    print("\n| curve | " + " | ".join(f"{size}M: mean | worst" for size in SIZES) + " |")
    print("|---" * (1 + 2 * len(SIZES)) + "|")
    for name in PREDICTED:
        cells = [results["multi-power", size]["errors"][name] for size in SIZES]
        print(f"| {name} | " + " | ".join(f"{c['mean']:.4f} | {c['worst']:.4f}" for c in cells) + " |")
    print(f"\n| {STEPS} steps, rates up to {PEAK:g} | " + " | ".join(f"{s}M: loss | peak" for s in SIZES) + " |")
    print("|---" * (1 + 2 * len(SIZES)) + "|")
    for name in ("optimal", "cosine", "linear", "wsd"):
        ends = [results["multi-power", size]["compared"][name] for size in SIZES]
        print(f"| {name} | " + " | ".join(f"{e.loss:.4f} | {e.peak:.2g}" for e in ends) + " |")
        for size, end in zip(SIZES, ends, strict=True):
            saved[f"multi-power, {size}M"].setdefault("schedules", {})[name] = {"loss": end.loss, "peak": end.peak}
    saved["three curves of 72,000 steps, seconds"] = seconds = long_fit(root / "csv_100")
    print(f"\nA fit to three curves of 72,000 steps: {seconds:.1f} s.")
    if args.picture:
        compared = results["multi-power", 100]["compared"]
        lrx.plot({name: end.schedule for name, end in compared.items()}, steps=STEPS).savefig(args.picture)
    write(args.json, saved)


if __name__ == "__main__":
    main()
