"""A metric that is watched: whether it improves, and by how much the rate has been reduced since."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import select
from .._numbers import F32

WORST = float(jnp.finfo(F32).max)
"""In mode "min", what stands for a metric that is not finite: no improvement on anything."""
NOISY = 0.35
"""The share of turning points from which a metric counts as noisy: 2/3 in white noise, 0 where it only falls."""
ENOUGH = 8
"""Metrics from which on that share says something."""
MEMORY = 0.9
"""What a turning point is worth a metric later."""
NOISY_WINDOW = 16
"""Metrics to a mean, if the metric is noisy and no window is given."""
FAR = 4.0
"""By how many typical changes a lucky metric is better than the best before it and all after it."""
LEAST_SCALE = 1e-8
"""The product of all reductions, if no window is given; torch's `eps` does the same."""


class Noise(NamedTuple):
    """How a metric fluctuates, for a plateau without a given window."""

    last: jax.Array
    """The last metric; float32 [], as all but the last field."""
    change: jax.Array
    """By how much it differed from the one before."""
    turns: jax.Array
    """The recent share of metrics at which a fall turned into a rise or a rise into a fall."""
    size: jax.Array
    """The mean of |change|."""
    square: jax.Array
    """The recent mean of change²: twice the variance of white noise."""
    before: jax.Array
    """The best mean before `best_value`, or that itself if it is the first."""
    since: jax.Array
    """The best mean since `best_value`."""
    metrics: jax.Array
    """How many metrics there were; int32 []."""


class Watch(NamedTuple):
    """What a plateau knows of its metric. The first six fields are those of optax's state."""

    scale: jax.Array
    """factor^k after k reductions; float32 []."""
    best_value: jax.Array
    """The best mean so far, ±inf before the first; float32 []."""
    plateau_count: jax.Array
    """Means in a row that were no improvement; int32 []."""
    cooldown_count: jax.Array
    """Means still to be ignored after a reduction; int32 []."""
    count: jax.Array
    """Metrics in this window; int32 []."""
    avg_value: jax.Array
    """Their mean; float32 []."""
    noise: Noise | None = None
    """None if the window is given."""


def unwatched(rule: Any) -> Watch:
    """Before the first metric."""
    # each an array of its own: two leaves of one buffer cannot be donated
    bad, wait, count = (jnp.zeros((), jnp.int32) for _ in range(3))
    sign = _sign(rule)
    watch = Watch(jnp.ones((), F32), jnp.full((), sign * jnp.inf, F32), bad, wait, count, jnp.zeros((), F32))
    if rule.window is not None:
        return watch
    last, change, turns, size, square, before = (jnp.zeros((), F32) for _ in range(6))
    since, metrics = jnp.full((), sign * WORST, F32), jnp.zeros((), jnp.int32)
    return watch._replace(noise=Noise(last, change, turns, size, square, before, since, metrics))


def watched(rule: Any, watch: Watch, metric: jax.Array) -> Watch:
    """After one more metric. The mean of a window is judged when it is full."""
    metric = metric.astype(F32)
    worst = jnp.asarray(_sign(rule) * WORST, F32)
    n, missing = watch.count.astype(F32), ~jnp.isfinite(metric)
    missing_before = (watch.avg_value == worst) & (watch.count > 0)
    mean = jnp.where(missing | missing_before, worst, (watch.avg_value * n + jnp.where(missing, 0, metric)) / (n + 1))
    new = watch._replace(count=watch.count + 1, avg_value=mean)
    if watch.noise is None:
        noise, window = None, rule.window
    else:
        noise = select(missing, watch.noise, _noise(watch.noise, jnp.where(missing, 0, metric)))
        new = new._replace(noise=noise)
        window = jnp.where(_is_noisy(noise), NOISY_WINDOW, 1)
    new = select(new.count >= window, _judged(rule, new), new)
    return select(jnp.isnan(metric), watch, new) if rule.nan == "skip" else new


def _sign(rule: Any) -> float:
    return 1.0 if rule.mode == "min" else -1.0


def _noise(noise: Noise, metric: jax.Array) -> Noise:
    change = jnp.where(noise.metrics > 0, metric - noise.last, 0)
    changes = jnp.maximum(noise.metrics, 1).astype(F32)
    turned = jnp.sign(change) * jnp.sign(noise.change) < 0
    return noise._replace(
        last=metric,
        change=change,
        turns=noise.turns + (1 - MEMORY) * (turned.astype(F32) - noise.turns),
        size=noise.size + (jnp.abs(change) - noise.size) / changes,
        square=noise.square + jnp.maximum(0.05, 1 / changes) * (change * change - noise.square),
        metrics=noise.metrics + 1,
    )


def _is_noisy(noise: Noise) -> jax.Array:
    weights = 1 - MEMORY ** jnp.maximum(noise.metrics - 2, 1).astype(F32)
    return (noise.metrics >= ENOUGH) & (noise.turns > NOISY * weights)


def _judged(rule: Any, watch: Watch) -> Watch:
    sign, mean, noise = _sign(rule), watch.avg_value, watch.noise
    first = jnp.isinf(watch.best_value)
    best = jnp.where(first, jnp.zeros_like(mean), watch.best_value)
    margin = jnp.asarray(rule.rtol, F32) * jnp.abs(best) + jnp.asarray(rule.atol, F32)
    noisy = jnp.zeros((), bool) if noise is None else _is_noisy(noise)
    if noise is not None:  # an improvement is more than the error of the mean
        margin = margin + jnp.where(noisy, jnp.sqrt(noise.square / (2 * watch.count.astype(F32))), 0)
    better = (sign * mean < WORST) & (first | (sign * (best - mean) > margin))
    cooling = watch.cooldown_count > 0
    bad = jnp.where(better | cooling, 0, watch.plateau_count + 1)
    patience = rule.patience + 1 if rule.counting == "torch" else rule.patience
    cooldown = jnp.maximum(rule.cooldown - 1, 0) if rule.counting == "keras" else rule.cooldown
    over = bad >= jnp.maximum(patience, 1)
    cut, new_best = over, jnp.where(better, mean, watch.best_value)
    if noise is not None:
        since = sign * jnp.minimum(sign * noise.since, sign * mean)
        far = FAR * noise.size
        lucky = over & ~first & (sign * (since - best) > far) & (sign * (noise.before - best) > far)
        cut = over & ~lucky
        # a lucky best is forgotten, and a noisy one when it has led to a reduction
        forgotten = lucky | (cut & noisy & (sign * since < WORST))
        new_best = jnp.where(forgotten, since, new_best)
        since = jnp.where(better | forgotten, sign * jnp.asarray(WORST, F32), since)
        before = jnp.where(first, mean, watch.best_value)
        before = jnp.where(better, before, jnp.where(forgotten, new_best, noise.before))
        noise = noise._replace(before=before, since=since)
    scale = watch.scale * jnp.asarray(rule.factor, F32)
    scale = scale if noise is None else jnp.maximum(scale, LEAST_SCALE)
    return Watch(
        scale=jnp.where(cut, scale, watch.scale),
        best_value=new_best,
        plateau_count=jnp.where(over, 0, bad),
        cooldown_count=jnp.where(cut, cooldown, jnp.maximum(watch.cooldown_count - 1, 0)),
        count=jnp.zeros((), jnp.int32),
        avg_value=jnp.zeros((), F32),
        noise=noise,
    )


def check_numbers(factor: Any, patience: Any, rtol: Any, atol: Any, cooldown: Any, window: Any) -> None:
    """What both ways to reduce a rate ask of their numbers."""
    check.positive(factor=factor)
    check.below_one(factor=factor)
    check.non_negative_count(patience=patience, cooldown=cooldown)
    check.non_negative(rtol=rtol, atol=atol)
    check.at_most_one(rtol=rtol)
    if window is not None:
        check.positive_count(window=window)
