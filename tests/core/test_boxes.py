"""Parameters and states in the boxes of Flax: the readers see the array, and the name of the parameter."""

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import lrx
from tests.common import same

PARTITIONED = {"layer": {"kernel": nn.Partitioned(jnp.ones(2), names=("x",)), "bias": jnp.ones(2)}}
KERNEL = lrx.by_path({r"kernel$": True, "": False})

AVERAGING = {
    "params_ema": lambda: lrx.chain(lrx.sgd(0.1), lrx.params_ema(0.9)),
    "polynomial_averaging": lambda: lrx.chain(lrx.sgd(0.1), lrx.polynomial_averaging()),
    "lookahead": lambda: lrx.lookahead(lrx.adam(0.1), 2, 0.5),
    "schedule_free": lambda: lrx.schedule_free(lrx.sgd(0.1)),
    "schedule_free_adamw": lambda: lrx.schedule_free_adamw(0.1),
    "hdm": lambda: lrx.hdm(0.1),
}


@pytest.mark.parametrize("make", AVERAGING.values(), ids=AVERAGING.keys())
def test_eval_params_of_an_nnx_optimizer_is_that_of_plain_parameters(make):
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, make(), wrt=nnx.Param)
    plain = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    tx, state = make(), make().init(plain)
    for value in (3.0, 2.0, 1.0):
        grads = jax.tree.map(lambda p, value=value: value * p, nnx.state(model, nnx.Param))
        updates, state = tx.update(nnx.to_pure_dict(grads), state, plain, value=value)
        plain = lrx.apply_updates(plain, updates)
        optimizer.update(model, grads, value=value)
    boxed = nnx.state(model, nnx.Param)
    averaged = lrx.eval_params(optimizer.opt_state, boxed)
    assert jax.tree.structure(averaged) == jax.tree.structure(boxed)
    expected = lrx.eval_params(state, plain)
    for name, x in nnx.to_pure_dict(averaged).items():
        np.testing.assert_allclose(x, expected[name], rtol=1e-6, atol=1e-7)


def test_a_path_ends_in_the_name_of_the_parameter():
    assert KERNEL(PARTITIONED) == {"layer": {"kernel": True, "bias": False}}
    boxed = nnx.state(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.Param)
    assert dict(KERNEL(boxed)) == {"kernel": True, "bias": False}


@pytest.mark.parametrize(
    "tx",
    [
        lrx.chain(lrx.sgd(0.5), lrx.freeze(KERNEL)),
        lrx.partition({True: lrx.freeze(True), False: lrx.sgd(0.5)}, KERNEL),
        optax.partition({True: optax.set_to_zero(), False: lrx.sgd(0.5)}, KERNEL),
    ],
    ids=["freeze", "partition", "optax_partition"],
)
def test_a_frozen_kernel_in_a_box_does_not_train(tx):
    updates, _ = tx.update(PARTITIONED, tx.init(PARTITIONED), PARTITIONED)
    assert jax.tree.structure(updates) == jax.tree.structure(PARTITIONED)
    np.testing.assert_array_equal(updates["layer"]["kernel"].value, [0, 0])
    np.testing.assert_array_equal(updates["layer"]["bias"], [-0.5, -0.5])


@pytest.mark.skipif(flax.__version__.startswith("0.11."), reason="the Optimizer of Flax 0.11's nnx takes no partition")
def test_edits_through_the_boxes_of_a_masked_leaf():
    """Where a group has no such parameter, nnx boxes what stands for it."""
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    groups = {True: lrx.adam(0.1), False: lrx.sgd(0.2, momentum=0.9)}
    state = nnx.Optimizer(model, lrx.partition(groups, KERNEL), wrt=nnx.Param).opt_state
    edited = lrx.with_hyperparams(state, b1=0.5)
    assert next(x for k, x in lrx.hyperparams(edited).items() if k.endswith(".b1")) == 0.5
    with pytest.raises(ValueError, match=r"with_hyperparams\(b1=...\) must be in \[0, 1\)"):
        lrx.with_hyperparams(state, b1=1.5)
    others = lambda s: {k: x for k, x in lrx.hyperparams(s).items() if not k.endswith(".b1")}  # noqa: E731
    assert same(others(edited), others(state))
