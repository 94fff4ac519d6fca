"""timm.scheduler: the config of timm's factory of schedulers."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from .. import _check as check
from .._numbers import INT32_MAX
from ..controllers.plateau import plateau
from ..schedules.algebra import maximum, product, total
from ..schedules.clock import shift, stretch
from ..schedules.constant import constant_schedule
from ..schedules.inverse import inverse_sqrt_schedule
from ..schedules.join import join_schedules
from ..schedules.k_decay import k_decay_schedule
from ..schedules.piecewise import piecewise_constant_schedule, piecewise_value_schedule
from ..schedules.polynomial import linear_schedule, polynomial_schedule
from ..schedules.tanh import tanh_schedule
from ..schedules.wsd import wsd_schedule
from ._arguments import REQUIRED, bound, flag, named, number, rate, several, whole
from ._curves import after_warmup, cosine, cycles, stairs

DEFAULTS: dict[str, Any] = {
    "sched": REQUIRED,
    "lr": REQUIRED,
    "epochs": 100,
    "decay_epochs": 30,
    "decay_milestones": (30, 60),
    "warmup_epochs": 5,
    "cooldown_epochs": 0,
    "patience_epochs": 10,
    "decay_rate": 0.1,
    "min_lr": 0.0,
    "warmup_lr": 1e-5,
    "warmup_prefix": False,
    "lr_noise": None,
    "lr_cycle_mul": 1.0,
    "lr_cycle_decay": 0.1,
    "lr_cycle_limit": 1,
    "lr_k_decay": 1.0,
    "lr_decay_fn": None,
    "lr_stable_timescale": None,
    "eval_metric": "top1",
    "sched_on_updates": False,
    "updates_per_epoch": 0,
}
"""The keys of timm's `scheduler_kwargs` with its defaults, the base rate and the updates of an epoch."""
RENAMED = {
    "num_epochs": "epochs",
    "noise": "lr_noise",
    "cycle_mul": "lr_cycle_mul",
    "cycle_decay": "lr_cycle_decay",
    "cycle_limit": "lr_cycle_limit",
    "k_decay": "lr_k_decay",
    "decay_fn": "lr_decay_fn",
    "stable_timescale": "lr_stable_timescale",
}
V2 = *RENAMED, "step_on_epochs", "plateau_mode"
"""What only `create_scheduler_v2` names so."""
V2_DEFAULTS = {"sched": "cosine", "epochs": 300, "decay_epochs": None, "decay_milestones": (90, 180, 270)}


def _of_v2(given: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `create_scheduler_v2` as those of a config, with its defaults."""
    only = [k for k in given if k.startswith("lr_") or k in ("epochs", "sched_on_updates", "eval_metric")]
    new = [k for k in V2 if k in given]
    if only:
        raise check.fail(new[0], f"must not be mixed with {only[0]}", given[new[0]], "timm has two sets of names.")
    made = {**V2_DEFAULTS, "warmup_epochs": 0, **{RENAMED.get(k, k): v for k, v in given.items() if k not in V2[-2:]}}
    made["sched_on_updates"] = not flag("step_on_epochs", given.get("step_on_epochs", True))
    mode = given.get("plateau_mode", "max")
    check.one_of(("min", "max"), plateau_mode=mode)
    made["eval_metric"] = "loss" if mode == "min" else "top1"
    if made["decay_epochs"] is None:
        made["decay_epochs"] = 0.2 if made["sched"] in STABLE else 90
    return made


def _cycles(a: dict[str, Any], curve: Callable[[float, int], Any]) -> Any:
    """Cycles of one curve, from a top that decays; then `min_lr`."""
    limit = whole("lr_cycle_limit", a["lr_cycle_limit"])
    if not limit:
        return constant_schedule(a["min_lr"])
    longer, lower = number("lr_cycle_mul", a["lr_cycle_mul"]), rate("lr_cycle_decay", a["lr_cycle_decay"])
    return cycles(
        a["steps"],
        Fraction(str(longer)),
        lambda k, steps: curve(a["lr"] * lower**k, steps),
        limit=limit,
        name="lr_cycle_mul",
    )


def _cosine(a: dict[str, Any]) -> Any:
    k, low = number("lr_k_decay", a["lr_k_decay"]), a["min_lr"]
    if k == 1:
        return _cycles(a, lambda high, steps: cosine(high, low, steps))
    return _cycles(a, lambda high, steps: k_decay_schedule(high, steps, k=k, end_value=low))


def _tanh(a: dict[str, Any]) -> Any:
    return _cycles(a, lambda high, steps: tanh_schedule(high, steps, end_value=a["min_lr"]))


def _poly(a: dict[str, Any]) -> Any:
    k, low = number("lr_k_decay", a["lr_k_decay"]), a["min_lr"]
    power = rate("decay_rate", a["decay_rate"])  # timm's factory takes it for the power
    if k != 1:
        return _cycles(a, lambda high, steps: k_decay_schedule(high, steps, k=k, end_value=low, power=power))
    return _cycles(a, lambda high, steps: polynomial_schedule(high, low, power, steps))


def _step(a: dict[str, Any]) -> Any:
    steps, by = number("decay_epochs", a["decay_epochs"]) * a["unit"], rate("decay_rate", a["decay_rate"])
    check.positive(decay_epochs=steps)
    near = Fraction(steps).limit_denominator(1000)
    p, q = near.numerator, near.denominator
    if abs(near - Fraction(steps)) > 1e-12 * steps:
        raise check.fail("decay_epochs", "must be a fraction of at most a thousandth", a["decay_epochs"])
    if q == 1:
        return stairs(a["lr"], p, by)
    # a clock of q ticks in a step; a float that is a little more than p / q has its stairs a tick late
    stair = shift(stairs(a["lr"], p, by), 1) if steps > near else stairs(a["lr"], p, by)
    return stretch(stair, INT32_MAX // q, base_end=INT32_MAX // q * q)


def _multistep(a: dict[str, Any]) -> Any:
    times: dict[Any, Any] = {}
    for milestone in several("decay_milestones", a["decay_milestones"]):  # each acts one step early
        m = max(whole("decay_milestones", milestone) * a["unit"] - 1, 0)
        times[m] = times.get(m, 1.0) * rate("decay_rate", a["decay_rate"])
    return piecewise_constant_schedule(a["lr"], times)


def _stable(a: dict[str, Any], first: float, warmup: int) -> Any:
    """Warmup, level or inverse square root, and a decay; the warmup is always a part of its own."""
    high, low, shape = a["lr"], a["min_lr"], a["lr_decay_fn"] or ("linear" if a["sched"] == "rsqrt" else "1-sqrt")
    shape = "1-sqrt" if shape == "power" else shape  # with timm's power, which its factory can't change
    check.one_of(("linear", "1-sqrt", "cosine"), lr_decay_fn=shape)
    steps = a["steps"] if flag("warmup_prefix", a["warmup_prefix"]) else a["steps"] - warmup
    share = number("decay_epochs", a["decay_epochs"])
    decay = round(share * steps if 0 < share < 1 else share * a["unit"])
    if not 0 < decay <= steps:
        raise check.fail("decay_epochs", f"must make a decay of 1 to {steps} steps", a["decay_epochs"])
    if a["sched"] == "wsd":
        top = max(high, low)
        rest = wsd_schedule(top, 0, decay_steps=decay, total_steps=steps, shape=shape, end_value=low)
        return after_warmup(first, high, warmup, rest)
    scale = a["lr_stable_timescale"]
    scale = warmup if scale is None else whole("lr_stable_timescale", number("lr_stable_timescale", scale) * a["unit"])
    if scale < 1:
        raise check.fail("lr_stable_timescale", "must be given where there is no warmup", a["lr_stable_timescale"])
    fall = wsd_schedule(1.0, 0, decay_steps=decay, total_steps=steps, shape=shape, end_value=0.0)
    level = inverse_sqrt_schedule(high, 0, timescale=scale)
    rest = (maximum(level, low) - low) * fall + low if low else level * fall
    return after_warmup(first, high, warmup, rest)


def _constant(a: dict[str, Any]) -> Any:
    return constant_schedule(a["lr"])


CURVES = {
    "cosine": _cosine,
    "tanh": _tanh,
    "step": _step,
    "multistep": _multistep,
    "poly": _poly,
    "constant": _constant,
}
STABLE = "wsd", "rsqrt"
NAMES = {**CURVES, **dict.fromkeys(STABLE), "plateau": None, "none": None}


@check.public
def from_timm(config: Any, **arguments: Any) -> Any:
    """The schedule of a config of timm's `create_scheduler`.

    A count is what timm steps by: an epoch, or with `sched_on_updates` an update, of which `updates_per_epoch` make
    an epoch.

    What is timm's own, and is kept: without `warmup_prefix` the curve runs on beneath the warmup, which aims at `lr`,
    so that the rate drops where the warmup ends (not for tanh, whose warmup aims at its curve); `decay_milestones` act
    one step early; `decay_rate` is the power of "poly"; the last cycle is followed by `min_lr`; `cooldown_epochs` only
    make the run longer.

    Args:
      config: a dict, or an object with attributes such as argparse's `Namespace`: `sched`, `lr`, `epochs`,
        `warmup_epochs`, `warmup_lr`, `warmup_prefix`, `min_lr`, `decay_epochs`, `decay_milestones`, `decay_rate`,
        `patience_epochs`, `lr_cycle_mul`, `lr_cycle_decay`, `lr_cycle_limit`, `lr_k_decay`, `eval_metric`,
        `sched_on_updates`, `lr_decay_fn`, `lr_stable_timescale`. Other keys, of the model or the data, are left out.
        What is missing has the default of timm's `scheduler_kwargs`, which is not that of its script `train.py`. The
        arguments of `create_scheduler_v2` are taken as well, with its defaults: `num_epochs`, `cycle_mul`, ...
      arguments: the same, on top of the config; `updates_per_epoch` is one.

    Returns:
      A schedule. For "plateau" the controller `lrx.plateau` over the warmup: report the metric of each epoch after it.

    Raises:
      ValueError: if `sched` is unknown, a number is missing or out of range, a cycle is not of whole steps, or there
        is `lr_noise`, which comes from torch's generator.

    Examples:
      >>> import lrx
      >>> config = {"sched": "cosine", "lr": 1.0, "epochs": 4, "warmup_epochs": 0}
      >>> schedule = lrx.convert.from_timm(config)
      >>> print(*(schedule(t) for t in (0, 2, 4, 9)))
      1.0 0.5 0.0 0.0

    References:
      timm/scheduler/scheduler_factory.py.
    """
    if not isinstance(config, Mapping) and not hasattr(config, "__dict__"):
        raise TypeError(f"{check.where('config')} must be a dict or an object with attributes, got {config!r}.")
    given = dict(config) if isinstance(config, Mapping) else dict(vars(config))
    given = {k: v for k, v in {**given, **arguments}.items() if k in DEFAULTS or k in V2}
    given = _of_v2(given) if any(k in V2 for k in given) else given
    a = bound("timm's config", given, DEFAULTS)
    name = a["sched"]
    named("schedule of timm", name, NAMES, "sched")
    if a["lr_noise"] is not None:
        raise check.fail("lr_noise", "must be None, as its noise comes from torch", a["lr_noise"], "See lrx.noisy.")
    a["lr"], a["min_lr"] = rate("lr", a["lr"]), rate("min_lr", a["min_lr"])
    if name == "none":
        return constant_schedule(a["lr"])
    by_update = flag("sched_on_updates", a["sched_on_updates"])
    a["unit"] = whole("updates_per_epoch", a["updates_per_epoch"], 1) if by_update else 1
    a["steps"] = whole("epochs", a["epochs"], 1) * a["unit"]
    first, warmup = (
        rate("warmup_lr", a["warmup_lr"]),
        whole("warmup_epochs", number("warmup_epochs", a["warmup_epochs"]) * a["unit"]),
    )
    if name == "plateau":
        return _plateau(a, first, warmup)
    if name in STABLE:
        return _stable(a, first, warmup)
    curve = CURVES[name](a)
    if flag("warmup_prefix", a["warmup_prefix"]) or not warmup:
        return after_warmup(first, a["lr"], warmup, curve)
    top = float(curve(warmup)) if name == "tanh" else a["lr"]
    # a gate, since the curve does not start anew after the warmup
    gate = piecewise_value_schedule([warmup], [0.0, 1.0])
    return total(join_schedules([linear_schedule(first, top, warmup), 0.0], [warmup]), product(gate, curve))


def _plateau(a: dict[str, Any], first: float, warmup: int) -> Any:
    if a["sched_on_updates"]:
        raise check.fail("sched_on_updates", "must be False for plateau", True)
    return plateau(
        linear_schedule(first, a["lr"], warmup) if warmup else a["lr"],
        factor=number("decay_rate", a["decay_rate"]),
        patience=whole("patience_epochs", a["patience_epochs"]),
        mode="min" if "loss" in a["eval_metric"] else "max",
        min_value=a["min_lr"],
        metric="reported",
        counting="torch",
    )
