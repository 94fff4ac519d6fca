"""Live schedulers of torch, read by their attributes: name, base rate and arguments of one parameter group."""

from typing import Any

from .. import _check as check
from ._torch_chain import FUNCTIONS

PLAIN = {
    "StepLR": ("step_size", "gamma"),
    "ConstantLR": ("factor", "total_iters"),
    "LinearLR": ("start_factor", "end_factor", "total_iters"),
    "ExponentialLR": ("gamma",),
    "PolynomialLR": ("total_iters", "power"),
    "CosineAnnealingLR": ("T_max", "eta_min"),
    "CosineAnnealingWarmRestarts": ("T_0", "T_mult", "eta_min"),
    "ReduceLROnPlateau": ("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown"),
}
"""Schedulers whose attributes have the names of their arguments."""


def _groups(scheduler: Any) -> list[Any]:
    optimizer = getattr(scheduler, "optimizer", None)
    if optimizer is None and getattr(scheduler, "_schedulers", None):
        return _groups(scheduler._schedulers[0])
    groups = getattr(optimizer, "param_groups", None)
    if not groups:
        raise check.fail("scheduler", "must be a scheduler of torch, its name, or its config as a dict", scheduler)
    return list(groups)


def groups_of(scheduler: Any) -> int:
    """The number of parameter groups of its optimizer."""
    return len(_groups(scheduler))


def read(scheduler: Any, group: int) -> tuple[str, Any, dict[str, Any]]:
    """The name, the base rate and the arguments, as they are for one group."""
    name, groups = type(scheduler).__name__, _groups(scheduler)
    bases = getattr(scheduler, "base_lrs", None)
    own = groups[group]
    base = bases[group] if bases else own.get("initial_lr", own["lr"])
    base = float(base)
    if name == "MultiStepLR":
        return name, base, {"milestones": sorted(scheduler.milestones.elements()), "gamma": scheduler.gamma}
    if name in FUNCTIONS:
        return name, base, {"lr_lambda": scheduler.lr_lambdas[group]}
    if name in ("SequentialLR", "ChainedScheduler"):
        milestones = {"milestones": list(scheduler._milestones)} if name == "SequentialLR" else {}
        return name, base, {"schedulers": list(scheduler._schedulers), **milestones}
    if name == "SWALR":
        quarter = scheduler.anneal_func(0.25)
        held = {"swa_lr": float(own["swa_lr"]), "anneal_epochs": scheduler.anneal_epochs}
        return name, base, {**held, "anneal_strategy": "linear" if quarter == 0.25 else "cos"}
    if name == "CyclicLR":
        return name, base, _cyclic(scheduler, group)
    if name == "OneCycleLR":
        return name, base, _one_cycle(scheduler, own)
    arguments = {k: getattr(scheduler, k) for k in PLAIN.get(name, ())}
    if name == "ReduceLROnPlateau":
        least = scheduler.min_lrs
        arguments["min_lr"] = least[group] if isinstance(least, list | tuple) else least
    return name, base, arguments


def _cyclic(scheduler: Any, group: int) -> dict[str, Any]:
    up = round(scheduler.total_size * scheduler.step_ratio)
    custom = getattr(scheduler, "_scale_fn_custom", None)
    found = {
        "base_lr": float(scheduler.base_lrs[group]),
        "max_lr": float(scheduler.max_lrs[group]),
        "step_size_up": up,
        "step_size_down": round(scheduler.total_size) - up,
        "mode": scheduler.mode,
        "gamma": scheduler.gamma,
        "scale_fn": custom,
        "scale_mode": scheduler.scale_mode if custom is not None else "cycle",
        "cycle_momentum": scheduler.cycle_momentum,
    }
    if scheduler.cycle_momentum:
        found["base_momentum"] = scheduler.base_momentums[group]
        found["max_momentum"] = scheduler.max_momentums[group]
    return found


def _one_cycle(scheduler: Any, own: dict[str, Any]) -> dict[str, Any]:
    phases = scheduler._schedule_phases
    found = {
        "max_lr": own["max_lr"],
        "total_steps": scheduler.total_steps,
        "pct_start": (phases[0]["end_step"] + 1) / scheduler.total_steps,
        "anneal_strategy": scheduler._anneal_func_type,
        "cycle_momentum": scheduler.cycle_momentum,
        "div_factor": own["max_lr"] / own["initial_lr"],
        "final_div_factor": own["initial_lr"] / own["min_lr"],
        "three_phase": len(phases) == 3,
    }
    if scheduler.cycle_momentum:
        found |= {"base_momentum": own["base_momentum"], "max_momentum": own["max_momentum"]}
    return found
