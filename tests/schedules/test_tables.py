"""Long tables: thousands of knots, boundaries and parts."""

import time

import jax
import numpy as np
import pytest

import lrx

N = 4000
STEPS = np.cumsum(1 + np.arange(N) % 7).tolist()
RATES = (0.55 + 0.45 * np.sin(np.arange(N))).astype(np.float32)
COUNTS = np.array([0, 1, 5, 777, 9_999, STEPS[-2], STEPS[-1], 10**6], np.int32)


def within(t, steps):
    return np.searchsorted(steps, t, side="right")


TABLES = {
    "linear": (lrx.interpolated_schedule(STEPS, RATES), lambda t: np.interp(t, STEPS, RATES)),
    "log": (
        lrx.interpolated_schedule(STEPS, RATES.tolist(), log=True),
        lambda t: np.exp(np.interp(t, STEPS, np.log(RATES))),
    ),
    "values": (lrx.piecewise_value_schedule(STEPS[:-1], RATES), lambda t: RATES[within(t, STEPS[:-1])]),
    "constant": (
        lrx.piecewise_constant_schedule(0.5, dict.fromkeys(STEPS, 0.9995)),
        lambda t: 0.5 * float(np.float32(0.9995)) ** within(t, STEPS),
    ),
    "join": (
        lrx.join_schedules([lrx.linear_schedule(float(x), 0.5, 3) for x in RATES[:300]], STEPS[:299]),
        lambda t: (lambda k, s: RATES[k] + (0.5 - RATES[k]) * np.minimum(s, 3) / 3)(
            within(t, STEPS[:299]), t - np.append(0, STEPS)[within(t, STEPS[:299])]
        ),
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_long_table_is_looked_up(name):
    schedule, formula = TABLES[name]
    begin = time.process_time()
    jitted = jax.jit(schedule)(COUNTS)
    assert time.process_time() - begin < 3  # seconds of a busy machine: 4,000 constants took a minute
    np.testing.assert_allclose(schedule(COUNTS), jitted, rtol=1e-5)
    np.testing.assert_allclose(jitted, formula(COUNTS), rtol=1e-4 if name == "constant" else 2e-6)
    assert len(jax.make_jaxpr(schedule)(0).jaxpr.eqns) < 400
    assert lrx.from_json(schedule.to_json()) == schedule
