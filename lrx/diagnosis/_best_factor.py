"""The best multiple of a learning rate, from the losses at the ends of branches at several multiples of it."""

import numpy as np

STRETCH, SHIFT = 1.25, 0.1
"""From where short branches are best to what is best for the run, in decades: a run's parameters have adapted to its
rate, so branches that begin there show a part of the correction. Fitted to the runs of `benchmarks.doctor.probe`, whose
errors are therefore in-sample."""

LEAST_WIDTH = 0.25
"""Decades on each side of the factor that the interval has at least: in these runs half of the errors are larger."""

STANDARD_ERRORS = 2.0
"""A branch is worse than the best if its loss is so many standard errors above, batch by batch."""

ABOUT_RIGHT = 0.2
"""Decades; a smaller correction is none."""


def best_factor(factors: np.ndarray, ends: np.ndarray) -> tuple[float, tuple[float, float], str]:
    """The factor, its interval and what to say.

    Args:
      factors: ascending, [factors].
      ends: the losses of the last parameters of each branch, on the same batches each, [factors, batches].
    """
    scores = np.where(np.isfinite(ends).all(axis=1), np.nan_to_num(ends).mean(axis=1), np.inf)
    if not np.isfinite(scores).any():
        least = float(factors[0])
        said = "Every branch ended in a loss that is not finite. The learning rate is too high: "
        return least, (0.0, least), f"{said}multiply it by less than {least:.2g}."
    x = np.log10(factors)
    best = int(np.argmin(scores))
    place = np.clip(STRETCH * _lowest(x, scores, best) + SHIFT, x[0], x[-1])
    as_good = [i for i in range(len(x)) if not _is_worse(ends, i, best)]
    first, last = as_good[0], as_good[-1]
    low = 0.0 if first == 0 else 10 ** min((x[first - 1] + x[first]) / 2, place - LEAST_WIDTH)
    high = np.inf if last == len(x) - 1 else 10 ** max((x[last] + x[last + 1]) / 2, place + LEAST_WIDTH)
    factor = float(10**place)
    edge = "last" if best == len(x) - 1 else "first" if best == 0 else ""
    return factor, (float(low), float(high)), _said(factor, (low, high), edge)


def _lowest(x: np.ndarray, scores: np.ndarray, best: int) -> float:
    """Where the parabola through the best branch and its neighbours is lowest."""
    if best in (0, len(x) - 1) or not np.isfinite(scores[best - 1 : best + 2]).all():
        return x[best]
    near, y = x[best - 1 : best + 2], scores[best - 1 : best + 2]
    (a, b), (c, d) = np.diff(near), np.diff(y)
    bend = (d / b - c / a) / (a + b)
    if bend <= 0:
        return x[best]
    return float(np.clip(near[1] - (c / a + bend * a) / (2 * bend), near[0], near[2]))


def _is_worse(ends: np.ndarray, i: int, best: int) -> bool:
    """Whether a branch is worse than the best by more than the batches differ."""
    if i == best:
        return False
    if not np.isfinite(ends[i]).all():
        return True
    differences = ends[i] - ends[best]
    if len(differences) == 1:
        return bool(differences[0] > 0)
    return bool(differences.mean() > STANDARD_ERRORS * differences.std(ddof=1) / len(differences) ** 0.5)


def _said(factor: float, interval: tuple[float, float], edge: str) -> str:
    if abs(np.log10(factor)) < ABOUT_RIGHT:
        first = "The learning rate is about right: keep it."
    else:
        first = f"The learning rate is too {'low' if factor > 1 else 'high'}: multiply it by {factor:.2g}."
    if edge:
        return f"{first} The {edge} branch is the best, so probe again from there."
    low, high = (f"{x:.2g}" for x in interval)
    if interval[1] == np.inf or not interval[0]:
        side = f"at least {low}" if interval[0] else f"at most {high}" if interval[1] < np.inf else "any of those tried"
        return f"{first} As far as these branches show, {side} may be as good."
    return f"{first} From {low} to {high} may be as good."
