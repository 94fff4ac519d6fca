"""A round of a search: short runs of one length, side by side, and what they say."""

import dataclasses
import functools
import math

import numpy as np

from ._evidence import CLEAR, IDLE_ERROR, error_of, jackknife, lowest, lowest_of, scaled

ROUNDING = 1e-6
"""Differences of losses that say nothing, as a share of the loss before training: a few roundings in float32."""


def _unknown() -> np.ndarray:
    return np.empty((0, 0))


@dataclasses.dataclass(frozen=True, eq=False)
class Round:
    """Short runs of one length, side by side."""

    steps: int
    """Updates of each."""
    learning_rates: np.ndarray
    """Increasing, float64 [rates]."""
    losses: np.ndarray
    """The mean over the end of the run and over seeds, inf if a run did not stay finite, float64 [rates]."""
    initial: float
    """The mean loss before the first update."""
    parts: np.ndarray = dataclasses.field(default_factory=_unknown)
    """How far the mean over each part of the end of a run is from its loss, float64 [rates, parts]."""
    scored: int = 1
    """Updates of the end of each run: those that the losses are of."""

    @property
    def best(self) -> int:
        """The place of the lowest loss."""
        return lowest_of(self.losses)

    @property
    def at_edge(self) -> int:
        """-1 or 1 if the first or the last rate is the best, else 0."""
        return -1 if self.best == 0 else int(self.best == len(self.losses) - 1)

    @property
    def beyond(self) -> int:
        """-1 or 1 if a better rate is to be expected below the first or above the last one, else 0.

        It is if that one is the best by more than noise. Where no rate has changed the loss, the lowest of them is the
        best because it does the least, and says nothing of lower ones.
        """
        side = self.at_edge
        if not side or not self.finite or len(self.losses) < 2:
            return side
        if side < 0 and self.idle:
            return 0
        beside = 1 if side < 0 else len(self.losses) - 2
        return side if self.losses[beside] - self.losses[self.best] > self.errors[beside] else 0

    @property
    def errors(self) -> np.ndarray:
        """The standard error of the difference between each loss and the lowest, [rates]; 0 where it is not known."""
        if not self.parts.size:
            return np.zeros(len(self.losses))
        return error_of(self.parts - self.parts[self.best])

    @functools.cached_property
    def noise(self) -> float:
        """The standard error of the difference between the lowest loss and those beside it."""
        beside = abs(np.arange(len(self.losses)) - self.best) == 1
        some = self.errors[beside & np.isfinite(self.losses)]
        return float(some.mean()) if some.size else 0.0

    @property
    def noise_of_one(self) -> float:
        """The standard deviation of the loss of a single batch, around the lowest loss."""
        if not self.parts.size:
            return 0.0
        differences = np.diff(self.parts[self.best])
        differences = differences[np.isfinite(differences)]
        if not differences.size:
            return 0.0
        batches = max(1.0, self.scored / self.parts.shape[1])
        size, differences = scaled(differences)
        return float(size * np.sqrt(np.mean(differences**2) / 2 * batches))

    @property
    def change(self) -> float:
        """By how many times the noise of the single batch that measured it before the best rate changed the loss."""
        change = float(self.losses.min()) - float(self.initial)
        if not math.isfinite(change) or not change:
            return change
        return change / self.noise_of_one if self.noise_of_one else math.copysign(math.inf, change)

    @property
    def fell(self) -> bool:
        """Whether some run has lowered the loss by more than noise, as far as the loss before is known."""
        return self.finite and (math.isnan(self.change) or self.change < -CLEAR)

    @property
    def idle(self) -> bool:
        """Whether the best that a run has done is nothing, but for noise."""
        return self.finite and abs(self.change) <= CLEAR

    @property
    def rugged(self) -> bool:
        """Whether the losses are no single valley.

        They are none if a run diverged at a rate below one whose run did not, or if farther from the best rate the loss
        falls again by half of what was gained at that one.
        """
        if (np.diff(np.isfinite(self.losses).astype(int)) > 0).any():
            return True
        gain = float(self.initial) - float(self.losses[self.best])
        if not (self.finite and 0 < gain < math.inf):
            return False
        seen = np.minimum(self.losses, self.initial)
        sides = seen[self.best :], seen[self.best :: -1]
        return any((np.maximum.accumulate(x) - x).max() > gain / 2 for x in sides)

    @property
    def alike(self) -> bool:
        """Whether the losses that are finite differ by roundings alone."""
        finite = self.losses[np.isfinite(self.losses)]
        scale = abs(self.initial) if math.isfinite(self.initial) else float(abs(finite).max(initial=0.0))
        return len(finite) > 1 and float(np.ptp(finite)) <= ROUNDING * scale

    @property
    def vertex(self) -> float:
        """The rate at which a parabola through the lowest losses is lowest.

        Where no rate has changed the loss, the highest one that does no harm which a single batch would show.
        """
        if self.idle and self.losses.max() > self.losses.min():
            harmless = self.losses <= self.losses.min() + max(self.noise_of_one, self.noise)
            return float(self.learning_rates[np.flatnonzero(harmless)[-1]])
        return math.exp(self._lowest(self.losses)[0])

    @property
    def curvature(self) -> float:
        """The second derivative of that parabola, per e-fold of the rate squared; 0 if there is none."""
        return self._lowest(self.losses)[1]

    @functools.cached_property
    def error(self) -> float:
        """The standard error of the logarithm of `vertex`, from the noise of the losses."""
        finite = np.isfinite(self.losses)
        if not finite.any() or not self.parts.size:
            return 0.0
        parts = np.where(finite[:, None], self.parts, 0.0)
        error = jackknife(lambda losses: self._lowest(losses)[0], self.losses, parts)
        if self.idle:
            return max(error, IDLE_ERROR)
        if self.curvature > 0 or self.beyond or len(self.losses) < 2:
            return error
        # no parabola, nor better beyond: anywhere between the rates beside the lowest
        return max(error, float(np.diff(np.log(self.learning_rates)).mean()) / math.sqrt(3))

    @property
    def finite(self) -> bool:
        """Whether any of the runs stayed so."""
        return bool(np.isfinite(self.losses).any())

    def _lowest(self, losses: np.ndarray) -> tuple[float, float]:
        return lowest(np.log(self.learning_rates), losses, self.initial, self.noise)
