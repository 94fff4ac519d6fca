"""Which axes are inputs and outputs: real models of four frameworks, and names that may not be taken for others."""

import functools

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lrx
from tests.scaling.common import BASE, WIDTH, M, shapes

# ---------------------------------------------------------------- real models


class Linen(nn.Module):
    width: int

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(11, self.width)(tokens)
        x = x + nn.MultiHeadDotProductAttention(num_heads=self.width // 8)(nn.LayerNorm()(x))
        x = nn.relu(nn.Conv(self.width, (3,))(x))
        return nn.Dense(11)(nn.relu(nn.Dense(3 * self.width, name="up")(x)))


@functools.cache
def linen(width):
    return jax.jit(Linen(width).init)(jax.random.key(0), np.zeros((1, 5), np.int32))["params"]


def test_flax():
    scales = lrx.scale_for_width(shapes(linen.__wrapped__, WIDTH), shapes(linen.__wrapped__, BASE))
    attention = scales["MultiHeadDotProductAttention_0"]
    assert scales["Embed_0"]["embedding"] == scales["LayerNorm_0"]["scale"] == 1.0
    assert {attention[name]["kernel"] for name in ("query", "key", "value", "out")} == {1 / M}
    assert {attention[name]["bias"] for name in ("query", "key", "value", "out")} == {1.0}
    assert scales["Conv_0"]["kernel"] == scales["up"]["kernel"] == scales["Dense_0"]["kernel"] == 1 / M
    by_sgd = lrx.scale_for_width(shapes(linen.__wrapped__, WIDTH), shapes(linen.__wrapped__, BASE), optimizer="sgd")
    assert by_sgd["MultiHeadDotProductAttention_0"]["query"] == {"kernel": 1.0, "bias": M}
    assert by_sgd["Conv_0"]["kernel"] == 1.0 and by_sgd["Dense_0"] == {"kernel": 1 / M, "bias": 1.0}


def test_flax_embeddings_by_fan_out_and_constant_initializers_are_measured():
    """`nn.Embed` starts with σ = 1 / √features; GPT-2 starts everything with the same σ."""
    wide, base = linen(512), linen(32)
    embedding = lrx.rescale_init(wide, base)["Embed_0"]["embedding"]
    np.testing.assert_allclose(embedding, 4 * wide["Embed_0"]["embedding"], rtol=1e-6)

    def constant(width):
        return {
            "w": 0.02 * jax.random.normal(jax.random.key(width), (width, width)),
            "b": jnp.zeros(width),
        }

    new = lrx.rescale_init(constant(256), constant(64))
    np.testing.assert_allclose(new["w"], constant(256)["w"] / 2, rtol=1e-6)
    assert not new["b"].any()


def test_flax_nnx_and_boxes():
    def make(width):
        return nnx.state(nnx.Sequential(nnx.Linear(3, width, rngs=nnx.Rngs(0)), nnx.Linear(width, 2, rngs=nnx.Rngs(0))))

    wide, base = nnx.eval_shape(lambda: make(WIDTH)), nnx.eval_shape(lambda: make(BASE))
    scales = lrx.scale_for_width(wide, base)
    assert jax.tree.leaves(scales["layers"][0]) == [1.0, 1.0] and jax.tree.leaves(scales["layers"][1]) == [1.0, 1 / M]
    params = make(WIDTH)
    tx = lrx.chain(lrx.sgd(1.0), lrx.by_multiplier(scales))
    updates, _ = tx.update(jax.tree.map(jnp.ones_like, params), tx.init(params), params)
    assert {float(x[0, 0]) for x in jax.tree.leaves(updates) if x.ndim == 2} == {-1.0, -1 / M}
    rescaled = lrx.rescale_init(params, make(BASE))
    assert jax.tree.structure(rescaled) == jax.tree.structure(params)

    def box(n, k):
        return {"kernel": nn.Partitioned(jnp.ones((n, k)), ("in", "out"))}

    assert lrx.scale_for_width(box(8, 2), box(2, 2)) == {"kernel": 0.25}


def test_haiku():
    def net(width):
        def run(x):
            x = hk.Linear(width)(hk.Embed(7, width)(x))
            return hk.Linear(2)(hk.LayerNorm(-1, True, True)(hk.Conv1D(width, 3)(x)))

        return hk.transform(run).init(jax.random.key(0), jnp.zeros((1, 4), int))

    scales = lrx.scale_for_width(shapes(net, WIDTH), shapes(net, BASE))
    assert scales["embed"] == {"embeddings": 1.0} and scales["layer_norm"] == {"offset": 1.0, "scale": 1.0}
    assert scales["linear"] == scales["conv1_d"] == scales["linear_1"] == {"w": 1 / M, "b": 1.0}


class Net(eqx.Module):
    embedding: eqx.nn.Embedding
    conv: eqx.nn.Conv1d
    blocks: eqx.nn.MLP
    stack: eqx.nn.Linear
    attention: eqx.nn.MultiheadAttention
    head: eqx.nn.Linear
    activation: object = jax.nn.relu

    def __init__(self, width):
        key = jax.random.key(0)
        self.embedding = eqx.nn.Embedding(7, width, key=key)
        self.conv = eqx.nn.Conv1d(3, width, 5, key=key)
        self.blocks = eqx.nn.MLP(width, width, 2 * width, 2, key=key)
        self.stack = eqx.filter_vmap(lambda k: eqx.nn.Linear(width, width, key=k))(jax.random.split(key, 6))
        self.attention = eqx.nn.MultiheadAttention(width // 8, width, key=key)
        self.head = eqx.nn.Linear(width, 2, key=key)


def test_equinox_where_weights_are_output_by_input():
    wide, base = eqx.filter_eval_shape(Net, WIDTH), eqx.filter_eval_shape(Net, BASE)
    scales = lrx.scale_for_width(wide, base, optimizer="sgd")
    assert scales.embedding.weight == M and scales.conv.weight == M and scales.conv.bias == M
    assert scales.blocks.layers[0].weight == 1.0 and scales.stack.weight == 1.0 and scales.stack.bias == M
    assert scales.attention.query_proj.weight == 1.0 and scales.head.weight == 1 / M and scales.head.bias == 1.0
    model, narrow = eqx.filter_eval_shape(Net, 16), eqx.filter_eval_shape(Net, 8)
    tx = lrx.chain(lrx.adam(1.0), lrx.by_multiplier(lrx.scale_for_width(model, narrow)))
    is_shape = lambda x: isinstance(x, jax.ShapeDtypeStruct)  # noqa: E731
    model = jax.tree.map(lambda x: jnp.asarray(np.ones(x.shape, x.dtype)) if is_shape(x) else x, model)
    grads = eqx.filter(jax.tree.map(lambda x: jnp.ones_like(x) if eqx.is_array(x) else x, model), eqx.is_array)
    updates, _ = tx.update(grads, tx.init(eqx.filter(model, eqx.is_array)), eqx.filter(model, eqx.is_array))
    np.testing.assert_allclose(updates.head.weight, -0.5, rtol=1e-5)
    np.testing.assert_allclose(updates.embedding.weight, -1.0, rtol=1e-5)


def test_axes_are_said_where_names_do_not_say_them():
    def make(width):
        return {
            "places": jnp.zeros((1, 9, width)),
            "readout": jnp.zeros((2, width)),
            "mix": jnp.zeros((width, width)),
        }

    with pytest.raises(ValueError, match=r"scale_for_width\(axes=...\) must say which axes of 'places'"):
        lrx.scale_for_width(make(8), make(4))
    axes = lrx.by_path({"places": "io", "readout": "oi", "": "auto"})
    assert lrx.scale_for_width(make(8), make(4), axes=axes) == {"places": 1.0, "readout": 0.5, "mix": 0.5}
    tree = {"places": "io", "readout": "oi", "mix": "oi"}
    assert lrx.scale_for_width(make(8), make(4), axes=tree, optimizer="sgd") == {
        "places": 2.0,
        "readout": 0.5,
        "mix": 1.0,
    }


# ---------------------------------------------------------------- what "auto" may not take for something else


def grown(tree, base):
    """Multipliers for Adam of shapes, as a list."""

    def zeros(shapes):
        return jax.tree.map(
            lambda shape: jax.ShapeDtypeStruct(shape, float), shapes, is_leaf=lambda x: isinstance(x, tuple)
        )

    return jax.tree.leaves(lrx.scale_for_width(zeros(tree), zeros(base)))


def dense(*kernel, bias=None):
    return {"kernel": kernel} | ({} if bias is None else {"bias": bias})


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        # stacked layers of attention, as `nn.scan` makes them, with fewer keys than queries: no heads
        (lambda d: {"key": dense(3, d, 8), "out": dense(3, 8, d), "query": dense(3, d, d)}, [0.25, 1, 0.25]),
        (lambda d: {"value": dense(3, d, 8, bias=(3, 8))}, [1, 0.25]),
        # a convolution of that name
        (lambda d: {"value": dense(3, 3, d, 1, bias=(1,))}, [1, 0.25]),
        # heads and their size grow, features do not
        (lambda d: {"out": dense(d // 4, d, 16), "query": dense(16, d // 4, d)}, [1 / 16, 1]),
        (lambda d: {"key": dense(d, 2, 8), "out": dense(d // 8, 8, d), "query": dense(d, d // 8, 8)}, [0.25] * 3),
        # Haiku's transposed convolutions are (..., output, input)
        (lambda d: {"conv2_d_transpose": {"w": (3, 3, 3, d)}}, [0.25]),
        (lambda d: {"to_rgb": {"b": (3,), "w": (3, 3, 3, d)}}, [1, 0.25]),
        (lambda d: {"first": {"b": (d,), "w": (3, 3, 3, d)}}, [1, 1]),
        (lambda d: {"gru": {"b": (3 * d,), "w_h": (d, 3 * d), "w_i": (5, 3 * d)}}, [1, 0.25, 1]),
        # torch's names in a dict
        (lambda d: {"wte": {"weight": (11, d)}, "wx": {"bias": (3, d), "weight": (3, d)}}, [1, 1, 1]),
        (lambda d: {"model.norm.weight": (3, d), "model.up.weight": (4 * d, d)}, [1, 0.25]),
        (lambda d: {"rnn": {"weight_hh_l0": (4 * d, d), "weight_ih_l0": (4 * d, 3)}}, [0.25, 1]),
        # a vocabulary that grows is no fan-in
        (lambda d: {"embed": {"embedding": (2 * d, d)}, "head": dense(d, 2 * d)}, [1, 0.25]),
        (lambda d: {"pos_bias_u": (d // 8, d), "pos_embedding": (1, 9, d), "q_scale": (d, d)}, [1, 1, 1]),
        (lambda d: {"cls": (1, 1, d), "pos": (9, d), "register_tokens": (4, d), "wpe": (9, d)}, [1, 1, 1, 1]),
    ],
)
def test_names_and_neighbours_tell_inputs_from_outputs(make, expected):
    np.testing.assert_allclose(grown(make(64), make(16)), expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda d: {"key": dense(3, d, 8)},  # features or heads?
        lambda d: {"blocks": dense(6 if d == 64 else 3, d, 8)},  # other layers, too
        lambda d: {"lora": {"b": (d, d)}},
        lambda d: {"odd": {"b": (7, 2), "w": (d, d)}},
    ],
)
def test_what_is_not_clear_is_asked(make):
    with pytest.raises(ValueError, match=r"must say which axes of|axis 0 is neither"):
        grown(make(64), make(16))


def test_the_way_out_of_what_is_not_clear_is_one():
    wide, base = (
        {"x": {"b": jnp.zeros((8, 8)), "b_2": jnp.zeros(8)}},
        {"x": {"b": jnp.zeros((2, 2)), "b_2": jnp.zeros(2)}},
    )
    with pytest.raises(ValueError, match=r"must say which axes of 'x\.b'") as caught:
        lrx.scale_for_width(wide, base)
    axes = eval(str(caught.value).partition("axes=lrx.")[2].partition(", a letter")[0], {"by_path": lrx.by_path})
    assert lrx.scale_for_width(wide, base, axes=axes) == {"x": {"b": 0.25, "b_2": 1.0}}
    with pytest.raises(ValueError, match="Say it: axes='io'"):
        lrx.scale_for_width(jnp.zeros((8, 3)), jnp.zeros((2, 3)))


class Stacked(eqx.Module):
    norm: eqx.nn.LayerNorm
    rms: eqx.nn.RMSNorm
    cell: eqx.nn.LSTMCell

    def __init__(self, width, key):
        self.norm, self.rms = eqx.nn.LayerNorm(width), eqx.nn.RMSNorm(width, use_bias=False)
        self.cell = eqx.nn.LSTMCell(3, width, key=key)


def test_stacked_norms_of_equinox_are_vectors():
    def make(width):
        return eqx.filter_vmap(lambda key: Stacked(width, key))(jax.random.split(jax.random.key(0), 3))

    scales = lrx.scale_for_width(eqx.filter_eval_shape(make, 64), eqx.filter_eval_shape(make, 16))
    assert scales.norm.weight == scales.rms.weight == scales.norm.bias == scales.cell.weight_ih == 1.0
    assert scales.cell.weight_hh == 0.25


def grouped(width, tied=False):
    """Keys and a router keep the size of their outputs; the last layer may be the embedding."""
    tree = {
        "embed": {"embedding": jnp.zeros((11, width))},
        "key": {"kernel": jnp.zeros((width, 8))},
        "router": {"kernel": jnp.zeros((width, 4))},
    }
    return tree if tied else tree | {"head": {"kernel": jnp.zeros((width, 11))}}


def test_the_last_layer_is_one_and_not_every_layer_whose_outputs_stay():
    wide, base = grouped(64), grouped(16)
    for function in (
        lrx.output_multiplier,
        lambda *trees, **kw: lrx.scale_for_width(*trees, output="multiplier", **kw),
    ):
        with pytest.raises(
            ValueError, match=r"last=...\) must say which parameters .*'key.kernel'.*last='head.kernel'"
        ):
            function(wide, base)
        with pytest.raises(ValueError, match="must be found in a parameter's path"):
            function(wide, base, last="lm_head")
        with pytest.raises(TypeError, match="a regular expression or None"):
            function(wide, base, last=3)
    scales = lrx.scale_for_width(wide, base, output="multiplier", last="head")
    assert jax.tree.leaves(scales) == [1.0, 1.0, 0.25, 0.25]
    assert lrx.output_multiplier(wide, base, last="head") == 0.25
    ones = jax.tree.map(jnp.ones_like, wide)
    new = lrx.rescale_init(ones, base, output="multiplier", last="head")
    assert [float(x[0, 0]) for x in jax.tree.leaves(new)] == [1.0, 2.0, 0.5, 0.5]


def test_an_embedding_that_is_the_last_layer_has_a_multiplier():
    wide, base = grouped(64, tied=True), grouped(16, tied=True)
    assert lrx.output_multiplier(wide, base, last="embed") == 0.25
    assert lrx.output_multiplier({"embed": wide["embed"]}, {"embed": base["embed"]}) == 0.25
    assert lrx.scale_for_width(wide, base, output="multiplier", last="embed")["embed"]["embedding"] == 1.0
    assert lrx.output_multiplier(wide, wide) == 1.0
    with pytest.raises(ValueError, match="must have a last layer"):
        lrx.output_multiplier({"w": jnp.zeros((8, 8))}, {"w": jnp.zeros((4, 4))})


def test_one_axis_may_be_said_to_be_an_input():
    wide, base = {"w": jnp.zeros(8), "v": jnp.zeros(8)}, {"w": jnp.zeros(2), "v": jnp.zeros(2)}
    assert lrx.scale_for_width(wide, base, axes={"w": "i", "v": "auto"}) == {"w": 0.25, "v": 1.0}


def test_an_embedding_by_its_features_is_seen_without_the_base_models_values():
    wide = linen(512)["Embed_0"]
    new = lrx.rescale_init(wide, jax.eval_shape(lambda: linen.__wrapped__(32)["Embed_0"]))
    np.testing.assert_allclose(new["embedding"], 4 * wide["embedding"], rtol=1e-6)
    constant = {"embedding": 0.02 * jax.random.normal(jax.random.key(0), (11, 512))}
    assert lrx.rescale_init(constant, {"embedding": jax.ShapeDtypeStruct((11, 32), float)}) == constant
