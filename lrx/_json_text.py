"""JSON that may come from anywhere: it is only ever read, and whatever is wrong with it is a ValueError."""

import json
import math
from typing import Any

DEEPEST = 100
"""How many levels of lists and objects JSON may have: far more than lrx writes, less than Python's stack."""


def parsed(text: Any) -> Any:
    """What the text that was given to `from_json` says.

    Raises:
      ValueError: if it is not JSON, holds a number that is not finite or a key twice, or is nested too deeply.
      TypeError: if it is not a string.
    """
    if not isinstance(text, str):
        raise TypeError(f"from_json(text=...) must be a string, got {text!r}.")
    plain = text.removeprefix("\ufeff")  # files from Windows begin with it
    try:
        data = json.loads(plain, parse_constant=_refused, parse_float=_finite, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"from_json(text=...) must be JSON: {error}.") from None
    if _depth(data) > DEEPEST:
        raise ValueError(f"from_json(text=...) must have at most {DEEPEST} levels of lists and objects.")
    return data


def short(x: Any) -> str:
    """The value for an error message, cut off where it is long."""
    text = repr(x)
    return text if len(text) <= 80 else text[:77] + "..."


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")


def _finite(digits: str) -> float:
    if not math.isfinite(value := float(digits)):
        raise ValueError(f"{short(digits)} is too large a number")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {short(next(k for k in keys if keys.count(k) > 1))} is given twice")
    return found


def _depth(data: Any) -> int:
    """The levels of lists and dicts, counted without recursion."""
    level, levels = [data], 0
    while level:
        inner = [x for x in level if isinstance(x, dict | list)]
        level = [v for x in inner for v in (x.values() if isinstance(x, dict) else x)]
        levels += bool(inner)
    return levels
