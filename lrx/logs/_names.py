"""Which column is the loss, the learning rate, the step: guessed from names as people give them."""

import re
from collections.abc import Callable, Iterable

import numpy as np

from .. import _check as check
from ._table import TRAINING, VALIDATION, Column, Table, unreadable, words

LOSS = {"loss", "losses"}
OTHER_LOSSES = {"nll", "ce", "xent", "bce", "crossentropy", "entropy", "cross", "objective", "cost", "criterion", "mse"}
SAME = {"step", "batch", "iter", "iteration", "minibatch", "current", "raw", "total", "mean", "avg", "average", "lm"}
SMOOTH = {"epoch", "running", "smoothed", "smooth", "ema"}
NO_LOSS = {
    "scale", "scaler", "scaling", "weight", "weights", "lr", "rate", "best", "min", "max", "lowest", "diff", "delta",
    "grad", "gradient", "std", "var", "variance", "count", "spike", "spikes", "tokens", "time", "seconds", "samples",
    "acc", "accuracy", "ratio", "coef", "coefficient", "norm", "vs",
}  # fmt: skip
"""Words of names that are about a loss without being one, such as `loss_scale` and `best_val_loss`."""

RATE = {"lr", "lrs", "learningrate", "eta"}
OPTIMIZER = {
    "optimizer", "optim", "opt", "schedule", "scheduler", "current", "last", "group", "groups", "param", "params",
    "pg", "base", "adam", "adamw", "sgd", "rmsprop", "adagrad", "lion", "adafactor", "muon", "epoch", "step", "batch",
    "iter", "iteration", "metrics", "stats", "progress", "trainer",
}  # fmt: skip
NO_RATE = {
    "scale", "multiplier", "mult", "factor", "decay", "momentum", "min", "max", "grad", "weight", "warmup", "error",
    "loss", "initial", "final", "ratio", "distillation",
}  # fmt: skip

STEPS = """
global step, global steps, globalstep, trainer global step, train global step, current steps, current step,
num updates, update, updates, optimizer step, optimizer steps, train step, training step, train steps, step, steps,
global iteration, global iter, iteration, iterations, iter, iters, it, itr, train iteration, train iter,
training iteration, num iterations, global batch, batch, batches, batch idx, step idx, num steps, t,
time total timesteps, total timesteps, num timesteps, timesteps, timestep
"""
"""Names of steps, the most explicit first."""
EPOCHS = "epoch, epochs, train epoch, trainer epoch, num epoch, current epoch, epoch num"
FINER = 4
"""Of columns that may be meant the one with so many times more entries is."""
NEVER = {"time", "timestamp", "runtime", "walltime", "wall", "seconds", "date", "epoch", "index", "id", "rank", "seed"}


def pick_loss(table: Table, asked: str | int | None) -> tuple[str, bool]:
    """The name of the column of losses, and whether they are losses of validation, for lack of others."""
    if asked is not None:
        return _asked(table, "loss", asked), False
    ranked = _ranked(table, _training_rank)
    if ranked:
        return _only(table, "loss", ranked), False
    if ranked := _ranked(table, _validation_rank):
        return _only(table, "loss", ranked), True
    others = [name for name in table.columns if not _is_bookkeeping(table, name)]
    if len(others) == 1 and (
        not table.named or words(others[0]) & {"value", "values", "train", "training", "metric", "y"}
    ):
        return others[0], False
    if len(others) == 1 and len(table.columns) == 1 and not words(others[0]) & {"acc", "accuracy"}:
        return others[0], False
    if not table.columns:
        texts = [f"{table.place(row)} has {cell[:60]!r}" for row, cell in list(table.texts.values())[:1]]
        raise unreadable(table.source, "must hold a row of numbers", "".join(texts) or "no numbers", empty=not texts)
    way_out = "Name the column: loss=" + " or loss=".join(repr(x) for x in (others or list(table.columns))[:3]) + "."
    what = f"columns {_listed(table.columns)}"
    raise unreadable(table.source, "must have one column that is named as a loss", what, way_out, empty=not others)


def pick_validation(table: Table, asked: str | int | bool | None, loss: str) -> str | None:
    """The name of the column of validation losses, or None."""
    if asked is False:
        return None
    if asked is not None:
        return _asked(table, "validation", asked)
    ranked = [(rank, name) for rank, name in _ranked(table, _validation_rank) if name != loss and _one_run(loss, name)]
    best = [name for rank, name in ranked if rank == ranked[0][0]]
    if len(best) > 1:
        table.notes.append(f"validation losses are {_listed(best)}: the first one is read, validation= names another")
    return best[0] if best else None


def pick_rate(table: Table, asked: str | int | bool | None, loss: str) -> str | None:
    """The name of the column of learning rates, or None."""
    if asked is False:
        return None
    if asked is not None:
        return _asked(table, "learning_rate", asked)
    ranked = [(rank, name) for rank, name in _ranked(table, _rate_rank) if name != loss and _one_run(loss, name)]
    best = [name for rank, name in ranked if rank == ranked[0][0]]
    if member := re.search(r"(/\d+)+$", loss):  # of a population
        best = [name for name in best if name.endswith(member[0])] or best
    if len(best) > 1:
        if not _proportional([table.columns[name] for name in best]):
            raise _tie(table, "learning_rate", best)
        table.notes.append(f"{_listed(best)} are proportional: {best[0]!r} is read")
    texts = [name for name in table.texts if _rate_rank(name) is not None]
    if texts and not best:
        row, cell = table.texts[texts[0]]
        table.notes.append(f"{texts[0]!r} is not read: {table.place(row)} has {cell[:60]!r}, which is no number")
    return best[0] if best else None


def pick_step(table: Table, asked: str | int | None, loss: str) -> str | None:
    """The name of the column that counts steps, or None. Where two do, the one that more entries of the loss have."""
    if asked is not None:
        return _asked(table, "step", asked)
    rows = table.columns[loss].rows
    found: list[tuple[float, int, str]] = []
    for name, column in table.columns.items():
        if (kind := _step_rank(name)) is not None and name != loss and _one_run(loss, name):
            there = column.values[np.isin(column.rows, rows)]
            if there.size * 2 >= rows.size and _whole(there):
                found.append((-round(there.size / rows.size, 2), kind, name))
    if found:
        return min(found)[2]
    if not table.named:  # the first column that counts up
        for name, column in table.columns.items():
            if name != loss and _counts(column) and column.values.max() < 1e9 and np.isin(rows, column.rows).all():
                return name
    return None


def pick_epoch(table: Table, loss: str) -> str | None:
    """The name of the column that counts epochs, whole or in parts, or None."""
    named = [x for x in table.columns if _in(EPOCHS, x) is not None and x != loss and _one_run(loss, x)]
    return min(named, key=lambda x: (_in(EPOCHS, x), x), default=None)


# ---------------------------------------------------------------- ranks: the lower, the surer; None: not at all


def _training_rank(name: str) -> float | None:
    found = words(_metric(name))
    if found & VALIDATION or _is_bound(name):
        return None
    return _loss_rank(found - TRAINING)


def _validation_rank(name: str) -> float | None:
    found = words(_metric(name))
    return _loss_rank(found - TRAINING - VALIDATION) if found & VALIDATION and not _is_bound(name) else None


def _loss_rank(found: frozenset[str]) -> float | None:
    found = frozenset(x for x in found if not x.isdigit())
    if found & NO_LOSS:
        return None
    if found & LOSS:
        rest = found - LOSS
        if rest <= SAME:
            return 0.0 if not rest else 1.0
        if rest <= SAME | SMOOTH:
            return 2.0
        return 3.0 if rest <= SAME | SMOOTH | OTHER_LOSSES else 5.0
    if found & OTHER_LOSSES and found <= SAME | SMOOTH | OTHER_LOSSES and found != {"entropy"}:
        return 4.0
    return None


def _rate_rank(name: str) -> float | None:
    found = frozenset(x for x in words(_metric(name)) if not x.isdigit())
    if found & NO_RATE or _is_bound(name) or not (found & RATE or {"learning", "rate"} <= found):
        return 8.0 if found == {"step", "size"} else None
    rest = found - RATE - {"learning", "rate", "rates"} - TRAINING
    return 0.0 if not rest else 1.0 if rest <= OPTIMIZER else 2.0


def _step_rank(name: str) -> int | None:
    return _in(STEPS, name)


def _in(names: str, name: str) -> int | None:
    """The place of a name in a list of them."""
    found = words(_metric(name))
    return next((i for i, some in enumerate(names.split(",")) if found == set(some.split())), None)


def _ranked(table: Table, rank: Callable[[str], float | None]) -> list[tuple[float, str]]:
    """The columns that a rank is for, the surest first. One or two entries are a summary."""
    found = [(r, name) for name in table.columns if (r := rank(name)) is not None]
    longest = max((table.columns[name].rows.size for _, name in found), default=0)
    full = [
        (r, name) for r, name in found if table.columns[name].rows.size > (1 if longest <= 20 else 2) or longest == 1
    ]
    return sorted(full, key=lambda x: x[0])


def _metric(name: str) -> str:
    """The metric in the columns of W&B's exports, which are called `run - metric`."""
    return name.rpartition(" - ")[2]


def _is_bound(name: str) -> bool:
    """W&B's exports have the lowest and the highest of each bucket beside a metric."""
    return name.endswith(("__MIN", "__MAX"))


def _one_run(a: str, b: str) -> bool:
    """Whether two columns are not of different runs in an export of W&B."""
    runs = [name.rpartition(" - ")[0] for name in (a, b)]
    return runs[0] == runs[1] or "" in runs


# ---------------------------------------------------------------- choices


def _asked(table: Table, argument: str, asked: object) -> str:
    """The column that the caller names, in full, by its number or by what it ends in."""
    names = list(table.columns)
    if isinstance(asked, int) and not isinstance(asked, bool):
        if 1 <= asked <= len(names):
            return names[asked - 1]
        raise check.fail(argument, f"must be the number of a column, 1 to {len(names)} in {table.source}", asked)
    if not isinstance(asked, str):
        raise TypeError(f"{check.where(argument, 'read_log')} must be the name of a column, got {asked!r}.")
    if asked in names:
        return asked
    if asked in table.texts:
        row, cell = table.texts[asked]
        raise check.fail(
            argument,
            f"must name a column of numbers in {table.source}",
            asked,
            f"{table.place(row).capitalize()} has {cell[:60]!r}.",
        )
    same = [x for x in names if x.strip().lower() == asked.strip().lower()] or [x for x in names if _metric(x) == asked]
    if len(same) == 1:
        return same[0]
    if same:
        raise _tie(table, argument, same)
    raise check.fail(argument, f"must name a column of {table.source}", asked, f"It has {_listed(names)}.")


def _only(table: Table, argument: str, ranked: list[tuple[float, str]]) -> str:
    best = [name for rank, name in ranked if rank == ranked[0][0]]
    if len(best) > 1:
        best.sort(key=lambda name: -table.columns[name].rows.size)
        columns = [table.columns[name] for name in best]
        if columns[0].rows.size >= FINER * columns[1].rows.size:
            table.notes.append(f"of {_listed(best)}, {best[0]!r} is read, which has the most entries")
        elif any(_differs(columns[0], c) for c in columns[1:]):
            raise _tie(table, argument, best)
    return best[0]


def _tie(table: Table, argument: str, names: list[str]) -> ValueError:
    what = f"{len(names)} that may be: {_listed(names)}"
    if len({name.rpartition(" - ")[0] for name in names}) == len(names) > 1:
        what = f"{len(names)} runs: {_listed(names)}"
    noun = {"loss": "loss", "learning_rate": "learning rate", "validation": "validation loss"}.get(argument, argument)
    way_out = f"Name the column: {argument}={names[0]!r}."
    return unreadable(table.source, f"must have one column for the {noun}", what, way_out)


def _listed(names: Iterable[str]) -> str:
    names = [repr(x) for x in names]
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


# ---------------------------------------------------------------- what numbers say


def _is_bookkeeping(table: Table, name: str) -> bool:
    """Whether a column is a step, a rate, a time or an index rather than a metric."""
    if not table.named:
        return _counts(table.columns[name])
    if _step_rank(name) is not None or _rate_rank(name) is not None or _is_bound(name):
        return True
    found = words(_metric(name))
    return not found or bool(found & NEVER) or found == {"unnamed", "0"}


def _counts(column: Column) -> bool:
    """Whether whole numbers, or the times of a clock, never fall in a column, and rise in most of its rows."""
    x = column.values
    if x.size < 2 or not np.isfinite(x).all():
        return False
    rises = np.diff(x)
    return bool((rises >= 0).all() and (rises > 0).mean() > 0.5 and (_whole(x) or x.min() > 1e9))


def _whole(x: np.ndarray) -> bool:
    x = x[np.isfinite(x)]
    return bool(x.size and (x == np.round(x)).all() and np.abs(x).max() < 2**53)


def _differs(a: Column, b: Column) -> bool:
    return (
        a.rows.shape != b.rows.shape
        or (a.rows != b.rows).any()
        or not np.array_equal(a.values, b.values, equal_nan=True)
    )


def _proportional(columns: list[Column]) -> bool:
    """Whether columns of the same rows differ by constant factors alone."""
    first, *others = columns
    for c in others:
        if c.rows.shape != first.rows.shape or (c.rows != first.rows).any():
            return False
        scale, largest = np.nanmax(np.abs(c.values)), np.nanmax(np.abs(first.values))
        if not np.allclose(
            c.values * largest, first.values * scale, rtol=1e-3, atol=1e-6 * scale * largest, equal_nan=True
        ):
            return False
    return True
