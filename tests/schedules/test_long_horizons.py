"""Schedules as long as int32 counts, to their last step."""

import numpy as np
import pytest

import lrx
from tests.schedules.cases import at, ulps

T = 2**31 - 1
COUNTS = np.array([0, 1, 2, 1000, 2**20, T // 3, T // 2, T - 2**20, T - 1000, T - 2, T - 1, T])
X, LEFT = COUNTS / T, (T - COUNTS) / T
LONG = {
    "rex": (lrx.rex_schedule(1.0, T), LEFT / (0.5 + 0.5 * LEFT), 4),
    "k_decay": (lrx.k_decay_schedule(1.0, T, k=2.0), np.sin(np.pi / 2 * LEFT * (1 + X)) ** 2, 8),
    "flat_cosine": (lrx.flat_cosine_schedule(1.0, T, flat_fraction=0.0), np.sin(np.pi / 2 * LEFT) ** 2, 8),
    "knee": (lrx.knee_schedule(1.0, T, knee_fraction=0.0), LEFT, 2),
    "tanh": (lrx.tanh_schedule(1.0, T), (COUNTS < T) / (1 + np.exp(2 * (-7 * LEFT + 3 * X))), 8),
    "wsd linear": (lrx.wsd_schedule(1.0, 0, decay_steps=T, stable_steps=0, shape="linear"), LEFT, 2),
    "wsd 1-sqrt": (lrx.wsd_schedule(1.0, 0, decay_steps=T, stable_steps=0), LEFT / (1 + np.sqrt(X)), 8),
    "wsd 1-square": (
        lrx.wsd_schedule(1.0, 0, decay_steps=T, stable_steps=0, shape="1-square"),
        LEFT * (1 + X),
        8,
    ),
    "wsd mirror-cosine": (
        lrx.wsd_schedule(1.0, 0, decay_steps=T, stable_steps=0, shape="mirror-cosine"),
        2 * LEFT - np.sin(np.pi / 2 * LEFT) ** 2,
        8,
    ),
    "warmup_constant": (lrx.warmup_constant_schedule(0.0, 1.0, T), X, 2),
    "onecycle": (lrx.cosine_onecycle_schedule(T, 1.0, 0.0), 4e-6 + (1 - 4e-6) * np.sin(np.pi / 2 * LEFT) ** 2, 8),
    "torch_onecycle": (
        lrx.torch_onecycle_schedule(1.0, T, pct_start=0.0),
        4e-6 + (1 - 4e-6) * np.sin(np.pi / 2 * np.maximum(T - 1 - COUNTS, 0) / (T - 1)) ** 2,
        8,
    ),
    "inverse_time": (lrx.inverse_time_schedule(1.0, 3, decay_rate=0.5), 1 / (1 + 0.5 * COUNTS / 3), 4),
    "inverse_sqrt": (lrx.inverse_sqrt_schedule(1.0, 0, timescale=7), np.sqrt(7 / (COUNTS + 7)), 4),
    "noam": (lrx.noam_schedule(512, 0), 1 / np.sqrt(512.0 * np.maximum(COUNTS, 1)), 6),
    "power": (
        lrx.power_schedule(1e9, 0, a=0.5, b=-0.5, batch_size=1000),
        500 / np.sqrt(1000.0 * np.maximum(COUNTS, 1)),
        8,
    ),
    "infinite": (
        lrx.infinite_schedule(1.0, 0, cooldown_steps=T, constant_value=0.0),
        (1 / np.sqrt(1 + 10 * X) - 1 / np.sqrt(11)) / (1 - 1 / np.sqrt(11)),
        8,
    ),
    "knots": (lrx.interpolated_schedule([0, T], [1.0, 1e-4], log=True), (float(np.float32(1e-4))) ** X, 8),
}


@pytest.mark.parametrize("name", LONG)
def test_long_schedules_are_exact_to_the_end(name):
    schedule, expected, bound = LONG[name]
    close = np.abs(expected) > 1e-12 if name == "infinite" else slice(None)  # its formula cancels at the end
    assert ulps(at(schedule, COUNTS)[close], expected[close]) <= bound
