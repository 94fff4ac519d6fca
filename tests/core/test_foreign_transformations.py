"""Whatever has an init and an update is a transformation, as optax's own functions take it."""

import types
from typing import NamedTuple

import jax
import optax
import pytest

import lrx
from tests.common import GRADS, PARAMS, distance


class Halve:
    """A transformation of somebody else's, with a state and without extra arguments."""

    def init(self, params):
        del params
        return 0

    def update(self, updates, state, params=None):
        del params
        return jax.tree.map(lambda u: u / 2, updates), state + 1


class Pair(NamedTuple):
    """As in libraries that do without optax."""

    init: object
    update: object


HALVE = Halve()
KINDS = {
    "object": HALVE,
    "pair": Pair(HALVE.init, HALVE.update),
    "namespace": types.SimpleNamespace(init=HALVE.init, update=HALVE.update),
}
WRAPPERS = {
    "chain": lambda t: lrx.chain(t, lrx.sgd(1.0)),
    "named_chain": lambda t: lrx.named_chain(("half", t), ("sgd", lrx.sgd(1.0))),
    "masked": lambda t: lrx.chain(lrx.masked(t, True), lrx.sgd(1.0)),
    "partition": lambda t: lrx.chain(lrx.partition({"all": t}, "all"), lrx.sgd(1.0)),
    "accumulate": lambda t: lrx.chain(lrx.accumulate(t, 1), lrx.sgd(1.0)),
    "apply_if_finite": lambda t: lrx.chain(lrx.apply_if_finite(t, 3), lrx.sgd(1.0)),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS.keys())
def test_any_object_with_init_and_update_is_taken(wrap):
    for kind in KINDS.values():
        tx = wrap(kind)
        updates, state = tx.update(GRADS, tx.init(PARAMS), PARAMS, value=1.0)
        assert distance(updates, jax.tree.map(lambda g: -g / 2, GRADS)) < 1e-6
        assert lrx.learning_rate(state) == 1.0


def test_multi_steps_is_taken_as_it_is():
    theirs = optax.MultiSteps(optax.adam(0.1), 2)
    tx = lrx.chain(lrx.clip(1e3), theirs)
    state, expected = tx.init(PARAMS), theirs.init(PARAMS)
    step, step_expected = jax.jit(tx.update), jax.jit(theirs.update)
    for _ in range(2):
        updates, state = step(GRADS, state, PARAMS)
        wanted, expected = step_expected(GRADS, expected, PARAMS)
        assert distance(updates, wanted) < 1e-6
    assert state["MultiSteps"].gradient_step == 1


@pytest.mark.parametrize("wrong", [Halve, optax.adam, lrx.constant_schedule(1.0), lrx.plateau(0.1), 0.1, None])
def test_what_has_none_is_refused(wrong):
    for wrap in (lambda t: lrx.chain(t), lambda t: lrx.masked(t, True), lambda t: lrx.accumulate(t, 2)):
        with pytest.raises(TypeError, match="gradient transformation"):
            wrap(wrong)
