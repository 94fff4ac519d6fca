"""A loss law as JSON."""

import json
import math
from typing import Any, NoReturn

from .._json_text import parsed, short
from ._laws import LAWS

ERRORS = "r2", "mean_error", "worst_error"
"""What a fit says of itself; null where it is not known."""
WARMUP = "warmup_steps", "warmup_sum"


def written(law: Any) -> str:
    """The text of a `LossLaw`."""
    errors = {name: x if math.isfinite(x := getattr(law, name)) else None for name in ERRORS}
    warmup = {name: getattr(law, name) for name in WARMUP}
    return json.dumps({"law": law.law, "params": law.params, **errors, **warmup}, allow_nan=False)


def read(text: Any) -> dict[str, Any]:
    """The fields of a `LossLaw` that `written` wrote, all of them checked."""
    data = parsed(text)
    keys = ("law", "params", *ERRORS, *WARMUP)
    if not isinstance(data, dict) or not {"law", "params"} <= set(data) <= set(keys):
        _wrong(f"it must have the keys {', '.join(keys)}")
    name, params = data["law"], data["params"]
    if not isinstance(name, str) or name not in LAWS:
        _wrong(f"the law must be one of {', '.join(LAWS)}, got {short(name)}")
    names = LAWS[name].names
    if not isinstance(params, dict) or set(params) != set(names):
        _wrong(f"it must have the parameters {', '.join(names)}")
    found: dict[str, Any] = {"law": name, "params": {k: _number(k, params[k]) for k in names}}
    if not all(x > 0 for x in found["params"].values()):
        _wrong("its parameters must be positive")
    for key in ERRORS:
        found[key] = math.nan if data.get(key) is None else _number(key, data[key])
    steps, total = data.get("warmup_steps", 0), data.get("warmup_sum")
    if type(steps) is not int or not 0 <= steps < 2**31:
        _wrong(f"its warmup_steps must be a number of updates, got {short(steps)}")
    if total is not None and _number("warmup_sum", total) < 0:
        _wrong(f"its warmup_sum must not be negative, got {short(total)}")
    return found | {"warmup_steps": steps, "warmup_sum": None if total is None else float(total)}


def _number(name: str, x: Any) -> float:
    if type(x) not in (int, float) or abs(x) > 1e300:
        _wrong(f"its {name} must be a number, got {short(x)}")
    return float(x)


def _wrong(why: str) -> NoReturn:
    raise ValueError(f"from_json(text=...) must be what to_json of a LossLaw wrote: {why}.")
