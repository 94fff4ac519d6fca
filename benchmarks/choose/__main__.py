"""The command: see the package."""

import argparse
import sys
import time
from typing import Any

from .. import choose
from .._timing import write
from . import grid
from .measure import best_fixed, measure, plain, row
from .methods import CHOOSERS, FREE, OPTIMIZERS, Choice
from .show import picture, table
from .tasks import BATCH, QUICK, TASKS, Task
from .train import LOSSES, RATES, Oracle, consult, remembered

BEST_FIXED = "best fixed rate"


def note(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)


def ask(tasks: dict[str, Task], seeds: int, steps: int) -> dict[str, Oracle]:
    """The oracle's sweep of every task."""
    oracles = {}
    for name, task in tasks.items():
        oracles[name] = consult(task, seeds, steps)
        note(f"oracle, {name}: {oracles[name].seconds:.0f} s")
    return oracles


def compare(tasks: dict[str, Task], oracles: dict[str, Oracle], wanted: list[str], seeds: int, steps: int) -> Any:
    """The rows of the table, by method."""
    fixed = best_fixed(oracles)
    note(f"{BEST_FIXED}: {fixed:.3g}")
    choosers = {name: choose for name, choose in CHOOSERS.items() if name in wanted}
    if BEST_FIXED in wanted:
        choosers[BEST_FIXED] = lambda task, key, steps: Choice(fixed)
    optimizers = [name for name in OPTIMIZERS if name in wanted]
    measured = {}
    for name, task in tasks.items():
        begin = time.perf_counter()
        measured[name] = measure(task, choosers, optimizers, seeds, steps)
        note(f"methods, {name}: {time.perf_counter() - begin:.0f} s")
    return {name: row(oracles, {task: m[name] for task, m in measured.items()}, steps) for name in wanted}


def ask_whole(tasks: dict[str, Task], seeds: int, steps: int) -> dict[str, grid.Full]:
    """The sweep of rates and schedules of every task."""
    fulls = {}
    for name, task in tasks.items():
        fulls[name] = grid.sweep(task, seeds, steps)
        note(f"rates and schedules, {name}: {fulls[name].seconds:.0f} s")
    return fulls


def main() -> None:
    """Print the tables."""
    methods = ["fixed 1e-3", BEST_FIXED, *(m for m in CHOOSERS if m != "fixed 1e-3"), *OPTIMIZERS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.choose", description=choose.__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help=f"two seeds of {', '.join(QUICK)}")
    parser.add_argument("--only", action="append", choices=[*methods, *grid.PICKS], help="this one; may be repeated")
    parser.add_argument("--free", action="store_true", help="lrx's optimizers without a rate to choose, alone")
    parser.add_argument("--json", help="write the numbers")
    parser.add_argument("--picture", help="write the picture")
    parser.add_argument("--oracle", help="keep the sweeps in this folder, and take them from it the next time")
    args = parser.parse_args()

    begin, cpu = time.perf_counter(), time.process_time()
    seeds, steps = (2 if args.quick else 5), 1000
    settings = {"tasks": list(QUICK if args.quick else TASKS), "seeds": seeds, "steps": steps, "batch": BATCH}
    tasks = {name: TASKS[name]() for name in settings["tasks"]}
    results: dict[str, Any] = dict(settings)

    only = [*(args.only or []), *(FREE if args.free else [])]
    wanted = [m for m in methods if m in only or (not only and m not in FREE)]
    if wanted:
        keys = settings | {"rates": RATES.tolist()}
        oracles = remembered(args.oracle, "rates.json", keys, Oracle, lambda: ask(tasks, seeds, steps))
        rows = compare(tasks, oracles, wanted, seeds, steps)
        for by in LOSSES:
            print(table(rows, by), end="\n\n")
        results["rates"] = RATES.tolist()
        results["oracle_seconds"] = {name: o.seconds for name, o in oracles.items()}
        results["best_rates"] = {by: {name: float(o.rates[o.best(by)]) for name, o in oracles.items()} for by in LOSSES}
        results["methods"] = rows
        if args.picture:
            picture(rows).savefig(args.picture, dpi=120)

    picks = {name: pick for name, pick in grid.PICKS.items() if not only or name in only}
    if picks:
        few = min(seeds, 3)
        keys = settings | {"seeds": few, "rates": grid.RATES.tolist(), "schedules": list(grid.SCHEDULES)}
        fulls = remembered(args.oracle, "grid.json", keys, grid.Full, lambda: ask_whole(tasks, few, steps))
        together = grid.compare(tasks, fulls, picks, few, steps, note)
        print(grid.table(together), end="\n\n")
        results["grid_seconds"] = {name: f.seconds for name, f in fulls.items()}
        results["together"] = together

    results["minutes"] = {"wall": (time.perf_counter() - begin) / 60, "cpu": (time.process_time() - cpu) / 60}
    print(f"{results['minutes']['wall']:.1f} minutes, {results['minutes']['cpu']:.1f} of a core")
    write(args.json, plain(results))


if __name__ == "__main__":
    main()
