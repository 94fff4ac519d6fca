"""The schedule of a whole run, gone through in fewer updates."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._numbers import Count
from .._pytree import pytree_dataclass
from ..schedules._phase import as_count, rescaled
from ..schedules._questions import Marks, marks_of
from ..schedules._schedule import Schedule
from ..schedules.algebra import value


@pytree_dataclass
class Shortened(Schedule):
    """η(t) = base(⌊(t + ½) · base_steps / steps⌋): what `midpoints` picks, at any count."""

    base: Any
    steps: Count
    base_steps: Count

    def __call__(self, count: Any) -> jax.Array:
        """The base in the middle of what an update stands for."""
        t = jnp.minimum(as_count(count), self.steps - 1).astype(jnp.int32)
        whole, rest = rescaled(2 * t + 1, 2 * self.steps, self.base_steps)
        return value(self.base, whole - (rest < 0))

    def marks(self) -> Marks:
        """Those of the base that come before the end of the run, each at the first count that is not before it."""
        n, base_steps = int(self.steps), int(self.base_steps)
        inner = {k: int(m) for k, m in marks_of(self.base).items()}
        return {k: min(n, max(0, -(-(2 * m * n - base_steps) // (2 * base_steps)))) for k, m in inner.items()}


def midpoints(steps: int, whole: int) -> np.ndarray:
    """Counts of a run of `whole` updates, in the middle of each of `steps` equal parts, [steps]."""
    return (2 * np.arange(steps, dtype=np.int64) + 1) * whole // (2 * steps)
