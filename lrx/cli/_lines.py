"""What the commands share: errors of one line, checks of options, lines of text."""

import sys
from collections.abc import Iterable
from typing import Any, NoReturn

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


def say(text: str, fold: bool = True) -> None:
    """A line, folded at words in a terminal and left whole in a pipe."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    console.print(text, soft_wrap=not (fold and console.is_terminal))
