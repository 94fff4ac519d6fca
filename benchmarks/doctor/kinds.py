"""What a kind of curve is, and what the kinds are made of."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

Random = np.random.Generator
Curve = tuple[np.ndarray, np.ndarray | None] | tuple[np.ndarray, np.ndarray | None, np.ndarray]
Health = Literal["healthy", "slow", "sick"]

ACCEPTED = {
    "healthy": ("fine", "unknown"),
    "slow": ("too_low", "unknown"),
    "sick": ("oscillating", "diverging", "dead"),
}
"""The labels that are right for each; a healthy curve of which the record shows too little is unknown, not ill."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of curve."""

    name: str
    health: Health
    draw: Callable[[Random], Curve]


KINDS: list[Kind] = []


def kind(health: Health) -> Callable[[Any], Any]:
    """Add a kind."""

    def add(draw: Any) -> Any:
        KINDS.append(Kind(draw.__name__.replace("_", " "), health, draw))
        return draw

    return add


def time(rng: Random, low: int = 300, high: int = 3000) -> np.ndarray:
    """From 0 to 1 in a random number of steps."""
    n = int(np.exp(rng.uniform(np.log(low), np.log(high))))
    return np.arange(n) / n


def noise(rng: Random, t: np.ndarray, size: float) -> np.ndarray:
    """Independent noise of mini-batches; one draw in ten has none, as with full batches or a formula."""
    return size * (rng.random() < 0.9) * rng.standard_normal(t.size)


def power(rng: Random, t: np.ndarray, start: float = 3.0, floor: float = 0.5) -> np.ndarray:
    """A power law, as of language models: fast, then ever slower."""
    scale, exponent = rng.uniform(0.003, 0.015), rng.uniform(0.6, 1.1)
    return floor + (start - floor) * (1 + t / scale) ** -exponent


def settled(rng: Random, t: np.ndarray) -> np.ndarray:
    """Exponential descent that is over long before the end."""
    return np.exp(-t / rng.uniform(0.02, 0.08))
