"""Output where a terminal or a file has no Unicode: signs that look alike in the place of those it lacks."""

import codecs
import contextlib
import sys

ALIKE = {"┤": "|", "│": "|", "└": "+", "─": "-", "━": "-", "×": "x", "…": "...", "–": "-", "→": ">", "±": "+-"}
BLANK, LAST = 0x2800, 0x28FF
"""Braille, of which curves are drawn: a bit for each dot."""
UPPER, LOWER = 0b00011011, 0b11100100
"""Of its four rows of dots, the first two and the last two."""


def replace_in_plain_output() -> None:
    """From now on what a command prints cannot fail for want of a sign."""
    codecs.register_error("lrx.plain", _replaced)
    with contextlib.suppress(AttributeError, ValueError):  # a stream of another kind
        sys.stdout.reconfigure(errors="lrx.plain")  # type: ignore[union-attr]  # a TextIOWrapper, mostly


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_alike, error.object[error.start : error.end])), error.end


def _alike(sign: str) -> str:
    if not BLANK <= ord(sign) <= LAST:
        return ALIKE.get(sign, "?")
    dots = ord(sign) - BLANK
    return " '.:"[bool(dots & UPPER) + 2 * bool(dots & LOWER)]
