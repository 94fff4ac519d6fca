"""What a training script printed: lines of words and numbers, such as `iter 10: loss 2.5, lr 0.001`."""

import re

from ._table import Table, from_rows, unreadable

FIRST_WORDS = "train|training|val|valid|validation|eval|test|learning|total|avg|average|mean|global|lm|optimizer"
NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan\b|inf\b)"
PAIR = re.compile(rf"((?:\b(?:{FIRST_WORDS})[ _])*[a-z_][\w./-]*)['\"]?\s*[:=]?\s*[\[(]?({NUMBER})", re.IGNORECASE)
"""A name and the number that follows it. Names are one word, or more if the first ones say what it is about."""
LOSS = re.compile(rf"loss(?:es)?[a-z_]*\)?(?:\s*[:=]\s*|\s+){NUMBER}", re.IGNORECASE)
SAMPLE = 400


def is_console(text: str) -> bool:
    """Whether lines say `loss`, and the number right behind it: more than one, unless there are hardly any."""
    lines = [line for line in text[:200_000].splitlines()[:SAMPLE] if not line.lstrip().startswith(("#", "%", "//"))]
    found = sum(LOSS.search(line) is not None for line in lines)
    return found > 1 or (found == 1 and len(lines) < 6)


def read_console(source: str, text: str, growing: bool = False) -> Table:
    """A table of the lines that have a loss in them: of each name the first number behind it.

    Args:
      source: what errors call the file.
      text: its content.
      growing: whether it is still being written, so that a last line without its end is not read.

    Raises:
      ValueError: if no line has a loss.
    """
    lines = text.replace("\r", "\n").split("\n")  # progress bars go back to the start of their line
    if growing:
        lines.pop()
    rows, places = [], []
    for i, line in enumerate(lines, 1):
        if not LOSS.search(line):
            continue
        row: dict[str, str] = {}
        for name, number in PAIR.findall(line):
            row.setdefault(" ".join(name.split()), number)
        rows.append(row)
        places.append(i)
    if not rows:
        raise unreadable(source, "must hold a row of numbers", "no line with a loss", empty=True)
    return from_rows(source, rows, places)
