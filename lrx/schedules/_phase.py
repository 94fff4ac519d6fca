"""The arithmetic of a phase: a stretch of `steps` updates, of which some have `elapsed` and the others are `remaining`.

Float32 keeps 24 bits, and the usual formulas spend them badly: `1 - t/T` cancels near the end, `r**(t/T)` multiplies
the rounding of t/T by log r. So a phase works from two whole numbers, the steps that elapsed and those that remain, and
where one float32 is too short a number is a pair (head, tail): the head holds the leading 12 bits, so that the product
of two heads is exact, and the tail holds the rest. Heads are cut by integer arithmetic, which no compiler simplifies
away or contracts into a fused multiply-add that rounds differently. A head is a constant when differentiated, and the
tail, computed as a residual, carries the whole derivative.

Counts may have any shape, hyperparameters may be Python numbers, arrays or tracers; results are float32.
The error bounds are in float32 ulps of the exact value, wherever that is a normal float32.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

INT32_MAX = 2**31 - 1
TINY = float(np.finfo(np.float32).tiny)  # the smallest normal float32

_fused = functools.partial(jax.jit, inline=True)  # one dispatch when eager, no trace when inside another jit


def as_count(count: ArrayLike) -> Array:
    """A number of steps, as int32, or as float32 if `count` is a float. Outside of [0, 2³¹ − 1] it saturates."""
    if isinstance(count, int) and not isinstance(count, bool):  # of any size, so before NumPy or JAX see it
        return jnp.int32(min(max(count, 0), INT32_MAX))
    if not isinstance(count, Array):
        count = np.asarray(count)  # JAX without x64 would wrap an int64
    xp = jnp if isinstance(count, Array) else np
    if jnp.issubdtype(count.dtype, jnp.integer):
        largest = min(INT32_MAX, int(jnp.iinfo(count.dtype).max))
        return jnp.asarray(xp.clip(count, 0, largest).astype(np.int32))
    if jnp.issubdtype(count.dtype, jnp.floating):
        return jnp.clip(scalar(count), 0.0, 2.0**31)
    raise TypeError(f"count must be a whole number or a float, got {count.dtype}")


def scalar(x: ArrayLike) -> Array:
    """A number as float32, the precision in which states keep it."""
    return x.astype(jnp.float32) if isinstance(x, Array) else jnp.asarray(np.asarray(x, np.float32))


def split(count: ArrayLike, begin: ArrayLike, steps: ArrayLike) -> tuple[Array, Array]:
    """The steps of a phase that elapsed at `count` and those that remain.

    elapsed = clip(count − begin, 0, steps),  remaining = steps − elapsed
    """
    count, begin, steps = _counts(count, begin, steps)
    elapsed = jnp.clip(count - begin, 0, steps)
    return elapsed, steps - elapsed


def is_before(count: Array, place: ArrayLike) -> Array:
    """count < place, in one kind: under strict promotion JAX does not compare a float count with a whole number."""
    return count < (jnp.asarray(place).astype(count.dtype) if count.dtype == np.float32 else place)


def fraction(x: ArrayLike, steps: ArrayLike) -> Array:
    """min(x/steps, 1), within 1 ulp; 1 if there are no steps."""
    x, steps = _counts(x, steps)
    head, tail = _quotient(*_over(jnp.minimum(x, steps), steps))
    return head + tail


def rescaled(count: ArrayLike, steps: ArrayLike, end: ArrayLike) -> tuple[Array, Array]:
    """count·end/steps as the nearest whole number or its neighbour, and the rest in (−1, 1); `end` from `steps` on.

    The whole part of a whole count is exact for every horizon, so that the rest is 0 where the division comes out even.
    """
    t, T, E = _counts(count, steps, end)
    t, T = _over(jnp.minimum(t, T), T)
    if t.dtype != np.int32:
        return jnp.zeros_like(t), fraction(t, T) * E
    whole, left = ratio(t, T, E)
    return whole, left.astype(jnp.float32) / T.astype(jnp.float32)


def ratio(t: Array, T: Array, E: Array) -> tuple[Array, Array]:
    """t·E/T for whole numbers t ≤ T and T > 0: the nearest whole number or its neighbour, and what is left, over T."""
    head, tail = _quotient(t, T)
    whole, rest = jnp.int32(0), tail * E.astype(jnp.float32)
    for mask in (0xFFF, 0xFFF000, 0x7F000000):  # 12 bits at a time: each product is exact
        part = head * (E & mask).astype(jnp.float32)
        floor = jnp.floor(part)
        whole, rest = whole + floor.astype(jnp.int32), rest + (part - floor)
    whole = whole + jnp.round(rest).astype(jnp.int32)
    # count·end − whole·steps modulo 2³², which is the difference itself since it is less than `steps`
    return whole, lax.bitcast_convert_type(_wrapped(t) * _wrapped(E) - _wrapped(whole) * _wrapped(T), jnp.int32)


def _wrapped(count: Array) -> Array:
    return lax.bitcast_convert_type(count, jnp.uint32)


def line(a: ArrayLike, b: ArrayLike, elapsed: Array, remaining: Array) -> Array:
    """The straight line from `a` to `b`: a·remaining/steps + b·elapsed/steps, with steps = elapsed + remaining.

    Within 2 ulp if neither of `a`, `b` has the other's opposite sign; exact at both ends; `b` if there are no steps.
    """
    a, b = scalar(a), scalar(b)
    elapsed, steps = _over(elapsed, elapsed + remaining)
    (u, du), (v, dv) = _quotient(remaining, steps), _quotient(elapsed, steps)
    return (a * u + b * v) + (a * du + b * dv)


def half_cosine(a: ArrayLike, b: ArrayLike, elapsed: Array, remaining: Array) -> Array:
    """Half a cosine from `a` to `b`: b + (a − b)·½(1 + cos(π·elapsed/steps)), with steps = elapsed + remaining.

    Within 8 ulp if neither of `a`, `b` has the other's opposite sign; exact at both ends; `b` if there are no steps.
    """
    u, v = cosine_weights(elapsed, remaining)
    return scalar(a) * u + scalar(b) * v


@_fused
def cosine_weights(elapsed: Array, remaining: Array) -> tuple[Array, Array]:
    """The weights of the start and of the end of half a cosine; (0, 1) if there are no steps.

    sin²(½π·remaining/steps) = ½(1 + cos(π·elapsed/steps)),  sin²(½π·elapsed/steps) = 1 minus that
    """
    elapsed, steps = _over(elapsed, elapsed + remaining)
    first_half = elapsed <= remaining
    head, tail = _quotient(jnp.where(first_half, elapsed, remaining), steps)  # minimum would halve the slope of a tie
    sine = jnp.sin(_HALF_PI[0] * head + (_HALF_PI[1] * head + (math.pi / 2) * tail))
    small = sine * sine  # at most ½, so that its complement does not cancel
    return jnp.where(first_half, 1 - small, small), jnp.where(first_half, small, 1 - small)


def power(rate: ArrayLike, x: ArrayLike, steps: ArrayLike) -> Array:
    """rate^(x/steps), within 4 ulp; `rate` if there are no steps.

    Exactly 1 at x = 0, `rate` at x = steps, and 2^−n at x = n·steps if the rate is ½. Saturates at the largest float32
    and underflows to 0. A rate below 2⁻¹²⁶, a negative one too, counts as 0, and its gradient is 0.
    """
    x, steps = _counts(x, steps)
    return _power(scalar(rate), *_quotient(*_over(x, steps)))


def weight_power(w: ArrayLike, p: ArrayLike) -> Array:
    """w^p for w in [0, 1] and p ≥ 0, within 4 ulp, with 0⁰ = 1.

    Exact at p = 0 and p = 1. At w = 0 both derivatives are 0, whatever p, and so are never infinite.
    """
    p = scalar(p)
    head = _head(p)
    return _power(scalar(w), head, p - head)


@_fused
def power_complement(rate: ArrayLike, x: ArrayLike, steps: ArrayLike) -> Array:
    """1 − rate^(x/steps) for a rate in [0, 1], within 4 ulp also where the power is close to 1."""
    x, steps = _counts(x, steps)
    head, tail = _quotient(*_over(x, steps))
    return _complement(_power(scalar(rate), head, tail), _log(scalar(rate)) * (head + tail))


def power_weights(elapsed: Array, remaining: Array, p: ArrayLike) -> tuple[Array, Array]:
    """The weights r^p of the start and 1 − r^p of the end, with r = remaining/steps; within 4 ulp, with 0⁰ = 1."""
    return _power_weights(elapsed, remaining, scalar(p))


@_fused
def _power_weights(elapsed: Array, remaining: Array, p: Array) -> tuple[Array, Array]:
    elapsed, steps = _over(elapsed, elapsed + remaining)
    head, tail = _quotient(elapsed, steps)
    return _raised(_summed(*_quotient(steps - elapsed, steps)), head + tail, p)


def cosine_power_weights(elapsed: Array, remaining: Array, p: ArrayLike) -> tuple[Array, Array]:
    """The weights c^p of the start and 1 − c^p of the end, c the first of `cosine_weights`; within 8 ulp, 0⁰ = 1."""
    return _cosine_power_weights(elapsed, remaining, scalar(p))


@_fused
def _cosine_power_weights(elapsed: Array, remaining: Array, p: Array) -> tuple[Array, Array]:
    w, (v, _) = _cosine_pairs(elapsed, remaining)
    return _raised(w, v, p)


def cosine_power(rate: ArrayLike, elapsed: Array, remaining: Array) -> Array:
    """rate^v with v the second of `cosine_weights`: half a cosine between logarithms; within 8 ulp."""
    return _cosine_power(scalar(rate), elapsed, remaining)


@_fused
def _cosine_power(rate: Array, elapsed: Array, remaining: Array) -> Array:
    v, dv = _cosine_pairs(elapsed, remaining)[1]
    head = _head(v)
    return _power(rate, head, (v - head) + dv)


def _cosine_pairs(elapsed: Array, remaining: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """`cosine_weights`, each as its float32 and what that lacks, to some 27 bits."""
    elapsed, steps = _over(elapsed, elapsed + remaining)
    remaining = steps - elapsed
    first_half = elapsed <= remaining
    head, tail = _quotient(jnp.where(first_half, elapsed, remaining), steps)
    x, dx = _summed(_HALF_PI[0] * head, _HALF_PI[1] * head + (math.pi / 2) * tail)
    t = x * x  # sin x = x + x·(−x²/6 + x⁴/120 − …): the second part is small, so that its rounding is
    series = t * (-1 / 6 + t * (1 / 120 + t * (-1 / 5040 + t * (1 / 362880 - t / 39916800))))
    sine, dsine = _summed(x, x * series + dx * (1 - t / 2))
    s = _head(sine)
    small, dsmall = _summed(s * s, (sine - s) * (sine + s) + 2 * sine * dsine)
    large = 1 - small
    dlarge = ((1 - large) - small) - dsmall
    w = jnp.where(first_half, large, small), jnp.where(first_half, dlarge, dsmall)
    return w, (jnp.where(first_half, small, large), jnp.where(first_half, dsmall, dlarge))


_HALF_PI = 1.5703125, math.pi / 2 - 1.5703125  # the first has 12 bits at most, as have those below
_TWO_OVER_LN2 = 2.884765625, 2 / math.log(2) - 2.884765625
_CENTERS = np.arange(11, 24) / 16  # of the intervals that cover [√½, √2)
_LOG2_HEADS = np.float32(np.round(np.log2(_CENTERS) * 2**14) / 2**14)  # a whole number up to 128 can be added exactly
_LOG2_TAILS = np.float32(np.log2(_CENTERS) - _LOG2_HEADS)


def _counts(*counts: ArrayLike) -> list[Array]:
    """All in int32, or all in float32 if one is a float."""
    arrays = [as_count(count) for count in counts]
    return arrays if all(x.dtype == np.int32 for x in arrays) else [x.astype(jnp.float32) for x in arrays]


@_fused
def _over(elapsed: Array, steps: Array) -> tuple[Array, Array]:
    """A phase of no steps is over, as one of a single step that elapsed. Never divides by 0, in a gradient neither."""
    empty = steps == 0
    return jnp.where(empty, 1, elapsed), jnp.where(empty, 1, steps)


def _head(x: Array) -> Array:
    """`x` rounded to 12 bits, a constant when differentiated."""
    return _as_float((_bits(x) + 0x800) & ~0xFFF)


def _bits(x: Array) -> Array:
    return lax.bitcast_convert_type(x, jnp.int32)


def _as_float(bits: Array) -> Array:
    return lax.bitcast_convert_type(bits, jnp.float32)


def _rounded(count: Array) -> tuple[Array, Array | float]:
    """`count` in float32, and what the rounding lost."""
    rounded = count.astype(jnp.float32)
    if count.dtype == np.float32:
        return rounded, 0.0
    low = count & 0x7F  # 31 bits are 24 and 7
    return rounded, ((count - low).astype(jnp.float32) - rounded) + low.astype(jnp.float32)


@_fused
def _quotient(x: Array, steps: Array) -> tuple[Array, Array]:
    """x/steps as a pair, to 33 bits."""
    (x, dx), (s, ds) = _rounded(x), _rounded(steps)
    inverse = 1 / s  # of a scalar, as a rule: once, where a division would cost every count
    head, s_head = _head(x * inverse), _head(s)
    residual = ((x - head * s_head) + dx) - head * ((s - s_head) + ds)  # x − head·steps
    return head, residual * inverse


@_fused
def _power(base: Array, head: Array, tail: Array) -> Array:
    """base^(head + tail) = 2^z, z = (head + tail)·log₂ base = k + f, with k whole and |f| ≤ ½."""
    base = jnp.where(base < TINY, 0.0, base)
    log_head, log_tail = _log2(base)
    z_head = log_head * head
    z_tail = log_head * tail + log_tail * (head + tail)
    k = jnp.clip(jnp.round(lax.stop_gradient(z_head + z_tail)), -126, 127)  # the exponents of normal float32
    f = jnp.clip((z_head - k) + z_tail, -32, 1)  # leaves [−½, ½] only to underflow or to saturate
    y = jnp.minimum(jnp.exp2(f), 2 - 2.0**-23) * _as_float((k.astype(jnp.int32) + 127) << 23)
    # The bits of `base` itself where the exponent is 1: added, since selecting them would lose the tail's derivative.
    return y + lax.stop_gradient(jnp.where((head == 1) & (tail == 0), base - y, 0.0))


def _summed(x: Array, dx: Array) -> tuple[Array, Array]:
    """A pair as its sum in float32 and what that rounding lost, for |dx| ≤ |x|."""
    total = x + dx
    return total, (x - total) + dx


def _raised(w: tuple[Array, Array], v: Array, p: Array) -> tuple[Array, Array]:
    """w^p and 1 − w^p, of a pair w in [0, 1] and of v = 1 − w, which has the digits that w lacks where it is near 1."""
    base, dbase = w
    positive = base > 0
    inverse = 1 / jnp.where(positive, base, 1.0)
    head = _head(p)
    # base^p·(1 + dbase/base)^p, of which the second factor is close to 1
    y = _power(base, head, p - head)
    y = y + y * jnp.where(positive, p * (dbase * inverse), 0.0)
    near = v <= 0.5
    s = jnp.where(near, v, 0.0)
    s = s / (2 - s)
    t = s * s  # log(1 − v) = −2·atanh(v/(2 − v)), the series for v ≤ ½
    series = 1 / 3 + t * (1 / 5 + t * (1 / 7 + t * (1 / 9 + t * (1 / 11 + t * (1 / 13 + t * (1 / 15 + t / 17))))))
    log = jnp.where(near, -2 * (s + s * (t * series)), _log(jnp.where(near, 1.0, base)))
    complement = _complement(y, p * log)
    return y, complement + lax.stop_gradient(jnp.where(p == 1, v - complement, 0.0))


def _log(x: Array) -> Array:
    """The natural logarithm, also near 1 to its last digits; of 0 and below it is very low."""
    head, tail = _log2(jnp.where(x < TINY, 0.0, x))
    return head * math.log(2) + tail * math.log(2)


def _complement(y: Array, z: Array) -> Array:
    """1 − y with y = e^z in [0, 1]: where y > ½, as 2·e^{z/2}·sinh(−z/2), whose series does not cancel."""
    h = jnp.clip(z * -0.5, 0.0, 0.5)
    t = h * h
    sinh = h + h * (t * (1 / 6 + t * (1 / 120 + t * (1 / 5040 + t / 362880))))
    return jnp.where(y <= 0.5, 1 - y, 2 * (jnp.exp(-h) * sinh))


@jax.custom_jvp  # 1/x is shorter and closer than the derivative of the steps below
def _log2(x: Array) -> tuple[Array, Array]:
    """log₂ x as a pair, to 36 bits; of 0 so low that any power of it is 0 or 1.

    x = 2^e·m with m in [√½, √2), c the multiple of 1/16 nearest to m, s = (m − c)/(m + c), |s| < 0.021:
    log₂ x = e + log₂ c + 2/ln 2·atanh s,  atanh s = s + s³/3 + s⁵/5 + …
    """
    above = _bits(x) - int(np.float32(0.5**0.5).view(np.int32))
    e = above >> 23
    m = _as_float(_bits(x) - (e << 23))
    sixteenths = jnp.round(m * 16)
    c, index = sixteenths / 16, sixteenths.astype(jnp.int32) - 11
    d = m + c
    d_head = _head(d)
    s_head = _head((m - c) / d)
    s_tail = (((m - c) - s_head * d_head) - s_head * (m - (d_head - c))) / d
    s = s_head + s_tail
    K, dK = _TWO_OVER_LN2
    coarse = e.astype(jnp.float32) + _chosen(_LOG2_HEADS, index)
    fine = _chosen(_LOG2_TAILS, index) + (dK * s_head + (K + dK) * (s_tail + s * (s * s) * (1 / 3 + s * s / 5)))
    head = _head(coarse + K * s_head)
    tail = ((coarse - head) + K * s_head) + fine
    return jnp.where(x > 0, head, -(2.0**40)), jnp.where(x > 0, tail, 0.0)


def _chosen(table: Any, index: Array) -> Array:
    """table[index], by selection: a gather from a constant cannot follow an index that is spread over a mesh."""
    return lax.select_n(index, *(jnp.full_like(index, x, jnp.float32) for x in table.tolist()))


@_log2.defjvp
def _log2_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    (x,), (dx,) = primals, tangents
    head, tail = _log2(x)
    return (head, tail), (jnp.zeros_like(head), jnp.where(x > 0, dx / (jnp.where(x > 0, x, 1.0) * math.log(2)), 0.0))
