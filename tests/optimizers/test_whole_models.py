"""Equinox models as they are: functions, names and numbers among the parameters, None in the updates."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrx
from tests.common import avals, distance
from tests.operations import by_operations
from tests.optimizers.cases import CASES, VARIANTS


def falling(count):
    """A rate that takes few operations."""
    return 0.01 / (1 + count)


class Net(eqx.Module):
    """A model with a leaf of every kind."""

    w: jax.Array
    b: jax.Array
    frozen: jax.Array
    steps: jax.Array
    dropout: float
    width: int
    name: str
    activation: Callable
    out: eqx.nn.Linear

    def __init__(self):
        self.w, self.b, self.frozen, self.steps = jnp.full((4, 3), 0.5), jnp.ones(3), jnp.ones(2), jnp.arange(3)
        self.dropout, self.width, self.name, self.activation = 0.5, 3, "net", jax.nn.relu
        self.out = eqx.nn.Linear(3, 2, use_bias=False, key=jax.random.key(0))

    def __call__(self, x):
        return self.out(self.activation(x @ self.w + self.b))


def loss(net):
    return jnp.sum(net(jnp.ones(4)) ** 2)


NET = Net()
# what is not trained has None: what is no array, and what the user froze
GRADS = eqx.tree_at(lambda g: g.frozen, eqx.filter_grad(loss)(NET), None)
TRAINED = eqx.tree_at(lambda p: p.frozen, eqx.filter(NET, eqx.is_inexact_array), None)


def matrices(tree):
    return jax.tree.map(lambda x: x.ndim > 1, tree)


def built(case):
    """Masks are trees of the parameters of other tests: here functions."""
    masks = {name: matrices for name in case.arguments if "mask" in name}
    return case.make(**{"learning_rate": falling, **case.arguments, **masks})


BY_NAME = lrx.by_path({"w$": True, "": False})
OF_ALL, OF_ARRAYS = (jax.tree.map(lambda x: True, tree) for tree in (NET, eqx.filter(NET, eqx.is_array)))
INNER = lrx.adamw(falling, mask=matrices)
WRAPPED = {
    "accumulate": lrx.accumulate(INNER, 2),
    "apply_if_finite": lrx.apply_if_finite(INNER, 2),
    "cautious": lrx.cautious(INNER),
    "lookahead": lrx.lookahead(INNER, 2, 0.5),
    "lookahead_reset": lrx.lookahead(INNER, 2, 0.5, reset_state=True),
    "masked_by_function": lrx.masked(INNER, matrices),
    "masked_by_name": lrx.masked(INNER, BY_NAME),
    "masked_by_tree": lrx.chain(lrx.masked(INNER, OF_ALL), lrx.masked(lrx.trace(0.9), OF_ARRAYS)),
    "masked_by_prefix": lrx.masked(INNER, True),
    "partition": lrx.partition({True: INNER, False: lrx.freeze(True)}, BY_NAME),
    "partition_by_function": lrx.partition({True: INNER, False: lrx.sgd(0.1)}, matrices),
    "with_weight_decay": lrx.with_weight_decay(INNER, 0.1, BY_NAME),
    "norms": lrx.chain(lrx.clip(1.0), lrx.clip_by_global_norm(1.0), lrx.clip_by_block_rms(1.0), INNER),
    "trust": lrx.chain(lrx.scale_by_trust_ratio(), lrx.scale_by_param_block_rms(), lrx.adaptive_grad_clip(0.1), INNER),
    "params_ema": lrx.chain(INNER, lrx.params_ema(0.9)),
    "polynomial_averaging": lrx.chain(INNER, lrx.polynomial_averaging()),
    "layer_wise_decay": lrx.chain(INNER, lrx.layer_wise_decay(0.5, lrx.by_path({"out": 1, "": 0}))),
    "freeze": lrx.chain(INNER, lrx.freeze(matrices)),
    "momenta": lrx.chain(lrx.ema(0.9), lrx.trace(0.9), lrx.scale_by_sign(), INNER),
    "nested": lrx.accumulate(lrx.apply_if_finite(lrx.cautious(lrx.masked(INNER, matrices)), 2), 2),
    "master_weights": lrx.master_weights(INNER),
    "master_weights_kahan": lrx.master_weights(INNER, "kahan"),
    "master_weights_stochastic": lrx.master_weights(INNER, "stochastic"),
}
OPTIMIZERS = {case.name: (built(case), case.needs) for case in CASES + VARIANTS}
OPTIMIZERS |= {f"{name}_wrapped": (tx, ()) for name, tx in WRAPPED.items()}


def two_updates(tx, grads, start, params, **extra):
    """The updates, the state before and after."""
    before = by_operations(tx.init)(start)
    step = by_operations(lambda state: tx.update(grads, state, params, **extra))
    updates, after = step(step(before)[1])
    return updates, before, after


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_equinox_590_a_model_is_trained_whole(name):
    """The updates are those of the trained arrays alone; what has no update keeps its place in the state."""
    tx, needs = OPTIMIZERS[name]
    value = {k: v for k, v in {"value": 1.0, "value_fn": loss}.items() if k in needs}
    whole = two_updates(tx, GRADS, eqx.filter(NET, eqx.is_array), NET, **value)
    if "value_fn" in value:
        value["value_fn"] = lambda params: loss(eqx.combine(params, NET))
    expected = two_updates(tx, GRADS, TRAINED, TRAINED, **value)
    assert jax.tree.structure(whole[0]) == jax.tree.structure(GRADS)
    if "_stochastic" not in name and name != "dog":  # whose first distance is that of all arrays
        assert distance(whole[0], expected[0]) < 1e-6
    for _, before, after in (whole, expected):
        assert avals(before) == avals(after)
    new = lrx.apply_updates(NET, whole[0])
    assert (new.activation, new.name, new.width, new.dropout) == (NET.activation, "net", 3, 0.5)
    assert new.frozen is NET.frozen
    assert any(np.any(x != y) for x, y in zip(*map(jax.tree.leaves, (whole[0], GRADS)), strict=True))


@pytest.mark.parametrize("name", ["schedule_free", "hdm", "lookahead_wrapped", "params_ema_wrapped"])
def test_equinox_887_evaluated_whole(name):
    tx, needs = OPTIMIZERS[name]
    state = two_updates(tx, GRADS, eqx.filter(NET, eqx.is_inexact_array), NET, **dict.fromkeys(needs, 1.0))[2]
    model = lrx.eval_params(state, NET)
    assert jax.tree.structure(model) == jax.tree.structure(NET)
    assert model.activation is NET.activation
    assert jnp.isfinite(loss(model))


@pytest.mark.parametrize("name", ["adamw", "sgd_momentum", "lion", "adafactor", "master_weights_wrapped"])
def test_equinox_69_inside_a_jitted_and_donated_step(name):
    """The loop of Equinox's documentation, with the model itself in place of its arrays."""
    tx = OPTIMIZERS[name][0]

    @eqx.filter_jit(donate="all")
    def step(model, state):
        grads = eqx.filter_grad(loss)(model)
        updates, state = tx.update(grads, state, model)
        return lrx.apply_updates(model, updates), state

    model = Net()
    state, before = tx.init(jax.tree.map(jnp.array, eqx.filter(model, eqx.is_array))), float(loss(NET))
    for _ in range(3):
        model, state = step(model, state)
    assert float(loss(model)) < before
    assert model.activation is NET.activation


@pytest.mark.parametrize("rounding", ["nearest", "kahan", "stochastic"])
def test_master_weights_of_a_model_in_bfloat16(rounding):
    """State of the trained arrays alone, or of all: what has no update is in neither case looked at."""
    half = lambda tree: jax.tree.map(lambda x: x.astype("bfloat16") if eqx.is_inexact_array(x) else x, tree)  # noqa: E731
    tx, net, grads = lrx.master_weights(lrx.adam(0.1), rounding), half(NET), half(GRADS)
    for start in (half(TRAINED), eqx.filter(net, eqx.is_array)):
        updates, before, after = two_updates(tx, grads, start, net)
        assert avals(before) == avals(after)
        assert jax.tree.structure(updates) == jax.tree.structure(GRADS)
        assert lrx.apply_updates(net, updates).frozen is net.frozen


def test_a_tree_that_does_not_fit_is_still_refused():
    tx = lrx.adam(0.1)
    state = tx.init({"a": jnp.ones(2), "b": jnp.ones(2)})
    with pytest.raises(ValueError, match="with the structure of the parameters"):
        tx.update({"a": jnp.ones(2), "c": None}, state)
