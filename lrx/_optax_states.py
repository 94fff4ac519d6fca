"""What optax's states hold, in the terms of lrx's: which field of an old state gives which field of a new one.

Most rules have the same fields in both libraries. Where they differ, a `Reading` says how the new ones follow.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from ._arithmetic import one_minus_power
from ._numbers import F32
from ._state_parts import Part, Place


@dataclasses.dataclass(frozen=True)
class Around:
    """What a conversion may ask for besides the values that it converts."""

    new: Part
    old: Part
    param: Any
    """The parameter that the value belongs to, or None."""


@dataclasses.dataclass(frozen=True)
class Source:
    """Where one field of a new memory comes from."""

    fields: Place
    """The fields of the old one."""
    make: Callable[..., Any] | None = None
    """From `Around` and their values; by default the value of the one field."""
    path: Callable[[Place], Place] = lambda path: path
    """From the path within the new field to that within the old ones."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """How one kind of optax's states is read into one kind of lrx's."""

    new: frozenset[str]
    """The fields of the new memory, besides `learning_rate`."""
    old: frozenset[str]
    """The fields of the old state."""
    sources: dict[str, Source]
    """New field -> where it comes from. A field that is not here is as `init` makes it."""
    more: bool = False
    """Whether the new memory may have further fields."""


def same(*names: str) -> dict[str, Source]:
    """Fields that both have."""
    return {name: Source((name,)) for name in names}


def _reading(new: str, old: str, sources: dict[str, Source], more: bool = False) -> Reading:
    return Reading(frozenset(new.split()), frozenset(old.split()), sources, more)


def _variance(around: Around, nu: Any, mu: Any) -> Any:
    """v − m²."""
    return jnp.maximum(jnp.asarray(nu) - jnp.square(jnp.abs(jnp.asarray(mu))), 0)


def _corrected_mean(around: Around, mu: Any) -> Any:
    """m̂ = m / c, with c = 1 − decay^t."""
    c = _correction(around)
    return jnp.where(c > 0, jnp.asarray(mu) / jnp.where(c > 0, c, 1), 0)


def _corrected_variance(around: Around, nu: Any, mu: Any) -> Any:
    """c·(v̂ − m̂²) = v − m² / c."""
    c = _correction(around)
    squares = jnp.square(jnp.abs(jnp.asarray(mu)))
    return jnp.maximum(jnp.asarray(nu) - jnp.where(c > 0, squares / jnp.where(c > 0, c, 1), 0), 0)


def _correction(around: Around) -> Any:
    return one_minus_power(around.new.numbers["decay"], jnp.asarray(around.old.fields["count"]).astype(F32))


def _distance(around: Around, start: Any) -> Any:
    """θ − θ_0, of parameters that are narrower than float32."""
    return jnp.asarray(around.param).astype(F32) - jnp.asarray(start).astype(F32)


def _axis_last(path: Place) -> Place:
    """Optax has a list of axes for each leaf, lrx a tree for each axis."""
    return (*path[1:], path[0])


_D_ADAPTED = {**same("count", "exp_avg", "exp_avg_sq", "grad_sum", "estim_lr", "numerator_weighted")}
_MOMO = same("count", "exp_avg", "barf", "gamma", "lb")
_SEEN = {"seen": Source(("count",))}
_LBFGS = "count params updates diff_params_memory diff_updates_memory weights_memory"
_TRAVELLED = "max_dist grad_sum_of_squares init_params"
_SEARCH = "value grad info"

READINGS = [
    _reading("num_updates nu", "nu", same("nu")),
    _reading("num_updates mu variance", "mu nu", {**same("mu"), "variance": Source(("nu", "mu"), _variance)}),
    _reading(
        "count mu variance",
        "count mu nu",
        {
            **same("count"),
            "mu": Source(("mu",), _corrected_mean),
            "variance": Source(("nu", "mu"), _corrected_variance),
        },
    ),
    _reading("count step_sizes prev_updates unit", "step_sizes prev_updates", same("step_sizes", "prev_updates")),
    _reading("mu nu", "mu nu", {"mu": Source(("mu",), path=_axis_last), **same("nu")}),
    _reading(
        "cumulative_gradients scale subgradients reward last_alpha skipped",
        "init_particles cumulative_gradients scale subgradients reward",
        same("cumulative_gradients", "scale", "subgradients", "reward"),
    ),
    _reading(
        "count skipped seen exp_avg exp_avg_sq grad_sum params0 moved numerator_weighted estim_lr largest base",
        "exp_avg exp_avg_sq grad_sum params0 estim_lr numerator_weighted count",
        {
            **_D_ADAPTED,
            **_SEEN,
            **same("params0"),
            "moved": Source(("params0",), _distance),
            "largest": Source(("estim_lr",)),
        },
    ),
    _reading(
        "count skipped seen estim_lr numerator_weighted first_norm grad_sum exp_avg exp_avg_sq base",
        "exp_avg exp_avg_sq grad_sum estim_lr numerator_weighted count",
        {**_D_ADAPTED, **_SEEN},
    ),
    _reading(
        "count skipped seen exp_avg exp_avg_sq barf gamma lb base", "exp_avg barf gamma lb count", {**_MOMO, **_SEEN}
    ),
    _reading(
        "count skipped seen exp_avg exp_avg_sq barf gamma lb base",
        "exp_avg exp_avg_sq barf gamma lb count",
        {**_MOMO, **_SEEN, **same("exp_avg_sq")},
    ),
    _reading(
        "step_count skipped share weight_sum max_lr z",
        "b1 weight_sum step_count max_lr z",
        {**same("step_count", "weight_sum", "max_lr", "z"), "share": Source(("b1",))},
    ),
    _reading(
        "count skipped x0 moved r m v s",
        "count r m v s x0",
        {**same("count", "r", "m", "v", "s", "x0"), "moved": Source(("x0",), _distance)},
    ),
    _reading(
        "scale best_value plateau_count cooldown_count count avg_value noise",
        "scale best_value plateau_count cooldown_count count avg_value",
        same("scale", "best_value", "plateau_count", "cooldown_count", "count", "avg_value"),
    ),
    _reading("count grad_sum_sq s x0 skipped base", "count grad_sum_sq s x0", same("count", "grad_sum_sq", "s", "x0")),
    _reading(f"{_TRAVELLED} skipped", _TRAVELLED, same(*_TRAVELLED.split())),
    _reading(f"{_LBFGS} skipped", _LBFGS, same(*_LBFGS.split())),
    _reading(
        "value grad info num_updates skipped", f"learning_rate {_SEARCH}", same("learning_rate", *_SEARCH.split())
    ),
    _reading("steps_since_sync averaged", "steps_since_sync", same("steps_since_sync")),
    *(
        _reading(
            "mini_step gradients",
            f"mini_step gradient_step acc_grads{rest}",
            {
                **same("mini_step", "gradient_step"),
                "gradients": Source(("acc_grads",)),
                "accepted": Source(("mini_step",)),  # all were finite
                "weight": Source(("mini_step",)),  # and count the same
            },
            more=True,
        )
        for rest in ("", " skip_state")
    ),
]

_DISTANCE = {"params0": Source(("init_params",)), "moved": Source(("init_params",), _distance)}
CONTROLLERS = {
    frozenset({"is_init_step", "init_params", "max_dist", "sum_sq_norm_grads"}): {
        **_DISTANCE,
        "reach": Source(("max_dist",)),
        "total": Source(("sum_sq_norm_grads",)),
    },
    frozenset({"init_params", "weighted_sq_norm_grads", "estim_sq_dist"}): {
        **_DISTANCE,
        "reach": Source(("estim_sq_dist",), lambda around, squared: jnp.sqrt(jnp.asarray(squared))),
        "total": Source(("weighted_sq_norm_grads",)),
    },
}
"""The fields of optax's DoG and DoWG -> the fields of the memory of the controllers of these names."""

OPTAX_FIELDS = frozenset(
    frozenset(fields.split())
    for fields in (
        *(" ".join(reading.old) for reading in READINGS),
        "nu", "count nu", "mu nu", "count mu nu", "count mu", "count mu nu nu_max", "count mu ns_coeffs",
        "trace", "count ema", "sum_of_squares", "e_g e_x", "m v n g t", "t m n", "count m1 nu",
        "count count_m2 m1 m2 nu", "count v_row v_col v", "step_sizes prev_updates", "count grad_sum_sq s x0",
        "count mu nu hessian_fn_state", "key", "count base_optimizer_state projector",
        "mini_step gradient_step inner_opt_state acc_grads",
        "mini_step gradient_step inner_opt_state acc_grads skip_state",
        "notfinite_count last_finite total_notfinite inner_state", "step inner_state",
        "count", "count hyperparams inner_state", "count hyperparams hyperparams_states inner_state",
        "inner_state", "inner_states", "fast_state steps_since_sync",
        "b1 weight_sum step_count max_lr base_optimizer_state z", "count r m v s x0 base_optimizer_state",
        "steps_since_sync opt_state adv_state cache",
        "scale best_value plateau_count cooldown_count count avg_value",
        "is_init_step init_params max_dist sum_sq_norm_grads", "init_params weighted_sq_norm_grads estim_sq_dist",
        "max_dist grad_sum_of_squares init_params", "count rng_key", "rng_key", "count grad_acc", "found_nan",
        "is_initial_step previous_gradient", "measurements measure_states", "measurement",
    )
)  # fmt: skip
"""The fields of each of optax's states, by which one is known in a file."""

ONE_KIND = ("ScaleByBeliefState", "ScaleByNovogradState", "ScaleByLionState", "SophiaState")
"""States of one rule alone. `ScaleByAdamState` is that of Adam, Adamax, Yogi, RAdam and others."""

_NUMBERS = frozenset({"ns_coeffs"})
"""Hyperparameters that optax keeps among the memory."""


def reading_of(new: Part, old: Part) -> dict[str, Source] | None:
    """Which fields of an old part give those of a new one; None if they are not of one kind."""
    names = frozenset(new.fields) - {"learning_rate"}
    if new.is_ours and not old.is_ours:
        if not _may_be_one_kind(new.kind, old.kind):
            return None
        for reading in READINGS:
            fits = reading.new <= names if reading.more else reading.new == names
            if fits and reading.old == frozenset(old.fields):
                return {name: source for name, source in reading.sources.items() if name in new.fields}
    if new.is_ours != old.is_ours and not new.is_ours:
        return None
    if new.is_ours and old.is_ours and not _is_one_rule(new, old):
        return None
    if new.is_ours and old.is_ours and new.name and new.name == old.name:
        return same(*new.fields)
    held = frozenset(old.fields) - {"learning_rate"}
    return same(*new.fields) if names - _NUMBERS == held - _NUMBERS else None


def controller_of(new: Part, old: Part) -> dict[str, Source] | None:
    """Which fields of an optimizer of optax's give the memory of a controller; None if it is another's."""
    found, memory = CONTROLLERS.get(frozenset(old.fields)), new.fields.get("controller")
    if found is None or old.is_ours or not set(found) <= set(getattr(memory, "_fields", ())):
        return None
    is_dog = "reps_rel" in (new.numbers or {}).get("controller", {})
    return found if is_dog == ("max_dist" in old.fields) else None


def _may_be_one_kind(new: str, old: str) -> bool:
    kinds = [kind.lower() for kind in ONE_KIND]
    either = {new.lower(), old.lower()}
    return not old or len(either) == 1 or not any(kind in either for kind in kinds)


def _is_one_rule(new: Part, old: Part) -> bool:
    """Whether two parts of lrx's may be of one rule: their classes say it, or their keys, or the names of numbers."""
    kinds = {part.kind.replace("Scheduled", "") for part in (new, old)} - {""}
    if len(kinds) > 1:
        return False
    if new.name[-1:] == old.name[-1:] and new.name:
        return True
    stems = [part.name[-1].rstrip("0123456789").removesuffix("_") if part.name else "" for part in (new, old)]
    if stems[0] == stems[1] != "":
        return True
    if all(stem.startswith("scale_by_") for stem in stems):
        return False
    return set(new.numbers) == set(old.numbers) and set(new.fields) == set(old.fields)
