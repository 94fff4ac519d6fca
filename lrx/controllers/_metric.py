"""A metric that is watched: whether it improves, and by how much the rate has been reduced since."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import select
from .._numbers import F32


class Watch(NamedTuple):
    """What is known of the metric."""

    scale: jax.Array
    """factor^k after k reductions; float32 []."""
    best: jax.Array
    """The best mean so far, ±inf before the first; float32 []."""
    bad: jax.Array
    """Means in a row that were no improvement; int32 []."""
    wait: jax.Array
    """Means that are still to be let pass after a reduction; int32 []."""
    total: jax.Array
    """Sum of the metrics of this window; float32 []."""
    seen: jax.Array
    """How many they are; int32 []."""


def unwatched(mode: str) -> Watch:
    """Before the first metric."""
    # each an array of its own: two leaves of one buffer cannot be donated
    bad, wait, seen = (jnp.zeros((), jnp.int32) for _ in range(3))
    best = jnp.full((), jnp.inf if mode == "min" else -jnp.inf, F32)
    return Watch(jnp.ones((), F32), best, bad, wait, jnp.zeros((), F32), seen)


def watched(rule: Any, watch: Watch, metric: jax.Array) -> Watch:
    """After one more metric. The mean of a window is judged when it is full."""
    metric = metric.astype(F32)
    total, seen = watch.total + metric, watch.seen + 1
    judged = _judged(rule, watch, total / seen.astype(F32))
    full = seen >= rule.window
    new = select(full, judged, watch._replace(total=total, seen=seen))
    return new if rule.nan == "bad" else select(jnp.isnan(metric), watch, new)


def _judged(rule: Any, watch: Watch, mean: jax.Array) -> Watch:
    sign = 1.0 if rule.mode == "min" else -1.0
    first = jnp.isinf(watch.best)
    best = jnp.where(first, jnp.zeros_like(mean), watch.best)
    margin = jnp.asarray(rule.rtol, F32) * jnp.abs(best) + jnp.asarray(rule.atol, F32)
    better = jnp.where(first, sign * mean < jnp.inf, sign * (best - mean) > margin)  # a NaN is neither
    cooling = watch.wait > 0
    bad = jnp.where(better | cooling, 0, watch.bad + 1)
    patience = rule.patience + 1 if rule.counting == "torch" else rule.patience
    cooldown = jnp.maximum(rule.cooldown - 1, 0) if rule.counting == "keras" else rule.cooldown
    cut = bad >= jnp.maximum(patience, 1)
    return Watch(
        scale=jnp.where(cut, watch.scale * jnp.asarray(rule.factor, F32), watch.scale),
        best=jnp.where(better, mean, watch.best),
        bad=jnp.where(cut, 0, bad),
        wait=jnp.where(cut, cooldown, jnp.maximum(watch.wait - 1, 0)),
        total=jnp.zeros((), F32),
        seen=jnp.zeros((), jnp.int32),
    )


def check_numbers(factor: Any, patience: Any, rtol: Any, atol: Any, cooldown: Any, window: Any) -> None:
    """What both ways to reduce a rate ask of their numbers."""
    check.positive(factor=factor)
    check.below_one(factor=factor)
    check.non_negative_count(patience=patience, cooldown=cooldown)
    check.non_negative(rtol=rtol, atol=atol)
    check.at_most_one(rtol=rtol)
    check.positive_count(window=window)
