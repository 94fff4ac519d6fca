"""Skip or clip the updates whose loss or gradient stands out from those before."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .. import _check as check
from .._arithmetic import add_one, global_norm, map_leaves, real, sqrt, zero_count
from .._numbers import F32, Count, Hyperparameter, Scalar, is_tracer
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._skipping import taken_where
from .._transformation import Transformation, as_transformation, transformation
from ..controllers._controller import require, scalar_value

On = Literal["given", "both", "value", "gradient"]
Action = Literal["skip", "clip"]

LEAST_DEVIATION = 1e-6
"""The least standard deviation, relative to the mean: a loss that does not move varies by rounding alone."""


class Window(NamedTuple):
    """The last sizes of one quantity, in a ring."""

    sizes: jax.Array
    """float32 [window]; the first `entered` of them count."""
    entered: jax.Array
    """How many have entered since the window was emptied; int32 []."""


class SkipSpikesState(NamedTuple):
    """The state of `skip_spikes`."""

    skipped: jax.Array
    """Updates that were skipped, since the beginning; int32 []."""
    clipped: jax.Array
    """Updates whose gradient was clipped, since the beginning; int32 []."""
    in_a_row: jax.Array
    """Spikes in a row, up to now; int32 []."""
    values: Window
    """The losses."""
    norms: Window
    """The norms of the gradients."""
    inner: Any
    """The state of the inner optimizer."""


@pytree_dataclass
class SkipSpikes(Rule):
    """See `skip_spikes`."""

    inner: Any = static()
    window: int = static(default=128)
    sigmas: Scalar = 6.0
    on: str = static(default="given")
    action: str = static(default="skip")
    min_samples: Count = 64
    max_consecutive: Count = 8

    renamed = (("inner", "tx"),)
    elementwise = True
    skips = True

    def init(self, params: Any) -> SkipSpikesState:
        """The state before the first update."""
        inner = self.inner.init(params)
        return SkipSpikesState(zero_count(), zero_count(), zero_count(), self._empty(), self._empty(), inner)

    def _empty(self) -> Window:
        return Window(jnp.zeros(self.window, F32), zero_count())

    def update(
        self, updates: Any, state: SkipSpikesState, params: Any = None, **extra: Any
    ) -> tuple[Any, SkipSpikesState]:
        """The inner update, that of the clipped gradient, or none."""
        no = jnp.zeros((), bool)
        norm, bound, value = global_norm(updates).astype(F32), None, None
        finite, large, high = jnp.isfinite(norm), no, no
        if self.on != "value":
            bound = self._bound(state.norms)
            large = norm > bound
        if self.on != "gradient" and self._is_given(extra):
            value = scalar_value(extra["value"]).astype(F32)
            finite &= jnp.isfinite(value)
            high = value > self._bound(state.values)

        spike = ~finite | large | high
        in_a_row = jnp.where(spike, add_one(state.in_a_row), 0)
        anew = finite & (in_a_row > self.max_consecutive)  # not a spike any more, but what is usual now
        skip = ~finite | ((high if self.action == "clip" else spike) & ~anew)
        clip = large & ~skip & ~anew  # never, unless that is the action
        if bound is not None and self.action == "clip":
            updates, extra, norm = _clipped(clip, bound, norm, updates, extra)

        def enter(window: Window, size: jax.Array | None) -> Window:
            entered = jnp.where(anew, 0, window.entered)
            if size is None:
                return Window(window.sizes, entered)
            here = jnp.arange(self.window) == entered % self.window
            return Window(jnp.where(here & ~skip, size, window.sizes), jnp.where(skip, entered, add_one(entered)))

        def step(inner: Any) -> tuple[Any, Any]:
            return self.inner.update(updates, inner, params, **extra)

        updates, inner = taken_where(~skip, step, updates, state.inner)
        return updates, SkipSpikesState(
            jnp.where(skip, add_one(state.skipped), state.skipped),
            jnp.where(clip, add_one(state.clipped), state.clipped),
            jnp.where(anew, 0, in_a_row),
            enter(state.values, value),
            enter(state.norms, None if bound is None else norm),
            inner,
        )

    def _is_given(self, extra: dict[str, Any]) -> bool:
        """Whether there is a loss to look at; an error where there must be one."""
        if self.on != "given":
            require(f"skip_spikes(on={self.on!r})", ("value",), value=extra.get("value"))
        return extra.get("value") is not None

    def _bound(self, window: Window) -> jax.Array:
        """mean + sigmas · deviation of what is in the window, infinite while that is too little; float32 []."""
        n = jnp.minimum(window.entered, self.window)
        present = jnp.arange(self.window) < n
        # by the largest, so that no square overflows
        scale = jnp.maximum(jnp.max(jnp.where(present, jnp.abs(window.sizes), 0)), jnp.finfo(F32).tiny)
        sizes = window.sizes / scale
        mean = jnp.sum(jnp.where(present, sizes, 0)) / jnp.maximum(n, 1).astype(F32)
        squares = jnp.sum(jnp.where(present, (sizes - mean) ** 2, 0))
        deviation = sqrt(squares / jnp.maximum(n - 1, 1).astype(F32))
        deviation = jnp.maximum(deviation, LEAST_DEVIATION * jnp.abs(mean))
        return jnp.where(n < self.min_samples, jnp.inf, scale * (mean + jnp.asarray(self.sigmas, F32) * deviation))


def _clipped(
    wanted: jax.Array, bound: jax.Array, norm: jax.Array, updates: Any, extra: dict[str, Any]
) -> tuple[Any, dict[str, Any], jax.Array]:
    """The gradient, shrunk to the bound where `wanted`, also where it is an extra argument, and its norm."""
    factor = jnp.where(wanted, bound / jnp.where(wanted, norm, 1), 1)

    def leaf(u: jax.Array) -> tuple[jax.Array]:
        return (jnp.where(wanted, factor.astype(real(u.dtype)) * u, u),)

    updates = map_leaves(leaf, 1, updates)[0]
    if extra.get("grad") is not None:
        extra = {**extra, "grad": map_leaves(leaf, 1, extra["grad"])[0]}
    return updates, extra, jnp.where(wanted, bound, norm)


@check.public
def skip_spikes(
    tx: optax.GradientTransformation,
    *,
    window: int = 128,
    sigmas: Hyperparameter = 6.0,
    on: On = "given",
    action: Action = "skip",
    min_samples: Count | None = None,
    max_consecutive: Count = 8,
) -> Transformation:
    """Skip, or clip, an update whose loss or gradient norm is far above those of the updates before.

    With x the loss or the norm of the gradient, all leaves together, and m and s the mean and the standard deviation
    (n − 1 in the denominator) of the last `window` that were taken, it is a spike if::

      x > m + sigmas · max(s, 1e-6 · |m|)         from `min_samples` on

    or if it is not finite. A skipped update is zero and leaves every memory of `tx` as it was; the state counts it in
    `skipped`. The counts of learning rates include it, so that schedules go on, and `lrx.learning_rate` is 0 for it: it
    is the policy of `lrx.chain` for gradients that are not finite. The chain around skips with it.

    Spikes do not enter the window. After `max_consecutive` in a row, though, the next one is taken: what was a spike
    is usual now. The window is then emptied and fills anew. What is not finite is skipped without end; look at
    `in_a_row` in the state to stop such a run.

    Other libraries let the spikes into the window. With theirs, and 128 and 6.0 as here, a loss that has risen for good
    is skipped at most four times, but one spike a million times too large hides all others until it has left the window
    (levanter, maxtext, OLMo-core). Or they keep them out and never give up (axlearn).

    Args:
      tx: the optimizer, lrx's or optax's. Gradient clipping belongs inside: clipped norms show no spike.
      window: how many updates are remembered, ≥ 2.
      sigmas: standard deviations above the mean, > 0.
      on: what is looked at: "gradient", its norm; "value", the loss `value=` of the update; "both"; "given", the norm,
        and the loss where the update is given one.
      action: what is done about a gradient that is too large: "skip", or "clip" to shrink it to the bound. Then the
        bound enters the window. A spike of the loss, and what is not finite, is always skipped.
      min_samples: updates in the window before it is used, from 2 to `window`; half of it if None.
      max_consecutive: spikes in a row that are not taken, ≥ 0.

    Returns:
      A transformation.

    Raises:
      TypeError: if `tx` is no transformation or a number of updates is not whole.
      ValueError: if a number is out of its range, if `on` is "value" and `action` is "clip"; in update, if the loss is
        to be looked at and missing.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.skip_spikes(lrx.sgd(0.5), window=8)
      >>> state = tx.init(jnp.zeros(2))
      >>> for size in (1.0, 1.25, 0.75, 1.0, 1e12, 1.0):
      ...   updates, state = tx.update(size * jnp.ones(2), state)
      ...   print(updates, state.skipped)
      [-0.5 -0.5] 0
      [-0.625 -0.625] 0
      [-0.375 -0.375] 0
      [-0.5 -0.5] 0
      [0. 0.] 1
      [-0.5 -0.5] 1

    References:
      The rule is that of `SkipStepOptimizer` in OLMo-core, `SkipStepConfig` in levanter and `skip_step_on_spikes` in
      maxtext.
    """
    check.positive_count(window=window)
    window = int(window)
    if window < 2:
        raise check.fail("window", "must be at least 2", window)
    check.finite(sigmas=sigmas)
    check.positive(sigmas=sigmas)
    check.one_of(On, on=on)
    check.one_of(Action, action=action)
    if on == "value" and action == "clip":
        raise check.fail("action", "must be 'skip' with on='value'", action, "A loss has nothing to clip.")
    least = max(2, window // 2) if min_samples is None else min_samples
    check.positive_count(min_samples=least)
    if not is_tracer(least) and not callable(least) and not 2 <= least <= window:
        raise check.fail("min_samples", f"must be from 2 to window={window}", least)
    check.non_negative_count(max_consecutive=max_consecutive)
    return transformation(SkipSpikes(as_transformation("tx", tx), window, sigmas, on, action, least, max_consecutive))
