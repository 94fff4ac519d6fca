"""Arguments that no schedule can have, and kinds that are no numbers."""

import re

import jax
import pytest

import lrx

INT32_MAX = 2**31 - 1
WSD = {"peak_value": 1.0, "warmup_steps": 10, "decay_steps": 20}
NOISE = {"s": 1.0, "scale": 0.1, "key": jax.random.key(0)}
BAD = {
    "onecycle of no steps": (lambda: lrx.cosine_onecycle_schedule(0, 1.0), "transition_steps=...) must be positive"),
    "onecycle shares": (lambda: lrx.linear_onecycle_schedule(10, 1.0, 0.5, 0.3), "pct_final=...) must be at least"),
    "onecycle share": (lambda: lrx.cosine_onecycle_schedule(10, 1.0, 1.5), "pct_start=...) must be at most 1"),
    "torch": (lambda: lrx.torch_onecycle_schedule(1.0, 0), "total_steps=...) must be positive"),
    "torch shape": (lambda: lrx.torch_onecycle_schedule(1.0, 9, anneal="cosine"), "anneal=...) must be one of"),
    "interpolate kind": (
        lambda: lrx.piecewise_interpolate_schedule("cubic", 1.0),
        "interpolate_type=...) must be one of",
    ),
    "interpolate scale": (lambda: lrx.piecewise_interpolate_schedule("linear", 1.0, {3: -1.0}), "must not be negative"),
    "join too few": (
        lambda: lrx.join_schedules([1.0, 2.0], []),
        "boundaries=...) must be at least one fewer than schedules (2)",
    ),
    "join none": (lambda: lrx.join_schedules([], []), "schedules=...) must hold at least one"),
    "join unordered": (lambda: lrx.join_schedules([1.0, 2.0, 3.0], [5, 3]), "boundaries=...) must not decrease"),
    "join negative": (lambda: lrx.join_schedules([1.0, 2.0], [-1]), "boundaries=...) must not be negative"),
    "sgdr none": (lambda: lrx.sgdr_schedule([]), "cosine_kwargs=...) must hold at least one"),
    "wsd both": (
        lambda: lrx.wsd_schedule(**WSD, total_steps=100, stable_steps=70),
        "or stable_steps must be given, one of the two",
    ),
    "wsd neither": (lambda: lrx.wsd_schedule(**WSD), "or stable_steps must be given, one of the two"),
    "wsd too short": (lambda: lrx.wsd_schedule(**WSD, total_steps=29), "must be at least warmup_steps + decay_steps"),
    "wsd shape": (lambda: lrx.wsd_schedule(**WSD, stable_steps=1, shape="sqrt"), "shape=...) must be one of 'linear'"),
    "wsd to zero": (
        lambda: lrx.wsd_schedule(**WSD, stable_steps=1, shape="exponential"),
        "end_value=...) must be positive",
    ),
    "knee": (lambda: lrx.knee_schedule(1.0, 10, knee_fraction=0.8, warmup_steps=3), "warmup_steps=...) must leave"),
    "inverse time": (lambda: lrx.inverse_time_schedule(1.0, 5, decay_rate=0.0), "decay_rate=...) must be positive"),
    "inverse sqrt": (lambda: lrx.inverse_sqrt_schedule(1.0, -1), "warmup_steps=...) must not be negative"),
    "timescale": (lambda: lrx.inverse_sqrt_schedule(1.0, 5, timescale=0), "timescale=...) must be positive"),
    "rex": (lambda: lrx.rex_schedule(float("nan"), 5), "init_value=...) must be finite"),
    "k": (lambda: lrx.k_decay_schedule(1.0, 5, k=0.0), "k=...) must be positive"),
    "k_power": (lambda: lrx.k_decay_schedule(1.0, 5, power=0.0), "power=...) must be positive"),
    "chebyshev": (lambda: lrx.chebyshev_schedule(1.0, 0.5, total_steps=5), "max_value=...) must be at least min_value"),
    "knots of one": (lambda: lrx.interpolated_schedule([1], [1.0]), "counts=...) must hold at least two"),
    "knots unordered": (lambda: lrx.interpolated_schedule([3, 3], [1.0, 2.0]), "counts=...) must increase"),
    "knots unequal": (lambda: lrx.interpolated_schedule([3, 4], [1.0]), "values=...) must be as many as counts (2)"),
    "knots of zero": (
        lambda: lrx.interpolated_schedule([3, 4], [1.0, 0.0], log=True),
        "values=...) must be at least 1e-18",
    ),
    "noise": (lambda: lrx.noisy(**{**NOISE, "scale": 1.5}), "scale=...) must be at most 1"),
    "noise key": (lambda: lrx.noisy(**{**NOISE, "key": (1, 2, 3)}), "key=...) must have 2 or 4 words"),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_with_the_call_the_argument_and_the_rule(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lrx.join_schedules([1.0, "x"], [3]), "join_schedules(schedules=...)"),
        (lambda: lrx.wsd_schedule(1.0, 0.5, decay_steps=2, stable_steps=1), "wsd_schedule(warmup_steps=...)"),
        (lambda: lrx.noisy(1.0, scale=0.1, key=3), "noisy(key=...)"),
    ],
)
def test_wrong_kinds_are_refused(call, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        call()
