"""From signals to probabilities and a correction: a sum of bent lines, one for each signal, with fixed numbers."""

import dataclasses
from collections.abc import Mapping

import numpy as np

Curve = tuple[tuple[float, ...], ...]
"""The least and the largest value that count, and the knots where the lines bend between them; then, for each of the
five sums, the slope before the first knot and the changes at each."""


@dataclasses.dataclass(frozen=True)
class Model:
    """What was fitted.

    The first two sums are the evidence for too low and for too high, both against fine, as logarithms of odds. The
    other three are the decimal logarithm of the correction, if the rate is too low, fine, too high.
    """

    start: tuple[float, ...]
    """Where the five sums begin."""
    curves: Mapping[str, Curve]
    """By signal."""
    spread: Mapping[str, tuple[tuple[float, float], ...]]
    """Of the correction's error, by what is most probable, the tenth and the ninetieth percentile: where that is less
    and where it is more probable than 0.8."""

    def judge(self, signals: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
        """The probabilities of too low, fine and too high, and log10 of the correction in each case."""
        sums = np.array(self.start)
        for name, ((least, largest, *knots), *slopes) in self.curves.items():
            x = min(max(signals[name], least), largest)
            sums += np.array(slopes) @ [x, *(max(x - k, 0.0) for k in knots)]
        odds = np.exp(np.clip([sums[0], 0.0, sums[1]], -50, 50))
        return odds / odds.sum(), sums[2:]
