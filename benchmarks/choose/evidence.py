"""Does `lrx.find` know what it knows? Its rates, intervals and doubts against sweeps, with four optimizers.

`python -m benchmarks.choose.evidence [--steps N] [--keys N] [--only WORDS] [--tables FOLDER] [--json FILE]`

A case is a task with an optimizer, from a fresh or from a trained start. Its table is a sweep of 25 rates a factor 1.8
apart, two seeds, under the schedule of all runs; the loss is that of the final parameters over the training set. `find`
is asked with other keys, and what it suggests is trained as the table was.

- ratio: the loss at the suggested rate over that at the best one.
- regret: the share of the possible decrease that was missed.
- lost: the share of its updates that the best rate could do without, its schedule shortened, and still end as low.
- covers the best: of the confident answers, those whose interval holds the best swept rate; the valley: all swept rates
  within 5 % of it.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import lrx

from .._timing import write
from .cases import CASES
from .measure import plain
from .score import WITHIN
from .tasks import Task
from .train import RATES, Oracle, consult, finite, linear
from .users import USERS

SHARES = np.array([0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
"""Of a run, in which the best rate is trained again to see what the others lose."""
LEAST = 1e-9
"""Losses below this count as this: beyond it a ratio is one of rounding errors."""


@dataclasses.dataclass(frozen=True)
class Table:
    """What is known of a case: the training losses of its sweep, means over seeds."""

    rates: np.ndarray
    """[rates]."""
    losses: np.ndarray
    """At the end of whole runs, [rates]."""
    initial: float
    """Before training."""
    shorter: np.ndarray
    """At the end of runs of a share of the updates at the best rate, [shares]."""

    @property
    def best(self) -> int:
        """The place of the lowest loss."""
        return int(np.argmin(self.losses))

    @property
    def valley(self) -> tuple[float, float]:
        """The lowest and the highest rate within 5 % of the best."""
        good = self.rates[self.losses <= WITHIN * self.losses[self.best]]
        return float(good.min()), float(good.max())

    def lost(self, loss: float) -> float:
        """The share of its updates that the best rate could do without and still end at a loss."""
        falling = np.minimum.accumulate(np.log(np.clip(self.shorter, LEAST, 1e30)))
        return float(1 - np.interp(-np.log(max(loss, LEAST)), -falling, SHARES))


@dataclasses.dataclass(frozen=True)
class Answer:
    """What `find` said of a case, and what that is worth."""

    learning_rate: float
    interval: tuple[float, float]
    confident: bool
    doubt: str
    ratio: float
    regret: float
    lost: float
    log10_rate: float
    """Of the rate over the best one."""
    covers_best: bool
    covers_valley: bool
    runs: float
    """What it cost."""


def swept(make_task: Callable[[], Task], make: Callable[[Any], Any], steps: int) -> Table:
    """Train the table of a case."""
    task = make_task()
    oracle = consult(task, 2, steps, RATES, make)
    losses = means(oracle)
    rate = RATES[np.argmin(losses)]
    shorter = [
        finite(
            lrx.sweep(
                task.scored, make, learning_rate=rate, schedule={"linear": linear}, seeds=2, steps=round(share * steps)
            ).scores["training"]
        ).mean()
        for share in SHARES
    ]
    return Table(RATES, losses, float(oracle.initial["training"].mean()), np.asarray(shorter))


def means(oracle: Oracle) -> np.ndarray:
    """The training losses of a sweep, means over seeds, [rates]."""
    return np.minimum(oracle.swept["training"], 1e30).mean(axis=-1)


def kept(folder: str | None, name: str, ask: Callable[[], Table]) -> Table:
    """A table from its file, or trained and written there."""
    file = None if folder is None else Path(folder) / f"{name}.json"
    if file is not None and file.exists():
        held = json.loads(file.read_text())
        arrays = {k: np.asarray(v) for k, v in held.items() if isinstance(v, list)}
        return Table(initial=float(held["initial"]), **arrays)
    table = ask()
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(dataclasses.asdict(table), default=np.ndarray.tolist))
    return table


def answer(found: Any, loss: float, table: Table, steps: int) -> Answer:
    """What a suggestion is worth that ended at a loss."""
    best = table.best
    lowest, (low, high), (first, last) = table.losses[best], found.interval, table.valley
    return Answer(
        learning_rate=found.learning_rate,
        interval=found.interval,
        confident=found.confident,
        doubt=found.doubt,
        ratio=loss / max(lowest, LEAST),
        regret=float(np.clip((loss - lowest) / (table.initial - lowest), 0, 1)),
        lost=table.lost(loss),
        log10_rate=float(np.log10(found.learning_rate / table.rates[best])),
        covers_best=bool(low <= table.rates[best] <= high),
        covers_valley=bool(low <= first and last <= high),
        runs=found.gradients / steps,
    )


def summary(answers: dict[str, list[Answer]]) -> dict[str, float]:
    """The columns: ratios, regrets and lost shares are means over the keys of a case, the rest over all answers."""
    every = [a for some in answers.values() for a in some]
    sure = [a for a in every if a.confident]

    def mean(of: list[Answer], field: str) -> float:
        return float(np.mean([getattr(a, field) for a in of])) if of else float("nan")

    ratios, regrets, lost = ([mean(some, k) for some in answers.values()] for k in ("ratio", "regret", "lost"))
    widths = [np.log10(a.interval[1] / a.interval[0]) / 2 for a in sure]
    return {
        "cases": len(answers),
        "ratio, median": float(np.median(ratios)),
        "within 5 %": float(np.mean(np.asarray(ratios) <= WITHIN)),
        "regret, mean": float(np.mean(regrets)),
        "regret, worst": float(np.max(regrets)),
        "lost, median": float(np.median(lost)),
        "log10 rate/best": mean(every, "log10_rate"),
        "confident": mean(every, "confident"),
        "covers the best": mean(sure, "covers_best"),
        "covers the valley": mean(sure, "covers_valley"),
        "half the interval": 10 ** float(np.median(widths)) if widths else float("nan"),
    }


def shown(groups: dict[str, dict[str, float]]) -> str:
    """A line for each group, as Markdown."""
    names = list(next(iter(groups.values())))
    lines = [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    shares = ("within 5 %", "lost, median", "confident", "covers the best", "covers the valley")
    for group, row in groups.items():
        cells = [f"{100 * row[k]:.0f} %" if k in shares else f"{row[k]:.3g}" for k in names]
        cells = ["–" if cell.startswith("nan") else cell for cell in cells]
        lines.append(f"| {group} | {' | '.join(cells)} |")
    return "\n".join(lines)


def group_of(case: str) -> str:
    """Under which line of the table a case is counted."""
    task, optimizer = case.rsplit(", ", 1)
    if task in USERS:
        return "users' tasks"
    return "trained start" if task.endswith(" trained") else optimizer


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.choose.evidence",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--steps", type=int, default=1000, help="updates of a run (1,000)")
    parser.add_argument("--keys", type=int, default=3, help="searches of each case (3)")
    parser.add_argument("--only", action="append", help="cases whose name holds these words; may be repeated")
    parser.add_argument("--tables", help="keep the sweeps in this folder, and take them from it the next time")
    parser.add_argument("--json", help="write the numbers")
    args = parser.parse_args()
    cases = {k: v for k, v in CASES.items() if not args.only or any(words in k for words in args.only)}
    answers: dict[str, list[Answer]] = {}
    for name, (make_task, make) in cases.items():
        begin = time.perf_counter()
        table = kept(args.tables, f"{name}, {args.steps}", lambda t=make_task, m=make: swept(t, m, args.steps))
        task, keys = make_task(), [jax.random.key(1000 + k) for k in range(args.keys)]
        found = [lrx.find(task.problem, make, key=key, steps=args.steps, schedule=linear) for key in keys]
        losses = means(consult(task, 2, args.steps, np.array([f.learning_rate for f in found]), make))
        answers[name] = [answer(f, x, table, args.steps) for f, x in zip(found, losses.tolist(), strict=True)]
        jax.clear_caches()
        rates = ", ".join(f"{a.learning_rate:.2g}{'' if a.confident else '?'}" for a in answers[name])
        print(f"{name}: {rates}; best {table.rates[table.best]:.2g}; {time.perf_counter() - begin:.0f} s", flush=True)
    groups = {g: {k: v for k, v in answers.items() if group_of(k) == g} for g in map(group_of, answers)}
    rows = {g: summary(some) for g, some in groups.items()} | {"all": summary(answers)}
    print(f"\n{shown(rows)}")
    write(
        args.json, plain({"rows": rows, "answers": {k: list(map(dataclasses.asdict, v)) for k, v in answers.items()}})
    )


if __name__ == "__main__":
    main()
