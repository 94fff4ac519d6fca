"""The named optimizers and schedules that `tune` tries: the families of the classic advice on learning rates."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .. import _check as check
from ..optimizers.adagrad import adagrad
from ..optimizers.adam import adam, adamw
from ..optimizers.rmsprop import rmsprop
from ..optimizers.sgd import sgd
from ..schedules.cosine import cosine_decay_schedule
from ..schedules.cyclic import cyclic_annealing_schedule, triangular_schedule
from ..schedules.exponential import exponential_decay, step_decay_schedule
from ..schedules.polynomial import warmup_linear_schedule


def sgd_momentum(learning_rate: Any) -> Any:
    """SGD with momentum 0.9, as it is used in practice."""
    return sgd(learning_rate, momentum=0.9)


OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "adam": adam,
    "sgd": sgd_momentum,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adamw": adamw,
}
DEFAULT_OPTIMIZERS = ("adam", "sgd", "adagrad", "rmsprop")


def constant(peak: Any, steps: int) -> Any:
    """The rate as it is."""
    del steps
    return peak


def step(peak: Any, steps: int) -> Any:
    """Halved after every fifth of the run."""
    return step_decay_schedule(peak, max(1, steps // 5))


def cosine(peak: Any, steps: int) -> Any:
    """Half a cosine to zero."""
    return cosine_decay_schedule(peak, steps)


def linear(peak: Any, steps: int) -> Any:
    """A warmup of a twentieth, then linear to zero."""
    return warmup_linear_schedule(peak, steps // 20, total_steps=steps)


def exponential(peak: Any, steps: int) -> Any:
    """Exponential decay to a hundredth."""
    return exponential_decay(peak, steps, 0.01)


def triangular(peak: Any, steps: int) -> Any:
    """Four triangles between a tenth of the peak and the peak."""
    return triangular_schedule(0.1 * peak, peak, half_cycle_steps=max(1, steps // 8))


def cyclic(peak: Any, steps: int) -> Any:
    """Four cosine cycles to a hundredth of the peak, each from half the peak before."""
    return cyclic_annealing_schedule(
        peak, 0.01 * peak, cycle_steps=max(1, steps // 4), shape="cosine", peak_multiplier=0.5
    )


SCHEDULES: dict[str, Callable[[Any, int], Any]] = {
    f.__name__: f for f in (constant, step, cosine, linear, exponential, triangular, cyclic)
}
MAIN_SCHEDULES = ("constant", "step", "cosine", "linear")
"""Swept over the whole grid; the others near the best rate of these."""


BASELINE_RATE = 1e-3
"""Of Adam as many use it, to compare with."""


def chosen(argument: str, given: Any, known: Mapping[str, Any], default: Iterable[str]) -> dict[str, Any]:
    """The given names of known functions, or a dict of the user's own, or None for the default, as name -> function."""
    if given is None:
        return {name: known[name] for name in default}
    if isinstance(given, Mapping):
        picked = dict(given)
    else:
        names = [given] if isinstance(given, str) else list(given)
        for name in names:
            if name not in known:
                raise check.fail(argument, f"must be among {', '.join(known)}", name)
        picked = {name: known[name] for name in names}
    if not picked:
        raise check.fail(argument, "must name at least one", given)
    return picked
