"""What a verdict means for the learning rate of a log, in sentences."""

import numpy as np

from ..charts import rate
from ..diagnosis import Diagnosis
from ._log import Log


def correction(verdict: Diagnosis, log: Log) -> str:
    """What to do to the learning rate, and how sure that is; the rates themselves if the log has them."""
    low, high = verdict.interval
    known = 0 < low <= high < np.inf
    if not known:
        return "How much to change the learning rate can't be told from this log."
    if not known_rates(log):
        return (
            f"The factor for the learning rate is {rate(verdict.factor)}; four times in five it is {_range(low, high)}."
        )
    rates = log.learning_rates
    assert rates is not None
    peak = float(np.nanmax(rates))
    name = "learning rate" if np.ptp(rates[np.isfinite(rates)]) <= 1e-6 * peak else "peak learning rate"
    if verdict.factor == 1:
        return f"The {name} was {rate(peak)}; four times in five the right one is {_range(low * peak, high * peak)}."
    return (
        f"The {name} was {rate(peak)}: try {rate(verdict.factor * peak)}; four times in five the right one is "
        f"{_range(low * peak, high * peak)}."
    )


def known_rates(log: Log) -> bool:
    """Whether a log has learning rates above 0."""
    return log.learning_rates is not None and bool((log.learning_rates > 0).any())


def contents(log: Log) -> str:
    """What is in a log, without its name."""
    return repr(log)[4:-1].split(", from ")[0]


def _range(low: float, high: float) -> str:
    return f"between {rate(low)} and {rate(high)}"
