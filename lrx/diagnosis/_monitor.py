"""`monitor`: an optimizer whose state keeps running statistics of its gradients and updates; `monitored` reads them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
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
    zero_count,
)
from .._elsewhere import needs_newer
from .._numbers import F32, Hyperparameter, Scalar
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._skipping import skip_counts
from .._state_paths import rules
from .._transformation import Transformation, as_transformation, transformation
from ._looks import Sample, Whole, entries, real_product, sampled, size_of

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
    """The gradient taken last, at least float32: a tree like the parameters', or the sample of it, [entries]."""
    held: Any
    """The sample of the parameters before the last update, [entries]; () where all entries are looked at."""
    moved: jax.Array
    """Whether that update is to be counted when the next one shows the parameters; bool []."""
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
        leaves, treedef = jax.tree.flatten(params)
        share, held = self._share(leaves), ()
        if share is None:
            zeros = [jnp.zeros_like(entries(p, None)) if trainable(p) else jnp.zeros((), F32) for p in leaves]
            previous = treedef.unflatten(zeros)
        else:
            held = sampled([entries(p, share) for p in leaves if trainable(p)])
            previous = jnp.zeros_like(held)

        zero, count = jnp.zeros((), F32), zero_count()
        mean = Mean(zero, zero)
        still = jnp.zeros((), bool)
        numbers = MonitoringState(count, count, zero, zero, mean, mean, mean, mean, (), (), still, inner=())
        # buffers of their own, which can be donated
        numbers = jax.tree.map(jnp.array, numbers)
        numbers = vary_like(numbers, params)
        return numbers._replace(previous=previous, held=held, inner=self.inner.init(params))

    def update(
        self, updates: Any, state: MonitoringState, params: Any = None, **extra: Any
    ) -> tuple[Any, MonitoringState]:
        """The inner update, and the statistics with it."""
        seen = jax.tree.map(lambda x: jax.lax.stop_gradient(x) if trainable(x) else x, updates)
        us, treedef = jax.tree.flatten(seen, is_leaf=is_none)
        ps = us if params is None else leaves_like(treedef, params)
        share = self._share(jax.tree.leaves(ps))
        if share is None:
            look = Whole(us, ps, treedef, state.previous)
        else:
            look = Sample(us, ps, share, state.previous, state.held)
        weights = None if params is None else look.parameter_norm()
        moved, inner = self.inner.update(look.ordered(updates, weights), state.inner, params, **extra)
        # without the barrier the sum may be fused into the update, which it makes several times slower on a CPU
        norm = global_norm(jax.lax.optimization_barrier(arrays(seen))).astype(F32)

        taken = jnp.isfinite(norm)
        for n, o in skip_counts(inner, state.inner):
            taken &= n == o
        step = look.step_norm(moved)
        taken &= jnp.isfinite(step) | look.late
        ratio, has_ratio = jnp.zeros((), F32), jnp.zeros((), bool)
        if weights is not None:
            before = look.norm_before(weights)
            ratio = step / jnp.where(before > 0, before, 1)
            has_ratio = (state.moved if look.late else taken) & (step > 0) & (before > 0) & jnp.isfinite(ratio)

        product = look.over(real_product, look.now, look.old)
        size = sqrt(look.over(squared, look.now)) * sqrt(look.over(squared, look.old))
        has_pair = taken & (size > 0) & jnp.isfinite(size)
        product, size = (jnp.where(has_pair, x, 1) for x in (product, size))

        def kept(new: jax.Array, held: jax.Array) -> jax.Array:
            return jnp.where(taken, new, held)

        last = [n if n is o else kept(n.astype(o.dtype), o) for n, o in zip(look.now, look.old, strict=True)]
        return moved, MonitoringState(
            add_one(state.count),
            kept(state.skipped, add_one(state.skipped)),
            kept(norm, state.gradient_norm),
            kept(look.over(jnp.abs, look.now), state.gradient_l1),
            state.update_ratio.add(jnp.where(has_ratio, ratio, 0), self.decay, has_ratio),
            state.cosine.add(product / size, self.decay, has_pair),
            state.product.add(product, self.decay, has_pair),
            state.size.add(size, self.decay, has_pair),
            treedef.unflatten(last) if share is None else last[0],
            state.held if weights is None else look.held,
            taken & (weights is not None),
            inner,
        )

    def _share(self, leaves: list[Any]) -> int | None:
        """The most entries of a leaf that are looked at; None for all of them."""
        count = sum(map(trainable, leaves))
        total = sum(size_of(x) for x in leaves if trainable(x))
        return None if self.sample is None or total <= self.sample else max(16, self.sample // max(count, 1))


@check.public
def monitor(
    tx: optax.GradientTransformation | Mapping[str, Any], *, decay: Hyperparameter = 0.98, sample: int | None = SAMPLE
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

    ‖g‖₂ is a sum over all entries. The rest is exact for models with at most `sample` entries. For larger ones it is
    estimated from so many, the same share of each large leaf and always the same ones, so that no copy of the gradient
    is kept and the update is never written to memory. There ‖u_t‖ is ‖θ_{t+1} − θ_t‖, as the next call of `update` sees
    it: `update_ratio` is one update late, has what the parameters' dtype rounds off and what else moves them, and an
    update that is not finite is seen in the gradients that follow. What is left out changes no statistic but `skipped`.
    ‖g‖₂ is most of the cost: `benchmarks/README.md`.

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
