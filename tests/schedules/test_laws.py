"""The laws of the algebra of schedules, for any schedules and numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrx
from lrx.schedules._phase import rescaled
from tests.schedules.combined import ONE_EACH, T, at

LAST = 2**31 - 1
values = st.floats(0.015625, 4.0, width=32)
lengths = st.integers(1, 50)
quick = settings(max_examples=15, deadline=None)


@st.composite
def schedules(draw):
    """Smooth, stepped, rising, cyclic; all with values in (0, 4]."""
    a, b, n = draw(values), draw(values), draw(lengths)
    return draw(
        st.sampled_from(
            [
                lrx.linear_schedule(a, b, n),
                lrx.cosine_decay_schedule(a, n, alpha=0.25),
                lrx.warmup_linear_schedule(a, n, total_steps=2 * n, init_value=b, end_value=b),
                lrx.piecewise_value_schedule([n], [a, b]),
                lrx.triangular_schedule(b, a, half_cycle_steps=n),
            ]
        )
    )


@quick
@given(schedules(), schedules(), schedules())
def test_sum_and_product_commute_and_distribute(r, s, t):
    np.testing.assert_array_equal(at(r * s, T), at(s * r, T))
    np.testing.assert_array_equal(at(r + s, T), at(s + r, T))
    np.testing.assert_allclose(at(r * (s + t), T), at(r * s + r * t, T), rtol=5e-7)
    np.testing.assert_allclose(at(lrx.total(r, s, t), T), at(r + (s + t), T), rtol=5e-7)


@quick
@given(schedules(), schedules(), values, values)
def test_bounds_hold(s, t, a, b):
    low, high = sorted((a, b))
    clipped = lrx.clip_schedule(s, low, high)
    assert ((at(clipped, T) >= low) & (at(clipped, T) <= high)).all()
    assert lrx.clip_schedule(clipped, low, high)(T).tolist() == clipped(T).tolist()
    np.testing.assert_array_equal(at(lrx.minimum(s, t) + lrx.maximum(s, t), T), at(s + t, T))
    np.testing.assert_array_equal(at(clipped, T), at(lrx.minimum(lrx.maximum(s, low), high), T))


@quick
@given(schedules(), lengths, lengths, st.sampled_from(["linear", "cosine", "1-sqrt"]))
def test_scaling_by_a_power_of_two_commutes_with_everything(s, n, m, shape):
    for f in (
        lambda s, k: lrx.shift(s, n),
        lambda s, k: lrx.every(s, n),
        lambda s, k: lrx.repeat(s, n),
        lambda s, k: lrx.reverse(s, n),
        lambda s, k: lrx.with_warmup(s, n, init_value=k, shape=shape),
        lambda s, k: lrx.with_cooldown(s, start=n, steps=m, end_value=k, shape=shape),
    ):
        np.testing.assert_array_equal(at(f(4 * s, 2.0), T), at(4 * f(s, 0.5), T))


@quick
@given(schedules(), lengths, lengths)
def test_shifts_add_up_and_carry_through(s, n, m):
    np.testing.assert_array_equal(at(lrx.shift(lrx.shift(s, n), m), T), at(lrx.shift(s, n + m), T))
    np.testing.assert_array_equal(at(lrx.shift(s * s, n), T), at(lrx.shift(s, n) * lrx.shift(s, n), T))
    np.testing.assert_array_equal(at(lrx.with_warmup(s, n), T + n), at(s, T))
    np.testing.assert_array_equal(at(lrx.start_at(lrx.start_at(s, n), m), T), at(s, T + n + m))
    np.testing.assert_array_equal(at(lrx.start_at(lrx.shift(s, n), n), T), at(s, T))
    assert at(lrx.start_at(s, n), [LAST, LAST - n]).tolist() == at(s, [LAST, LAST]).tolist()


@quick
@given(schedules(), lengths)
def test_reversed_twice_is_itself(s, n):
    once, twice = lrx.reverse(s, n), lrx.reverse(lrx.reverse(s, n), n)
    np.testing.assert_array_equal(at(twice, T)[: n + 1], at(s, T)[: n + 1])
    np.testing.assert_array_equal(at(once, T)[: n + 1], at(s, T)[n::-1])


@quick
@given(schedules(), lengths, lengths)
def test_slower_clocks_multiply_and_hold_each_value(s, n, m):
    np.testing.assert_array_equal(at(lrx.every(lrx.every(s, n), m), T), at(lrx.every(s, n * m), T))
    np.testing.assert_array_equal(at(lrx.every(s, n), T), at(s, T // n))


@pytest.mark.parametrize(("minibatches", "epochs", "updates"), [(4, 4, 611), (32, 10, 7), (1, 1, 5)])
def test_the_decay_of_jaxmarl_and_purejaxrl_to_the_last_step(minibatches, epochs, updates):
    """`linear_schedule` of their PPO scripts, as they write it, in float64."""
    k, rate = minibatches * epochs, 2.5e-4
    ours, counts = lrx.every(lrx.linear_schedule(rate, 0.0, updates), k), np.arange(k * updates)
    np.testing.assert_allclose(at(ours, counts), np.float32(rate) * (1 - (counts // k) / updates), rtol=3e-7)
    assert at(ours, k * updates) == 0
    assert ours.end == k * updates


@quick
@given(schedules(), lengths)
def test_repeated_it_has_its_period(s, n):
    values = at(lrx.repeat(s, n), T)
    np.testing.assert_array_equal(values[n:], values[:-n])
    np.testing.assert_array_equal(values[:n], at(s, T)[:n])


@quick
@given(values, values, st.integers(1, 10**7), st.integers(1, LAST), st.data())
def test_stretched_it_keeps_its_shape(a, b, n, m, data):
    t = np.array([0, m, *(data.draw(st.integers(0, m)) for _ in range(14))])
    for make in (lrx.linear_schedule, lambda a, b, n: lrx.cosine_decay_schedule(a, n, alpha=0.5)):
        got, want = at(lrx.stretch(make(a, b, n), m), t), at(make(a, b, m), t)
        np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-6 * max(a, b))
        np.testing.assert_array_equal(got[:2], want[:2])


@quick
@given(schedules(), st.integers(1, 1000), st.integers(1, 1000))
def test_stretched_by_a_whole_factor_it_is_exact(s, n, factor):
    if s.end is not None:
        t = np.minimum(T, s.end)
        np.testing.assert_array_equal(at(lrx.stretch(s, s.end * factor), t * factor), at(s, t))


@settings(max_examples=200, deadline=None)
@given(st.integers(1, LAST), st.integers(0, LAST), st.data())
def test_rescaled_counts_are_exact_for_every_horizon(steps, end, data):
    t = np.array([0, steps, *(data.draw(st.integers(0, steps)) for _ in range(14))])
    for count, whole, rest in zip(t.tolist(), *(np.asarray(x).tolist() for x in rescaled(t, steps, end)), strict=True):
        left = count * end - whole * steps  # Python's integers have no end
        assert abs(left) < steps
        assert rest == pytest.approx(left / steps, abs=1e-6)


@pytest.mark.parametrize("shape", ONE_EACH)
@quick
@given(schedules(), values, st.integers(2, 50), st.integers(2, 50))
def test_phases_meet_without_a_jump_and_are_monotone(shape, s, v, c, n):
    up = at(lrx.with_warmup(s, n, init_value=v, shape=shape), T)
    down = at(lrx.with_cooldown(s, start=c, steps=n, end_value=v, shape=shape), T)
    assert (up[0], up[n]) == (v, at(s, T)[0])
    assert (down[c], down[c + n], down[-1]) == (at(s, T)[c], v, v)
    np.testing.assert_array_equal(down[:c], at(s, T)[:c])
    for phase in (up[: n + 1], down[c : c + n + 1]):
        steps = np.diff(phase) * np.sign(phase[-1] - phase[0])
        assert (steps >= -1e-6).all()
        assert steps.max() <= 0.95 * abs(phase[-1] - phase[0]) + 1e-6  # an exponential, 4 to 1/64 in two steps: 0.94
