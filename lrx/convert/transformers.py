"""transformers: the schedules of `get_scheduler`, by name or by training arguments."""

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from .. import _check as check
from ..schedules.clock import repeat, reverse, stretch
from ..schedules.constant import constant_schedule
from ..schedules.inverse import inverse_sqrt_schedule
from ..schedules.join import join_schedules
from ..schedules.polynomial import linear_schedule, polynomial_schedule
from ..schedules.start_at import start_at
from ..schedules.wsd import wsd_schedule
from ._arguments import REQUIRED, bound, keyed, named, number, rate, whole
from ._curves import after_warmup, cosine, wave
from .torch import from_torch

Numbers = tuple[float, int, int]
"""The learning rate, the steps of the warmup and those of the whole."""


def _left(of: Numbers) -> int:
    """The steps after the warmup, at least one, as transformers divides by them."""
    return max(of[2] - of[1], 1)


def _waves(num_cycles: Any) -> Fraction:
    waves = number("num_cycles", num_cycles)
    if waves <= 0:
        raise check.fail("num_cycles", "must be positive", num_cycles)
    return Fraction(waves).limit_denominator(10**9)


def _linear(of: Numbers) -> Any:
    lr, w, n = of
    rest = linear_schedule(lr, 0.0, n - w) if n > w else constant_schedule(0.0)
    return after_warmup(0.0, lr, w, rest)


def _cosine(of: Numbers, num_cycles: Any) -> Any:
    lr, w, _ = of
    return after_warmup(0.0, lr, w, wave(lr, 0.0, _left(of), _waves(num_cycles)))


def _restarts(of: Numbers, num_cycles: Any) -> Any:
    lr, w, _ = of
    n, waves = _left(of), _waves(num_cycles)
    period = n * waves.denominator
    fall = repeat(cosine(lr, 0.0, period), period)
    rest = fall if waves == 1 else stretch(fall, n, base_end=n * waves.numerator)
    return after_warmup(0.0, lr, w, join_schedules([rest, 0.0], [n]))


def _polynomial(of: Numbers, lr_end: Any, power: Any) -> Any:
    lr, w, n = of
    end, power = rate("lr_end", lr_end), rate("power", power)
    if not lr > end:
        raise check.fail("lr_end", f"must be less than learning_rate={lr:g}", lr_end)
    rest = polynomial_schedule(lr, end, power, n - w) if n > w else constant_schedule(end)
    return after_warmup(0.0, lr, w, rest)


def _constant(of: Numbers) -> Any:
    return constant_schedule(of[0])


def _constant_with_warmup(of: Numbers) -> Any:
    return after_warmup(0.0, of[0], of[1], constant_schedule(of[0]))


def _inverse_sqrt(of: Numbers, timescale: Any) -> Any:
    scale = None if not timescale else whole("timescale", timescale, 1)
    return inverse_sqrt_schedule(of[0], of[1], timescale=scale)


def _least(lr: float, min_lr: Any, min_lr_rate: Any) -> float:
    if (min_lr is None) == (min_lr_rate is None):
        raise check.fail("min_lr", "must be given, or min_lr_rate, and not both", min_lr)
    return rate("min_lr", min_lr) if min_lr_rate is None else lr * rate("min_lr_rate", min_lr_rate)


def _min_lr(of: Numbers, num_cycles: Any, min_lr: Any, min_lr_rate: Any) -> Any:
    lr, w, _ = of
    low = _least(lr, min_lr, min_lr_rate)
    return after_warmup(0.0, lr, w, wave(lr, low, _left(of), _waves(num_cycles)))


def _warmup_min_lr(of: Numbers, num_cycles: Any, min_lr: Any, min_lr_rate: Any, warmup_lr_rate: Any) -> Any:
    lr, w, _ = of
    low, n, waves = _least(lr, min_lr, min_lr_rate), _left(of), _waves(num_cycles)
    rest = start_at(wave(lr, low, n, waves), 1)  # both halves count from 1
    if not w:
        return rest
    first = lr / w if warmup_lr_rate is None else lr * rate("warmup_lr_rate", warmup_lr_rate)
    return join_schedules([linear_schedule(first, lr, w - 1) if w > 1 else first, rest], [w])


def _stable(of: Numbers, **a: Any) -> Any:
    lr, w, n = of
    decay, least = whole("num_decay_steps", a["num_decay_steps"]), rate("min_lr_ratio", a["min_lr_ratio"]) * lr
    stable = n - w - decay if a["num_stable_steps"] is None else whole("num_stable_steps", a["num_stable_steps"])
    left = decay + min(stable, 0)  # a decay that is too long for the run has begun within the warmup
    shapes = ("linear", "cosine", "1-sqrt")
    check.one_of(shapes, warmup_type=a["warmup_type"], decay_type=a["decay_type"])
    parts, ends = [], []
    for steps, make in (
        (w, lambda: reverse(_fall(lr, least, w, a["warmup_type"]), w)),
        (stable, lambda: constant_schedule(lr)),
        (left, lambda: _late(_fall(lr, least, decay, a["decay_type"], a["num_cycles"]), decay - left)),
    ):
        if steps > 0:
            parts.append(make())
            ends.append(steps + (ends[-1] if ends else 0))
    return join_schedules([*parts, least], ends)


def _late(schedule: Any, steps: int) -> Any:
    return start_at(schedule, steps) if steps else schedule


def _fall(high: float, low: float, steps: int, shape: str, num_cycles: Any = 0.5) -> Any:
    if shape == "linear":
        return linear_schedule(high, low, steps)
    if shape == "cosine":
        return wave(high, low, steps, _waves(num_cycles))
    return wsd_schedule(high, 0, decay_steps=steps, total_steps=steps, shape="1-sqrt", end_value=low)


def _plateau(of: Numbers, **arguments: Any) -> Any:
    return from_torch("ReduceLROnPlateau", learning_rate=of[0], **arguments)


LEAST = {"num_cycles": 0.5, "min_lr": None, "min_lr_rate": None}
SCHEDULES: dict[str, tuple[Callable[..., Any], dict[str, Any] | None]] = {
    "linear": (_linear, {}),
    "cosine": (_cosine, {"num_cycles": 0.5}),
    "cosine_with_restarts": (_restarts, {"num_cycles": 1}),
    "polynomial": (_polynomial, {"lr_end": 1e-7, "power": 1.0}),
    "constant": (_constant, {}),
    "constant_with_warmup": (_constant_with_warmup, {}),
    "inverse_sqrt": (_inverse_sqrt, {"timescale": None}),
    "reduce_lr_on_plateau": (_plateau, None),
    "cosine_with_min_lr": (_min_lr, LEAST),
    "cosine_warmup_with_min_lr": (_warmup_min_lr, {**LEAST, "warmup_lr_rate": None}),
    "warmup_stable_decay": (
        _stable,
        {"num_decay_steps": REQUIRED, "num_stable_steps": None, "warmup_type": "linear", "decay_type": "cosine"}
        | {"min_lr_ratio": 0.0, "num_cycles": 0.5},
    ),
}
TRAINING = "lr_scheduler_type", "learning_rate", "warmup_steps", "warmup_ratio", "max_steps", "lr_scheduler_kwargs"
"""What is read of training arguments."""
WITHOUT_LENGTH = "constant", "constant_with_warmup", "inverse_sqrt", "reduce_lr_on_plateau"


@check.public
def from_transformers(
    name: Any,
    *,
    learning_rate: Any = None,
    num_warmup_steps: Any = None,
    num_training_steps: Any = None,
    **scheduler_specific_kwargs: Any,
) -> Any:
    """The schedule of a name of `transformers.get_scheduler`, or of training arguments.

    What is transformers' own, and is kept: the first update after a warmup from 0 has the rate 0; the cosines rise
    again beyond `num_training_steps` (for four times that at least, where `num_cycles` has many digits);
    "cosine_warmup_with_min_lr" counts from 1 in both of its halves.

    Args:
      name: such as "linear" or "cosine"; or training arguments, a dict or the object, with `lr_scheduler_type`,
        `learning_rate`, `warmup_steps` or `warmup_ratio`, `max_steps` and `lr_scheduler_kwargs`. Other keys are
        left out.
      learning_rate: the rate of the optimizer, the peak. In training arguments 5e-5 if left out.
      num_warmup_steps: in updates; 0 if left out.
      num_training_steps: in updates, the warmup included; needed unless the schedule has no end. It stands in for
        `max_steps` of training arguments, which only transformers can tell from a number of epochs.
      scheduler_specific_kwargs: those of the schedule, under transformers' names, such as `num_cycles` or `min_lr`.

    Returns:
      A schedule; for "reduce_lr_on_plateau" the controller `lrx.plateau`, to which metrics are reported.

    Raises:
      ValueError: if the name or an argument is unknown, missing, or refused by transformers.

    Examples:
      >>> import lrx
      >>> schedule = lrx.convert.from_transformers(
      ...   "linear", learning_rate=1.0, num_warmup_steps=2, num_training_steps=6
      ... )
      >>> print(*(schedule(t) for t in (0, 1, 2, 4, 6)))
      0.0 0.5 1.0 0.5 0.0

    References:
      transformers/optimization.py.
    """
    scheduler_specific_kwargs |= keyed(
        "scheduler_specific_kwargs", scheduler_specific_kwargs.pop("scheduler_specific_kwargs", None)
    )
    if hasattr(name, "lr_scheduler_type"):
        name = {key: getattr(name, key) for key in TRAINING if hasattr(name, key)}
    if isinstance(name, Mapping):
        name, own = _of_training(name, num_training_steps)
        learning_rate = own["learning_rate"] if learning_rate is None else learning_rate
        num_warmup_steps = own["num_warmup_steps"] if num_warmup_steps is None else num_warmup_steps
        num_training_steps = own["num_training_steps"]
        scheduler_specific_kwargs = {**own["kwargs"], **scheduler_specific_kwargs}
    name = getattr(name, "value", name)  # an enum of transformers
    if name == "greedy":
        rule = "must be a curve or a plateau, while GreedyLR also raises the rate when a metric improves"
        raise check.fail("name", rule, name, "lrx.plateau lowers it only; lrx.extend tells how to write a controller.")
    make, known = named("schedule of transformers", name, SCHEDULES)
    if learning_rate is None:
        raise check.fail("learning_rate", "must be given", None, "It is the lr of the optimizer.")
    lr = rate("learning_rate", learning_rate)
    a = scheduler_specific_kwargs if known is None else bound(name, scheduler_specific_kwargs, known)
    warmup = whole("num_warmup_steps", 0 if num_warmup_steps is None else num_warmup_steps)
    if num_training_steps is None and name not in WITHOUT_LENGTH and a.get("num_stable_steps") is None:
        raise check.fail("num_training_steps", f"must be given for {name!r}", None)
    steps = whole("num_training_steps", num_training_steps or 0)
    return make((lr, warmup, steps), **a)


def _of_training(arguments: Mapping[str, Any], steps: Any) -> tuple[Any, dict[str, Any]]:
    """Name and numbers, as the Trainer takes them from its arguments."""
    most = number("max_steps", arguments.get("max_steps", -1))
    steps = most if most > 0 and steps is None else steps
    warmup, share = arguments.get("warmup_steps") or 0, arguments.get("warmup_ratio") or 0
    warmup, share = number("warmup_steps", warmup), number("warmup_ratio", share)
    check.non_negative(warmup_steps=warmup, warmup_ratio=share)
    check.at_most_one(warmup_ratio=share)
    warmup, share = (0, warmup) if 0 < warmup < 1 else (int(warmup), share)  # newer versions write the share so
    if not warmup and share:
        if steps is None:
            raise check.fail("num_training_steps", "must be given with warmup_ratio", None)
        warmup = math.ceil(float(steps) * share)
    held = keyed("lr_scheduler_kwargs", arguments.get("lr_scheduler_kwargs"))
    found = {"learning_rate": arguments.get("learning_rate", 5e-5), "num_warmup_steps": warmup}
    return arguments.get("lr_scheduler_type", "linear"), {**found, "num_training_steps": steps, "kwargs": held}
