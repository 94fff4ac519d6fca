"""The schedules that the contract and the agreement tests share: one record each, with what is promised of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

import lrx
from tests.reference import schedules as reference

INT32_MAX = 2**31 - 1


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

    def build(self):
        return self.factory(**self.arguments)

    def reference(self, count):
        return getattr(reference, self.factory.__name__)(count, **self.arguments)

    def counts(self):
        """The start, the seams and their neighbours, and far beyond."""
        lengths = [x for x in jax.tree.leaves(self.build()) if isinstance(x, int)]
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
]
