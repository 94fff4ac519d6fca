"""Logs as text with columns: CSV with any usual delimiter, or a plain column of numbers."""

import csv
import re
from collections import Counter

import numpy as np

from ._table import MISSING, SPLITS, Column, Table, from_rows, number, unreadable

DELIMITERS = ("\t", ";", "|", ",", " ")
"""In the order of preference, where several would do. A space is any run of them."""
COMMENT = ("#", "%", "//")
SAMPLE = 200
THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?$")


def read_delimited(source: str, text: str, growing: bool = False) -> Table:
    """A table from text.

    Args:
      source: what errors call the file.
      text: its content.
      growing: whether it is still being written, so that a last line without its end is not read.

    Returns:
      The columns. Without a header they are called `column 1`, `column 2` and so on.

    Raises:
      ValueError: if there are no rows of numbers, or a row has more cells than the header.
    """
    lines = text.splitlines()
    complete = text.endswith(("\n", "\r"))
    if growing and not complete and lines:
        lines.pop()
        complete = True
    kept = [(i, line) for i, line in enumerate(lines, 1) if line.strip() and not line.lstrip().startswith(COMMENT)]
    if not kept:
        raise unreadable(
            source,
            "must hold a row of numbers",
            "no line but empty ones and comments" if lines else "an empty file",
            empty=True,
        )
    delimiter = _delimiter([line for _, line in kept[:SAMPLE]])
    try:
        rows = [(i, _cells(line, delimiter)) for i, line in kept]
    except csv.Error as e:
        raise unreadable(source, "must be text in columns", str(e)) from None
    width = Counter(len(cells) for _, cells in rows[:SAMPLE]).most_common(1)[0][0]
    header = _commented_header(lines[: kept[0][0] - 1], delimiter, width)
    return _table(source, rows, header, delimiter, complete)


def _table(
    source: str, rows: list[tuple[int, list[str]]], header: list[str] | None, delimiter: str, complete: bool
) -> Table:
    named, notes = True, []
    if _is_header(rows[0][1]):
        header, rows = rows[0][1], rows[1:]
    elif header is None:
        header, named = [f"column {i + 1}" for i in range(max(len(cells) for _, cells in rows))], False
    if not rows:
        raise unreadable(source, "must hold a row of numbers", "nothing but a header", empty=True)
    first_header = header
    layouts: list[tuple[list[str], list[list[str]]]] = []  # a header, and the rows below it
    places: list[int] = []
    for n, (line, cells) in enumerate(rows):
        if named and any(x[:1].isalpha() for x in cells):  # else it is no header
            again = _repeated(cells, first_header)
            if again is not None:
                header = first_header
                if again:
                    notes.append(f"line {line} was cut off where the header is repeated: it is left out")
                continue
            if len(cells) > 1 and _is_header(cells) and any(not _is_header(c) for _, c in rows[n + 1 : n + 2]):
                header = cells  # other columns from here on
                continue
        if len(cells) > len(header):
            cells = _trimmed(cells, len(header))
            if len(cells) == len(header) + 1 and not places:
                header = first_header = ["", *header]  # the index of a data frame has no name
            if len(cells) > len(header):
                raise unreadable(
                    source,
                    "must have no more cells in a row than names in the header",
                    f"line {line} has {len(cells)} cells and the header {len(header)}",
                    "Quote cells that hold the delimiter, or write one header for all columns.",
                )
        if n == len(rows) - 1 and not complete and (len(cells) < len(header) or not _ends_whole(cells)):
            notes.append(f"line {line}, the last one, is cut off: it is left out")
            continue
        if not layouts or layouts[-1][0] is not header:
            layouts.append((header, []))
        layouts[-1][1].append(cells)
        places.append(line)
    if not places:
        raise unreadable(source, "must hold a row of numbers", "nothing but a header", empty=True)
    table = _columns(source, layouts, delimiter)
    table.lines, table.named, table.notes = np.array(places, np.int64), named, notes
    return table


def _columns(source: str, layouts: list[tuple[list[str], list[list[str]]]], delimiter: str) -> Table:
    """The columns of the rows below each header."""
    cells: dict[str, tuple[list[int], list[str]]] = {}
    start = 0
    for header, rows in layouts:
        names = _unique([name.strip().strip("\"'") for name in header])
        for j, name in enumerate(names):
            at, texts = cells.setdefault(name, ([], []))
            for i, row in enumerate(rows, start):
                if j < len(row) and row[j].strip().lower() not in MISSING:
                    at.append(i)
                    texts.append(row[j])
        start += len(rows)
    plain = {name: (at, _without_commas(texts, delimiter)) for name, (at, texts) in cells.items()}
    if any(name.lower() in SPLITS and any(isinstance(number(x), str) for x in x) for name, (_, x) in plain.items()):
        by_row: list[dict[str, str]] = [{} for _ in range(start)]
        for name, (at, texts) in plain.items():
            for i, x in zip(at, texts, strict=True):
                by_row[i][name] = x
        return from_rows(source, by_row)
    table = Table(source, {})
    for name, (at, texts) in plain.items():
        values = [number(x) for x in texts]
        wrong = next((i for i, x in enumerate(values) if not isinstance(x, float)), None)
        if wrong is not None:
            table.texts[name] = at[wrong], texts[wrong]
        good = [(i, x) for i, x in zip(at, values, strict=True) if isinstance(x, float)]
        if good:
            table.columns[name] = Column(np.array([i for i, _ in good], np.int64), np.array([x for _, x in good]))
    return table


def _cells(line: str, delimiter: str) -> list[str]:
    if delimiter == " ":
        return line.split()
    if '"' not in line:
        return line.split(delimiter) if delimiter else [line]
    return next(csv.reader([line], delimiter=delimiter or ",", skipinitialspace=True))


def _delimiter(lines: list[str]) -> str:
    """The delimiter under which most rows have as many cells as each other, and most cells are numbers."""
    best, best_score = "", _numeric([[line] for line in lines], "")
    for delimiter in DELIMITERS:
        rows = [_cells(line, delimiter) for line in lines]
        width, count = Counter(map(len, rows)).most_common(1)[0]
        if width > 1:
            score = count / len(rows) * _numeric(rows, delimiter)
            if score > best_score + 1e-9:
                best, best_score = delimiter, score
    if best_score:
        return best
    # no numbers at all, as in a header alone
    return max(DELIMITERS[:-1], key=lambda d: lines[0].count(d)) if any(d in lines[0] for d in DELIMITERS[:-1]) else ""


def _numeric(rows: list[list[str]], delimiter: str) -> float:
    """The share of cells that are numbers. Commas may be decimal ones beside other delimiters."""
    cells = [x for row in rows for x in row if x.strip()]
    decimal = delimiter != "," and (delimiter or "," not in rows[0][0])
    plain = [x.replace(",", ".") if decimal else x for x in cells]
    return sum(isinstance(number(x), float) for x in plain) / max(len(cells), 1)


def _without_commas(texts: list[str], delimiter: str) -> list[str]:
    """Numbers of one column with decimal points, whatever their commas mean: decimals, or thousands."""
    with_comma = [x.strip() for x in texts if "," in x]
    if not with_comma or any(c in "([{" for x in with_comma[:1] for c in x):
        return texts
    if delimiter == "," and all(THOUSANDS.match(x) for x in with_comma):
        return [x.replace(",", "") for x in texts]
    return [x.replace(".", "").replace(",", ".") if "," in x else x for x in texts]


def _is_header(cells: list[str]) -> bool:
    """Whether names rather than numbers stand in a row: more than half of what is not empty is no number."""
    filled = [x for x in cells if x.strip()]
    texts = [x for x in filled if isinstance(number(x.strip().replace(",", ".")), str)]
    return 2 * len(texts) > len(filled)


def _commented_header(before: list[str], delimiter: str, width: int) -> list[str] | None:
    """The names in the last comment before the first row, as `numpy.savetxt(header=...)` writes them."""
    for line in reversed(before):
        if not line.strip():
            continue
        cells = [x.strip() for x in _cells(line.strip().lstrip("#%/ "), delimiter)]
        return cells if len(cells) == width and _is_header(cells) else None
    return None


def _repeated(cells: list[str], header: list[str]) -> bool | None:
    """None unless the header stands in a row again; True if it stands behind the start of a row that was cut off."""
    if [x.strip() for x in cells] == [x.strip() for x in header]:
        return False
    before, rest = cells[: -len(header)], cells[-len(header) :]
    cut = len(rest) == len(header) > 1 and rest[1:] == header[1:] and rest[0].endswith(header[0])
    return True if cut and not any(isinstance(number(x), str) for x in before) else None


def _trimmed(cells: list[str], width: int) -> list[str]:
    """Without empty cells beyond the header, which a delimiter at the end of a line makes."""
    while len(cells) > width and not cells[-1].strip():
        cells = cells[:-1]
    return cells


def _ends_whole(cells: list[str]) -> bool:
    """Whether the last cell is a whole number, not one that ends in the middle such as `1.2e-`."""
    return not isinstance(number(cells[-1]), str) or _is_header(cells)


def _unique(names: list[str]) -> list[str]:
    """Names, with `_2` after the second of a name."""
    seen: Counter[str] = Counter()
    out = []
    for name in names:
        seen[name] += 1
        out.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return out
