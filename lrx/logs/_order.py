"""Entries in the order of their steps: restarts, repeated steps, batches that are counted anew in each epoch."""

from collections.abc import Callable

import numpy as np

from ._table import Column, Table

SHUFFLED = 0.1
"""A larger share of steps that go back is no restart: several processes write, or the rows are in no order."""


def steps_of_rows(
    table: Table, step: str | None, epoch: str | None, loss: np.ndarray, rows: int
) -> tuple[np.ndarray, float | None]:
    """The step of each row of the table, and the number of steps in an epoch.

    Args:
      table: the table; what was decided is added to its notes.
      step: the column of steps, if there is one.
      epoch: the column of epochs, if there is one.
      loss: the rows with a loss, which are counted if there are no steps.
      rows: the number of rows.

    Returns:
      Steps [rows], NaN where a row has none; and the steps in an epoch, None if they are not known.
    """
    epochs = _spread(table.columns[epoch], rows) if epoch is not None else None
    if step is None:
        if epochs is not None and _one_each(epochs[loss]):
            table.notes.append(f"there is no column of steps: {epoch!r} counts them")
            return epochs, None
        table.notes.append("there is no column of steps: entries are counted")
        steps = _counted(loss, np.arange(loss.size, dtype=np.float64), rows)
        return steps, None if epochs is None else _steps_per_epoch(steps[loss], epochs[loss])
    steps = _spread(table.columns[step], rows)
    if epochs is None or step == epoch:
        return steps, None
    both = loss[np.isfinite(steps[loss]) & np.isfinite(epochs[loss])]
    if (within := _within_epochs(steps[both], epochs[both])) is not None:
        table.notes.append(f"{step!r} is counted anew in each epoch: steps go on from the epochs before")
        return _counted(both, within[0], rows), within[1]
    return steps, _steps_per_epoch(steps[both], epochs[both])


def in_order(column: Column, steps: np.ndarray, tell: Callable[[str], None], place: Callable[[int], str]) -> Column:
    """The entries of a column by step, increasing: where a step comes again, or goes back, the later entries count.

    Args:
      column: the column.
      steps: the step of each row of the table.
      tell: is given a sentence about what was left out.
      place: gives the name of a row.

    Returns:
      The column, with the steps in place of its rows.
    """
    rows, at, values = column.rows, steps[column.rows], column.values
    there = np.isfinite(at)
    if not there.all():
        tell(f"{_entries((~there).sum())} without a step left out, the first one at {place(int(rows[~there][0]))}")
    rows, at, values = rows[there], at[there], values[there]
    back = int((np.diff(at) < 0).sum())
    if back and back == at.size - 1:
        order = np.arange(at.size)[::-1]
        tell("the newest entries come first: they are read in the other order")
    elif back > max(3, SHUFFLED * at.size):
        order = np.argsort(at, kind="stable")
        tell(f"steps go back {back} times: the entries are sorted by step")
    elif back:
        order = _through_restarts(at, values, lambda i: place(int(rows[i])), tell)
    else:
        order = np.arange(at.size)
    at, values = at[order], values[order]
    last = np.append(np.diff(at) > 0, True)[: at.size]
    if not last.all():
        tell(f"{_entries((~last).sum())} left out for a later one at the same step")
    return Column(at[last].astype(np.int64), values[last])


def _through_restarts(
    at: np.ndarray, values: np.ndarray, place: Callable[[int], str], tell: Callable[[str], None]
) -> np.ndarray:
    """The entries that count, in order, where a run was restarted, or pieces of its log were put together.

    A piece is a stretch in which steps do not go back. From the step on where a piece begins, those before it do not
    count. A piece that is in the file already does not count; one that begins before all others and leads up to them
    goes in front.
    """
    starts = np.concatenate([[0], np.flatnonzero(np.diff(at) < 0) + 1])
    spacing = np.median(np.abs(np.diff(at)))
    pieces: list[np.ndarray] = []
    whole: list[tuple[bytes, bytes]] = []
    moved = copies = 0
    for i in np.split(np.arange(at.size), starts[1:]):
        content = at[i].tobytes(), values[i].tobytes()
        if content in whole:
            copies += 1
            continue
        whole.append(content)
        first, last = at[i[0]], at[i[-1]]
        earliest, latest = (
            min((at[p[0]] for p in pieces), default=first),
            max((at[p[-1]] for p in pieces), default=last),
        )
        if first < earliest - spacing <= last + spacing and last < latest:
            pieces.insert(0, i)
            moved += 1
        else:
            pieces.append(i)
    order = np.concatenate(pieces)
    later = np.append(np.minimum.accumulate(at[order][::-1])[::-1][1:], np.inf)
    kept = order[at[order] < later]
    if copies:
        tell(
            f"{'a piece' if copies == 1 else f'{copies} pieces'} of the log stood in it twice: the copies are left out"
        )
    if moved:
        tell("the pieces of the log were not in the order of their steps: they are put in order")
    if len(pieces) > moved + 1:
        i = next(int(p[0]) for p in pieces if p[0] and at[p[0]] < at[p[0] - 1])
        more = len(pieces) - moved - 2
        again = f", and {more} more times" if more > 1 else ", and once more" if more else ""
        tell(
            f"at {place(i)} steps go back from {at[i - 1]:,.0f} to {at[i]:,.0f}{again}, as after a restart: the later "
            f"entries count, and of the earlier {_entries(order.size - kept.size)} left out"
        )
    return kept


def _entries(n: int) -> str:
    return "one entry is" if n == 1 else f"{n:,} entries are"


def _spread(column: Column, rows: int) -> np.ndarray:
    out = np.full(rows, np.nan)
    out[column.rows] = column.values
    return out


def _counted(loss: np.ndarray, steps: np.ndarray, rows: int) -> np.ndarray:
    """The steps of the rows with a loss; other rows have that of the last one before them."""
    out = np.full(rows, np.nan)
    if loss.size:
        out[:] = steps[np.maximum(np.searchsorted(loss, np.arange(rows), side="right") - 1, 0)]
    return out


def _one_each(epochs: np.ndarray) -> bool:
    """Whether there is about one entry for each whole epoch."""
    x = epochs[np.isfinite(epochs)]
    return bool(x.size and (x == np.round(x)).all() and (np.diff(x) == 0).sum() <= 0.2 * (x.size - 1))


def _within_epochs(steps: np.ndarray, epochs: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Steps of the whole run from steps that begin anew in each epoch; None if they don't."""
    back = np.diff(steps) < 0
    if not back.any() or (np.diff(epochs)[back] <= 0).any() or (np.diff(epochs) < 0).any():
        return None
    number = np.unique(epochs, return_inverse=True)[1]
    first = steps.min()
    length = steps.max() - first + max(1.0, np.median(np.abs(np.diff(steps))))  # of the longest epoch
    if length < 2 or (steps[1:][back] > first + length / 2).any():
        return None
    return steps + number * length, float(length)


def _steps_per_epoch(steps: np.ndarray, epochs: np.ndarray) -> float | None:
    """From epochs in parts the slope, from whole ones the distance between the first entries of each."""
    order = np.argsort(steps, kind="stable")
    steps, epochs = steps[order], epochs[order]
    if (epochs == np.round(epochs)).all():
        new = np.flatnonzero(np.diff(epochs) == 1) + 1
        steps, epochs = steps[new], epochs[new]
    if epochs.size < 2 or not epochs[-1] > epochs[0]:
        return None
    length = float((steps[-1] - steps[0]) / (epochs[-1] - epochs[0]))
    return length if length > 1 else None
