"""Rules and schedules that a user of lrx might write."""

from typing import Any

import jax
import jax.numpy as jnp

from lrx._numbers import Count, Scalar
from lrx._pytree import pytree_dataclass, static
from lrx._rule import Rule


@pytree_dataclass
class Typed(Rule):
    """A rule with a static field."""

    number: Scalar = 1.0
    choice: Any = static(default=None)

    def init(self, params):
        return ()

    def update(self, updates, state, params=None, **extra):
        return jax.tree.map(lambda u: u * self.number, updates), state


@pytree_dataclass
class Table:
    """A schedule whose one field is an array."""

    values: Any

    def __call__(self, count):
        return jnp.asarray(self.values)[jnp.clip(count, 0, len(self.values) - 1)]


@pytree_dataclass
class Join:
    """A schedule that holds schedules."""

    schedules: Any
    boundaries: Any

    def __call__(self, count):
        first, second = self.schedules
        return jnp.where(count < self.boundaries[0], first(count), second(count))


@pytree_dataclass
class Ramp:
    """A schedule of another class with two of warmup-cosine's field names."""

    peak_value: Scalar
    decay_steps: Count

    def __call__(self, count):
        return self.peak_value * count / self.decay_steps
