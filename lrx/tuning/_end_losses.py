"""The loss at the end of a run, and whether the run diverged."""

import numpy as np

SEEN = 8
"""Losses at the end, at least, that say whether a run has diverged."""


def end_losses(losses: np.ndarray, last: int) -> np.ndarray:
    """The mean of the last losses of runs, float64 [...]; NaN where a run diverged.

    A run whose parameters are not finite has no finite loss any more. A batch whose loss is not finite, and whose
    update was skipped, is left out: as long as most of the last losses are finite, the parameters are.

    Args:
      losses: [..., steps].
      last: how many, ≥ 1.
    """
    tail, seen = losses[..., -last:], losses[..., -max(last, SEEN) :]
    with np.errstate(invalid="ignore", over="ignore"):
        plain = tail.mean(axis=-1, dtype=np.float64)
    if np.isfinite(losses).all():
        return plain
    diverged = np.isfinite(seen).mean(axis=-1) <= 0.5
    finite = np.isfinite(tail)
    some = np.where(finite.any(axis=-1), _mean_of_finite(tail), _mean_of_finite(seen))
    return np.where(diverged, np.nan, np.where(finite.all(axis=-1), plain, some))


def _mean_of_finite(x: np.ndarray) -> np.ndarray:
    finite = np.isfinite(x)
    return np.where(finite, x, 0).sum(axis=-1, dtype=np.float64) / np.maximum(1, finite.sum(axis=-1))
