"""The schedules that the contract and the agreement tests share: one record each, with what is promised of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

import lrx
from tests.extend import outside
from tests.operations import by_operations
from tests.reference import schedules as reference

INT32_MAX = 2**31 - 1


def at(schedule, counts):
    """The rates at some counts, with a few sizes of arrays: each new one compiles every operation anew."""
    padded = np.resize(counts, next(size for size in (256, 2048, 16_384) if size >= len(counts)))
    return np.asarray(schedule(padded))[: len(counts)]


def values_at(schedule, counts):
    """The rates at some counts, traced by JAX and run by NumPy: for all that is not of digits."""
    return np.asarray(by_operations(schedule)(np.asarray(counts, np.int32)))


def is_count(leaf):
    """Whether a number of a schedule, or an array of them, is a number of steps."""
    return isinstance(leaf, int) or getattr(leaf, "dtype", None) == np.int32


@dataclass(frozen=True)
class Case:
    """A schedule, and how far in float32 ulps its values may be from the float64 formula."""

    name: str
    factory: Callable[..., Any]
    arguments: dict[str, Any]
    ulps: float = 2
    floor: float = 0.0
    """Values below it are compared absolutely: between values of opposite sign there is no relative precision."""
    last: int = INT32_MAX
    """A count at which the value is exact; for a schedule that ends, any count after its end."""
    exact: bool = True
    """Whether the values at 0 and at `last` are exact, however they are compiled."""
    as_optax: bool = True
    """Whether optax's schedule of the same name, if there is one, has the same values."""
    formula: Callable[..., Any] | None = None
    """The float64 formula; by default that of the same name in `tests/reference/schedules.py`."""

    def build(self):
        return self.factory(**self.arguments)

    def reference(self, count):
        formula = self.formula or getattr(reference, self.factory.__name__)
        return formula(count, **self.arguments)

    def counts(self):
        """The start, the seams and their neighbours, and far beyond."""
        lengths = [n for x in jax.tree.leaves(self.build()) if is_count(x) for n in np.ravel(x).tolist()]
        seams = {0, *lengths, sum(lengths), 2 * sum(lengths)}
        near = {max(0, seam + d) for seam in seams for d in (-1, 0, 1)}
        return np.resize(np.array([INT32_MAX, INT32_MAX - 1, 1000, *sorted(near)], np.int32), 32)  # one shape for all


cosine, warm, linear = lrx.cosine_decay_schedule, lrx.warmup_cosine_decay_schedule, lrx.linear_schedule
exponential, polynomial = lrx.exponential_decay, lrx.polynomial_schedule
triangular, annealing = lrx.triangular_schedule, lrx.cyclic_annealing_schedule
FALL = {"init_value": 0.3, "end_value": 0.01}
DECAY = {"init_value": 0.3, "transition_steps": 7, "decay_rate": 0.8}
WARM = {"init_value": 0.01, "peak_value": 0.3, "warmup_steps": 10, "decay_steps": 100}
CYCLE = {"min_value": 0.01, "max_value": 0.3, "half_cycle_steps": 10}
ANNEAL = {"max_value": 0.3, "min_value": 0.01, "cycle_steps": 12}
interpolate, join, wsd = lrx.piecewise_interpolate_schedule, lrx.join_schedules, lrx.wsd_schedule
torch_cycle, torch_momentum = lrx.torch_onecycle_schedule, lrx.torch_onecycle_momentum_schedule
inverse_time, inverse_sqrt, power = lrx.inverse_time_schedule, lrx.inverse_sqrt_schedule, lrx.power_schedule
knots, infinite = lrx.interpolated_schedule, lrx.infinite_schedule
PIECES = {"init_value": 0.3, "boundaries_and_scales": {50: 0.1, 3: 2.0, 16: 0.3}}
WARM_DECAY = {"init_value": 0.01, "peak_value": 0.3, "warmup_steps": 10, "transition_steps": 7, "decay_rate": 0.8}
WSD = {"peak_value": 0.3, "warmup_steps": 10, "decay_steps": 30, "end_value": 0.01}
CURVE = {"counts": (3, 10, 50, 90), "values": (0.01, 0.3, 0.1, 0.02)}
SETTLE = {"peak_value": 0.3, "warmup_steps": 10, "cooldown_steps": 50, "constant_value": 0.1}
NORMS = (*(3.0 - 0.1 * i % 1.7 for i in range(40)), *(0.2 + 0.01 * i**1.5 for i in range(51)))

CASES = [
    Case("constant", lrx.constant_schedule, {"value": 0.3}, ulps=0),
    Case("linear", linear, {**FALL, "transition_steps": 60}),
    Case("linear_begin", linear, {**FALL, "transition_steps": 60, "transition_begin": 13}),
    Case("linear_no_step", linear, {**FALL, "transition_steps": 0, "transition_begin": 3}),
    Case("linear_one_step", linear, {**FALL, "transition_steps": 1}),
    Case("polynomial", polynomial, {**FALL, "power": 2.5, "transition_steps": 100}, ulps=4),
    Case("polynomial_root", polynomial, {**FALL, "power": 0.5, "transition_steps": 70, "transition_begin": 9}, ulps=4),
    Case("polynomial_flat", polynomial, {**FALL, "power": 0.0, "transition_steps": 7}, ulps=4),
    Case("polynomial_no_step", polynomial, {**FALL, "power": 2.0, "transition_steps": 0}, ulps=4),
    Case("exponential", exponential, {**DECAY}, ulps=5),
    Case("exponential_stairs", exponential, {**DECAY, "transition_begin": 5, "staircase": True}, ulps=5),
    Case("exponential_floor", exponential, {**DECAY, "end_value": 0.05}, ulps=5),
    Case("exponential_ceiling", exponential, {**DECAY, "decay_rate": 1.3, "end_value": 2.0}, ulps=5),
    Case("exponential_one_step", exponential, {**DECAY, "transition_steps": 1}, ulps=5),
    Case("step_decay", lrx.step_decay_schedule, {"init_value": 0.3, "transition_steps": 10}, ulps=0),
    Case(
        "step_decay_of_a_tenth",
        lrx.step_decay_schedule,
        {"init_value": 0.3, "transition_steps": 10, "decay_rate": 0.1},
        ulps=5,
    ),
    Case(
        "piecewise_constant",
        lrx.piecewise_constant_schedule,
        {"init_value": 0.1, "boundaries_and_scales": {50: 0.1, 3: 2.0, 6: 0.3}},
    ),
    Case("piecewise_value", lrx.piecewise_value_schedule, {"boundaries": (3, 10), "values": (0.3, 0.1, 0.2)}, ulps=0),
    Case("cosine", cosine, {"init_value": 0.3, "decay_steps": 100}, ulps=8),
    Case("cosine_alpha", cosine, {"init_value": 0.3, "decay_steps": 90, "alpha": 0.1, "exponent": 2.3}, ulps=8),
    Case("cosine_one_step", cosine, {"init_value": 0.3, "decay_steps": 1}, ulps=8),
    Case("warmup_cosine", warm, {**WARM}, ulps=8),
    Case("warmup_cosine_end", warm, {**WARM, "end_value": 0.05, "exponent": 2.0}, ulps=8),
    Case("warmup_cosine_no_warmup", warm, {**WARM, "warmup_steps": 0}, ulps=8),
    Case("warmup_cosine_negative", warm, {**WARM, "end_value": -3.0}, ulps=8, floor=0.3),
    Case("warmup_linear", lrx.warmup_linear_schedule, {"peak_value": 0.3, "warmup_steps": 10, "total_steps": 100}),
    Case(
        "warmup_linear_one_step", lrx.warmup_linear_schedule, {"peak_value": 0.3, "warmup_steps": 0, "total_steps": 1}
    ),
    Case("triangular", triangular, {**CYCLE}, ulps=4, last=260),
    Case("triangular_uneven", triangular, {**CYCLE, "down_steps": 3}, ulps=4, last=260),
    Case("triangular2", triangular, {**CYCLE, "mode": "triangular2"}, ulps=4, last=260),
    Case("triangular_exp_range", triangular, {**CYCLE, "mode": "exp_range", "gamma": 0.99}, ulps=8, last=260),
    Case("triangular_amplitude", triangular, {**CYCLE, "amplitude": linear(1.0, 0.25, 90)}, ulps=6, last=0),
    Case("triangular_one_step", triangular, {**CYCLE, "half_cycle_steps": 1}, ulps=4, last=260),
    Case("annealing", annealing, {**ANNEAL}, last=0),
    Case(
        "annealing_cosine",
        annealing,
        {**ANNEAL, "shape": "cosine", "length_multiplier": 2, "peak_multiplier": 0.9},
        ulps=8,
        last=0,
    ),
    Case(
        "annealing_exponential", annealing, {**ANNEAL, "shape": "exponential", "peak_multiplier": 0.9}, ulps=8, last=0
    ),
    Case("annealing_one_step", annealing, {**ANNEAL, "cycle_steps": 1}, last=0),
    Case("interpolate", interpolate, {**PIECES, "interpolate_type": "linear"}, ulps=4),
    Case("interpolate_nothing", interpolate, {"interpolate_type": "linear", "init_value": 0.3}, ulps=0, as_optax=False),
    Case("warmup_constant", lrx.warmup_constant_schedule, {"init_value": 0.01, "peak_value": 0.3, "warmup_steps": 10}),
    Case(
        "warmup_constant_no_warmup",
        lrx.warmup_constant_schedule,
        {"init_value": 0.01, "peak_value": 0.3, "warmup_steps": 0},
    ),
    Case("warmup_exponential", lrx.warmup_exponential_decay_schedule, {**WARM_DECAY}, ulps=5),
    Case(
        "warmup_exponential_stairs",
        lrx.warmup_exponential_decay_schedule,
        {**WARM_DECAY, "transition_begin": 5, "staircase": True, "end_value": 0.05},
        ulps=5,
    ),
    Case("sgdr", lrx.sgdr_schedule, {"cosine_kwargs": ({**WARM}, {**WARM, "peak_value": 0.1, "decay_steps": 40})}, 8),
    Case("onecycle_linear", lrx.linear_onecycle_schedule, {"transition_steps": 100, "peak_value": 0.3}, ulps=4),
    Case("onecycle_cosine", lrx.cosine_onecycle_schedule, {"transition_steps": 100, "peak_value": 0.3}, ulps=8),
    *(
        Case(
            f"onecycle_{steps}_{factory.__name__[:6]}",
            factory,
            {"transition_steps": steps, "peak_value": 0.3},
            ulps=8,
            as_optax=False,
        )
        for steps in (1, 2)
        for factory in (lrx.linear_onecycle_schedule, lrx.cosine_onecycle_schedule)
    ),
    Case(
        "join",
        join,
        {
            "schedules": (lrx.cosine_decay_schedule(0.3, 20), linear(0.2, 0.1, 10), linear(0.1, 0.0, 5)),
            "boundaries": (20, 50),
        },
        ulps=8,
    ),
    Case("torch_onecycle", torch_cycle, {"max_value": 0.3, "total_steps": 100}, ulps=8),
    Case("torch_onecycle_three", torch_cycle, {"max_value": 0.3, "total_steps": 77, "three_phase": True}, ulps=8),
    Case("torch_onecycle_one_step", torch_cycle, {"max_value": 0.3, "total_steps": 1}, ulps=8),
    Case("torch_momentum_three", torch_momentum, {"total_steps": 100, "anneal": "linear", "three_phase": True}, ulps=4),
    Case("fastai_onecycle", lrx.fastai_onecycle_schedule, {"max_value": 0.3, "total_steps": 77}, ulps=8),
    Case("fastai_momentum", lrx.fastai_onecycle_momentum_schedule, {"total_steps": 77}, ulps=8),
    Case("inverse_time", inverse_time, {**DECAY}, ulps=4, last=0),
    Case("inverse_sqrt", inverse_sqrt, {"peak_value": 0.3, "warmup_steps": 10}, ulps=4, last=10),
    Case("inverse_sqrt_no_warmup", inverse_sqrt, {"peak_value": 0.3, "warmup_steps": 0}, ulps=4, last=0),
    Case("noam", lrx.noam_schedule, {"model_size": 512, "warmup_steps": 40}, ulps=6, last=0),
    Case("power", power, {"max_value": 0.02, "warmup_steps": 10, "a": 4.6, "b": -0.51, "batch_size": 4}, 8, last=0),
    Case("power_capped", power, {"max_value": 0.3, "warmup_steps": 0, "a": 0.3, "b": -0.2, "batch_size": 3}, 8, last=0),
    *(
        Case(f"wsd_{shape}", wsd, {**WSD, "total_steps": 90, "shape": shape}, ulps=8)
        for shape in ("1-sqrt", "exponential", "mirror-cosine")
    ),
    Case("wsd_stable", wsd, {**WSD, "stable_steps": 20, "init_value": 0.02, "end_value": 0.0}, ulps=8),
    Case("wsd_no_decay", wsd, {**WSD, "stable_steps": 0, "decay_steps": 0}, ulps=8),
    Case(
        "polynomial_cycles",
        lrx.polynomial_cycles_schedule,
        {"init_value": 0.3, "end_value": 0.01, "power": 1.5, "cycle_steps": 9},
        ulps=4,
        exact=False,
    ),
    Case("rex", lrx.rex_schedule, {"init_value": 0.3, "total_steps": 90}, ulps=4),
    Case("knee", lrx.knee_schedule, {"peak_value": 0.3, "total_steps": 90, "knee_fraction": 0.5, "warmup_steps": 10}),
    Case("knee_at_the_end", lrx.knee_schedule, {"peak_value": 0.3, "total_steps": 90, "knee_fraction": 1.0}),
    Case("flat_cosine", lrx.flat_cosine_schedule, {"init_value": 0.3, "total_steps": 90, "end_value": 0.01}, ulps=8),
    Case("tanh", lrx.tanh_schedule, {"init_value": 0.3, "total_steps": 90, "end_value": 0.01}, ulps=8),
    Case("k_decay", lrx.k_decay_schedule, {"init_value": 0.3, "total_steps": 90, "end_value": 0.01}, ulps=8),
    Case("k_decay_power", lrx.k_decay_schedule, {"init_value": 0.3, "total_steps": 90, "k": 2.0, "power": 0.9}, ulps=8),
    Case("k_decay_half", lrx.k_decay_schedule, {"init_value": 0.3, "total_steps": 90, "k": 0.5}, ulps=8),
    Case(
        "chebyshev",
        lrx.chebyshev_schedule,
        {"min_value": 0.01, "max_value": 0.3, "total_steps": 64},
        ulps=8,
        exact=False,
    ),
    Case(
        "chebyshev_one_step",
        lrx.chebyshev_schedule,
        {"min_value": 0.01, "max_value": 0.3, "total_steps": 1},
        ulps=8,
        exact=False,
    ),
    *(Case(f"infinite_{shape}", infinite, {**SETTLE, "shape": shape}, ulps=8) for shape in ("inverse-sqrt", "cosine")),
    Case("infinite_no_cooldown", infinite, {**SETTLE, "cooldown_steps": 0}, ulps=8),
    *(
        Case(f"knots_{kind}{'_log' * log}", knots, {**CURVE, "kind": kind, "log": log}, ulps=8)
        for kind in ("linear", "cosine", "cubic")
        for log in (False, True)
    ),
    Case("noisy", lrx.noisy, {"s": linear(0.3, 0.1, 60), "scale": 0.25, "key": jax.random.key(3)}, ulps=4),
    # made from public names alone
    Case(
        "outside",
        outside.parabola_schedule,
        {"init_value": 0.3, "end_value": 0.01, "fall_steps": 60},
        ulps=4,
        formula=outside.parabola,
    ),
]

VARIANTS = [
    Case("cosine_flat", cosine, {"init_value": 0.3, "decay_steps": 90, "exponent": 0.0}, ulps=8),
    Case("interpolate_cosine", interpolate, {**PIECES, "interpolate_type": "cosine"}, ulps=8),
    Case(
        "warmup_exponential_no_warmup",
        lrx.warmup_exponential_decay_schedule,
        {**WARM_DECAY, "warmup_steps": 0, "transition_steps": 1},
        ulps=5,
    ),
    Case("join_skipped", join, {"schedules": (linear(0.2, 0.1, 10), linear(0.1, 0.0, 5)), "boundaries": (0,)}),
    Case("torch_onecycle_linear", torch_cycle, {"max_value": 0.3, "total_steps": 77, "anneal": "linear"}, ulps=4),
    Case("torch_momentum", torch_momentum, {"total_steps": 77}, ulps=8),
    Case("inverse_time_stairs", inverse_time, {**DECAY, "staircase": True}, ulps=4, last=0),
    Case("inverse_sqrt_timescale", inverse_sqrt, {"peak_value": 0.3, "warmup_steps": 3, "timescale": 50}, 4, last=3),
    Case("noam_no_warmup", lrx.noam_schedule, {"model_size": 512, "warmup_steps": 0, "scale": 2.0}, ulps=6, last=0),
    *(
        Case(
            f"refined_{norm}", lrx.refined_schedule, {"gradient_norms": NORMS, "peak_value": 0.3, "norm": norm}, ulps=4
        )
        for norm in ("l2", "l1")
    ),
    Case(
        "refined_without_smoothing",
        lrx.refined_schedule,
        {"gradient_norms": NORMS[:60], "peak_value": 0.3, "smoothing": 0.0},
        ulps=4,
    ),
    Case("wsd_decay_alone", wsd, {**WSD, "warmup_steps": 0, "decay_steps": 1, "total_steps": 1}, ulps=8),
    Case("rex_one_step", lrx.rex_schedule, {"init_value": 0.3, "total_steps": 1}, ulps=4),
    Case("flat_cosine_one_step", lrx.flat_cosine_schedule, {"init_value": 0.3, "total_steps": 1}, ulps=8),
    Case("tanh_to_zero", lrx.tanh_schedule, {"init_value": 0.3, "total_steps": 90}, ulps=8),
    Case("k_decay_3", lrx.k_decay_schedule, {"init_value": 0.3, "total_steps": 90, "k": 3.0}, ulps=8),
    Case(
        "chebyshev_77",
        lrx.chebyshev_schedule,
        {"min_value": 0.01, "max_value": 0.3, "total_steps": 77},
        ulps=8,
        exact=False,
    ),
    Case("knots_two", knots, {"counts": (0, 50), "values": (0.3, 0.1), "kind": "cubic"}, ulps=8),
    *(
        Case(f"wsd_{shape}", wsd, {**WSD, "total_steps": 90, "shape": shape}, ulps=8)
        for shape in ("linear", "1-square", "cosine")
    ),
]
"""Further numbers and shapes of the same schedules, whose values alone are compared."""


def ulps(got, want, floor=0.0):
    """The largest error in float32 spacings at the true value. Values too small to be normal may be 0."""
    want, got = np.asarray(want, np.float64), np.asarray(got)
    assert got.dtype == np.float32
    tiny = float(np.finfo(np.float32).tiny)
    normal = np.abs(want) >= tiny
    assert np.all(np.abs(got[~normal]) <= tiny)
    want, got = want[normal], got[normal]
    size = np.maximum(np.abs(want), floor)
    return np.max(np.abs(got.astype(np.float64) - want) / np.spacing(size.astype(np.float32)), initial=0)
