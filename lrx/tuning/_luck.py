"""How much of a loss is luck where one seed was trained: from what runs at neighbouring rates differ by."""

import math

import numpy as np

from ._found import Found

CLOSE = 3.0
"""Rates up to this factor apart are neighbours."""


def of_neighbours(learning_rates: np.ndarray, losses: np.ndarray) -> float:
    """The standard deviation of a loss from one seed to another, relative to the lowest loss; NaN if nothing shows it.

    A loss that depends on the rate smoothly lies between those of its neighbours. With a_i the share of the way from
    rate i − 1 to rate i + 1, in logarithms, the differences ::

      d_i = ℓ_i − (1 − a_i) ℓ_{i−1} − a_i ℓ_{i+1}

    of independent noise have the variance (1 + (1 − a_i)² + a_i²) σ². Two rates alone differ by √2 σ, if their loss is
    the same. What is curvature or slope counts as luck, so that the estimate is rather too large. Only losses up to
    twice the lowest take part.

    Args:
      learning_rates: increasing, [rates].
      losses: of one seed each, or means over few, [rates].
    """
    order = np.argsort(learning_rates)
    x, y = np.log(np.asarray(learning_rates, np.float64))[order], np.asarray(losses, np.float64)[order]
    finite = np.isfinite(y)
    if not finite.any():
        return math.nan
    least = y[finite].min()
    near = finite & (y - least <= abs(least))
    x, y = x[near], y[near]
    gaps, close = np.diff(x), math.log(CLOSE)
    triples = [i for i in range(1, len(x) - 1) if gaps[i - 1] <= close and gaps[i] <= close]
    if triples:
        a = np.array([gaps[i - 1] / (gaps[i - 1] + gaps[i]) for i in triples])
        d = np.array([y[i] - (1 - s) * y[i - 1] - s * y[i + 1] for s, i in zip(a, triples, strict=True)])
        squares = d**2 / (1 + (1 - a) ** 2 + a**2)
    else:
        pairs = [i for i in range(len(gaps)) if gaps[i] <= close]
        squares = np.array([(y[i + 1] - y[i]) ** 2 / 2 for i in pairs])
    return float(math.sqrt(squares.mean()) / abs(least)) if squares.size and least else math.nan


def of_starts(found: Found, starts: int) -> float:
    """The same from short runs at the best rate, each from several starts."""
    last = found.rounds[-1]
    if starts < 2 or not last.finite or not last.parts.size or last.parts.shape[1] % starts:
        return math.nan
    each = np.nanmean(last.parts[last.best].reshape(starts, -1), axis=1)
    loss = abs(last.losses[last.best])
    return float(each.std(ddof=1) / loss) if loss else math.nan
