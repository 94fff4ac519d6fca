"""Schedules made of schedules: the formulas, the laws, and what every schedule promises."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrx
from lrx.schedules._phase import rescaled
from lrx.schedules._text import parse
from tests.schedules.combined import CASES, ONE_EACH, T, at, cosine, rise

LAST = 2**31 - 1
every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
PARTS = [CASES[i::13] for i in range(13)]
parts = pytest.mark.parametrize("cases", PARTS, ids=[f"{part[0].name}_and_{len(part) - 1}_more" for part in PARTS])
"""Those of a part share one program: it costs a fraction of many."""
CLOSE = {"rtol": 3e-7, "atol": 1e-9}


@every
def test_value_is_that_of_the_formula(case):
    values = case.schedule(T)
    assert (values.dtype, values.shape, values.weak_type) == (jnp.float32, T.shape, False)
    np.testing.assert_allclose(values, case.formula(), rtol=1e-6, atol=1e-8)


@every
def test_single_counts_give_what_an_array_of_them_gives(case):
    want = at(case.schedule)
    np.testing.assert_allclose([case.schedule(int(t)) for t in (0, 16)], want[[0, 16]], **CLOSE)


@parts
def test_jit_gives_the_same_of_constants(cases):
    values = jax.jit(lambda t: [case.schedule(t) for case in cases])(T)
    for case, value in zip(cases, values, strict=True):
        np.testing.assert_allclose(value, at(case.schedule), **CLOSE, err_msg=case.name)


@parts
def test_scan_in_a_state_and_x64_give_the_same(cases):
    """The rates of an optimizer under `scan`, one for each count."""
    txs = [lrx.sgd(case.schedule) for case in cases]
    states = [tx.init(jnp.ones(1)) for tx in txs]

    def step(states, _):
        states = [tx.update(jnp.ones(1), state)[1] for tx, state in zip(txs, states, strict=True)]
        return states, [lrx.learning_rate(state) for state in states]

    with jax.debug_nans(True):
        rates = jax.jit(lambda states: jax.lax.scan(step, states, None, length=T.size)[1])(states)
    with jax.enable_x64(True):
        wide = jax.jit(lambda t: [case.schedule(t) for case in cases])(T)
    for case, rate, in_x64 in zip(cases, rates, wide, strict=True):
        assert in_x64.dtype == rate.dtype == jnp.float32, case.name
        np.testing.assert_allclose(in_x64, at(case.schedule), **CLOSE, err_msg=case.name)
        np.testing.assert_allclose(rate, at(case.schedule), **CLOSE, err_msg=case.name)


@parts
def test_arguments_vmap_over_every_number_and_gradients(cases):
    """One program: the values of two schedules that are arguments, and the slopes by every real number."""
    two = [(case.schedule, other(case.schedule)) for case in cases]
    split = [[numbers(s) for s in pair] for pair in two]
    grid = jax.tree.map(lambda *x: np.array(x, jnp.result_type(x[0])), *zip(*split, strict=True))

    def values_and_slopes(grid):
        return [of_arguments(case.schedule, *x) for case, x in zip(cases, grid, strict=True)]

    with jax.debug_nans(True):
        results = jax.device_get(jax.jit(jax.vmap(values_and_slopes))(grid))
    for case, pair, (values, slopes) in zip(cases, two, results, strict=True):
        np.testing.assert_allclose(values[0, :-1], at(pair[0]), **CLOSE, err_msg=case.name)
        np.testing.assert_allclose(values[1, :-1], at(pair[1]), rtol=1e-6, atol=1e-8, err_msg=case.name)
        assert all(np.isfinite(x).all() for x in slopes), case.name
        assert any(np.any(x[0] != 0) for x in slopes), case.name


@every
def test_strict_promotion_gives_the_same_program(case):
    def values(given, t):
        return case.schedule(t), given(t), case.schedule(t[0])

    standard = str(jax.make_jaxpr(values)(case.schedule, T))
    with jax.numpy_dtype_promotion("strict"):
        assert str(jax.make_jaxpr(values)(case.schedule, T)) == standard


def other(schedule):
    return jax.tree.map(lambda x: x + 1 if isinstance(x, int) else x * 0.75, schedule)


def numbers(schedule):
    """The real numbers of a schedule, and the counts."""
    leaves = jax.tree.leaves(schedule)
    return tuple([x for x in leaves if isinstance(x, kind)] for kind in (float, int))


def of_arguments(schedule, floats, counts):
    """The values of a schedule with these numbers at every count, and the derivatives by its real numbers."""
    leaves, treedef = jax.tree.flatten(schedule)

    def value(floats, t):
        rest = {float: iter(floats), int: iter(counts)}
        return treedef.unflatten([next(rest[type(x)]) for x in leaves])(t)

    return jax.vmap(jax.value_and_grad(value), (None, 0))(floats, np.append(T, LAST))


@every
def test_one_leaf_for_each_degree_of_freedom(case):
    assert len(jax.tree.leaves(case.schedule)) == case.leaves


@every
def test_repr_json_and_pickle_give_an_equal_schedule(case):
    s = case.schedule
    others = eval(repr(s), vars(lrx).copy()), lrx.from_json(s.to_json()), pickle.loads(pickle.dumps(s)), parse(repr(s))
    for other in others:
        assert other == s
        assert hash(other) == hash(s)
        assert repr(other) == repr(s)


@every
def test_it_ends_where_it_changes_last(case):
    assert case.schedule.end == case.end
    if case.end is not None:
        values = at(case.schedule, np.append(np.arange(case.end - 1, case.end + 126), LAST))
        assert (values[1:] == values[1]).all()


# ---------------------------------------------------------------- laws

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


# ---------------------------------------------------------------- operators, text, errors


def test_operators_take_numbers_of_every_kind():
    half = lrx.scale_schedule(cosine, 0.5)
    for number in (0.5, np.float32(0.5), np.float64(0.5), np.array(0.5), jnp.float32(0.5)):
        assert number * cosine == cosine * number == half
        assert number + cosine == cosine + number == lrx.total(cosine, 0.5)
    assert jax.jit(lambda x: (x * cosine)(0))(0.5) == 0.25
    assert 2 * cosine == cosine * 2 == lrx.scale_schedule(cosine, 2)


@pytest.mark.parametrize("other", ["2", None, True, [1.0], abs, object()])
def test_operators_refuse_everything_else(other):
    for operation in (cosine.__mul__, cosine.__add__, cosine.__sub__, cosine.__truediv__):
        assert operation(other) is NotImplemented
    assert cosine.__rsub__(other) is cosine.__rtruediv__(other) is NotImplemented
    with pytest.raises(TypeError, match=r"unsupported operand|can only concatenate"):
        other + cosine


def test_expressions_are_read():
    expected = 0.5 * cosine + 0.01
    assert parse("0.5 * cosine_decay_schedule(0.5, 16) + 0.01") == expected
    assert parse("linear_schedule(0.1, 1.0, 8) * cosine_decay_schedule(0.5, 16)") == rise * cosine
    assert parse("1 - cosine_decay_schedule(0.5, 16) / 2") == 1 - cosine / 2
    assert parse("-(2 / linear_schedule(0.1, 1.0, 8))") == -(2 / rise)
    assert parse("shift(0.5 * cosine_decay_schedule(0.5, 16), steps=3)") == lrx.shift(0.5 * cosine, 3)
    for text in (
        "2 * 3",
        "constant_schedule(1.0) ** 2",
        "'a' * constant_schedule(1.0)",
        "constant_schedule(2 + 3)",
        "-(2 + 3)",
        "constant_schedule(1.0) % 2",
    ):
        with pytest.raises(ValueError, match=r"must be|is not a schedule"):
            parse(text)


def test_json_tells_what_is_wrong():
    text = lrx.product(0.5, lrx.shift(cosine, 3)).to_json()
    assert '"lrx": 1' in text
    for old, new, message in (
        ('"steps": 3', '"steps": 3, "speed": 2', "unexpected keyword argument 'speed'"),
        ('"schedules"', '"parts"', "unexpected keyword argument 'parts'"),
        ('"lrx": 1', '"lrx": 7', "version 1, got 7"),
        ('"shift"', '"shifted"', "there is no schedule 'shifted'"),
    ):
        assert old in text
        with pytest.raises(ValueError, match=message):
            lrx.from_json(text.replace(old, new))
    with pytest.raises(TypeError, match="holds code"):
        (0.5 * lrx.as_schedule(lambda t: 1.0)).to_json()


def test_functions_and_callable_pytrees_are_parts():
    s = lrx.as_schedule(lambda t: 1 / (1 + t))
    np.testing.assert_allclose(at(lrx.product(lambda t: 1 / (1 + t), cosine)), at(s) * at(cosine), rtol=1e-6)
    partial = jax.tree_util.Partial(lambda a, t: a * t, 2.0)
    shifted = lrx.shift(partial, 3)
    assert len(jax.tree.leaves(shifted)) == 2
    assert shifted(5) == 4


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: lrx.product(), ValueError, "product(schedules=...) must be at least one, got ()."),
        (
            lambda: lrx.total(cosine, "x"),
            TypeError,
            "total(schedules=...) must be a number or a function of the count, got 'x'.",
        ),
        (
            lambda: lrx.scale_schedule(cosine, float("nan")),
            ValueError,
            "scale_schedule(factor=...) must be finite, got nan.",
        ),
        (lambda: cosine * float("inf"), ValueError, "scale_schedule(factor=...) must be finite, got inf."),
        (
            lambda: lrx.clip_schedule(cosine, 0.5, 0.1),
            ValueError,
            "clip_schedule(lower=...) must be at most upper=0.1, got 0.5.",
        ),
        (lambda: lrx.shift(cosine, -1), ValueError, "shift(steps=...) must not be negative, got -1."),
        (
            lambda: lrx.shift(cosine, 0.05),
            TypeError,
            "shift(steps=...) must be a whole number, got 0.05. "
            "For a share of the run, give round(0.05 * total_steps).",
        ),
        (lambda: lrx.stretch(cosine, 0), ValueError, "stretch(total_steps=...) must be positive, got 0."),
        (
            lambda: lrx.stretch(0.5, 10),
            ValueError,
            "stretch(base=...) must be a schedule that ends, got constant_schedule(value=0.5). "
            "Cut it with lrx.with_cooldown.",
        ),
        (lambda: lrx.every(cosine, 0), ValueError, "every(k=...) must be positive, got 0."),
        (lambda: lrx.every(cosine, 2.5), TypeError, "every(k=...) must be a whole number, got 2.5."),
        (
            lambda: lrx.every("s", 2),
            TypeError,
            "every(base=...) must be a number or a function of the count, got 's'.",
        ),
        (lambda: lrx.repeat(cosine, 0), ValueError, "repeat(period_steps=...) must be positive, got 0."),
        (lambda: lrx.reverse(cosine, -1), ValueError, "reverse(total_steps=...) must not be negative, got -1."),
        (
            lambda: lrx.with_warmup(cosine, -1),
            ValueError,
            "with_warmup(warmup_steps=...) must not be negative, got -1.",
        ),
        (
            lambda: lrx.with_warmup(cosine, 1, shape="square"),
            ValueError,
            "with_warmup(shape=...) must be one of 'linear', 'cosine', '1-sqrt', 'exponential', got 'square'.",
        ),
        (
            lambda: lrx.with_warmup(cosine, 1, shape="exponential"),
            ValueError,
            "with_warmup(init_value=...) must be positive, got 0.0.",
        ),
        (
            lambda: lrx.with_cooldown(cosine, start=16, steps=2, end_value=0.1, shape="exponential"),
            ValueError,
            "with_cooldown(base=...) must be positive at step 16, where an exponential meets it, got 0.0.",
        ),
        (
            lambda: lrx.with_cooldown(cosine, start=-1, steps=2),
            ValueError,
            "with_cooldown(start=...) must not be negative, got -1.",
        ),
        (
            lambda: lrx.with_cooldown(cosine, start=LAST, steps=2),
            ValueError,
            f"with_cooldown(steps=...) must leave start={LAST} + steps within int32, got 2.",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error) as e:
        call()
    assert str(e.value) == message


def test_traced_numbers_skip_the_checks_and_give_a_total_function():
    def values(n, x):
        made = [
            lrx.shift(cosine, n),
            lrx.stretch(lrx.linear_schedule(1.0, 0.5, n), n),
            lrx.every(cosine, n),
            lrx.repeat(cosine, n),
            lrx.reverse(cosine, n),
            lrx.with_warmup(cosine, n, init_value=x, shape="exponential"),
            lrx.with_cooldown(cosine, start=n, steps=n, end_value=x, shape="exponential"),
            lrx.clip_schedule(cosine, x, -x),
        ]
        return jnp.stack([s(T) for s in made])

    for n, x in ((0, 0.0), (1, -1.0), (LAST // 2, 1e-30)):
        assert np.isfinite(jax.jit(values)(n, x)).all()
