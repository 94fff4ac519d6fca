"""Loss laws on the authors' curves: `python -m benchmarks.laws PATH [--json FILE] [--picture FILE]`.

PATH is a checkout of github.com/thu-yao-01-luo/MultiPowerLaw, which has the losses of language models of 25, 100 and
400 million parameters under nine schedules. Each law is fitted to three of them, as in the paper, and predicts the
other six. Errors are relative. Of a size, the mean error, R² and "mean of worst" are means over the six curves, as the
authors' code computes them, and the worst is the greatest error of all points. The rates of every update come from the
schedules, which agree with the logged ones; with lines, only the logged ones are known, and lines join them.

The authors' numbers are what their published parameters give on the same curves, by `LossLaw.predict`. Their code sums
over the steps of the warmup too, of which each is a rise of the rate, so that law has no `warmup_steps`.
"""

import argparse
import csv
import time
from pathlib import Path
from typing import Any, cast

import numpy as np

import lrx
from lrx.evidence.loss_law import LawName

from .._timing import write

SIZES = 25, 100, 400
FITTED = "cosine_24000", "constant_24000", "wsdcon_9"
PREDICTED = "constant_72000", "cosine_72000", "wsd_20000_24000", "wsdld_20000_24000", "wsdcon_18", "wsdcon_3"
WARMUP, PEAK, STEPS = 2160, 3e-4, 24_000
LETTERS = "L0", "A", "alpha", "B", "C", "beta", "gamma"
AUTHORS = {
    25: (3.04045406, 0.52468604, 0.50786857, 363.78751622, 2.06560812, 0.58279013, 0.64142257),
    100: (2.6514477, 0.60115152, 0.45295811, 437.9464276, 2.13245612, 0.59785199, 0.65523644),
    400: (2.37474466, 0.65421216, 0.42878731, 523.42464371, 2.02462735, 0.59350493, 0.63472457),
}
"""Their fit to the same three curves."""
ROWS = {
    "multi-power": ("multi-power", True),
    "multi-power, lines": ("multi-power", False),
    "momentum": ("momentum", True),
    "authors": ("", True),
}
"""Row -> law, and whether the rates of every update are given."""


def read(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, learning rates and losses of a curve."""
    with path.open() as file:
        rows = [(int(row["step"]), float(row["lr"]), float(row["loss"])) for row in csv.DictReader(file)]
    steps, rates, losses = zip(*rows, strict=True)
    return np.array(steps), np.array(rates), np.array(losses)


def rates_of(name: str, steps: np.ndarray, logged: np.ndarray) -> np.ndarray:
    """The rate of every update of a run, float64 [last step + 1], by the schedule that its name tells."""
    kind, *numbers = name.split("_")
    t = np.arange(steps[-1] + 1)
    if kind == "constant":
        rates = np.full(t.size, PEAK)
    elif kind == "cosine":
        x = (t - WARMUP) / (int(numbers[0]) - WARMUP)
        rates = PEAK * (0.1 + 0.9 * (1 + np.cos(np.pi * x)) / 2)
    elif kind == "wsdcon":
        rates = np.where(t < 8000, PEAK, 1e-5 * int(numbers[0]))
    else:
        x = np.clip((t - int(numbers[0])) / (int(numbers[1]) - int(numbers[0])), 0, 1)
        rates = PEAK * (0.1**x if kind == "wsd" else 1 - 0.9 * x)
    rates = np.where(t < WARMUP, PEAK * np.minimum(t / (WARMUP - 1), 1), rates)
    assert np.allclose(rates[steps], logged, rtol=1e-6)
    return rates


def measure(folder: Path, row: str, size: int) -> dict[str, Any]:
    """A law fitted to three curves of a size, and its errors on the others."""
    law, every = ROWS[row]
    logs = {name: read(folder / f"{name}.csv") for name in (*FITTED, *PREDICTED)}
    if every:
        logs = {name: (steps, rates_of(name, steps, rates), losses) for name, (steps, rates, losses) in logs.items()}
    begin = time.perf_counter()
    if law:
        fit = lrx.fit_loss_law([logs[name] for name in FITTED], law=cast(LawName, law), warmup_steps=WARMUP)
    else:
        fit = lrx.LossLaw("multi-power", dict(zip(LETTERS, AUTHORS[size], strict=True)))
    seconds = time.perf_counter() - begin
    errors = {}
    for name in PREDICTED:
        steps, rates, losses = logs[name]
        predicted = fit.predict(rates, steps)
        error = np.abs(predicted / losses - 1)
        r2 = 1 - np.sum((predicted - losses) ** 2) / np.sum((losses - losses.mean()) ** 2)
        errors[name] = {"mean": float(error.mean()), "worst": float(error.max()), "r2": float(r2)}
    total = {key: float(np.mean([e[key] for e in errors.values()])) for key in ("mean", "r2")}
    worst = [e["worst"] for e in errors.values()]
    result = {"fit": fit, "seconds": seconds if law else None, "errors": errors, **total}
    result |= {"mean of worst": float(np.mean(worst)), "worst": max(worst)}
    if row == "multi-power":
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
    print("| law | model | mean error | mean of worst | worst | R² | fit, seconds |")
    print("|---|---|---|---|---|---|---|")
    results = {}
    for row in ROWS:
        for size in SIZES:
            r = results[row, size] = measure(root / f"csv_{size}", row, size)
            ours = f"{r['mean']:.4f} | {r['mean of worst']:.4f} | {r['worst']:.4f} | {r['r2']:.4f}"
            took = "–" if r["seconds"] is None else f"{r['seconds']:.1f}"
            print(f"| {row} | {size}M | {ours} | {took} |", flush=True)
            saved[f"{row}, {size}M"] = {
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
