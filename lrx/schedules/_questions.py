"""Questions about a schedule: where its phases end, where it peaks, its mean, when it falls below a rate.

A schedule says where its phases end in `marks()`: name -> count, one of them called "end" if nothing changes after it.
Marks may be traced, and are never guessed. All else is found by evaluating the schedule on the host, which needs
concrete numbers.
"""

import itertools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import _check as check
from .._numbers import F32, INT32_MAX, is_tracer
from .._pytree import holds_code

Marks = dict[str, Any]

MOST_EXACT = 2**20
"""The number of counts that are looked at one by one; a longer range is sampled."""
SIZES = 2**12, 2**16, 2**20  # of the arrays that are evaluated, padded: JAX compiles once for each shape


def values(schedule: Any, counts: Any) -> np.ndarray:
    """A schedule at whole counts, one at a time, so that a function of one count will do; float64."""
    counts = np.asarray(counts, np.int64)
    size = next((s for s in SIZES if counts.size <= s), SIZES[-1])
    found = np.empty(counts.size)
    with jax.ensure_compile_time_eval():
        for i in range(0, counts.size, size):
            some = counts[i : i + size]
            padded = np.pad(some, (0, size - some.size), mode="edge").astype(np.int32)
            found[i : i + size] = _rates(schedule, padded)[: some.size]
    return found


def _rates(schedule: Any, counts: np.ndarray) -> np.ndarray:
    # the user's functions may read what has changed since they were traced
    return np.asarray(jax.vmap(schedule)(counts) if holds_code(schedule) else _compiled(schedule, counts))


@jax.jit
def _compiled(schedule: Any, counts: jax.Array) -> jax.Array:
    """One program for all schedules of a kind, whatever their numbers."""
    return jax.vmap(schedule)(counts)


# ---------------------------------------------------------------- marks


def marks_of(schedule: Any) -> Marks:
    """The marks of a part; a callable that is not a schedule has none."""
    return schedule.marks() if hasattr(schedule, "marks") else {}


def moved(marks: Marks, steps: Any) -> Marks:
    """The marks of a schedule that starts later."""
    return {k: summed(m, steps) for k, m in marks.items()}


def multiplied(marks: Marks, k: Any) -> Marks:
    """The marks of a schedule whose clock ticks each `k` counts; they saturate where int32 ends."""

    def product(m: Any) -> Any:
        if is_tracer(m) or is_tracer(k):
            m, most = jnp.maximum(m, 0), INT32_MAX // jnp.maximum(k, 1)
            return jnp.where(m > most, INT32_MAX, jnp.minimum(m, most) * k)
        return min(int(m) * int(k), INT32_MAX)

    return {name: product(m) for name, m in marks.items()}


def before(mark: Any, count: Any) -> bool:
    """Whether a mark lies before a count, or that is not known yet."""
    return is_tracer(mark) or is_tracer(count) or int(mark) < int(count)


def united(marks: Iterable[Marks]) -> Marks:
    """The marks of a combination: all of them, with the place of the part added where a name is another's too.

    It ends where its last part ends; the ends of the others are called "end_1" and so on.
    """
    parts = list(marks)
    names = [k for part in parts for k in part]
    found = {}
    for i, part in enumerate(parts, 1):
        for k, m in part.items():
            found[f"{k}_{i}" if names.count(k) > 1 or k == "end" else k] = m
    if all("end" in part for part in parts):
        last = _greatest([part["end"] for part in parts])
        found = {k: m for k, m in found.items() if is_tracer(last) or is_tracer(m) or not _is_end(k, m, last)}
        found["end"] = last
    return found


def _is_end(name: str, mark: Any, last: int) -> bool:
    return name.startswith("end_") and int(mark) == last


def numbered(counts: Any) -> Marks:
    """The marks of changes at given counts, an array: "boundary_1" and so on, and "end" for the last."""
    if not counts.shape[-1]:
        return {"end": 0}
    if is_tracer(counts):
        return {"end": counts[-1]}  # the others would make a traced program long
    *others, last = np.asarray(counts).tolist()
    return {**{f"boundary_{i}": m for i, m in enumerate(others, 1)}, "end": last}


def last_change(schedule: Any) -> int | None:
    """Where a schedule of known numbers changes last, as far as samples show; None if it goes on, or never changes."""
    counts, final = _samples({}, 0, INT32_MAX), values(schedule, [INT32_MAX])[0]
    while True:
        changing = np.flatnonzero(values(schedule, counts) != final)
        if not changing.size or np.isnan(final):
            return None
        before, after = counts[changing[-1]], counts[min(changing[-1] + 1, counts.size - 1)]
        if after > INT32_MAX // 2:
            return None
        if after - before == 1:
            return int(after)
        counts = _between(int(before), int(after))


def first_held(schedule: Any, value: float) -> Marks:
    """The end of a schedule that comes to a value and keeps it, if it does before int32 is over."""
    held = values(schedule, [0, INT32_MAX]) == float(F32.type(value))
    if not held[1]:
        return {}
    low, high = 0, 0 if held[0] else INT32_MAX
    while high - low > 1:
        counts = _between(low, high)
        i = int(np.flatnonzero(values(schedule, counts) != float(F32.type(value)))[-1])
        low, high = int(counts[i]), int(counts[i + 1])
    return {"end": high}


def summed(a: Any, b: Any) -> Any:
    """a + b, which saturates where int32 ends."""
    if is_tracer(a) or is_tracer(b):
        return a + jnp.minimum(b, INT32_MAX - a)
    return min(int(a) + int(b), INT32_MAX)


def _greatest(counts: list[Any]) -> Any:
    found = counts[0]
    for c in counts[1:]:
        found = jnp.maximum(found, c) if is_tracer(found) or is_tracer(c) else max(int(found), int(c))
    return found


# ---------------------------------------------------------------- questions


def _known(question: str, schedule: Any, *others: Any) -> Marks:
    """The marks as Python integers, or the error that says what is missing."""
    if any(map(is_tracer, (*jax.tree.leaves(schedule), *others))):
        raise TypeError(f"{question}: a traced schedule has no numbers to look at; ask outside of jit, vmap and grad.")
    marks = marks_of(schedule)
    if any(np.ndim(m) for m in marks.values()):
        raise ValueError(
            f"{question}: this schedule is a batch, with lengths of several dimensions; ask one at a time."
        )
    return {k: int(m) for k, m in marks.items()}


def end(schedule: Any) -> int | None:
    """See `Schedule.end`."""
    return _known("end", schedule).get("end") or None


def landmarks(schedule: Any) -> dict[str, int]:
    """See `Schedule.landmarks`."""
    marks = _known("landmarks", schedule)
    last = marks.get("end", INT32_MAX)
    found = {k: m for k, m in marks.items() if m > 0}
    if last > 0:
        top = _peak(schedule, marks, last)
        if "end" in marks or top <= INT32_MAX // 2:  # else it never stops growing
            found["peak"] = top
    return dict(sorted(found.items(), key=lambda item: (item[1], item[0] == "end")))


@check.public
def mean(schedule: Any, a: int, b: int) -> float:
    """See `Schedule.mean`."""
    whole = integral(schedule, a, b)
    if a == b:
        raise check.fail("b", f"must be greater than a={a}", b)
    return whole / (int(b) - int(a))


@check.public
def integral(schedule: Any, a: int, b: int) -> float:
    """See `Schedule.integral`."""
    marks = _known("integral", schedule, a, b)
    check.non_negative_count(a=a, b=b)
    a, b = int(a), int(b)
    if a > b:
        raise check.fail("b", f"must not be less than a={a}", b)
    if b - a <= MOST_EXACT:
        return float(values(schedule, np.arange(a, b)).sum()) if b > a else 0.0
    if hasattr(schedule, "summed"):  # in closed form, by what it is made of
        return schedule.summed(a, b)
    corners = sorted({m for m in marks.values() if a < m < b})
    sampled = _quadrature(schedule, [a, *corners, b])
    if sampled is not None:
        return sampled
    return float(sum(values(schedule, np.arange(i, min(i + MOST_EXACT, b))).sum() for i in range(a, b, MOST_EXACT)))


@check.public
def first_below(schedule: Any, value: float) -> int | None:
    """See `Schedule.first_below`."""
    marks = _known("first_below", schedule, value)
    check.finite(value=value)
    value = float(F32.type(value))  # as a schedule would hold it
    last = marks.get("end", INT32_MAX)
    top = _peak(schedule, marks, last)
    for begin in range(top, min(top + MOST_EXACT, last + 1), SIZES[1]):
        counts = np.arange(begin, min(begin + SIZES[1], last + 1))
        below = values(schedule, counts) < value
        if below.any():
            return int(counts[below.argmax()])
    counts = _samples(marks, min(top + MOST_EXACT, last), last)
    while True:
        below = values(schedule, counts) < value
        if not below.any():
            return None
        i = int(below.argmax())
        if i == 0 or counts[i] - counts[i - 1] == 1:
            return int(counts[i])
        counts = _between(counts[i - 1], counts[i])


# ---------------------------------------------------------------- looking


def _peak(schedule: Any, marks: Marks, last: int) -> int:
    """The first landmark or count with the greatest value up to `last`; samples are refined to single counts."""
    counts = _samples(marks, 0, last)
    while True:
        y = values(schedule, counts)
        i = int(np.argmax(np.where(np.isnan(y), -np.inf, y)))
        low, high = counts[max(i - 1, 0)], counts[min(i + 1, counts.size - 1)]
        if counts[i] - low <= 1 >= high - counts[i]:
            break
        counts = np.union1d(_between(low, high), counts[i])
    corners = sorted({0, *(m for m in marks.values() if m <= last)})
    top = np.flatnonzero(values(schedule, corners) == y[i])
    return corners[top[0]] if top.size else int(counts[i])


def _samples(marks: Marks, first: int, last: int) -> np.ndarray:
    """Counts that show a schedule: its landmarks and their neighbours, even ones between, denser next to them."""
    corners = sorted({first, last, *(m for m in marks.values() if first < m < last)})
    near = np.append(0, 2 ** np.arange(31))
    found = [np.array(corners)]
    for a, b in itertools.pairwise(corners):
        found += [_between(a, b, max(64, 3000 // len(corners))), np.minimum(a + near, b), np.maximum(b - near, a)]
    return np.unique(np.concatenate(found))


def _between(low: int, high: int, most: int = 4000) -> np.ndarray:
    """Whole counts from `low` to `high`, all of them unless they are more than `most`."""
    return np.unique(np.linspace(low, high, min(int(high - low) + 1, most)).round().astype(np.int64))


# ---------------------------------------------------------------- sums

_DEGREE = 16
_NODES = np.cos(np.pi * np.arange(2 * _DEGREE, -1, -1) / (2 * _DEGREE))
_SHORT, _MOST_SAMPLES, _TOLERANCE = 2048, 2**22, 2e-6


def _quadrature(schedule: Any, corners: list[int]) -> float | None:
    """The sum over all counts from the first corner to before the last, or None where samples do not settle it.

    On each panel [p, q) a polynomial through 17 counts near Chebyshev's nodes is summed by Euler and Maclaurin's rule
    for midpoints, Σ f(t) = ∫ f from p − ½ to q − ½, − (f′(q − ½) − f′(p − ½))/24. A panel on which the polynomial is
    off at the counts between is halved, and a short one added up.
    """
    panels, found, samples, size = np.array(list(itertools.pairwise(corners))), 0.0, 0, 0.0
    even = np.arange(0, _DEGREE + 1, 2)
    while panels.size:
        short = panels[:, 1] - panels[:, 0] <= _SHORT
        every = [np.arange(p, q) for p, q in panels[short]]
        if every:
            y = values(schedule, np.concatenate(every))
            found, samples = found + float(y.sum()), samples + y.size
        p, q = panels[~short].T
        if not p.size:
            break
        n = (q - p)[:, None]
        counts = (p[:, None] + np.round((n - 1) / 2 * (1 + _NODES))).astype(np.int64)
        y = values(schedule, counts.ravel()).reshape(counts.shape)
        if np.isnan(y).any():
            return float("nan")
        basis = np.polynomial.chebyshev.chebvander((2 * counts - (p + q - 1)[:, None]) / n, _DEGREE)
        coefficients = np.linalg.solve(basis[:, ::2], y[:, ::2, None])
        size = max(size, float(np.abs(y).max()))
        error = np.abs((basis @ coefficients)[..., 0] - y).max(axis=1)
        fine = error <= _TOLERANCE * size
        sums = (coefficients[:, even, 0] * (n / (1 - even**2) - even**2 / (6 * n))).sum(axis=1)
        found, samples = found + float(sums[fine].sum()), samples + y.size
        if samples > _MOST_SAMPLES:
            return None
        p, q = p[~fine], q[~fine]
        middle = (p + q) // 2
        panels = np.concatenate([np.stack([p, middle], 1), np.stack([middle, q], 1)])
    return found
