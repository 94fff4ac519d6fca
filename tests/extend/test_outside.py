"""A rule, a schedule and a controller of one's own need public names alone.

They are also among the cases of the contract tests: `tests/optimizers/cases.py`, `tests/schedules/cases.py`.
"""

import ast
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from lrx import extend
from tests.common import GRADS, PARAMS, distance, finite, scan, train
from tests.extend import outside
from tests.operations import by_operations
from tests.optimizers.cases import CASES, VARIANTS
from tests.schedules.cases import CASES as SCHEDULES

NAMES = {name for name in vars(extend) if not name.startswith("_")}


def test_no_private_module_is_imported():
    tree = ast.parse(Path(outside.__file__).read_text(encoding="utf-8"))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
    assert imported == {"typing.Any", "typing.NamedTuple", "jax", "jax.numpy", "lrx", "lrx.extend"}
    private = [n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr.startswith("_")]
    assert not private
    used = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and ast.unparse(n.value) == "extend"}
    assert len(used) > 15 and used <= NAMES


def test_contract_tests_ask_them_too():
    makers = {case.make for case in CASES + VARIANTS}
    assert outside.soft_sign in makers
    assert outside.backoff in {getattr(make, "__wrapped__", None) for make in makers}
    assert outside.parabola_schedule in {case.factory for case in SCHEDULES}


def test_tutorial_names_every_public_hook():
    """What a rule or a controller may say of itself stands on its class, with a line each."""
    for cls in (extend.Rule, extend.Controller, extend.Schedule):
        source = ast.parse(Path(__import__(cls.__module__, fromlist="x").__file__).read_text(encoding="utf-8"))
        (body,) = (n.body for n in ast.walk(source) if isinstance(n, ast.ClassDef) and n.name == cls.__name__)
        hooks = [i for i, node in enumerate(body) if isinstance(node, ast.AnnAssign)]
        assert hooks
        for i in hooks:
            told = body[i + 1]
            assert isinstance(told, ast.Expr) and isinstance(told.value, ast.Constant), ast.unparse(body[i])


BASES = {
    "number": 0.1,
    "schedule": lrx.linear_schedule(0.1, 0.05, 3),
    "outside_schedule": outside.parabola_schedule(0.1, 0.05, 3),
    "function": lambda count: 0.1 / (1 + count),
    "controller": lrx.plateau(0.1),
    "per_leaf": lrx.dog(init_distance=0.1, per_leaf=True),
}


def test_controller_over_any_base_is_skipped_edited_and_resumed():
    grads = jax.tree.map(lambda g: jnp.stack([g, g * jnp.nan, g]), GRADS)
    for name, base in BASES.items():
        tx = lrx.sgd(outside.backoff(base, factor=0.25))
        path = by_operations(lambda grads, tx=tx: scan(tx, PARAMS, grads, value=1.0))(grads)
        assert finite(path), name
        state = train(tx, value=1.0)[1]
        assert lrx.count(state) == 3
        path = "scale_by_learning_rate.learning_rate.factor"
        edited = lrx.with_hyperparams(state, **{path: 0.125})
        assert lrx.hyperparams(edited)[path] == 0.125
        restored = lrx.resume(tx, PARAMS, edited)
        assert jax.tree.structure(restored) == jax.tree.structure(state)


def test_rates_are_what_the_controller_says():
    tx = lrx.sgd(outside.backoff(1.0))
    state = tx.init(PARAMS)
    applied = []
    for value in (3.0, 2.0, 2.0, 4.0):
        _, state = tx.update(GRADS, state, PARAMS, value=value)
        applied.append(float(lrx.learning_rate(state)))
    assert applied == [1.0, 1.0, 0.5, 0.25]


def test_number_of_a_rule_may_be_a_schedule_and_is_data():
    falling, constant = outside.parabola_schedule(0.9, 0.1, 4), lrx.constant_schedule(0.9)
    scheduled, plain, constant = (outside.soft_sign(0.1, decay, eps=1.0) for decay in (falling, 0.9, constant))
    state = scheduled.init(PARAMS)
    assert lrx.hyperparams(state)["scale_by_soft_sign.decay.fall_steps"] == 4
    assert distance(train(constant)[0], train(plain)[0]) < 1e-6
    assert distance(train(scheduled)[0], train(plain)[0]) > 1e-3


def test_composes_with_both_libraries():
    mask = {"w": True, "b": False}
    around = [
        lambda tx: optax.chain(optax.clip(1.0), tx),
        lambda tx: optax.MultiSteps(tx, 2),
        lambda tx: lrx.pack(tx),
        lambda tx: lrx.masked(tx, mask),
        lambda tx: lrx.accumulate(lrx.lookahead(tx, 2, 0.5), 2),
    ]
    for wrap in around:
        assert finite(train(wrap(outside.soft_sign(0.1)))[0])
    packed, alone = (train(tx)[0] for tx in (lrx.pack(outside.soft_sign(0.1)), outside.soft_sign(0.1)))
    assert distance(packed, alone) < 1e-6


def test_errors_name_what_the_user_typed():
    text: Any = "x"
    share: Any = 0.05
    with pytest.raises(TypeError, match=r"^soft_sign\(decay=\.\.\.\) must be a number"):
        outside.soft_sign(0.1, decay=text)
    with pytest.raises(TypeError, match=r"^backoff\(learning_rate=\.\.\.\) must be a number, a schedule or"):
        outside.backoff(text)
    with pytest.raises(TypeError, match=r"^parabola_schedule\(fall_steps=\.\.\.\) must be a whole number"):
        outside.parabola_schedule(1.0, 0.0, share)
    tx = lrx.sgd(outside.backoff(0.1))
    with pytest.raises(ValueError, match=r"backoff\(\.\.\.\)\) needs value=, the loss"):
        tx.update(GRADS, tx.init(PARAMS), PARAMS)


def test_schedule_has_json_questions_and_the_algebra():
    steps: Any = 9.6
    schedule = outside.parabola_schedule(1.0, 0.0, steps)
    assert schedule.fall_steps == schedule.end == 10
    together = lrx.with_warmup(0.5 * schedule, 5)
    assert lrx.from_json(together.to_json()) == together
    assert together.end == 15
    assert schedule.first_below(0.5) == 8
    np.testing.assert_allclose(schedule.integral(0, 10), sum(1 - (t / 10) ** 2 for t in range(10)), rtol=1e-6)


def test_schedule_factory_refuses_what_json_could_not_name():
    def unannotated(value):
        return outside.ParabolaSchedule(value, value, 1)

    def other_schedule(value) -> outside.ParabolaSchedule:
        return outside.ParabolaSchedule(value, value, 1)

    def parabola_schedule(value) -> outside.ParabolaSchedule:
        return outside.ParabolaSchedule(value, value, 1)

    with pytest.raises(TypeError, match=r"schedule_factory\(unannotated\) must have the pytree_dataclass that it"):
        extend.schedule_factory(unannotated)
    with pytest.raises(ValueError, match=r"must be the factory of its class, got parabola_schedule\. Write factory"):
        extend.schedule_factory(other_schedule)
    with pytest.raises(ValueError, match=r"must have a name of its own, got one that tests\.extend\.outside has"):
        extend.schedule_factory(parabola_schedule)
    assert lrx.from_json(outside.parabola_schedule(1.0, 0.0, 3).to_json()).fall_steps == 3


def test_schedule_without_a_factory_says_what_json_needs():
    @extend.pytree_dataclass
    class Unnamed(extend.Schedule):
        value: extend.Scalar

        def __call__(self, count):
            return jnp.full(jnp.shape(count), self.value, jnp.float32)

    with pytest.raises(TypeError, match=r"Decorate its factory with lrx\.extend\.schedule_factory"):
        Unnamed(1.0).to_json()


def test_clock_of_every_rule_with_a_rate_goes_on_over_a_skipped_update():
    """It is known by the fields of its memory, `count` and `learning_rate`, not by a mark on its class."""
    tx = lrx.chain(lrx.scale_by_rprop(lrx.linear_schedule(0.1, 0.0, 10)), lrx.scale_by_learning_rate(lrx.dog()))
    state = tx.init(PARAMS)
    for grads in (GRADS, jax.tree.map(lambda g: g * np.nan, GRADS), GRADS):
        _, state = tx.update(grads, state, PARAMS)
    assert state["scale_by_rprop"].count == 3
    assert state["scale_by_rprop"].memory.learning_rate == pytest.approx(0.08)
