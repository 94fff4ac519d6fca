"""keras.optimizers.schedules: the schedules of Keras by object or by their serialized form."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from .. import _check as check
from ..schedules._schedule import Schedule
from ..schedules.clock import repeat
from ..schedules.constant import constant_schedule
from ..schedules.cosine import cosine_decay_schedule, warmup_cosine_decay_schedule
from ..schedules.inverse import inverse_time_schedule
from ..schedules.piecewise import piecewise_value_schedule
from ..schedules.polynomial import polynomial_schedule
from ..schedules.polynomial_cycles import polynomial_cycles_schedule
from ._arguments import REQUIRED, bound, flag, keyed, named, number, rate, several, whole
from ._curves import cosine, cycles, exponential, stairs


def _exponential(a: dict[str, Any]) -> Schedule:
    init, steps, by = number(*_pair(a, "initial_learning_rate")), _steps(a), rate(*_pair(a, "decay_rate"))
    return stairs(init, steps, by) if flag("staircase", a["staircase"]) else exponential(init, steps, by)


def _piecewise(a: dict[str, Any]) -> Schedule:
    boundaries, values = several("boundaries", a["boundaries"]), several("values", a["values"])
    if len(boundaries) != len(values) - 1:
        raise check.fail("boundaries", f"must be one fewer than values ({len(values)})", boundaries)
    after = [int(number("boundaries", b) // 1) + 1 for b in boundaries]  # it changes at t > b
    return piecewise_value_schedule(after, [number("values", v) for v in values])


def _polynomial(a: dict[str, Any]) -> Schedule:
    init, end = number(*_pair(a, "initial_learning_rate")), number(*_pair(a, "end_learning_rate"))
    steps, power = _steps(a), rate(*_pair(a, "power"))
    if flag("cycle", a["cycle"]):
        return polynomial_cycles_schedule(init, end, power=power, cycle_steps=steps)
    return polynomial_schedule(init, end, power, steps)


def _inverse_time(a: dict[str, Any]) -> Schedule:
    init, by = number(*_pair(a, "initial_learning_rate")), number(*_pair(a, "decay_rate"))
    return inverse_time_schedule(init, _steps(a), decay_rate=by, staircase=flag("staircase", a["staircase"]))


def _cosine(a: dict[str, Any]) -> Schedule:
    init, steps, alpha = number(*_pair(a, "initial_learning_rate")), _steps(a), number(*_pair(a, "alpha"))
    if a["warmup_target"] is None:  # Keras then has no warmup, whatever warmup_steps says
        return cosine_decay_schedule(init, steps, alpha)
    top, warmup = number(*_pair(a, "warmup_target")), whole(*_pair(a, "warmup_steps"))
    return warmup_cosine_decay_schedule(init, top, warmup, warmup + steps, alpha * top)


def _restarts(a: dict[str, Any]) -> Schedule:
    init, first = number(*_pair(a, "initial_learning_rate")), whole("first_decay_steps", a["first_decay_steps"], 1)
    low = number(*_pair(a, "alpha")) * init
    longer, lower = number(*_pair(a, "t_mul")), number(*_pair(a, "m_mul"))
    if longer < 1:
        raise check.fail("t_mul", "must be at least 1", longer)
    if longer == 1:
        falls = repeat(cosine(1.0, 0.0, first), first)
        return low + falls * stairs(init - low, first, rate("m_mul", lower))
    return cycles(
        first, Fraction(str(longer)), lambda k, steps: cosine(low + (init - low) * lower**k, low, steps), name="t_mul"
    )


def _pair(a: Mapping[str, Any], key: str) -> tuple[str, Any]:
    return key, a[key]


def _steps(a: Mapping[str, Any]) -> int:
    return whole("decay_steps", a["decay_steps"], 1)


START = {"initial_learning_rate": REQUIRED}
DECAY = {**START, "decay_steps": REQUIRED}
SCHEDULES: dict[str, tuple[Callable[[dict[str, Any]], Schedule], dict[str, Any]]] = {
    "ExponentialDecay": (_exponential, {**DECAY, "decay_rate": REQUIRED, "staircase": False}),
    "PiecewiseConstantDecay": (_piecewise, {"boundaries": REQUIRED, "values": REQUIRED}),
    "PolynomialDecay": (_polynomial, {**DECAY, "end_learning_rate": 1e-4, "power": 1.0, "cycle": False}),
    "InverseTimeDecay": (_inverse_time, {**DECAY, "decay_rate": REQUIRED, "staircase": False}),
    "CosineDecay": (_cosine, {**DECAY, "alpha": 0.0, "warmup_target": None, "warmup_steps": 0}),
    "CosineDecayRestarts": (
        _restarts,
        {**START, "first_decay_steps": REQUIRED, "t_mul": 2.0, "m_mul": 1.0, "alpha": 0.0},
    ),
}


def schedule_in(config: Mapping[str, Any]) -> Any:
    """The serialized schedule, or the number, within the config of an optimizer or of a whole model; else None."""
    if config.get("class_name") in SCHEDULES:
        return config
    for key in ("learning_rate", "lr"):
        held = config.get(key)
        if isinstance(held, Mapping) and schedule_in(held) is not None:
            return schedule_in(held)
        if isinstance(held, int | float) and not isinstance(held, bool):
            return held
    for key in ("config", "optimizer", "compile_config", "compile", "optimizer_config"):
        inner = config.get(key)
        if isinstance(inner, Mapping) and schedule_in(inner) is not None:
            return schedule_in(inner)
    return None


@check.public
def from_keras(schedule: Any) -> Schedule:
    """The schedule of a schedule of `keras.optimizers.schedules`.

    What is Keras's own, and is kept: `PiecewiseConstantDecay` changes after its boundary, at t > b; `decay_steps` of
    `CosineDecay` does not count the warmup, which only happens where there is a `warmup_target`; `PolynomialDecay` with
    `cycle` stretches its length to the next multiple. Keras counts micro-steps where it accumulates gradients; a count
    here is an update.

    Args:
      schedule: a live schedule; or its serialized form, {"class_name": ..., "config": {...}}, by itself or inside the
        serialized form of an optimizer or in the compile config of a model. A constant rate in these is a constant.

    Returns:
      A schedule.

    Raises:
      ValueError: if the schedule or an argument is unknown, missing, or refused by Keras, or if `t_mul` makes cycles
        that are not whole steps, which float32 can't place exactly.
      TypeError: if it is no schedule of Keras.

    Examples:
      >>> import lrx
      >>> config = {"initial_learning_rate": 1.0, "decay_steps": 4, "alpha": 0.5}
      >>> schedule = lrx.convert.from_keras({"class_name": "CosineDecay", "config": config})
      >>> print(*(schedule(t) for t in (0, 2, 4, 9)))
      1.0 0.75 0.5 0.5

    References:
      keras/src/optimizers/schedules/learning_rate_schedule.py.
    """
    if isinstance(schedule, Mapping):
        found = schedule_in(schedule)
        if isinstance(found, int | float):
            return constant_schedule(found)
        found = schedule if found is None else found  # its name is refused below
        name, config = str(found.get("class_name")), keyed("config", found.get("config"))
    elif hasattr(schedule, "get_config"):
        name, config = type(schedule).__name__, dict(schedule.get_config())
        if name not in SCHEDULES and schedule_in(config) is not None:  # an optimizer
            return from_keras(config)
    else:
        raise TypeError(f"from_keras(schedule=...) must be a schedule of Keras or its config, got {schedule!r}.")
    make, known = named("schedule of Keras", name, SCHEDULES, "schedule")
    return make(bound(name, config, known, ("name", "dtype")))
