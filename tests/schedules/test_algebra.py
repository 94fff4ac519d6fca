"""Schedules made of schedules: the formulas, operators, text, and what every schedule promises."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrx
from lrx.schedules._text import parse
from tests.operations import by_operations
from tests.schedules.combined import CASES, T, at, cosine, rise

LAST = 2**31 - 1
every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
CLOSE = {"rtol": 3e-7, "atol": 1e-9}


@every
def test_value_is_that_of_the_formula(case):
    values = case.schedule(T)
    assert (values.dtype, values.shape, values.weak_type) == (jnp.float32, T.shape, False)
    np.testing.assert_allclose(values, case.formula(), rtol=1e-6, atol=1e-8)


@every
def test_single_counts_give_what_an_array_of_them_gives(case):
    want = at(case.schedule)
    np.testing.assert_allclose(
        by_operations(lambda: [case.schedule(int(t)) for t in (0, 16)])(), want[[0, 16]], **CLOSE
    )
    np.testing.assert_allclose(by_operations(case.schedule)(T), want, **CLOSE)


@every
def test_scan_in_a_state_and_x64_give_the_same(case):
    """The rates of an optimizer: under `scan`, and with each count in its state."""
    tx, ones = lrx.sgd(case.schedule), np.ones(1, np.float32)
    start = tx.init(ones)

    def step(state, _):
        state = tx.update(ones, state)[1]
        return state, lrx.learning_rate(state)

    def rate_at(count):
        part = start["scale_by_learning_rate"]
        return step({"scale_by_learning_rate": part._replace(memory=part.memory._replace(count=count))}, None)[1]

    with jax.debug_nans(True):
        scanned = by_operations(lambda state: jax.lax.scan(step, state, None, length=9)[1])(start)
        rates = by_operations(jax.vmap(rate_at))(T)
    with jax.enable_x64(True):
        wide = by_operations(case.schedule)(T)
    assert wide.dtype == rates.dtype == jnp.float32
    np.testing.assert_allclose(wide, at(case.schedule), **CLOSE)
    np.testing.assert_allclose(rates, at(case.schedule), **CLOSE)
    np.testing.assert_allclose(scanned, rates[:9], **CLOSE)


@every
def test_arguments_vmap_over_every_number_and_gradients(case):
    """The values of two schedules that are arguments, and the slopes by every real number."""
    pair = case.schedule, other(case.schedule)
    grid = jax.tree.map(lambda *x: np.array(x, jnp.result_type(x[0])), *map(numbers, pair))
    with jax.debug_nans(True):
        values, slopes = by_operations(jax.vmap(lambda grid: of_arguments(case.schedule, *grid)))(grid)
    np.testing.assert_allclose(values[0, :-1], at(pair[0]), **CLOSE)
    np.testing.assert_allclose(values[1, :-1], at(pair[1]), rtol=1e-6, atol=1e-8)
    assert all(np.isfinite(x).all() for x in slopes)
    assert any(np.any(np.asarray(x)[0] != 0) for x in slopes)


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
