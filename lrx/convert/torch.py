"""torch.optim.lr_scheduler: the schedulers of torch by object, by name or by config."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from .. import _check as check
from ..controllers.plateau import plateau
from ..schedules.clock import every
from ..schedules.constant import constant_schedule
from ..schedules.cyclic import triangular_schedule
from ..schedules.join import join_schedules
from ..schedules.onecycle_torch import torch_onecycle_momentum_schedule, torch_onecycle_schedule
from ..schedules.polynomial import linear_schedule
from ..schedules.start_at import start_at
from . import _torch_curves as curves
from ._arguments import REQUIRED, bound, flag, keyed, named, number, rate, several, traceable, whole
from ._curves import cosine, exponential
from ._torch_chain import FACTORS, FUNCTIONS, LINKS, OVERWRITE, Link, by_lambda, chain, factor_at, multiplicative
from ._torch_objects import groups_of, read

Of = Literal["learning_rate", "momentum"]


def _cyclic(of: Of, **a: Any) -> Any:
    low, high = number("base_lr", a["base_lr"]), number("max_lr", a["max_lr"])
    if of == "momentum":
        _check_moves(a)
        low, high = number("max_momentum", a["max_momentum"]), number("base_momentum", a["base_momentum"])
    up = whole("step_size_up", a["step_size_up"], 1)
    down = up if a["step_size_down"] is None else whole("step_size_down", a["step_size_down"], 1)
    scale = a["scale_fn"]
    if scale is None:
        check.one_of(("triangular", "triangular2", "exp_range"), mode=a["mode"])
        if a["mode"] == "exp_range":
            height = exponential(1.0, 1, rate("gamma", a["gamma"]))
            return triangular_schedule(low, high, half_cycle_steps=up, down_steps=down, amplitude=height)
        return triangular_schedule(low, high, half_cycle_steps=up, mode=a["mode"], down_steps=down)
    traceable("scale_fn", scale, "Write it with jax.numpy.")
    check.one_of(("cycle", "iterations"), scale_mode=a["scale_mode"])
    by_cycle = a["scale_mode"] == "cycle"
    amplitude = (lambda count: scale(count // (up + down) + 1)) if by_cycle else scale
    return triangular_schedule(low, high, half_cycle_steps=up, down_steps=down, amplitude=amplitude)


def _check_moves(a: Mapping[str, Any]) -> None:
    if not flag("cycle_momentum", a["cycle_momentum"]):
        raise check.fail("cycle_momentum", "must be True for a momentum", a["cycle_momentum"])


def _one_cycle(of: Of, **a: Any) -> Any:
    total = a["total_steps"]
    if total is None:
        if a["epochs"] is None or a["steps_per_epoch"] is None:
            raise check.fail("total_steps", "must be given, or epochs and steps_per_epoch", None)
        total = whole("epochs", a["epochs"], 1) * whole("steps_per_epoch", a["steps_per_epoch"], 1)
    total, anneal = whole("total_steps", total, 1), a["anneal_strategy"]
    check.one_of(("cos", "linear"), anneal_strategy=anneal)
    share, three = number("pct_start", a["pct_start"]), flag("three_phase", a["three_phase"])
    check.non_negative(pct_start=share)
    check.at_most_one(pct_start=share)
    falls_at_once = share == 0 and not three
    turn = share * total - 1
    if total > 1 and ((turn < 0 and not falls_at_once) or (2 * turn if three else turn) >= total - 1):
        rule = f"must put its turns between 0 and {total - 1}, the last step"
        raise check.fail("pct_start", rule, a["pct_start"], "torch then leaves a phase within itself.")
    turns: Any = {"pct_start": share, "anneal": anneal, "three_phase": three}
    if of == "momentum":
        _check_moves(a)
        low, high = number("base_momentum", a["base_momentum"]), number("max_momentum", a["max_momentum"])
        if falls_at_once:
            return _from_before(low, high, total, anneal)
        return torch_onecycle_momentum_schedule(total, base_momentum=low, max_momentum=high, **turns)
    by, last = number("div_factor", a["div_factor"]), number("final_div_factor", a["final_div_factor"])
    top = number("max_lr", a["max_lr"])
    if falls_at_once:
        return _from_before(top, top / by / last, total, anneal)
    return torch_onecycle_schedule(top, total, div_factor=by, final_div_factor=last, **turns)


def _from_before(first: float, last: float, total: int, anneal: str) -> Any:
    """Torch's one cycle that does not rise: its top is at step −1."""
    return start_at((cosine if anneal == "cos" else linear_schedule)(first, last, total), 1)


def _plateau(lr: float, **a: Any) -> Any:
    check.one_of(("rel", "abs"), threshold_mode=a["threshold_mode"])
    relative, threshold = a["threshold_mode"] == "rel", number("threshold", a["threshold"])
    return plateau(
        lr,
        factor=number("factor", a["factor"]),
        patience=whole("patience", a["patience"]),
        mode=a["mode"],
        rtol=threshold if relative else 0.0,
        atol=0.0 if relative else threshold,
        cooldown=whole("cooldown", a["cooldown"]),
        min_value=rate("min_lr", a["min_lr"]),
        metric="reported",
        counting="torch",
    )


PASSED: dict[str, Any] = {"last_epoch": -1, "verbose": False, "optimizer": None}
"""Arguments that all have and that move nothing here."""
LENGTH: dict[str, Any] = {"total_steps": None}
"""What is not torch's: how many steps to evaluate."""
SCHEDULERS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "StepLR": (curves.step, {"step_size": REQUIRED, "gamma": 0.1}),
    "MultiStepLR": (curves.multi_step, {"milestones": REQUIRED, "gamma": 0.1}),
    "ConstantLR": (curves.constant, {"factor": 1 / 3, "total_iters": 5}),
    "LinearLR": (curves.linear, {"start_factor": 1 / 3, "end_factor": 1.0, "total_iters": 5}),
    "ExponentialLR": (curves.exponential_lr, {"gamma": REQUIRED}),
    "PolynomialLR": (curves.polynomial, {"total_iters": 5, "power": 1.0}),
    "CosineAnnealingLR": (curves.cosine_lr, {"T_max": REQUIRED, "eta_min": 0.0}),
    "CosineAnnealingWarmRestarts": (curves.restarts, {"T_0": REQUIRED, "T_mult": 1, "eta_min": 0.0}),
    "SWALR": (curves.swa, {"swa_lr": REQUIRED, "anneal_epochs": 10, "anneal_strategy": "cos"}),
    "LambdaLR": (by_lambda, {"lr_lambda": REQUIRED, **LENGTH}),
    "MultiplicativeLR": (multiplicative, {"lr_lambda": REQUIRED, **LENGTH}),
    "ReduceLROnPlateau": (
        _plateau,
        {"mode": "min", "factor": 0.1, "patience": 10, "threshold": 1e-4, "threshold_mode": "rel", "cooldown": 0}
        | {"min_lr": 0.0, "eps": 1e-8},
    ),
}
FROM_BEFORE = "MultiplicativeLR", "SWALR"
"""Schedulers that in a sequence start from the rate that the one before them has left."""
CYCLES: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "CyclicLR": (
        _cyclic,
        {"base_lr": REQUIRED, "max_lr": REQUIRED, "step_size_up": 2000, "step_size_down": None, "mode": "triangular"}
        | {"gamma": 1.0, "scale_fn": None, "scale_mode": "cycle", "cycle_momentum": True}
        | {"base_momentum": 0.8, "max_momentum": 0.9},
    ),
    "OneCycleLR": (
        _one_cycle,
        {"max_lr": REQUIRED, "total_steps": None, "epochs": None, "steps_per_epoch": None, "pct_start": 0.3}
        | {"anneal_strategy": "cos", "cycle_momentum": True, "base_momentum": 0.85, "max_momentum": 0.95}
        | {"div_factor": 25.0, "final_div_factor": 1e4, "three_phase": False},
    ),
}
"""Schedulers that have rates of their own, and a momentum."""
NESTED = {
    "SequentialLR": {"schedulers": REQUIRED, "milestones": REQUIRED, **LENGTH},
    "ChainedScheduler": {"schedulers": REQUIRED, **LENGTH},
}
NAMES = {**SCHEDULERS, **CYCLES, **NESTED}
WITH_LENGTH = *FUNCTIONS, *NESTED
NAME_KEYS = "name", "class", "_target_", "class_path", "type", "class_name"
HYDRA = "_partial_", "_convert_", "_recursive_"
LIGHTNING = "scheduler", "interval", "frequency", "monitor", "strict", "name", "reduce_on_plateau"
ARGUMENT_KEYS = "args", "params", "kwargs", "init_args", "arguments"


def name_of(config: Mapping[str, Any]) -> str | None:
    """The scheduler that a config names, without its module; None if it names none of torch's."""
    for key in NAME_KEYS:
        name = config.get(key)
        if isinstance(name, str) and name.rpartition(".")[2] in NAMES:
            return name.rpartition(".")[2]
    return None


@check.public
def from_torch(scheduler: Any, *, learning_rate: Any = None, of: Of = "learning_rate", **arguments: Any) -> Any:
    """The schedule of a scheduler of `torch.optim.lr_scheduler`.

    The schedule gives at count t what the scheduler gives after t calls of its `step()`, from its start on. torch steps
    it wherever the training loop does: where that is an epoch, one count is an epoch, and every length has to be
    multiplied by the updates of an epoch.

    What is torch's own, and is kept: `CosineAnnealingLR` rises again after `T_max`; `ConstantLR(total_iters=0)` never
    gives the factor back; a milestone that is named twice counts twice; the top of `OneCycleLR` lies one step early.
    `OneCycleLR` writes its first rate into the optimizer, from which the other parts of a `SequentialLR` then start.
    It holds its last rate, where torch raises an error after `total_steps`; its turns must lie within the
    run. `ReduceLROnPlateau` becomes the controller `lrx.plateau` with torch's counting: report its metric by
    `lrx.report`, as often as torch's `step(metric)`. Its `eps` is left out.

    Args:
      scheduler: a live scheduler; or its name, as in "StepLR"; or a dict with the name under "name", "class",
        "_target_", "class_path" or "type", and the arguments beside it or under "args", "params" or "init_args"; or one
        of these under "scheduler", as in Lightning, whose "frequency" counts.
      learning_rate: the base rate, that of the optimizer. A config may hold it as "learning_rate" or "lr". A live
        scheduler, `CyclicLR` and `OneCycleLR` know their own.
      of: "learning_rate", or "momentum" for that of `CyclicLR` and `OneCycleLR`.
      arguments: those of torch's class, under its names; `schedulers` of `SequentialLR` and `ChainedScheduler` are
        configs. And `total_steps`, also with a live scheduler: how many steps to evaluate, in float64, where a curve
        has no closed form; the last value holds. `MultiplicativeLR` needs it, and so do chains in which a scheduler
        does more than multiply by factors of the step, such as a `CosineAnnealingLR` with an `eta_min`. `LambdaLR` can
        do without.

    Returns:
      A schedule, or the controller `lrx.plateau`. For a live scheduler whose optimizer has several parameter groups, a
      list with one for each, in their order. `LambdaLR` without `total_steps` and a `scale_fn` keep the function, which
      is called with an array, and cannot go to JSON. `SWALR` is taken from the base rate, as if that were the rate that
      it finds; in a `SequentialLR` from the one that it does find.

    Raises:
      ValueError: if the name or an argument is unknown, missing, or refused by torch.
      TypeError: if an argument is of the wrong kind.

    Examples:
      >>> import lrx
      >>> schedule = lrx.convert.from_torch("StepLR", learning_rate=1.0, step_size=2, gamma=0.5)
      >>> print(*(schedule(t) for t in range(5)))
      1.0 1.0 0.5 0.5 0.25

    References:
      torch/optim/lr_scheduler.py.
    """
    check.one_of(Of, of=of)
    if isinstance(scheduler, str):
        return _made(scheduler.rpartition(".")[2], learning_rate, of, arguments)
    if isinstance(scheduler, Mapping) and "scheduler" in scheduler:
        length = {"total_steps": arguments.pop("total_steps")} if "total_steps" in arguments else {}
        return _of_lightning({**scheduler, **arguments}, learning_rate, of, length)
    if isinstance(scheduler, Mapping):
        return _of_config({**scheduler, **arguments}, learning_rate, of)
    total = arguments.pop("total_steps", None)
    if arguments:
        raise check.fail(next(iter(arguments)), "must not be given with a live scheduler", arguments)
    made = []
    for group in range(groups_of(scheduler)):
        name, base, own = read(scheduler, group)
        if name in WITH_LENGTH:
            own["total_steps"] = total
        made.append(_made(name, base, of, own, group))
    return made[0] if len(made) == 1 else made


def _of_lightning(config: Mapping[str, Any], learning_rate: Any, of: Of, length: Mapping[str, Any]) -> Any:
    """The scheduler, which steps once in `frequency` of its intervals."""
    for key in config:
        if key not in LIGHTNING:
            raise check.fail("scheduler", f"must have no key but {', '.join(LIGHTNING)}", key)
    made = from_torch(config["scheduler"], learning_rate=learning_rate, of=of, **length)
    k = whole("frequency", config.get("frequency", 1), 1)
    if k == 1:
        return made
    if _kind(config["scheduler"]) == "ReduceLROnPlateau":
        raise check.fail("frequency", "must be 1 for ReduceLROnPlateau", k, "Report the metric as often as it steps.")
    return [every(schedule, k) for schedule in made] if isinstance(made, list) else every(made, k)


def _of_config(config: Mapping[str, Any], learning_rate: Any, of: Of) -> Any:
    config = dict(config)
    name = name_of(config)
    if name is None:
        given = next((config[k] for k in NAME_KEYS if k in config), config)
        named("scheduler of torch", given if isinstance(given, str) else str(given), NAMES, "scheduler")
    inner = _inner(config)
    for key in ("learning_rate", "lr"):
        held = inner.pop(key, None)
        learning_rate = held if learning_rate is None else learning_rate
    return _made(str(name), learning_rate, of, inner)


def _inner(config: Mapping[str, Any]) -> dict[str, Any]:
    """What stands beside the name of a config, and under the keys that hold arguments."""
    inner = {k: v for k, v in config.items() if k not in (*NAME_KEYS, *ARGUMENT_KEYS, *HYDRA)}
    for key in ARGUMENT_KEYS:
        inner |= keyed(key, config.get(key))
    return inner


def _made(name: str, lr: Any, of: Of, arguments: Mapping[str, Any], group: int = 0) -> Any:
    named("scheduler of torch", name, NAMES, "scheduler")
    if of == "momentum" and name not in CYCLES:
        way_out = "Convert the CyclicLR or OneCycleLR that is in it." if name in NESTED else ""
        raise check.fail("of", f"must be 'learning_rate' for {name}, which moves no momentum", of, way_out)
    if name in NESTED:
        return _nested(name, lr, bound(name, arguments, NESTED[name], tuple(PASSED)), group)
    make, known = NAMES[name]
    a = bound(name, arguments, known, tuple(PASSED))
    if name in CYCLES:
        return make(of, **a)
    if lr is None:
        raise check.fail("learning_rate", f"must be given for {name}", lr, "It is the lr of torch's optimizer.")
    a.pop("eps", None)
    return make(rate("learning_rate", lr), **a)


def _nested(name: str, lr: Any, a: dict[str, Any], group: int) -> Any:
    """One scheduler after another, or each on top of the one before."""
    schedulers = several("schedulers", a["schedulers"])
    if not schedulers:
        raise check.fail("schedulers", "must hold at least one scheduler", schedulers)
    if name == "SequentialLR":
        return _sequence(schedulers, a["milestones"], lr, a["total_steps"], group)
    return _chain(schedulers, lr, a["total_steps"], group)


def _chain(schedulers: list[Any], lr: Any, total: Any, group: int, inside: bool = False) -> Any:
    links = _links(schedulers, total, group)
    if total is None:
        total = next((a["total_steps"] for kind, a in links if kind in FUNCTIONS), None)
    if lr is None:
        raise check.fail(
            "learning_rate", "must be given for ChainedScheduler", lr, "It is the lr of torch's optimizer."
        )
    return chain(links, rate("learning_rate", lr), total, lambda kind, lr, a: SCHEDULERS[kind][0](lr, **a), inside)


def _links(schedulers: list[Any], total: Any, group: int) -> list[Link]:
    links = []
    for scheduler in schedulers:
        kind, given = _kind(scheduler), _arguments(scheduler, group)
        if kind == "ChainedScheduler":
            a = bound(kind, given, NESTED[kind], tuple(PASSED))
            links += _links(several("schedulers", a["schedulers"]), total, group)
        elif kind in LINKS:
            a = bound(kind, given, SCHEDULERS[kind][1], tuple(PASSED))
            if kind in FUNCTIONS and a["total_steps"] is None:
                a["total_steps"] = total
            links.append((kind, a))
        else:
            raise check.fail("schedulers", f"must be among {', '.join(LINKS)}", kind)
    return links


def _sequence(schedulers: list[Any], milestones: Any, lr: Any, total: Any, group: int) -> Any:
    milestones = [whole("milestones", m) for m in several("milestones", milestones)]
    if len(milestones) != len(schedulers) - 1:
        raise check.fail("milestones", f"must be one fewer than schedulers ({len(schedulers)})", milestones)
    if milestones != sorted(milestones):
        raise check.fail("milestones", "must not decrease", milestones)
    for scheduler in schedulers:
        if _kind(scheduler) == "ReduceLROnPlateau":
            raise check.fail("schedulers", "must be curves, and a plateau follows a metric", scheduler)
    if _kind(schedulers[0]) == "SequentialLR":
        way_out = "torch comes to its milestones a step early. Put its schedulers into the outer one."
        raise check.fail("schedulers", "must not begin with a SequentialLR", schedulers[0], way_out)
    total = None if total is None else whole("total_steps", total, 1)
    begins, parts = [0, *milestones], []
    for k, (scheduler, base) in enumerate(zip(schedulers, _bases(schedulers, lr, group), strict=True)):
        kind, begin = _kind(scheduler), begins[k]
        end = begins[k + 1] if k + 1 < len(begins) else total
        length = None if end is None else max(end - begin, 1)
        if k == 0 and kind == "ChainedScheduler":
            a = bound(kind, _arguments(scheduler, group), NESTED[kind], tuple(PASSED))
            parts.append(_chain(several("schedulers", a["schedulers"]), base, length, group, inside=True))
            continue
        if begin and kind in FROM_BEFORE:
            base = float(join_schedules(parts, milestones[: k - 1])(begin - 1))
        if begin and kind == "MultiplicativeLR":  # torch steps it to 0 from there
            base *= factor_at(_arguments(scheduler, group).get("lr_lambda"))(0)
        part = _part(scheduler, base, group, length if total is not None or kind != "LambdaLR" else None)
        if k and kind == "ConstantLR" and isinstance(part, type(constant_schedule(0.0))):
            part = constant_schedule(rate("learning_rate", base))  # which is over, as it is not begun
        parts.append(part)
    return join_schedules(parts, milestones)


def _bases(schedulers: list[Any], lr: Any, group: int) -> list[Any]:
    """The base rates of the parts of a sequence.

    `OneCycleLR` writes its first rate into the optimizer, and so does a `CyclicLR` that is made first. A later part
    starts from what stood there when it was made, and the first from what stands there at the end.
    """
    bases, held = [], lr
    for scheduler in schedulers:
        first = scheduler._schedulers[0] if hasattr(scheduler, "_schedulers") else scheduler
        live = getattr(first, "base_lrs", None)
        if (kind := _kind(scheduler)) == "OneCycleLR" or (kind in CYCLES and not bases):
            held = live[group] if live else float(_part(scheduler, None, group)(0))
        bases.append(float(live[group]) if live else held)
    if (kind := _kind(schedulers[0])) not in (*CYCLES, *OVERWRITE):
        if held != bases[0] and kind not in (*FACTORS, "MultiplicativeLR"):
            rule = f"must begin with one of {', '.join(FACTORS)} before one that has rates of its own"
            raise check.fail("schedulers", rule, kind, "Convert each, and use lrx.join_schedules.")
        bases[0] = held
    return bases


def _arguments(scheduler: Any, group: int) -> dict[str, Any]:
    if not isinstance(scheduler, Mapping):
        return read(scheduler, group)[2]
    return {k: v for k, v in _inner(scheduler).items() if k not in ("learning_rate", "lr")}


def _kind(scheduler: Any) -> str | None:
    return name_of(scheduler) if isinstance(scheduler, Mapping) else type(scheduler).__name__


def _part(scheduler: Any, lr: Any, group: int, length: int | None = None) -> Any:
    """A part of another scheduler, whose base rate is that of the whole."""
    with_length = {"total_steps": length} if _kind(scheduler) in WITH_LENGTH and length is not None else {}
    if isinstance(scheduler, Mapping):
        return _of_config({**with_length, **scheduler}, lr, "learning_rate")
    name, _, arguments = read(scheduler, group)
    return _made(name, lr, "learning_rate", {**arguments, **with_length}, group)
