"""What the commands share: errors of one line, checks of options, lines of text."""

import dataclasses
import os
import re
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from ..problems._problem import Problem

MOST_STEPS = 2**31 - 1


def stop(message: object, code: int = 2) -> NoReturn:
    """One line on stderr, and exit."""
    sys.stderr.write(f"lrx: error: {' '.join(str(message).split())}\n")
    raise SystemExit(code)


def names_of(option: str, text: str | None, known: dict[str, Any]) -> list[str] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    for name in names:
        check_name(option, name, known)
    return names


def check_name(option: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        stop(f"{option}: there is no {name!r}. Choose from {', '.join(known)}.")


def check_count(option: str, count: int) -> None:
    if not 1 <= count <= MOST_STEPS:
        stop(f"{option} must be {'at least 1' if count < 1 else f'at most {MOST_STEPS}'}, got {count}.")


NARROWEST = 20
"""Columns below which a width is no terminal's: some set COLUMNS to 0."""


def console(**options: Any) -> Any:
    """A console that shows text as it is."""
    from rich.console import Console

    made = Console(highlight=False, markup=False, emoji=False, **options)
    return made if made.width >= NARROWEST else Console(highlight=False, markup=False, emoji=False, width=80, **options)


def say(text: str, fold: bool = True) -> None:
    """A line, folded at words in a terminal and left whole in a pipe."""
    terminal = console()
    terminal.print(text, soft_wrap=not (fold and terminal.is_terminal))


def check_folder(out: Path) -> None:
    """Stop before minutes of training if the report cannot be written."""
    there = next(p for p in [out.absolute(), *out.absolute().parents] if p.exists())
    if not there.is_dir():
        stop(f"--out: {there} is a file, so {out} cannot be a folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        stop(f"--out: no permission to write into {there}.")


def stop_after(error: Exception, problem: str) -> NoReturn:
    """Report an error of training: an argument that lrx refuses, or the user's code failing, with its line if known."""
    frames = traceback.extract_tb(error.__traceback__)
    file = Path(problem.rpartition(":")[0]).absolute()
    mine = [
        f for f in frames if file.suffix == ".py" and Path(f.filename).absolute().parent.is_relative_to(file.parent)
    ]
    mine = [f for f in mine if "site-packages" not in f.filename and not _in_lrx(f.filename)]
    if mine:
        stop(f"line {mine[-1].lineno} of {mine[-1].filename} failed with {type(error).__name__}: {error}", code=1)
    # JAX hides its own frames, so that the last one may be of lrx without lrx raising
    if (
        isinstance(error, ValueError | TypeError)
        and _in_lrx(frames[-1].filename)
        and "raise" in (frames[-1].line or "")
    ):
        message = re.sub(r"^\w+\((\w+)=\.\.\.\)", lambda call: _option(call[1]), str(error))
        stop(f"{problem}: {message}")
    stop(f"training {problem} failed with {type(error).__name__}: {error}", code=1)


def _option(argument: str) -> str:
    """What an argument of `tune` is called here; what a problem is made of is the user's code."""
    if argument in {f.name for f in dataclasses.fields(Problem)}:
        return f"Problem({argument}=...)"
    return "PROBLEM" if argument == "problem" else "--" + argument.replace("_", "-")


def _in_lrx(filename: str) -> bool:
    return Path(filename).absolute().is_relative_to(Path(__file__).absolute().parents[1])


# ---------------------------------------------------------------- terminals that know ASCII alone

PLAIN = {"▸": ">", "±": "+-", "→": "->", "×": "x", "·": "-", "…": "...", "–": "-", "√": "sqrt", "η": "eta", "≤": "<="}
BOXES = {"│": "|", "┤": "|", "└": "+", "─": "-", "━": "-", "╸": "-", "╺": "-"}


UPPER, LOWER = 0b00011011, 0b11100100
"""The dots of the first two rows of a braille character, and those of the last two."""


def plain_where_needed(error: UnicodeError) -> tuple[str, int]:
    """Characters that an encoding does not have, as others that look alike."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_plain(c) for c in text), error.end


def _plain(c: str) -> str:
    if 0x2800 <= ord(c) < 0x2900:  # braille, of a drawing: a bit for each dot, in four rows
        dots = ord(c) - 0x2800
        return " '.:"[bool(dots & UPPER) + 2 * bool(dots & LOWER)]
    return (PLAIN | BOXES).get(c, "?")
