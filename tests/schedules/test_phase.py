"""The arithmetic of a phase against its formulas in float64, in float32 ulps of the true value."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrx.schedules import _phase

pytestmark = pytest.mark.real_compiler

F32 = np.finfo(np.float32)
LAST = 2**31 - 1
STEPS = np.array([1, 2, 10, 1000, 10**5, 10**7, LAST])[:, None]
PAIRS = np.float32([(0, 1), (1, 0), (1e-3, 1e-6), (3e-4, 1), (0.1, 0.0999), (1.9999999, 1e-9), (-1, -0.1), (1.9, 0.7)])
A, B = PAIRS.T[:, :, None, None]
RATES = np.float32([0.5, 0.9, 0.999, 0.9999, 2, 1e-3, 0.96, 0.97, 0.71, 1.0000001, 1e-30])[:, None, None]
POWERS = np.float32([0, 0.1, 0.5, 1, 2, 3.7, 100])[:, None]
N = 2048


def counts_up_to(steps):
    """All counts of a short phase; those near both ends of a long one, and N random ones: uniform, or in log."""
    if steps < N:
        return np.resize(np.arange(steps + 1), N)
    rng = np.random.default_rng(0)
    near = np.concatenate([np.arange(N // 8), np.exp(rng.uniform(0, np.log(steps), N // 4)).astype(int)])
    return np.concatenate([near, steps - near, rng.integers(0, steps, N // 4)])


COUNTS = np.stack([counts_up_to(steps) for steps in STEPS[:, 0]])
FAR = STEPS * 10.0 ** np.random.default_rng(1).uniform(0, 6, COUNTS.shape)
BEYOND = np.concatenate([COUNTS, np.minimum(FAR, LAST).astype(int)], axis=1)  # up to 10⁶ times the length of the phase
WEIGHTS = np.float32(np.concatenate([np.linspace(0, 1, N), np.geomspace(1e-37, 1, N)]))


def ulps(got, want):
    """The largest error, relative to the spacing of float32 at the true value, among true values that are normal."""
    assert got.dtype == np.float32
    assert got.shape == want.shape
    assert not got.weak_type
    got = np.asarray(got, np.float64)
    assert np.isfinite(got).all()
    normal = (np.abs(want) >= F32.tiny) & (np.abs(want) <= F32.max)
    assert normal.mean() > 0.3
    assert (np.abs(got[np.abs(want) < F32.tiny]) <= F32.tiny).all()
    return np.max(np.abs(got - want)[normal] / 2.0 ** (np.floor(np.log2(np.abs(want[normal]))) - 23))


class Case(NamedTuple):
    function: Callable  # of (*hyperparameters, counts)
    hyperparameters: tuple
    counts: np.ndarray
    formula: Callable  # the same in float64
    bound: float  # in ulps


def line64(a, b, steps, t):
    return a * (steps - t) / steps + b * t / steps


def half_cosine64(a, b, steps, t):
    return a * np.sin(np.pi * (steps - t) / (2 * steps)) ** 2 + b * np.sin(np.pi * t / (2 * steps)) ** 2


CASES = {
    "line": Case(lambda a, b, T, t: _phase.line(a, b, *_phase.split(t, 0, T)), (A, B, STEPS), COUNTS, line64, 2),
    "half_cosine": Case(
        lambda a, b, T, t: _phase.half_cosine(a, b, *_phase.split(t, 0, T)), (A, B, STEPS), COUNTS, half_cosine64, 8
    ),
    "fraction": Case(lambda T, t: _phase.fraction(t, T), (STEPS,), COUNTS, lambda T, t: t / T, 1),
    "power": Case(lambda r, T, t: _phase.power(r, t, T), (RATES, STEPS), BEYOND, lambda r, T, t: np.power(r, t / T), 4),
    "weight_power": Case(lambda p, w: _phase.weight_power(w, p), (POWERS,), WEIGHTS, lambda p, w: np.power(w, p), 4),
}


def exact(x):
    return np.float64(x)  # of a float32 or of a whole number, so without rounding


def narrow(x):
    return jnp.asarray(x, np.float32 if x.dtype == np.float32 else np.int32)


def eager(case):
    return case.function(*case.hyperparameters, case.counts)


SIZE = 2**19


def op_by_op(case):
    """On flat arrays of one size, so that an operation is compiled once for all cases."""
    arrays = np.broadcast_arrays(*case.hyperparameters, case.counts)
    with jax.disable_jit():
        flat = case.function(*(np.resize(x, SIZE) for x in arrays))
    assert not flat.weak_type
    return jnp.asarray(np.asarray(flat)[: arrays[0].size].reshape(arrays[0].shape))


def jit_arguments(case):
    return jax.jit(case.function)(*map(narrow, case.hyperparameters), narrow(case.counts))


def jit_constants(case):
    return jax.jit(lambda counts: case.function(*case.hyperparameters, counts))(narrow(case.counts))


def vmap_hyperparameters(case):
    """One value of every hyperparameter at a time, as when training under a grid of them."""
    flat = [narrow(x) for x in np.broadcast_arrays(*[x[..., 0] for x in case.hyperparameters])]
    rows = narrow(np.broadcast_to(case.counts, (*flat[0].shape, case.counts.shape[-1])))
    function = case.function
    for _ in range(flat[0].ndim):
        function = jax.vmap(function)
    return jax.jit(function)(*flat, rows)


def x64_strict(case):
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        return jax.jit(case.function)(*map(jnp.asarray, case.hyperparameters), jnp.asarray(case.counts))


MODES = (eager, op_by_op, jit_arguments, jit_constants, vmap_hyperparameters, x64_strict)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.__name__)
@pytest.mark.parametrize("name", CASES)
def test_error_in_ulps(name, mode):
    case = CASES[name]
    with np.errstate(over="ignore"):
        want = case.formula(*map(exact, case.hyperparameters), exact(case.counts))
    assert ulps(mode(case), want) <= case.bound


@pytest.mark.parametrize("name", ["line", "half_cosine"])
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_ends_are_exact(name, wrap):
    function = wrap(CASES[name].function)
    np.testing.assert_array_equal(function(A, B, STEPS, 0), np.broadcast_to(A, (len(A), *STEPS.shape)))
    np.testing.assert_array_equal(function(A, B, STEPS, STEPS), np.broadcast_to(B, (len(A), *STEPS.shape)))
    np.testing.assert_array_equal(function(A, B, STEPS, LAST), np.broadcast_to(B, (len(A), *STEPS.shape)))
    np.testing.assert_array_equal(function(A[:, 0], B[:, 0], 0, np.array([0, 1, LAST])), np.repeat(B[:, 0], 3, 1))


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_landmarks_of_powers_are_exact(wrap):
    rates = np.concatenate([RATES[:, 0, 0], np.float32(np.geomspace(1e-30, 1e30, 501))])
    n, ones, last = np.arange(len(rates)) % 127, np.ones_like(rates), np.int32(LAST)
    halves, two = np.full_like(rates, 0.5), np.resize(np.float32([2, 0.5]), rates.size)
    low, few = np.resize(np.float32([0, -1]), rates.size), np.resize(np.int32([0, 0, 1, 1, 9, 9]), rates.size)
    powers = {  # (rate, count, steps), what it is
        "start": [((rates, 0 * n, steps), ones) for steps in (1, 7, last)],
        "end": [((rates, steps + 0 * n, steps), rates) for steps in (1, 7, last)],
        "halves": [((halves, 10_000 * n, 10_000), 0.5**n)],
        "no steps: over": [((rates, 0 * n, 0), rates)],
        "saturated": [((two, last + 0 * n, 1), np.where(two == 2, F32.max, 0))],
        "not positive": [((low, few, 9), np.where(few == 0, 1, 0))],
    }
    weights = [((WEIGHTS, 1), WEIGHTS), ((WEIGHTS, 0), np.ones_like(WEIGHTS))]
    weights += [
        ((np.resize(np.float32([0, 1]), WEIGHTS.size), p), np.resize([0, 1], WEIGHTS.size)) for p in POWERS[1:, 0]
    ]

    @wrap
    def values(powers, weights):
        return {name: [_phase.power(*x) for x, _ in cases] for name, cases in powers.items()}, [
            _phase.weight_power(*x) for x, _ in weights
        ]

    jax.tree.map(
        np.testing.assert_array_equal,
        values(powers, weights),
        ({k: [y for _, y in x] for k, x in powers.items()}, [y for _, y in weights]),
    )


def test_fraction_saturates():
    np.testing.assert_array_equal(_phase.fraction([0, 3, 4, 5, LAST], 4), [0, 0.75, 1, 1, 1])
    np.testing.assert_array_equal(_phase.fraction([0, 5], 0), [1, 1])


@pytest.mark.parametrize("kind", [int, float], ids=["int", "float"])
def test_split(kind):
    """As Python's integers do, which never overflow. Up to 2²⁴ float32 is as exact."""
    numbers = [0, 1, 2, 3, 1000, 2**24 - 1, 2**24] + ([2**24 + 1, 2**30, LAST - 1, LAST] if kind is int else [])
    for begin in numbers:
        for steps in numbers:
            elapsed, remaining = _phase.split(np.array(numbers, kind), begin, steps)
            want = np.clip(np.array(numbers) - begin, 0, steps)
            assert elapsed.dtype == remaining.dtype == (np.int32 if kind is int else np.float32)
            np.testing.assert_array_equal(elapsed, np.array(want, elapsed.dtype))
            np.testing.assert_array_equal(remaining, np.array(steps - want, elapsed.dtype))


@pytest.mark.parametrize("x64", [False, True])
def test_as_count(x64):
    with jax.enable_x64(x64), jax.numpy_dtype_promotion("strict"):
        whole = [
            *[(7, 7), (-7, 0), (LAST, LAST), (2**31, LAST), (10**30, LAST), (-(10**30), 0)],
            *[(np.int64(2**40), LAST), (np.int64(-(2**40)), 0), (np.uint32(2**32 - 1), LAST), (np.uint64(2**63), LAST)],
            *[(np.int8(-3), 0), (np.int8(100), 100), (np.array([3, 2**50]), [3, LAST])],
            *[(jnp.uint32(2**32 - 1), LAST), (jnp.int16(9), 9), (jnp.int32(-1), 0)],
        ]
        real = [
            *[(2.5, 2.5), (-1.0, 0), (1e12, 2**31), (np.float64(0.1), np.float32(0.1)), (np.float16(3), 3)],
            *[(jnp.bfloat16(1.5), 1.5), (np.array([1.0, np.inf]), [1, 2**31])],
        ]
        for dtype, pairs in ((np.int32, whole), (np.float32, real)):
            for count, want in pairs:
                for got in (_phase.as_count(count), _phase.as_count(_phase.as_count(count))):
                    assert got.dtype == dtype, repr(count)
                    np.testing.assert_array_equal(got, np.array(want, dtype), err_msg=repr(count))
        if x64:
            assert jax.jit(_phase.as_count)(jnp.int64(2**40)) == LAST
        for wrong in (True, np.bool_(False), jnp.array([True]), 1j):
            with pytest.raises(TypeError, match="count must be a whole number or a float"):
                _phase.as_count(wrong)


@pytest.mark.parametrize("x64", [False, True])
def test_scalar(x64):
    with jax.enable_x64(x64):
        for x in (1, 0.1, 2**40, np.int64(2**40), np.float64(0.1), jnp.float16(0.5), np.arange(3), jnp.arange(3)):
            got = _phase.scalar(x)
            assert got.dtype == np.float32
            np.testing.assert_array_equal(got, np.asarray(x).astype(np.float32))


def test_float_counts_interpolate():
    """A fractional count lies on the same curve, and has the slope of the curve."""
    t, steps = np.float32([0.5, 250.25, 999.5]), np.array(1000)
    for name, hyperparameters in {"line": (A, B), "half_cosine": (A, B), "power": (RATES,), "fraction": ()}.items():
        case = CASES[name]
        want = case.formula(*map(exact, hyperparameters), 1000.0, exact(t))
        assert ulps(case.function(*hyperparameters, steps, t), want) <= case.bound
    slope = jax.vmap(jax.grad(_phase.half_cosine, (2, 3)), (None, None, 0, 0))(1.0, 0.5, t, 1000 - t)
    np.testing.assert_allclose(slope[0] - slope[1], -0.5 * np.pi / 2000 * np.sin(np.pi * exact(t) / 1000), rtol=1e-6)
    slope = jax.vmap(jax.grad(_phase.power, 1), (None, 0, None))(0.9, np.float32([0.5, 250.25, 1000, 2000]), 1000)
    np.testing.assert_allclose(slope, 0.9 ** np.array([0.0005, 0.25025, 1, 2]) * np.log(0.9) / 1000, rtol=1e-6)


def test_scan():
    def step(count, _):
        return count + 1, _phase.half_cosine(0.1, 1e-3, *_phase.split(count, 0, 500))

    _, got = jax.lax.scan(step, jnp.int32(0), length=600)
    want = half_cosine64(exact(np.float32(0.1)), exact(np.float32(1e-3)), 500, np.minimum(np.arange(600), 500))
    assert ulps(got, want) <= 8


GRADIENTS = {  # function of (x, y, steps, count)
    "line": CASES["line"].function,
    "half_cosine": CASES["half_cosine"].function,
    "power": lambda x, y, T, t: y * _phase.power(x, t, T),
    "cosine_with_exponent": lambda x, y, T, t: (
        x * _phase.weight_power(_phase.cosine_weights(*_phase.split(t, 0, T))[0], y)
    ),
    "polynomial": lambda x, y, T, t: x * _phase.weight_power(1 - _phase.fraction(t, T), y),
}


def test_gradients_are_right():
    t, steps = np.array([0, 1, 300, 999, 1000]), 1000

    def gradient(function, by, *args):
        return jax.jit(jax.vmap(jax.grad(function, by), (None, None, None, 0)))(*map(narrow, args), narrow(t))

    for name in ("line", "half_cosine"):
        case = CASES[name]
        for by, (a, b) in enumerate(((1.0, 0.0), (0.0, 1.0))):
            assert (
                ulps(
                    gradient(case.function, by, np.float32(0.3), np.float32(0.7), np.array(steps)),
                    case.formula(a, b, steps, t),
                )
                <= case.bound
            )
    rate = exact(np.float32(0.9))
    want = t / steps * rate ** (t / steps - 1)
    np.testing.assert_allclose(
        gradient(GRADIENTS["power"], 0, *map(np.float32, [0.9, 1]), np.array(steps)), want, rtol=5e-7
    )
    w, p = exact(np.float32([0.2, 0.7, 1])), exact(np.float32(1.7))
    by_w, by_p = jax.jit(jax.vmap(jax.grad(_phase.weight_power, (0, 1)), (0, None)))(np.float32(w), 1.7)
    np.testing.assert_allclose(by_w, p * w ** (p - 1), rtol=5e-7)
    np.testing.assert_allclose(by_p, np.log(w) * w**p, rtol=5e-7)
    second = jax.jit(jax.grad(jax.grad(_phase.power)))(0.9, 300, 1000)
    np.testing.assert_allclose(second, 0.3 * -0.7 * rate**-1.7, rtol=1e-6)


def test_python_numbers_equal_arrays():
    """The form in which a number comes changes nothing, tracers and constants included."""
    t = jnp.arange(100)
    for steps, a, b in ((90, 0.1, 1e-3), (90, 1, 0)):
        forms = [
            (a, b, steps),
            (np.float64(a), np.float32(b), np.int64(steps)),
            (*jnp.float32([a, b]), jnp.int32(steps)),
        ]
        for name in ("line", "half_cosine"):
            got = [CASES[name].function(*form, t) for form in forms]
            for other in got[1:]:
                np.testing.assert_array_equal(got[0], other)
