"""From losses to the numbers of the table, with bootstrap intervals over tasks and seeds."""

from typing import Any

import numpy as np

WITHIN = 1.05
RESAMPLES = 2000


def ratios(loss: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Mean loss over mean best loss: [..., tasks, seeds] -> [..., tasks]."""
    return loss.mean(-1) / best.mean(-1)


def regrets(loss: np.ndarray, best: np.ndarray, initial: np.ndarray) -> np.ndarray:
    """The share of the possible decrease that was missed, in [0, 1]: [..., tasks, seeds] -> [..., tasks]."""
    reached, lowest, highest = loss.mean(-1), best.mean(-1), initial.mean(-1)
    return np.clip((reached - lowest) / (highest - lowest), 0.0, 1.0)


def statistics(
    loss: np.ndarray, best: np.ndarray, initial: np.ndarray, log_rates: np.ndarray | None
) -> dict[str, np.ndarray]:
    """The columns of the table. Losses, and log10 of chosen over best rate, [..., tasks, seeds] -> [...]."""
    ratio, regret = ratios(loss, best), regrets(loss, best, initial)
    columns = {
        "ratio_median": np.median(ratio, -1),
        "ratio_within_5_percent": np.mean(ratio <= WITHIN, -1),
        "ratio_worst": ratio.max(-1),
        "regret_mean": regret.mean(-1),
        "regret_worst": regret.max(-1),
    }
    if log_rates is not None:
        columns["log10_rate_median"] = np.median(log_rates, (-2, -1))
    return columns


def resampled(tasks: int, seeds: int, rng: np.random.Generator) -> tuple[Any, Any]:
    """Indices into [tasks, seeds] that give [RESAMPLES, tasks, seeds]: tasks drawn again, and in each of them seeds."""
    return rng.integers(tasks, size=(RESAMPLES, tasks, 1)), rng.integers(seeds, size=(RESAMPLES, tasks, seeds))


def summary(
    loss: np.ndarray, best: np.ndarray, initial: np.ndarray, log_rates: np.ndarray | None
) -> dict[str, tuple[float, float, float]]:
    """Each column with its 95 % bootstrap interval: name -> (value, low, high)."""
    tasks, seeds = loss.shape
    index = resampled(tasks, seeds, np.random.default_rng(0))
    values = statistics(loss, best, initial, log_rates)
    again = statistics(loss[index], best[index], initial[index], None if log_rates is None else log_rates[index])
    # "nearest": between a number and inf there is nothing to interpolate
    ends = {k: np.quantile(v, [0.025, 0.975], method="nearest") for k, v in again.items()}
    return {k: (float(v), float(ends[k][0]), float(ends[k][1])) for k, v in values.items()}
