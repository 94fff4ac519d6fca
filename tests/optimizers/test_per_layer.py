"""A stack of layers under `per_layer` is optimized as its layers are one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from tests.common import avals, one_step
from tests.extend import outside
from tests.operations import by_operations

RNG = np.random.default_rng(0)
STACKS = {"w": (3, 2, 4), "b": (2, 3)}
"""Stacks of two lengths; the head is none, though it is as long as one of them."""
PARAMS = {k: RNG.normal(size=s).astype(np.float32) for k, s in STACKS.items()} | {"head": np.ones((3, 2), np.float32)}
WHERE = lrx.by_path({"head": False, "": True})
STEPS = 3
GRADS = {k: 10 ** RNG.normal(size=(STEPS, *p.shape)).astype(np.float32) for k, p in PARAMS.items()}


def apart(tree, axis):
    """Each layer as a leaf."""
    return {k: [x.take(i, axis) for i in range(x.shape[axis])] if k != "head" else x for k, x in tree.items()}


def together(tree):
    return {k: np.stack(x) if isinstance(x, list) else np.asarray(x) for k, x in tree.items()}


def run(tx, params, grads):
    def body(carry, g):
        return one_step(tx, *carry, g, value=1.0), None

    return jax.lax.scan(body, (params, tx.init(params)), grads)[0]


def total(state):
    """The sum of all real numbers in a state."""
    return sum(float(np.sum(np.float64(x))) for x in jax.tree.leaves(state) if x.dtype == np.float32)


def matrices(params):
    return jax.tree.map(lambda p: p.ndim > 1, params)


SMALL = {"min_dim_size_to_factor": 2}
OPTIMIZERS = {
    "lamb": lambda: lrx.chain(lrx.clip_by_global_norm(1.0), lrx.lamb(0.1, weight_decay=0.1, mask=matrices)),
    "adafactor": lambda: lrx.adafactor(0.1, **SMALL, momentum=0.9),
    "novograd": lambda: lrx.accumulate(lrx.novograd(lrx.linear_schedule(0.1, 0.0, 9)), 2),
    "sm3": lambda: lrx.sm3(0.1),
    "mars": lambda: lrx.mars(0.1),
    "adam_mini": lambda: lrx.adam_mini(0.1, block_axes=lambda path, shape: (0,) if "w" in path else range(len(shape))),
    "blocks": lambda: lrx.chain(lrx.clip_by_block_rms(0.5), lrx.adaptive_grad_clip(0.1), lrx.sgd(0.1)),
    "dog": lambda: lrx.sgd(lrx.dog(init_distance=0.1, per_leaf=True)),
    "cautious": lambda: lrx.cautious(lrx.lamb(0.1)),
    "plateau": lambda: lrx.masked(lrx.lamb(lrx.plateau(0.1, patience=1)), matrices),
    "optax": lambda: lrx.chain(lrx.clip_by_global_norm(1.0), optax.lamb(0.1), lrx.trace(0.5)),
    "adam": lambda: lrx.adamw(0.1, mask=matrices),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_is_the_optimizer_on_the_layers(name):
    """With the state of the optimizer itself: its names, and in place of each leaf's part a stack of them."""
    tx, stacked = OPTIMIZERS[name](), lrx.per_layer(OPTIMIZERS[name](), where=WHERE)
    (alone, state_alone), (ours, state) = by_operations(
        lambda: (run(tx, apart(PARAMS, 0), apart(GRADS, 1)), run(stacked, PARAMS, GRADS))
    )()
    for k, x in together(alone).items():
        np.testing.assert_allclose(ours[k], x, rtol=2e-6, atol=1e-7, err_msg=k)
    assert total(state) == pytest.approx(total(state_alone), rel=1e-5)
    whole = jax.eval_shape(tx.init, PARAMS)
    assert avals(state) == avals(jax.eval_shape(stacked.init, PARAMS))
    if name != "optax":  # whose state is one link deeper, and has no count of lrx's
        assert lrx.count(state) == lrx.count(state_alone)
        names = [k.removeprefix("inner.") for k in lrx.hyperparams(state)]
        assert names == [k.removeprefix("inner.") for k in lrx.hyperparams(whole)]
    if name in ("adafactor", "novograd", "dog"):
        assert jax.tree.structure(state.inner) == jax.tree.structure(whole)
        plain, _ = by_operations(lambda: run(tx, PARAMS, GRADS))()
        assert np.max(np.abs(plain["w"] - ours["w"])) > 1e-3
        np.testing.assert_allclose(plain["head"], ours["head"], rtol=1e-5)


def test_another_axis_and_all_leaves_by_default():
    """Memory that is shaped as the parameters has its layers where they have them, other memory in front."""
    rule = lrx.chain(lrx.scale_by_factored_rms(min_dim_size_to_factor=2), lrx.novograd(0.1))
    params, grads = {"w": PARAMS["w"]}, {"w": GRADS["w"]}
    (first, state), (second, other) = by_operations(
        lambda: (
            run(lrx.per_layer(rule), params, grads),
            run(lrx.per_layer(rule, axis=1), {"w": params["w"].swapaxes(0, 1)}, {"w": grads["w"].swapaxes(1, 2)}),
        )
    )()
    np.testing.assert_allclose(first["w"].swapaxes(0, 1), second["w"], rtol=1e-6)
    assert other.inner["scale_by_novograd"].mu["w"].shape == (2, 3, 4)
    assert other.inner["scale_by_novograd"].nu["w"].shape == state.inner["scale_by_novograd"].nu["w"].shape == (3,)
    assert state.inner["scale_by_factored_rms"].v_row["w"].shape == (3, 2)


def test_numbers_in_the_state_and_a_grid_of_rates_under_vmap():
    tx = lrx.per_layer(lrx.chain(lrx.clip_by_block_rms(1.0), lrx.sgd(0.1)), where=WHERE)
    grads = {k: g[0] for k, g in GRADS.items()}

    def first(rate):
        return tx.update(grads, lrx.with_hyperparams(tx.init(PARAMS), learning_rate=rate), PARAMS)[0]

    both, alone = jax.jit(lambda: (jax.vmap(first)(jnp.array([0.1, 0.2])), first(0.1)))()
    for k, x in both.items():
        np.testing.assert_allclose(x, [alone[k], 2 * alone[k]], rtol=1e-6, err_msg=k)


def test_a_line_search_for_each_layer_is_given_the_stacks():
    tx = lrx.per_layer(lrx.sgd(lrx.plateau(lrx.line_search(1.0))))
    params = {"w": jnp.ones((3, 2))}

    def loss(p):
        assert p["w"].shape == (3, 2)
        return jnp.sum(p["w"] ** 2)

    grads = jax.grad(loss)(params)
    updates, _ = jax.jit(lambda: tx.update(grads, tx.init(params), params, value=loss(params), value_fn=loss))()
    assert loss(lrx.apply_updates(params, updates)) < loss(params)


def test_what_cannot_be_is_refused():
    tx = lrx.per_layer(lrx.lamb(0.1))
    with pytest.raises(
        ValueError, match=r"must say which leaves are stacks of layers, if axis 0 has different lengths"
    ):
        tx.init(PARAMS)
    with pytest.raises(ValueError, match=r"must choose leaves that have an axis 0, got the shape \(\)"):
        tx.init({"w": jnp.ones(3), "scale": jnp.ones(())})
    with pytest.raises(
        ValueError, match=r"per_layer\(tx=...\) must not have another library's transformation inside acc"
    ):
        lrx.per_layer(lrx.accumulate(optax.lamb(0.1), 2))
    with pytest.raises(ValueError, match=r"per_layer\(axis=...\) must not be negative, got -1"):
        lrx.per_layer(lrx.lamb(0.1), axis=-1)
    with pytest.raises(ValueError, match=r"pack\(tx=...\) must be made of rules"):
        lrx.pack(tx)
    assert lrx.per_layer(lrx.lamb(0.1), where=WHERE) == lrx.per_layer(lrx.lamb(0.1), where=WHERE)
    assert repr(tx).startswith("per_layer(tx=chain(")


def test_a_program_does_not_grow_with_the_stack():
    """A rule of lrx's that looks at leaves is mapped: its lowered program is as long for 50 layers as for 2."""
    tx = lrx.per_layer(lrx.adafactor(0.1, **SMALL))

    def lines(layers):
        params = {"w": jnp.ones((layers, 4, 3))}
        return len(jax.jit(tx.update).lower(params, tx.init(params), params).as_text().splitlines())

    assert lines(50) == lines(2)


def test_a_rule_of_ones_own_is_unrolled_and_right():
    tx, params, grads = outside.soft_sign(0.1), {"w": PARAMS["w"]}, {"w": GRADS["w"]}
    (alone, _), (ours, _) = jax.jit(
        lambda: (run(tx, apart(params, 0), apart(grads, 1)), run(lrx.per_layer(tx), params, grads))
    )()
    np.testing.assert_allclose(ours["w"], together(alone)["w"], rtol=1e-6)
