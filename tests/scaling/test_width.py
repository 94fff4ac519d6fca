"""Multipliers by width: the published tables, real models, and what they are for: updates of the same size."""

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lrx

BASE, WIDTH = 32, 128
M = WIDTH / BASE


def shapes(make, *args):
    return jax.eval_shape(lambda: make(*args))


def mlp(width, seed=0):
    """Three layers by hand, by fan-in: the parameters of `x @ w + b`."""
    keys = jax.random.split(jax.random.key(seed), 3)
    sizes = [(8, width), (width, width), (width, 4)]

    def layer(key, size):
        return {"w": jax.random.normal(key, size) / jnp.sqrt(size[0]), "b": jnp.zeros(size[1])}

    return {
        name: layer(*pair)
        for name, pair in zip(("first", "hidden", "last"), zip(keys, sizes, strict=True), strict=True)
    }


# The rows of tables 3 and 8 of arXiv:2203.03466, as powers of the width: input weights and biases, output, hidden.
TABLE_3 = {"sgd": (1, -1, 0), "adam": (0, -1, -1)}
TABLE_8 = {"sgd": (1, 1, 0), "adam": (0, 0, -1)}


@pytest.mark.parametrize(("output", "table"), [("weights", TABLE_3), ("multiplier", TABLE_8)])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "lion"])
def test_multipliers_are_those_of_the_published_tables(output, table, optimizer):
    scales = lrx.scale_for_width(mlp(WIDTH), mlp(BASE), optimizer=optimizer, output=output)
    inputs, outputs, hidden = (M**power for power in table["sgd" if optimizer == "sgd" else "adam"])
    assert scales == {
        "first": {"w": inputs, "b": inputs},
        "hidden": {"w": hidden, "b": inputs},
        "last": {"w": outputs, "b": 1.0},
    }


def test_initial_values_are_those_of_the_published_tables():
    """Variances: 1 / fan_in, but 1 / fan_in² for the last layer in table 3 and a constant in table 8."""
    wide, base = mlp(WIDTH), mlp(BASE)
    for output, factor in (("weights", M**-0.5), ("multiplier", M**0.5)):
        for known in (base, shapes(mlp, BASE)):  # measured, and by shapes alone
            new = lrx.rescale_init(wide, known, output=output)
            np.testing.assert_allclose(new["last"]["w"], factor * wide["last"]["w"], rtol=1e-6)
            assert new["first"]["w"] is wide["first"]["w"] and new["hidden"]["w"] is wide["hidden"]["w"]
    assert lrx.output_multiplier(wide, base) == 1 / M


def test_muon_keeps_the_spectral_norm_of_relative_updates():
    """The update of an a x b matrix has the norm s; it should grow as the square root of b / a."""
    for a, b, growth_in, growth_out in [(8, 32, 1, 4), (32, 8, 4, 1), (32, 32, 4, 4), (64, 32, 2, 4), (16, 64, 4, 2)]:
        base, wide = {"w": jnp.zeros((a, b))}, {"w": jnp.zeros((a * growth_in, b * growth_out))}

        def norm(n, m):
            return max(1, m / n) ** 0.5

        got = lrx.scale_for_width(wide, base, optimizer="muon", axes="io")["w"] * norm(*wide["w"].shape) / norm(a, b)
        assert got == pytest.approx((growth_out / growth_in) ** 0.5)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "lion", "sgd", "muon"])
def test_nothing_that_grew_is_nothing_that_changes_and_growth_multiplies(optimizer):
    narrow, middle, wide = (shapes(mlp, width) for width in (16, 48, 96))

    def scale(a, b):
        return lrx.scale_for_width(a, b, optimizer=optimizer)

    assert set(jax.tree.leaves(scale(wide, wide))) == {1.0}
    chained = jax.tree.map(lambda x, y: x * y, scale(wide, middle), scale(middle, narrow))
    jax.tree.map(np.testing.assert_allclose, chained, scale(wide, narrow))
    backwards = jax.tree.map(lambda x, y: x * y, scale(wide, narrow), scale(narrow, wide))
    jax.tree.map(lambda x: np.testing.assert_allclose(x, 1.0), backwards)


# ---------------------------------------------------------------- real models


class Linen(nn.Module):
    width: int

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(11, self.width)(tokens)
        x = x + nn.MultiHeadDotProductAttention(num_heads=self.width // 8)(nn.LayerNorm()(x))
        x = nn.relu(nn.Conv(self.width, (3,))(x))
        return nn.Dense(11)(nn.relu(nn.Dense(3 * self.width, name="up")(x)))


def linen(width):
    return Linen(width).init(jax.random.key(0), jnp.zeros((1, 5), int))["params"]


def test_flax():
    scales = lrx.scale_for_width(shapes(linen, WIDTH), shapes(linen, BASE))
    attention = scales["MultiHeadDotProductAttention_0"]
    assert scales["Embed_0"]["embedding"] == scales["LayerNorm_0"]["scale"] == 1.0
    assert {attention[name]["kernel"] for name in ("query", "key", "value", "out")} == {1 / M}
    assert {attention[name]["bias"] for name in ("query", "key", "value", "out")} == {1.0}
    assert scales["Conv_0"]["kernel"] == scales["up"]["kernel"] == scales["Dense_0"]["kernel"] == 1 / M
    by_sgd = lrx.scale_for_width(shapes(linen, WIDTH), shapes(linen, BASE), optimizer="sgd")
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
    model = Net(16)
    tx = lrx.chain(lrx.adam(1.0), lrx.by_multiplier(lrx.scale_for_width(model, Net(8))))
    grads = eqx.filter(jax.tree.map(lambda x: jnp.ones_like(x) if eqx.is_array(x) else x, model), eqx.is_array)
    updates, _ = tx.update(grads, tx.init(eqx.filter(model, eqx.is_array)), eqx.filter(model, eqx.is_array))
    np.testing.assert_allclose(updates.head.weight, -0.5, rtol=1e-5)
    np.testing.assert_allclose(updates.embedding.weight, -1.0, rtol=1e-5)


def test_axes_are_said_where_names_do_not_say_them():
    def make(width):
        return {
            "pos": jnp.zeros((1, 9, width)),
            "readout": jnp.zeros((2, width)),
            "mix": jnp.zeros((width, width)),
        }

    with pytest.raises(ValueError, match=r"scale_for_width\(axes=...\) must say which axes of 'pos'"):
        lrx.scale_for_width(make(8), make(4))
    axes = lrx.by_path({"pos": "io", "readout": "oi", "": "auto"})
    assert lrx.scale_for_width(make(8), make(4), axes=axes) == {"pos": 1.0, "readout": 0.5, "mix": 0.5}
    tree = {"pos": "io", "readout": "oi", "mix": "oi"}
    assert lrx.scale_for_width(make(8), make(4), axes=tree, optimizer="sgd") == {"pos": 2.0, "readout": 0.5, "mix": 1.0}


MATRIX = {"w": jnp.zeros((8, 8))}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: lrx.scale_for_width(MATRIX, {"v": jnp.zeros((4, 4))}), ValueError, "a difference in 'v'"),
        (lambda: lrx.scale_for_width(MATRIX, {"w": jnp.zeros(4)}), ValueError, r"\(4,\) and \(8, 8\)"),
        (lambda: lrx.scale_for_width(MATRIX, MATRIX, optimizer="adagrad"), ValueError, "must be one of 'adam'"),
        (lambda: lrx.scale_for_width(MATRIX, MATRIX, axes="xy"), ValueError, "`i` for inputs and `o` for outputs"),
        (lambda: lrx.scale_for_width(MATRIX, MATRIX, axes=3), TypeError, "must be a string, or a tree of strings"),
        (
            lambda: lrx.scale_for_width(MATRIX, MATRIX, output="head"),
            ValueError,
            "must be one of 'weights', 'multiplier'",
        ),
        (
            lambda: lrx.scale_for_width({"kernel": jnp.zeros((12, 8, 8))}, {"kernel": jnp.zeros((6, 8, 8))}),
            ValueError,
            "axis 0 is neither an input nor an output",
        ),
        (lambda: lrx.scale_for_width({"w": jnp.zeros((0, 8))}, MATRIX), ValueError, "must have no empty arrays"),
        (
            lambda: lrx.output_multiplier(
                {"a": {"w": jnp.zeros((8, 2))}, "b": {"w": jnp.zeros((16, 2))}},
                {"a": {"w": jnp.zeros((4, 2))}, "b": {"w": jnp.zeros((4, 2))}},
            ),
            ValueError,
            "got 0.5 for 'a.w', 0.25 for 'b.w'",
        ),
        (lambda: lrx.scale_for_depth(0, 4), ValueError, r"scale_for_depth\(layers=...\) must be positive, got 0"),
        (lambda: lrx.scale_for_depth(8, 4, alpha=0.3), ValueError, r"alpha=...\) must be in \[0.5, 1\], got 0.3"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


# ---------------------------------------------------------------- what it is for


def change_of_activations(width, rate, tx_of, init=lambda p: p, steps=3):
    """How much a few updates change what each layer puts out, as the root of the mean square."""
    params = init(mlp(width, seed=1))
    tx = tx_of(rate, params)
    x = jax.random.normal(jax.random.key(2), (16, 8))
    y = jax.random.randint(jax.random.key(3), (16,), 0, 4)

    def layers(p):
        first = jax.nn.relu(x @ p["first"]["w"] + p["first"]["b"])
        hidden = jax.nn.relu(first @ p["hidden"]["w"] + p["hidden"]["b"])
        return first, hidden, hidden @ p["last"]["w"] + p["last"]["b"]

    def loss(p):
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(layers(p)[-1]), y[:, None], 1))

    @jax.jit
    def run(params, state):
        for _ in range(steps):
            updates, state = tx.update(jax.grad(loss)(params), state, params)
            params = lrx.apply_updates(params, updates)
        return params

    after = run(params, tx.init(params))
    return [float(jnp.sqrt(jnp.mean((a - b) ** 2))) for a, b in zip(layers(after), layers(params), strict=True)]


def test_updates_change_activations_by_the_same_amount_at_every_width():
    """The coordinate check of arXiv:2203.03466, section 2 and appendix D, from width 64 to 2,048."""
    base = shapes(mlp, 64)

    def mup(optimizer):
        return lambda rate, p: lrx.chain(
            getattr(lrx, optimizer)(rate), lrx.by_multiplier(lrx.scale_for_width(p, base, optimizer=optimizer))
        )

    for optimizer, rate in (("adam", 3e-3), ("sgd", 0.3)):
        sizes = np.array(
            [change_of_activations(w, rate, mup(optimizer), lambda p: lrx.rescale_init(p, base)) for w in (64, 2048)]
        )
        assert np.all(np.max(sizes, 0) / np.min(sizes, 0) < 1.5), (optimizer, sizes)
    usual = np.array([change_of_activations(w, 3e-3, lambda rate, p: lrx.adam(rate)) for w in (64, 2048)])
    assert np.all(usual[1, 1:] / usual[0, 1:] > 4), usual  # hidden and last layer


@pytest.mark.parametrize("decay_scaled", [True, False])
def test_weight_decay_in_both_conventions(decay_scaled):
    base, params = mlp(BASE), mlp(WIDTH)
    scales = lrx.by_multiplier(lrx.scale_for_width(params, base, optimizer="adamw"))
    if decay_scaled:
        tx = lrx.chain(lrx.adamw(0.5, weight_decay=0.1), scales)
    else:
        tx = lrx.chain(lrx.scale_by_adam(), scales, lrx.add_decayed_weights(0.1), lrx.scale_by_learning_rate(0.5))
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = tx.update(zero, tx.init(params), params)
    factor = 1 / M if decay_scaled else 1.0
    np.testing.assert_allclose(updates["hidden"]["w"], -0.05 * factor * params["hidden"]["w"], rtol=1e-5)


def test_depth():
    """A branch's update adds 1/L of the change, with Adam (whose updates know no scale) and gradient descent."""
    for alpha in (0.5, 0.75, 1.0):
        adam, sgd = (lrx.scale_for_depth(48, 6, alpha=alpha, optimizer=name) for name in ("adam", "sgd"))
        assert 8 * adam.branch * adam.learning_rate == pytest.approx(1.0)
        assert 8 * sgd.branch * (sgd.learning_rate * sgd.branch) == pytest.approx(
            1.0
        )  # its gradient has the factor too
        assert adam.eps == pytest.approx(adam.branch) and sgd.eps == 1.0
    assert lrx.scale_for_depth(6, 6) == (1.0, 1.0, 1.0)


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
    new = lrx.rescale_init(wide, jax.eval_shape(lambda: linen(32)["Embed_0"]))
    np.testing.assert_allclose(new["embedding"], 4 * wide["embedding"], rtol=1e-6)
    constant = {"embedding": 0.02 * jax.random.normal(jax.random.key(0), (11, 512))}
    assert lrx.rescale_init(constant, {"embedding": jax.ShapeDtypeStruct((11, 32), float)}) == constant
