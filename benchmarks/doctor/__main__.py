"""The command: see the package."""

import argparse
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import lrx

from .. import doctor
from .._timing import write
from . import fit, score
from .choice import choose, left_out
from .models import Signs, alone_model, fold_of, model_beside
from .runs import recorded
from .signals import Table, gather

NUMBERS = Path(lrx.__file__).parent / "diagnosis" / "_verdict_numbers.py"

PROBED = Path(__file__).parents[1] / "results" / "probe.json"
"""Written by `python -m benchmarks.doctor.probe --json`."""


def note(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)


def table(results: dict[str, Any]) -> str:
    """A line for each way and part of the run."""
    lines = [
        "| record | of the run | balanced accuracy | median error, decades | in the interval | fine called ill | "
        "not fine called fine | unknown |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for way, parts in results["parts"].items():
        for part, s in parts.items():
            rest = (s[k] for k in ("inside_interval", "healthy_called_ill", "sick_called_fine", "unknown"))
            cells = [way, f"{float(part):.0%}", f"{s['balanced_accuracy']:.3f}", f"{s['median_error']:.2f}"]
            lines.append(f"| {' | '.join([*cells, *(f'{x:.1%}' for x in rest)])} |")
    return "\n".join(lines)


def confusion(results: dict[str, Any]) -> str:
    """The confusion matrices at the end of the run."""
    lines = ["| at the end | truth | too low | fine | too high | unknown |", "|---|---|---|---|---|---|"]
    for way, parts in results["parts"].items():
        for truth, row in zip(("too low", "fine", "too high"), parts["1.0"]["confusion"], strict=True):
            lines.append(f"| {way} | {truth} | {' | '.join(f'{x / sum(row):.1%}' for x in row)} |")
    return "\n".join(lines)


def curves(results: dict[str, Any]) -> str:
    """A line for each kind of curve."""
    lines = ["| kind | truth | too low | fine | too high | unknown |", "|---|---|---|---|---|---|"]
    kinds = sorted(results["curves"]["kinds"].items(), key=lambda x: ("healthy", "slow", "sick").index(x[1]["health"]))
    for kind, s in kinds:
        lines.append(f"| {kind} | {s['health']} | {' | '.join(f'{s[c]:.0%}' for c in score.CLASSES)} |")
    return "\n".join(lines)


def probes(results: dict[str, Any]) -> str:
    """A line for each length of the branches of `lrx.probe`."""
    lines = ["| steps of a branch | cost, of the run | balanced accuracy | median error, decades | in the interval |"]
    lines.append("|---|---|---|---|---|")
    for steps, s in results["probe"].items():
        share = f"{s['inside_interval']:.1%}"
        cells = [steps, f"{s['cost']:.1%}", f"{s['balanced_accuracy']:.3f}", f"{s['median_error']:.2f}"]
        lines.append(f"| {' | '.join([*cells, share])} |")
    return "\n".join(lines)


def picture(results: dict[str, Any]) -> Any:
    """Confusion matrices, and balanced accuracy along the run."""
    from matplotlib.figure import Figure

    ways = list(results["parts"])
    figure = Figure(figsize=(3.0 * len(ways) + 3.6, 3.4), layout="constrained")
    axes = figure.subplots(1, len(ways) + 1, width_ratios=[*([1.0] * len(ways)), 1.2])
    names = ["too low", "fine", "too high", "unknown"]
    for ax, way in zip(axes, ways, strict=False):
        counts = np.array(results["parts"][way]["1.0"]["confusion"], float)
        shares = counts / counts.sum(1, keepdims=True)
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for i, j in np.ndindex(*shares.shape):
            ax.text(j, i, f"{shares[i, j]:.0%}", ha="center", va="center", color="w" if shares[i, j] > 0.5 else "k")
        ax.set_xticks(range(4), names, rotation=30)
        ax.set_yticks(range(3), names[:3] if ax is axes[0] else [""] * 3)
        ax.set_title(f"{way}, end of run", fontsize=10)
        ax.set_xlabel("verdict")
    axes[0].set_ylabel("truth")
    last = axes[-1]
    for way in ways:
        parts = results["parts"][way]
        last.plot([float(p) for p in parts], [s["balanced_accuracy"] for s in parts.values()], "o-", label=way)
    last.set_xlabel("share of the run")
    last.set_ylabel("balanced accuracy")
    last.set_xticks([0.25, 0.5, 1.0])
    last.grid(alpha=0.3)
    last.legend(fontsize=8)
    return figure


def refit(held: Table) -> None:
    """Write the numbers of the verdict."""
    folds = fold_of(held)
    prior = choose(held, folds, left_out(held, folds), Signs(held, held.rated), None)
    everything = np.ones(len(held.y), bool)
    models = {"ALONE": alone_model(held, everything, prior), "BESIDE": model_beside(held, everything)}
    fit.write(NUMBERS, models)
    note(f"a prior of {prior:g}; wrote {NUMBERS}")


def main() -> None:
    """Print the tables, or fit the numbers."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.doctor", description=doctor.__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--fit", action="store_true", help="fit the numbers of the verdict on all runs and write them")
    parser.add_argument("--runs", default="doctor-runs", help="keep the recorded losses in this folder")
    parser.add_argument("--json", help="write the numbers")
    parser.add_argument("--picture", help="write the picture")
    args = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)  # runs that blow up
    folder = Path(args.runs)
    held = gather(recorded(folder, note), folder / "signals.npz")
    if args.fit:
        refit(held)
        return
    results = score.compare(held, score.verdicts(held))
    results["probe"] = score.probed(json.loads(PROBED.read_text())["results"]["rows"])
    print(table(results), confusion(results), probes(results), curves(results), sep="\n\n")
    print({k: round(v, 3) for k, v in results["curves"].items() if k != "kinds"})
    write(args.json, results)
    if args.picture:
        picture(results).savefig(args.picture, dpi=110)


if __name__ == "__main__":
    main()
