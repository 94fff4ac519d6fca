"""A rule, a schedule and a controller as someone outside of lrx writes them: with public names alone."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import lrx
from lrx import extend

# ---------------------------------------------------------------- a rule


class SoftSignState(NamedTuple):
    """The memory of the soft sign."""

    count: jax.Array
    mean: Any


@extend.pytree_dataclass
class ScaleBySoftSign(extend.Rule):
    """See `scale_by_soft_sign`."""

    decay: extend.Scalar = 0.9
    eps: extend.Scalar = 1e-3
    nesterov: bool = extend.static(default=False)

    elementwise = True

    def init(self, params):
        """A mean of 0."""
        return SoftSignState(extend.zero_count(), extend.zeros_like(params))

    def update(self, updates, memory, params=None, **extra):
        """The mean over its size."""
        del params, extra

        def leaf(g, m):
            kind = extend.real(g.dtype)
            decay, eps = jnp.asarray(self.decay, kind), jnp.asarray(self.eps, kind)
            m = decay * m.astype(g.dtype) + (1 - decay) * g
            ahead = decay * m + (1 - decay) * g if self.nesterov else m
            size = jnp.sqrt(jnp.real(ahead * jnp.conj(ahead)) + eps**2)
            return ahead / size, m

        updates, mean = extend.map_leaves(leaf, 2, updates, memory.mean)
        return updates, SoftSignState(extend.add_one(memory.count), mean)


@extend.public
def scale_by_soft_sign(decay: extend.Hyperparameter = 0.9, eps: extend.Hyperparameter = 1e-3, nesterov=False):
    """m ← decay·m + (1 − decay)·g,  u = m / √(|m|² + eps²)."""
    return extend.transformation(ScaleBySoftSign(decay, eps, nesterov))


@extend.public
def soft_sign(
    learning_rate: extend.LearningRate,
    decay: extend.Hyperparameter = 0.9,
    eps: extend.Hyperparameter = 1e-3,
    nesterov=False,
):
    """The same, times the negative learning rate."""
    return extend.chain(scale_by_soft_sign(decay, eps, nesterov), lrx.scale_by_learning_rate(learning_rate))


# ---------------------------------------------------------------- a schedule


@extend.pytree_dataclass
class ParabolaSchedule(extend.Schedule):
    """See `parabola_schedule`."""

    init_value: extend.Scalar
    end_value: extend.Scalar
    fall_steps: extend.Count

    def __call__(self, count):
        """Exact at both ends: the weight of each value is 0 or 1 there."""
        n = extend.as_count(self.fall_steps)
        t = extend.as_count(count)
        t = jnp.minimum(t, n.astype(t.dtype))
        steps = n.astype(jnp.float32)
        u, left = t.astype(jnp.float32) / steps, (n.astype(t.dtype) - t).astype(jnp.float32) / steps
        first, last = (jnp.asarray(x, jnp.float32) for x in (self.init_value, self.end_value))
        return first * left * (1 + u) + last * u * u

    def marks(self):
        """The end of the fall."""
        return {"end": self.fall_steps}


@extend.schedule_factory
def parabola_schedule(
    init_value: extend.Scalar, end_value: extend.Scalar, fall_steps: extend.Steps
) -> ParabolaSchedule:
    """init_value·(1 − u²) + end_value·u²,  u = min(count / fall_steps, 1)."""
    return ParabolaSchedule(init_value, end_value, fall_steps)


def parabola(count, init_value, end_value, fall_steps):
    """The formula in float64."""
    u = min(max(count, 0) / fall_steps, 1.0)
    return init_value * (1 - u * u) + end_value * u * u


# ---------------------------------------------------------------- a controller


class BackoffMemory(NamedTuple):
    """What the controller remembers."""

    best: jax.Array
    scale: jax.Array
    base: Any


@extend.pytree_dataclass
class Backoff(extend.Controller):
    """See `backoff`."""

    learning_rate: Any
    factor: extend.Scalar = 0.5

    needs = ("value",)
    elementwise = True

    def start(self, params):
        """No loss seen."""
        inf, one = jnp.full((), jnp.inf, jnp.float32), jnp.ones((), jnp.float32)
        return BackoffMemory(inf, one, extend.start_of(self.learning_rate, params))

    def rate(self, memory, direction, signals):
        """The rate of the base, times factor each time that the loss was not below its best."""
        base, base_memory = extend.rate_of_update(self.learning_rate, memory.base, direction, signals)
        value = signals["value"].astype(jnp.float32)
        scale = jnp.where(value < memory.best, memory.scale, memory.scale * self.factor)
        rate = jax.tree.map(lambda r: r * scale.astype(r.dtype), base)
        return rate, BackoffMemory(jnp.minimum(value, memory.best), scale, base_memory)


@extend.public
def backoff(learning_rate: extend.LearningRate, factor: extend.Scalar = 0.5) -> Backoff:
    """Multiply any rate by `factor` whenever the loss is not below its best."""
    return Backoff(extend.as_rate("learning_rate", learning_rate), factor)
