"""Master weights: parameters in 16 or 8 bits, trained in float32."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .. import _check as check
from .._arithmetic import add_one, is_none, leaves_like, trainable, zero_count
from .._numbers import F32, Count
from .._pytree import pytree_dataclass, static
from .._rule import Rule
from .._transformation import Transformation, as_transformation, transformation
from .apply_updates import Rounding, rounded_up_or_down

BF16 = jnp.bfloat16


class MasterWeightsState(NamedTuple):
    """The state of master weights. In `masters` and `rest`, () stands for a parameter in float32 or wider."""

    masters: Any
    """m, shaped like the parameters, float32; None unless `rounding` is "nearest"."""
    rest: Any
    """c, the rounding error of the parameters, bfloat16; None unless `rounding` is "kahan"."""
    draws: Any
    """Updates that were rounded at random; int32 [], None unless `rounding` is "stochastic"."""
    inner: Any
    """The state of the inner optimizer, whose parameters are float32."""


@pytree_dataclass
class MasterWeights(Rule):
    """See `master_weights`."""

    inner: Any = static()
    rounding: str = static(default="nearest")
    seed: Count | None = None
    """Seed of the random numbers; None unless `rounding` is "stochastic"."""

    renamed = (("inner", "tx"),)
    stacks = "whole"

    @property
    def elementwise(self) -> bool:
        """Whether each coordinate is treated by itself: random numbers are drawn leaf by leaf."""
        return self.rounding != "stochastic"

    def init(self, params: Any) -> MasterWeightsState:
        """The state before the first update: the parameters are exact."""
        masters = jax.tree.map(_master, params) if self.rounding == "nearest" else None
        rest = jax.tree.map(_no_rest, params) if self.rounding == "kahan" else None
        draws = zero_count() if self.rounding == "stochastic" else None
        return MasterWeightsState(masters, rest, draws, self.inner.init(jax.tree.map(_widened, params)))

    def update(
        self, updates: Any, state: MasterWeightsState, params: Any = None, **extra: Any
    ) -> tuple[Any, MasterWeightsState]:
        """The inner update of the float32 weights, as a difference of rounded ones."""
        check.needs_params("master_weights", updates, params)
        us, treedef = jax.tree.flatten(updates, is_leaf=is_none)
        ps = leaves_like(treedef, params)
        narrow = [trainable(u) and is_narrow(p) for u, p in zip(us, ps, strict=True)]
        kept = state.masters if self.rounding == "nearest" else state.rest if self.rounding == "kahan" else updates
        kept = leaves_like(treedef, kept)
        exact = [self._exact(p, k) if n else p for n, p, k in zip(narrow, ps, kept, strict=True)]

        def widened(tree: Any) -> Any:
            leaves = leaves_like(treedef, tree)
            return treedef.unflatten([_widened(x) if n else x for n, x in zip(narrow, leaves, strict=True)])

        if "grad" in extra and jax.tree.structure(extra["grad"], is_leaf=is_none) == treedef:
            extra = {**extra, "grad": widened(extra["grad"])}
        steps, inner = self.inner.update(widened(updates), state.inner, treedef.unflatten(exact), **extra)
        new, emitted = list(kept), leaves_like(treedef, steps)
        for i, p in enumerate(ps):
            if narrow[i]:
                goal = exact[i] + emitted[i].astype(F32)
                emitted[i], new[i] = self._rounded(i, state.draws, goal, jnp.asarray(p))
        draws = None if state.draws is None else add_one(state.draws)
        masters = treedef.unflatten(new) if self.rounding == "nearest" else None
        rest = treedef.unflatten(new) if self.rounding == "kahan" else None
        return treedef.unflatten(emitted), MasterWeightsState(masters, rest, draws, inner)

    def _exact(self, p: Any, kept: Any) -> jax.Array:
        """The float32 weight that rounding made a parameter of, or the parameter itself if it is of something else."""
        p = jnp.asarray(p)
        wide = p.astype(F32)
        if self.rounding == "nearest":
            return jnp.where(_cast(kept, p.dtype) == wide, kept, wide)
        if self.rounding == "kahan":
            rest = kept.astype(F32)
            # of at most half an ulp, or it is another parameter's; half an ulp itself would be a tie
            return jnp.where(_cast(wide + (1 - 2.0**-8) * rest, p.dtype) == wide, wide + rest, wide)
        return wide

    def _rounded(self, leaf: int, draws: Any, exact: jax.Array, p: jax.Array) -> tuple[jax.Array, Any]:
        """The update that takes a parameter to a rounded weight, and what is kept of that weight."""
        if self.rounding == "stochastic":
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(jnp.asarray(self.seed)), draws), leaf)
            noise = jax.random.bits(key, exact.shape, jnp.uint32)
            new = rounded_up_or_down(exact, noise, p.dtype).astype(F32)
        else:
            new = _cast(exact, p.dtype)
        kept = exact if self.rounding == "nearest" else (exact - new).astype(BF16)
        return new - p.astype(F32), kept


def is_narrow(p: Any) -> bool:
    """Whether a parameter is real and has fewer bits than float32."""
    return trainable(p) and jnp.result_type(p).itemsize < 4


def _cast(x: jax.Array, dtype: Any) -> jax.Array:
    """Float32 `x`, rounded to `dtype`, in float32. Without the barrier a compiler may drop both casts."""
    return jax.lax.optimization_barrier(x.astype(dtype)).astype(F32)


def _widened(x: Any) -> Any:
    return jnp.asarray(x).astype(F32) if is_narrow(x) else x


def _master(p: Any) -> Any:
    return jnp.asarray(p).astype(F32) if is_narrow(p) else ()


def _no_rest(p: Any) -> Any:
    return jnp.zeros_like(p, dtype=BF16) if is_narrow(p) else ()


@check.public
def master_weights(
    tx: optax.GradientTransformation, rounding: Rounding = "nearest", *, seed: Count = 0
) -> Transformation:
    """Train bfloat16 or float16 parameters as if they were float32, in a loop that adds the updates itself.

    A parameter θ of few bits loses every update below half a unit in its last place. The state keeps what is lost. With
    m the weight in float32 and u_t = `tx.update(g_t, m_{t−1})`::

      nearest      m_t = m_{t−1} + u_t                       θ_t = round(m_t)          float32 m in the state
      kahan        m_t = θ_{t−1} + c_{t−1} + u_t             θ_t = round(m_t)          bfloat16 c_t = m_t − θ_t
      stochastic   m_t = θ_{t−1} + u_t                       E[θ_t] = m_t              a count of random draws

    The update that comes out is θ_t − θ_{t−1}, so that `optax.apply_updates`, a Flax `TrainState` or `nnx.Optimizer`,
    which add it and cast the sum to the parameter's dtype, arrive at θ_t. `tx` sees float32 weights and gradients and
    keeps float32 moments: "nearest" is the float32 run, rounded for the model.

    A parameter that is not round(m_{t−1}), since a checkpoint was restored into it or it was clipped or projected,
    counts: m starts again from it. Parameters in float32 or wider pass through and are not copied.

    The difference is float32, whatever the dtype of the gradients: in bfloat16 it could miss θ_t. It is exact as long
    as one update takes no parameter to less than 2^−15 (float16: 2^−12) of its size without making it 0, and none from
    infinity back; there θ ends at the nearest that can be reached, and counts. `eqx.apply_updates` does not cast, and
    JAX adds no float32 to float8: with Equinox, float8 parameters and strict dtype promotion take `lrx.apply_updates`.

    Args:
      tx: the optimizer. Put what else changes the updates inside: `master_weights(chain(adamw(1e-3), freeze(mask)))`.
      rounding: "nearest" (four bytes a parameter), "kahan" (two), or "stochastic" (none).
      seed: of the random numbers, for stochastic rounding alone; a number in the state.

    Returns:
      A transformation, whose update needs the parameters. Updates of bfloat16, float16 and float8 parameters are
      float32.

    Raises:
      TypeError: if `tx` is no transformation or `seed` no whole number.
      ValueError: if `rounding` is unknown; in update, if there are no parameters.

    Examples:
      >>> import jax.numpy as jnp, lrx, optax
      >>> tx = lrx.master_weights(lrx.sgd(1.0))
      >>> params = jnp.ones(1, jnp.bfloat16)
      >>> state = tx.init(params)
      >>> for _ in range(16):
      ...   updates, state = tx.update(jnp.full(1, 2.0**-10, jnp.bfloat16), state, params)
      ...   params = optax.apply_updates(params, updates)
      >>> print(params)  # 1 - 16 / 1024; without the masters it would have stayed 1
      [0.984375]

    References:
      Micikevicius et al., Mixed precision training (ICLR 2018), arXiv 1710.03740, section 3.1 (nearest); Zamirai et
      al., Revisiting bfloat16 training (2020), arXiv 2010.06192 (kahan, stochastic).
    """
    check.one_of(Rounding, rounding=rounding)
    check.count(seed=seed)
    inner = as_transformation("tx", tx)
    return transformation(MasterWeights(inner, rounding, seed if rounding == "stochastic" else None))
