"""Schedules as text: hostile JSON, classes of one's own, and names that configs use."""

import contextlib
import inspect
import json
import types

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lrx
from lrx._numbers import Count, Scalar
from lrx._pytree import pytree_dataclass
from lrx.schedules import _registry
from lrx.schedules._text import parse

GOOD = lrx.linear_schedule(1.0, 0.5, 8).to_json()
DEEP = '{"schedule": "shift", "steps": 1, "base": ' * 150 + "1.0" + "}" * 150
HOSTILE = {
    "deep_lists": '{"lrx": 1, "schedule": "constant_schedule", "value": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "deep_objects": '{"a":' * 5000 + "1" + "}" * 5000,
    "deep_schedules": '{"lrx": 1, ' + DEEP[1:],
    "huge_float": GOOD.replace("1.0", "1e999"),
    "huge_number": GOOD.replace("1.0", "9" * 400),
    "very_huge_number": GOOD.replace("1.0", "9" * 10_000),
    "huge_steps": GOOD.replace("8", "9" * 400),
    "nan": GOOD.replace("1.0", "NaN"),
    "infinity": GOOD.replace("8", "-Infinity"),
    "version": GOOD.replace('"lrx": 1', '"lrx": true'),
    "name_of_a_kind": GOOD.replace('"linear_schedule"', '["linear_schedule"]'),
    "huge_key": '{"lrx": 1, "schedule": "piecewise_constant_schedule", "init_value": 1, "boundaries_and_scales": {"'
    + "9" * 9999
    + '": 1}}',
    "list_for_dict": '{"lrx": 1, "schedule": "piecewise_interpolate_schedule", "interpolate_type": "linear", '
    '"init_value": 1, "boundaries_and_scales": [1, 2]}',
    "number_for_list": '{"lrx": 1, "schedule": "join_schedules", "schedules": 3, "boundaries": 4}',
    "numbers_for_dicts": '{"lrx": 1, "schedule": "sgdr_schedule", "cosine_kwargs": [1, 2]}',
    "given_twice": GOOD.replace('"lrx": 1', '"lrx": 1, "lrx": 1'),
    "empty": "",
    "null": "null",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_json_is_a_value_error(text):
    with pytest.raises(ValueError):
        lrx.from_json(text)


@pytest.mark.parametrize("text", [None, 1, b"{}", {"lrx": 1}, ["{}"]])
def test_what_is_no_text_is_a_type_error(text):
    with pytest.raises(TypeError, match=r"from_json\(text=...\) must be a string"):
        lrx.from_json(text)


WRONG = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**400), 10**400),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.one_of(st.integers(-3, 3), st.text(max_size=2), st.none()), max_size=3),
    st.dictionaries(st.text(max_size=3), st.one_of(st.integers(), st.none()), max_size=2),
)


OURS = sorted(name for name, make in _registry.factories.items() if make.__module__.startswith("lrx.schedules."))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(OURS), st.data())
def test_an_argument_of_a_wrong_kind_is_a_value_error(name, data):
    arguments = inspect.signature(_registry.factories[name]).parameters
    call = {"lrx": 1, "schedule": name, **{k: data.draw(WRONG) for k in arguments}}
    with contextlib.suppress(ValueError):
        lrx.from_json(json.dumps(call))


@pytest.mark.parametrize(
    "text", ["(" * 5000 + ")" * 5000, "shift(" * 900 + "1" + ", 1)" * 900, "linear_schedule(1e999, 0, 1)"]
)
def test_hostile_expressions_are_a_value_error(text):
    with pytest.raises(ValueError):
        parse(text)


# ---------------------------------------------------------------- classes of one's own


@pytree_dataclass
class Wave(lrx.Schedule):
    peak_value: Scalar
    wave_steps: Count

    def __call__(self, count):
        return self.peak_value * (1 + jax.numpy.sin(count * (2 * np.pi) / self.wave_steps)).astype(np.float32)


@pytree_dataclass
class Ramp(lrx.Schedule):
    peak_value: Scalar
    ramp_steps: Count

    def __call__(self, count):
        return (self.peak_value * jax.numpy.minimum(count / self.ramp_steps, 1)).astype(np.float32)


@pytree_dataclass
class MarkedRamp(Ramp):
    peak_value: Scalar
    ramp_steps: Count

    def marks(self):
        return {"end": self.ramp_steps}


@pytree_dataclass
class LinearSchedule(lrx.Schedule):  # called like one of lrx's
    init_value: Scalar

    def __call__(self, count):
        return self.init_value + 0.0 * count


def test_json_that_could_not_be_read_is_not_written():
    for schedule in (Wave(1.0, 10), LinearSchedule(1.0), 0.5 * Wave(1.0, 10)):
        with pytest.raises(TypeError, match=r"to_json: (Wave|LinearSchedule) is not one of lrx's schedules, so"):
            schedule.to_json()
    unchecked = type(lrx.linear_schedule(1.0, 0.0, 3))(float("nan"), 0.0, 3)
    with pytest.raises(ValueError, match=r"to_json: lrx.from_json could not read this schedule back"):
        unchecked.to_json()


def test_landmarks_are_not_guessed_from_the_names_of_fields():
    wave = Wave(1.0, 10)
    assert wave.marks() == {}
    assert wave.end is None
    assert set(wave.landmarks()) <= {"peak"}
    assert wave.mean(0, 10) == pytest.approx(1.0, rel=1e-6)
    assert wave.first_below(0.5) is not None


def test_stretching_a_class_without_marks():
    for schedule in (lrx.stretch(Ramp(1.0, 10), 20), lrx.stretch(Wave(1.0, 10), 20, base_end=10)):
        eager = schedule(np.arange(24))
        np.testing.assert_allclose(jax.jit(lambda s: s(np.arange(24)))(schedule), eager, rtol=1e-6, atol=1e-7)
        assert np.unique(eager).size > 10
    assert lrx.stretch(Ramp(1.0, 10), 20)(10) == 0.5
    assert lrx.stretch(lambda t: jax.numpy.maximum(1 - t / 10, 0), 20)(10) == 0.5
    assert jax.jit(lambda n: lrx.stretch(MarkedRamp(1.0, n), 20)(10))(10) == 0.5
    with pytest.raises(ValueError, match=r"must say where it ends"):
        lrx.stretch(Wave(1.0, 10), 20)
    with pytest.raises(ValueError, match=r"must say where it ends"):
        jax.jit(lambda n: lrx.stretch(Ramp(1.0, n), 20)(10))(10)


# ---------------------------------------------------------------- names


def test_every_schedule_is_an_attribute_of_its_package():
    for name in OURS:
        assert getattr(lrx.schedules, name) is getattr(lrx, name)
    for name in ("Schedule", "as_schedule", "from_json", "steps"):
        assert getattr(lrx.schedules, name) is getattr(lrx, name)
    assert not isinstance(lrx.schedules.cosine_decay_schedule, types.ModuleType)


def test_alphabet_of_the_text_problem():
    assert lrx.problems.text.ALPHABET[:3] == "\n !"


def test_operators_give_schedules():
    s, t = lrx.linear_schedule(1.0, 0.25, 3), lrx.constant_schedule(0.5)
    for made, expected in (
        (s - 0.25, 0.75),
        (s / 2, 0.5),
        (-s, -1.0),
        (1.5 - s, 0.5),
        (2 / s, 2.0),
        (s - t, 0.5),
        (s / t, 2.0),
    ):
        assert made(0) == expected == jax.jit(lambda m: m(0))(made)
        assert lrx.from_json(made.to_json()) == made == parse(repr(made))
        assert made.end == 3
    assert s - np.uint8(1) == s - 1
    assert jax.grad(lambda x: ((s - x) / (1 + x))(0))(1.0) == -0.5
    assert (s / (t - t))(1) == 0
    with pytest.raises(ValueError, match="must not be divided by 0"):
        s / 0
