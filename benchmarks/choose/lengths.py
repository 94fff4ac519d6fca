"""Where is the best rate of short runs, by their length? What `lrx.find` has to bridge, without its own errors.

`python -m benchmarks.choose.lengths [--only WORDS] [--tables FOLDER] [--json FILE]`

Runs of 8 to 192 updates at thirteen rates a factor 1.8 apart, from three starts, under the schedule of the long run.
Their best rate is the vertex that `lrx.find` would read from all of these. It is compared with the best one of the
sweep of whole runs that `benchmarks.choose.evidence` makes (1,000 updates; taken from the folder if it is there).

- rate: the best rate of runs of that length over that of whole runs, the geometric mean over cases.
- ±: the factor of one standard deviation from case to case; what no search with runs of that length can know.
- starts: the same from start to start.
- exponent: of the length, by which the best rate moves from there to whole runs, and its standard deviation over cases.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lrx.tuning._evidence import lowest
from lrx.tuning._find import ShortRuns
from lrx.tuning._rate_search import scores

from .._timing import write
from .cases import CASES
from .evidence import Table, kept, swept
from .train import linear

LENGTHS = (8, 16, 32, 48, 64, 96, 128, 192)
WHOLE = 1000
STARTS = 3
FALLING = ("lion", "muon")
"""Optimizers whose short runs ask for higher rates."""


def short_runs(name: str, table: Table) -> dict[str, np.ndarray]:
    """The rates, and the losses [rates, updates] of each start and length."""
    make_task, make = CASES[name]
    first = -3 if name.endswith(FALLING) else -6
    rates = table.rates[table.best] * 10 ** (0.25 * np.arange(first, first + 13))
    rates, problem = rates[rates < 10.01], make_task().problem
    losses = {}
    for k in range(STARTS):
        runs = ShortRuns(problem, make, linear, jax.random.key(2000 + k), 1, WHOLE)
        losses |= {f"{k},{length}": runs(rates, length, i)[:, 0] for i, length in enumerate(LENGTHS)}
    return {"rates": rates, **losses}


def moved(short: dict[str, np.ndarray], table: Table) -> np.ndarray:
    """The logarithm of the best rate of short runs over that of whole ones, [starts, lengths]."""
    whole, _ = lowest(np.log(table.rates), table.losses, table.initial)

    def best(losses: np.ndarray) -> float:
        return lowest(np.log(short["rates"]), scores(losses[:, None], 0.25), float(np.nanmedian(losses[:, 0])))[0]

    return np.array([[best(short[f"{k},{length}"]) - whole for length in LENGTHS] for k in range(STARTS)])


def summary(off: np.ndarray) -> list[dict[str, float]]:
    """The columns, a row for each length, of logarithms [cases, starts, lengths]."""
    mean, spread = off.mean(axis=(0, 1)), off.mean(axis=1).std(axis=0)
    starts = np.sqrt(off.var(axis=1).mean(axis=0))
    further = np.log(WHOLE / np.array(LENGTHS))
    columns = {
        "steps": np.array(LENGTHS),
        "rate": np.exp(mean),
        "±": np.exp(spread),
        "starts": np.exp(starts),
        "exponent": -mean / further,
        "± of it": spread / further,
    }
    return [{k: float(v[i]) for k, v in columns.items()} for i in range(len(LENGTHS))]


def shown(groups: dict[str, list[dict[str, float]]]) -> str:
    """Markdown: a line for each optimizer and length."""
    names = list(next(iter(groups.values()))[0])
    lines = [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for group, rows in groups.items():
        lines += [f"| {group} | {' | '.join(f'{row[k]:.3g}' for k in names)} |" for row in rows]
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.choose.lengths",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--only", action="append", help="cases whose name holds these words; may be repeated")
    parser.add_argument("--tables", help="keep what was trained in this folder, and take it from there the next time")
    parser.add_argument("--json", help="write the numbers")
    args = parser.parse_args()
    off: dict[str, dict[str, Any]] = {}
    for name, (make_task, make) in CASES.items():
        if " trained" in name or (args.only and not any(words in name for words in args.only)):
            continue
        table = kept(args.tables, f"{name}, {WHOLE}", lambda t=make_task, m=make: swept(t, m, WHOLE))
        file = None if args.tables is None else Path(args.tables) / f"{name}, short.npz"
        short = dict(np.load(file)) if file is not None and file.exists() else short_runs(name, table)
        if file is not None and not file.exists():
            np.savez(file, **short)  # type: ignore[arg-type]  # names that are not its own arguments
        off.setdefault(name.rsplit(", ", 1)[1], {})[name] = moved(short, table)
        jax.clear_caches()
    groups = {f"{k} ({len(some)} cases)": summary(np.array(list(some.values()))) for k, some in off.items()}
    print(shown(groups))
    write(args.json, {"rows": groups, "log_rates": {n: x.tolist() for some in off.values() for n, x in some.items()}})


if __name__ == "__main__":
    main()
