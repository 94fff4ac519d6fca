"""`monitor`: an optimizer whose state keeps running statistics of its gradients and updates; `monitored` reads them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .. import _check as check
from .._arithmetic import (
    add_one,
    arrays,
    global_norm,
    is_none,
    leaves_like,
    sqrt,
    squared,
    trainable,
    vary_like,
    wide,
    zero_count,
)
from .._elsewhere import needs_newer
from .._numbers import F32, Scalar
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._skipping import skip_counts
from .._state_paths import rules
from .._transformation import Transformation, as_transformation, transformation

SAMPLE = 16_384
"""Entries that are looked at one by one: means over them have a standard error of 1/128 of the spread."""


class Mean(NamedTuple):
    """An exponential moving average, Σ w·x / Σ w."""

    total: jax.Array
    """Σ w·x; float32 []."""
    weight: jax.Array
    """Σ w, 0 before the first entry; float32 []."""

    @property
    def value(self) -> jax.Array:
        """The mean, NaN before the first entry."""
        return self.total / self.weight

    def add(self, x: jax.Array, decay: Any, wanted: jax.Array) -> "Mean":
        """The mean with one more entry, where `wanted`."""
        keep = jnp.asarray(decay, F32)
        total, weight = keep * self.total + (1 - keep) * x, keep * self.weight + (1 - keep)
        return Mean(jnp.where(wanted, total, self.total), jnp.where(wanted, weight, self.weight))


class MonitoringState(NamedTuple):
    """The state of `monitor`."""

    count: jax.Array
    """Updates so far; int32 []."""
    skipped: jax.Array
    """Those that were skipped, or left out because something was not finite; int32 []."""
    gradient_norm: jax.Array
    """‖g‖₂ of the last gradient that was taken; float32 []."""
    gradient_l1: jax.Array
    """‖g‖₁ of it; float32 []."""
    update_ratio: Mean
    """Of ‖u‖ / ‖θ‖."""
    cosine: Mean
    """Of the cosine of successive gradients."""
    product: Mean
    """Of their inner product."""
    size: Mean
    """Of the product of their norms."""
    previous: Any
    """The entries of the last gradient that are looked at; a tree like the parameters', at least float32."""
    inner: Any
    """The state of the inner optimizer."""


@pytree_dataclass
class Monitor(Rule):
    """See `monitor`."""

    inner: Any = static()
    decay: Scalar = 0.98
    sample: int | None = static(default=SAMPLE)

    renamed = (("inner", "tx"),)
    elementwise = True
    stacks = "whole"

    def init(self, params: Any) -> MonitoringState:
        """The state before the first update."""
        picked = self._picked(params)
        previous = jax.tree.map(lambda p: jnp.zeros_like(p) if trainable(p) else jnp.zeros((), F32), picked)

        norms = jnp.zeros((), F32), jnp.zeros((), F32)
        means = (Mean(jnp.zeros((), F32), jnp.zeros((), F32)) for _ in range(4))
        numbers = MonitoringState(zero_count(), zero_count(), *norms, *means, previous=(), inner=())
        return vary_like(numbers, params)._replace(previous=previous, inner=self.inner.init(params))

    def update(
        self, updates: Any, state: MonitoringState, params: Any = None, **extra: Any
    ) -> tuple[Any, MonitoringState]:
        """The inner update, and the statistics with it."""
        moved, inner = self.inner.update(updates, state.inner, params, **extra)
        seen = jax.tree.map(lambda x: jax.lax.stop_gradient(x) if trainable(x) else x, updates)
        # without the barrier the sum may be fused into the update, which it makes several times slower on a CPU
        norm = global_norm(jax.lax.optimization_barrier(arrays(seen))).astype(F32)

        us, treedef = jax.tree.flatten(seen, is_leaf=is_none)
        old = leaves_like(treedef, state.previous)
        share = self._share(us)
        now = [_entries(u, share) if trainable(u) else p for u, p in zip(us, old, strict=True)]
        factors = [_size(u) / jnp.size(x) if trainable(u) else 0.0 for u, x in zip(us, now, strict=True)]

        def over(function: Callable[..., jax.Array], *columns: list[Any]) -> jax.Array:
            """Σ function over the entries, as of all entries."""
            terms = [f * _sum(function, *xs) for f, *xs in zip(factors, *columns, strict=True) if f]
            return sum(terms, jnp.zeros((), F32))

        taken = jnp.isfinite(norm)
        for n, o in skip_counts(inner, state.inner):
            taken &= n == o
        steps = [
            jax.lax.stop_gradient(_entries(x, share)) if trainable(u) and trainable(x) else jnp.zeros(())
            for u, x in zip(us, leaves_like(treedef, moved), strict=True)
        ]
        step = sqrt(over(squared, steps))
        taken &= jnp.isfinite(step)
        ratio, has_ratio = jnp.zeros((), F32), jnp.zeros((), bool)
        if params is not None:
            ps = leaves_like(treedef, params)
            ps = [
                _entries(p, share) if trainable(u) and trainable(p) else jnp.zeros(())
                for u, p in zip(us, ps, strict=True)
            ]
            weights = sqrt(over(squared, jax.lax.stop_gradient(ps)))
            ratio = step / jnp.where(weights > 0, weights, 1)
            has_ratio = taken & (step > 0) & (weights > 0) & jnp.isfinite(ratio)

        product = over(_real_product, now, old)
        size = sqrt(over(squared, now)) * sqrt(over(squared, old))
        has_pair = taken & (size > 0) & jnp.isfinite(size)
        product, size = (jnp.where(has_pair, x, 1) for x in (product, size))

        def kept(new: jax.Array, held: jax.Array) -> jax.Array:
            return jnp.where(taken, new, held)

        return moved, MonitoringState(
            add_one(state.count),
            kept(state.skipped, add_one(state.skipped)),
            kept(norm, state.gradient_norm),
            kept(over(jnp.abs, now), state.gradient_l1),
            state.update_ratio.add(jnp.where(has_ratio, ratio, 0), self.decay, has_ratio),
            state.cosine.add(product / size, self.decay, has_pair),
            state.product.add(product, self.decay, has_pair),
            state.size.add(size, self.decay, has_pair),
            treedef.unflatten([n if n is o else kept(n.astype(o.dtype), o) for n, o in zip(now, old, strict=True)]),
            inner,
        )

    def _share(self, leaves: list[Any]) -> int | None:
        """The most entries of a leaf that are looked at; None for all of them."""
        count = sum(map(trainable, leaves))
        total = sum(_size(x) for x in leaves if trainable(x))
        return None if self.sample is None or total <= self.sample else max(16, self.sample // max(count, 1))

    def _picked(self, tree: Any) -> Any:
        share = self._share(jax.tree.leaves(tree))
        return jax.tree.map(lambda x: _entries(x, share) if trainable(x) else x, tree)


def _size(x: Any) -> int:
    return int(np.prod(jnp.shape(x), dtype=np.int64))


def _entries(x: Any, most: int | None) -> jax.Array:
    """At most so many entries of a leaf, in at least float32: always the same, drawn at random without repetition."""
    x = jnp.asarray(x)
    if most is not None and x.size > most:
        drawn = np.sort(np.random.default_rng(0).choice(x.size, most, replace=False, shuffle=False))
        places = tuple(i.astype(np.int32) for i in np.unravel_index(drawn, x.shape))
        x = _take(x, places)
    return x.astype(wide(x.dtype))


def _take(x: jax.Array, places: tuple[np.ndarray, ...]) -> jax.Array:
    """`x[places]`; replicated, where the types say how `x` is spread over a mesh."""
    sharding = getattr(jax.typeof(x), "sharding", None)
    if sharding is None or sharding.mesh.empty or not any(sharding.spec):
        return x[places]
    everywhere = jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec(None))
    return x.at[places].get(out_sharding=everywhere)


def _sum(function: Callable[..., jax.Array], *xs: jax.Array) -> jax.Array:
    return jnp.sum(function(*xs)).astype(F32)


def _real_product(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.real(jnp.conj(x) * y.astype(x.dtype))


@check.public
def monitor(
    tx: optax.GradientTransformation | Mapping[str, Any], *, decay: Scalar = 0.98, sample: int | None = SAMPLE
) -> Transformation:
    """The optimizer with running statistics of its gradients and updates in the state, for `lrx.monitored`.

    The updates are those of `tx`. With g_t the gradient that comes in, u_t the update that comes out, θ_t the
    parameters, and E the exponential moving average ::

      gradient_norm    ‖g_t‖₂ of the last gradient;  gradient_l1  ‖g_t‖₁
      update_ratio     E[ ‖u_t‖ / ‖θ_t‖ ], over the updates that are not zero
      cosine           E[ ⟨g_t, g_{t−1}⟩ / ‖g_t‖‖g_{t−1}‖ ]
      signal_to_noise  S / (E[ ‖g_t‖‖g_{t−1}‖ ] − S), with S = max(E⟨g_t, g_{t−1}⟩, 0)
      skipped          updates that were skipped, or left out because a gradient or an update was not finite

    Two batches have independent noise, so S estimates the squared norm of the mean gradient, and what is subtracted
    from, its second moment. Below 1 / (batches left to average over) the loss has no slope to be seen. A cosine that
    stays negative shows overshooting; one near 1, that the rate could be higher.

    ‖g‖₂ is a sum over all entries. The rest is estimated from `sample` entries, the same share of each large leaf,
    always the same ones, and is exact for models with no more, so that no copy of the last gradient is kept. On a CPU
    the program still keeps the update and a copy of the parameters for it: 160 MB and two to four times the time of an
    Adam step of 20 million parameters. Wrap what you look into, or every training of a small model.
    What was left out changes no statistic but `skipped`.

    In optax, `monitor` takes a dict of measurements and passes the updates through. `lrx.monitor` of a dict is that.

    Args:
      tx: the optimizer, lrx's or optax's. Around an accumulation it sees micro-gradients, inside their means.
      decay: of the moving averages, in [0, 1); 0.98 looks back over some 50 updates.
      sample: entries to look at, ≥ 1, at least 16 in a leaf; None for all of them, with a copy of the gradient.

    Returns:
      A transformation. Without parameters in `update` there is no `update_ratio`.

    Raises:
      TypeError: if `tx` is no transformation.
      ValueError: if a number is out of its range.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx, params = lrx.monitor(lrx.sgd(0.5)), jnp.array([3.0, 4.0])
      >>> state = tx.init(params)
      >>> for g in ([1.0, 0.0], [0.0, 2.0], [0.0, jnp.nan]):
      ...   updates, state = tx.update(jnp.array(g), state, params)
      >>> print({name: f"{x:.3g}" for name, x in lrx.monitored(state).items() if name != "signal_to_noise"})
      {'update_ratio': '0.151', 'gradient_norm': '2', 'gradient_l1': '2', 'cosine': '0', 'skipped': '1'}

    References:
      Signal and noise from the products of successive gradients: McCandlish et al., An empirical model of large-batch
      training (2018), arXiv 1812.06162, appendix A, for two batches.
    """
    if isinstance(tx, Mapping):
        if not hasattr(optax, "monitor"):
            raise AttributeError(needs_newer("lrx.monitor(measures)", "0.2.7"))
        return as_transformation("tx", optax.monitor(dict(tx)))
    check.non_negative(decay=decay)
    check.below_one(decay=decay)
    if sample is not None:
        check.positive_count(sample=sample)
    return transformation(Monitor(as_transformation("tx", tx), decay, None if sample is None else int(sample)))


@check.public
def monitored(opt_state: Any) -> dict[str, jax.Array]:
    """The statistics that `lrx.monitor` keeps in a state.

    Args:
      opt_state: the state of an optimizer with `lrx.monitor`, or anything that contains it, such as a `TrainState`.

    Returns:
      Name -> number, float32 [] (`skipped`: int32): `update_ratio, gradient_norm, gradient_l1, cosine,
      signal_to_noise, skipped`, as `lrx.monitor` says. NaN where there was nothing to average yet.

    Raises:
      ValueError: if the state has no monitor or several.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.monitor(lrx.adam(1e-3))
      >>> _, state = tx.update(jnp.array([3.0, 4.0]), tx.init(jnp.ones(2)), jnp.ones(2))
      >>> print(lrx.monitored(state)["gradient_norm"])
      5.0
    """
    found = monitors(opt_state)
    if len(found) != 1:
        fault = f"monitored(opt_state) must hold one lrx.monitor, got {len(found)}"
        raise ValueError(f"{fault}. Make the optimizer as lrx.monitor(tx), or give the part of the state that has it.")
    memory = found[0]
    signal = jnp.maximum(memory.product.value, 0)
    return {
        "update_ratio": memory.update_ratio.value,
        "gradient_norm": memory.gradient_norm,
        "gradient_l1": memory.gradient_l1,
        "cosine": memory.cosine.value,
        "signal_to_noise": signal / jnp.maximum(memory.size.value - signal, 0),
        "skipped": memory.skipped,
    }


def monitors(opt_state: Any) -> list[MonitoringState]:
    """The memory of each monitor in a state."""
    return [found.state.memory for found in rules(opt_state) if isinstance(found.state.memory, MonitoringState)]
